from __future__ import annotations

import json
import math

import numpy as np
import pytest

from engine.clustering import indices
from engine.clustering.backends import cluster
from engine.clustering.indices import (
    Estimate,
    calinski_harabasz,
    davies_bouldin,
    explained,
    silhouette_euclidean,
    total_scatter,
)
from engine.clustering.nearest import two_nearest
from engine.clustering.stratified import draw_from_clusters, even_level
from engine.errors import DataError, SettingError
from tests.reference.indices_twin import (
    davies_bouldin_by_pairs,
    inertia_of_labels,
    silhouette_all_pairs,
    total_scatter_in_fractions,
)


def rows_and_labels(seed: int, n: int, d: int, k: int, offset: float = 0.0):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(k), rng.integers(0, k, n - k)]).astype(np.int32)
    centres = rng.normal(size=(k, d)) * 2
    return (centres[labels] + rng.normal(size=(n, d)) + offset).astype(np.float32), labels


def centroids_and_distances(matrix, labels):
    centroids = np.array([matrix[labels == j].mean(axis=0, dtype=np.float64) for j in range(labels.max() + 1)])
    return centroids, np.sqrt(((matrix - centroids[labels]) ** 2).sum(axis=1)).astype(np.float32)


SHAPES = [(3, 1, 2, 0.0), (40, 1, 3, 0.0), (60, 3, 5, 0.0), (80, 17, 4, 0.0), (50, 2, 40, 0.0), (60, 4, 3, 1000.0)]


# total scatter and the share explained


@pytest.mark.parametrize(("n", "d", "k", "offset"), SHAPES)
def test_total_scatter_equals_the_sum_in_fractions(n, d, k, offset):
    for seed in range(3):
        matrix, _ = rows_and_labels(seed, n, d, k, offset)
        assert total_scatter(matrix) == pytest.approx(total_scatter_in_fractions(matrix), rel=1e-12)


def test_total_scatter_keeps_a_small_spread_around_large_values():
    # Spread 1e-3 near 1e9: |x|² would lose it in float64 altogether. One far row first must not spoil the mean either.
    rng = np.random.default_rng(0)
    near = 1e9 + rng.normal(scale=1e-3, size=(500, 3))
    assert total_scatter(near) == pytest.approx(total_scatter_in_fractions(near), rel=1e-9)
    far_first = np.concatenate([[[-1e9, 0.0, 5.0]], near])
    assert total_scatter(far_first) == pytest.approx(total_scatter_in_fractions(far_first), rel=1e-12)


def test_total_scatter_is_the_inertia_of_one_cluster():
    matrix, _ = rows_and_labels(0, 500, 4, 3)
    assert total_scatter(matrix) == pytest.approx(cluster(matrix, 1).inertia, rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 3.0, 0.1, -1e9])
def test_total_scatter_of_equal_rows_is_zero(value):
    assert total_scatter(np.full((100, 2), value)) == 0.0
    assert total_scatter(np.full((1, 2), value)) == 0.0


@pytest.mark.parametrize(("inertia", "total", "expected"), [(2, 8, 0.75), (0, 5, 1.0), (5, 5, 0.0), (5 + 1e-9, 5, 0.0)])
def test_explained_share(inertia, total, expected):
    assert explained(inertia, total) == expected


def test_nothing_is_explained_where_nothing_differs():
    assert explained(0.0, 0.0) is None


# Caliński and Harabasz


def test_calinski_harabasz_agrees_with_scikit_learn():
    from sklearn.metrics import calinski_harabasz_score

    for seed in range(5):
        matrix, labels = rows_and_labels(seed, 300, 4, 6)
        ours = calinski_harabasz(inertia_of_labels(matrix, labels), total_scatter(matrix), n=300, k=6)
        assert ours == pytest.approx(calinski_harabasz_score(matrix.astype(np.float64), labels), rel=1e-10)


def test_calinski_harabasz_worked_by_hand():
    # Rows 0, 1, 10, 11 in two halves: within 4 × 0.25 = 1, total 2 × (5.5² + 4.5²) = 101, so (100 / 1) / (1 / 2).
    matrix = np.array([[0.0], [1.0], [10.0], [11.0]])
    assert calinski_harabasz(1.0, total_scatter(matrix), n=4, k=2) == 200.0


@pytest.mark.parametrize(
    ("inertia", "total", "n", "k"),
    [(10.0, 10.0, 5, 1), (0.0, 10.0, 5, 5), (0.0, 10.0, 5, 2), (5e-324, 1e300, 5, 2), (0.0, 0.0, 1, 1)],
)
def test_calinski_harabasz_is_none_where_it_has_no_finite_value(inertia, total, n, k):
    assert calinski_harabasz(inertia, total, n=n, k=k) is None


def test_calinski_harabasz_of_an_inertia_rounded_above_the_scatter_is_zero():
    assert calinski_harabasz(10.0 + 1e-9, 10.0, n=9, k=2) == 0.0


@pytest.mark.parametrize(
    ("inertia", "total", "n", "k"),
    [(math.nan, 1, 5, 2), (-1, 1, 5, 2), (1, math.inf, 5, 2), (1, 2, 5, 6), (1, 2, 5, 0)],
)
def test_calinski_harabasz_refuses_figures_that_cannot_be(inertia, total, n, k):
    with pytest.raises(DataError, match="expected"):
        calinski_harabasz(inertia, total, n=n, k=k)


# Davies and Bouldin


@pytest.mark.parametrize(("n", "d", "k", "offset"), SHAPES)
def test_davies_bouldin_equals_its_definition_and_scikit_learn(n, d, k, offset):
    from sklearn.metrics import davies_bouldin_score

    for seed in range(3):
        matrix, labels = rows_and_labels(seed, n, d, k, offset)
        ours = davies_bouldin(*_arguments(matrix, labels))
        assert ours == pytest.approx(davies_bouldin_by_pairs(matrix, labels), rel=1e-6)
        assert ours == pytest.approx(davies_bouldin_score(matrix.astype(np.float64), labels), rel=1e-6)


def _arguments(matrix, labels):
    centroids, distances = centroids_and_distances(matrix, labels)
    return centroids, labels, distances


def test_davies_bouldin_worked_by_hand():
    # Widths 0.5, 0.5 and 0, centres 0.5, 10.5 and 30: (1/10 + 1/10 + 0.5/19.5) / 3.
    matrix, labels = np.array([[0.0], [1.0], [10.0], [11.0], [30.0]]), np.array([0, 0, 1, 1, 2])
    assert davies_bouldin(*_arguments(matrix, labels)) == pytest.approx((0.2 + 0.5 / 19.5) / 3, rel=1e-14)


def test_davies_bouldin_does_not_depend_on_order_or_numbers():
    for seed in range(5):
        matrix, labels = rows_and_labels(seed, 200, 3, 5)
        centroids, labels, distances = _arguments(matrix, labels)
        order = np.random.default_rng(seed).permutation(200)
        new = np.random.default_rng(seed).permutation(5)
        centroids_moved = np.empty_like(centroids)
        centroids_moved[new] = centroids
        moved = davies_bouldin(centroids_moved, new[labels][order], distances[order])
        assert moved == pytest.approx(davies_bouldin(centroids, labels, distances), rel=1e-12)


def test_davies_bouldin_adds_blocks_of_rows(monkeypatch):
    arguments = _arguments(*rows_and_labels(0, 100, 2, 4))
    whole = davies_bouldin(*arguments)
    monkeypatch.setattr(indices, "_BLOCK_ROWS", 7)
    assert davies_bouldin(*arguments) == pytest.approx(whole, rel=1e-13)


@pytest.mark.parametrize(
    ("centroids", "labels"),
    [([[0.0]], [0, 0]), ([[0.0], [5.0]], [1, 1]), ([[3.0], [3.0]], [0, 1]), ([[0.0], [5.0]], [])],
)
def test_davies_bouldin_is_none_where_it_has_no_finite_value(centroids, labels):
    assert davies_bouldin(np.array(centroids), np.array(labels), np.ones(len(labels))) is None


def test_davies_bouldin_passes_over_clusters_without_rows():
    centroids, labels, distances = _arguments(*rows_and_labels(0, 50, 2, 3))
    spare = np.concatenate([centroids[:1], [[0.0, 0.0]], centroids[1:]])
    there = np.array([0, 2, 3])[labels]
    assert davies_bouldin(spare, there, distances) == davies_bouldin(centroids, labels, distances)


@pytest.mark.parametrize(
    ("labels", "distances", "expected"),
    [
        ([0, 1, 0], [1.0, 1.0], "one label for each of 2 rows"),
        ([0, 2], [1.0, 1.0], "below the number of centroids, 2; got 2"),
        ([0, -1], [1.0, 1.0], "labels from 0"),
        ([0, 1], [1.0, np.nan], "finite distances"),
        ([0, 1], [1.0, -1.0], "at least 0"),
    ],
)
def test_davies_bouldin_refuses_what_does_not_fit(labels, distances, expected):
    with pytest.raises(DataError, match=expected):
        davies_bouldin(np.array([[0.0], [5.0]]), np.array(labels), np.array(distances))


# the Euclidean silhouette


@pytest.mark.parametrize(("n", "d", "k", "offset"), SHAPES)
def test_silhouette_of_all_rows_equals_all_pairs(n, d, k, offset):
    for seed in range(2):
        matrix, labels = rows_and_labels(seed, n, d, k, offset)
        found = silhouette_euclidean(matrix, labels)
        assert found.value == pytest.approx(silhouette_all_pairs(matrix, labels), abs=1e-12)
        assert found.standard_error == 0.0


def test_silhouette_of_all_rows_agrees_with_scikit_learn():
    from sklearn.metrics import silhouette_score

    # 1,500 rows in uneven clusters fill several blocks of the kernel.
    matrix, labels = rows_and_labels(3, 1_500, 5, 4)
    labels[:900] = 0
    theirs = silhouette_score(matrix.astype(np.float64), labels)
    assert silhouette_euclidean(matrix, labels).value == pytest.approx(theirs, abs=1e-10)


@pytest.mark.parametrize(
    ("values", "labels", "expected"),
    [
        ([0, 1, 10, 11], [0, 0, 1, 1], (9.5 / 10.5 + 8.5 / 9.5) / 2),
        ([0, 1, 10, 11], [7, 7, 2, 2], (9.5 / 10.5 + 8.5 / 9.5) / 2),  # indices without rows are passed over
        ([0, 0, 5], [0, 0, 1], 2 / 3),  # the two equal rows score 1, the one alone 0
        ([3, 3, 3, 3], [0, 0, 1, 1], 0.0),  # all rows equal: no distance anywhere
        ([0, 1, 9], [0, 1, 2], 0.0),  # each alone
    ],
)
def test_silhouette_at_the_edges(values, labels, expected):
    found = silhouette_euclidean(np.array(values, np.float32)[:, None], np.array(labels))
    assert found == Estimate(pytest.approx(expected, abs=1e-15), 0.0)


def test_silhouette_needs_two_clusters():
    assert silhouette_euclidean(np.zeros((5, 1)), np.full(5, 3)) is None
    assert silhouette_euclidean(np.zeros((1, 1)), np.zeros(1, np.int32)) is None
    assert silhouette_euclidean(np.zeros((0, 1)), np.zeros(0, np.int32)) is None


def skewed(seed: int, n: int = 4_000):
    """Groups of very unlike sizes, cut by their true centres."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, 3)) * 2.5
    matrix = centres[rng.choice(6, n, p=[0.5, 0.3, 0.1, 0.06, 0.035, 0.005])] + rng.normal(size=(n, 3))
    return matrix.astype(np.float32), two_nearest(matrix.astype(np.float32), centres).first


@pytest.mark.parametrize(
    ("rows", "sample_rows", "pairs"),
    [(4_000, 300, 2**26), (4_000, 300, 1), (600, 450, 2**26)],
    ids=["against all rows", "against a second sample", "most rows"],
)
def test_silhouette_is_unbiased_and_its_error_covers_the_truth(rows, sample_rows, pairs, monkeypatch):
    matrix, labels = skewed(0, rows)
    truth = silhouette_euclidean(matrix, labels, sample_rows=rows)
    assert truth.standard_error == 0.0
    # With 1, each row meets 300 × 8 references instead of 4,000.
    monkeypatch.setattr(indices, "PAIRS", pairs)
    found = [silhouette_euclidean(matrix, labels, sample_rows=sample_rows, seed=seed) for seed in range(80)]
    errors = np.array([(one.value - truth.value) / one.standard_error for one in found])
    assert np.mean(np.abs(errors) > 3) <= 2 / 80
    assert np.mean(np.abs(errors) > 2) <= 8 / 80
    assert 0.7 < errors.std() < 1.3
    # The mean of 80 estimates has a ninth of the error of one.
    assert abs(errors.mean()) < 3 / 9


def test_silhouette_meets_only_the_references_it_says(monkeypatch):
    met = []
    real = indices.draw_from_clusters
    monkeypatch.setattr(indices, "draw_from_clusters", lambda *a: met.append(a[2].tolist()) or real(*a))
    matrix, labels = rows_and_labels(0, 4_000, 2, 2)
    labels[:] = 0
    labels[:100] = 1
    silhouette_euclidean(matrix, labels, sample_rows=100)
    monkeypatch.setattr(indices, "PAIRS", 1)
    silhouette_euclidean(matrix, labels, sample_rows=100)
    # 98 + 3 rows in proportion; all rows as references; then 8 × 101, of which the small cluster gives what it has.
    assert met == [[98, 3], [3900, 100], [98, 3], [708, 100]]


@pytest.mark.parametrize(
    ("references", "inside"),
    [([1, 2, 3], (1 + 2) / 2), ([0, 2, 3], 2.0), ([0, 1, 2, 3], (1 + 2) / 2)],
)
def test_a_row_is_not_counted_among_its_own_neighbours(references, inside):
    # Row 0 of the cluster 0, 1, 2 against one row at 10, with and without itself among the references.
    matrix, labels = np.array([[0.0], [1.0], [2.0], [10.0]]), np.array([0, 0, 0, 1])
    met = np.bincount(labels[references])
    rows = np.array([0]), np.array(references)
    (width,) = indices._silhouettes(matrix, labels, *rows, met, np.array([0, 1]), None)
    assert width == pytest.approx((10 - inside) / 10, abs=1e-15)


def test_silhouette_has_the_same_bits_for_any_threads():
    matrix, labels = skewed(1)
    found = {silhouette_euclidean(matrix, labels, sample_rows=500, threads=t) for t in (None, 1, 2, 64)}
    assert len(found) == 1
    scatters = {total_scatter(np.tile(matrix, (50, 1)), threads=t) for t in (None, 1, 2, 64)}
    assert len(scatters) == 1


def test_silhouette_of_all_rows_does_not_depend_on_order_or_numbers():
    matrix, labels = skewed(2, n=1_000)
    before = silhouette_euclidean(matrix, labels).value
    for seed in range(3):
        rng = np.random.default_rng(seed)
        order, new = rng.permutation(1_000), rng.permutation(6)
        assert silhouette_euclidean(matrix[order], new[labels][order]).value == pytest.approx(before, abs=1e-12)


def test_another_seed_draws_another_sample_and_the_same_seed_the_same():
    matrix, labels = skewed(0)
    once, again, other = (silhouette_euclidean(matrix, labels, sample_rows=100, seed=s) for s in (1, 1, 2))
    assert once == again != other


def test_estimates_can_be_written_as_json():
    matrix, labels = skewed(0)
    found = silhouette_euclidean(matrix, labels, sample_rows=100)
    assert json.loads(json.dumps([found.value, found.standard_error])) == [found.value, found.standard_error]


@pytest.mark.parametrize(
    ("matrix", "labels", "expected"),
    [
        (np.zeros((4, 2)), np.zeros(3, np.int32), "one label for each of 4 rows"),
        (np.zeros((4, 2)), np.array([0, 1, -1, 0]), "labels from 0; got -1"),
        (np.zeros((4, 2)), np.array([0.0, 1.0, 0.0, 1.0]), "whole numbers"),
        (np.array([[0.0, 1.0], [0.0, np.nan]]), np.array([0, 1]), "column 1"),
        (np.array([[0.0], [np.inf]]), np.array([0, 1]), "column 0"),
        (np.array([[0.0], [1e200]]), np.array([0, 1]), "scale them"),
        (np.zeros(2), np.array([0, 1]), r"rows \(n, d\)"),
    ],
)
def test_silhouette_refuses_rows_and_labels_that_do_not_fit(matrix, labels, expected):
    with pytest.raises(DataError, match=expected):
        silhouette_euclidean(matrix, labels)


def test_total_scatter_refuses_what_has_no_mean():
    with pytest.raises(DataError, match="column 0"):
        total_scatter(np.array([[np.nan]]))
    with pytest.raises(DataError, match="at least one"):
        total_scatter(np.zeros((0, 3)))


@pytest.mark.parametrize("settings", [{"sample_rows": 1}, {"seed": -1}])
def test_silhouette_refuses_settings_out_of_range(settings):
    with pytest.raises(SettingError, match="at least"):
        silhouette_euclidean(np.zeros((4, 1)), np.array([0, 0, 1, 1]), **settings)


def test_arguments_are_not_written_to():
    matrix, labels = skewed(0)
    matrix.flags.writeable = labels.flags.writeable = False
    turned = np.asfortranarray(matrix)
    assert silhouette_euclidean(turned, labels, sample_rows=50) == silhouette_euclidean(matrix, labels, sample_rows=50)
    assert total_scatter(turned) == total_scatter(matrix)


# rows drawn from clusters


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [([10, 10], 8, 4), ([2, 100, 100], 42, 20), ([3, 3], 100, 3), ([1, 2, 3, 50], 10, 4), ([5, 5], 1, 0)],
)
def test_even_level(sizes, total, expected):
    assert even_level(np.array(sizes), total) == expected


def test_rows_are_drawn_from_their_cluster_each_as_often_as_another(monkeypatch):
    from engine.clustering import stratified

    # Blocks of 7 rows cut through the clusters.
    monkeypatch.setattr(stratified, "_BLOCK_ROWS", 7)
    labels = np.array([2, 0, 0, 2, 1, 0, 2] * 5)
    sizes, wanted = np.bincount(labels), np.array([6, 5, 1])
    times = np.zeros(len(labels))
    for seed in range(400):
        drawn = draw_from_clusters(labels, sizes, wanted, np.random.default_rng(seed))
        assert np.bincount(labels[drawn]).tolist() == wanted.tolist()
        assert len(set(drawn.tolist())) == len(drawn)
        assert (np.diff(labels[drawn]) >= 0).all()
        times[drawn] += 1
    likely = (wanted / sizes)[labels]
    # Binomial counts of 400 draws, within 4 standard deviations.
    assert (np.abs(times - 400 * likely) <= 4 * np.sqrt(400 * likely * (1 - likely)) + 1e-9).all()
