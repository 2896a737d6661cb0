"""Made histories with known habits, for examples and tests."""

from __future__ import annotations

import numpy as np
import polars as pl

from engine.recommend.baskets import Baskets


def habits(*, customers: int, products: int, seed: int, favourites: int = 6, baskets: int = 8) -> Baskets:
    """Return customers who buy some favourites again and again, and now and then something popular.

    Parameters
    ----------
    customers, products
        How many.
    seed
        Same seed, same histories.
    favourites
        Products that a customer buys in about every second basket.
    baskets
        About how many baskets a customer has, at least two.
    """
    rng = np.random.default_rng(seed)
    share = 1.0 / np.arange(1, products + 1)
    share /= share.sum()
    customer, order, day, product = [], [], [], []
    for c in range(customers):
        own = rng.choice(products, min(favourites, products), replace=False, p=share)
        for b, when in enumerate(np.sort(rng.choice(365, max(2, rng.poisson(baskets)), replace=False))):
            bought = {*own[rng.random(len(own)) < 0.5].tolist(), int(rng.choice(products, p=share))}
            customer += [c] * len(bought)
            order += [f"{c}-{b}"] * len(bought)
            day += [int(when)] * len(bought)
            product += [f"p{i:04d}" for i in sorted(bought)]
    rows = {
        "customer_id": customer,
        "order_id": order,
        "timestamp": pl.Series(day).cast(pl.Date),
        "product_id": product,
    }
    return Baskets.from_frame(pl.DataFrame(rows))
