"""Canonical transactions for the tests of features: made here, without any of the code that reads files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl


class RowsInMemory:
    """A source of transactions in buckets."""

    version = 0

    def __init__(self, rows: pl.DataFrame, buckets: int = 1) -> None:
        self.rows = rows.sort("customer_id", "timestamp", "order_id")
        self.buckets = buckets

    def bucket(self, number: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        mine = self.rows.filter(pl.col("customer_id") % self.buckets == number)
        return mine if columns is None else mine.select(columns)

    def last_timestamp(self) -> datetime:
        return self.rows["timestamp"].max()


def make_transactions(seed: int, customers: int = 30, rows: int = 400) -> pl.DataFrame:
    """Return random canonical transactions: sales and returns, by piece and by volume, over two years."""
    draw = random.Random(seed)
    start = datetime(2022, 1, 1, tzinfo=UTC)
    records = []
    for _ in range(rows):
        customer = draw.randint(1, customers)
        day = draw.randint(0, 729)
        kind = "return" if draw.random() < 0.1 else "sale"
        quantity = Decimal(draw.randint(0, 9)) * (-1 if kind == "return" else 1)
        records.append(
            {
                "customer_id": customer,
                "order_id": f"{customer}-{day}-{draw.randint(0, 1)}",
                "timestamp": start + timedelta(days=day, seconds=draw.randint(0, 86_399)),
                "product_id": f"p{draw.randint(1, 20)}",
                "quantity": quantity,
                "unit_price": None,
                "amount": Decimal(draw.randint(0, 99_999)) / 100 * (-1 if kind == "return" else 1),
                "kind": kind,
                "is_product": True,
                "by_volume": draw.random() < 0.2,
            }
        )
    money = pl.Decimal(18, 4)
    schema = {"customer_id": pl.Int64, "timestamp": pl.Datetime("us", "UTC"), "unit_price": money}
    return pl.DataFrame(records, schema_overrides={**schema, "quantity": money, "amount": money})
