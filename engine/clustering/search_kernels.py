"""The machine code of the search on few rows: many starts at once, each by one thread from its first move to its last.

The rows are there twice, by rows and by columns, and stay in the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from engine.clustering.jit import compiled
from engine.clustering.kernels import CHUNK, add_rows, add_up, aligned, nearest_centroids
from engine.clustering.simd import add_product, less, load, select, spread, store, subtract
from engine.clustering.tiles import LANES, Array, padded

MOVING, AT_REST, TOLERATED, EMPTY = range(4)
"""How a start ended: moves used up; no centroid moved; they moved less than asked; a cluster lost its last row."""


@compiled()
def _scratch(k: int, d: int, like: Array) -> Any:
    """Return what a thread writes to: two tiles, distances and labels of a tile, sums and tallies, narrow centroids."""
    P = padded(d)
    return (
        np.zeros(P * LANES, like.dtype),
        np.zeros(P * LANES, like.dtype),
        np.empty(LANES, like.dtype),
        np.empty(LANES, np.int32),
        np.zeros(2 * k * P + 8),
        np.zeros((k, 4)),
        np.empty(k * d, like.dtype),
        np.empty((k, d + 2)),
    )


@compiled()
def _narrowed(C: Array, narrow: Array) -> None:
    k, d = C.shape
    for c in range(k):
        for f in range(d):
            narrow[c * d + f] = C[c, f]


@compiled()
def _tile(columns: Array, n: int, d: int, row: int, m: int, T: Array) -> Any:
    """Return where the columns of m rows from ``row`` on can be read whole: array, first place, stride."""
    if m == LANES:
        return columns, row, n
    for f in range(d):
        T[f * LANES : f * LANES + m] = columns[f * n + row : f * n + row + m]
    return T, 0, LANES


@compiled()
def _measured(rows: Array, columns: Array, n: int, weights: Array, C: Array, total: Array, scratch: Any) -> None:
    """Write into total (k, d + 2) what :func:`engine.clustering.kernels.step_chunks` would, chunk by chunk."""
    T, R, squared, nearest, sums, tallies, narrow, part = scratch
    k, d = C.shape
    P = padded(d)
    base = aligned(sums)
    _narrowed(C, narrow)
    total[:] = 0.0
    for start in range(0, n, CHUNK):
        for row in range(start, min(n, start + CHUNK), LANES):
            m = min(LANES, n - row)
            seen, place, stride = _tile(columns, n, d, row, m, T)
            if (row + m) * d + 8 <= rows.size:
                added, at, apart = rows, row * d, d
            else:
                added, at, apart = R, 0, P
                for r in range(m):
                    R[r * P : r * P + d] = rows[(row + r) * d : (row + r + 1) * d]
            nearest_centroids(seen, place, stride, d, narrow, 0, k, squared, nearest, columns, 0, 0, 0)
            add_rows(added, at, apart, m, P, weights, row, squared, nearest, 0, sums, base, tallies)
        add_up(sums, base, tallies, d, part[:k])
        total += part[:k]


@compiled()
def _moved(
    rows: Array,
    columns: Array,
    n: int,
    weights: Array,
    C: Array,
    total: Array,
    scratch: Any,
    most: int,
    tolerance: float,
    stop_at_empty: bool,
) -> Any:
    """Move C (k, d) to the means of its rows until it rests, at most ``most`` times; return moves and end."""
    k, d = C.shape
    for move in range(most):
        _measured(rows, columns, n, weights, C, total, scratch)
        if stop_at_empty and total[:, d].min() <= 0.0:
            return move, EMPTY
        shift = 0.0
        for c in range(k):
            if total[c, d] > 0.0:
                for f in range(d):
                    mean = total[c, f] / total[c, d]
                    gap = mean - C[c, f]
                    shift += gap * gap
                    C[c, f] = mean
        if shift <= tolerance:
            return move + 1, AT_REST if shift == 0.0 else TOLERATED
    return most, MOVING


@compiled(parallel=True)
def settle(
    rows: Array,
    columns: Array,
    n: int,
    weights: Array,
    C: Array,
    most: int,
    tolerance: float,
    moves: Array,
    ends: Array,
) -> None:
    """Move each start to the means of its rows until it rests, at most ``most`` times.

    rows (n × d,) and columns (d × n,): the same values; weights (n,) or (0,) for none. C (starts, k, d) float64 is
    moved. moves (starts,): how often. ends (starts,): see above; a start with an empty cluster stays where that was
    found.
    """
    k, d = C.shape[1], C.shape[2]
    for s in prange(C.shape[0]):
        scratch = _scratch(k, d, rows)
        total = np.empty((k, d + 2))
        moves[s], ends[s] = _moved(rows, columns, n, weights, C[s], total, scratch, most, tolerance, True)


@compiled()
def _add_losses(
    columns: Array,
    place: int,
    stride: int,
    m: int,
    row: int,
    weights: Array,
    narrow: Array,
    k: int,
    loss: Array,
    first: Array,
    second: Array,
    nearest: Array,
) -> None:
    """Add to loss (k,) what the inertia of a tile's rows would grow by, were their centroid not there."""
    d = narrow.size // k
    lanes = 64 // columns.itemsize
    infinity = columns.dtype.type(np.inf)
    for r in range(0, LANES, lanes):
        like = load(columns, place + r)
        best = after = spread(infinity, like)
        near = spread(np.int32(0), like)
        for c in range(k):
            squared = spread(columns.dtype.type(0), like)
            for f in range(d):
                gap = subtract(load(columns, place + f * stride + r), spread(narrow[c * d + f], like))
                squared = add_product(gap, gap, squared)
            closer = less(squared, best)
            beaten = select(closer, best, squared)
            after = select(less(beaten, after), beaten, after)
            best = select(closer, squared, best)
            near = select(closer, spread(np.int32(c), like), near)
        store(first, r, best)
        store(second, r, after)
        store(nearest, r, near)
    for r in range(m):
        w = weights[row + r] if weights.size > 0 else 1.0
        loss[nearest[r]] += w * (np.float64(second[r]) - np.float64(first[r]))


@compiled()
def _breathe_out(C: Array, loss: Array, k: int, gone: Array, frozen: Array) -> None:
    """Leave k of the centroids C in its first places: those go whose loss is least, but no two neighbours."""
    many, d = C.shape
    gone[:many] = False
    frozen[:many] = False
    left = many
    order = np.argsort(loss[:many])
    for turn in range(2):
        for place in range(many):
            c = order[place]
            if left == k or gone[c] or (turn == 0 and frozen[c]):
                continue
            gone[c] = True
            left -= 1
            # The nearest neighbour takes over the rows: it is needed now, whatever its loss was.
            nearest, lowest = -1, np.inf
            for other in range(many):
                if not gone[other]:
                    gap = 0.0
                    for f in range(d):
                        gap += (C[c, f] - C[other, f]) ** 2
                    if gap < lowest:
                        nearest, lowest = other, gap
            if nearest >= 0:
                frozen[nearest] = True
    kept = 0
    for c in range(many):
        if not gone[c]:
            C[kept] = C[c]
            kept += 1


@compiled(parallel=True)
def breathe(
    rows: Array,
    columns: Array,
    n: int,
    weights: Array,
    C: Array,
    noise: Array,
    width: int,
    moves_in: int,
    moves_out: int,
    tolerance: float,
    better: float,
    rounds: Array,
) -> None:
    """Better each solution by breathing k-means (Fritzke 2020), one a thread.

    In a round the worst ``width`` clusters get a second centroid each, all move, the ``width`` centroids that are
    missed least go, all move. A round that lowers the inertia by the share ``better`` is followed by another of its
    width, one that does not by a narrower one. C (starts, k, d) float64 is changed, never for the worse. noise (d,)
    small numbers, by which a second centroid differs from the first; rounds (starts,): how many there were.
    """
    k, d = C.shape[1], C.shape[2]
    for s in prange(C.shape[0]):
        most = k + width
        scratch = _scratch(most, d, rows)
        T, _, squared, nearest, _, _, narrow, _ = scratch
        second = np.empty(LANES, rows.dtype)
        total = np.empty((most, d + 2))
        loss = np.empty(most)
        gone, frozen = np.empty(most, np.bool_), np.empty(most, np.bool_)
        tried = np.empty((most, d))
        tried[:k] = C[s]
        best = np.inf
        now = width
        rounds[s] = 0
        while True:
            _measured(rows, columns, n, weights, tried[:k], total[:k], scratch)
            inertia = total[:k, d + 1].sum()
            if rounds[s] > 0 and not inertia < best * (1.0 - better):
                now -= 1
            if inertia < best:
                best = inertia
                C[s] = tried[:k]
            elif now > 0:
                _measured(rows, columns, n, weights, C[s], total[:k], scratch)
            if now == 0 or best == 0.0:
                break
            worst = np.argsort(-total[:k, d + 1])
            tried[:k] = C[s]
            for i in range(now):
                c = worst[i]
                spread_of_rows = np.sqrt(total[c, d + 1] / max(total[c, d], 1e-300) / d)
                for f in range(d):
                    tried[k + i, f] = C[s, c, f] + spread_of_rows * noise[f]
            many = k + now
            _moved(rows, columns, n, weights, tried[:many], total[:many], scratch, moves_in, tolerance, False)
            loss[:many] = 0.0
            _narrowed(tried[:many], narrow)
            for row in range(0, n, LANES):
                m = min(LANES, n - row)
                seen, place, stride = _tile(columns, n, d, row, m, T)
                _add_losses(
                    seen, place, stride, m, row, weights, narrow[: many * d], many, loss, squared, second, nearest
                )
            _breathe_out(tried[:many], loss, k, gone, frozen)
            _moved(rows, columns, n, weights, tried[:k], total[:k], scratch, moves_out, tolerance, False)
            rounds[s] += 1
