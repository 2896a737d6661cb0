from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from engine.clustering import parity as module
from engine.clustering.parity_process import Fit, FitFailedError, Task
from engine.report.numbers import NumberFormat
from tests.experiments.till import sales_csv
from tests.reference.parity_twin import fit_here

# MLflow's own, about SQLAlchemy; the command line runs in this process.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SMALL = (
    "data.path=sales.csv", "sweep.k=2..3", "sweep.seed=[0,1]", "segments.min=2", "clustering.threads=1", "out=found",
    "sweep.parity=[native,sklearn]",
)  # fmt: skip


def test_the_backends_are_compared_on_the_proposal_and_everything_says_the_same(
    cartera, tmp_path: Path, monkeypatch
) -> None:
    tasks: list[Task] = []

    def fit(task: Task, *, limit_s: float) -> Fit:
        tasks.append(task)
        return fit_here(task, limit_s=limit_s)

    monkeypatch.setattr(module, "fit_apart", fit)
    sales_csv(tmp_path / "sales.csv")
    ran = cartera("sweep", *SMALL, "language=es")
    assert ran.code == 0, ran.err
    verdict = json.loads((tmp_path / "found" / "verdict.json").read_text("utf-8"))
    found = json.loads((tmp_path / "found" / "parity.json").read_text("utf-8"))
    proposed = verdict["proposed"]
    assert verdict["parity"] == found
    assert [(task.backend, task.k, task.seed) for task in tasks] == [
        (name, proposed["k"], proposed["seed"]) for name in ("native", "sklearn")
    ]
    assert (found["rows"], found["features"], found["k"], found["seed"]) == (60, 3, proposed["k"], proposed["seed"])
    # The line of the proposed backend is the trial itself, made again.
    frame = pl.read_csv(tmp_path / "found" / "sweep.csv").filter(
        (pl.col("k") == proposed["k"]) & (pl.col("seed") == proposed["seed"])
    )
    assert found["lines"][0]["inertia"] == pytest.approx(frame["inertia"].item(), rel=1e-6)
    table = pl.read_csv(tmp_path / "found" / "parity.csv")
    assert table["name"].to_list() == ["native", "sklearn"]
    assert table["inertia"].to_list() == [line["inertia"] for line in found["lines"]]
    finding = f"{found['distance']['es']}. {found['people']['es']}"
    assert finding in ran.out
    assert "motor" in ran.out
    # What makes the segmentation makes it in the language of the sweep.
    assert " language=es " in verdict["command"]
    assert verdict["command"] in ran.out
    page = (tmp_path / "found" / "report.html").read_text("utf-8")
    assert '<section id="parity"' in page
    assert found["people"]["es"] in page
    assert NumberFormat("es").decimal(found["lines"][1]["inertia_ratio"], 5) in page
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("cartera").experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    for line in found["lines"]:
        assert parent.data.metrics[f"parity_{line['name']}_inertia"] == line["inertia"]
    assert parent.data.metrics["parity_native_inertia_ratio"] >= 1.0
    kept = {one.path for one in client.list_artifacts(parent.info.run_id)}
    assert {"parity.json", "parity.csv", "report.html"} <= kept


def test_a_backend_that_fails_leaves_the_sweep_whole_and_is_told(cartera, tmp_path: Path, monkeypatch) -> None:
    def fit(task: Task, *, limit_s: float) -> Fit:
        if task.backend == "sklearn":
            raise FitFailedError("not installed: sklearn")
        return fit_here(task, limit_s=limit_s)

    monkeypatch.setattr(module, "fit_apart", fit)
    sales_csv(tmp_path / "sales.csv")
    ran = cartera("sweep", *SMALL, "tracking.uri=null")
    assert ran.code == 3
    assert "not all finished: scikit-learn (not installed: sklearn)" in ran.err
    assert "scikit-learn  not installed: sklearn" in ran.out
    assert pl.read_csv(tmp_path / "found" / "sweep.csv").height == 4
    assert "language" not in json.loads((tmp_path / "found" / "verdict.json").read_text("utf-8"))["command"]
    assert "not installed: sklearn" in (tmp_path / "found" / "report.html").read_text("utf-8")


def test_where_they_cannot_be_compared_the_sweep_stands(cartera, tmp_path: Path, monkeypatch) -> None:
    class Room:
        available = 8

    monkeypatch.setattr(module.psutil, "virtual_memory", Room)
    sales_csv(tmp_path / "sales.csv")
    ran = cartera("sweep", *SMALL, "tracking.uri=null")
    assert ran.code == 3
    assert "but the backends were not compared: parity: expected room for another copy of the rows" in ran.err
    assert json.loads((tmp_path / "found" / "verdict.json").read_text("utf-8"))["parity"] is None
    assert not (tmp_path / "found" / "parity.json").exists()


def test_without_a_proposal_there_is_nothing_to_compare_on(cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv", customers=5)
    ran = cartera("sweep", *SMALL, "tracking.uri=null", "sweep.k=[2,3,9]", "segments.min=9", "segments.max=9")
    assert ran.code == 3
    assert "2 of 6 trials failed" in ran.err
    assert "the backends were not compared, for there is no proposal" in ran.err


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3", "sweep.parity: expected true, false, or a list such as [native,faiss]; got 3"),
        ("[native,7]", "sweep.parity: expected true, false, or a list"),
        ("native", "sweep.parity: expected at least two backends to compare"),
        ("[]", "sweep.parity: expected at least two backends to compare"),
        ("[native,fais]", "sweep.parity: expected one of native, faiss, sklearn, dask_ml; got 'fais'"),
        ("[faiss,faiss]", "sweep.parity: expected each backend once"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_read(
    cartera, tmp_path: Path, value: str, expected: str
) -> None:
    ran = cartera("sweep", *SMALL, "tracking.uri=null", f"sweep.parity={value}")
    assert ran.code == 2
    assert expected in ran.err
    assert list(tmp_path.iterdir()) == []
