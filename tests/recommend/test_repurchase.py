from __future__ import annotations

import math

import numpy as np
import pytest

from engine.errors import DataError, SettingError
from engine.recommend.affinity_kernels import habit_sums
from engine.recommend.baskets import Baskets
from engine.recommend.repurchase import Repurchase
from tests.recommend.test_synthetic import odd_shop
from tests.reference import next_basket_twin as twin


def sums_of(history: Baskets) -> list[np.ndarray]:
    sums = [np.zeros(history.m) for _ in range(4)]
    habit_sums(history.basket_start, history.day, history.item_start, history.item, history.m, *sums)
    return sums


@pytest.mark.parametrize("seed", range(12))
def test_sums_rates_and_intervals_are_those_of_the_twin(seed: int) -> None:
    customers, m = odd_shop(seed)
    history = twin.baskets_of(customers, m)
    expected = twin.habit_sums(customers, m)
    able, again, gaps, log_gap = sums_of(history)
    assert able.tolist() == [s.able for s in expected]
    assert again.tolist() == [s.again for s in expected]
    assert gaps.tolist() == [len(s.log_gaps) for s in expected]
    assert log_gap == pytest.approx([sum(s.log_gaps) for s in expected], rel=1e-9)
    category = np.random.default_rng(seed).integers(-1, 4, m).astype(np.int32)
    for told in (None, category):
        found = Repurchase.of(history, category=told)
        rates = twin.repurchase_rates(expected, None if told is None else told.tolist())
        assert found.rate == pytest.approx(rates, rel=1e-9)
        assert found.once.tolist() == [rate < 0.02 for rate in rates]
    for gap, own in zip(found.gap_days.tolist(), expected, strict=True):
        several = len(own.log_gaps) >= 5
        assert gap == pytest.approx(math.prod(map(math.exp, own.log_gaps)) ** (1 / len(own.log_gaps)) if several else 0)


@pytest.mark.parametrize("seed", range(4))
def test_the_same_customers_twice_are_twice_the_counts(seed: int) -> None:
    history = twin.baskets_of(*odd_shop(seed))
    twice = history.take(np.tile(np.arange(history.n), 2))
    for one, two in zip(sums_of(history), sums_of(twice), strict=True):
        assert two == pytest.approx(2 * one, rel=1e-12)


def test_a_case_worked_by_hand() -> None:
    customers = [
        # 0 on days 1, 3 and 11 (twice on day 3): one who could buy again and did, after 2 and after 8 days.
        [(1, [0, 1]), (3, [0]), (3, [0, 2]), (11, [0])],
        # Bought on the last day: nothing can be said of it; 1 could have been bought again.
        [(5, [1]), (9, [0])],
    ]
    able, again, gaps, log_gap = sums_of(twin.baskets_of(customers, 3))
    assert (able.tolist(), again.tolist(), gaps.tolist()) == ([1, 2, 1], [1, 0, 0], [2, 0, 0])
    assert log_gap[0] == pytest.approx(math.log(16))
    found = Repurchase.of(twin.baskets_of(customers, 3))
    # One of four: 10 customers of that rate are added to each product.
    assert found.rate == pytest.approx([(1 + 2.5) / 11, 2.5 / 12, 2.5 / 11])
    assert found.gap_days.tolist() == [0, 0, 0]
    assert not found.once.any()


def test_five_intervals_are_an_interval() -> None:
    customers = [[(day, [0]) for day in (0, 7, 14, 21, 28)], [(0, [0, 1]), (7, [0])], [(0, [1]), (9, [1])]]
    found = Repurchase.of(twin.baskets_of(customers, 2))
    assert found.gap_days == pytest.approx([7, 0])
    again = found.habits.again
    assert again == pytest.approx(np.log(found.rate / (1 - found.rate)), rel=1e-6)


def once_and_again() -> Baskets:
    # Everybody buys 0 every day, and 1 (a loan) once.
    return twin.baskets_of([[(day, [0, 1] if day == c % 3 else [0]) for day in range(4)] for c in range(2_000)], 2)


def test_what_is_bought_once_is_found_and_can_be_told() -> None:
    history = once_and_again()
    found = Repurchase.of(history)
    assert found.once.tolist() == [False, True]
    assert found.rate == pytest.approx([(2000 + 5) / 2010, 5 / 2010])
    assert Repurchase.of(history, once_below=0.0).once.tolist() == [False, False]
    assert Repurchase.of(history, once_below=1.0).once.tolist() == [True, True]
    assert Repurchase.of(history, repurchase=np.array([0, 1], np.int8)).once.tolist() == [True, False]
    assert Repurchase.of(history, repurchase=np.array([-1, -1], np.int8)).once.tolist() == [False, True]


def test_a_rare_product_is_judged_by_its_category() -> None:
    # Three loans that nobody takes twice, one of them new; and bread.
    customers = [[(0, [0, 1 + c % 2]), (5, [0])] for c in range(1_000)] + [[(0, [3]), (5, [0])]]
    history = twin.baskets_of(customers, 4)
    alone = Repurchase.of(history)
    assert alone.once.tolist() == [False, True, True, False]
    with_category = Repurchase.of(history, category=np.array([-1, 0, 0, 0], np.int32))
    assert with_category.once.tolist() == [False, True, True, True]


def test_nobody_bought_anything() -> None:
    found = Repurchase.of(twin.baskets_of([[], []], 2))
    assert found.rate.tolist() == found.gap_days.tolist() == [0, 0]
    assert Repurchase.of(twin.baskets_of([], 0)).once.tolist() == []


def test_what_is_asked_for_wrongly() -> None:
    history = once_and_again()
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(SettingError, match="once_below"):
            Repurchase.of(history, once_below=share)
    with pytest.raises(DataError, match="category"):
        Repurchase.of(history, category=np.zeros(5, np.int32))
    with pytest.raises(DataError, match="repurchase"):
        Repurchase.of(history, repurchase=np.zeros(1, np.int8))
