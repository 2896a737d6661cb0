"""More figures for how well k clusters divide the rows, in float64; all but one are exact over all rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.clustering.jit import numba_threads
from engine.clustering.quality import chunk_rows
from engine.clustering.stratified import draw_from_clusters, even_level
from engine.errors import DataError, SettingError

PAIRS = 2**25
"""Distances that the sampled silhouette computes, about; up to here every sampled row meets all rows."""

REFERENCES_PER_ROW = 8
"""Rows that a sampled row meets at least, for each row in the sample: so the error of meeting only a part shrinks with
the error of the sample of rows."""

REFERENCES_PER_CLUSTER = 256
"""Rows of a cluster that a sampled row meets at least, where there are so many."""

_LARGEST_VALUE = 1e150
_BLOCK_ROWS = 2**20


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure known from a sample.

    Attributes
    ----------
    value : float
        The figure, in its own unit.
    standard_error : float
        Standard deviation of ``value`` over samples, in the same unit, estimated; 0 when nothing was left out. The
        true figure lies within two of them in about 95 of 100 samples.
    """

    value: float
    standard_error: float


def total_scatter(matrix: NDArray[Any], *, threads: int | None = None) -> float:
    """Sum of the squared distances of all rows to their mean: the inertia of one cluster.

    It has the square of the matrix's unit, grows with the number of rows, and is what the clusters have to explain.

    Parameters
    ----------
    matrix : ndarray of float32 or float64, shape (n, d)
    threads : int, optional
        Threads to use; all cores by default. The result has the same bits for any number.

    Returns
    -------
    float
        At least 0; 0 when all rows are equal.

    Raises
    ------
    DataError
        No rows, or values that are NaN, infinite or beyond 1e150.

    Notes
    -----
    The corrected two-pass algorithm of T. Chan, G. Golub and R. LeVeque, "Algorithms for computing the sample
    variance", The American Statistician 37 (1983): squares of differences from the mean, less what the rounding of
    the mean added. Rows near 1e9 keep a spread of thousandths.

    Examples
    --------
    >>> import numpy as np
    >>> total_scatter(np.array([[0.0], [1.0], [5.0]], dtype=np.float32))
    14.0
    """
    from engine.clustering import indices_kernels as kernels

    X = checked_rows("total_scatter", matrix)
    n, d = X.shape
    chunk = chunk_rows(1, d)
    with numba_threads(threads):
        centre = X[0].astype(np.float64)
        centre = centre + kernels.centred_sums(X, centre, chunk)[:, :d].sum(axis=0) / n
        sums = kernels.centred_sums(X, centre, chunk).sum(axis=0)
    return max(float(sums[d]) - float(np.square(sums[:d]).sum()) / len(X), 0.0)


def explained(inertia: float, total_scatter: float) -> float | None:
    """Share of the total scatter that lies between the clusters: ``1 - inertia / total_scatter``.

    0 when the clusters explain nothing, 1 when every row lies on its centroid. It rises with k whatever the data.

    Parameters
    ----------
    inertia, total_scatter : float
        Of the same rows, in the same unit; at least 0.

    Returns
    -------
    float or None
        Between 0 and 1. None when all rows are equal, for then there is nothing to explain.

    Raises
    ------
    DataError
        A figure is negative, NaN or infinite.

    Examples
    --------
    >>> explained(2.0, 8.0)
    0.75
    """
    _check_scatter("explained", inertia, total_scatter)
    # Rounding may leave the inertia of one cluster a trifle above the scatter.
    return max(1.0 - inertia / total_scatter, 0.0) if total_scatter > 0 else None


def calinski_harabasz(inertia: float, total_scatter: float, n: int, k: int) -> float | None:
    """Scatter between the clusters over scatter within them, each over its degrees of freedom: an F ratio.

    The higher, the further apart the clusters for their width. Good for comparing k on the same rows; the figure by
    itself means little, and it grows with the number of rows.

    Parameters
    ----------
    inertia, total_scatter : float
        Of the same rows, in the same unit; at least 0.
    n : int
        Number of rows.
    k : int
        Number of clusters, each with at least one row.

    Returns
    -------
    float or None
        At least 0. None for k = 1 and for k = n, where one of the scatters has no degrees of freedom; None too when
        the inertia is 0 (or so near to it that the ratio is beyond float64): the ratio is then infinite, which JSON
        cannot hold. scikit-learn says 1.0 there, which would rank a perfect division last.

    Raises
    ------
    DataError
        A scatter is negative, NaN or infinite, or k is not between 1 and n.

    Notes
    -----
    ``((total_scatter - inertia) / (k - 1)) / (inertia / (n - k))``, from T. Caliński and J. Harabasz, "A dendrite
    method for cluster analysis", Communications in Statistics 3 (1974). With centroids that are not the exact means
    of their rows the inertia, and so the figure, is that of the centroids.

    Examples
    --------
    >>> calinski_harabasz(1.0, 101.0, n=4, k=2)
    200.0
    """
    _check_scatter("calinski_harabasz", inertia, total_scatter)
    if not 1 <= k <= n:
        raise DataError(f"calinski_harabasz: expected 1 to n clusters of n rows; got {k} clusters of {n} rows.")
    if k in (1, n) or inertia == 0:
        return None
    between = max(total_scatter - inertia, 0.0) / (k - 1)
    within = inertia / (n - k)
    ratio = between / within if within > 0 else math.inf
    return ratio if math.isfinite(ratio) else None


def davies_bouldin(centroids: NDArray[Any], labels: NDArray[Any], distances: NDArray[Any]) -> float | None:
    """How much each cluster overlaps with the one most like it, on average over the clusters: lower is better.

    For two clusters, the sum of their mean distances to their centroids over the distance between the centroids: 1
    where they touch at those distances. Each cluster counts alike, however many rows it has.

    Parameters
    ----------
    centroids : ndarray, shape (k, d)
    labels : ndarray of integers, shape (n,)
        Cluster of each row, 0 to k - 1; a cluster without rows is passed over.
    distances : ndarray, shape (n,)
        Euclidean distance (not squared) of each row to its centroid, as in
        :class:`~engine.clustering.result.Clustering`.

    Returns
    -------
    float or None
        At least 0; 0 when every row lies on its centroid. None when fewer than two clusters have rows, and when two
        of them share one centroid, for then the figure is infinite.

    Raises
    ------
    DataError
        Labels and distances differ in number, a label is outside 0 to k - 1, or a figure is NaN, infinite or a
        distance negative.

    Notes
    -----
    From D. Davies and D. Bouldin, "A cluster separation measure", IEEE Transactions on Pattern Analysis and Machine
    Intelligence 1 (1979), with mean distances (q = 1) and Euclidean ones (p = 2), as in scikit-learn; there two
    clusters on one centroid do not count.

    Examples
    --------
    >>> import numpy as np
    >>> davies_bouldin(np.array([[0.5], [10.5]]), np.array([0, 0, 1, 1]), np.full(4, 0.5))
    0.1
    """
    own = checked_labels("davies_bouldin", labels, len(distances))
    C = checked_rows("davies_bouldin", np.asarray(centroids)).astype(np.float64)
    k = len(C)
    if len(own) and own.max() >= k:
        raise DataError(f"davies_bouldin: expected labels below the number of centroids, {k}; got {int(own.max())}.")
    sizes = np.zeros(k, np.int64)
    sums = np.zeros(k)
    for start in range(0, len(own), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        sizes += np.bincount(own[block], minlength=k)
        sums += np.bincount(own[block], weights=distances[block], minlength=k)
        if not (np.isfinite(sums).all() and distances[block].min() >= 0):
            raise DataError("davies_bouldin: expected finite distances of at least 0; got others among them.")
    there = np.flatnonzero(sizes)
    if len(there) < 2:
        return None
    C, widths = C[there], sums[there] / sizes[there]
    worst = np.empty(len(there))
    for j, width in enumerate(widths):
        apart = np.delete(np.sqrt(np.square(C - C[j]).sum(axis=1)), j)
        if not apart.all():
            return None
        worst[j] = ((np.delete(widths, j) + width) / apart).max()
    return float(worst.mean())


def silhouette_euclidean(
    matrix: NDArray[Any],
    labels: NDArray[Any],
    *,
    sample_rows: int = 2_000,
    seed: int = 0,
    threads: int | None = None,
) -> Estimate | None:
    """Mean silhouette with Euclidean distances, from a random sample of rows, with its standard error.

    What most publications call the silhouette. For each row, a is its mean distance to the other rows of its cluster,
    b the smallest of its mean distances to the rows of another cluster, and the silhouette (b - a) / max(a, b); a row
    alone in its cluster counts 0. :func:`engine.clustering.quality.silhouette` is exact at any size, but squares
    the distances, which makes it mostly larger.

    Parameters
    ----------
    matrix : ndarray of float32 or float64, shape (n, d)
    labels : ndarray of integers, shape (n,)
        Cluster of each row, from 0; an index that no row has is passed over.
    sample_rows : int
        Rows whose silhouette is computed, at least 2. From n on, all are, against all others: exact, at a cost of
        n² distances.
    seed : int
        The sample follows from it, at least 0.
    threads : int, optional
        Threads to use; all cores by default. The result has the same bits for any number.

    Returns
    -------
    Estimate or None
        The value lies between -1 and 1; the standard error is 0 when all rows were used. None when fewer than two
        clusters have rows.

    Raises
    ------
    DataError
        Rows and labels differ in number, a label is negative, or a value is NaN, infinite or beyond 1e150.
    SettingError
        ``sample_rows`` below 2 or ``seed`` below 0.

    Notes
    -----
    Rows are drawn from each cluster in proportion to its size, at least two where there are two, and the clusters'
    means are weighted by their true sizes: the mean over the sample is then unbiased for the mean over all rows, and
    varies less than that of a plain sample. The standard error is that of this design, corrected for a finite
    number of rows.

    Up to :data:`PAIRS` distances, a sampled row is measured against all rows, so that its silhouette is exact (with
    scikit-learn's ``sample_size`` it is measured against the sample only). Beyond, against a second sample, as equal
    in size for all clusters as they allow. Each mean distance is then unbiased. Their least, b, comes out a little
    small where many clusters are nearly as near, which the standard error does not contain: 0.8 of it in a cloud cut
    into 30 clusters in 24 dimensions, nothing to be seen with 10 clusters in 8.

    Time: about :data:`PAIRS` × (d + 15) operations at any n, and more only for a larger sample or thousands of
    clusters. Memory: the second sample and ``sample_rows`` × k, in float64.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.array([[0.0], [1.0], [10.0], [11.0]], dtype=np.float32)
    >>> found = silhouette_euclidean(rows, np.array([0, 0, 1, 1]))
    >>> round(found.value, 6), found.standard_error
    (0.899749, 0.0)
    """
    if sample_rows < 2 or seed < 0:
        raise SettingError(
            f"silhouette_euclidean: expected sample_rows of at least 2 and a seed of at least 0; "
            f"got {sample_rows} and {seed}."
        )
    own = checked_labels("silhouette_euclidean", labels, len(matrix))
    sizes = np.bincount(own)
    there = np.flatnonzero(sizes)
    if len(there) < 2:
        return None
    X = checked_rows("silhouette_euclidean", matrix)
    n = len(X)
    rng = np.random.default_rng(seed)
    wanted = np.minimum(sizes, np.maximum(2, -(-sizes * min(sample_rows, n) // n)))
    drawn = draw_from_clusters(own, sizes, wanted, rng)
    m = len(drawn)
    references = n if m >= n else max(PAIRS // m, REFERENCES_PER_ROW * m, REFERENCES_PER_CLUSTER * len(there))
    met = np.minimum(sizes, even_level(sizes[there], references))
    widths = _silhouettes(X, own, drawn, draw_from_clusters(own, sizes, met, rng), met, there, threads)
    return _stratified_mean(widths, own[drawn], sizes, wanted)


def checked_rows(what: str, matrix: NDArray[Any]) -> NDArray[Any]:
    """Return rows as float32 or float64 in C order, or raise :class:`DataError` where no distance can be computed."""
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise DataError(f"{what}: expected rows (n, d) with at least one of each; got {matrix.shape}.")
    X = np.ascontiguousarray(matrix, None if matrix.dtype in (np.float32, np.float64) else np.float64)
    # Both extremes are NaN where any value is: no mask as large as the rows is needed.
    largest = max(float(X.max()), -float(X.min()))
    if not largest <= _LARGEST_VALUE:
        bad = np.flatnonzero(~(np.abs(X) <= _LARGEST_VALUE).all(axis=0))
        raise DataError(
            f"{what}: expected finite values up to {_LARGEST_VALUE:g}; got others in column "
            f"{', '.join(map(str, bad))}. Impute or leave out these features, or scale them."
        )
    return X


def checked_labels(what: str, labels: NDArray[Any], rows: int) -> NDArray[Any]:
    """Return labels as an array of integers from 0, one for each of so many rows, or raise :class:`DataError`."""
    found = np.asarray(labels)
    if found.shape != (rows,):
        raise DataError(f"{what}: expected one label for each of {rows} rows; got labels of shape {found.shape}.")
    if found.dtype.kind not in "iu" and len(found):
        raise DataError(f"{what}: expected labels that are whole numbers; got {found.dtype}.")
    if len(found) and found.min() < 0:
        raise DataError(f"{what}: expected labels from 0; got {int(found.min())}.")
    return found if len(found) else found.astype(np.int32)


def _check_scatter(what: str, inertia: float, total: float) -> None:
    if not (0 <= inertia < math.inf and 0 <= total < math.inf):
        raise DataError(f"{what}: expected an inertia and a scatter, finite and at least 0; got {inertia} and {total}.")


def _silhouettes(
    X: NDArray[Any],
    own: NDArray[Any],
    drawn: NDArray[np.int64],
    references: NDArray[np.int64],
    met: NDArray[Any],
    there: NDArray[np.int64],
    threads: int | None,
) -> NDArray[np.float64]:
    """Return the silhouette of each row drawn, measured against the references, which lie cluster by cluster."""
    from engine.clustering import indices_kernels as kernels

    counts = met[there]
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    turned = np.ascontiguousarray(X[references].T, np.float64)
    with numba_threads(threads):
        sums = kernels.distance_sums(X[drawn].astype(np.float64), turned, bounds)
    every = np.arange(len(drawn))
    column = np.searchsorted(there, own[drawn])
    # A row among its own references adds a distance of 0 and is not one of the others.
    others = counts[column] - np.isin(drawn, references, kind="sort")
    inside = sums[every, column] / np.maximum(others, 1)
    sums /= counts
    sums[every, column] = np.inf
    neighbour = sums.min(axis=1)
    greater = np.maximum(inside, neighbour)
    widths = np.zeros(len(drawn))
    np.divide(neighbour - inside, greater, out=widths, where=(greater > 0) & (others > 0))
    return widths


def _stratified_mean(
    widths: NDArray[np.float64], clusters: NDArray[Any], sizes: NDArray[Any], counts: NDArray[Any]
) -> Estimate:
    """Return the mean over all rows and its standard error, from rows drawn in each cluster without replacement."""
    n = int(sizes.sum())
    value = variance = 0.0
    for j in np.flatnonzero(sizes):
        inside = widths[clusters == j]
        size, count = int(sizes[j]), int(counts[j])
        value += size / n * float(inside.mean())
        if count < size:
            variance += (size / n) ** 2 * (1.0 - count / size) * float(inside.var(ddof=1)) / count
    return Estimate(value, math.sqrt(variance))
