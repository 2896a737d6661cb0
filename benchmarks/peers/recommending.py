"""Who foresees the next basket. Settings are tuned once a process, on a validation basket, outside the timer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from importlib import import_module
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from benchmarks.case import Contend, Timed

if TYPE_CHECKING:
    from benchmarks.case import Task
    from benchmarks.cases.next_basket import Given, Known
    from engine.recommend.baselines import Recommender

AT = 10
DECIDES = "ndcg"
"""The measure that settings are chosen by."""

ALS: dict[str, tuple[float, ...]] = {
    "factors": (32, 128, 256),
    "regularization": (0.1, 3.0),
    "alpha": (1.0, 8.0, 40.0),
}
"""What is tried of it: numbers of factors, penalties, weights of a purchase."""
ALS_ROUNDS = 15

_KEPT: dict[tuple[str, str], tuple[Recommender, float]] = {}


class Foreseen(NamedTuple):
    """Lists for those who have a target, what fitting, recommending and tuning took, and the settings chosen."""

    lists: Any
    fit_seconds: float
    recommend_seconds: float
    tuned_seconds: float
    settings: str


@cache
def contender(choose: Callable[[Known, Task], Recommender]) -> Contend:
    """Return a contestant: choose settings by the validation basket, then fit on all that came before the target."""

    def contend(given: Given, task: Task) -> Timed:
        key = (task.contestant, task.folder)
        if key not in _KEPT:
            begun = time.perf_counter()
            _KEPT[key] = choose(given.validation, task), time.perf_counter() - begun
        recommender, tuned_seconds = _KEPT[key]
        begun = time.perf_counter()
        recommender.fit(given.test.past)
        fitted = time.perf_counter()
        lists = recommender.recommend(given.test.asked, AT, day=given.test.targets.day)
        spent = time.perf_counter()
        found = Foreseen(lists, fitted - begun, spent - fitted, tuned_seconds, repr(recommender))
        return Timed(spent - begun, found)

    return contend


def best_of(recommenders: Iterable[Recommender], known: Known) -> Recommender:
    """Return the one whose lists foresee the baskets of a split best."""
    from engine.recommend.metrics import measure

    best, found = None, -np.inf
    for each in recommenders:
        lists = each.fit(known.past).recommend(known.asked, AT, day=known.targets.day)
        mean = float(np.nanmean(measure(lists, known.targets, known.past)[DECIDES]))
        if mean > found:
            best, found = each, mean
    assert best is not None
    return best


def popular(known: Known, task: Task) -> Recommender:
    """Choose between what most customers bought and what is in most baskets."""
    from engine.recommend.baselines import Popular

    return best_of([Popular("customers"), Popular("rows")], known)


def personal(known: Known, task: Task) -> Recommender:
    """Choose how ties between the customer's favourites are broken; what is popular fills up."""
    from engine.recommend.baselines import PersonalThenPopular

    return best_of([PersonalThenPopular("popularity"), PersonalThenPopular("recency")], known)


def item_knn(known: Known, task: Task) -> Recommender:
    """Choose how many neighbours a product has, and what those count that the customer bought."""
    from engine.recommend.baselines import ItemKNN

    weights: tuple[Literal["once", "baskets"], ...] = ("once", "baskets")
    grid = product((10, 50, 500), weights, (False, True))
    return best_of((ItemKNN(many, weight, itself, task.threads) for many, weight, itself in grid), known)


def tifu_knn(known: Known, task: Task) -> Recommender:
    """Choose the settings of TIFU-KNN."""
    from engine.recommend.tifu_knn import TifuKNN, tuned

    return tuned(known.past, known.targets, by=DECIDES, at=AT, base=TifuKNN(threads=task.threads))


def als(known: Known, task: Task) -> Recommender:
    """Choose the settings of the `implicit` library's alternating least squares."""
    return best_of((Als(*values, threads=task.threads) for values in product(*ALS.values())), known)


def cartera(known: Known, task: Task) -> Recommender:
    """Choose nothing: ours fits its weights by itself, on the last basket of the past that it is given."""
    from engine.recommend.next_basket import NextBasket

    model: Recommender = NextBasket()
    return model


class Als:
    """Factors of customers and products by implicit feedback (Hu, Koren & Volinsky 2008); repeats are not left out."""

    name = "implicit_als"

    def __init__(self, factors: float, regularization: float, alpha: float, *, threads: int) -> None:
        self._settings = {"factors": int(factors), "regularization": regularization, "alpha": alpha}
        self._threads = threads

    def __repr__(self) -> str:
        return f"Als({self._settings})"

    def fit(self, history: Any, segments: Any = None) -> Als:
        """Factorise the number of baskets that each customer's products were in."""
        als: Any = import_module("implicit.als")
        limits: Any = import_module("threadpoolctl").threadpool_limits

        from engine.recommend.sparse_rows import bought_matrix

        counts = bought_matrix(history, counted=True).astype(np.float32)
        self._rows = {customer: row for row, customer in enumerate(history.customer_ids.to_list())}
        # Its own threads and those of the linear algebra would get into each other's way; it warns of that.
        self._alone = partial(limits, 1, "blas")
        with self._alone():
            self._model = als.AlternatingLeastSquares(
                **self._settings, iterations=ALS_ROUNDS, random_state=0, num_threads=self._threads
            )
            self._model.fit(counts, show_progress=False)
        return self

    def recommend(self, history: Any, k: int, *, day: Any = None, segments: Any = None) -> Any:
        """Return the products of the largest scores, for customers known from fit."""
        from engine.recommend.sparse_rows import bought_matrix

        rows = np.array([self._rows[customer] for customer in history.customer_ids.to_list()])
        counts = bought_matrix(history, counted=True).astype(np.float32)
        with self._alone():
            lists, _ = self._model.recommend(rows, counts, N=k, filter_already_liked_items=False)
        return lists.astype(np.int32)
