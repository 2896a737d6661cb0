"""The search on few rows: compiled moves are those of the loop, and breathing never worsens anything."""

from __future__ import annotations

import numpy as np
import pytest

from engine.clustering import lloyd as moving
from engine.clustering.lloyd import Rest, lloyd
from engine.clustering.rows_array import ArrayRows
from engine.clustering.search import SAME_BASIN, Effort, agree, breathed, continued, distinct, gap, inertias, ranked
from engine.clustering.seeding import kmeans_plus_plus
from tests.reference import kmeans_twin


def make_rows(seed, n=2_000, d=3, dtype=np.float64, weighted=False, threads=None):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 3 * rng.integers(0, 4, size=(n, 1))
    return ArrayRows(X.astype(dtype), rng.integers(0, 3, size=n) if weighted else None, threads)


def planted(seed, groups=50, per_group=60):
    """Round groups of deviation 0.8 on a plane, some four apart from each other."""
    rng = np.random.default_rng(seed)
    places = rng.choice(64, size=groups, replace=False)
    centres = np.stack([places // 8, places % 8], axis=1) * 4.0 + rng.random((groups, 2))
    X = np.repeat(centres, per_group, axis=0) + 0.8 * rng.normal(size=(groups * per_group, 2))
    return ArrayRows(X.astype(np.float32)), centres


def rest_of(centroids):
    return Rest(np.asarray(centroids, dtype=np.float64), 1, "max_iter")


def breathe(rows, rests, seed=0, effort=None, **changed):
    options = {"shift_tolerance": 0.0, "max_iter": 300, "rng": np.random.default_rng(seed), **changed}
    return breathed(rows, rests, effort or Effort(), **options)


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        assert a.centroids.tobytes() == b.centroids.tobytes()
        assert (a.n_iter, a.stop_reason) == (b.n_iter, b.stop_reason)


STARTS = {
    "rows": lambda X, k: X[:k],
    "an empty cluster": lambda X, k: np.concatenate([X[: k - 1], X[:1] + 1e4]),
    "empty copies far away": lambda X, k: np.concatenate([X[: k - 3], np.repeat(X[:1] - 1e4, 3, axis=0)]),
    "all but one empty": lambda X, k: np.concatenate([X[:1], np.repeat(X[:1] + 1e5, k - 1, axis=0)]),
}


@pytest.mark.parametrize("kind", STARTS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_moves_are_those_of_the_loop_bit_for_bit(dtype, weighted, kind, monkeypatch):
    for seed in range(8):
        n = [40, 256, 2_000, 9_000][seed % 4]
        rows = make_rows(seed, n=n, d=1 + seed, dtype=dtype, weighted=weighted)
        rng = np.random.default_rng(seed)
        X = rows.matrix.astype(np.float64)
        starts = [STARTS[kind](rng.permutation(X), 6) for _ in range(3)]
        for max_iter, tolerance in ((1, 0.0), (2, 0.0), (7, 0.0), (300, 0.0), (300, 0.05), (300, 1e9)):
            options = {"max_iter": max_iter, "shift_tolerance": tolerance}
            compiled = lloyd(rows, starts, **options)
            with monkeypatch.context() as patch:
                patch.setattr(moving, "IN_CACHE_ROWS", 0)
                assert_same(compiled, lloyd(rows, starts, **options))


def test_the_loop_is_not_what_was_compared_with_itself(monkeypatch):
    called = []
    monkeypatch.setattr(ArrayRows, "settle", lambda *a, **b: called.append(1) or (_ for _ in ()).throw(KeyError))
    with pytest.raises(KeyError):
        lloyd(make_rows(0), [np.zeros((1, 3))])
    monkeypatch.setattr(moving, "IN_CACHE_ROWS", 0)
    lloyd(make_rows(0), [np.zeros((1, 3))])
    assert called == [1]


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_order_in_memory_and_the_threads_do_not_matter(order):
    X = make_rows(1, n=5_000, d=5, dtype=np.float32).matrix
    starts = [X[i : i + 7].astype(np.float64) for i in range(4)]
    given = np.asarray(X, order=order)
    first = lloyd(ArrayRows(X, threads=1), starts)
    assert_same(first, lloyd(ArrayRows(given, threads=2), starts))
    better = breathe(ArrayRows(X, threads=1), first)
    assert_same(better, breathe(ArrayRows(given, threads=2), first))
    # Nor does who breathes beside.
    assert_same(better[2:3], breathe(ArrayRows(X), first[2:3]))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_breathing_agrees_with_the_twin(seed, weighted):
    rows = make_rows(seed, n=300, d=2 + seed % 2, weighted=weighted)
    k, noise = 7, np.array([0.07, -0.05, 0.02])[: rows.d]
    weights = np.ones(300) if rows.weights is None else rows.weights
    (start,) = kmeans_plus_plus(rows, k, starts=1, rng=np.random.default_rng(seed))
    options = {"width": 3, "moves": (4, 5), "shift_tolerance": 0.0, "better": 1e-4}
    (found,), (rounds,) = rows.breathe([start], noise, **options)
    expected, expected_rounds = kmeans_twin.breathe(rows.matrix, weights, start, noise, 3, 4, 5, 1e-4)
    assert rounds == expected_rounds
    # Of two that are missed equally, up to rounding, either may go: the order differs then.
    np.testing.assert_allclose(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(6))
def test_breathing_never_worsens_a_solution(seed, dtype):
    rows = make_rows(seed, n=1_500, d=1 + seed, dtype=dtype, weighted=seed % 2 == 1)
    for k in (1, 2, 3, 12):
        rng = np.random.default_rng([seed, k])
        drawn = [rest_of(start) for start in kmeans_plus_plus(rows, k, starts=3, rng=rng)]
        rested = lloyd(rows, [rest.centroids for rest in drawn])
        before = [*drawn, *rested]
        after = breathe(rows, before, seed)
        assert all(rest.centroids.shape == (k, rows.d) for rest in after)
        assert all(new <= old for new, old in zip(inertias(rows, after), inertias(rows, before), strict=True))
        if k == 12:
            assert min(inertias(rows, after)) < min(inertias(rows, before))


@pytest.mark.parametrize("seed", range(4))
def test_planted_groups_that_restarts_miss_are_found(seed):
    rows, centres = planted(seed)

    def missed(rest):
        squared = ((centres[:, np.newaxis] - rest.centroids) ** 2).sum(axis=2).min(axis=1)
        # The mean of 60 rows of deviation 0.8 lies within half of one of their centre: five standard errors.
        return int((squared > 0.5**2).sum())

    rests = ranked(rows, lloyd(rows, kmeans_plus_plus(rows, 50, starts=10, rng=np.random.default_rng(seed))))
    assert missed(rests[0]) > 0
    better = ranked(rows, continued(rows, breathe(rows, rests[:4], seed), max_iter=30, shift_tolerance=0.0))
    assert missed(better[0]) == 0


def test_moves_and_breaths_are_counted():
    rows, _ = planted(9, groups=20)
    (start,) = kmeans_plus_plus(rows, 20, starts=1, rng=np.random.default_rng(0))
    (rest,) = breathe(rows, [Rest(start, 5, "max_iter")], effort=Effort(width=2, breaths=(3, 4)))
    assert rest.stop_reason == "breathed"
    # At least two breaths, each narrower than the one before; every breath is at most seven moves.
    assert rest.n_iter >= 5 + 2 * 7
    assert (rest.n_iter - 5) % 7 == 0
    (short,) = breathe(rows, [Rest(start, 5, "max_iter")], effort=Effort(width=2, breaths=(3, 4)), max_iter=1)
    assert (short.n_iter - 5) % 2 == 0


@pytest.mark.parametrize("k", [1, 2, 3])
def test_equal_rows_and_few_different_ones_breathe_to_an_end(k):
    equal = ArrayRows(np.full((500, 2), 7.25, np.float32))
    (rest,) = breathe(equal, [rest_of(np.full((k, 2), 7.25))])
    assert inertias(equal, [rest]) == [0.0]
    few = ArrayRows((np.arange(900) % 3)[:, np.newaxis].astype(np.float32))
    (start,) = kmeans_plus_plus(few, k, starts=1, rng=np.random.default_rng(0))
    (rest,) = continued(few, breathe(few, [rest_of(start)]), max_iter=30, shift_tolerance=0.0)
    # All of one; one apart from two; each by itself: sums of squares 600, 150 and 0.
    assert inertias(few, [rest]) == [[600.0], [150.0], [0.0]][k - 1]


def test_solutions_are_ranked_by_inertia_and_then_by_number():
    rows = ArrayRows([[0.0], [1.0], [8.0], [10.0]])
    rests = [rest_of([[c], [9.0]]) for c in (3.0, 0.5, 0.5)]
    assert [id(rest) for rest in ranked(rows, rests)] == [id(rests[place]) for place in (1, 2, 0)]
    assert inertias(rows, rests) == [15.0, 2.5, 2.5]


def test_a_basin_is_one_however_its_centroids_are_numbered():
    one, same, other = rest_of([[0.0], [9.0]]), rest_of([[9.01], [0.0]]), rest_of([[0.0], [5.0]])
    assert gap(one, same) == pytest.approx(1e-4)
    assert distinct([one, same, other, one], SAME_BASIN) == [one, other]


@pytest.mark.parametrize(
    ("costs", "same"), [([1.0], True), ([1.0, 1.0001], True), ([1.0, 1.001], False), ([0, 0], True)]
)
def test_equally_good_is_within_two_in_ten_thousand(costs, same):
    assert agree(costs) is same


def test_moves_go_on_from_where_they_ended():
    rows = make_rows(3)
    start = rows.matrix[:5].copy()
    (whole,) = lloyd(rows, [start], max_iter=12)
    first = lloyd(rows, [start], max_iter=8)
    (rest,) = continued(rows, first, max_iter=4, shift_tolerance=0.0)
    assert whole.n_iter == rest.n_iter == 12
    assert whole.centroids.tobytes() == rest.centroids.tobytes()
