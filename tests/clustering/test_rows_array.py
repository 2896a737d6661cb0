"""One read of the rows: distances, sums, labels, on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from engine.clustering.rows_array import ArrayRows
from engine.errors import DataError, SettingError
from tests.reference import kmeans_twin


def make_rows(seed, n=300, d=5, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


def assert_same(one, other):
    for name in ("counts", "sums", "sse"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_step_of_a_case_worked_by_hand():
    # (0,0) and (0,2) lie 1 from (0,1); (9,0) lies 1 from (8,0); nobody is nearest to (0,50).
    rows = ArrayRows([[0.0, 0.0], [0.0, 2.0], [9.0, 0.0]])
    C = np.array([[0.0, 1.0], [8.0, 0.0], [0.0, 50.0]])
    (stats,) = rows.step([C])
    assert stats.counts.tolist() == [2.0, 1.0, 0.0]
    assert stats.sums.tolist() == [[0.0, 2.0], [9.0, 0.0], [0.0, 0.0]]
    assert stats.sse.tolist() == [2.0, 1.0, 0.0]
    assert rows.farthest(C).tolist() == [0, 2, -1]
    assert stats.inertia == 3.0


def test_a_row_between_two_centroids_goes_to_the_lower_number():
    labels = np.empty(1, dtype=np.int32)
    ArrayRows([[0.0]]).assign(np.array([[1.0], [-1.0]]), labels)
    assert labels.tolist() == [0]


@pytest.mark.parametrize("seed", range(5))
def test_several_models_in_one_read_equal_one_read_each(seed):
    rows = ArrayRows(make_rows(seed, n=30_000))
    models = [make_rows(seed + k, n=k).astype(np.float64) for k in (1, 4, 9)]
    for together, model in zip(rows.step(models), models, strict=True):
        assert_same(together, rows.step([model])[0])


def test_the_turns_that_bound_memory_change_nothing(monkeypatch):
    rows = ArrayRows(make_rows(0, n=200_000, d=2))
    C = make_rows(1, n=5, d=2).astype(np.float64)
    (whole,) = rows.step([C])
    monkeypatch.setattr("engine.clustering.rows_array.PARTS_BYTES", 1)
    assert_same(rows.step([C])[0], whole)


@pytest.mark.parametrize("weighted", [False, True])
def test_any_number_of_threads_gives_the_same_bits(weighted):
    X = make_rows(2, n=100_000, d=6)
    weights = np.random.default_rng(3).random(len(X)) if weighted else None
    C = X[:8].astype(np.float64)
    one, two = (ArrayRows(X, weights, threads=threads) for threads in (1, 2))
    assert_same(one.step([C])[0], two.step([C])[0])
    labels = np.empty((2, len(X)), dtype=np.int32)
    distances = np.empty((2, len(X)), dtype=np.float32)
    assert one.assign(C, labels[0], distances[0]) == two.assign(C, labels[1], distances[1])
    np.testing.assert_array_equal(labels[0], labels[1])
    np.testing.assert_array_equal(distances[0], distances[1])


def test_the_threads_of_others_are_left_as_they_were():
    import numba

    before = numba.get_num_threads()
    ArrayRows(make_rows(0), threads=1).step([np.zeros((1, 5))])
    assert numba.get_num_threads() == before


@pytest.mark.parametrize("seed", range(6))
def test_assign_agrees_with_the_twin_up_to_ties(seed):
    X = make_rows(seed, n=500, d=3 + seed)
    C = make_rows(seed + 100, n=9, d=3 + seed).astype(np.float64)
    labels, distances = np.empty(500, dtype=np.int32), np.empty(500, dtype=np.float32)
    inertia = ArrayRows(X).assign(C, labels, distances)
    squared = kmeans_twin.squared_distances(X, C)
    np.testing.assert_allclose(squared[np.arange(500), labels], squared.min(axis=1), rtol=1e-5)
    np.testing.assert_allclose(distances, np.sqrt(squared.min(axis=1)), rtol=1e-5)
    np.testing.assert_allclose(inertia, squared.min(axis=1).sum(), rtol=1e-6)


def test_assign_and_step_tell_the_same_inertia():
    rows = ArrayRows(make_rows(4, n=20_000))
    C = make_rows(5, n=6).astype(np.float64)
    inertia = rows.assign(C, np.empty(rows.n, dtype=np.int32))
    np.testing.assert_allclose(inertia, rows.step([C])[0].inertia, rtol=1e-12)


def test_more_than_sixteen_million_rows_in_a_cluster_would_be_counted():
    # A float32 counter stops at 2^24; a weight shows it without the rows.
    (stats,) = ArrayRows([[1.0], [1.0]], [2.0**24, 1.0]).step([np.zeros((1, 1))])
    assert stats.counts[0] == 2**24 + 1


def test_weights_equal_repeated_rows():
    X = make_rows(6, n=200)
    times = np.random.default_rng(7).integers(0, 4, size=200)
    C = X[:5].astype(np.float64)
    (weighted,) = ArrayRows(X, times).step([C])
    (repeated,) = ArrayRows(np.repeat(X, times, axis=0)).step([C])
    np.testing.assert_array_equal(weighted.counts, repeated.counts)
    np.testing.assert_allclose(weighted.sums, repeated.sums, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(weighted.sse, repeated.sse, rtol=1e-12)


def test_take_copies_the_asked_rows_in_order():
    X = make_rows(8)
    taken = ArrayRows(X).take(np.array([5, 0, 5]))
    np.testing.assert_array_equal(taken, X[[5, 0, 5]])
    taken[:] = 0
    assert X[5].any()


def drawn_often(rows, C, even, per_square, times):
    """How often each row was drawn."""
    counts = np.zeros(rows.n)
    for seed in np.random.default_rng(99).integers(2**63, size=times).tolist():
        drawn = rows.draw(C, even, per_square, seed)
        assert (np.diff(drawn.index) > 0).all()
        counts[drawn.index] += 1
    return counts


@pytest.mark.parametrize("weighted", [False, True])
def test_a_row_is_drawn_as_often_as_its_chance_says(weighted):
    X = make_rows(11, n=120, d=3)
    C = make_rows(12, n=4, d=3).astype(np.float64)
    weights = np.random.default_rng(13).integers(0, 4, size=120).astype(float) if weighted else None
    own = np.ones(120) if weights is None else weights
    _, squared, *_ = kmeans_twin.read(X, C)
    chance = np.minimum(own * (0.05 + 0.25 * squared), 1.0)
    assert 0 < (chance == 1).sum() < 60
    counts = drawn_often(ArrayRows(X, weights, threads=1), C, 0.05, 0.25, 3_000)
    # Four standard errors of 3,000 yes-or-no draws; a chance of 1 or 0 leaves no play.
    assert (np.abs(counts - 3_000 * chance) <= 4 * np.sqrt(3_000 * chance * (1 - chance))).all()


def test_drawn_rows_that_count_for_those_they_stand_for_sum_to_all_rows():
    X, C = make_rows(14, n=900, d=2), make_rows(15, n=3, d=2).astype(np.float64)
    weights = np.random.default_rng(16).random(900)
    rows = ArrayRows(X, weights, threads=1)
    told = []
    for seed in range(1_500):
        drawn = rows.draw(C, 0.1, 0.05, seed)
        chance = np.minimum(weights[drawn.index] * (0.1 + 0.05 * drawn.squared), 1.0)
        stand_for = weights[drawn.index] / chance
        told.append([stand_for.sum(), *(stand_for @ X[drawn.index]), stand_for @ drawn.squared])
    (stats,) = rows.step([C])
    truth = [weights.sum(), *stats.sums.sum(axis=0), stats.inertia]
    errors = np.std(told, axis=0) / np.sqrt(len(told))
    assert (np.abs(np.mean(told, axis=0) - truth) <= 4 * errors).all()
    # Were the draws of one read not independent, the sum of weights would vary more, or less.
    chance = np.minimum(weights * (0.1 + 0.05 * kmeans_twin.read(X, C)[1]), 1.0)
    expected = (weights**2 * (1 - chance) / chance).sum()
    assert np.var(told, axis=0)[0] == pytest.approx(expected, rel=4 * np.sqrt(2 / len(told)))


def test_the_distances_of_drawn_rows_and_the_inertia_of_all_are_told():
    X, C = make_rows(17, n=20_000), make_rows(18, n=6).astype(np.float64)
    rows = ArrayRows(X)
    drawn = rows.draw(C, 0.01, 0.01, 3)
    _, squared, *_ = kmeans_twin.read(X, C.astype(np.float32))
    np.testing.assert_allclose(drawn.squared, squared[drawn.index], rtol=1e-5)
    assert drawn.inertia == pytest.approx(rows.step([C])[0].inertia, rel=1e-12)
    assert drawn.squared.dtype == np.float64


@pytest.mark.parametrize("seed", range(3))
def test_a_row_is_drawn_or_not_whoever_holds_it(seed, monkeypatch):
    X, C = make_rows(seed, n=30_000), make_rows(seed + 50, n=4).astype(np.float64)
    whole = ArrayRows(X).draw(C, 0.002, 0.002, seed)
    assert 50 < len(whole.index) < 2_000
    parts = [
        ArrayRows(X[low:high]).draw(C, 0.002, 0.002, seed, first_row=low)
        for low, high in [(0, 1), (1, 9_000), (9_000, 30_000)]
    ]
    found = np.concatenate([part.index + low for part, low in zip(parts, (0, 1, 9_000), strict=True)])
    np.testing.assert_array_equal(found, whole.index)
    monkeypatch.setattr("engine.clustering.rows_array.DRAWN_CHUNKS", 1)
    in_turns = ArrayRows(np.asfortranarray(X), threads=1).draw(C, 0.002, 0.002, seed)
    np.testing.assert_array_equal(in_turns.index, whole.index)
    assert (in_turns.squared.tobytes(), in_turns.inertia) == (whole.squared.tobytes(), whole.inertia)
    other = ArrayRows(X).draw(C, 0.002, 0.002, seed + 1)
    # Some five of 500 would be drawn twice by chance.
    assert len(np.intersect1d(other.index, whole.index)) < 30


def test_sure_rows_are_always_drawn_and_hopeless_ones_never():
    rows = ArrayRows([[0.0], [1.0], [1.0], [0.0]], [1.0, 1.0, 0.0, 2.0], threads=1)
    for seed in range(200):
        assert rows.draw(np.array([[0.0]]), 0.0, 1.0, seed).index.tolist() == [1]
        assert rows.draw(np.array([[0.0]]), 1.0, 0.0, seed).index.tolist() == [0, 1, 3]
        assert len(rows.draw(np.array([[0.0]]), 0.0, 0.0, seed).index) == 0


def test_the_farthest_row_has_a_weight_and_is_the_first_of_equals():
    X = np.zeros((20_000, 1), np.float32)
    X[[3, 9_000, 19_000], 0] = [7.0, -7.0, 7.0]
    C = np.array([[0.0], [50.0]])
    assert ArrayRows(X).farthest(C).tolist() == [3, -1]
    weights = np.ones(20_000)
    weights[3] = 0.0
    assert ArrayRows(X, weights).farthest(C).tolist() == [9_000, -1]


def test_distinct_merges_copies_in_lexical_order_and_drops_rows_without_weight():
    rows = ArrayRows([[2.0, 1.0], [-0.0, 5.0], [2.0, 1.0], [0.0, 5.0], [9.0, 9.0]], [1, 2, 3, 4, 0]).distinct()
    assert rows.matrix.tolist() == [[0.0, 5.0], [2.0, 1.0]]
    assert rows.weights.tolist() == [6.0, 4.0]


LAYOUTS = {
    "by columns": np.asfortranarray,
    "every other row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "reversed": lambda X: X[::-1][::-1],
    "integers": lambda X: X.astype(np.int64),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_is_read_and_left_alone(layout):
    X = np.round(make_rows(9, dtype=np.float64) * 10)
    given = LAYOUTS[layout](X)
    before = given.copy()
    given.setflags(write=False)
    C = X[:3].copy()
    assert_same(ArrayRows(given).step([C])[0], ArrayRows(X).step([C])[0])
    assert ArrayRows(given).farthest(C).tolist() == ArrayRows(X).farthest(C).tolist()
    np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ([[1.0, np.nan], [np.nan, np.nan], [0.0, 1.0]], r"column 0 \(1\), column 1 \(2\) of 3 rows"),
        ([[1.0, np.inf], [0.0, -np.inf]], r"column 1 \(2\) of 2 rows"),
        ([1.0, 2.0], r"got shape \(2,\)"),
        (np.empty((0, 3)), r"got shape \(0, 3\)"),
        (np.empty((3, 0)), r"got shape \(3, 0\)"),
    ],
)
def test_rows_that_cannot_be_clustered_are_refused(bad, told):
    with pytest.raises(DataError, match=told):
        ArrayRows(bad)


def test_columns_with_bad_values_are_told_by_name():
    with pytest.raises(DataError, match=r"monetary \(1\)"):
        ArrayRows([[1.0, np.nan]], names=["frequency", "monetary"])


@pytest.mark.parametrize(
    ("weights", "told"),
    [([1.0], "2 rows"), ([1.0, -1.0], "1 of 2"), ([np.nan, 1.0], "1 of 2"), ([0.0, 0.0], "all are 0")],
)
def test_impossible_weights_are_refused(weights, told):
    with pytest.raises(DataError, match=told):
        ArrayRows([[1.0], [2.0]], weights)


def test_no_threads_are_refused():
    with pytest.raises(SettingError, match="threads"):
        ArrayRows([[1.0]], threads=0)


def test_centroids_of_another_width_are_refused():
    with pytest.raises(DataError, match=r"\(k, 2\)"):
        ArrayRows([[1.0, 2.0]]).step([np.zeros((1, 3))])
