"""k-means of Dask-ML: seeds by k-means||, then Lloyd's algorithm on an array in chunks.

The rows stay in their blocks, on workers or in this process; candidates for seeds, centroids and counts are all that
travels.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.clustering.lloyd import mean_variance
from engine.clustering.rows import FloatMatrix
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_blocks import BlockRows
from engine.clustering.rows_dask import DaskRows
from engine.compute import available_cores

T = TypeVar("T")

ROUNDS = 5
"""Rounds of k-means||, as Bahmani et al. found enough; Dask-ML would make one for each e-fold of the cost."""

CANDIDATES_PER_CLUSTER = 2
"""Expected candidates of a round, for each cluster. Dask-ML's default is two for all clusters together, which leaves a
larger k with fewer candidates than clusters."""

CANDIDATE_STARTS = 10
"""Starts of the k-means that makes seeds of the candidates. They are few, and one start now and then ends badly."""

TOL = 1e-4
"""Share of the mean variance of the features at which the squared shift of the centroids counts as rest."""


class Fitted(NamedTuple):
    """Centroids (k, d), and the moves that led to them."""

    centroids: NDArray[Any]
    n_iter: int


def fit_dask_ml(rows: ArrayRows | BlockRows | DaskRows, k: int, *, seed: int, max_iter: int) -> Fitted:
    """Return what Dask-ML finds from one start on all rows.

    One start is its normal use: k-means|| seeds well, and another start costs as much as the first. Same seed and
    blocks, same centroids, on any number of workers.

    Parameters
    ----------
    rows
        In blocks, which become the chunks.
    k : int
        Number of clusters, up to the number of different rows.
    seed : int
        0 to 2**31 - 1.
    max_iter : int
        Most moves.

    References
    ----------
    B. Bahmani, B. Moseley, A. Vattani, R. Kumar, S. Vassilvitskii, "Scalable k-means++", PVLDB 5(7), 2012.

    Examples
    --------
    >>> rows = ArrayRows(np.array([[0.0], [1.0], [8.0], [10.0]], dtype=np.float32))
    >>> sorted(fit_dask_ml(rows, 2, seed=0, max_iter=300).centroids[:, 0].tolist())
    [0.5, 9.0]
    """
    from dask_ml.cluster import KMeans
    from threadpoolctl import threadpool_limits

    model = KMeans(
        k,
        # "k-means++" would bring all rows into this process.
        init="k-means||",
        oversampling_factor=CANDIDATES_PER_CLUSTER * k,
        init_max_iter=ROUNDS,
        n_init=CANDIDATE_STARTS,
        max_iter=max_iter,
        # Its tolerance is absolute, and a shift of 0 is not below 0.
        tol=max(TOL * mean_variance(rows), float(np.finfo(np.float64).tiny)),
        random_state=seed,
    )
    # One thread for each block: the last digits of a product may depend on how many share it.
    with threadpool_limits(limits=1), _quiet():
        dask_array(rows, model.fit)
    return Fitted(model.cluster_centers_, int(model.n_iter_))


def dask_array(rows: ArrayRows | BlockRows | DaskRows, use: Callable[[Any], T]) -> T:
    """Return ``use(X)``, where X is a Dask array of the rows, one chunk for each block.

    On workers the chunks are the blocks that they hold, and ``use`` works there: it may be called again when a worker
    is lost. In this process the chunks are views of the matrix, and ``use`` works in threads.

    Examples
    --------
    >>> import numpy as np
    >>> from engine.clustering.rows_blocks import BlockRows
    >>> rows = BlockRows(np.array([[0.0], [1.0], [5.0]], dtype=np.float32), [0, 2, 3])
    >>> dask_array(rows, lambda X: (X.chunks[0], float(X.sum().compute())))
    ((2, 1), 6.0)
    """
    import dask
    import dask.array as da
    from dask.delayed import delayed

    def joined(blocks: Sequence[Any]) -> Any:
        chunks = [
            da.from_delayed(block, (last - first, rows.d), dtype)  # type: ignore[no-untyped-call]
            for block, (first, last) in zip(blocks, pairwise(edges), strict=True)
        ]
        return da.concatenate(chunks)  # type: ignore[no-untyped-call]

    if isinstance(rows, DaskRows):
        edges, dtype = rows.edges, rows.dtype
        return rows.held.lazily(_matrix, lambda blocks: use(joined(blocks)))
    edges, dtype = rows.edges if isinstance(rows, BlockRows) else [0, rows.n], rows.matrix.dtype
    views = [rows.matrix[first:last] for first, last in pairwise(edges)]
    with dask.config.set(scheduler="threads", num_workers=rows.threads or available_cores()):
        return use(joined([delayed(view, name=f"rows-{number}", traverse=False) for number, view in enumerate(views)]))


def _matrix(rows: ArrayRows) -> FloatMatrix:
    return rows.matrix


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves that there are few different rows: empty clusters are made good by whoever asked."""
    logger = logging.getLogger("dask_ml.cluster.k_means")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            # Candidates that cover every row leave k-means|| with 0 / 0, and a k-means of candidates with too few.
            warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)
            warnings.filterwarnings("ignore", "Number of distinct clusters", UserWarning)
            yield
    finally:
        logger.setLevel(level)
