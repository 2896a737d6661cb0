from __future__ import annotations

import math

import numpy as np
import pytest

from engine.clustering.quality import inertia, silhouette
from engine.errors import DataError
from tests.reference.inertia_twin import inertia_row_by_row
from tests.reference.silhouette_twin import silhouette_all_pairs


def rows_and_labels(seed: int, n: int, d: int, k: int, offset: float = 0.0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) + offset).astype(np.float32), rng.integers(0, k, n).astype(np.int32)


@pytest.mark.parametrize(
    ("n", "d", "k", "offset"),
    [(2, 1, 2, 0), (40, 1, 3, 0), (60, 3, 5, 0), (80, 8, 4, 0), (150, 17, 2, 0), (50, 2, 40, 0), (60, 4, 3, 1000.0)],
)
def test_silhouette_equals_the_mean_over_all_pairs(n, d, k, offset):
    for seed in range(3):
        matrix, labels = rows_and_labels(seed, n, d, k, offset)
        labels[:2] = [0, 1]
        assert silhouette(matrix, labels) == pytest.approx(silhouette_all_pairs(matrix, labels), abs=1e-10)


def test_silhouette_agrees_with_scikit_learn():
    from sklearn.metrics import silhouette_score

    matrix, labels = rows_and_labels(5, 400, 3, 4)
    theirs = silhouette_score(matrix.astype(np.float64), labels, metric="sqeuclidean")
    assert silhouette(matrix, labels) == pytest.approx(theirs, abs=1e-10)


def test_silhouette_worked_by_hand():
    # a = 1 for all four; b = (100 + 121) / 2 = 110.5 outside and (81 + 100) / 2 = 90.5 inside.
    matrix = np.array([[0], [1], [10], [11]], np.float32)
    assert silhouette(matrix, np.array([0, 0, 1, 1])) == pytest.approx(1 - (1 / 110.5 + 1 / 90.5) / 2, abs=1e-15)


@pytest.mark.parametrize(
    ("values", "labels", "expected"),
    [
        ([0, 0, 5], [0, 0, 1], 2 / 3),  # the two equal rows score 1, the one alone 0
        ([3, 3, 3, 3], [0, 0, 1, 1], 0.0),  # all rows equal: no distance anywhere
        ([0, 1, 9], [0, 1, 2], 0.0),  # each alone
        ([0, 1, 10, 11], [5, 5, 2, 2], 1 - (1 / 110.5 + 1 / 90.5) / 2),  # indices without rows are passed over
    ],
)
def test_silhouette_at_the_edges(values, labels, expected):
    matrix = np.array(values, np.float32)[:, None]
    assert silhouette(matrix, np.array(labels)) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("labels", [np.zeros(5, np.int32), np.full(5, 3, np.int32)])
def test_silhouette_of_one_cluster_is_not_defined(labels):
    assert silhouette(np.arange(5, dtype=np.float32)[:, None], labels) is None


def test_silhouette_of_no_rows_is_not_defined():
    assert silhouette(np.empty((0, 2), np.float32), np.empty(0, np.int32)) is None


def test_silhouette_does_not_change_when_clusters_are_renumbered():
    # Cluster indices are arbitrary; only rounding of the order of summation may move.
    matrix, labels = rows_and_labels(1, 500, 4, 6)
    renumbered = np.array([3, 5, 0, 1, 4, 2], np.int32)[labels]
    assert silhouette(matrix, renumbered) == pytest.approx(silhouette(matrix, labels), abs=1e-12)


@pytest.mark.parametrize("labels", [np.zeros(3, np.int32), np.array([0, 1, -1, 0], np.int32)])
def test_silhouette_refuses_labels_that_do_not_fit(labels):
    with pytest.raises(DataError, match=r"labels? "):
        silhouette(np.zeros((4, 2), np.float32), labels)


@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (50, 1, 3), (300, 7, 5), (90, 33, 12)])
def test_inertia_equals_the_sum_row_by_row(n, d, k):
    for seed in range(3):
        matrix, _ = rows_and_labels(seed, n, d, 2, offset=seed * 100.0)
        centroids = matrix[:k].astype(np.float64) + 0.25 if n >= k else matrix.astype(np.float64)
        assert inertia(matrix, centroids) == pytest.approx(inertia_row_by_row(matrix, centroids), rel=1e-12)


def test_inertia_is_zero_on_the_rows_themselves():
    matrix, _ = rows_and_labels(0, 20, 3, 2)
    assert inertia(matrix, matrix) == 0.0


def test_inertia_keeps_small_distances_far_from_the_origin():
    # |x|² - 2xc + |c|² in float64 would be wrong by about 1e-4 here; differences are exact.
    matrix = np.array([[2.0**20], [2.0**20 + 0.125]], np.float32)
    assert inertia(matrix, np.array([[2.0**20]])) == 0.125**2


def test_inertia_refuses_centroids_of_another_width():
    with pytest.raises(DataError, match="feature spec"):
        inertia(np.zeros((4, 2), np.float32), np.zeros((2, 3)))


@pytest.mark.parametrize("figure", ["inertia", "silhouette"])
def test_bits_do_not_depend_on_threads(figure):
    # 200,000 rows are several chunks, so that two threads share them.
    matrix, labels = rows_and_labels(3, 200_000, 3, 5)
    centroids = matrix[:5].astype(np.float64)
    found = {
        (silhouette(matrix, labels, threads=t) if figure == "silhouette" else inertia(matrix, centroids, threads=t))
        for t in (None, 1, 2, 64)
    }
    assert len(found) == 1
    assert math.isfinite(found.pop())


def test_threads_of_the_caller_are_left_as_they_were():
    import numba

    before = numba.get_num_threads()
    inertia(np.zeros((3, 1), np.float32), np.zeros((1, 1)), threads=1)
    assert numba.get_num_threads() == before


def test_arguments_are_not_written_to():
    matrix, labels = rows_and_labels(0, 100, 3, 3)
    matrix.flags.writeable = labels.flags.writeable = False
    turned = np.asfortranarray(matrix)
    assert silhouette(turned, labels) == silhouette(matrix, labels)
    assert inertia(turned[::2], matrix[:2]) == inertia(np.ascontiguousarray(matrix[::2]), matrix[:2])
