from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from engine.clustering.trial import Trial
from engine.errors import SettingError
from engine.sweeps.grid import Grid, Plan
from engine.sweeps.leaderboard import Limits, check_limits, dominates, leaderboard, table
from engine.sweeps.run import Configuration, Outcome, Sweep
from engine.sweeps.summary import sweep_summary
from tests.sweeps.population import SETS

LIMITS = Limits(2, 8)


def a_trial(k: int = 3, *, silhouette=0.5, inertia=10.0, sizes=None, seconds=1.0, seed=0, backend="native") -> Trial:
    counts = np.array(sizes if sizes is not None else [10] * k)
    return Trial(
        k=k,
        backend=backend,
        solver="full",
        seed=seed,
        centroids=np.zeros((k, 2)),
        sizes=counts,
        inertia=inertia,
        total_scatter=100.0,
        silhouette=silhouette,
        n_iter=1,
        stop_reason="converged",
        seconds=seconds,
    )


def a_configuration(*trials: Trial | None, features="rfm", stability: float | None = 0.9) -> Configuration:
    k = next((trial.k for trial in trials if trial), 3)
    backend = next((trial.backend for trial in trials if trial), "native")
    outcomes = tuple(
        Outcome(Plan(features, "log", backend, "auto", k, seed), f"id{seed}", trial, "" if trial else "no room")
        for seed, trial in enumerate(trials)
    )
    return Configuration(features, "log", backend, k, outcomes, stability)


def a_sweep(*configurations: Configuration) -> Sweep:
    ks = tuple(dict.fromkeys(one.k for one in configurations))
    grid = Grid(feature_sets=SETS, backends=("native",), ks=ks, seeds=(0,))
    return Sweep(grid, configurations, {}, {}, {"rfm": 30})


def test_balance_and_explained_share_by_hand() -> None:
    assert a_trial(2, sizes=[5, 5]).balance == pytest.approx(1)
    # −(0.25 ln 0.25 + 0.75 ln 0.75) / ln 2
    assert a_trial(2, sizes=[1, 3]).balance == pytest.approx(0.811278, abs=1e-6)
    assert a_trial(1).balance == 1
    assert a_trial(inertia=25.0).explained == 0.75


def test_the_best_seed_speaks_for_a_configuration() -> None:
    one = a_configuration(a_trial(inertia=12, seconds=1), a_trial(inertia=9, seconds=5, seed=1), None)
    assert one.best.inertia == 9
    assert one.seconds == 3


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"silhouette": 0.6}, {}),
        ({"sizes": [10, 10, 10]}, {"sizes": [2, 10, 18]}),
        ({"seconds": 1.0}, {"seconds": 2.5}),
    ],
)
def test_better_in_one_figure_and_equal_in_the_rest_dominates(better: dict, worse: dict) -> None:
    assert dominates(a_configuration(a_trial(**better)), a_configuration(a_trial(**worse)))
    assert not dominates(a_configuration(a_trial(**worse)), a_configuration(a_trial(**better)))


def test_times_within_a_factor_of_two_are_equal() -> None:
    quick, slow = a_configuration(a_trial(seconds=1.0)), a_configuration(a_trial(seconds=1.9))
    assert not dominates(quick, slow)
    assert not dominates(slow, quick)


def test_what_is_good_at_different_things_does_not_dominate() -> None:
    tight = a_configuration(a_trial(silhouette=0.7), stability=0.5)
    steady = a_configuration(a_trial(silhouette=0.5), stability=0.99)
    assert not dominates(tight, steady)
    assert not dominates(steady, tight)


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_who_nobody_dominates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = [
        a_configuration(
            a_trial(
                k,
                silhouette=float(rng.choice([0.2, 0.4, 0.6])),
                sizes=rng.integers(5, 9, size=k),
                seconds=float(2.0 ** rng.integers(0, 5)),
                inertia=float(rng.uniform(1, 50)),
            ),
            features=features,
            stability=float(rng.choice([0.7, 0.8, 0.9])),
        )
        for k, features in itertools.product((2, 3, 4, 5), ("rfm", "fm", "ticket"))
    ]
    board = leaderboard(a_sweep(*made), LIMITS)
    assert sorted(standing.rank for standing in board.standings) == list(range(1, 13))
    for standing in board.standings:
        beaten = any(dominates(other, standing.configuration) for other in made)
        assert standing.pareto != beaten
    assert any(standing.pareto for standing in board.standings)
    # Nobody dominates in a circle.
    assert not any(dominates(a, b) and dominates(b, a) for a, b in itertools.combinations(made, 2))
    # The clock has no say in the rank.
    faster = [
        replace(
            one, outcomes=tuple(replace(o, trial=replace(o.trial, seconds=rng.uniform(1, 99))) for o in one.outcomes)
        )
        for one in made
    ]
    again = leaderboard(a_sweep(*faster), LIMITS)
    names = [[(s.configuration.features, s.configuration.k) for s in one.standings] for one in (board, again)]
    assert names[0] == names[1]


def test_what_the_business_cannot_use_comes_after_what_it_can() -> None:
    usable = a_configuration(a_trial(4, silhouette=0.3))
    too_many = a_configuration(a_trial(9, silhouette=0.9))
    lopsided = a_configuration(a_trial(3, silhouette=0.99, sizes=[98, 1, 1]))
    failed = a_configuration(None, features="fm")
    board = leaderboard(a_sweep(failed, too_many, lopsided, usable), LIMITS)
    assert [standing.configuration for standing in board.standings] == [usable, lopsided, too_many, failed]
    assert [standing.rank for standing in board.standings] == [1, 2, 3, None]
    assert [standing.usable for standing in board.standings] == [True, False, False, False]
    assert [standing.pareto for standing in board.standings] == [True, False, False, False]


def test_inertia_is_compared_on_one_matrix_and_k_only() -> None:
    native = a_configuration(a_trial(inertia=10))
    faiss = a_configuration(a_trial(inertia=11, backend="faiss"))
    other = a_configuration(a_trial(inertia=1000), features="fm")
    ratios = {
        (s.configuration.features, s.configuration.backend): s.inertia_ratio
        for s in leaderboard(a_sweep(native, faiss, other), LIMITS).standings
    }
    assert ratios == {("rfm", "native"): 1.0, ("rfm", "faiss"): 1.1, ("fm", "native"): 1.0}


def test_the_proposal_is_a_choice_of_a_verdict_and_stable() -> None:
    def curve(features: str, stability: float, width: float) -> list[Configuration]:
        return [
            a_configuration(
                a_trial(k, inertia=80 / k**0.7, silhouette=width - 0.01 * k), features=features, stability=stability
            )
            for k in range(2, 8)
        ]

    shaky, steady = curve("rfm", 0.5, 0.9), curve("fm", 0.95, 0.4)
    board = leaderboard(a_sweep(*shaky, *steady), LIMITS)
    assert len(board.verdicts) == 2
    assert sum(standing.chosen for standing in board.standings) == 2
    assert board.proposed.features == "fm"
    assert "the seeds agree" in board.reason.en
    assert "las semillas coinciden" in board.reason.es
    (chosen,) = {one.verdict.k for one in board.verdicts if one.features == "fm"}
    assert board.proposed.k == chosen


def test_nothing_is_proposed_where_all_within_the_limits_failed() -> None:
    board = leaderboard(
        a_sweep(a_configuration(None), a_configuration(a_trial(2)), a_configuration(a_trial(9))), Limits(3, 8)
    )
    assert board.proposed is None
    assert board.reason is None
    assert board.verdicts == ()


def test_the_table_has_a_row_for_every_trial() -> None:
    done = a_configuration(a_trial(inertia=12), replace(a_trial(inertia=9, seed=1), residual=3e-6))
    board = leaderboard(a_sweep(done, a_configuration(None, features="fm")), LIMITS)
    frame = table(board)
    assert frame["residual"].to_list() == [None, 3e-6, None]
    assert frame["stop_reason"].to_list() == ["converged", "converged", None]
    assert frame["status"].to_list() == ["done", "done", "failed"]
    assert frame["inertia"].to_list() == [12, 9, None]
    assert frame["error"].to_list() == ["", "", "no room"]
    assert frame["rank"].to_list() == [1, 1, None]
    empty = table(leaderboard(a_sweep(a_configuration(None)), LIMITS))
    assert empty.schema == frame.schema
    assert pl.read_csv(frame.write_csv().encode()).columns == frame.columns


def test_the_summary_is_json_and_reconciles() -> None:
    done = a_configuration(a_trial(), a_trial(seed=1))
    found = a_sweep(done)
    board = leaderboard(found, LIMITS)
    summary = json.loads(json.dumps(sweep_summary(found, board, {"command": "x"}), allow_nan=False))
    (row,) = summary["leaderboard"]
    assert (row["k"], row["seeds"], row["failed"], row["sizes"]) == (3, 2, 0, [10, 10, 10])
    assert math.isclose(row["balance"], 1)
    assert summary["proposed"]["seed"] == 0


@pytest.mark.parametrize(
    ("limits", "ks", "expected"),
    [
        (Limits(5, 3), (4,), "segments.min ≤ segments.max"),
        (Limits(0, 3), (2,), "expected 1 ≤"),
        (Limits(3, 8, 1.0), (4,), "segments.min_share"),
        (Limits(3, 8), (2, 9), "expected a k from segments.min=3 to segments.max=8"),
    ],
)
def test_limits_that_no_k_can_meet_are_refused(limits: Limits, ks: tuple[int, ...], expected: str) -> None:
    with pytest.raises(SettingError, match=expected):
        check_limits(limits, ks)
