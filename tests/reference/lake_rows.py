"""The slow obvious twin of the lake's checks: one row at a time, plain Python, plain csv."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from pathlib import Path

CENT_OF_CENT = Decimal("0.0001")
LARGEST = Decimal(10) ** 14


@dataclass(frozen=True)
class Row:
    """A kept row, or a rejected one with its reason."""

    number: int
    reason: str | None
    customer_id: str | None = None
    timestamp: datetime | None = None
    order_id: str | None = None
    quantity: Decimal | None = None
    amount: Decimal | None = None
    kind: str | None = None


def read_rows(path: Path, date_format: str, *, zero_price: str = "keep") -> list[Row]:
    """Read a comma separated file with the columns customer_id, timestamp, order_id, quantity, unit_price."""
    with path.open(newline="", encoding="utf-8") as stream:
        records = list(csv.reader(stream))
    header = records[0]
    rows = []
    for number, fields in enumerate(records[1:], start=1):
        if not fields:
            continue
        rows.append(_row(number, header, fields, date_format, zero_price))
    return rows


def number(text: str) -> Decimal | str | None:
    """Return the decimal, None for no value, or the reason why it is none."""
    text = text.strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        return "not_a_number"
    if math.isnan(value):
        return "not_a_number"
    if math.isinf(value):
        return "infinite_number"
    try:
        exact = Decimal(text).quantize(CENT_OF_CENT, rounding=ROUND_HALF_EVEN)
    except InvalidOperation:
        return "number_too_large"
    return exact if abs(exact) < LARGEST else "number_too_large"


def _row(count: int, header: list[str], fields: list[str], date_format: str, zero_price: str) -> Row:
    if len(fields) != len(header):
        return Row(count, "ragged_row")
    values = dict(zip(header, (field.strip() for field in fields), strict=True))
    if not values["customer_id"]:
        return Row(count, "missing_customer_id")
    if not values["timestamp"]:
        return Row(count, "missing_timestamp")
    try:
        time = datetime.strptime(values["timestamp"], date_format).replace(tzinfo=UTC)
    except ValueError:
        return Row(count, "not_a_date")
    quantity, price = number(values["quantity"]), number(values["unit_price"])
    for reason in ("not_a_number", "infinite_number", "number_too_large"):
        if reason in (quantity, price):
            return Row(count, reason)
    if quantity is None:
        return Row(count, "missing_quantity")
    if price is None:
        return Row(count, "missing_amount")
    assert isinstance(quantity, Decimal)
    assert isinstance(price, Decimal)
    amount = (quantity * price).quantize(CENT_OF_CENT, rounding=ROUND_HALF_EVEN)
    if abs(amount) >= LARGEST:
        return Row(count, "number_too_large")
    if price == 0 and zero_price == "reject":
        return Row(count, "zero_price")
    return Row(
        count,
        None,
        values["customer_id"],
        time,
        values["order_id"] or values["timestamp"][:10],
        quantity,
        amount,
        "return" if quantity < 0 or amount < 0 else "sale",
    )
