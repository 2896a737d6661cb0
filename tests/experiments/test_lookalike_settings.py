"""What ``cartera lookalike`` says of its settings before and beside the list."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import engine
from tests.experiments.conftest import Ran
from tests.experiments.till import sales_csv
from tests.lookalike.people import people, seeds_and_prospects

Cartera = Callable[..., Ran]


@pytest.fixture
def more_seeds(tmp_path: Path) -> None:
    """Write forty seeds and twenty prospects."""
    seeds, prospects, _ = seeds_and_prospects(0, n=40, m=20)
    seeds.with_columns(segment_id=pl.lit("seg-a")).write_csv(tmp_path / "seeds.csv")
    prospects.write_csv(tmp_path / "prospects.csv")


def test_files_that_may_have_been_swapped_are_asked_about(cartera: Cartera, more_seeds: None) -> None:
    ran = cartera("lookalike", "seeds=seeds.csv", "prospects=prospects.csv", "out=out")
    assert ran.code == 0, ran.err
    assert "There are more seeds (40) than prospects (20). Were the two files swapped?" in ran.err
    assert any("swapped" in note["en"] for note in json.loads(Path("out/lookalikes.json").read_text("utf-8"))["notes"])


def test_prospects_who_are_customers_count_as_rows_of_their_file(cartera: Cartera, more_seeds: None) -> None:
    both = pl.concat([pl.read_csv("seeds.csv").drop("segment_id"), pl.read_csv("prospects.csv")])
    both.write_csv("everybody.csv")
    # Twenty are left of sixty: fewer than the seeds, and nothing is wrong with that.
    ran = cartera("lookalike", "seeds=seeds.csv", "prospects=everybody.csv", "out=out")
    assert ran.code == 0, ran.err
    assert "swapped" not in ran.err


def test_a_segment_may_be_larger_than_the_prospects(cartera: Cartera, more_seeds: None, tmp_path: Path) -> None:
    ran = cartera("lookalike", "seeds=seeds.csv", "segment=seg-a", "prospects=prospects.csv", "out=file")
    assert ran.code == 0, ran.err
    assert "swapped" not in ran.err
    sales = pl.read_csv(sales_csv(tmp_path / "sales.csv"), try_parse_dates=True)
    run = engine.segment(sales.with_columns(pl.col("timestamp").cast(pl.Datetime("us"))), k=2)
    run.save(tmp_path / "run" / "bundle")
    run.profile.write_csv("run/profile.csv")
    run.assignments.write_parquet("run/assignments.parquet")
    Path("run/summary.json").write_text(json.dumps(run.summary))
    people(60, 3, like_seeds=0.5).drop("alike").write_csv("crm.csv")
    best = next(one for one in run.model.segments if one.rank == 1)
    ran = cartera(
        "lookalike", "seeds=run", f"segment={best.segment_id}", "customers=crm.csv", "prospects=prospects.csv", "out=of"
    )
    assert ran.code == 0, ran.err
    assert json.loads(Path("of/lookalikes.json").read_text("utf-8"))["seeds"]["used"] == best.customers > 20
    assert "swapped" not in ran.err


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("k=0", "k: expected how many look-alikes to return, a whole number from 1; got 0."),
        ("k=-3", "whole number from 1; got -3."),
        ("seed=-1", "seed: expected a whole number from 0 to 2147483647; got -1."),
    ],
)
def test_settings_are_checked_before_files_are_read(cartera: Cartera, argument: str, said: str) -> None:
    # Neither file is there.
    ran = cartera("lookalike", "seeds=nowhere.csv", "prospects=nowhere.csv", argument, "out=out")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("cartera lookalike: ")
    assert said in ran.err


def test_ids_are_one_person_however_the_file_writes_them(cartera: Cartera, tmp_path: Path) -> None:
    seeds, prospects, _ = seeds_and_prospects(0, n=40, m=60)
    seeds.rename({"customer_id": "client"}).write_csv("seeds.csv")
    # A column customer_id beside the one that was named is not the id.
    prospects = prospects.with_columns(client=pl.col("customer_id"), customer_id=pl.lit("x"))
    prospects.write_csv("prospects.csv")
    pl.DataFrame({"customer_id": [f" {one}.0" for one in prospects["client"].head(55)]}).write_csv("exclude.csv")
    ran = cartera(
        "lookalike",
        "seeds=seeds.csv",
        "prospects=prospects.csv",
        "exclude=exclude.csv",
        "customer_id=client",
        "out=out",
    )
    assert ran.code == 0, ran.err
    assert sorted(pl.read_parquet("out/lookalikes.parquet")["customer_id"]) == prospects["client"].tail(5).to_list()
