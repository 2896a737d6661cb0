"""The machine code of seeding: many starts at once, each by one thread."""

from __future__ import annotations

import numpy as np
from numba import prange

from engine.clustering.jit import compiled
from engine.clustering.simd import (
    add_product,
    less,
    load,
    load_like,
    select,
    spread,
    store,
    subtract,
    widen,
)
from engine.clustering.tiles import Array

BLOCK = 1024
"""Rows behind one partial sum of the mass from which seeds are drawn."""


@compiled()
def _to_seed(
    columns: Array, n: int, d: int, start: int, m: int, row: int, weights: Array, near: Array, keep: bool, wide: Array
) -> float:
    """Return the sum of weight × squared distance to the nearest seed, were ``row`` a seed too.

    For the rows start..start+m. near (n or more,) has their squared distances to the seeds so far, and takes the new
    ones where ``keep``; wide (16,) is scratch.
    """
    lanes = 64 // columns.itemsize
    whole = m // lanes * lanes
    like = load(near, start)
    zero = near.dtype.type(0)
    mass = widen(spread(zero, like))
    for r in range(start, start + whole, lanes):
        squared = spread(zero, like)
        for f in range(d):
            gap = subtract(load(columns, f * n + r), spread(columns[f * n + row], like))
            squared = add_product(gap, gap, squared)
        before = load(near, r)
        squared = select(less(squared, before), squared, before)
        if keep:
            store(near, r, squared)
        mass = add_product(widen(squared), load_like(weights, r, like), mass)
    store(wide, 0, mass)
    total = 0.0
    for lane in range(lanes):
        total += wide[lane]
    for r in range(start + whole, start + m):
        single = zero
        for f in range(d):
            difference = columns[f * n + r] - columns[f * n + row]
            single += difference * difference
        single = min(single, near[r])
        if keep:
            near[r] = single
        total += weights[r] * np.float64(single)
    return total


@compiled()
def _draw(u: float, block_mass: Array, weights: Array, nearest: Array) -> int:
    """Return the row at share u of the mass weights × nearest, or -1 when there is no mass."""
    total = 0.0
    for b in range(block_mass.size):
        total += block_mass[b]
    if not total > 0.0:
        return -1
    left = u * total
    block = -1
    for b in range(block_mass.size):
        if block_mass[b] > 0.0:
            block = b
            if left < block_mass[b]:
                break
            left -= block_mass[b]
    chosen = -1
    for r in range(block * BLOCK, min(weights.size, (block + 1) * BLOCK)):
        mass = weights[r] * np.float64(nearest[r])
        if mass > 0.0:
            chosen = r
            if left < mass:
                break
            left -= mass
    return chosen


@compiled(parallel=True)
def greedy_starts(columns: Array, d: int, weights: Array, shares: Array, picks: Array) -> None:
    """Greedy k-means++ (Arthur and Vassilvitskii 2007, with local trials), one thread per start.

    columns (d × n,); weights (n,) float64; shares (starts, k, trials) uniform numbers; picks (starts, k) row numbers,
    -1 from where no row is left that differs from those chosen.
    """
    n = weights.size
    k = shares.shape[1]
    trials = shares.shape[2]
    blocks = (n + BLOCK - 1) // BLOCK
    for s in prange(shares.shape[0]):
        picks[s, :] = -1
        near = np.ones(n + 16, columns.dtype)
        wide = np.empty(16, np.float64)
        block_mass = np.empty(blocks, np.float64)
        candidates = np.empty(trials, np.int64)
        for b in range(blocks):
            block_mass[b] = weights[b * BLOCK : min(n, (b + 1) * BLOCK)].sum()
        for j in range(k):
            # The first seed is drawn by weight alone; greedy trials begin with the second.
            tried = 1 if j == 0 else trials
            for t in range(tried):
                candidates[t] = _draw(shares[s, j, t], block_mass, weights, near)
            if candidates[0] < 0:
                break
            if j == 0:
                near[:] = np.inf
            winner = 0
            lowest = np.inf
            for t in range(tried):
                if tried == 1:
                    break
                total = 0.0
                for b in range(blocks):
                    start = b * BLOCK
                    m = min(BLOCK, n - start)
                    total += _to_seed(columns, n, d, start, m, candidates[t], weights, near, False, wide)
                if total < lowest:
                    lowest = total
                    winner = t
            picks[s, j] = candidates[winner]
            for b in range(blocks):
                start = b * BLOCK
                m = min(BLOCK, n - start)
                block_mass[b] = _to_seed(columns, n, d, start, m, candidates[winner], weights, near, True, wide)
