"""Timestamps: formats found from a whole column, and one way to read them.

Two digits, a slash and two digits are a day and a month in one country and a month and a day in another. The whole
column decides (a number above 12 is a day); where no row decides, the reader is asked instead of guessed at.
"""

from __future__ import annotations

import itertools
import re

import polars as pl

from engine.errors import DataError
from engine.schema import TIMESTAMP

_YEAR_FIRST = {
    re.compile(r"^\d{4}-\d{1,2}-\d{1,2}"): "%Y-%m-%d",
    re.compile(r"^\d{4}/\d{1,2}/\d{1,2}"): "%Y/%m/%d",
    re.compile(r"^\d{4}\.\d{1,2}\.\d{1,2}"): "%Y.%m.%d",
    re.compile(r"^\d{8}(?!\d)"): "%Y%m%d",
}
_YEAR_LAST = re.compile(r"^(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})(?!\d)")
_CLOCKS = tuple(
    f"{before}{clock}{zone}"
    for before, clock, zone in itertools.product(
        (" ", "T"), ("%H:%M:%S%.f", "%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p"), ("", "Z", "%#z", " %#z")
    )
)
ADVICE = "Set data.date_format, e.g. data.date_format='%d/%m/%Y %H:%M'."


def representatives(texts: pl.LazyFrame, column: str) -> list[str]:
    """Return one text for every distinct beginning and length of the column: enough to tell its formats."""
    text = pl.col(column).cast(pl.String).str.strip_chars()
    return (
        texts.select(text.alias("text"))
        .filter(pl.col("text").is_not_null() & (pl.col("text") != ""))
        # A date with one-digit parts, a point and a clock all show in ten characters and the length.
        .group_by(pl.col("text").str.slice(0, 10).alias("start"), pl.col("text").str.len_chars().alias("length"))
        .agg(pl.col("text").min())
        .select(pl.col("text").sort())
        .collect()["text"]
        .to_list()
    )


def find_formats(texts: list[str], *, where: str) -> list[str]:
    """Return the formats, most common first, that read the texts.

    Parameters
    ----------
    texts
        Texts that stand for a whole column (see :func:`representatives`). Those that are no date at all are passed
        over: their rows are rejected later.
    where
        The file and the column, for the message.

    Raises
    ------
    DataError
        Day and month cannot be told apart, or no text is a date.

    Examples
    --------
    >>> find_formats(["31/1/2024 9:05", "1/2/2024 10:00"], where="sales.csv, column 'day'")
    ['%d/%m/%Y %H:%M']
    """
    starts: dict[str, list[str]] = {}
    numeric: list[tuple[int, str, int, int, str]] = []
    for text in texts:
        match = _YEAR_LAST.match(text)
        if match:
            first, sign, second, year = match.groups()
            numeric.append((int(first), sign, int(second), len(year), text))
            continue
        for pattern, form in _YEAR_FIRST.items():
            if pattern.match(text):
                starts.setdefault(form, []).append(text)
                break
    if numeric:
        order = _order([(first, second) for first, _, second, _, _ in numeric], numeric[0][4], where)
        for _, sign, _, digits, text in numeric:
            starts.setdefault(order.replace("/", sign) + ("%Y" if digits == 4 else "%y"), []).append(text)
    found: dict[str, int] = {}
    for start, members in starts.items():
        for form, rows in _clocks(start, members).items():
            found[form] = found.get(form, 0) + rows
    if not found:
        shown = ", ".join(repr(text) for text in texts[:3]) or "nothing"
        raise DataError(f"{where}: no date format is known that reads {shown}. {ADVICE}")
    return sorted(found, key=lambda form: (-found[form], form))


def to_timestamp(values: pl.Series, formats: list[str]) -> pl.Series:
    """Return the values as UTC microseconds; texts that fit none of the formats become null.

    A column that already is a date or a time is taken as it is; a time without a zone is read as UTC.
    """
    dtype = values.dtype
    if dtype == pl.Date:
        return values.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if isinstance(dtype, pl.Datetime):
        micro = values.dt.cast_time_unit("us")
        return micro.dt.replace_time_zone("UTC") if dtype.time_zone is None else micro.dt.convert_time_zone("UTC")
    if dtype == pl.Null:
        return values.cast(TIMESTAMP)
    text = values.cast(pl.String).str.strip_chars()
    parsed = _parse(text, formats[0])
    for form in formats[1:]:
        left = parsed.is_null() & text.is_not_null()
        if not left.any():
            break
        parsed = parsed.scatter(left.arg_true(), _parse(text.filter(left), form))
    return parsed


def needs_formats(dtype: pl.DataType) -> bool:
    """Return whether a column of this type is read by date formats: text, and whole numbers such as 20240131."""
    return dtype == pl.String or dtype.is_integer()


def _parse(text: pl.Series, form: str) -> pl.Series:
    return text.str.strptime(TIMESTAMP, form, strict=False)


def _order(pairs: list[tuple[int, int]], example: str, where: str) -> str:
    """Return ``%d/%m/`` or ``%m/%d/``, whichever reads more of the pairs, or raise when both read the same."""
    day_first = sum(1 <= first <= 31 and 1 <= second <= 12 for first, second in pairs)
    month_first = sum(1 <= second <= 31 and 1 <= first <= 12 for first, second in pairs)
    if day_first == month_first:
        reason = "day and month cannot be told apart" if day_first else "no text has a day and a month"
        raise DataError(f"{where}: {reason}, e.g. {example!r}. {ADVICE}")
    return "%d/%m/" if day_first > month_first else "%m/%d/"


def _clocks(start: str, texts: list[str]) -> dict[str, int]:
    """Return the full formats of texts whose date part is known, with the number of texts each one reads."""
    left = pl.Series("text", texts, dtype=pl.String)
    found: dict[str, int] = {}
    for form in (start, *(start + clock for clock in _CLOCKS)):
        read = _parse(left, form).is_not_null()
        if read.any():
            found[form] = int(read.sum())
            left = left.filter(~read)
        if left.is_empty():
            break
    return found
