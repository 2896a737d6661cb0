"""Files into the lake: each once, in one commit, whatever happens on the way."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.errors import (
    ColumnsMissingError,
    DataError,
    OutputExistsError,
    SettingError,
    SourceNotFoundError,
)
from engine.lake import ingest as module
from engine.lake import stage
from engine.lake.accounts import IngestReport
from engine.lake.ingest import ingest
from engine.lake.recipe import Recipe
from engine.lake.table import ORDER, REJECTS, TABLE, Lake

HEADER = "customer_id,order_id,timestamp,product_id,quantity,amount\n"


def month(path: Path, number: int, *, customers: int = 40, rows: int = 200, first_id: int = 1) -> Path:
    """Write one month of a till log; every row has its own amount in cents."""
    lines = [
        f"{first_id + (row * 7 + number) % customers},{number}-{row // 3},2024-{number:02d}-{1 + row % 28:02d} 10:00,"
        f"P{row % 11},{1 + row % 4},{(number * 1000 + row) / 100:.2f}\n"
        for row in range(rows)
    ]
    path.write_text(HEADER + "".join(lines))
    return path


def recipe(*paths: Path, **settings: Any) -> Recipe:
    return Recipe.from_mapping({"name": "till", "path": [str(path) for path in paths], **settings})


def add(tmp_path: Path, *paths: Path, lake: str = "lake", **settings: Any) -> IngestReport:
    return ingest(recipe(*paths, **settings), tmp_path / lake, rejects=tmp_path / "rejects.parquet")


def all_rows(lake: Path) -> pl.DataFrame:
    opened = Lake.open(lake)
    return pl.concat([opened.bucket(number) for number in range(opened.buckets)])


def leftovers(lake: Path) -> list[str]:
    """Return everything in the lake's folder that its newest version does not hold."""
    opened = Lake.open(lake)
    known = {f"{TABLE}/{name}" for names in opened._files.values() for name in names}
    known |= {f"{REJECTS}/{ingest['token']}.parquet" for ingest in opened.ingests if ingest["rejected"]}
    files = {str(path.relative_to(lake)) for path in lake.rglob("*.parquet")}
    return sorted(files ^ known) + [path.name for path in lake.iterdir() if path.name not in (TABLE, REJECTS)]


def test_rows_and_money_come_out_as_they_went_in(tmp_path: Path) -> None:
    report = add(tmp_path, month(tmp_path / "a.csv", 1))
    rows = all_rows(tmp_path / "lake")
    assert rows.height == report.rows_read == 200
    assert rows["amount"].sum() == sum(Decimal(1000 + row) / 100 for row in range(200))
    assert Decimal(report.amount_kept) == rows["amount"].sum()
    assert report.customers == rows["customer_id"].n_unique() == 40
    assert leftovers(tmp_path / "lake") == []


def test_every_reader_finds_the_same_table(tmp_path: Path) -> None:
    add(tmp_path, month(tmp_path / "a.csv", 1))
    direct = pl.scan_delta(str(tmp_path / "lake" / TABLE)).collect().drop("bucket")
    ours = all_rows(tmp_path / "lake")
    assert direct.sort(ORDER).equals(ours.sort(ORDER))


def test_the_log_holds_no_id(tmp_path: Path) -> None:
    add(tmp_path, month(tmp_path / "a.csv", 1, first_id=777_000_001))
    log = "".join(path.read_text() for path in (tmp_path / "lake" / TABLE / "_delta_log").glob("*.json"))
    assert "7770000" not in log


def test_buckets_are_sorted_and_flagged(tmp_path: Path) -> None:
    add(tmp_path, month(tmp_path / "a.csv", 1))
    lake = Lake.open(tmp_path / "lake")
    for number in range(lake.buckets):
        rows = lake.bucket(number)
        assert rows.equals(rows.sort(ORDER))
        assert rows["customer_id"].flags["SORTED_ASC"]


def test_known_files_are_skipped_without_a_commit(tmp_path: Path) -> None:
    path = month(tmp_path / "a.csv", 1)
    first = add(tmp_path, path)
    again = add(tmp_path, path)
    assert (again.rows_read, again.skipped, again.lake_version) == (0, ["a.csv"], first.lake_version)
    assert all_rows(tmp_path / "lake").height == 200
    assert pl.read_parquet(tmp_path / "rejects.parquet").height == 0


def test_a_renamed_copy_is_the_same_file(tmp_path: Path) -> None:
    add(tmp_path, month(tmp_path / "a.csv", 1))
    assert add(tmp_path, month(tmp_path / "b.csv", 1)).skipped == ["b.csv"]


def test_twin_files_in_one_call_count_once(tmp_path: Path) -> None:
    report = add(tmp_path, month(tmp_path / "a.csv", 1), month(tmp_path / "b.csv", 1))
    assert (report.rows_kept, report.skipped) == (200, ["b.csv"])
    assert "b.csv has the same content as a.csv" in report.warnings[0]["en"]


def test_a_new_file_beside_known_ones_adds_itself_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    month(folder / "a.csv", 1)
    month(folder / "b.csv", 2)
    add(tmp_path, folder)
    month(folder / "c.csv", 3)
    report = add(tmp_path, folder)
    assert [file["file"] for file in report.files] == ["c.csv"]
    assert Lake.open(tmp_path / "lake").sources()["file"].to_list() == ["a.csv", "b.csv", "c.csv"]


def test_one_ingest_of_three_files_equals_three_of_one(tmp_path: Path) -> None:
    paths = [month(tmp_path / f"{number}.csv", number) for number in (1, 2, 3)]
    add(tmp_path, *paths, lake="one")
    for path in paths:
        add(tmp_path, path, lake="three")
    one, three = Lake.open(tmp_path / "one"), Lake.open(tmp_path / "three")
    assert (one.version, three.version) == (0, 2)
    for number in range(one.buckets):
        for columns in (None, ["amount", "customer_id"], ["product_id"]):
            assert one.bucket(number, columns).equals(three.bucket(number, columns))
    assert one.reconciliation() == three.reconciliation()
    assert one.last_timestamp() == three.last_timestamp()


def test_the_same_bytes_are_read_whatever_the_format(tmp_path: Path) -> None:
    path = month(tmp_path / "a.csv", 1)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    pl.read_csv(path, try_parse_dates=True).write_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.csv.gz", "a.parquet"):
        add(tmp_path, tmp_path / name, lake=f"lake of {name}")
    rows = [all_rows(tmp_path / f"lake of {name}") for name in ("a.csv", "a.csv.gz", "a.parquet")]
    assert rows[0].equals(rows[1])
    assert rows[0].equals(rows[2])


def test_a_file_is_no_lake(tmp_path: Path) -> None:
    path = month(tmp_path / "a.csv", 1)
    with pytest.raises(OutputExistsError, match="a file is there"):
        add(tmp_path, path, lake="a.csv")


@pytest.mark.parametrize(
    ("ids", "dtype"),
    [
        (["7", "12345"], pl.Int64),
        (["7", "12345.0"], pl.Int64),
        (["7", "00123"], pl.String),
        (["7", "A1"], pl.String),
        (["7", "99999999999999999999"], pl.String),
    ],
)
def test_type_of_ids(tmp_path: Path, ids: list[str], dtype: pl.DataType) -> None:
    frame = pl.DataFrame({"customer_id": ids, "timestamp": ["2024-01-01"] * 2, "amount": ["1", "2"]})
    frame.write_csv(tmp_path / "a.csv")
    add(tmp_path, tmp_path / "a.csv")
    assert Lake.open(tmp_path / "lake").customer_id_dtype == dtype
    wanted = [text.removesuffix(".0") for text in ids]
    assert sorted(all_rows(tmp_path / "lake")["customer_id"].cast(pl.String)) == sorted(wanted)


def test_text_ids_into_a_lake_of_numbers_are_refused(tmp_path: Path) -> None:
    add(tmp_path, month(tmp_path / "a.csv", 1))
    (tmp_path / "b.csv").write_text(HEADER + "X9,1,2024-02-01 10:00,P1,1,2.5\n")
    with pytest.raises(DataError, match="ids are whole numbers"):
        add(tmp_path, tmp_path / "b.csv")
    assert Lake.open(tmp_path / "lake").version == 0
    assert leftovers(tmp_path / "lake") == []


def test_numbers_join_a_lake_of_text(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(HEADER + "X9,1,2024-02-01 10:00,P1,1,2.5\n")
    add(tmp_path, tmp_path / "b.csv")
    add(tmp_path, month(tmp_path / "a.csv", 1))
    assert all_rows(tmp_path / "lake")["customer_id"].n_unique() == 41


def test_further_columns_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("customer_id,timestamp,amount,tienda\n1,2024-01-01,2,Cádiz\n", encoding="cp1252")
    add(tmp_path, tmp_path / "a.csv", columns={"store": "tienda"})
    assert all_rows(tmp_path / "lake")["store"].to_list() == ["Cádiz"]


def test_further_columns_must_stay_the_same(tmp_path: Path) -> None:
    add(tmp_path, month(tmp_path / "a.csv", 1))
    with pytest.raises(DataError, match="further columns are none; this recipe has item"):
        add(tmp_path, month(tmp_path / "b.csv", 2), columns={"item": "product_id"})


def test_missing_parts_are_filled_in_and_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("customer_id,timestamp,amount\n1,2024-01-01 10:00,2\n1,2024-01-01 12:00,3\n")
    report = add(tmp_path, tmp_path / "a.csv")
    rows = all_rows(tmp_path / "lake")
    assert rows["order_id"].unique().to_list() == ["2024-01-01"]
    assert rows.select("quantity", "amount").rows() == [(1, 2), (1, 3)]
    assert report.warnings == []
    said = " ".join(note["en"] + note["es"] for note in Lake.open(tmp_path / "lake").notes())
    assert all(word in said for word in ("no order number", "no quantity", "número de pedido", "cantidades"))


def test_unit_prices_taken_for_amounts_are_warned_of(tmp_path: Path) -> None:
    more = [f"c{number}" for number in range(9)]
    header = ",".join(["customer_id", "timestamp", "unit_price", "Qty", *more])
    (tmp_path / "a.csv").write_text(f"{header}\n1,2024-01-01,2,5{',x' * 9}\n")
    report = add(tmp_path, tmp_path / "a.csv")
    assert report.amount_kept == "2.0000"
    (said,) = report.warnings
    assert all("data.columns.quantity" in text for text in said.values())
    assert "its amount is its unit price" in said["en"]
    assert "su importe es su precio unitario" in said["es"]
    assert "mapped to anything: Qty, c0, c1, c2, c3, c4, c5, c6, …." in said["en"]
    notes = Lake.open(tmp_path / "lake").notes()
    assert said in notes
    assert not any("The source has no quantity" in note["en"] for note in notes)


def test_only_the_source_without_a_quantity_lists_its_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("customer_id,timestamp,unit_price,Qty\n1,2024-01-01,2,5\n")
    (tmp_path / "b.csv").write_text("customer_id,timestamp,unit_price,quantity,shop\n1,2024-01-02,2,5,x\n")
    (said,) = add(tmp_path, tmp_path / "a.csv", tmp_path / "b.csv").warnings
    assert said["es"].endswith("Columnas sin asignar: Qty.")


def test_a_quantity_makes_an_amount_of_a_price_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("customer_id,timestamp,unit_price,Qty\n1,2024-01-01,2,5\n")
    report = add(tmp_path, tmp_path / "a.csv", columns={"quantity": "Qty"})
    assert (report.amount_kept, report.warnings) == ("10.0000", [])


def test_a_longer_export_under_the_same_name_is_added_and_warned_of(tmp_path: Path) -> None:
    add(tmp_path, month(tmp_path / "a.csv", 1))
    report = add(tmp_path, month(tmp_path / "a.csv", 1, rows=250))
    assert (report.rows_kept, Lake.open(tmp_path / "lake").rows) == (250, 450)
    (said,) = report.warnings
    assert said["en"].startswith("a.csv: the lake already holds 200 rows of a file with this name")
    assert "ya contiene 200 filas" in said["es"]
    assert "cuentan dos veces" in said["es"]
    # Known files and other names are nothing to warn of.
    assert add(tmp_path, tmp_path / "a.csv", month(tmp_path / "b.csv", 2)).warnings == []


def bad(path: Path, *amounts: str) -> Path:
    """Write a good row and then one that cannot be read for each text."""
    path.write_text(HEADER + "".join(f"1,1,2024-02-01 10:00,P1,1,{amount}\n" for amount in ("1", *amounts)))
    return path


def test_rejects_of_all_ingests_are_kept_in_their_order(tmp_path: Path) -> None:
    second, first = bad(tmp_path / "a.csv", "x"), bad(tmp_path / "b.csv", "y", "z")
    assert add(tmp_path, first, rules={"max_reject_share": 1}).lake["rejected"] == {"not_a_number": 2}
    add(tmp_path, month(tmp_path / "good.csv", 1))
    report = add(tmp_path, second, rules={"max_reject_share": 1})
    rejects = Lake.open(tmp_path / "lake").rejects()
    wanted = [("b.csv", 2, "not_a_number"), ("b.csv", 3, "not_a_number"), ("a.csv", 2, "not_a_number")]
    assert rejects.select("file", "row", "reason").rows() == wanted
    assert pl.read_parquet(tmp_path / "rejects.parquet").equals(rejects)
    assert report.rejected == {"not_a_number": 1}
    assert report.to_dict()["lake"] == Lake.open(tmp_path / "lake").reconciliation()
    assert report.lake["rows_read"] == 205


def test_a_second_run_leaves_the_evidence_of_the_first(tmp_path: Path) -> None:
    path = bad(tmp_path / "a.csv", "x")
    first = add(tmp_path, path)
    evidence = pl.read_parquet(tmp_path / "rejects.parquet")
    (tmp_path / "rejects.parquet").unlink()
    again = add(tmp_path, path)
    assert pl.read_parquet(tmp_path / "rejects.parquet").equals(evidence)
    assert evidence.height == 1
    assert (again.rows_read, again.lake) == (0, first.lake)


def test_a_lake_without_rejects_has_an_empty_frame(tmp_path: Path) -> None:
    add(tmp_path, month(tmp_path / "a.csv", 1))
    assert Lake.open(tmp_path / "lake").rejects().schema == pl.read_parquet(tmp_path / "rejects.parquet").schema
    assert pl.read_parquet(tmp_path / "rejects.parquet").height == 0
    assert not (tmp_path / "lake" / REJECTS).exists()


def test_a_failed_commit_takes_its_rejects_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import deltalake

    add(tmp_path, bad(tmp_path / "a.csv", "x"))

    def fails(*_: object, **__: object) -> None:
        # They lie there before the commit.
        assert len(list((tmp_path / "lake" / REJECTS).iterdir())) == 2
        raise OSError("the disk is full")

    monkeypatch.setattr(deltalake.DeltaTable, "create_write_transaction", fails)
    with pytest.raises(OSError, match="disk is full"):
        add(tmp_path, bad(tmp_path / "b.csv", "y"))
    assert leftovers(tmp_path / "lake") == []


def test_rejects_of_a_killed_ingest_do_not_count(tmp_path: Path) -> None:
    add(tmp_path, bad(tmp_path / "a.csv", "x"))
    lake = Lake.open(tmp_path / "lake")
    before = lake.rejects()
    before.write_parquet(tmp_path / "lake" / REJECTS / "0123456789abcdef.parquet")
    assert Lake.open(tmp_path / "lake").rejects().equals(before)


def test_rejects_that_were_removed_are_missed_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    add(tmp_path, bad(tmp_path / "a.csv", "x"))
    next((tmp_path / "lake" / REJECTS).iterdir()).unlink()
    assert Lake.open(tmp_path / "lake").rejects().height == 0
    assert "rejected rows of 1 ingests are gone" in caplog.text


def test_several_currencies_in_one_lake_are_warned_of(tmp_path: Path) -> None:
    assert add(tmp_path, bad(tmp_path / "a.csv", "2 €", "EUR 3")).warnings == []
    report = add(tmp_path, bad(tmp_path / "b.csv", "$4"))
    assert (report.rows_kept, report.amount_kept) == (2, "5.0000")
    assert "several currencies ($, €)" in report.warnings[0]["en"]
    assert report.warnings[0] in Lake.open(tmp_path / "lake").notes()


def test_rejects_name_file_row_reason_and_source_fields(tmp_path: Path) -> None:
    month(tmp_path / "a.csv", 1)
    (tmp_path / "b.csv").write_text(
        HEADER + "1,1,2024-02-01 10:00,P1,1,2.5\n,1,2024-02-01 10:00,P1,1,3\n1,1,2024-02-01 10:00,P1\n\n"
        "1,1,2024-02-01 10:00,P1,1,5,6\n"
    )
    report = add(tmp_path, tmp_path / "a.csv", tmp_path / "b.csv")
    rejects = pl.read_parquet(tmp_path / "rejects.parquet")
    assert rejects.select("file", "row", "reason").rows() == [
        ("b.csv", 2, "missing_customer_id"),
        ("b.csv", 3, "ragged_row"),
        ("b.csv", 5, "ragged_row"),
    ]
    assert json.loads(rejects["raw"][0])["amount"] == "3"
    assert report.rejected == {"ragged_row": 2, "missing_customer_id": 1}
    assert report.amount_rejected["missing_customer_id"] == "3.0000"
    assert report.rows_read == 204
    json.dumps(report.to_dict())


def test_duplicates_are_counted_within_a_file(tmp_path: Path) -> None:
    line = "1,1,2024-02-01 10:00,P1,1,2.5\n"
    (tmp_path / "a.csv").write_text(HEADER + line * 3)
    (tmp_path / "b.csv").write_text(HEADER + line)
    report = add(tmp_path, tmp_path / "a.csv", tmp_path / "b.csv", rules={"exact_duplicates": "reject"})
    assert (report.rows_kept, report.rejected, report.amount_read) == (2, {"exact_duplicate": 2}, "10.0000")
    assert pl.read_parquet(tmp_path / "rejects.parquet")["row"].to_list() == [2, 3]


def test_one_giant_customer_is_reported(tmp_path: Path) -> None:
    lines = [f"{row if row < 150 else 0},1,2024-02-01 10:00,P1,1,1\n" for row in range(300)]
    (tmp_path / "a.csv").write_text(HEADER + "".join(lines))
    report = add(tmp_path, tmp_path / "a.csv")
    assert "One customer id holds 151 rows (50.3 % of all)" in report.warnings[0]["en"]
    assert "reúne 151 filas (50,3 % del total)" in report.warnings[0]["es"]


def test_many_files_are_read_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_SOURCES_AT_ONCE", 2)
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(1, 6):
        path = month(folder / f"{number}.csv", number)
        path.write_text(path.read_text() + f",1,2024-02-01 10:00,P1,1,{number}\n")
    report = add(tmp_path, folder)
    assert (report.rows_kept, report.rejected) == (1_000, {"missing_customer_id": 5})
    assert [file["rows_rejected"] for file in report.files] == [1] * 5
    rejects = pl.read_parquet(tmp_path / "rejects.parquet")
    assert rejects.select("file", "row").rows() == [(f"{number}.csv", 201) for number in range(1, 6)]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda folder: folder / "no.csv", SourceNotFoundError, r"no such file.*folder holds good\.csv, sub\.$"),
        (lambda folder: folder / "sub" / "no.csv", SourceNotFoundError, "no such file.*sub holds no visible file"),
        (lambda folder: folder / "none" / "no.csv", SourceNotFoundError, "There is no folder .*none either"),
        (lambda folder: folder / "*.parquet", SourceNotFoundError, "no file matches"),
        (lambda folder: folder / "sub", SourceNotFoundError, "holds no data file"),
        (lambda folder: write(folder / "e.csv", b""), DataError, r"e\.csv: the file is empty"),
        (lambda folder: write(folder / "e.parquet", b""), DataError, r"e\.parquet: the file is empty"),
        (lambda folder: write(folder / "e.parquet", b"PAR1xxxx"), DataError, "not a Parquet file"),
        (lambda folder: write(folder / "e.csv", b"a,b\n1,2\n"), ColumnsMissingError, "Columns there: a, b"),
        (lambda folder: write(folder / "e.csv", (HEADER + "1,1,soon,P,1,2\n").encode()), DataError, "no date format"),
        (lambda folder: write(folder / "e.csv", (HEADER + ",1,2024-01-01,P,1,2\n").encode()), DataError, "no row can"),
    ],
)
def test_bad_input_changes_nothing(
    tmp_path: Path, make: Callable[[Path], Path], error: type[Exception], message: str
) -> None:
    data = tmp_path / "data"
    (data / "sub" / ".hidden").mkdir(parents=True)
    (data / ".out.123.partial").mkdir()
    good = month(data / "good.csv", 1)
    with pytest.raises(error, match=message):
        add(tmp_path, make(data), lake="new")
    assert not (tmp_path / "new").exists()
    add(tmp_path, good)
    with pytest.raises(error, match=message):
        add(tmp_path, make(data))
    assert Lake.open(tmp_path / "lake").version == 0
    assert leftovers(tmp_path / "lake") == []


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_impossible_predicate_stops_before_any_commit(tmp_path: Path) -> None:
    path = month(tmp_path / "a.csv", 1)
    with pytest.raises(ColumnsMissingError, match="dept"):
        add(tmp_path, path, rules={"by_volume_where": "dept = 'FUEL'"})
    assert not (tmp_path / "lake").exists()


def test_buckets_of_a_lake_are_settled(tmp_path: Path) -> None:
    first = recipe(month(tmp_path / "a.csv", 1))
    ingest(first, tmp_path / "lake", rejects=tmp_path / "r.parquet", buckets=2)
    assert Lake.open(tmp_path / "lake").buckets == 2
    second = recipe(month(tmp_path / "b.csv", 2))
    with pytest.raises(SettingError, match="has 2 buckets, not 4"):
        ingest(second, tmp_path / "lake", rejects=tmp_path / "r.parquet", buckets=4)
    assert ingest(second, tmp_path / "lake", rejects=tmp_path / "r.parquet").buckets == 2


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_stopped_before_the_commit_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    add(tmp_path, month(tmp_path / "a.csv", 1))
    before = all_rows(tmp_path / "lake")

    def interrupted(*_: object) -> int:
        raise stop

    path = month(tmp_path / "b.csv", 2)
    monkeypatch.setattr(module, "commit", interrupted)
    with pytest.raises(stop):
        add(tmp_path, path)
    assert all_rows(tmp_path / "lake").equals(before)
    assert leftovers(tmp_path / "lake") == []


INTERRUPTED = """
import os, signal, sys
from engine.lake.ingest import ingest
from engine.lake.recipe import Recipe
signal.signal(signal.SIGINT, signal.default_int_handler)
sent = []
def press(what, part):
    if what == sys.argv[1] and not sent:
        sent.append(what)
        os.kill(os.getpid(), signal.SIGINT)
recipe = Recipe.from_mapping({"source": "synthetic", "customers": 20_000})
ingest(recipe, sys.argv[2], rejects=sys.argv[3], progress=press)
"""


@pytest.mark.parametrize("moment", ["reading", "sorting the buckets"])
def test_ctrl_c_leaves_nothing(tmp_path: Path, moment: str) -> None:
    arguments = [moment, str(tmp_path / "lake"), str(tmp_path / "r.parquet")]
    stopped = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *arguments],
        check=False,
        capture_output=True,
        cwd=Path(module.__file__).parents[2],
    )
    assert b"KeyboardInterrupt" in stopped.stderr
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from engine.lake import ingest as module
from engine.lake.recipe import Recipe
module.commit = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
recipe = Recipe.from_mapping({"name": "till", "path": sys.argv[1]})
module.ingest(recipe, sys.argv[2], rejects=sys.argv[3])
"""


def test_killed_before_the_commit_the_old_table_stands(tmp_path: Path) -> None:
    add(tmp_path, month(tmp_path / "a.csv", 1))
    before = all_rows(tmp_path / "lake")
    path = month(tmp_path / "b.csv", 2)
    arguments = [str(path), str(tmp_path / "lake"), str(tmp_path / "r.parquet")]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], check=False, cwd=Path(module.__file__).parents[2]
    )
    assert killed.returncode == -signal.SIGKILL
    assert any(entry.name.startswith(".staging") for entry in (tmp_path / "lake").iterdir())
    assert all_rows(tmp_path / "lake").equals(before)
    assert add(tmp_path, path).rows_kept == 200
    assert leftovers(tmp_path / "lake") == []


TOGETHER = """
import sys, time
from pathlib import Path
from engine.lake import ingest as module
from engine.lake.recipe import Recipe
commit = module.commit
def wait(*arguments):
    Path(sys.argv[4]).touch()
    while not Path(sys.argv[5]).exists():
        time.sleep(0.01)
    return commit(*arguments)
module.commit = wait
recipe = Recipe.from_mapping({"name": "till", "path": sys.argv[1]})
print(module.ingest(recipe, sys.argv[2], rejects=sys.argv[3]).rows_kept)
"""


@pytest.mark.parametrize("exists", [False, True])
def test_two_ingests_of_one_file_at_once_add_it_once(tmp_path: Path, exists: bool) -> None:
    if exists:
        add(tmp_path, month(tmp_path / "a.csv", 1))
    path = month(tmp_path / "b.csv", 2)
    # Each waits before its commit until the other one stands there too.
    marks = [str(tmp_path / "ready0"), str(tmp_path / "ready1")]
    running = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", TOGETHER, str(path), str(tmp_path / "lake"), str(tmp_path / f"r{me}.parquet")),
                *(marks[me], marks[1 - me]),
            ],
            stdout=subprocess.PIPE,
            cwd=Path(module.__file__).parents[2],
        )
        for me in (0, 1)
    ]
    kept = sorted(int(process.communicate()[0]) for process in running)
    assert kept == [0, 200]
    assert all_rows(tmp_path / "lake").height == (400 if exists else 200)
    assert leftovers(tmp_path / "lake") == []


def test_different_files_at_once_are_both_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(tmp_path, month(tmp_path / "a.csv", 1))
    second, third = month(tmp_path / "b.csv", 2), month(tmp_path / "c.csv", 3)
    commit = module.commit

    def overtaken(*arguments: Any) -> int:
        monkeypatch.setattr(module, "commit", commit)
        add(tmp_path, third)
        return commit(*arguments)

    monkeypatch.setattr(module, "commit", overtaken)
    report = add(tmp_path, second)
    assert report.lake_version == 2
    assert all_rows(tmp_path / "lake").height == 600


def test_an_open_lake_does_not_see_later_ingests(tmp_path: Path) -> None:
    add(tmp_path, month(tmp_path / "a.csv", 1))
    lake = Lake.open(tmp_path / "lake")
    add(tmp_path, month(tmp_path / "b.csv", 2))
    assert sum(lake.bucket(number).height for number in range(lake.buckets)) == lake.rows == 200


def test_progress_moves_forward_to_the_end(tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []
    target = tmp_path / "lake"
    ingest(
        recipe(month(tmp_path / "a.csv", 1)),
        target,
        rejects=tmp_path / "r.parquet",
        progress=lambda what, part: seen.append((what, part)),
    )
    assert [what for what, _ in seen if what == "reading"]
    assert seen[-1] == ("committing", 1.0)
    assert all(0 <= part <= 1 for _, part in seen)
