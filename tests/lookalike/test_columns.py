from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from engine.errors import ColumnsMissingError, DataError
from engine.lookalike.columns import Comparable, comparable_columns, numbers_in

N = 30


def compared(seeds: object, prospects: object, **options: object) -> Comparable:
    """Compare one column `x` of two tables, beside a harmless one."""
    tables = {
        key: pl.DataFrame({"customer_id": range(len(values)), "x": values, "fine": ["a", "b"] * (len(values) // 2)})
        for key, values in (("seeds", seeds), ("prospects", prospects))
    }
    return comparable_columns(tables, **options)


def kind_of(found: Comparable) -> str | None:
    return next((column.kind for column in found.columns if column.name == "x"), None)


def reason(found: Comparable) -> str:
    (left,) = found.left_out
    assert left.name == "x"
    # Both languages say something, and not the same.
    assert left.reason.es
    assert left.reason.es != left.reason.en
    return left.reason.en


@pytest.mark.parametrize(
    ("seeds", "prospects", "kind"),
    [
        ([1, 2], [3, 1], "number"),
        ([1, 2], ["3", " 1 "], "number"),
        (["1,5", "2"], [3, 1], "number"),
        (["12 €", "n/a"], [3.5, 1.0], "number"),
        ([True, False], [1, 0], "number"),
        (["true", "false"], [True, False], "number"),
        ([1, 2], ["1", "many"], "text"),
        (["north", "south"], ["south ", "north"], "text"),
        (["08", "28"], ["08", "46"], "text"),
        (["25-34", "35-44"], ["35-44", "45+"], "bands"),
    ],
)
def test_one_kind_in_both_tables(seeds: list[object], prospects: list[object], kind: str) -> None:
    found = compared(seeds, prospects)
    assert kind_of(found) == kind
    (column,) = [column for column in found.columns if column.name == "x"]
    types = {series.dtype for series in column.values.values()}
    assert types == {pl.Float64() if kind == "number" else pl.String()}


def test_numbers_that_are_codes_are_text() -> None:
    found = compared([8, 28], [28.0, 46.0], codes=["x"])
    assert kind_of(found) == "text"
    assert found.columns[0].values["prospects"].to_list() == ["28", "46"]


@pytest.mark.parametrize(
    ("seeds", "prospects", "why"),
    [
        ([None, None], ["a", "b"], "missing among the seeds"),
        (["a", "b"], ["", "  "], "missing among the prospects"),
        ([float("nan")] * 2, [1.0, 2.0], "missing among the seeds"),
        ([date(2024, 1, 1)] * 2, [date(2024, 1, 1)] * 2, "a date or a time"),
        ([[1], [2]], [[1], [2]], "neither numbers nor text"),
        (["M", "F"], ["male", "female"], "different words or codes"),
        ([1, 2], ["one", "two"], "numbers in one table and text in another"),
        ([f"a{i}" for i in range(N)], [f"a{i}" for i in range(N)], "a value of its own"),
        (list(range(N)), list(range(N)), "a value of its own"),
        (["Unknown", "-"] * 2, ["25-34", "35-44", "45+", "Unknown"], "missing among the seeds"),
    ],
)
def test_what_cannot_be_compared_is_left_out_with_the_reason(
    seeds: list[object], prospects: list[object], why: str
) -> None:
    assert why in reason(compared(seeds, prospects))


def test_measures_with_decimals_may_all_differ() -> None:
    values = [index + 0.5 for index in range(N)]
    assert kind_of(compared(values, values)) == "number"


@pytest.mark.parametrize("name", ["household_id", "ID", "Email", "uuid", "dni"])
def test_names_of_identifiers_are_left_out_unless_wanted(name: str) -> None:
    table = pl.DataFrame({"customer_id": [1, 2], name: ["a", "b"], "fine": ["a", "b"]})
    tables = {"seeds": table, "prospects": table}
    found = comparable_columns(tables)
    assert [column.name for column in found.columns] == ["fine"]
    assert "identifier" in found.left_out[0].reason.en
    assert [column.name for column in comparable_columns(tables, wanted=[name]).columns] == [name]


def test_infinite_values_count_as_missing_and_are_told() -> None:
    found = compared([1.0, float("inf")], [2.0, 1e308])
    assert found.columns[0].values["seeds"].to_list() == [1.0, None]
    assert "1 infinite" in found.notes[0].en


def test_no_column_in_common_says_what_each_has() -> None:
    seeds = pl.DataFrame({"customer_id": [1, 2], "edad": [30, 40]})
    prospects = pl.DataFrame({"customer_id": [8, 9], "age": [31, 41]})
    with pytest.raises(DataError, match=r"the seeds have edad; the prospects have age") as raised:
        comparable_columns({"seeds": seeds, "prospects": prospects})
    assert "it is not in the table of the prospects" in str(raised.value)


def test_a_column_that_was_named_must_be_everywhere() -> None:
    seeds = pl.DataFrame({"customer_id": [1, 2], "age": [30, 40]})
    prospects = pl.DataFrame({"customer_id": [8, 9], "ages": [31, 41]})
    with pytest.raises(ColumnsMissingError, match=r"the prospects: no column 'age' \(did you mean 'ages'\?\)"):
        comparable_columns({"seeds": seeds, "prospects": prospects}, wanted=["age"])


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["0,125", "0,5"], [0.125, 0.5]),
        (["1,234", "12"], [1234.0, 12.0]),
        (["1e3", "-2"], [1000.0, -2.0]),
        (["Unknown", "7"], [None, 7.0]),
        (["007", "7"], None),
        (["7", "seven"], None),
    ],
)
def test_texts_that_are_numbers(texts: list[str], numbers: list[float | None] | None) -> None:
    found = numbers_in(pl.Series(texts))
    assert (found if found is None else found.to_list()) == numbers


def test_the_tables_are_left_as_they_were() -> None:
    table = pl.DataFrame({"customer_id": [1, 2], "age": ["30", "inf"]})
    before = table.clone()
    comparable_columns({"seeds": table, "prospects": table})
    assert table.equals(before)
