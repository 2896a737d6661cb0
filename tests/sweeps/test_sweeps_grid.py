from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.clustering.sweep import CHEAP, Evidence
from engine.errors import SettingError
from engine.features.matrix import FeatureSet, FeatureSettings
from engine.sweeps.grid import MOST_TRIALS, Grid, Plan, fingerprint, trial_id
from tests.sweeps.population import SETS

AXES = {"feature_sets": SETS, "backends": ("native", "sklearn"), "ks": (2, 3, 4), "seeds": (0, 7)}


def test_every_combination_occurs_once() -> None:
    grid = Grid(**AXES, transforms=("log", "none"))
    plans = grid.all_plans()
    assert len(plans) == len(set(plans)) == grid.trials == 2 * 2 * 2 * 3 * 2
    assert {plan.seed for plan in plans} == {0, 7}


def test_without_transforms_each_set_keeps_its_own() -> None:
    sets = {"plain": FeatureSet(("frequency",), FeatureSettings(transform="none")), **SETS}
    assert [(cell.features, cell.transform) for cell in Grid(**{**AXES, "feature_sets": sets}).cells] == [
        ("plain", "none"),
        ("rfm", "log"),
        ("fm", "log"),
    ]


def test_a_transform_leaves_exceptions_by_column_alone() -> None:
    held = FeatureSet(("frequency", "monetary"), per_column={"monetary": {"transform": "none"}})
    (cell,) = Grid(**{**AXES, "feature_sets": {"held": held}}, transforms=("log",)).cells
    assert cell.feature_set.of("monetary").transform == "none"
    assert cell.feature_set.of("frequency").transform == "log"


def test_the_sample_solver_is_asked_of_the_native_backend_only() -> None:
    grid = Grid(**AXES, solver="sample")
    assert {(plan.backend, plan.solver) for plan in grid.all_plans()} == {("native", "sample"), ("sklearn", "auto")}


def test_limits_are_those_of_the_native_backend_only() -> None:
    grid = Grid(**AXES, max_passes=2, max_seconds=9.5)
    assert {(plan.backend, plan.max_passes, plan.max_seconds) for plan in grid.all_plans()} == {
        ("native", 2, 9.5),
        ("sklearn", None, None),
    }


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"feature_sets": {}}, "sweep.features: expected at least one"),
        ({"backends": ()}, "sweep.backend: expected at least one"),
        ({"ks": ()}, "sweep.k: expected at least one"),
        ({"seeds": ()}, "sweep.seed: expected at least one"),
        ({"seeds": (1, 1)}, "sweep.seed: 1 named more than once"),
        ({"backends": ("native", "spark")}, "clustering.backend"),
        ({"transforms": ("log", "sqrt")}, "sweep.transform"),
        ({"seeds": (-1,)}, "seed: expected 0 to"),
        ({"solver": "magic"}, "clustering.solver"),
        ({"max_passes": 0}, "clustering.max_passes: expected a whole number"),
        ({"max_seconds": 1.0, "solver": "full"}, "clustering.max_seconds: solver 'full'"),
        ({"max_seconds": 1.0, "backends": ("sklearn", "faiss")}, "clustering.max_seconds: only backend native"),
        ({"seeds": tuple(range(MOST_TRIALS))}, "Make it smaller"),
    ],
)
def test_an_impossible_grid_is_refused(changed: dict, expected: str) -> None:
    with pytest.raises(SettingError, match=expected):
        Grid(**{**AXES, **changed})


@pytest.mark.parametrize("field", ["silhouette_rows", "gap_references", "bootstrap_resamples"])
@pytest.mark.parametrize("value", [-1, 1, 2.5, True])
def test_impossible_evidence_is_refused(field: str, value: object) -> None:
    with pytest.raises(SettingError, match=f"evidence.{field}"):
        Evidence(**{field: value})


def test_the_id_of_a_trial_follows_from_what_decides_its_result() -> None:
    plan = Plan("rfm", "log", "native", "auto", 3, 0)
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    own = trial_id(plan, fingerprint(matrix), CHEAP)
    assert own == trial_id(
        replace(plan, features="another name of the same columns"), fingerprint(matrix.copy()), CHEAP
    )
    others = [
        trial_id(replace(plan, k=4), fingerprint(matrix), CHEAP),
        trial_id(replace(plan, seed=1), fingerprint(matrix), CHEAP),
        trial_id(replace(plan, backend="sklearn"), fingerprint(matrix), CHEAP),
        trial_id(replace(plan, solver="full"), fingerprint(matrix), CHEAP),
        trial_id(replace(plan, max_passes=2), fingerprint(matrix), CHEAP),
        trial_id(replace(plan, max_seconds=2.0), fingerprint(matrix), CHEAP),
        trial_id(plan, fingerprint(matrix.reshape(2, 3)), CHEAP),
        trial_id(plan, fingerprint(matrix + np.float32(1)), CHEAP),
        trial_id(plan, fingerprint(matrix), Evidence(silhouette_rows=0)),
    ]
    assert len({own, *others}) == 10
