"""Text tables: how a file is written is found from its bytes, and no damaged record goes unseen."""

from __future__ import annotations

import csv
import gzip
import random
from pathlib import Path

import polars as pl
import pytest

from engine.errors import DataError, SettingError
from engine.lake.text import inspect_text, scan_text, short_records

TABLE = "cliente;día;importe\n1;2024-01-31;12,5\n2;2024-02-01;7\n"


def look(path: Path, **given: str) -> tuple[str, str, tuple[str, ...]]:
    found = inspect_text(path, encoding=given.get("encoding"), delimiter=given.get("delimiter"))
    return found.encoding, found.delimiter, found.header


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("cp1252", "cp1252"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
    ],
)
def test_encoding_is_found_and_read(tmp_path: Path, encoding: str, found: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(TABLE.encode(encoding))
    assert look(path) == (found, ";", ("cliente", "día", "importe"))
    text = inspect_text(path, encoding=None, delimiter=None)
    rows = scan_text(path, text, tmp_path).collect()
    assert rows.select("cliente", "día", "importe", "__row").rows() == [
        ("1", "2024-01-31", "12,5", 1),
        ("2", "2024-02-01", "7", 2),
    ]


def test_an_accent_far_into_the_file_decides(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n" + b"1,x\n" * 700_000 + "2,ñ\n".encode("latin-1"))
    assert look(path)[0] == "cp1252"


def test_undefined_bytes_of_cp1252_mean_latin_1(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n1,\x81\xf1\n")
    assert look(path)[0] == "latin-1"


@pytest.mark.parametrize("sign", [";", ",", "\t", "|"])
def test_delimiter_is_found(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f'a{sign}b{sign}c\n1{sign}"x,y;z"{sign}3\n4{sign}5{sign}6\n')
    assert look(path)[1:] == (sign, ("a", "b", "c"))


def test_gzip_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(TABLE.encode("cp1252")))
    text = inspect_text(path, encoding=None, delimiter=None)
    assert scan_text(path, text, tmp_path).collect()["importe"].to_list() == ["12,5", "7"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"a,b,c\n", "a header and no row"),
        (b"a,b\n\n\n", "a header and no row"),
        (b"PK\x03\x04\x00\x00\x08\x00" * 9, "not a text table"),
        (b"a,b,a\n1,2,3\n", "same column more than once: a"),
    ],
)
def test_useless_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        look(path)
    assert "bad.csv" in str(error.value)


def test_gzip_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv.gz"
    noise = "".join(f"{random.Random(i).random()},x\n" for i in range(2_000))
    path.write_bytes(gzip.compress(f"a,b\n{noise}".encode())[:-100])
    with pytest.raises(DataError, match=r"cut\.csv\.gz: the gzip file is damaged or cut short"):
        look(path)


def test_given_encoding_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(TABLE.encode("cp1252"))
    with pytest.raises(DataError, match="not written in utf-8"):
        look(path, encoding="utf-8")


def test_given_encoding_that_does_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(TABLE)
    with pytest.raises(SettingError, match=r"data\.encoding"):
        look(path, encoding="utf-99")


def ragged_numbers(path: Path) -> tuple[list[int], list[int]]:
    """Return the numbers of the records with too few and with too many fields."""
    text = inspect_text(path, encoding=None, delimiter=",")
    scan = scan_text(path, text, path.parent)
    rows = scan.collect()
    long = rows.filter(pl.col("__extra").is_not_null())["__row"].to_list()
    return short_records(path, text, scan, path.parent).to_list(), long


def test_short_and_long_records_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b,c\n1,2,3\n1,,\n1,2\n1\n1,2,3,4\n"x\ny",2,\n\n"x,y","z""",\n9,"",""\n')
    assert ragged_numbers(path) == ([3, 4], [5])


@pytest.mark.parametrize("seed", range(10))
def test_short_and_long_records_agree_with_the_csv_module(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    fields = ["1", "", "ab", "x y"] + (['"q,r"', '"s\nt"', '""', '"u""v"'] if seed % 2 else [])
    lines = [",".join(draw.choice(fields) for _ in range(draw.choice([3, 3, 3, 3, 2, 4]))) for _ in range(200)]
    path = tmp_path / "a.csv"
    path.write_text("a,b,c\n" + "\n".join(lines) + "\n")
    with path.open(newline="") as stream:
        records = list(csv.reader(stream))[1:]
    short = [number for number, record in enumerate(records, 1) if 0 < len(record) < 3]
    # Polars shows a surplus field only where it holds something.
    long = [number for number, record in enumerate(records, 1) if len(record) > 3]
    found_short, found_long = ragged_numbers(path)
    assert found_short == short
    assert set(found_long) <= set(long)
    assert set(found_long) >= {number for number in long if records[number - 1][3]}
