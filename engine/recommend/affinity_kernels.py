"""The machine code that counts which products are bought by the same customers, and which after one another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from engine.clustering.jit import compiled
from engine.recommend.heap_kernels import best_of

Array = np.ndarray[Any, Any]

STRIDE = 256
"""Products that lie this far apart are counted by one task: those of many customers come first and would else fall to
one thread."""


@compiled()
def distinct_products(
    basket_start: Array, item_start: Array, item: Array, m: int, most: int, start: Array, out: Array, count: Array
) -> None:
    """Write each customer's distinct products and in how many baskets each was; ``start`` (n + 1,) is filled.

    ``out`` and ``count`` have room for every purchase. Of a customer with more than ``most`` products those count
    that were bought last.
    """
    place = np.full(m, -1, np.int64)
    size = np.int64(0)
    for c in range(len(basket_start) - 1):
        start[c] = size
        for b in range(basket_start[c + 1] - 1, basket_start[c] - 1, -1):
            for r in range(item_start[b], item_start[b + 1]):
                i = item[r]
                if place[i] < start[c]:
                    if size - start[c] == most:
                        continue
                    place[i] = size
                    out[size] = i
                    count[size] = 0
                    size += 1
                count[place[i]] += 1
    start[len(basket_start) - 1] = size


@compiled()
def turned(start: Array, item: Array, m: int, by_start: Array, by_row: Array) -> None:
    """Write the rows of each product: those of product i at ``by_row[by_start[i]:by_start[i + 1]]``, ascending."""
    for r in range(len(item)):
        by_start[item[r] + 1] += 1
    for i in range(m):
        by_start[i + 1] += by_start[i]
    free = by_start[:m].copy()
    for row in range(len(start) - 1):
        for r in range(start[row], start[row + 1]):
            by_row[free[item[r]]] = row
            free[item[r]] += 1


@compiled()
def pairs_of(
    i: int,
    start: Array,
    item: Array,
    by_start: Array,
    by_row: Array,
    shift: int,
    same: Array,
    buyers: Array,
    least: int,
    found: Array,
    share: Array,
    total: Array,
    value: Array,
    touched: Array,
) -> Any:
    """Write the products that go with product i and their shares; return how many; see :func:`pair_chunks`."""
    seen, rows = 0, 0
    for q in range(by_start[i], by_start[i + 1]):
        row = by_row[q]
        if not same[row]:
            continue
        rows += 1
        for r in range(start[row + shift], start[row + shift + 1]):
            j = item[r]
            if total[j] == 0.0:
                touched[seen] = j
                seen += 1
            total[j] += np.float32(1.0)
    kept = 0
    for n in range(seen):
        j = touched[n]
        if total[j] >= least and (j != i or shift > 0):
            value[j] = total[j] / np.sqrt(np.float32(buyers[j]))
            touched[kept] = j
            kept += 1
        else:
            total[j] = 0.0
    size = best_of(value, touched, kept, len(found), found)
    for n in range(size):
        share[n] = total[found[n]] / np.float32(rows + 5)
    for n in range(kept):
        total[touched[n]] = 0.0
    return size


@compiled(parallel=True)
def pair_chunks(
    start: Array,
    item: Array,
    by_start: Array,
    by_row: Array,
    shift: int,
    same: Array,
    buyers: Array,
    least: int,
    found: Array,
    share: Array,
    size: Array,
) -> None:
    """Write for each product i the products j that go with it, best first: ``found`` and ``share`` (m, most).

    Counted are the rows (customers, or baskets) of i with j in row + ``shift``, where ``same[row]`` says that there is
    such a row. Those with the largest count / sqrt(buyers of j) are kept, of at least ``least``; ``share`` is the
    count over the number of rows of i that count, plus 5 (a product of few buyers proves little).
    """
    m = len(found)
    for p in prange(STRIDE):
        total = np.zeros(m, np.float32)
        value = np.zeros(m, np.float32)
        touched = np.empty(m, np.int32)
        for i in range(p, m, STRIDE):
            size[i] = pairs_of(
                i, start, item, by_start, by_row, shift, same, buyers, least, found[i], share[i], total, value, touched
            )


@compiled()
def habit_sums(
    basket_start: Array, day: Array, item_start: Array, item: Array, m: int, able: Array, again: Array, gaps: Array,
    log_gap: Array,
) -> None:  # fmt: skip
    """Add up for each product who could have bought it again and who did, and the days between two purchases.

    ``able``: customers with a basket on a later day than their first with the product; ``again``: those who bought it
    on a later day; ``gaps`` and ``log_gap``: number of intervals between two days with it, and the sum of their
    logarithms. Zeros before, (m,) each.
    """
    last = np.full(m, -1, np.int64)
    first = np.zeros(m, np.int32)
    before = np.zeros(m, np.int32)
    repeated = np.full(m, -1, np.int64)
    for c in range(len(basket_start) - 1):
        if basket_start[c + 1] == basket_start[c]:
            continue
        end = day[basket_start[c + 1] - 1]
        for b in range(basket_start[c], basket_start[c + 1]):
            for r in range(item_start[b], item_start[b + 1]):
                i = item[r]
                if last[i] != c:
                    last[i] = c
                    first[i] = day[b]
                    able[i] += day[b] < end
                elif day[b] > before[i]:
                    gaps[i] += 1
                    log_gap[i] += np.log(np.float64(day[b] - before[i]))
                    if repeated[i] != c:
                        repeated[i] = c
                        again[i] += 1
                before[i] = day[b]
