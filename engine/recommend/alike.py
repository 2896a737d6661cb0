"""The customers that others are compared with: who buys alike tells what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engine.recommend.baskets import Baskets
    from engine.recommend.kernels import People

MOST_REFERENCES = 1_500
"""Customers that others are compared with; of more a sample is drawn, so that a search costs the same at any size.

On Ta-Feng and Complete Journey 1,500 of them foresee as much as 3,000 or all, within 0.002 of NDCG: what neighbours say
beside the lists of products is in a few of them. So an exact search in a sample is taken, and no index over
everybody."""


def reference_customers(history: Baskets, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return row numbers of the customers that others are compared with, ascending; those without baskets are none."""
    able = np.flatnonzero(np.diff(history.basket_start) > 0)
    return able if len(able) <= most else np.sort(rng.choice(able, most, replace=False))


def people_of(
    history: Baskets,
    distinct: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]],
    rows: NDArray[np.int64],
) -> People:
    """Return the reference customers as the kernels read them.

    Parameters
    ----------
    history
        Of all customers.
    distinct
        Of :func:`engine.recommend.affinity.distinct`, of the same.
    rows
        Who is compared with.
    """
    from engine.recommend.affinity_kernels import turned
    from engine.recommend.baskets import ranges
    from engine.recommend.kernels import People

    start, item, count = distinct
    which = ranges(start[rows], start[rows + 1])
    sizes = np.diff(start)[rows]
    own = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    products, times = item[which], count[which].astype(np.float64)
    of_row = np.repeat(np.arange(len(rows)), sizes)
    length = np.sqrt(np.bincount(of_row, times * times, minlength=len(rows)))
    share = times / np.diff(history.basket_start)[rows][of_row]
    by_start, by_row = np.zeros(history.m + 1, np.int64), np.empty(len(products), np.int32)
    turned(own, products, history.m, by_start, by_row)
    # In the order of the postings: products, and rows ascending in each.
    order = np.argsort(products, kind="stable")
    weight = (times / length[of_row])[order].astype(np.float32)
    return People(by_start, by_row, weight, own, products, share.astype(np.float32))


def rows_among(ids: pl.Series, references: pl.Series) -> NDArray[np.int64]:
    """Return for each id its row among the reference customers, -1 where it is none of them."""
    known = pl.DataFrame({"id": references, "row": np.arange(len(references))})
    if ids.dtype != references.dtype:
        return np.full(len(ids), -1, dtype=np.int64)
    found = pl.DataFrame({"id": ids}).join(known, on="id", how="left", maintain_order="left")
    rows: NDArray[np.int64] = found["row"].fill_null(-1).to_numpy().astype(np.int64)
    return rows
