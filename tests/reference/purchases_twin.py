"""The slow obvious twin of purchase histories: one row at a time, plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any


@dataclass(frozen=True)
class Histories:
    """``baskets``: customer to (day, products) in the order of time; ``products``: (id, customers, median price)."""

    baskets: dict[Any, list[tuple[Any, list[str]]]]
    products: list[tuple[str, int, Decimal | None]]
    left_out: dict[str, int]
    purchases: int


def histories(
    rows: Sequence[Mapping[str, Any]],
    *,
    as_of: datetime,
    start: datetime | None = None,
    level: Mapping[str, str | None] | None = None,
    basket: str = "order",
) -> Histories:
    """Return what the checked rows of a lake say; ``level`` maps product ids to the value that counts."""
    left_out: Counter[str] = Counter()
    kept = []
    for row in rows:
        value = row["product_id"] if level is None else level.get(row["product_id"])
        reason = _reason(row, value, as_of, start)
        if reason:
            left_out[reason] += 1
        else:
            kept.append((row, value))

    orders: dict[tuple[Any, Any], list[tuple[datetime, str]]] = {}
    buyers: dict[str, set[Any]] = {}
    prices: dict[str, list[Decimal]] = {}
    for row, value in kept:
        unit = row["order_id"] if basket == "order" else row["timestamp"].date()
        orders.setdefault((row["customer_id"], unit), []).append((row["timestamp"], value))
        buyers.setdefault(value, set()).add(row["customer_id"])
        price = _price(row)
        prices.setdefault(value, []).extend([] if price is None else [price])
    baskets: dict[Any, list[tuple[Any, list[str]]]] = {}
    for customer, unit in sorted(orders, key=lambda key: (key[0], min(orders[key])[0], key[1])):
        bought = orders[customer, unit]
        day = min(moment for moment, _ in bought).date()
        baskets.setdefault(customer, []).append((day, sorted({value for _, value in bought})))
    table = [
        (value, len(who), sorted(prices[value])[(len(prices[value]) - 1) // 2] if prices[value] else None)
        for value, who in buyers.items()
    ]
    table.sort(key=lambda entry: (-entry[1], entry[0]))
    return Histories(baskets, table, dict(left_out), len(kept))


def _reason(row: Mapping[str, Any], value: str | None, as_of: datetime, start: datetime | None) -> str | None:
    if row["timestamp"] >= as_of:
        return "on_or_after_as_of"
    if start is not None and row["timestamp"] < start:
        return "before_window"
    if row["kind"] != "sale":
        return "returns"
    if not row["is_product"]:
        return "non_products"
    if row["product_id"] is None:
        return "no_product"
    return "no_level" if value is None else None


def _price(row: Mapping[str, Any]) -> Decimal | None:
    if row["by_volume"]:
        return row["amount"]
    if row["unit_price"] is not None:
        return row["unit_price"]
    if row["quantity"] <= 0:
        return None
    return (row["amount"] / row["quantity"]).quantize(Decimal("0.0001"), ROUND_HALF_EVEN)
