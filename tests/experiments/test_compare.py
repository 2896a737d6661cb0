"""The verb ``compare`` on folders that runs left."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from hydra import compose, initialize_config_dir

import engine
from experiments.app import config_dir
from experiments.compare import main
from experiments.output import MARKER
from experiments.settings import CompareConfig, typed


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Compare = Callable[..., Ran]


def sales(seed: int, *, customers: range, lively: Callable[[int], bool]) -> pl.DataFrame:
    """Return sales of customers who buy often and much, and of others who buy rarely and little."""
    draw = random.Random(seed)
    rows = []
    for customer in customers:
        often = lively(customer)
        for order in range(draw.randint(8, 14) if often else draw.randint(1, 2)):
            day = datetime(2024, 1, 1) + timedelta(days=draw.randint(0, 150))
            price = draw.randint(3_000, 9_000) / 100 if often else draw.randint(100, 900) / 100
            rows.append((customer, f"{customer}-{order}", day, draw.randint(1, 4), price))
    names = ["customer_id", "order_id", "timestamp", "quantity", "unit_price"]
    return pl.DataFrame(rows, schema=names, orient="row")


def leave_run(folder: Path, transactions: pl.DataFrame, **settings: Any) -> Path:
    """Write what `cartera segment` leaves and this verb reads."""
    run = engine.segment(transactions, **settings)
    folder.mkdir(parents=True)
    run.profile.write_csv(folder / "profile.csv")
    run.assignments.write_parquet(folder / "assignments.parquet")
    run.save(folder / "bundle")
    (folder / "summary.json").write_text(json.dumps(run.summary))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: even customers are lively before, those divisible by four and the new ones after."""
    folder = tmp_path_factory.mktemp("runs")
    first = sales(0, customers=range(1, 61), lively=lambda one: one % 2 == 0)
    second = sales(1, customers=range(5, 71), lively=lambda one: one % 4 == 0 or one > 60)
    leave_run(folder / "spring", first, k=2, language="en")
    leave_run(folder / "autumn", second, k=3, language="es", features=["recency_days", "units"])
    return folder


@pytest.fixture
def compare(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, runs: Path, tmp_path: Path) -> Compare:
    """Run the verb in this process, in a folder of its own with copies of the runs."""
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["cartera compare", *overrides])
        code = 0
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 0
        return Ran(code, *capfd.readouterr())

    return run


BOTH = ("before=spring", "after=autumn", "out=out")


# The verb


def test_settings_compose_to_their_type() -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        settings = typed(compose("compare", ["before=a", "after=b"]), CompareConfig)
    assert (settings.before, settings.after, settings.language) == ("a", "b", "en")


def test_everything_is_written_and_the_figures_agree(compare: Compare, tmp_path: Path) -> None:
    ran = compare(*BOTH)
    assert ran.code == 0, ran.err
    out = tmp_path / "out"
    written = {path.name for path in out.iterdir()} - {MARKER}
    assert written == {"comparison.json", "migration.csv", "profiles.csv", "moved.parquet", "report.html"}
    found = json.loads((out / "comparison.json").read_text())
    assert (found["common_customers"], found["gone_customers"], found["new_customers"]) == (56, 4, 10)
    migration, moved = pl.read_csv(out / "migration.csv"), pl.read_parquet(out / "moved.parquet")
    assert migration["customers"].sum() == 70
    assert moved.height == found["moved_customers"] > 0
    assert moved.columns == ["customer_id", "from_segment_id", "from_name", "to_segment_id", "to_name"]
    profiles = pl.read_csv(out / "profiles.csv")
    assert profiles["customers_before"].sum() == 60
    assert profiles["customers_after"].sum() == 66
    # Who moved is told by the assignments of both runs.
    before, after = (
        dict(pl.read_parquet(tmp_path / run / "assignments.parquet").select(pl.nth(0), pl.nth(1)).iter_rows())
        for run in ("spring", "autumn")
    )
    matches = {pair["before_segment_id"]: pair["after_segment_id"] for pair in found["pairs"]}
    expected = [one for one in sorted(before.keys() & after.keys()) if matches.get(before[one]) != after[one]]
    assert moved["customer_id"].to_list() == expected


def test_five_figures_are_printed(compare: Compare) -> None:
    ran = compare(*BOTH)
    labels = [line.split("  ")[0] for line in ran.out.splitlines()]
    assert labels == [
        "customers in both",
        "changed segment",
        "were not there before",
        "are no longer there",
        "adjusted Rand",
        "report",
    ]
    assert "56" in ran.out.splitlines()[0]
    assert "different measures" in ran.err


def test_names_are_in_the_language_asked_for(compare: Compare, tmp_path: Path) -> None:
    # One of the runs was made in the other language: its files say so, its bundle knows both.
    assert compare(*BOTH, "language=es").out.startswith("clientes comunes")
    spanish, outside_es = (pl.read_csv(tmp_path / "out" / name) for name in ("profiles.csv", "migration.csv"))
    moved_es = pl.read_parquet(tmp_path / "out" / "moved.parquet")
    assert compare(*BOTH).code == 0
    english = pl.read_csv(tmp_path / "out" / "profiles.csv")
    names = ["before_name", "after_name"]
    assert spanish.drop(names).equals(english.drop(names))
    assert set(spanish["before_name"].drop_nulls()).isdisjoint(english["before_name"])
    assert set(spanish["after_name"].drop_nulls()).isdisjoint(english["after_name"].drop_nulls())
    moved, outside = (
        pl.read_parquet(tmp_path / "out" / "moved.parquet"),
        pl.read_csv(tmp_path / "out" / "migration.csv"),
    )
    for tables in ((moved, moved_es), (outside, outside_es)):
        for column in ("from_name", "to_name"):
            assert set(tables[0][column]).isdisjoint(tables[1][column])


def test_the_same_run_twice(compare: Compare, tmp_path: Path) -> None:
    ran = compare("before=spring", "after=spring", "out=out")
    assert ran.code == 0, ran.err
    assert "1.000: the two divisions are the same" in ran.out
    assert pl.read_parquet(tmp_path / "out" / "moved.parquet").is_empty()
    assert "No customer changed segment" in (tmp_path / "out" / "report.html").read_text()


def test_runs_without_a_common_customer(compare: Compare, tmp_path: Path) -> None:
    strangers = sales(2, customers=range(100, 130), lively=lambda one: one % 2 == 0)
    leave_run(tmp_path / "strangers", strangers, k=2)
    ran = compare("before=spring", "after=strangers", "out=out", "language=es")
    assert ran.code == 0
    assert "ningún cliente en común" in ran.err
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert (found["common_customers"], found["adjusted_rand"], found["share_moved"]) == (0, None, None)
    assert "Las dos ejecuciones no comparten ningún cliente" in (tmp_path / "out" / "report.html").read_text()


# Bad input


def spoil_bundle(runs: Path) -> None:
    (runs / "autumn" / "bundle" / "segments.json").write_text("[]")


def spoil_profile(runs: Path) -> None:
    (runs / "autumn" / "profile.csv").write_text("segment_id,customers\nseg-a,many\n")


def spoil_assignments(runs: Path) -> None:
    (runs / "autumn" / "assignments.parquet").write_text("no Parquet")


def spoil_summary(runs: Path) -> None:
    (runs / "autumn" / "summary.json").write_text("[1]")


def ids_as_text(runs: Path) -> None:
    path = runs / "autumn" / "assignments.parquet"
    pl.read_parquet(path).cast({"customer_id": pl.String}).write_parquet(path)


def lose_files(runs: Path) -> None:
    (runs / "autumn" / "profile.csv").unlink()
    (runs / "autumn" / "summary.json").unlink()


def other_assignments(runs: Path) -> None:
    shutil.copy(runs / "spring" / "assignments.parquet", runs / "autumn" / "assignments.parquet")


def nest(runs: Path) -> None:
    (runs / "years").mkdir()
    (runs / "autumn").rename(runs / "years" / "0")
    (runs / "years").rename(runs / "autumn")


def nothing(runs: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "overrides", "message"),
    [
        (nothing, ["before=spring", "out=out"], "after: required; give after=… on the command line."),
        (nothing, ["before=winter", *BOTH[1:]], "before=winter: expected a folder that `cartera segment` wrote"),
        (nothing, ["before=spring/profile.csv", *BOTH[1:]], "a file is there"),
        (nothing, ["before=spring/bundle", *BOTH[1:]], "This is a bundle; give the run around it: before=spring."),
        (nothing, [*BOTH, "language=fr"], "language: expected one of en, es; got 'fr'"),
        (nothing, ["before=spring", "after=autumn", "out=spring/out"], "it lies inside spring, which this run reads"),
        (nest, BOTH, "There are runs in it; give one of them: after=autumn/0."),
        (lose_files, BOTH, "there is no profile.csv, summary.json in it"),
        (spoil_bundle, BOTH, "segments.json is missing or not as it was written"),
        (spoil_profile, BOTH, "after=autumn: profile.csv is not what `cartera segment` wrote"),
        (spoil_assignments, BOTH, "after=autumn: assignments.parquet is not what `cartera segment` wrote"),
        (spoil_summary, BOTH, "after=autumn: summary.json is not what `cartera segment` wrote"),
        (other_assignments, BOTH, "after: expected assignments, profile and segments of one run"),
        (ids_as_text, BOTH, "it is whole numbers before and text after"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(
    compare: Compare, tmp_path: Path, spoil: Callable[[Path], None], overrides: list[str], message: str
) -> None:
    spoil(tmp_path)
    there = sorted(path for path in tmp_path.rglob("*"))
    ran = compare(*overrides)
    assert ran.code == 2
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""
    assert sorted(path for path in tmp_path.rglob("*")) == there


@pytest.mark.parametrize(
    ("field", "written", "expected"),
    [
        ("silhouette", "NaN", "silhouette: expected a number from -1 to 1; got nan"),
        ("silhouette", '"high"', "silhouette: expected a number from -1 to 1; got 'high'"),
        ("silhouette", "true", "silhouette: expected a number from -1 to 1; got True"),
        ("monetary_total", "-Infinity", "monetary_total: expected a finite sum of money; got -inf"),
        ("monetary_total", '"much"', "monetary_total: expected a finite sum of money; got 'much'"),
        ("monetary_total", "[1]", "monetary_total: expected a finite sum of money; got [1]"),
        ("monetary_total", "1" + 400 * "0", "monetary_total: expected a finite sum of money; got 1000"),
        ("lake_version", "1e999", "lake_version: expected a whole number, 0 or more; got inf"),
    ],
)
def test_a_fact_that_cannot_be_is_named(
    compare: Compare, tmp_path: Path, field: str, written: str, expected: str
) -> None:
    path = tmp_path / "spring" / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: "HERE"}).replace('"HERE"', written))
    ran = compare(*BOTH)
    assert ran.code == 2
    assert f"before=spring: summary.json is not what `cartera segment` wrote ({expected}" in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("field", "written", "expected"),
    [
        ("monetary_mean", "NaN", "monetary_mean: expected finite numbers; got nan"),
        ("monetary_mean", "-inf", "monetary_mean: expected finite numbers; got -inf"),
        ("share_monetary", "1.5", "share_monetary: expected shares from 0 to 1; got 1.5"),
        ("share_customers", "-0.1", "share_customers: expected shares from 0 to 1; got -0.1"),
        ("share_customers", "NaN", "share_customers: expected shares from 0 to 1; got nan"),
        ("share_customers", "", "share_customers: expected shares from 0 to 1; got None"),
    ],
)
def test_a_figure_that_cannot_be_is_named(
    compare: Compare, tmp_path: Path, field: str, written: str, expected: str
) -> None:
    path = tmp_path / "autumn" / "profile.csv"
    profile = pl.read_csv(path, infer_schema=False)
    spoilt = [written or None, *profile[field][1:]]
    profile.with_columns(pl.Series(field, spoilt)).write_csv(path)
    ran = compare(*BOTH)
    assert ran.code == 2
    assert f"after=autumn: profile.csv is not what `cartera segment` wrote ({expected})" in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_not_touched(compare: Compare, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    ran = compare(*BOTH)
    assert ran.code == 2
    assert "one that `cartera compare` wrote" in ran.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]
