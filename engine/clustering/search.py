"""The search for good centroids on rows that fit in the cache: many starts, few of them to the end, the best bettered.

Lloyd's algorithm ends in the basin where it begins. Where groups are apart, nearly every start of k-means++ misses
some of them once there are more than a dozen, and where they overlap, one basin in many is the best. So many starts
move a little, the best of them *breathe* (centroids are added where rows are far, and those taken away that are missed
least), which leaves a basin for a better one, and only what is left is moved until it rests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.clustering.lloyd import Rest, lloyd
from engine.clustering.rows import Rows
from engine.clustering.rows_cuda import Searchable

SAME_BASIN = 0.02
"""Two solutions are in one basin when the squared gaps between their centroids sum to at most this share of the rows'
variance."""

AS_GOOD = 2e-4
"""Two solutions are equally good when their inertias differ by at most this share."""

OFFSET = 0.1
"""How far from a centroid its second one begins, in standard deviations of its rows along each feature."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much solutions breathe.

    Attributes
    ----------
    width : int
        Centroids added at a time, at first.
    breaths : (int, int)
        Moves with the added centroids, and without.
    better : float
        A breath helps when it lowers the inertia by this share.
    final_moves : int
        Most moves afterwards.
    """

    width: int = 4
    breaths: tuple[int, int] = (6, 10)
    better: float = 1e-4
    final_moves: int = 30


def breathed(
    rows: Searchable,
    rests: Sequence[Rest],
    effort: Effort,
    *,
    shift_tolerance: float,
    max_iter: int,
    rng: np.random.Generator,
) -> list[Rest]:
    """Let each solution breathe; none becomes worse.

    References
    ----------
    B. Fritzke, "The breathing k-means algorithm", arXiv:2006.15666, 2020.
    """
    direction = rng.normal(size=rows.d)
    most_in, most_out = (min(moves, max_iter) for moves in effort.breaths)
    centroids, rounds = rows.breathe(
        [rest.centroids for rest in rests],
        direction * (OFFSET * np.sqrt(rows.d) / np.linalg.norm(direction)),
        width=effort.width,
        moves=(most_in, most_out),
        shift_tolerance=shift_tolerance,
        better=effort.better,
    )
    return [
        Rest(after, rest.n_iter + int(made) * (most_in + most_out), "breathed")
        for after, rest, made in zip(centroids, rests, rounds, strict=True)
    ]


def agree(costs: Sequence[float]) -> bool:
    """Say whether solutions with these inertias are equally good."""
    return max(costs) <= min(costs) * (1 + AS_GOOD)


def ranked(rows: Rows, rests: Sequence[Rest]) -> list[Rest]:
    """Rests by inertia, lowest first; earlier starts first where equal. One read."""
    costs = inertias(rows, rests)
    return [rests[number] for number in sorted(range(len(rests)), key=lambda number: (costs[number], number))]


def inertias(rows: Rows, rests: Sequence[Rest]) -> list[float]:
    """Inertia of each. One read."""
    return [stats.inertia for stats in rows.step([rest.centroids for rest in rests])]


def continued(rows: Rows, rests: Sequence[Rest], *, max_iter: int, shift_tolerance: float) -> list[Rest]:
    """Move rests on, counting their moves so far."""
    further = lloyd(rows, [rest.centroids for rest in rests], max_iter=max_iter, shift_tolerance=shift_tolerance)
    return [
        Rest(after.centroids, before.n_iter + after.n_iter, after.stop_reason)
        for before, after in zip(rests, further, strict=True)
    ]


def distinct(rests: Sequence[Rest], same: float) -> list[Rest]:
    """Return the first rest of each basin: those whose centroids lie where an earlier one's do say nothing new.

    A sample may rank two basins wrongly. If copies of its favourite crowded out the other, the exact reads of all rows
    could not set it right.
    """
    found: list[Rest] = []
    for rest in rests:
        if all(gap(rest, other) > same for other in found):
            found.append(rest)
    return found


def gap(one: Rest, other: Rest) -> float:
    """Sum of the squared distances from each centroid of one to the nearest of the other."""
    apart = np.square(one.centroids[:, np.newaxis] - other.centroids).sum(axis=2)
    return float(apart.min(axis=1).sum())
