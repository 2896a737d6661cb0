"""The search for cross-selling rules in one group of customers, and what each rule rests on."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from engine.recommend.adoption import Group
from engine.recommend.chance import at_least, false_shares, lift_interval

log = logging.getLogger(__name__)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BLOCK_PAIRS = 2_000_000
"""Pairs whose counts are held at once: 8 MB, and some 130 MB if every one of them is worth a closer look."""

MOST_CANDIDATES = 5_000_000
"""Pairs of one group that may pass for a rule before the number of tests is allowed for; 200 MB."""

REASONS = 6
"""Products that lead to one product, of which sets of two are made."""


class Pairs(NamedTuple):
    """Rules from what was bought to what is bought next, and what was counted; arrays of one length.

    Attributes
    ----------
    x, x2, y
        Slots: bought, bought too (-1: nothing), bought next.
    customers
        Who bought x (and x2).
    before
        Of them, who had y by then.
    went_on
        Of them, who took y up afterwards.
    has
        Of them, who have y at all.
    expected
        How many were to be expected to take it up.
    p, q
        Probability of so many by chance; share of chance among findings as clear as this one.
    """

    x: Ints
    x2: Ints
    y: Ints
    customers: Ints
    before: Ints
    went_on: Ints
    has: Ints
    expected: Floats
    p: Floats
    q: Floats

    def take(self, which: NDArray[np.generic]) -> Pairs:
        """Return some of them."""
        return Pairs(*(column[which] for column in self))

    def lows(self, group: Group) -> Floats:
        """Return the lower ends of the lifts' intervals."""
        return lift_interval(self.went_on, self.expected, group.adoptions[self.y])[0]


class Found(NamedTuple):
    """Rules of a group, the best first, and how many more there were."""

    rules: Pairs
    sets: Pairs
    tests: int
    left_out: int


def find_rules(group: Group, least: int, most: int, most_sets: int, false_share: float) -> Found:
    """Return the rules that chance does not explain.

    Raises
    ------
    DataError
        More than :data:`MOST_CANDIDATES` pairs pass for rules.
    """
    m = len(group.codes)
    tests = m * max(m - 1, 0)
    found = _candidates(group, least, false_share)
    found = found._replace(q=false_shares(found.p, tests))
    found = found.take(found.q <= false_share)
    best = _best_first(found, group)
    rules = found.take(best[:most])
    log.debug("%d customers, %d products: %d rules of %d pairs", len(group.customers), m, len(best), tests)
    return Found(rules, _sets(group, rules, least, most_sets, false_share), tests, max(len(best) - most, 0))


def measure(group: Group, x: Ints, x2: Ints, y: Ints, rates: Floats | None = None) -> Pairs:
    """Count what the pairs rest on; ``rates`` in place of the group's own for what was to be expected.

    The p values are those of the group's own rates, and q is left at 1.
    """
    from engine.recommend.cross_kernels import measure_pairs

    antecedent = x * (len(group.codes) + 1) + x2 + 1
    order = np.lexsort((y, antecedent))
    _, first, size = np.unique(antecedent[order], return_index=True, return_counts=True)
    meetings = [_met(group, int(x[order[at]]), int(x2[order[at]])) for at in first]
    none = np.zeros(0, dtype=np.int64)
    a_customer = np.concatenate([customer for customer, _ in meetings] or [none])
    a_basket = np.concatenate([basket for _, basket in meetings] or [none])
    a_size = np.array([len(customer) for customer, _ in meetings], dtype=np.int64)
    went_on, before, has = (np.zeros(len(y), dtype=np.int64) for _ in range(3))
    expected = np.zeros(len(y))
    measure_pairs(
        group.rows,
        group.clock.path,
        group.rates if rates is None else rates,
        _dealt(np.arange(len(first))),
        np.concatenate([[0], np.cumsum(a_size)]).astype(np.int64),
        a_customer,
        a_basket,
        group.clock.until[a_basket],
        np.append(first, len(y)).astype(np.int64),
        y[order],
        went_on,
        before,
        has,
        expected,
    )
    back = np.empty(len(y), dtype=np.int64)
    back[order] = np.arange(len(y))
    # Sums and differences of the same products: what is left of nothing is rounding.
    expected = np.maximum(expected, 0.0)
    customers = np.repeat(a_size, size)
    p = at_least(went_on, expected, group.adoptions[y[order]])
    counted = (customers[back], before[back], went_on[back], has[back])
    return Pairs(x, x2, y, *counted, expected=expected[back], p=p[back], q=np.ones(len(y)))


def _met(group: Group, x: int, x2: int) -> tuple[Ints, Ints]:
    """Return who bought x (and x2), and in which basket they did so first (had both first)."""
    rows = group.rows
    of_x = rows.by_slot[rows.slot_start[x] : rows.slot_start[x + 1]]
    if x2 < 0:
        return rows.customer[of_x], rows.basket[of_x]
    of_x2 = rows.by_slot[rows.slot_start[x2] : rows.slot_start[x2 + 1]]
    customers, here, there = np.intersect1d(
        rows.customer[of_x], rows.customer[of_x2], assume_unique=True, return_indices=True
    )
    return customers, np.maximum(rows.basket[of_x[here]], rows.basket[of_x2[there]])


def frequent(group: Group, least: int) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Yield, in blocks and in no order, the pairs x → y that so many customers took up one after the other.

    As ``x, y, customers``: slots, and how many took up y in a later basket than x.
    """
    from engine.recommend.cross_kernels import count_after

    m = len(group.codes)
    blocks = -(-m * m // BLOCK_PAIRS)
    for block in range(blocks):
        # The first slots have the most buyers: every block has some of them.
        slots = _dealt(np.arange(block, m, blocks))
        counts = np.zeros((len(slots), m), dtype=np.int32)
        count_after(group.rows, slots, counts)
        row, y = np.nonzero(counts >= least)
        yield slots[row], y, counts[row, y].astype(np.int64)


def _dealt(slots: Ints) -> Ints:
    """Return slots, of which the first have the most buyers, so that threads which take them in runs share alike."""
    return np.concatenate([slots[part::8] for part in range(8)])


def _candidates(group: Group, least: int, false_share: float) -> Pairs:
    """Return the pairs with enough customers and a p that could make a rule: the others cannot, at any rank."""
    none = np.zeros(0, dtype=np.int64)
    kept = [measure(group, none, none, none)]
    by_count: dict[int, int] = defaultdict(int)
    total = 0
    for x, y, _ in frequent(group, least):
        pairs = measure(group, x, np.full(len(x), -1, dtype=np.int64), y)
        pairs = pairs.take(pairs.p <= false_share)
        for count, number in zip(*np.unique(pairs.went_on, return_counts=True), strict=True):
            by_count[int(count)] += int(number)
        total += len(pairs.x)
        # Beyond the limit nothing is kept, but all is counted, so that the message can name a threshold.
        kept = [*kept, pairs] if total <= MOST_CANDIDATES else kept[:1]
    if total > MOST_CANDIDATES:
        raise _too_many(by_count, least)
    return Pairs(*(np.concatenate(columns) for columns in zip(*kept, strict=True)))


def _too_many(by_count: dict[int, int], least: int) -> DataError:
    total = passing = sum(by_count.values())
    would_do = least
    for count in sorted(by_count):
        if passing <= MOST_CANDIDATES:
            break
        passing -= by_count[count]
        would_do = count + 1
    return DataError(
        f"Cross-selling: {total:,} pairs of products have {least} customers or more and could be rules; expected at "
        f"most {MOST_CANDIDATES:,}. Set least_customers={would_do} ({passing:,} pairs), or use coarser products."
    )


def _best_first(pairs: Pairs, group: Group) -> Ints:
    """Return the order of the pairs: by how much lift is sure, then by customers, then by slots."""
    order: Ints = np.lexsort((pairs.y, pairs.x2, pairs.x, -pairs.went_on, -pairs.lows(group))).astype(np.int64)
    return order


def _sets(group: Group, rules: Pairs, least: int, most: int, false_share: float) -> Pairs:
    """Return rules {x, x2} → y that surely lift more than x → y and x2 → y each do, the best first."""
    reasons: dict[int, list[int]] = defaultdict(list)
    for number, y in enumerate(rules.y.tolist()):
        if len(reasons[y]) < REASONS:
            reasons[y].append(number)
    tried = [two for numbers in reasons.values() for two in combinations(numbers, 2)][: 10 * most]
    one, other = np.array(tried, dtype=np.int64).reshape(-1, 2).T
    # A set is the same in either order: the lower slot first.
    x, x2 = np.minimum(rules.x[one], rules.x[other]), np.maximum(rules.x[one], rules.x[other])
    pairs = measure(group, x, x2, rules.y[one])
    pairs = pairs._replace(q=false_shares(pairs.p, len(pairs.p)))
    lift = rules.went_on / np.maximum(rules.expected, np.finfo(float).tiny)
    enough = (pairs.went_on >= least) & (pairs.q <= false_share)
    pairs = pairs.take(enough & (pairs.lows(group) > np.maximum(lift[one], lift[other])))
    return pairs.take(_best_first(pairs, group)[:most])
