"""Float64 passes behind :mod:`engine.clustering.quality`, compiled.

Rows are taken in chunks whose size depends on the shapes alone. Each chunk leaves its sums in a slot of its own and
the slots are added in order outside the parallel loop, so a result has the same bits for any number of threads.
Inside a chunk, blocks of 256 rows are turned so that one feature of all rows is contiguous: with the row loop
innermost every operation fills a vector register.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Labels = NDArray[np.int32]

_BLOCK = 256
# Contraction to fused multiply-add does not change the order of a sum; reassociation would.
_FASTMATH = {"contract", "nnan", "nsz"}


@njit(cache=True, fastmath=_FASTMATH, error_model="numpy")
def _turn(X, start, rows, scratch):  # type: ignore[no-untyped-def]
    for i in range(rows):
        for f in range(X.shape[1]):
            scratch[f, i] = X[start + i, f]


@njit(cache=True, fastmath=_FASTMATH, error_model="numpy")
def _add_squares(scratch, centroid, rows, out):  # type: ignore[no-untyped-def]
    for f in range(centroid.shape[0]):
        c = centroid[f]
        for i in range(rows):
            difference = scratch[f, i] - c
            out[i] += difference * difference


@njit(cache=True, parallel=True, fastmath=_FASTMATH, error_model="numpy")
def nearest_squares(X, centroids, chunk):  # type: ignore[no-untyped-def]
    """Return, per chunk of rows, the sum of squared distances to the nearest centroid."""
    n, d = X.shape
    chunks = (n + chunk - 1) // chunk
    totals = np.zeros(chunks)
    for c in prange(chunks):
        scratch = np.empty((d, _BLOCK))
        squares = np.empty(_BLOCK)
        nearest = np.empty(_BLOCK)
        end = min((c + 1) * chunk, n)
        total = 0.0
        for start in range(c * chunk, end, _BLOCK):
            rows = min(_BLOCK, end - start)
            _turn(X, start, rows, scratch)
            nearest[:] = np.inf
            for j in range(centroids.shape[0]):
                squares[:] = 0.0
                _add_squares(scratch, centroids[j], rows, squares)
                for i in range(rows):
                    nearest[i] = min(nearest[i], squares[i])
            for i in range(rows):
                total += nearest[i]
        totals[c] = total
    return totals


@njit(cache=True, parallel=True, fastmath=_FASTMATH, error_model="numpy")
def label_sums(X, labels, k, chunk):  # type: ignore[no-untyped-def]
    """Return, per chunk of rows, the sum of the rows of each label: shape (chunks, k, d)."""
    n, d = X.shape
    chunks = (n + chunk - 1) // chunk
    sums = np.zeros((chunks, k, d))
    for c in prange(chunks):
        for i in range(c * chunk, min((c + 1) * chunk, n)):
            j = labels[i]
            for f in range(d):
                sums[c, j, f] += X[i, f]
    return sums


@njit(cache=True, parallel=True, fastmath=_FASTMATH, error_model="numpy")
def label_squares(X, labels, means, chunk):  # type: ignore[no-untyped-def]
    """Return, per chunk of rows, the squared distances of the rows of each label to its mean: (chunks, k)."""
    n, d = X.shape
    chunks = (n + chunk - 1) // chunk
    squares = np.zeros((chunks, means.shape[0]))
    for c in prange(chunks):
        for i in range(c * chunk, min((c + 1) * chunk, n)):
            j = labels[i]
            total = 0.0
            for f in range(d):
                difference = X[i, f] - means[j, f]
                total += difference * difference
            squares[c, j] += total
    return squares


@njit(cache=True, parallel=True, fastmath=_FASTMATH, error_model="numpy")
def silhouette_sums(X, labels, means, spreads, sizes, chunk):  # type: ignore[no-untyped-def]
    """Return, per chunk of rows, the sum of the silhouettes.

    ``spreads[j]`` is the mean squared distance of the rows of cluster j to its mean, so that the mean squared
    distance of a row x to all rows of j is ``|x - means[j]|² + spreads[j]``.
    """
    n, d = X.shape
    k = means.shape[0]
    chunks = (n + chunk - 1) // chunk
    totals = np.zeros(chunks)
    for c in prange(chunks):
        scratch = np.empty((d, _BLOCK))
        to_cluster = np.empty(_BLOCK)
        own = np.empty(_BLOCK)
        neighbour = np.empty(_BLOCK)
        label = np.empty(_BLOCK, np.int32)
        end = min((c + 1) * chunk, n)
        total = 0.0
        for start in range(c * chunk, end, _BLOCK):
            rows = min(_BLOCK, end - start)
            _turn(X, start, rows, scratch)
            for i in range(rows):
                label[i] = labels[start + i]
            own[:] = 0.0
            neighbour[:] = np.inf
            for j in range(k):
                if sizes[j] == 0:
                    continue
                to_cluster[:] = spreads[j]
                _add_squares(scratch, means[j], rows, to_cluster)
                for i in range(rows):
                    mine = label[i] == j
                    own[i] = to_cluster[i] if mine else own[i]
                    neighbour[i] = neighbour[i] if mine else min(neighbour[i], to_cluster[i])
            for i in range(rows):
                size = sizes[label[i]]
                if size > 1:
                    # The mean over all rows of the cluster counts the row's zero distance to itself.
                    inside = own[i] * (size / (size - 1.0))
                    greater = max(inside, neighbour[i])
                    if greater > 0.0:
                        total += (neighbour[i] - inside) / greater
        totals[c] = total
    return totals
