from __future__ import annotations

import json
import math
import pickle

import numpy as np
import polars as pl
import pytest

from engine.errors import ColumnsMissingError, DataError, SettingError
from engine.features.matrix import FeatureSet, FeatureSpec, feature_set
from engine.features.sets import named_set

CUSTOMERS = pl.DataFrame(
    {
        "customer_id": [1, 2, 3, 4],
        "frequency": [1, 3, 7, 15],
        "monetary": [0.0, math.e - 1, math.e**2 - 1, math.e**3 - 1],
        "visits": [1.0, None, 3.0, 5.0],
    }
)


def test_log_and_standard_by_hand() -> None:
    # log1p of monetary is 0, 1, 2, 3: mean 1.5, standard deviation sqrt(1.25).
    spec = FeatureSpec.fit(CUSTOMERS, feature_set(["monetary"]))
    assert spec.transform(CUSTOMERS)[:, 0] == pytest.approx(np.array([-1.5, -0.5, 0.5, 1.5]) / math.sqrt(1.25))


def test_robust_and_weight_by_hand() -> None:
    # frequency 1, 3, 7, 15: median 5, quartiles 2.5 and 9; a weight of 4 doubles the coordinates.
    spec = FeatureSpec.fit(
        CUSTOMERS, feature_set(["frequency"], transform="none", scale="robust", per_column={"frequency": {"weight": 4}})
    )
    assert spec.transform(CUSTOMERS)[:, 0] == pytest.approx(2 * (np.array([1, 3, 7, 15]) - 5) / 6.5)


@pytest.mark.parametrize(("impute", "value"), [("median", 3.0), ("zero", 0.0)])
def test_missing_values_are_filled_as_at_fit(impute: str, value: float) -> None:
    spec = FeatureSpec.fit(CUSTOMERS, feature_set(["visits"], impute=impute))
    filled = CUSTOMERS.with_columns(pl.col("visits").fill_null(value))
    assert (spec.transform(CUSTOMERS) == spec.transform(filled)).all()


def test_missing_values_may_be_refused() -> None:
    whole = CUSTOMERS.with_columns(pl.col("visits").fill_null(2))
    spec = FeatureSpec.fit(whole, feature_set(["visits"], impute="refuse"))
    with pytest.raises(DataError, match="1 of 4 values are missing"):
        spec.transform(CUSTOMERS)


@pytest.mark.parametrize("transform", ["log", "none"])
@pytest.mark.parametrize("scale", ["standard", "robust", "none"])
@pytest.mark.parametrize("seed", range(5))
def test_inverse_brings_business_units_back(transform: str, scale: str, seed: int) -> None:
    values = np.random.default_rng(seed).lognormal(3, 2, size=(50, 2))
    frame = pl.DataFrame(values, schema=["a", "b"]).with_row_index("customer_id")
    spec = FeatureSpec.fit(
        frame, feature_set(["a", "b"], transform=transform, scale=scale, per_column={"b": {"weight": 2.5}})
    )
    exact = np.column_stack([column.forward(values[:, i]) for i, column in enumerate(spec.columns)])
    assert spec.inverse(exact) == pytest.approx(values, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_one_customer_is_seen_as_in_the_base(seed: int) -> None:
    values = np.random.default_rng(seed).lognormal(3, 2, size=(2000, 2))
    frame = pl.DataFrame(values, schema=["a", "b"]).with_row_index("customer_id")
    spec = FeatureSpec.fit(frame, feature_set(["a", "b"], per_column={"b": {"weight": 2.5, "scale": "robust"}}))
    matrix = spec.transform(frame)
    for row, coordinates in zip(frame.select("a", "b").to_dicts(), matrix, strict=True):
        assert (spec.row(row) == coordinates).all()
        assert spec.coordinates(row) == coordinates.tolist()


def test_whole_numbers_and_numpys_are_numbers() -> None:
    spec = FeatureSpec.fit(CUSTOMERS, feature_set(["frequency", "monetary"]))
    expected = spec.coordinates({"frequency": 7.0, "monetary": 2.0})
    for seven in (7, np.int64(7), np.float32(7), np.float64(7), np.uint8(7)):
        found = spec.coordinates({"monetary": 2, "frequency": seven})
        assert found == expected
        assert {type(number) for number in found} == {float}


def test_a_spec_travels_to_another_process() -> None:
    spec = FeatureSpec.fit(CUSTOMERS, feature_set(["frequency", "monetary"]))
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec
    assert again.coordinates({"frequency": 7, "monetary": 2}) == spec.coordinates({"frequency": 7, "monetary": 2})


def test_values_near_a_billion_keep_their_small_spread() -> None:
    frame = pl.DataFrame({"customer_id": [1, 2, 3], "a": [1e9, 1e9 + 1, 1e9 + 2]})
    matrix = FeatureSpec.fit(frame, feature_set(["a"], transform="none")).transform(frame)
    assert matrix[:, 0] == pytest.approx([-math.sqrt(1.5), 0, math.sqrt(1.5)])


def test_robust_falls_back_where_half_the_customers_are_alike() -> None:
    frame = pl.DataFrame({"customer_id": range(5), "a": [1.0, 1.0, 1.0, 1.0, 9.0]})
    matrix = FeatureSpec.fit(frame, feature_set(["a"], scale="robust", transform="none")).transform(frame)
    assert np.isfinite(matrix).all()
    assert matrix[4, 0] > matrix[0, 0]


def test_json_and_back_changes_nothing() -> None:
    spec = FeatureSpec.fit(CUSTOMERS, feature_set(["frequency", "monetary"]))
    again = FeatureSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert again.digest == spec.digest


def test_the_callers_frame_is_left_alone() -> None:
    before = CUSTOMERS.clone()
    FeatureSpec.fit(CUSTOMERS, feature_set(["visits"])).transform(CUSTOMERS)
    assert CUSTOMERS.equals(before)


@pytest.mark.parametrize(
    ("values", "settings", "says"),
    [
        ([5.0, 5.0, 5.0], {}, "same value .5. for all 3 customers"),
        ([1.0, math.inf, 2.0], {}, "1 of 3 values are infinite"),
        ([-1.0, 2.0, 3.0], {}, "1 values are negative"),
        ([None, None, None], {}, "all 3 values are missing"),
        (["a", "b", "c"], {}, "expected numbers"),
        ([1e308, -1e308, 3.0], {"transform": "none"}, "too large to scale"),
    ],
)
def test_a_column_that_cannot_be_clustered_says_why(values: list, settings: dict, says: str) -> None:
    dtype = pl.Float64 if values == [None] * 3 else None
    frame = pl.DataFrame({"customer_id": [1, 2, 3], "a": pl.Series(values, dtype=dtype)})
    with pytest.raises(DataError, match=says):
        FeatureSpec.fit(frame, feature_set(["a"], **settings))


def test_one_customer_cannot_be_segmented() -> None:
    with pytest.raises(DataError, match="at least two customers"):
        FeatureSpec.fit(CUSTOMERS[:1], feature_set(["frequency"]))


def test_a_missing_column_names_those_there() -> None:
    with pytest.raises(ColumnsMissingError, match=r"no column 'montary' \(did you mean 'monetary'"):
        FeatureSpec.fit(CUSTOMERS, feature_set(["montary"]))


@pytest.mark.parametrize(
    "settings",
    [
        {"transform": "sqrt"},
        {"scale": "minmax"},
        {"impute": "mean"},
        {"per_column": {"frequency": {"weight": 0}}},
        {"per_column": {"frequency": {"weight": math.nan}}},
        {"per_column": {"frequency": {"wieght": 2}}},
        {"per_column": {"monetary": {"weight": 2}}},
    ],
)
def test_an_impossible_treatment_is_refused(settings: dict) -> None:
    with pytest.raises(SettingError, match=r"^features\."):
        FeatureSpec.fit(CUSTOMERS, feature_set(["frequency"], **settings))


@pytest.mark.parametrize(
    ("customer", "says"),
    [
        ({"frequency": 3}, "no value for monetary; this model needs frequency, monetary"),
        ({"frequency": 3, "monetary": 1, "units": 2}, "unknown 'units'"),
        ({"frequency": "3", "monetary": 1}, "frequency should be a number; got '3'"),
        ({"frequency": True, "monetary": 1}, "frequency should be a number"),
        ({"frequency": -3, "monetary": 1}, "at least 0; got -3"),
        ({"frequency": math.inf, "monetary": 1}, "finite number"),
        ({"frequency": math.nan, "monetary": 1}, "finite number"),
        ({"frequency": 10**400, "monetary": 1}, "finite number"),
    ],
)
def test_an_impossible_customer_is_refused(customer: dict, says: str) -> None:
    spec = FeatureSpec.fit(CUSTOMERS, feature_set(["frequency", "monetary"]))
    with pytest.raises(DataError, match=says):
        spec.row(customer)


@pytest.mark.parametrize("value", [1e308, -1e308, 1e40])
def test_what_no_distance_reaches_is_refused(value: float) -> None:
    frame = pl.DataFrame({"customer_id": [1, 2, 3], "frequency": [1, 2, 6], "score": [-5e-3, 0.0, 5e-3]})
    spec = FeatureSpec.fit(frame, feature_set(["frequency", "score"], transform="none"))
    with pytest.raises(DataError, match=r"customer: score=.*is too far from the customers of the fit"):
        spec.row({"frequency": 1, "score": value})
    with pytest.raises(DataError, match="column 'score': 1 of 3 values are too far from the customers of the fit"):
        spec.transform(frame.with_columns(score=pl.Series([value, 0.0, 1.0])))


def test_a_missing_value_of_one_customer_may_be_filled() -> None:
    spec = FeatureSpec.fit(CUSTOMERS, feature_set(["frequency", "monetary"]))
    assert (spec.row({"monetary": 2}, impute=True) == spec.row({"frequency": 5.0, "monetary": 2})).all()


TRENDS = pl.DataFrame({"customer_id": [1, 2, 3], "frequency": [1, 2, 6], "trend_quarter": [-1.0, 0.0, 0.5]})


@pytest.mark.parametrize("features", [named_set(["frequency", "trend_quarter"]), feature_set(["trend_quarter"])])
def test_a_feature_that_can_be_negative_is_left_out_of_the_logarithm(features: FeatureSet) -> None:
    spec = FeatureSpec.fit(TRENDS, features)
    # Mean -1/6, standard deviation sqrt(7/18).
    expected = (np.array([-1.0, 0.0, 0.5]) + 1 / 6) / math.sqrt(7 / 18)
    assert spec.transform(TRENDS)[:, -1] == pytest.approx(expected)
    assert [column.transform for column in spec.columns] == ["log", "none"][-spec.d :]


def test_who_insists_on_its_logarithm_is_told_the_next_step() -> None:
    features = feature_set(["trend_quarter"], per_column={"trend_quarter": {"transform": "log"}})
    with pytest.raises(DataError, match=r"1 values are negative.*per_column=\{trend_quarter: \{transform: none\}\}"):
        FeatureSpec.fit(TRENDS, features)


@pytest.mark.parametrize(
    ("customer", "says"),
    [
        (
            {"frequency": -1, "trend_quarter": 0, "score": 0},
            "frequency should be a finite number of at least 0; got -1",
        ),
        ({"frequency": 1, "trend_quarter": -1.01, "score": 0}, "trend_quarter should be a number from -1 to 1"),
        ({"frequency": 1, "trend_quarter": 35, "score": 0}, "trend_quarter should be a number from -1 to 1; got 35"),
        ({"frequency": 1, "trend_quarter": 0, "score": math.nan}, "score should be a finite number; got nan"),
    ],
)
def test_what_a_feature_cannot_be_is_refused(customer: dict, says: str) -> None:
    frame = TRENDS.with_columns(score=pl.Series([-5.0, 0.0, 5.0]))
    spec = FeatureSpec.fit(frame, feature_set(["frequency", "trend_quarter", "score"], transform="none"))
    assert np.isfinite(spec.row({"frequency": 1, "trend_quarter": -1, "score": -9})).all()
    with pytest.raises(DataError, match=says):
        spec.row(customer)
