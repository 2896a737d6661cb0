"""Who finds the centroids: our own k-means, FAISS, scikit-learn or Dask-ML, behind one call and judged by one measure.

A backend only proposes centroids. Labels, distances and inertia are then computed from them by the same function for
all of them, so that figures of different backends can be put side by side.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.clustering.assigned import assigned, sizes_of
from engine.clustering.checks import check_k, check_k_value, checked_matrix
from engine.clustering.result import Clustering
from engine.errors import DeviceError, SettingError

if TYPE_CHECKING:
    from engine.clustering.rows import Rows
    from engine.clustering.rows_array import ArrayRows
    from engine.clustering.rows_blocks import BlockRows
    from engine.clustering.rows_dask import DaskRows
    from engine.compute import Compute

log = logging.getLogger(__name__)

SOLVERS = ("auto", "full", "sample")
MAX_ITER = 300
FAISS_COUNTED_ROWS = 2**24
"""FAISS counts the rows of a centroid in float32, which does not count beyond this."""

_FAISS_TOLERANCE = 1e-6
_SMALL_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class _Proposal:
    centroids: NDArray[Any]
    n_iter: int
    solver: str
    stop_reason: str
    reported_inertia: float | None = None
    residual: float | None = None
    rows_used: int | None = None


def cluster(
    matrix: NDArray[np.float32],
    k: int,
    *,
    backend: str = "native",
    solver: str = "auto",
    seed: int = 0,
    threads: int | None = None,
    max_passes: int | None = None,
    max_seconds: float | None = None,
    device: str = "auto",
) -> Clustering:
    """Divide rows among k centroids so that the squared distances to the nearest are small in sum.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, d)
        Scaled features, finite. It is not changed.
    k : int
        Number of clusters, 1 up to the number of distinct rows. With 1 the centroid is the mean.
    backend : str
        ``native`` (this package), ``faiss`` (trained on all rows), ``sklearn`` or ``dask_ml``.
    solver : str
        ``full`` iterates over all rows, ``sample`` solves on a sample and certifies on all rows (native only),
        ``auto`` lets the backend choose by the number of rows.
    seed : int
        Random choices follow from it, 0 to 2**31 - 1.
    threads : int, optional
        Threads to use; all cores by default.
    max_passes : int, optional
        Most reads of all rows in the search of the sample solver, 1 or more (native only). Labels and figures of what
        was found are one or two reads more.
    max_seconds : float, optional
        Time after which that search begins nothing new (native only). The result then depends on the machine.
    device : str
        ``cpu``; ``cuda``: an NVIDIA GPU (native and FAISS); ``auto``: a GPU where there is one and it pays, else the
        CPU. What the GPU finds differs by the order in which float64 sums are added.

    Returns
    -------
    Clustering
        No cluster in it is empty.

    Raises
    ------
    SettingError
        An unknown backend, a solver or limit it does not have, or k, seed, threads or a limit out of range.
    DataError
        No rows, values that are not finite, or fewer distinct rows than k.
    DeviceError
        ``cuda`` was asked for and cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.array([[0.0], [1.0], [10.0], [11.0]], dtype=np.float32)
    >>> found = cluster(rows, 2, backend="sklearn")
    >>> found.inertia, sorted(found.centroids.ravel().tolist()), found.sizes.tolist()
    (1.0, [0.5, 10.5], [2, 2])
    """
    check_settings(
        backend=backend, solver=solver, seed=seed, threads=threads, max_passes=max_passes, max_seconds=max_seconds,
        device=device,
    )  # fmt: skip
    X = checked_matrix(matrix)
    check_k(X, k)
    rows = hold_rows(X, backend=backend, threads=threads, device=device)
    return cluster_rows(
        rows, k, backend=backend, solver=solver, seed=seed, max_passes=max_passes, max_seconds=max_seconds,
        device=device,
    )  # fmt: skip


def hold_rows(
    matrix: NDArray[np.float32],
    bucket_rows: Sequence[int] | None = None,
    *,
    backend: str = "native",
    threads: int | None = None,
    compute: Compute | None = None,
    device: str = "auto",
) -> Rows:
    """Return checked rows as a backend takes them, to be clustered as often as one likes.

    Native and Dask-ML clustering work on blocks of whole buckets, wherever ``compute`` works. FAISS and scikit-learn
    need all rows in this process, and so do few rows: one block is clustered here, whatever ``compute`` is.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, d)
        From :func:`checked_matrix`, bucket by bucket.
    bucket_rows : sequence of int, optional
        Rows of each bucket, in the matrix's order; they sum to n. Without them the rows are one block, for Dask-ML
        several of equal size.
    backend : str
        For whom.
    threads : int, optional
        Threads of this process to use; all cores by default.
    compute : Compute, optional
        Where the blocks are worked on; this process by default. No result depends on it.
    device : str
        As :func:`cluster` takes it; workers of a cluster use their CPUs.

    Raises
    ------
    DataError
        The buckets do not hold n rows together.
    """
    from engine.clustering.on_device import held_on
    from engine.clustering.rows_array import ArrayRows
    from engine.clustering.rows_blocks import BLOCK_ROWS, BlockRows, block_edges, check_edges
    from engine.clustering.rows_cuda import CudaRows
    from engine.clustering.rows_dask import DaskRows
    from engine.compute_dask import DaskCompute

    n = len(matrix)
    if bucket_rows is None:
        # Dask-ML works in parallel on several chunks only; where no bucket is known, they may part anywhere.
        size = BLOCK_ROWS if backend == "dask_ml" else n
        bucket_rows = [min(size, n - first) for first in range(0, n, size)]
    edges = block_edges(bucket_rows)
    check_edges(edges, n)
    if backend == "dask_ml" and isinstance(compute, DaskCompute):
        return DaskRows(matrix, edges, compute, threads)
    one = ArrayRows(matrix, threads=threads)
    if backend == "native" and not isinstance(compute, DaskCompute):
        held = held_on(one, device)
        if isinstance(held, CudaRows):
            return held
    if backend not in ("native", "dask_ml") or len(edges) == 2:
        return one
    if isinstance(compute, DaskCompute):
        return DaskRows(matrix, edges, compute, threads)
    return BlockRows(matrix, edges, threads)


def cluster_rows(
    rows: Rows,
    k: int,
    *,
    backend: str,
    solver: str = "auto",
    seed: int = 0,
    max_passes: int | None = None,
    max_seconds: float | None = None,
    device: str = "auto",
) -> Clustering:
    """Do what :func:`cluster` does with rows that are held already: in memory, in blocks, on workers or in a file.

    Parameters
    ----------
    rows : Rows
        From :func:`hold_rows`, or :class:`engine.clustering.rows_file.FileRows`.
    k, backend, solver, seed, max_passes, max_seconds
        As :func:`cluster` takes them. FAISS, scikit-learn and Dask-ML do not read files.
    device
        Where FAISS works; otherwise the rows are where :func:`hold_rows` has put them.

    Raises
    ------
    SettingError
        An unknown backend, or one that cannot take these rows; k below 1.
    DataError
        Fewer distinct rows than k.
    """
    check_settings(
        backend=backend, solver=solver, seed=seed, threads=None, max_passes=max_passes, max_seconds=max_seconds
    )
    check_k_value(k)
    from engine.clustering.on_device import device_of, faiss_gpus

    if backend != "native":
        from engine.clustering.rows_file import FileRows

        if isinstance(rows, FileRows):
            raise SettingError(
                f"clustering.backend: {backend} needs rows in memory; got rows in a file. Use backend native, or load "
                f"the rows and call cluster."
            )
    own: dict[str, Any] = {"max_passes": max_passes, "max_seconds": max_seconds} if backend == "native" else {}
    if backend == "faiss":
        own["gpus"] = faiss_gpus(device)
    started = time.perf_counter()
    try:
        proposal = BACKENDS[backend](rows, k, solver=solver, seed=seed, **own)
    except RuntimeError as error:
        # FAISS says everything of a card by this one.
        if not own.get("gpus"):
            raise
        if device == "cuda":
            raise DeviceError(
                f"clustering.device=cuda: FAISS failed on the GPU ({error}). Set clustering.device=auto or cpu."
            ) from error
        log.warning("FAISS failed on the GPU, and the CPU goes on: %s", error)
        own["gpus"] = 0
        proposal = BACKENDS[backend](rows, k, solver=solver, seed=seed, **own)
    centroids, labels, distances, total = assigned(rows, proposal.centroids)
    sizes = sizes_of(labels, k)
    if backend == "faiss" and sizes.max() > FAISS_COUNTED_ROWS:
        log.warning(
            "faiss counts at most %d rows a centroid and one has %d: its centroids are off; use backend native",
            FAISS_COUNTED_ROWS,
            sizes.max(),
        )
    return Clustering(
        centroids=centroids,
        labels=labels,
        distances=distances,
        inertia=total,
        sizes=sizes,
        k=k,
        backend=backend,
        solver=proposal.solver,
        seed=seed,
        n_iter=proposal.n_iter,
        reported_inertia=proposal.reported_inertia,
        stop_reason=proposal.stop_reason,
        residual=proposal.residual,
        rows_used=rows.n if proposal.rows_used is None else proposal.rows_used,
        device="cuda" if own.get("gpus") else device_of(rows),
        seconds=time.perf_counter() - started,
    )


def check_settings(
    *,
    backend: str,
    solver: str,
    seed: int,
    threads: int | None,
    max_passes: int | None = None,
    max_seconds: float | None = None,
    device: str = "auto",
) -> None:
    """Raise :class:`SettingError` unless the backend exists, has all that is asked of it, and values are in range."""
    from engine.clustering import on_device
    from engine.clustering.solve import check_limits

    if backend not in BACKENDS:
        raise SettingError.from_unknown("clustering.backend", backend, BACKENDS)
    on_device.check(device, backend)
    if solver not in SOLVERS:
        raise SettingError.from_unknown("clustering.solver", solver, SOLVERS)
    if solver == "sample" and backend != "native":
        raise SettingError(
            f"clustering.solver: only backend native solves on a sample; got backend {backend!r}. "
            f"Set clustering.solver=auto or clustering.backend=native."
        )
    check_limits(solver, max_passes, max_seconds, group="clustering.")
    for name, limit in (("max_passes", max_passes), ("max_seconds", max_seconds)):
        if backend != "native" and limit is not None:
            raise SettingError(
                f"clustering.{name}: only backend native keeps it; got {limit} for backend {backend!r}. "
                f"Set clustering.{name}=null or clustering.backend=native."
            )
    if not 0 <= seed < 2**31:
        raise SettingError(f"seed: expected 0 to {2**31 - 1}; got {seed}.")
    if threads is not None and threads < 1:
        raise SettingError(f"clustering.threads: expected at least 1, or null for all cores; got {threads}.")


def _native(
    rows: Rows, k: int, *, solver: str, seed: int, max_passes: int | None, max_seconds: float | None
) -> _Proposal:
    from engine.clustering.solve import solve

    found = solve(rows, k, seed=seed, solver=solver, max_passes=max_passes, max_seconds=max_seconds)
    return _Proposal(
        found.centroids,
        found.n_iter,
        found.solver,
        found.stop_reason,
        residual=found.residual,
        rows_used=found.rows_used,
    )


def _faiss(rows: ArrayRows, k: int, *, solver: str, seed: int, gpus: int = 0) -> _Proposal:
    import faiss

    model: Any = faiss.Kmeans(
        rows.d,
        k,
        seed=seed,
        niter=MAX_ITER,
        # Fewer redos where one costs seconds: with many rows k-means++ seldom starts badly.
        nredo=10 if rows.n < _SMALL_ROWS else 3,
        init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
        early_stop_threshold=_FAISS_TOLERANCE,
        min_points_per_centroid=1,
        max_points_per_centroid=2**31 - 1,
        gpu=gpus or False,
    )
    before = faiss.omp_get_max_threads()
    try:
        if rows.threads is not None:
            faiss.omp_set_num_threads(rows.threads)
        model.train(rows.matrix)
    finally:
        faiss.omp_set_num_threads(before)
    steps = len(model.obj)
    # With as many rows as centroids FAISS copies the rows and takes no step.
    reported = float(model.obj[-1]) if steps else None
    reason = "max_iter" if steps == MAX_ITER else "converged"
    return _Proposal(_exact_means(rows, model.centroids), steps, "full", reason, reported_inertia=reported)


def _sklearn(rows: ArrayRows, k: int, *, solver: str, seed: int) -> _Proposal:
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=rows.threads):
        model = KMeans(k, n_init=10, max_iter=MAX_ITER, random_state=seed).fit(rows.matrix)
    reason = "max_iter" if model.n_iter_ == MAX_ITER else "converged"
    centroids = _exact_means(rows, model.cluster_centers_)
    return _Proposal(centroids, int(model.n_iter_), "full", reason, reported_inertia=float(model.inertia_))


def _dask_ml(rows: ArrayRows | BlockRows | DaskRows, k: int, *, solver: str, seed: int) -> _Proposal:
    from engine.clustering.backend_dask_ml import fit_dask_ml

    found = fit_dask_ml(rows, k, seed=seed, max_iter=MAX_ITER)
    reason = "max_iter" if found.n_iter == MAX_ITER else "converged"
    # Its own inertia adds distances that are not squared unless the last shift was 0: no figure to put beside ours.
    return _Proposal(_exact_means(rows, found.centroids), found.n_iter, "full", reason)


def _exact_means(rows: Rows, centroids: NDArray[Any]) -> NDArray[np.float64]:
    """Return the float64 means of the rows nearest to each centroid; a centroid without rows stays.

    Libraries that add float32 in the order in which threads finish leave rounding that depends on their number. This
    step takes it out, and can only lower the inertia.
    """
    start = np.asarray(centroids, dtype=np.float64)
    stats = rows.step([start])[0]
    counts = stats.counts[:, None]
    return np.where(counts > 0, stats.sums / np.maximum(counts, 1.0), start)


BACKENDS: Mapping[str, Callable[..., _Proposal]] = {
    "native": _native,
    "faiss": _faiss,
    "sklearn": _sklearn,
    "dask_ml": _dask_ml,
}
"""Every backend by its name in ``clustering.backend``. One more is one function here that proposes centroids."""
