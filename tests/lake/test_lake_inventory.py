"""Every file with persons made from a lake is listed there, wherever the lake has gone since."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pytest

from engine.errors import DataError, SettingError, SourceNotFoundError
from engine.lake.delta import INVENTORY
from engine.lake.ingest import ingest
from engine.lake.inventory import listed, note
from engine.lake.recipe import Recipe
from engine.lake.table import TABLE, Lake

MADE = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake inside a folder of its own."""
    frame = pl.DataFrame({"customer_id": [1], "timestamp": ["2024-01-01"], "amount": [1.5]})
    frame.write_csv(tmp_path / "a.csv")
    recipe = Recipe.from_mapping({"name": "t", "path": str(tmp_path / "a.csv")})
    ingest(recipe, tmp_path / "shop" / "lake", rejects=tmp_path / "rejects.parquet")
    return tmp_path / "shop" / "lake"


def test_what_is_noted_is_listed(lake: Path, tmp_path: Path) -> None:
    assert listed(lake).is_empty()
    assert listed(lake).columns == ["kind", "path", "made", "version"]
    note(lake, "history", lake / "history", made=MADE)
    note(lake, "assignments", tmp_path / "runs" / "a.parquet", made=MADE.astimezone(timezone(timedelta(hours=2))))
    note(lake, "history", lake.parent / "old", made=MADE, version=7)
    assert listed(lake).rows() == [
        ("assignments", str(tmp_path / "runs" / "a.parquet"), MADE, 0),
        ("history", str(lake / "history"), MADE, 0),
        ("history", str(lake.parent / "old"), MADE, 7),
    ]
    # Any reader of Delta tables finds it, and the transactions are as they were.
    assert pl.scan_delta(str(lake / INVENTORY)).collect().height == 3
    assert Lake.open(lake).version == 0
    assert sorted(path.name for path in lake.iterdir()) == [INVENTORY, TABLE]


def test_a_place_is_listed_once(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note(lake, "history", lake.parent / "h", made=MADE)
    monkeypatch.chdir(lake.parent)
    # The same place by another way, of another kind and a later day.
    note("lake", "assignments", "lake/../h", made=MADE + timedelta(days=1), version=3)
    assert listed("lake").rows() == [("assignments", str(lake.parent / "h"), MADE + timedelta(days=1), 3)]


def test_a_lake_that_moved_finds_what_moved_with_it_and_what_stayed(lake: Path, tmp_path: Path) -> None:
    places = [lake / "inside", lake.parent / "beside", tmp_path / "elsewhere"]
    for place in places:
        note(lake, "history", place, made=MADE)
        place.mkdir()
    # Everything together.
    shutil.copytree(lake.parent, tmp_path / "copy")
    lake.parent.rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    assert set(listed(moved / "lake")["path"]) == {
        str(moved / "lake" / "inside"),
        str(moved / "beside"),
        str(places[2]),
    }
    # A copy lists its own.
    copy = tmp_path / "copy"
    assert set(listed(copy / "lake")["path"]) == {str(copy / "lake" / "inside"), str(copy / "beside"), str(places[2])}
    # The lake alone: what lay beside it stayed behind.
    (tmp_path / "moved").rename(lake.parent)
    (tmp_path / "far").mkdir()
    lake.rename(tmp_path / "far" / "lake")
    far = tmp_path / "far" / "lake"
    assert set(listed(far)["path"]) == {str(far / "inside"), str(places[1]), str(places[2])}
    # Noted again from there, it is the same entry.
    note(far, "history", places[1], made=MADE + timedelta(days=1))
    assert listed(far).height == 3


def test_beside_a_lake_that_moved_lies_a_namesake(lake: Path, tmp_path: Path) -> None:
    own, other = lake.parent / "rec", tmp_path / "other" / "rec"
    note(lake, "recommendations", own, made=MADE)
    for place in (own, other):
        place.mkdir(parents=True)
    moved = lake.rename(tmp_path / "other" / "lake")
    # Which of them is meant cannot be known.
    assert set(listed(moved)["path"]) == {str(own), str(other)}
    note(moved, "recommendations", other, made=MADE)
    assert set(listed(moved)["path"]) == {str(own), str(other)}


def test_writers_at_the_same_time_lose_no_note(lake: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: note(lake, "history", lake / f"h{number}", made=MADE), range(18)))
    assert set(listed(lake)["path"]) == {str(lake / f"h{number}") for number in range(18)}
    assert sorted(path.name for path in lake.iterdir()) == [INVENTORY, TABLE]


def test_what_cannot_be_noted(lake: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="made: expected a moment with a time zone"):
        note(lake, "history", lake / "h", made=datetime(2024, 5, 1))
    with pytest.raises(SettingError, match="kind: expected what the file is"):
        note(lake, " ", lake / "h", made=MADE)
    for version in (None, 3):
        with pytest.raises(SourceNotFoundError, match="no lake there"):
            note(tmp_path / "none", "history", lake / "h", made=MADE, version=version)
    assert not (tmp_path / "none").exists()
    assert listed(lake).is_empty()


def test_a_damaged_inventory_is_said_to_be_one(lake: Path) -> None:
    note(lake, "history", lake / "h", made=MADE)
    for file in (lake / INVENTORY).rglob("*.json"):
        file.write_text("garbage")
    with pytest.raises(DataError, match="missing or damaged"):
        listed(lake)
    with pytest.raises(DataError, match="missing or damaged"):
        note(lake, "history", lake / "h2", made=MADE)
