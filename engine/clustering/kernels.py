"""The machine code of k-means: one read of the rows gives distances, nearest centroids and their sums.

Rows are worked on in tiles of ``LANES``, column by column: the processor then measures sixteen or eight customers at
once, whatever the number of centroids and features. Rows that lie in memory row by row are turned into columns first;
a matrix that comes by columns, as a data frame does, is read where it lies. Distances are sums of squared
*differences*, in the rows' own precision; the expanded square would lose the small distances of a tight cluster to
cancellation. Everything that is added up over rows is float64.

Every ``CHUNK`` rows have a partial sum of their own, and the partial sums are added in the order of the chunks: the
result is the same, bit for bit, for any number of threads.

Arrays come flat. ``X`` has n × d values, by rows or by columns; ``C`` has the centroids of all models one after the
other, in the rows' precision. A vector of eight may be read from the last values of a row on, so what lies behind is
padded or is the next row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from engine.clustering.jit import compiled
from engine.clustering.simd import add, add_product, less, load, load8, prefetch, select, spread, store, subtract, widen
from engine.clustering.tiles import LANES, Array, padded, to_rows, turn

CHUNK = 8192
"""Rows behind one float64 partial sum. Results depend on it, so it never follows the machine."""


@compiled()
def nearest_centroids(
    columns: Array,
    place: int,
    stride: int,
    d: int,
    C: Array,
    low: int,
    high: int,
    squared: Array,
    nearest: Array,
    X: Array,
    ahead: int,
    row_step: int,
    feature_step: int,
) -> None:
    """Find the nearest of the centroids low..high for each row of a tile; of equally near ones the lower.

    Feature f of the tile's rows lies at columns[place + f * stride] and behind. squared (LANES,) and nearest (LANES,)
    int32 are written; nearest counts from 0 at ``low``.

    Meanwhile a later tile is fetched, a few lines with each centroid: memory would rest otherwise while the processor
    works, and the processor while memory is read. That tile begins at X[ahead]; see :func:`to_come`. Rows in the cache
    need it not: with a row_step of 0 nothing is fetched.
    """
    infinity = squared.dtype.type(np.inf)
    lanes = 64 // squared.itemsize
    for r in range(0, LANES, 4 * lanes):
        # Four vectors of rows wait for one centroid's value: it is loaded once, and none waits for itself.
        like = load(columns, place + r)
        zero = spread(squared.dtype.type(0), like)
        best0 = best1 = best2 = best3 = spread(infinity, like)
        near0 = near1 = near2 = near3 = spread(np.int32(0), like)
        line, left = ahead + r * row_step, d if row_step > 0 else 0
        for c in range(low, high):
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
                gap0 = subtract(load(columns, at), centre)
                gap1 = subtract(load(columns, at + lanes), centre)
                gap2 = subtract(load(columns, at + 2 * lanes), centre)
                gap3 = subtract(load(columns, at + 3 * lanes), centre)
                sum0 = add_product(gap0, gap0, sum0)
                sum1 = add_product(gap1, gap1, sum1)
                sum2 = add_product(gap2, gap2, sum2)
                sum3 = add_product(gap3, gap3, sum3)
            number = spread(np.int32(c - low), like)
            closer0, closer1 = less(sum0, best0), less(sum1, best1)
            closer2, closer3 = less(sum2, best2), less(sum3, best3)
            best0, near0 = select(closer0, sum0, best0), select(closer0, number, near0)
            best1, near1 = select(closer1, sum1, best1), select(closer1, number, near1)
            best2, near2 = select(closer2, sum2, best2), select(closer2, number, near2)
            best3, near3 = select(closer3, sum3, best3), select(closer3, number, near3)
        store(squared, r, best0)
        store(squared, r + lanes, best1)
        store(squared, r + 2 * lanes, best2)
        store(squared, r + 3 * lanes, best3)
        store(nearest, r, near0)
        store(nearest, r + lanes, near1)
        store(nearest, r + 2 * lanes, near2)
        store(nearest, r + 3 * lanes, near3)


@compiled()
def to_come(X: Array, n: int, d: int, by_rows: bool, row: int) -> Any:
    """Return where the tile after the next of ``row`` begins, and how far apart its rows and its fetched parts lie.

    A quarter of a tile has four lines of 64 bytes for each feature. By columns those are the feature's; by rows it
    does not matter whose they are.
    """
    far = row + 2 * LANES
    if by_rows:
        return far * d, d, 256 // X.itemsize
    return far, 1, n


@compiled()
def add_rows(
    rows: Array,
    place: int,
    stride: int,
    m: int,
    P: int,
    weights: Array,
    first_weight: int,
    squared: Array,
    nearest: Array,
    low: int,
    sums: Array,
    base: int,
    tallies: Array,
) -> None:
    """Add m rows, from rows[place] on, ``stride`` apart, to the sums of their centroids.

    Each centroid c has two sums of P features, from sums[base + 2 * P * c] on, and in tallies (K, 4) two weights and
    two sums of squared distances: rows with even and with odd numbers, because a sum that two rows in a row add to
    makes the second one wait. ``weights`` of length 0 count every row once.
    """
    weighted = weights.size > 0
    for r in range(m):
        odd = r & 1
        c = low + nearest[r]
        at = base + (2 * c + odd) * P
        row = place + r * stride
        if weighted:
            w = weights[first_weight + r]
            for f in range(0, P, 8):
                total = load8(sums, at + f)
                store(sums, at + f, add_product(widen(load8(rows, row + f)), spread(w, total), total))
            tallies[c, odd] += w
            tallies[c, 2 + odd] += w * np.float64(squared[r])
        elif P == 8:
            store(sums, at, add(load8(sums, at), widen(load8(rows, row))))
            tallies[c, odd] += 1.0
            tallies[c, 2 + odd] += squared[r]
        else:
            for f in range(0, P, 8):
                store(sums, at + f, add(load8(sums, at + f), widen(load8(rows, row + f))))
            tallies[c, odd] += 1.0
            tallies[c, 2 + odd] += squared[r]


@compiled()
def aligned(sums: Array) -> int:
    """Return the first place of an array of float64 that begins a cache line; a vector across two costs twice."""
    return (64 - sums.ctypes.data % 64) % 64 // 8


@compiled()
def add_up(sums: Array, base: int, tallies: Array, d: int, part: Array) -> None:
    """Write what :func:`add_rows` has added into part (K, d + 2): sums, weight, squared distances; start anew."""
    P = padded(d)
    for c in range(part.shape[0]):
        even, odd = base + 2 * c * P, base + (2 * c + 1) * P
        for f in range(d):
            part[c, f] = sums[even + f] + sums[odd + f]
        part[c, d] = tallies[c, 0] + tallies[c, 1]
        part[c, d + 1] = tallies[c, 2] + tallies[c, 3]
    sums[:] = 0.0
    tallies[:] = 0.0


@compiled(parallel=True)
def step_chunks(
    X: Array, n: int, d: int, by_rows: bool, weights: Array, C: Array, bounds: Array, first_chunk: int, parts: Array
) -> None:
    """Add up, chunk by chunk, what one Lloyd step needs, for every model in one read.

    weights (n,) or (0,) for none; model m owns the centroids bounds[m]..bounds[m+1]. Chunk ``first_chunk + p`` is
    written to parts[p] (K, d + 2): sums of the d features, weight, squared distances.
    """
    P = padded(d)
    K = parts.shape[1]
    for p in prange(parts.shape[0]):
        T = np.zeros(P * LANES, X.dtype)
        R = np.zeros(P * LANES, X.dtype)
        squared = np.empty(LANES, X.dtype)
        nearest = np.empty(LANES, np.int32)
        sums = np.zeros(2 * K * P + 8)
        tallies = np.zeros((K, 4))
        base = aligned(sums)
        start = (first_chunk + p) * CHUNK
        for row in range(start, min(n, start + CHUNK), LANES):
            m = min(LANES, n - row)
            if by_rows:
                columns, place, stride = T, 0, LANES
                turn(X, row * d, m, d, T)
            elif m == LANES:
                columns, place, stride = X, row, n
            else:
                columns, place, stride = T, 0, LANES
                for f in range(d):
                    T[f * LANES : f * LANES + m] = X[f * n + row : f * n + row + m]
            if by_rows and (row + m) * d + 8 <= X.size:
                rows, at, apart = X, row * d, d
            else:
                rows, at, apart = R, 0, P
                to_rows(columns, place, stride, m, d, P, R)
            ahead, row_step, feature_step = to_come(X, n, d, by_rows, row)
            for model in range(bounds.size - 1):
                low, high = bounds[model], bounds[model + 1]
                nearest_centroids(
                    columns, place, stride, d, C, low, high, squared, nearest, X, ahead, row_step, feature_step
                )
                add_rows(rows, at, apart, m, P, weights, row, squared, nearest, low, sums, base, tallies)
        add_up(sums, base, tallies, d, parts[p])


@compiled()
def add_in_order(parts: Array, sums: Array) -> None:
    """Add the chunks' partial sums one after the other."""
    for p in range(parts.shape[0]):
        for c in range(parts.shape[1]):
            for f in range(parts.shape[2]):
                sums[c, f] += parts[p, c, f]


@compiled()
def _measure(
    X: Array, n: int, d: int, by_rows: bool, row: int, m: int, C: Array, T: Array, squared: Array, nearest: Array
) -> None:
    """Find the nearest centroid of the m rows from number ``row`` on."""
    ahead, row_step, feature_step = to_come(X, n, d, by_rows, row)
    if not by_rows and m == LANES:
        nearest_centroids(X, row, n, d, C, 0, C.size // d, squared, nearest, X, ahead, row_step, feature_step)
        return
    if by_rows:
        turn(X, row * d, m, d, T)
    else:
        for f in range(d):
            T[f * LANES : f * LANES + m] = X[f * n + row : f * n + row + m]
    nearest_centroids(T, 0, LANES, d, C, 0, C.size // d, squared, nearest, X, ahead, row_step, feature_step)


@compiled(parallel=True)
def assign_chunks(
    X: Array, n: int, d: int, by_rows: bool, weights: Array, C: Array, labels: Array, distances: Array, parts: Array
) -> None:
    """Write each row's nearest centroid and Euclidean distance; parts (chunks,) gets the weighted squared distances.

    ``distances`` of length 0 is left alone.
    """
    for p in prange(parts.size):
        T = np.zeros(padded(d) * LANES, X.dtype)
        squared = np.empty(LANES, X.dtype)
        nearest = np.empty(LANES, np.int32)
        masses = np.zeros(LANES)
        for row in range(p * CHUNK, min(n, (p + 1) * CHUNK), LANES):
            m = min(LANES, n - row)
            _measure(X, n, d, by_rows, row, m, C, T, squared, nearest)
            for r in range(m):
                labels[row + r] = nearest[r]
            if distances.size > 0:
                for r in range(m):
                    distances[row + r] = np.sqrt(squared[r])
            # A sum for each place of a tile: one for all would make every row wait for the row before it.
            if weights.size > 0:
                for r in range(m):
                    masses[r] += weights[row + r] * np.float64(squared[r])
            else:
                for r in range(m):
                    masses[r] += squared[r]
        inertia = 0.0
        for r in range(LANES):
            inertia += masses[r]
        parts[p] = inertia


@compiled(parallel=True)
def farthest_chunks(
    X: Array, n: int, d: int, by_rows: bool, weights: Array, C: Array, far: Array, far_row: Array
) -> None:
    """Find for each chunk p and cluster c the row farthest from its centroid, among rows with a weight.

    far[p] (K,): its squared distance, -1 without a row; far_row[p] (K,): its number, -1 without; the first of equals.
    """
    for p in prange(far.shape[0]):
        T = np.zeros(padded(d) * LANES, X.dtype)
        squared = np.empty(LANES, X.dtype)
        nearest = np.empty(LANES, np.int32)
        far[p, :] = -1.0
        far_row[p, :] = -1
        for row in range(p * CHUNK, min(n, (p + 1) * CHUNK), LANES):
            m = min(LANES, n - row)
            _measure(X, n, d, by_rows, row, m, C, T, squared, nearest)
            for r in range(m):
                c = nearest[r]
                if squared[r] > far[p, c] and (weights.size == 0 or weights[row + r] > 0.0):
                    far[p, c] = squared[r]
                    far_row[p, c] = row + r


@compiled()
def _mixed(key: Any) -> Any:
    """Return 64 bits of which each depends on all bits of the key (the finaliser of SplitMix64, Steele et al. 2014)."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


@compiled(parallel=True)
def draw_chunks(
    X: Array,
    n: int,
    d: int,
    by_rows: bool,
    weights: Array,
    C: Array,
    even: float,
    per_square: float,
    key: Any,
    first_row: int,
    first_chunk: int,
    drawn: Array,
    place: Array,
    distance: Array,
    parts: Array,
) -> None:
    """Draw rows, each by itself, with probability w × (even + per_square × squared distance to its centroid).

    Chance is a hash of ``key`` and of the row's number, to which ``first_row`` is added: a row is drawn or not
    whoever holds it. Of chunk ``first_chunk + p``, drawn[p] rows: numbers place[p] (CHUNK,) within these rows, squared
    distances distance[p] (CHUNK,); parts[p]: the weighted squared distances of all its rows.
    """
    for p in prange(drawn.size):
        T = np.zeros(padded(d) * LANES, X.dtype)
        squared = np.empty(LANES, X.dtype)
        nearest = np.empty(LANES, np.int32)
        shares = np.empty(LANES, np.float64)
        found = 0
        inertia = 0.0
        start = (first_chunk + p) * CHUNK
        for row in range(start, min(n, start + CHUNK), LANES):
            m = min(LANES, n - row)
            _measure(X, n, d, by_rows, row, m, C, T, squared, nearest)
            # By itself, so that the compiler makes vectors of it.
            first = np.uint64(first_row + row)
            for r in range(LANES):
                shares[r] = _mixed(key + (first + np.uint64(r)) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(11)
            for r in range(m):
                w = weights[row + r] if weights.size > 0 else 1.0
                mass = w * np.float64(squared[r])
                inertia += mass
                if shares[r] < 2.0**53 * (w * even + per_square * mass):
                    place[p, found] = row + r
                    distance[p, found] = squared[r]
                    found += 1
        drawn[p] = found
        parts[p] = inertia


# Without "nnan" or the compiler may assume that what is sought does not exist.
@compiled(parallel=True, math=frozenset())
def count_not_finite(X: Array, parts: Array) -> None:
    """Count the values of each chunk that are NaN or infinite into parts (chunks of CHUNK values,)."""
    for p in prange(parts.size):
        bad = 0
        for i in range(p * CHUNK, min(X.size, (p + 1) * CHUNK)):
            # Infinity minus infinity is NaN too.
            bad += X[i] - X[i] != 0
        parts[p] = bad
