"""The machine code of the next basket: candidates of a customer and their signals.

A *signal* is a number that says something about one product for one customer; a score weighs them and their pairs.
What the signals are, and why, stands in :mod:`engine.recommend.next_basket`; the slow and plain form of all this is
``tests/reference/next_basket_twin.py``.

Arrays that belong together come as named tuples, so that a call can be read.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from engine.clustering.jit import compiled
from engine.recommend.heap_kernels import best_above_zero, best_of

Array = np.ndarray[Any, Any]

SIGNALS = (
    "owned",
    "times",
    "share",
    "fading",
    "due",
    "habit",
    "alike",
    "along",
    "following",
    "fresh",
    "recent",
    "ever",
    "segment",
)
"""Their order in every matrix of signals."""

WIDTH = len(SIGNALS)
OWNED, TIMES, SHARE, FADING, DUE, HABIT, ALIKE, ALONG, FOLLOWING, FRESH, RECENT, EVER, SEGMENT = range(WIDTH)

FADE = 0.8
"""What a basket counts less than the one after it, in ``fading`` and ``along``."""

FAINTEST = 1e-12
"""What a basket counts at least."""

LEAST = 1e-4
"""Added to a share before its logarithm: what a product without any evidence has."""

CLOSEST = 20
"""Neighbours that a reason speaks of."""

BLOCK = 64
"""Customers that share one scratch."""

MOST_OWNED = 400
"""Of a customer with more products, those bought last are candidates and lead to others."""


class Purchases(NamedTuple):
    """See :class:`engine.recommend.baskets.Baskets`."""

    basket_start: Array
    day: Array
    item_start: Array
    item: Array


class Lists(NamedTuple):
    """For each product some others with a share: those of product i lie between ``start[i]`` and ``start[i + 1]``."""

    start: Array
    item: Array
    share: Array


class People(NamedTuple):
    """Reference customers: who bought a product (postings, by product), and what each bought (by customer).

    ``weight`` are coordinates of vectors of length 1; ``share`` the share of a customer's baskets with the product.
    """

    post_start: Array
    post_row: Array
    post_weight: Array
    start: Array
    item: Array
    share: Array


class Market(NamedTuple):
    """Logarithms of the share of baskets that had a product, lately and ever, (m,); the products in vogue.

    Of several days: ``fresh``, ``recent`` and ``popular`` have a row for each.
    """

    fresh: Array
    recent: Array
    ever: Array
    popular: Array


class Groups(NamedTuple):
    """Segments: logarithm of how much more often than all their customers bought a product (s, m); their favourites."""

    lift: Array
    popular: Array


class Habits(NamedTuple):
    """Products: log-odds of buying again, days between two purchases, whether they are bought once, (m,) each."""

    again: Array
    gap: Array
    once: Array


class Weights(NamedTuple):
    """Of signals and of pairs of them, (WIDTH,) and (WIDTH, WIDTH); the range that each signal had at the fit."""

    own: Array
    pairs: Array
    low: Array
    high: Array


class Wanted(NamedTuple):
    """What may be offered: products that a customer has not bought, those bought before, and which never are, (m,).

    Where fewer than ``least`` candidates may be, products follow in the order of ``popular``, (m,).
    """

    new: bool
    bought: bool
    excluded: Array
    least: int
    popular: Array


class Scratch(NamedTuple):
    """Work space of one thread; see :func:`scratch`."""

    mark: Array
    alike: Array
    along: Array
    following: Array
    touched: Array
    met: Array
    next: Array
    near: Array
    times: Array
    last: Array
    fading: Array
    owned: Array
    kept: Array


@compiled()
def scratch(m: int, references: int) -> Any:
    """Return cleared work space for m products and so many reference customers; lists of numbers have one to spare."""
    return Scratch(
        np.zeros(m, np.int32),
        np.zeros(m, np.float32),
        np.zeros(m, np.float32),
        np.zeros(m, np.float32),
        np.empty(m + 1, np.int32),
        np.empty(m + 1, np.int32),
        np.empty(m + 1, np.int32),
        np.zeros(references, np.float32),
        np.zeros(m, np.int32),
        np.zeros(m, np.int32),
        np.zeros(m, np.float32),
        np.empty(m, np.int32),
        np.empty(max(m, references), np.int32),
    )


@compiled()
def own_products(p: Purchases, c: int, end: int, s: Scratch) -> int:
    """Note what customer c bought in baskets before ``end``: number, last day, faded number; return how many products.

    ``s.owned`` holds the products, the latest bought first.
    """
    owned = 0
    weight = np.float32(1.0)
    for b in range(end - 1, p.basket_start[c] - 1, -1):
        for r in range(p.item_start[b], p.item_start[b + 1]):
            i = p.item[r]
            if s.times[i] == 0:
                s.owned[owned] = i
                owned += 1
                s.last[i] = p.day[b]
            s.times[i] += 1
            s.fading[i] += weight
        # Never 0: a total of 0 says that a product was not met yet.
        weight = max(weight * np.float32(FADE), np.float32(FAINTEST))
    return owned


@compiled()
def nearest_people(people: People, myself: int, owned: int, most: int, s: Scratch) -> Any:
    """Write the reference customers most like a customer to ``s.kept``, most alike first; return how many.

    By the cosine between how often they bought each product. ``myself`` is the customer's own number among them, or
    negative.
    """
    s.near[:] = 0.0
    for n in range(owned):
        i = s.owned[n]
        times = np.float32(s.times[i])
        for r in range(people.post_start[i], people.post_start[i + 1]):
            s.near[people.post_row[r]] += people.post_weight[r] * times
    if myself >= 0:
        s.near[myself] = 0.0
    return best_above_zero(s.near, most, s.kept)


@compiled()
def add_lists(lists: Lists, i: int, weight: Any, total: Array, touched: Array, size: int) -> int:
    """Add a product's list to the totals; note those that had none; return how many have some."""
    for r in range(lists.start[i], lists.start[i + 1]):
        j = lists.item[r]
        touched[size] = j
        size += total[j] == 0.0
        total[j] += weight * lists.share[r]
    return size


@compiled()
def offer(numbers: Array, size: int, found: int, s: Scratch, out: Array) -> int:
    """Add numbers to the candidates that are not there yet; return how many there are."""
    for n in range(size):
        i = numbers[n]
        if s.mark[i] == 0 and found < len(out):
            s.mark[i] = 1
            out[found] = i
            found += 1
    return found


@compiled()
def may_be_offered(i: int, habits: Habits, wanted: Wanted, s: Scratch) -> bool:
    """Say whether a product may be offered to the customer whose purchases are noted."""
    may = wanted.bought and not habits.once[i] if s.times[i] > 0 else wanted.new
    return may and not wanted.excluded[i]


@compiled()
def candidates(
    p: Purchases,
    c: int,
    end: int,
    day: int,
    myself: int,
    segment: int,
    along: Lists,
    following: Lists,
    people: People,
    market: Market,
    groups: Groups,
    habits: Habits,
    wanted: Wanted,
    sizes: Array,
    s: Scratch,
    found: Array,
    signals: Array,
    neighbours: Array,
) -> Any:
    """Write the candidates of customer c and their signals; return how many there are, and how many with what follows.

    Behind the candidates come as many of the products most bought as the list needs that is wanted.

    What is known of the customer are the baskets before number ``end``; ``day`` is the day to come. ``sizes`` (4,)
    int64: how many neighbours, and how many candidates of neighbours, of the lists along and of the lists following.
    ``neighbours`` gets the numbers of the closest reference customers, -1 where there are fewer.
    """
    begin = p.basket_start[c]
    own_baskets = end - begin
    owned = own_products(p, c, end, s)
    considered = min(owned, MOST_OWNED)
    size = offer(s.owned, considered, 0, s, found)

    # Customers alike.
    near = nearest_people(people, myself, considered, sizes[0], s)
    for n in range(len(neighbours)):
        neighbours[n] = s.kept[n] if n < near else -1
    touched = met = after = 0
    each = np.float32(1.0 / max(near, 1))
    for n in range(near):
        row = s.kept[n]
        for r in range(people.start[row], people.start[row + 1]):
            i = people.item[r]
            s.touched[touched] = i
            touched += s.alike[i] == 0.0
            s.alike[i] += each * people.share[r]

    # What goes along with what the customer bought, and what follows the last basket.
    whole = np.float32(0.0)
    for n in range(considered):
        whole += s.fading[s.owned[n]]
    for n in range(considered):
        i = s.owned[n]
        met = add_lists(along, i, s.fading[i] / whole, s.along, s.met, met)
    if own_baskets > 0:
        first, last = p.item_start[end - 1], p.item_start[end]
        each = np.float32(1.0 / max(last - first, 1))
        for r in range(first, last):
            after = add_lists(following, p.item[r], each, s.following, s.next, after)

    size = offer(s.kept, best_of(s.alike, s.touched, touched, sizes[1], s.kept), size, s, found)
    size = offer(s.kept, best_of(s.along, s.met, met, sizes[2], s.kept), size, s, found)
    size = offer(s.kept, best_of(s.following, s.next, after, sizes[3], s.kept), size, s, found)
    size = offer(groups.popular[segment], groups.popular.shape[1], size, s, found)
    size = offer(market.popular, len(market.popular), size, s, found)

    # Where that is too little for the list, what most people buy.
    able = 0
    for n in range(size):
        able += may_be_offered(found[n], habits, wanted, s)
    chosen = size
    if able < wanted.least and size < len(found):
        for n in range(len(wanted.popular)):
            i = wanted.popular[n]
            if s.mark[i] == 0 and may_be_offered(i, habits, wanted, s):
                s.mark[i] = 1
                found[size] = i
                size += 1
                if able + size - chosen == wanted.least or size == len(found):
                    break

    # Days between this customer's baskets, where a product has no interval.
    span = p.day[end - 1] - p.day[begin] if own_baskets > 1 else 0
    pace = max(span / max(own_baskets - 1, 1), 1.0)
    kept = 0
    for n in range(size):
        i = found[n]
        count = s.times[i]
        if may_be_offered(i, habits, wanted, s):
            row = signals[kept]
            found[kept] = i
            row[:] = 0.0
            if count > 0:
                gap = habits.gap[i] if habits.gap[i] > 0 else pace
                wait = max(day - s.last[i], 0) + 0.5
                row[OWNED] = 1.0
                row[TIMES] = np.log1p(count)
                row[SHARE] = np.log(count / own_baskets + 0.01)
                row[FADING] = np.log(s.fading[i] + 0.01)
                row[DUE] = min(max(np.log(wait / gap), -3.0), 3.0)
                row[HABIT] = habits.again[i]
            # Of whom nothing is known, what all buy is the best guess.
            row[ALIKE] = np.log(s.alike[i] + LEAST) if near > 0 else market.ever[i]
            row[ALONG] = np.log(s.along[i] + LEAST) if owned > 0 else market.ever[i]
            row[FOLLOWING] = np.log(s.following[i] + LEAST) if own_baskets > 0 else market.ever[i]
            row[FRESH] = market.fresh[i]
            row[RECENT] = market.recent[i]
            row[EVER] = market.ever[i]
            row[SEGMENT] = groups.lift[segment, i]
            kept += 1
        s.mark[i] = 0
    # The next customer finds everything cleared.
    for n in range(touched):
        s.alike[s.touched[n]] = 0.0
    for n in range(met):
        s.along[s.met[n]] = 0.0
    for n in range(after):
        s.following[s.next[n]] = 0.0
    for n in range(owned):
        i = s.owned[n]
        s.times[i] = 0
        s.fading[i] = 0.0
    return able, kept
