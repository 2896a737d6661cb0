"""Many models measured in shared reads have the figures that each has by itself."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from engine.clustering.figures import measure
from engine.clustering.indices import davies_bouldin
from engine.clustering.quality import inertia, silhouette
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_blocks import BlockRows, HeldRows, array_blocks
from engine.clustering.rows_file import FileRows
from engine.errors import DataError
from tests.reference import indices_twin, silhouette_twin

WIDTHS = [*range(1, 18), 33]
EDGES = [2, 3, 255, 256, 257, 300, 8191, 8192, 8193, 20_000]


def make_rows(seed, n=600, d=3, dtype=np.float32, blobs=5, apart=2.0):
    rng = np.random.default_rng(seed)
    return (apart * rng.normal(size=(blobs, d))[rng.integers(blobs, size=n)] + rng.normal(size=(n, d))).astype(dtype)


def some_models(X, seed, ks=(1, 2, 3, 7)):
    """Centroids that are rows, a step from the means of their rows: as they come before the last move."""
    rng = np.random.default_rng(seed)
    return [X[rng.choice(len(X), k, replace=False)].astype(np.float64) + 0.01 for k in ks]


def labels_of(rows, model):
    labels, distances = np.empty(rows.n, np.int32), np.empty(rows.n, rows.take(np.arange(1)).dtype)
    rows.assign(model, labels, distances)
    return labels, distances


def assert_as_one_by_one(rows, models, rtol=None):
    """The functions that measure one model of one matrix in float64 say the same."""
    X = np.ascontiguousarray(rows.take(np.arange(rows.n)))
    rtol = (1e-6 if X.dtype == np.float32 else 1e-12) if rtol is None else rtol
    for model, found in zip(models, measure(rows, models), strict=True):
        labels, distances = labels_of(rows, model)
        assert found.sizes.dtype == np.int64
        assert found.sizes.tolist() == np.bincount(labels, minlength=len(model)).tolist()
        # The kernel sees the centroids in the rows' precision.
        assert found.inertia == pytest.approx(inertia(X, model.astype(X.dtype)), rel=rtol, abs=1e-300)
        wanted = silhouette(X, labels)
        # Near 0 the mean is what large terms of both signs leave over.
        assert found.silhouette == (None if wanted is None else pytest.approx(wanted, rel=rtol, abs=rtol / 5))
        wanted = davies_bouldin(model, labels, distances)
        assert found.davies_bouldin == (None if wanted is None else pytest.approx(wanted, rel=1e-12))


def same_bits(one, other):
    return all(
        a.sizes.tobytes() == b.sizes.tobytes()
        and (a.inertia, a.silhouette, a.davies_bouldin) == (b.inertia, b.silhouette, b.davies_bouldin)
        for a, b in zip(one, other, strict=True)
    )


def assert_close(one, other, rel):
    for a, b in zip(one, other, strict=True):
        assert a.sizes.tolist() == b.sizes.tolist()
        for name in ("inertia", "silhouette", "davies_bouldin"):
            wanted = getattr(b, name)
            assert getattr(a, name) == (None if wanted is None else pytest.approx(wanted, rel=rel)), name


def test_figures_of_a_case_worked_by_hand():
    # Clusters {0, 2}, {10}, {}: means 1 and 10, mean squares 1 and 0. Row 0: a = 4, b = 100. Row 2: a = 4, b = 64.
    # Row 10 is alone and counts 0. Mean distances 1 and 0, centroids 9 apart: both clusters have the ratio 1 / 9.
    (found,) = measure(ArrayRows([[0.0], [2.0], [10.0]]), [np.array([[1.0], [10.0], [99.0]])])
    assert found.sizes.tolist() == [2, 1, 0]
    assert found.inertia == 2.0
    assert found.silhouette == pytest.approx((96 / 100 + 60 / 64) / 3, rel=1e-15)
    assert found.davies_bouldin == pytest.approx(1 / 9, rel=1e-15)


@pytest.mark.parametrize("seed", range(6))
def test_the_definitions_read_row_by_row_and_pair_by_pair_give_the_same(seed):
    X = make_rows(seed, n=60, d=1 + seed % 3)
    rows = ArrayRows(X)
    for k in (2, 3, 5):
        (start,) = some_models(X, seed, [k])
        (stats,) = rows.step([start])
        model = stats.sums / stats.counts[:, None]
        labels, _ = labels_of(rows, model)
        (found,) = measure(rows, [model])
        assert found.silhouette == pytest.approx(silhouette_twin.silhouette_all_pairs(X, labels), rel=1e-6)
        # That twin takes the means of the labels as centroids.
        own = np.array([X[labels == j].mean(axis=0, dtype=np.float64) for j in range(k)])
        if (labels_of(rows, own)[0] == labels).all():
            wanted = indices_twin.davies_bouldin_by_pairs(X, labels)
            assert measure(rows, [own])[0].davies_bouldin == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", WIDTHS)
def test_figures_are_those_of_each_model_at_every_width(d, dtype, order):
    X = np.asarray(make_rows(d, d=d, dtype=dtype), order=order)
    assert_as_one_by_one(ArrayRows(X), some_models(X, d))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n", EDGES)
def test_every_row_counts_once_at_the_edges_of_tiles_and_chunks(n, order):
    X = np.asarray(make_rows(n, n=n, d=2), order=order)
    assert_as_one_by_one(ArrayRows(X), some_models(X, n, [min(n, k) for k in (2, 5)]))


@pytest.mark.parametrize("seed", range(8))
def test_figures_are_those_of_each_model_over_many_seeds(seed):
    rng = np.random.default_rng(seed)
    X = make_rows(seed, n=int(rng.integers(20, 3_000)), d=int(rng.integers(1, 10)), apart=float(rng.uniform(0, 8)))
    models = some_models(X, seed, [2, 4, 11, 19])
    assert_as_one_by_one(ArrayRows(X), models)
    # Means of their rows, as Lloyd's algorithm leaves them.
    stats = ArrayRows(X).step(models)
    assert_as_one_by_one(ArrayRows(X), [found.sums / np.maximum(found.counts, 1)[:, None] for found in stats])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clusters_of_one_row_and_of_none_and_centroids_that_are_equal(dtype):
    X = np.concatenate([make_rows(1, n=300, d=2, dtype=dtype), np.array([[50, 50], [-70, 9]], dtype)])
    inside = X[:3].astype(np.float64)
    models = [
        np.concatenate([inside, X[300:].astype(np.float64)]),  # two rows alone
        np.concatenate([inside[:1], [[500.0, 500.0]], inside[1:]]),  # nobody near the second
        np.concatenate([inside, inside]),  # the lower number gets all
        X[300:].astype(np.float64),  # one row against all others
        np.array([[1e3, 1e3], [0.0, 0.0], [2e3, 0.0]]),  # one cluster has all rows
    ]
    found = measure(ArrayRows(X), models)
    assert found[0].sizes[3:].tolist() == [1, 1]
    assert found[1].sizes[1] == 0
    assert found[2].sizes[3:].tolist() == [0, 0, 0]
    assert found[4].silhouette is None
    assert found[4].davies_bouldin is None
    assert_as_one_by_one(ArrayRows(X), models)


def test_every_row_alone():
    X = make_rows(0, n=40)
    (found,) = measure(ArrayRows(X), [X.astype(np.float64)])
    assert (found.inertia, found.silhouette, found.davies_bouldin) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_are_all_equal_have_no_second_cluster(dtype):
    X = np.full((300, 3), 0.1, dtype)
    for model in (X[:2].astype(np.float64), np.array([[0.0] * 3, [1.0] * 3])):
        (found,) = measure(ArrayRows(X), [model])
        assert found.sizes.tolist() == [300, 0]
        assert (found.silhouette, found.davies_bouldin) == (None, None)
    assert_as_one_by_one(ArrayRows(X), [np.array([[0.0] * 3, [1.0] * 3])])


def test_copies_of_a_few_rows_are_clusters_without_width():
    X = 3 * np.eye(4, 3, dtype=np.float32) + np.float32(0.1)
    copies = ArrayRows(X[np.random.default_rng(1).integers(4, size=900)])
    # Whether the centroids lie on the rows or only near them, no row differs from its cluster.
    for model in (X.astype(np.float64), X - 0.3):
        (found,) = measure(copies, [model])
        assert found.silhouette == pytest.approx(1.0, abs=1e-12)
    assert_as_one_by_one(copies, [X.astype(np.float64)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("off", [0.3, 3.0, 300.0])
def test_spreads_are_exact_where_the_centroids_lie_far_from_the_means(off, dtype):
    # Pairs of clusters 0.02 wide, as far from each other as they are wide: the squared distances to the centroids are
    # up to a hundred million times as large as what the silhouette depends on.
    rng = np.random.default_rng(3)
    centres = np.array([[-0.015, 0.0], [0.015, 0.0]])
    X = (centres[rng.integers(2, size=2_000)] + 0.01 * rng.normal(size=(2_000, 2))).astype(dtype)
    model = np.array([[-off, off], [off, off]])
    rows = ArrayRows(X)
    labels, _ = labels_of(rows, model)
    assert set(labels.tolist()) == {0, 1}
    usual = measure(rows, [X[:3].astype(np.float64)])
    found = measure(rows, [X[:3].astype(np.float64), model])
    assert found[1].silhouette == pytest.approx(silhouette(X, labels), rel=1e-6 if dtype == np.float32 else 1e-9)
    # The other model of the read is not touched by it.
    assert same_bits(found[:1], usual)


@pytest.mark.parametrize("shift", [100.0, 10_000.0])
def test_rows_far_from_zero_keep_the_digits_of_their_silhouettes(shift):
    X = make_rows(5, n=2_000, d=4) + np.float32(shift)
    rows = ArrayRows(X)
    stats = rows.step(some_models(X, 5, [2, 5]))
    for model in [found.sums / found.counts[:, None] for found in stats]:
        labels, _ = labels_of(rows, model)
        assert measure(rows, [model])[0].silhouette == pytest.approx(silhouette(X, labels), rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_narrow_clusters_far_from_each_other_keep_the_digits_of_their_silhouettes(seed):
    # Around 300, float32 has steps of 0.00003; a mean rounded to them would be off by so much for all its rows.
    rng = np.random.default_rng(seed)
    X = (np.array([-300.0, 50.0, 300.0])[rng.integers(3, size=900)] + 0.01 * rng.normal(size=900)).astype(np.float32)
    rows = ArrayRows(X[:, None])
    (stats,) = rows.step(some_models(X[:, None], seed, [9]))
    model = stats.sums / stats.counts[:, None]
    labels, _ = labels_of(rows, model)
    assert measure(rows, [model])[0].silhouette == pytest.approx(silhouette(X[:, None], labels), rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_neither_the_order_of_centroids_nor_company_matters(seed):
    X = make_rows(seed, n=9_000)
    rows, models = ArrayRows(X), some_models(X, seed, [6, 1, 3])
    together = measure(rows, models)
    assert same_bits(together, [measure(rows, [model])[0] for model in models])
    order = np.random.default_rng(seed).permutation(6)
    (turned,) = measure(rows, [models[0][order]])
    assert turned.sizes.tolist() == together[0].sizes[order].tolist()
    assert (turned.inertia, turned.silhouette) == pytest.approx((together[0].inertia, together[0].silhouette), rel=1e-7)
    assert turned.davies_bouldin == pytest.approx(together[0].davies_bouldin, rel=1e-12)


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_number_of_threads_and_the_turns_that_bound_memory_change_no_bit(order, monkeypatch):
    X = np.asarray(make_rows(2, n=100_001), order=order)
    models = some_models(X, 2, [2, 5, 9])
    one = measure(ArrayRows(X, threads=1), models)
    assert same_bits(one, measure(ArrayRows(X, threads=2), models))
    assert same_bits(one, measure(ArrayRows(X), models))
    monkeypatch.setattr("engine.clustering.figures.PARTS_BYTES", 1)
    assert same_bits(one, measure(ArrayRows(X), models))


class SentHeld:
    """Blocks of which questions and answers travel, and arrive where nothing may be written to, as with workers."""

    def __init__(self, parts):
        self.parts = parts

    def each(self, function, *args, own=None):
        assert own is None
        return [pickle.loads(pickle.dumps(function))(part, *map(self.sent, args)) for part in self.parts]

    def sent(self, value):
        buffers = []
        data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        return pickle.loads(data, buffers=[bytes(buffer) for buffer in buffers])


@pytest.mark.parametrize("edges", [[0, 3_000], [0, 1, 3_000], [0, 700, 956, 3_000]])
def test_blocks_in_memory_in_files_or_elsewhere_are_all_rows(edges, tmp_path):
    X = make_rows(4, n=3_000)
    # The last model has its centroids far from its rows.
    models = [*some_models(X, 4), np.array([[40.0, 0.0, 0.0], [0.0, 40.0, 0.0]])]
    blocks = BlockRows(X, edges)
    found = measure(blocks, models)
    assert_close(found, measure(ArrayRows(X), models), rel=1e-7)
    assert_as_one_by_one(blocks, models[:-1])
    assert same_bits(found, measure(BlockRows(X, edges, threads=1), models))
    sent = HeldRows(SentHeld(array_blocks(X, edges, None)), edges, 3, X.dtype)
    assert same_bits(found, measure(sent, models))
    np.save(tmp_path / "rows.npy", X)
    with FileRows.npy(tmp_path / "rows.npy", block_rows=1_100) as file:
        equal = BlockRows(X, file.edges)
        assert same_bits(measure(file, models), measure(equal, models))


def test_rows_are_read_twice_for_any_number_of_models():
    X = make_rows(6)
    reads = []

    class Counted(SentHeld):
        def each(self, function, *args, own=None):
            reads.append(function.__name__)
            return super().each(function, *args, own=own)

    rows = HeldRows(Counted(array_blocks(X, [0, 600], None)), [0, 600], 3, X.dtype)
    models = some_models(X, 6, [1])
    means = [found.sums / found.counts[:, None] for found in rows.step(some_models(X, 6, [1, 2, 3, 5]))]
    reads.clear()
    measure(rows, means)
    assert len(reads) == 2
    assert measure(rows, []) == []
    assert len(reads) == 2
    # A third one where the first cannot tell how wide the clusters are.
    measure(rows, [*models, np.full((1, 3), 100.0)])
    assert len(reads) == 5


def test_rows_that_do_not_count_once_each_and_sparse_rows_are_refused():
    from scipy.sparse import csr_array

    from engine.clustering.rows_sparse import SparseRows

    X = make_rows(0, n=20)
    with pytest.raises(DataError, match=r"count once each; got weights"):
        measure(ArrayRows(X, weights=np.ones(20)), [X[:2].astype(np.float64)])
    with pytest.raises(DataError, match=r"dense rows.*got SparseRows"):
        measure(SparseRows(csr_array(X)), [X[:2].astype(np.float64)])


def test_models_of_another_shape_and_distances_that_overflow_are_refused():
    X = make_rows(0, n=20)
    with pytest.raises(DataError, match=r"expected shape \(k, 3\)"):
        measure(ArrayRows(X), [X[:2].astype(np.float64), np.zeros((2, 4))])
    with pytest.raises(DataError):
        measure(ArrayRows(X * np.float32(1e30)), [np.zeros((1, 3))])
