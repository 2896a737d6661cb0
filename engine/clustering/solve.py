"""From rows to centroids: plain Lloyd, or solve on a sample and certify on everything."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from engine.clustering.lloyd import lloyd, mean_variance, next_centroids, residual
from engine.clustering.plan import Limits
from engine.clustering.rows import Centroids, Rows
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_blocks import HeldRows
from engine.clustering.rows_cuda import CudaRows
from engine.clustering.sample_solve import Sampled, evenly, held, solve_on_sample, together
from engine.clustering.seeding import SEEDINGS, TooFewDistinctRowsError
from engine.errors import DataError, SettingError

log = logging.getLogger(__name__)

SOLVERS = ("auto", "full", "sample")

FULL_BELOW_ROWS = 100_000
"""``auto`` solves on all rows below this many."""

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
        ``fixed point``, ``tolerance``, ``max_iter``, ``polished`` (a further read would gain next to nothing),
        ``max_passes`` or ``max_seconds``.
    residual : float
        How far from a fixed point of Lloyd's algorithm, which has 0: the share of the inertia that a move of the
        centroids to the means of their rows takes off before any row changes its cluster. That of the last move over
        all rows for ``sample``, of one more move for ``full``.
    rows_used : int
        Rows that were searched: all for ``full``, those of the sample otherwise.
    """

    centroids: Centroids
    n_iter: int
    passes: float
    solver: str
    stop_reason: str
    residual: float
    rows_used: int


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
    max_passes: int | None = None,
    max_seconds: float | None = None,
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
        full below 100,000 rows, unless a limit is given, which only ``sample`` keeps.
    init : {"k-means++", "random"} or sequence of (k, d) arrays
        How starts are drawn, or the starts themselves (then the solver is ``full``).
    n_init : int, optional
        Starts, of which the best is kept. Default 10 for the full solver. The sample solver makes 4 to 16, the fewer
        the larger k is, or more when asked.
    max_iter : int
        Most moves of a start.
    tol : float
        A start rests when the squared shift of its centroids is at most ``tol`` × the mean variance of the features.
    max_passes : int, optional
        Most reads of all rows by the sample solver, 1 or more; about six by default.
    max_seconds : float, optional
        Time after which the sample solver begins nothing new: it may be exceeded by a step that is under way. The
        result then depends on the machine.

    Returns
    -------
    Solution

    Raises
    ------
    SettingError
        k below 1, an unknown solver or init, ``sample`` together with given starts, a limit out of range, or a limit
        together with ``full`` or with given starts.
    DataError
        k above the number of different rows.

    Examples
    --------
    >>> rows = ArrayRows([[0.0], [1.0], [8.0], [10.0]])
    >>> sorted(solve(rows, 2).centroids[:, 0].tolist())
    [0.5, 9.0]
    """
    if not isinstance(init, str):
        # Given starts are moved over all rows.
        _check(rows, k, solver, limits=(max_passes, max_seconds))
        check_limits("full", max_passes, max_seconds)
        if solver == "sample":
            raise SettingError("clustering.solver: 'sample' draws its own starts; with given centroids use 'full'.")
        return _solve_full(
            rows, k, np.random.default_rng(seed), init=init, n_init=len(init), max_iter=max_iter, tol=tol
        )
    (solution,) = solve_many(
        rows,
        [k],
        seeds=[seed],
        solver=solver,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
        max_passes=max_passes,
        max_seconds=max_seconds,
    )
    return solution


def solve_many(
    rows: Rows,
    ks: Sequence[int],
    *,
    seeds: Sequence[int],
    solver: str = "auto",
    init: str = "k-means++",
    n_init: int | None = None,
    max_iter: int = 300,
    tol: float = 1e-4,
    max_passes: int | None = None,
    max_seconds: float | None = None,
) -> list[Solution]:
    """Solve for several k, each from its seed; the exact reads of the sample solver are shared.

    Each solution is the one that :func:`solve` finds for its k and seed alone, bit for bit, unless time runs out.

    Examples
    --------
    >>> rows = ArrayRows([[0.0], [1.0], [8.0], [10.0]])
    >>> [sorted(found.centroids[:, 0].tolist()) for found in solve_many(rows, [2, 1], seeds=[0, 0])]
    [[0.5, 9.0], [4.75]]
    """
    for k in ks:
        _check(rows, k, solver, limits=(max_passes, max_seconds))
    if init not in SEEDINGS:
        raise SettingError.from_unknown("init", init, SEEDINGS)
    if solver == "auto":
        unlimited = max_passes is None and max_seconds is None
        solver = "full" if rows.n < FULL_BELOW_ROWS and unlimited else "sample"
    if not isinstance(rows, ArrayRows) and rows.n < FULL_BELOW_ROWS:
        # So few are solved in memory whoever holds them, and the result is that of a matrix.
        rows = held(rows, np.arange(rows.n), rows.weights)
    full = {"init": init, "n_init": FULL_STARTS if n_init is None else n_init, "max_iter": max_iter, "tol": tol}
    if solver == "full":
        return [
            _solve_full(rows, k, np.random.default_rng(seed), **full)  # type: ignore[arg-type]
            for k, seed in zip(ks, seeds, strict=True)
        ]
    until = None if max_seconds is None else time.monotonic() + max_seconds
    searches = [
        solve_on_sample(
            rows,
            k,
            np.random.default_rng(seed),
            draw=SEEDINGS[init],
            n_init=n_init or 0,
            limits=Limits(max_iter, tol, max_passes, until),
        )
        for k, seed in zip(ks, seeds, strict=True)
    ]
    return [
        # The sample may have missed what few different rows there are: ask all of them.
        _solve_full(rows, k, np.random.default_rng(seed), **full)  # type: ignore[arg-type]
        if isinstance(found, TooFewDistinctRowsError)
        else _from_sample(found)
        for k, seed, found in zip(ks, seeds, together(rows, searches), strict=True)
    ]


def _from_sample(found: Sampled) -> Solution:
    return Solution(
        centroids=found.centroids,
        n_iter=found.n_iter,
        passes=float(found.passes),
        solver="sample",
        stop_reason=found.stop_reason,
        residual=found.residual,
        rows_used=found.rows_used,
    )


def _check(rows: Rows, k: int, solver: str, *, limits: tuple[int | None, float | None]) -> None:
    if k < 1:
        raise SettingError(f"clustering.k: expected 1 or more clusters; got {k}.")
    if k > rows.n:
        raise DataError(
            f"clustering.k: expected no more clusters than rows; got k={k} for {rows.n} "
            f"{'row' if rows.n == 1 else 'rows'}. Lower k (n_clusters of the estimator)."
        )
    if solver not in SOLVERS:
        raise SettingError.from_unknown("clustering.solver", solver, SOLVERS)
    check_limits(solver, *limits)


def check_limits(solver: str, max_passes: int | None, max_seconds: float | None, *, group: str = "") -> None:
    """Raise :class:`SettingError` unless limits are in range and the solver keeps them.

    Parameters
    ----------
    solver, max_passes, max_seconds
        As :func:`solve` takes them; given starts are a matter of ``full``.
    group : str
        What comes before their names in the message: ``clustering.`` where they are settings of a configuration.

    Examples
    --------
    >>> check_limits("full", 3, None)
    Traceback (most recent call last):
    engine.errors.SettingError: max_passes: solver 'full' and given starts read all rows in every move, and keep no \
limit; got 3. Use solver 'auto' or 'sample', or set it to None.
    """
    none = "null" if group else "None"
    if max_passes is not None and (
        isinstance(max_passes, bool) or not isinstance(max_passes, Integral) or max_passes < 1
    ):
        raise SettingError(
            f"{group}max_passes: expected a whole number of reads of all rows, 1 or more, or {none}; got "
            f"{max_passes!r}."
        )
    if max_seconds is not None and (
        isinstance(max_seconds, bool) or not isinstance(max_seconds, Real) or not float(max_seconds) > 0
    ):
        raise SettingError(f"{group}max_seconds: expected seconds, more than 0, or {none}; got {max_seconds!r}.")
    for name, limit in (("max_passes", max_passes), ("max_seconds", max_seconds)):
        if solver == "full" and limit is not None:
            raise SettingError(
                f"{group}{name}: solver 'full' and given starts read all rows in every move, and keep no limit; got "
                f"{limit!r}. Use solver 'auto' or 'sample', or set it to {none}."
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
        few = rows if isinstance(rows, ArrayRows) else evenly(rows, FULL_BELOW_ROWS, rng)
        try:
            starts = SEEDINGS[init](few, k, starts=n_init, rng=rng)
        except TooFewDistinctRowsError:
            if not isinstance(rows, HeldRows | CudaRows):
                raise
            # Where even so many rows hold so few that differ, all that do fit in memory.
            rows = rows.distinct()
            starts = SEEDINGS[init](rows, k, starts=n_init, rng=rng)
    return best_of(rows, starts, max_iter=max_iter, tol=tol)


def best_of(rows: Rows, starts: Sequence[Centroids], *, max_iter: int, tol: float) -> Solution:
    """Move all starts over all rows until they rest, and return the best."""
    rests = lloyd(rows, starts, max_iter=max_iter, shift_tolerance=tol * mean_variance(rows) if tol > 0 else 0.0)
    stats = rows.step([rest.centroids for rest in rests])
    winner = min(range(len(rests)), key=lambda number: stats[number].inertia)
    best = rests[winner]
    return Solution(
        centroids=best.centroids,
        n_iter=best.n_iter,
        passes=float(max(rest.n_iter for rest in rests) + 1 + 2 * (tol > 0)),
        solver="full",
        stop_reason=best.stop_reason,
        residual=residual(best.centroids, next_centroids(rows, best.centroids, stats[winner]), stats[winner]),
        rows_used=rows.n,
    )
