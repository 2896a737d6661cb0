from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from engine.errors import BundleError, ColumnsMissingError, SettingError
from engine.segments.identity import segment_ids
from engine.segments.naming import RuleTable
from engine.segments.profile import profile
from engine.segments.segment import Driver, Segment, describe, find_drivers, profile_table

RETAIL = RuleTable.load("retail")
LABELS = np.repeat(np.array([2, 0, 1], dtype=np.int32), [40, 60, 80])
CENTROIDS = np.array([[0.0, 0.5], [-1.0, -1.5], [1.0, 2.0]])


def shop() -> pl.DataFrame:
    """Three kinds of customer, the best of them in cluster 2."""
    rng = np.random.default_rng(7)
    level = np.repeat([10.0, 3.0, 0.4], [40, 60, 80])
    noise = rng.lognormal(0, 0.1, 180)
    tenure = np.repeat([600, 500, 450], [40, 60, 80]) + rng.integers(0, 20, 180)
    return pl.DataFrame(
        {
            "customer_id": np.arange(180),
            "recency_days": np.repeat([3, 20, 300], [40, 60, 80]) + rng.integers(0, 5, 180),
            "tenure_days": tenure,
            "frequency": np.ceil(3 * level * noise).astype(np.int64),
            "units": np.ceil(20 * level * noise),
            "monetary": np.round(100 * level * noise, 2),
            "score": [None if index % 9 == 0 else 1.0 for index in range(180)],
        }
    )


def test_segments_come_in_the_order_of_the_clusters_and_the_table_by_rank() -> None:
    segments, table = describe(shop(), LABELS, CENTROIDS, "a1", measures=[], rules=RETAIL)
    assert [segment.rank for segment in segments] == [2, 3, 1]
    assert table["rank"].to_list() == [1, 2, 3]
    assert table["customers"].to_list() == [40, 60, 80]
    assert table["segment_id"].to_list() == [segments[index].segment_id for index in (2, 0, 1)]


def test_ids_are_those_of_the_centroids() -> None:
    segments, _ = describe(shop(), LABELS, CENTROIDS, "a1", measures=[], rules=RETAIL)
    assert [segment.segment_id for segment in segments] == segment_ids("a1", CENTROIDS)


@pytest.mark.parametrize("language", ["en", "es"])
def test_the_table_has_the_names_of_its_language(language: str) -> None:
    segments, table = describe(shop(), LABELS, CENTROIDS, "a1", measures=[], rules=RETAIL, language=language)
    assert table["name"].to_list() == [segments[index].name.text(language) for index in (2, 0, 1)]


def test_the_columns_of_the_table_are_in_the_published_order() -> None:
    _, table = describe(shop(), LABELS, CENTROIDS, "a1", measures=["score"], rules=RETAIL)
    assert table.columns == [
        "segment_id",
        "name",
        "customers",
        "share_customers",
        "monetary_mean",
        "frequency_mean",
        "units_mean",
        "share_monetary",
        "rank",
        "recency_days_mean",
        "tenure_days_mean",
        "score_mean",
        "monetary_median",
        "frequency_median",
        "units_median",
        "recency_days_median",
        "tenure_days_median",
        "score_median",
        "score_missing",
    ]


def test_the_table_in_the_other_language_differs_only_in_names() -> None:
    segments, table = describe(shop(), LABELS, CENTROIDS, "a1", measures=[], rules=RETAIL)
    spanish = profile_table(profile(shop(), LABELS, 3), segments, language="es")
    assert_frame_equal(table.drop("name"), spanish.drop("name"), check_exact=True)
    assert spanish["name"][0] == "Clientes usuarios"


def test_segments_carry_the_figures_of_the_table() -> None:
    segments, table = describe(shop(), LABELS, CENTROIDS, "a1", measures=["score"], rules=RETAIL)
    for row in table.iter_rows(named=True):
        segment = next(one for one in segments if one.segment_id == row["segment_id"])
        assert segment.share_monetary == row["share_monetary"]
        for measure, mean in segment.means.items():
            assert mean == row[f"{measure}_mean"]
            assert segment.medians[measure] == row[f"{measure}_median"]


def test_a_segment_survives_json_exactly() -> None:
    segments, _ = describe(shop(), LABELS, CENTROIDS, "a1", measures=["score"], rules=RETAIL)
    assert any(segment.drivers for segment in segments)
    for segment in segments:
        text = json.dumps(segment.to_dict(), allow_nan=False)
        assert Segment.from_dict(json.loads(text)) == segment


@pytest.mark.parametrize("change", ["drop", "add", "word", "driver"])
def test_a_damaged_segment_is_refused(change: str) -> None:
    segments, _ = describe(shop(), LABELS, CENTROIDS, "a1", measures=[], rules=RETAIL)
    raw = segments[2].to_dict()
    if change == "drop":
        del raw["rank"]
    elif change == "add":
        raw["colour"] = "red"
    elif change == "word":
        del raw["name"]["es"]
    else:
        raw["drivers"] = [{"feature": "units"}]
    with pytest.raises(BundleError, match="damaged or of another version"):
        Segment.from_dict(raw)


def test_drivers_worked_by_hand() -> None:
    # log2(1 + x) is 0, 0, 2, 2 for billing: mean 1, deviation 1, so z is -1 and 1; the mean is 1.5.
    customers = pl.DataFrame({"monetary": [0.0, 0.0, 3.0, 3.0], "frequency": [5, 5, 5, 5]})
    labels = np.array([0, 0, 1, 1], dtype=np.int32)
    low, high = find_drivers(customers, labels, profile(customers, labels, 2))
    assert low == (Driver("monetary", 0.0, pytest.approx(-1.0), "low"),)
    assert high == (Driver("monetary", 2.0, pytest.approx(1.0), "high"),)


@pytest.mark.parametrize(("high", "told"), [(13.0, False), (17.0, True)])
def test_a_measure_close_to_the_average_sets_nobody_apart(high: float, told: bool) -> None:
    # 13 is 1.13 times the average of 10 and 13, and 17 is 1.26 times that of 10 and 17.
    customers = pl.DataFrame({"monetary": [10.0, 10.0, high, high]})
    labels = np.array([0, 0, 1, 1], dtype=np.int32)
    drivers = find_drivers(customers, labels, profile(customers, labels, 2))
    assert [bool(one) for one in drivers] == [told, told]


def test_the_strongest_drivers_come_first_and_at_most_three() -> None:
    segments, _ = describe(shop(), LABELS, CENTROIDS, "a1", measures=[], rules=RETAIL)
    for segment in segments:
        strengths = [abs(driver.z) for driver in segment.drivers]
        assert len(strengths) <= 3
        assert strengths == sorted(strengths, reverse=True)


def test_a_driver_whose_ratio_and_distance_disagree_is_left_out() -> None:
    # One giant lifts the population's mean above cluster 1, whose customers are still above most others.
    customers = pl.DataFrame({"monetary": [1.0] * 6 + [20.0] * 3 + [100_000.0]})
    labels = np.array([0] * 6 + [1] * 3 + [2], dtype=np.int32)
    found = find_drivers(customers, labels, profile(customers, labels, 3))
    assert found[1] == ()
    assert found[2][0].direction == "high"


def test_a_measure_that_can_be_negative_has_a_direction_but_no_ratio() -> None:
    # Around zero the mean of all is close to nothing: 1 would be "a hundred times the average".
    customers = pl.DataFrame({"monetary": [1.0, 1.0], "trend_quarter": [-0.98, 1.0]})
    labels = np.array([0, 1], dtype=np.int32)
    low, high = find_drivers(customers, labels, profile(customers, labels, 2, measures=["trend_quarter"]))
    assert low == (Driver("trend_quarter", None, pytest.approx(-1.0), "low"),)
    assert high == (Driver("trend_quarter", None, pytest.approx(1.0), "high"),)


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(SettingError, match="expected one of en, es"):
        describe(shop(), LABELS, CENTROIDS, "a1", measures=[], rules=RETAIL, language="fr")


def test_measures_that_the_rules_need_are_asked_for_by_name() -> None:
    with pytest.raises(ColumnsMissingError, match=r"'tenure_days'.*segments\.rules"):
        describe(shop().drop("tenure_days"), LABELS, CENTROIDS, "a1", measures=[], rules=RETAIL)


def test_the_configuration_group_names_a_preset_that_is_shipped() -> None:
    path = Path(__file__).parents[2] / "conf" / "segments" / "retail.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert settings == {"min": 3, "max": 8, "min_share": 0.01, "rules": "retail"}
    assert (resources.files("engine.segments") / "presets" / "retail.yaml").is_file()
