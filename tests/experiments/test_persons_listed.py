"""Whatever a verb writes that names a person stands in the inventory of the lake that the person comes from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.bundle import load_bundle
from engine.errors import DataError
from engine.lake import inventory
from engine.lake.table import TABLE, Lake
from experiments.output import MARKER, output
from experiments.persons import TOLD, Origin, came_from, names_persons, origins_of
from tests.experiments.recommend_shop import shop_files
from tests.experiments.till import sales_csv

PERSON = "PERSON-"
BAD = f"{PERSON}7,o-bad,no day at all,p,1,2.0"
ONCE = ("tracking.uri=null", "clustering.k=2", "segments.min=2")


def named_sales(folder: Path) -> Path:
    """Write the shop's sales with ids that can be found in any file, one row of them no sale."""
    sales = pl.read_csv(shop_files(folder)).with_columns(customer_id=pl.format(PERSON + "{}", "customer_id"))
    (folder / "sales.csv").write_text(sales.write_csv() + BAD + "\n")
    return folder / "sales.csv"


def holding(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that hold an id."""
    for path in folder.rglob("*"):
        if path.suffix == ".parquet":
            found = PERSON in str(pl.read_parquet(path, hive_partitioning=False, glob=False).rows())
        else:
            found = path.is_file() and PERSON.encode() in path.read_bytes()
        if found:
            yield path


def unlisted(folder: Path, lake: Path) -> list[str]:
    """Return the files with an id that the inventory does not lead to, but for the tables that are the lake itself."""
    places = [lake / TABLE, lake / "rejects", *(Path(path) for path in inventory.listed(lake)["path"])]
    return sorted(
        str(path.relative_to(folder))
        for path in holding(folder)
        if not any(path.is_relative_to(place) for place in places)
    )


def test_every_file_with_an_id_is_listed(cartera: Callable[..., Any], tmp_path: Path) -> None:
    named_sales(tmp_path)

    def run(*arguments: str) -> None:
        ran = cartera(*arguments)
        assert ran.code == 0, ran.err

    run("ingest", "data.path=sales.csv", "lake=lake", "out=ingested")
    run("segment", "lake=lake", *ONCE, "out=run")
    run("segment", "lake=lake", *ONCE, "as_of=2024-06-01", "out=earlier")
    run("features", "lake=lake", "out=feat")
    # Of these the lake is known by what they read alone.
    run("score", "bundle=run/bundle", "customers=feat/features.parquet", "index=true", "out=scored")
    run("compare", "before=earlier", "after=run", "out=compared")
    segment = load_bundle(tmp_path / "run" / "bundle").segments[0].segment_id
    people = ("customers=feat/features.parquet", "prospects=feat/features.parquet", "keep_customers=true")
    run("lookalike", "seeds=run", f"segment={segment}", *people, "k=5", "out=alike")
    run("recommend", "lake=lake", "assignments=run", "recommend.check=false", "tracking=none", "out=offered")

    lake = tmp_path / "lake"
    assert unlisted(tmp_path, lake) == ["sales.csv"]
    listed = inventory.listed(lake)
    assert all(Path(path).exists() for path in listed["path"])
    assert set(listed["kind"]) == {
        "assignments", "customers", "feature cache", "features", "history", "lookalikes", "moves", "recommendations",
        "recommender", "rejects",
    }  # fmt: skip
    # Among them are those that hold ids, or this test would see nothing.
    found = {str(path.relative_to(tmp_path)) for path in holding(tmp_path)}
    assert {
        "ingested/rejects.parquet", "run/assignments.parquet", "feat/features.parquet", "scored/assignments.parquet",
        "compared/moved.parquet", "alike/lookalikes.parquet", "offered/recommendations.parquet",
    } <= found  # fmt: skip
    assert not list(tmp_path.rglob(TOLD))


def test_a_lake_inside_the_run_is_found_after_a_move(cartera: Callable[..., Any], tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv", extra=("PERSON-1,o,no day,p,1,2",))
    # Twice: the second run replaces the first, and its lake.
    for _ in range(2):
        assert cartera("segment", "data.path=sales.csv", *ONCE, "out=run").code == 0
    (tmp_path / "run").rename(tmp_path / "kept")
    kept = tmp_path / "kept"
    listed = inventory.listed(kept / "lake")
    assert dict(zip(listed["path"], listed["kind"], strict=True)) == {
        str(kept / "assignments.parquet"): "assignments",
        str(kept / "rejects.parquet"): "rejects",
    }
    (origin,) = origins_of([kept / "assignments.parquet"])
    assert (origin.lake, origin.version) == (kept / "lake", Lake.open(kept / "lake").version)


@pytest.fixture
def lake(cartera: Callable[..., Any], tmp_path: Path) -> Path:
    sales_csv(tmp_path / "sales.csv")
    assert cartera("ingest", "data.path=sales.csv", "lake=lake", "out=ingested").code == 0
    return tmp_path / "lake"


def test_what_was_made_of_an_older_version_stays_of_that_version(lake: Path, tmp_path: Path) -> None:
    day = datetime(2024, 5, 1, tzinfo=UTC)
    for name, version in (("old", 0), ("new", 3)):
        with output(tmp_path / name, "features") as folder:
            (folder / "a.parquet").write_bytes(b"")
            came_from(folder, Origin(lake, day, version))
            names_persons(folder, "features", "a.parquet")
            names_persons(folder, "features", "never_written.parquet")
    with output(tmp_path / "both", "score") as folder:
        (folder / "b.parquet").write_bytes(b"")
        names_persons(folder, "assignments", "b.parquet")
        for origin in origins_of([tmp_path / "new", tmp_path / "old" / "a.parquet", tmp_path / "nothing"]):
            came_from(folder, origin)
    rows = inventory.listed(lake).filter(pl.col("kind") != "rejects").select("path", "made", "version").rows()
    assert rows == [
        (str(tmp_path / "both" / "b.parquet"), day, 0),
        (str(tmp_path / "new" / "a.parquet"), day, 3),
        (str(tmp_path / "old" / "a.parquet"), day, 0),
    ]


@pytest.mark.parametrize("lakes", ["5", "[5]", "{}", '[{"lake": "x"}]', '[{"lake": "..", "made": "x", "version": 1}]'])
def test_a_marker_that_was_tampered_with_names_no_lake(tmp_path: Path, lakes: str) -> None:
    (tmp_path / MARKER).write_text(f'{{"verb": "features", "wrote": [], "lakes": {lakes}}}')
    assert origins_of([tmp_path]) == []


def test_a_lake_that_cannot_be_written_keeps_no_result_back(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise DataError("no room")

    monkeypatch.setattr(inventory, "note", refused)
    with output(tmp_path / "out", "features") as folder:
        (folder / "a.parquet").write_bytes(b"")
        came_from(folder, Origin(lake, datetime(2024, 5, 1, tzinfo=UTC), 0))
        names_persons(folder, "features", "a.parquet")
    assert json.loads((tmp_path / "out" / MARKER).read_text())["wrote"] == ["a.parquet"]
    assert "no room" in caplog.text
    assert str(tmp_path / "out" / "a.parquet") in caplog.text
