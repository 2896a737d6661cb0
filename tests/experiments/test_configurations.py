from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from engine.lake.recipe import Recipe
from engine.segments.naming import RuleTable
from experiments.app import config_dir
from experiments.settings import (
    BenchConfig,
    CompareConfig,
    DoctorConfig,
    FeaturesVerbConfig,
    IngestConfig,
    LookalikeConfig,
    RecommendConfig,
    ScoreConfig,
    SegmentConfig,
    ServeConfig,
    SweepConfig,
    typed,
)

CONF = config_dir()
KINDS = {
    "ingest": IngestConfig,
    "features": FeaturesVerbConfig,
    "segment": SegmentConfig,
    "sweep": SweepConfig,
    "compare": CompareConfig,
    "lookalike": LookalikeConfig,
    "recommend": RecommendConfig,
    "score": ScoreConfig,
    "serve": ServeConfig,
    "bench": BenchConfig,
    "doctor": DoctorConfig,
}
REQUIRED = {"score": ["bundle=b"], "compare": ["before=a", "after=b"], "lookalike": ["seeds=s", "prospects=p"]}
OPTIONS = sorted(f"{path.parent.name}={path.stem}" for path in CONF.glob("*/*.yaml"))


def composed(verb: str, *overrides: str):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(verb, [*REQUIRED.get(verb, []), *overrides])


def test_every_root_has_a_verb_and_a_type() -> None:
    from experiments.__main__ import VERBS

    assert {path.stem for path in CONF.glob("*.yaml")} - {"common"} == set(VERBS) == set(KINDS)


@pytest.mark.parametrize("verb", KINDS)
def test_every_root_composes_to_its_type(verb: str) -> None:
    settings = typed(composed(verb), KINDS[verb])
    assert isinstance(settings, KINDS[verb])


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_every_group_composes(option: str) -> None:
    settings = typed(composed("sweep", option), SweepConfig)  # its root has every group of the others
    assert settings.features.feature_set().columns
    assert RuleTable.load(settings.segments.rules)
    data = {**settings.data}
    if data.get("path") in (None, "???") and data.get("source") != "synthetic":
        data["path"] = "sales.csv"
    assert Recipe.from_mapping(data).name


@pytest.mark.parametrize(
    ("name", "days"), [("three_years", 3 * 365.25), ("five_years", 5 * 365.25), ("ten_years", 10 * 365.25)]
)
def test_recipes_for_years_cover_them(name: str, days: float) -> None:
    window = typed(composed("segment", f"experiment={name}"), SegmentConfig).features.window_days
    assert abs(window - days) < 1


def test_every_setting_is_explained() -> None:
    # A comment for a user above or beside the keys of each file.
    for path in CONF.rglob("*.yaml"):
        assert "#" in Path(path).read_text("utf-8"), path
