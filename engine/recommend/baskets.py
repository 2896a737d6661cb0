"""Purchase histories as flat arrays: customers, their baskets in the order of time, the products of each.

The form that every recommender of this package reads. A *basket* is what a customer bought together: the rows of one
order, or of one day. Products are numbered from 0 (*codes*), the one that most customers bought first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.schema import require_columns

BASKETS = ("order", "day")
"""What may make a basket: an order, or all that one customer bought on one day."""


class Targets(NamedTuple):
    """The basket of each customer that is to be foreseen.

    Attributes
    ----------
    customers
        Who has one: row numbers of the history, ascending, shape (t,), int64.
    day
        On which day, days since 1970-01-01, shape (t,), int32.
    start, item
        The products of target j are ``item[start[j]:start[j + 1]]``, ascending; shapes (t + 1,) and (rows,).
    """

    customers: NDArray[np.int64]
    day: NDArray[np.int32]
    start: NDArray[np.int64]
    item: NDArray[np.int32]

    def take(self, which: NDArray[np.int64]) -> Targets:
        """Return some targets, by number, in the order given."""
        start = np.concatenate([[0], np.cumsum(np.diff(self.start)[which])]).astype(np.int64)
        item = self.item[ranges(self.start[which], self.start[which + 1])]
        return Targets(self.customers[which], self.day[which], start, item)


@dataclass(frozen=True, slots=True, repr=False)
class Baskets:
    """Who bought what, when and together with what.

    Attributes
    ----------
    customer_ids
        Shape (n,), each once.
    products
        Product ids by code, shape (m,), each once.
    basket_start
        The baskets of customer c are those from ``basket_start[c]`` to before ``basket_start[c + 1]``, the earliest
        first; shape (n + 1,), int64. A customer may have none.
    day
        Of each basket, days since 1970-01-01 (UTC), int32.
    item_start
        The products of basket b are ``item[item_start[b]:item_start[b + 1]]``; int64.
    item
        Product codes, ascending and each once in a basket, int32.

    Examples
    --------
    >>> from datetime import date
    >>> import polars as pl
    >>> rows = pl.DataFrame({
    ...     "customer_id": [7, 7, 7, 9], "order_id": ["a", "a", "b", "c"], "product_id": ["x", "y", "x", "x"],
    ...     "timestamp": [date(2024, 5, 1), date(2024, 5, 1), date(2024, 5, 9), date(2024, 5, 2)]})
    >>> history = Baskets.from_frame(rows)
    >>> history.n, history.products.to_list(), history.basket_start.tolist(), history.item.tolist()
    (2, ['x', 'y'], [0, 2, 3], [0, 1, 0, 0])
    """

    customer_ids: pl.Series
    products: pl.Series
    basket_start: NDArray[np.int64]
    day: NDArray[np.int32]
    item_start: NDArray[np.int64]
    item: NDArray[np.int32]

    def __repr__(self) -> str:
        return f"<Baskets: {self.n:,} customers, {self.m:,} products, {self.baskets:,} baskets>"

    @property
    def n(self) -> int:
        """Number of customers."""
        return len(self.customer_ids)

    @property
    def m(self) -> int:
        """Number of products."""
        return len(self.products)

    @property
    def baskets(self) -> int:
        """Number of baskets."""
        return len(self.day)

    @classmethod
    def from_frame(
        cls, rows: pl.DataFrame, *, basket: Literal["order", "day"] = "order", products: pl.Series | None = None
    ) -> Baskets:
        """Return the histories in a frame of purchases.

        Parameters
        ----------
        rows
            ``customer_id``, ``product_id``, ``timestamp`` (a date or a time) and, for ``basket="order"``,
            ``order_id``; a row for each purchase. A product that is twice in a basket counts once. Rows without a
            product, a customer or a time are left out; with ``basket="order"`` those without an order are
            baskets of a day each.
        basket
            What makes a basket. The baskets of a customer are in the order of their first row's time, and of their
            order ids where that ties.
        products
            Product ids by code, where they are numbered already; rows of others are left out. By default the
            products of the frame, the one of most customers first, then by id.

        Raises
        ------
        ColumnsMissingError, SettingError, DataError
            A column is missing; ``basket`` is neither; times are no times, or a product id is given twice.
        """
        if basket not in BASKETS:
            raise SettingError.from_unknown("basket", basket, BASKETS)
        order = ["order_id"] if basket == "order" else []
        require_columns(rows.columns, ["customer_id", "product_id", "timestamp", *order], where="purchases")
        if not rows.schema["timestamp"].is_temporal():
            raise DataError(f"purchases: expected dates or times in timestamp; got {rows.schema['timestamp']}.")
        kept = rows.lazy().drop_nulls(["customer_id", "product_id", "timestamp"])
        kept = kept.with_columns(pl.col("product_id").cast(pl.String), _utc(rows.schema["timestamp"]))
        date = pl.col("timestamp").dt.date()
        if basket == "day":
            kept = kept.with_columns(date.alias("order_id"))
        elif rows["order_id"].null_count():
            kept = kept.with_columns(pl.col("order_id").cast(pl.String).fill_null(pl.format("day {}", date)))
        if products is None:
            products = products_of(kept)
        products = products.cast(pl.String)
        if products.n_unique() < len(products):
            raise DataError("products: expected each id once; some come twice.")
        codes = pl.DataFrame({"product_id": products, "code": np.arange(len(products), dtype=np.int32)})
        begun = (
            kept.join(codes.lazy(), on="product_id", how="inner")
            .with_columns(pl.col("timestamp").min().over("customer_id", "order_id").alias("begun"))
            .select("customer_id", "begun", "order_id", "code")
            .unique()
            .sort("customer_id", "begun", "order_id", "code", nulls_last=True)
            .collect()
        )
        return cls._from_sorted(begun, products)

    @classmethod
    def _from_sorted(cls, rows: pl.DataFrame, products: pl.Series) -> Baskets:
        """Return the histories of rows that are distinct and sorted by customer, time, order and code."""
        new_customer = _changes(rows.select("customer_id"))
        new_basket = _changes(rows.select("customer_id", "order_id"))
        item_start = np.append(np.flatnonzero(new_basket), rows.height).astype(np.int64)
        first = np.flatnonzero(new_customer)
        # The number of baskets that began before a customer's first row.
        basket_start = np.append(np.searchsorted(item_start, first), len(item_start) - 1).astype(np.int64)
        day = rows["begun"].gather(item_start[:-1]).dt.date().to_physical().to_numpy().astype(np.int32)
        item = rows["code"].to_numpy().astype(np.int32)
        return cls(rows["customer_id"].gather(first), products, basket_start, day, item_start, item)

    def take(self, customers: NDArray[np.int64]) -> Baskets:
        """Return the histories of some customers, by row number, in the order given."""
        wanted = np.asarray(customers, dtype=np.int64)
        baskets = np.concatenate([[0], np.cumsum(np.diff(self.basket_start)[wanted])])
        which = ranges(self.basket_start[wanted], self.basket_start[wanted + 1])
        return self._of(self.customer_ids.gather(wanted), baskets, which)

    def one(self, customer: int) -> Baskets:
        """Return the history of one customer, by row number, without copying it."""
        first, end = int(self.basket_start[customer]), int(self.basket_start[customer + 1])
        item_start = self.item_start[first : end + 1]
        begin = int(item_start[0])
        return Baskets(
            self.customer_ids[customer : customer + 1],
            self.products,
            np.array([0, end - first], dtype=np.int64),
            self.day[first:end],
            item_start - begin,
            self.item[begin : int(item_start[-1])],
        )

    def before(self, day: int) -> Baskets:
        """Return the baskets of days before this one (days since 1970-01-01); customers without any keep their row."""
        return self._keeping(self.day < day)

    def without_last(self, last: int = 1, *, least: int = 1) -> tuple[Baskets, Targets]:
        """Split off a target basket of each customer.

        Parameters
        ----------
        last
            Which: 1 is the last basket, 2 the last but one (later ones are left out of both).
        least
            How many baskets must come before the target; customers with fewer keep their row but have no target.
            What lies before the target's place stays in their history.

        Returns
        -------
        (Baskets, Targets)
            What came before, with the same customers and products; and the targets.
        """
        if last < 1 or least < 0:
            raise SettingError(f"last, least: expected at least 1 and 0; got {last} and {least}.")
        ends = self.basket_start[1:]
        target = ends - last
        number = target - self.basket_start[:-1]
        who = np.flatnonzero(number >= least)
        keep = np.arange(self.baskets) < np.repeat(target, np.diff(self.basket_start))
        which = target[who]
        start = np.concatenate([[0], np.cumsum(np.diff(self.item_start)[which])]).astype(np.int64)
        item = self.item[ranges(self.item_start[which], self.item_start[which + 1])]
        return self._keeping(keep), Targets(who, self.day[which], start, item)

    def without(self, products: NDArray[np.bool_]) -> Baskets:
        """Return the histories without some products (a truth value for each, shape (m,)).

        A basket that held nothing else is none; customers and the numbers of products stay.
        """
        if not products.any():
            return self
        keep = ~products[self.item]
        sizes = np.diff(np.concatenate([[0], np.cumsum(keep)])[self.item_start])
        whole = sizes > 0
        basket_start = np.concatenate([[0], np.cumsum(whole)])[self.basket_start].astype(np.int64)
        item_start = np.concatenate([[0], np.cumsum(sizes[whole])]).astype(np.int64)
        return Baskets(self.customer_ids, self.products, basket_start, self.day[whole], item_start, self.item[keep])

    def owners(self) -> NDArray[np.int64]:
        """Return the customer of each purchase (row of ``item``), shape (rows,)."""
        return np.repeat(np.arange(self.n), np.diff(self.item_start[self.basket_start]))

    def basket_of(self) -> NDArray[np.int64]:
        """Return the basket of each purchase (row of ``item``), shape (rows,)."""
        return np.repeat(np.arange(self.baskets), np.diff(self.item_start))

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """Return each customer's distinct products and in how many baskets each was: ``start, item, count``.

        Those of customer c lie between ``start[c]`` and ``start[c + 1]``, by ascending code.
        """
        key = self.owners() * self.m + self.item
        distinct, count = np.unique(key, return_counts=True)
        start = np.searchsorted(distinct, np.arange(self.n + 1) * self.m).astype(np.int64)
        return start, (distinct % max(self.m, 1)).astype(np.int32), count.astype(np.int32)

    def each(self) -> Iterator[list[list[int]]]:
        """Yield the baskets of each customer as lists of codes: slow and plain, for tests and small data."""
        for c in range(self.n):
            own = range(int(self.basket_start[c]), int(self.basket_start[c + 1]))
            yield [self.item[self.item_start[b] : self.item_start[b + 1]].tolist() for b in own]

    def check(self) -> None:
        """Raise :class:`DataError` unless the arrays fit together; for histories that came from a file."""
        sizes = np.diff(self.item_start), np.diff(self.basket_start)
        fits = (
            len(self.basket_start) == self.n + 1
            and len(self.item_start) == self.baskets + 1
            and self.basket_start[0] == self.item_start[0] == 0
            and self.basket_start[-1] == self.baskets
            and self.item_start[-1] == len(self.item)
            and all((size >= 0).all() for size in sizes)
        )
        fits = (
            fits
            and not _falls(self.day, self.basket_start, least=0)
            and not _falls(self.item, self.item_start, least=1)
        )
        if not fits or (len(self.item) and not (0 <= int(self.item.min()) <= int(self.item.max()) < self.m)):
            raise DataError("The arrays of a purchase history do not fit together. Build it anew from the lake.")

    def _keeping(self, keep: NDArray[np.bool_]) -> Baskets:
        held = np.concatenate([[0], np.cumsum(keep)])[self.basket_start]
        sizes = np.diff(self.item_start)
        # By a mask: numbers of a hundred million rows would take eight times the memory of the rows.
        item = self.item[np.repeat(keep, sizes)]
        item_start = np.concatenate([[0], np.cumsum(sizes[keep])]).astype(np.int64)
        return Baskets(self.customer_ids, self.products, held.astype(np.int64), self.day[keep], item_start, item)

    def _of(self, ids: pl.Series, basket_start: NDArray[np.int64], which: NDArray[np.int64]) -> Baskets:
        sizes = np.diff(self.item_start)[which]
        item_start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        item = self.item[ranges(self.item_start[which], self.item_start[which + 1])]
        return Baskets(ids, self.products, basket_start.astype(np.int64), self.day[which], item_start, item)


def baskets_of(given: Any) -> Baskets:
    """Return purchase histories: those given, or those in the folder of a lake's history.

    Raises
    ------
    SettingError
        It is something else; the message says what to give in its place.

    Examples
    --------
    >>> baskets_of([7, 9])
    Traceback (most recent call last):
    engine.errors.SettingError: history: expected purchase histories (Baskets); got list.
    """
    from engine.lake.table import Lake
    from engine.recommend.history import History

    if isinstance(given, Baskets):
        return given
    if isinstance(given, History):
        return given.baskets()
    told = f"history: expected purchase histories (Baskets); got {type(given).__name__}."
    if isinstance(getattr(given, "history", None), Baskets):
        # A recommender.
        told += " It has them: give its .history, and its .segment_of as segments."
    elif isinstance(given, Lake):
        told += " engine.recommender(lake) reads them: give the .history of what it returns."
    elif hasattr(given, "columns"):
        told += " Make them of a frame with Baskets.from_frame; engine.recommender takes transactions."
    raise SettingError(told)


def _falls(values: NDArray[np.int32], start: NDArray[np.int64], *, least: int) -> bool:
    """Return whether a value is not at least ``least`` above the one before it in the same part."""
    if len(values) < 2:
        return False
    rises = np.diff(values.astype(np.int64)) >= least
    begins = start[(start > 0) & (start < len(values))]
    rises[begins - 1] = True
    return not bool(rises.all())


def products_of(rows: pl.LazyFrame) -> pl.Series:
    """Return the product ids of purchases, the one of most customers first, then by id."""
    counted = rows.group_by("product_id").agg(pl.col("customer_id").n_unique().alias("customers"))
    return counted.sort("customers", "product_id", descending=[True, False]).collect()["product_id"]


def _utc(dtype: pl.DataType) -> pl.Expr:
    """Return the times in UTC: a day is a day there, as in the lake."""
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return pl.col("timestamp").dt.convert_time_zone("UTC")
    return pl.col("timestamp")


def _changes(rows: pl.DataFrame) -> NDArray[np.bool_]:
    """Return for each row whether it differs from the one before."""
    if not rows.height:
        return np.zeros(0, dtype=bool)
    changed = [column.ne_missing(column.shift(1)).to_numpy() for column in rows.get_columns()]
    new: NDArray[np.bool_] = np.logical_or.reduce(changed)
    new[0] = True
    return new


def ranges(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers from each start to before its end, one after the other.

    Examples
    --------
    >>> import numpy as np
    >>> ranges(np.array([3, 10]), np.array([5, 11])).tolist()
    [3, 4, 10]
    """
    sizes = ends - starts
    total = int(sizes.sum())
    if not total:
        return np.zeros(0, dtype=np.int64)
    offset: NDArray[np.int64] = np.repeat(starts - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
    return offset + np.arange(total)
