"""One read of the rows: distances, sums, labels, on any number of threads."""

from __future__ import annotations

import re

import numpy as np
import pytest

from engine.clustering.rows_array import ArrayRows
from engine.errors import DataError, SettingError
from tests.reference import kmeans_twin

WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 15, 16, 17, 20, 24, 33]


def make_rows(seed, n=300, d=5, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


def assert_same(one, other):
    for name in ("counts", "sums", "sse", "farthest"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_step_of_a_case_worked_by_hand():
    # (0,0) and (0,2) lie 1 from (0,1); (9,0) lies 1 from (8,0); nobody is nearest to (0,50).
    rows = ArrayRows([[0.0, 0.0], [0.0, 2.0], [9.0, 0.0]])
    (stats,) = rows.step([np.array([[0.0, 1.0], [8.0, 0.0], [0.0, 50.0]])])
    assert stats.counts.tolist() == [2.0, 1.0, 0.0]
    assert stats.sums.tolist() == [[0.0, 2.0], [9.0, 0.0], [0.0, 0.0]]
    assert stats.sse.tolist() == [2.0, 1.0, 0.0]
    assert stats.farthest.tolist() == [0, 2, -1]
    assert stats.inertia == 3.0


def test_a_row_between_two_centroids_goes_to_the_lower_number():
    labels = np.empty(1, dtype=np.int32)
    ArrayRows([[0.0]]).assign(np.array([[1.0], [-1.0]]), labels)
    assert labels.tolist() == [0]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", WIDTHS)
def test_step_agrees_with_the_twin_at_every_width(d, dtype, weighted):
    X = make_rows(d, d=d, dtype=dtype)
    weights = np.random.default_rng(d).integers(0, 4, size=len(X)).astype(float) if weighted else None
    C = X[:7].astype(np.float64) + 0.01
    (stats,) = ArrayRows(X, weights).step([C])
    # The kernel sees the centroids in the rows' precision.
    counts, sums, sse, farthest = kmeans_twin.stats(X, C.astype(dtype), weights)
    np.testing.assert_array_equal(stats.counts, counts)
    np.testing.assert_allclose(stats.sums, sums, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(stats.sse, sse, rtol=2e-6 if dtype == np.float32 else 1e-12)
    np.testing.assert_array_equal(stats.farthest, farthest)


@pytest.mark.parametrize("n", [1, 7, 8, 255, 256, 257, 8191, 8192, 8193, 20_000])
def test_every_row_is_counted_once_at_the_edges_of_blocks_and_chunks(n):
    X = make_rows(n, n=n, d=3)
    (stats,) = ArrayRows(X).step([np.zeros((1, 3))])
    assert stats.counts.tolist() == [n]
    np.testing.assert_allclose(stats.sums[0], X.astype(np.float64).sum(axis=0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_several_models_in_one_read_equal_one_read_each(seed):
    rows = ArrayRows(make_rows(seed, n=30_000))
    models = [make_rows(seed + k, n=k).astype(np.float64) for k in (1, 4, 9)]
    for together, model in zip(rows.step(models), models, strict=True):
        assert_same(together, rows.step([model])[0])


def test_the_turns_that_bound_memory_change_nothing(monkeypatch):
    rows = ArrayRows(make_rows(0, n=200_000, d=2))
    C = make_rows(1, n=5, d=2).astype(np.float64)
    (whole,) = rows.step([C])
    monkeypatch.setattr("engine.clustering.rows_array.PARTS_BYTES", 1)
    assert_same(rows.step([C])[0], whole)


@pytest.mark.parametrize("weighted", [False, True])
def test_any_number_of_threads_gives_the_same_bits(weighted):
    X = make_rows(2, n=100_000, d=6)
    weights = np.random.default_rng(3).random(len(X)) if weighted else None
    C = X[:8].astype(np.float64)
    one, two = (ArrayRows(X, weights, threads=threads) for threads in (1, 2))
    assert_same(one.step([C])[0], two.step([C])[0])
    labels = np.empty((2, len(X)), dtype=np.int32)
    distances = np.empty((2, len(X)), dtype=np.float32)
    assert one.assign(C, labels[0], distances[0]) == two.assign(C, labels[1], distances[1])
    np.testing.assert_array_equal(labels[0], labels[1])
    np.testing.assert_array_equal(distances[0], distances[1])


def test_the_threads_of_others_are_left_as_they_were():
    import numba

    before = numba.get_num_threads()
    ArrayRows(make_rows(0), threads=1).step([np.zeros((1, 5))])
    assert numba.get_num_threads() == before


@pytest.mark.parametrize("seed", range(6))
def test_assign_agrees_with_the_twin_up_to_ties(seed):
    X = make_rows(seed, n=500, d=3 + seed)
    C = make_rows(seed + 100, n=9, d=3 + seed).astype(np.float64)
    labels, distances = np.empty(500, dtype=np.int32), np.empty(500, dtype=np.float32)
    inertia = ArrayRows(X).assign(C, labels, distances)
    squared = kmeans_twin.squared_distances(X, C)
    np.testing.assert_allclose(squared[np.arange(500), labels], squared.min(axis=1), rtol=1e-5)
    np.testing.assert_allclose(distances, np.sqrt(squared.min(axis=1)), rtol=1e-5)
    np.testing.assert_allclose(inertia, squared.min(axis=1).sum(), rtol=1e-6)


def test_assign_and_step_tell_the_same_inertia():
    rows = ArrayRows(make_rows(4, n=20_000))
    C = make_rows(5, n=6).astype(np.float64)
    inertia = rows.assign(C, np.empty(rows.n, dtype=np.int32))
    np.testing.assert_allclose(inertia, rows.step([C])[0].inertia, rtol=1e-12)


def test_more_than_sixteen_million_rows_in_a_cluster_would_be_counted():
    # A float32 counter stops at 2^24; a weight shows it without the rows.
    (stats,) = ArrayRows([[1.0], [1.0]], [2.0**24, 1.0]).step([np.zeros((1, 1))])
    assert stats.counts[0] == 2**24 + 1


def test_weights_equal_repeated_rows():
    X = make_rows(6, n=200)
    times = np.random.default_rng(7).integers(0, 4, size=200)
    C = X[:5].astype(np.float64)
    (weighted,) = ArrayRows(X, times).step([C])
    (repeated,) = ArrayRows(np.repeat(X, times, axis=0)).step([C])
    np.testing.assert_array_equal(weighted.counts, repeated.counts)
    np.testing.assert_allclose(weighted.sums, repeated.sums, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(weighted.sse, repeated.sse, rtol=1e-12)


def test_take_copies_the_asked_rows_in_order():
    X = make_rows(8)
    taken = ArrayRows(X).take(np.array([5, 0, 5]))
    np.testing.assert_array_equal(taken, X[[5, 0, 5]])
    taken[:] = 0
    assert X[5].any()


def test_distinct_merges_copies_in_lexical_order_and_drops_rows_without_weight():
    rows = ArrayRows([[2.0, 1.0], [-0.0, 5.0], [2.0, 1.0], [0.0, 5.0], [9.0, 9.0]], [1, 2, 3, 4, 0]).distinct()
    assert rows.matrix.tolist() == [[0.0, 5.0], [2.0, 1.0]]
    assert rows.weights.tolist() == [6.0, 4.0]


LAYOUTS = {
    "by columns": np.asfortranarray,
    "every other row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "reversed": lambda X: X[::-1][::-1],
    "integers": lambda X: X.astype(np.int64),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_is_read_and_left_alone(layout):
    X = np.round(make_rows(9, dtype=np.float64) * 10)
    given = LAYOUTS[layout](X)
    before = given.copy()
    given.setflags(write=False)
    C = X[:3].copy()
    assert_same(ArrayRows(given).step([C])[0], ArrayRows(X).step([C])[0])
    np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ([[1.0, np.nan], [np.nan, np.nan], [0.0, 1.0]], r"column 0 \(1\), column 1 \(2\) of 3 rows"),
        ([[1.0, np.inf], [0.0, -np.inf]], r"column 1 \(2\) of 2 rows"),
        ([1.0, 2.0], r"got shape \(2,\)"),
        (np.empty((0, 3)), r"got shape \(0, 3\)"),
        (np.empty((3, 0)), r"got shape \(3, 0\)"),
    ],
)
def test_rows_that_cannot_be_clustered_are_refused(bad, told):
    with pytest.raises(DataError, match=told):
        ArrayRows(bad)


def test_columns_with_bad_values_are_told_by_name():
    with pytest.raises(DataError, match=r"monetary \(1\)"):
        ArrayRows([[1.0, np.nan]], names=["frequency", "monetary"])


@pytest.mark.parametrize(
    ("weights", "told"),
    [([1.0], "2 rows"), ([1.0, -1.0], "1 of 2"), ([np.nan, 1.0], "1 of 2"), ([0.0, 0.0], "all are 0")],
)
def test_impossible_weights_are_refused(weights, told):
    with pytest.raises(DataError, match=told):
        ArrayRows([[1.0], [2.0]], weights)


def test_no_threads_are_refused():
    with pytest.raises(SettingError, match="threads"):
        ArrayRows([[1.0]], threads=0)


def test_centroids_of_another_width_are_refused():
    with pytest.raises(DataError, match=r"\(k, 2\)"):
        ArrayRows([[1.0, 2.0]]).step([np.zeros((1, 3))])


LOOPS = {"_closest4": "2 lines", "_closest8": "2 lines", "_set4": "1 line", "_set8": "1 line", "_add8": "1 line"}


@pytest.mark.parametrize("name", LOOPS)
def test_the_loops_over_rows_are_vectorised(name):
    import numba

    from engine.clustering import kernels

    # Compiled anew, because numba does not show the code of what it has cached.
    loop = numba.njit(nogil=True, error_model="numpy", fastmath=kernels._MATH)(getattr(kernels, name).py_func)
    columns = np.zeros((8, kernels.LANES), dtype=np.float32)
    centre, line, nearest = np.zeros(8, np.float32), np.zeros(kernels.LANES, np.float32), np.zeros(256, np.int32)
    if LOOPS[name] == "2 lines":
        loop(columns, centre, line, nearest, np.int32(1))
    else:
        loop(columns, centre, 0, line)
    # A scalar loop here is several times slower, and no result would show it.
    (code,) = loop.inspect_llvm().values()
    assert any(f"fmul contract nnan nsz <{lanes} x float>" in _in_one_order(code) for lanes in (4, 8, 16))


def _in_one_order(code):
    """LLVM's text with the flags of each operation in alphabetical order."""
    return re.sub(r"(f\w+) ((?:(?:nnan|nsz|contract) )+)", lambda m: f"{m[1]} {' '.join(sorted(m[2].split()))} ", code)
