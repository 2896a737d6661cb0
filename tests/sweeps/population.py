"""Customer tables for the tests of sweeps: groups that can be told apart, made here."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl

from engine.features.matrix import FeatureSet
from engine.features.table import CustomerTable

COLUMNS = ("recency_days", "frequency", "monetary")


def customers(seed: int = 0, n: int = 240, groups: int = 3) -> CustomerTable:
    """Return n customers in well separated groups."""
    rng = np.random.default_rng(seed)
    group = rng.integers(groups, size=n)
    frame = pl.DataFrame(
        {
            "customer_id": np.arange(n),
            "recency_days": np.exp(1 + 1.5 * group + 0.1 * rng.normal(size=n)),
            "frequency": np.exp(6 - 1.5 * group + 0.1 * rng.normal(size=n)),
            "monetary": np.exp(8 - 2 * group + 0.1 * rng.normal(size=n)),
        }
    )
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    return CustomerTable(
        frame=frame,
        as_of=moment,
        window_days=None,
        first_sale=moment,
        last_sale=moment,
        buckets=8,
        row_counts=pl.Series([1] * n),
        left_out={},
        rows_left_out={},
    )


SETS = {"rfm": FeatureSet(COLUMNS), "fm": FeatureSet(("frequency", "monetary"))}
