from __future__ import annotations

import warnings

import numpy as np
import pytest

from engine.errors import SettingError
from engine.features import correlation
from engine.features.correlation import FEWEST_CUSTOMERS, CorrelatedPair, correlated_pairs
from engine.features.matrix import FeatureSpec, feature_set
from engine.features.store import customer_table
from tests.features.rows_in_memory import RowsInMemory, make_transactions
from tests.reference.features_twin import correlations

NAMES = ["frequency", "units", "monetary", "score"]


def matrix_of(seed: int, rows: int = 500, center: float = 0.0) -> np.ndarray:
    """Return columns of which the first two have much in common, the second and the last nothing."""
    draw = np.random.default_rng(seed)
    columns = draw.standard_normal((rows, 4))
    columns[:, 1] = columns[:, 0] + 0.2 * columns[:, 1]
    columns[:, 2] = 0.5 * columns[:, 2] - columns[:, 0]
    return (center + columns).astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("center", [0.0, 1e4])
@pytest.mark.parametrize("block", [4 << 20, 7 * 4 * 8])
def test_equals_the_plain_python_twin(seed: int, center: float, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlation, "BLOCK_BYTES", block)
    matrix = matrix_of(seed, center=center)
    twin = correlations(matrix.astype(float).T.tolist())
    found = correlated_pairs(matrix, NAMES, threshold=1e-9)
    assert len(found) == 6
    for pair in found:
        place = (NAMES.index(pair.first), NAMES.index(pair.second))
        assert pair.correlation == pytest.approx(twin[place], abs=1e-9)


def test_the_strongest_first_and_only_those_above_the_threshold() -> None:
    found = correlated_pairs(matrix_of(0), NAMES, threshold=0.85)
    assert [(pair.first, pair.second) for pair in found] == [
        ("frequency", "units"),
        ("frequency", "monetary"),
        ("units", "monetary"),
    ]
    assert found[0].correlation > 0.9
    # One goes up where the other goes down: that is the same thing said backwards.
    assert found[1].correlation < -0.85
    assert correlated_pairs(matrix_of(0), NAMES, threshold=found[0].correlation) == found[:1]


@pytest.mark.parametrize("value", [0.0, 0.1, -3.3e7])
@pytest.mark.parametrize("block", [4 << 20, 7 * 4 * 8])
def test_a_constant_column_is_in_no_pair(value: float, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlation, "BLOCK_BYTES", block)
    matrix = matrix_of(1)
    matrix[:, 0] = matrix[:, 3] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = correlated_pairs(matrix, NAMES, threshold=1e-12)
    assert [(pair.first, pair.second) for pair in found] == [("units", "monetary")]
    assert np.isfinite(found[0].correlation)


def test_a_weight_changes_nothing_and_the_matrix_is_left_alone() -> None:
    matrix = matrix_of(2)
    heavy = (matrix * np.array([4, 1, 2, 1])).astype(np.float32)
    heavy.flags.writeable = False
    plain = [(pair.first, pair.second) for pair in correlated_pairs(matrix, NAMES, threshold=0.5)]
    assert [(pair.first, pair.second) for pair in correlated_pairs(heavy, NAMES, threshold=0.5)] == plain


def test_few_customers_say_nothing() -> None:
    line = np.arange(FEWEST_CUSTOMERS, dtype=np.float32)
    both = np.column_stack([line, line])
    assert correlated_pairs(both[:-1], ["frequency", "units"]) == []
    assert correlated_pairs(both, ["frequency", "units"]) == [CorrelatedPair("frequency", "units", 1.0)]
    assert correlated_pairs(both[:0], ["frequency", "units"]) == []


def test_on_a_customer_table() -> None:
    columns = ["frequency", "monetary", "average_ticket", "distinct_products"]
    table = customer_table(RowsInMemory(make_transactions(1)), columns=columns)
    spec = FeatureSpec.fit(table.frame, feature_set(columns))
    matrix = spec.transform(table.frame)
    pairs = correlated_pairs(matrix, spec.names, threshold=0.5)
    full = np.corrcoef(matrix.astype(float).T)
    expected = {
        (a, b) for i, a in enumerate(columns) for j, b in enumerate(columns) if i < j and abs(full[i, j]) >= 0.5
    }
    assert {(pair.first, pair.second) for pair in pairs} == expected != set()


def test_the_warning_in_both_languages() -> None:
    warning = CorrelatedPair("units", "monetary", 0.9956).warning
    assert "“Units” says nearly the same as “Revenue” (correlation 0.99)" in warning.en
    assert "«Unidades» dice casi lo mismo que «Facturación» (correlación 0,99)" in warning.es
    assert "features.columns" in warning.en
    assert "features.per_column" in warning.es
    # A column of the user's own, going the other way.
    assert (
        "“score” says nearly the same as “Units” (correlation −0.90)"
        in CorrelatedPair("score", "units", -0.901).warning.en
    )


@pytest.mark.parametrize("threshold", [0, -0.5, 1.01, float("nan"), True, "0.9"])
def test_an_impossible_threshold_is_refused(threshold: object) -> None:
    with pytest.raises(SettingError, match="threshold: expected a correlation above 0"):
        correlated_pairs(matrix_of(0), NAMES, threshold=threshold)  # type: ignore[arg-type]
