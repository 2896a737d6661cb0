"""Try several k on the same rows and measure each by the same figures."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.clustering.assigned import assigned
from engine.clustering.backends import check_settings, cluster_rows, hold_rows
from engine.clustering.checks import check_k, check_k_value, checked_matrix, distinct_rows, too_few_distinct
from engine.clustering.figures import measure
from engine.clustering.indices import Estimate, silhouette_euclidean, total_scatter
from engine.clustering.on_device import device_of
from engine.clustering.propose import Proposed, propose_many
from engine.clustering.resampling import bootstrap_stability, gap_statistic
from engine.clustering.result import Clustering
from engine.clustering.rows_array import ArrayRows
from engine.clustering.seeding import draw_evenly
from engine.clustering.trial import Costly, Trial
from engine.compute import Compute
from engine.errors import SettingError

if TYPE_CHECKING:
    from engine.clustering.rows import Rows

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Which figures beyond the cheap ones are worked out for each k.

    Inertia, explained share, squared-Euclidean silhouette, Calinski-Harabasz and Davies-Bouldin cost one read of the
    rows or less and are always there.

    Attributes
    ----------
    silhouette_rows
        Rows from which the Euclidean silhouette is estimated; 0 leaves it out. Costs one distance from each to every
        row, or to a bounded sample of them.
    gap_references
        Reference sets of the gap statistic; 0 leaves it out. Costs as many fits for each k.
    bootstrap_resamples
        Pairs of resamples of the bootstrap stability; 0 leaves it out. Costs twice as many fits for each k.
    """

    silhouette_rows: int = 2_000
    gap_references: int = 0
    bootstrap_resamples: int = 0

    def __post_init__(self) -> None:
        for name, most in (("silhouette_rows", 1_000_000), ("gap_references", 1_000), ("bootstrap_resamples", 1_000)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or (value != 0 and not 2 <= value <= most):
                raise SettingError(
                    f"evidence.{name}: expected 0 (leave it out) or a whole number from 2 to {most:,}; got {value!r}."
                )


CHEAP = Evidence()


POOL_ROWS = 2**18
"""Rows at most, drawn evenly, among which the Euclidean silhouette draws its sample. Its error is a tenth of the
sample's, and no label beyond the pool is needed."""

SHARED_FROM_ROWS = 100_000
"""Fewer rows are solved one k at a time: each move reads them all, and they lie in the cache."""

SHARED_TRIALS = 32
"""Trials at most that share their reads: what is lost when a sweep is cut off."""


class Tries:
    """The rows of one matrix, held once for any number of trials.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, d)
        Scaled features, finite, bucket by bucket where ``bucket_rows`` says so.
    bucket_rows : sequence of int, optional
        Rows of each bucket, in the matrix's order.
    threads : int, optional
        Threads to use; all cores by default.
    compute : Compute, optional
        Where native and Dask-ML clustering is done; this process by default.
    device : str
        As in :func:`engine.clustering.backends.cluster`.
    silhouette_rows : int
        As in :class:`Evidence`.

    Raises
    ------
    DataError
        No rows, or values that are not finite.
    """

    def __init__(
        self,
        matrix: NDArray[np.float32],
        *,
        bucket_rows: Sequence[int] | None = None,
        threads: int | None = None,
        compute: Compute | None = None,
        device: str = "auto",
        silhouette_rows: int = CHEAP.silhouette_rows,
    ) -> None:
        self.matrix = checked_matrix(matrix)
        self._bucket_rows = bucket_rows
        self._threads = threads
        self._compute = compute
        self._device = device
        self._silhouette_rows = silhouette_rows
        self._held: dict[str, Rows] = {}
        self._scatter: float | None = None
        self._pool: ArrayRows | None = None
        self._ready: dict[tuple[int, int, str, int | None], Trial] = {}

    def run(
        self,
        k: int,
        *,
        backend: str = "native",
        solver: str = "auto",
        seed: int = 0,
        max_passes: int | None = None,
        max_seconds: float | None = None,
        following: Sequence[tuple[int, int]] = (),
    ) -> Trial:
        """Cluster the rows and measure the result; settings have been checked by the caller.

        Parameters
        ----------
        k, backend, solver, seed, max_passes, max_seconds
            As in :func:`engine.clustering.backends.cluster`.
        following : sequence of (k, seed)
            Trials of the same backend that will be asked for next. With many rows the native backend makes them too,
            in the same reads of the rows; the results are the same. With ``max_seconds`` each trial is made when it
            is its turn, so that the time is its own.

        Raises
        ------
        DataError
            Fewer distinct rows than k.
        """
        # What all trials share is not counted as the time of the first.
        rows, scatter = self._rows(backend), self._total_scatter()
        ready = self._ready.pop((k, seed, solver, max_passes), None) if backend == "native" else None
        if ready is not None:
            return ready
        if backend != "native":
            started = time.perf_counter()
            found = cluster_rows(rows, k, backend=backend, solver=solver, seed=seed, device=self._device)
            return self._trials(rows, [found], scatter, started)[0]
        tasks = [(k, seed)]
        propose = partial(propose_many, rows, solver=solver, max_passes=max_passes, max_seconds=max_seconds)
        if rows.n >= SHARED_FROM_ROWS and max_seconds is None:
            ready_already = {one[:2] for one in self._ready if one[2:] == (solver, max_passes)}
            possible = distinct_rows(self.matrix, max([k, *(task[0] for task in following)]))
            fresh = (task for task in following if task not in ready_already and task[0] <= possible)
            tasks += [task for task in dict.fromkeys(fresh) if task != (k, seed)][: SHARED_TRIALS - 1]
        started = time.perf_counter()
        try:
            trials = self._trials(rows, propose(tasks), scatter, started)
        except Exception:
            if len(tasks) == 1:
                raise
            # One of those to come failed; it will say so when it is its turn.
            tasks = tasks[:1]
            trials = self._trials(rows, propose(tasks), scatter, started)
        for task, trial in zip(tasks[1:], trials[1:], strict=True):
            self._ready[*task, solver, max_passes] = trial
        return trials[0]

    def _trials(
        self, rows: Rows, found: Sequence[Clustering | Proposed], scatter: float, started: float
    ) -> list[Trial]:
        """Measure what was found in shared reads; each trial is told an equal part of the time."""
        centroids = [one.centroids for one in found]
        figures = measure(rows, centroids)
        for number, measured in enumerate(figures):
            if not measured.sizes.all():
                centroids[number] = assigned(rows, centroids[number])[0]
                (figures[number],) = measure(rows, [centroids[number]])
        euclidean = [self._silhouette_euclidean(model) for model in centroids]
        seconds = (time.perf_counter() - started) / len(found)
        trials = [
            Trial(
                k=len(model),
                backend=one.backend,
                solver=one.solver,
                seed=one.seed,
                centroids=model,
                sizes=measured.sizes,
                inertia=measured.inertia,
                total_scatter=scatter,
                silhouette=measured.silhouette,
                silhouette_euclidean=width,
                davies_bouldin=measured.davies_bouldin,
                n_iter=one.n_iter,
                stop_reason=one.stop_reason,
                residual=one.residual,
                reported_inertia=one.reported_inertia,
                device=one.device if isinstance(one, Clustering) else device_of(rows),
                seconds=seconds,
            )
            for one, model, measured, width in zip(found, centroids, figures, euclidean, strict=True)
        ]
        for trial in trials:
            told = (trial.backend, trial.k, trial.seed, trial.inertia, trial.seconds)
            log.debug("%s k=%d seed=%d: inertia %.6g, %.3f s", *told)
        return trials

    def _silhouette_euclidean(self, centroids: NDArray[np.float64]) -> Estimate | None:
        if not self._silhouette_rows:
            return None
        if self._pool is None:
            index = draw_evenly(len(self.matrix), min(POOL_ROWS, len(self.matrix)), np.random.default_rng(0))
            self._pool = ArrayRows(self.matrix[index], threads=self._threads)
        labels = np.empty(self._pool.n, np.int32)
        self._pool.assign(centroids, labels)
        return silhouette_euclidean(self._pool.matrix, labels, sample_rows=self._silhouette_rows, threads=self._threads)

    def labels(self, centroids: NDArray[np.float64]) -> NDArray[np.int32]:
        """Return the cluster of each row for centroids that were found before: the same as at the fit."""
        labels = np.empty(len(self.matrix), np.int32)
        self._rows("native").assign(centroids, labels)
        return labels

    def costly(self, k: int, evidence: Evidence, *, backend: str = "native", seed: int = 0) -> Costly:
        """Return the evidence about one k that takes fits of its own, as far as it is asked for."""
        gap = bootstrap = None
        if evidence.gap_references:
            (found,) = gap_statistic(
                self.matrix,
                [k],
                references=evidence.gap_references,
                seed=seed,
                backend=backend,
                threads=self._threads,
            )
            gap = Estimate(found.gap, found.standard_error)
        if evidence.bootstrap_resamples and k > 1:
            bootstrap = bootstrap_stability(
                self.matrix,
                k,
                resamples=evidence.bootstrap_resamples,
                seed=seed,
                backend=backend,
                threads=self._threads,
            )
        return Costly(gap, bootstrap)

    def _rows(self, backend: str) -> Rows:
        if backend not in self._held:
            self._held[backend] = hold_rows(
                self.matrix,
                self._bucket_rows,
                backend=backend,
                threads=self._threads,
                compute=self._compute,
                device=self._device,
            )
        return self._held[backend]

    def _total_scatter(self) -> float:
        if self._scatter is None:
            self._scatter = total_scatter(self.matrix, threads=self._threads)
        return self._scatter


def sweep(
    tries: Tries,
    ks: Sequence[int],
    *,
    backend: str = "native",
    solver: str = "auto",
    seed: int = 0,
    max_passes: int | None = None,
    max_seconds: float | None = None,
) -> Iterator[Trial]:
    """Cluster the rows for each k, from small to large, and yield each trial when it is done.

    Settings and data are checked before the first trial, when the function is called. Of several k, those above the
    number of distinct rows are left out with a warning in the log; a single k is meant, and raises.

    Parameters
    ----------
    tries : Tries
        The rows.
    ks : sequence of int
        Numbers of clusters to try; order and repetition do not matter.
    backend, solver, seed, max_passes, max_seconds
        As in :func:`engine.clustering.backends.cluster`, the same for every k.

    Yields
    ------
    Trial

    Raises
    ------
    SettingError
        No k at all, a k below 1, or what :func:`engine.clustering.backends.cluster` raises.
    DataError
        Fewer distinct rows than the smallest k.

    Examples
    --------
    >>> import numpy as np
    >>> rows = Tries(np.array([[0.0], [1.0], [10.0], [11.0]], dtype=np.float32))
    >>> [(trial.k, trial.inertia) for trial in sweep(rows, [3, 2], backend="sklearn")]
    [(2, 1.0), (3, 0.5)]
    """
    check_settings(
        backend=backend, solver=solver, seed=seed, threads=None, max_passes=max_passes, max_seconds=max_seconds
    )
    for k in ks:
        check_k_value(k)
    wanted = sorted(set(ks))
    if not wanted:
        raise SettingError("clustering.k: expected at least one number of clusters to try; got none.")
    tried = _possible(tries.matrix, wanted)
    return (
        tries.run(
            k,
            backend=backend,
            solver=solver,
            seed=seed,
            max_passes=max_passes,
            max_seconds=max_seconds,
            following=[(more, seed) for more in tried[number + 1 :]],
        )
        for number, k in enumerate(tried)
    )


def _possible(matrix: NDArray[np.float32], wanted: list[int]) -> list[int]:
    if len(wanted) == 1:
        check_k(matrix, wanted[0])
        return wanted
    found = distinct_rows(matrix, wanted[-1])
    possible = [k for k in wanted if k <= found]
    if not possible:
        raise too_few_distinct(len(matrix), found, wanted[0])
    if len(possible) < len(wanted):
        log.warning(
            "only %d of %d rows differ: k is tried up to %d, not %d",
            found,
            len(matrix),
            possible[-1],
            wanted[-1],
        )
    return possible
