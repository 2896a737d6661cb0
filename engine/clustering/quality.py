"""How good a clustering is, by one definition for every backend: inertia and silhouette, in float64 over all rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.clustering.jit import numba_threads
from engine.errors import DataError

_MIN_CHUNK_ROWS = 65_536


def inertia(matrix: NDArray[Any], centroids: NDArray[Any], *, threads: int | None = None) -> float:
    """Sum of the squared distances of all rows to their nearest centroid: what k-means makes small.

    Computed from differences in float64, with no trust in labels or in a library's own figure. It has the square of
    the matrix's unit and grows with the number of rows.

    Parameters
    ----------
    matrix : ndarray of float32 or float64, shape (n, d)
    centroids : ndarray, shape (k, d)
    threads : int, optional
        Threads to use; all cores by default. The result has the same bits for any number.

    Returns
    -------
    float
        At least 0; 0 when every row lies on a centroid.

    Raises
    ------
    DataError
        Rows and centroids have different numbers of features.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.array([[0.0], [1.0], [10.0]], dtype=np.float32)
    >>> inertia(rows, np.array([[0.5], [10.0]]))
    0.5
    """
    from engine.clustering import quality_kernels as kernels

    if matrix.ndim != 2 or centroids.ndim != 2 or matrix.shape[1] != centroids.shape[1]:
        raise DataError(
            f"inertia: expected rows (n, d) and centroids (k, d) with one d; "
            f"got {matrix.shape} and {centroids.shape}. Use the feature spec that the centroids were fitted with."
        )
    k, d = centroids.shape
    with numba_threads(threads):
        sums = kernels.nearest_squares(
            np.ascontiguousarray(matrix), np.ascontiguousarray(centroids, np.float64), chunk_rows(k, d)
        )
    return float(np.sum(sums))


def silhouette(matrix: NDArray[Any], labels: NDArray[Any], *, threads: int | None = None) -> float | None:
    """Mean silhouette with squared Euclidean distances, exact over all pairs of rows.

    For each row, a is its mean squared distance to the other rows of its cluster, b the smallest of its mean squared
    distances to the rows of another cluster, and the silhouette (b - a) / max(a, b): near 1 deep inside a cluster
    that stands alone, 0 between two, negative in the wrong one. A row alone in its cluster counts 0. A high mean does
    not make a useful division: one outlier against everybody else scores nearly 1.

    Parameters
    ----------
    matrix : ndarray of float32 or float64, shape (n, d)
    labels : ndarray of integers, shape (n,)
        Cluster of each row, from 0; an index that no row has is passed over.
    threads : int, optional
        Threads to use; all cores by default. The result has the same bits for any number.

    Returns
    -------
    float or None
        Between -1 and 1. None when fewer than two clusters have rows, for then there is no neighbour to compare with.

    Raises
    ------
    DataError
        Rows and labels differ in number, or a label is negative.

    Notes
    -----
    The squared distances of x to the rows of a cluster with mean m have the mean ``|x - m|² + v``, where v is the mean
    squared distance of these rows to m. So the exact figure costs one distance per row and cluster, O(n k d), as in
    Apache Spark's ``ClusteringEvaluator``. The Euclidean silhouette is another number, mostly a smaller one.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.array([[0.0], [1.0], [10.0], [11.0]], dtype=np.float32)
    >>> round(silhouette(rows, np.array([0, 0, 1, 1])), 6)
    0.98995
    """
    from engine.clustering import quality_kernels as kernels

    if matrix.ndim != 2 or labels.shape != matrix.shape[:1]:
        raise DataError(
            f"silhouette: expected rows (n, d) and one label for each; got {matrix.shape} and {labels.shape}."
        )
    if len(labels) == 0:
        return None
    if labels.min() < 0:
        raise DataError(f"silhouette: expected labels from 0; got {int(labels.min())}.")
    X = np.ascontiguousarray(matrix)
    own = np.ascontiguousarray(labels, np.int32)
    sizes = np.bincount(own)
    if np.count_nonzero(sizes) < 2:
        return None
    k, d = len(sizes), X.shape[1]
    rows = chunk_rows(k, d)
    divisor = np.maximum(sizes, 1)
    with numba_threads(threads):
        means = kernels.label_sums(X, own, k, rows).sum(axis=0) / divisor[:, None]
        spreads = kernels.label_squares(X, own, means, rows).sum(axis=0) / divisor
        sums = kernels.silhouette_sums(X, own, means, spreads, sizes, rows)
    return float(np.sum(sums)) / len(own)


def chunk_rows(k: int, d: int) -> int:
    """Return how many rows a chunk has, so that the k·d sums kept for each stay below one byte in eight rows."""
    return max(_MIN_CHUNK_ROWS, 64 * k * d)
