"""Timestamps: the whole column decides, and what it cannot decide is asked."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from engine.errors import DataError
from engine.lake.dates import find_formats, representatives, to_timestamp


def read(texts: list[str]) -> list[datetime | None]:
    column = pl.LazyFrame({"t": texts})
    formats = find_formats(representatives(column, "t"), where="sales.csv, column 't'")
    return to_timestamp(pl.Series(texts), formats).to_list()


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["2024-01-31"], [utc(2024, 1, 31)]),
        (["2024-01-31 09:05"], [utc(2024, 1, 31, 9, 5)]),
        (["2024-01-31T09:05:06"], [utc(2024, 1, 31, 9, 5, 6)]),
        (["2024-01-31 09:05:06.25"], [utc(2024, 1, 31, 9, 5, 6, 250_000)]),
        (["2024-01-31T09:05:06Z"], [utc(2024, 1, 31, 9, 5, 6)]),
        (["2024-01-31T09:05:06+02:00"], [utc(2024, 1, 31, 7, 5, 6)]),
        (["20240131"], [utc(2024, 1, 31)]),
        (["2024/1/3"], [utc(2024, 1, 3)]),
        (["31/01/2024", "01/02/2024"], [utc(2024, 1, 31), utc(2024, 2, 1)]),
        (["01/31/2024", "02/01/2024"], [utc(2024, 1, 31), utc(2024, 2, 1)]),
        (["31.1.2024 7:05", "1.2.2024 17:05"], [utc(2024, 1, 31, 7, 5), utc(2024, 2, 1, 17, 5)]),
        (["31-01-24"], [utc(2024, 1, 31)]),
        (["1/31/2024 1:05 PM"], [utc(2024, 1, 31, 13, 5)]),
        (["2024-01-31", "2024-02-01 10:00", "soon"], [utc(2024, 1, 31), utc(2024, 2, 1, 10), None]),
    ],
)
def test_found_and_read(texts: list[str], wanted: list[datetime | None]) -> None:
    assert read(texts) == wanted


def test_one_late_row_decides_between_day_and_month() -> None:
    texts = ["1/2/2024 10:00"] * 5_000 + ["13/2/2024 10:00"]
    assert read(texts)[0] == utc(2024, 2, 1, 10)


def test_undecided_day_and_month_are_asked() -> None:
    with pytest.raises(DataError, match=r"cannot be told apart.*data\.date_format"):
        read(["01/02/2024", "03/04/2024"])


def test_no_date_at_all_names_the_column() -> None:
    with pytest.raises(DataError, match=r"sales\.csv, column 't': no date format is known that reads 'Anna'"):
        read(["Anna", "Bert"])


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (pl.Series([date(2024, 1, 31)]), utc(2024, 1, 31)),
        (pl.Series([datetime(2024, 1, 31, 9)]).dt.cast_time_unit("ns"), utc(2024, 1, 31, 9)),
        (pl.Series([datetime(2024, 1, 31, 9)]).dt.replace_time_zone("Europe/Madrid"), utc(2024, 1, 31, 8)),
    ],
)
def test_times_are_taken_as_they_are(values: pl.Series, wanted: datetime) -> None:
    assert to_timestamp(values, []).to_list() == [wanted]


def test_calendar_is_checked() -> None:
    assert to_timestamp(pl.Series(["2019-02-29", "2020-02-29"]), ["%Y-%m-%d"]).to_list() == [None, utc(2020, 2, 29)]
