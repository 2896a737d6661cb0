"""What is wrong with a file of rows is said: never a wrong answer, and never somebody else's error."""

from __future__ import annotations

import os
import re

import numpy as np
import polars as pl
import pytest

from engine.clustering.rows_file import FileRows
from engine.errors import CarteraError, ColumnsMissingError, DataError, SettingError, SourceNotFoundError
from tests.clustering.test_rows_file import KINDS, blobs, saved, saved_npy, saved_parquet


def rewritten(path, X):
    np.save(path, X + 1)


def touched(path, X):
    os.utime(path, ns=(1, 1))


def replaced(path, X):
    stat = path.stat()
    np.save(path.with_name("other.npy"), X + 1)
    path.with_name("other.npy").replace(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def shortened(path, X):
    os.truncate(path, path.stat().st_size - 4)


def emptied(path, X):
    os.truncate(path, 0)


def lengthened(path, X):
    path.write_bytes(path.read_bytes() + b"more")


@pytest.mark.parametrize("change", [rewritten, touched, replaced, shortened, emptied, lengthened])
def test_a_file_that_changes_between_reads_is_refused(tmp_path, change):
    X = blobs(0)
    rows = FileRows.npy(saved_npy(tmp_path, X), block_rows=100)
    rows.step([np.zeros((1, 3))])
    change(tmp_path / "C.npy", X)
    for ask in (lambda: rows.step([np.zeros((1, 3))]), lambda: rows.take(np.arange(3))):
        with pytest.raises(DataError, match=r"C\.npy: the file has changed since it was opened"):
            ask()


@pytest.mark.parametrize("change", [touched, shortened, rewritten])
def test_a_file_that_changes_during_a_read_is_refused(tmp_path, change):
    X = blobs(0)
    rows = FileRows.npy(saved_npy(tmp_path, X), block_rows=50)
    with pytest.raises(DataError, match=r"C\.npy: the file (has changed|ends before)"):
        rows._held.each(lambda part: change(tmp_path / "C.npy", X))


@pytest.mark.parametrize("change", [touched, shortened])
def test_parquet_that_changes_is_refused(tmp_path, change):
    X = blobs(0)
    paths = saved_parquet(tmp_path, X, cuts=[150])
    rows = FileRows.parquet(paths, block_rows=50)
    rows.step([np.zeros((1, 3))])
    change(paths[1], X)
    with pytest.raises(DataError, match=r"part-1.parquet: the file has changed"):
        rows.step([np.zeros((1, 3))])
    assert rows.take(np.arange(150)).tobytes() == X[:150].tobytes()


@KINDS
def test_a_file_that_is_deleted_is_missed(tmp_path, kind):
    rows = saved(kind, tmp_path, blobs(0))(block_rows=100)
    for path in tmp_path.iterdir():
        path.unlink()
    for ask in (lambda: rows.step([np.zeros((1, 3))]), lambda: rows.take(np.arange(3))):
        with pytest.raises(SourceNotFoundError, match=r"(npy|parquet): no such file"):
            ask()


def npy_bytes(folder, X):
    np.save(folder / "whole.npy", X)
    return (folder / "whole.npy").read_bytes()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.zeros((3, 2), np.float16), "expected float32 or float64.*got float16"),
        (np.zeros((3, 2), np.int64), "expected float32 or float64.*got int64"),
        (np.zeros((3, 2), ">f4"), "in this machine's byte order; got >f4"),
        (np.zeros((3, 2), "f4,f4"), "expected float32 or float64"),
        (np.zeros(3, np.float32), r"got shape \(3,\)"),
        (np.zeros((3, 2, 2), np.float32), r"got shape \(3, 2, 2\)"),
        (np.zeros((0, 2), np.float32), r"at least one row and one column; got shape \(0, 2\)"),
        (np.zeros((2, 0), np.float32), r"got shape \(2, 0\)"),
        (np.float32(3), r"got shape \(\)"),
    ],
)
def test_other_arrays_are_refused(tmp_path, value, told):
    np.save(tmp_path / "other.npy", value)
    with pytest.raises(DataError, match=rf"other.npy: .*{told}"):
        FileRows.npy(tmp_path / "other.npy")


def test_pickled_objects_are_refused_and_not_loaded(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([[object, 1]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"expected float32 or float64.*got object"):
        FileRows.npy(tmp_path / "objects.npy")


def test_npy_files_that_are_cut_short_anywhere_are_refused(tmp_path):
    whole = npy_bytes(tmp_path, blobs(0, n=5))
    for length in [*range(0, 128, 9), 127, 128, 129, len(whole) - 1]:
        (tmp_path / "cut.npy").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.npy: (not a \.npy file|expected 188 bytes)"):
            FileRows.npy(tmp_path / "cut.npy")


def test_a_damaged_npy_header_is_refused_or_changes_nothing(tmp_path):
    X = blobs(0, n=5)
    whole = npy_bytes(tmp_path, X)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        damaged = bytearray(whole)
        damaged[rng.integers(0, 128)] = rng.integers(0, 256)
        (tmp_path / "damaged.npy").write_bytes(damaged)
        try:
            taken = FileRows.npy(tmp_path / "damaged.npy").take(np.arange(5))
        except CarteraError:
            continue
        assert taken.tobytes() == X.tobytes()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 an archive", b"customer,spend\n1,2\n" * 20])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(DataError, match=r"other: not a \.npy file"):
        FileRows.npy(tmp_path / "other")
    with pytest.raises(DataError, match="other: not a Parquet file"):
        FileRows.parquet(tmp_path / "other")


def test_parquet_that_is_cut_short_is_refused(tmp_path):
    (path,) = saved_parquet(tmp_path, blobs(0))
    whole = path.read_bytes()
    for length in (4, 8, 100, len(whole) // 2, len(whole) - 8, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"part-0\.parquet: not a Parquet file, or a damaged one"):
            FileRows.parquet(path)


def test_damaged_parquet_is_refused_even_where_the_decoder_panics(tmp_path, capfd):
    (path,) = saved_parquet(tmp_path, blobs(0), row_group_size=50)
    whole = path.read_bytes()
    refused = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            # Parquet need not have checksums: a damaged number may be a number.
            assert FileRows.parquet(path).take(np.arange(300)).shape == (300, 3)
        except CarteraError:
            refused += 1
    capfd.readouterr()  # panics are told on the terminal too
    assert refused > 30


def test_what_is_not_there_is_named(tmp_path):
    for ask in (FileRows.npy, FileRows.parquet):
        with pytest.raises(SourceNotFoundError, match=r"none\.x: no such file"):
            ask(tmp_path / "none.x")
    with pytest.raises(SourceNotFoundError, match=r"holds no file that ends in \.parquet"):
        FileRows.parquet(tmp_path)
    with pytest.raises(SourceNotFoundError, match="at least one file"):
        FileRows.parquet([])
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path, tmp_path / "pipe"):
        for ask in (lambda path: FileRows.npy(path), lambda path: FileRows.parquet([path])):
            with pytest.raises(DataError, match=re.escape(f"{other}: neither")):
                ask(other)


def test_a_pattern_takes_what_matches_by_name(tmp_path, monkeypatch):
    X = blobs(0)
    saved_parquet(tmp_path, X, cuts=[100, 200])
    for mark in ("_part-9.parquet", ".part-9.parquet"):
        (tmp_path / mark).write_bytes(b"a mark that a writer left")
    pl.DataFrame({"other": [1.0]}).write_parquet(tmp_path / "other.parquet")
    monkeypatch.chdir(tmp_path)
    for pattern in (f"{tmp_path}/part-*.parquet", tmp_path / "part-[0-2].parquet", "part-?.parquet", "./**/p*.parquet"):
        assert FileRows.parquet(pattern).take(np.arange(300)).tobytes() == X.tobytes()
    assert FileRows.parquet("*-1.parquet").take(np.arange(100)).tobytes() == X[100:200].tobytes()
    for pattern in ("none-*.parquet", tmp_path / "nowhere" / "*.parquet"):
        with pytest.raises(SourceNotFoundError, match=r"\*\.parquet: no file matches this pattern"):
            FileRows.parquet(pattern)


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    for name, value in (("a[1].parquet", 5.0), ("a1.parquet", 7.0)):
        pl.DataFrame({"spend": [value]}).write_parquet(tmp_path / name)
    assert FileRows.parquet(tmp_path / "a[1].parquet").take(np.array([0])).tolist() == [[5.0]]


def test_one_column_may_be_named_by_itself(tmp_path):
    X = blobs(0)
    saved_parquet(tmp_path, X)
    rows = FileRows.parquet(tmp_path, "recency_days")
    assert (rows.d, rows.names) == (1, ("recency_days",))
    assert rows.take(np.arange(300)).tobytes() == X[:, 2:].tobytes()
    with pytest.raises(ColumnsMissingError, match=r"no column 'recency' "):
        FileRows.parquet(tmp_path, "recency")


def test_rows_say_where_they_are_and_how_many(tmp_path):
    X = np.zeros((1200, 3), np.float32)
    np.save(tmp_path / "rows.npy", X)
    assert repr(FileRows.npy(tmp_path / "rows.npy")) == f"<FileRows: 1,200 × 3 float32 in {tmp_path}/rows.npy>"
    paths = saved_parquet(tmp_path, X, cuts=[5, 10])
    told = f"× 3 float64 in {tmp_path}/part-0.parquet"
    assert repr(FileRows.parquet(paths[0], dtype=np.float64)) == f"<FileRows: 5 {told}>"
    assert repr(FileRows.parquet(tmp_path, dtype=np.float64)) == f"<FileRows: 1,200 {told} and 2 more>"


def test_a_delta_table_is_not_read_as_a_folder(tmp_path):
    saved_parquet(tmp_path, blobs(0))
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(DataError, match="a Delta table"):
        FileRows.parquet(tmp_path)


def test_columns_are_checked_in_every_file_before_the_first_read(tmp_path):
    X = blobs(0)
    saved_parquet(tmp_path, X)
    with pytest.raises(ColumnsMissingError, match=r"no column 'spent' \(did you mean 'spend'\?\)"):
        FileRows.parquet(tmp_path, ["orders", "spent"])
    pl.DataFrame({"spend": [1.0], "orders": [1], "recency_days": ["3"]}).write_parquet(tmp_path / "z.parquet")
    with pytest.raises(DataError, match=r"z.parquet: expected numeric columns; got recency_days \(String\)"):
        FileRows.parquet(tmp_path)
    assert FileRows.parquet(tmp_path, ["orders", "spend"]).n == 301
    pl.DataFrame({"spend": [1.0], "orders": [1], "recency_days": [3], "more": [1]}).write_parquet(
        tmp_path / "z.parquet"
    )
    with pytest.raises(DataError, match=r"z.parquet: expected the columns of the first file; got more too"):
        FileRows.parquet(tmp_path)
    pl.DataFrame({"spend": [1.0]}).write_parquet(tmp_path / "z.parquet")
    with pytest.raises(ColumnsMissingError, match=r"z.parquet: no column 'orders', 'recency_days'"):
        FileRows.parquet(tmp_path)


@pytest.mark.parametrize("values", [[True, False], [None, None], ["1", "2"]])
def test_what_is_not_a_number_is_refused(tmp_path, values):
    pl.DataFrame({"spend": [1.0, 2.0], "other": values}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="expected numeric columns; got other"):
        FileRows.parquet(tmp_path)


def test_parquet_without_a_row_is_refused(tmp_path):
    saved_parquet(tmp_path, np.empty((0, 3), np.float32))
    with pytest.raises(DataError, match=r"part-0\.parquet: the file has columns and no row"):
        FileRows.parquet(tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"threads": 0}, "threads: expected 1 or more"),
        ({"block_rows": 0}, "block_rows: expected 1 or more"),
        ({"dtype": np.int32}, "dtype: expected float32 or float64; got int32"),
        ({"columns": []}, "columns: expected at least one"),
        ({"columns": ["spend", "spend"]}, "each once; got spend, spend"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, options, told):
    saved_parquet(tmp_path, blobs(0))
    with pytest.raises(SettingError, match=told):
        FileRows.parquet(tmp_path, **options)
