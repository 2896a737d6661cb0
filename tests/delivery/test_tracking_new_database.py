from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from engine.errors import TrackingError
from engine.tracking import EXPERIMENT, open_tracker, prepare_store
from engine.tracking.new_database import new_database
from tests.delivery.tracking_example import client, runs

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# Dies after so many of MLflow's statements that change the database.
DIES = """
import os, signal, sqlite3, sys
uri, number, how = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
import sqlalchemy
left = number
@sqlalchemy.event.listens_for(sqlalchemy.Engine, "before_cursor_execute")
def count(connection, cursor, statement, *rest):
    global left
    if statement.lstrip().upper().startswith(("CREATE", "ALTER", "INSERT", "UPDATE", "DROP")):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), how)
from engine.tracking import prepare_store
prepare_store(uri)
"""


def test_a_first_run_that_was_killed_does_not_spoil_the_next(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    for number, how in ((40, signal.SIGKILL), (150, signal.SIGINT)):
        child = [sys.executable, "-W", "ignore", "-c", DIES, uri, str(number), str(int(how))]
        assert subprocess.run(child, capture_output=True).returncode == -how
        left = [file.name for file in tmp_path.iterdir()]
        assert "mlflow.db" not in left
        # An interruption cleans up after itself; what a kill leaves, the next run takes away.
        assert bool(left) is (how == signal.SIGKILL)
    with open_tracker(uri, run_name="after") as tracker:
        tracker.params({"k": 3})
    assert [run.data.params for run in runs(uri)] == [{"k": "3"}]
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_new_database_is_whole_and_knows_its_place(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    # Of a database that was moved away; SQLite would play it back.
    (tmp_path / "mlflow.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\0" * 504)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    prepare_store(uri)
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]
    for experiment in client(uri).search_experiments():
        assert ".new" not in experiment.artifact_location
    assert client(uri).get_experiment_by_name(EXPERIMENT).artifact_location == (tmp_path / "mlflow-artifacts").as_uri()
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_database_made_meanwhile_is_kept(tmp_path: Path) -> None:
    database, other = tmp_path / "a[1].db", tmp_path / ".a[1].db.0123.new"
    other.touch()
    with new_database(database, alone=False) as making:
        making.write_bytes(b"ours")
        database.write_bytes(b"theirs")
    assert database.read_bytes() == b"theirs"
    # Not alone: it may be in use.
    assert sorted(tmp_path.iterdir()) == [other, database]
    database.unlink()
    with new_database(database, alone=True) as making:
        making.write_bytes(b"ours")
    assert database.read_bytes() == b"ours"
    assert list(tmp_path.iterdir()) == [database]


def test_a_database_that_an_earlier_release_left_half_made(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as half:
        half.execute("CREATE TABLE budget_policies (budget_policy_id TEXT)")
        half.commit()
    with pytest.raises(TrackingError, match=rf"was cut off while it made .* Move {file} away"):
        prepare_store(f"sqlite:///{file}")
    file.rename(tmp_path / "old.db")
    # In the same process too, which had the other file open.
    prepare_store(f"sqlite:///{file}")
