"""A small shop for the tests of ``cartera recommend``: customers with favourites, products with categories."""

from __future__ import annotations

import json
import random
from datetime import date, timedelta
from pathlib import Path

import polars as pl

import engine
from engine.lake.ingest import ingest
from engine.lake.recipe import Recipe

CUSTOMERS, PRODUCTS = 120, 24
FAVOURITES = PRODUCTS - 4
CHEAP_GRILL, DEAR_GRILL, TEA, LEMON = range(FAVOURITES, PRODUCTS)


def shop_files(folder: Path, *, seed: int = 0) -> Path:
    """Write ``sales.csv`` and ``products.csv`` to a folder.

    Even customers buy often, odd ones rarely. Everybody buys one grill, even customers mostly the dear one. Of three
    customers one takes to tea, and all of these go on to lemons.
    """
    draw = random.Random(seed)
    rows = []
    for customer in range(1, CUSTOMERS + 1):
        often = customer % 2 == 0
        own = draw.sample(range(FAVOURITES), 4)
        orders = draw.randint(7, 12) if often else draw.randint(4, 6)
        days = sorted(draw.sample(range(300), orders))
        grill = DEAR_GRILL if (draw.random() < 0.85) == often else CHEAP_GRILL
        for order, day in enumerate(days):
            basket = {*draw.sample(own, draw.randint(1, 4)), draw.randrange(FAVOURITES)}
            basket |= {grill} if order == 1 else set()
            if customer % 3 == 0:
                basket |= {TEA} if order == 1 else {LEMON} if order > 1 else set()
            for product in sorted(basket):
                price = {CHEAP_GRILL: 50.0, DEAR_GRILL: 80.0}.get(product, 2.0 + product % 7)
                when = date(2024, 1, 1) + timedelta(days=day)
                rows.append((customer, f"o{customer}-{order}", when, f"p{product:02d}", 1, price))
    names = ("customer_id", "order_id", "timestamp", "product_id", "quantity", "unit_price")
    pl.DataFrame(rows, schema=names, orient="row").write_csv(folder / "sales.csv")
    kinds = [("BREAD", "FRUIT")[product % 2] for product in range(FAVOURITES)] + ["GRILLS"] * 2 + ["TEA"] * 2
    pl.DataFrame(
        {
            "code": [f"p{product:02d}" for product in range(PRODUCTS)],
            "name": [f"Café {product}" for product in range(PRODUCTS)],
            "category": kinds,
        }
    ).write_csv(folder / "products.csv")
    return folder / "sales.csv"


PRODUCTS_TABLE = {"path": "products.csv", "key": "code", "columns": ["name", "category"]}


def shop_lake(folder: Path) -> engine.Lake:
    """Return a lake of the shop in ``folder/lake``."""
    shop_files(folder)
    recipe = {"path": str(folder / "sales.csv"), "products": {**PRODUCTS_TABLE, "path": str(folder / "products.csv")}}
    ingest(Recipe.from_mapping({"name": "shop", **recipe}), folder / "lake", rejects=folder / "rejects.parquet")
    return engine.Lake.open(folder / "lake")


def shop_run(folder: Path) -> engine.Segmentation:
    """Write to ``folder/run`` what `cartera segment` leaves of the shop's lake, in two segments."""
    found = engine.segment(engine.Lake.open(folder / "lake"), k=2)
    found.save(folder / "run" / "bundle")
    found.profile.write_csv(folder / "run" / "profile.csv")
    found.assignments.write_parquet(folder / "run" / "assignments.parquet")
    (folder / "run" / "summary.json").write_text(json.dumps(found.summary))
    return found
