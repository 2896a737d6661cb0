"""Try several k on the same rows and measure each by the same figures."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
from engine.clustering.quality import silhouette
from engine.clustering.result import Clustering
from engine.errors import SettingError

if TYPE_CHECKING:
    from engine.clustering.rows_array import ArrayRows

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """One k that was tried.

    Attributes
    ----------
    k : int
        Number of clusters.
    inertia : float
        Sum of squared distances over all rows.
    silhouette : float or None
        Exact squared-Euclidean mean; None for k = 1, where no other cluster is there to compare with.
    smallest_share, largest_share : float
        Share of the rows in the smallest and in the largest cluster, 0 to 1.
    seconds : float
        Wall-clock time of fit, assignment and silhouette.
    clustering : Clustering
        What was found.
    """

    k: int
    inertia: float
    silhouette: float | None
    smallest_share: float
    largest_share: float
    seconds: float
    clustering: Clustering


def sweep(
    matrix: NDArray[np.float32],
    ks: Sequence[int],
    *,
    backend: str = "native",
    solver: str = "auto",
    seed: int = 0,
    threads: int | None = None,
) -> Iterator[Trial]:
    """Cluster the rows for each k, from small to large, and yield each trial when it is done.

    Settings and data are checked before the first trial, when the function is called. Of several k, those above the
    number of distinct rows are left out with a warning in the log; a single k is meant, and raises.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, d)
        Scaled features, finite.
    ks : sequence of int
        Numbers of clusters to try; order and repetition do not matter.
    backend, solver, seed, threads
        As in :func:`engine.clustering.backends.cluster`, the same for every k.

    Yields
    ------
    Trial

    Raises
    ------
    SettingError
        No k at all, a k below 1, or what :func:`engine.clustering.backends.cluster` raises.
    DataError
        No rows, values that are not finite, or fewer distinct rows than the smallest k.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.array([[0.0], [1.0], [10.0], [11.0]], dtype=np.float32)
    >>> [(trial.k, trial.inertia) for trial in sweep(rows, [3, 2], backend="sklearn")]
    [(2, 1.0), (3, 0.5)]
    """
    check_settings(backend=backend, solver=solver, seed=seed, threads=threads)
    for k in ks:
        check_k_value(k)
    wanted = sorted(set(ks))
    if not wanted:
        raise SettingError("clustering.k: expected at least one number of clusters to try; got none.")
    X = checked_matrix(matrix)
    tried = _possible(X, wanted)
    rows = hold_rows(X, threads=threads)
    return (_trial(X, rows, k, backend=backend, solver=solver, seed=seed) for k in tried)


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


def _trial(matrix: NDArray[np.float32], rows: ArrayRows, k: int, *, backend: str, solver: str, seed: int) -> Trial:
    started = time.perf_counter()
    found = cluster_rows(rows, k, backend=backend, solver=solver, seed=seed)
    width = silhouette(matrix, found.labels, threads=rows.threads)
    shares = found.sizes / len(matrix)
    trial = Trial(
        k=k,
        inertia=found.inertia,
        silhouette=width,
        smallest_share=float(shares.min()),
        largest_share=float(shares.max()),
        seconds=time.perf_counter() - started,
        clustering=found,
    )
    log.debug("k=%d: inertia %.6g, silhouette %s, %.3f s", k, trial.inertia, width, trial.seconds)
    return trial
