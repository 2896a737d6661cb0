"""Who recommends products to very many customers."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.case import Task

ONE_BY_ONE = 200
"""Customers that are asked for one after the other."""

EXPLAINED = 50_000
"""Customers that get reasons."""


def cartera(given: Any, task: Task) -> Any:
    """Fit, rank everybody with reasons, then some one at a time."""
    import polars as pl

    from benchmarks.cases.offers import PRODUCTS, K
    from engine.recommend.baskets import Baskets
    from engine.recommend.recommender import CustomerRecommender

    n, m = len(given["basket_start"]) - 1, PRODUCTS[task.size]
    products = pl.Series("product_id", np.arange(m)).cast(pl.String)
    history = Baskets(pl.Series("customer_id", np.arange(n)), products, **given)
    begun = time.perf_counter()
    recommender = CustomerRecommender.fit(history)
    fitted = time.perf_counter()
    model = recommender.model
    codes = model.recommend(history, K, day=recommender.day)
    ranked = time.perf_counter()
    # With reasons, as a table: some, as they would be written to a file part after part.
    part = history.customer_ids.head(EXPLAINED)
    recommender.recommend(part, K)
    ended = time.perf_counter()
    recommender.ready()
    single = []
    for customer in np.linspace(0, n - 1, ONE_BY_ONE).astype(int).tolist():
        start = time.perf_counter()
        recommender.for_customer(customer, k=K)
        single.append(time.perf_counter() - start)
    facts = {
        "fit_seconds": round(fitted - begun, 2),
        "rank_customers_per_second": round(n / (ranked - fitted)),
        "explained_customers_per_second": round(len(part) / (ended - ranked)),
        "one_ms": round(float(np.median(single)) * 1e3, 3),
    }
    return facts, codes


def als(given: Any, task: Task) -> Any:
    """Implicit's alternating least squares on the counts of purchases, repeats among the answers."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    from benchmarks.cases.offers import PRODUCTS, K

    n, m = len(given["basket_start"]) - 1, PRODUCTS[task.size]
    begun = time.perf_counter()
    start = np.asarray(given["item_start"])[np.asarray(given["basket_start"])]
    counts = csr_matrix((np.ones(len(given["item"]), np.float32), np.asarray(given["item"]), start), shape=(n, m))
    counts.sum_duplicates()
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=64, iterations=15, num_threads=task.threads, random_state=0, use_gpu=False
        )
        model.fit(counts, show_progress=False)
        fitted = time.perf_counter()
        codes, _ = model.recommend(np.arange(n), counts, N=K, filter_already_liked_items=False)
    ranked = time.perf_counter()
    facts = {"fit_seconds": round(fitted - begun, 2), "rank_customers_per_second": round(n / (ranked - fitted))}
    return facts, codes
