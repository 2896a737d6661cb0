"""The machine code of k-means on an NVIDIA GPU: one read of the rows gives distances, nearest centroids and their sums.

A block of threads is one warp. It takes a tile of rows, some for each lane, measures them against every centroid in
registers, and adds them up in shared memory that no other warp touches: no atomics, and the same sums, bit for bit, in
every run with the same number of blocks.

The sums of cluster g stand in one line of 32 float64, one for each lane. When the tile is added up, a lane owns one
feature of every ``slices``-th row: whatever clusters these rows belong to, the lanes of a warp meet different banks of
memory. What a block has added is written once, at its end; the blocks' sums are then added in order.

``X`` comes flat and by columns, feature f of row i at ``X[f * n + i]``, so that a warp reads 32 rows in one go. As on
the processor, distances are sums of squared differences in the rows' own precision, and everything added up over rows
is float64.

Kernels are made for a number of features, a precision, and rows with or without weights: loops over features are
unrolled, and rows stay in registers. They run without a GPU in numba's simulator (``NUMBA_ENABLE_CUDASIM=1``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import cuda as numba_cuda
from numba import float32, float64, int32, uint64
from numba.cuda.cudadrv.driver import CudaAPIError, LinkerError
from numba.cuda.cudadrv.error import CudaSupportError

# Of this name, which the simulator looks for; numba's types do not know what it has.
cuda: Any = numba_cuda

# A tile of few rows uses few of a card's processors, and that is no fault.
settings: Any = numba.config
settings.CUDA_LOW_OCCUPANCY_WARNINGS = 0

FAILURES: tuple[Any, ...] = (CudaAPIError, LinkerError, CudaSupportError, MemoryError)
"""What numba raises where the card, its memory or its driver is the cause."""

LANES = 32
"""Threads of a block: one warp."""

MOST_FEATURES = 64
"""Of more, a row does not fit into registers."""

SHARED_BYTES = 48 * 1024
"""Shared memory of a block that every card gives without being asked."""

REGISTER_VALUES = 64
"""Values of rows that a lane holds; as many again are needed to work with them."""


def kernel(**options: Any) -> Callable[[Any], Any]:
    """Compile a function for the card at its first call for each kind of argument."""
    compiled: Callable[[Any], Any] = cuda.jit(**options)
    return compiled


class Shape(NamedTuple):
    """How a warp works on rows of so many features.

    Attributes
    ----------
    rows
        Rows that a lane holds.
    tile
        Rows of a tile.
    width, slices
        When a tile is added up, ``width`` lanes stand side by side, one a feature; ``slices`` such groups take turns
        with the rows.
    lines
        Lines of 32 sums for each cluster.
    stride
        Distance of two features of a tile in shared memory, so that lanes meet different banks.
    warps
        How many a processor works on at a time, at most: so many find registers.
    """

    rows: int
    tile: int
    width: int
    slices: int
    lines: int
    stride: int
    warps: int


def shape_of(d: int, itemsize: int = 4) -> Shape:
    """Return how a warp works on rows of d features, 1 to :data:`MOST_FEATURES`, of four or eight bytes.

    Examples
    --------
    >>> shape_of(8)
    Shape(rows=4, tile=128, width=8, slices=4, lines=1, stride=132, warps=16)
    """
    # Two rows at least share each value of a centroid; of many features in eight bytes only one finds room.
    rows = max(2 if itemsize == 4 else 1, min(4, REGISTER_VALUES // d))
    warps = 9 if itemsize == 8 else 16 if rows * d <= REGISTER_VALUES else 12
    width = min(LANES, 1 << (d - 1).bit_length())
    slices = LANES // width
    return Shape(rows, LANES * rows, width, slices, -(-d // LANES), LANES * rows + slices, warps)


def window_of(d: int, itemsize: int, centroids: int) -> int:
    """Return how many clusters a block can add up beside so many centroids; 0 or less where they do not fit."""
    shape = shape_of(d, itemsize)
    fixed = itemsize * d * (shape.stride + centroids) + (4 + 8) * shape.tile + 3 * 8
    return (SHARED_BYTES - fixed) // (8 * LANES * (shape.lines + 2))


def shared_bytes(d: int, itemsize: int, centroids: int, window: int) -> int:
    """Return the shared memory of a block, a multiple of 8."""
    shape = shape_of(d, itemsize)
    values = -(-itemsize * d * (shape.stride + centroids) // 8)
    return 8 * (LANES * (shape.lines + 2) * window + values + shape.tile + -(-shape.tile // 2))


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

    ``step(X, n, weights, C, bounds, low, high, parts)``
        Writes for clusters low..high, of all models together, what block b has added to parts[b] (high − low, d + 2):
        sums of the features, weight, squared distances. Model m owns the centroids bounds[m]..bounds[m + 1] of C.
    ``add(X, n, weights, nearest, squared, low, high, parts)``
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
    rows, tile, width, slices, lines, stride, _ = shape_of(d, 8 if double else 4)
    held = rows * d

    @kernel(device=True)
    def read(X: Any, n: Any, base: Any, lane: Any, x: Any) -> None:
        """Fetch the lane's rows of the tile that begins at ``base``; beyond the end, the last row."""
        for r in range(rows):
            at = base + r * 32 + lane
            if at >= n:
                at = n - 1
            for f in range(d):
                x[r * d + f] = X[uint64(f * n + at)]

    @kernel(device=True)
    def measure(x: Any, C: Any, low: Any, high: Any, best: Any, near: Any, total: Any) -> None:
        """Find for each of the lane's rows the nearest of the centroids low..high; of equally near ones the lower."""
        for r in range(rows):
            best[r] = np.inf
            near[r] = low
        c = uint64(low)
        while c < uint64(high):
            for r in range(rows):
                total[r] = 0
            for f in range(d):
                # One centroid's value serves all rows of the lane.
                centre = C[c * uint64(d) + uint64(f)]
                for r in range(rows):
                    gap = x[r * d + f] - centre
                    total[r] += gap * gap
            for r in range(rows):
                if total[r] < best[r]:
                    best[r] = total[r]
                    near[r] = int32(c)
            c += uint64(1)

    @kernel(device=True)
    def add_tile(values: Any, heavy: Any, labels: Any, sums: Any, lane: Any) -> None:
        """Add the rows of a tile to the sums of their clusters; those labelled -1 are left out."""
        feature, own_lane = uint64(lane % width), uint64(lane)
        place = uint64(lane // width)
        while place < uint64(tile):
            g = labels[place]
            if g >= 0:
                for line in range(lines):
                    f = uint64(line * 32) + feature
                    if width == d or f < uint64(d):
                        value = float64(values[f * uint64(stride) + place])
                        if weighted:
                            value *= heavy[place]
                        sums[uint64(g) * uint64(lines * 32) + uint64(line * 32) + own_lane] += value
            place += uint64(slices)

    @kernel(device=True)
    def write_part(sums: Any, masses: Any, errors: Any, window: Any, lane: Any, parts: Any) -> None:
        """Write what the block has added."""
        for q in range(lane, window * (d + 2), 32):
            g, f = q // (d + 2), q % (d + 2)
            total_here = 0.0
            if f < d:
                for s in range(slices):
                    total_here += sums[(g * lines + f // 32) * 32 + s * width + f % 32]
            elif f == d:
                for s in range(32):
                    total_here += masses[g * 32 + s]
            else:
                for s in range(32):
                    total_here += errors[g * 32 + s]
            parts[cuda.blockIdx.x, g, f] = total_here

    @kernel()
    def step(X: Any, n: Any, weights: Any, C: Any, bounds: Any, low: Any, high: Any, parts: Any) -> None:
        lane = cuda.threadIdx.x
        window = high - low
        sums = cuda.shared.array(0, float64)
        masses = sums[window * lines * 32 :]
        errors = masses[window * 32 :]
        # Behind the sums: the tile, the centroids, the tile's weights and labels.
        first = window * (lines + 2) * 32
        values = cuda.shared.array(0, real)[first * (1 if double else 2) :]
        centroids = values[d * stride :]
        first += (d * (stride + C.size // d) + (0 if double else 1)) // (1 if double else 2)
        heavy = cuda.shared.array(0, float64)[first:]
        labels = cuda.shared.array(0, int32)[(first + tile) * 2 :]
        x = cuda.local.array(held, real)
        best = cuda.local.array(rows, real)
        total = cuda.local.array(rows, real)
        near = cuda.local.array(rows, int32)
        for q in range(lane, window * (lines + 2) * 32, 32):
            sums[q] = 0.0
        for q in range(lane, C.size, 32):
            centroids[q] = C[q]
        cuda.syncthreads()
        for base in range(cuda.blockIdx.x * tile, n, cuda.gridDim.x * tile):
            read(X, n, base, lane, x)
            for r in range(rows):
                for f in range(d):
                    values[uint64(f * stride + r * 32 + lane)] = x[r * d + f]
                if weighted:
                    row = base + r * 32 + lane
                    heavy[r * 32 + lane] = weights[row] if row < n else 0.0
            for model in range(bounds.size - 1):
                measure(x, centroids, bounds[model], bounds[model + 1], best, near, total)
                for r in range(rows):
                    g = near[r] - low
                    if base + r * 32 + lane < n and 0 <= g < window:
                        mass = heavy[r * 32 + lane] if weighted else 1.0
                        own = uint64(g * 32 + lane)
                        masses[own] += mass
                        errors[own] += mass * float64(best[r])
                    else:
                        g = -1
                    labels[uint64(r * 32 + lane)] = g
                cuda.syncthreads()
                add_tile(values, heavy, labels, sums, lane)
                cuda.syncthreads()
        write_part(sums, masses, errors, window, lane, parts)

    @kernel()
    def add(X: Any, n: Any, weights: Any, nearest: Any, squared: Any, low: Any, high: Any, parts: Any) -> None:
        lane = cuda.threadIdx.x
        window = high - low
        sums = cuda.shared.array(0, float64)
        masses = sums[window * lines * 32 :]
        errors = masses[window * 32 :]
        first = window * (lines + 2) * 32
        values = cuda.shared.array(0, real)[first * (1 if double else 2) :]
        first += (d * stride + (0 if double else 1)) // (1 if double else 2)
        heavy = cuda.shared.array(0, float64)[first:]
        labels = cuda.shared.array(0, int32)[(first + tile) * 2 :]
        for q in range(lane, window * (lines + 2) * 32, 32):
            sums[q] = 0.0
        cuda.syncthreads()
        for base in range(cuda.blockIdx.x * tile, n, cuda.gridDim.x * tile):
            for r in range(rows):
                row = base + r * 32 + lane
                g = -1
                if row < n:
                    g = nearest[uint64(row)] - low
                    if g >= window:
                        g = -1
                if g >= 0:
                    mass = weights[row] if weighted else 1.0
                    if weighted:
                        heavy[r * 32 + lane] = mass
                    masses[uint64(g * 32 + lane)] += mass
                    errors[uint64(g * 32 + lane)] += mass * float64(squared[uint64(row)])
                    for f in range(d):
                        values[uint64(f * stride + r * 32 + lane)] = X[uint64(f * n + row)]
                labels[uint64(r * 32 + lane)] = g
            cuda.syncthreads()
            add_tile(values, heavy, labels, sums, lane)
            cuda.syncthreads()
        write_part(sums, masses, errors, window, lane, parts)

    @kernel()
    def farthest(X: Any, n: Any, weights: Any, C: Any, far: Any, far_row: Any) -> None:
        lane = cuda.threadIdx.x
        k = C.size // d
        x = cuda.local.array(held, real)
        best = cuda.local.array(rows, real)
        total = cuda.local.array(rows, real)
        near = cuda.local.array(rows, int32)
        # A lane has its own column of the block's lines: rows come in ascending order, and the first of equals stays.
        for c in range(k):
            far[cuda.blockIdx.x, c, lane] = -1.0
            far_row[cuda.blockIdx.x, c, lane] = -1
        for base in range(cuda.blockIdx.x * tile, n, cuda.gridDim.x * tile):
            read(X, n, base, lane, x)
            measure(x, C, 0, k, best, near, total)
            for r in range(rows):
                row = base + r * 32 + lane
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
        total = cuda.local.array(rows, real)
        near = cuda.local.array(rows, int32)
        inertia = 0.0
        for base in range(cuda.blockIdx.x * tile, n, cuda.gridDim.x * tile):
            read(X, n, base, lane, x)
            measure(x, C, 0, C.size // d, best, near, total)
            for r in range(rows):
                row = base + r * 32 + lane
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
        total = cuda.local.array(rows, real)
        near = cuda.local.array(rows, int32)
        inertia = 0.0
        for base in range(cuda.blockIdx.x * tile, n, cuda.gridDim.x * tile):
            read(X, n, base, lane, x)
            measure(x, C, 0, C.size // d, best, near, total)
            for r in range(rows):
                row = base + r * 32 + lane
                if row < n:
                    labels[row] = near[r]
                    squared[row] = best[r]
                    mass = weights[row] if weighted else 1.0
                    inertia += mass * float64(best[r])
        parts[cuda.blockIdx.x, lane] = inertia

    return Kernels(step, add, farthest, draw, assign)
