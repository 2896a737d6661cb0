"""Products from the most to the least bought, and lists for customers that are cut from such an order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.recommend.baskets import Baskets
from engine.recommend.sparse_rows import Lists

_ROWS_AT_ONCE = 65_536


def most_bought(history: Baskets, by: str) -> Lists:
    """Return the codes of all products that were bought, those of most customers (or rows) first, then by id.

    Not by code: codes may have been given by counts of a longer history, future baskets included.
    """
    item = history.item if by == "rows" else history.counts()[1]
    count = np.bincount(item, minlength=history.m)
    order = np.lexsort((places_by_id(history), -count))
    return order[count[order] > 0].astype(np.int32)


def places_by_id(history: Baskets) -> NDArray[np.int64]:
    """Return the place of each product in the order of the ids, shape (m,)."""
    places = np.empty(history.m, np.int64)
    places[history.products.arg_sort().to_numpy()] = np.arange(history.m)
    return places


def fill(lists: Lists, order: Lists) -> Lists:
    """Return the lists with their empty places (at the end) filled by the first of ``order`` that are not there yet.

    Examples
    --------
    >>> fill(np.array([[4, -1, -1], [1, 2, 0]], dtype=np.int32), np.array([4, 0, 3], dtype=np.int32)).tolist()
    [[4, 0, 3], [1, 2, 0]]
    """
    n, k = lists.shape
    # With j products on a list at least k - j of the first k of the order are not among them.
    spare = order[:k]
    filled = lists.copy()
    for begin in range(0, n, _ROWS_AT_ONCE):
        block = filled[begin : begin + _ROWS_AT_ONCE]
        rows = np.flatnonzero(block[:, -1] < 0)
        own = block[rows]
        new = ~(own[:, :, np.newaxis] == spare).any(axis=1)
        place = (own >= 0).sum(axis=1)[:, np.newaxis] + np.cumsum(new, axis=1) - 1
        row, which = np.nonzero(new & (place < k))
        block[rows[row], place[row, which]] = spare[which]
    return filled


def first_new(history: Baskets, orders: Sequence[Lists], which: NDArray[np.int64], k: int) -> Lists:
    """Return for each customer the first k of an order of products that the customer does not have, shape (n, k).

    Parameters
    ----------
    history
        What they have.
    orders
        Products, the best first, each once.
    which
        The number of each customer's order, shape (n,).
    k
        At least 1.
    """
    start, item, _ = history.counts()
    lists = np.full((history.n, k), -1, np.int32)
    has = np.zeros(history.m, np.bool_)
    for c in range(history.n):
        own = item[start[c] : start[c + 1]]
        # Of so many at most all that the customer has are among them.
        order = orders[which[c]][: k + len(own)]
        has[own] = True
        new = order[~has[order]][:k]
        has[own] = False
        lists[c, : len(new)] = new
    return lists
