"""One customer's rows: the same as the bucket has, and no more of the file read than needed."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from engine.errors import ColumnsMissingError, DataError
from engine.lake.ingest import ingest
from engine.lake.recipe import Recipe
from engine.lake.table import TABLE, Lake
from tests.lake.test_lake_table import append, bucket_of_customer


def make_lake(folder: Path, seed: int, *, ingests: int = 1, text: bool = False) -> Lake:
    """Return a lake of 90 customers with up to a dozen rows each."""
    for number in range(ingests):
        draw = pl.int_range(540, eager=True).shuffle(seed + number) % 90
        frame = pl.DataFrame(
            {
                "customer_id": [f"c-{one}/ñ" for one in draw] if text else draw,
                "timestamp": [f"2024-{1 + number:02d}-{1 + row % 28:02d} 10:{row % 60:02d}:00" for row in range(540)],
                "order_id": [f"o{row // 2}" for row in range(540)],
                "amount": [row / 4 for row in range(540)],
            }
        )
        frame.write_csv(folder / f"{number}.csv")
        recipe = Recipe.from_mapping({"name": "t", "path": str(folder / f"{number}.csv")})
        ingest(recipe, folder / "lake", rejects=folder / "rejects.parquet")
    return Lake.open(folder / "lake")


COLUMNS = ["amount", "timestamp", "order_id"]


@pytest.mark.parametrize(("seed", "ingests", "text"), [(0, 1, False), (1, 3, False), (2, 1, True), (3, 2, True)])
def test_a_customer_has_the_rows_that_the_buckets_have(seed: int, ingests: int, text: bool, tmp_path: Path) -> None:
    lake = make_lake(tmp_path, seed, ingests=ingests, text=text)
    whole = pl.concat([lake.bucket(number) for number in range(lake.buckets)])
    assert whole["customer_id"].n_unique() == 90
    for one in whole["customer_id"].unique():
        assert lake.customer(one, COLUMNS).equals(whole.filter(pl.col("customer_id") == one).select(COLUMNS))
    for stranger in (10**6, -1, "c-90/ñ", "", "7", 2**70, 7.0, True):
        found = lake.customer(stranger, COLUMNS)  # type: ignore[arg-type]
        assert (found.height, found.schema) == (0, whole.select(COLUMNS).schema)
    with pytest.raises(ColumnsMissingError, match="no column 'amuont'"):
        lake.customer(whole["customer_id"][0], ["amuont"])


def test_groups_of_rows_without_the_customer_are_not_read(tmp_path: Path) -> None:
    import pyarrow.parquet

    lake = make_lake(tmp_path, 0)
    number = next(number for number in range(lake.buckets) if lake.bucket(number)["customer_id"].n_unique() > 8)
    file = next(lake.path.glob(f"{TABLE}/bucket={number}/*.parquet"))
    rows = pl.read_parquet(file, hive_partitioning=False)
    rows.write_parquet(file, row_group_size=12, compression="uncompressed")
    last = rows["customer_id"][-1]
    expected = lake.customer(last, COLUMNS)
    # All groups but the last two lose their contents.
    content = bytearray(file.read_bytes())
    groups = pyarrow.parquet.ParquetFile(file).metadata
    assert groups.num_row_groups > 4
    end = groups.row_group(groups.num_row_groups - 2).column(0).dictionary_page_offset
    end = end or groups.row_group(groups.num_row_groups - 2).column(0).data_page_offset
    content[4:end] = bytes(end - 4)
    file.write_bytes(content)
    assert lake.customer(last, COLUMNS).equals(expected)
    with pytest.raises(DataError, match="a file of the lake is missing or damaged"):
        lake.bucket(number)
    with pytest.raises(DataError, match="a file of the lake is missing or damaged"):
        lake.customer(rows["customer_id"][0], COLUMNS)


def test_files_of_another_engine_are_looked_at_whole(tmp_path: Path) -> None:
    lake = make_lake(tmp_path, 0)
    one = lake.bucket(bucket_of_customer(lake, 5))["customer_id"][0]
    bucket = bucket_of_customer(lake, one)
    before = lake.customer(one, COLUMNS).height
    append(lake, one, bucket)
    assert Lake.open(lake.path).customer(one, COLUMNS).height == before + 1
    append(lake, next(other for other in range(90) if bucket_of_customer(lake, other) != bucket), bucket)
    with pytest.raises(DataError, match="another engine wrote customers of other buckets"):
        Lake.open(lake.path).customer(one, COLUMNS)
