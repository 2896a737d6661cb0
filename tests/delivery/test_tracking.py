from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.tracking import EXPERIMENT, MlflowTracker, NullTracker, open_tracker, prepare_store, redacted
from tests.delivery.tracking_example import children, client, make_store, runs

# SQLAlchemy warns of how MLflow uses it.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_store(tmp_path_factory.mktemp("store"))


def test_a_run_its_children_and_its_files(store: str, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "spec.json").write_text("{}")
    (tmp_path / "report.html").write_text("<html>")
    with MlflowTracker(store, run_name="segment test") as tracker:
        tracker.params({"k": 4, "features": "a,b", "window_days": None})
        tracker.metrics({"inertia": 12.5})
        for k in (3, 4):
            tracker.child(f"k={k}", {"k": k}, {"inertia": 100.0 / k})
        tracker.artifacts(tmp_path / "report.html")
        tracker.artifacts(tmp_path / "bundle", into="bundle")
        run_id = tracker.where.split()[3]
    c = client(store)
    parent = c.get_run(run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.params == {"k": "4", "features": "a,b", "window_days": "null"}
    assert parent.data.metrics == {"inertia": 12.5}
    assert sorted(f.path for f in c.list_artifacts(run_id)) == ["bundle", "report.html"]
    children = c.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'")
    assert {child.data.params["k"]: child.data.metrics["inertia"] for child in children} == {"3": 100 / 3, "4": 25.0}
    assert all(child.info.status == "FINISHED" for child in children)
    # Artifacts lie beside the database, not in whatever folder the user stands in.
    assert (
        Path(store.removeprefix("sqlite:///")).parent.as_posix()
        in c.get_experiment_by_name(EXPERIMENT).artifact_location
    )


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_ends_badly_says_so(store: str, error: type[BaseException], status: str) -> None:
    tracker = MlflowTracker(store, run_name="fails")
    tracker.finished("FINISHED")
    with pytest.raises(error), tracker:
        raise error
    assert client(store).get_run(tracker.run_id).info.status == status


def test_a_run_of_which_a_part_failed_says_so(store: str) -> None:
    with open_tracker(store, run_name="partly") as tracker:
        tracker.finished("FAILED")
    assert client(store).get_run(tracker.run_id).info.status == "FAILED"


def test_a_trial_with_tags_files_and_an_outcome(store: str) -> None:
    with open_tracker(store, run_name="sweep", tags={"verb": "sweep"}) as tracker:
        tracker.child(
            "k=3", {"k": 3}, {"seconds": 2.5}, tags={"trial": "a1"}, texts={"centroids.csv": "frequency\n3.5\n"}
        )
        tracker.child("k=4", {"k": 4}, {}, tags={"trial": "b2"}, status="FAILED")
        assert tracker.known_children("trial") == {"a1", "b2"}
        assert tracker.known_children("other") == set()
    assert client(store).get_run(tracker.run_id).data.tags["verb"] == "sweep"
    good, bad = sorted(children(store, tracker.run_id), key=lambda run: run.data.params["k"])
    assert (good.info.status, bad.info.status) == ("FINISHED", "FAILED")
    assert good.info.end_time - good.info.start_time == 2500
    written = Path(good.info.artifact_uri.removeprefix("file://")) / "centroids.csv"
    assert written.read_text() == "frequency\n3.5\n"


def test_a_run_is_opened_again_with_what_it_has(store: str) -> None:
    with open_tracker(store, run_name="long") as first:
        first.child("k=3", {}, {}, tags={"trial": "a1"})
        first.finished("FAILED")
    with open_tracker(store, run_name="long", resume=first.run_id) as second:
        assert client(store).get_run(second.run_id).info.status == "RUNNING"
        assert second.known_children("trial") == {"a1"}
        second.child("k=4", {}, {}, tags={"trial": "b2"})
    assert second.run_id == first.run_id
    assert len(children(store, first.run_id)) == 2
    assert client(store).get_run(first.run_id).info.status == "FINISHED"


def test_a_run_that_the_store_no_longer_has_is_begun_anew(store: str) -> None:
    with open_tracker(store, run_name="gone") as first:
        pass
    client(store).delete_run(first.run_id)
    for gone in (first.run_id, "0" * 32):
        with open_tracker(store, run_name="anew", resume=gone) as second:
            pass
        assert second.run_id not in (first.run_id, gone)
        assert client(store).get_run(second.run_id).info.status == "FINISHED"


WRITER = """
import sys
from engine.tracking import open_tracker
uri, parent, number = sys.argv[1:]
with open_tracker(uri, run_name=f"job {number}", parent=parent) as tracker:
    for trial in range(10):
        tracker.child(f"trial {trial}", {"k": trial}, {"inertia": 1.0}, tags={"trial": f"{number}.{trial}"})
"""


def test_processes_write_to_one_database_at_once_even_if_it_is_missing(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'deep' / 'mlflow.db'}"

    def write(number: int) -> None:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", WRITER, uri, "f" * 32, str(number)],
            cwd=Path.cwd(),
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    jobs = children(uri, "f" * 32)
    assert sorted(job.info.run_name for job in jobs) == [f"job {number}" for number in range(4)]
    trials = [run.data.tags["trial"] for job in jobs for run in children(uri, job.info.run_id)]
    assert sorted(trials) == [f"{number}.{trial}" for number in range(4) for trial in range(10)]
    # No run waits in an outbox because the database was busy.
    assert len(runs(uri)) == 44


def test_a_prepared_store_stands(tmp_path: Path) -> None:
    uri = make_store(tmp_path)
    prepare_store(uri)
    prepare_store(None)
    assert client(uri).get_experiment_by_name(EXPERIMENT) is not None
    assert runs(uri) == []


def test_two_runs_share_one_experiment(store: str) -> None:
    for _ in range(2):
        with MlflowTracker(store, run_name="again"):
            pass
    assert len([e for e in client(store).search_experiments() if e.name == EXPERIMENT]) == 1


def test_no_tracking_keeps_nothing(tmp_path: Path) -> None:
    with open_tracker(None, run_name="x") as tracker:
        tracker.params({"k": 1})
        tracker.child("k=1", {}, {}, tags={"a": "b"}, texts={"c": "d"}, status="FAILED")
        tracker.metrics({})
        tracker.artifacts(tmp_path)
        tracker.finished("FAILED")
        assert tracker.model(tmp_path) is None
        assert tracker.known_children("a") == set()
        assert tracker.run_id is None
    assert isinstance(tracker, NullTracker)
    assert tracker.where is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ana:secret@host:5432/db", "postgresql://***@host:5432/db"),
        ("https://token@mlflow.example.com/x?y=1", "https://***@mlflow.example.com/x?y=1"),
        ("postgresql://ana:p@ss:w@rd@host/db", "postgresql://***@host/db"),
        ("https://user:p@ss/w@host", "https://***@host"),
        ("https://user:p'w\"d/@host/x", "https://***@host/x"),
        ("https://user:p?w#d@host", "https://***@host"),
        (
            "No answer from 'https://user:p/w@host': ask ana@example.com",
            "No answer from 'https://***@host': ask ana@example.com",
        ),
        # Not a user, but no rule could tell.
        ("https://mlflow.example.com/a@b", "https://***@b"),
        ("sqlite:////home/ana@example.com/mlflow.db", "sqlite:////home/ana@example.com/mlflow.db"),
        ("https://host/?api_token=s3&sig=s4&x=1", "https://host/?api_token=***&sig=***&x=1"),
        ("https://host/?design=x&X-Amz-Signature=s3", "https://host/?design=x&X-Amz-Signature=***"),
        ("https://host/?Secret=a&apikey=b&pwd=c", "https://host/?Secret=***&apikey=***&pwd=***"),
        ("https://host/#access_token=s3", "https://host/#access_token=***"),
        ("mysql://host/db?user=ana&Password=s3&x=1", "mysql://host/db?user=ana&Password=***&x=1"),
        ("https://host/?access_token=s3", "https://host/?access_token=***"),
        ("sqlite:///runs/mlflow.db", "sqlite:///runs/mlflow.db"),
        ("no address at all", "no address at all"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_a_child_that_a_kill_left_half_written_is_written_again(store: str) -> None:
    with open_tracker(store, run_name="cut") as tracker:
        tracker.child("whole", {}, {"inertia": 1.0}, tags={"trial": "a"})
        run = client(store).get_run(tracker.run_id)
        half = client(store).create_run(
            run.info.experiment_id, tags={"trial": "b", "mlflow.parentRunId": str(tracker.run_id)}
        )
        assert tracker.known_children("trial") == {"a"}
        tracker.child("b again", {}, {"inertia": 2.0}, tags={"trial": "b"})
        assert tracker.known_children("trial") == {"a", "b"}
    assert client(store).get_run(half.info.run_id).info.lifecycle_stage == "deleted"


def test_a_database_named_from_the_folder_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        with open_tracker("sqlite:///runs/mlflow.db", run_name=name) as tracker:
            tracker.params({"folder": name})
    for name in ("here", "there"):
        c = client(f"sqlite:///{tmp_path}/{name}/runs/mlflow.db")
        found = c.search_runs([c.get_experiment_by_name(EXPERIMENT).experiment_id])
        assert [run.info.run_name for run in found] == [name]
