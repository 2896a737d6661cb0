"""The verb ``lookalike`` on files and on a folder that a run left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hydra import compose, initialize_config_dir

import engine
from experiments.app import config_dir
from experiments.output import MARKER
from experiments.settings import LookalikeConfig, typed
from tests.experiments.conftest import Ran
from tests.experiments.till import sales_csv
from tests.lookalike.people import people, seeds_and_prospects

Cartera = Callable[..., Ran]


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `cartera segment` leaves of sixty customers, half of whom (the even ids) buy often and much."""
    folder = tmp_path_factory.mktemp("lookalike") / "run"
    sales = pl.read_csv(sales_csv(folder.parent / "sales.csv"), try_parse_dates=True)
    run = engine.segment(sales.with_columns(pl.col("timestamp").cast(pl.Datetime("us"))), k=2)
    run.save(folder / "bundle")
    run.profile.write_csv(folder / "profile.csv")
    run.assignments.write_parquet(folder / "assignments.parquet")
    (folder / "summary.json").write_text(json.dumps(run.summary))
    return folder


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Write prospects as Parquet, and seeds as a Spanish spreadsheet does."""
    seeds, prospects, _ = seeds_and_prospects(0, n=60, m=300)
    spanish = seeds.with_columns(pl.col("income").cast(pl.String).str.replace(".", ",", literal=True))
    text = spanish.write_csv(separator=";").replace("owner", "dueño")
    (tmp_path / "seeds.csv").write_bytes(text.encode("cp1252"))
    prospects.with_columns(pl.col("home").replace("owner", "dueño")).write_parquet(tmp_path / "prospects.parquet")
    return {name: tmp_path / name for name in ("seeds.csv", "prospects.parquet")}


def content(folder: Path) -> tuple[pl.DataFrame, dict]:
    return pl.read_parquet(folder / "lookalikes.parquet"), json.loads((folder / "lookalikes.json").read_text("utf-8"))


FILES = ("seeds=seeds.csv", "prospects=prospects.parquet")


def test_settings_compose_to_their_type() -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        settings = typed(compose("lookalike", ["seeds=a", "prospects=b"]), LookalikeConfig)
    assert (settings.k, settings.keep_customers, settings.codes) == (1000, False, [])


def test_files_of_different_kinds(cartera: Cartera, files: dict[str, Path], tmp_path: Path) -> None:
    ran = cartera("lookalike", *FILES, "k=20", "out=out", "language=es")
    assert ran.code == 0, ran.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"lookalikes.parquet", "lookalikes.json", MARKER}
    table, found = content(tmp_path / "out")
    assert table.height == 20
    assert table["customer_id"].dtype == pl.Int64
    # The decimal comma was read: income is a number in both files.
    assert {each["name"]: each["kind"] for each in found["columns"]} == {
        "age": "bands",
        "income": "number",
        "home": "text",
        "noise": "text",
    }
    assert found["columns"][2]["levels"][0]["value"]["en"] == "dueño"
    assert (found["seeds"]["asked"], found["seeds"]["columns_from"], found["seeds"]["used"]) == (60, "seeds", 60)
    assert [line.split("  ")[0] for line in ran.out.splitlines()] == [
        "semillas",
        "prospectos",
        "comparados por",
        "AUC",
        "mejor decil",
        "lista",
    ]


def test_a_segment_of_a_run_with_its_columns_elsewhere(
    cartera: Cartera, files: dict[str, Path], segmented: Path, tmp_path: Path
) -> None:
    known = pl.concat([people(60, 3, like_seeds=0.5).drop("alike"), people(5, 4, first_id=900).drop("alike")])
    known.rename({"customer_id": "client"}).write_csv("known.csv")
    segments = engine.load(segmented / "bundle").segments
    best = next(each for each in segments if each.rank == 1)
    for name in (best.segment_id, best.name.es.upper()):
        ran = cartera(
            "lookalike",
            f"seeds={segmented}",
            f'segment="{name}"',
            "prospects=prospects.parquet",
            "customers=known.csv",
            "customer_id=client",
            "k=30",
            f"out={name[:3]}",
        )
        assert ran.code == 0, ran.err
        table, found = content(tmp_path / name[:3])
        assert found["seeds"]["asked"] == best.customers == 30
        assert found["seeds"]["columns_from"] == "customers"
    assert table.equals(content(tmp_path / best.segment_id[:3])[0])


def test_customers_are_left_out_or_looked_among(cartera: Cartera, segmented: Path, tmp_path: Path) -> None:
    everybody = people(70, 5, like_seeds=0.5).drop("alike")
    everybody.write_parquet("everybody.parquet")
    pl.DataFrame({"customer_id": ["61", "1"]}).write_csv("exclude.csv")
    best = next(each for each in engine.load(segmented / "bundle").segments if each.rank == 1)
    arguments = ("lookalike", f"seeds={segmented}", f"segment={best.segment_id}", "prospects=everybody.parquet")
    assert cartera(*arguments, "out=new").code == 0
    table, found = content(tmp_path / "new")
    # Ids 1 to 60 are customers of the run.
    assert sorted(table["customer_id"]) == list(range(61, 71))
    assert found["seeds"]["columns_from"] == "prospects"
    assert found["prospects"] == {"rows": 70, "repeated": 0, "without_id": 0, "customers": 60, "ranked": 10}
    assert cartera(*arguments, "keep_customers=true", "exclude=exclude.csv", "out=all").code == 0
    table, _ = content(tmp_path / "all")
    odd = {one for one in range(3, 61) if one % 2}
    assert set(table["customer_id"]) == odd | set(range(62, 71))


def test_a_condition_chooses_the_seeds_and_all_in_the_file_are_customers(
    cartera: Cartera, files: dict[str, Path], tmp_path: Path
) -> None:
    seeds, prospects, _ = seeds_and_prospects(0, n=60, m=300)
    spent = pl.Series("spent", range(60))
    pl.concat([seeds.with_columns(spent), prospects.head(40).with_columns(spent=pl.lit(0, pl.Int64))]).write_csv(
        "customers.csv"
    )
    ran = cartera("lookalike", "seeds=customers.csv", "where='spent >= 20'", "prospects=prospects.parquet", "out=out")
    assert ran.code == 0, ran.err
    table, found = content(tmp_path / "out")
    assert (found["seeds"]["asked"], found["seeds"]["where"]) == (40, "spent >= 20")
    assert table.height == 260
    assert [each["name"] for each in found["left_out"]] == ["spent"]


def test_seeds_by_id_alone_are_looked_up_and_those_not_found_are_told(
    cartera: Cartera, files: dict[str, Path], tmp_path: Path
) -> None:
    ids = pl.read_parquet("prospects.parquet")["customer_id"].head(50)
    pl.DataFrame({"customer_id": [*ids, 1, 2, 3]}).write_csv("ids.csv")
    ran = cartera("lookalike", "seeds=ids.csv", "prospects=prospects.parquet", "k=10", "out=out")
    assert ran.code == 0, ran.err
    assert "3 of 53 seeds are not in prospects=prospects.parquet" in ran.err
    assert content(tmp_path / "out")[1]["seeds"]["used"] == 50
    pl.DataFrame({"customer_id": ["x", "y"]}).write_csv("ids.csv")
    ran = cartera("lookalike", "seeds=ids.csv", "prospects=prospects.parquet", "out=none")
    assert ran.code == 2
    assert "none of the 2 seeds is in prospects=prospects.parquet" in ran.err
    assert not (tmp_path / "none").exists()


def test_assignments_as_a_file_choose_by_segment(cartera: Cartera, segmented: Path, tmp_path: Path) -> None:
    people(70, 5).drop("alike").write_parquet("everybody.parquet")
    arguments = ("lookalike", f"seeds={segmented / 'assignments.parquet'}", "prospects=everybody.parquet")
    name = engine.load(segmented / "bundle").segments[0].name.en
    assert cartera(*arguments, f'segment="{name.upper()}"', "out=out").code == 0
    assert content(tmp_path / "out")[1]["seeds"]["asked"] == 30
    ran = cartera(*arguments, "segment=nobody", "out=none")
    assert ran.code == 2
    assert "There are " in ran.err
    assert name in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("seeds=nowhere.csv", FILES[1]), "seeds=nowhere.csv: no such file"),
        ((FILES[0], "prospects=nowhere.csv"), "prospects=nowhere.csv: no such file"),
        ((FILES[0],), "prospects: required"),
        ((*FILES, "segment=champions"), "no column segment_id to select by"),
        ((*FILES, "where='customer_id = 1'"), "customer_id cannot be used"),
        ((*FILES, "where='income >'"), "expected an SQL condition"),
        ((*FILES, "where='incme > 1'"), "did you mean 'income'"),
        ((*FILES, "where='income > 1e9'"), "none of the 60 customers"),
        ((*FILES, "columns=[age,ages]"), "did you mean 'age'"),
        ((*FILES, "codes=[zip]"), "no column 'zip'"),
        ((*FILES, "k=0"), "whole number from 1"),
        ((*FILES, "customer_id=dni", "exclude=bad.csv"), "exclude=bad.csv: no column 'customer_id'"),
        (("seeds=prospects.parquet", FILES[1]), "all 300 prospects are customers already"),
        (("seeds=folder", FILES[1]), "seeds=folder: expected a folder that `cartera segment` wrote"),
        (("seeds=broken.parquet", FILES[1]), "broken.parquet"),
    ],
)
def test_what_the_user_can_mend(
    cartera: Cartera, files: dict[str, Path], tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    Path("folder").mkdir()
    Path("bad.csv").write_text("name\nAna\n")
    Path("broken.parquet").write_bytes(b"PAR1 and nothing more")
    ran = cartera("lookalike", *arguments, "out=out")
    assert ran.code == 2, ran.err
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_run_without_its_segment_lists_them(cartera: Cartera, files: dict[str, Path], segmented: Path) -> None:
    for segment in ((), ("segment=champions",)):
        ran = cartera("lookalike", f"seeds={segmented}", FILES[1], *segment, "out=out")
        assert ran.code == 2
        for each in engine.load(segmented / "bundle").segments:
            assert f"{each.segment_id} ({each.name.en} / {each.name.es})" in ran.err
