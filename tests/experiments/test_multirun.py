from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from engine.errors import OutputExistsError
from experiments.jobs import JobRecords
from experiments.multirun import parent_run
from tests.experiments.till import sales_csv

ROOT = Path(__file__).parents[2]
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
HAS_OPTUNA = importlib.util.find_spec("optuna") is not None

# A verb whose jobs do what their seed says, in no time.
PROBE = """
import os, signal, sys, time
from pathlib import Path

from engine.errors import SettingError
from experiments.app import out_folder, verb
from experiments.multirun import parent_run
from experiments.output import output


def run(config):
    out = out_folder(config.out)
    with output(out, "segment") as folder:
        (folder / "seed.txt").write_text(str(config.seed))
        if config.seed == 500:
            raise SettingError("seed: 500 is bad.")
        if config.seed == 501:
            raise ZeroDivisionError("oops")
        if config.seed == 502:
            os.kill(os.getpid(), signal.SIGKILL)
        if config.seed >= 600:
            Path(f"sleeps-{config.seed}").touch()
            time.sleep(60)
    threads = [os.environ.get(name) for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")]
    print("polars" in sys.modules, *threads, parent_run())
    return float(config.seed)


if __name__ == "__main__":
    verb("segment")(run)()
"""


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "_NUM_THREADS" not in name and "COV" not in name}
    return {**kept, "PYTHONPATH": str(ROOT)}


def started(place: Path, *arguments: str, **options: object) -> subprocess.Popen[str]:
    (place / "probe.py").write_text(PROBE)
    command = [sys.executable, "probe.py", "-m", "tracking.uri=null", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=place, env=environment(), **pipes, **options)  # type: ignore[call-overload,no-any-return]


def probe(place: Path, *arguments: str) -> Ran:
    process = started(place, *arguments)
    out, err = process.communicate(timeout=90)
    return Ran(process.returncode, out, err)


def living(group: int) -> list[int]:
    """Return the processes of a group that have not ended."""
    found = []
    for process in psutil.process_iter(["status"]):
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "jobs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name not in (".cartera.json", "probe.py"))


PLAIN = ("segment", "-m", "data.path=sales.csv", "tracking.uri=null")


def test_each_job_has_its_folder_and_its_line(cartera: Callable[..., Ran], tmp_path: Path) -> None:
    sales_csv(tmp_path / "sales.csv")
    ran = cartera(*PLAIN, "clustering.k=2,0,3,61", "seed=1", "out=some")
    assert ran.code == 3
    assert "job 1: clustering.k" in ran.err
    assert "2 of 4 jobs failed: 1, 3." in ran.err
    assert "2 of 4 done" in ran.out
    assert visible(tmp_path / "some") == ["0", "2", "jobs.csv"]
    assert [json.loads((tmp_path / "some" / job / "summary.json").read_text())["k"] for job in "02"] == [2, 3]
    lines = table(tmp_path / "some")
    assert [line["overrides"] for line in lines] == [f"clustering.k={k}" for k in (2, 0, 3, 61)]
    assert [line["exit_code"] for line in lines] == ["0", "2", "0", "2"]
    assert [line["folder"] for line in lines] == ["0", "", "2", ""]
    assert visible(tmp_path) == ["sales.csv", "some"]
    assert parent_run() is None
    # A later sweep takes the place of the earlier one, and leaves alone what neither wrote.
    (tmp_path / "some" / "2" / "thesis.txt").write_text("years of work")
    ran = cartera(*PLAIN, "clustering.k=3", "out=some")
    assert ran.code == 0, ran.err
    assert visible(tmp_path / "some") == ["0", "2", "jobs.csv"]
    assert visible(tmp_path / "some" / "2") == ["thesis.txt"]
    assert len(table(tmp_path / "some")) == 1
    # One that comes to nothing changes nothing.
    before = (tmp_path / "some" / "jobs.csv").read_text()
    assert cartera(*PLAIN, "clustering.k=0,-1", "out=some").code == 2
    assert (tmp_path / "some" / "jobs.csv").read_text() == before
    assert (tmp_path / "some" / "0" / "summary.json").exists()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["clustering.k=0,-1"], "2 of 2 jobs failed"),
        (["clustering.kk=3,4"], "clustering.kk"),
        (["clustering=native,fais"], "fais"),
        (["out=one,two"], "one folder for the whole sweep"),
        (["out=taken"], "`cartera segment -m` wrote"),
        (["out=sales.csv"], "a file is there"),
        (["lake=fresh/lake", "out=fresh"], "lies inside it"),
        ([*JOBLIB[:1], "hydra.launcher.n_jobs=0"], "n_jobs"),
        (["tracking.uri=./mlruns"], "tracking.uri"),
        (["hydra/sweeper=optna"], "optna"),
        (["clustering.k=interval(2,3)"], "interval"),
    ],
)
def test_a_sweep_that_cannot_work_leaves_nothing(
    cartera: Callable[..., Ran], tmp_path: Path, overrides: list[str], says: str
) -> None:
    sales_csv(tmp_path / "sales.csv")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("years of work")
    before = sorted(tmp_path.rglob("*"))
    keys = {override.split("=")[0] for override in overrides}
    ran = cartera(
        "segment", "-m", *(text for text in (*PLAIN[2:], "out=fresh") if text.split("=")[0] not in keys), *overrides
    )
    assert ran.code == 2, ran
    assert says in ran.err
    assert ran.err.count("cartera segment: ") == 1
    assert "Traceback" not in ran.err
    assert sorted(tmp_path.rglob("*")) == before


def test_optuna_that_is_not_installed_is_asked_for(
    cartera: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sales_csv(tmp_path / "sales.csv")
    monkeypatch.setitem(sys.modules, "optuna", None)
    for name in [name for name in sys.modules if name.startswith("hydra_plugins.hydra_optuna_sweeper")]:
        monkeypatch.delitem(sys.modules, name)
    ran = cartera(*PLAIN, "experiment=search", "out=found")
    assert ran.code == 2
    assert "cartera[optuna]" in ran.err
    assert visible(tmp_path) == ["sales.csv"]


@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["basic", "joblib"])
def test_every_job_counts_whatever_the_launcher(tmp_path: Path, launcher: tuple[str, ...]) -> None:
    ran = probe(tmp_path, *launcher, "seed=1,500,501,2", "out=some")
    assert ran.code == 3, ran
    assert "job 1: seed: 500 is bad." in ran.err
    assert "job 2: this is a fault of ours" in ran.err
    assert "2 of 4 jobs failed: 1, 2." in ran.err
    assert [line["exit_code"] for line in table(tmp_path / "some")] == ["0", "2", "1", "0"]
    assert [line["value"] for line in table(tmp_path / "some")] == ["1.0", "", "", "2.0"]
    assert visible(tmp_path / "some") == ["0", "3", "jobs.csv"]
    assert visible(tmp_path) == ["some"]
    if launcher:
        # Each of two jobs has half of the cores, told before anything that reads it is imported.
        cores = len(os.sched_getaffinity(0))
        share = str(max(1, cores // 2))
        told = [line.split()[:4] for line in ran.out.splitlines() if line.startswith(("True", "False"))]
        assert told == [["False", share, share, share]] * 2


def test_a_job_that_is_killed_has_failed(tmp_path: Path) -> None:
    ran = probe(tmp_path, *JOBLIB, "seed=1,502", "out=some")
    assert ran.code in (1, 3), ran
    assert "job 1: its process was killed" in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "some" / "1").exists()
    assert visible(tmp_path) == (["some"] if ran.code == 3 else [])


@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["basic", "joblib"])
def test_an_interruption_ends_all_jobs_and_keeps_the_finished(tmp_path: Path, launcher: tuple[str, ...]) -> None:
    process = started(tmp_path, *launcher, "seed=1,600,601,2", "out=some", start_new_session=True)
    awaited = 2 if launcher else 1
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("sleeps-*"))) < awaited and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    # A Ctrl-C at the terminal reaches every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert err.count("interrupted") == 1
    assert "Traceback" not in err
    assert visible(tmp_path / "some") == ["0", "jobs.csv"]
    codes = [line["exit_code"] for line in table(tmp_path / "some")]
    assert codes == (["0", "130", "130", ""] if launcher else ["0", "130", "", ""])
    while living(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not living(process.pid)


def test_two_sweeps_do_not_share_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "some"
    held = JobRecords.claim(out, "segment -m")
    with pytest.raises(OutputExistsError, match=f"process {os.getpid()}"):
        JobRecords.claim(out, "segment -m")
    ran = probe(tmp_path, "seed=1", "out=some")
    assert ran.code == 2
    assert "another `cartera segment -m` is writing there" in ran.err
    assert not out.exists()
    held.release()
    # What a killed process held is free.
    owner = held.place / "owner.json"
    JobRecords.claim(out, "segment -m")
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "born": 1.0}))
    JobRecords.claim(out, "segment -m").release()
    owner.parent.mkdir()
    owner.write_text("{")
    with pytest.raises(OutputExistsError, match="delete"):
        JobRecords.claim(out, "segment -m")
    assert visible(tmp_path) == [".some.sweep"]


def test_two_jobs_do_not_share_a_folder(tmp_path: Path) -> None:
    ran = probe(tmp_path, "seed=1,2", "hydra.sweep.subdir=same", "out=some")
    assert ran.code == 3
    assert "job 1: hydra.sweep.subdir" in ran.err
    assert (tmp_path / "some" / "same" / "seed.txt").read_text() == "1"


@pytest.mark.skipif(not HAS_OPTUNA, reason="needs the extra optuna")
def test_optuna_judges_by_what_a_job_returns(tmp_path: Path) -> None:
    ran = probe(
        tmp_path,
        "hydra/sweeper=optuna",
        "hydra.sweeper.sampler.seed=0",
        "hydra.sweeper.n_trials=8",
        "hydra.sweeper.direction=maximize",
        "seed=3,500,7",
        "out=some",
    )
    assert ran.code == 3, ran
    lines = table(tmp_path / "some")
    assert len(lines) == 8
    assert {line["overrides"]: line["value"] for line in lines} == {"seed=3": "3.0", "seed=500": "", "seed=7": "7.0"}
    assert all((line["exit_code"] == "0") == (line["value"] != "") for line in lines)
    assert "best: job" in ran.out
    assert "seed=7 (7.000)" in ran.out
    assert "best_value: 7.0" in (tmp_path / "some" / "optimization_results.yaml").read_text()
    # Nothing but our own words.
    assert all(line.startswith("cartera segment") for line in ran.err.splitlines()), ran.err
    assert probe(tmp_path, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "seed=500,501", "out=none").code in (
        1,
        2,
    )
    assert visible(tmp_path) == ["some"]


def test_runs_of_parallel_jobs_have_one_parent(tmp_path: Path) -> None:
    import sqlite3

    sales_csv(tmp_path / "sales.csv")
    command = [sys.executable, "-m", "experiments", "segment", "-m", *JOBLIB]
    options = {"cwd": tmp_path, "env": environment(), "capture_output": True, "text": True, "timeout": 120}
    ran = subprocess.run([*command, "data.path=sales.csv", "clustering.k=3,0,4", "out=some"], **options)  # type: ignore[call-overload]
    assert ran.returncode == 3, ran
    assert "locked" not in ran.stderr
    assert "Traceback" not in ran.stderr
    assert visible(tmp_path / "some") == ["0", "2", "jobs.csv"]
    with sqlite3.connect(tmp_path / "runs" / "mlflow.db") as store:
        rows = store.execute(
            "SELECT run_uuid, name, status, (SELECT value FROM tags WHERE tags.run_uuid = runs.run_uuid "
            "AND key = 'mlflow.parentRunId') FROM runs"
        ).fetchall()
    store.close()
    assert {status for _, _, status, _ in rows} == {"FINISHED"}
    (root,) = [run for run, _, _, parent in rows if parent is None]
    jobs = [run for run, _, _, parent in rows if parent == root]
    assert len(jobs) == 2
    assert sorted(name for _, name, _, parent in rows if parent in jobs) == ["k=3", "k=4"]
