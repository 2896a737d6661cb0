"""Texts and numbers of every kind into exact decimals, and why one could not be read.

The quick path is one cast of a whole column; only values that it leaves without a number are looked at again.
"""

from __future__ import annotations

import polars as pl

from engine.errors import DataError
from engine.schema import MONEY

NOT_A_NUMBER = "not_a_number"
INFINITE = "infinite_number"
TOO_LARGE = "number_too_large"

_LIMIT = 1e14
_SPACES = r"[\s\u00a0\u202f]"
_CURRENCY = r"(?:[€$£¥]|EUR|USD|GBP)"
_SIGNS = {"EUR": "€", "USD": "$", "GBP": "£"}


def to_money(values: pl.Series, decimal: str, *, currencies: set[str] | None = None) -> pl.Series:
    """Return the values as Decimal(18, 4), rounded to the fourth place; what cannot be read becomes null.

    Parameters
    ----------
    values
        Text, integers, floats or decimals. NaN is null.
    decimal
        ``.`` or ``,``: how text writes the decimal sign. The other one, a space or an apostrophe may separate
        groups of three digits.
    currencies
        Takes the currency signs that occur; text may then carry one sign (€ $ £ ¥) or code (EUR, USD, GBP) before or
        after the number. Without it such text is no number.

    Examples
    --------
    >>> import polars as pl
    >>> to_money(pl.Series(["1.299,99", "12,5", "abc"]), ",").to_list()
    [Decimal('1299.9900'), Decimal('12.5000'), None]
    >>> seen = set()
    >>> to_money(pl.Series(["12,50 €", "EUR 3", "5 € 5"]), ",", currencies=seen).to_list()
    [Decimal('12.5000'), Decimal('3.0000'), None]
    >>> seen
    {'€'}
    """
    dtype = values.dtype
    if dtype == pl.String:
        plain = values if decimal == "." else _comma_to_point(values)
        money = plain.cast(MONEY, strict=False)
        unread = money.is_null() & values.is_not_null()
        if unread.any():
            left = values.filter(unread)
            cleaned = _clean(left, decimal, currencies is not None).cast(MONEY, strict=False)
            if currencies is not None:
                signs = left.filter(cleaned.is_not_null()).str.extract(f"({_CURRENCY})").unique().drop_nulls()
                currencies.update(_SIGNS.get(sign, sign) for sign in signs)
            money = money.scatter(unread.arg_true(), cleaned)
        return money
    if dtype.is_float():
        # A cast of a float of 19 digits or more succeeds and yields a decimal that cannot be printed.
        inside = values.is_finite() & (values.abs() < _LIMIT)
        return values.to_frame("x").select(pl.when(inside).then(pl.col("x")))["x"].cast(MONEY, strict=False)
    if dtype.is_numeric() or dtype == pl.Boolean or dtype == pl.Null:
        return values.cast(MONEY, strict=False)
    raise DataError(f"column {values.name!r}: expected numbers or text, but its type is {dtype}.")


def missing(values: pl.Series) -> pl.Series:
    """Return where there is no value at all: null, NaN or empty text."""
    if values.dtype == pl.String:
        return values.is_null() | (values.str.strip_chars() == "")
    if values.dtype.is_float():
        return values.is_null() | values.is_nan().fill_null(False)
    return values.is_null()


def why_unread(values: pl.Series, decimal: str, *, currency: bool = False) -> pl.Series:
    """Return the reason for each value that ``to_money`` could not read.

    Examples
    --------
    >>> import polars as pl
    >>> why_unread(pl.Series(["abc", "inf", "9e20"]), ".").to_list()
    ['not_a_number', 'infinite_number', 'number_too_large']
    """
    as_float = (
        _clean(values, decimal, currency).cast(pl.Float64, strict=False)
        if values.dtype == pl.String
        else values.cast(pl.Float64, strict=False)
    )
    return as_float.to_frame("x").select(
        pl.when(pl.col("x").is_null() | pl.col("x").is_nan())
        .then(pl.lit(NOT_A_NUMBER))
        .when(pl.col("x").is_infinite())
        .then(pl.lit(INFINITE))
        .otherwise(pl.lit(TOO_LARGE))
    )["literal"]


def _comma_to_point(values: pl.Series) -> pl.Series:
    # A text with a point has groups of thousands or is wrong: the slow path decides.
    return values.to_frame("x").select(
        pl.when(~pl.col("x").str.contains(".", literal=True)).then(pl.col("x").str.replace(",", ".", literal=True))
    )["x"]


def _clean(values: pl.Series, decimal: str, currency: bool) -> pl.Series:
    """Drop the outer space, the currency and the separators of well-formed groups of three; write a decimal point."""
    point, group = (r"\.", ",") if decimal == "." else (",", r"\.")
    grouped = rf"^[+-]?\d{{1,3}}([{group}'’\s\u00a0\u202f]\d{{3}})+({point}\d*)?$"
    plain = rf"^[+-]?(\d+({point}\d*)?|{point}\d+)([eE][+-]?\d+)?$"
    text = pl.col("x").str.strip_chars()
    if currency:
        before, after = rf"^([+-]?)\s*{_CURRENCY}\s*", rf"\s*{_CURRENCY}$"
        leads = text.str.contains(before)
        text = pl.when(leads).then(text.str.replace(before, "${1}")).otherwise(text.str.replace(after, ""))
    bare: pl.Expr = (
        pl.when(text.str.contains(grouped))
        .then(text.str.replace_all(rf"[{group}'’]|{_SPACES}", ""))
        .when(text.str.contains(plain) | text.str.contains(r"(?i)^[+-]?inf(inity)?$"))
        .then(text)
    )
    if decimal == ",":
        bare = bare.str.replace(",", ".", literal=True)
    return values.to_frame("x").select(bare.alias("x"))["x"]
