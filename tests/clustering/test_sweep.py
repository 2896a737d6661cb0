from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.clustering.backends import BACKENDS, cluster
from engine.clustering.indices import davies_bouldin
from engine.clustering.quality import silhouette
from engine.clustering.sweep import Tries, sweep
from engine.errors import DataError, SettingError


def cloud(seed: int = 0, n: int = 300, d: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_a_trial_is_the_clustering_of_its_k(backend):
    matrix = cloud()
    tries = Tries(matrix, threads=1)
    for trial in sweep(tries, [2, 4], backend=backend, seed=7):
        alone = cluster(matrix, trial.k, backend=backend, seed=7, threads=1)
        assert tries.labels(trial.centroids).tobytes() == alone.labels.tobytes()
        assert trial.centroids.tobytes() == alone.centroids.tobytes()
        assert trial.inertia == pytest.approx(alone.inertia, rel=1e-12)
        assert trial.silhouette == pytest.approx(silhouette(matrix, alone.labels), abs=1e-6)
        assert trial.davies_bouldin == pytest.approx(
            davies_bouldin(alone.centroids, alone.labels, alone.distances), rel=1e-6
        )
        assert trial.smallest_share == alone.sizes.min() / 300
        assert trial.largest_share == alone.sizes.max() / 300
        assert trial.seconds > 0


def test_k_ascends_without_repetition_whatever_the_order_given():
    assert [trial.k for trial in sweep(Tries(cloud()), [5, 2, 3, 2])] == [2, 3, 5]


def test_inertia_falls_as_k_grows():
    # More centroids can only serve rows better; ten starts keep local optima from hiding it here.
    for seed in range(5):
        curve = [trial.inertia for trial in sweep(Tries(cloud(seed)), range(1, 7), seed=seed)]
        assert curve == sorted(curve, reverse=True)


def test_one_cluster_has_no_silhouette():
    (trial,) = sweep(Tries(cloud()), [1])
    assert trial.silhouette is None
    assert (trial.smallest_share, trial.largest_share) == (1.0, 1.0)


def test_a_range_ends_at_the_number_of_distinct_rows_and_says_so(caplog):
    matrix = np.repeat(np.arange(4, dtype=np.float32), 10)[:, None]
    assert [trial.k for trial in sweep(Tries(matrix), range(2, 11))] == [2, 3, 4]
    assert "only 4 of 40 rows differ: k is tried up to 4, not 10" in caplog.text


@pytest.mark.parametrize(
    ("matrix", "ks", "expected"),
    [
        (np.repeat(np.arange(4.0), 10)[:, None], [5], "only 4 differ"),
        (np.ones((9, 2)), range(2, 6), "all 9 customers are equal"),
        (np.ones((1, 2)), range(2, 6), "there is one customer"),
        (np.array([[1.0], [np.nan]]), [2], "column 0 has 1"),
    ],
)
def test_data_that_cannot_be_divided_are_refused_before_the_first_trial(matrix, ks, expected):
    with pytest.raises(DataError, match=expected):
        sweep(Tries(matrix.astype(np.float32)), ks)


@pytest.mark.parametrize(
    ("ks", "settings", "expected"),
    [
        ([], {}, "at least one number of clusters"),
        ([0, 2], {}, "got 0"),
        ([2], {"backend": "spark"}, "clustering.backend"),
        ([2], {"solver": "sample", "backend": "sklearn"}, "only backend native"),
        ([2], {"max_passes": 3, "backend": "sklearn"}, "clustering.max_passes: only backend native"),
    ],
)
def test_settings_are_refused_before_the_first_trial(ks, settings, expected):
    with pytest.raises(SettingError, match=expected):
        sweep(Tries(cloud()), ks, **settings)


def asked_together(monkeypatch) -> list[list[int]]:
    """The k of each group of trials that share their reads."""
    from engine.clustering import sweep as module

    groups: list[list[int]] = []
    real = module.propose_many

    def propose_many(rows, tasks, **rest):
        groups.append([k for k, _ in tasks])
        return real(rows, tasks, **rest)

    monkeypatch.setattr(module, "propose_many", propose_many)
    return groups


def test_trials_of_few_rows_are_made_one_by_one(monkeypatch):
    groups = asked_together(monkeypatch)
    trials = sweep(Tries(cloud()), [2, 3, 4])
    next(trials)
    assert groups == [[2]]


def test_trials_of_many_rows_share_their_reads_and_are_those_of_one_alone(monkeypatch):
    monkeypatch.setattr("engine.clustering.sweep.SHARED_TRIALS", 3)
    groups = asked_together(monkeypatch)
    matrix = cloud(n=110_000)
    together = list(sweep(Tries(matrix), [2, 3, 4, 5]))
    assert groups == [[2, 3, 4], [5]]
    for trial in together:
        alone = Tries(matrix).run(trial.k)
        assert replace(trial, seconds=0).to_dict() == replace(alone, seconds=0).to_dict()


def test_a_limit_of_reads_is_each_trials_own_and_reads_are_shared_all_the_same(monkeypatch):
    groups = asked_together(monkeypatch)
    tries = Tries(cloud(n=110_000))
    limited = list(sweep(tries, [2, 4], max_passes=1))
    assert groups == [[2, 4]]
    assert {trial.stop_reason for trial in limited} <= {"max_passes", "fixed point", "tolerance", "polished"}
    assert limited[1].to_dict() | {"seconds": 0} == tries.run(4, max_passes=1).to_dict() | {"seconds": 0}
    # What was made under a limit is not taken for what is asked for without one.
    tries.run(2, max_passes=1, following=[(4, 0)])
    before = len(groups)
    tries.run(4)
    assert len(groups) == before + 1


def test_under_a_limit_of_time_trials_are_made_one_by_one(monkeypatch):
    groups = asked_together(monkeypatch)
    list(sweep(Tries(cloud(n=110_000)), [2, 3], max_seconds=60.0))
    assert groups == [[2], [3]]


def test_a_trial_that_fails_later_does_not_take_the_first_along(monkeypatch):
    from engine.clustering import solve as module

    real = module.solve_on_sample

    def solve_on_sample(rows, k, *rest, **settings):
        if k == 4:
            raise RuntimeError("by chance")
        return real(rows, k, *rest, **settings)

    monkeypatch.setattr(module, "solve_on_sample", solve_on_sample)
    trials = sweep(Tries(cloud(n=110_000)), [2, 3, 4])
    assert [next(trials).k, next(trials).k] == [2, 3]
    with pytest.raises(RuntimeError, match="by chance"):
        next(trials)
