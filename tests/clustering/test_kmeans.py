"""The estimator: scikit-learn's contract, its own hand-worked cases, and where it differs."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import polars as pl
import pytest
import sklearn.cluster
from sklearn.exceptions import ConvergenceWarning, NotFittedError, SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator

import engine.clustering
from engine.clustering import KMeans
from engine.errors import DataError, SettingError

X4 = np.array([[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [1.0, 1.0]])


def some(seed, n=500, d=3, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


def test_scikit_learns_own_checks():
    with warnings.catch_warnings():
        # The array-API check is skipped without an environment variable; some checks repeat rows on purpose.
        warnings.simplefilter("ignore", SkipTestWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        results = check_estimator(KMeans(), on_fail=None)
    assert [result["check_name"] for result in results if result["status"] == "failed"] == []
    assert sum(result["status"] == "passed" for result in results) > 50


def test_parameters_are_those_of_scikit_learn():
    theirs = sklearn.cluster.KMeans().get_params()
    assert KMeans().get_params() == {**theirs, "solver": "auto"}


def test_the_import_of_clustering_loads_neither_numba_nor_scikit_learn():
    code = "import sys, engine.clustering as c; print([m for m in ('numba', 'sklearn', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_there():
    assert engine.clustering.__all__ == ["KMeans"]
    assert engine.clustering.KMeans is KMeans
    with pytest.raises(AttributeError, match="KMean'"):
        _ = engine.clustering.KMean


def test_four_weighted_points_worked_by_hand():
    # Weights 3, 1, 1, 3: centres (1/8, 0) and (7/8, 1); inertia 2 * (3 / 64 + 9 / 64) = 3 / 8.
    model = KMeans(2, init=np.array([[0.0, 0.0], [1.0, 1.0]])).fit(X4, sample_weight=[3, 1, 1, 3])
    assert model.labels_.tolist() == [0, 0, 1, 1]
    assert model.cluster_centers_.tolist() == [[0.125, 0.0], [0.875, 1.0]]
    assert model.inertia_ == 0.375


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_from_the_same_start_the_result_is_scikit_learns(seed, dtype):
    X = some(seed, dtype=dtype)
    ours = KMeans(5, init=X[:5]).fit(X)
    theirs = sklearn.cluster.KMeans(5, init=X[:5], n_init=1).fit(X)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.inertia_, theirs.inertia_, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_zero_the_clusters_are_the_same(dtype):
    # Multiples of 1/8 around 2^20 are float32 numbers, so that the move itself loses nothing.
    X = (np.round(some(0, n=2_000) * 8) / 8).astype(dtype)
    near, far = KMeans(4, random_state=0).fit(X), KMeans(4, random_state=0).fit(X + dtype(2**20))
    np.testing.assert_array_equal(near.labels_, far.labels_)
    np.testing.assert_allclose(far.cluster_centers_ - 2**20, near.cluster_centers_, atol=1e-5)
    np.testing.assert_allclose(far.inertia_, near.inertia_, rtol=1e-6)
    np.testing.assert_allclose(far.transform(X + dtype(2**20)), near.transform(X), atol=1e-4)


def test_one_feature_far_from_zero_does_not_disturb_the_others():
    X = some(1, dtype=np.float32)
    shifted = X + np.array([0, 1e6, 0], dtype=np.float32)
    labels = KMeans(3, random_state=0).fit(np.column_stack([X[:, [0, 2]], np.zeros(len(X), np.float32)])).labels_
    shifted[:, 1] = 1e6
    ours = KMeans(3, random_state=0).fit(shifted[:, [0, 2, 1]]).labels_
    np.testing.assert_array_equal(ours, labels)


def test_labels_are_those_that_predict_gives():
    X = some(2, n=3_000, dtype=np.float32) + 1000
    model = KMeans(6, random_state=1).fit(X)
    np.testing.assert_array_equal(model.labels_, model.predict(X))


def test_transform_gives_the_distance_to_each_centre():
    model = KMeans(2, init=np.array([[0.0, 0.0], [1.0, 1.0]])).fit(X4, sample_weight=[3, 1, 1, 3])
    np.testing.assert_allclose(model.transform([[0.125, 3.0]]), [[3.0, np.hypot(0.75, 2.0)]])
    assert model.get_feature_names_out().tolist() == ["kmeans0", "kmeans1"]


def test_score_is_minus_the_inertia():
    X, weights = some(3), np.random.default_rng(3).random(500)
    model = KMeans(4, random_state=0).fit(X, sample_weight=weights)
    assert model.score(X, sample_weight=weights) == -model.inertia_


def test_same_random_state_same_bits():
    X = some(4)
    one, two = (KMeans(5, random_state=7).fit(X) for _ in range(2))
    assert one.cluster_centers_.tobytes() == two.cluster_centers_.tobytes()


def test_a_callable_draws_the_starts():
    seen = []

    def first_rows(X, n_clusters, random_state):
        seen.append(X.shape)
        return X[:n_clusters]

    model = KMeans(3, init=first_rows, n_init=2).fit(some(5))
    assert seen == [(500, 3), (500, 3)]
    np.testing.assert_array_equal(model.labels_, KMeans(3, init=some(5)[:3]).fit(some(5)).labels_)


def test_x_is_left_alone():
    X = some(6) + 1e6
    before = X.copy()
    X.setflags(write=False)
    KMeans(3, copy_x=False, random_state=0).fit(X)
    np.testing.assert_array_equal(X, before)


def test_a_frame_gives_feature_names():
    frame = pl.DataFrame({"recency_days": [1.0, 2.0, 50.0], "monetary": [5.0, 6.0, 90.0]})
    assert KMeans(2, random_state=0).fit(frame).feature_names_in_.tolist() == ["recency_days", "monetary"]


def test_nan_is_told_by_name_and_count():
    frame = pl.DataFrame({"recency_days": [1.0, 2.0, 3.0], "monetary": [5.0, float("nan"), float("inf")]})
    with pytest.raises(DataError, match=r"NaN or infinity in monetary \(2\) of 3 rows"):
        KMeans(2).fit(frame)


def test_predict_and_transform_refuse_nan_too():
    model = KMeans(2, random_state=0).fit(X4)
    for method in (model.predict, model.transform, model.score):
        with pytest.raises(DataError, match=r"column 1 \(1\)"):
            method([[0.0, np.nan]])


def test_more_clusters_than_different_rows_warn_and_stay_empty():
    X = np.array([[0.0], [0.0], [5.0], [5.0]])
    with pytest.warns(ConvergenceWarning, match="only 2 different rows: 1 clusters"):
        model = KMeans(3, random_state=0).fit(X)
    assert model.cluster_centers_.shape == (3, 1)
    assert set(model.labels_.tolist()) == {0, 1}
    assert model.inertia_ == 0.0


def test_fewer_rows_than_clusters_are_refused():
    with pytest.raises(DataError, match="k=5 for 4 rows"):
        KMeans(5).fit(X4)


def test_before_fit_there_is_nothing_to_predict():
    with pytest.raises(NotFittedError):
        KMeans().predict(X4)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"n_clusters": 0}, "n_clusters: .* got 0"),
        ({"n_clusters": 2.5}, "n_clusters: .* got 2.5"),
        ({"max_iter": 0}, "max_iter"),
        ({"n_init": 0}, "n_init"),
        ({"n_init": "always"}, "n_init"),
        ({"tol": -1.0}, "tol"),
        ({"init": "kmeans"}, "init: expected one of"),
        ({"init": np.zeros((3, 2))}, r"shape \(2, 2\); got \(3, 2\)"),
        ({"algorithm": "hamerly"}, "algorithm"),
        ({"solver": "fast"}, "solver"),
    ],
)
def test_impossible_parameters_are_refused(parameters, told):
    with pytest.raises(SettingError, match=told):
        KMeans(**{"n_clusters": 2, **parameters}).fit(X4)
