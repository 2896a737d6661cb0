"""The machine code of the nearest and the two nearest centroids, to the last bit of float64.

What is answered is what :func:`engine.clustering.nearest.squared_distances` would. So in float64 nothing may be fused:
a product and a sum are two roundings there, as in NumPy and Python, and one where a processor has an instruction for
both.

Who is nearest shows in float32 already, twice as fast, but for customers who are as good as halfway between two
centroids; how near that is follows from the roundings, see :func:`engine.clustering.nearest.doubt`. A tile that has
such a customer is done again in float64.

Arrays come flat, and rows in tiles, as in :mod:`engine.clustering.kernels`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from engine.clustering.jit import compiled
from engine.clustering.kernels import CHUNK, to_come
from engine.clustering.simd import add, add_product, less, load, load8, multiply, prefetch, select, spread, store
from engine.clustering.simd import subtract as minus
from engine.clustering.tiles import LANES, Array, padded, turn

EXACT: frozenset[str] = frozenset()
"""No freedom of the compiler: see above."""


@compiled(math=EXACT)
def _tile(X: Array, n: int, d: int, by_rows: bool, row: int, m: int, T: Array) -> Any:
    """Return where the columns of m rows from number ``row`` on can be read: array, first place, stride."""
    if not by_rows and m == LANES:
        return X, row, n
    if by_rows:
        turn(X, row * d, m, d, T)
    else:
        for f in range(d):
            T[f * LANES : f * LANES + m] = X[f * n + row : f * n + row + m]
    return T, 0, LANES


@compiled(math=EXACT)
def _widened(columns: Array, place: int, stride: int, d: int, W: Array) -> None:
    """Write a tile of columns as columns of W, LANES apart, in float64.

    Once for all centroids: a conversion with each takes longer than its distance.
    """
    for f in range(d):
        for r in range(LANES):
            W[f * LANES + r] = columns[place + f * stride + r]


@compiled(math=EXACT)
def _two_of_tile(
    W: Array,
    d: int,
    C: Array,
    low: Array,
    after: Array,
    first: Array,
    second: Array,
    X: Array,
    ahead: int,
    row_step: int,
    feature_step: int,
) -> None:
    """Find the two nearest of the centroids C (k × d,) for the columns W of a tile; of equally near ones the lower.

    low and after (LANES,): the squared distances; first and second (LANES,) int32: the numbers, -1 where there is no
    second. Meanwhile the tile at X[ahead] is fetched; see :func:`engine.clustering.kernels.nearest_centroids`.
    """
    lanes = 64 // X.itemsize
    for r in range(0, LANES, 32):
        like = load8(W, r)
        zero = spread(0.0, like)
        low0 = low1 = low2 = low3 = after0 = after1 = after2 = after3 = spread(np.inf, like)
        first0 = first1 = first2 = first3 = spread(np.int32(-1), like)
        second0 = second1 = second2 = second3 = first0
        line, left = ahead + r * row_step, d if row_step > 0 else 0
        for c in range(C.size // d):
            if left > 0:
                for place in range(line, line + 32, lanes):
                    prefetch(X, place)
                line += feature_step
                left -= 1
            sum0 = sum1 = sum2 = sum3 = zero
            for f in range(d):
                centre = spread(C[c * d + f], like)
                at = f * LANES + r
                gap0, gap1 = minus(load8(W, at), centre), minus(load8(W, at + 8), centre)
                gap2, gap3 = minus(load8(W, at + 16), centre), minus(load8(W, at + 24), centre)
                sum0, sum1 = add(sum0, multiply(gap0, gap0)), add(sum1, multiply(gap1, gap1))
                sum2, sum3 = add(sum2, multiply(gap2, gap2)), add(sum3, multiply(gap3, gap3))
            number = spread(np.int32(c), like)
            closer, runner = less(sum0, low0), less(sum0, after0)
            after0 = select(closer, low0, select(runner, sum0, after0))
            second0 = select(closer, first0, select(runner, number, second0))
            low0, first0 = select(closer, sum0, low0), select(closer, number, first0)
            closer, runner = less(sum1, low1), less(sum1, after1)
            after1 = select(closer, low1, select(runner, sum1, after1))
            second1 = select(closer, first1, select(runner, number, second1))
            low1, first1 = select(closer, sum1, low1), select(closer, number, first1)
            closer, runner = less(sum2, low2), less(sum2, after2)
            after2 = select(closer, low2, select(runner, sum2, after2))
            second2 = select(closer, first2, select(runner, number, second2))
            low2, first2 = select(closer, sum2, low2), select(closer, number, first2)
            closer, runner = less(sum3, low3), less(sum3, after3)
            after3 = select(closer, low3, select(runner, sum3, after3))
            second3 = select(closer, first3, select(runner, number, second3))
            low3, first3 = select(closer, sum3, low3), select(closer, number, first3)
        store(low, r, low0)
        store(low, r + 8, low1)
        store(low, r + 16, low2)
        store(low, r + 24, low3)
        store(after, r, after0)
        store(after, r + 8, after1)
        store(after, r + 16, after2)
        store(after, r + 24, after3)
        store(first, r, first0)
        store(first, r + 8, first1)
        store(first, r + 16, first2)
        store(first, r + 24, first3)
        store(second, r, second0)
        store(second, r + 8, second1)
        store(second, r + 16, second2)
        store(second, r + 24, second3)


@compiled(parallel=True, math=EXACT)
def two_nearest_chunks(
    X: Array,
    n: int,
    d: int,
    by_rows: bool,
    C: Array,
    first: Array,
    second: Array,
    first_distance: Array,
    second_distance: Array,
) -> None:
    """Write the two nearest of the centroids C (k × d,) for each row, and the distances to them, (n,) each."""
    for p in prange(-(-n // CHUNK)):
        T, W = np.zeros(padded(d) * LANES, X.dtype), np.zeros(d * LANES)
        low, after = np.empty(LANES), np.empty(LANES)
        near, runner = np.empty(LANES, np.int32), np.empty(LANES, np.int32)
        for row in range(p * CHUNK, min(n, (p + 1) * CHUNK), LANES):
            m = min(LANES, n - row)
            columns, place, stride = _tile(X, n, d, by_rows, row, m, T)
            _widened(columns, place, stride, d, W)
            ahead, row_step, feature_step = to_come(X, n, d, by_rows, row)
            if by_rows:
                feature_step = 32
            _two_of_tile(W, d, C, low, after, near, runner, X, ahead, row_step, feature_step)
            for r in range(m):
                first[row + r] = near[r]
                second[row + r] = runner[r]
            for r in range(m):
                first_distance[row + r] = np.sqrt(low[r])
                second_distance[row + r] = np.sqrt(after[r])


@compiled()
def _seen(
    columns: Array,
    place: int,
    stride: int,
    d: int,
    C: Array,
    low: Array,
    after: Array,
    first: Array,
    X: Array,
    ahead: int,
    row_step: int,
    feature_step: int,
) -> None:
    """Find the nearest centroid in the rows' precision, and what the second would be.

    low and after (LANES,): the squared distances; first (LANES,) int32. Meanwhile the tile at X[ahead] is fetched; see
    :func:`engine.clustering.kernels.nearest_centroids`.
    """
    lanes = 64 // columns.itemsize
    for r in range(0, LANES, 4 * lanes):
        like = load(columns, place + r)
        zero = spread(columns.dtype.type(0), like)
        low0 = low1 = low2 = low3 = after0 = after1 = after2 = after3 = spread(columns.dtype.type(np.inf), like)
        first0 = first1 = first2 = first3 = spread(np.int32(0), like)
        line, left = ahead + r * row_step, d
        for c in range(C.size // d):
            if left > 0:
                prefetch(X, line)
                prefetch(X, line + lanes)
                prefetch(X, line + 2 * lanes)
                prefetch(X, line + 3 * lanes)
                line += feature_step
                left -= 1
            sum0 = sum1 = sum2 = sum3 = zero
            for f in range(d):
                centre = spread(C[c * d + f], like)
                at = place + f * stride + r
                gap0, gap1 = minus(load(columns, at), centre), minus(load(columns, at + lanes), centre)
                gap2 = minus(load(columns, at + 2 * lanes), centre)
                gap3 = minus(load(columns, at + 3 * lanes), centre)
                sum0, sum1 = add_product(gap0, gap0, sum0), add_product(gap1, gap1, sum1)
                sum2, sum3 = add_product(gap2, gap2, sum2), add_product(gap3, gap3, sum3)
            number = spread(np.int32(c), like)
            closer = less(sum0, low0)
            after0 = select(closer, low0, select(less(sum0, after0), sum0, after0))
            low0, first0 = select(closer, sum0, low0), select(closer, number, first0)
            closer = less(sum1, low1)
            after1 = select(closer, low1, select(less(sum1, after1), sum1, after1))
            low1, first1 = select(closer, sum1, low1), select(closer, number, first1)
            closer = less(sum2, low2)
            after2 = select(closer, low2, select(less(sum2, after2), sum2, after2))
            low2, first2 = select(closer, sum2, low2), select(closer, number, first2)
            closer = less(sum3, low3)
            after3 = select(closer, low3, select(less(sum3, after3), sum3, after3))
            low3, first3 = select(closer, sum3, low3), select(closer, number, first3)
        store(low, r, low0)
        store(low, r + lanes, low1)
        store(low, r + 2 * lanes, low2)
        store(low, r + 3 * lanes, low3)
        store(after, r, after0)
        store(after, r + lanes, after1)
        store(after, r + 2 * lanes, after2)
        store(after, r + 3 * lanes, after3)
        store(first, r, first0)
        store(first, r + lanes, first1)
        store(first, r + 2 * lanes, first2)
        store(first, r + 3 * lanes, first3)


@compiled(math=EXACT)
def _doubtful(low: Array, after: Array, m: int, share: Any, least: Any) -> bool:
    """Say whether one of m rows may be nearer to another centroid than it seems."""
    doubts = 0
    for r in range(m):
        # Written so that infinity and NaN, which come of an overflow, are doubted.
        doubts += not after[r] - low[r] > share * after[r] + least
    return doubts > 0


@compiled(parallel=True, math=EXACT)
def nearest_chunks(
    X: Array, n: int, d: int, by_rows: bool, C: Array, narrow: Array, share: Any, least: Any, first: Array
) -> None:
    """Write the nearest of the centroids C (k × d,) for each row, (n,).

    narrow (k × d,): the centroids in the rows' precision. Of two squared distances in that precision the order is in
    doubt if they differ by no more than ``share`` of the larger one and ``least``.
    """
    for p in prange(-(-n // CHUNK)):
        T, W = np.zeros(padded(d) * LANES, X.dtype), np.zeros(d * LANES)
        seen, seen_after = np.empty(LANES, X.dtype), np.empty(LANES, X.dtype)
        low, after = np.empty(LANES), np.empty(LANES)
        near, runner = np.empty(LANES, np.int32), np.empty(LANES, np.int32)
        for row in range(p * CHUNK, min(n, (p + 1) * CHUNK), LANES):
            m = min(LANES, n - row)
            columns, place, stride = _tile(X, n, d, by_rows, row, m, T)
            ahead, row_step, feature_step = to_come(X, n, d, by_rows, row)
            _seen(columns, place, stride, d, narrow, seen, seen_after, near, X, ahead, row_step, feature_step)
            if _doubtful(seen, seen_after, m, share, least):
                _widened(columns, place, stride, d, W)
                _two_of_tile(W, d, C, low, after, near, runner, X, 0, 0, 0)
            for r in range(m):
                first[row + r] = near[r]
