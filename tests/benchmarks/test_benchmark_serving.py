"""The load that is put on servers, and the judges of classification, neighbours and serving."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from benchmarks.case import Task, find_case
from benchmarks.cases import classify, neighbours
from benchmarks.load import drive, post
from benchmarks.peers import classifying, neighbouring


@contextmanager
def server(status=b"200 OK", wait=0.0, split=False):
    """A server that answers every request alike; it counts them."""
    seen, ready, stop = [], threading.Event(), None
    place: list[int] = []

    async def answer(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                seen.append(await reader.readexactly(length))
                await asyncio.sleep(wait)
                told = b"HTTP/1.1 " + status + b"\r\nContent-Length: 4\r\n\r\ngood"
                for part in (told[:20], told[20:]) if split else (told,):
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def serve():
        nonlocal stop
        stop = asyncio.Event()
        held = await asyncio.start_server(answer, "127.0.0.1", 0)
        place.extend([held.sockets[0].getsockname()[1], asyncio.get_running_loop()])
        ready.set()
        async with held:
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield place[0], seen
    finally:
        place[1].call_soon_threadsafe(stop.set)
        thread.join(10)


@pytest.mark.parametrize("split", [False, True])
def test_a_closed_loop_has_one_request_under_way_on_each_connection(split):
    with server(wait=0.01, split=split) as (port, seen):
        load = drive(port, post("/x", b"hello"), seconds=0.3, connections=3)
    assert set(seen) == {b"hello"}
    # 3 connections, 0.3 s, at least 10 ms each.
    assert 3 <= len(load.latencies) <= 90 + 3
    assert len(seen) - 3 <= len(load.latencies) <= len(seen)
    assert load.latencies.min() >= 0.01
    assert load.failed == 0
    assert load.per_second == pytest.approx(len(load.latencies) / load.seconds)


def test_an_open_loop_sends_what_is_due_and_charges_waiting_to_the_server():
    with server(wait=0.05) as (port, _):
        # One connection manages 20 a second; 100 are due.
        load = drive(port, post("/x", b""), seconds=0.4, connections=1, per_second=100)
    assert len(load.latencies) < 40
    # The request that came tenth was due long before it could be sent.
    assert load.latencies[5] > 2 * load.latencies[0]


def test_other_answers_have_failed():
    with server(status=b"429 Too Many Requests") as (port, _):
        load = drive(port, post("/x", b""), seconds=0.1, connections=2)
    assert load.failed == len(load.latencies) > 0
    assert load.per_second == 0


def task(case, data, contestant="cartera"):
    return Task(case, contestant, "XS", data, 0, 2, 4096, "", "")


def test_labels_are_judged_by_plain_distances():
    rng = np.random.default_rng(0)
    X, C = rng.normal(size=(500, 3)).astype(np.float32), rng.normal(size=(4, 3))
    given = classify.Given(None, X, C, [])
    right = np.square(X[:, None].astype(float) - C).sum(axis=2).argmin(axis=1)
    assert classify.judge(given, classifying.Predicted(right, C), task("classify", "base"))[1] is None
    wrong = right.copy()
    wrong[7] = (wrong[7] + 1) % 4
    facts, fault = classify.judge(given, classifying.Predicted(wrong, C), task("classify", "base"))
    assert facts == {"wrong": 1}
    assert fault


def test_neighbours_are_judged_by_plain_distances(tmp_path):
    case = find_case("neighbours")
    todo = Task("neighbours", "flat", "XS", "customers", 0, 2, 4096, str(tmp_path / "data"), str(tmp_path))
    case.make(todo)
    given = case.open(todo)
    exact = neighbouring.flat(given, todo).answer
    facts, fault = neighbours.judge(given, exact, todo)
    assert (facts["missed"], fault) == (0.0, None)
    half = exact.ids.copy()
    half[:, 5:] = np.arange(5)
    assert neighbours.judge(given, exact._replace(ids=half), todo)[0]["missed"] == pytest.approx(0.5, abs=0.05)
    half[:, 1] = half[:, 0]
    assert "twice" in neighbours.judge(given, exact._replace(ids=half), todo)[1]
