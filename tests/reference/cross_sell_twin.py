"""Cross-selling as one would count it by hand: customer by customer, basket by basket, one pair at a time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import comb

from engine.recommend.baskets import Baskets

STAGES = 8


@dataclass
class Visit:
    """A customer's basket: its day, what is in it, what of it is new, and in which cell its chances lie."""

    day: int
    items: set[int]
    new: set[int]
    chances: int
    cell: tuple[int, int] = (0, 0)


def visits(history: Baskets) -> list[list[Visit]]:
    """Return the baskets of every customer."""
    everybody = []
    numbered = iter(range(history.baskets))
    tried_at: list[tuple[int, Visit]] = []
    for baskets in history.each():
        own: list[Visit] = []
        had: set[int] = set()
        for items in baskets:
            new = set(items) - had
            visit = Visit(int(history.day[next(numbered)]), set(items), new, len(new) if own else 0)
            tried_at.append((len(had), visit))
            own.append(visit)
            had |= new
        everybody.append(own)
    if not tried_at:
        return everybody
    first, last = min(v.day for _, v in tried_at), max(v.day for _, v in tried_at)
    periods = min(max((last - first + 1) // 28, 1), 24)
    total = sum(v.chances for _, v in tried_at)
    edges: list[int] = []
    so_far = 0
    for tried, visit in sorted(tried_at, key=lambda pair: pair[0]):
        so_far += visit.chances
        while total and len(edges) < STAGES - 1 and STAGES * so_far >= (len(edges) + 1) * total:
            edges.append(tried)
    for tried, visit in tried_at:
        period = (visit.day - first) * periods // (last - first + 1)
        visit.cell = period, sum(edge < tried for edge in edges) if total else 0
    return everybody


def rates(everybody: list[list[Visit]], members: list[int], product: int) -> dict[tuple[int, int], float]:
    """Return how many adoptions of a product a chance brings among some customers, by cell."""
    chances: dict[tuple[int, int], int] = defaultdict(int)
    adoptions: dict[tuple[int, int], int] = defaultdict(int)
    for c in members:
        for visit in everybody[c]:
            chances[visit.cell] += visit.chances
            if product in visit.new:
                adoptions[visit.cell] += visit.chances > 0
                break
    return {cell: adoptions[cell] / n for cell, n in chances.items() if n}


@dataclass
class Counted:
    """What a rule rests on; see :mod:`engine.recommend.cross_sell`."""

    customers_x: int = 0
    customers_open: int = 0
    customers_xy: int = 0
    customers_to_offer: int = 0
    expected: float = 0.0
    customers_together: int = 0


def count(
    everybody: list[list[Visit]],
    members: list[int],
    reason: set[int],
    product: int,
    *,
    within_days: int | None = None,
    reference: list[int] | None = None,
) -> Counted:
    """Count one rule among some customers, with what was to be expected at the rates of others."""
    rate = rates(everybody, members if reference is None else reference, product)
    counted = Counted()
    for c in members:
        own = everybody[c]
        counted.customers_together += any(reason | {product} <= visit.items for visit in own)
        had: set[int] = set()
        met = None
        for number, visit in enumerate(own):
            had |= visit.new
            if reason <= had:
                met = number
                break
        if met is None:
            continue
        counted.customers_x += 1
        counted.customers_to_offer += not any(product in visit.items for visit in own)
        if product in had:
            continue
        counted.customers_open += 1
        for visit in own[met + 1 :]:
            if within_days is not None and visit.day - own[met].day > within_days:
                break
            counted.expected += visit.chances * rate.get(visit.cell, 0.0)
            if product in visit.items:
                counted.customers_xy += 1
                break
    return counted


def adoptions(everybody: list[list[Visit]], members: list[int], product: int) -> int:
    """Count the customers who took up a product after their first basket."""
    return sum(any(product in visit.new for visit in everybody[c][1:]) for c in members)


def binomial_tail(observed: int, share: float, n: int) -> float:
    """Add up the probabilities of so many or more."""
    return sum(comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(observed, n + 1))


def false_shares(p: list[float], tests: int) -> list[float]:
    """Return for each p the smallest, over all thresholds at or above it, of tests × threshold / findings."""
    return [min(min(tests * t / sum(other <= t for other in p), 1.0) for t in p if t >= each) for each in p]
