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
from engine.recommend.cross_sell import cross_sell
from engine.recommend.next_products import next_products
from engine.recommend.recommender import CustomerRecommender
from engine.recommend.recommender_folder import FORMAT, REMEDY, VERSION
from engine.recommend.synthetic import habits
from engine.segments.model import SegmentModel
from engine.serving.opening import Opening

PRODUCTS = 60
AS_OF = datetime(1971, 1, 5, tzinfo=UTC)


def recommender_of(ids: list[Any], model: SegmentModel | None, *, seed: int = 0) -> CustomerRecommender:
    """Return a recommender for made habits of some customers, with the segments of a model where one is given."""
    made = habits(customers=len(ids), products=PRODUCTS, seed=seed, baskets=12)
    # Folders have customers bucket by bucket.
    order = np.random.default_rng(seed).permutation(len(ids))
    history = replace(made, customer_ids=pl.Series("customer_id", ids)).take(order)
    about = pl.DataFrame(
        {"product_id": [f"p{i:04d}" for i in range(PRODUCTS)], "name": [f"Café <{i}>" for i in range(PRODUCTS)]}
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


def tables_of(recommender: CustomerRecommender) -> dict[str, pl.DataFrame]:
    """Return what `cartera recommend` leaves beside a recommender, with ids in place of the segments' numbers."""
    ids = dict(enumerate(recommender.segments["segment_id"]))
    of = recommender.segment_of
    found = {
        "cross_sell": cross_sell(recommender.history, of, least_customers=3, false_share=0.9).rules,
        "next_products": next_products(recommender.history, of, 180, least_customers=1),
    }
    return {
        name: table.with_columns(pl.col("segment").replace_strict(ids, return_dtype=pl.String).alias("segment_id"))
        .drop("segment")
        .select("segment_id", pl.exclude("segment_id"))
        for name, table in found.items()
    }


def write_recommender(folder: Path, recommender: CustomerRecommender, *, tables: bool = True) -> Path:
    """Write it as `cartera recommend` does."""
    recommender.save(folder)
    if tables:
        body = read_manifest(folder, format=FORMAT, version=VERSION, name="recommender", remedy=REMEDY)
        for name, table in tables_of(recommender).items():
            table.write_parquet(folder / f"{name}.parquet")
        write_manifest(folder, format=FORMAT, version=VERSION, body=body)
    return folder


def offers_of(bundle: Path, folder: Path) -> Callable[[SegmentModel], Any]:
    """Return what opens a recommender for a model, as a server does."""
    return Opening(bundle=bundle, recommender=folder).offers
