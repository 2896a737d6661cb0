from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import polars as pl
import pytest

from engine.errors import DataError
from engine.recommend.baskets import Baskets, Targets
from engine.recommend.metrics import MEASURES, Estimate, coverage, measure
from tests.reference import recommend_twin as twin


def history_of(customers: list[list[list[int]]], m: int) -> Baskets:
    baskets = [basket for customer in customers for basket in customer]
    return Baskets(
        pl.Series(range(len(customers)), dtype=pl.Int64),
        pl.Series([f"p{code:03}" for code in range(m)]),
        np.cumsum([0, *map(len, customers)]),
        np.array([day for customer in customers for day in range(len(customer))], dtype=np.int32),
        np.cumsum([0, *map(len, baskets)]),
        np.array([product for basket in baskets for product in basket], dtype=np.int32),
    )


def made_up(seed: int, *, customers: int = 30, m: int = 12, most: int = 9) -> list[list[list[int]]]:
    rng = np.random.default_rng(seed)

    def basket() -> list[int]:
        return sorted({int(p) for p in np.minimum(rng.geometric(0.2, rng.integers(1, 6)) - 1, m - 1)})

    return [[basket() for _ in range(rng.integers(0, most + 1))] for _ in range(customers)]


def test_figures_worked_by_hand() -> None:
    # Five customers; the first bought 0 twice and 1 once, then 0, 2 and 3.
    history = history_of([[[0, 1], [0]], [[0]], [[2]], [[0, 2]], []], m=6)
    targets = Targets(np.array([0]), np.array([9], np.int32), np.array([0, 3]), np.array([0, 2, 3], np.int32))
    found = {name: value[0] for name, value in measure(np.array([[1, 0, 5, 2]], np.int32), targets, history).items()}
    assert found["precision"] == 2 / 4
    assert found["recall"] == 2 / 3
    gained = 1 / math.log2(3) + 1 / math.log2(5)
    assert found["ndcg"] == pytest.approx(gained / (1 + 1 / math.log2(3) + 1 / 2))
    assert found["ndcg_whole_basket"] == found["ndcg"]
    assert found["hit"] == 1
    assert found["recall_repeat"] == 1
    assert found["recall_explore"] == 1 / 2
    # Of four customers with a history three bought 0, one 1, two 2; nobody bought 5, which counts as one.
    assert found["novelty"] == pytest.approx((2 - math.log2(3 / 4) + 2 + 1) / 4)


def test_a_whole_basket_that_is_larger_than_the_list_cannot_be_reached() -> None:
    history = history_of([[[0]]], m=4)
    targets = Targets(np.array([0]), np.array([9], np.int32), np.array([0, 3]), np.array([0, 1, 2], np.int32))
    found = measure(np.array([[2, 0]], np.int32), targets, history)
    assert found["ndcg"][0] == 1
    assert found["ndcg_whole_basket"][0] == pytest.approx((1 + 1 / math.log2(3)) / (1.5 + 1 / math.log2(3)))


@pytest.mark.parametrize("seed", range(6))
def test_measures_are_those_of_the_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    customers = made_up(seed)
    history, targets = history_of(customers, m=14).without_last(1, least=1)
    past = list(history.each())
    k = int(rng.integers(1, 12))
    lists = np.full((len(targets.customers), k), -1, np.int32)
    for row in lists:
        size = int(rng.integers(0, k + 1))
        row[:size] = rng.choice(14, size, replace=False)
    found = measure(lists, targets, history)
    assert list(found) == list(MEASURES)
    for row, customer in enumerate(targets.customers):
        target = targets.item[targets.start[row] : targets.start[row + 1]].tolist()
        ranked = [product for product in lists[row].tolist() if product >= 0]
        expected = twin.measures(ranked, target, past[customer], past, k)
        assert {name: value[row] for name, value in found.items()} == pytest.approx(expected, nan_ok=True, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_repeats_and_new_products_make_up_the_recall(seed: int) -> None:
    history, targets = history_of(made_up(seed), m=14).without_last(1, least=1)
    lists = np.tile(np.arange(5, dtype=np.int32), (len(targets.customers), 1))
    found = measure(lists, targets, history)
    sizes = np.diff(targets.start)
    past = list(history.each())
    old = np.array(
        [
            len({*targets.item[targets.start[j] : targets.start[j + 1]].tolist()} & {p for b in past[c] for p in b})
            for j, c in enumerate(targets.customers)
        ]
    )
    parts = np.nan_to_num(found["recall_repeat"]) * old + np.nan_to_num(found["recall_explore"]) * (sizes - old)
    assert parts == pytest.approx(found["recall"] * sizes)


def test_coverage_counts_what_was_bought_before() -> None:
    history = history_of([[[0, 1]], [[2, 3]]], m=6)
    assert coverage(np.array([[0, 5], [0, -1]], np.int32), history) == 1 / 4
    assert math.isnan(coverage(np.array([[0]], np.int32), history_of([[]], m=1)))


def test_interval_by_hand_and_where_there_is_none() -> None:
    # Student's t at 2 degrees of freedom: 4.302653; sd of 1, 2, 3 is 1.
    found = Estimate.of(np.array([1.0, 2.0, 3.0, np.nan]))
    assert (found.mean, found.customers) == (2.0, 3)
    assert found.high - found.mean == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert found.clear_of_zero is False
    assert math.isnan(Estimate.of(np.array([5.0])).low)
    assert Estimate.of(np.array([np.nan])).customers == 0
    assert not Estimate.of(np.array([5.0])).clear_of_zero


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = [low <= 0.3 <= high for _, low, high, _ in (Estimate.of(rng.random(60) ** (7 / 3)) for _ in range(400))]
    # E[u^(7/3)] = 3/10. At 95 % the count has a standard deviation of 4.4.
    assert Fraction(sum(held), 400) > Fraction(91, 100)


def test_the_interval_of_a_difference_is_that_of_pairs() -> None:
    rng = np.random.default_rng(1)
    one = rng.random(200)
    other = one - 0.01 + 0.001 * rng.standard_normal(200)
    found = Estimate.of_difference(one, other)
    assert found.clear_of_zero
    assert found.high - found.low < 0.001
    # The means alone would not tell them apart.
    assert Estimate.of(one).low < Estimate.of(other).high
    assert Estimate.of_difference(one, np.where(one > 0.5, np.nan, other)).customers == (one <= 0.5).sum()


@pytest.mark.parametrize(
    ("lists", "says"),
    [
        ([[0, 1], [0, 1]], "expected 1 of them"),
        ([[3, 9]], "from 0 to 3"),
        ([[-2, 1]], "or -1 for none"),
        ([[2, 1, 2]], "stands twice in row 0"),
    ],
)
def test_lists_that_are_none(lists: list[list[int]], says: str) -> None:
    history, targets = history_of([[[0], [1, 2]]], m=4).without_last(1)
    with pytest.raises(DataError, match=says):
        measure(np.array(lists, np.int32), targets, history)
