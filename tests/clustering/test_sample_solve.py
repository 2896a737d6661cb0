"""Solving on a sample: what is found, what is missed by few rows and noticed, and what is told of the way."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from benchmarks.cases.points import FAMILIES
from engine.clustering.plan import PLAN, Limits, Plan
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_blocks import BlockRows
from engine.clustering.sample_solve import (
    STANDARD_ERRORS,
    UNEXPLAINED,
    _drawn,
    _explained,
    evenly,
    solve_on_sample,
    together,
)
from engine.clustering.search import Effort
from engine.clustering.seeding import TooFewDistinctRowsError, kmeans_plus_plus
from engine.clustering.solve import solve, solve_many
from engine.errors import DataError
from tests.reference import kmeans_twin

SMALL = Plan(
    few_rows=600, few_rows_per_cluster=100, few_rows_least=100, rows_least=3_000, rows=3_000, rows_per_cluster=100
)
"""A plan under which ten thousand rows are many."""


@cache
def points(family, n=150_000, d=4, k=6, seed=0):
    X = FAMILIES[family](n, d, k, np.random.default_rng(seed))
    X.setflags(write=False)
    return X


def inertia(X, centroids, weights=None):
    return ArrayRows(X, weights).step([centroids])[0].inertia


def search(rows, k, seed=0, *, plan=SMALL, max_iter=300, tol=1e-4, max_passes=None, until=None):
    limits = Limits(max_iter, tol, max_passes, until)
    return solve_on_sample(
        rows, k, np.random.default_rng(seed), draw=kmeans_plus_plus, n_init=0, limits=limits, plan=plan
    )


def found(rows, k, seed=0, **options):
    (sampled,) = together(rows, [search(rows, k, seed, **options)])
    return sampled


class Counted:
    """Rows that count how often they were read, and keep what they were asked last."""

    def __init__(self, rows):
        self.rows, self.reads, self.asked, self.told = rows, 0, None, None

    def __getattr__(self, name):
        return getattr(self.rows, name)

    def step(self, models):
        self.reads += 1
        self.asked, self.told = models, self.rows.step(models)
        return self.told

    def draw(self, *given):
        self.reads += 1
        return self.rows.draw(*given)


LAWS = {"blobs": (8, 8, 1.001), "rare": (6, 8, 1.001), "rfm": (5, 6, 1.003), "uniform": (4, 6, 1.003)}


@pytest.mark.parametrize("family", LAWS)
def test_every_seed_is_nearly_as_good_as_the_best(family):
    d, k, worst = LAWS[family]
    X = points(family, d=d, k=k)
    rows = ArrayRows(X)
    solutions = [solve(rows, k, seed=seed, solver="sample") for seed in range(20)]
    costs = [stats.inertia for stats in rows.step([solution.centroids for solution in solutions])]
    assert max(costs) <= worst * min(costs)
    assert all(solution.passes <= 8 for solution in solutions)


@pytest.mark.parametrize("family", ["blobs", "uniform"])
def test_starts_that_agree_spare_the_breathing_and_those_that_do_not_do_not(family, monkeypatch):
    breathed = []
    breathe = ArrayRows.breathe
    monkeypatch.setattr(
        ArrayRows, "breathe", lambda self, *given, **o: breathed.append(1) or breathe(self, *given, **o)
    )
    rows = ArrayRows(points(family, d=8, k=8))
    reads = {solve(rows, 8, seed=seed, solver="sample").passes for seed in range(6)}
    if family == "blobs":
        # Four of six starts find all groups as a rule: three do in nearly every seed.
        assert len(breathed) <= 2
        assert reads == {1}
    else:
        assert len(breathed) == 6


KINDS = {"array": ArrayRows, "blocks": lambda X: BlockRows(X, [0, 5_000, 70_001, len(X)])}


@pytest.mark.parametrize("far", [1, 3, 20])
@pytest.mark.parametrize("kind", KINDS)
def test_a_far_cluster_that_the_few_rows_do_not_hold_is_found(kind, far):
    X = points("blobs", n=300_000, d=3, k=4).copy()
    X[np.random.default_rng(5).choice(300_000, far, replace=False)] = 1_000.0
    rows, missed = KINDS[kind](X), 0
    for seed in range(10):
        few = evenly(rows, PLAN.few(5), np.random.default_rng(seed))
        solution = solve(rows, 5, seed=seed)
        assert solution.solver == "sample"
        assert rows.step([solution.centroids])[0].counts.min() == far
        if not (few.matrix == 1_000.0).any():
            missed += 1
            # A larger sample was drawn in a read of its own, before the read that measures what it gave.
            assert solution.passes >= 2
            assert few.n < solution.rows_used < len(X)
    # One row in 18 is held: far rows are missed with probability (17/18)^far.
    assert missed >= (8 if far == 1 else 1)


def test_a_far_cluster_beside_rows_that_the_few_explain_without_rest_is_found():
    # Whole numbers: the few rows lie on their centroids, and give no distance to draw by.
    X = np.random.default_rng(0).integers(0, 4, size=(600_000, 1)).astype(np.float32)
    X[[5, 250_000, 400_001]] = 1_000.0
    rows = ArrayRows(X)
    for seed in range(4):
        assert rows.step([solve(rows, 4, seed=seed).centroids])[0].counts.min() == 3


@pytest.mark.parametrize("seed", range(5))
def test_few_rows_explain_others_of_their_kind_and_no_far_ones(seed):
    X = points("blobs", n=60_000)
    few = ArrayRows(X[:5_000])
    C = solve(few, 6, seed=seed).centroids
    assert _explained(few, C, ArrayRows(X[5_000:]).step([C])[0])
    beyond = np.concatenate([X[5_000:], np.full((20, 4), 90.0, np.float32)])
    assert not _explained(few, C, ArrayRows(beyond).step([C])[0])


def test_what_is_explained_is_worked_out_by_hand():
    # Squared distances 1, 1, 4, 4 around one centroid: mean 2.5, standard error 1.5 / 2.
    few = ArrayRows([[1.0], [-1.0], [2.0], [-2.0]])
    bound = 2.5 + STANDARD_ERRORS * 0.75
    for surplus, explained in ((0.0, True), (0.9 * UNEXPLAINED, True), (1.1 * UNEXPLAINED, False)):
        at = bound / (1 - surplus)
        (stats,) = ArrayRows([[np.sqrt(at)], [-np.sqrt(at)]]).step([np.zeros((1, 1))])
        assert _explained(few, np.zeros((1, 1)), stats) is explained


@pytest.mark.parametrize("weighted", [False, True])
def test_the_larger_sample_is_an_unbiased_picture_of_all_rows(weighted):
    X = points("rare", n=40_000, d=3, k=4)
    weights = np.random.default_rng(1).random(40_000) if weighted else None
    rows = ArrayRows(X, weights, threads=1)
    rng = np.random.default_rng(2)
    few = evenly(rows, 400, rng)
    rough = solve(few, 3).centroids
    (seen,) = few.step([rough])
    mean = seen.inertia / seen.counts.sum()
    other = X[[5, 500, 900]].astype(np.float64)
    told = []
    for _ in range(100):
        sample, part = _drawn(rows, rough, mean, 2_000, 4, rng)
        # Half evenly, half by distance; more only as far as the few rows lack what lies far away.
        assert 1_000 < sample.n < 40_000
        assert 250 < part.n < sample.n
        told.append(
            [
                figure
                for drawn in (sample, part)
                for figure in (drawn.weights.sum(), *(stats.inertia for stats in drawn.step([rough, other])))
            ]
        )
    truth = 2 * [
        40_000 if weights is None else weights.sum(),
        *(stats.inertia for stats in rows.step([rough, other])),
    ]
    errors = np.std(told, axis=0) / np.sqrt(len(told))
    assert (np.abs(np.mean(told, axis=0) - truth) <= 4 * errors).all()


@pytest.mark.parametrize("seed", range(3))
def test_weights_stand_for_repeated_rows(seed):
    X = points("rfm", n=40_000)
    times = np.random.default_rng(seed).integers(0, 4, size=40_000)
    repeated = np.repeat(X, times, axis=0)
    weighted = solve(ArrayRows(X, times), 5, seed=seed, solver="sample")
    best = inertia(repeated, solve(ArrayRows(repeated), 5, solver="full", n_init=4).centroids)
    assert inertia(repeated, weighted.centroids) <= 1.003 * best


def test_rows_of_which_hardly_any_has_a_weight_are_solved():
    X = np.random.default_rng(0).random((150_000, 2)).astype(np.float32)
    weights = np.zeros(150_000)
    weights[[5, 77_000, 140_001]] = 1.0
    for seed in range(4):
        C = solve(ArrayRows(X, weights), 3, seed=seed, solver="sample").centroids
        np.testing.assert_allclose(np.sort(C, axis=0), np.sort(X[weights > 0], axis=0), rtol=1e-6)


@pytest.mark.parametrize("max_passes", range(1, 8))
def test_no_more_reads_than_allowed(max_passes):
    for family in LAWS:
        rows = Counted(ArrayRows(points(family, n=30_000)))
        for seed in range(2):
            rows.reads = 0
            sampled = found(rows, 6, seed, max_passes=max_passes)
            assert sampled.passes <= max_passes
            assert sampled.passes == rows.reads
            if sampled.passes < max_passes:
                assert sampled.stop_reason != "max_passes"
    assert solve(ArrayRows(points("rfm")), 6, max_passes=1).passes == 1


def test_the_reads_of_a_whole_sample_are_the_exact_ones_only():
    # Up to twice the larger sample all rows are searched: nothing is drawn.
    rows = Counted(ArrayRows(points("uniform", n=2 * SMALL.more(6))))
    sampled = found(rows, 6)
    assert (sampled.passes, sampled.rows_used) == (rows.reads, 2 * SMALL.more(6))
    more = found(ArrayRows(points("uniform", n=2 * SMALL.more(6) + 500)), 6)
    assert 0.8 * SMALL.rows < more.rows_used < 1.2 * SMALL.more(6)


def test_groups_that_are_apart_cost_one_read():
    sampled = found(Counted(ArrayRows(points("blobs", n=60_000))), 6)
    assert (sampled.passes, sampled.rows_used) == (1, SMALL.few(6))
    assert sampled.stop_reason in ("tolerance", "polished")


def test_why_it_stopped():
    X = points("rfm", n=30_000)
    rows = ArrayRows(X)
    whole = found(rows, 6, tol=0.0)
    assert whole.stop_reason == "polished"
    assert found(rows, 6, max_passes=1).stop_reason == "max_passes"
    assert found(rows, 6, tol=1.0).stop_reason == "tolerance"
    assert found(ArrayRows((np.arange(30_000) % 3)[:, np.newaxis]), 3).stop_reason == "fixed point"
    late = found(rows, 6, until=0.0)
    assert (late.stop_reason, late.passes) == ("max_seconds", 1)
    assert solve(rows, 6, solver="sample", tol=0.0, max_seconds=1e-9).stop_reason == "max_seconds"
    # Time that has run out still gives centroids of all rows.
    assert inertia(X, late.centroids) <= 1.02 * inertia(X, whole.centroids)


def test_unfair_few_rows_are_not_told_as_polished():
    X = points("blobs", n=30_000, d=3, k=4).copy()
    X[[3, 17_000]] = 300.0
    rows = ArrayRows(X)
    for seed in range(8):
        if not (evenly(rows, SMALL.few(5), np.random.default_rng(seed)).matrix == 300.0).any():
            sampled = found(rows, 4, seed, max_passes=1)
            if sampled.rows_used == SMALL.few(4):
                assert sampled.stop_reason == "max_passes"


@pytest.mark.parametrize("family", LAWS)
def test_the_residual_is_that_of_the_last_move(family):
    X = points(family, n=25_000)
    weights = np.random.default_rng(3).random(25_000)
    for seed, own in ((0, None), (1, weights)):
        rows = Counted(ArrayRows(X, own))
        sampled = found(rows, 5, seed, plan=SMALL)
        # Of several finalists the best goes on; the last read has one model where it was not also the first.
        before = rows.asked[int(np.argmin([stats.inertia for stats in rows.told]))]
        labels, _, counts, sums, sse = kmeans_twin.read(X, before.astype(np.float32), own)
        np.testing.assert_allclose(sampled.centroids, sums / counts[:, np.newaxis], rtol=1e-6, atol=1e-7)
        w = np.ones(25_000) if own is None else own
        after = w @ ((X - sampled.centroids[labels]) ** 2).sum(axis=1)
        assert sampled.residual == pytest.approx(1 - after / sse.sum(), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("kind", ["array", "blocks"])
@pytest.mark.parametrize("solver", ["full", "sample"])
def test_several_k_together_are_solved_as_each_alone(solver, kind):
    X = points("rfm", n=110_000, d=3)
    rows = ArrayRows(X) if kind == "array" else BlockRows(X, [0, 30_000, 110_000])
    ks = [2, 5, 1] if solver == "sample" else [3, 1]
    seeds = [4, 9, 4][: len(ks)]
    options = {"solver": solver, "n_init": 2 if solver == "full" else None, "max_iter": 20}
    for k, seed, one in zip(ks, seeds, solve_many(rows, ks, seeds=seeds, **options), strict=True):
        alone = solve(rows, k, seed=seed, **options)
        assert one.centroids.tobytes() == alone.centroids.tobytes()
        for name in ("n_iter", "passes", "solver", "stop_reason", "residual", "rows_used"):
            assert getattr(one, name) == getattr(alone, name)


def test_reads_are_shared_by_several_searches():
    rows = Counted(ArrayRows(points("rfm", n=5_000)))
    together_found = together(rows, [search(rows, k) for k in (3, 4, 5)])
    assert rows.reads == max(sampled.passes for sampled in together_found)
    assert [len(sampled.centroids) for sampled in together_found] == [3, 4, 5]


def test_too_few_different_rows_end_one_search_and_leave_the_others():
    rows = ArrayRows((np.arange(20_000) % 4)[:, np.newaxis].astype(np.float32))
    two, five, four = together(rows, [search(rows, k) for k in (2, 5, 4)])
    assert isinstance(five, TooFewDistinctRowsError)
    assert (len(two.centroids), sorted(four.centroids[:, 0].tolist())) == (2, [0.0, 1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="k=5 for 4 different rows"):
        solve_many(rows, [2, 5], seeds=[0, 0], solver="sample")


@pytest.mark.parametrize("family", LAWS)
def test_blocks_are_solved_as_a_matrix_up_to_rounding(family):
    X = points(family)
    one = solve(ArrayRows(X), 5, seed=1)
    other = solve(BlockRows(X, [0, 1, 40_000, 99_999, 150_000]), 5, seed=1)
    assert (one.passes, one.rows_used, one.n_iter) == (other.passes, other.rows_used, other.n_iter)
    np.testing.assert_allclose(one.centroids, other.centroids, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_one_cluster_is_the_mean(weighted):
    X = points("rfm")
    weights = np.random.default_rng(0).random(len(X)) if weighted else None
    solution = solve(ArrayRows(X, weights), 1)
    mean = np.average(X.astype(np.float64), axis=0, weights=weights)
    np.testing.assert_allclose(solution.centroids, [mean], rtol=1e-9, atol=1e-12)


def test_the_plan_follows_k_without_a_leap():
    plan, ks = Plan(), (1, 2, 8, 9, 20, 100, 1_000)
    assert [plan.effort(k) for k in (1, 20, 1_000)] == [Effort(width=width) for width in (3, 5, 24)]
    for rows_of, starts_of in ((plan.few, plan.first_starts), (plan.more, plan.fresh_starts)):
        assert sorted(map(rows_of, ks)) == [rows_of(k) for k in ks]
        assert sorted(map(starts_of, ks), reverse=True) == [starts_of(k) for k in ks]
        assert min(map(starts_of, ks)) >= 2
    assert all(plan.more(k) >= 2 * plan.few(k) for k in ks)
