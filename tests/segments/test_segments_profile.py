from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.errors import ColumnsMissingError, DataError
from engine.segments.profile import contrasts, exact_sums, measure_names, population, profile, ranks
from tests.reference.profile_twin import profile_rows


def some_customers(seed: int, n: int = 300) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    ticket = rng.lognormal(3, 1, n)
    return pl.DataFrame(
        {
            "customer_id": np.arange(n),
            "recency_days": rng.integers(0, 400, n),
            "tenure_days": rng.integers(400, 800, n),
            "frequency": rng.geometric(0.2, n),
            "units": rng.integers(1, 900, n).astype(float),
            "monetary": np.round(rng.lognormal(5, 2, n), 2),
            "average_ticket": [None if rng.random() < 0.2 else float(value) for value in ticket],
        }
    )


def some_labels(seed: int, n: int = 300, k: int = 4) -> np.ndarray:
    labels = np.random.default_rng(seed + 1000).integers(0, k, n).astype(np.int32)
    labels[:k] = np.arange(k)
    return labels


def test_a_profile_worked_by_hand() -> None:
    customers = pl.DataFrame(
        {
            "monetary": [100.0, 300.0, 10.0, 20.0, 70.0],
            "frequency": [4, 6, 1, 1, 4],
            "recency_days": [1, 3, 50, None, 100],
        }
    )
    table = profile(customers, np.array([1, 1, 0, 0, 0], dtype=np.int32), 2)
    assert table.to_dicts() == [
        {
            "cluster": 0,
            "customers": 3,
            "share_customers": 0.6,
            "share_monetary": 0.2,
            "rank": 2,
            "monetary_mean": 100 / 3,
            "monetary_median": 20.0,
            "monetary_missing": 0,
            "frequency_mean": 2.0,
            "frequency_median": 1.0,
            "frequency_missing": 0,
            "recency_days_mean": 75.0,
            "recency_days_median": 75.0,
            "recency_days_missing": 1,
        },
        {
            "cluster": 1,
            "customers": 2,
            "share_customers": 0.4,
            "share_monetary": 0.8,
            "rank": 1,
            "monetary_mean": 200.0,
            "monetary_median": 200.0,
            "monetary_missing": 0,
            "frequency_mean": 5.0,
            "frequency_median": 5.0,
            "frequency_missing": 0,
            "recency_days_mean": 2.0,
            "recency_days_median": 2.0,
            "recency_days_missing": 0,
        },
    ]


@pytest.mark.parametrize("seed", range(8))
def test_it_agrees_with_the_obvious_twin(seed: int) -> None:
    customers, labels = some_customers(seed), some_labels(seed)
    table = profile(customers, labels, 4, measures=["average_ticket"])
    measures = ["monetary", "frequency", "units", "recency_days", "tenure_days", "average_ticket"]
    twin = profile_rows(customers, labels.tolist(), 4, measures)
    for row, expected in zip(table.drop("rank").to_dicts(), twin, strict=True):
        share = expected.pop("share_monetary")
        assert row.pop("share_monetary") == pytest.approx(share, rel=1e-14)
        assert row == expected


@pytest.mark.parametrize("seed", range(8))
def test_the_order_of_the_customers_changes_no_bit(seed: int) -> None:
    # A sum rounded once does not know in which order its terms came.
    customers, labels = some_customers(seed), some_labels(seed)
    order = np.random.default_rng(seed).permutation(customers.height)
    moved, moved_labels = customers[order.tolist()], labels[order]
    table = profile(customers, labels, 4, measures=["average_ticket"])
    assert_frame_equal(table, profile(moved, moved_labels, 4, measures=["average_ticket"]), check_exact=True)
    far = contrasts(customers, labels, 4, measures=["monetary", "average_ticket"])
    assert far == contrasts(moved, moved_labels, 4, measures=["monetary", "average_ticket"])


@pytest.mark.parametrize("seed", range(8))
def test_shares_sum_to_one(seed: int) -> None:
    table = profile(some_customers(seed), some_labels(seed, k=7), 7)
    assert table["share_customers"].sum() == pytest.approx(1, abs=1e-12)
    assert table["share_monetary"].sum() == pytest.approx(1, abs=1e-12)
    assert table["customers"].sum() == 300


@pytest.mark.parametrize("seed", range(4))
def test_renumbering_the_clusters_only_moves_rows(seed: int) -> None:
    customers, labels = some_customers(seed), some_labels(seed)
    new_number = np.array([2, 0, 3, 1], dtype=np.int32)
    moved = profile(customers, new_number[labels], 4)[new_number.tolist()]
    assert_frame_equal(profile(customers, labels, 4).drop("cluster"), moved.drop("cluster"), check_exact=True)


@pytest.mark.parametrize("seed", range(10))
def test_exact_sums_are_those_of_fsum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=500) * 10.0 ** rng.integers(-12, 13, 500)
    values[rng.random(500) < 0.1] = np.nan
    labels = rng.integers(0, 3, 500).astype(np.int32)
    expected = [
        math.fsum(value for value, label in zip(values, labels, strict=True) if label == c and value == value)
        for c in range(3)
    ]
    assert exact_sums(values, labels, 3).tolist() == expected


@pytest.mark.parametrize(
    "values",
    [[], [math.nan], [0.0, -0.0], [5e-324, 5e-324], [1e280, -1e280, 1.0], [0.1] * 10, [-3.5]],
)
def test_exact_sums_at_the_edges(values: list[float]) -> None:
    array = np.array(values, dtype=np.float64)
    total = exact_sums(array, np.zeros(len(values), dtype=np.int32), 1)
    assert total.tolist() == [math.fsum(value for value in values if value == value)]


def test_ties_in_rank_go_to_the_lower_index_and_the_unknown_come_last() -> None:
    assert ranks([None, 3.0, 8.0, 3.0]) == [4, 2, 1, 3]


def test_decimals_and_booleans_are_measures() -> None:
    customers = pl.DataFrame({"monetary": [Decimal("1.50"), Decimal("2.50")], "online": [True, False]})
    table = profile(customers, np.zeros(2, dtype=np.int32), 1, measures=["online"])
    assert table.select("monetary_mean", "online_mean").row(0) == (2.0, 0.5)


def test_a_measure_nobody_has_a_value_of_is_null() -> None:
    customers = pl.DataFrame({"monetary": [1.0, 2.0, 3.0], "score": [None, None, 4.0]})
    table = profile(customers, np.array([0, 0, 1], dtype=np.int32), 2, measures=["score"])
    assert table["score_mean"].to_list() == [None, 4.0]
    assert table["score_median"].to_list() == [None, 4.0]
    assert table["score_missing"].to_list() == [2, 0]


def test_without_any_billing_the_shares_of_it_are_zero() -> None:
    customers = pl.DataFrame({"monetary": [0.0, 0.0], "frequency": [1, 2]})
    table = profile(customers, np.array([0, 1], dtype=np.int32), 2)
    assert table["share_monetary"].to_list() == [0.0, 0.0]


def test_core_measures_come_first_and_none_twice() -> None:
    customers = some_customers(0)
    assert measure_names(customers, ["average_ticket", "monetary"]) == [
        "monetary",
        "frequency",
        "units",
        "recency_days",
        "tenure_days",
        "average_ticket",
    ]


def test_the_population_is_what_all_customers_are_like() -> None:
    customers = some_customers(3)
    found = population(customers, measures=["average_ticket"])
    assert found["means"]["monetary"] == math.fsum(customers["monetary"]) / 300
    assert found["medians"]["average_ticket"] == customers["average_ticket"].median()


def test_the_callers_frame_and_labels_stay_as_they_were() -> None:
    customers, labels = some_customers(0), some_labels(0)
    labels.flags.writeable = False
    before = customers.clone()
    profile(customers, labels, 4)
    contrasts(customers, labels, 4, measures=["monetary"])
    assert_frame_equal(customers, before)


def test_contrasts_worked_by_hand() -> None:
    # log(1 + x) is 0, 0, 1, 3: mean 1, deviation sqrt(6 / 4).
    customers = pl.DataFrame({"monetary": [0.0, 0.0, math.e - 1, math.e**3 - 1]})
    far = contrasts(customers, np.array([0, 0, 1, 1], dtype=np.int32), 2, measures=["monetary"])
    assert far["monetary"] == pytest.approx([-1 / math.sqrt(1.5), 1 / math.sqrt(1.5)])


def test_contrasts_of_a_constant_measure_say_nothing() -> None:
    customers = pl.DataFrame({"monetary": [1.1, 1.1, 1.1], "net": [-2.0, -2.0, -2.0]})
    far = contrasts(customers, np.array([0, 1, 1], dtype=np.int32), 2, measures=["monetary", "net"])
    assert far == {"monetary": [None, None], "net": [None, None]}


def test_contrasts_of_negative_values_are_mirrored() -> None:
    customers = pl.DataFrame({"monetary": [1.0, 1.0], "net": [-9.0, 9.0]})
    far = contrasts(customers, np.array([0, 1], dtype=np.int32), 2, measures=["net"])
    assert far["net"] == [-1.0, 1.0]


@pytest.mark.parametrize(
    ("labels", "k", "message"),
    [
        ([0, 1], 2, "one label for each of 3"),
        ([0, 1, 2], 2, "labels from 0 to 1"),
        ([0, -1, 1], 2, "labels from 0 to 1"),
        ([0, 0, 2], 3, "cluster 1 of 3 has no customers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: list[int], k: int, message: str) -> None:
    customers = pl.DataFrame({"monetary": [1.0, 2.0, 3.0]})
    with pytest.raises(DataError, match=message):
        profile(customers, np.array(labels, dtype=np.int32), k)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["a", "b"], "should be numeric, but is String"),
        ([1.0, math.nan], "1 values that are NaN or infinite"),
        ([math.inf, None], "1 values that are NaN or infinite"),
    ],
)
def test_measures_that_are_no_finite_numbers_are_refused(column: list[object], message: str) -> None:
    customers = pl.DataFrame({"monetary": [1.0, 2.0], "score": column}, strict=False)
    with pytest.raises(DataError, match=message):
        profile(customers, np.zeros(2, dtype=np.int32), 1, measures=["score"])


def test_no_customers_are_refused() -> None:
    with pytest.raises(DataError, match="no customers"):
        profile(pl.DataFrame({"monetary": []}), np.zeros(0, dtype=np.int32), 1)


def test_a_measure_that_is_not_there_is_named() -> None:
    with pytest.raises(ColumnsMissingError, match="no column 'unit'"):
        profile(some_customers(0), some_labels(0), 4, measures=["unit"])
