"""Made-up shops: histories whose truth is known."""

from __future__ import annotations

import numpy as np
import polars as pl

from engine.recommend.baskets import Baskets


def shop(
    seed: int,
    customers: int = 200,
    products: int = 30,
    *,
    days: int = 120,
    follows: tuple[set[int], int, float] | None = None,
) -> Baskets:
    """Return customers who differ in how often and how much they buy, and choose products independently.

    ``follows``: who has bought all of the first takes the second into each later basket with this probability.
    """
    rng = np.random.default_rng(seed)
    popular = 1.0 / (np.arange(products) + 5.0)
    popular /= popular.sum()
    rows = []
    for c in range(customers):
        activity = rng.gamma(1.5)
        baskets = 1 + rng.poisson(3 * activity)
        size = 1 + rng.poisson(2 * activity, baskets)
        had: set[int] = set()
        for b, day in enumerate(np.sort(rng.choice(days, baskets, replace=False))):
            items = set(rng.choice(products, min(int(size[b]), products), p=popular).tolist())
            if follows and follows[0] <= had and rng.random() < follows[2]:
                items.add(follows[1])
            had |= items
            rows += [(c, int(day), f"p{i:03d}") for i in items]
    frame = pl.DataFrame(rows, ["customer_id", "day", "product_id"], orient="row")
    frame = frame.with_columns(timestamp=pl.col("day").cast(pl.Date))
    return Baskets.from_frame(frame, basket="day", products=pl.Series([f"p{i:03d}" for i in range(products)]))
