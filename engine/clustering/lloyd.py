"""Lloyd's algorithm, written once for every kind of rows and for many starts at a time.

Each round reads the rows once and moves every start that has not come to rest. Who holds the rows, and on how many
threads or machines, is not known here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.clustering.rows import Centroids, Rows, Stats
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_cuda import CudaRows, Searchable

log = logging.getLogger(__name__)

IN_CACHE_ROWS = 262_144
"""Up to so many rows in memory, many starts are moved one a thread, each for as long as it takes; with more, each read
moves all starts, and all threads share it. The results are the same."""

ONE_THREAD_ROWS = 16_384
"""Up to so many rows, one thread alone has read them before a second one has begun."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Where one start ended.

    Attributes
    ----------
    centroids : (k, d) float64
        After the last move.
    n_iter : int
        Moves made, 1 or more.
    stop_reason : str
        ``fixed point`` (no centroid moved), ``tolerance`` (they moved less than asked), or ``max_iter``.
    """

    centroids: Centroids
    n_iter: int
    stop_reason: str


def lloyd(rows: Rows, starts: Sequence[Centroids], *, max_iter: int = 300, shift_tolerance: float = 0.0) -> list[Rest]:
    """Move each set of centroids to the means of their rows, until they rest.

    Parameters
    ----------
    rows : Rows
    starts : sequence of (k, d) float64
        First centroids of each start.
    max_iter : int
        Most moves of one start.
    shift_tolerance : float
        A start rests when the sum of its centroids' squared shifts is at or below this, in squared units of the
        rows. 0: only when none moves.

    Returns
    -------
    list of Rest
        One for each start, in order.

    References
    ----------
    S. P. Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 28, 1982.

    Examples
    --------
    >>> from engine.clustering.rows_array import ArrayRows
    >>> rest, = lloyd(ArrayRows([[0.0], [1.0], [8.0], [10.0]]), [np.array([[0.0], [1.0]])])
    >>> rest.centroids[:, 0].tolist(), rest.n_iter, rest.stop_reason
    ([0.5, 9.0], 3, 'fixed point')
    """
    if isinstance(rows, CudaRows) and rows.failure is not None:
        rows = rows.in_memory()
    if isinstance(rows, ArrayRows) and rows.n <= IN_CACHE_ROWS and (len(starts) > 1 or rows.n <= ONE_THREAD_ROWS):
        return _each_by_itself(rows, starts, max_iter=max_iter, shift_tolerance=shift_tolerance)
    sizes = {len(start) for start in starts}
    if isinstance(rows, CudaRows) and len(sizes) == 1 and rows.moves_starts(*sizes):
        return _each_by_itself(rows, starts, max_iter=max_iter, shift_tolerance=shift_tolerance)
    centroids = [np.array(start, dtype=np.float64) for start in starts]
    rests: dict[int, Rest] = {}
    for n_iter in range(1, max_iter + 1):
        moving = [number for number in range(len(starts)) if number not in rests]
        for number, stats in zip(moving, rows.step([centroids[number] for number in moving]), strict=True):
            moved = next_centroids(rows, centroids[number], stats)
            # One after the other: the sum is that of the compiled form.
            shift = float(np.cumsum(np.square(moved - centroids[number]))[-1])
            centroids[number] = moved
            if shift <= shift_tolerance:
                rests[number] = Rest(moved, n_iter, "fixed point" if shift == 0.0 else "tolerance")
            elif n_iter == max_iter:
                rests[number] = Rest(moved, n_iter, "max_iter")
        if len(rests) == len(starts):
            break
    return [rests[number] for number in range(len(starts))]


def _each_by_itself(
    rows: Searchable, starts: Sequence[Centroids], *, max_iter: int, shift_tolerance: float
) -> list[Rest]:
    """Do the same in compiled code, one start a thread, or on a GPU; a cluster that lost its rows is repaired here."""
    from engine.clustering.search_kernels import AT_REST, EMPTY, TOLERATED

    reasons = {AT_REST: "fixed point", TOLERATED: "tolerance"}
    rests = []
    for centroids, moves, end in zip(*rows.settle(starts, max_iter, shift_tolerance), strict=True):
        made = int(moves)
        while end == EMPTY:
            (stats,) = rows.step([centroids])
            moved = next_centroids(rows, centroids, stats)
            made += 1
            shift = float(np.cumsum(np.square(moved - centroids))[-1])
            centroids = moved
            if shift <= shift_tolerance:
                end = AT_REST if shift == 0.0 else TOLERATED
            elif made == max_iter:
                break
            else:
                ((centroids,), (further,), (end,)) = rows.settle([centroids], max_iter - made, shift_tolerance)
                made += int(further)
        rests.append(Rest(centroids, made, reasons.get(int(end), "max_iter")))
    return rests


def next_centroids(rows: Rows, centroids: Centroids, stats: Stats) -> Centroids:
    """Return the mean of each cluster's rows; a cluster without rows is put on a far row of another.

    The clusters' farthest rows are given to the empty clusters in order of their distance, at most one from each
    cluster: the same rows always give the same repair, and the inertia falls.

    Examples
    --------
    >>> from engine.clustering.rows_array import ArrayRows
    >>> rows = ArrayRows([[0.0], [1.0], [8.0]])
    >>> C = np.array([[1.0], [-50.0]])
    >>> next_centroids(rows, C, rows.step([C])[0])[:, 0].tolist()
    [0.5, 8.0]
    """
    counts, sums = stats.counts, stats.sums
    empty = np.flatnonzero(counts <= 0)
    if len(empty):
        counts, sums = _with_empty_filled(rows, centroids, stats, empty)
    filled = counts > 0
    moved = centroids.copy()
    moved[filled] = sums[filled] / counts[filled, np.newaxis]
    return moved


def residual(centroids: Centroids, moved: Centroids, stats: Stats) -> float:
    """Return the share of the inertia that a move to the means takes off before any row changes its cluster.

    Σ weight of the cluster × squared shift / inertia; 0 at a fixed point.
    """
    gained = float(stats.counts @ np.square(moved - centroids).sum(axis=1))
    return gained / stats.inertia if stats.inertia > 0 else 0.0


def _with_empty_filled(
    rows: Rows, centroids: Centroids, stats: Stats, empty: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], Centroids]:
    counts, sums = stats.counts.copy(), stats.sums.copy()
    farthest = rows.farthest(centroids)
    donors = np.flatnonzero(farthest >= 0)
    far_rows = farthest[donors]
    points = rows.take(far_rows).astype(np.float64)
    weights = np.ones(len(donors)) if rows.weights is None else rows.weights[far_rows]
    squared = np.square(points - centroids[donors]).sum(axis=1)
    order = np.argsort(-squared, kind="stable")
    for cluster, place in zip(empty, order, strict=False):
        donor, weight = donors[place], weights[place]
        # A cluster that is one point, however often, has nothing to give.
        if squared[place] == 0.0 or counts[donor] <= weight:
            continue
        sums[cluster], counts[cluster] = weight * points[place], weight
        sums[donor] -= sums[cluster]
        counts[donor] -= weight
    log.debug("%d empty clusters were put on far rows", len(empty))
    return counts, sums


def mean_variance(rows: Rows) -> float:
    """Mean over the features of their variance: the unit in which scikit-learn's ``tol`` is given.

    Reads the rows twice, because a variance from sums of squares loses its digits where the mean is large.

    Examples
    --------
    >>> from engine.clustering.rows_array import ArrayRows
    >>> mean_variance(ArrayRows([[0.0, 5.0], [2.0, 5.0]]))
    0.5
    """
    (total,) = rows.step([np.zeros((1, rows.d))])
    (around,) = rows.step([total.sums / total.counts[:, np.newaxis]])
    return around.inertia / float(around.counts[0]) / rows.d
