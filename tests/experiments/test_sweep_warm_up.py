from __future__ import annotations

from pathlib import Path

import pytest

from engine.clustering.rows_array import ArrayRows
from engine.clustering.sweep import Tries
from engine.features.matrix import FeatureSet
from engine.sweeps.grid import Grid
from experiments.sweep import warm_up
from tests.experiments.till import sales_csv

# MLflow's own, about SQLAlchemy; the command line runs in this process.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

Calls = list[tuple[int, str, str]]


@pytest.fixture
def calls(monkeypatch) -> Calls:
    """Rows, backend and solver of every clustering; those of rows that are made up fail."""
    made: Calls = []
    real = Tries.run

    def run(self, k, **settings):
        made.append((len(self.matrix), settings["backend"], settings["solver"]))
        if len(self.matrix) == 512:
            raise RuntimeError("does not work")
        return real(self, k, **settings)

    monkeypatch.setattr(Tries, "run", run)
    return made


def test_each_backend_works_once_before_the_first_trial_and_may_fail(cartera, tmp_path: Path, calls: Calls) -> None:
    sales_csv(tmp_path / "sales.csv")
    ran = cartera(
        "sweep", "data.path=sales.csv", "sweep.k=2..3", "sweep.seed=[0,1]", "sweep.backend=[native,sklearn]",
        "segments.min=2", "clustering.threads=1", "tracking.uri=null", "out=found",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert calls[:2] == [(512, "native", "full"), (512, "sklearn", "auto")]
    assert [rows for rows, _, _ in calls[2:]] == [60] * 8


@pytest.mark.parametrize(
    ("asked", "rows", "solver"),
    [("auto", 99_999, "full"), ("auto", 100_000, "sample"), ("sample", 10, "sample"), ("full", 10**6, "full")],
)
def test_native_warms_up_for_the_way_that_it_will_go(asked, rows, solver, calls: Calls) -> None:
    sets = {"fm": FeatureSet(("frequency", "monetary"))}
    grid = Grid(feature_sets=sets, backends=("native", "sklearn"), ks=(2,), seeds=(0,), solver=asked)
    warm_up(grid, rows, threads=1)
    assert calls == [(512, "native", solver), (512, "sklearn", "auto")]


@pytest.mark.parametrize(("rows", "draws"), [(99_999, 0), (100_000, 1)])
def test_the_kernel_that_draws_samples_works_too_where_one_will_be_drawn(rows, draws, monkeypatch) -> None:
    drawn = []
    real = ArrayRows.draw

    def draw(self, *arguments):
        drawn.append(self.n)
        return real(self, *arguments)

    monkeypatch.setattr(ArrayRows, "draw", draw)
    sets = {"fm": FeatureSet(("frequency", "monetary"))}
    warm_up(Grid(feature_sets=sets, backends=("native",), ks=(2,), seeds=(0,)), rows, threads=1)
    assert drawn == [512] * draws
