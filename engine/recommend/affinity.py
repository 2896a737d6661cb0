"""Which products go together: bought by the same customers, and bought in the basket after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engine.recommend.baskets import Baskets
    from engine.recommend.kernels import Lists

MOST_FELLOWS = 60
"""Products that are kept for each one."""

MOST_PRODUCTS = 400
"""Of a customer with more distinct products, those bought last count: a wholesaler's thousands of products go with
everything, and the pairs grow with the square."""

LEAST_TOGETHER = 2
"""One customer who bought both proves nothing."""


def distinct(history: Baskets) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Return each customer's distinct products, the last bought first, and in how many baskets each was.

    As ``start, item, count``; see :meth:`engine.recommend.baskets.Baskets.counts`, which orders them by code and has no
    limit (:data:`MOST_PRODUCTS`).
    """
    from engine.recommend.affinity_kernels import distinct_products

    start = np.zeros(history.n + 1, dtype=np.int64)
    item, count = np.empty(len(history.item), np.int32), np.empty(len(history.item), np.int32)
    distinct_products(
        history.basket_start, history.item_start, history.item, history.m, MOST_PRODUCTS, start, item, count
    )
    size = int(start[-1])
    return start, item[:size], count[:size]


def along(start: NDArray[np.int64], item: NDArray[np.int32], buyers: NDArray[np.int64]) -> Lists:
    """Return for each product those that its buyers bought too, with the share of the buyers who did.

    Parameters
    ----------
    start, item
        Of :func:`distinct`.
    buyers
        Customers of each product, shape (m,).
    """
    return _lists(start, item, buyers, shift=0, same=np.ones(len(start) - 1, dtype=np.bool_))


def following(history: Baskets, buyers: NDArray[np.int64]) -> Lists:
    """Return for each product those in the basket after one that had it, with the share of such baskets."""
    last = np.zeros(history.baskets, dtype=np.bool_)
    last[history.basket_start[1:][np.diff(history.basket_start) > 0] - 1] = True
    return _lists(history.item_start, history.item, buyers, shift=1, same=~last)


def _lists(
    start: NDArray[np.int64],
    item: NDArray[np.int32],
    buyers: NDArray[np.int64],
    *,
    shift: int,
    same: NDArray[np.bool_],
) -> Lists:
    from engine.recommend.affinity_kernels import pair_chunks, turned
    from engine.recommend.kernels import Lists

    m = len(buyers)
    by_start, by_row = np.zeros(m + 1, np.int64), np.empty(len(item), np.int32)
    turned(start, item, m, by_start, by_row)
    most = min(MOST_FELLOWS, max(m, 1))
    found, share = np.empty((m, most), np.int32), np.empty((m, most), np.float32)
    size = np.zeros(m, np.int64)
    weight = np.maximum(buyers, 1).astype(np.float32)
    pair_chunks(start, item, by_start, by_row, shift, same, weight, LEAST_TOGETHER, found, share, size)
    kept = np.arange(most) < size[:, None]
    return Lists(np.concatenate([[0], np.cumsum(size)]).astype(np.int64), found[kept], share[kept])
