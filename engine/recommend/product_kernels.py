"""The machine code of the nearest neighbours: the largest entries in each row of a product of two sparse matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from engine.clustering.jit import compiled
from engine.recommend.kernels import best_of

Array = np.ndarray[Any, Any]

BLOCK = 32
"""Rows that share one scratch."""


# Sums are added up strictly in the order of the columns of the first matrix, without fused steps, so that equal scores
# are equal on every machine and in the slow twin.
@compiled(parallel=True, math=frozenset())
def best_of_product(
    start: Array,
    column: Array,
    value: Array,
    other_start: Array,
    other_column: Array,
    other_value: Array,
    offset: Array,
    without: Array,
    width: int,
    out: Array,
    out_value: Array,
) -> None:
    """Write the numbers and values of the largest entries of each row of A @ B; -1 and 0 where there are no more.

    A and B come as rows of (column, value), the columns ascending; ``width`` is the number of columns of B.
    ``offset`` (width,) is added to every row, and then every column takes part; with (0,) only those do that A and B
    reach, with more than 0. ``without`` (n,): a column of each row that is left out, or -1.
    """
    n, k = out.shape
    every = len(offset) > 0
    for block in prange(-(-n // BLOCK)):
        total = np.zeros(width, np.float64)
        touched = np.zeros(width, np.int32)
        mark = np.full(width, -1, np.int64)
        order = np.empty(width, np.int32)
        for row in range(block * BLOCK, min(n, (block + 1) * BLOCK)):
            size = 0
            if every:
                for j in range(width):
                    total[j] = offset[j]
                    mark[j] = row
                    touched[j] = j
                size = width
            for r in range(start[row], start[row + 1]):
                for q in range(other_start[column[r]], other_start[column[r] + 1]):
                    j = other_column[q]
                    if mark[j] != row:
                        mark[j] = row
                        total[j] = 0.0
                        touched[size] = j
                        size += 1
                    total[j] += value[r] * other_value[q]
            kept = 0
            for place in range(size):
                j = touched[place]
                if j != without[row] and (every or total[j] > 0.0):
                    touched[kept] = j
                    kept += 1
            found = best_of(total, touched, kept, k, order)
            for place in range(k):
                out[row, place] = order[place] if place < found else -1
                out_value[row, place] = total[order[place]] if place < found else 0.0
