from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import TrackingError
from engine.tracking import EXPERIMENT, MlflowTracker, NullTracker, open_tracker, redacted

# MLflow's own warnings, of libraries it uses and of its defaults, are not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for the module: making its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'deep' / 'mlflow.db'}"


def client(uri: str):
    import mlflow

    return mlflow.MlflowClient(tracking_uri=uri)


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
    with pytest.raises(error), tracker:
        raise error
    run_id = tracker.where.split()[3]
    assert client(store).get_run(run_id).info.status == status


def test_two_runs_share_one_experiment(store: str) -> None:
    for _ in range(2):
        with MlflowTracker(store, run_name="again"):
            pass
    assert len([e for e in client(store).search_experiments() if e.name == EXPERIMENT]) == 1


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////proc/none/mlflow.db",
        "sqlite:////tmp",
        "./mlruns",
        "nonsense://user:secret@host/x",
        "mysql://user:secret@host/x",
    ],
)
def test_a_store_that_cannot_be_opened(uri: str) -> None:
    with pytest.raises(TrackingError, match=r"tracking\.uri=.*cannot be opened") as caught:
        MlflowTracker(uri, run_name="x")
    assert "secret" not in str(caught.value)


def test_no_tracking_keeps_nothing(tmp_path: Path) -> None:
    with open_tracker(None, run_name="x") as tracker:
        tracker.params({"k": 1})
        tracker.child("k=1", {}, {})
        tracker.metrics({})
        tracker.artifacts(tmp_path)
    assert isinstance(tracker, NullTracker)
    assert tracker.where is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ana:secret@host:5432/db", "postgresql://***@host:5432/db"),
        ("https://token@mlflow.example.com/x?y=1", "https://***@mlflow.example.com/x?y=1"),
        ("sqlite:///runs/mlflow.db", "sqlite:///runs/mlflow.db"),
        ("no address at all", "no address at all"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown
