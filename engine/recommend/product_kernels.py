"""The machine code of the nearest neighbours: the largest entries in each row of a product of two sparse matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from engine.clustering.jit import compiled
from engine.recommend.heap_kernels import best_of

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


# As above: no fused steps, and the sums in the order of the neighbours, so that a mean over the first hundred is the
# same whether it is all that is asked for or the beginning of a longer walk.
@compiled(parallel=True, math=frozenset())
def best_of_blends(
    own_start: Array,
    own_column: Array,
    own_value: Array,
    start: Array,
    column: Array,
    value: Array,
    near: Array,
    numbers: Array,
    alphas: Array,
    width: int,
    out: Array,
    out_value: Array,
) -> None:
    """Write the largest entries above 0 of each own row blended with the mean of its nearest rows; -1 and 0 where none.

    An entry is ``alpha * own + (1 - alpha) * mean``. Both matrices come as rows of (column, value) with values above 0.
    ``near`` (n, most): rows of the second matrix, the nearest first, -1 after the last; ``numbers`` (t,), ascending:
    over how many of them the mean is, or over those that there are; ``alphas`` (a,). ``out`` (t, a, n, k).

    One walk along the neighbours does for all numbers. Whatever alpha is, columns that the own row lacks are in the
    order of their means, so that the first k of these and the own columns are all that can be among the k largest.
    """
    n, most = near.shape
    k = out.shape[3]
    for block in prange(-(-n // BLOCK)):
        total = np.zeros(width, np.float64)
        score = np.zeros(width, np.float64)
        own = np.zeros(width, np.float64)
        # A place more than there are columns: what is written there is not kept.
        touched = np.empty(width + 1, np.int32)
        among = np.empty(width + 1, np.int32)
        order = np.empty(width + k, np.int32)
        best = np.empty(k, np.int32)
        for row in range(block * BLOCK, min(n, (block + 1) * BLOCK)):
            first, end = own_start[row], own_start[row + 1]
            for r in range(first, end):
                own[own_column[r]] = own_value[r]
            size = there = 0
            for t in range(len(numbers)):
                while there < min(numbers[t], most) and near[row, there] >= 0:
                    other = near[row, there]
                    for q in range(start[other], start[other + 1]):
                        j = column[q]
                        touched[size] = j
                        size += total[j] == 0.0
                        total[j] += value[q]
                    there += 1
                strange = 0
                for place in range(size):
                    among[strange] = touched[place]
                    strange += own[touched[place]] == 0.0
                shortlist = best_of(total, among, strange, k, order)
                for r in range(first, end):
                    order[shortlist] = own_column[r]
                    shortlist += 1
                for a in range(len(alphas)):
                    kept = 0
                    for place in range(shortlist):
                        j = order[place]
                        score[j] = alphas[a] * own[j] + (1.0 - alphas[a]) * (total[j] / max(there, 1))
                        among[kept] = j
                        kept += score[j] > 0.0
                    found = best_of(score, among, kept, k, best)
                    for place in range(k):
                        out[t, a, row, place] = best[place] if place < found else -1
                        out_value[t, a, row, place] = score[best[place]] if place < found else 0.0
            for place in range(size):
                total[touched[place]] = 0.0
            for r in range(first, end):
                own[own_column[r]] = 0.0
