from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from engine.compute import LocalCompute
from engine.errors import DataError
from engine.features import basket, cadence
from engine.features.store import FEATURES, customer_table
from engine.lake.frame import FrameSource
from tests.features.rows_in_memory import RowsInMemory, make_transactions
from tests.reference.features_twin import customer_rows

AS_OF = datetime(2023, 7, 1, tzinfo=UTC)
NEW = [feature.name for family in (basket, cadence) for feature in family.FAMILY]
MONEY = pl.Decimal(18, 4)


def mixed(seed: int) -> pl.DataFrame:
    """Return random transactions in which some rows name no product and some are fees."""
    rows = make_transactions(seed, rows=300)
    part = pl.col("timestamp").dt.second()
    return rows.with_columns(
        product_id=pl.when(part % 5 == 0).then(None).otherwise("product_id"), is_product=part % 7 != 0
    )


def table_of(rows: pl.DataFrame, window_days: int | None = None, columns: list[str] = NEW, **options: Any):
    return customer_table(RowsInMemory(rows), columns=columns, as_of=AS_OF, window_days=window_days, **options)


def customer(*sales: dict[str, Any]) -> pl.DataFrame:
    """Return one customer's rows; each is an order of its own unless it says otherwise."""
    plain = {"customer_id": 1, "product_id": "p", "quantity": 1, "unit_price": None, "amount": 10, "kind": "sale"}
    rows = [
        {**plain, "order_id": str(number), "is_product": True, "by_volume": False, **sale}
        for number, sale in enumerate(sales)
    ]
    days = [AS_OF - timedelta(days=row.pop("ago", 1)) for row in rows]
    types = {"product_id": pl.String, "quantity": MONEY, "amount": MONEY, "unit_price": MONEY}
    return pl.DataFrame(rows, schema_overrides=types).with_columns(
        timestamp=pl.Series(days, dtype=pl.Datetime("us", "UTC"))
    )


def features_of(rows: pl.DataFrame, window_days: int | None = None) -> dict[str, Any]:
    (row,) = table_of(rows, window_days).frame.to_dicts()
    return row


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("window_days", [None, 45, 400])
def test_equals_the_plain_python_twin(seed: int, window_days: int | None) -> None:
    rows = mixed(seed)
    frame = table_of(rows, window_days).frame.select("customer_id", *NEW)
    twin = customer_rows(rows.to_dicts(), AS_OF, window_days)
    assert {row.pop("customer_id"): row for row in frame.to_dicts()} == twin


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("window_days", [None, 90])
def test_buckets_and_workers_do_not_matter(seed: int, window_days: int | None) -> None:
    rows = mixed(seed)
    whole = table_of(rows, window_days, list(FEATURES))
    source = RowsInMemory(rows, buckets=7)
    split = customer_table(
        source, columns=list(FEATURES), as_of=AS_OF, window_days=window_days, compute=LocalCompute(workers=3)
    )
    assert whole.frame.equals(split.frame)
    assert whole.frame["customer_id"].is_sorted()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("window_days", [None, 90])
def test_nothing_from_as_of_on_leaks_in(seed: int, window_days: int | None) -> None:
    rows = mixed(seed)
    later = pl.col("timestamp") >= AS_OF
    known = rows.filter(~later)
    changed = pl.concat(
        [
            known,
            rows.filter(later).with_columns(
                amount=(pl.col("amount") * 7).cast(MONEY),
                quantity=(pl.col("quantity") * 3).cast(MONEY),
                order_id=pl.lit("later"),
                product_id=pl.lit("later"),
                kind=pl.when(pl.col("kind") == "sale").then(pl.lit("return")).otherwise(pl.lit("sale")),
            ),
            known.with_columns(timestamp=pl.lit(AS_OF).cast(pl.Datetime("us", "UTC"))),
        ]
    )
    everything = list(FEATURES)
    table = table_of(known, window_days, everything).frame
    assert table.equals(table_of(rows, window_days, everything).frame)
    assert table.equals(table_of(changed, window_days, everything).frame)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("window_days", [None, 120])
def test_laws(seed: int, window_days: int | None) -> None:
    frame = table_of(mixed(seed), window_days).frame
    for name in NEW:
        assert frame[name].min() >= FEATURES[name].minimum
        assert frame[name].max() <= FEATURES[name].maximum
        assert not frame[name].cast(pl.Float64).is_nan().any()
    # A mean per order times the orders is the total, and no order holds more products than all orders.
    assert (frame["average_ticket"] * frame["frequency"]).to_list() == pytest.approx(frame["monetary"].to_list())
    assert (frame["basket_units"] * frame["frequency"]).to_list() == pytest.approx(frame["units"].to_list())
    assert (frame["basket_products"] <= frame["distinct_products"]).drop_nulls().all()
    # There is a gap where there is a span, and it fits in.
    assert (frame["gap_days_median"].is_null() == (frame["active_span_days"] == 0)).all()
    assert (frame["gap_days_median"] <= frame["active_span_days"]).drop_nulls().all()
    assert (frame["active_span_days"] <= frame["tenure_days"] - frame["recency_days"] + 1).all()


@pytest.mark.parametrize("seed", range(3))
def test_asking_for_returns_changes_nobody_and_no_account(seed: int) -> None:
    plain, asked = table_of(mixed(seed), 60, []), table_of(mixed(seed), 60, ["return_rate"])
    assert asked.frame.drop("return_rate").equals(plain.frame)
    assert (asked.rows, asked.monetary_total) == (plain.rows, plain.monetary_total)
    assert (asked.left_out, asked.rows_left_out) == (plain.left_out, plain.rows_left_out)


def test_one_order_by_hand() -> None:
    row = features_of(
        customer(
            {"order_id": "a", "product_id": "milk", "quantity": 3, "amount": 6},
            {"order_id": "a", "product_id": "milk", "quantity": 1, "amount": 2},
            {"order_id": "a", "product_id": "fuel", "quantity": 900, "amount": 30, "by_volume": True},
        )
    )
    assert (row["average_ticket"], row["basket_units"]) == (38.0, 5.0)
    assert (row["basket_products"], row["distinct_products"]) == (2.0, 2)
    assert (row["gap_days_median"], row["active_span_days"]) == (None, 0)
    assert (row["return_rate"], row["trend_quarter"]) == (0.0, 1.0)


def test_gaps_by_hand() -> None:
    # Purchase days 20, 17 (two orders), 11 and 10 days ago: gaps of 3, 6 and 1.
    row = features_of(customer(*({"ago": ago} for ago in (20, 17, 16.5, 11, 10))))
    assert (row["gap_days_median"], row["active_span_days"]) == (3.0, 10)


def test_a_gap_is_counted_in_calendar_days() -> None:
    # Two minutes apart, around midnight.
    minute = 1 / 1440
    row = features_of(customer({"ago": 5 + minute}, {"ago": 5 - minute}))
    assert (row["gap_days_median"], row["active_span_days"]) == (1.0, 1)
    # And before 1970, where days count backwards.
    rows = customer({}, {}).with_columns(
        timestamp=pl.Series([datetime(1969, 12, 31, 23, 59, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)])
    )
    assert features_of(rows)["gap_days_median"] == 1.0


@pytest.mark.parametrize(
    ("sales", "trend"),
    [
        ([(10, 30), (100, 10)], 0.5),
        ([(10, 10), (100, 30)], -0.5),
        ([(10, 10), (100, 10)], 0.0),
        ([(10, 10)], 1.0),
        ([(100, 10)], -1.0),
        # Nothing in either quarter, or nothing paid.
        ([(200, 10)], 0.0),
        ([(10, 0), (100, 0)], 0.0),
        # A quarter is 91 days, its first moment in it.
        ([(91, 10), (91.001, 30)], -0.5),
        ([(182, 10), (182.001, 30)], -1.0),
        # A discount written as a sale: 15 more on 5 in all is out of bounds.
        ([(10, 10), (100, -5)], 1.0),
        ([(10, -5), (100, 10)], -1.0),
        ([(10, -5), (100, 5)], 0.0),
    ],
)
def test_trend_by_hand(sales: list[tuple[float, int]], trend: float) -> None:
    rows = customer(*({"ago": ago, "amount": amount} for ago, amount in sales))
    assert features_of(rows)["trend_quarter"] == trend


def test_the_window_does_not_cut_the_trend() -> None:
    rows = customer({"ago": 10, "amount": 30}, {"ago": 100, "amount": 10}, {"ago": 10, "kind": "return", "amount": -9})
    assert features_of(rows, window_days=30)["trend_quarter"] == 0.5
    assert features_of(rows, window_days=30)["monetary"] == 30


@pytest.mark.parametrize(
    ("rows", "rate"),
    [
        ([("sale", 40, 5), ("return", -10, 3)], 0.25),
        # A source may write returns without a sign.
        ([("sale", 40, 5), ("return", 10, 3)], 0.25),
        ([("sale", 40, 5), ("return", -30, 4), ("return", -10, 3)], 1.0),
        # Bought before the window, returned inside it.
        ([("sale", 900, 50), ("sale", 40, 5), ("return", -900, 3)], 1.0),
        # Returned before the window or from as_of on.
        ([("sale", 40, 5), ("return", -10, 50), ("return", -20, 0)], 0.0),
        # Nothing paid: nothing back is nothing, something back is everything.
        ([("sale", 0, 5)], 0.0),
        ([("sale", 0, 5), ("return", 0, 3)], 0.0),
        ([("sale", 0, 5), ("return", -1, 3)], 1.0),
    ],
)
def test_return_rate_by_hand(rows: list[tuple[str, int, int]], rate: float) -> None:
    frame = customer(*({"kind": kind, "amount": amount, "ago": ago} for kind, amount, ago in rows))
    assert features_of(frame, window_days=30)["return_rate"] == rate


def test_returns_alone_make_nobody_a_customer() -> None:
    buyer = customer({"ago": 3})
    returner = customer({"ago": 3, "kind": "return", "amount": -5}, {"ago": 50}).with_columns(
        customer_id=pl.lit(2, pl.Int64)
    )
    table = table_of(pl.concat([buyer, returner]), 30)
    assert table.frame["customer_id"].to_list() == [1]
    assert table.left_out["no_sale_in_window"] == 1


def test_fees_and_nameless_rows_are_no_products() -> None:
    row = features_of(
        customer(
            {"order_id": "a", "product_id": "milk"},
            {"order_id": "a", "product_id": "postage", "is_product": False},
            {"order_id": "b", "product_id": "postage", "is_product": False},
            {"order_id": "c", "product_id": None},
            {"order_id": "d", "product_id": "bread"},
        )
    )
    # Two products in four orders; the money of all rows counts.
    assert (row["distinct_products"], row["basket_products"], row["average_ticket"]) == (2, 0.5, 12.5)


@pytest.mark.parametrize("column", ["distinct_products", "basket_products"])
def test_without_products_in_the_data_the_column_is_named(column: str, tmp_path) -> None:
    frame = pl.DataFrame({"customer_id": [1, 2], "timestamp": ["2024-05-01", "2024-05-02"], "amount": [9.5, 1.0]})
    source = FrameSource.from_frame(frame)
    # The second time from the cache.
    for _ in range(2):
        with pytest.raises(DataError, match=rf"{column} needs product_id.*data\.columns\.product_id=.*leave {column}"):
            customer_table(source, columns=[column], cache=tmp_path)
    assert customer_table(source, columns=["average_ticket", "trend_quarter"]).frame.height == 2


def test_one_customer_without_a_named_product_is_unknown_and_not_zero() -> None:
    other = customer({"product_id": None}).with_columns(customer_id=pl.lit(2, pl.Int64))
    frame = table_of(pl.concat([customer({}), other])).frame
    assert frame["distinct_products"].to_list() == [1, None]
    assert frame["basket_products"].to_list() == [1.0, None]


@pytest.mark.parametrize("seed", range(2))
def test_money_is_summed_exactly(seed: int) -> None:
    # As floats, a cent added a thousand times to a billion drifts.
    cents = [Decimal("1000000000.01"), *[Decimal("0.01")] * 999]
    rows = customer(*({"order_id": "a", "amount": amount} for amount in cents)).sample(
        fraction=1.0, shuffle=True, seed=seed
    )
    assert features_of(rows)["average_ticket"] == 1000000010.0
