from __future__ import annotations

from datetime import UTC, datetime

import pytest
import yaml

from engine.errors import SettingError
from engine.features.matrix import FeatureSet, FeatureSpec
from engine.features.sets import SETS, named_set
from engine.features.store import FEATURES, customer_table
from experiments.app import config_dir
from experiments.settings import FeaturesConfig
from tests.features.rows_in_memory import RowsInMemory, make_transactions

FILES = sorted((config_dir() / "features").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_notebook_and_command_line_mean_the_same(path) -> None:
    settings = FeaturesConfig(**yaml.safe_load(path.read_text("utf-8")))
    mine, theirs = SETS[path.stem], settings.feature_set()
    assert settings.name == path.stem
    assert settings.window_days is None
    assert theirs.columns == mine.columns
    assert [theirs.of(name) for name in theirs.columns] == [mine.of(name) for name in mine.columns]


def test_every_set_has_its_file() -> None:
    assert {path.stem for path in FILES} == set(SETS)


@pytest.mark.parametrize("name", SETS)
def test_every_set_can_be_clustered(name: str) -> None:
    features = named_set(name)
    assert set(features.columns) <= set(FEATURES)
    table = customer_table(
        RowsInMemory(make_transactions(3)), columns=features.columns, as_of=datetime(2023, 7, 1, tzinfo=UTC)
    )
    matrix = FeatureSpec.fit(table.frame, features).transform(table.frame)
    # Scaled: centred and of spread one, so that no column outweighs another.
    assert matrix.mean(axis=0) == pytest.approx([0] * len(features.columns), abs=1e-5)
    assert matrix.std(axis=0) == pytest.approx([1] * len(features.columns), rel=1e-5)


def test_a_name_a_list_or_a_set() -> None:
    assert named_set("rfm") is SETS["rfm"]
    assert named_set(["frequency"]) == FeatureSet(("frequency",))
    assert named_set(SETS["ticket"]) is SETS["ticket"]


def test_a_set_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SettingError, match=r"features: expected one of rfm, rfm_units, .*did you mean 'behaviour'"):
        named_set("behavior")
    with pytest.raises(SettingError, match="or a list of columns"):
        named_set(5)  # type: ignore[arg-type]
