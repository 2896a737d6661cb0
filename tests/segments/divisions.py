"""Small runs to compare, written by hand: who is in which segment, and what a customer of it spends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from engine.schema import Word
from engine.segments.division import Division
from engine.segments.segment import Segment

BEFORE = {1: "a", 2: "a", 3: "a", 4: "a", 5: "b", 6: "b", 7: "b", 8: "c", 9: "c"}
AFTER = {1: "x", 2: "x", 3: "x", 10: "x", 4: "y", 5: "y", 6: "y", 7: "z", 8: "z"}
SPENT = {"a": 40.0, "b": 20.0, "c": 5.0, "x": 50.0, "y": 20.0, "z": 6.0}


def division(segment_of: Mapping[Any, str], *, spent: Mapping[str, float] = SPENT, **more: Any) -> Division:
    """Return a run whose customers are in these segments; segments rank by their letter."""
    sizes = {key: list(segment_of.values()).count(key) for key in sorted(set(segment_of.values()))}
    total = sum(sizes[key] * spent.get(key, 1.0) for key in sizes)
    profile = pl.DataFrame(
        [
            {
                "segment_id": key,
                "name": f"{key.upper()} en",
                "customers": size,
                "share_customers": size / len(segment_of),
                "monetary_mean": spent.get(key, 1.0),
                "share_monetary": size * spent.get(key, 1.0) / total,
                "rank": rank,
            }
            for rank, (key, size) in enumerate(sizes.items(), start=1)
        ]
    )
    segments = tuple(
        Segment(
            segment_id=row["segment_id"],
            name=Word(row["name"], f"{row['segment_id'].upper()} es"),
            description=Word("", ""),
            action=Word("", ""),
            rank=row["rank"],
            customers=row["customers"],
            share_customers=row["share_customers"],
            share_monetary=row["share_monetary"],
            means={},
            medians={},
            drivers=(),
        )
        for row in profile.iter_rows(named=True)
    )
    ids = pl.DataFrame({"customer_id": list(segment_of), "segment_id": list(segment_of.values())})
    return Division(profile, ids, segments[::-1], **more)
