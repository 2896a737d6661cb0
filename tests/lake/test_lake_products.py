"""The products that a recipe names, kept beside the transactions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.errors import CarteraError, ColumnsMissingError, DataError, SettingError, SourceNotFoundError
from engine.lake.delta import PRODUCTS
from engine.lake.frame import FrameSource
from engine.lake.ingest import ingest
from engine.lake.products import keep_products
from engine.lake.recipe import Recipe
from engine.lake.table import TABLE, Lake

ROWS = pl.DataFrame(
    {"customer_id": [1, 2], "timestamp": ["2024-05-01"] * 2, "product_id": ["7", "8"], "amount": [1, 2]}
)


def recipe(folder: Path, products: pl.DataFrame | None, *, columns: list[str] | None = None, **settings: Any) -> Recipe:
    ROWS.write_csv(folder / "till.csv")
    named: dict[str, Any] = {}
    if products is not None:
        products.write_parquet(folder / "products.parquet")
        columns = columns or [name for name in products.columns if name != "code"]
        named = {"products": {"path": str(folder / "products.parquet"), "key": "code", "columns": columns}}
    return Recipe.from_mapping({"name": "till", "path": str(folder / "till.csv"), **named, **settings})


def add(folder: Path, products: pl.DataFrame | None, **settings: Any) -> Lake:
    ingest(recipe(folder, products, **settings), folder / "lake", rejects=folder / "rejects.parquet")
    return Lake.open(folder / "lake")


def version(lake: Lake) -> int:
    from deltalake import DeltaTable

    return int(DeltaTable(str(lake.path / PRODUCTS)).version())


def test_products_are_kept_as_transactions_name_them(tmp_path: Path) -> None:
    products = pl.DataFrame(
        {
            "code": [8.0, 7.0, None, 7.0],
            "brand": pl.Series(["b", "a", "c", "again"], dtype=pl.Categorical),
            "pack": pl.Series([1, 2, 3, 4], dtype=pl.UInt16),
            "since": [date(2024, 1, 1)] * 4,
            "seen": pl.Series([datetime(2024, 1, 1)] * 4, dtype=pl.Datetime("ns")),
            "cost": pl.Series([Decimal("1.10")] * 4),
        }
    )
    lake = add(tmp_path, products)
    kept = lake.products()
    assert kept is not None
    seen = datetime(2024, 1, 1, tzinfo=UTC)
    assert kept.rows() == [
        ("7", "a", 2, date(2024, 1, 1), seen, Decimal("1.10")),
        ("8", "b", 1, date(2024, 1, 1), seen, Decimal("1.10")),
    ]
    assert kept.schema["pack"] == pl.Int64
    # Another reader of Delta tables finds the same.
    assert pl.scan_delta(str(lake.path / PRODUCTS)).collect().equals(kept)
    source = FrameSource.from_frame(ROWS, recipe(tmp_path, products))
    assert kept.equals(source.products())
    assert kept.schema == source.products().schema  # type: ignore[union-attr]


def test_a_lake_made_without_products_has_none(tmp_path: Path) -> None:
    lake = add(tmp_path, None)
    assert lake.products() is None
    assert [path.name for path in lake.path.iterdir()] == [TABLE]
    assert FrameSource.from_frame(ROWS).products() is None


def test_the_same_products_leave_the_table_untouched_and_others_replace_it(tmp_path: Path) -> None:
    first = pl.DataFrame({"code": ["7", "8"], "brand": ["a", "b"], "name": ["x", "y"]})
    lake = add(tmp_path, first)
    assert version(lake) == 0
    # The order of the file is not its content.
    add(tmp_path, first.reverse())
    assert version(lake) == 0
    # The transactions are known already: the products are looked at all the same.
    add(tmp_path, first.with_columns(brand=pl.Series(["a", "c"])))
    assert version(lake) == 1
    assert lake.products().rows() == [("7", "a", "x"), ("8", "c", "y")]  # type: ignore[union-attr]
    # Other columns, another type.
    add(tmp_path, first.select("code", name=pl.Series([1, 2])))
    assert lake.products().rows() == [("7", 1), ("8", 2)]  # type: ignore[union-attr]
    # A recipe without products takes nothing away.
    add(tmp_path, None)
    assert version(lake) == 2
    assert lake.version == Lake.open(lake.path).version == 0


def test_the_predicate_sees_the_columns_still(tmp_path: Path) -> None:
    products = pl.DataFrame({"code": ["7", "8"], "brand": ["a", "b"], "name": ["x", "y"]})
    lake = add(tmp_path, products, rules={"by_volume_where": "brand = 'b'"})
    flags = pl.concat([lake.bucket(n, ["product_id", "by_volume"]) for n in range(lake.buckets)])
    assert dict(flags.rows()) == {"7": False, "8": True}


def test_rows_that_another_engine_added_count_once(tmp_path: Path) -> None:
    lake = add(tmp_path, pl.DataFrame({"code": ["7"], "brand": ["a"]}))
    pl.DataFrame({"product_id": ["7", "6"], "brand": ["z", "c"]}).write_delta(str(lake.path / PRODUCTS), mode="append")
    kept = lake.products()
    assert kept is not None
    assert kept["product_id"].to_list() == ["6", "7"]


def test_writers_at_the_same_time_leave_one_whole_table(tmp_path: Path) -> None:
    lake = add(tmp_path, None)
    tables = [pl.DataFrame({"product_id": ["1", "2"], "brand": [f"{n}"] * 2}) for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        changed = list(pool.map(lambda table: keep_products(lake.path, table), tables))
    assert changed == [True] * 6
    assert version(lake) == 5
    assert any(table.equals(lake.products()) for table in tables)  # type: ignore[arg-type]
    assert sorted(path.name for path in lake.path.iterdir()) == [PRODUCTS, TABLE]


@pytest.mark.parametrize("columns", [["code"], ["product_id"], ["brand", "brand"], ["__row"]])
def test_columns_that_cannot_be_asked_for(tmp_path: Path, columns: list[str]) -> None:
    with pytest.raises(SettingError, match=r"data\.products\.columns: expected other columns than the key, each once"):
        recipe(tmp_path, pl.DataFrame({"code": ["7"], "brand": ["a"]}), columns=columns)


def test_bad_products_stop_before_anything_is_written(tmp_path: Path) -> None:
    good = pl.DataFrame({"code": ["7"], "brand": ["a"]})
    for products, columns, error, says in (
        (good, ["brnad"], ColumnsMissingError, "did you mean 'brand'"),
        (good.with_columns(code=pl.lit(" ")), None, DataError, "no row has a product code in the column 'code'"),
        (good.with_columns(brand=pl.lit(b"a")), None, DataError, r"columns, 'brand': a column of type Binary cannot"),
        (good.with_columns(brand=pl.lit(2**63)), None, DataError, r"columns, 'brand': a column of type UInt64 cannot"),
    ):
        with pytest.raises(error, match=says):
            add(tmp_path, products, columns=columns)
    named = recipe(tmp_path, good)
    (tmp_path / "products.parquet").unlink()
    with pytest.raises(SourceNotFoundError, match=r"products\.parquet"):
        ingest(named, tmp_path / "lake", rejects=tmp_path / "rejects.parquet")
    assert not (tmp_path / "lake").exists()


def test_a_folder_that_is_no_table_is_left_alone(tmp_path: Path) -> None:
    lake = add(tmp_path, None)
    (lake.path / PRODUCTS).mkdir()
    (lake.path / PRODUCTS / "list.xlsx").write_text("mine")
    with pytest.raises(DataError, match="'products' is there, but is no Delta table"):
        add(tmp_path, pl.DataFrame({"code": ["7"], "brand": ["a"]}))
    assert [path.name for path in (lake.path / PRODUCTS).iterdir()] == ["list.xlsx"]


@pytest.mark.parametrize("damage", ["log", "file"])
def test_a_damaged_table_is_said_to_be_one(tmp_path: Path, damage: str) -> None:
    lake = add(tmp_path, pl.DataFrame({"code": ["7"], "brand": ["a"]}))
    files = (lake.path / PRODUCTS).rglob("*.json" if damage == "log" else "*.parquet")
    for file in files:
        file.write_text("garbage")
    with pytest.raises(DataError, match="missing or damaged"):
        lake.products()


def test_what_is_missing_is_told_under_its_own_setting(tmp_path: Path) -> None:
    till = recipe(tmp_path, None).path
    for path in ("no_such.csv", "no_such_*.csv", "package:no_such_package/products.csv", "package:polars/products.csv"):
        products = {"path": path, "key": "code", "columns": ["brand"]}
        with pytest.raises(CarteraError, match=r"^data\.products\.path="):
            ingest(
                Recipe.from_mapping({"name": "till", "path": list(till), "products": products}),
                tmp_path / "lake",
                rejects=tmp_path / "rejects.parquet",
            )
