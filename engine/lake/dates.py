"""Timestamps: formats found from a whole column, and one way to read them.

Two digits, a slash and two digits are a day and a month in one country and a month and a day in another. The whole
column decides (a number above 12 is a day); where no row decides, the reader is asked instead of guessed at.

A transaction lies from 1900-01-01 to 2199-12-31 (UTC): anything else is a mark for "unknown" or a slip, and would
stretch every recency and age to nonsense.
"""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime

import polars as pl

from engine.errors import DataError, SettingError
from engine.schema import TIMESTAMP

_FIRST = datetime(1900, 1, 1, tzinfo=UTC)
_END = datetime(2200, 1, 1, tzinfo=UTC)
# What Python and Delta readers can hold, in days from 1970: the years 1 to 9999.
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_TICKS_A_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_MOST_TICKS = 2**63 - 1
# chrono's %Y reads "24" as the year 24.
_FEWEST_YEAR = datetime(1000, 1, 1, tzinfo=UTC)

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

    A column that already is a date or a time is taken as it is; a time without a zone is read as UTC. Times outside
    1900 to 2199 become null (:func:`out_of_range` tells them).

    Examples
    --------
    >>> import polars as pl
    >>> to_timestamp(pl.Series(["15/06/24", "1/1/0001", "1/1/2500"]), ["%d/%m/%Y", "%d/%m/%y"]).dt.year().to_list()
    [2024, None, None]
    """
    read = _read(values, formats)
    return _only(read, _plausible(read))


def out_of_range(values: pl.Series, formats: list[str]) -> pl.Series:
    """Return which values are times, but none from 1900 to 2199.

    Examples
    --------
    >>> import polars as pl
    >>> out_of_range(pl.Series(["1500-01-01", "2024-01-01", "soon"]), ["%Y-%m-%d"]).to_list()
    [True, False, False]
    """
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        return values.is_not_null() & to_timestamp(values, formats).is_null()
    read = _read(values, formats)
    return read.is_not_null() & ~_plausible(read)


def as_utc(values: pl.Series) -> pl.Series:
    """Return dates or times as UTC microseconds; those outside the years 1 to 9999 become null.

    No reader of the lake could hold them.
    """
    dtype = values.dtype
    inside = _only(values, holdable(values))
    if dtype == pl.Date:
        return inside.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    micro = inside.dt.cast_time_unit("us")
    has_zone = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    return micro.dt.convert_time_zone("UTC") if has_zone else micro.dt.replace_time_zone("UTC")


def holdable(values: pl.Series) -> pl.Series:
    """Return which dates or times lie in the years 1 to 9999; false for null.

    Examples
    --------
    >>> import polars as pl
    >>> holdable(pl.Series([0, 2_932_896, 2_932_897, None]).cast(pl.Date)).to_list()
    [True, True, False, False]
    """
    ticks = 1 if values.dtype == pl.Date else _TICKS_A_DAY[values.dtype.time_unit]  # type: ignore[attr-defined]
    first = max(_FIRST_DAY * ticks, -_MOST_TICKS)
    last = min((_LAST_DAY + 1) * ticks - 1, _MOST_TICKS)
    return values.to_physical().cast(pl.Int64).is_between(first, last).fill_null(False)


def needs_formats(dtype: pl.DataType) -> bool:
    """Return whether a column of this type is read by date formats: text, and whole numbers such as 20240131."""
    return dtype in (pl.String, pl.Categorical, pl.Enum) or dtype.is_integer()


def check_format(form: object, *, where: str) -> str:
    """Return the date format, or raise unless it is one.

    Raises
    ------
    SettingError
        It is no text, has no field such as ``%Y``, or names an hour without minutes.

    Examples
    --------
    >>> check_format("%d/%m/%Y", where="data.date_format")
    '%d/%m/%Y'
    """
    if not isinstance(form, str) or re.search(r"%[^%]", form) is None:
        raise SettingError(f"{where}: expected a date format such as '%d/%m/%Y %H:%M'; got {form!r}.")
    try:
        _parse(pl.Series(["2024-01-31"]), form)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise SettingError(
            f"{where}: expected a date format such as '%d/%m/%Y %H:%M'; got {form!r} ({reason})."
        ) from error
    return form


def _read(values: pl.Series, formats: list[str]) -> pl.Series:
    """Return the values as UTC microseconds, in any year that readers can hold."""
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        return as_utc(values)
    if values.dtype == pl.Null:
        return values.cast(TIMESTAMP)
    text = values.cast(pl.String).str.strip_chars()
    parsed = _parse(text, formats[0])
    for form in formats[1:]:
        left = parsed.is_null() & text.is_not_null()
        if not left.any():
            break
        parsed = parsed.scatter(left.arg_true(), _parse(text.filter(left), form))
    return parsed


def _parse(text: pl.Series, form: str) -> pl.Series:
    read = text.str.strptime(TIMESTAMP, form, strict=False)
    return _only(read, (read >= _FEWEST_YEAR).fill_null(False) & holdable(read))


def _plausible(times: pl.Series) -> pl.Series:
    return ((times >= _FIRST) & (times < _END)).fill_null(False)


def _only(values: pl.Series, wanted: pl.Series) -> pl.Series:
    """Return the values with null wherever they are not wanted."""
    if wanted.all():
        return values
    return values.to_frame("x").select(pl.when(wanted).then(pl.col("x")))["x"].alias(values.name)


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
