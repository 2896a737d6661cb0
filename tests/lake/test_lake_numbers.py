"""Numbers as people write them into exact decimals."""

from __future__ import annotations

import random
from decimal import Decimal

import polars as pl
import pytest

from engine.errors import DataError
from engine.lake.numbers import missing, to_money, why_unread
from tests.reference.lake_rows import number

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [
        ("12.5", ".", "12.5"),
        (" 12.5 ", ".", "12.5"),
        ("1,299.99", ".", "1299.99"),
        ("-1,299,000", ".", "-1299000"),
        ("12,50", ".", None),
        ("1,2345.6", ".", None),
        ("1e3", ".", "1000"),
        (".5", ".", "0.5"),
        ("+5", ".", "5"),
        ("12,5", ",", "12.5"),
        ("1.299,99", ",", "1299.99"),
        ("1 299,99", ",", "1299.99"),
        ("1\u00a0299,99", ",", "1299.99"),
        ("1'299.99", ".", "1299.99"),
        ("12.50", ",", None),
        ("1.299", ",", "1299"),
        ("99999999999999.9999", ".", "99999999999999.9999"),
        ("100000000000000", ".", None),
        ("inf", ".", None),
        ("nan", ".", None),
        ("", ".", None),
        ("€ 5", ".", None),
        ("1_000", ".", None),
    ],
)
def test_text(text: str, decimal: str, value: str | None) -> None:
    assert to_money(pl.Series([text]), decimal).to_list() == [None if value is None else Decimal(value)]


@pytest.mark.parametrize(
    ("text", "decimal", "value", "sign"),
    [
        ("12,50 €", ",", "12.5", "€"),
        ("12,50\u00a0€", ",", "12.5", "€"),
        ("12,50€", ",", "12.5", "€"),
        ("€ 5", ".", "5", "€"),
        ("$3.20", ".", "3.2", "$"),
        ("-$3.20", ".", "-3.2", "$"),
        ("$-3.20", ".", "-3.2", "$"),
        ("- £3", ".", "-3", "£"),
        ("-£ 3", ".", "-3", "£"),
        ("¥1,200", ".", "1200", "¥"),
        ("1 234,50 EUR", ",", "1234.5", "€"),
        ("1\u00a0234\u00a0567,50 €", ",", "1234567.5", "€"),
        ("1\u202f234,50", ",", "1234.5", None),
        ("USD 1,234.50", ".", "1234.5", "$"),
        ("GBP5", ".", "5", "£"),
        ("€5€", ".", None, None),
        ("€€5", ".", None, None),
        ("-€-5", ".", None, None),
        ("5 € 5", ".", None, None),
        ("€", ".", None, None),
        ("EURO 5", ".", None, None),
        ("5 CHF", ".", None, None),
        ("5 eur", ".", None, None),
        ("12,50 €", ".", None, None),
        ("1 23,50 €", ",", None, None),
        ("inf €", ".", None, None),
        ("5 %", ".", None, None),
    ],
)
def test_currencies(text: str, decimal: str, value: str | None, sign: str | None) -> None:
    seen: set[str] = set()
    wanted = [None if value is None else Decimal(value)]
    assert to_money(pl.Series([text]), decimal, currencies=seen).to_list() == wanted
    assert seen == ({sign} if sign else set())


@pytest.mark.parametrize("decimal", [".", ","])
def test_one_odd_value_does_not_disturb_its_neighbours(decimal: str) -> None:
    texts = ["1", "x", f"2{decimal}5", None, "inf", "3"]
    wanted = [Decimal(1), None, Decimal("2.5"), None, None, Decimal(3)]
    assert to_money(pl.Series(texts), decimal).to_list() == wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(2.55, "2.55"), (0.1, "0.1"), (-1e13, "-10000000000000"), (1e14, None), (1e30, None), (INF, None), (NAN, None)],
)
def test_floats(value: float, wanted: str | None) -> None:
    assert to_money(pl.Series([value]), ".").to_list() == [None if wanted is None else Decimal(wanted)]


def test_whole_numbers_and_decimals_are_exact() -> None:
    assert to_money(pl.Series([99_999_999_999_999, 10**15]), ".").to_list() == [Decimal(99_999_999_999_999), None]
    assert to_money(pl.Series([Decimal("1.23")]), ".").to_list() == [Decimal("1.23")]


def test_dates_are_no_numbers() -> None:
    with pytest.raises(DataError, match="expected numbers or text"):
        to_money(pl.Series("day", ["2024-01-01"]).str.to_date(), ".")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("abc", "not_a_number"),
        ("nan", "not_a_number"),
        ("-inf", "infinite_number"),
        ("1e400", "infinite_number"),
        ("1e20", "number_too_large"),
        (INF, "infinite_number"),
        (1e20, "number_too_large"),
    ],
)
def test_reason(value: str | float, reason: str) -> None:
    assert why_unread(pl.Series([value]), ".").to_list() == [reason]


@pytest.mark.parametrize(
    ("text", "reason"), [("9e20 €", "number_too_large"), ("€ x", "not_a_number"), ("5 €5", "not_a_number")]
)
def test_reason_beside_a_currency(text: str, reason: str) -> None:
    assert why_unread(pl.Series([text]), ".", currency=True).to_list() == [reason]


def test_missing_is_null_nan_or_blank() -> None:
    assert missing(pl.Series(["", " ", None, "0"])).to_list() == [True, True, True, False]
    assert missing(pl.Series([NAN, None, 0.0])).to_list() == [True, True, False]


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_python_decimals(seed: int) -> None:
    draw = random.Random(seed)
    texts = [
        draw.choice(["{:.2f}", "{:.6f}", "{:e}", "{:.0f}", " {:.3f}", "{}x"]).format(
            draw.gauss(0, 10 ** draw.randint(0, 16))
        )
        for _ in range(200)
    ] + ["", "inf", "nan", "abc"]
    # A binary float cannot tell a tie at the fifth place, a text can: both sides read the text.
    series = pl.Series(texts)
    money = to_money(series, ".").to_list()
    reasons = why_unread(series, ".").to_list()
    for text, got, reason in zip(texts, money, reasons, strict=True):
        wanted = number(text)
        if isinstance(wanted, Decimal) or wanted is None:
            assert got == wanted, text
        else:
            assert (got, reason) == (None, wanted), text
