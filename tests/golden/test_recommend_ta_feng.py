"""Published figures of next-basket recommendation on Ta-Feng, run as they were measured.

The protocol and the figures of TopPopular and TIFU-KNN are those of Romanov and others (2023), "Time-aware item
weighting for the next basket recommendations", RecSys: each customer's last basket is foreseen from those before, ten
products on a list, NDCG against the whole basket. The file is not shipped, so the tests skip where it is not at hand.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.recommend.baselines import PersonalThenPopular, Popular
from engine.recommend.basket_file import least_baskets, least_rows, read_rows, without_hyper_frequent
from engine.recommend.baskets import Baskets, Targets
from engine.recommend.metrics import Estimate, measure
from engine.recommend.tifu_knn import TifuKNN


@pytest.fixture(scope="module")
def ta_feng() -> pl.DataFrame:
    file = Path(__file__).resolve().parents[3] / "shared" / "data" / "ta_feng.parquet"
    if not file.exists():
        pytest.skip("Ta-Feng is not shipped with the project and not beside this checkout")
    raw = read_rows(file, customer="CUSTOMER_ID", product="PRODUCT_ID", time="TRANSACTION_DT")
    return without_hyper_frequent(least_rows(least_baskets(raw, 5), 10, counted=raw))


@pytest.fixture(scope="module")
def history(ta_feng: pl.DataFrame) -> Baskets:
    return Baskets.from_frame(ta_feng, basket="day")


def figures(lists: np.ndarray, targets: Targets, past: Baskets) -> list[float]:
    values = measure(lists, targets, past)
    return [Estimate.of(values[name]).mean for name in ("precision", "recall", "ndcg_whole_basket")]


def test_rows_customers_and_products(ta_feng: pl.DataFrame, history: Baskets) -> None:
    assert (history.n, history.m, ta_feng.height, len(history.item)) == (7_358, 11_202, 368_951, 368_951)
    assert len(history.without_last(1, least=2)[1].customers) == 7_357


def test_popular_to_the_digit(history: Baskets) -> None:
    past, targets = history.without_last(1, least=2)
    lists = Popular("rows").fit(past).recommend(past.take(targets.customers), 10)
    assert [round(figure, 4) for figure in figures(lists, targets, past)] == [0.0308, 0.0863, 0.0939]


def test_personal_filled_with_popular(history: Baskets) -> None:
    # Not published: computed anew from the file by other code.
    past, targets = history.without_last(1, least=2)
    lists = PersonalThenPopular().fit(past).recommend(past.take(targets.customers), 10)
    assert [round(figure, 4) for figure in figures(lists, targets, past)] == [0.0628, 0.1455, 0.1252]


def test_tifu_knn_as_published_and_as_it_should_be(history: Baskets) -> None:
    settings = {"group_num": 10, "within_decay": 1.0, "group_decay": 1.0, "k": 425, "alpha": 0.4}
    past, targets = history.without_last(1, least=2)
    # That code leaves the validation basket out, too.
    short, _ = history.without_last(2)
    published = TifuKNN(**settings, grouping="published", itself=True).fit(short)
    lists = published.recommend(short.take(targets.customers), 10)
    # Of 270 customers fewer than 425 bought anything in common: the published mean then takes in arbitrary ones.
    assert figures(lists, targets, past) == pytest.approx([0.0574, 0.1360, 0.1179], abs=0.0005)
    sound = TifuKNN(**settings).fit(past).recommend(past.take(targets.customers), 10)
    assert figures(sound, targets, past) == pytest.approx([0.0635, 0.1492, 0.1302], abs=0.0003)
