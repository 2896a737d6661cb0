"""Lloyd's moves: against a twin, by their laws, and where a cluster runs empty."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from engine.clustering.lloyd import lloyd, mean_variance, next_centroids, residual
from engine.clustering.rows_array import ArrayRows
from tests.reference import kmeans_twin


def test_the_textbook_line():
    # 0 1 8 10 from centres 0 and 1: {0}, {1, 8, 10} -> {0, 1}, {8, 10} -> at rest.
    (rest,) = lloyd(ArrayRows([[0.0], [1.0], [8.0], [10.0]]), [np.array([[0.0], [1.0]])])
    assert rest.centroids[:, 0].tolist() == [0.5, 9.0]
    assert (rest.n_iter, rest.stop_reason) == (3, "fixed point")


@pytest.mark.parametrize("seed", range(5))
def test_moves_agree_with_the_twin(seed):
    X = np.random.default_rng(seed).normal(size=(200, 3))
    (rest,) = lloyd(ArrayRows(X), [X[:4]], max_iter=6)
    np.testing.assert_allclose(rest.centroids, kmeans_twin.lloyd(X, X[:4], rest.n_iter), rtol=1e-10)


@pytest.mark.parametrize("seed", range(10))
def test_the_inertia_never_rises(seed):
    # Both halves of a move, the nearest centroid and the mean, can only lower the sum; float32 distances blur 1e-6.
    rng = np.random.default_rng(seed)
    rows = ArrayRows(rng.standard_t(2, size=(2_000, 4)).astype(np.float32))
    C = rng.normal(size=(12, 4)) * 3
    inertias = []
    for _ in range(25):
        (stats,) = rows.step([C])
        inertias.append(stats.inertia)
        C = next_centroids(rows, C, stats)
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(inertias))


def test_starts_together_end_as_alone():
    rng = np.random.default_rng(1)
    rows = ArrayRows(rng.normal(size=(3_000, 2)))
    starts = [rows.take(rng.choice(3_000, size=5, replace=False)) for _ in range(4)]
    for together, start in zip(lloyd(rows, starts), starts, strict=True):
        (alone,) = lloyd(rows, [start])
        np.testing.assert_array_equal(together.centroids, alone.centroids)
        assert (together.n_iter, together.stop_reason) == (alone.n_iter, alone.stop_reason)


@pytest.mark.parametrize(
    ("max_iter", "tolerance", "reason"), [(1, 0.0, "max_iter"), (300, 1e9, "tolerance"), (300, 0.0, "fixed point")]
)
def test_why_it_stopped_is_told(max_iter, tolerance, reason):
    rows = ArrayRows(np.random.default_rng(0).normal(size=(300, 2)))
    (rest,) = lloyd(rows, [rows.take(np.arange(4))], max_iter=max_iter, shift_tolerance=tolerance)
    assert rest.stop_reason == reason


def test_iterations_are_counted_as_in_scikit_learn():
    from sklearn.cluster import KMeans

    X = np.random.default_rng(3).normal(size=(2_000, 3))
    rows = ArrayRows(X)
    theirs = KMeans(6, init=X[:6], n_init=1, tol=1e-3).fit(X)
    (ours,) = lloyd(rows, [X[:6]], shift_tolerance=1e-3 * mean_variance(rows))
    assert ours.n_iter == theirs.n_iter_
    np.testing.assert_allclose(ours.centroids, theirs.cluster_centers_, rtol=1e-9)


def test_empty_clusters_take_the_farthest_rows_one_from_each_cluster():
    # Cluster 0 holds 0, 1, 2 and 30; cluster 1 holds 100 and 107; clusters 2 and 3 nobody.
    rows = ArrayRows([[0.0], [1.0], [2.0], [30.0], [100.0], [107.0]])
    C = np.array([[1.0], [100.0], [-900.0], [900.0]])
    moved = next_centroids(rows, C, rows.step([C])[0])
    assert moved[:, 0].tolist() == [1.0, 100.0, 30.0, 107.0]


def test_a_weighted_row_that_is_given_away_takes_its_weight_along():
    rows = ArrayRows([[0.0], [4.0], [10.0]], [1.0, 3.0, 2.0])
    C = np.array([[0.0], [-900.0]])
    moved = next_centroids(rows, C, rows.step([C])[0])
    assert moved[:, 0].tolist() == [3.0, 10.0]


def test_equal_rows_have_nothing_to_give_an_empty_cluster():
    rows = ArrayRows([[5.0], [5.0]])
    C = np.array([[5.0], [77.0]])
    assert next_centroids(rows, C, rows.step([C])[0])[:, 0].tolist() == [5.0, 77.0]


def test_mean_variance_keeps_its_digits_far_from_zero():
    X = np.random.default_rng(0).normal(size=(1_000, 3)) + 1e6
    np.testing.assert_allclose(mean_variance(ArrayRows(X)), X.var(axis=0).mean(), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_residual_is_what_a_move_takes_off_while_no_row_changes_its_cluster(seed):
    rng = np.random.default_rng(seed)
    X, C = rng.normal(size=(400, 3)), rng.normal(size=(5, 3))
    weights = rng.random(400)
    rows = ArrayRows(X, weights)
    (stats,) = rows.step([C])
    moved = next_centroids(rows, C, stats)
    labels, squared, *_ = kmeans_twin.read(X, C)
    after = weights @ ((X - moved[labels]) ** 2).sum(axis=1)
    assert residual(C, moved, stats) == pytest.approx(1 - after / (weights @ squared), rel=1e-9)
    (rest,) = lloyd(rows, [C])
    (stats,) = rows.step([rest.centroids])
    assert residual(rest.centroids, next_centroids(rows, rest.centroids, stats), stats) == 0.0


def test_the_residual_of_rows_without_inertia_is_zero():
    rows = ArrayRows([[1.0], [2.0]])
    C = np.array([[1.0], [2.0]])
    assert residual(C, C, rows.step([C])[0]) == 0.0
