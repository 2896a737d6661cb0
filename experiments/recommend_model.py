"""The recommender of ``cartera recommend``: fitted on a history as the settings say, also to be judged on the past."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import SettingError
from experiments.recommend_people import ID, Segmented

if TYPE_CHECKING:
    from engine.recommend.baskets import Baskets
    from engine.recommend.evaluate import Evaluation
    from engine.recommend.history import History
    from engine.recommend.recommender import CustomerRecommender
    from experiments.settings import RecommendConfig
    from experiments.transactions import Transactions

NAMED = ("name", "category", "repurchase", "once_below", "exclude")
"""Arguments of the fit that are keys ``recommend.…`` of the command line."""

CHECKED_CUSTOMERS = 20_000
"""Customers at most on whom recommendations are judged beside a batch."""


def history_of(
    c: RecommendConfig, read: Transactions, *, compute: Any = None, progress: Callable[[float], None] | None = None
) -> History:
    """Return the purchase histories of the lake, as the settings choose them."""
    from engine.recommend.kept_history import kept_history

    return kept_history(
        read.lake,
        as_of=c.as_of,
        window_days=c.window_days,
        level=c.level,
        basket=c.basket,  # type: ignore[arg-type]
        compute=compute,
        progress=None if progress is None else lambda done, parts: progress(done / parts),
    )


def category_of(c: RecommendConfig, products: pl.DataFrame) -> str | None:
    """Return the column of the products that holds the category, ``None`` for none.

    Raises
    ------
    SettingError
        ``recommend.category`` is not there.
    """
    from engine.recommend.purchases import PRODUCT_LEVEL

    known = _known_of(products)
    wanted = c.recommend.category
    if c.level != PRODUCT_LEVEL:
        if wanted is not None:
            raise SettingError(
                f"recommend.category: with level={c.level} a product is a category already. Leave it out."
            )
        # What is known beforehand is known of the products of the level themselves.
        return "product_id" if c.recommend.repurchase else None
    if wanted is not None:
        if wanted not in known:
            raise SettingError.from_unknown("recommend.category", wanted, known)
        return wanted
    return next((name for name in known if name.lower().endswith("category")), None)


def _known_of(products: pl.DataFrame) -> list[str]:
    """Return the columns that say something of a product, without its id and its figures."""
    return [name for name in products.columns if name not in ("product_id", "customers", "median_unit_price")]


def fit(
    c: RecommendConfig,
    history: Baskets,
    products: pl.DataFrame | None,
    *,
    as_of: datetime | None = None,
    segmented: Segmented | None,
    category: str | None,
) -> CustomerRecommender:
    """Fit the recommender.

    Parameters
    ----------
    c
        The settings.
    history
        Of all customers.
    products
        What is known of each product; ``None`` is nothing.
    as_of
        Purchases before it are known; by default the midnight after the last basket.
    segmented
        The customers' segments, ``None`` for none.
    category
        From :func:`category_of`.

    Raises
    ------
    SettingError
        A setting does not fit the products; it is named as on the command line.
    DataError
        Nothing can be learnt from the history.
    """
    from engine.recommend.recommender import CustomerRecommender

    model = c.recommend
    if model.name is not None and products is not None and model.name not in products.columns:
        raise SettingError.from_unknown("recommend.name", model.name, _known_of(products))
    try:
        return CustomerRecommender.fit(
            history,
            as_of=as_of,
            products=products,
            name=model.name,
            category=category,
            repurchase=None if model.repurchase is None else dict(model.repurchase),
            once_below=model.once_below,
            exclude=model.exclude,
            assignments=None if segmented is None else segmented.assignments,
            segments=None if segmented is None else segmented.segments,
            seed=c.seed,
        )
    except SettingError as error:
        key = str(error).partition(":")[0]
        raise SettingError(f"recommend.{error}" if key in NAMED else str(error)) from None


@dataclass
class Ours:
    """The recommender as one of several in an evaluation: what a batch would have recommended then.

    Attributes
    ----------
    c, products, segmented, category
        As :func:`fit` takes them.
    """

    c: RecommendConfig
    products: pl.DataFrame | None
    segmented: Segmented | None
    category: str | None
    _fitted: CustomerRecommender | None = field(default=None, init=False, repr=False)

    @property
    def name(self) -> str:
        """``cartera``."""
        return "cartera"

    def fit(self, history: Baskets, segments: NDArray[np.int32] | None = None) -> Self:
        """Learn from the histories of all customers; of segments it takes its own."""
        segmented = self.segmented if segments is not None else None
        self._fitted = fit(self.c, history, self.products, segmented=segmented, category=self.category)
        return self

    def recommend(
        self,
        history: Baskets,
        k: int,
        *,
        day: NDArray[np.int32] | int | None = None,
        segments: NDArray[np.int32] | None = None,
        only: str | None = None,
    ) -> NDArray[np.int32]:
        """Return the codes of the best products; see :class:`engine.recommend.baselines.Recommender`."""
        from engine.recommend.baselines import fitted

        own = fitted(self._fitted, self.name)
        return own.model.recommend(history, k, day=day, segments=segments, only=only, excluded=own.excluded)


def checked(recommender: CustomerRecommender, ours: Ours, k: int, seed: int) -> Evaluation:
    """Foresee the last basket of customers from those before, with the plain baselines beside.

    Of more customers than :data:`CHECKED_CUSTOMERS` a sample is fitted and asked: then the figures are rather low.

    Raises
    ------
    DataError
        Nobody has three baskets, or nothing can be learnt from those before the last.
    """
    from engine.recommend.evaluate import evaluate

    history = recommender.history
    numbers = recommender.segment_of if recommender.segments.height else None
    if history.n > CHECKED_CUSTOMERS:
        rows = np.sort(np.random.default_rng(seed).choice(history.n, CHECKED_CUSTOMERS, replace=False))
        history, numbers = history.take(rows), None if numbers is None else numbers[rows]
    return evaluate([ours], history, k=k, segments=numbers)


def by_mean_billing(c: RecommendConfig, read: Transactions, segmented: Segmented, *, compute: Any = None) -> list[str]:
    """Return the segment ids from the lowest to the highest mean billing of their customers."""
    from engine.features.store import customer_table

    billed = customer_table(
        read.lake, columns=["monetary"], as_of=c.as_of, window_days=c.window_days, cache=read.cache, compute=compute
    ).frame.select(ID, "monetary")
    own = segmented.assignments.with_columns(pl.col(ID).cast(billed[ID].dtype, strict=False))
    means = billed.join(own, on=ID, how="inner").group_by("segment_id").agg(pl.col("monetary").mean())
    return means.drop_nulls("segment_id").sort("monetary", "segment_id")["segment_id"].to_list()
