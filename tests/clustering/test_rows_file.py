"""Rows in files say what the same rows in memory say, byte for byte."""

from __future__ import annotations

import threading
import tracemalloc
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.clustering import rows_file
from engine.clustering import solve as solving
from engine.clustering.backends import cluster_rows
from engine.clustering.rows_blocks import BlockRows
from engine.clustering.rows_file import FileRows, rows_of_block
from engine.clustering.solve import solve
from engine.errors import DataError, SettingError

NAMES = ["spend", "orders", "recency_days"]


def blobs(seed, n=300, k=5, d=3, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return (6.0 * rng.normal(size=(k, d))[rng.integers(k, size=n)] + rng.normal(size=(n, d))).astype(dtype)


def saved_npy(folder, X, order="C"):
    path = folder / f"{order}.npy"
    np.save(path, np.asarray(X, order=order))
    return path


def saved_parquet(folder, X, cuts=(), row_group_size=None):
    paths = []
    for number, part in enumerate(np.split(X, cuts)):
        paths.append(folder / f"part-{number}.parquet")
        frame = pl.DataFrame(np.ascontiguousarray(part), schema=NAMES[: X.shape[1]], orient="row")
        frame.write_parquet(paths[-1], row_group_size=row_group_size)
    return paths


def saved(kind, folder, X):
    """Save a matrix in each kind of file, and return how to open it."""
    if kind in ("C", "F"):
        return partial(FileRows.npy, saved_npy(folder, X, kind))
    if kind == "one file":
        return partial(FileRows.parquet, saved_parquet(folder, X, row_group_size=41)[0], dtype=X.dtype)
    # Parts end inside blocks, and the third one has no row.
    saved_parquet(folder, X, cuts=[len(X) // 3, len(X) // 2, len(X) // 2], row_group_size=29)
    return partial(FileRows.parquet, folder, dtype=X.dtype)


def measured(rows, models):
    """Everything that is asked of rows."""
    stats = rows.step(models)
    told = [getattr(one, field).tobytes() for one in stats for field in ("counts", "sums", "sse")]
    for dtype in (np.float32, np.float64):
        labels, distances = np.full(rows.n, -1, np.int32), np.full(rows.n, -1.0, dtype)
        told += [rows.assign(models[0], labels, distances), labels.tobytes(), distances.tobytes()]
    told += [rows.assign(models[1], labels), labels.tobytes()]
    return told


KINDS = pytest.mark.parametrize("kind", ["C", "F", "one file", "folder"])


@KINDS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block_rows", [1, 64, 100, 299, 300, None])
def test_a_file_is_its_matrix_in_blocks(tmp_path, kind, dtype, block_rows):
    X = blobs(1, n=20 if block_rows == 1 else 300, dtype=dtype)
    models = [X[:4].astype(np.float64), np.vstack([X[:1], X[:1] + 500]).astype(np.float64)]
    rows = saved(kind, tmp_path, X)(threads=1, block_rows=block_rows)
    held = BlockRows(X, rows.edges, threads=1)
    assert (rows.n, rows.d, rows.dtype, rows.weights, rows.threads) == (len(X), 3, dtype, None, 1)
    assert rows.edges == [*range(0, len(X), block_rows or len(X)), len(X)]
    assert measured(rows, models) == measured(held, models)
    for seed in range(3):
        index = np.random.default_rng(seed).integers(0, len(X), 50)
        assert rows.take(index).tobytes() == X[index].tobytes()
    assert rows.take(np.array([len(X) - 1])).tobytes() == X[-1:].tobytes()
    assert rows.take(np.empty(0, np.int64)).shape == (0, 3)
    assert rows.distinct().matrix.tobytes() == held.distinct().matrix.tobytes()


@KINDS
def test_threads_and_repetition_change_no_byte(tmp_path, kind):
    # More than one of the kernels' own chunks in a block.
    X = blobs(2, n=40_000)
    models = [X[:4].astype(np.float64), X[:7].astype(np.float64)]
    opened = saved(kind, tmp_path, X)
    one, two = (opened(threads=threads, block_rows=17_000) for threads in (1, 2))
    first = measured(one, models)
    assert first == measured(one, models) == measured(two, models)
    assert first == measured(BlockRows(X, one.edges, threads=2), models)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("near_bytes", "stretch_bytes"), [(1, 1), (1, 500), (60, 120), (10**9, 40), (10**9, 10**9)])
def test_rows_are_taken_one_by_one_and_in_stretches(tmp_path, monkeypatch, order, near_bytes, stretch_bytes):
    monkeypatch.setattr("engine.clustering.matrix_files.NEAR_BYTES", near_bytes)
    monkeypatch.setattr(rows_file, "STRETCH_BYTES", stretch_bytes)
    X = blobs(3)
    rows = FileRows.npy(saved_npy(tmp_path, X, order))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        index = rng.integers(0, 300, rng.integers(1, 400))
        assert rows.take(index).tobytes() == X[index].tobytes()


@pytest.mark.parametrize("index", [[-1], [300], [0, 299, 300]])
def test_rows_that_are_not_there_are_not_taken(tmp_path, index):
    with pytest.raises(IndexError, match="rows 0 to 299"):
        FileRows.npy(saved_npy(tmp_path, blobs(0))).take(np.array(index))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_numeric_type_is_cast(tmp_path, dtype):
    # 2**24 + 1 is the first whole number that float32 has not.
    frame = pl.DataFrame(
        {
            "small": pl.Series([-3, 0, 127], dtype=pl.Int8),
            "large": pl.Series([2**24 + 1, 0, -5], dtype=pl.Int64),
            "unsigned": pl.Series([2**32 - 1, 7, 0], dtype=pl.UInt32),
            "single": pl.Series([0.1, -0.0, 3.5], dtype=pl.Float32),
            "double": pl.Series([0.1, 1e300 if dtype == np.float64 else 1e30, 2.0], dtype=pl.Float64),
            "money": pl.Series([Decimal("19.99"), Decimal("-0.01"), Decimal("0.00")], dtype=pl.Decimal(18, 2)),
        }
    )
    frame.with_columns(customer=pl.Series(["a", "b", "c"])).write_parquet(tmp_path / "rows.parquet")
    columns = ["money", "large", "double", "small", "single", "unsigned"]
    taken = FileRows.parquet(tmp_path / "rows.parquet", columns, dtype=dtype).take(np.arange(3))
    expected = np.array([[float(value) for value in row] for row in frame.select(columns).rows()]).astype(dtype)
    expected[:, columns.index("single")] = frame["single"].to_numpy()
    assert taken.tobytes() == expected.tobytes()


def test_columns_come_in_the_order_asked_for_and_files_in_that_of_the_list(tmp_path):
    X = blobs(4)
    paths = saved_parquet(tmp_path, X, cuts=[100])
    (tmp_path / "_SUCCESS.parquet").write_text("")
    (tmp_path / ".part-0.parquet.crc.parquet").write_text("")
    (tmp_path / "notes.txt").write_text("")
    every = np.arange(300)
    assert FileRows.parquet(tmp_path).take(every).tobytes() == X.tobytes()
    turned = FileRows.parquet([str(path) for path in reversed(paths)], ["recency_days", "spend"]).take(every)
    assert turned.tobytes() == np.vstack([X[100:], X[:100]])[:, [2, 0]].tobytes()


def test_files_may_differ_in_their_numeric_types_and_in_the_order_of_columns(tmp_path):
    pl.DataFrame({"spend": [1.5], "orders": [2]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"orders": [4.0], "spend": [3]}).write_parquet(tmp_path / "b.parquet")
    assert FileRows.parquet(tmp_path).take(np.arange(2)).tolist() == [[1.5, 2.0], [3.0, 4.0]]


def test_blocks_follow_the_number_of_features_alone():
    assert [rows_of_block(d) for d in (1, 8, 9, 16, 1024, 100_000)] == [2**20, 2**20, 925_696, 2**19, 8192, 8192]
    for d in range(1, 1025):
        assert rows_of_block(d) % 8192 == 0
        assert rows_of_block(d) * d * 8 <= 64 * 2**20


@KINDS
@pytest.mark.parametrize("solver", ["full", "sample"])
def test_a_fit_over_files_is_the_fit_of_the_blocks(tmp_path, monkeypatch, kind, solver):
    monkeypatch.setattr(solving, "FULL_BELOW_ROWS", 500)
    X = blobs(5, n=3_000)
    rows = saved(kind, tmp_path, X)(block_rows=800)
    held = BlockRows(X, rows.edges)
    assert solve(rows, 5, solver=solver).centroids.tobytes() == solve(held, 5, solver=solver).centroids.tobytes()
    found, expected = (cluster_rows(one, 4, backend="native", solver=solver, seed=3) for one in (rows, held))
    assert found.centroids.tobytes() == expected.centroids.tobytes()
    assert found.labels.tobytes() == expected.labels.tobytes()
    assert found.distances.tobytes() == expected.distances.tobytes()
    assert (found.inertia, found.n_iter) == (expected.inertia, expected.n_iter)


def test_few_rows_in_a_file_are_solved_as_a_matrix_is(tmp_path):
    X = blobs(6)
    rows = FileRows.npy(saved_npy(tmp_path, X), block_rows=77)
    assert solve(rows, 4).centroids.tobytes() == solve(BlockRows(X, [0, 300]), 4).centroids.tobytes()


def test_memory_is_that_of_two_blocks(tmp_path):
    # numpy tells tracemalloc of its arrays: a read of sixteen blocks must not hold three.
    X = blobs(7, n=160_000, d=4)
    path = saved_npy(tmp_path, X)
    models = [X[:3].astype(np.float64)]
    labels = np.empty(len(X), np.int32)
    rows = FileRows.npy(path, block_rows=10_000)
    rows.step(models)
    block = 10_000 * 4 * 4
    for ask in (lambda: rows.step(models), lambda: rows.assign(models[0], labels)):
        tracemalloc.start()
        ask()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert 2 * block <= peak < 3 * block


def test_labels_may_be_written_to_a_file(tmp_path):
    X = blobs(8)
    rows = FileRows.npy(saved_npy(tmp_path, X), block_rows=100)
    mapped = np.lib.format.open_memmap(tmp_path / "labels.npy", "w+", np.int32, (300,))
    expected = np.empty(300, np.int32)
    assert rows.assign(X[:3], mapped) == BlockRows(X, rows.edges).assign(X[:3], expected)
    mapped.flush()
    assert (np.load(tmp_path / "labels.npy") == expected).all()


def test_no_thread_and_no_file_stays_between_reads(tmp_path):
    rows = FileRows.npy(saved_npy(tmp_path, blobs(0)), block_rows=50)
    rows.step([np.zeros((1, 3))])
    threads, files = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    rows.step([np.zeros((1, 3))])
    rows.take(np.arange(5))
    with pytest.raises(ZeroDivisionError):
        rows._held.each(lambda part: 1 // 0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read rows")]
    assert (threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))) == (threads, files)


@KINDS
def test_rows_less_a_number_are_those_of_the_matrix_less_it(tmp_path, kind):
    X = blobs(0) + np.float32(5000)
    shift = np.array([5000.0, -3.25, 0.0], dtype=np.float32)
    rows, held = saved(kind, tmp_path, X)(block_rows=70), BlockRows(X - shift, [*range(0, 300, 70), 300])
    models = [(X[:4] - shift).astype(np.float64), (X[9:11] - shift).astype(np.float64)]
    assert measured(rows.less(shift), models) == measured(held, models)
    assert rows.less(shift).take(np.arange(300)).tobytes() == (X - shift).tobytes()
    # Twice less is less both, and the rows themselves stay.
    np.testing.assert_allclose(rows.less(shift).less(shift).take(np.arange(300)), X - 2 * shift, rtol=1e-6)
    assert rows.take(np.arange(300)).tobytes() == X.tobytes()


def test_closed_rows_are_not_read(tmp_path):
    with FileRows.npy(saved_npy(tmp_path, blobs(0))) as rows:
        rows.take(np.arange(3))
    for ask in (lambda: rows.take(np.arange(3)), lambda: rows.step([np.zeros((1, 3))])):
        with pytest.raises(DataError, match="were closed"):
            ask()


@KINDS
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_found_by_the_first_read(tmp_path, kind, value):
    X = blobs(0)
    X[250, 1] = X[260, 1] = X[249, 2] = value
    rows = saved(kind, tmp_path, X)(block_rows=200)
    file, row = {"C": ("C.npy", 249), "F": ("F.npy", 249), "one file": ("part-0.parquet", 249)}.get(
        kind, ("part-3.parquet", 99)
    )
    columns = ("column 1", "column 2") if kind in "CF" else ("orders", "recency_days")
    told = rf"{file}, row {row}: .*finite float32.* in {columns[0]} \(2\), {columns[1]} \(1\) of 100 rows"
    for ask in (lambda: rows.step([np.zeros((1, 3))]), lambda: rows.assign(X[:2], np.empty(300, np.int32))):
        with pytest.raises(DataError, match=told):
            ask()
    with pytest.raises(DataError, match=rf"{file}, row {row}: .* in {columns[1]} \(1\) of 2 rows"):
        rows.take(np.array([249, 3]))
    assert rows.take(np.array([248, 3])).tobytes() == X[[248, 3]].tobytes()


def test_a_number_beyond_float32_is_refused_and_float64_holds_it(tmp_path):
    pl.DataFrame({"spend": [1.0, 1e300]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"row 1: expected finite float32 numbers; .* in spend \(1\)"):
        FileRows.parquet(tmp_path).step([np.zeros((1, 1))])
    assert FileRows.parquet(tmp_path, dtype=np.float64).take(np.array([1])).tolist() == [[1e300]]


def test_nulls_are_named(tmp_path):
    pl.DataFrame({"spend": [1.0, 2.0, 3.0]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"spend": [1.0, 2.0, None, 4.0, None]}).write_parquet(tmp_path / "b.parquet")
    rows = FileRows.parquet(tmp_path, block_rows=2)
    with pytest.raises(DataError, match=r"b.parquet, row 2: .*null in spend \(1\) of 2 rows from row 1"):
        rows.step([np.zeros((1, 1))])
    assert rows.take(np.array([0, 4])).tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(("backend", "told"), [("faiss", "needs rows in memory"), ("foo", "foo")])
def test_backends_that_cannot_read_files_say_so(tmp_path, backend, told):
    np.save(tmp_path / "rows.npy", np.zeros((10, 2), np.float32))
    with FileRows.npy(tmp_path / "rows.npy") as rows, pytest.raises(SettingError, match=told):
        cluster_rows(rows, 2, backend=backend)
