"""The profile as its definition reads: one Python list per cluster, exact fractions, nothing clever."""

from __future__ import annotations

import statistics
from fractions import Fraction
from typing import Any

import polars as pl


def exact_mean(values: list[float]) -> float | None:
    if not values:
        return None
    return float(sum(Fraction(value) for value in values)) / len(values)


def profile_rows(customers: pl.DataFrame, labels: list[int], k: int, measures: list[str]) -> list[dict[str, Any]]:
    everything = customers.to_dicts()
    total = sum(Fraction(one["monetary"]) for one in everything if one["monetary"] is not None)
    rows = []
    for cluster in range(k):
        members = [one for one, label in zip(everything, labels, strict=True) if label == cluster]
        billed = sum(Fraction(one["monetary"]) for one in members if one["monetary"] is not None)
        row: dict[str, Any] = {
            "cluster": cluster,
            "customers": len(members),
            "share_customers": len(members) / len(everything),
            "share_monetary": float(billed / total),
        }
        for measure in measures:
            known = [float(one[measure]) for one in members if one[measure] is not None]
            row[f"{measure}_mean"] = exact_mean(known)
            row[f"{measure}_median"] = statistics.median(known) if known else None
            row[f"{measure}_missing"] = len(members) - len(known)
        rows.append(row)
    return rows
