"""Seeds and samples: what is drawn, how often, and when there is too little to draw from."""

from __future__ import annotations

import numpy as np
import pytest

from engine.clustering.rows_array import ArrayRows
from engine.clustering.seeding import (
    TooFewDistinctRowsError,
    draw_evenly,
    kmeans_plus_plus,
    local_trials,
    random_starts,
)
from tests.reference import kmeans_twin


@pytest.mark.parametrize(("k", "trials"), [(1, 2), (2, 2), (3, 3), (8, 4), (10, 4), (100, 6)])
def test_local_trials(k, trials):
    assert local_trials(k) == trials


@pytest.mark.parametrize("n", [5, 1_023, 1_024, 1_025, 5_000])
def test_seeds_are_different_rows(n):
    X = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
    rows = {tuple(row) for row in X.tolist()}
    for seeds in kmeans_plus_plus(ArrayRows(X), 5, starts=3, rng=np.random.default_rng(0)):
        drawn = {tuple(row) for row in seeds.tolist()}
        assert len(drawn) == 5
        assert drawn <= rows


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 15, 16, 17, 33, 1_023, 1_024, 1_025, 1_040, 3_000])
def test_the_seeds_are_those_of_the_twin(n, dtype, order):
    # Whole numbers: no precision rounds a mass, so that both stop at the same row.
    for seed in range(3):
        rng = np.random.default_rng([n, seed])
        X = np.asarray(rng.integers(-9, 10, size=(n, 1 + seed * 3)), dtype=dtype, order=order)
        weights = rng.integers(0, 3, size=n).astype(float)
        weights[-1] = 1.0
        shares = rng.random((2, min(n, 9), 4))
        for given in (None, weights):
            picks = ArrayRows(X, given, threads=1).seeds(shares)
            own = np.ones(n) if given is None else given
            for start in range(2):
                assert picks[start].tolist() == kmeans_twin.greedy_seeds(X, own, shares[start]).tolist()


def test_every_far_group_gets_a_seed():
    # Groups 1000 apart and 1 wide: a second seed in one group has a chance of one in a million.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(8), 50)
    X = groups[:, np.newaxis] * 1000.0 + rng.random((400, 2))
    for seeds in kmeans_plus_plus(ArrayRows(X), 8, starts=20, rng=rng):
        assert sorted((seeds[:, 0] // 1000).astype(int).tolist()) == list(range(8))


def test_the_first_seed_follows_the_weights():
    rows = ArrayRows([[0.0], [1.0], [2.0]], [1.0, 0.0, 3.0])
    firsts = [seeds[0, 0] for seeds in kmeans_plus_plus(rows, 1, starts=4_000, rng=np.random.default_rng(0))]
    assert 1.0 not in firsts
    # Four standard errors of a share of 3/4 in 4,000 draws.
    assert abs(np.mean(np.array(firsts) == 2.0) - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 4_000)


def test_greedy_seeds_cost_less_than_plain_draws():
    rows = ArrayRows(np.random.default_rng(0).normal(size=(3_000, 4)))
    rng = np.random.default_rng(1)
    greedy = [stats.inertia for stats in rows.step(kmeans_plus_plus(rows, 10, starts=20, rng=rng))]
    plain = [stats.inertia for stats in rows.step(random_starts(rows, 10, starts=20, rng=rng))]
    assert np.median(greedy) < np.median(plain)


def test_seeds_do_not_depend_on_threads():
    X = np.random.default_rng(2).normal(size=(4_000, 3))
    one, two = (
        kmeans_plus_plus(ArrayRows(X, threads=threads), 6, starts=5, rng=np.random.default_rng(3)) for threads in (1, 2)
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("draw", [kmeans_plus_plus, random_starts])
def test_rows_without_weight_are_never_seeds(draw):
    rows = ArrayRows([[0.0], [1.0], [2.0], [3.0]], [1.0, 0.0, 1.0, 0.0])
    for seeds in draw(rows, 2, starts=50, rng=np.random.default_rng(0)):
        assert sorted(seeds[:, 0].tolist()) == [0.0, 2.0]


def test_too_few_different_rows_are_told_with_their_number():
    rows = ArrayRows([[1.0], [1.0], [2.0], [2.0]])
    with pytest.raises(TooFewDistinctRowsError, match="k=3 for 2 different rows") as caught:
        kmeans_plus_plus(rows, 3, starts=2, rng=np.random.default_rng(0))
    assert caught.value.found == 2


def test_too_few_rows_for_random_starts_are_told():
    with pytest.raises(TooFewDistinctRowsError, match="k=2 for 1 different row"):
        random_starts(ArrayRows([[1.0], [2.0]], [1.0, 0.0]), 2, starts=1, rng=np.random.default_rng(0))


@pytest.mark.parametrize(("n", "m"), [(10, 10), (1_000, 7), (3, 1)])
def test_an_even_draw_takes_one_row_from_each_stretch(n, m):
    for seed in range(20):
        index = draw_evenly(n, m, np.random.default_rng(seed))
        edges = np.arange(m + 1) * n / m
        assert (index >= np.floor(edges[:-1])).all()
        assert (index <= edges[1:]).all()
        assert len(set(index.tolist())) == m


def test_every_row_has_the_same_chance_in_an_even_draw():
    rng = np.random.default_rng(0)
    times = np.bincount(np.concatenate([draw_evenly(7, 3, rng) for _ in range(7_000)]), minlength=7)
    # Each count is a sum of independent yes-or-no draws: its deviation is at most that of a binomial one.
    assert np.abs(times - 3_000).max() < 5 * np.sqrt(7_000 * (3 / 7) * (4 / 7))
