from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engine.errors import TrackingError
from engine.tracking import EXPERIMENT, MlflowTracker, open_tracker, prepare_store
from engine.tracking.failures import UnreachableError, translated
from tests.delivery.tracking_example import client, make_store

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////proc/none/mlflow.db",
        "sqlite:////tmp",
        "./mlruns",
        "nonsense://user:secret@host/x",
        "mysql://user:secret@host/x",
        "http://user:secret@host:port/x",
        "http:///x",
    ],
)
def test_a_store_that_cannot_be_opened(uri: str, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"tracking\.uri=.*cannot be opened") as caught:
        MlflowTracker(uri, run_name="x", outbox=tmp_path / "outbox")
    assert not isinstance(caught.value, UnreachableError)
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "outbox").exists()


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite+pysqlite://",
        "sqlite:///file::memory:?cache=shared&uri=true",
        "sqlite:///file:x?mode=memory&uri=true",
    ],
)
def test_a_database_that_vanishes_with_the_process(uri: str) -> None:
    with pytest.raises(TrackingError, match=r"names no file.* Expected a database such as sqlite:///runs/mlflow\.db"):
        prepare_store(uri)


def set_schema(uri: str, revision: str, *, without: str | None = None) -> None:
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        if without:
            database.execute(f"DROP TABLE {without}")
        database.commit()


def test_a_database_of_an_older_mlflow(tmp_path: Path) -> None:
    uri = make_store(tmp_path)
    set_schema(uri, "451aebb31d03")  # MLflow 1.0
    with pytest.raises(TrackingError, match=rf"older MLflow .* `mlflow db upgrade {uri}`"):
        prepare_store(uri)


@pytest.mark.parametrize("without", [None, "issues"], ids=["same tables", "other tables"])
def test_a_database_of_a_newer_mlflow(tmp_path: Path, without: str | None) -> None:
    uri = make_store(tmp_path)
    set_schema(uri, "ffffffffffff", without=without)
    with pytest.raises(TrackingError, match=r"newer MLflow .* `pip install -U mlflow`, or choose another tracking.uri"):
        prepare_store(uri)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("customers like coffee, and many of them do so every day\n")
    with pytest.raises(TrackingError, match="no SQLite database"):
        prepare_store(f"sqlite:///{tmp_path / 'notes.txt'}")
    assert (tmp_path / "notes.txt").read_text().startswith("customers")


def test_a_damaged_database(tmp_path: Path) -> None:
    uri = make_store(tmp_path)
    file = tmp_path / "mlflow.db"
    content = bytearray(file.read_bytes())
    content[100 : len(content)] = b"x" * (len(content) - 100)
    file.write_bytes(content)
    with pytest.raises(TrackingError, match=r"damaged|no SQLite database"):
        prepare_store(uri)


def test_a_database_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # MLflow makes a folder "file:" where it stands.
    monkeypatch.chdir(tmp_path)
    uri = make_store(tmp_path)
    prepare_store(uri)
    reading = uri.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true"
    with pytest.raises(TrackingError, match="may only be read"), open_tracker(reading, run_name="x"):
        pass


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    uri = make_store(tmp_path)
    with open_tracker(uri, run_name="x") as tracker:
        store = tracker._store  # type: ignore[attr-defined]
        engine = store.client._tracking_client.store.engine
        from sqlalchemy import event

        # What SQLite does on a full disk, without one: no page more than there are.
        @event.listens_for(engine, "checkout")
        def fill(connection: sqlite3.Connection, *_: object) -> None:
            connection.execute("PRAGMA max_page_count = 1")

        with pytest.raises(TrackingError, match=r"The disk is full\. Make room"):
            tracker.params({f"p{i}": "v" * 5000 for i in range(90)})
        event.remove(engine, "checkout", fill)


def test_an_experiment_that_was_deleted(tmp_path: Path) -> None:
    uri = make_store(tmp_path)
    prepare_store(uri)
    c = client(uri)
    number = c.get_experiment_by_name(EXPERIMENT).experiment_id
    c.delete_experiment(number)
    with pytest.raises(TrackingError, match=f"was deleted there.*mlflow experiments restore -x {number}"):
        prepare_store(uri)


def operational(text: str) -> Exception:
    from sqlalchemy.exc import OperationalError

    return OperationalError("SELECT 1", {}, Exception(text))


@pytest.mark.parametrize(
    ("uri", "reason", "waits"),
    [
        ("postgresql://ana:secret@host/db", "server closed the connection unexpectedly", True),
        ("postgresql://ana:secret@host/db", 'password authentication failed for user "ana"', False),
        ("mysql://ana:secret@host/db", "(2003, \"Can't connect to MySQL server on 'host'\")", True),
        ("mysql://ana:secret@host/db", "(1045, \"Access denied for user 'ana'\")", False),
        ("mysql://ana:secret@host/db", "(1049, \"Unknown database 'db'\")", False),
        ("sqlite:///runs/mlflow.db", "database is locked", True),
        ("sqlite:///runs/mlflow.db", "database or disk is full", False),
    ],
)
def test_only_a_store_that_may_come_back_is_waited_for(uri: str, reason: str, waits: bool) -> None:
    with pytest.raises(TrackingError) as caught, translated(uri, "written"):
        raise operational(reason)
    assert isinstance(caught.value, UnreachableError) is waits
    assert "secret" not in str(caught.value)


def test_what_is_not_the_stores_fault_is_ours() -> None:
    for fault in (ValueError("a bug"), DeprecationWarning("old")):
        with pytest.raises(type(fault)), translated("sqlite:///x", "written"):
            raise fault
