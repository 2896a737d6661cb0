"""Sparse rows: the same answers as the slow twin and as dense rows, without ever being dense."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_array, csc_matrix, csr_array

from engine.clustering import rows_sparse
from engine.clustering.lloyd import lloyd
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_sparse import SparseRows, solve_sparse
from engine.clustering.seeding import TooFewDistinctRowsError, kmeans_plus_plus
from engine.clustering.solve import solve
from engine.errors import DataError, SettingError
from tests.reference import kmeans_twin


def some(seed, n=200, d=15, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = np.where(rng.random((n, d)) < 0.2, rng.normal(size=(n, d)) + 2.0, 0.0).astype(dtype)
    return X, rng.integers(0, 4, size=n).astype(float)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(4))
def test_step_assign_and_farthest_agree_with_the_twin(seed, dtype, weighted):
    X, weights = some(seed, dtype=dtype)
    if not weighted:
        weights = None
    # The last centroid has no rows.
    C = np.concatenate([X[:6].astype(np.float64) + 0.01, np.full((1, X.shape[1]), 90.0)])
    rows = SparseRows(csr_array(X), weights)
    counts, sums, sse, farthest = kmeans_twin.stats(X, C, weights)
    (stats,) = rows.step([C])
    np.testing.assert_array_equal(stats.counts, counts)
    np.testing.assert_allclose(stats.sums, sums, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(stats.sse, sse, rtol=1e-9)
    np.testing.assert_array_equal(rows.farthest(C), farthest)
    labels, away = np.empty(len(X), dtype=np.int32), np.empty(len(X))
    inertia = rows.assign(C, labels, away)
    squared = kmeans_twin.squared_distances(X, C)
    np.testing.assert_array_equal(labels, squared.argmin(axis=1))
    np.testing.assert_allclose(away, np.sqrt(squared.min(axis=1)), rtol=1e-9)
    np.testing.assert_allclose(inertia, sse.sum(), rtol=1e-9)
    np.testing.assert_allclose(rows.distances(C), np.sqrt(squared), rtol=1e-9)


def test_several_models_in_one_read_equal_one_read_each():
    X, weights = some(0)
    rows = SparseRows(csr_array(X), weights)
    models = [X[:3] + 0.1, X[5:12] + 0.2, X[20:21]]
    for together, C in zip(rows.step(models), models, strict=True):
        (alone,) = rows.step([C])
        for name in ("counts", "sums", "sse"):
            np.testing.assert_allclose(getattr(together, name), getattr(alone, name), rtol=1e-13)


def test_the_edges_of_blocks_change_nothing_but_rounding(monkeypatch):
    X, weights = some(1)
    C = X[:4] + 0.1
    (whole,) = SparseRows(csr_array(X), weights).step([C])
    monkeypatch.setattr(rows_sparse, "BLOCK_ROWS", 7)
    monkeypatch.setattr(rows_sparse, "DENSE_VALUES", 20)
    (parts,) = SparseRows(csr_array(X), weights).step([C])
    for name in ("counts", "sums", "sse"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-12)


def test_a_row_between_two_centroids_goes_to_the_lower_number():
    labels = np.empty(1, dtype=np.int32)
    SparseRows(csr_array([[0.0]])).assign(np.array([[1.0], [-1.0]]), labels)
    assert labels.tolist() == [0]


@pytest.mark.parametrize("gap", [0.0, 1e-3, 1e-6, 1e-9])
def test_small_distances_keep_their_digits_far_from_zero(gap):
    # Of |x|² - 2x·c + |c|² with |x|² near 1e12 nothing below 1e-4 would be left.
    X = np.zeros((2, 50))
    X[:, 7] = 1e6
    X[1, 9] = gap
    away = SparseRows(csr_array(X)).distances(np.stack([X[0], X[0] + 3.0]))
    np.testing.assert_allclose(away[:, 0], [0.0, gap], rtol=1e-12)


def test_two_centroids_beside_each_other_are_told_apart():
    X = np.zeros((1, 4))
    X[0, 0] = 1e6
    C = np.tile(X, (2, 1))
    C[0, 1], C[1, 1] = 2e-6, 1e-6
    labels = np.empty(1, dtype=np.int32)
    SparseRows(csr_array(X)).assign(C, labels)
    assert labels.tolist() == [1]


@pytest.mark.parametrize("seed", range(3))
def test_lloyd_moves_as_it_does_over_dense_rows(seed):
    X, weights = some(seed)
    starts = [X[:5], X[5:10], np.concatenate([X[:4], np.full((1, 15), 50.0)])]
    for sparse, dense in zip(
        lloyd(SparseRows(csr_array(X), weights), starts), lloyd(ArrayRows(X, weights), starts), strict=True
    ):
        np.testing.assert_allclose(sparse.centroids, dense.centroids, atol=1e-12)
        assert (sparse.n_iter, sparse.stop_reason) == (dense.n_iter, dense.stop_reason)


@pytest.mark.parametrize("seed", range(3))
def test_seeds_are_those_that_dense_rows_draw(seed):
    X, weights = some(seed)
    shares = np.random.default_rng(seed).random((4, 6, 3))
    np.testing.assert_array_equal(SparseRows(csr_array(X), weights).seeds(shares), ArrayRows(X, weights).seeds(shares))


def test_a_solution_costs_what_the_dense_one_costs():
    for seed in range(3):
        X, weights = some(seed, n=400)
        sparse = solve_sparse(SparseRows(csr_array(X), weights), 4, seed=seed, n_init=20)
        dense = solve(ArrayRows(X, weights), 4, seed=seed, n_init=20)
        inertias = [ArrayRows(X, weights).step([found.centroids])[0].inertia for found in (sparse, dense)]
        assert inertias[0] <= 1.02 * inertias[1]
        assert sparse.solver == "full"


def test_the_order_of_rows_and_repetition_instead_of_weights_change_nothing():
    X, weights = some(3)
    order = np.random.default_rng(0).permutation(len(X))
    repeated = np.repeat(X, weights.astype(int), axis=0)
    found = [
        solve_sparse(rows, 4, seed=1).centroids
        for rows in (
            SparseRows(csr_array(X), weights),
            SparseRows(csr_array(X[order]), weights[order]),
            SparseRows(csr_array(repeated)),
        )
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_rows_without_weight_are_never_seeds(init):
    X, _ = some(4, n=60)
    weights = (np.arange(60) % 2).astype(float)
    start = solve_sparse(SparseRows(csr_array(X), weights), 5, init=init, n_init=1, max_iter=1, tol=0.0)
    alone = solve_sparse(SparseRows(csr_array(X[1::2])), 5, init=init, n_init=1, max_iter=1, tol=0.0)
    np.testing.assert_array_equal(start.centroids, alone.centroids)


def test_too_few_different_rows_are_told_with_their_number(monkeypatch):
    X = csr_array(np.repeat(np.eye(3), 4, axis=0))
    for most in (20_000, 5):
        # Above the limit copies are not merged, and seeding finds it out.
        monkeypatch.setattr(rows_sparse, "DISTINCT_UP_TO_ROWS", most)
        with pytest.raises(TooFewDistinctRowsError) as told:
            solve_sparse(SparseRows(X), 4)
        assert told.value.found == 3


def test_every_far_group_gets_a_seed():
    X = csr_array(np.repeat(np.eye(6) * 100, 10, axis=0))
    for seeds in kmeans_plus_plus(SparseRows(X), 6, starts=5, rng=np.random.default_rng(0)):
        assert len({tuple(seed) for seed in seeds.tolist()}) == 6


def test_draws_are_as_many_as_their_chances_say():
    X, weights = some(5, n=3000)
    rows, C = SparseRows(csr_array(X), weights), X[:3]
    squared = kmeans_twin.squared_distances(X, C).min(axis=1)
    chance = np.minimum(weights * (0.02 + 0.005 * squared), 1.0)
    drawn = rows.draw(C, 0.02, 0.005, 7)
    np.testing.assert_allclose(drawn.squared, squared[drawn.index], rtol=1e-9, atol=1e-12)
    assert drawn.inertia == pytest.approx(float(weights @ squared))
    spread = np.sqrt((chance * (1 - chance)).sum())
    assert abs(len(drawn.index) - chance.sum()) < 4 * spread


def test_any_sparse_form_is_taken_and_left_alone():
    X = np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 3.0]])
    twice = coo_array((np.array([1.0, 1.0, 1.0, 3.0, 0.0]), ([0, 0, 2, 2, 1], [1, 1, 0, 2, 2])), shape=(3, 3))
    for theirs in (csr_array(X), csc_matrix(X), twice, csr_array(X.astype(np.int64)), csr_array(X.astype(np.float32))):
        stored = theirs.nnz
        rows = SparseRows(theirs)
        np.testing.assert_array_equal(rows.take(np.array([2, 0, 1])), X[[2, 0, 1]])
        assert rows.matrix.nnz == 3
        assert theirs.nnz == stored


def test_read_only_data_is_taken():
    X = csr_array(some(0)[0])
    for part in (X.data, X.indices, X.indptr):
        part.setflags(write=False)
    assert SparseRows(X).step([np.zeros((1, 15))])[0].counts.tolist() == [200.0]


def test_columns_with_bad_values_are_told_by_name():
    X = csr_array([[np.nan, 0.0, 1.0], [np.inf, 2.0, 0.0]])
    with pytest.raises(DataError, match=r"recency \(2\) of 2 rows"):
        SparseRows(X, names=["recency", "units", "monetary"])


@pytest.mark.parametrize(
    ("build", "error", "told"),
    [
        (lambda: SparseRows(csr_array((0, 3))), DataError, r"\(0, 3\)"),
        (lambda: SparseRows(csr_array(np.eye(2)), [1.0]), DataError, "one for each of the 2 rows"),
        (lambda: SparseRows(csr_array(np.eye(2)), [1.0, -1.0]), DataError, "1 of 2 are not"),
        (lambda: SparseRows(csr_array(np.eye(2)), threads=0), SettingError, "threads"),
        (lambda: SparseRows(csr_array(np.eye(2))).step([np.zeros((1, 3))]), DataError, r"shape \(k, 2\)"),
    ],
)
def test_what_cannot_be_clustered_is_refused(build, error, told):
    with pytest.raises(error, match=told):
        build()
