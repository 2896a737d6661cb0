"""The machine code of cross-selling: who went on to buy what, and how many were to be expected.

What is counted, and why, stands in :mod:`engine.recommend.cross_sell`; the slow and plain form of all this is
``tests/reference/cross_sell_twin.py``. A row is an adoption: a customer's first purchase of a product. The rows of a
customer lie together, in the order of time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import prange

from engine.clustering.jit import compiled

Array = np.ndarray[Any, Any]


class Path(NamedTuple):
    """The way of each customer through the cells of the clock; see :class:`engine.recommend.adoption.Clock`.

    Attributes
    ----------
    upto
        Of each basket: chances until its end, added up over all baskets.
    piece
        Of each basket: the number of its piece, a run of one customer's baskets in one cell.
    piece_end, piece_cell
        Of each piece: chances until its end, and its cell.
    """

    upto: Array
    piece: Array
    piece_end: Array
    piece_cell: Array


class Rows(NamedTuple):
    """Adoptions of a group of customers.

    Attributes
    ----------
    start
        The rows of the group's customer c are those from ``start[c]`` to before ``start[c + 1]``.
    customer, slot, basket, until
        Of each row: whose, of which product (numbered in the group), in which basket, and the last basket that
        counts as after it.
    by_slot, slot_start
        Row numbers by product: those of product s from ``slot_start[s]`` to before ``slot_start[s + 1]``.
    """

    start: Array
    customer: Array
    slot: Array
    basket: Array
    until: Array
    by_slot: Array
    slot_start: Array


@compiled()
def mark_first(customer_rows: Array, item: Array, m: int, first: Array) -> None:
    """Mark each customer's first purchase of each product; the rows of customer c begin at ``customer_rows[c]``."""
    seen = np.full(m, -1, np.int64)
    for c in range(len(customer_rows) - 1):
        for r in range(customer_rows[c], customer_rows[c + 1]):
            if seen[item[r]] != c:
                seen[item[r]] = c
                first[r] = True


@compiled()
def take_chances_after(rows: Rows, last: Array, path: Path, chances: Array) -> None:
    """Take from each product's chances, (slots, cells), those of customers who had it already.

    ``last``: the last basket of each customer of the group.
    """
    for r in range(len(rows.slot)):
        left, end = path.upto[rows.basket[r]], path.upto[last[rows.customer[r]]]
        p = path.piece[rows.basket[r]]
        while left < end:
            right = min(path.piece_end[p], end)
            chances[rows.slot[r], path.piece_cell[p]] -= right - left
            left = right
            p += 1


@compiled(parallel=True)
def count_after(rows: Rows, slots: Array, counts: Array) -> None:
    """Count, for the products ``slots``, how many of their buyers took up each other product later: (len, all)."""
    for i in prange(len(slots)):
        x = slots[i]
        for e in range(rows.slot_start[x], rows.slot_start[x + 1]):
            r = rows.by_slot[e]
            basket, until = rows.basket[r], rows.until[r]
            for j in range(r + 1, rows.start[rows.customer[r] + 1]):
                if rows.basket[j] > until:
                    break
                if rows.basket[j] > basket:
                    counts[i, rows.slot[j]] += 1


@compiled()
def expected_between(after: int, until: int, path: Path, rates: Array, slot: int) -> float:
    """Return how many adoptions of a product chance brings between the ends of two baskets of a customer."""
    total = 0.0
    left, end = path.upto[after], path.upto[until]
    p = path.piece[after]
    while left < end:
        right = min(path.piece_end[p], end)
        total += (right - left) * rates[slot, path.piece_cell[p]]
        left = right
        p += 1
    return total


@compiled(parallel=True)
def measure_pairs(
    rows: Rows,
    path: Path,
    rates: Array,
    turns: Array,
    a_start: Array,
    a_customer: Array,
    a_basket: Array,
    a_until: Array,
    p_start: Array,
    p_slot: Array,
    went_on: Array,
    before: Array,
    has: Array,
    expected: Array,
) -> None:
    """Measure what followed on antecedents.

    The customers of antecedent a, and the basket with which each of them met it, lie from ``a_start[a]``; the products
    asked about from ``p_start[a]``. Counted are those who took the product up after the antecedent, who had it by
    then, who have it at all, and what was to be expected of those who did not have it. ``turns``: the antecedents in
    the order in which threads share them out.
    """
    cells = rates.shape[1]
    for turn in prange(len(turns)):
        a = turns[turn]
        place = np.full(rates.shape[0], -1, np.int64)
        for k in range(p_start[a], p_start[a + 1]):
            place[p_slot[k]] = k
        chances = np.zeros(cells)
        for e in range(a_start[a], a_start[a + 1]):
            c, basket, until = a_customer[e], a_basket[e], a_until[e]
            left, end = path.upto[basket], path.upto[until]
            p = path.piece[basket]
            while left < end:
                right = min(path.piece_end[p], end)
                chances[path.piece_cell[p]] += right - left
                left = right
                p += 1
            for j in range(rows.start[c], rows.start[c + 1]):
                k = place[rows.slot[j]]
                if k < 0:
                    continue
                has[k] += 1
                if rows.basket[j] <= basket:
                    before[k] += 1
                elif rows.basket[j] <= until:
                    went_on[k] += 1
                # Who has it can no longer take it up.
                expected[k] -= expected_between(max(basket, rows.basket[j]), until, path, rates, rows.slot[j])
        for k in range(p_start[a], p_start[a + 1]):
            for g in range(cells):
                expected[k] += chances[g] * rates[p_slot[k], g]
