"""A frame in memory reads like a lake."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from engine.errors import ColumnsMissingError, DataError
from engine.lake.frame import FrameSource
from engine.lake.ingest import ingest
from engine.lake.recipe import Recipe
from engine.lake.table import ORDER, Lake

FRAME = pl.DataFrame(
    {
        "client": [3, 1, 2, None, 1],
        "day": ["2024-01-03", "2024-01-01", "2024-01-02", "2024-01-02", "2024-01-01"],
        "value": [1.5, 2.5, -3.5, 9.0, 0.25],
    }
)
COLUMNS = {"customer_id": "client", "timestamp": "day", "amount": "value"}


def test_same_rows_and_sums_as_a_lake(tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "a.parquet")
    recipe = Recipe.from_mapping({"name": "t", "path": str(tmp_path / "a.parquet"), "columns": COLUMNS})
    ingest(recipe, tmp_path / "lake", rejects=tmp_path / "rejects.parquet")
    lake = Lake.open(tmp_path / "lake")
    frame = FrameSource.from_frame(FRAME, recipe)
    rows = pl.concat([lake.bucket(number) for number in range(lake.buckets)])
    assert frame.bucket(0).equals(rows.sort(ORDER))
    assert frame.reconciliation() == lake.reconciliation()
    assert frame.notes() == lake.notes()
    assert frame.last_timestamp() == lake.last_timestamp()
    assert (frame.rows, frame.columns, frame.customer_id_dtype) == (lake.rows, lake.columns, lake.customer_id_dtype)
    lake_rejects = pl.read_parquet(tmp_path / "rejects.parquet").drop("file")
    assert frame.rejects.drop("file").equals(lake_rejects)


def test_unit_prices_taken_for_amounts_are_noted() -> None:
    frame = FRAME.rename({"value": "price"}).with_columns(Qty=2)
    source = FrameSource.from_frame(frame, Recipe(name="t", columns={**COLUMNS, "amount": None, "unit_price": "price"}))
    (note,) = [note for note in source.notes() if "unit price" in note["en"]]
    assert note["en"].endswith("Columns not mapped to anything: Qty.")


def test_a_lazy_frame_is_as_good() -> None:
    recipe = Recipe(name="t", columns=COLUMNS)
    assert (
        FrameSource.from_frame(FRAME.lazy(), recipe).bucket(0).equals(FrameSource.from_frame(FRAME, recipe).bucket(0))
    )


def test_sorted_and_flagged() -> None:
    rows = FrameSource.from_frame(FRAME, Recipe(name="t", columns=COLUMNS)).bucket(0, ["customer_id"])
    assert rows["customer_id"].to_list() == [1, 1, 2, 3]
    assert rows["customer_id"].flags["SORTED_ASC"]


def test_only_bucket_zero() -> None:
    source = FrameSource.from_frame(FRAME, Recipe(name="t", columns=COLUMNS))
    with pytest.raises(DataError, match="bucket 0 only"):
        source.bucket(1)


def test_unknown_column() -> None:
    source = FrameSource.from_frame(FRAME, Recipe(name="t", columns=COLUMNS))
    with pytest.raises(ColumnsMissingError, match="'nope'"):
        source.bucket(0, ["nope"])


def test_empty_frame() -> None:
    with pytest.raises(DataError, match="there is no row"):
        FrameSource.from_frame(FRAME.clear())
