"""The estimator: scikit-learn's contract, its own hand-worked cases, and where it differs."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import sklearn.cluster
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import engine.clustering
from engine.clustering import KMeans
from engine.errors import DataError, SettingError
from tests.reference import kmeans_twin

X4 = np.array([[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [1.0, 1.0]])


def some(seed, n=500, d=3, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


@pytest.mark.filterwarnings(
    # Some checks repeat rows on purpose; the array-API check is skipped without an environment variable.
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::sklearn.exceptions.SkipTestWarning",
)
@parametrize_with_checks([KMeans()])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_parameters_are_those_of_scikit_learn():
    theirs = sklearn.cluster.KMeans().get_params()
    ours = {"solver": "auto", "max_passes": None, "max_seconds": None, "device": "auto"}
    assert KMeans().get_params() == {**theirs, **ours}


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


def moved_far(dtype):
    # Multiples of 1/8 around 2^20 are float32 numbers, so that the move itself loses nothing.
    X = (np.round(some(0, n=2_000) * 8) / 8).astype(dtype)
    return X, KMeans(4, random_state=0).fit(X), KMeans(4, random_state=0).fit(X + dtype(2**20))


def test_far_from_zero_the_clusters_are_the_same():
    X, near, far = moved_far(np.float64)
    np.testing.assert_array_equal(near.labels_, far.labels_)
    np.testing.assert_allclose(far.cluster_centers_ - 2**20, near.cluster_centers_, atol=1e-9)
    np.testing.assert_allclose(far.inertia_, near.inertia_, rtol=1e-9)
    np.testing.assert_allclose(far.transform(X + 2**20), near.transform(X), atol=1e-9)


def test_far_from_zero_float32_loses_what_its_centres_cannot_hold_and_no_more():
    X, near, far = moved_far(np.float32)
    # Beside 2^20 a float32 is a multiple of 1/8: each centre is off by at most 1/16 in each of three features.
    np.testing.assert_allclose(far.cluster_centers_ - np.float32(2**20), near.cluster_centers_, atol=1 / 16 + 1e-6)
    off = far.inertia_ - near.inertia_
    assert 0 <= off <= len(X) * 3 / 16**2 + 1e-6 * near.inertia_
    assert np.mean(far.labels_ == near.labels_) > 0.95


def test_values_near_a_thousand_million_keep_their_clusters():
    spread = np.repeat([[0.0], [1.0], [5.0]], 100, axis=0) + some(8, n=300, d=1) * 0.01
    labels = KMeans(3, random_state=0).fit_predict(1e9 + spread)
    assert sorted(np.bincount(labels).tolist()) == [100, 100, 100]
    assert all(len(set(labels[first : first + 100])) == 1 for first in (0, 100, 200))


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
    with pytest.warns(
        ConvergenceWarning, match=r"\(2\) found smaller than n_clusters \(3\).* duplicate points .* 1 cluster is empty"
    ):
        model = KMeans(3, random_state=0).fit(X)
    assert model.cluster_centers_.shape == (3, 1)
    assert set(model.labels_.tolist()) == {0, 1}
    assert model.inertia_ == 0.0


def test_fewer_rows_than_clusters_are_refused():
    with pytest.raises(DataError, match="n_samples=4 should be >= n_clusters=5"):
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
        ({"init": np.zeros((3, 2))}, r"\(3, 2\) does not match the number of clusters 2"),
        ({"init": np.zeros((2, 3))}, r"\(2, 3\) does not match the number of features of the data 2"),
        ({"init": np.zeros(2)}, r"Expected \(2, 2\)"),
        ({"algorithm": "hamerly"}, "algorithm"),
        ({"solver": "fast"}, "solver"),
        ({"device": "gpu"}, "device: expected one of auto, cpu, cuda; got 'gpu'"),
        ({"random_state": "seven"}, "random_state: 'seven' cannot"),
        ({"random_state": -1}, "random_state"),
    ],
)
def test_impossible_parameters_are_refused(parameters, told):
    with pytest.raises(SettingError, match=told):
        KMeans(**{"n_clusters": 2, **parameters}).fit(X4)


def test_centroids_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="init: expected finite centroids"):
        KMeans(2, init=[[0.0, 0.0], [np.inf, 1.0]]).fit(X4)


def test_more_starts_than_the_given_one_are_warned_about():
    with pytest.warns(RuntimeWarning, match="performing only one init instead of n_init=3"):
        KMeans(2, init=X4[:2], n_init=3).fit(X4)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"tol": 0.0}, "strict convergence"),
        ({"tol": 1e-2}, "within tolerance 0.01"),
        ({"max_iter": 1}, "max_iter is reached"),
    ],
)
def test_verbose_says_how_the_best_start_ended(parameters, told, capsys):
    model = KMeans(3, random_state=0, verbose=1, **parameters).fit(some(0))
    out = capsys.readouterr().out
    assert told in out
    assert f"Iteration {model.n_iter_}, inertia {model.inertia_}" in out


def test_without_verbose_nothing_is_printed(capsys):
    KMeans(3, random_state=0).fit(some(0))
    assert capsys.readouterr() == ("", "")


def test_a_pickled_model_predicts_and_learns_on():
    X = some(1)
    model = KMeans(3, random_state=0).fit(X)
    back = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(back.predict(X), model.labels_)
    np.testing.assert_array_equal(back.partial_fit(X).cluster_centers_, model.partial_fit(X).cluster_centers_)


def test_a_clone_has_the_parameters_and_nothing_learned():
    given = {"solver": "sample", "random_state": 4, "max_passes": 2, "max_seconds": 60.0}
    copy = clone(KMeans(3, **given).fit(some(1)))
    assert copy.get_params() == KMeans(3, **given).get_params()
    with pytest.raises(NotFittedError):
        copy.predict(X4)


def test_it_works_inside_scikit_learns_tools():
    frame = pl.DataFrame({"recency_days": some(0)[:, 0], "monetary": 100 * some(1)[:, 0], "note": ["x"] * 500})
    columns = ColumnTransformer([("numbers", StandardScaler(), ["recency_days", "monetary"])])
    pipeline = make_pipeline(columns, KMeans(random_state=0))
    search = GridSearchCV(pipeline, {"kmeans__n_clusters": [2, 5]}, cv=2).fit(frame)
    assert search.best_params_ == {"kmeans__n_clusters": 5}
    assert search.predict(frame).shape == (500,)
    with_distances = ColumnTransformer([("near", KMeans(3, random_state=0), ["recency_days"])]).fit_transform(frame)
    assert with_distances.shape == (500, 3)


def test_transform_gives_a_frame_when_asked():
    model = KMeans(2, random_state=0).set_output(transform="polars")
    assert model.fit_transform(X4).columns == ["kmeans0", "kmeans1"]
    assert model.transform(X4).equals(model.fit_transform(X4))


@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize("seed", range(3))
def test_batches_make_each_centre_the_mean_of_its_rows(seed, container):
    # The twin: count every row for the centre that was nearest when its batch came.
    rng = np.random.default_rng(seed)
    X, weights = np.where(rng.random((90, 4)) < 0.7, 0.0, rng.normal(size=(90, 4))), rng.integers(0, 3, size=90)
    start = rng.normal(size=(3, 4))
    model, centres = KMeans(3, init=start), start.copy()
    seen = [[] for _ in range(3)]
    for first in range(0, 90, 30):
        batch = slice(first, first + 30)
        model.partial_fit(container(X[batch]), sample_weight=weights[batch])
        for number, cluster in enumerate(kmeans_twin.squared_distances(X[batch], centres).argmin(axis=1)):
            seen[cluster] += [X[first + number]] * weights[first + number]
        centres = np.array([np.mean(rows, axis=0) if rows else old for rows, old in zip(seen, centres, strict=True)])
    np.testing.assert_allclose(model.cluster_centers_, centres, atol=1e-12)
    assert model.n_steps_ == 3
    np.testing.assert_array_equal(model.labels_, model.predict(container(X[60:])))


def test_a_stream_is_learned_from_zero_and_after_a_fit():
    X = np.concatenate([some(number, n=200) + 12 * number for number in range(3)])
    np.random.default_rng(0).shuffle(X)
    model = KMeans(3, random_state=0)
    for first in range(0, len(X), 50):
        model.partial_fit(X[first : first + 50])
    best = KMeans(3, random_state=0).fit(X)
    assert -model.score(X) <= 1.001 * best.inertia_
    # The rows of a fit count as learned: the same rows once more move nothing.
    np.testing.assert_allclose(clone(best).fit(X).partial_fit(X).cluster_centers_, best.cluster_centers_, atol=1e-12)


def test_a_float32_stream_loses_nothing_over_many_small_moves():
    model = KMeans(1, init=np.zeros((1, 1)))
    for value in np.linspace(0, 1, 301, dtype=np.float32):
        model.partial_fit(np.full((50, 1), value))
    assert model.cluster_centers_.dtype == np.float32
    assert model.cluster_centers_[0, 0] == np.float32(0.5)


def test_centres_left_over_by_a_poor_first_batch_are_used_later():
    with pytest.warns(ConvergenceWarning):
        model = KMeans(3, random_state=0).partial_fit([[0.0], [0.0], [1.0]])
    model.partial_fit([[0.0], [1.0], [50.0], [52.0]])
    assert sorted(model.cluster_centers_[:, 0].tolist()) == [0.0, 1.0, 51.0]


def test_the_first_batch_needs_a_row_for_each_cluster_and_a_later_one_does_not():
    with pytest.raises(DataError, match="n_samples=2 should be >= n_clusters=3"):
        KMeans(3).partial_fit(X4[:2])
    with pytest.raises(DataError, match="n_samples=2 should be >= n_clusters=3"):
        KMeans(3, init=np.eye(3)[:, :2]).partial_fit(X4[:2])
    assert KMeans(3, random_state=0).partial_fit(X4).partial_fit(X4[:1]).labels_.shape == (1,)


def test_centres_that_were_set_are_used():
    model = KMeans(2, random_state=0).fit(X4)
    model.cluster_centers_ = np.array([[0.0, 0.0], [1.0, 1.0]])
    assert model.predict([[0.9, 0.9], [0.1, 0.1]]).tolist() == [1, 0]
