from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.bundle import load_bundle
from engine.customer_base import CustomerBase
from tests.experiments.till import sales_csv


@pytest.fixture
def scored(cartera: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Score against a model of sixty customers."""
    sales_csv(tmp_path / "sales.csv")
    ran = cartera("segment", "data.path=sales.csv", "out=run", "clustering.k=3", "tracking.uri=null")
    assert ran.code == 0, ran.err
    return lambda *overrides: cartera("score", "bundle=run/bundle", *overrides)


def test_an_index_leaves_the_customers_beside_their_assignments(scored: Callable[..., Any], tmp_path: Path) -> None:
    ran = scored("data.path=sales.csv", "index=true", "out=scored")
    assert ran.code == 0, ran.err
    assert "neighbours   flat, 60 rows: every one is looked at\n" in ran.out
    assert f"base         {Path('scored/customers')} holds every customer" in ran.out
    base = CustomerBase.open(tmp_path / "scored" / "customers", load_bundle(tmp_path / "run" / "bundle"))
    for customer_id, segment_id in (
        pl.read_parquet(tmp_path / "scored" / "assignments.parquet").select("customer_id", "segment_id").iter_rows()
    ):
        row = base.row(customer_id)
        assert row is not None
        assert base.model.segments[base.customer(row)["cluster"]].segment_id == segment_id
    assert base.n == 60
    assert base.similar(0, 5).height == 5
    # Again into the same folder, without: nothing of it is left.
    assert scored("data.path=sales.csv", "out=scored").code == 0
    assert not (tmp_path / "scored" / "customers").exists()


def test_further_columns_of_a_file_are_kept(scored: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text(
        "customer_id,recency_days,frequency,monetary,town\n007,3,12,900.5,Ávila\n7,90,1,,\n8,90,1,5,Lugo\n"
    )
    ran = scored("customers=ids.csv", "index=true", "out=scored")
    assert ran.code == 0, ran.err
    base = CustomerBase.open(tmp_path / "scored" / "customers", load_bundle(tmp_path / "run" / "bundle"))
    known = {row["customer_id"]: row for row in map(base.customer, range(3))}
    assert [known[each]["town"] for each in ("007", "7", "8")] == ["Ávila", None, "Lugo"]
    assert [known[each]["monetary"] for each in ("007", "7", "8")] == [900.5, None, 5.0]


def test_what_cannot_be_indexed_leaves_nothing(scored: Callable[..., Any], tmp_path: Path) -> None:
    one = scored("customer={recency_days: 3, frequency: 12, monetary: 1500}", "index=true")
    assert one.code == 2
    assert "index: it is of a base of customers" in one.err
    (tmp_path / "ids.csv").write_text("customer_id,recency_days,frequency,monetary,novel\n1,3,12,900.5,1\n")
    clash = scored("customers=ids.csv", "index=true", "out=scored")
    assert clash.code == 2
    assert "novel would be overwritten" in clash.err
    assert not (tmp_path / "scored").exists()
