"""What one customer has bought, order by order, from the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from engine.schema import RETURN, SALE

if TYPE_CHECKING:
    from engine.lake.table import Lake

LAST_ORDERS = 20
"""Orders that are listed."""

READ = ("order_id", "timestamp", "amount", "kind")


def orders_of(lake: Lake, customer_id: int | str) -> pl.DataFrame:
    """Return a customer's orders, the last first.

    Parameters
    ----------
    lake
        An open :class:`engine.lake.table.Lake`.
    customer_id
        Of the type that the lake has; nobody has the id of another type.

    Returns
    -------
    pl.DataFrame
        ``order_id, timestamp`` (of its first row), ``lines``, ``amount`` (sold; null where the order holds returns
        only) and ``returned`` (its size, 0 where nothing came back).
    """
    return _orders(lake.customer(customer_id, READ))


def by_month(orders: pl.DataFrame) -> pl.DataFrame:
    """Return how many orders fell in each month and what they came to; months between without any are 0.

    Parameters
    ----------
    orders
        Of :func:`orders_of`, at least one.

    Returns
    -------
    pl.DataFrame
        ``month`` (its first day), ``orders``, ``amount``; ascending, without gaps.
    """
    counted = (
        orders.group_by(pl.col("timestamp").dt.date().dt.truncate("1mo").alias("month"))
        .agg(pl.len().alias("orders"), pl.col("amount").sum())
        .sort("month")
    )
    first, last = counted["month"].min(), counted["month"].max()
    months = pl.select(pl.date_range(first, last, "1mo").alias("month"))  # type: ignore[arg-type]
    return months.join(counted, on="month", how="left", maintain_order="left").with_columns(
        pl.col("orders").fill_null(0), pl.col("amount").fill_null(0)
    )


def _orders(rows: pl.DataFrame) -> pl.DataFrame:
    sold, returned = pl.col("kind") == SALE, pl.col("kind") == RETURN
    amount = pl.col("amount").filter(sold)
    return (
        rows.group_by("order_id")
        .agg(
            pl.col("timestamp").min(),
            pl.len().alias("lines"),
            pl.when(sold.any()).then(amount.sum()).alias("amount"),
            pl.col("amount").filter(returned).abs().sum().alias("returned"),
        )
        .sort("timestamp", "order_id", descending=True, nulls_last=True)
    )
