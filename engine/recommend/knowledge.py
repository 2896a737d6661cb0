"""What the histories of all customers say of products: the part of a recommendation beside one's own purchases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.recommend import affinity, alike
from engine.recommend.popularity import Popularity, PopularityThen
from engine.recommend.repurchase import Repurchase
from engine.recommend.segment_numbers import checked_segments

if TYPE_CHECKING:
    from engine.recommend.baskets import Baskets
    from engine.recommend.kernels import Groups, Lists, People

FAVOURITES = 30
"""Products of a segment that each of its customers is a candidate for."""

PRIOR_BUYERS = 5.0
"""What a small segment buys is drawn to what all buy as if so many more had been seen."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is counted over the histories of all customers.

    Attributes
    ----------
    products
        Product ids by code.
    buyers
        Customers who bought each product, shape (m,).
    along, following
        Products that the same customers bought, and that were in the basket after; see
        :mod:`engine.recommend.affinity`.
    people, references
        The customers that others are compared with, and their ids.
    popularity, repurchase
        See :mod:`engine.recommend.popularity` and :mod:`engine.recommend.repurchase`.
    groups
        What segments buy; the last row is for those without a segment.
    """

    products: pl.Series
    buyers: NDArray[np.int64]
    along: Lists
    following: Lists
    people: People
    references: pl.Series
    popularity: Popularity | PopularityThen
    repurchase: Repurchase
    groups: Groups

    @classmethod
    def of(
        cls,
        history: Baskets,
        segments: NDArray[np.int32] | None,
        rows: NDArray[np.int64],
        *,
        category: NDArray[np.int32] | None = None,
        repurchase: NDArray[np.int8] | None = None,
        once_below: float,
    ) -> Knowledge:
        """Count it.

        Parameters
        ----------
        history
            Of all customers.
        segments
            Number of each customer's segment, -1 where none; None where there are none.
        rows
            The customers that others are compared with, row numbers.
        category, repurchase, once_below
            See :meth:`engine.recommend.repurchase.Repurchase.of`.
        """
        distinct = affinity.distinct(history)
        start, item, _ = distinct
        buyers = np.bincount(item, minlength=history.m)
        return cls(
            products=history.products,
            buyers=buyers,
            along=affinity.along(start, item, buyers),
            following=affinity.following(history, buyers),
            people=alike.people_of(history, distinct, rows),
            references=history.customer_ids.gather(rows),
            popularity=Popularity(history),
            repurchase=Repurchase.of(history, category=category, repurchase=repurchase, once_below=once_below),
            groups=groups_of(start, item, buyers, checked_segments(segments, history.n).astype(np.int64)),
        )


def groups_of(
    start: NDArray[np.int64], item: NDArray[np.int32], buyers: NDArray[np.int64], segments: NDArray[np.int64]
) -> Groups:
    """Return by how much the customers of each segment bought a product more often than all customers."""
    from engine.recommend.kernels import Groups

    m, count = len(buyers), int(segments.max(initial=-1)) + 1
    own = np.repeat(segments, np.diff(start))
    known = own >= 0
    bought = np.bincount(own[known] * m + item[known], minlength=count * m).reshape(count, m)
    share = buyers / max(len(segments), 1)
    sizes = np.bincount(segments[segments >= 0], minlength=count)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        lift = np.log((bought + PRIOR_BUYERS * share) / (sizes + PRIOR_BUYERS) / share)
    lift = np.where(share > 0, lift, 0.0)
    most = min(FAVOURITES, m)
    favourites = [np.lexsort((np.arange(m), -buyers, -line))[:most] for line in (*bought, buyers)]
    return Groups(np.vstack([lift, np.zeros(m)]).astype(np.float32), np.array(favourites).astype(np.int32))
