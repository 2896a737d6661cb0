"""Servers under load: each is started in a process of its own, driven, and ended."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.case import Task, Timed
from benchmarks.load import Load, drive, post
from benchmarks.memory import resident_mib

CONNECTIONS = 16
PER_SECOND = 500.0
STARTED_WITHIN = 60.0
PATH = "/v1/classify"
ROOT = Path(__file__).resolve().parents[2]


class Server(NamedTuple):
    """Where a server listens, the token that it printed, if any, and its process."""

    port: int
    token: str
    pid: int


@dataclass(frozen=True, slots=True)
class Served:
    """What a server did, and what it says of the one customer."""

    per_second: float
    p50: float | None
    p99: float | None
    failed: int
    answer: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Soaked:
    """What a server did over a long time, and what it held at two moments, in MiB."""

    load: Load
    settled_mib: float
    end_mib: float
    answer: dict[str, Any]


def cartera(given: Any, task: Task) -> Timed:
    """Load our own server, with a token as anybody else must have."""
    with _ours(given.folder, task) as server:
        headers = {"Authorization": f"Bearer {server.token}"}
        if task.data == "arrow":
            return _batch(given, server.port, headers)
        return _loaded(given, task, server.port, headers)


def soak(given: Any, task: Task) -> Timed:
    """Load our own server steadily, and look at its memory when it has settled and at the end."""
    body = json.dumps(given.model.customer).encode()
    with _ours(given.model.folder, task) as server:
        headers = {"Authorization": f"Bearer {server.token}"}
        request = post(PATH, body, headers=headers)

        def load(seconds: float) -> Load:
            return drive(server.port, request, seconds=seconds, connections=CONNECTIONS, per_second=given.per_second)

        first = load(given.settled_s)
        settled = resident_mib(server.pid)
        whole = first.then(load(given.seconds - given.settled_s))
        end = resident_mib(server.pid)
        answer = json.loads(_ask(server.port, body, "application/json", PATH, headers))
    return Timed(_answered_within(whole, 0.99), Soaked(whole, settled, end, answer))


def bare(given: Any, task: Task) -> Timed:
    """Load a route that does nothing."""
    with _server(["-m", "benchmarks.peers.servers", "bare", "{port}", str(given.folder)], task) as server:
        return _loaded(given, task, server.port, {})


def naive(given: Any, task: Task) -> Timed:
    """Load a first attempt."""
    with _server(["-m", "benchmarks.peers.servers", "naive", "{port}", str(given.folder)], task) as server:
        return _loaded(given, task, server.port, {})


def _ours(folder: Path, task: Task) -> AbstractContextManager[Server]:
    return _server(["-m", "experiments.serve", f"bundle={folder / 'bundle'}", "serve.port={port}"], task)


def _answered_within(load: Load, q: float) -> float:
    seconds = load.quantile(q)
    if seconds is None:
        raise RuntimeError(f"none of {load.requests} requests was answered")
    return seconds


def _loaded(given: Any, task: Task, port: int, headers: dict[str, str]) -> Timed:
    request = post(PATH, json.dumps(given.customer).encode(), headers=headers)
    drive(port, request, seconds=min(1.0, given.seconds), connections=CONNECTIONS)
    rate = PER_SECOND if task.data == "open" else None
    load = drive(port, request, seconds=given.seconds, connections=CONNECTIONS, per_second=rate)
    answer = json.loads(_ask(port, json.dumps(given.customer).encode(), "application/json", PATH, headers))
    p50, p99 = (_answered_within(load, q) for q in (0.5, 0.99))
    served = Served(load.per_second, p50, p99, load.failed, answer)
    return Timed(p99 if task.data == "open" else 1.0 / load.per_second, served)


def _batch(given: Any, port: int, headers: dict[str, str]) -> Timed:
    import polars as pl

    rng = np.random.default_rng(0)
    n = given.batch_rows
    rows = pl.DataFrame(
        {
            "customer_id": np.arange(n),
            "recency_days": rng.integers(0, 700, n).astype(float),
            "frequency": rng.integers(1, 60, n).astype(float),
            "monetary": np.exp(rng.normal(5, 1, n)),
        }
    )
    # The customer of the other cases goes along, to be checked.
    first = {"customer_id": -1, **given.customer}
    body = pl.concat([pl.DataFrame([first]), rows]).write_ipc_stream(None).getvalue()
    kind = "application/vnd.apache.arrow.stream"
    begun = time.perf_counter()
    said = _ask(port, body, kind, f"{PATH}/batch", {**headers, "Accept": kind})
    seconds = time.perf_counter() - begun
    table = pl.read_ipc_stream(said)
    answer = table.filter(pl.col("customer_id") == -1).row(0, named=True)
    return Timed(seconds, Served(table.height / seconds, None, None, n + 1 - table.height, answer))


def _ask(port: int, body: bytes, kind: str, path: str, headers: dict[str, str]) -> bytes:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data=body, headers={"Content-Type": kind, **headers}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        return bytes(response.read())


@contextmanager
def _server(command: list[str], task: Task) -> Iterator[Server]:
    """Start a server on a free port, wait until it answers, and end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = Path(task.scratch) / "server.log"
    with log.open("w") as errors:
        server = subprocess.Popen(
            [sys.executable, *(part.replace("{port}", str(port)) for part in command)],
            cwd=ROOT,
            stdout=errors,
            stderr=errors,
        )
    try:
        until = time.monotonic() + STARTED_WITHIN
        while True:
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server did not start: {log.read_text(encoding='utf-8')[-300:]}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        tokens = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("token: ")]
        yield Server(port, tokens[0].removeprefix("token: ").strip() if tokens else "", server.pid)
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
