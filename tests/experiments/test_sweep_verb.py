from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.clustering.quality import inertia
from engine.features.matrix import FeatureSpec
from tests.experiments.till import sales_csv

# MLflow's own, about SQLAlchemy; the command line runs in this process.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SMALL = (
    "data.path=sales.csv",
    "sweep.features=[rfm,rfm_units]",
    "sweep.backend=[native,sklearn]",
    "sweep.k=2..4",
    "sweep.seed=[0,1]",
    "segments.min=2",
    "clustering.threads=1",
    "out=found",
)
UNTRACKED = (*SMALL, "tracking.uri=null")
MEASURED = ("seconds", "pareto")
"""Columns that depend on the clock."""


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".trials"))


def test_a_sweep_leaves_table_verdict_and_report(cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv")
    ran = cartera("sweep", *UNTRACKED)
    assert ran.code == 0, ran.err
    frame = pl.read_csv(tmp_path / "found" / "sweep.csv")
    assert frame.height == 2 * 2 * 3 * 2
    assert set(frame["status"]) == {"done"}
    assert frame.n_unique(["features", "transform", "backend", "k", "seed"]) == frame.height
    verdict = json.loads((tmp_path / "found" / "verdict.json").read_text("utf-8"))
    assert verdict["trials"] == {"asked": 24, "done": 24, "failed": 0, "resumed": 0}
    assert len(verdict["verdicts"]) == 4
    assert verdict["customers"] == {"rfm": 60, "rfm_units": 60}
    assert "24 of 24" in ran.out
    assert verdict["command"] in ran.out
    assert left_behind(tmp_path) == []


def test_the_command_it_prints_makes_the_proposed_segmentation(cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv")
    assert cartera("sweep", *UNTRACKED, "features.scale=robust", 'where="frequency > 0"').code == 0
    verdict = json.loads((tmp_path / "found" / "verdict.json").read_text("utf-8"))
    frame = pl.read_csv(tmp_path / "found" / "sweep.csv")
    name, *words = shlex.split(verdict["command"])
    assert name == "cartera"
    ran = cartera(*words, "segments.min=2", "tracking.uri=null", "out=made")
    assert ran.code == 0, ran.err
    made = json.loads((tmp_path / "made" / "summary.json").read_text("utf-8"))
    proposed = verdict["proposed"]
    trial = frame.filter(
        (pl.col("features") == proposed["features"])
        & (pl.col("backend") == proposed["backend"])
        & (pl.col("k") == proposed["k"])
        & (pl.col("seed") == proposed["seed"])
    ).row(0, named=True)
    assert (made["inertia"], made["silhouette"]) == (trial["inertia"], trial["silhouette"])


def test_limits_are_kept_by_native_trials_and_by_the_command_that_is_printed(cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv")
    ran = cartera("sweep", *UNTRACKED, "clustering.max_passes=1", "clustering.max_seconds=300")
    assert ran.code == 0, ran.err
    frame = pl.read_csv(tmp_path / "found" / "sweep.csv")
    native = pl.col("backend") == "native"
    assert set(frame.filter(native)["solver"]) == {"sample"}
    assert frame.filter(native)["residual"].is_between(0, 1).all()
    assert frame["stop_reason"].null_count() == 0
    assert frame.filter(~native)["residual"].null_count() == frame.height / 2
    command = json.loads((tmp_path / "found" / "verdict.json").read_text("utf-8"))["command"]
    if "clustering.backend=native" in command:
        assert "clustering.max_passes=1 clustering.max_seconds=300" in command
    made = cartera(*shlex.split(command)[1:], "segments.min=2", "tracking.uri=null", "out=made")
    assert made.code == 0, made.err


def test_every_child_in_mlflow_has_the_inertia_of_its_centroids(cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv")
    assert cartera("sweep", *SMALL, "lake=lake").code == 0
    assert cartera("features", "lake=lake", "out=table", "features=rfm_units").code == 0
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "cartera"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert (len(parents), len(children)) == (1, 24)
    (parent,) = parents
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}
    customers = pl.read_parquet(tmp_path / "table" / "features.parquet")
    for run in children:
        spec_path = client.download_artifacts(
            parent.info.run_id, f"feature_specs/{run.data.params['features']}-log.json"
        )
        spec = FeatureSpec.from_dict(json.loads(Path(spec_path).read_text("utf-8")))
        centroids = pl.read_csv(client.download_artifacts(run.info.run_id, "centroids.csv"))
        again = inertia(spec.transform(customers), centroids.select(spec.names).to_numpy().astype(np.float64))
        assert run.data.metrics["inertia"] == pytest.approx(again, rel=1e-6)
        assert centroids["size"].sum() == 60
    tracked = {run.data.tags["cartera.trial"]: run.data.metrics["inertia"] for run in children}
    frame = pl.read_csv(tmp_path / "found" / "sweep.csv")
    assert tracked == dict(zip(frame["trial_id"], frame["inertia"], strict=True))


def test_killed_at_random_and_started_again_it_leaves_the_same_leaderboard(cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv")
    assert cartera("sweep", *UNTRACKED, "out=whole/found").code == 0
    draw = random.Random(4)
    command = [sys.executable, "-m", "experiments", "sweep", *SMALL]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for _ in range(2):
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        # Wait until trials are being made, then kill somewhere among them.
        deadline = time.monotonic() + 60
        lines = 0
        wanted = draw.randint(2, 6)
        while time.monotonic() < deadline and process.poll() is None and lines < wanted:
            journals = [path / "trials.jsonl" for path in tmp_path.glob(".*.trials")]
            lines = sum(path.read_bytes().count(b'"trial"') for path in journals if path.exists())
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / "found").exists()
    ran = cartera("sweep", *SMALL)
    assert ran.code == 0, ran.err
    assert "going on with a sweep that was cut off" in ran.err
    frames = [pl.read_csv(tmp_path / name / "sweep.csv").drop(MEASURED) for name in ("found", "whole/found")]
    assert frames[0].equals(frames[1])
    verdict = json.loads((tmp_path / "found" / "verdict.json").read_text("utf-8"))
    assert verdict["trials"]["resumed"] >= 2
    assert left_behind(tmp_path) == []
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "cartera"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    # One parent, gone on with, and each trial once.
    assert sum("mlflow.parentRunId" not in run.data.tags for run in runs) == 1
    assert len({run.data.tags["cartera.trial"] for run in runs if "cartera.trial" in run.data.tags}) == 24
    assert len(runs) == 25


def test_seeds_that_failed_and_data_that_grew_do_not_mix_in_mlflow(cartera, tmp_path: Path, monkeypatch) -> None:
    import mlflow

    from engine.clustering.sweep import Tries

    def children() -> list[list]:
        client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
        experiment = client.get_experiment_by_name("cartera").experiment_id
        parents = [
            run
            for run in client.search_runs([experiment], order_by=["attributes.start_time"])
            if "mlflow.parentRunId" not in run.data.tags
        ]
        return [
            client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
            for parent in parents
        ]

    def run(self, k, **settings):
        if settings["seed"] == 1:
            raise RuntimeError("by chance")
        return real(self, k, **settings)

    sales_csv(tmp_path / "sales.csv")
    few = (*SMALL, "sweep.features=[rfm]", "sweep.k=3", "lake=lake")
    real = Tries.run
    monkeypatch.setattr(Tries, "run", run)
    assert cartera("sweep", *few).code == 3
    (first,) = children()
    assert sorted(run.info.status for run in first) == ["FAILED", "FAILED", "FINISHED", "FINISHED"]
    # More customers: another run, for its figures are of other data.
    sales_csv(tmp_path / "more.csv", customers=90, seed=1)
    assert cartera("ingest", "data.path=more.csv", "lake=lake").code == 0
    monkeypatch.setattr(Tries, "run", real)
    assert cartera("sweep", *few, "out=again").code == 0
    before, after = children()
    assert len(before) == 4
    assert [run.info.status for run in after] == ["FINISHED"] * 4
    assert len({run.data.tags["cartera.trial"] for run in after}) == 4
    assert {run.data.params["lake_version"] for run in before} != {run.data.params["lake_version"] for run in after}


def test_seeds_that_failed_are_made_again_under_the_same_run(cartera, tmp_path: Path, monkeypatch) -> None:
    import mlflow

    from engine.clustering.sweep import Tries

    def run(self, k, **settings):
        if settings["seed"] == 1:
            raise RuntimeError("by chance")
        return real(self, k, **settings)

    sales_csv(tmp_path / "sales.csv")
    few = (*SMALL, "sweep.features=[rfm]", "sweep.k=3", "lake=lake")
    real = Tries.run
    monkeypatch.setattr(Tries, "run", run)
    assert cartera("sweep", *few).code == 3
    monkeypatch.setattr(Tries, "run", real)
    assert cartera("sweep", *few, "out=again").code == 0
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("cartera").experiment_id])
    # What failed stays on record as such, and each trial is there once.
    assert sorted(run.info.status for run in runs) == ["FAILED"] * 2 + ["FINISHED"] * 5
    assert all("stability" not in run.data.metrics for run in runs if run.info.status == "FAILED")
    tracked = {run.data.tags["cartera.trial"] for run in runs if "cartera.trial" in run.data.tags}
    assert tracked == set(pl.read_csv(tmp_path / "again" / "sweep.csv")["trial_id"])


def test_no_password_is_kept(cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv")
    ran = cartera("sweep", *SMALL, "sweep.k=3", "tracking.uri=http://ana:s3cret@127.0.0.1:9/x")
    assert ran.code == 0, ran.err
    assert "s3cret" not in ran.out + ran.err
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"s3cret" not in path.read_bytes(), path
    assert "waiting in" in ran.out


def test_a_k_beyond_the_customers_fails_alone_and_is_told(cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv", customers=5)
    ran = cartera("sweep", *UNTRACKED, "sweep.k=[2,3,9]")
    assert ran.code == 3
    assert "8 of 24 trials failed" in ran.err
    assert "only 5 differ" in ran.err
    frame = pl.read_csv(tmp_path / "found" / "sweep.csv")
    assert set(frame.filter(pl.col("status") == "failed")["k"]) == {9}
    # What is done need not be done again.
    again = cartera("sweep", *UNTRACKED, "sweep.k=[2,3,9]", "out=again")
    assert "16 trials are on record" in again.err


def test_where_everything_fails_nothing_is_left(cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv", customers=5)
    ran = cartera("sweep", *UNTRACKED, "sweep.k=9", "segments.max=9")
    assert ran.code == 2
    assert "every one of the 8 trials failed" in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sales.csv"]


def test_one_value_of_each_axis_is_what_the_other_keys_say(cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv")
    ran = cartera(
        "sweep", "data.path=sales.csv", "sweep.seed=null", "seed=5", "features=rfm_units", "clustering.k=3..4",
        "clustering.backend=faiss", "features.transform=none", "tracking.uri=null", "out=found",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    frame = pl.read_csv(tmp_path / "found" / "sweep.csv")
    axes = ["features", "transform", "backend", "k", "seed"]
    assert sorted(frame.select(axes).rows()) == [("rfm_units", "none", "faiss", k, 5) for k in (3, 4)]


def test_sets_of_the_users_own_and_their_own_windows(cartera, tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv")
    (tmp_path / "mine" / "features").mkdir(parents=True)
    (tmp_path / "mine" / "features" / "lately.yaml").write_text(
        "name: lately\ncolumns: [frequency, monetary]\nwindow_days: 60\n", encoding="utf-8"
    )
    ran = cartera(
        "sweep", "--config-dir", "mine", "data.path=sales.csv", "sweep.features=[lately,rfm]", "sweep.seed=[0]",
        "clustering.k=3", "tracking.uri=null", "out=found",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    verdict = json.loads((tmp_path / "found" / "verdict.json").read_text("utf-8"))
    assert verdict["window_days"] == {"lately": 60, "rfm": None}
    assert verdict["customers"]["lately"] < verdict["customers"]["rfm"] == 60
    assert verdict["command"].startswith(f"cartera segment --config-dir {tmp_path / 'mine'} data.path=sales.csv ")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["sweep.features=[]"], "sweep.features: expected at least one value"),
        (["sweep.k=[]"], "sweep.k: expected at least one value"),
        (["sweep.seed=[]"], "sweep.seed: expected at least one value"),
        (["sweep.features=[rfm,rmf]"], "sweep.features: expected one of behaviour, rfm, rfm_units, ticket; got 'rmf'"),
        (["sweep.features=[rfm,rfm]"], "rfm"),
        (["sweep.k=0..3"], "sweep.k: expected a number of segments"),
        (["sweep.k=many"], "sweep.k: expected a number of segments"),
        (["sweep.backend=[native,spark]"], "clustering.backend"),
        (["sweep.transform=[sqrt]"], "sweep.transform"),
        (["sweep.seed=[a]"], "sweep.seed: expected a list such as [0,1,2], or null; got ['a']"),
        (["sweep.k=[true]"], "sweep.k: expected a list"),
        (["sweep.k=1..100000000000"], "sweep.k: expected at most 500"),
        (["sweep.transform=[]"], "sweep.transform: expected at least one value"),
        (["sweep.features=3"], "sweep.features: expected a list such as [rfm,rfm_units]"),
        (["evidence.gap_references=999999999"], "from 2 to 1,000"),
        (["segments.min=9", "segments.max=9"], "segments.min=9"),
        (["evidence.gap_references=-2"], "evidence.gap_references"),
        (["language=fr"], "language"),
        (["compute.name=spark"], "compute"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(cartera, tmp_path: Path, overrides, expected) -> None:
    ran = cartera("sweep", *UNTRACKED, *overrides)
    assert ran.code == 2
    assert expected in ran.err
    assert "Traceback" not in ran.err
    assert list(tmp_path.iterdir()) == []


def test_lists_with_commas_are_answered_with_the_key_of_the_axis(cartera) -> None:
    ran = cartera("sweep", "data.path=sales.csv", "seed=0,1", "tracking.uri=null")
    assert ran.code == 2
    assert "sweep.seed=[0,1]" in ran.err


@pytest.mark.parametrize(
    ("register", "uri", "expected"), [("a/b", "sqlite:///m.db", "without /"), ("mine", "null", "set tracking.uri too")]
)
def test_a_model_that_cannot_be_registered_is_refused_before_anything_is_read(
    cartera, tmp_path: Path, register: str, uri: str, expected: str
) -> None:
    ran = cartera("segment", "data.path=sales.csv", f"tracking.register={register}", f"tracking.uri={uri}")
    assert ran.code == 2
    assert expected in ran.err
    assert list(tmp_path.iterdir()) == []
