"""Rows that break k-means elsewhere: refused with a reason, or solved as exactly as any other."""

from __future__ import annotations

import mmap
import sys
import warnings

import numpy as np
import pytest

from engine.clustering import KMeans
from engine.clustering.backends import cluster, cluster_rows, hold_rows
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_blocks import BlockRows, block_edges
from engine.clustering.solve import solve
from engine.errors import DataError
from tests.reference import kmeans_twin


def groups(seed=0, n=300, d=3, k=4, dtype=np.float64):
    """Whole numbers, so that every precision holds them and no sum is rounded."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-3, 4, size=(n, d)) + 20 * rng.integers(0, k, size=(n, 1))).astype(dtype)


def by_the_twin(X, centroids, weights=None):
    labels, _, _, _, sse = kmeans_twin.read(X, centroids, weights)
    return labels, sse.sum()


def assert_fixed_point(X, centroids, labels, weights=None, rtol=1e-6):
    """Each centroid is the mean of its rows, in exact arithmetic of float64."""
    w = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=np.float64)
    for number, centre in enumerate(centroids):
        own = labels == number
        np.testing.assert_allclose(centre, w[own] @ np.asarray(X, dtype=np.float64)[own] / w[own].sum(), rtol=rtol)


BAD = {"NaN": np.nan, "infinity": np.inf, "minus infinity": -np.inf}


@pytest.mark.parametrize("many", [False, True], ids=["few", "many"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("bad", BAD)
def test_values_that_are_not_finite_are_named_and_counted(bad, order, many, monkeypatch):
    if many:
        # Many values are not looked through when they come, but when they are read.
        monkeypatch.setattr("engine.clustering.rows_array.CHECKED_AT_ONCE", 0)
    for n, places in ((30, [0, 29]), (9_000, [0, 255, 256, 8_191, 8_192, 8_999])):
        X = groups(n=n, dtype=np.float32)
        X[places, 1] = BAD[bad]
        X[places[-1], 2] = BAD[bad]
        told = rf"NaN or infinity in column 1 \({len(places)}\), column 2 \(1\) of {n} rows. Fill or drop"
        given = np.asarray(X, order=order)
        with pytest.raises(DataError, match=told):
            KMeans(3, random_state=0).fit(given)
        with pytest.raises(DataError, match=told):
            solve(ArrayRows(given), 3)
        with pytest.raises(DataError, match=rf"column 1 has {len(places)}, column 2 has 1 that are NaN or infinite"):
            cluster(given, 3)


@pytest.mark.parametrize("bad", BAD)
def test_every_way_to_read_many_rows_meets_the_one_that_is_not_finite(bad, monkeypatch):
    monkeypatch.setattr("engine.clustering.rows_array.CHECKED_AT_ONCE", 0)
    C = groups(n=5).astype(np.float64)
    for row in (0, 300, 9_999):
        X = groups(n=10_000, dtype=np.float32)
        X[row, 2] = BAD[bad]
        weights = np.ones(10_000)
        # A row that does not count is refused all the same.
        weights[row] = 0.0
        for own in (None, weights):
            rows = ArrayRows(X, own)
            for read in (
                lambda rows=rows: rows.step([C]),
                lambda rows=rows: rows.assign(C, np.empty(10_000, np.int32)),
                lambda rows=rows: rows.draw(C, 0.1, 0.1, 0),
                lambda rows=rows, row=row: rows.take(np.array([row])),
            ):
                with pytest.raises(DataError, match=r"column 2 \(1\) of 10000 rows"):
                    read()


def test_names_of_columns_are_told():
    pl = pytest.importorskip("polars")
    with pytest.raises(DataError, match=r"monetary \(2\)"):
        KMeans(2).fit(pl.DataFrame({"frequency": [1.0, 2.0, 3.0], "monetary": [np.nan, None, 1.0]}))


def every_second(X):
    wide = np.full((2 * len(X), 2 * X.shape[1]), np.nan, X.dtype)
    wide[::2, ::2] = X
    return wide[::2, ::2]


def sealed(X):
    X = X.copy()
    X.setflags(write=False)
    return X


FORMS = {
    "float16": lambda X: X.astype(np.float16),
    "int8": lambda X: X.astype(np.int8),
    "uint16": lambda X: (X + 3).astype(np.uint16) - np.uint16(3) if (X >= 0).all() else X.astype(np.int16),
    "int64": lambda X: X.astype(np.int64),
    "big-endian": lambda X: X.astype(">f4"),
    "float32": lambda X: X.astype(np.float32),
    "Fortran order": lambda X: np.asfortranarray(X, dtype=np.float32),
    "strided": lambda X: every_second(X.astype(np.float32)),
    "backwards": lambda X: X.astype(np.float32)[::-1].copy()[::-1],
    "read-only": lambda X: sealed(X.astype(np.float32)),
    "read-only columns": lambda X: sealed(np.asfortranarray(X, dtype=np.float32)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_numbers_is_solved_alike_and_left_alone(form):
    X = groups()
    given = FORMS[form](X)
    before = given.tobytes()
    model = KMeans(4, random_state=0).fit(given)
    found = cluster(given, 4)
    assert given.tobytes() == before
    for centroids, labels, inertia in (
        (model.cluster_centers_, model.labels_, model.inertia_),
        (found.centroids, found.labels, found.inertia),
    ):
        expected_labels, expected = by_the_twin(X, centroids)
        np.testing.assert_array_equal(labels, expected_labels)
        assert inertia == pytest.approx(expected, rel=1e-5)
        assert_fixed_point(X, centroids, labels)
    assert found.inertia == pytest.approx(model.inertia_, rel=1e-5)
    plain = KMeans(4, random_state=0).fit(X)
    # The same groups, in whatever order.
    assert len({*zip(model.labels_.tolist(), plain.labels_.tolist(), strict=True)}) == 4


@pytest.mark.parametrize("n", [1, 2, 700, 30_000, 110_000])
def test_equal_rows_are_one_cluster(n):
    X = np.full((n, 3), 7.25, np.float32)
    found = cluster(X, 1)
    assert (found.centroids.tolist(), found.inertia, found.sizes.tolist()) == ([[7.25] * 3], 0.0, [n])
    if n > 1:
        with pytest.raises(DataError, match=f"all {n} customers are equal in every feature"):
            cluster(X, 2)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            model = KMeans(2, random_state=0).fit(X)
        assert ["distinct clusters (1)" in str(warning.message) for warning in told] == [True]
        assert (model.inertia_, model.labels_.max()) == (0.0, 0)


@pytest.mark.parametrize("n", [1, 17, 300])
def test_one_cluster_is_the_mean_and_n_clusters_are_the_rows(n):
    X = np.random.default_rng(n).normal(size=(n, 2)).astype(np.float32)
    model, found = KMeans(1, random_state=0).fit(X), cluster(X, 1)
    for centre, inertia in ((model.cluster_centers_, model.inertia_), (found.centroids, found.inertia)):
        np.testing.assert_allclose(centre, X.astype(np.float64).mean(axis=0, keepdims=True), rtol=1e-5, atol=1e-7)
        assert inertia == pytest.approx(((X.astype(np.float64) - X.mean(axis=0)) ** 2).sum(), rel=1e-5, abs=1e-12)
    model, found = KMeans(n, random_state=0).fit(X), cluster(X, n)
    for centres, labels, inertia in (
        (model.cluster_centers_, model.labels_, model.inertia_),
        (found.centroids, found.labels, found.inertia),
    ):
        assert inertia == 0.0
        assert sorted(labels.tolist()) == list(range(n))
        np.testing.assert_array_equal(np.asarray(centres)[labels], X)
    for refused in (lambda: KMeans(n + 1).fit(X), lambda: cluster(X, n + 1)):
        with pytest.raises(DataError):
            refused()


def test_weights_of_zero_are_no_rows_and_negative_ones_are_refused():
    X = groups(n=240)
    weights = np.random.default_rng(1).integers(0, 3, size=240).astype(float)
    X[weights == 0] += 500.0
    model = KMeans(4, random_state=0).fit(X, sample_weight=weights)
    labels, expected = by_the_twin(X, model.cluster_centers_, weights)
    np.testing.assert_array_equal(model.labels_, labels)
    assert model.inertia_ == pytest.approx(expected, rel=1e-9)
    assert model.cluster_centers_.max() < 100
    assert_fixed_point(X, model.cluster_centers_, labels, weights)
    sealed_weights = sealed(weights)
    again = KMeans(4, random_state=0).fit(X, sample_weight=sealed_weights)
    np.testing.assert_array_equal(again.cluster_centers_, model.cluster_centers_)
    for wrong in (-1.0, np.nan, np.inf):
        with pytest.raises(DataError):
            KMeans(4).fit(X, sample_weight=np.where(np.arange(240) == 7, wrong, weights))
    with pytest.raises(DataError, match="at least one non-zero"):
        KMeans(4).fit(X, sample_weight=np.zeros(240))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [900, 120_000])
def test_rows_near_a_billion_keep_their_small_distances(n, dtype):
    # Near 10⁹ float32 has steps of 64, float64 of 10⁻⁷: groups 20 steps apart, ten rows to a step.
    step = 64.0 if dtype == np.float32 else 1.0
    near_zero = groups(n=n, d=2) * step
    X = (near_zero + 1e9 // step * step).astype(dtype)
    assert (X.astype(np.float64) - 1e9 // step * step == near_zero).all()
    model = KMeans(4, random_state=0).fit(X)
    labels, expected = by_the_twin(near_zero, KMeans(4, random_state=0).fit(near_zero).cluster_centers_)
    # The same partition as of the rows near zero, and its sum of squares up to the centres' own steps.
    pairs = {(int(a), int(b)) for a, b in zip(model.labels_, labels, strict=True)}
    assert len(pairs) == 4
    assert model.inertia_ == pytest.approx(expected, rel=0.1 if dtype == np.float32 else 1e-9)


@pytest.mark.parametrize("d", [1_000, 10_000])
def test_ten_thousand_features(d):
    X = groups(n=60, d=d, k=3, dtype=np.float32)
    X[:, : d // 2] = 0.0
    found, model = cluster(X, 3), KMeans(3, random_state=0).fit(X)
    for centroids, labels, inertia in (
        (found.centroids, found.labels, found.inertia),
        (model.cluster_centers_, model.labels_, model.inertia_),
    ):
        expected_labels, expected = by_the_twin(X, centroids)
        np.testing.assert_array_equal(labels, expected_labels)
        assert inertia == pytest.approx(expected, rel=1e-5)
        assert len(set(labels.tolist())) == 3
    rows = ArrayRows(np.asfortranarray(X))
    assert rows.step([found.centroids])[0].sums.tobytes() == ArrayRows(X).step([found.centroids])[0].sums.tobytes()


@pytest.mark.parametrize("bucket_rows", [[0, 300], [300, 0], [0, 0, 150, 0, 150, 0], [100, 0, 200]])
def test_a_bucket_without_rows_changes_nothing(bucket_rows, monkeypatch):
    monkeypatch.setattr("engine.clustering.rows_blocks.BLOCK_ROWS", 50)
    X = groups(dtype=np.float32)
    assert all(size > 0 for size in np.diff(block_edges(bucket_rows)))
    found = cluster_rows(hold_rows(X, bucket_rows), 4, backend="native")
    assert found.centroids.tobytes() == cluster(X, 4).centroids.tobytes()
    with pytest.raises(DataError, match="hold the 300 rows"):
        BlockRows(X, [0, 100, 100, 300])


def test_a_dask_partition_without_rows_changes_nothing():
    array = pytest.importorskip("dask.array")
    X = groups()
    lazy = array.concatenate([array.from_array(X[:100]), array.zeros((0, 3)), array.from_array(X[100:])])
    model = KMeans(4, random_state=0).fit(lazy)
    np.testing.assert_array_equal(model.cluster_centers_, KMeans(4, random_state=0).fit(X).cluster_centers_)
    frames = pytest.importorskip("dask.dataframe")
    pd = pytest.importorskip("pandas")
    frame = frames.from_pandas(pd.DataFrame(X, columns=list("abc")), npartitions=3)
    empty = frame[frame["a"] > 1e6]
    np.testing.assert_array_equal(
        KMeans(4, random_state=0).fit(frames.concat([empty, frame, empty])).cluster_centers_, model.cluster_centers_
    )


def sparse_zeros(n, d, order):
    """Zeros that take no memory until they are written to."""
    # On Linux also none that is only set aside.
    unreserved = 0x4000 if sys.platform == "linux" else 0
    memory = mmap.mmap(-1, n * d * 4, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | unreserved)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    flat = np.frombuffer(memory, dtype=np.float32)
    return flat.reshape(n, d) if order == "C" else flat.reshape(d, n).T


@pytest.mark.skipif(not hasattr(mmap, "MAP_PRIVATE"), reason="memory is mapped in another way there")
@pytest.mark.parametrize("order", ["C", "F"])
def test_places_beyond_two_to_the_31st_are_counted_right(order):
    n, d = 2**31 // 64 + 5_000, 65
    X = sparse_zeros(n, d, order)
    last = [n - 8_000, n - 1]
    X[last] = [3.0] * d, [5.0] * d
    assert X.size > 2**31
    rows = ArrayRows(X, check_now=False)
    C = np.array([[0.0] * d, [4.0] * d])
    (stats,) = rows.step([C])
    assert stats.counts.tolist() == [n - 2, 2]
    assert stats.sums.tolist() == [[0.0] * d, [8.0] * d]
    assert stats.inertia == 2 * d
    assert rows.farthest(C).tolist() == [0, n - 8_000]
    drawn = rows.draw(C[:1], 0.0, 1.0, 0)
    assert (drawn.index.tolist(), drawn.squared.tolist()) == (last, [9.0 * d, 25.0 * d])
    assert rows.take(np.array(last))[:, -1].tolist() == [3.0, 5.0]
