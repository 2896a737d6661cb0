"""The recommenders that a better one must beat: what is popular, what the customer buys, what goes along with it.

Plain counts are hard to beat where people buy the same again: on several published sets the customer's own
favourites, filled up with what is popular, are ahead of most neural networks (Li, Jullien, Ariannezhad & de Rijke 2023,
"A next basket recommendation reality check"). So they always stand beside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.recommend.baskets import Baskets
from engine.recommend.most_bought import fill, first_new, most_bought, places_by_id
from engine.recommend.sparse_rows import Lists, best_of_rows, bought_matrix, rows_to_matrix

Segments = NDArray[np.int32]
Kept = TypeVar("Kept")


class Recommender(Protocol):
    """Somebody who ranks products for customers."""

    @property
    def name(self) -> str:
        """Short name, the same for the same settings."""
        ...

    def fit(self, history: Baskets, segments: Segments | None = None) -> Self:
        """Learn from the histories of all customers; ``segments``: each one's segment number, -1 where none."""
        ...

    def recommend(
        self,
        history: Baskets,
        k: int,
        *,
        day: NDArray[np.int32] | int | None = None,
        segments: Segments | None = None,
    ) -> Lists:
        """Return the k best products for each customer of a history.

        Parameters
        ----------
        history
            What these customers bought; the same products as at fit. What is known of others comes from fit.
        k
            Products for each, at least 1.
        day
            For which day (days since 1970-01-01), one for all or one each; by default the day after the last at fit.
        segments
            Each customer's segment number, -1 where none.

        Returns
        -------
        array of int32
            Codes, best first, each once, -1 where there are no more; shape (n, k).
        """
        ...


@dataclass
class _Counted:
    """What all customers bought, the most bought first, and how many products there are: what :meth:`fit` leaves."""

    _order: Lists | None = field(default=None, init=False, repr=False, compare=False)
    _m: int = field(default=0, init=False, repr=False, compare=False)

    def _counted(self, history: Baskets, by: str) -> Self:
        self._m, self._order = history.m, most_bought(history, by)
        return self

    def _asked(self, history: Baskets, k: int) -> Lists:
        order = fitted(self._order, type(self).__name__)
        check_asked(history, k, self._m)
        return order


@dataclass
class Popular(_Counted):
    """The same products to everybody: those that most customers bought, or that are in most baskets.

    Parameters
    ----------
    by
        ``customers``: how many bought it; ``rows``: in how many baskets it is. Of equal ones the lower id is first.
        What nobody bought is recommended to nobody.

    Examples
    --------
    >>> import polars as pl
    >>> rows = pl.DataFrame({"customer_id": [1, 1, 1, 2], "product_id": ["x", "x", "y", "y"],
    ...                      "timestamp": [1, 2, 2, 5]}).with_columns(pl.col("timestamp").cast(pl.Date))
    >>> history = Baskets.from_frame(rows, basket="day")
    >>> history.products[Popular().fit(history).recommend(history, 1)[0]].to_list()
    ['y']
    """

    by: Literal["customers", "rows"] = "customers"

    def __post_init__(self) -> None:
        if self.by not in ("customers", "rows"):
            raise SettingError.from_unknown("by", self.by, ("customers", "rows"))

    @property
    def name(self) -> str:
        """``popular``."""
        return "popular"

    def fit(self, history: Baskets, segments: Segments | None = None) -> Self:
        """Count."""
        return self._counted(history, self.by)

    def recommend(
        self,
        history: Baskets,
        k: int,
        *,
        day: NDArray[np.int32] | int | None = None,
        segments: Segments | None = None,
        only: str | None = None,
    ) -> Lists:
        """Return the same list for all; with ``only="new"`` what each lacks. See :meth:`Recommender.recommend`."""
        order = self._asked(history, k)
        if _new_only(only):
            return first_new(history, [order], np.zeros(history.n, np.int64), k)
        return fill(np.full((history.n, k), -1, np.int32), order)


@dataclass
class Personal(_Counted):
    """What the customer bought in most baskets; a customer without a history gets nothing.

    Parameters
    ----------
    ties
        What decides between products in equally many baskets: ``popularity``, the one that is in more baskets of all
        customers, or ``recency``, the one bought later, then popularity; the lower id where all is equal.
    filled
        Whether places that stay empty get what is in most baskets of all customers.
    """

    ties: Literal["popularity", "recency"] = "popularity"
    filled: bool = False

    def __post_init__(self) -> None:
        if self.ties not in ("popularity", "recency"):
            raise SettingError.from_unknown("ties", self.ties, ("popularity", "recency"))

    @property
    def name(self) -> str:
        """``personal``, or ``personal_then_popular`` where filled."""
        return "personal_then_popular" if self.filled else "personal"

    def fit(self, history: Baskets, segments: Segments | None = None) -> Self:
        """Count what is popular; customers are counted when they are asked for."""
        return self._counted(history, "rows")

    def recommend(
        self,
        history: Baskets,
        k: int,
        *,
        day: NDArray[np.int32] | int | None = None,
        segments: Segments | None = None,
    ) -> Lists:
        """Return each customer's favourites; see :meth:`Recommender.recommend`."""
        order = self._asked(history, k)
        # What nobody bought at fit comes last.
        rank = np.full(history.m, len(order), np.int64)
        rank[order] = np.arange(len(order))
        key = history.owners() * max(history.m, 1) + history.item
        # Purchases are in the order of time, so that the last of equal keys is the latest.
        in_turn = np.argsort(key, kind="stable")
        key = key[in_turn]
        last = np.flatnonzero(np.append(key[1:] != key[:-1], True)) if len(key) else np.zeros(0, np.int64)
        number = np.diff(last, prepend=-1)
        owner, item = np.divmod(key[last], max(history.m, 1))
        latest = history.basket_of()[in_turn[last]] if self.ties == "recency" else np.zeros(len(last), np.int64)
        best = np.lexsort((places_by_id(history)[item], rank[item], -latest, -number, owner))
        place = np.arange(len(best)) - np.searchsorted(owner, owner)
        taken = place < k
        lists = np.full((history.n, k), -1, np.int32)
        lists[owner[taken], place[taken]] = item[best[taken]]
        return fill(lists, order) if self.filled else lists


@dataclass
class PersonalThenPopular(Personal):
    """What the customer bought in most baskets, then what is in most baskets of all: the one to beat."""

    filled: bool = True


@dataclass
class SegmentPopular(_Counted):
    """What most customers of the segment bought, then what most of all did; who has no segment gets the latter."""

    _own: dict[int, Lists] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """``segment_popular``."""
        return "segment_popular"

    def fit(self, history: Baskets, segments: Segments | None = None) -> Self:
        """Count in each segment; without segments raises :class:`SettingError`."""
        numbers = _segments_of(history, segments, self.name)
        self._own = {
            int(each): most_bought(history.take(np.flatnonzero(numbers == each)), "customers")
            for each in np.unique(numbers[numbers >= 0])
        }
        return self._counted(history, "customers")

    def recommend(
        self,
        history: Baskets,
        k: int,
        *,
        day: NDArray[np.int32] | int | None = None,
        segments: Segments | None = None,
        only: str | None = None,
    ) -> Lists:
        """Return the list of each one's segment; with ``only="new"`` what each lacks of it."""
        order = self._asked(history, k)
        numbers = _segments_of(history, segments, self.name)
        if _new_only(only):
            orders = [np.concatenate([own, order[~np.isin(order, own)]]) for own in self._own.values()]
            places = {each: place for place, each in enumerate(self._own)}
            which = np.array([places.get(int(number), len(orders)) for number in numbers], np.int64)
            return first_new(history, [*orders, order], which, k)
        lists = np.full((history.n, k), -1, np.int32)
        for each, own in self._own.items():
            lists[numbers == each, : min(k, len(own))] = own[:k]
        return fill(lists, order)


@dataclass
class ItemKNN:
    """What customers bought who bought the same products: item-based collaborative filtering.

    Two products are as alike as the cosine of their columns in the matrix of customers and products (bought or not);
    a product scores the sum of its likeness to those that the customer bought, among whose nearest it is. Products
    bought before are not left out (Sarwar, Karypis, Konstan & Riedl 2001; Linden, Smith & York 2003).

    Parameters
    ----------
    neighbours
        Nearest products that each product keeps.
    weights
        What a product that the customer bought counts: ``once``, or ``baskets``: the number of those that it was in.
    itself
        Whether a product is among its own nearest, which speaks for buying it again.
    threads
        Cores; all by default. The answer is the same.
    """

    neighbours: int = 100
    weights: Literal["once", "baskets"] = "once"
    itself: bool = False
    threads: int | None = None
    _alike: Any = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise SettingError(f"neighbours: expected a whole number, 1 or more; got {self.neighbours}.")
        if self.weights not in ("once", "baskets"):
            raise SettingError.from_unknown("weights", self.weights, ("once", "baskets"))

    @property
    def name(self) -> str:
        """``item_knn``."""
        return "item_knn"

    def fit(self, history: Baskets, segments: Segments | None = None) -> Self:
        """Find the nearest products of each product."""
        from scipy.sparse import diags_array

        bought = bought_matrix(history)
        length = np.sqrt(np.bincount(bought.indices, minlength=history.m))
        unit = (bought @ diags_array(1 / np.maximum(length, 1))).tocsr()
        most = min(self.neighbours, max(history.m, 1))
        without = None if self.itself else np.arange(history.m)
        item, alike = best_of_rows(unit.T.tocsr(), unit, most, without=without, threads=self.threads)
        self._alike = rows_to_matrix(item, alike, history.m)
        return self

    def recommend(
        self,
        history: Baskets,
        k: int,
        *,
        day: NDArray[np.int32] | int | None = None,
        segments: Segments | None = None,
    ) -> Lists:
        """Return what is most like what they bought; see :meth:`Recommender.recommend`."""
        alike = fitted(self._alike, self.name)
        check_asked(history, k, alike.shape[0])
        bought = bought_matrix(history, counted=self.weights == "baskets")
        return best_of_rows(bought, alike, k, threads=self.threads)[0]


def _new_only(only: str | None) -> bool:
    if only not in (None, "new"):
        raise SettingError.from_unknown("only", only, ("new",))
    return only == "new"


def fitted(kept: Kept | None, name: str) -> Kept:
    """Return what fit has left, or raise :class:`SettingError`."""
    if kept is None:
        raise SettingError(f"{name}: expected a fitted recommender. Call fit(history) first.")
    return kept


def check_asked(history: Baskets, k: int, m: int) -> None:
    """Raise unless k is at least 1 (:class:`SettingError`) and there are m products (:class:`DataError`)."""
    if k < 1:
        raise SettingError(f"k: expected a whole number of products, 1 or more; got {k}.")
    if history.m != m:
        raise DataError(
            f"The history has {history.m} products, the recommender was fitted on {m}. Number them alike, with "
            "Baskets.from_frame(..., products=history.products)."
        )


def _segments_of(history: Baskets, segments: Segments | None, name: str) -> Segments:
    if segments is None:
        raise SettingError(f"{name}: expected segments, a number for each customer; got none.")
    if len(segments) != history.n:
        raise DataError(f"segments: expected {history.n}, one for each customer; got {len(segments)}.")
    return np.asarray(segments, dtype=np.int32)
