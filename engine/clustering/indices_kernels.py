"""Float64 passes behind :mod:`engine.clustering.indices`, compiled.

Sums are kept per chunk of rows, or per row, and added in order outside the parallel loop: a result has the same bits
for any number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

_BLOCK = 128
_GROUP = 8
# Contraction to fused multiply-add does not change the order of a sum; reassociation would.
_FASTMATH = {"contract", "nnan", "nsz"}


@njit(cache=True, parallel=True, fastmath=_FASTMATH, error_model="numpy")
def centred_sums(X, centre, chunk):  # type: ignore[no-untyped-def]
    """Return, per chunk of rows, the sums of ``x - centre`` and, in the last column, of its square: (chunks, d + 1)."""
    n, d = X.shape
    chunks = (n + chunk - 1) // chunk
    parts = np.zeros((chunks, d + 1))
    for c in prange(chunks):
        sums = np.zeros(d)
        squares = 0.0
        for i in range(c * chunk, min((c + 1) * chunk, n)):
            for f in range(d):
                difference = X[i, f] - centre[f]
                sums[f] += difference
                squares += difference * difference
        parts[c, :d] = sums
        parts[c, d] = squares
    return parts


@njit(cache=True, parallel=True, fastmath=_FASTMATH, error_model="numpy")
def distance_sums(rows, turned, bounds):  # type: ignore[no-untyped-def]
    """Return the sum of the Euclidean distances of each row to the points of each cluster: shape (m, k).

    ``rows`` has shape (m, d), ``turned`` holds the points as (d, points), and those of cluster j lie between
    ``bounds[j]`` and ``bounds[j + 1]``.
    """
    m, d = rows.shape
    k = len(bounds) - 1
    sums = np.empty((m, k))
    for g in prange((m + _GROUP - 1) // _GROUP):
        first = g * _GROUP
        last = min(first + _GROUP, m)
        # A block of points serves a group of rows while it is in the nearest cache.
        points = np.empty((d, _BLOCK))
        squares = np.empty(_BLOCK)
        totals = np.empty((_GROUP, _BLOCK))
        for j in range(k):
            totals[:] = 0.0
            for start in range(bounds[j], bounds[j + 1], _BLOCK):
                width = min(_BLOCK, bounds[j + 1] - start)
                for f in range(d):
                    for i in range(width):
                        points[f, i] = turned[f, start + i]
                for r in range(first, last):
                    squares[:] = 0.0
                    for f in range(d):
                        x = rows[r, f]
                        for i in range(width):
                            difference = points[f, i] - x
                            squares[i] += difference * difference
                    for i in range(width):
                        totals[r - first, i] += np.sqrt(squares[i])
            for r in range(first, last):
                total = 0.0
                for i in range(_BLOCK):
                    total += totals[r - first, i]
                sums[r, j] = total
    return sums
