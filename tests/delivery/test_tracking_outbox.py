from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.errors import TrackingError
from engine.tracking import failures, open_tracker, prepare_store
from engine.tracking.outbox import OPERATIONS, Outbox, WaitingRun
from tests.delivery.tracking_example import children, client, make_bundle, make_store, runs

# MLflow's server runs in the same process, and warns of what it uses itself.
pytestmark = pytest.mark.filterwarnings("ignore")


class Server:
    """MLflow's own server on a thread; ``stop`` and ``start`` keep its port, as a machine that restarts does."""

    def __init__(self, folder: Path) -> None:
        self.database = make_store(folder)
        self.port = 0
        self.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        from mlflow.server import app
        from werkzeug.serving import make_server

        self._server = make_server("127.0.0.1", self.port, app, threaded=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def _one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("_MLFLOW_SERVER_FILE_STORE", f"sqlite:///{folder / 'mlflow.db'}")
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", "mlflow-artifacts:/")
        patch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", (folder / "artifacts").as_uri())
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = Server(folder)
        yield server
        server.stop()


@pytest.fixture
def server(_one_server: Server) -> Iterator[Server]:
    """The server, standing before and after each test."""
    yield _one_server
    _one_server.stop()
    _one_server.start()


def written(server: Server, run_id: str) -> dict[str, Any]:
    """All that the store knows of a run and its children, but for ids and times."""
    c = client(server.database)

    def facts(run: Any) -> dict[str, Any]:
        over_http = client(server.uri)
        return {
            "name": run.info.run_name,
            "status": run.info.status,
            "params": run.data.params,
            "metrics": {name: str(value) for name, value in run.data.metrics.items()},  # nan is not nan
            "files": sorted(f.path for f in over_http.list_artifacts(run.info.run_id)),
            "tags": {name: text for name, text in run.data.tags.items() if name in ("trial", "verb")},
        }

    run = c.get_run(run_id)
    under = [facts(child) for child in children(server.database, run_id)]
    models = [m for m in c.search_logged_models([run.info.experiment_id]) if m.source_run_id == run_id]
    versions = list(c.search_model_versions(f"run_id = '{run_id}'"))
    return {
        **facts(run),
        "children": sorted(under, key=lambda child: child["name"]),
        "models": [(m.name, str(m.status)) for m in models],
        "versions": len(versions),
    }


def do_all(
    tracker: Any, folder: Path, *, stop: Callable[[], None] = lambda: None, after: int = 99, model: bool = True
) -> None:
    """Do one of each; after so many steps the server stops."""
    steps: list[Callable[[], Any]] = [
        lambda: tracker.params({"k": 4, "window_days": None}),
        lambda: tracker.child("k=3", {"k": 3}, {"seconds": 1.5}, tags={"trial": "a"}, texts={"c.csv": "x\n1\n"}),
        lambda: tracker.child("k=4", {"k": 4}, {"inertia": float("nan")}, tags={"trial": "b"}, status="FAILED"),
        lambda: tracker.metrics({"inertia": 12.5}),
        lambda: tracker.artifacts(folder / "report.html"),
        lambda: tracker.artifacts(folder / "bundle", into="bundle"),
        lambda: model and tracker.model(folder / "bundle", registered_name="test"),
        lambda: tracker.finished("FAILED"),
    ]
    for number, step in enumerate(steps):
        if number == after:
            stop()
        step()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    make_bundle(tmp_path)
    (tmp_path / "report.html").write_text("<html>")
    return tmp_path


def test_a_run_is_the_same_however_long_the_server_was_away(
    server: Server, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box = files / "outbox"
    with open_tracker(server.uri, run_name="whole", tags={"verb": "x"}, outbox=box) as tracker:
        do_all(tracker, files)
    expected = written(server, tracker.run_id or "")
    assert expected["status"] == "FAILED"
    assert [child["files"] for child in expected["children"]] == [["c.csv"], []]
    assert expected["files"] == ["bundle", "report.html"]
    assert expected["models"] == [("segments", "READY")]
    assert expected["versions"] == 1
    for after in (0, 2):
        caplog.clear()
        with open_tracker(server.uri, run_name="whole", tags={"verb": "x"}, outbox=box) as tracker:
            do_all(tracker, files, stop=server.stop, after=after)
            assert tracker.known_children("trial") == {"a", "b"} if after == 0 else True
        said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert len(said) == 1
        assert str(box) in said[0]
        assert str(tracker.where).startswith(f"waiting in {box}")
        server.start()
        with caplog.at_level(logging.INFO), open_tracker(server.uri, run_name="next", outbox=box):
            pass
        assert "1 waiting run sent" in caplog.text
        assert written(server, tracker.run_id or "") == expected
        assert list(box.rglob("*-*")) == []


def test_a_run_that_never_saw_the_server(server: Server, files: Path) -> None:
    box = files / "outbox"
    server.stop()
    prepare_store(server.uri)
    with open_tracker(server.uri, run_name="alone", outbox=box) as tracker:
        do_all(tracker, files)
        assert tracker.known_children("trial") == {"a", "b"}
    assert tracker.run_id is not None
    assert tracker.run_id.startswith("outbox-")
    operations = [json.loads(line) for f in box.rglob(OPERATIONS) for line in f.read_text().splitlines()]
    server.start()
    before = {run.info.run_id for run in runs(server.database)}
    # It is gone on with by the id that it had while it waited.
    with open_tracker(server.uri, run_name="alone", resume=tracker.run_id, outbox=box) as again:
        assert again.known_children("trial") == {"a", "b"}
        again.child("k=5", {}, {}, tags={"trial": "c"})
    new = [run for run in runs(server.database) if run.info.run_id not in before]
    assert len(new) == 4
    found = written(server, again.run_id or "")
    assert [child["name"] for child in found["children"]] == ["k=3", "k=4", "k=5"]
    # The times are those of the work, not of the sending.
    k3 = next(run for run in new if run.info.run_name == "k=3")
    sent = next(arguments for operation, arguments in operations if operation == "child")
    assert (k3.info.start_time, k3.info.end_time) == (sent["start_ms"], sent["end_ms"])
    assert k3.info.end_time - k3.info.start_time == 1500
    assert client(server.database).get_run(again.run_id).info.start_time == operations[0][1]["start_ms"]


def test_children_find_a_parent_that_waits(server: Server, tmp_path: Path) -> None:
    box, elsewhere = tmp_path / "outbox", tmp_path / "elsewhere"
    server.stop()
    with open_tracker(server.uri, run_name="parent", outbox=box) as parent:
        with open_tracker(server.uri, run_name="job 1", parent=parent.run_id, outbox=box):
            pass
        server.start()
        # The parent still waits when its second job reaches the server.
        with open_tracker(server.uri, run_name="job 2", parent=parent.run_id, outbox=elsewhere):
            pass
    with open_tracker(server.uri, run_name="next", outbox=box):
        pass
    found = [run for run in runs(server.database) if run.info.run_name == "parent"]
    assert len(found) == 1
    under = children(server.database, found[0].info.run_id)
    assert sorted(run.info.run_name for run in under) == ["job 1", "job 2"]


@pytest.mark.parametrize(
    ("lost", "model", "points"),
    [("request", False, slice(1, None, 7)), ("answer", False, slice(4, None, 7)), ("answer", True, slice(-6, -5))],
)
def test_nothing_is_lost_or_twice_wherever_the_connection_breaks(
    server: Server, files: Path, monkeypatch: pytest.MonkeyPatch, lost: str, model: bool, points: slice
) -> None:
    """The nth request of the run fails, then the mth of the sending, before or after the server took it."""
    import requests
    from mlflow.utils import rest_utils

    send = rest_utils._get_http_response_with_retries
    calls, breaks_at = 0, 0

    def breaking(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == breaks_at and lost == "request":
            raise requests.exceptions.ConnectionError("broken")
        answer = send(*arguments, **options)
        if calls == breaks_at:
            raise requests.exceptions.ConnectionError("broken")
        return answer

    monkeypatch.setattr(rest_utils, "_get_http_response_with_retries", breaking)

    def run_once() -> Any:
        with open_tracker(server.uri, run_name="breaks", outbox=files / "outbox") as tracker:
            do_all(tracker, files, model=model)
        return tracker

    expected = written(server, run_once().run_id or "")
    total = calls
    assert total > 15
    for number in range(1, total + 1)[points]:  # all of them pass too, in two minutes
        before = {run.info.run_id for run in runs(server.database)}
        calls, breaks_at = 0, number
        run_once()
        calls, breaks_at = 0, number // 2 + 2
        prepare_and_send(server.uri, files / "outbox")
        breaks_at = 0
        prepare_and_send(server.uri, files / "outbox")
        new = [run for run in runs(server.database) if run.info.run_id not in before]
        parents = [run for run in new if run.info.run_name == "breaks"]
        assert len(parents) == 1, number
        assert len(new) == 3, number
        assert written(server, parents[0].info.run_id) == expected, number
        assert list((files / "outbox").rglob(OPERATIONS)) == []


def prepare_and_send(uri: str, box: Path) -> None:
    from engine.tracking.failures import UnreachableError
    from engine.tracking.store import Store

    try:
        Outbox(box, uri).send(Store(uri))
    except UnreachableError:
        return


def test_a_run_that_is_still_written_is_left_alone(server: Server, tmp_path: Path) -> None:
    box = Outbox(tmp_path, server.uri)
    run = box.begin(key="a" * 32, start_ms=5_000, name="live", tags={}, parent=None, resume=None)
    prepare_and_send(server.uri, tmp_path)
    assert box.waiting() == [run.folder]
    # Its process dies: what it wrote is sent, but for a line that it did not finish.
    run.add("record", {"params": {"k": "3"}, "metrics": {}, "time_ms": 6_000})
    run._file.write('["record", {"par')
    run.close()
    prepare_and_send(server.uri, tmp_path)
    assert box.waiting() == []
    (found,) = [r for r in runs(server.database) if r.data.tags.get("cartera.key") == "a" * 32]
    assert (found.info.status, found.data.params) == ("KILLED", {"k": "3"})


def test_a_run_that_the_store_refuses_does_not_keep_the_others_waiting(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box = Outbox(tmp_path, server.uri)
    for number, params in enumerate(([("k", "3"), ("k", "4")], [("k", "5")])):
        run = box.begin(key=f"{number}" * 32, start_ms=number, name=f"n{number}", tags={}, parent=None, resume=None)
        for name, text in params:
            run.add("record", {"params": {name: text}, "metrics": {}, "time_ms": 1})
        run.close()
    prepare_and_send(server.uri, tmp_path)
    assert [folder.name[-3:] for folder in box.waiting()] == ["000"]
    assert "cannot be sent and stays there" in caplog.text
    assert [r.data.params for r in runs(server.database) if r.info.run_name == "n1"] == [{"k": "5"}]


def test_no_secret_is_in_the_outbox(server: Server, files: Path) -> None:
    server.stop()
    uri = f"http://ana:geheim@127.0.0.1:{server.port}"
    with open_tracker(uri, run_name="x", outbox=files / "outbox") as tracker:
        do_all(tracker, files)
    server.start()
    assert "geheim" not in str(tracker.where)
    texts = [path.read_bytes() for path in (files / "outbox").rglob("*") if path.is_file()]
    assert len(texts) > 5
    assert not any(b"geheim" in text for text in texts)


def test_an_outbox_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    server.stop()
    (tmp_path / "outbox").write_text("a file")
    tracker = open_tracker(server.uri, run_name="x", outbox=tmp_path / "outbox")
    with pytest.raises(TrackingError, match=r"cannot wait in .*outbox"), tracker:
        pass
    server.start()


@pytest.fixture
def answering() -> Iterator[Callable[[int], str]]:
    """Servers that answer everything with one status."""
    standing: list[ThreadingHTTPServer] = []

    def stand(status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET  # noqa: N815 the name that http.server asks for

            def log_message(self, *_: object) -> None:
                return

        made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        standing.append(made)
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}).start()
        return f"http://127.0.0.1:{made.server_port}"

    yield stand
    for made in standing:
        made.shutdown()
        made.server_close()


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_server_behind_a_door_that_stands_alone_is_waited_for(
    answering: Callable[[int], str], tmp_path: Path, status: int
) -> None:
    with open_tracker(answering(status), run_name="x", outbox=tmp_path) as tracker:
        pass
    assert str(tracker.where).startswith("waiting in")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_says_no_is_an_error(answering: Callable[[int], str], tmp_path: Path, status: int) -> None:
    with pytest.raises(TrackingError, match="cannot be opened"):
        open_tracker(answering(status), run_name="x", outbox=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_does_not_speak(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import socket

    monkeypatch.setattr(failures, "PROBE_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with open_tracker(uri, run_name="x", outbox=tmp_path) as tracker:
            pass
    assert str(tracker.where).startswith("waiting in")


def test_a_run_half_begun_is_no_run(server: Server, tmp_path: Path) -> None:
    box = Outbox(tmp_path, server.uri)
    WaitingRun(box.folder / f"{1:013d}-{'b' * 32}").close()
    prepare_and_send(server.uri, tmp_path)
    assert len(box.waiting()) == 1
