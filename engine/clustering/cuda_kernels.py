"""The machine code of k-means on an NVIDIA GPU: one read of the rows gives distances, nearest centroids and their sums.

A block of threads is one warp. It takes a tile of rows (:mod:`engine.clustering.cuda_tiles`), measures them against
every centroid in registers, and adds them up in shared memory that no other warp touches: no atomics, and the same
sums, bit for bit, in every run with the same number of blocks.

The sums of cluster g stand in lines of 32 float64, one for each lane. When the tile is added up, a lane owns one
feature of a slice of the rows: whatever clusters these rows belong to, the lanes of a warp meet different banks of
memory. What a block has added is written once, at its end; the blocks' sums are then added in order. Rows of no cluster
that is added up, and the places beyond the last row, have a line of their own that nobody reads: to ask would cost more
than to add.

Whatever is added up over rows is float64. Kernels are made for a number of features, a precision, and rows with or
without weights. They run without a GPU in numba's simulator (``NUMBA_ENABLE_CUDASIM=1``), and compiled on a twin of one
(``tests/cuda``).
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import complex128, float32, float64, int32, uint32, uint64

from engine.clustering.cuda_tiles import UNIT, cuda, kernel, reading, shape_of


class Kernels(NamedTuple):
    """Kernels for rows of one shape; each is launched with blocks of :data:`LANES` threads."""

    step: Any
    add: Any
    farthest: Any
    draw: Any
    assign: Any


@cache
def kernels_of(d: int, double: bool, weighted: bool) -> Kernels:
    """Return the kernels for rows of d features, in float64 or float32, with or without weights.

    ``step(X, n, weights, C, bounds, low, high, at, parts)``
        Writes for clusters low..high, of all models together, what block b has added to parts[b] (high − low, d + 2):
        sums of the features, weight, squared distances. Model m owns the centroids bounds[m]..bounds[m + 1] of C.
        ``at`` are the first four of :class:`engine.clustering.cuda_tiles.Places`.
    ``add(X, n, weights, nearest, squared, low, high, at, parts)``
        The same of one model, whose nearest centroids and squared distances ``assign`` has found: where its clusters do
        not fit into shared memory together, rows are measured once and added up in turns.
    ``farthest(X, n, weights, C, far, far_row)``
        Writes for block b and each cluster its farthest row with a weight: squared distance and number; −1 without.
    ``draw(X, n, weights, C, even, per_square, key, first_row, found, place, distance, parts)``
        Writes numbers and squared distances of the rows that are drawn, in any order, as far as there is room, counts
        them in found[0], and adds up all squared distances in parts (blocks,).
    ``assign(X, n, weights, C, labels, squared, parts)``
        Writes each row's nearest centroid and its squared distance, and adds these up in parts (blocks,).
    """
    real: Any = float64 if double else float32
    narrow = np.float64 if double else np.float32
    read, measure = reading(d, double)
    shape = shape_of(d, 8 if double else 4)
    rows, tile, width, slices, lines, stride, _ = shape
    held, own, turns = rows * d, shape.own, width * rows
    # Rows that a lane fetches before it adds the first of them; more find no registers.
    ahead = 8 if double or weighted or lines > 1 else 16
    # Between the labels of two slices, which are read together and are to lie in different banks.
    gap = UNIT // 4

    @kernel(device=True)
    def clear(sums: Any, window: Any, lane: Any) -> None:
        """Begin with nothing."""
        for q in range(lane, (window + 1) * own, 32):
            sums[q] = 0.0

    @kernel(device=True)
    def note(g: Any, mass: Any, squared: Any, mine: Any, labels: Any, place: Any) -> None:
        """Add a row's weight and squared distance to its cluster, and say where its features are to be added."""
        line = uint32(g * own)
        labels[uint64(place + place // turns * gap)] = int32(line)
        mine[uint64(line) + uint64(lines * 32)] += mass
        mine[uint64(line) + uint64(lines * 32 + 32)] += mass * float64(squared)

    @kernel(device=True)
    def add_tile(values: Any, heavy: Any, labels: Any, mine: Any, lane: Any) -> None:
        """Add the features of a tile's rows to the sums of their clusters."""
        where = cuda.local.array(ahead, int32)
        value = cuda.local.array(ahead, float64)
        feature, place = uint64(lane % width), uint64(lane // width * turns)
        label = place + uint64(lane // width * gap)
        for first in range(0, turns, ahead):
            for line in range(lines):
                f = feature + uint64(line * 32)
                if width * lines == d or f < uint64(d):
                    # A sum is waited for, what is fetched need not be.
                    for turn in range(ahead):
                        if turns % ahead == 0 or first + turn < turns:
                            at = place + uint64(first + turn)
                            where[turn] = labels[label + uint64(first + turn)]
                            value[turn] = float64(values[f * uint64(stride) + at])
                            if weighted:
                                value[turn] *= heavy[at]
                    for turn in range(ahead):
                        if turns % ahead == 0 or first + turn < turns:
                            mine[uint64(where[turn]) + uint64(line * 32)] += value[turn]

    @kernel(device=True)
    def write_part(sums: Any, window: Any, lane: Any, parts: Any) -> None:
        """Write what the block has added."""
        for q in range(lane, window * (d + 2), 32):
            g, f = q // (d + 2), q % (d + 2)
            total = 0.0
            if f < d:
                for s in range(slices):
                    total += sums[g * own + f // 32 * 32 + s * width + f % 32]
            else:
                for s in range(32):
                    total += sums[g * own + (lines + f - d) * 32 + s]
            parts[cuda.blockIdx.x, g, f] = total

    @kernel()
    def step(X: Any, n: Any, weights: Any, C: Any, bounds: Any, low: Any, high: Any, at: Any, parts: Any) -> None:
        lane = cuda.threadIdx.x
        window = high - low
        memory = cuda.shared.array(0, complex128)
        centroids, sums = memory.view(narrow), memory[at[0] :].view(np.float64)
        values, heavy = memory[at[1] :].view(narrow), memory[at[2] :].view(np.float64)
        labels = memory[at[3] :].view(np.int32)
        x = cuda.local.array(held, real)
        best = cuda.local.array(rows, real)
        near = cuda.local.array(rows, uint32)
        clear(sums, window, lane)
        mine = sums[lane:]
        for q in range(lane, C.size, 32):
            centroids[q] = C[q]
        cuda.syncthreads()
        tiles, models = (n + tile - 1) // tile, bounds.size - 1
        lowest, most = int32(low), int32(window)
        number = cuda.blockIdx.x
        if number < tiles:
            read(X, number, lane, x)
        while number < tiles:
            left = int32(tile) if (number + 1) * tile <= n else int32(n - number * tile)
            for r in range(rows):
                for f in range(d):
                    values[uint64(f * stride + r * 32 + lane)] = x[r * d + f]
                if weighted:
                    there = r * 32 + lane < left
                    heavy[uint64(r * 32 + lane)] = weights[number * tile + r * 32 + lane] if there else 0.0
            number += cuda.gridDim.x
            for model in range(models):
                measure(x, centroids, bounds[model], bounds[model + 1], best, near)
                for r in range(rows):
                    g = int32(int32(near[r]) - lowest)
                    if g < 0 or g >= most or r * 32 + lane >= left:
                        g = most
                    note(g, heavy[uint64(r * 32 + lane)] if weighted else 1.0, best[r], mine, labels, r * 32 + lane)
                if model == models - 1 and number < tiles:
                    # The next rows are on their way while these are added up.
                    read(X, number, lane, x)
                cuda.syncthreads()
                add_tile(values, heavy, labels, mine, lane)
                cuda.syncthreads()
        write_part(sums, window, lane, parts)

    @kernel()
    def add(X: Any, n: Any, weights: Any, nearest: Any, squared: Any, low: Any, high: Any, at: Any, parts: Any) -> None:
        lane = cuda.threadIdx.x
        window = high - low
        memory = cuda.shared.array(0, complex128)
        sums, values = memory[at[0] :].view(np.float64), memory[at[1] :].view(narrow)
        heavy, labels = memory[at[2] :].view(np.float64), memory[at[3] :].view(np.int32)
        clear(sums, window, lane)
        mine = sums[lane:]
        cuda.syncthreads()
        for number in range(cuda.blockIdx.x, (n + tile - 1) // tile, cuda.gridDim.x):
            for r in range(rows):
                row = number * tile + r * 32 + lane
                g, mass, distance = window, 0.0, real(0)
                if row < n:
                    g = nearest[uint64(row)] - low
                if 0 <= g < window:
                    mass = weights[uint64(row)] if weighted else 1.0
                    distance = squared[uint64(row)]
                    heavy[uint64(r * 32 + lane)] = mass
                    for f in range(d):
                        values[uint64(f * stride + r * 32 + lane)] = X[
                            uint64(number) * uint64(d * tile) + uint64(f * tile + r * 32 + lane)
                        ]
                else:
                    # What stood here before is added where nobody reads.
                    g = window
                note(g, mass, distance, mine, labels, r * 32 + lane)
            cuda.syncthreads()
            add_tile(values, heavy, labels, mine, lane)
            cuda.syncthreads()
        write_part(sums, window, lane, parts)

    @kernel()
    def farthest(X: Any, n: Any, weights: Any, C: Any, far: Any, far_row: Any) -> None:
        lane = cuda.threadIdx.x
        k = C.size // d
        x = cuda.local.array(held, real)
        best = cuda.local.array(rows, real)
        near = cuda.local.array(rows, uint32)
        # A lane has its own column of the block's lines: rows come in ascending order, and the first of equals stays.
        for c in range(k):
            far[cuda.blockIdx.x, c, lane] = -1.0
            far_row[cuda.blockIdx.x, c, lane] = -1
        for number in range(cuda.blockIdx.x, (n + tile - 1) // tile, cuda.gridDim.x):
            read(X, number, lane, x)
            measure(x, C, 0, k, best, near)
            for r in range(rows):
                row = number * tile + r * 32 + lane
                farther = row < n and best[r] > far[cuda.blockIdx.x, near[r], lane]
                if farther and (not weighted or weights[row] > 0.0):
                    far[cuda.blockIdx.x, near[r], lane] = best[r]
                    far_row[cuda.blockIdx.x, near[r], lane] = row

    @kernel()
    def draw(
        X: Any, n: Any, weights: Any, C: Any, even: Any, per_square: Any, key: Any, first_row: Any, found: Any,
        place: Any, distance: Any, parts: Any,
    ) -> None:  # fmt: skip
        lane = cuda.threadIdx.x
        x = cuda.local.array(held, real)
        best = cuda.local.array(rows, real)
        near = cuda.local.array(rows, uint32)
        inertia = 0.0
        for number in range(cuda.blockIdx.x, (n + tile - 1) // tile, cuda.gridDim.x):
            read(X, number, lane, x)
            measure(x, C, 0, C.size // d, best, near)
            for r in range(rows):
                row = number * tile + r * 32 + lane
                if row < n:
                    w = weights[row] if weighted else 1.0
                    mass = w * float64(best[r])
                    inertia += mass
                    # SplitMix64's finaliser, as on the processor: a row is drawn or not whoever holds it.
                    bits = key + np.uint64(first_row + row) * np.uint64(0x9E3779B97F4A7C15)
                    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                    bits = bits ^ (bits >> np.uint64(31))
                    if float64(bits >> np.uint64(11)) < 2.0**53 * (w * even + per_square * mass):
                        at = cuda.atomic.add(found, 0, 1)
                        if at < place.size:
                            place[at] = row
                            distance[at] = best[r]
        parts[cuda.blockIdx.x, lane] = inertia

    @kernel()
    def assign(X: Any, n: Any, weights: Any, C: Any, labels: Any, squared: Any, parts: Any) -> None:
        lane = cuda.threadIdx.x
        x = cuda.local.array(held, real)
        best = cuda.local.array(rows, real)
        near = cuda.local.array(rows, uint32)
        inertia = 0.0
        for number in range(cuda.blockIdx.x, (n + tile - 1) // tile, cuda.gridDim.x):
            read(X, number, lane, x)
            measure(x, C, 0, C.size // d, best, near)
            for r in range(rows):
                row = number * tile + r * 32 + lane
                if row < n:
                    labels[row] = int32(near[r])
                    squared[row] = best[r]
                    mass = weights[row] if weighted else 1.0
                    inertia += mass * float64(best[r])
        parts[cuda.blockIdx.x, lane] = inertia

    return Kernels(step, add, farthest, draw, assign)
