"""What the estimator takes for a table of numbers, and what it refuses."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.sparse import coo_array, csc_matrix, csr_array, csr_matrix
from sklearn.exceptions import ConvergenceWarning

from engine.clustering import KMeans
from engine.clustering.rows_array import ArrayRows
from engine.errors import DataError, SettingError
from tests.reference import kmeans_twin

NAMES = ["recency_days", "frequency", "monetary"]


def some(seed=0, n=400, d=3, dtype=np.float64):
    # Values that a float16, an integer and a sparse matrix hold too.
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(size=(n, d)) * 4 + rng.integers(0, 3, size=(n, 1)) * 20).astype(dtype)


def strided(X):
    wide = np.zeros((2 * len(X), 2 * X.shape[1]))
    wide[::2, ::2] = X
    return wide[::2, ::2]


def read_only(X):
    X = X.copy()
    X.setflags(write=False)
    return X


KINDS = {
    "Fortran order": np.asfortranarray,
    "strided": strided,
    "backwards": lambda X: X[::-1].copy()[::-1],
    "read-only": read_only,
    "int64": lambda X: X.astype(np.int64),
    "int8": lambda X: X.astype(np.int8),
    "float16": lambda X: X.astype(np.float16),
    "longdouble": lambda X: X.astype(np.longdouble),
    "objects": lambda X: X.astype(object),
    "lists": lambda X: X.tolist(),
    "CSR": csr_array,
    "CSR matrix": csr_matrix,
    "CSC": csc_matrix,
    "COO": coo_array,
    "Polars": lambda X: pl.DataFrame(X, schema=NAMES),
    "Polars of mixed columns": lambda X: pl.DataFrame(X, schema=NAMES).with_columns(
        pl.col("frequency").cast(pl.Int32), pl.col("monetary").cast(pl.Decimal(18, 4))
    ),
    "Arrow": lambda X: pl.DataFrame(X, schema=NAMES).to_arrow(),
    "pandas": lambda X: pytest.importorskip("pandas").DataFrame(X, columns=NAMES),
    "Dask array": lambda X: pytest.importorskip("dask.array").from_array(X, chunks=(150, 2)),
    "Dask frame": lambda X: pytest.importorskip("dask.dataframe").from_pandas(
        pytest.importorskip("pandas").DataFrame(X, columns=NAMES), npartitions=3
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_numbers_give_the_same_clusters_however_they_come(kind):
    X = some()
    theirs = KINDS[kind](X)
    plain = KMeans(4, random_state=0).fit(X)
    model = KMeans(4, random_state=0)
    np.testing.assert_array_equal(model.fit_predict(theirs), plain.labels_)
    np.testing.assert_allclose(model.cluster_centers_, plain.cluster_centers_, rtol=1e-12, atol=1e-12)
    assert model.inertia_ == pytest.approx(plain.inertia_, rel=1e-12)
    np.testing.assert_array_equal(model.predict(theirs), plain.labels_)
    np.testing.assert_allclose(model.transform(theirs), plain.transform(X), rtol=1e-9, atol=1e-9)
    assert model.score(theirs) == pytest.approx(plain.score(X), rel=1e-12)
    if kind.startswith(("Polars", "Arrow", "pandas", "Dask frame")):
        assert model.feature_names_in_.tolist() == NAMES


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_not_copied_and_keep_their_precision(dtype, order, monkeypatch):
    held = []
    before = ArrayRows.__init__

    def watched(self, X, *rest, **options):
        before(self, X, *rest, **options)
        held.append(self.matrix)

    monkeypatch.setattr(ArrayRows, "__init__", watched)
    X = np.asarray(some(dtype=dtype), order=order)
    model = KMeans(3, random_state=0).fit(X)
    assert np.shares_memory(held[0], X)
    assert model.cluster_centers_.dtype == dtype
    assert model.transform(X).dtype == dtype
    assert model.labels_.dtype == np.int32


def test_a_file_on_disk_is_read_in_place(tmp_path):
    X = some(dtype=np.float32)
    np.save(tmp_path / "rows.npy", X)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        KMeans(3, random_state=0).fit(mapped).labels_, KMeans(3, random_state=0).fit(X).labels_
    )


def test_dask_blocks_are_computed_one_at_a_time_and_once():
    array = pytest.importorskip("dask.array")
    computed = []

    def note(block, block_info=None):
        computed.append(block_info[0]["chunk-location"][0])
        return block

    lazy = array.from_array(some(), chunks=(100, 3)).map_blocks(note, dtype=np.float64, meta=np.empty((0, 0)))
    KMeans(3, random_state=0).fit_transform(lazy)
    assert computed == [0, 1, 2, 3]


def test_dask_blocks_of_unknown_length_are_taken():
    array = pytest.importorskip("dask.array")
    X = some()
    lazy = array.from_array(X, chunks=(100, 3))
    kept = KMeans(3, random_state=0).fit(lazy[lazy[:, 0] > 0])
    np.testing.assert_array_equal(kept.labels_, KMeans(3, random_state=0).fit(X[X[:, 0] > 0]).labels_)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_weights_come_in_any_form_and_count(method):
    X, weights = some(n=60), np.random.default_rng(0).integers(0, 3, size=60)
    start = X[:3]
    twice = getattr(KMeans(3, init=start), method)(np.repeat(X, weights, axis=0))
    for theirs in (weights, weights.tolist(), pl.Series(weights), weights.astype(np.float32)):
        model = getattr(KMeans(3, init=start), method)(X, sample_weight=theirs)
        np.testing.assert_allclose(model.cluster_centers_, twice.cluster_centers_, atol=1e-12)
        assert model.inertia_ == pytest.approx(twice.inertia_)


def test_a_sparse_matrix_of_many_features_is_never_dense():
    rng = np.random.default_rng(0)
    rows, columns = np.repeat(np.arange(3000), 10), rng.integers(0, 10_000, size=30_000)
    columns[::2] = columns[::2] % 30 + 100 * (rows[::2] % 3)
    X = csr_array((np.ones(30_000, dtype=np.float32), (rows, columns)), shape=(3000, 10_000))
    model = KMeans(3, n_init=2, random_state=0)
    model.fit(X)
    tracemalloc.start()
    labels = model.fit_predict(X)
    model.transform(X)
    model.partial_fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Dense it would be 120 MB.
    assert peak < 30e6
    assert model.cluster_centers_.dtype == np.float32
    # A third of the rows share 30 features each: the groups are found.
    assert {len(set(labels[group::3])) for group in range(3)} == {1}
    assert len(set(labels)) == 3


def test_ten_thousand_dense_features_agree_with_the_twin():
    X = np.random.default_rng(0).normal(size=(12, 10_000)).astype(np.float32)
    model = KMeans(2, init=X[:2], max_iter=1).fit(X)
    centres = kmeans_twin.lloyd(X, X[:2], 1)
    np.testing.assert_allclose(model.cluster_centers_, centres, atol=1e-6)
    squared = kmeans_twin.squared_distances(X, centres)
    np.testing.assert_array_equal(model.labels_, squared.argmin(axis=1))
    assert model.inertia_ == pytest.approx(squared.min(axis=1).sum(), rel=1e-5)


@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize("seed", range(4))
def test_few_rows_reach_the_best_partition_there_is(seed, container):
    X = np.where(np.random.default_rng(seed).random((8, 6)) < 0.4, some(seed, n=8, d=6), 0.0)
    for k in (1, 2, 3):
        # Drawn evenly: greedy draws may leave out the one pair of rows that leads there.
        model = KMeans(k, init="random", n_init=100, random_state=0).fit(container(X))
        assert model.inertia_ == pytest.approx(kmeans_twin.best_inertia(X, k), abs=1e-9)


@pytest.mark.parametrize("container", [np.asarray, csr_array])
def test_as_many_clusters_as_rows_and_one_cluster(container):
    X = container([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 9.0, 0.0]])
    each = KMeans(3, random_state=0).fit(X)
    assert sorted(each.labels_.tolist()) == [0, 1, 2]
    assert each.inertia_ == 0.0
    one = KMeans(1, random_state=0).fit(X)
    # Means 4/3 and 3: (16 - 16/3) + (81 - 27).
    assert one.inertia_ == pytest.approx(16 - 16 / 3 + 54)
    assert one.cluster_centers_.tolist() == [[pytest.approx(4 / 3), 3.0, 0.0]]


@pytest.mark.parametrize("container", [np.asarray, csr_array])
def test_equal_rows_are_one_cluster_and_a_warning_for_more(container):
    X = container(np.tile([[3.0, 0.0, 0.0, 0.0]], (20, 1)))
    assert KMeans(1).fit(X).cluster_centers_.tolist() == [[3.0, 0.0, 0.0, 0.0]]
    with pytest.warns(UserWarning, match=r"distinct clusters \(1\)"):
        model = KMeans(4, random_state=0).fit(X)
    assert model.labels_.tolist() == [0] * 20
    assert model.inertia_ == 0.0


@pytest.mark.parametrize(
    ("X", "told"),
    [
        ([1.0, 2.0, 3.0], "Reshape your data"),
        (np.empty((0, 3)), "0 sample"),
        (np.empty((3, 0)), "0 feature"),
        (csr_array((0, 3)), "0 sample"),
        (np.zeros((2, 2, 2)), "dim"),
        (np.ones((3, 2)) * 1j, "Complex data not supported"),
        (np.array([["1", "2"], ["3", "old"], ["4", "new"]], dtype=object), r"text in column 1 \('old'\)"),
        (pl.DataFrame({"a": [1, 2], "note": ["x", "y"], "day": ["1", "2"]}), r"note \(String\), day \(String\)"),
        (pl.LazyFrame({"a": [1.0]}), r"collect\(\) first"),
        (pl.DataFrame({"a": [1, None, 3], "b": [1.0, 2.0, 3.0]}), r"NaN or infinity in a \(1\) of 3 rows"),
        (pl.DataFrame({"a": [Decimal("1.5"), None]}).to_arrow(), r"a \(1\) of 2 rows"),
        (csr_array([[0.0, np.nan], [np.inf, 0.0]]), r"column 0 \(1\), column 1 \(1\) of 2 rows"),
    ],
)
def test_what_is_no_table_of_finite_numbers_is_refused(X, told):
    for method in ("fit", "partial_fit", "fit_transform"):
        with pytest.raises(DataError, match=told):
            getattr(KMeans(1), method)(X)


@pytest.mark.parametrize(
    ("X", "told"),
    [
        ("rows.npy", r"got the text 'rows.npy'.*\.FileRows\.npy\('rows.npy'\)"),
        (Path("folder", "rows.parquet"), r"FileRows\.parquet\('folder/rows.parquet'\)"),
        (np.array("rows.npy"), r"rows by columns; got text \('rows.npy'\)"),
        (["a", "b"], r"rows by columns; got text \('a'\)"),
        (np.array([["2024-01-01"], ["2024-02-01"]], dtype="datetime64[D]"), r"dates or durations in all columns"),
        (np.array([[1], [2]], dtype="timedelta64[s]"), r"durations in all columns \(timedelta64\[s\]\)"),
    ],
)
def test_what_is_no_table_at_all_is_told_with_the_next_step(X, told):
    with pytest.raises(DataError, match=f"X: expected .*{told}"):
        KMeans(1).fit(X)
    with pytest.raises(DataError, match=f"X: expected .*{told}"):
        KMeans(1).fit([[1.0], [2.0]]).predict(X)


@pytest.mark.parametrize("alone", [False, True])
def test_dates_in_a_pandas_frame_are_told_by_column(alone):
    pandas = pytest.importorskip("pandas")
    days = pandas.to_datetime(["2024-01-01", "2024-02-01"])
    dates = {"first_sale": days, "there": days.tz_localize("UTC"), "month": days.to_period("M"), "gap": days - days[0]}
    frame = pandas.DataFrame(dates if alone else {"monetary": [1.0, 2.0], **dates})
    told = r"in first_sale \(datetime64.*\), there \(.*UTC\]\), month \(period\[M\]\), gap \(timedelta64.*\)\. Drop"
    with pytest.raises(DataError, match=told):
        KMeans(1).fit(frame)
    lazy = pytest.importorskip("dask.dataframe").from_pandas(frame[["first_sale"]], npartitions=1)
    with pytest.raises(DataError, match="dates or durations in first_sale"):
        KMeans(1).fit(lazy)


def test_a_dask_value_that_may_be_anything_is_refused():
    delayed = pytest.importorskip("dask").delayed(some())
    for lazy in (delayed, delayed.T):
        with pytest.raises(DataError, match=r"got a Dask Delayed.*compute\(\) first"):
            KMeans(2).fit(lazy)


def test_text_in_a_pandas_frame_is_told_by_column():
    frame = pytest.importorskip("pandas").DataFrame({"monetary": [1.0, 2.0], "city": ["Quito", "Lima"]})
    with pytest.raises(DataError, match=r"text in city \('Quito'\). Drop"):
        KMeans(1).fit(frame)


@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ([1, -1, 1, 1], "[Nn]egative"),
        ([0, 0, 0, 0], "zero"),
        ([1, 1], "sample_weight"),
        ([1, np.nan, 1, 1], "NaN"),
        ([[1], [1], [1], [1]], "1D"),
        ("a", "sample_weight: .* 4 rows.* 'a'"),
        (["1", "x", "1", "1"], "sample_weight: .* 'x'"),
        ([1, object(), 1, 1], "sample_weight: .*float"),
        ([1e306, 1e306, 1, 1], r"sample_weight: .*sum to 2e\+306.* Divide all weights by the largest"),
        ([1.7e308] * 4, "sample_weight: .*sum to inf"),
    ],
)
def test_impossible_weights_are_refused(weights, told, container):
    X = container([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    for method in ("fit", "partial_fit"):
        with pytest.raises(DataError, match=told):
            getattr(KMeans(2), method)(X, sample_weight=weights)


@pytest.mark.parametrize("factor", [1e-140, 1e-9, 1e140])
def test_only_the_proportions_of_the_weights_matter(factor):
    X, weights = some(n=60), np.random.default_rng(0).random(60)
    plain, scaled = (KMeans(3, init=X[:3]).fit(X, sample_weight=one) for one in (weights, weights * factor))
    np.testing.assert_allclose(scaled.cluster_centers_, plain.cluster_centers_, rtol=1e-12)
    assert scaled.inertia_ == pytest.approx(plain.inertia_ * factor, rel=1e-9)


@pytest.mark.parametrize(("dtype", "tiny"), [(np.float32, 1e-30), (np.float64, 1e-170)])
def test_differences_too_small_to_be_squared_are_not_called_duplicates(dtype, tiny):
    X = np.array([[0.0], [1.0], [2.0]], dtype=dtype)
    told = (
        rf"clusters \(1\).* More rows differ, .* its square is 0 in {np.dtype(dtype)}\. 1 cluster is empty; scale X up"
    )
    with pytest.warns(ConvergenceWarning, match=told):
        KMeans(2, random_state=0).fit(X * dtype(tiny))
    KMeans(2, random_state=0).fit(X)


def test_other_columns_than_at_fit_are_refused():
    model = KMeans(2, random_state=0).fit(pl.DataFrame(some(), schema=NAMES))
    with pytest.raises(DataError, match="feature names should match"):
        model.predict(pl.DataFrame(some(), schema=["recency_days", "monetary", "frequency"]))
    model = KMeans(2, random_state=0).fit(some())
    with pytest.raises(DataError, match="2 features, but KMeans is expecting 3"):
        model.predict(some()[:, :2])
    with pytest.raises(DataError, match="2 features, but KMeans is expecting 3"):
        model.partial_fit(some()[:, :2])


def test_the_sample_solver_refuses_sparse_rows():
    X = csr_array(np.eye(50))
    with pytest.raises(SettingError, match="'sample' is for dense rows"):
        KMeans(2, solver="sample").fit(X)


def test_given_starts_may_be_sparse_or_drawn_from_sparse_rows():
    X = np.where(np.random.default_rng(0).random((60, 8)) < 0.3, 1.0, 0.0)
    plain = KMeans(3, init=X[:3]).fit(X)
    for init in (csr_array(X[:3]), lambda rows, k, random_state: rows[:k]):
        model = KMeans(3, init=init, n_init=1).fit(csr_array(X))
        np.testing.assert_allclose(model.cluster_centers_, plain.cluster_centers_, atol=1e-12)
