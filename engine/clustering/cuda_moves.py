"""The machine code on an NVIDIA GPU around a read of the rows: sums over blocks, moves of starts, rows into tiles."""

from __future__ import annotations

from typing import Any

from numba import cuda as numba_cuda
from numba import float64

from engine.clustering.cuda_tiles import LANES, kernel

# Of this name, which numba's simulator looks for.
cuda: Any = numba_cuda

MOVING, AT_REST, TOLERATED, EMPTY = range(4)
"""How a start ended, as :mod:`engine.clustering.search_kernels` says it."""


MANY_BLOCKS = 64
"""From so many on, lanes share the blocks of a value: each is waited for in memory, and there may be two thousand."""

GROUPS = 8
"""Lanes that share them."""

AHEAD = 16
"""Blocks whose values a lane fetches before it adds the first of them."""


@kernel()
def add_in_order(parts: Any, sums: Any, groups: Any, further: Any) -> None:
    """Add up what the blocks have found, parts (blocks, values), to sums (values,), always in the same order.

    ``further``: to what stands there, else to nothing. :data:`LANES` / ``groups`` values a block of :data:`LANES`
    threads.
    """
    lane, width = cuda.threadIdx.x, LANES // groups
    group, q = lane // width, cuda.blockIdx.x * width + lane % width
    own = cuda.shared.array(LANES, float64)
    ahead = cuda.local.array(AHEAD, float64)
    total = 0.0
    if q < sums.size:
        mine = (parts.shape[0] - group + groups - 1) // groups
        whole = mine // AHEAD * AHEAD
        for first in range(0, whole, AHEAD):
            for turn in range(AHEAD):
                ahead[turn] = parts[(first + turn) * groups + group, q]
            for turn in range(AHEAD):
                total += ahead[turn]
        for turn in range(whole, mine):
            total += parts[turn * groups + group, q]
    own[lane] = total
    cuda.syncthreads()
    if group == 0 and q < sums.size:
        total = sums[q] if further else 0.0
        for other in range(groups):
            total += own[other * width + lane]
        sums[q] = total


def queue_sum(parts: Any, sums: Any, stream: Any, *, further: bool = False) -> None:
    """Queue :func:`add_in_order`."""
    groups = GROUPS if parts.shape[0] >= MANY_BLOCKS else 1
    add_in_order[-(-sums.size // (LANES // groups)), LANES, stream](parts, sums, groups, further)


@kernel()
def move(sums: Any, exact: Any, narrow: Any, tolerance: Any, moves: Any, ends: Any) -> None:
    """Move each start that has not come to rest to the means of its rows; a block for each, and nothing for the host.

    sums (starts × k × (d + 2),) of one read; exact (starts, k, d) float64 and narrow (starts × k × d,) are moved; ends
    (starts,) and moves (starts,) as :func:`engine.clustering.search_kernels.settle` has them. Shared memory: k × d
    float64.
    """
    s, lane = cuda.blockIdx.x, cuda.threadIdx.x
    k, d = exact.shape[1], exact.shape[2]
    squares = cuda.shared.array(0, float64)
    if ends[s] == MOVING:
        for c in range(k):
            # All lanes find the same, and none has written yet.
            if sums[(s * k + c) * (d + 2) + d] <= 0.0:
                ends[s] = EMPTY
    cuda.syncthreads()
    if ends[s] == MOVING:
        for q in range(lane, k * d, 32):
            at = (s * k + q // d) * (d + 2)
            value = sums[at + q % d] / sums[at + d]
            gap = value - exact[s, q // d, q % d]
            squares[q] = gap * gap
            exact[s, q // d, q % d] = value
            narrow[s * k * d + q] = value
    cuda.syncthreads()
    if ends[s] == MOVING and lane == 0:
        # One after the other: the sum is that of the processor.
        shift = 0.0
        for q in range(k * d):
            shift += squares[q]
        moves[s] += 1
        if shift <= tolerance:
            ends[s] = AT_REST if shift == 0.0 else TOLERATED


@kernel()
def into_tiles(rows: Any, by_rows: Any, n: Any, d: Any, tile: Any, X: Any) -> None:
    """Write n rows, which lie one after the other or by columns, in tiles (:mod:`engine.clustering.cuda_tiles`)."""
    q = cuda.grid(1)
    if q < X.size:
        row, f = q // (d * tile) * tile + q % tile, q // tile % d
        at = row * d + f if by_rows else f * n + row
        # The last tile is filled up.
        X[q] = rows[at] if row < n else 0


@kernel()
def gather(X: Any, d: Any, tile: Any, index: Any, rows: Any) -> None:
    """Write the rows with these numbers one after the other."""
    q = cuda.grid(1)
    if q < rows.size:
        row = index[q // d]
        rows[q] = X[(row // tile * d + q % d) * tile + row % tile]
