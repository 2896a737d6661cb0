"""How many of the true neighbours an approximate index finds, and how far it must look for as many as were asked.

The base is asked about its own rows, each left out of its own answer. A neighbour that is found counts as right when it
is no farther than the last of the true ones: of rows that are equally far, any will do.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.neighbours.exact import distances_to, exact_neighbours

log = logging.getLogger(__name__)

AT = 10
"""Neighbours that the recall is about."""

QUERIES = 1_000
"""Rows that are asked about for the recall that is stored."""

TUNING_QUERIES = 500
"""Other rows, by which it is decided how far to look."""

NO_GAIN = 0.0005
"""Twice the work for less than that much more recall is not done: the rows' codes, not the search, are the limit."""


@dataclass(frozen=True, slots=True)
class Recall:
    """What an approximate index finds, measured when it was built.

    Attributes
    ----------
    at
        Neighbours sought for each query.
    measured
        Share of them that were among the truly nearest, 0 to 1.
    queries
        Rows of the base that were asked about.
    seconds_per_query
        Of the index, all queries given at once.
    flat_seconds_per_query
        Of the exact search among all rows, likewise.
    """

    at: int
    measured: float
    queries: int
    seconds_per_query: float
    flat_seconds_per_query: float


class Searched(Protocol):
    """An index that looks farther or less far."""

    probe: Any

    @property
    def probes(self) -> list[int]:
        """What ``probe`` may be, ascending."""

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return distances and row numbers of the k nearest found."""


def tuned(index: Searched, vectors: NDArray[np.float32], *, asked: float, seed: int) -> Recall:
    """Set how far the index looks, so that it finds the share asked for, and measure that on other rows."""
    n = len(vectors)
    at = min(AT, n - 1)
    drawn = np.random.default_rng(seed).permutation(n) if n <= 10 * QUERIES else _drawn(n, seed)
    measuring = np.sort(drawn[:QUERIES])
    # A base too small for both is tuned on what it is measured on.
    tuning = np.sort(drawn[QUERIES : QUERIES + TUNING_QUERIES]) if n >= QUERIES + TUNING_QUERIES else measuring
    limits, _ = _true_limits(vectors, tuning, at)
    steps = index.probes
    shares: list[float] = []
    chosen = len(steps) - 1
    for step, index.probe in enumerate(steps):
        shares.append(_share(index, vectors, tuning, limits, at)[0])
        if shares[-1] >= asked:
            chosen = step
            break
        if step >= 4 and shares[-1] - shares[-3] < NO_GAIN:
            chosen = next(place for place, share in enumerate(shares) if share >= shares[-1] - NO_GAIN)
            break
    limits, flat_seconds = _true_limits(vectors, measuring, at)
    while True:
        index.probe = steps[chosen]
        share, seconds = _share(index, vectors, measuring, limits, at)
        log.debug("probe %d finds %.4f of the nearest %d", index.probe, share, at)
        if share >= asked or shares[-1] < asked or chosen == len(steps) - 1:
            break
        chosen += 1
    if share < asked:
        log.warning(
            "the index finds %.3f of the nearest %d, less than the %.3f asked for: what it keeps of a row says no more",
            share,
            at,
            asked,
        )
    return Recall(at, share, len(measuring), seconds / len(measuring), flat_seconds / len(measuring))


def _drawn(n: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).choice(n, QUERIES + TUNING_QUERIES, replace=False)


def _true_limits(vectors: NDArray[np.float32], rows: NDArray[np.int64], at: int) -> tuple[NDArray[np.float32], float]:
    """Return how far the last true neighbour of each row is, and the seconds that took."""
    begun = time.perf_counter()
    distances, _ = exact_neighbours(vectors[rows], vectors, at + 1)
    # The row itself is among them, or as many others lie on the same point.
    return distances[:, at], time.perf_counter() - begun


def _share(
    index: Searched, vectors: NDArray[np.float32], rows: NDArray[np.int64], limits: NDArray[np.float32], at: int
) -> tuple[float, float]:
    """Return the share of the true neighbours that are found, and the seconds that took."""
    begun = time.perf_counter()
    _, near = index.search(vectors[rows], at + 1)
    seconds = time.perf_counter() - begun
    own = near == rows[:, None]
    # Where the row itself was not found, the last of the others is one too many.
    own[~own.any(axis=1), -1] = True
    others = near[~own].reshape(len(rows), at)
    right = (distances_to(vectors[rows], vectors[others]) <= limits[:, None]) & (others >= 0)
    return float(right.mean()) if right.size else 1.0, seconds
