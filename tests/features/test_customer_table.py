from __future__ import annotations

import inspect
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from engine.compute import LocalCompute
from engine.errors import ColumnsMissingError, DataError, SettingError
from engine.features.store import ALWAYS, FEATURES, customer_table, dictionary
from tests.features.rows_in_memory import RowsInMemory, make_transactions
from tests.reference.rfm_twin import customer_rows

MEASURES = list(ALWAYS)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("window_days", [None, 30, 365])
def test_equals_the_plain_python_twin(seed: int, window_days: int | None) -> None:
    rows = make_transactions(seed)
    as_of = datetime(2023, 7, 1, tzinfo=UTC)
    table = customer_table(RowsInMemory(rows), as_of=as_of, window_days=window_days)
    twin = customer_rows(rows.to_dicts(), as_of, window_days)
    assert {row.pop("customer_id"): row for row in table.frame.to_dicts()} == twin


@pytest.mark.parametrize("seed", range(5))
def test_buckets_and_workers_do_not_matter(seed: int) -> None:
    rows = make_transactions(seed)
    whole = customer_table(RowsInMemory(rows))
    split = customer_table(RowsInMemory(rows, buckets=7), compute=LocalCompute(workers=3))
    assert whole.frame.equals(split.frame)
    assert whole.monetary_total == split.monetary_total
    assert whole.left_out == split.left_out


@pytest.mark.parametrize("seed", range(5))
def test_nothing_from_as_of_on_leaks_in(seed: int) -> None:
    rows = make_transactions(seed)
    as_of = datetime(2023, 3, 15, tzinfo=UTC)
    later = rows.with_columns(
        amount=pl.when(pl.col("timestamp") >= as_of)
        .then(pl.col("amount") * 7)
        .otherwise("amount")
        .cast(pl.Decimal(18, 4)),
        order_id=pl.when(pl.col("timestamp") >= as_of).then(pl.lit("later")).otherwise("order_id"),
    )
    known = rows.filter(pl.col("timestamp") < as_of)
    table = customer_table(RowsInMemory(rows), as_of=as_of).frame
    assert table.equals(customer_table(RowsInMemory(later), as_of=as_of).frame)
    assert table.equals(customer_table(RowsInMemory(known), as_of=as_of).frame)


@pytest.mark.parametrize("seed", range(5))
def test_nobody_and_no_cent_is_lost(seed: int) -> None:
    rows = make_transactions(seed)
    table = customer_table(RowsInMemory(rows, buckets=3), as_of="2023-01-01", window_days=60)
    # Every customer of the source is in the table or counted under one reason.
    assert table.frame.height + sum(table.left_out.values()) == rows["customer_id"].n_unique()
    as_of = datetime(2023, 1, 1, tzinfo=UTC)
    counted = rows.filter(
        pl.col("kind") == "sale",
        pl.col("timestamp") < as_of,
        pl.col("timestamp") >= as_of - timedelta(days=60),
    )
    assert table.monetary_total == counted["amount"].sum()
    assert table.rows == counted.height
    # Every row and every cent of the source is in the table or counted under one reason.
    left = table.rows_left_out
    assert set(left) == {"on_or_after_as_of", "returns", "before_window"}
    assert table.rows + sum(part.rows for part in left.values()) == rows.height
    assert table.monetary_total + sum(part.amount for part in left.values()) == rows["amount"].sum()
    assert table.frame["monetary"].sum() == pytest.approx(float(table.monetary_total), rel=1e-12)


def test_as_of_defaults_to_the_midnight_after_the_last_row() -> None:
    table = customer_table(RowsInMemory(make_transactions(0)))
    last = make_transactions(0)["timestamp"].max()
    assert table.as_of == datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
    assert table.frame["recency_days"].min() == 0


@pytest.mark.parametrize("as_of", ["2023-07-01", date(2023, 7, 1), datetime(2023, 7, 1), "2023-07-01T02:00:00+02:00"])
def test_as_of_may_be_written_in_any_form(as_of: object) -> None:
    table = customer_table(RowsInMemory(make_transactions(0)), as_of=as_of)
    assert table.as_of == datetime(2023, 7, 1, tzinfo=UTC)


def test_a_row_at_as_of_does_not_count_and_one_at_the_window_start_does() -> None:
    as_of = datetime(2023, 1, 31, tzinfo=UTC)
    times = [as_of, as_of - timedelta(days=10), as_of - timedelta(days=10, microseconds=1)]
    rows = make_transactions(0, customers=1, rows=3).with_columns(
        timestamp=pl.Series(times), kind=pl.lit("sale"), order_id=pl.Series(["a", "b", "c"])
    )
    row = customer_table(RowsInMemory(rows), as_of=as_of, window_days=10).frame.to_dicts()[0]
    assert row["frequency"] == 1
    assert row["recency_days"] == 10
    assert row["tenure_days"] == 10


def test_where_selects_and_counts_those_left_out() -> None:
    source = RowsInMemory(make_transactions(1))
    everybody = customer_table(source)
    few = customer_table(source, where="frequency > 10 AND monetary > 1000")
    assert few.frame.equals(everybody.frame.filter((pl.col("frequency") > 10) & (pl.col("monetary") > 1000)))
    assert few.left_out["where"] == everybody.frame.height - few.frame.height
    assert few.rows + few.rows_left_out["where"].rows == everybody.rows
    assert few.monetary_total + few.rows_left_out["where"].amount == everybody.monetary_total
    assert few.monetary_total == sum(Decimal(str(value)) for value in few.frame["monetary"])


@pytest.mark.parametrize(
    ("where", "error", "says"),
    [
        ("monetry > 1", ColumnsMissingError, "did you mean 'monetary'"),
        ("monetary >", SettingError, "SQL condition"),
        ("monetary + 1", SettingError, "SQL condition"),
        ("monetary > 1e12", DataError, "none of the 30 customers"),
        ("customer_id = 7", SettingError, "customer_id cannot be used"),
        ("TRUE", SettingError, "for each customer"),
        (5, SettingError, "SQL condition"),
    ],
)
def test_a_bad_where_says_what_is_wrong(where: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        customer_table(RowsInMemory(make_transactions(1)), where=where)


@pytest.mark.parametrize("window_days", [0, -5, 1.5, "30", True, 10**9])
def test_an_impossible_window_is_refused(window_days: object) -> None:
    with pytest.raises(SettingError, match=r"features\.window_days: expected a whole number"):
        customer_table(RowsInMemory(make_transactions(1)), window_days=window_days)


def test_unknown_features_and_dates_are_refused() -> None:
    source = RowsInMemory(make_transactions(1))
    with pytest.raises(SettingError, match=r"features\.columns: .*did you mean 'frequency'"):
        customer_table(source, columns=["frequenzy"])
    for as_of in ("yesterday", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00+14:00", 5, "2023"):
        with pytest.raises(SettingError, match="as_of: expected a date"):
            customer_table(source, as_of=as_of)
    with pytest.raises(DataError, match="no sale before that date"):
        customer_table(source, as_of="2001-01-01")


def test_the_cache_returns_the_same_table_and_tells_questions_apart(tmp_path) -> None:
    source = RowsInMemory(make_transactions(2))
    first = customer_table(source, cache=tmp_path)
    source.rows = source.rows.with_columns(amount=pl.lit(Decimal("1.0000")))
    again = customer_table(source, cache=tmp_path)
    assert again.frame.equals(first.frame)
    assert again.monetary_total == first.monetary_total
    assert (again.first_sale, again.last_sale, again.left_out) == (first.first_sale, first.last_sale, first.left_out)
    # Another window, another date, another version of the table: computed afresh.
    assert customer_table(source, cache=tmp_path, window_days=90).frame["frequency"].sum() < first.orders
    source.version = 1
    assert customer_table(source, cache=tmp_path).monetary_total != first.monetary_total
    assert len(list(tmp_path.iterdir())) == 3


def test_a_broken_cache_is_computed_again(tmp_path) -> None:
    source = RowsInMemory(make_transactions(2))
    first = customer_table(source, cache=tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert customer_table(source, cache=tmp_path).frame.equals(first.frame)
    assert customer_table(source, cache=tmp_path).rows == first.rows


CODE = ["rfm", "basket", "cadence", "feature", "table", "store"]


@pytest.mark.parametrize("changed", CODE)
def test_the_cache_asks_the_code_of_every_family(changed: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = RowsInMemory(make_transactions(2))
    customer_table(source, cache=tmp_path)
    read = inspect.getsource
    monkeypatch.setattr(
        inspect, "getsource", lambda module: read(module) + "#" * (module.__name__ == f"engine.features.{changed}")
    )
    customer_table(source, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_every_family_is_among_the_code_that_the_cache_asks() -> None:
    assert {feature.expression.__module__.rpartition(".")[2] for feature in FEATURES.values()} <= set(CODE)


@pytest.mark.parametrize(
    "fault", ["no facts", "no list", "facts of another kind", "a fact less", "no number", "column"]
)
def test_a_cache_of_another_layout_is_computed_again(fault: str, tmp_path) -> None:
    source = RowsInMemory(make_transactions(2))
    first = customer_table(source, columns=["trend_quarter"], cache=tmp_path)
    (kept,) = tmp_path.iterdir()
    table, facts = pl.read_parquet(kept), json.loads(pl.read_parquet_metadata(kept)["cartera"])
    if fault == "a fact less":
        del facts["rows_left_out"]
    elif fault == "no list":
        facts["rows_left_out"] = ["returns"]
    elif fault == "no number":
        facts["rows_left_out"] = {"returns": [1, "much"]}
    elif fault == "facts of another kind":
        facts = [facts]
    elif fault == "column":
        table = table.drop("trend_quarter")
    table.write_parquet(kept, metadata={} if fault == "no facts" else {"cartera": json.dumps(facts)})
    again = customer_table(source, columns=["trend_quarter"], cache=tmp_path)
    assert again.frame.equals(first.frame)
    assert again.rows_left_out == first.rows_left_out
    # And the sound one has taken its place.
    assert pl.read_parquet(kept).columns == [*first.frame.columns, "__rows"]


def test_every_feature_is_explained_in_both_languages() -> None:
    text = dictionary(list(FEATURES))
    for feature in FEATURES.values():
        assert feature.definition.en in text
        assert feature.definition.es in text
        assert feature.unit.en in text
        assert f"`{feature.name}`" in text
        assert feature.expression.__doc__
    assert text.count("\n") == len(FEATURES) + 2
    # No two read the same.
    for language in ("en", "es"):
        assert len({feature.label.text(language) for feature in FEATURES.values()}) == len(FEATURES)
