"""Who does one Lloyd step over all rows: every row to its nearest centroid, and the means of the rows of each.

Cartera's step is one public call, so it is timed by itself. The others have no such call: they run :data:`MOVES` + 1
iterations and one, from the same centroids, and the difference is taken over :data:`MOVES`. So the checks, copies and
last labelling that they do once in a fit do not count against them. They may not stop early, and say so if they do.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.case import Timed
from engine.errors import DataError

if TYPE_CHECKING:
    from benchmarks.case import Task
    from benchmarks.cases.step import Given

MOVES = 10
PAIRS = 5
ENOUGH_S = 4.0
"""A difference of two fits is noisy: the median of so many, fewer where one takes seconds."""

Fit = Callable[[int], tuple[Any, int]]
"""Does so many iterations; returns centroids, and how many iterations it says it did."""


def native(given: Given, task: Task) -> Timed:
    """Cartera: sums, counts and inertia of every cluster in one read."""
    from engine.clustering.rows_array import ArrayRows

    rows = ArrayRows(given.matrix, threads=task.threads)
    begun = time.perf_counter()
    (stats,) = rows.step([given.start])
    seconds = time.perf_counter() - begun
    return Timed(seconds, (stats.sums / stats.counts[:, np.newaxis], stats.inertia))


def native_labels(given: Given, task: Task) -> Timed:
    """Cartera: the label of every row; its means are worked out beside the clock."""
    from engine.clustering.rows_array import ArrayRows

    rows = ArrayRows(given.matrix, threads=task.threads)
    labels = np.zeros(len(given.matrix), np.int32)
    begun = time.perf_counter()
    inertia = rows.assign(given.start, labels)
    seconds = time.perf_counter() - begun
    counts = np.bincount(labels, minlength=len(given.start))
    sums = [np.bincount(labels, column, len(counts)) for column in given.matrix.T]
    return Timed(seconds, (np.stack(sums, axis=1) / counts[:, np.newaxis], inertia))


def read(given: Given, task: Task) -> Any:
    """Read the same bytes once with as many threads, and add them up."""
    from benchmarks.peers.reading import read_memory

    return read_memory(given.matrix, task.threads)


def sklearn(given: Given, task: Task) -> Timed:
    """scikit-learn's Lloyd."""
    from sklearn.cluster import KMeans

    return _difference(_scikit_fit(KMeans, given))


def intelex(given: Given, task: Task) -> Timed:
    """scikit-learn-intelex's Lloyd."""
    from sklearnex.cluster import KMeans

    return _difference(_scikit_fit(KMeans, given))


def _scikit_fit(kind: Any, given: Given) -> Fit:
    def fit(moves: int) -> tuple[Any, int]:
        start = given.start.astype(np.float32)
        model = kind(len(start), init=start, n_init=1, max_iter=moves, tol=0.0, algorithm="lloyd").fit(given.matrix)
        return model.cluster_centers_, int(model.n_iter_)

    return fit


def faiss(given: Given, task: Task) -> Timed:
    """FAISS's training on all rows."""
    import faiss as library

    library.omp_set_num_threads(task.threads)

    def fit(moves: int) -> tuple[Any, int]:
        model: Any = library.Kmeans(
            given.matrix.shape[1], len(given.start), niter=moves, max_points_per_centroid=2**31 - 1
        )
        model.train(given.matrix, init_centroids=given.start.astype(np.float32))
        return model.centroids, len(model.obj)

    return _difference(fit)


def _difference(fit: Fit) -> Timed:
    """Time many iterations less one, some times over; the answer is what one of them makes of the start."""
    after_one = _timed(fit, 1)[1]
    differences: list[float] = []
    begun = time.perf_counter()
    while not differences or (len(differences) < PAIRS and time.perf_counter() - begun < ENOUGH_S):
        fewer, more = (_timed(fit, moves)[0] for moves in (1, 1 + MOVES))
        differences.append((more - fewer) / MOVES)
    return Timed(statistics.median(differences), (after_one, None))


def _timed(fit: Fit, moves: int) -> tuple[float, Any]:
    begun = time.perf_counter()
    found, done = fit(moves)
    seconds = time.perf_counter() - begun
    if done != moves:
        raise DataError(f"step: expected {moves} iterations; it rested after {done}. Take rows that move longer.")
    return seconds, found
