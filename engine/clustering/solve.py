"""From rows to centroids: plain Lloyd, or solve on a sample and certify on everything.

The optimum of a sample of m rows costs only about k/m more on all rows, however many there are. So with many rows the
search (restarts, swaps) happens on a sample that fits in cache, and a few exact reads of all rows choose the winner
and polish it.

Half of the sample is drawn evenly; the other half in proportion to the squared distance from a first, rough solution,
so that a small cluster far from all others is in it. Weights make both halves together an unbiased picture of all
rows (the lightweight coreset of Bachem, Lucic and Krause, KDD 2018, around k centres instead of one).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.clustering.lloyd import Rest, lloyd, mean_variance, next_centroids
from engine.clustering.rows import Centroids, IntArray, Rows
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_blocks import HeldRows
from engine.clustering.seeding import (
    TooFewDistinctRowsError,
    draw_by_mass,
    draw_evenly,
    kmeans_plus_plus,
    random_starts,
)
from engine.errors import DataError, SettingError

log = logging.getLogger(__name__)

SOLVERS = ("auto", "full", "sample")
SEEDINGS = {"k-means++": kmeans_plus_plus, "random": random_starts}

FULL_BELOW_ROWS = 100_000
"""``auto`` solves on all rows below this many."""

SAMPLE_TOL = 0.1
"""The sample is solved to this share of ``tol``: moves are cheap there."""

SAME_BASIN = 0.02
"""Two starts are in one basin when the squared gaps between their centroids sum to at most this share of the rows'
variance."""

DISTINCT_UP_TO_ROWS = 20_000
"""Up to this many rows in memory, equal rows are made one row with a weight before solving: it takes milliseconds, and
makes the result independent of the rows' order and of whether a row is repeated or weighted."""

FULL_STARTS = 10
"""Starts of the full solver when ``n_init`` is not given."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Centroids, and how they were found.

    Attributes
    ----------
    centroids : (k, d) float64
        In arbitrary order.
    n_iter : int
        Lloyd moves of the winning start, on the sample and on all rows together.
    passes : float
        Reads of all rows, for all starts together.
    solver : str
        ``full`` or ``sample``.
    stop_reason : str
        ``fixed point``, ``tolerance``, ``max_iter``, or ``polished`` (the sample solver's reads were used up).
    """

    centroids: Centroids
    n_iter: int
    passes: float
    solver: str
    stop_reason: str


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """How much the sample solver searches. The defaults hold the aim of 1.001 × the best of ten full starts."""

    rough_rows_per_cluster: int = 2048
    rough_rows_least: int = 65_536
    rough_starts: int = 64
    rough_moves: int = 8
    rough_kept: int = 8
    rows_per_cluster: int = 8192
    rows_least: int = 131_072
    starts: int = 3
    moves: int = 30
    finalists: int = 6
    swap_rounds: int = 3
    swaps_per_round: int = 6
    swap_moves: int = 10
    polish_reads: int = 6


PLAN = SamplePlan()


def solve(
    rows: Rows,
    k: int,
    *,
    seed: int = 0,
    solver: str = "auto",
    init: str | Sequence[Centroids] = "k-means++",
    n_init: int | None = None,
    max_iter: int = 300,
    tol: float = 1e-4,
) -> Solution:
    """Find k centroids of low inertia.

    Parameters
    ----------
    rows : Rows
        Finite features on comparable scales.
    k : int
        Number of clusters, from 1 to the number of different rows.
    seed : int
        Same seed and rows, same centroids, on any number of threads.
    solver : {"auto", "full", "sample"}
        ``full``: Lloyd's algorithm on all rows. ``sample``: search on a sample, then a few exact reads. ``auto``:
        full below 100,000 rows.
    init : {"k-means++", "random"} or sequence of (k, d) arrays
        How starts are drawn, or the starts themselves (then the solver is ``full``).
    n_init : int, optional
        Starts, of which the best is kept. Default 10 for the full solver. The sample solver makes 64 or more.
    max_iter : int
        Most moves of a start.
    tol : float
        A start rests when the squared shift of its centroids is at most ``tol`` × the mean variance of the features.

    Returns
    -------
    Solution

    Raises
    ------
    SettingError
        k below 1, an unknown solver or init, or ``sample`` together with given starts.
    DataError
        k above the number of different rows.

    Examples
    --------
    >>> rows = ArrayRows([[0.0], [1.0], [8.0], [10.0]])
    >>> sorted(solve(rows, 2).centroids[:, 0].tolist())
    [0.5, 9.0]
    """
    if k < 1:
        raise SettingError(f"clustering.k: expected 1 or more clusters; got {k}.")
    if k > rows.n:
        raise DataError(
            f"clustering.k: expected no more clusters than rows; got k={k} for {rows.n} "
            f"{'row' if rows.n == 1 else 'rows'}. Lower k (n_clusters of the estimator)."
        )
    if solver not in SOLVERS:
        raise SettingError.from_unknown("clustering.solver", solver, SOLVERS)
    if isinstance(init, str) and init not in SEEDINGS:
        raise SettingError.from_unknown("init", init, SEEDINGS)
    if not isinstance(init, str) and solver == "sample":
        raise SettingError("clustering.solver: 'sample' draws its own starts; with given centroids use 'full'.")
    if solver == "auto":
        solver = "full" if rows.n < FULL_BELOW_ROWS else "sample"
    if not isinstance(rows, ArrayRows) and rows.n < FULL_BELOW_ROWS:
        # So few are solved in memory whoever holds them, and the result is that of a matrix.
        rows = _held(rows, np.arange(rows.n), rows.weights)
    rng = np.random.default_rng(seed)
    if solver == "sample" and isinstance(init, str):
        try:
            plan = replace(PLAN, rough_starts=max(PLAN.rough_starts, n_init or 0))
            return _solve_sample(rows, k, rng, init=init, max_iter=max_iter, tol=tol, plan=plan)
        except TooFewDistinctRowsError:
            # The sample may have missed what few different rows there are: ask all of them.
            log.debug("fewer than %d different rows in the sample; solving on all rows", k)
    return _solve_full(
        rows, k, rng, init=init, n_init=FULL_STARTS if n_init is None else n_init, max_iter=max_iter, tol=tol
    )


def _solve_full(
    rows: Rows,
    k: int,
    rng: np.random.Generator,
    *,
    init: str | Sequence[Centroids],
    n_init: int,
    max_iter: int,
    tol: float,
) -> Solution:
    if isinstance(rows, ArrayRows) and rows.n <= DISTINCT_UP_TO_ROWS:
        rows = rows.distinct()
        if k > rows.n:
            raise TooFewDistinctRowsError(k, rows.n)
    if not isinstance(init, str):
        starts = list(init)
    else:
        held = rows if isinstance(rows, ArrayRows) else _evenly(rows, FULL_BELOW_ROWS, rng)
        try:
            starts = SEEDINGS[init](held, k, starts=n_init, rng=rng)
        except TooFewDistinctRowsError:
            if not isinstance(rows, HeldRows):
                raise
            # Where even so many rows hold so few that differ, all that do fit in memory.
            rows = rows.distinct()
            starts = SEEDINGS[init](rows, k, starts=n_init, rng=rng)
    rests = lloyd(rows, starts, max_iter=max_iter, shift_tolerance=tol * mean_variance(rows) if tol > 0 else 0.0)
    best, reads = rests[0], 0
    if len(rests) > 1:
        (best, *_), reads = _ranked(rows, rests), 1
    return Solution(
        centroids=best.centroids,
        n_iter=best.n_iter,
        passes=float(max(rest.n_iter for rest in rests) + reads + 2 * (tol > 0)),
        solver="full",
        stop_reason=best.stop_reason,
    )


def _solve_sample(
    rows: Rows, k: int, rng: np.random.Generator, *, init: str, max_iter: int, tol: float, plan: SamplePlan
) -> Solution:
    draw = SEEDINGS[init]
    few = _evenly(rows, max(plan.rough_rows_least, plan.rough_rows_per_cluster * k), rng)
    rough = _thinned(
        few,
        draw(few, k, starts=plan.rough_starts, rng=rng),
        moves=min(plan.rough_moves, max_iter),
        kept=plan.rough_kept,
        shift_tolerance=tol * mean_variance(few),
        same=SAME_BASIN * rows.d * mean_variance(few),
    )
    m = min(max(plan.rows_least, plan.rows_per_cluster * k), rows.n)
    sample = _sample_around(rows, rough[0].centroids, m, rng)
    asked = tol * mean_variance(sample)
    tolerance = SAMPLE_TOL * asked
    # Starts of its own, because the sample may hold a far cluster that the first few rows did not.
    begun = _searched(
        sample,
        [*(rest.centroids for rest in rough), *draw(sample, k, starts=plan.starts, rng=rng)],
        max_iter=min(plan.moves, max_iter),
        shift_tolerance=tolerance,
    )
    begun = _distinct(begun, SAME_BASIN * rows.d * mean_variance(sample))[: plan.finalists]
    best, *others = _ranked(sample, _continued(sample, begun, max_iter=max_iter, shift_tolerance=tolerance))
    best = _swapped(sample, best, rng, max_iter=max_iter, shift_tolerance=tolerance, plan=plan)

    finalists = [best, *others]
    stats = rows.step([rest.centroids for rest in finalists])
    winner = min(range(len(finalists)), key=lambda number: stats[number].inertia)
    rest = finalists[winner]
    centroids = next_centroids(rows, rest.centroids, stats[winner])
    polished = lloyd(rows, [centroids], max_iter=plan.polish_reads, shift_tolerance=asked)[0]
    return Solution(
        centroids=polished.centroids,
        n_iter=rest.n_iter + 1 + polished.n_iter,
        passes=float(2 + polished.n_iter),
        solver="sample",
        stop_reason="polished" if polished.stop_reason == "max_iter" else polished.stop_reason,
    )


def _searched(rows: Rows, starts: Sequence[Centroids], *, max_iter: int, shift_tolerance: float) -> list[Rest]:
    """Move all starts and rank them by inertia, lowest first."""
    return _ranked(rows, lloyd(rows, starts, max_iter=max_iter, shift_tolerance=shift_tolerance))


def _thinned(
    rows: Rows, starts: Sequence[Centroids], *, moves: int, kept: int, shift_tolerance: float, same: float
) -> list[Rest]:
    """Move all starts some way, give up the worse half, and so on until ``kept`` are left; lowest inertia first.

    Successive halving (Jamieson and Talwalkar, AISTATS 2016): where clusters overlap, one start in many finds the best
    basin, and a start shows early on whether it may.
    """
    rests = _searched(rows, starts, max_iter=moves, shift_tolerance=shift_tolerance)
    while len(rests) > 2 * kept:
        rests = rests[: max(2 * kept, len(rests) // 2)]
        rests = _ranked(rows, _continued(rows, rests, max_iter=moves, shift_tolerance=shift_tolerance))
    return _distinct(rests, same)[:kept]


def _distinct(rests: Sequence[Rest], same: float) -> list[Rest]:
    """Return the first rest of each basin: those whose centroids lie where an earlier one's do say nothing new.

    A sample may rank two basins wrongly. If copies of its favourite crowded out the other, the exact reads of all rows
    could not set it right.
    """
    found: list[Rest] = []
    for rest in rests:
        gaps = (
            np.square(rest.centroids[:, np.newaxis] - other.centroids).sum(axis=2).min(axis=1).sum() for other in found
        )
        if all(gap > same for gap in gaps):
            found.append(rest)
    return found


def _evenly(rows: Rows, m: int, rng: np.random.Generator) -> ArrayRows:
    """Hold about m rows, each with the same chance, in memory."""
    index = draw_evenly(rows.n, min(m, rows.n), rng)
    return _held(rows, index, None if rows.weights is None else rows.weights[index])


def _sample_around(rows: Rows, centroids: Centroids, m: int, rng: np.random.Generator) -> ArrayRows:
    """Draw half of m rows evenly and half by squared distance from the centroids, weighted to stand for all rows."""
    labels = np.empty(rows.n, dtype=np.int32)
    distances = np.empty(rows.n, dtype=np.float32)
    rows.assign(centroids, labels, distances)
    weights = rows.weights

    def mass(block: slice) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        squared = np.square(distances[block], dtype=np.float64)
        return squared if weights is None else squared * weights[block]

    half = max(1, m // 2)
    even = draw_evenly(rows.n, half, rng)
    far, total = draw_by_mass(mass, rows.n, half, rng)
    index = np.concatenate([even, far])
    own = np.ones(len(index)) if weights is None else weights[index]
    squared = np.square(distances[index], dtype=np.float64) * own
    # Expected number of draws of each row; its inverse makes every weighted sum over the sample unbiased.
    expected = half / rows.n + (half * squared / total if total > 0 else 0.0)
    return _held(rows, index, own / expected)


def _held(rows: Rows, index: IntArray, weights: np.ndarray[tuple[int], np.dtype[np.float64]] | None) -> ArrayRows:
    return ArrayRows(rows.take(index), weights, threads=rows.threads)


def _ranked(rows: Rows, rests: Sequence[Rest]) -> list[Rest]:
    """Rests by inertia, lowest first; earlier starts first where equal. One read."""
    inertias = [stats.inertia for stats in rows.step([rest.centroids for rest in rests])]
    return [rests[number] for number in sorted(range(len(rests)), key=lambda number: (inertias[number], number))]


def _continued(rows: Rows, rests: Sequence[Rest], *, max_iter: int, shift_tolerance: float) -> list[Rest]:
    """Move rests on, counting their moves so far."""
    further = lloyd(rows, [rest.centroids for rest in rests], max_iter=max_iter, shift_tolerance=shift_tolerance)
    return [
        Rest(after.centroids, before.n_iter + after.n_iter, after.stop_reason)
        for before, after in zip(rests, further, strict=True)
    ]


def _swapped(
    sample: ArrayRows,
    best: Rest,
    rng: np.random.Generator,
    *,
    max_iter: int,
    shift_tolerance: float,
    plan: SamplePlan,
) -> Rest:
    """Try to give up a centroid that is hardly missed for one where rows are far away, as long as that helps."""
    if len(best.centroids) < 2:
        return best
    for _ in range(plan.swap_rounds):
        tried = [best, *(Rest(C, best.n_iter, "swap") for C in _swaps(sample, best.centroids, rng, plan))]
        moved = _continued(sample, tried, max_iter=min(plan.swap_moves, max_iter), shift_tolerance=shift_tolerance)
        leader = _ranked(sample, moved)[0]
        if leader is moved[0]:
            return leader
        best = _continued(sample, [leader], max_iter=max_iter, shift_tolerance=shift_tolerance)[0]
    return best


def _swaps(sample: ArrayRows, centroids: Centroids, rng: np.random.Generator, plan: SamplePlan) -> list[Centroids]:
    """Return copies of the centroids with one of them moved to a row that is far from all.

    The one given up is among those whose merger with its neighbour costs least, by Ward's formula.
    """
    labels = np.empty(sample.n, dtype=np.int32)
    distances = np.empty(sample.n, dtype=np.float64)
    sample.assign(centroids, labels, distances)
    own = np.ones(sample.n) if sample.weights is None else sample.weights
    mass = np.square(distances) * own
    far, total = draw_by_mass(lambda block: mass[block], sample.n, plan.swaps_per_round, rng)
    if not total > 0:
        return []
    counts = np.bincount(labels, weights=own, minlength=len(centroids))
    apart = np.square(centroids[:, np.newaxis] - centroids).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    shared = counts[:, np.newaxis] * counts / np.maximum(counts[:, np.newaxis] + counts, 1e-300)
    cheapest = np.argsort((shared * apart).min(axis=1), kind="stable")
    seeds = sample.take(far).astype(np.float64)
    swaps = []
    for number, seed in enumerate(seeds):
        swap = centroids.copy()
        swap[cheapest[number % min(4, len(cheapest))]] = seed
        swaps.append(swap)
    return swaps
