"""Generated customers: the same for a seed however they are cut, and true to their parameters."""

from __future__ import annotations

import dataclasses
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.errors import SettingError
from engine.lake.ingest import ingest
from engine.lake.population import CustomerType, Population
from engine.lake.recipe import Recipe
from engine.lake.synthetic import BLOCK, transactions, truth
from engine.lake.table import ORDER, Lake

ONE_TYPE = {"all": CustomerType(share=1.0, orders_per_year=10.0)}


def rows(population: Population, **cut: int) -> pl.DataFrame:
    return pl.concat(transactions(population, **cut))


def test_where_the_frames_are_cut_changes_nothing() -> None:
    population = Population(customers=BLOCK + 50, days=60)
    frames = list(transactions(population, max_rows=333))
    assert max(frame.height for frame in frames) == 333
    assert pl.concat(frames).equals(rows(population))


def test_the_first_customers_do_not_depend_on_how_many_follow() -> None:
    small, large = (Population(customers=count, days=60) for count in (100, BLOCK + 1))
    assert rows(small).equals(rows(large).filter(pl.col("customer_id") <= 100))


def test_another_seed_is_another_history() -> None:
    assert not rows(Population(customers=50, seed=1)).equals(rows(Population(customers=50, seed=2)))


def test_everyone_buys_inside_the_time_that_the_truth_names() -> None:
    population = Population(customers=3_000, days=365)
    told = pl.concat(truth(population))
    seen = (
        rows(population)
        .group_by("customer_id")
        .agg(pl.col("timestamp").min().alias("first"), pl.col("timestamp").max().alias("last"))
    )
    both = told.join(seen, on="customer_id", validate="1:1")
    assert both.height == population.customers
    assert both.select((pl.col("first") == pl.col("first_order")).all()).item()
    assert both.select((pl.col("last") <= pl.col("active_until")).all()).item()
    assert both["first"].min().date() >= population.first_day


def test_types_have_their_shares() -> None:
    told = pl.concat(truth(Population(customers=20_000)))
    shares = dict(told["type"].value_counts(normalize=True).rows())
    for name, wanted in (("loyal", 0.15), ("regular", 0.35), ("occasional", 0.40), ("big_ticket", 0.10)):
        # Five standard deviations of a share of 20,000.
        assert abs(shares[name] - wanted) < 5 * (wanted * (1 - wanted) / 20_000) ** 0.5


def test_orders_come_at_the_rate_of_the_truth() -> None:
    population = Population(customers=5_000, days=730, types=ONE_TYPE)
    told = pl.concat(truth(population)).with_columns(
        ((pl.col("active_until") - pl.col("first_order")).dt.total_seconds() / 86_400 / 365.25).alias("years")
    )
    expected = told.select((pl.col("orders_per_year") * pl.col("years")).sum()).item()
    orders = rows(population)["order_id"].n_unique() - population.customers
    # A Poisson sum has the standard deviation of its root.
    assert abs(orders - expected) < 5 * expected**0.5


def test_churn_ends_customers_early() -> None:
    leaving = {"all": CustomerType(share=1.0, orders_per_year=10.0, churn_per_year=5.0)}
    stayed, left = (
        pl.concat(truth(Population(customers=1_000, days=730, types=types)))["active_until"]
        for types in (ONE_TYPE, leaving)
    )
    assert stayed.n_unique() == 1
    assert left.mean() < stayed.mean()


def test_ingest_takes_it_like_a_file(tmp_path: Path) -> None:
    settings = {"name": "synthetic", "source": "synthetic", "customers": 300, "days": 90}
    recipe = Recipe.from_mapping(settings)
    report = ingest(recipe, tmp_path / "lake", rejects=tmp_path / "r.parquet")
    lake = Lake.open(tmp_path / "lake")
    got = pl.concat([lake.bucket(number) for number in range(lake.buckets)])
    wanted = rows(Population(customers=300, days=90))
    assert (report.customers, report.rows_kept) == (300, wanted.height)
    assert got.select(wanted.columns).sort(ORDER[:4], maintain_order=True)["quantity"].sum() == wanted["quantity"].sum()
    assert ingest(recipe, tmp_path / "lake", rejects=tmp_path / "r.parquet").rows_read == 0


@pytest.mark.parametrize(
    "change", [{"customers": 11}, {"seed": 1}, {"first_day": date(2020, 1, 1)}, {"types": ONE_TYPE}]
)
def test_other_parameters_are_another_content(change: dict[str, Any]) -> None:
    population = Population(customers=10)
    assert dataclasses.replace(population, **change).content_hash() != population.content_hash()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"customers": 0}, r"data\.customers"),
        ({"customers": 2.5}, r"data\.customers: expected a whole number"),
        ({"seed": -1}, r"data\.seed"),
        ({"first_day": "soon"}, r"data\.first_day"),
        ({"custmers": 5}, "did you mean 'customers'"),
        ({"types": {}}, "at least one type"),
        ({"types": {"a": {"share": 0.5, "orders_per_year": 1}}}, "sum to 0.5"),
        ({"types": {"a": {"share": 1}}}, r"data\.types\.a\.orders_per_year: a value is needed"),
        ({"types": {"a": {"share": 1, "orders_per_year": -1}}}, r"data\.types\.a\.orders_per_year: expected a number"),
        ({"types": {"a": {"share": 1, "orders_per_year": 1, "pric": 2}}}, "did you mean 'price'"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Recipe.from_mapping({"source": "synthetic", **settings})


def test_numbers_as_hydra_reads_them() -> None:
    assert Population.from_mapping({"customers": 2e6}).customers == 2_000_000
