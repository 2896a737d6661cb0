"""Try several k on the same rows and measure each by the same figures."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.clustering.backends import (
    check_k,
    check_k_value,
    check_settings,
    checked_matrix,
    cluster_rows,
    distinct_rows,
    hold_rows,
    too_few_distinct,
)
from engine.clustering.indices import Estimate, davies_bouldin, silhouette_euclidean, total_scatter
from engine.clustering.quality import silhouette
from engine.clustering.resampling import bootstrap_stability, gap_statistic
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


class Tried(NamedTuple):
    """A trial, and the cluster of each row in it: int32 of shape (n,)."""

    trial: Trial
    labels: NDArray[np.int32]


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
        silhouette_rows: int = CHEAP.silhouette_rows,
    ) -> None:
        self.matrix = checked_matrix(matrix)
        self._bucket_rows = bucket_rows
        self._threads = threads
        self._compute = compute
        self._silhouette_rows = silhouette_rows
        self._held: dict[str, Rows] = {}
        self._scatter: float | None = None

    def run(self, k: int, *, backend: str = "native", solver: str = "auto", seed: int = 0) -> Tried:
        """Cluster the rows and measure the result; settings have been checked by the caller.

        Raises
        ------
        DataError
            Fewer distinct rows than k.
        """
        # What all trials share is not counted as the time of the first.
        rows, scatter = self._rows(backend), self._total_scatter()
        started = time.perf_counter()
        found = cluster_rows(rows, k, backend=backend, solver=solver, seed=seed)
        width = silhouette(self.matrix, found.labels, threads=self._threads)
        trial = Trial(
            k=k,
            backend=found.backend,
            solver=found.solver,
            seed=seed,
            centroids=found.centroids,
            sizes=found.sizes,
            inertia=found.inertia,
            total_scatter=scatter,
            silhouette=width,
            silhouette_euclidean=silhouette_euclidean(
                self.matrix, found.labels, sample_rows=self._silhouette_rows, threads=self._threads
            )
            if self._silhouette_rows
            else None,
            davies_bouldin=davies_bouldin(found.centroids, found.labels, found.distances),
            n_iter=found.n_iter,
            stop_reason=found.stop_reason,
            reported_inertia=found.reported_inertia,
            seconds=time.perf_counter() - started,
        )
        log.debug("%s k=%d seed=%d: inertia %.6g, %.3f s", backend, k, seed, trial.inertia, trial.seconds)
        return Tried(trial, found.labels)

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
                self.matrix, self._bucket_rows, backend=backend, threads=self._threads, compute=self._compute
            )
        return self._held[backend]

    def _total_scatter(self) -> float:
        if self._scatter is None:
            self._scatter = total_scatter(self.matrix, threads=self._threads)
        return self._scatter


def sweep(
    tries: Tries, ks: Sequence[int], *, backend: str = "native", solver: str = "auto", seed: int = 0
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
    backend, solver, seed
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
    check_settings(backend=backend, solver=solver, seed=seed, threads=None)
    for k in ks:
        check_k_value(k)
    wanted = sorted(set(ks))
    if not wanted:
        raise SettingError("clustering.k: expected at least one number of clusters to try; got none.")
    tried = _possible(tries.matrix, wanted)
    return (tries.run(k, backend=backend, solver=solver, seed=seed).trial for k in tried)


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
