"""Real processes on 127.0.0.1: what only shows there."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.bundle import save_bundle
from engine.serving.tokens import read_tokens
from tests.experiments.conftest import cartera  # noqa: F401  a fixture
from tests.serving.api_example import ONE
from tests.serving.pages_example import World, make_world, model_of

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 30.0


SPANISH = {"dirección": "address", "segmentos": "segments", "clientes": "customers", "procesos": "workers"}


class Server:
    """A server that runs: its address, and what it said."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.said = folder / "stderr"
        with self.said.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "experiments", "serve", "serve.port=0", *arguments],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self.figures: dict[str, str] = {}
        assert self.process.stdout is not None
        while "workers" not in self.figures:
            line = self.process.stdout.readline().decode()
            assert line, self.said.read_text()
            name, _, value = line.partition(" ")
            self.figures[SPANISH.get(name, name)] = value.strip()
        self.port = int(self.figures["address"].rpartition(":")[2])
        self.token = ""
        wait_for(lambda: self.get("/health")[0] == 200)
        if "serve.tokens" not in " ".join(arguments):
            self.token = re.findall(r"^token: (\S{43})$", self.said.read_text(), re.M)[0]

    def ask(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            headers = {"Authorization": f"Bearer {token or self.token}"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(content) if content.startswith(b"{") else content.decode()

    def get(self, path: str) -> tuple[int, Any]:
        try:
            return self.ask("GET", path)
        except OSError:
            return 0, None

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Server]:
    server = Server(folder, *arguments)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        assert server.process.stdout is not None
        server.process.stdout.close()


def wait_for(holds: Any) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = make_world(tmp_path)
    world.customers.write_parquet(tmp_path / "customers.parquet")
    return world


def raw(port: int, content: bytes, seconds: float = PATIENCE_SECONDS) -> bytes:
    """Send bytes and return what comes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as sock:
        sock.sendall(content)
        answer = b""
        while piece := sock.recv(65_536):
            answer += piece
        return answer


class Asking(threading.Thread):
    """Asks over and over, on connections that stay open, and keeps every answer."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server, self.answers, self.over = server, [], threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE_SECONDS)
        headers = {"Authorization": f"Bearer {self.server.token}"}
        while not self.over.is_set():
            connection.request("POST", "/v1/classify", json.dumps(ONE), headers)
            answer = connection.getresponse()
            self.answers.append((answer.status, json.loads(answer.read()).get("distance")))
        connection.close()


def test_one_process_from_start_to_end(world: World) -> None:
    folder, bundle = world.folder, world.folder / "bundle"
    with running(folder, "bundle=bundle", "language=es") as server:
        assert server.figures["segments"].startswith("3 con recency_days")
        wanted = world.model.classify(ONE)
        status, answer = server.ask("POST", "/v1/classify", ONE)
        assert (status, answer["distance"], answer["name"]) == (200, wanted.distance, wanted.segment.name.es)
        assert server.ask("POST", "/v1/classify", ONE, token="wrong")[0] == 401
        # The printed token may everything.
        assert server.get("/metrics")[0] == 200

        # What is no HTTP, or has no end, is refused in the same form as all else.
        for sent, code in (
            (b"nonsense\r\n\r\n", b"400"),
            (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000, b"431"),
        ):
            said = raw(server.port, sent)
            assert said.startswith(b"HTTP/1.1 " + code)
            assert b"application/problem+json" in said
        assert raw(server.port, b"GET /v1/segments HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 421")

        # A new bundle under load: every request is answered, by the one model or the other.
        asking = [Asking(server) for _ in range(3)]
        for each in asking:
            each.start()
        distances = {wanted.distance}
        model = model_of(world.customers, 4)
        distances.add(model.classify(ONE).distance)
        save_bundle(model, bundle, engine_version="test")
        digest = json.loads((bundle / "manifest.json").read_text())["digest"]
        wait_for(lambda: server.get("/ready")[1]["digest"] == digest)
        (bundle / "centroids.npy").write_bytes(b"broken")
        wait_for(lambda: server.get("/ready")[1]["problem"] is not None)
        for each in asking:
            each.over.set()
            each.join()
        answers = [answer for each in asking for answer in each.answers]
        assert {status for status, _ in answers} == {200}
        assert {distance for _, distance in answers} == distances
        # The broken one is said, and the last good one serves.
        assert server.get("/ready")[1]["digest"] == digest
        assert server.ask("POST", "/v1/classify", ONE)[1]["distance"] == model.classify(ONE).distance

        # A request in flight when the end is asked for is answered.
        body = json.dumps(ONE).encode()
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as sock:
            head = f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.token}\r\n"
            sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:5])
            time.sleep(0.1)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            sock.sendall(body[5:])
            assert sock.recv(65_536).startswith(b"HTTP/1.1 200")
        assert server.process.wait(PATIENCE_SECONDS) == 0
        said = server.said.read_text()
        assert said.count(server.token) == 1
        assert "POST /v1/classify 200" in said
        assert "Traceback" not in said
        assert "centroids.npy" in said


def test_two_workers_over_one_socket(world: World) -> None:
    folder = world.folder
    with running(folder, "bundle=bundle", "customers=customers.parquet", "serve.workers=2", "serve.log=json") as server:
        assert server.figures["customers"] == "120"
        asked = 40
        for _ in range(asked):
            # A new connection each: both workers come to answer, and both know the token.
            status, answer = server.ask("GET", "/v1/customers/7")
            assert (status, answer["customer_id"]) == (200, 7)
        figures = server.get("/metrics")[1]
        counted = re.findall(r'requests_total\{.*route="/v1/customers/\{customer_id:path\}".*\} (\S+)', figures)
        assert sum(map(float, counted)) == asked

        # Told to look again, and given a new bundle, both take it in with the customers of the file.
        save_bundle(model_of(world.customers, 4), folder / "bundle", engine_version="test")
        server.process.send_signal(signal.SIGHUP)
        digest = json.loads((folder / "bundle" / "manifest.json").read_text())["digest"]
        wait_for(lambda: all(server.get("/ready")[1]["digest"] == digest for _ in range(20)))

        # A worker that dies is replaced.
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        if children.exists():
            workers = {pid for pid in children.read_text().split() if "spawn_main" in cmdline(pid)}
            assert len(workers) == 2
            os.kill(int(min(workers)), signal.SIGKILL)
            wait_for(
                lambda: len({p for p in children.read_text().split() if "spawn_main" in cmdline(p)} - workers) == 1
            )
        wait_for(lambda: all(server.get("/v1/customers/7")[0] == 200 for _ in range(10)))
        assert server.end(signal.SIGINT) == 130
        assert server.said.read_text().splitlines()[-1] == "cartera serve: ended by Ctrl-C."
        lines = [line for line in server.said.read_text().splitlines() if line.startswith("{")]
        entries = [json.loads(line) for line in lines]
        requests = [entry for entry in entries if entry.get("route") == "/v1/customers/{customer_id:path}"]
        assert len(requests) >= asked
        assert set(requests[0]) == {"time", "method", "route", "status", "ms"}
        assert "Traceback" not in server.said.read_text()
    with pytest.raises(OSError):  # noqa: PT011  whatever the system calls it
        raw(server.port, b"")


def cmdline(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_clients_that_are_slow_or_many_do_not_stop_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # The same server in this process, with less patience.
    from engine.serving import protocol
    from engine.serving.opening import Opening
    from engine.serving.server import Worker, _Server, listen, server_of
    from engine.serving.settings import ServeSettings
    from tests.serving.api_example import RECORDS

    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 30)
    settings = ServeSettings(port=0)
    opening = Opening(bundle=world.folder / "bundle")
    worker = Worker(settings=settings, opening=opening, tokens=tuple(RECORDS), key=b"k" * 32)
    with listen(settings) as sock:
        port = sock.getsockname()[1]
        server: _Server = server_of(worker, opening())
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        wait_for(lambda: server.started)
        try:
            start = time.monotonic()
            # Nothing at all; half a head; a head that drips.
            for sent in (b"", b"GET /health HTTP/1.1\r\nHost: local"):
                assert raw_or_reset(port, sent) == b""
            # A refused upload that goes on for ever is cut off, but its refusal arrives.
            head = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
            assert raw_or_reset(port, head + b" " * 1_000).startswith(b"HTTP/1.1 413")
            assert time.monotonic() - start < PATIENCE_SECONDS / 2
            held = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
            try:
                wait_for(lambda: b"503" in raw_or_reset(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")[:20])
            finally:
                for each in held:
                    each.close()
            get = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            wait_for(lambda: raw_or_reset(port, get).startswith(b"HTTP/1.1 200"))
        finally:
            server.should_exit = True
            thread.join()


def raw_or_reset(port: int, content: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as sock:
        answer = b""
        try:
            sock.sendall(content)
            while piece := sock.recv(65_536):
                answer += piece
        except ConnectionError:
            pass
        return answer


def test_tls(world: World) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    folder = world.folder
    made = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*made, "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True)
    import ssl

    from engine.serving.opening import Opening
    from engine.serving.server import Worker, listen, server_of
    from engine.serving.settings import ServeSettings

    settings = ServeSettings(port=0, tls_certificate=folder / "cert.pem", tls_key=folder / "key.pem")
    opening = Opening(bundle=folder / "bundle")
    with listen(settings) as sock:
        server = server_of(Worker(settings=settings, opening=opening, tokens=(), key=b"k" * 32), opening())
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        wait_for(lambda: server.started)
        try:
            trusted = ssl.create_default_context(cafile=folder / "cert.pem")
            connection = http.client.HTTPSConnection("localhost", sock.getsockname()[1], context=trusted)
            connection.request("GET", "/login", headers={"Accept": "text/html"})
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.headers["Strict-Transport-Security"]
            connection.close()
        finally:
            server.should_exit = True
            thread.join()


Cartera = Any


def test_tokens_are_made_on_the_command_line(cartera: Cartera, tmp_path: Path) -> None:  # noqa: F811
    made = cartera("serve", "action=token", "serve.tokens=tokens", "token.name=crm", "token.role=customers")
    assert made.code == 0, made.err
    token = made.out.strip()
    assert len(token) == 43
    records, _ = read_tokens(tmp_path / "tokens")
    assert [(record.name, record.role) for record in records] == [("crm", "customers")]
    again = cartera("serve", "action=token", "serve.tokens=tokens", "token.name=crm")
    assert again.code == 2
    assert "has a token of that name" in again.err
    assert cartera("serve", "action=token", "token.name=crm").code == 2
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "bundle: required"),
        (("bundle=none",), "expected a folder with manifest.json"),
        (("bundle=none", "action=dance"), "expected one of serve, token"),
        (("bundle=none", "serve.host=0.0.0.0"), "beyond this machine"),
        (("bundle=none", "serve.port=http"), "serve.port"),
        (("bundle=none", "runs=[nowhere]"), "nowhere"),
        (("bundle=none", "serve.prot=1"), "no setting 'serve.prot'"),
        (("-m", "bundle=none,nothing"), "does not end by itself"),
        (("bundle=run",), "Give bundle=run/bundle."),
        (("bundle=run/bundle", "customers=scored"), "Give customers=scored/customers."),
        (("bundle=run/bundle", "customers=feat"), "Give customers=feat/features.parquet."),
        (("bundle=run/bundle", "lake=run"), "Give lake=run/lake."),
    ],
)
def test_what_cannot_be_served_is_said(
    cartera: Cartera,  # noqa: F811
    tmp_path: Path,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    for file in ("run/bundle/manifest.json", "run/lake/transactions", "scored/customers/manifest.json"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "feat").mkdir()
    (tmp_path / "feat" / "features.parquet").touch()
    ran = cartera("serve", *arguments)
    assert ran.code == 2, ran.err
    assert says in ran.err
    assert "token: " not in ran.err


def test_a_port_that_is_taken_is_said(cartera: Cartera, world: World) -> None:  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = cartera("serve", f"bundle={world.folder}/bundle", f"serve.port={taken.getsockname()[1]}")
    assert ran.code == 2
    assert "cannot listen there" in ran.err


def test_customers_of_another_model_are_not_served(cartera: Cartera, world: World) -> None:  # noqa: F811
    assert world.base is not None
    world.base.save(world.folder / "customers")
    save_bundle(model_of(world.customers, 4), world.folder / "bundle", engine_version="test")
    ran = cartera("serve", f"bundle={world.folder}/bundle", f"customers={world.folder}/customers")
    assert ran.code == 2
    assert "another model" in ran.err
