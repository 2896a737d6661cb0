"""Every row is kept or rejected for one reason, and rows and money add up."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.errors import ColumnsMissingError, DataError, SettingError
from engine.lake.frame import FrameSource
from engine.lake.ingest import ingest
from engine.lake.recipe import Recipe
from engine.lake.table import Lake
from tests.reference.lake_rows import read_rows

GOOD = {"customer_id": "7", "timestamp": "2024-05-01", "quantity": "2", "unit_price": "1.5", "product_id": "A"}
STRICT = {"zero_price": "reject", "negative_price": "reject", "max_reject_share": 1}


def source(rows: list[dict[str, Any]], rules: dict[str, Any] | None = None, **settings: Any) -> FrameSource:
    recipe = Recipe.from_mapping(
        {"name": "t", "path": "-", "rules": {"max_reject_share": 1, **(rules or {})}, **settings}
    )
    return FrameSource.from_frame(pl.DataFrame(rows), recipe)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"customer_id": None}, "missing_customer_id"),
        ({"customer_id": "  "}, "missing_customer_id"),
        ({"timestamp": ""}, "missing_timestamp"),
        ({"timestamp": "soon"}, "not_a_date"),
        ({"timestamp": "2024-02-30"}, "not_a_date"),
        ({"quantity": "two"}, "not_a_number"),
        ({"quantity": "2 €"}, "not_a_number"),
        ({"unit_price": "2 € 50"}, "not_a_number"),
        ({"unit_price": "inf"}, "infinite_number"),
        ({"unit_price": "1e20"}, "number_too_large"),
        ({"quantity": "99999999999999", "unit_price": "9"}, "number_too_large"),
        ({"quantity": None}, "missing_quantity"),
        ({"unit_price": ""}, "missing_amount"),
        ({"unit_price": "0"}, "zero_price"),
        ({"unit_price": "-1"}, "negative_price"),
        ({"customer_id": None, "timestamp": "soon", "unit_price": "x"}, "missing_customer_id"),
        ({"timestamp": "soon", "unit_price": "x"}, "not_a_date"),
        ({"quantity": "1e20", "unit_price": "x"}, "not_a_number"),
        ({"quantity": "x", "unit_price": "inf"}, "not_a_number"),
    ],
)
def test_reason(change: dict[str, Any], reason: str) -> None:
    got = source([GOOD, {**GOOD, **change}], STRICT)
    assert got.rejects.select("row", "reason").rows() == [(2, reason)]
    assert json.loads(got.rejects["raw"][0]) == {**GOOD, **change}
    assert got.rows == 1


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("amount", float("nan"), "missing_amount"),
        ("amount", float("inf"), "infinite_number"),
        ("amount", 1e15, "number_too_large"),
        ("customer_id", float("nan"), "missing_customer_id"),
        ("customer_id", float("inf"), "missing_customer_id"),
    ],
)
def test_reason_of_typed_columns(column: str, value: float, reason: str) -> None:
    good = {"customer_id": 7.0, "timestamp": "2024-05-01", "amount": 3.5}
    got = source([good, {**good, column: value}])
    assert got.rejects["reason"].to_list() == [reason]


@pytest.mark.parametrize(
    ("row", "rules", "wanted"),
    [
        ({}, {}, {"kind": "sale", "amount": Decimal(3), "order_id": "2024-05-01", "is_product": True}),
        ({"quantity": "-2"}, {}, {"kind": "return", "amount": Decimal(-3)}),
        ({"unit_price": "-1.5"}, {}, {"kind": "return", "amount": Decimal(-3)}),
        ({"unit_price": "0"}, {}, {"kind": "sale", "amount": Decimal(0)}),
        ({"product_id": "POST"}, {"non_products": ["POST", "gift_*"]}, {"is_product": False}),
        ({"product_id": "gift_0001"}, {"non_products": ["POST", "gift_*"]}, {"is_product": False}),
        ({"product_id": "POSTER"}, {"non_products": ["POST", "gift_*"]}, {"is_product": True}),
        ({"product_id": None}, {"non_products": ["POST"]}, {"is_product": True}),
        ({"customer_id": " 00123 "}, {}, {"customer_id": "00123"}),
        ({"customer_id": "12345.0"}, {}, {"customer_id": 12345}),
        ({"quantity": "0.3333", "unit_price": "0.5"}, {}, {"amount": Decimal("0.1666")}),
        ({"quantity": "5000"}, {"by_volume_where": "quantity > 1000"}, {"by_volume": True}),
        ({"quantity": "1000"}, {"by_volume_where": "quantity > 1000"}, {"by_volume": False}),
        ({"product_id": None}, {"by_volume_where": "product_id = 'A'"}, {"by_volume": False}),
    ],
)
def test_meaning(row: dict[str, Any], rules: dict[str, Any], wanted: dict[str, Any]) -> None:
    kept = source([{**GOOD, **row}], rules).bucket(0).row(0, named=True)
    assert {name: kept[name] for name in wanted} == wanted


def test_prices_carry_a_currency() -> None:
    got = source([{**GOOD, "unit_price": text} for text in ("1 234,50 €", "12,5")], decimal=",")
    assert sorted(got.bucket(0)["amount"]) == [25, 2469]
    assert not any("currencies" in note["en"] for note in got.notes())


def test_non_products_can_be_dropped() -> None:
    rules = {"non_products": ["POST"], "drop_non_products": True}
    got = source([GOOD, {**GOOD, "product_id": "POST"}], rules)
    assert got.rejects["reason"].to_list() == ["non_product"]


def test_kind_column_has_the_sources_words() -> None:
    rows = [{**GOOD, "tipo": word} for word in ("Venta", "ABONO", "otro")]
    rules = {"kind_values": {"sale": ["venta"], "return": ["abono", "devolución"]}}
    got = source(rows, rules, columns={"kind": "tipo"})
    assert got.bucket(0, ["kind"])["kind"].sort().to_list() == ["return", "sale"]
    assert got.rejects["reason"].to_list() == ["unknown_kind"]


def test_exact_duplicates_keep_the_first() -> None:
    rows = [GOOD, {**GOOD, "quantity": "3"}, GOOD, GOOD]
    got = source(rows, {"exact_duplicates": "reject"})
    assert got.rejects.select("row", "reason").rows() == [(3, "exact_duplicate"), (4, "exact_duplicate")]
    assert got.reconciliation()["amount_rejected"] == {"exact_duplicate": "6.0000"}


def test_products_table_feeds_the_predicate(tmp_path: Path) -> None:
    pl.DataFrame({"code": [1, 2], "dept": ["FUEL", "MEAT"]}).write_parquet(tmp_path / "products.parquet")
    products = {"path": str(tmp_path / "products.parquet"), "key": "code", "columns": ["dept"]}
    rows = [{**GOOD, "product_id": code} for code in (1, 2, 3)]
    got = source(rows, {"by_volume_where": "dept = 'FUEL'"}, products=products)
    assert got.bucket(0, ["product_id", "by_volume"]).rows() == [("1", True), ("2", False), ("3", False)]
    assert got.notes()[0]["en"].startswith("1 of 3 rows are sold by volume")


def test_misspelt_column_is_named_with_those_there() -> None:
    with pytest.raises(
        ColumnsMissingError, match=r"'custmer_id'.*did you mean 'customer_id'.*Columns there: customer_id"
    ):
        source([GOOD], columns={"customer_id": "custmer_id"})


def test_no_value_column_at_all() -> None:
    row = {"customer_id": 1, "timestamp": "2024-05-01"}
    with pytest.raises(ColumnsMissingError, match=r"data\.columns\.amount"):
        source([row])


@pytest.mark.parametrize(
    ("predicate", "message"),
    [
        ("dept = = 1", "expected an SQL predicate"),
        ("dept = 'X'", "no column 'dept'"),
        ("quantity + 1", "true or false"),
    ],
)
def test_predicate_that_cannot_be(predicate: str, message: str) -> None:
    with pytest.raises((SettingError, DataError), match=message):
        source([GOOD], {"by_volume_where": predicate})


def test_wrong_format_stops_with_examples() -> None:
    rows = [{**GOOD, "unit_price": "1,50"}] * 3 + [GOOD]
    with pytest.raises(
        DataError,
        match=r"3 of 4 rows .*row 1 \(not_a_number\): timestamp=2024-05-01, quantity=2, unit_price=1,50; .*decimal",
    ):
        source(rows, {"max_reject_share": 0.5})


def test_examples_name_no_customer() -> None:
    rows = [{**GOOD, "customer_id": "secret", "unit_price": "x"}]
    with pytest.raises(DataError) as error:
        source(rows, {"max_reject_share": 0})
    assert "secret" not in str(error.value)


def test_nothing_left_stops() -> None:
    with pytest.raises(DataError, match=r"no row can be used \(missing_customer_id 1\)"):
        source([{**GOOD, "customer_id": ""}])


def test_the_callers_frame_is_left_alone() -> None:
    frame = pl.DataFrame([GOOD])
    before = frame.clone()
    FrameSource.from_frame(frame)
    assert frame.equals(before)


def random_file(path: Path, seed: int, rows: int = 300) -> None:
    draw = random.Random(seed)
    ids = ["", " 7 ", *(str(draw.randint(1, 40)) for _ in range(20))]
    days = [
        "",
        "soon",
        "2024-02-30 10:00",
        *(f"2024-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d} 10:30" for _ in range(30)),
    ]
    amounts = ["", "x", "inf", "nan", "1e20", "0", "-3", *(f"{draw.gauss(5, 9):.4f}" for _ in range(40))]
    with path.open("w", encoding="utf-8") as out:
        out.write("customer_id,timestamp,order_id,quantity,unit_price\n")
        for _ in range(rows):
            fields = [
                draw.choice(ids),
                draw.choice(days),
                draw.choice(["", "a", "b"]),
                draw.choice(amounts),
                draw.choice(amounts),
            ]
            extra = draw.random()
            if extra < 0.03:
                fields = fields[: draw.randint(1, 4)]
            elif extra < 0.06:
                fields.append("more")
            out.write(",".join(fields) + "\n")


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_the_row_by_row_twin(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "till.csv"
    random_file(path, seed)
    rows = read_rows(path, "%Y-%m-%d %H:%M", zero_price="reject" if seed % 2 else "keep")
    recipe = Recipe.from_mapping(
        {
            "name": "t",
            "path": str(path),
            "columns": {name: name for name in ("customer_id", "timestamp", "order_id", "quantity", "unit_price")},
            "rules": {"zero_price": "reject" if seed % 2 else "keep", "max_reject_share": 1},
        }
    )
    report = ingest(recipe, tmp_path / "lake", rejects=tmp_path / "rejects.parquet")
    lake = Lake.open(tmp_path / "lake")
    kept = pl.concat([lake.bucket(number) for number in range(lake.buckets)])
    got = sorted(
        kept.select(pl.col("customer_id").cast(pl.String), "timestamp", "order_id", "quantity", "amount", "kind").rows()
    )
    wanted = sorted(
        (row.customer_id, row.timestamp, row.order_id, row.quantity, row.amount, row.kind)
        for row in rows
        if row.reason is None
    )
    assert got == wanted
    rejects = pl.read_parquet(tmp_path / "rejects.parquet")
    assert rejects.select("row", "reason").rows() == [(row.number, row.reason) for row in rows if row.reason]
    # Every row is kept or rejected, and so is every cent.
    assert report.rows_read == len(rows) == report.rows_kept + sum(report.rejected.values())
    parts = [Decimal(report.amount_kept), *(Decimal(amount) for amount in report.amount_rejected.values())]
    assert Decimal(report.amount_read) == sum(parts)
    assert Decimal(report.amount_kept) == sum(row.amount for row in rows if row.amount is not None)
