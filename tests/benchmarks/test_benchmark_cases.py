from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.case import CASES, Case, Task, find_case
from benchmarks.cases.sales import AS_OF, MEASURES, Shop, Truth, blocks
from tests.reference.rfm_twin import customer_rows

FEATURES = find_case("features")


def task(case: Case, contestant: str, folder: Path, data: str, *, seed: int = 0) -> Task:
    scratch = folder.parent / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    return Task(case.name, contestant, "XS", data, seed, 2, 4096, str(folder), str(scratch))


def need(case: Case, contestant: str) -> None:
    for package in case.contestants[contestant].packages:
        try:
            version(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed; cartera[bench] brings it")


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("bench") / "sales"
    FEATURES.make(task(FEATURES, "polars", folder, "sales"))
    yield folder
    shutil.rmtree(folder)


# pandas 3.1 deprecates what Dask 2026.8 calls.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*inplace.*")
@pytest.mark.parametrize("contestant", FEATURES.contestants)
def test_every_contestant_makes_the_same_table(contestant: str, sales: Path) -> None:
    need(FEATURES, contestant)
    todo = task(FEATURES, contestant, sales, "sales")
    given = FEATURES.open(todo)
    answer = FEATURES.contestants[contestant].call(given, todo)
    facts, fault = FEATURES.judge(given, answer, todo)
    assert fault is None
    assert facts == given.truth


def test_one_cent_and_one_swapped_order_are_found(sales: Path) -> None:
    todo = task(FEATURES, "polars", sales, "sales")
    given = FEATURES.open(todo)
    answer = FEATURES.contestants["polars"].call(given, todo)
    cent = answer.with_columns(pl.col("monetary") + 0.01 * (pl.col("customer_id") == 7))
    assert "monetary" in str(FEATURES.judge(given, cent, todo)[1])
    # Totals agree, customers do not: only the checksum sees it.
    swapped = answer.sort("customer_id").with_columns(
        pl.col("frequency") + (pl.col("customer_id") == 1).cast(pl.Int64) - (pl.col("customer_id") == 2).cast(pl.Int64)
    )
    fault = str(FEATURES.judge(given, swapped, todo)[1])
    assert fault.startswith("checksum")
    assert "orders" not in fault


@pytest.mark.parametrize("seed", range(3))
def test_truth_is_what_a_slow_reading_of_the_rows_says(seed: int) -> None:
    shop = Shop(rows=1_500, customers=60, seed=seed)
    truth, rows = Truth(shop.customers), []
    for _, block in blocks(shop):
        truth.add(block)
        frame = pl.DataFrame({name: getattr(block, name) for name in block.__slots__}).select(
            pl.col("customer").alias("customer_id"),
            pl.col("order").alias("order_id"),
            pl.col("time").cast(pl.Datetime("us", "UTC")).alias("timestamp"),
            pl.col("quantity").cast(pl.Decimal(18, 4)),
            (pl.col("cents").cast(pl.Decimal(18, 4)) * pl.col("quantity") / 100).alias("amount"),
            pl.when(pl.col("quantity") > 0).then(pl.lit("sale")).otherwise(pl.lit("return")).alias("kind"),
            pl.lit(False).alias("by_volume"),
        )
        rows += frame.to_dicts()
    assert len(rows) == 1_500
    assert any(row["kind"] == "return" for row in rows)
    expected = customer_rows(rows, AS_OF, None)
    found = truth.table()
    assert found["customer_id"].tolist() == list(expected)
    for name in MEASURES:
        scale = 10_000 if name in ("units", "monetary") else 1
        assert found[name].tolist() == [round(each[name] * scale) for each in expected.values()]


def test_sales_have_the_shape_that_is_claimed() -> None:
    shop = Shop(rows=30_000, customers=2_000, seed=3)
    parts = [block for _, block in blocks(shop)]
    time = np.concatenate([block.time for block in parts])
    order = np.concatenate([block.order for block in parts])
    customer = np.concatenate([block.customer for block in parts])
    assert len(time) == 30_000
    assert (np.diff(time) >= 0).all()
    # An order belongs to one customer and one moment.
    assert len({*zip(order, customer, time, strict=True)}) == len(set(order.tolist()))
    per_customer = np.sort(np.bincount(customer))[::-1]
    assert 0.35 < per_customer[:200].sum() / 30_000 < 0.65
    again = [block.customer for _, block in blocks(shop)]
    assert np.array_equal(customer, np.concatenate(again))


@pytest.mark.parametrize("name", CASES)
def test_cases_are_complete(name: str) -> None:
    case = find_case(name)
    assert case.name == name
    assert list(case.sizes) == ["XS", "S", "M", "L"]
    assert all(contestant.packages and contestant.says for contestant in case.contestants.values())
    # A bar would end the cell of a Markdown table.
    assert not any("|" in contestant.says for contestant in case.contestants.values())
    assert replace(case, version=2).data_key("S", "x", 0) != case.data_key("S", "x", 0)
