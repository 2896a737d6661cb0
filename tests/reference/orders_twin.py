"""The slow, obvious twin of a customer's history: one row at a time, in plain Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any


def orders(rows: Iterable[Mapping[str, Any]], customer_id: str) -> list[tuple[Any, ...]]:
    """Return ``order_id, first time, lines, amount sold or None, amount returned``, the last order first."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        if row["customer_id"] != customer_id:
            continue
        when = datetime.fromisoformat(row["timestamp"])
        amount = round(row["quantity"] * row["unit_price"], 4)
        order = found.setdefault(row["order_id"], [when, 0, None, 0.0])
        order[0] = min(order[0], when)
        order[1] += 1
        if amount < 0:
            order[3] += -amount
        else:
            order[2] = (order[2] or 0.0) + amount
    listed = [(order_id, *order) for order_id, order in found.items()]
    return sorted(listed, key=lambda order: (order[1], order[0]), reverse=True)


def months(listed: Iterable[tuple[Any, ...]]) -> list[tuple[date, int, float]]:
    """Return month, orders and amount from the first month to the last, with empty ones between."""
    counts: dict[tuple[int, int], list[float]] = {}
    for _, when, _, amount, _ in listed:
        count = counts.setdefault((when.year, when.month), [0, 0.0])
        count[0] += 1
        count[1] += amount
    year, month = min(counts)
    result = []
    while (year, month) <= max(counts):
        number, amount = counts.get((year, month), [0, 0.0])
        result.append((date(year, month, 1), int(number), amount))
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return result
