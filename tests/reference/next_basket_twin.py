"""The next basket, a customer at a time, with dictionaries and loops, as the texts of the package define it.

A history is a list of customers, a customer a list of baskets in the order of time, a basket its day and its products.
Lists that are cut where two values may be equal but for rounding are given as two sets: what must be in, and what may.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from engine.recommend.baskets import Baskets

Basket = tuple[int, list[int]]
Customer = list[Basket]
Lists = list[list[tuple[int, float]]]

NEAR = 2e-5
"""Values of single precision that are closer than this, relatively, may change places."""


class Limits(NamedTuple):
    """How many of what are kept: the package's constants of these names."""

    most_products: int = 400
    most_fellows: int = 100
    most_owned: int = 400
    favourites: int = 30
    in_vogue: int = 60
    sizes: tuple[int, int, int, int] = (300, 100, 100, 50)


def customers_of(history: Baskets) -> list[Customer]:
    """The same history as lists."""
    days = iter(history.day.tolist())
    return [[(next(days), basket) for basket in baskets] for baskets in history.each()]


def baskets_of(customers: Sequence[Customer], m: int) -> Baskets:
    """The same history as arrays; customers are called by their numbers."""
    baskets = [basket for customer in customers for basket in customer]
    return Baskets(
        pl.Series(range(len(customers)), dtype=pl.Int64),
        pl.Series([f"p{code:04}" for code in range(m)], dtype=pl.String),
        np.cumsum([0, *map(len, customers)], dtype=np.int64),
        np.array([day for day, _ in baskets], dtype=np.int32),
        np.cumsum([0, *(len(items) for _, items in baskets)], dtype=np.int64),
        np.array([item for _, items in baskets for item in items], dtype=np.int32),
    )


def distinct(customer: Customer, most: int) -> dict[int, int]:
    """In how many baskets each product was: the products bought last, the latest first, by code in a basket."""
    counts: dict[int, int] = {}
    for _, items in reversed(customer):
        for item in items:
            if item in counts or len(counts) < most:
                counts[item] = counts.get(item, 0) + 1
    return counts


def buyers_of(customers: Sequence[Customer], m: int, most: int) -> list[int]:
    bought = Counter(item for customer in customers for item in distinct(customer, most))
    return [bought[item] for item in range(m)]


def along(customers: Sequence[Customer], m: int, *, most_products: int, most_fellows: int) -> Lists:
    """Of the buyers of i, the share who bought j too, as if five more had been seen who did not."""
    buyers = buyers_of(customers, m, most_products)
    lists = []
    for i in range(m):
        own = [items for items in (distinct(customer, most_products) for customer in customers) if i in items]
        together = Counter(j for items in own for j in items if j != i)
        lists.append(_kept(together, len(own), buyers, most_fellows))
    return lists


def following(customers: Sequence[Customer], m: int, *, most_products: int, most_fellows: int) -> Lists:
    """Of the baskets with i that another came after, the share where that one had j (i itself too)."""
    buyers = buyers_of(customers, m, most_products)
    lists = []
    for i in range(m):
        after = [
            next_items for customer in customers for (_, items), (_, next_items) in pairwise(customer) if i in items
        ]
        lists.append(_kept(Counter(j for items in after for j in items), len(after), buyers, most_fellows))
    return lists


def _kept(counts: Counter[int], rows: int, buyers: list[int], most: int) -> list[tuple[int, float]]:
    """Those of the largest count / √buyers; one time together proves nothing."""

    def strength(j: int) -> float:
        # In single precision, for that decides which are equal.
        return float(np.float32(counts[j]) / np.sqrt(np.float32(max(buyers[j], 1))))

    proved = sorted((j for j, count in counts.items() if count >= 2), key=lambda j: (-strength(j), j))
    return [(j, counts[j] / (rows + 5)) for j in proved[:most]]


class HabitSums(NamedTuple):
    """Who could have bought a product again, who did, and the logarithms of the days between two purchases."""

    able: int
    again: int
    log_gaps: list[float]


def habit_sums(customers: Sequence[Customer], m: int) -> list[HabitSums]:
    sums = []
    for item in range(m):
        able = again = 0
        log_gaps: list[float] = []
        for customer in customers:
            days = sorted({day for day, items in customer if item in items})
            if days:
                able += max(day for day, _ in customer) > days[0]
                again += len(days) > 1
                log_gaps += [math.log(later - day) for day, later in pairwise(days)]
        sums.append(HabitSums(able, again, log_gaps))
    return sums


def repurchase_rates(sums: Sequence[HabitSums], category: Sequence[int] | None = None) -> list[float]:
    """Drawn to the category's rate as if ten more had been seen, and that in the same way to the rate of all."""
    whole = sum(s.again for s in sums) / max(sum(s.able for s in sums), 1)
    rates = []
    for item, own in enumerate(sums):
        prior = whole
        if category is not None and category[item] >= 0:
            same = [s for s, other in zip(sums, category, strict=True) if other == category[item]]
            prior = (sum(s.again for s in same) + 10 * whole) / (sum(s.able for s in same) + 10)
        rates.append((own.again + 10 * prior) / (own.able + 10))
    return rates


def shares_on(customers: Sequence[Customer], m: int, day: int, half_life: float) -> tuple[list[float], list[float]]:
    """Of the baskets before a day, weighed by age, the share with each product; and the weights that sum to it."""
    whole, totals = 0.0, [0.0] * m
    for customer in customers:
        for when, items in customer:
            if when < day:
                weight = 2.0 ** (-(day - when) / half_life)
                whole += weight
                for item in items:
                    totals[item] += weight
    return [total / whole if whole else 0.0 for total in totals], totals


def shares_ever(customers: Sequence[Customer], m: int) -> list[float]:
    baskets = [items for customer in customers for _, items in customer]
    bought = Counter(item for items in baskets for item in items)
    return [bought[item] / max(len(baskets), 1) for item in range(m)]


def lifts(
    customers: Sequence[Customer], segments: Sequence[int], m: int, most: int
) -> tuple[list[list[float]], list[Counter[int]]]:
    """Log of how much more often a segment's customers bought a product, drawn to 1 as by five more; their counts."""
    buyers = buyers_of(customers, m, most)
    rows, counted = [], []
    for segment in range(max(segments, default=-1) + 1):
        members = [customer for customer, own in zip(customers, segments, strict=True) if own == segment]
        bought = Counter(item for customer in members for item in distinct(customer, most))
        shares = [count / len(customers) for count in buyers]
        rows.append(
            [
                math.log((bought[i] + 5 * shares[i]) / (len(members) + 5) / shares[i]) if shares[i] else 0.0
                for i in range(m)
            ]
        )
        counted.append(bought)
    return rows, counted


def favourites(bought: Counter[int], buyers: Sequence[int], most: int) -> list[int]:
    return sorted(range(len(buyers)), key=lambda i: (-bought[i], -buyers[i], i))[:most]


class Owned(NamedTuple):
    """What a customer knows of a product: baskets with it, the first and the last day, the faded number."""

    times: int
    first: int
    last: int
    fading: float


def owned_products(customer: Customer) -> dict[int, Owned]:
    """The latest bought first; a basket counts 0.8 of the one after it, and never nothing."""
    owned: dict[int, Owned] = {}
    for age, (day, items) in enumerate(reversed(customer)):
        weight = max(0.8**age, 1e-12)
        for item in items:
            before = owned.get(item, Owned(0, day, day, 0.0))
            owned[item] = Owned(before.times + 1, day, before.last, before.fading + weight)
    return owned


def similarities(customer: Customer, references: Sequence[Customer], myself: int, limits: Limits) -> dict[int, float]:
    """Number of times × the unit vector of each reference customer, where that is more than nothing."""
    own = dict(list(owned_products(customer).items())[: limits.most_owned])
    found = {}
    for row, reference in enumerate(references):
        counts = distinct(reference, limits.most_products)
        length = math.sqrt(sum(count * count for count in counts.values()))
        alike = sum(own[item].times * count for item, count in counts.items() if item in own)
        if alike and row != myself:
            found[row] = alike / length
    return found


class Known(NamedTuple):
    """What was counted over all customers."""

    along: Lists
    following: Lists
    references: list[Customer]
    fresh: list[float]
    fresh_totals: list[float]
    recent: list[float]
    ever: list[float]
    lift: list[float]
    favourites: list[int]
    rates: list[float]
    gaps: list[float]
    once: list[bool]


def known_of(customers: Sequence[Customer], m: int, rows: Iterable[int], limits: Limits) -> Known:
    """What is known on any day and for any segment; see :func:`told`."""
    sums = habit_sums(customers, m)
    rates = repurchase_rates(sums)
    cut = {"most_products": limits.most_products, "most_fellows": limits.most_fellows}
    return Known(
        along(customers, m, **cut),
        following(customers, m, **cut),
        [customers[row] for row in rows],
        [],
        [],
        [],
        shares_ever(customers, m),
        [],
        [],
        rates,
        [math.exp(sum(s.log_gaps) / len(s.log_gaps)) if len(s.log_gaps) >= 5 else 0.0 for s in sums],
        [rate < 0.02 for rate in rates],
    )


def told(
    known: Known, customers: Sequence[Customer], segments: Sequence[int], segment: int, day: int, limits: Limits
) -> Known:
    """The same with what is known on a day for a segment, -1 for none."""
    m = len(known.ever)
    fresh, totals = shares_on(customers, m, day, 5.0)
    recent, _ = shares_on(customers, m, day, 21.0)
    lift, counted = lifts(customers, segments, m, limits.most_products)
    buyers = buyers_of(customers, m, limits.most_products)
    return known._replace(
        fresh=fresh,
        fresh_totals=totals,
        recent=recent,
        lift=lift[segment] if segment >= 0 else [0.0] * m,
        favourites=favourites(counted[segment] if segment >= 0 else Counter(), buyers, limits.favourites),
    )


def signals_of(
    customer: Customer, day: int, near: Iterable[int], known: Known, limits: Limits
) -> tuple[dict[str, dict[int, float]], list[dict[str, float]]]:
    """The three sums over others (alike, along, following), and the signals of every product."""
    m = len(known.ever)
    owned = owned_products(customer)
    considered = list(owned)[: limits.most_owned]
    sums: dict[str, dict[int, float]] = {"alike": {}, "along": {}, "following": {}}

    def add(name: str, item: int, value: float) -> None:
        sums[name][item] = sums[name].get(item, 0.0) + value

    near = list(near)
    for row in near:
        reference = known.references[row]
        for item, count in distinct(reference, limits.most_products).items():
            add("alike", item, count / len(reference) / len(near))
    whole = sum(owned[item].fading for item in considered)
    for item in considered:
        for other, share in known.along[item]:
            add("along", other, owned[item].fading / whole * share)
    if customer:
        last = customer[-1][1]
        for item in last:
            for other, share in known.following[item]:
                add("following", other, share / len(last))
    pace = max((customer[-1][0] - customer[0][0]) / (len(customer) - 1), 1.0) if len(customer) > 1 else 1.0
    rows = []
    # Where nothing is known of a customer, those alike do what all do.
    told = {"alike": bool(near), "along": bool(owned), "following": bool(customer)}
    for item in range(m):
        ever = math.log(known.ever[item] + 1e-5)
        own = dict.fromkeys(("owned", "times", "share", "fading", "due", "habit"), 0.0)
        if item in owned:
            wait = max(day - owned[item].last, 0) + 0.5
            rate = min(max(known.rates[item], 1e-4), 1 - 1e-4)
            own = {
                "owned": 1.0,
                "times": math.log(1 + owned[item].times),
                "share": math.log(owned[item].times / len(customer) + 0.01),
                "fading": math.log(owned[item].fading + 0.01),
                "due": min(max(math.log(wait / (known.gaps[item] or pace)), -3.0), 3.0),
                "habit": math.log(rate / (1 - rate)),
            }
        rows.append(
            own
            | {name: math.log(values.get(item, 0.0) + 1e-4) if told[name] else ever for name, values in sums.items()}
            | {
                "fresh": math.log(known.fresh[item] + 1e-5),
                "recent": math.log(known.recent[item] + 1e-5),
                "ever": ever,
                "segment": known.lift[item],
            }
        )
    return sums, rows


def candidates(
    customer: Customer,
    sums: dict[str, dict[int, float]],
    known: Known,
    limits: Limits,
) -> tuple[set[int], set[int]]:
    """What must be a candidate and what may be one: the best of each list, never a product bought once and owned."""
    owned = list(owned_products(customer))
    must = set(owned[: limits.most_owned]) | set(known.favourites)
    may = set(must)
    vogue = dict(enumerate(known.fresh_totals))
    for values, most in (
        (sums["alike"], limits.sizes[1]),
        (sums["along"], limits.sizes[2]),
        (sums["following"], limits.sizes[3]),
        (vogue, limits.in_vogue),
    ):
        sure, possible = best(values, most)
        must |= sure
        may |= possible
    excluded = {item for item in owned if known.once[item]}
    return must - excluded, may - excluded


def best(values: dict[int, float], most: int) -> tuple[set[int], set[int]]:
    """The keys of the largest values: which must be among so many, and which may be."""
    if len(values) <= most:
        return set(values), set(values)
    ordered = sorted(values.values(), reverse=True)
    inside, outside = ordered[most - 1], ordered[most]
    slack = NEAR * abs(inside)
    sure = {key for key, value in values.items() if value > outside + slack}
    return sure, {key for key, value in values.items() if value >= inside - slack}


class Fact(NamedTuple):
    """What is known of a ranked product and the customer; partners with the strength that each has."""

    times: int
    first_day: int
    last_day: int
    among: int
    fellows: dict[int, float]
    leaders: dict[int, float]


def fact(customer: Customer, item: int, neighbours: Iterable[int], known: Known, limits: Limits) -> Fact:
    owned = owned_products(customer)
    own = owned.get(item, Owned(0, 0, 0, 0.0))
    among = sum(item in distinct(known.references[row], limits.most_products) for row in neighbours)
    fellows = {
        mine: dict(known.along[mine])[item] * owned[mine].fading for mine in owned if item in dict(known.along[mine])
    }
    last = customer[-1][1] if customer else []
    leaders = {mine: dict(known.following[mine])[item] for mine in last if item in dict(known.following[mine])}
    return Fact(own.times, own.first, own.last, among, fellows, leaders)
