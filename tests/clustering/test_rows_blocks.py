"""Rows in blocks say what a plain matrix says, up to the order in which sums are rounded."""

from __future__ import annotations

import numpy as np
import pytest

from engine.clustering import rows_blocks, sample_solve
from engine.clustering import solve as solving
from engine.clustering.backends import cluster, cluster_rows, hold_rows
from engine.clustering.lloyd import lloyd
from engine.clustering.plan import Plan
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_blocks import BlockRows, block_edges
from engine.clustering.solve import solve
from engine.compute import LocalCompute
from engine.errors import DataError

LAYOUTS = [[0, 300], [0, 1, 300], [0, 299, 300], [0, 70, 71, 150, 300]]


def blobs(seed, n=300, k=5, d=3):
    rng = np.random.default_rng(seed)
    return (6.0 * rng.normal(size=(k, d))[rng.integers(k, size=n)] + rng.normal(size=(n, d))).astype(np.float32)


def same(one, other):
    return all(
        getattr(a, field).tobytes() == getattr(b, field).tobytes()
        for a, b in zip(one, other, strict=True)
        for field in ("counts", "sums", "sse")
    )


@pytest.mark.parametrize(
    ("bucket_rows", "at_least", "expected"),
    [
        ([5, 5, 5], 5, [0, 5, 10, 15]),
        ([5, 5, 5], 6, [0, 15]),  # the rest of five joins the ten before
        ([3, 3, 3, 3], 5, [0, 6, 12]),
        ([4, 4, 1], 4, [0, 4, 9]),
        ([0, 0, 7, 0], 3, [0, 7]),
        ([1, 0, 2], 1, [0, 1, 3]),
        ([2, 1], 100, [0, 3]),
        ([131_071, 1, 131_072, 131_071], None, [0, 131_072, 393_215]),
        ([], 5, [0]),
        ([0, 0], 5, [0]),
    ],
)
def test_blocks_are_runs_of_whole_buckets(bucket_rows, at_least, expected):
    assert block_edges(bucket_rows, at_least) == expected


def test_blocks_are_large_enough_and_part_between_buckets():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        bucket_rows = rng.integers(0, 40, size=rng.integers(1, 30)).tolist()
        edges = block_edges(bucket_rows, 50)
        assert set(edges) <= {0, *np.cumsum(bucket_rows).tolist()}
        assert edges[-1] == sum(bucket_rows)
        assert all(size >= 50 for size in np.diff(edges)) or len(edges) <= 2


@pytest.mark.parametrize("edges", LAYOUTS)
@pytest.mark.parametrize("seed", range(3))
def test_a_read_of_blocks_is_a_read_of_all_rows(edges, seed):
    # Whole numbers are added without rounding, so that the order cannot matter; equal rows make ties.
    X = np.random.default_rng(seed).integers(-4, 5, size=(300, 2)).astype(np.float32)
    models = [np.array([[-2.0, 0.0], [3.0, 1.0], [90.0, 90.0]]), np.array([[0.0, 0.0]])]
    blocks, whole = BlockRows(X, edges), ArrayRows(X)
    assert same(blocks.step(models), whole.step(models))
    assert blocks.farthest(models[0]).tolist() == whole.farthest(models[0]).tolist()
    for even, per_square in ((0.1, 0.02), (0.0, 0.0)):
        one, other = (rows.draw(models[0], even, per_square, seed) for rows in (blocks, whole))
        assert one.index.tolist() == other.index.tolist()
        assert (one.squared.tobytes(), one.inertia) == (other.squared.tobytes(), other.inertia)
    labels, distances = np.empty((2, 300), np.int32), np.empty((2, 300), np.float32)
    for number, rows in enumerate((blocks, whole)):
        assert rows.assign(models[0], labels[number], distances[number]) == rows.assign(models[0], labels[number])
    assert (labels[0] == labels[1]).all()
    assert distances[0].tobytes() == distances[1].tobytes()
    index = np.random.default_rng(seed).integers(0, 300, 40)
    assert blocks.take(index).tobytes() == X[index].tobytes()
    assert blocks.take(np.empty(0, np.int64)).shape == (0, 2)
    assert (blocks.n, blocks.d, blocks.weights, blocks.threads, blocks.dtype) == (300, 2, None, None, np.float32)
    different = blocks.distinct()
    assert different.matrix.tobytes() == whole.distinct().matrix.tobytes()
    assert different.weights.tolist() == whole.distinct().weights.tolist()


def test_blocks_are_views_of_the_matrix():
    X = blobs(0)
    X.flags.writeable = False
    rows = BlockRows(X, [0, 100, 300])
    assert all(np.shares_memory(X, block.matrix) for block in rows._held._parts)
    assert rows.matrix is X


@pytest.mark.parametrize("seed", range(3))
def test_an_empty_cluster_gets_the_farthest_row_of_any_block(seed):
    X = blobs(seed)
    X[211] += 1000.0
    start = [np.vstack([X[:2], [[-5e3, -5e3, -5e3]]]).astype(np.float64)]
    (moved,), (expected,) = (lloyd(rows, start, max_iter=1) for rows in (BlockRows(X, [0, 64, 300]), ArrayRows(X)))
    np.testing.assert_allclose(moved.centroids, expected.centroids, rtol=1e-12)
    assert (moved.centroids[2] == X[211]).all()


@pytest.mark.parametrize("solver", ["auto", "full", "sample"])
@pytest.mark.parametrize("edges", LAYOUTS)
def test_few_rows_are_solved_as_a_matrix_is(solver, edges):
    for seed in range(2 if solver == "full" else 1):
        X = blobs(seed)
        one, other = (solve(rows, 4, seed=seed, solver=solver) for rows in (BlockRows(X, edges), ArrayRows(X)))
        assert one.centroids.tobytes() == other.centroids.tobytes()
        assert (one.n_iter, one.passes, one.solver) == (other.n_iter, other.passes, other.solver)


@pytest.mark.parametrize("solver", ["full", "sample"])
def test_many_rows_in_blocks_are_solved_as_well_as_a_matrix(solver, monkeypatch):
    monkeypatch.setattr(solving, "FULL_BELOW_ROWS", 500)
    for seed in range(3):
        X = blobs(seed, n=4_000)
        blocks, whole = BlockRows(X, [0, 900, 2_500, 4_000]), ArrayRows(X)
        figures = [
            rows.step([solve(rows, 5, seed=seed, solver=solver).centroids])[0].inertia for rows in (blocks, whole)
        ]
        assert figures[0] <= 1.001 * figures[1]


@pytest.mark.parametrize("solver", ["full", "sample"])
def test_rare_rows_that_a_sample_misses_are_still_different_rows(solver, monkeypatch):
    monkeypatch.setattr(solving, "FULL_BELOW_ROWS", 50)
    few = Plan(few_rows=50, few_rows_per_cluster=1, few_rows_least=1, rows=500, rows_per_cluster=1)
    monkeypatch.setitem(sample_solve.solve_on_sample.__kwdefaults__, "plan", few)
    X = np.zeros((5_000, 1), np.float32)
    X[[17, 2_345, 4_999], 0] = [5.0, 9.0, -4.0]
    rows = BlockRows(X, [0, 1_000, 5_000])
    assert sorted(solve(rows, 4, solver=solver).centroids[:, 0].tolist()) == [-4.0, 0.0, 5.0, 9.0]
    with pytest.raises(DataError, match="k=5 for 4 different rows"):
        solve(rows, 5, solver=solver)


def test_a_clustering_in_blocks_is_a_clustering(monkeypatch):
    monkeypatch.setattr(rows_blocks, "BLOCK_ROWS", 100)
    monkeypatch.setattr(solving, "FULL_BELOW_ROWS", 200)
    X = blobs(3, n=700)
    rows = hold_rows(X, [90, 80, 0, 200, 330], threads=1, compute=LocalCompute())
    assert isinstance(rows, BlockRows)
    assert rows.edges == [0, 170, 370, 700]
    found = cluster_rows(rows, 5, backend="native")
    assert found.inertia == pytest.approx(cluster(X, 5).inertia, rel=1e-3)
    again = cluster_rows(hold_rows(X, [90, 80, 0, 200, 330], threads=2), 5, backend="native")
    assert found.centroids.tobytes() == again.centroids.tobytes()


def test_one_block_and_libraries_in_this_process_take_a_matrix(monkeypatch):
    X = blobs(0)
    assert isinstance(hold_rows(X), ArrayRows)
    assert isinstance(hold_rows(X, [100, 200]), ArrayRows)
    monkeypatch.setattr(rows_blocks, "BLOCK_ROWS", 50)
    assert isinstance(hold_rows(X, [100, 200]), BlockRows)
    assert isinstance(hold_rows(X, backend="dask_ml"), BlockRows)
    for backend in ("faiss", "sklearn"):
        assert isinstance(hold_rows(X, [100, 200], backend=backend), ArrayRows)


@pytest.mark.parametrize("bucket_rows", [[100, 100], [], [200, 200], [0]])
@pytest.mark.parametrize("backend", ["native", "faiss"])
def test_buckets_that_do_not_hold_the_rows_are_refused(bucket_rows, backend):
    with pytest.raises(DataError, match="hold the 300 rows of the matrix together"):
        hold_rows(blobs(0), bucket_rows, backend=backend)


def test_values_that_are_not_finite_are_refused():
    X = blobs(0)
    X[250, 1] = np.nan
    with pytest.raises(DataError, match="NaN or infinity"):
        BlockRows(X, [0, 100, 300])
