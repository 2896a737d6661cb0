"""The machine code of k-means: one read of the rows gives distances, nearest centroids and their sums.

Rows arrive row by row and are turned, ``LANES`` at a time, into columns: the processor then works on sixteen or eight
customers at once, whatever the number of centroids. Distances are sums of squared *differences*, in the rows' own
precision; the expanded square would lose the small distances of a tight cluster to cancellation. Everything that is
added up over rows is float64.

Every ``CHUNK`` rows have a partial sum of their own, and the partial sums are added in the order of the chunks: the
result is the same, bit for bit, for any number of threads.

The functions that call each other stay in this one file, because numba's cache on disk is keyed by the file of the
outermost function only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

LANES = 256
"""Rows that are turned into columns together: with eight features they fill 8 KiB, a quarter of the nearest cache."""

CHUNK = 8192
"""Rows behind one float64 partial sum. Results depend on it, so it never follows the machine."""

SEED_BLOCK = 1024
"""Rows behind one partial sum while seeding; a power of two, because the sum is a tree of halves."""

# Reassociation stays off: it would let the compiler choose the order of a sum.
_MATH = {"contract", "nnan", "nsz"}

Array = NDArray[Any]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_MATH)
def _turn(X: Array, first: int, m: int, T: Array) -> None:
    """Write rows first..first+m of X (n, d) as the columns of T (d_padded, LANES)."""
    d = X.shape[1]
    whole = m // 8 * 8
    # Eight rows of one feature at a time: a third faster than row by row, whatever d is.
    for r in range(0, whole, 8):
        for f in range(d):
            t = T[f]
            t[r], t[r + 1] = X[first + r, f], X[first + r + 1, f]
            t[r + 2], t[r + 3] = X[first + r + 2, f], X[first + r + 3, f]
            t[r + 4], t[r + 5] = X[first + r + 4, f], X[first + r + 5, f]
            t[r + 6], t[r + 7] = X[first + r + 6, f], X[first + r + 7, f]
    for r in range(whole, m):
        for f in range(d):
            T[f, r] = X[first + r, f]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_MATH)
def _set4(T: Array, c: Array, f: int, total: Array) -> None:
    t0, t1, t2, t3 = T[f], T[f + 1], T[f + 2], T[f + 3]
    c0, c1, c2, c3 = c[f], c[f + 1], c[f + 2], c[f + 3]
    for r in range(LANES):
        d0, d1, d2, d3 = t0[r] - c0, t1[r] - c1, t2[r] - c2, t3[r] - c3
        total[r] = (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_MATH)
def _set8(T: Array, c: Array, f: int, total: Array) -> None:
    t0, t1, t2, t3, t4, t5, t6, t7 = T[f], T[f + 1], T[f + 2], T[f + 3], T[f + 4], T[f + 5], T[f + 6], T[f + 7]
    c0, c1, c2, c3, c4, c5, c6, c7 = c[f], c[f + 1], c[f + 2], c[f + 3], c[f + 4], c[f + 5], c[f + 6], c[f + 7]
    for r in range(LANES):
        d0, d1, d2, d3 = t0[r] - c0, t1[r] - c1, t2[r] - c2, t3[r] - c3
        d4, d5, d6, d7 = t4[r] - c4, t5[r] - c5, t6[r] - c6, t7[r] - c7
        total[r] = ((d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)) + ((d4 * d4 + d5 * d5) + (d6 * d6 + d7 * d7))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_MATH)
def _add8(T: Array, c: Array, f: int, total: Array) -> None:
    t0, t1, t2, t3, t4, t5, t6, t7 = T[f], T[f + 1], T[f + 2], T[f + 3], T[f + 4], T[f + 5], T[f + 6], T[f + 7]
    c0, c1, c2, c3, c4, c5, c6, c7 = c[f], c[f + 1], c[f + 2], c[f + 3], c[f + 4], c[f + 5], c[f + 6], c[f + 7]
    for r in range(LANES):
        d0, d1, d2, d3 = t0[r] - c0, t1[r] - c1, t2[r] - c2, t3[r] - c3
        d4, d5, d6, d7 = t4[r] - c4, t5[r] - c5, t6[r] - c6, t7[r] - c7
        s = ((d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)) + ((d4 * d4 + d5 * d5) + (d6 * d6 + d7 * d7))
        total[r] = total[r] + s


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_MATH)
def _keep_closer(total: Array, best: Array, nearest: Array, number: Any) -> None:
    # Two selects without a branch: a branch here would be mispredicted for every other row.
    for r in range(LANES):
        closer = total[r] < best[r]
        best[r] = total[r] if closer else best[r]
        nearest[r] = number if closer else nearest[r]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_MATH)
def _closest4(T: Array, c: Array, best: Array, nearest: Array, number: Any) -> None:
    t0, t1, t2, t3 = T[0], T[1], T[2], T[3]
    c0, c1, c2, c3 = c[0], c[1], c[2], c[3]
    for r in range(LANES):
        d0, d1, d2, d3 = t0[r] - c0, t1[r] - c1, t2[r] - c2, t3[r] - c3
        s = (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
        closer = s < best[r]
        best[r] = s if closer else best[r]
        nearest[r] = number if closer else nearest[r]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_MATH)
def _closest8(T: Array, c: Array, best: Array, nearest: Array, number: Any) -> None:
    t0, t1, t2, t3, t4, t5, t6, t7 = T[0], T[1], T[2], T[3], T[4], T[5], T[6], T[7]
    c0, c1, c2, c3, c4, c5, c6, c7 = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
    for r in range(LANES):
        d0, d1, d2, d3 = t0[r] - c0, t1[r] - c1, t2[r] - c2, t3[r] - c3
        d4, d5, d6, d7 = t4[r] - c4, t5[r] - c5, t6[r] - c6, t7[r] - c7
        s = ((d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)) + ((d4 * d4 + d5 * d5) + (d6 * d6 + d7 * d7))
        closer = s < best[r]
        best[r] = s if closer else best[r]
        nearest[r] = number if closer else nearest[r]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_MATH)
def nearest_centroids(T: Array, C: Array, first: int, last: int, total: Array, best: Array, nearest: Array) -> None:
    """Find the nearest of the centroids first..last of C (K, d_padded) for each column of T; ties to the lower."""
    d_padded = C.shape[1]
    best[:] = np.inf
    nearest[:] = 0
    for c in range(first, last):
        number = np.int32(c - first)
        if d_padded == 4:
            _closest4(T, C[c], best, nearest, number)
        elif d_padded == 8:
            _closest8(T, C[c], best, nearest, number)
        else:
            if d_padded % 8 == 4:
                _set4(T, C[c], 0, total)
                f = 4
            else:
                _set8(T, C[c], 0, total)
                f = 8
            while f < d_padded:
                _add8(T, C[c], f, total)
                f += 8
            _keep_closer(total, best, nearest, number)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_MATH, parallel=True)
def step_chunks(
    X: Array,
    weights: Array,
    C: Array,
    bounds: Array,
    first_chunk: int,
    parts: Array,
    far: Array,
    far_row: Array,
) -> None:
    """Add up, chunk by chunk, what one Lloyd step needs, for every model in one read.

    X (n, d); weights (n,) or (0,) for none; C (K, d_padded), the centroids of all models below each other; model m
    owns the centroids bounds[m]..bounds[m+1]. Chunk ``first_chunk + p`` is written to parts[p] (K, d + 2): sums of the
    d features, weight, squared distances; far[p] (K,) and far_row[p] (K,): the farthest row with a weight.
    """
    n, d = X.shape
    n_models = bounds.shape[0] - 1
    weighted = weights.shape[0] > 0
    for p in prange(parts.shape[0]):
        T = np.zeros((C.shape[1], LANES), X.dtype)
        total = np.empty(LANES, X.dtype)
        best = np.empty(LANES, X.dtype)
        nearest = np.empty(LANES, np.int32)
        part = parts[p]
        part[:] = 0.0
        far[p, :] = -1.0
        far_row[p, :] = -1
        start = (first_chunk + p) * CHUNK
        stop = min(n, start + CHUNK)
        for row in range(start, stop, LANES):
            m = min(LANES, stop - row)
            _turn(X, row, m, T)
            for model in range(n_models):
                low = bounds[model]
                nearest_centroids(T, C, low, bounds[model + 1], total, best, nearest)
                if weighted:
                    for r in range(m):
                        c = low + nearest[r]
                        w = weights[row + r]
                        for f in range(d):
                            part[c, f] += w * np.float64(X[row + r, f])
                        part[c, d] += w
                        part[c, d + 1] += w * np.float64(best[r])
                        if best[r] > far[p, c] and w > 0.0:
                            far[p, c] = best[r]
                            far_row[p, c] = row + r
                else:
                    for r in range(m):
                        c = low + nearest[r]
                        for f in range(d):
                            part[c, f] += X[row + r, f]
                        part[c, d] += 1.0
                        part[c, d + 1] += best[r]
                        if best[r] > far[p, c]:
                            far[p, c] = best[r]
                            far_row[p, c] = row + r


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_MATH)
def add_in_order(parts: Array, far: Array, far_row: Array, sums: Array, top: Array, top_row: Array) -> None:
    """Add the chunks' partial sums one after the other, and keep the farthest row of each cluster (ties: the first)."""
    for p in range(parts.shape[0]):
        for c in range(parts.shape[1]):
            for f in range(parts.shape[2]):
                sums[c, f] += parts[p, c, f]
            if far[p, c] > top[c]:
                top[c] = far[p, c]
                top_row[c] = far_row[p, c]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_MATH, parallel=True)
def assign_chunks(X: Array, weights: Array, C: Array, labels: Array, distances: Array, parts: Array) -> None:
    """Write each row's nearest centroid and Euclidean distance; parts (chunks,) gets the weighted squared distances.

    ``distances`` of length 0 is left alone.
    """
    n = X.shape[0]
    weighted = weights.shape[0] > 0
    measured = distances.shape[0] > 0
    for p in prange(parts.shape[0]):
        T = np.zeros((C.shape[1], LANES), X.dtype)
        total = np.empty(LANES, X.dtype)
        best = np.empty(LANES, X.dtype)
        nearest = np.empty(LANES, np.int32)
        inertia = 0.0
        stop = min(n, (p + 1) * CHUNK)
        for row in range(p * CHUNK, stop, LANES):
            m = min(LANES, stop - row)
            _turn(X, row, m, T)
            nearest_centroids(T, C, 0, C.shape[0], total, best, nearest)
            for r in range(m):
                labels[row + r] = nearest[r]
            if measured:
                for r in range(m):
                    distances[row + r] = np.sqrt(best[r])
            if weighted:
                for r in range(m):
                    inertia += weights[row + r] * np.float64(best[r])
            else:
                for r in range(m):
                    inertia += best[r]
        parts[p] = inertia


# Without "nnan" or the compiler may assume that what is sought does not exist.
@njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def count_not_finite(X: Array, parts: Array) -> None:
    """Count the NaN and infinite values of each chunk of rows into parts (chunks,)."""
    n, d = X.shape
    for p in prange(parts.shape[0]):
        bad = 0
        for row in range(p * CHUNK, min(n, (p + 1) * CHUNK)):
            for f in range(d):
                # Infinity minus infinity is NaN too.
                bad += X[row, f] - X[row, f] != 0
        parts[p] = bad


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_MATH)
def _squared_to(columns: Array, start: int, m: int, row: int, out: Array) -> None:
    """Squared distances of rows start..start+m to one row, from columns (d, n), into out (SEED_BLOCK,)."""
    out[:] = 0.0
    for f in range(columns.shape[0]):
        column = columns[f, start : start + m]
        value = columns[f, row]
        for r in range(m):
            difference = column[r] - value
            out[r] += difference * difference


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_MATH)
def _tree_sum(values: Array) -> float:
    """Sum SEED_BLOCK values by halves, in place: an order that vectors can follow."""
    half = SEED_BLOCK // 2
    while half > 0:
        low = values[:half]
        high = values[half : 2 * half]
        for r in range(half):
            low[r] += high[r]
        half //= 2
    return float(values[0])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_MATH)
def _draw(u: float, block_mass: Array, weights: Array, nearest: Array) -> int:
    """Return the row at share u of the mass weights × nearest, or -1 when there is no mass."""
    total = 0.0
    for b in range(block_mass.shape[0]):
        total += block_mass[b]
    if not total > 0.0:
        return -1
    left = u * total
    block = 0
    last_massive = -1
    for b in range(block_mass.shape[0]):
        if block_mass[b] > 0.0:
            last_massive = b
            block = b
            if left < block_mass[b]:
                break
            left -= block_mass[b]
    block = last_massive
    n = weights.shape[0]
    chosen = -1
    for r in range(block * SEED_BLOCK, min(n, (block + 1) * SEED_BLOCK)):
        mass = weights[r] * np.float64(nearest[r])
        if mass > 0.0:
            chosen = r
            if left < mass:
                break
            left -= mass
    return chosen


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_MATH, parallel=True)
def greedy_starts(columns: Array, weights: Array, shares: Array, picks: Array, potentials: Array) -> None:
    """Greedy k-means++ (Arthur and Vassilvitskii 2007, with local trials), one thread per start.

    columns (d, n); weights (n,) float64; shares (starts, k, trials) uniform numbers; picks (starts, k) row numbers,
    -1 from where no row is left that differs from those chosen; potentials (starts,): the inertia of the start.
    """
    n = columns.shape[1]
    k = shares.shape[1]
    trials = shares.shape[2]
    n_blocks = (n + SEED_BLOCK - 1) // SEED_BLOCK
    for s in prange(shares.shape[0]):
        picks[s, :] = -1
        nearest = np.ones(n, columns.dtype)
        out = np.empty(SEED_BLOCK, columns.dtype)
        mass = np.zeros(SEED_BLOCK, np.float64)
        trial_mass = np.empty((trials, n_blocks), np.float64)
        block_mass = np.empty(n_blocks, np.float64)
        candidates = np.empty(trials, np.int64)
        for b in range(n_blocks):
            start = b * SEED_BLOCK
            block_mass[b] = weights[start : min(n, start + SEED_BLOCK)].sum()
        for j in range(k):
            # The first centre is drawn by weight alone; greedy trials begin with the second.
            n_trials = 1 if j == 0 else trials
            for t in range(n_trials):
                candidates[t] = _draw(shares[s, j, t], block_mass, weights, nearest)
            if candidates[0] < 0:
                break
            winner = 0
            lowest = np.inf
            if n_trials > 1:
                for t in range(n_trials):
                    potential = 0.0
                    for b in range(n_blocks):
                        start = b * SEED_BLOCK
                        m = min(SEED_BLOCK, n - start)
                        _squared_to(columns, start, m, candidates[t], out)
                        near = nearest[start : start + m]
                        w = weights[start : start + m]
                        mass[m:] = 0.0
                        for r in range(m):
                            mass[r] = w[r] * np.float64(min(out[r], near[r]))
                        trial_mass[t, b] = _tree_sum(mass)
                        potential += trial_mass[t, b]
                    if potential < lowest:
                        lowest = potential
                        winner = t
            row = candidates[winner]
            picks[s, j] = row
            for b in range(n_blocks):
                start = b * SEED_BLOCK
                m = min(SEED_BLOCK, n - start)
                _squared_to(columns, start, m, row, out)
                near = nearest[start : start + m]
                w = weights[start : start + m]
                mass[m:] = 0.0
                for r in range(m):
                    near[r] = out[r] if j == 0 else min(out[r], near[r])
                    mass[r] = w[r] * np.float64(near[r])
                block_mass[b] = _tree_sum(mass)
        potentials[s] = block_mass.sum()
