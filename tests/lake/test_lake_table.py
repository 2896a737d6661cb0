"""Reading the lake: its own files, files of other engines, and folders that are no lake."""

from __future__ import annotations

import pickle
from pathlib import Path

import polars as pl
import pytest

from engine.errors import ColumnsMissingError, DataError, SourceNotFoundError
from engine.lake.ingest import ingest
from engine.lake.recipe import Recipe
from engine.lake.table import TABLE, Lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    frame = pl.DataFrame({"customer_id": list(range(1, 31)), "timestamp": ["2024-01-01"] * 30, "amount": [1.5] * 30})
    frame.write_csv(tmp_path / "a.csv")
    recipe = Recipe.from_mapping({"name": "t", "path": str(tmp_path / "a.csv")})
    ingest(recipe, tmp_path / "lake", rejects=tmp_path / "rejects.parquet")
    return Lake.open(tmp_path / "lake")


def append(lake: Lake, customer: int, bucket: int) -> None:
    """Append a row as another engine would."""
    row = lake.bucket(next(n for n in range(lake.buckets) if lake.bucket(n).height)).head(1)
    row.with_columns(
        pl.lit(customer, pl.Int64).alias("customer_id"), pl.lit(bucket, pl.Int32).alias("bucket")
    ).write_delta(str(lake.path / TABLE), mode="append")


def bucket_of_customer(lake: Lake, customer: int) -> int:
    return next(n for n in range(lake.buckets) if customer in lake.bucket(n, ["customer_id"])["customer_id"])


def test_rows_of_another_engine_are_merged(lake: Lake) -> None:
    bucket = bucket_of_customer(lake, 5)
    append(lake, 5, bucket)
    again = Lake.open(lake.path)
    rows = again.bucket(bucket)
    assert rows.height == lake.bucket(bucket).height + 1
    assert rows["customer_id"].is_sorted()
    assert again.rows == 31


def test_rows_of_another_engine_in_the_wrong_bucket_are_refused(lake: Lake) -> None:
    wrong = (bucket_of_customer(lake, 5) + 1) % lake.buckets
    append(lake, 5, wrong)
    with pytest.raises(DataError, match=r"another engine.*xxh64 \(seed 42\)"):
        Lake.open(lake.path).bucket(wrong)


def test_deleted_rows_are_gone(lake: Lake) -> None:
    from deltalake import DeltaTable

    bucket = bucket_of_customer(lake, 5)
    DeltaTable(str(lake.path / TABLE)).delete(f"bucket = {bucket} and customer_id = 5")
    after = Lake.open(lake.path)
    assert 5 not in after.bucket(bucket)["customer_id"]
    assert after.rows == 29
    assert after.bucket(bucket)["customer_id"].flags["SORTED_ASC"]


def test_only_the_columns_asked_for_in_their_order(lake: Lake) -> None:
    assert lake.bucket(0, ["amount", "customer_id"]).columns == ["amount", "customer_id"]


def test_unknown_column(lake: Lake) -> None:
    with pytest.raises(ColumnsMissingError, match="did you mean 'amount'"):
        lake.bucket(0, ["amout"])


@pytest.mark.parametrize("number", [-1, 8])
def test_unknown_bucket(lake: Lake, number: int) -> None:
    with pytest.raises(DataError, match="buckets 0 to 7"):
        lake.bucket(number)


def test_a_lake_can_be_sent_to_a_worker(lake: Lake) -> None:
    sent = pickle.loads(pickle.dumps(lake))
    assert all(sent.bucket(number).equals(lake.bucket(number)) for number in range(lake.buckets))


def test_no_lake(tmp_path: Path) -> None:
    assert not Lake.exists(tmp_path)
    with pytest.raises(SourceNotFoundError, match="cartera ingest"):
        Lake.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_delta_table_that_is_no_lake(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_delta(str(tmp_path / TABLE))
    with pytest.raises(DataError, match="not a lake of ours"):
        Lake.open(tmp_path)


@pytest.mark.parametrize("damage", ["log gone", "log garbled", "file gone", "file garbled"])
def test_a_damaged_lake_is_said_to_be_one(lake: Lake, damage: str) -> None:
    log = next((lake.path / TABLE / "_delta_log").glob("*.json"))
    files = sorted((lake.path / TABLE).glob("bucket=*/*.parquet"))
    for file in [log] if "log" in damage else files:
        if "gone" in damage:
            file.unlink()
        else:
            file.write_text("garbage")
    says = "missing or damaged.*cartera ingest lake=ANOTHER_FOLDER"
    with pytest.raises(DataError, match=says):
        Lake.open(lake.path).last_timestamp()
    if "file" in damage:
        opened = Lake.open(lake.path)
        number = next(n for n, names in opened._files.items() if names)
        with pytest.raises(DataError, match=says):
            opened.bucket(number)
    else:
        with pytest.raises(DataError, match=says):
            ingest(
                Recipe.from_mapping({"name": "t", "path": str(lake.path.parent / "a.csv")}),
                lake.path,
                rejects=lake.path.parent / "again.parquet",
            )
