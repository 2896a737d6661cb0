"""Made-up people with a known truth for the tests of look-alikes."""

from __future__ import annotations

import numpy as np
import polars as pl

BANDS = ["19-24", "25-34", "35-44", "45-54", "55-64", "65+"]


def people(n: int, seed: int, *, like_seeds: float = 0.0, first_id: int = 1) -> pl.DataFrame:
    """Return people of whom a share is like the seeds: older, with high income, and owners of their homes."""
    draw = np.random.default_rng(seed)
    alike = draw.random(n) < like_seeds
    age = np.where(alike, draw.choice(6, n, p=[0.02, 0.05, 0.13, 0.4, 0.3, 0.1]), draw.integers(0, 6, n))
    income = np.exp(draw.normal(10.0, 0.6, n) + 0.7 * alike).round(2)
    home = np.where(alike & (draw.random(n) < 0.6), "owner", draw.choice(["owner", "renter", "family"], n))
    return pl.DataFrame(
        {
            "customer_id": np.arange(first_id, first_id + n),
            "age": [BANDS[index] for index in age],
            "income": income,
            "home": pl.Series(home).set(pl.Series(draw.random(n) < 0.2), None),
            "noise": draw.choice(list("abcd"), n),
            "alike": alike,
        }
    )


def seeds_and_prospects(seed: int = 0, n: int = 120, m: int = 900) -> tuple[pl.DataFrame, pl.DataFrame, pl.Series]:
    """Return seeds, prospects of whom a fifth is like them, and who these are."""
    seeds = people(n, seed, like_seeds=1.0)
    prospects = people(m, seed + 1000, like_seeds=0.2, first_id=100_000)
    return seeds.drop("alike"), prospects.drop("alike"), prospects["alike"]
