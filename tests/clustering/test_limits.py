"""Limits of a search, why it ended and how far from rest: kept, told, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from engine.clustering import KMeans
from engine.clustering.backends import BACKENDS, cluster
from engine.clustering.rows_array import ArrayRows
from engine.clustering.solve import solve
from engine.errors import SettingError
from tests.reference import kmeans_twin

X4 = np.array([[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [1.0, 1.0]])


def overlapping(seed=0, n=110_000, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return np.log1p(rng.gamma(0.8, 3.0, size=(n, 1)) * rng.lognormal(0, 0.7, size=(n, 3))).astype(dtype)


MANY = overlapping()


def test_the_estimator_and_every_way_to_the_native_backend_keep_a_limit_of_reads():
    found = solve(ArrayRows(MANY), 6, max_passes=1)
    model = KMeans(6, random_state=0, max_passes=1).fit(MANY)
    assert (model.stop_reason_, found.stop_reason, found.passes) == ("max_passes", "max_passes", 1)
    np.testing.assert_array_equal(model.cluster_centers_, found.centroids.astype(np.float32))
    assert (model.n_iter_, model.residual_) == (found.n_iter, found.residual)
    clustering = cluster(MANY, 6, max_passes=1)
    np.testing.assert_array_equal(clustering.centroids, found.centroids)
    assert (clustering.stop_reason, clustering.residual) == ("max_passes", found.residual)


def test_more_reads_come_nearer_to_rest():
    models = [KMeans(6, random_state=0, max_passes=reads).fit(MANY) for reads in (1, 3, None)]
    assert models[0].residual_ > models[1].residual_ >= models[2].residual_ >= 0
    assert models[0].inertia_ >= models[1].inertia_ >= models[2].inertia_
    assert models[2].stop_reason_ in ("polished", "tolerance", "fixed point")


def test_when_time_is_up_nothing_new_begins():
    assert KMeans(6, random_state=0, max_seconds=1e-9).fit(MANY).stop_reason_ == "max_seconds"
    assert cluster(MANY, 6, max_seconds=1e-9).stop_reason == "max_seconds"


def test_limits_that_are_not_reached_change_nothing():
    free, wide = KMeans(6, random_state=0), KMeans(6, random_state=0, max_passes=1000, max_seconds=1e6)
    np.testing.assert_array_equal(free.fit(MANY).cluster_centers_, wide.fit(MANY).cluster_centers_)
    assert (free.n_iter_, free.stop_reason_, free.residual_) == (wide.n_iter_, wide.stop_reason_, wide.residual_)


@pytest.mark.parametrize("seed", range(4))
def test_few_rows_too_are_searched_by_the_solver_that_keeps_limits(seed):
    X = np.random.default_rng(seed).normal(size=(7, 2))
    for n, k in ((1, 1), (2, 1), (4, 4), (7, 3)):
        found = solve(ArrayRows(X[:n]), k, seed=seed, max_passes=2)
        assert (found.solver, found.passes <= 2) == ("sample", True)
        inertia = KMeans(k, random_state=seed, max_passes=2).fit(X[:n]).inertia_
        assert inertia == pytest.approx(kmeans_twin.best_inertia(X[:n], k), abs=1e-9)


def test_a_first_batch_is_one_move_whatever_the_limits():
    limited = KMeans(3, random_state=0, max_passes=1, max_seconds=1.0).partial_fit(MANY[:500])
    free = KMeans(3, random_state=0).partial_fit(MANY[:500])
    np.testing.assert_array_equal(limited.cluster_centers_, free.cluster_centers_)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("max_iter", [1, 3, 300])
def test_the_residual_is_what_one_more_move_takes_off(seed, max_iter):
    X = np.random.default_rng(seed).normal(size=(60, 3))
    model = KMeans(4, init=X[:4], max_iter=max_iter, tol=0.0).fit(X)
    # The twin: the same rows to their means, their clusters unchanged.
    squared = kmeans_twin.squared_distances(X, model.cluster_centers_)
    labels = squared.argmin(axis=1)
    after = sum(((X[labels == one] - X[labels == one].mean(axis=0)) ** 2).sum() for one in range(4))
    assert model.residual_ == pytest.approx(1 - after / squared.min(axis=1).sum(), abs=1e-12)
    assert (model.residual_ == 0) == (model.stop_reason_ == "fixed point")
    assert (model.stop_reason_ == "max_iter") == (max_iter < 300)


def test_a_sparse_fit_tells_its_end_too():
    X = np.where(np.random.default_rng(0).random((60, 5)) < 0.5, overlapping(n=60)[:, :1], 0.0)
    sparse, dense = (KMeans(3, init=X[:3], max_iter=2).fit(one) for one in (csr_array(X), X))
    assert sparse.stop_reason_ == dense.stop_reason_ == "max_iter"
    assert sparse.residual_ == pytest.approx(dense.residual_, rel=1e-9)


def test_verbose_names_the_limit(capsys):
    KMeans(6, random_state=0, max_passes=1, verbose=1).fit(MANY)
    out = capsys.readouterr().out
    assert "solver sample" in out
    assert "max_passes is reached" in out


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"max_passes": 0}, "max_passes: expected a whole number.*1 or more, or None; got 0"),
        ({"max_passes": 2.5}, "max_passes: .*got 2.5"),
        ({"max_passes": True}, "max_passes: .*got True"),
        ({"max_seconds": 0}, "max_seconds: expected seconds, more than 0, or None; got 0"),
        ({"max_seconds": -1.0}, "max_seconds: .*got -1.0"),
        ({"max_seconds": float("nan")}, "max_seconds: .*got nan"),
        ({"max_seconds": "60"}, "max_seconds: .*got '60'"),
        ({"max_passes": 3, "solver": "full"}, "max_passes: solver 'full' and given starts .*got 3"),
        ({"max_seconds": 3, "init": X4[:2]}, "max_seconds: solver 'full' and given starts .*got 3"),
        ({"max_seconds": 3, "init": lambda X, k, random_state: X[:k]}, "max_seconds: .*given starts"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_limits_that_mean_nothing_or_cannot_be_kept_are_refused(parameters, told, method):
    with pytest.raises(SettingError, match=told):
        getattr(KMeans(**{"n_clusters": 2, **parameters}), method)(X4)


def test_limits_that_the_engine_cannot_keep_are_refused():
    with pytest.raises(SettingError, match="max_passes: kept with dense rows only; got 3"):
        KMeans(2, max_passes=3).fit(csr_array(np.eye(50)))
    with pytest.raises(SettingError, match="max_seconds: solver 'full'"):
        solve(ArrayRows(X4), 2, solver="full", max_seconds=1.0)
    with pytest.raises(SettingError, match=r"max_passes: .*given starts"):
        solve(ArrayRows(X4), 2, init=[X4[:2]], max_passes=1)


@pytest.mark.parametrize("backend", sorted(set(BACKENDS) - {"native"}))
@pytest.mark.parametrize("limit", ["max_passes", "max_seconds"])
def test_backends_without_limits_refuse_them(backend, limit):
    told = rf"clustering\.{limit}: only backend native keeps it; got 3 .*{backend}.*{limit}=null"
    with pytest.raises(SettingError, match=told):
        cluster(MANY[:50], 2, backend=backend, **{limit: 3})


@pytest.mark.parametrize("limits", [{"max_passes": 0}, {"max_seconds": -2}, {"max_passes": 1, "solver": "full"}])
def test_the_engines_names_of_settings_are_told(limits):
    with pytest.raises(SettingError, match=r"clustering\.max_(passes|seconds): .*null"):
        cluster(MANY[:50], 2, **limits)
