"""The load that is put on servers, and the judges of classification, neighbours and serving."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.case import Task, find_case
from benchmarks.cases import classify, neighbours, ready, serving, soak
from benchmarks.load import Load, drive, post
from benchmarks.peers import classifying, neighbouring, opening
from benchmarks.peers import serving as serving_peers


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


def test_what_was_due_and_never_answered_has_failed(monkeypatch):
    monkeypatch.setattr("benchmarks.load.LAST_ONES_S", 0.1)
    with server(wait=0.2) as (port, _):
        # Two connections are busy for 0.2 s each; twenty requests are due at once.
        load = drive(port, post("/x", b""), seconds=0.1, connections=2, per_second=200)
    assert load.requests == 20
    assert load.failed == 20 - len(load.latencies) >= 16
    with server(wait=60) as (port, _):
        load = drive(port, post("/x", b""), seconds=0.1, connections=2, per_second=50)
    assert (load.requests, load.failed, load.per_second) == (5, 5, 0)
    assert load.quantile(0.5) is None


def test_two_loads_are_one_after_the_other():
    first = Load(1.0, np.array([0.1, 0.3]), 1, 3)
    whole = first.then(Load(2.0, np.array([0.2]), 0, 1))
    assert (whole.seconds, whole.latencies.tolist(), whole.failed, whole.requests) == (3.0, [0.1, 0.3, 0.2], 1, 4)
    assert (whole.quantile(0.5), whole.per_second) == (0.2, 1.0)


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


def soaked(**changes):
    settled, end, failed = ({"settled": 100.0, "end": 104.9, "failed": 0} | changes).values()
    load = Load(3.0, np.array([0.001, 0.002, 0.009]), failed, 3)
    return serving_peers.Soaked(load, settled, end, {"segment_id": "a", "margin": 0.25})


def test_a_soak_is_wrong_where_a_request_failed_or_memory_grew_or_the_answer_is_another():
    model = serving.Given(None, {}, "a", 0.25, 3.0, 0)
    given = soak.Given(model, 3.0, 1.0, 300.0)
    facts, fault = soak.judge(given, soaked(), task("soak", "steady"))
    assert fault is None
    assert facts == {
        "requests": 3, "failed": 0, "p50_ms": 2.0, "p99_ms": 8.86, "settled_mib": 100.0, "end_mib": 104.9
    }  # fmt: skip
    assert soak.judge(given, soaked(failed=1), task("soak", "steady"))[1] == "1 of 3 requests failed"
    fault = soak.judge(given, soaked(end=105.2), task("soak", "steady"))[1]
    assert fault == "memory grew by 5.2%, from 100.0 to 105.2 MiB"
    for other, told in (
        (replace(model, segment_id="b"), "segment a, expected b"),
        (replace(model, margin=0.5), "margin"),
    ):
        assert told in soak.judge(replace(given, model=other), soaked(), task("soak", "steady"))[1]


def test_a_soaked_server_is_ours_and_its_memory_is_looked_at_twice(tmp_path, monkeypatch):
    monkeypatch.setitem(soak.SECONDS, "XS", 0.6)
    case = find_case("soak")
    todo = Task("soak", "cartera", "XS", "steady", 0, 2, 4096, str(tmp_path / "data"), str(tmp_path))
    case.make(todo)
    given = case.open(todo)
    assert given.settled_s == pytest.approx(0.2)
    answer = serving_peers.soak(given, todo).answer
    facts, fault = case.judge(given, answer, todo)
    # What it grows by in half a second does not matter here.
    assert fault is None or fault.startswith("memory grew")
    assert (facts["requests"], facts["failed"]) == (180, 0)
    # An interpreter with NumPy, Polars and a web framework, and not this process.
    assert 50 < facts["settled_mib"] < 1000


@pytest.fixture(scope="module")
def customers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ready")
    todo = Task("ready", "cartera", "XS", "customers", 0, 2, 4096, str(folder / "data"), str(folder))
    with pytest.MonkeyPatch.context() as changed:
        changed.setitem(ready.ROWS, "XS", 2_000)
        find_case("ready").make(todo)
    return todo, find_case("ready").open(todo)


@pytest.mark.parametrize("contestant", ["cartera", "plain"])
def test_a_folder_of_customers_answers_rightly_whoever_opens_it(contestant, customers):
    todo, given = customers
    answer = find_case("ready").contestants[contestant].call(given, todo)
    facts, fault = ready.judge(given, answer, todo)
    assert fault is None
    assert (facts["missed"], facts["kind"]) == (0, "flat")
    assert min(answer[3:]) > 0


def test_a_folder_that_answers_wrongly_is_found_out(customers):
    todo, given = customers
    right = opening.plain(given, todo)
    assert len(given.values) == 3

    def fault(**changes):
        return ready.judge(given, right._replace(**changes), todo)[1]

    assert fault() is None
    assert "frequency of the customer is 0" in fault(values={**right.values, "frequency": 0})
    assert "hold the customer" in fault(ids=[given.customer_id, *right.ids[1:]])
    assert "twice" in fault(ids=[right.ids[0], *right.ids[:-1]])
    assert "of those most alike" in fault(distances=[given.tenth * 1.01] * 6 + right.distances[6:])
    assert "0% of those most alike" in fault(distances=right.distances[:-1])
