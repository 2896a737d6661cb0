"""Files, columns and settings that are wrong on purpose: a clear refusal, or the right rows, never a traceback."""

from __future__ import annotations

import errno
import gzip
import json
import os
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.errors import CarteraError, DataError, MissingExtraError, SettingError, SourceNotFoundError
from engine.lake.accounts import IngestReport
from engine.lake.buckets import check_buckets
from engine.lake.dates import as_utc, out_of_range, to_timestamp
from engine.lake.frame import FrameSource
from engine.lake.ingest import ingest
from engine.lake.population import Population
from engine.lake.raw import as_json
from engine.lake.recipe import Recipe
from engine.lake.source import find_paths
from engine.lake.table import Lake

HEADER = "customer_id,timestamp,amount\n"
DAY = datetime(2024, 6, 15, tzinfo=UTC)


def add(path: Path, **settings: Any) -> tuple[IngestReport, pl.DataFrame, pl.DataFrame]:
    """Ingest one file into a new lake beside it; return the report, the kept rows and the rejected ones."""
    folder, rejects = path.parent / "lake", path.parent / "rejects.parquet"
    report = ingest(Recipe.from_mapping({"path": str(path), **settings}), folder, rejects=rejects)
    lake = Lake.open(folder)
    rows = pl.concat([lake.bucket(number) for number in range(lake.buckets)]).sort("customer_id")
    return report, rows, pl.read_parquet(rejects)


def text(tmp_path: Path, content: str | bytes, name: str = "sales.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parquet(tmp_path: Path, **columns: pl.Series) -> Path:
    rows = pl.DataFrame({"customer_id": [1, 2], "timestamp": [datetime(2024, 6, 15)] * 2, "amount": [1.0, 2.0]})
    path = tmp_path / "sales.parquet"
    rows.with_columns(**columns).write_parquet(path)
    return path


# Dates


def test_years_of_two_digits_beside_years_of_four(tmp_path: Path) -> None:
    path = text(tmp_path, HEADER + "1,15/06/24,3\n2,15/06/2024,3\n3,15/06/2024,3\n")
    _, rows, _ = add(path)
    assert rows["timestamp"].to_list() == [DAY] * 3


def test_year_of_two_digits_is_no_date_where_the_format_wants_four(tmp_path: Path) -> None:
    path = text(tmp_path, HEADER + "1,15/06/24,3\n2,15/06/2024,3\n3,15/06/2024,3\n")
    report, _, rejects = add(path, date_format="%d/%m/%Y")
    assert report.rejected == {"not_a_date": 1}
    assert rejects["row"].to_list() == [1]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("0000-01-01", "not_a_date"),
        ("0001-01-01T00:00:00+05:00", "not_a_date"),
        ("9999-12-31T23:59:59-05:00", "not_a_date"),
        ("9999-12-31", "date_out_of_range"),
        ("1899-12-31", "date_out_of_range"),
        ("1900-01-01", None),
        ("2199-12-31T23:59:59Z", None),
        ("2200-01-01", "date_out_of_range"),
    ],
)
def test_range_of_dates(tmp_path: Path, written: str, reason: str | None) -> None:
    usual = "".join(f"2,{day},3\n" for day in ["2024-06-15", "2024-06-15T00:00:00+05:00"] * 3)
    report, _, _ = add(text(tmp_path, f"{HEADER}{usual}1,{written},3\n"))
    assert report.rejected == ({} if reason is None else {reason: 1})


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([0, 2**62]).cast(pl.Datetime("us")),
        pl.Series([0, 2**62]).cast(pl.Datetime("ms")),
        pl.Series([0, -(2**62)]).cast(pl.Datetime("ms", "Europe/Madrid")),
        pl.Series([0, -(2**63) + 1]).cast(pl.Datetime("ns")),
        pl.Series([0, 2**31 - 1], dtype=pl.Int32).cast(pl.Date),
    ],
    ids=lambda values: str(values.dtype),
)
def test_times_that_no_calendar_holds(tmp_path: Path, values: pl.Series) -> None:
    report, rows, rejects = add(parquet(tmp_path, timestamp=values))
    assert report.rejected == {"date_out_of_range": 1}
    assert rows["timestamp"].to_list() == [datetime(1970, 1, 1, tzinfo=UTC)]
    assert json.loads(rejects["raw"][0])["customer_id"] == 2


def test_further_column_of_dates_keeps_what_readers_can_hold() -> None:
    days = pl.Series([date(1850, 1, 1), date(9999, 12, 31), None])
    assert as_utc(days).dt.date().to_list() == days.to_list()
    assert as_utc(pl.Series([2**62]).cast(pl.Datetime("ms"))).to_list() == [None]


@pytest.mark.parametrize("year", [1, 24, 999, 1000, 1899, 1900, 2024, 2199, 2200, 9999])
def test_a_date_is_read_or_out_of_range_never_both(year: int) -> None:
    days = pl.Series([date(year, 6, 15)])
    kept = to_timestamp(days, []).is_not_null().to_list()
    assert kept == [1900 <= year <= 2199]
    assert out_of_range(days, []).to_list() == [not kept[0]]


# Evidence of rejected rows

UNUSUAL: dict[str, tuple[pl.Series, Any]] = {
    "binary": (pl.Series([b"\xff\x00"]), "ff00"),
    "duration": (pl.Series([timedelta(days=1)]), "PT86400S"),
    "time": (pl.Series([time(1)]), "01:00:00"),
    "categorical": (pl.Series(["a"], dtype=pl.Categorical), "a"),
    "decimal": (pl.Series([Decimal("1.20")]), "1.20"),
    "list of binary": (pl.Series([[b"a", None]]), ["61", None]),
    "array of binary": (pl.Series([[b"a"]], dtype=pl.Array(pl.Binary, 1)), ["61"]),
    "struct": (pl.Series([{"a": b"x", "b": [{"c": b"y"}]}]), {"a": "78", "b": [{"c": "79"}]}),
    "empty list": (pl.Series([[]], dtype=pl.List(pl.Binary)), []),
    "map": (
        pl.Series([[{"key": "k", "value": b"v"}]]).cast(pl.Map(pl.String, pl.Binary)),
        [{"key": "k", "value": "76"}],
    ),
    "huge day": (pl.Series([2**31 - 1], dtype=pl.Int32).cast(pl.Date), "2147483647"),
    "huge time": (pl.Series([2**62]).cast(pl.Datetime("ms")), "4611686018427387904"),
    "list of huge days": (pl.Series([[2**31 - 1]]).cast(pl.List(pl.Date)), ["2147483647"]),
    "null": (pl.Series([None]), None),
    "object": (pl.Series([frozenset()], dtype=pl.Object), "frozenset()"),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_every_type_can_be_written_as_json(name: str) -> None:
    values, wanted = UNUSUAL[name]
    frame = pl.DataFrame({"x": values, "id": [7]})
    assert json.loads(as_json(frame, ["x", "id"])[0]) == {"x": wanted, "id": 7}


@pytest.mark.parametrize("name", [name for name in UNUSUAL if name != "object"])
def test_missing_values_of_every_type_are_null_in_json(name: str) -> None:
    frame = pl.DataFrame({"x": pl.concat([UNUSUAL[name][0], pl.Series([None], dtype=UNUSUAL[name][0].dtype)])})
    assert as_json(frame, ["x"])[1] == '{"x":null}'


def test_rejected_row_with_a_binary_column_that_nobody_mapped(tmp_path: Path) -> None:
    path = parquet(tmp_path, customer_id=pl.Series([1, None]), photo=pl.Series([b"\xff", b"\xfe"]))
    _, _, rejects = add(path)
    assert json.loads(rejects["raw"][0])["photo"] == "fe"


def test_frame_with_an_object_column() -> None:
    frame = pl.DataFrame({"customer_id": [1, None], "timestamp": ["2024-06-15"] * 2, "amount": [1, 2]})
    frame = frame.with_columns(pl.Series("thing", [frozenset(), frozenset()], dtype=pl.Object))
    assert json.loads(FrameSource.from_frame(frame).rejects["raw"][0])["thing"] == "frozenset()"


# Types of columns


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("timestamp", [1.5, 2.5]),
        ("timestamp", [True, False]),
        ("timestamp", [time(1), time(2)]),
        ("timestamp", [b"2024-06-15"] * 2),
        ("customer_id", [{"a": 1}, {"a": 2}]),
        ("customer_id", [[1], [2]]),
        ("customer_id", [b"a", b"b"]),
        ("customer_id", [True, False]),
        ("amount", [[1], [2]]),
        ("amount", [True, False]),
        ("order_id", [[1], [2]]),
        ("product_id", [timedelta(1), timedelta(2)]),
        ("kind", [{"a": 1}, {"a": 2}]),
    ],
)
def test_type_that_cannot_mean_the_column(tmp_path: Path, column: str, values: list[Any]) -> None:
    path = parquet(tmp_path, **{column: pl.Series(values)})
    wanted = rf"column '{column}' has the type {pl.Series(values).dtype.base_type().__name__}.*data\.columns\.{column}"
    with pytest.raises(DataError, match=wanted):
        add(path)
    with pytest.raises(DataError, match=wanted):
        FrameSource.from_frame(pl.read_parquet(path))


@pytest.mark.parametrize("dtype", [pl.Categorical(), pl.Enum(["2024-06-15", "soon", "5", "x"])], ids=str)
def test_categories_are_the_text_they_stand_for(tmp_path: Path, dtype: pl.DataType) -> None:
    path = parquet(
        tmp_path, timestamp=pl.Series(["2024-06-15", "soon"], dtype=dtype), amount=pl.Series(["5", "5"], dtype=dtype)
    )
    report, rows, _ = add(path)
    assert rows.select("timestamp", "amount").rows() == [(DAY, Decimal(5))]
    assert report.rejected == {"not_a_date": 1}


def test_zero_is_one_customer_however_it_is_signed(tmp_path: Path) -> None:
    path = text(tmp_path, HEADER + "".join(f"{zero},2024-06-15,3\n" for zero in ("0", "-0", "-0.0", "0.0", "5")))
    report, rows, _ = add(path)
    assert (report.customer_id_type, rows["customer_id"].to_list()) == ("Int64", [0, 0, 0, 0, 5])


# Text files


@pytest.mark.parametrize(
    "content",
    [
        ",customer_id,timestamp,amount\n0,1,2024-06-15,3\n1,2,2024-06-15,4\n",
        "customer_id;timestamp;amount;;\n1;2024-06-15;3;;\n2;2024-06-15;4\n",
        "customer_id, timestamp, amount\n1, 2024-06-15, 3\n2,2024-06-15, 4\n",
        '"customer_id ",timestamp,"\namount"\n1,2024-06-15,3\n2,2024-06-15,4\n',
        "\ufeffcustomer_id\ttimestamp\tamount\t\n1\t2024-06-15\t3\t\n2\t2024-06-15\t4\t\n",
    ],
)
def test_header_with_empty_or_padded_names(tmp_path: Path, content: str) -> None:
    report, rows, _ = add(text(tmp_path, content))
    assert rows.select("customer_id", "timestamp", "amount").rows() == [(1, DAY, Decimal(3)), (2, DAY, Decimal(4))]
    assert report.rejected == {}


def test_column_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    path = text(tmp_path, ",customer_id,timestamp,amount\nB7,1,2024-06-15,3\n")
    _, rows, _ = add(path, columns={"order_id": "column_1"})
    assert rows["order_id"].to_list() == ["B7"]


def test_record_shorter_than_the_named_columns_is_ragged(tmp_path: Path) -> None:
    report, _, _ = add(text(tmp_path, "customer_id;timestamp;amount;;\n1;2024-06-15;3;;\n2;2024-06-15\n"))
    assert report.rejected == {"ragged_row": 1}


def test_header_longer_than_64_kib(tmp_path: Path) -> None:
    names = ",".join(f"column_number_{number:09d}" for number in range(4_000))
    _, rows, _ = add(text(tmp_path, f"{names},{HEADER}{'x,' * 4_000}1,2024-06-15,3\n"))
    assert rows["amount"].to_list() == [Decimal(3)]


def test_header_without_an_end(tmp_path: Path) -> None:
    header = ",".join(f"c{number}" for number in range(200_000))
    with pytest.raises(DataError, match="the first 1 MiB hold no row after the header line"):
        add(text(tmp_path, header))


@pytest.mark.parametrize(
    "content",
    [
        'customer_id,timestamp,amount,size\n1,2024-06-15,3,5" pipe\n2,2024-06-15,3,ok\n',
        'customer_id,timestamp,size,amount\n1,2024-06-15,"5" pipe",3\n2,2024-06-15,ok,3\n',
        'customer_id,timestamp,amount,size\n1,2024-06-15,3,"5 pipe\n2,2024-06-15,3,ok\n',
        HEADER + '1,2024-06-15,"3\n' + "2,2024-06-15,3\n" * 20_000,
    ],
    ids=["inch mark", "inch mark in quotes", "not closed", "not closed in a long file"],
)
def test_stray_quotes_are_explained(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"sales\.csv: .*double quote is not closed.*inch mark.*quote doubled"):
        add(text(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER.replace("\n", "\r") + "1,2024-06-15,3\r", "carriage return alone.*Save it again with line feeds"),
        ("\n" + HEADER + "1,2024-06-15,3\n", "the first line holds no column name"),
    ],
)
def test_text_that_is_no_table(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        add(text(tmp_path, content))


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_ending_in_capitals(tmp_path: Path, encoding: str) -> None:
    content = "customer_id,timestamp,amount,name\n1,2024-06-15,3,Peña\n".encode(encoding)
    _, rows, _ = add(text(tmp_path, gzip.compress(content), "SALES.CSV.GZ"), columns={"name": "name"})
    assert rows["name"].to_list() == ["Peña"]


# Paths


def test_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text(tmp_path, HEADER + "1,2024-06-15,3\n", "a.csv")
    locked = text(tmp_path, HEADER + "2,2024-06-15,3\n", "b.csv")
    whole = Path.open

    # The rights of a file do not hold for an administrator, who may be running the tests.
    def opened(self: Path, *given: Any, **named: Any) -> Any:
        if self == locked:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return whole(self, *given, **named)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(DataError, match=r"b\.csv: the file cannot be opened \(Permission denied\)"):
        add(tmp_path / "*.csv")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a" * 5_000, r"data\.path=a{100}…: cannot be looked up"),
        ("~nosuchuser/sales.csv", "cannot be looked up"),
        ("package:.x/y", "expected package:NAME/inner/path"),
        ("package:", "expected package:NAME/inner/path"),
    ],
    ids=["long", "no such user", "relative package", "no package"],
)
def test_path_that_leads_nowhere(pattern: str, message: str) -> None:
    with pytest.raises(SourceNotFoundError, match=message) as error:
        find_paths((pattern,))
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("package", ["nosuch.sub", "__main__"])
def test_package_that_cannot_be_found(package: str) -> None:
    with pytest.raises(MissingExtraError, match=f"the package {package} is not installed"):
        find_paths((f"package:{package}/y",))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are for POSIX systems")
def test_named_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(SourceNotFoundError, match="neither a file nor a folder"):
        find_paths((str(tmp_path / "pipe.csv"),))


# Settings


@pytest.mark.parametrize("mapping", [None, 5, ["path"]])
def test_recipe_that_is_no_mapping(mapping: Any) -> None:
    with pytest.raises(SettingError, match="data: expected the keys and values of a recipe"):
        Recipe.from_mapping(mapping)


@pytest.mark.parametrize(
    "encoding",
    ["base64", "hex", "rot13", "idna", "punycode", "undefined", "unicode-escape", "utf-99", "", "\0", 5, ["a"]],
)
def test_encoding_that_is_none_of_text(encoding: Any) -> None:
    with pytest.raises(SettingError, match=r"data\.encoding: expected a text encoding"):
        Recipe.from_mapping({"path": "a.csv", "encoding": encoding})


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "latin-1", "cp1252", "utf-16", "cp037"])
def test_encoding_of_text(encoding: str) -> None:
    assert Recipe.from_mapping({"path": "a.csv", "encoding": encoding}).encoding == encoding


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"date_format": 5}, "data.date_format"),
        ({"date_format": "dd/mm/yyyy"}, "data.date_format"),
        ({"date_format": "%d/%m/%Y %H"}, "data.date_format"),
        ({"rules": {"by_volume_where": 5}}, "data.rules.by_volume_where"),
        ({"rules": {"drop_non_products": "maybe"}}, "data.rules.drop_non_products"),
        ({"rules": False}, "data.rules"),
        ({"rules": {"kind_values": {"sale": ["V", "x"], "return": [" v"]}}}, "data.rules.kind_values"),
        ({"columns": {"customer_id": None}}, "data.columns.customer_id"),
        ({"columns": {"timestamp": None}}, "data.columns.timestamp"),
        ({"columns": {"amount": ["a"]}}, "data.columns.amount"),
        ({"columns": []}, "data.columns"),
        ({"delimiter": '"'}, "data.delimiter"),
        ({"delimiter": "§"}, "data.delimiter"),
        ({"path": [""]}, "data.path"),
        ({"path": True}, "data.path"),
    ],
)
def test_setting_of_the_wrong_kind_names_its_key(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(SettingError) as error:
        Recipe.from_mapping({"path": "a.csv", **settings})
    assert str(error.value).startswith(f"{key}: ")


@pytest.mark.parametrize("buckets", [0, 3, 8.0, "8", True, 2**20])
def test_impossible_number_of_buckets(buckets: Any) -> None:
    with pytest.raises(SettingError, match=r"data\.buckets: expected a power of two"):
        check_buckets(buckets)


def one_type(**settings: Any) -> dict[str, Any]:
    return {"types": {"a": {"share": 1, "orders_per_year": 4, **settings}}}


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"days": 10**9}, "data.days"),
        ({"days": 10**6_000}, "data.days"),
        ({"days": float("inf")}, "data.days"),
        ({"days": float("nan")}, "data.days"),
        ({"customers": 10**20}, "data.customers"),
        ({"products": 10**12}, "data.products"),
        ({"seed": 10**6_000}, "data.seed"),
        ({"first_day": "9999-12-31"}, "data.first_day"),
        ({"first_day": "0001-01-01"}, "data.first_day"),
        ({"first_day": "2199-12-31", "days": 2}, "data.first_day"),
        (one_type(orders_per_year=1e30), "data.types.a.orders_per_year"),
        (one_type(orders_per_year=10**400), "data.types.a.orders_per_year"),
        (one_type(orders_per_year=9_000), "data.types"),
        (one_type(lines_per_order=1e9), "data.types.a.lines_per_order"),
        (one_type(price=1e200), "data.types.a.price"),
        (one_type(churn_per_year=float("nan")), "data.types.a.churn_per_year"),
    ],
)
def test_population_beyond_all_bounds(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(CarteraError) as error:
        Population.from_mapping(settings)
    assert isinstance(error.value, SettingError)
    assert str(error.value).startswith(f"{key}: ")


def test_population_up_to_the_last_day() -> None:
    assert Population(first_day=date(2199, 12, 31), days=1).days == 1


def test_products_table_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_bytes("code,dept\n1,Baño\n2,x\n".encode("cp1252"))
    products = {"path": str(tmp_path / "products.csv"), "key": "code", "columns": ["dept"]}
    with pytest.raises(DataError, match=r"data\.products\.path=products\.csv: cannot be read"):
        add(text(tmp_path, HEADER + "1,2024-06-15,3\n"), products=products, rules={"by_volume_where": "dept = 'x'"})
