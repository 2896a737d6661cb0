"""One customer at a time is told what the batch tells."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from engine.recommend import kernels
from engine.recommend.next_basket import NextBasket
from engine.recommend.recommender import CustomerRecommender
from engine.recommend.synthetic import habits


@pytest.mark.parametrize("language", ["en", "es"])
def test_one_by_one_says_what_the_batch_says(language: str) -> None:
    """Where products share names, and habits were just kept."""
    history = habits(customers=300, products=40, seed=3)
    about = pl.DataFrame({"product_id": history.products}).with_columns(name=pl.lit("SUGAR"))
    as_of = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=int(history.day.max()) + 1)
    recommender = CustomerRecommender.fit(history, as_of=as_of, products=about)
    # Only what goes along counts, so that it is told of.
    blend = recommender.model.blend
    weights = np.zeros(len(blend.weights))
    weights[kernels.SIGNALS.index("along")] = 1.0
    loud = blend._replace(weights=weights, pairs=np.zeros_like(blend.pairs), centre=blend.centre - 5.0)
    one_sided = replace(recommender, model=NextBasket.fitted(recommender.model.knowledge, loud))
    ids = recommender.history.customer_ids.to_list()
    order = pl.DataFrame({"customer_id": ids, "row": range(len(ids))})
    of_it = {"en": "another kind of it", "es": "otra variedad de lo mismo"}[language]
    for fitted, only, is_told in ((recommender, None, ", last |; la última, "), (one_sided, "new", of_it)):
        batch = (
            fitted.recommend(None, 8, only=only, language=language).join(order, on="customer_id").sort("row", "rank")
        )
        one = fitted.one_by_one
        alone = [
            offer["why"] for row in range(len(ids)) for offer in one.customer(row, 8, only=only, language=language)
        ]
        assert alone == batch["why"].to_list()
        assert batch["why"].str.contains(is_told).any()
        just_kept = pl.col("days_since_bought") * 4 < pl.col("interval_days")
        told = batch.select(
            (pl.col("why").str.contains(", last |; la última, "))
            == ((pl.col("reason") == "habit") & just_kept).fill_null(False),
            pl.col("why").str.contains(of_it).alias("kind") == pl.col("with_product").is_not_null(),
        )
        assert all(column.all() for column in told)
        assert not batch["why"].str.contains("SUGAR").any()
