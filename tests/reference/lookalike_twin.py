"""Look-alikes as one would explain them at a blackboard: loops over people, nothing clever."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

Person = Mapping[str, object]


def area_under_curve(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Compare every pair."""
    wins = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative)
    return wins / (len(positive) * len(negative))


def lift(positive: Sequence[float], negative: Sequence[float], taken: int) -> float:
    """Take so many of the negatives from the best; ask how many positives reach the last of them. No ties."""
    border = sorted(negative, reverse=True)[taken - 1]
    return sum(p >= border for p in positive) / len(positive) / (taken / len(negative))


def distance(
    one: Person, other: Person, shares: Mapping[str, Mapping[object, float]], order: Mapping[str, list]
) -> float:
    """Root mean square over the columns of how far two people are apart, 0 to 1.

    ``shares``: by column, the reference's share of each value; ``order``: the values of ordered columns, from lowest.
    """
    total = 0.0
    for name in shares:
        a, b = one[name], other[name]
        if name not in order:
            total += float(a != b)
            continue
        known = {value: shares[name][value] for value in order[name]}
        everybody = sum(known.values())

        def place(value: object, known: Mapping[object, float] = known, everybody: float = everybody) -> float:
            values = list(known)
            below = sum(known[each] for each in values[: values.index(value)])
            return (below + known[value] / 2) / everybody

        if a is None and b is None:
            continue
        if a is None or b is None:
            total += (0.5 - place(b if a is None else a)) ** 2 + 0.75
        else:
            total += (place(a) - place(b)) ** 2
    return math.sqrt(total / len(shares))


def loss(
    weights: Sequence[float],
    intercept: float,
    seeds: Sequence[Sequence[float]],
    reference: Sequence[Sequence[float]],
    strength: float,
) -> float:
    """The penalised log-loss that the scorecard minimises, seeds and reference weighing alike."""

    def logistic(rows: Sequence[Sequence[float]], sign: float) -> float:
        scores = (intercept + sum(w * x for w, x in zip(weights, row, strict=True)) for row in rows)
        return sum(math.log1p(math.exp(-sign * score)) for score in scores)

    balanced = logistic(seeds, 1.0) + logistic(reference, -1.0) * len(seeds) / len(reference)
    return strength * balanced + sum(w * w for w in weights) / 2


def is_lowest(at: Sequence[float], value: Callable[[Sequence[float]], float], step: float) -> bool:
    """Whether no small move along one coordinate makes a function smaller."""
    here = value(at)
    moves = [[x + (d if i == j else 0.0) for j, x in enumerate(at)] for i in range(len(at)) for d in (step, -step)]
    return all(value(move) >= here for move in moves)
