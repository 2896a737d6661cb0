"""The machine code of figures for many models: one read that compares every row with every cluster of each model.

A row's nearest centroid is found as in :mod:`engine.clustering.kernels`, so that it is the cluster that every other
read gives it. The clusters' means come in two parts, the mean in the rows' precision and what that has rounded off:
far from zero it may be as much as a tight cluster is wide.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from engine.clustering.jit import compiled
from engine.clustering.kernels import CHUNK
from engine.clustering.simd import (
    add,
    add_product,
    divide,
    less,
    load,
    load_like,
    multiply,
    select,
    spread,
    store,
    subtract,
    widen,
)
from engine.clustering.tiles import LANES, Array, padded, turn

SCORES = 16
"""Partial sums of silhouettes beside each other: one for each row of the widest vector."""

TALLIES = 4
"""Partial sums of a cluster's distances, because a sum that two rows in a row add to makes the second one wait."""


@compiled()
def _tile(X: Array, n: int, d: int, by_rows: bool, row: int, m: int, T: Array) -> Any:
    """Return where the columns of m rows from ``row`` on can be read whole: array, first place, stride."""
    if by_rows:
        turn(X, row * d, m, d, T)
    elif m == LANES:
        return X, row, n
    else:
        for f in range(d):
            T[f * LANES : f * LANES + m] = X[f * n + row : f * n + row + m]
    return T, 0, LANES


@compiled()
def compare_tile(
    columns: Array,
    place: int,
    stride: int,
    d: int,
    C: Array,
    means: Array,
    rests: Array,
    spreads: Array,
    others: Array,
    low: int,
    high: int,
    squared: Array,
    nearest: Array,
    inside: Array,
    widths: Array,
) -> None:
    """Compare each row of a tile with the clusters low..high.

    Feature f of the rows lies at columns[place + f * stride] and behind. Cluster j has its centroid from C[j * d] on,
    the mean of its n rows in means[j * d] + rests[j * d], their mean squared distance to it in spreads[j], infinite for
    n = 0, and n / (n - 1) in others[j], 0 for n = 1.

    Written are, for each row: its nearest centroid, counted from 0 at ``low``; the squared distance to it; the mean
    squared distance to all rows of its cluster, itself among them; its silhouette.
    """
    number_type = squared.dtype.type
    infinity = number_type(np.inf)
    lanes = 64 // squared.itemsize
    for r in range(0, LANES, 2 * lanes):
        like = load(columns, place + r)
        zero = spread(number_type(0), like)
        one = spread(number_type(1), like)
        best0 = best1 = own0 = own1 = neighbour0 = neighbour1 = spread(infinity, like)
        share0 = share1 = zero
        near0 = near1 = spread(np.int32(0), like)
        for c in range(low, high):
            sum0 = sum1 = zero
            to0 = to1 = spread(spreads[c], like)
            for f in range(d):
                centre, mean = spread(C[c * d + f], like), spread(means[c * d + f], like)
                rest = spread(rests[c * d + f], like)
                at = place + f * stride + r
                x0, x1 = load(columns, at), load(columns, at + lanes)
                gap0, gap1 = subtract(x0, centre), subtract(x1, centre)
                off0, off1 = subtract(subtract(x0, mean), rest), subtract(subtract(x1, mean), rest)
                sum0 = add_product(gap0, gap0, sum0)
                sum1 = add_product(gap1, gap1, sum1)
                to0 = add_product(off0, off0, to0)
                to1 = add_product(off1, off1, to1)
            closer0, closer1 = less(sum0, best0), less(sum1, best1)
            # Where the row changes sides, the cluster that it leaves is a neighbour.
            left0, left1 = select(closer0, own0, to0), select(closer1, own1, to1)
            neighbour0 = select(less(left0, neighbour0), left0, neighbour0)
            neighbour1 = select(less(left1, neighbour1), left1, neighbour1)
            number, share = spread(np.int32(c - low), like), spread(others[c], like)
            best0, near0 = select(closer0, sum0, best0), select(closer0, number, near0)
            best1, near1 = select(closer1, sum1, best1), select(closer1, number, near1)
            own0, share0 = select(closer0, to0, own0), select(closer0, share, share0)
            own1, share1 = select(closer1, to1, own1), select(closer1, share, share1)
        store(squared, r, best0)
        store(squared, r + lanes, best1)
        store(nearest, r, near0)
        store(nearest, r + lanes, near1)
        store(inside, r, own0)
        store(inside, r + lanes, own1)
        # The mean over all rows of the cluster counts the row's zero distance to itself.
        own0, own1 = multiply(own0, share0), multiply(own1, share1)
        greater0 = select(less(own0, neighbour0), neighbour0, own0)
        greater1 = select(less(own1, neighbour1), neighbour1, own1)
        width0 = divide(subtract(neighbour0, own0), greater0)
        width1 = divide(subtract(neighbour1, own1), greater1)
        width0 = select(less(zero, greater0), width0, zero)
        width1 = select(less(zero, greater1), width1, zero)
        store(widths, r, select(less(share0, one), zero, width0))
        store(widths, r + lanes, select(less(share1, one), zero, width1))


@compiled()
def _add_tile(
    m: int, values: Array, nearest: Array, widths: Array, low: int, tallies: Array, scores: Array, at: int
) -> None:
    """Add the values of m rows to the tallies of their clusters, and the rows' silhouettes to scores[at]..."""
    if m < LANES:
        widths[m:] = 0
    lanes = 64 // widths.itemsize
    total = load_like(scores, at, load(widths, 0))
    for r in range(0, LANES, lanes):
        total = add(total, widen(load(widths, r)))
    store(scores, at, total)
    for r in range(m):
        tallies[low + nearest[r], r % TALLIES] += values[r]


@compiled(parallel=True)
def compare_chunks(
    X: Array,
    n: int,
    d: int,
    by_rows: bool,
    C: Array,
    means: Array,
    rests: Array,
    spreads: Array,
    others: Array,
    bounds: Array,
    squares: bool,
    first_chunk: int,
    parts: Array,
) -> None:
    """Add up, chunk by chunk, how the rows lie between the clusters of every model, in one read.

    Model m owns the clusters bounds[m]..bounds[m+1] of :func:`compare_tile`, K together. Chunk ``first_chunk + p`` is
    written to parts[p] (K + models,): for each cluster the distances of its rows to its centroid, or with ``squares``
    their squared distances to its mean, for which spreads are 0; then for each model the rows' silhouettes.
    """
    models = bounds.size - 1
    K = parts.shape[1] - models
    for p in prange(parts.shape[0]):
        T = np.zeros(padded(d) * LANES, X.dtype)
        squared = np.empty(LANES, X.dtype)
        inside = np.empty(LANES, X.dtype)
        widths = np.empty(LANES, X.dtype)
        nearest = np.empty(LANES, np.int32)
        tallies = np.zeros((K, TALLIES))
        scores = np.zeros(models * SCORES)
        start = (first_chunk + p) * CHUNK
        for row in range(start, min(n, start + CHUNK), LANES):
            m = min(LANES, n - row)
            columns, place, stride = _tile(X, n, d, by_rows, row, m, T)
            for model in range(models):
                low, high = bounds[model], bounds[model + 1]
                compare_tile(
                    columns, place, stride, d, C, means, rests, spreads, others, low, high,
                    squared, nearest, inside, widths,
                )  # fmt: skip
                if squares:
                    _add_tile(m, inside, nearest, widths, low, tallies, scores, model * SCORES)
                else:
                    for r in range(LANES):
                        squared[r] = np.sqrt(squared[r])
                    _add_tile(m, squared, nearest, widths, low, tallies, scores, model * SCORES)
        for c in range(K):
            parts[p, c] = (tallies[c, 0] + tallies[c, 1]) + (tallies[c, 2] + tallies[c, 3])
        for model in range(models):
            total = 0.0
            for i in range(SCORES):
                total += scores[model * SCORES + i]
            parts[p, K + model] = total
