"""A recommender for the customers of a small world, and the tables that lie beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from engine.neighbours.folder import read_manifest, write_manifest
from engine.recommend.cross_evidence import COLUMNS
from engine.recommend.next_products import next_products
from engine.recommend.recommender import CustomerRecommender
from engine.recommend.recommender_folder import FORMAT, REMEDY, VERSION
from engine.recommend.synthetic import habits
from engine.segments.model import SegmentModel
from engine.serving.opening import Opening

PRODUCTS = 60
AS_OF = datetime(1971, 1, 5, tzinfo=UTC)


def recommender_of(
    ids: list[Any], model: SegmentModel | None, *, seed: int = 0, popular: str = "p0000"
) -> CustomerRecommender:
    """Return a recommender for made habits of some customers, with the segments of a model where one is given.

    ``popular``: id of a product that most have.
    """
    made = habits(customers=len(ids), products=PRODUCTS, seed=seed, baskets=12)
    # Folders have customers bucket by bucket.
    order = np.random.default_rng(seed).permutation(len(ids))
    products = made.products.replace("p0000", popular)
    history = replace(made, customer_ids=pl.Series("customer_id", ids), products=products).take(order)
    about = pl.DataFrame(
        {
            "product_id": [popular, *(f"p{i:04d}" for i in range(1, PRODUCTS))],
            "name": [f"Café <{i}>" for i in range(PRODUCTS)],
        }
    )
    assignments = segments = None
    if model is not None:
        own = [one.segment_id for one in model.segments]
        assignments = pl.DataFrame({"customer_id": ids, "segment_id": [own[i % len(own)] for i in range(len(ids))]})
        segments = pl.DataFrame(
            {
                "segment_id": own,
                "name_en": [one.name.en for one in model.segments],
                "name_es": [one.name.es for one in model.segments],
            }
        )
    return CustomerRecommender.fit(history, as_of=AS_OF, products=about, assignments=assignments, segments=segments)


RULES = [
    # segment, X, X2, Y, customers of X without Y, of them with Y later, lift
    (2, "p0001", None, "p0007", 10, 4, 2.5),
    (2, "p0003", None, "p0002", 8, 2, 1.75),
    (2, "p0001", "p0003", "p0009", 4, 3, 3.25),
    (0, "p0004", None, "p0001", 12, 3, 1.5),
]
"""Cross-selling as a run would have found it, in its order; segment 1 has none."""

WHY_NO_RULES = {"en": "Only 3 products <have> buyers.", "es": "Solo 3 productos <tienen> compradores."}
"""Why segment 1 has none, as a run would have said."""


def tables_of(recommender: CustomerRecommender) -> dict[str, pl.DataFrame]:
    """Return what `cartera recommend` leaves beside a recommender, with ids in place of the segments' numbers."""
    ids = recommender.segments["segment_id"].to_list()
    rules = []
    for segment, x, x2, y, customers, went_on, lift in RULES:
        told = {"product_x": x, "product_x2": x2, "product_y": y, "customers_open": customers, "customers_xy": went_on}
        told |= {"confidence": went_on / customers, "lift": lift, "lift_low": lift / 2, "lift_high": lift * 2}
        told |= {"segment": segment, "customers_to_offer": customers - went_on}
        rules.append({name: told.get(name) for name in COLUMNS})
    schema = {name: kind for name, (kind, _) in COLUMNS.items()}
    found = {
        "cross_sell": pl.DataFrame(rules, schema=schema),
        "next_products": next_products(recommender.history, recommender.segment_of, 180, least_customers=1),
    }
    return {
        name: table.select(
            pl.col("segment").replace_strict(dict(enumerate(ids)), return_dtype=pl.String).alias("segment_id"),
            pl.exclude("segment"),
        )
        for name, table in found.items()
    }


def write_recommender(folder: Path, recommender: CustomerRecommender, *, tables: bool = True) -> Path:
    """Write it as `cartera recommend` does."""
    segment_ids = recommender.segments["segment_id"].to_list()
    facts: dict[str, Any] = {"why_nothing": {"cross_sell": dict.fromkeys(segment_ids[1:2], WHY_NO_RULES)}}
    facts |= {"next_products_from": "1970-07-09", "next_products_days": 180}
    replace(recommender, facts=facts if tables else {}).save(folder)
    if tables:
        body = read_manifest(folder, format=FORMAT, version=VERSION, name="recommender", remedy=REMEDY)
        for name, table in tables_of(recommender).items():
            table.write_parquet(folder / f"{name}.parquet")
        write_manifest(folder, format=FORMAT, version=VERSION, body=body)
    return folder


def offers_of(bundle: Path, folder: Path) -> Callable[[SegmentModel], Any]:
    """Return what opens a recommender for a model, as a server does."""
    return Opening(bundle=bundle, recommender=folder).offers
