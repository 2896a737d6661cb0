"""Basket and cadence of one customer at a time, in plain Python."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from statistics import correlation, median
from typing import Any

Row = dict[str, Any]


def customer_rows(rows: list[Row], as_of: datetime, window_days: int | None) -> dict[int, Row]:
    """Return the features of every customer with a sale in the window before ``as_of``."""
    table = {}
    for customer in sorted({row["customer_id"] for row in rows}):
        known = [row for row in rows if row["customer_id"] == customer and row["timestamp"] < as_of]
        inside = known
        if window_days is not None:
            inside = [row for row in known if row["timestamp"] >= as_of - timedelta(days=window_days)]
        sales = [row for row in inside if row["kind"] == "sale"]
        returns = [row for row in inside if row["kind"] == "return"]
        if sales:
            history = [row for row in known if row["kind"] == "sale"]
            table[customer] = basket(sales, returns) | cadence(sales) | {"trend_quarter": trend(history, as_of)}
    return table


def basket(sales: list[Row], returns: list[Row]) -> Row:
    orders = {row["order_id"] for row in sales}
    named = [row for row in sales if row["is_product"] and row["product_id"] is not None]
    in_order = [len({row["product_id"] for row in named if row["order_id"] == order}) for order in orders]
    sold, returned = total(sales), total([{"amount": abs(row["amount"])} for row in returns])
    return {
        "average_ticket": float(sold) / len(orders),
        "basket_units": float(sum(Decimal(1) if row["by_volume"] else row["quantity"] for row in sales)) / len(orders),
        "basket_products": sum(in_order) / len(orders) if named else None,
        "distinct_products": len({row["product_id"] for row in named}) if named else None,
        "return_rate": 0.0 if not returned else 1.0 if returned >= sold else float(returned) / float(sold),
    }


def cadence(sales: list[Row]) -> Row:
    days = sorted({row["timestamp"].date() for row in sales})
    gaps = [(later - earlier).days for earlier, later in pairwise(days)]
    return {"gap_days_median": float(median(gaps)) if gaps else None, "active_span_days": (days[-1] - days[0]).days}


def trend(sales: list[Row], as_of: datetime) -> float:
    ages = [(as_of - row["timestamp"], row) for row in sales]
    last = total([row for age, row in ages if age <= timedelta(days=91)])
    before = total([row for age, row in ages if timedelta(days=91) < age <= timedelta(days=182)])
    return float(last - before) / float(last + before) if last + before else 0.0


def total(rows: list[Row]) -> Decimal:
    return sum((row["amount"] for row in rows), Decimal(0))


def correlations(columns: list[list[float]]) -> dict[tuple[int, int], float]:
    """Return Pearson's correlation of each pair of columns."""
    places = range(len(columns))
    return {(i, j): correlation(columns[i], columns[j]) for i in places for j in places if i < j}
