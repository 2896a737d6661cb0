"""Signals that come at a bad time, and processes that are gone: real processes on 127.0.0.1."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import SettingError
from engine.serving import server as server_module
from tests.serving.pages_example import World, make_world
from tests.serving.test_serving_server import PATIENCE_SECONDS, ROOT, cmdline, running, wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it looks at processes in /proc")


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = make_world(tmp_path)
    assert world.base is not None
    world.base.save(tmp_path / "customers")
    return world


def workers_of(first: int) -> set[int]:
    found = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return {int(pid) for pid in found if "spawn_main" in cmdline(pid)}


@pytest.fixture
def starting(world: World) -> Iterator[subprocess.Popen[str]]:
    """A server that has just begun to start."""
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments", "serve", "serve.port=0", "bundle=bundle"],
        cwd=world.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # Its own code runs once Python's is there: SIGTERM, the 15th, is caught.
        wait_for(lambda: process.poll() is None and status(process.pid, "SigCgt") >> 14 & 1)
        yield process
    finally:
        process.kill()
        process.communicate()


def status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1], 16)


def test_a_hang_up_during_the_start_harms_nothing(starting: subprocess.Popen[str]) -> None:
    assert starting.stdout is not None
    for _ in range(20):
        starting.send_signal(signal.SIGHUP)
        time.sleep(0.02)
    assert starting.stdout.readline().startswith("address")
    starting.send_signal(signal.SIGTERM)
    assert starting.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize("seconds", [0.0, 0.6])
def test_the_end_may_be_asked_for_during_the_start(starting: subprocess.Popen[str], seconds: float) -> None:
    time.sleep(seconds)
    starting.send_signal(signal.SIGTERM)
    assert starting.wait(PATIENCE_SECONDS) == 0
    assert "Traceback" not in starting.communicate()[1]


def test_the_end_during_the_start_is_no_failure_wherever_it_comes() -> None:
    # What is made by `exec`, as dataclasses are while modules are read, tells the interpreter of an interruption.
    code = (
        "import experiments.serve as serve\n"
        "serve.verb = lambda name: lambda run: lambda: exec('raise KeyboardInterrupt')\n"
        "serve.main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_workers_are_replaced_under_hang_ups_and_when_the_customers_are_bad(world: World) -> None:
    with running(world.folder, "bundle=bundle", "customers=customers", "serve.workers=2") as server:
        first = server.process.pid
        wait_for(lambda: len(workers_of(first)) == 2)
        before = workers_of(first)
        # Cut under the workers; none touches what it has mapped meanwhile.
        with (world.folder / "customers" / "customers.arrow").open("r+b") as file:
            file.truncate(100)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(workers_of(first) - before) == 2)
        after = workers_of(first)
        for _ in range(30):
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.03)
        wait_for(lambda: server.get("/ready")[0] == 200)
        ready = server.get("/ready")[1]
        assert ready["customers"] is None
        assert ready["problem"]
        assert workers_of(first) == after
        said = server.said.read_text()
        assert "without customers" in said
        assert "Traceback" not in said
        # The first process is killed and can tell nobody.
        server.process.kill()
        wait_for(lambda: not any("spawn_main" in cmdline(str(pid)) for pid in after))


class Child:
    """What the first process sees of a worker: the first ``good`` live, the others die at once."""

    born: list[Child]
    good: int

    def __init__(self, **_: Any) -> None:
        self.pid, self.exitcode, self.lives = None, 2, False

    def start(self) -> None:
        self.lives = len(self.born) < self.good
        self.born.append(self)
        if len(self.born) == 12:
            os.kill(os.getpid(), signal.SIGTERM)

    def is_alive(self) -> bool:
        return self.lives

    def join(self, seconds: float | None = None) -> None:
        self.lives = False


@pytest.mark.parametrize("good", [0, 1])
def test_workers_that_die_young_end_the_service_only_where_none_serves(
    good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Child, "born", [], raising=False)
    monkeypatch.setattr(Child, "good", good, raising=False)
    monkeypatch.setattr(server_module.multiprocessing, "get_context", lambda _: SimpleNamespace(Process=Child))
    monkeypatch.setattr(server_module, "YOUNG_SECONDS", 0.25)
    monkeypatch.setattr(server_module, "RETRY_SECONDS", 0.01)
    worker: Any = SimpleNamespace(settings=SimpleNamespace(workers=2))
    if good:
        assert server_module._supervise(worker, None) == signal.SIGTERM  # type: ignore[arg-type]
        assert len(Child.born) == 12
    else:
        with pytest.raises(SettingError, match="the lines above say why"):
            server_module._supervise(worker, None)  # type: ignore[arg-type]
        assert len(Child.born) < 12
