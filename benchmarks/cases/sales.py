"""Two years of a shop's receipts, in the order of time, and the truth about every customer, from one seed.

Customers are heavy-tailed (lognormal), products follow Zipf's law, an order has one line or more, one line in a
hundred is a return. Everything is drawn in blocks of about a million rows, so that memory does not grow with the number
of rows. The truth is added up from the draws themselves, by arrays indexed with the customer's number: no contestant's
code is in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]

FIRST_DAY = datetime(2023, 1, 1, tzinfo=UTC)
DAYS = 730
AS_OF = FIRST_DAY + timedelta(days=DAYS)
FILES = 8
PRODUCTS = 20_000
MEASURES = ("recency_days", "tenure_days", "frequency", "units", "monetary")
"""Columns of the table that every contestant makes, beside ``customer_id``."""

_BLOCK_ROWS = 1_000_000
_MEAN_LINES = 2.5
_RETURNS = 0.01
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Shop:
    """How much a shop sells.

    Attributes
    ----------
    rows
        Receipt lines.
    customers
        Customers; those who draw no order do not appear.
    seed
        Of every draw.
    """

    rows: int
    customers: int
    seed: int


@dataclass(frozen=True, slots=True)
class Block:
    """Receipt lines; times in microseconds since 1970, prices in cents, returns with a negative quantity."""

    customer: Whole
    order: Whole
    time: Whole
    product: Whole
    quantity: Whole
    cents: Whole


def blocks(shop: Shop) -> Iterator[tuple[int, Block]]:
    """Yield the number of the file and the next lines, oldest first; an order never crosses blocks."""
    who = _generator(shop, 0)
    # Sigma 1.2: the best tenth of the customers place about half of the orders.
    reach = np.cumsum(who.lognormal(0.0, 1.2, shop.customers))
    popular = np.cumsum(1.0 / np.arange(1, PRODUCTS + 1))
    price_cents = np.maximum(5, np.rint(who.lognormal(6.0, 0.9, PRODUCTS))).astype(np.int64)
    in_file = np.diff(np.linspace(0, shop.rows, FILES + 1).astype(np.int64))
    begun = int(FIRST_DAY.timestamp()) * 1_000_000
    order, done = 0, 0
    for file, rows in enumerate(in_file):
        for part in np.diff(np.linspace(0, rows, -(-int(rows) // _BLOCK_ROWS) + 1).astype(np.int64)):
            rng = _generator(shop, 1 + done)
            lines = 1 + rng.poisson(_MEAN_LINES - 1, int(part))
            orders = int(np.searchsorted(np.cumsum(lines), part)) + 1
            span = np.array([done, done + part]) / shop.rows * DAYS * _DAY_US
            times = begun + np.sort(rng.integers(int(span[0]), int(span[1]), orders)) // 1_000_000 * 1_000_000
            customers = 1 + np.searchsorted(reach, rng.random(orders) * reach[-1])
            of = np.repeat(np.arange(orders), lines[:orders])[:part]
            product = np.searchsorted(popular, rng.random(part) * popular[-1])
            quantity = (1 + rng.poisson(0.6, part)) * np.where(rng.random(part) < _RETURNS, -1, 1)
            yield file, Block(customers[of], order + 1 + of, times[of], 1 + product, quantity, price_cents[product])
            order, done = order + orders, done + int(part)


def _generator(shop: Shop, part: int) -> np.random.Generator:
    return np.random.default_rng([shop.seed, part])


class Truth:
    """What the table must say of every customer, added up block by block.

    Parameters
    ----------
    customers
        Largest customer number.
    """

    def __init__(self, customers: int) -> None:
        self._size = customers + 1
        self._first, self._last, self._orders, self._units, self._cents = (
            np.zeros(self._size, np.int64) for _ in range(5)
        )

    def add(self, block: Block) -> None:
        """Add the sale lines of a block; blocks come in the order of time."""
        sale = block.quantity > 0
        customer, time = block.customer[sale], block.time[sale]
        # Of repeated numbers the latest assignment stays: the last line forwards, the first line backwards.
        self._last[customer] = time
        fresh = self._orders[customer] == 0
        self._first[customer[fresh][::-1]] = time[fresh][::-1]
        order = block.order[sale]
        starts = np.concatenate([[True], order[1:] != order[:-1]])
        self._orders += np.bincount(customer[starts], minlength=self._size)
        # Sums below 2**53 are exact in float64.
        units = np.bincount(customer, weights=block.quantity[sale], minlength=self._size)
        cents = np.bincount(customer, weights=block.quantity[sale] * block.cents[sale], minlength=self._size)
        self._units += units.astype(np.int64)
        self._cents += cents.astype(np.int64)

    def table(self) -> dict[str, Whole]:
        """Return ``customer_id`` and the measures of every customer with a sale; units and money in 0.0001."""
        buyers = np.flatnonzero(self._orders)
        as_of = int(AS_OF.timestamp()) * 1_000_000
        return {
            "customer_id": buyers,
            "recency_days": (as_of - self._last[buyers]) // _DAY_US,
            "tenure_days": (as_of - self._first[buyers]) // _DAY_US,
            "frequency": self._orders[buyers],
            "units": self._units[buyers] * 10_000,
            "monetary": self._cents[buyers] * 100,
        }


def facts(table: Mapping[str, Whole]) -> dict[str, Any]:
    """Return the totals of a table of whole numbers, and a checksum over every customer's row.

    Examples
    --------
    >>> column = np.array([2, 1])
    >>> found = facts({name: column for name in ("customer_id", *MEASURES)})
    >>> found["customers"], found["orders"], found["monetary"]
    (2, 3, '0.0003')
    """
    by_customer = np.argsort(table["customer_id"], kind="stable")
    seen = hashlib.sha256()
    for name in ("customer_id", *MEASURES):
        seen.update(np.ascontiguousarray(table[name][by_customer], dtype="<i8").tobytes())
    units, money = (int(table[name].sum()) for name in ("units", "monetary"))
    return {
        "customers": len(by_customer),
        "orders": int(table["frequency"].sum()),
        "units": f"{units // 10_000}.{units % 10_000:04}",
        "monetary": f"{money // 10_000}.{money % 10_000:04}",
        "checksum": seen.hexdigest()[:16],
    }


def write(shop: Shop, folder: Path) -> None:
    """Write the files and, beside them, ``truth.json``."""
    import polars as pl

    files = folder / "files"
    files.mkdir(parents=True)
    truth = Truth(shop.customers)
    waiting: dict[int, list[pl.DataFrame]] = {}
    money = pl.Decimal(18, 4)
    for file, block in blocks(shop):
        for finished in [number for number in waiting if number != file]:
            _write_file(files, finished, waiting.pop(finished))
        truth.add(block)
        waiting.setdefault(file, []).append(
            pl.DataFrame(
                {
                    "customer_id": block.customer,
                    "order_id": block.order,
                    "timestamp": block.time,
                    "product_id": block.product.astype(np.int32),
                    "quantity": block.quantity.astype(np.int32),
                    "cents": block.cents,
                }
            ).select(
                "customer_id",
                "order_id",
                pl.col("timestamp").cast(pl.Datetime("us", "UTC")),
                "product_id",
                "quantity",
                (pl.col("cents") / 100).cast(money).alias("unit_price"),
                (pl.col("cents") * pl.col("quantity") / 100).cast(money).alias("amount"),
            )
        )
    for number, frames in waiting.items():
        _write_file(files, number, frames)
    (folder / "truth.json").write_text(json.dumps(facts(truth.table())), encoding="utf-8")


def _write_file(folder: Path, number: int, frames: list[Any]) -> None:
    import polars as pl

    pl.concat(frames).write_parquet(folder / f"sales-{number}.parquet", row_group_size=500_000)
