"""Whole solutions: known optima, the same bits for the same seed, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from engine.clustering.rows_array import ArrayRows
from engine.clustering.solve import DISTINCT_UP_TO_ROWS, FULL_BELOW_ROWS, solve
from engine.errors import DataError, SettingError
from tests.reference import kmeans_twin


def blobs(seed, n, k, d=4, apart=20.0):
    rng = np.random.default_rng(seed)
    centres = rng.permutation(k)[:, np.newaxis] * apart + rng.normal(size=(k, d))
    labels = rng.integers(k, size=n)
    return (centres[labels] + rng.normal(size=(n, d))).astype(np.float32), centres


def overlapping(seed, n, d=4):
    rng = np.random.default_rng(seed)
    return np.log1p(rng.gamma(0.8, 3.0, size=(n, 1)) * rng.lognormal(0, 0.7, size=(n, d))).astype(np.float32)


def inertia(X, centroids):
    return ArrayRows(X).step([centroids])[0].inertia


@pytest.mark.parametrize("seed", range(8))
def test_the_best_of_all_partitions_of_nine_rows_is_found(seed):
    X = np.random.default_rng(seed).normal(size=(9, 2))
    np.testing.assert_allclose(inertia(X, solve(ArrayRows(X), 3, seed=seed).centroids), kmeans_twin.best_inertia(X, 3))


@pytest.mark.parametrize("solver", ["full", "sample"])
@pytest.mark.parametrize("seed", range(5))
def test_known_centres_are_recovered(solver, seed):
    X, centres = blobs(seed, 20_000, 6)
    found = solve(ArrayRows(X), 6, seed=seed, solver=solver).centroids
    # A mean of some 3,300 rows of deviation 1 lies within 0.018 of the truth, six times that being generous.
    order = np.lexsort(np.round(found).T[::-1])
    assert np.abs(found[order] - centres[np.lexsort(np.round(centres).T[::-1])]).max() < 0.11


@pytest.mark.parametrize("seed", range(4))
def test_a_rare_far_cluster_is_not_lost_by_the_sample(seed):
    # 15 of 150,000: an even sample of 65,536 would hold about seven of them.
    X, _ = blobs(seed, 150_000, 4, apart=6.0)
    X[::10_000] += 500.0
    solution = solve(ArrayRows(X), 5, seed=seed)
    (stats,) = ArrayRows(X).step([solution.centroids])
    assert solution.solver == "sample"
    assert stats.counts.min() == 15


FAMILIES = {
    "blobs": lambda seed: blobs(seed, 120_000, 7, apart=3.0)[0],
    "overlapping": lambda seed: overlapping(seed, 120_000),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(2))
def test_a_sample_costs_less_than_a_thousandth_of_inertia(family, seed):
    X = FAMILIES[family](seed)
    full = inertia(X, solve(ArrayRows(X), 7, seed=seed, solver="full").centroids)
    assert inertia(X, solve(ArrayRows(X), 7, seed=seed, solver="sample").centroids) <= 1.001 * full


@pytest.mark.parametrize("solver", ["full", "sample"])
def test_same_seed_same_bits_for_one_and_two_threads(solver):
    X = overlapping(0, 60_000)
    one, two, again = (solve(ArrayRows(X, threads=t), 6, seed=3, solver=solver) for t in (1, 2, 2))
    assert one.centroids.tobytes() == two.centroids.tobytes() == again.centroids.tobytes()
    assert (one.n_iter, one.passes, one.stop_reason) == (two.n_iter, two.passes, two.stop_reason)


def test_another_seed_is_another_way():
    rows = ArrayRows(overlapping(0, 30_000))
    assert solve(rows, 9, seed=0).centroids.tobytes() != solve(rows, 9, seed=1).centroids.tobytes()


@pytest.mark.parametrize("seed", range(5))
def test_neither_order_nor_repetition_of_few_rows_matters(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(400, 3))
    times = rng.integers(1, 4, size=400)
    weighted = solve(ArrayRows(X, times), 5, seed=seed)
    shuffled = solve(ArrayRows(rng.permutation(np.repeat(X, times, axis=0))), 5, seed=seed)
    assert weighted.centroids.tobytes() == shuffled.centroids.tobytes()


def test_weights_move_the_sample_solver_too():
    # Weights 1 and 0 cut one of two groups out.
    X = np.concatenate([np.zeros((60_000, 1)), np.full((60_000, 1), 9.0)]) + np.random.default_rng(0).random(
        (120_000, 1)
    )
    weights = np.repeat([1.0, 0.0], 60_000)
    assert solve(ArrayRows(X, weights), 2, solver="sample").centroids.max() < 1.0


@pytest.mark.parametrize(
    ("n", "solver"), [(FULL_BELOW_ROWS - 1, "full"), (FULL_BELOW_ROWS, "sample")], ids=["below", "from"]
)
def test_auto_takes_a_sample_from_a_hundred_thousand_rows(n, solver):
    X = np.random.default_rng(0).random((n, 1), dtype=np.float32)
    assert solve(ArrayRows(X), 2).solver == solver


def test_the_sample_solver_reads_the_rows_a_few_times_only():
    assert solve(ArrayRows(overlapping(1, 150_000)), 8).passes <= 8


def test_given_starts_are_used():
    X = np.array([[0.0], [1.0], [8.0], [10.0]])
    solution = solve(ArrayRows(X), 2, init=[np.array([[0.0], [10.0]])])
    assert solution.centroids[:, 0].tolist() == [0.5, 9.0]


def test_random_starts_are_drawn_on_request():
    X, _ = blobs(0, 2_000, 3)
    assert inertia(X, solve(ArrayRows(X), 3, init="random").centroids) < 2_000 * 4 * 1.1


def test_a_sample_without_enough_different_rows_asks_all_of_them():
    # The 3 odd rows of 200,000 lie between the others, so that no draw by distance is sure to meet them.
    X = np.zeros((200_000, 1), dtype=np.float32)
    X[100_000:] = 1.0
    X[[7, 70_000, 170_000], 0] = [0.5, 0.25, 0.75]
    solution = solve(ArrayRows(X), 5)
    assert sorted(solution.centroids[:, 0].tolist()) == [0.0, 0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("n", [50, DISTINCT_UP_TO_ROWS + 10, FULL_BELOW_ROWS + 10])
def test_more_clusters_than_different_rows_are_refused(n):
    X = (np.arange(n) % 4).astype(np.float64)[:, np.newaxis]
    with pytest.raises(DataError, match="k=5 for 4 different rows"):
        solve(ArrayRows(X), 5)
    assert sorted(solve(ArrayRows(X), 4).centroids[:, 0].tolist()) == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("n", [2, 30_000, 110_000])
def test_equal_rows_make_one_cluster_and_no_more(n):
    rows = ArrayRows(np.full((n, 2), 7.25))
    assert solve(rows, 1).centroids.tolist() == [[7.25, 7.25]]
    with pytest.raises(DataError, match="k=2 for 1 different row"):
        solve(rows, 2)


def test_one_customer_is_one_cluster():
    assert solve(ArrayRows([[3.0, 4.0]]), 1).centroids.tolist() == [[3.0, 4.0]]
    with pytest.raises(DataError, match="k=2 for 1 row"):
        solve(ArrayRows([[3.0, 4.0]]), 2)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"k": 0}, "got 0"),
        ({"k": -3}, "got -3"),
        ({"solver": "fulll"}, "did you mean 'full'"),
        ({"init": "kmeans++"}, r"did you mean 'k-means\+\+'"),
        ({"init": [np.zeros((2, 1))], "solver": "sample"}, "use 'full'"),
    ],
)
def test_impossible_settings_are_refused(changed, told):
    with pytest.raises(SettingError, match=told):
        solve(ArrayRows([[0.0], [1.0], [2.0]]), **{"k": 2, **changed})
