"""Which rows of a lake are purchases, of which product, and at what price: bucket by bucket.

A purchase is a sale of a product before a date. Every other row has one reason for being left out, so that the rows
of the lake are accounted for.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.features.store import LONGEST_WINDOW_DAYS, parse_as_of
from engine.lake.frame import FrameSource
from engine.lake.keys import to_key
from engine.lake.table import Lake
from engine.recommend.baskets import BASKETS, Baskets
from engine.schema import MONEY, SALE, TRANSACTION

REASONS = ("on_or_after_as_of", "before_window", "returns", "non_products", "no_product", "no_level")
"""Why a row is no purchase; of several reasons the first in this order counts.

``no_product`` rows name none. ``no_level`` rows name one that has no value at the level asked for: what nobody can
name cannot be recommended.
"""

PRODUCT_LEVEL = "product_id"

_READ = ("customer_id", "timestamp", "order_id", "product_id", "kind", "is_product")
_PRICED = ("unit_price", "amount", "quantity", "by_volume")
# Prices that wait to be added up: some tens of megabytes.
_MOST_WAITING = 1_000_000


@dataclass(frozen=True, slots=True)
class Choice:
    """What is a purchase.

    Attributes
    ----------
    as_of, start
        Rows before ``as_of`` count, and from ``start`` on where there is one.
    window_days
        Days between the two.
    level
        What counts as a product: ``product_id``, or a column of the products or of the transactions.
    basket
        What makes a basket.
    values
        ``product_id`` to ``level``, where that is a column of the products.
    """

    as_of: datetime
    start: datetime | None
    window_days: int | None
    level: str
    basket: Literal["order", "day"]
    values: pl.DataFrame | None

    @classmethod
    def of(
        cls,
        source: Lake | FrameSource,
        *,
        as_of: str | date | datetime | None,
        window_days: int | None,
        level: str,
        basket: Literal["order", "day"],
    ) -> Choice:
        """Check the settings against a source; see :func:`engine.recommend.history.build_history`."""
        if basket not in BASKETS:
            raise SettingError.from_unknown("basket", basket, BASKETS)
        days = _checked_window(window_days)
        products = source.products()
        known = [] if products is None else products.columns[1:]
        further = [name for name in source.columns if name not in ("customer_id", *TRANSACTION)]
        if level not in (PRODUCT_LEVEL, *known, *further):
            raise SettingError.from_unknown("level", level, dict.fromkeys([PRODUCT_LEVEL, *known, *further]))
        values = None
        if products is not None and level in known:
            values = products.select("product_id", to_key(products[level]).alias("value"))
        moment = parse_as_of(as_of, source.last_timestamp())
        start = None if days is None else moment - timedelta(days=days)
        return cls(moment, start, days, level, basket, values)

    def columns(self, *, priced: bool) -> list[str]:
        """Return the columns of the transactions that are read, with those that tell prices or without."""
        further = [] if self.values is not None or self.level == PRODUCT_LEVEL else [self.level]
        return [*_READ, *(_PRICED if priced else ()), *further]

    def purchases(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
        """Return the purchases among rows, in their order, and how many others there are for each reason.

        ``product_id`` is then the value at the level.
        """
        named = pl.col("product_id").is_not_null()
        if self.values is not None:
            rows = rows.join(self.values, on="product_id", how="left", maintain_order="left")
        elif self.level != PRODUCT_LEVEL:
            rows = rows.with_columns(to_key(rows[self.level]).alias("value"))
            # A source may have categories only.
            named = named | pl.col("value").is_not_null()
        value = pl.col("product_id" if self.level == PRODUCT_LEVEL else "value")
        after = pl.lit(False) if self.start is None else pl.col("timestamp") < self.start
        holds = {
            "on_or_after_as_of": ~(pl.col("timestamp") < self.as_of).fill_null(False),
            "before_window": after,
            "returns": pl.col("kind").ne_missing(SALE),
            "non_products": pl.col("is_product").ne_missing(True),
            "no_product": ~named,
            "no_level": value.is_null(),
        }
        reason = pl.lit(-1, pl.Int8)
        for number, name in reversed(list(enumerate(REASONS))):
            reason = pl.when(holds[name]).then(pl.lit(number, pl.Int8)).otherwise(reason)
        why = rows.select(reason.alias("why"))["why"]
        left_out = {REASONS[number]: count for number, count in why.value_counts().iter_rows() if number >= 0}
        kept = rows.filter(why == -1) if left_out else rows
        return kept.with_columns(value.alias("product_id")), left_out


class Counted(NamedTuple):
    """What one bucket says of the products.

    Attributes
    ----------
    rows, left_out
        Purchases, and other rows by reason.
    customers
        ``product_id, customers``.
    prices
        ``product_id, price, rows``: how many purchases at each price.
    """

    rows: int
    left_out: dict[str, int]
    customers: pl.DataFrame
    prices: pl.DataFrame


def count(rows: pl.DataFrame, choice: Choice) -> Counted:
    """Count the products of one bucket, whose rows are sorted by customer."""
    kept, left_out = choice.purchases(rows)
    ids = kept["product_id"].unique()
    code = _codes(kept["product_id"], ids)
    customer = np.cumsum(changes(kept, "customer_id"))
    # A customer's product once, however often it was bought.
    bought = distinct(customer * max(len(ids), 1) + code) % max(len(ids), 1)
    customers = pl.DataFrame({"product_id": ids, "customers": np.bincount(bought, minlength=len(ids))})
    prices = (
        kept.select(pl.Series("code", code), unit_price().alias("price"))
        .drop_nulls("price")
        .group_by("code", "price")
        .agg(pl.len().cast(pl.Int64).alias("rows"))
    )
    prices = prices.select(ids.gather(prices["code"]), "price", "rows")
    return Counted(kept.height, left_out, customers, prices)


def unit_price() -> pl.Expr:
    """Return what one unit cost: the price of the row, else its amount over its quantity, to the nearest 1e-4.

    Halves go to the even neighbour. What is sold by volume counts as one unit, which cost the amount; without a
    quantity above 0 there is no price.

    Examples
    --------
    >>> import polars as pl
    >>> row = {"unit_price": [None], "amount": [10], "quantity": [3], "by_volume": [False]}
    >>> money = {"unit_price": MONEY, "amount": MONEY, "quantity": MONEY, "by_volume": pl.Boolean}
    >>> pl.DataFrame(row, schema=money).select(unit_price()).item()
    Decimal('3.3333')
    """
    units = pl.when(pl.col("quantity") > 0).then("quantity")
    each = pl.coalesce("unit_price", (pl.col("amount") / units).cast(MONEY, strict=False))
    return pl.when(pl.col("by_volume")).then("amount").otherwise(each)


def products_table(parts: Iterable[Counted], known: pl.DataFrame | None) -> tuple[pl.DataFrame, int, dict[str, int]]:
    """Return the products by code, with the purchases of all buckets and the rows left out.

    Parameters
    ----------
    parts
        What the buckets say; a customer is in one of them only.
    known
        What is known of each ``product_id``, or None.

    Returns
    -------
    (pl.DataFrame, int, dict)
        ``product_id``, the columns of ``known``, ``customers``, ``median_unit_price``: the one that most customers
        bought first, then by id. The median is the lower of the two middle prices where there are two, so it is one
        that somebody paid; null where no purchase has a price.
    """
    purchases = 0
    left_out = dict.fromkeys(REASONS, 0)
    customers, prices = _Sums("customers"), _Sums("rows")
    for part in parts:
        purchases += part.rows
        for reason, rows in part.left_out.items():
            left_out[reason] += rows
        customers.add(part.customers)
        prices.add(part.prices)
    table = customers.total().sort("customers", "product_id", descending=[True, False])
    before = pl.col("rows").cum_sum().over("product_id")
    paid = prices.total().sort("product_id", "price")
    median = (
        paid.filter(2 * before >= pl.col("rows").sum().over("product_id"))
        .group_by("product_id", maintain_order=True)
        .agg(pl.col("price").first().alias("median_unit_price"))
    )
    table = table.join(median, on="product_id", how="left", maintain_order="left")
    if known is not None:
        known = known.drop("customers", "median_unit_price", strict=False)
        table = table.join(known, on="product_id", how="left", maintain_order="left")
        table = table.select(*known.columns, "customers", "median_unit_price")
    return table, purchases, left_out


class _Sums:
    """Adds up frames of counts by all their other columns, a few at a time, so that few wait in memory."""

    def __init__(self, count: str) -> None:
        self._count = count
        self._waiting: list[pl.DataFrame] = []
        self._most = _MOST_WAITING

    def add(self, part: pl.DataFrame) -> None:
        self._waiting.append(part)
        if sum(frame.height for frame in self._waiting) > self._most:
            self._most = max(_MOST_WAITING, 2 * self.total().height)

    def total(self) -> pl.DataFrame:
        together = pl.concat(self._waiting)
        keys = [name for name in together.columns if name != self._count]
        added = together.group_by(keys).agg(pl.col(self._count).sum())
        self._waiting = [added]
        return added


def encode(rows: pl.DataFrame, choice: Choice, products: pl.Series) -> Baskets:
    """Return the baskets of one bucket, its customers by ascending id.

    The rows are sorted by customer, time and order, so baskets are runs of rows: the same that
    :meth:`engine.recommend.baskets.Baskets.from_frame` sorts for.
    """
    kept, _ = choice.purchases(rows)
    new_customer = changes(kept, "customer_id")
    if choice.basket == "day":
        kept = kept.with_columns(pl.col("timestamp").dt.date().alias("order_id"))
    new_run = new_customer | changes(kept, "order_id")
    if choice.basket == "order":
        basket_of_run, first = _orders(kept.filter(new_run).select("customer_id", "order_id"))
    else:
        first = np.arange(np.count_nonzero(new_run))
        basket_of_run = first
    basket = basket_of_run[np.cumsum(new_run) - 1]
    m = max(len(products), 1)
    bought = distinct(basket * m + _codes(kept["product_id"], products))
    begins = np.flatnonzero(new_run)[first]
    item_start = np.searchsorted(bought, np.arange(len(begins) + 1) * m)
    customers = np.flatnonzero(new_customer)
    return Baskets(
        customer_ids=kept["customer_id"].gather(customers),
        products=products,
        basket_start=np.append(np.searchsorted(begins, customers), len(begins)).astype(np.int64),
        day=kept["timestamp"].gather(begins).dt.date().to_physical().to_numpy().astype(np.int32),
        item_start=item_start.astype(np.int64),
        item=(bought % m).astype(np.int32),
    )


def _orders(runs: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order of each run of rows, numbered by its first run, and the first run of each order.

    An order may be paid in parts, with another between them: then it is several runs.
    """
    own = np.arange(runs.height)
    numbered = runs.with_columns(pl.Series("run", own))
    first = numbered.select(pl.col("run").min().over("customer_id", "order_id"))["run"].to_numpy()
    begins = first == own
    number: NDArray[np.int64] = (np.cumsum(begins) - 1)[first]
    return number, np.flatnonzero(begins)


def _codes(values: pl.Series, ids: pl.Series) -> NDArray[np.int64]:
    if values.is_empty():
        return np.zeros(0, dtype=np.int64)
    return values.replace_strict(ids, np.arange(len(ids)), return_dtype=pl.Int64).to_numpy()


def changes(rows: pl.DataFrame, column: str) -> NDArray[np.bool_]:
    """Return for each row whether its value differs from the one before; the first does."""
    changed = rows[column].ne_missing(rows[column].shift(1)).to_numpy(writable=True)
    changed[:1] = True
    return changed


def distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distinct numbers, ascending; sorting is far quicker than numpy's own way by hashes."""
    ordered = np.sort(numbers)
    keep = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=keep[1:])
    return ordered[keep]


def counting(source: Lake | FrameSource, choice: Choice) -> Callable[[int], Counted]:
    """Return the work of the first read on a bucket, by number."""
    columns = choice.columns(priced=True)
    return lambda number: count(source.bucket(number, columns), choice)


def encoding(source: Lake | FrameSource, choice: Choice, products: pl.Series) -> Callable[[int], Baskets]:
    """Return the work of the second read on a bucket, by number; its baskets come without the products."""
    columns = choice.columns(priced=False)

    def encoded(number: int) -> Baskets:
        # The products stay behind: a worker would send all of them with every bucket.
        return replace(encode(source.bucket(number, columns), choice, products), products=products.clear())

    return encoded


def no_purchases(source: Lake | FrameSource, choice: Choice, left_out: Mapping[str, int]) -> DataError:
    """Return the error for a source of which every row is left out."""
    if left_out["no_level"]:
        return DataError(f"level={choice.level}: no purchase has a value there. Choose another level.")
    since = f" in the {choice.window_days} days" if choice.window_days else ""
    why = ", ".join(f"{reason} {rows:,}" for reason, rows in left_out.items() if rows)
    return DataError(
        f"as_of={choice.as_of.date()}: no purchase of a product{since} before that date ({why}); the last row of the "
        f"source is of {source.last_timestamp().date()}. Set as_of or window_days."
    )


def _checked_window(window_days: Any) -> int | None:
    if window_days is None:
        return None
    try:
        if isinstance(window_days, bool) or not 1 <= operator.index(window_days) <= LONGEST_WINDOW_DAYS:
            raise TypeError
    except TypeError:
        raise SettingError(
            f"window_days: expected a whole number of days from 1 to {LONGEST_WINDOW_DAYS}, or none; got "
            f"{window_days!r}."
        ) from None
    return operator.index(window_days)
