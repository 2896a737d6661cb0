"""The machine code on an NVIDIA GPU around a read of the rows: sums over blocks, moves of starts, rows into tiles."""

from __future__ import annotations

from typing import Any

from numba import cuda as numba_cuda
from numba import float64

from engine.clustering.cuda_tiles import kernel

# Of this name, which numba's simulator looks for.
cuda: Any = numba_cuda

MOVING, AT_REST, TOLERATED, EMPTY = range(4)
"""How a start ended, as :mod:`engine.clustering.search_kernels` says it."""


@kernel()
def add_in_order(parts: Any, sums: Any) -> None:
    """Write what the blocks have added (blocks, values), one after the other, to sums (values,): a value a thread."""
    q = cuda.grid(1)
    if q < sums.size:
        total = 0.0
        for block in range(parts.shape[0]):
            total += parts[block, q]
        sums[q] = total


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
