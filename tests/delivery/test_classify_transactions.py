"""Raw transactions to segments: one customer or all, through the model's own period."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import engine
from engine.api import classify_transactions
from engine.errors import CarteraError, ColumnsMissingError, DataError, SettingError
from engine.features.matrix import FeatureSpec, feature_set
from engine.lake.frame import FrameSource
from engine.lake.ingest import ingest
from engine.lake.recipe import Recipe
from engine.lake.table import Lake
from tests.delivery.tracking_example import make_customers, make_model
from tests.reference import rfm_twin


def make_sales(seed: int = 0, customers: int = 120) -> pl.DataFrame:
    """Return sales of frequent and of rare customers over half a year, and a return of each tenth."""
    draw = random.Random(seed)
    rows = []
    for customer in range(customers):
        for order in range(draw.randint(8, 15) if customer % 2 else draw.randint(1, 3)):
            when = datetime(2024, 1, 1) + timedelta(days=draw.randint(0, 180), minutes=draw.randint(0, 1000))
            amount = round(draw.uniform(5, 90), 2)
            rows.append((customer, when, f"{customer}-{order}", draw.randint(1, 5), amount))
        if customer % 10 == 0:
            rows.append((customer, rows[-1][1], "back", -1, -rows[-1][4]))
    return pl.DataFrame(rows, schema=["customer_id", "timestamp", "order_id", "quantity", "amount"], orient="row")


@pytest.fixture(scope="module")
def fitted() -> engine.Segmentation:
    return engine.segment(make_sales(), as_of="2024-06-01", window_days=90, k=3, features="rfm_units")


def test_the_transactions_of_the_fit_give_its_assignments(fitted: engine.Segmentation) -> None:
    assert classify_transactions(fitted.model, make_sales(), as_of="2024-06-01").equals(fitted.assignments)
    spanish = classify_transactions(fitted.model, make_sales(), as_of="2024-06-01", language="es")
    assert spanish.equals(fitted.model.assign(fitted.customers.frame, language="es"))


@pytest.mark.parametrize("seed", [1, 2])
def test_every_customer_is_classified_by_what_the_period_holds(fitted: engine.Segmentation, seed: int) -> None:
    sales = make_sales(seed)
    rows = FrameSource.from_frame(sales).bucket(0).to_dicts()
    expected = rfm_twin.customer_rows(rows, datetime(2024, 5, 1, tzinfo=UTC), 90)
    table = classify_transactions(fitted.model, sales, as_of="2024-05-01")
    assert table["customer_id"].to_list() == sorted(expected)
    assert 60 < table.height < 120
    for row in table.to_dicts():
        values = expected[row["customer_id"]]
        one = fitted.model.classify({name: values[name] for name in fitted.model.spec.names})
        assert (one.segment_id, one.distance, one.novel) == (row["segment_id"], row["distance"], row["novel"])


def test_a_customer_alone_is_classified_as_among_all(fitted: engine.Segmentation) -> None:
    sales = make_sales(3)
    table = classify_transactions(fitted.model, sales, as_of="2024-06-30")
    for customer in table["customer_id"].to_list()[::17]:
        own = sales.filter(pl.col("customer_id") == customer)
        alone = classify_transactions(fitted.model, own, as_of="2024-06-30")
        assert alone.equals(table.filter(pl.col("customer_id") == customer))


def test_the_period_ends_at_the_midnight_after_the_last_row(fitted: engine.Segmentation) -> None:
    sales = make_sales()
    midnight = sales["timestamp"].max().date() + timedelta(days=1)
    assert classify_transactions(fitted.model, sales).equals(classify_transactions(fitted.model, sales, as_of=midnight))


def test_names_of_columns_kinds_of_frames_and_a_lake(fitted: engine.Segmentation, tmp_path) -> None:
    sales, expected = make_sales(), fitted.assignments
    names = {"customer_id": "Client", "timestamp": "Date"}
    renamed = sales.rename(names)
    assert classify_transactions(fitted.model, renamed, columns=names, as_of="2024-06-01").equals(expected)
    assert classify_transactions(fitted.model, sales.lazy(), as_of="2024-06-01").equals(expected)
    import pandas as pd

    frame = pd.DataFrame({name: sales[name].to_numpy() for name in sales.columns})
    assert classify_transactions(fitted.model, frame, as_of="2024-06-01").equals(expected)
    sales.write_parquet(tmp_path / "sales.parquet")
    recipe = Recipe.from_mapping({"name": "sales", "path": str(tmp_path / "sales.parquet")})
    ingest(recipe, tmp_path / "lake", rejects=tmp_path / "rejects.parquet")
    lake = Lake.open(tmp_path / "lake")
    assert classify_transactions(fitted.model, lake, as_of="2024-06-01").equals(expected)
    few = classify_transactions(fitted.model, sales, as_of="2024-06-01", where="frequency > 3")
    assert 0 < few.height < expected.height
    assert few.equals(expected.filter(pl.col("customer_id").is_in(few["customer_id"].implode())))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"transactions": make_sales().head(0)}, DataError, "there is no row"),
        ({"transactions": make_sales().drop("amount")}, ColumnsMissingError, "amount"),
        ({"transactions": [1, 2]}, SettingError, "transactions: expected a Polars or pandas frame"),
        ({"transactions": make_sales().filter(pl.col("quantity") < 0)}, DataError, "no sale"),
        ({"columns": {"amount": "Total"}}, ColumnsMissingError, "Total"),
        ({"as_of": "2023-01-01"}, DataError, "no sale in the 90 days before that date"),
        ({"as_of": "yesterday"}, SettingError, "as_of: expected a date"),
        ({"language": "fr"}, SettingError, "language: expected one of en, es"),
        ({"where": "monetary >"}, SettingError, "where"),
    ],
)
def test_mistakes_say_what_was_expected(
    fitted: engine.Segmentation, change: dict, error: type[CarteraError], says: str
) -> None:
    with pytest.raises(error, match=says):
        classify_transactions(fitted.model, **{"transactions": make_sales(), **change})


def test_a_model_of_other_variables_says_what_it_takes() -> None:
    customers = make_customers(n=198)
    strange = customers.rename({"monetary": "clicks"})
    spec = FeatureSpec.fit(strange, feature_set(["frequency", "clicks"]))
    with pytest.raises(SettingError, match="this model needs clicks, which cannot be computed from transactions"):
        classify_transactions(replace(make_model(customers), spec=spec), make_sales())


def test_what_is_no_model_is_refused_with_where_to_find_one(fitted: engine.Segmentation) -> None:
    with pytest.raises(SettingError, match=r"model: expected a model, .* segmentation\.model; got Segmentation"):
        classify_transactions(fitted, make_sales())  # type: ignore[arg-type]
