"""Who to offer a product to: the customers for whom it scores best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from engine.errors import DataError, SettingError
from engine.recommend.by_code import closest, product_key
from engine.recommend.reason_words import with_text
from engine.recommend.reasons import explained
from engine.schema import check_language

if TYPE_CHECKING:
    from engine.recommend.recommender import CustomerRecommender

PART_CUSTOMERS = 100_000
"""Customers that are scored together: their histories, and a row each."""


def customers_for(
    recommender: CustomerRecommender,
    product_id: Any,
    *,
    segment: int | None,
    most: int,
    only: str | None,
    language: str,
) -> pl.DataFrame:
    """Return the customers for whom a product scores best.

    See :meth:`engine.recommend.recommender.CustomerRecommender.customers_for`; ``segment`` is a row of the segments.

    The product is ranked alone, as if all others were excluded: so it is scored for everybody who may be offered it,
    also where others would fill the list.
    """
    check_language(language)
    if isinstance(most, bool) or not isinstance(most, int | np.integer) or most < 1:
        raise SettingError(f"most: expected a number of customers, at least 1; got {most!r}.")
    code = _code(recommender, product_id)
    history, model, day = recommender.history, recommender.model, recommender.day
    # Who has no basket has a score on another scale, in which nothing of the customer is.
    asked = np.diff(history.basket_start) > 0
    if segment is not None:
        asked &= recommender.segment_of == segment
    others = np.arange(history.m) != code
    known = recommender.segments.height > 0
    everybody = np.flatnonzero(asked)
    widely = _widely_bought(recommender, code)
    best: pl.DataFrame | None = None
    # An empty part too: what is no kind of `only` is told even where nobody is asked, and a table has its columns.
    for begin in range(0, max(len(everybody), 1), PART_CUSTOMERS):
        rows = everybody[begin : begin + PART_CUSTOMERS]
        own, numbers = history.take(rows), recommender.segment_of[rows] if known else None
        ranked = model.rank(own, 1, day=day, segments=numbers, only=only, excluded=others)
        part = explained(model, own, ranked, day=day, segments=numbers)
        if not widely:
            # The reason where there is no other: of a product that few buy it says that nothing speaks for it.
            part = part.filter(pl.col("reason") != "popular")
        best = part if best is None else best.vstack(part)
        # Of equal scores in the order of the history.
        best = best.sort("score", descending=True, maintain_order=True).head(most)
    assert best is not None
    table = with_text(best, recommender.products.select("product_id", "name"), language=language)
    first = ["customer_id", "score", "reason", "why"]
    return table.select(*first, pl.exclude(*first, "rank", "product_id"))


def _widely_bought(recommender: CustomerRecommender, code: int) -> bool:
    """Return whether a product is in vogue, or among those that all customers or a segment buy most."""
    known = recommender.model.knowledge
    vogue = known.popularity.market(np.array([recommender.day])).popular
    return bool((vogue == code).any() or (known.groups.popular == code).any())


def _code(recommender: CustomerRecommender, product_id: Any) -> int:
    """Return the code of a product that may be offered."""
    key = product_key(product_id)
    ids = recommender.products["product_id"]
    code = ids.index_of(key)
    if code is None:
        raise DataError(f"product_id: {key!r} is no product that anybody bought{closest(key, recommender.products)}.")
    if recommender.excluded[code]:
        raise DataError(f"product_id: {key!r} is never offered, for it was excluded at the fit. Fit without that.")
    return code
