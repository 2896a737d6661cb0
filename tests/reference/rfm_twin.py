"""Recency, tenure, frequency, units and monetary of one customer at a time, in plain Python."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any


def customer_rows(rows: list[dict[str, Any]], as_of: datetime, window_days: int | None) -> dict[int, dict[str, Any]]:
    """Return the features of every customer with a sale in the window before ``as_of``."""
    table = {}
    for customer in sorted({row["customer_id"] for row in rows}):
        sales = [r for r in rows if r["customer_id"] == customer and r["kind"] == "sale" and r["timestamp"] < as_of]
        inside = sales
        if window_days is not None:
            inside = [r for r in sales if r["timestamp"] >= as_of - timedelta(days=window_days)]
        if not inside:
            continue
        table[customer] = {
            "recency_days": (as_of - max(r["timestamp"] for r in inside)).days,
            "tenure_days": (as_of - min(r["timestamp"] for r in sales)).days,
            "frequency": len({r["order_id"] for r in inside}),
            "units": float(sum((Decimal(1) if r["by_volume"] else r["quantity"] for r in inside), Decimal(0))),
            "monetary": float(sum((r["amount"] for r in inside), Decimal(0))),
        }
    return table
