from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from engine.clustering.quality import inertia
from engine.clustering.sweep import Evidence, Tries
from engine.features.matrix import FeatureSet
from engine.sweeps.grid import Grid
from engine.sweeps.journal import Journal
from engine.sweeps.leaderboard import Limits, leaderboard, table
from engine.sweeps.run import Sweep, run_sweep
from tests.sweeps.population import SETS, customers

AXES = {"feature_sets": SETS, "backends": ("native", "sklearn"), "ks": (2, 3, 4), "seeds": (0, 1)}
LIMITS = Limits(2, 4)
MEASURED = ("seconds", "pareto")
"""Columns that depend on the clock."""


def swept(folder: Path, grid: Grid, table=None, **rest) -> Sweep:
    made = customers() if table is None else table
    with Journal(folder) as journal:
        return run_sweep(dict.fromkeys(grid.feature_sets, made), grid, journal, threads=1, **rest)


def test_every_inertia_equals_a_recomputation_from_its_centroids(tmp_path: Path) -> None:
    found = swept(tmp_path / "j", Grid(**AXES, transforms=("log", "none")))
    assert len(found.outcomes) == found.grid.trials == 48
    for outcome in found.outcomes:
        matrix = found.specs[outcome.plan.features, outcome.plan.transform].transform(customers().frame)
        assert outcome.trial.inertia == pytest.approx(inertia(matrix, outcome.trial.centroids), rel=1e-6)
        assert outcome.trial.sizes.sum() == len(matrix)


def test_stability_is_the_mean_over_all_pairs_of_seeds(tmp_path: Path) -> None:
    grid = Grid(feature_sets={"rfm": SETS["rfm"]}, backends=("native",), ks=(5,), seeds=(0, 1, 2, 3), solver="full")
    (one,) = swept(tmp_path / "j", grid, customers(seed=3)).configurations
    matrix = one.outcomes[0].trial, customers(seed=3)
    spec_matrix = swept(tmp_path / "k", grid, matrix[1]).specs["rfm", "log"].transform(matrix[1].frame)
    tries = Tries(spec_matrix, threads=1)
    labels = [tries.labels(trial.centroids) for trial in one.trials]
    pairs = [adjusted_rand_score(a, b) for a, b in combinations(labels, 2)]
    assert one.stability == pytest.approx(np.mean(pairs))


def test_one_seed_says_nothing_of_stability(tmp_path: Path) -> None:
    (one, *_) = swept(tmp_path / "j", Grid(**{**AXES, "seeds": (0,)})).configurations
    assert one.stability is None


class Killed(BaseException):
    """As sudden as a signal: nothing in the sweep catches it."""


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_random_and_resumed_it_ranks_the_same(seed: int, tmp_path: Path) -> None:
    grid = Grid(**AXES)
    whole = leaderboard(swept(tmp_path / "whole", grid), LIMITS)
    draw = random.Random(seed)
    made = 0
    for _ in range(100):
        left = draw.randint(1, 9)

        def on_trial(outcome, left=left, counted=iter(range(1, 10_000))) -> None:  # noqa: B008
            nonlocal made
            made += not outcome.resumed
            if not outcome.resumed and next(counted) == left:
                raise Killed

        try:
            found = swept(tmp_path / "cut", grid, on_trial=on_trial)
            break
        except Killed:
            continue
    # No trial was made twice, none was lost.
    assert made == grid.trials
    assert found.resumed > 0
    board = leaderboard(found, LIMITS)
    assert table(board).drop(MEASURED).equals(table(whole).drop(MEASURED))
    assert [one.verdict.to_dict() for one in board.verdicts] == [one.verdict.to_dict() for one in whole.verdicts]
    assert (board.proposed.features, board.proposed.k) == (whole.proposed.features, whole.proposed.k)


def test_other_data_are_not_taken_for_the_same(tmp_path: Path) -> None:
    swept(tmp_path / "j", Grid(**AXES))
    assert swept(tmp_path / "j", Grid(**AXES)).resumed == 24
    assert swept(tmp_path / "j", Grid(**AXES), customers(seed=1)).resumed == 0


def test_a_wider_grid_takes_over_what_is_done(tmp_path: Path) -> None:
    swept(tmp_path / "j", Grid(**AXES))
    assert swept(tmp_path / "j", Grid(**{**AXES, "ks": (2, 3, 4, 5)})).resumed == 24


def test_a_failed_trial_does_not_stop_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Tries.run

    def run(self, k, **settings):
        if k == 3 and settings["backend"] == "sklearn":
            raise MemoryError("no room")
        return real(self, k, **settings)

    monkeypatch.setattr(Tries, "run", run)
    found = swept(tmp_path / "j", Grid(**AXES))
    assert {(outcome.plan.backend, outcome.plan.k) for outcome in found.failed} == {("sklearn", 3)}
    assert {outcome.error for outcome in found.failed} == {"MemoryError: no room"}
    monkeypatch.undo()
    again = swept(tmp_path / "j", Grid(**AXES))
    assert (len(again.failed), again.resumed) == (0, 20)


def test_a_k_beyond_the_rows_and_a_constant_feature_fail_by_themselves(tmp_path: Path) -> None:
    few = customers(n=5)
    constant = few.frame.with_columns(tenure_days=7)
    sets = {**SETS, "flat": FeatureSet(("tenure_days", "monetary"))}
    from dataclasses import replace

    found = swept(tmp_path / "j", Grid(**{**AXES, "feature_sets": sets, "ks": (2, 9)}), replace(few, frame=constant))
    assert {(outcome.plan.features, outcome.plan.k) for outcome in found.failed} == {
        ("rfm", 9),
        ("fm", 9),
        ("flat", 2),
        ("flat", 9),
    }
    errors = {outcome.plan.features: outcome.error for outcome in found.failed}
    assert "among 5 customers only 5 differ" in errors["rfm"]
    assert "same value (7) for all 5 customers" in errors["flat"]


def test_evidence_that_was_asked_for_is_kept_over_a_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    axes = {"feature_sets": {"fm": SETS["fm"]}, "backends": ("native", "sklearn"), "ks": (2, 3), "seeds": (0,)}
    grid = Grid(**axes, evidence=Evidence(gap_references=3, bootstrap_resamples=3))
    found = swept(tmp_path / "j", grid)
    gaps = {outcome.plan.k: outcome.trial.gap for outcome in found.outcomes}
    assert all(one is not None and one.standard_error > 0 for one in gaps.values())
    # Three groups: the bootstrap agrees on three.
    assert {o.plan.k: o.trial.bootstrap_stability.value > 0.99 for o in found.outcomes}[3]
    monkeypatch.setattr(Tries, "costly", lambda *_, **__: pytest.fail("worked out again"))
    again = swept(tmp_path / "j", grid)
    assert {outcome.plan.k: outcome.trial.gap for outcome in again.outcomes} == gaps


def test_interruptions_are_not_trials_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self, k, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(Tries, "run", run)
    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path / "j", Grid(**AXES))
