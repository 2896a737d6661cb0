from __future__ import annotations

import asyncio
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from engine.serving import protocol as protocol_module
from engine.serving.protocol import HEADER_BYTES, SILENT_BYTES, PatientProtocol

HEAD = b"POST / HTTP/1.1\r\nHost: evil\r\nTransfer-Encoding: chunked\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what is written and reads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = ""

    def write(self, data: Any) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def exchange(*pieces: bytes) -> tuple[Wire, list[tuple[list[tuple[bytes, bytes]], bytes]]]:
    """Send pieces one read each; return the connection and the headers and body of every request that ended."""
    requests: list[tuple[list[tuple[bytes, bytes]], bytes]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        requests.append((list(scope["headers"]), body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def talk() -> Wire:
        config = Config(app, log_config=None, lifespan="off")
        protocol, wire = PatientProtocol(config, ServerState(), {}), Wire()
        protocol.connection_made(wire)
        for piece in pieces:
            if wire.ended:
                break
            protocol.data_received(piece)
            for _ in range(5):
                await asyncio.sleep(0)
        protocol.connection_lost(None)
        await asyncio.gather(*protocol.tasks)
        return wire

    return asyncio.run(talk()), requests


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("trailer", [b"Host: localhost", b"Authorization: Bearer x", b"X-Empty:"])
def test_trailers_are_no_headers_of_this_request_or_the_next(trailer: bytes, apart: bool) -> None:
    pieces = [HEAD, b"2\r\nok\r\n0\r\n", trailer + b"\r\n\r\n", b"GET /b HTTP/1.1\r\nHost: next\r\n\r\n"]
    wire, requests = exchange(*(pieces if apart else [b"".join(pieces)]))
    assert requests == [
        ([(b"host", b"evil"), (b"transfer-encoding", b"chunked")], b"ok"),
        ([(b"host", b"next")], b""),
    ]
    assert wire.written.count(b"200 OK") == 2
    assert wire.ended == "closed"  # by the end of the test


@pytest.mark.parametrize(
    ("before", "piece"),
    [
        (b"0\r\n", b"x: y\r\n"),
        (b"0\r\nx: ", b"y" * 7),
        (b"0\r\n", b"x" * 7),
        (b"2;x=", b"y" * 7),
        (b"", b"0" * 7),
    ],
)
def test_what_is_neither_header_nor_body_has_an_end(before: bytes, piece: bytes) -> None:
    fits, over = SILENT_BYTES // len(piece) - 4, SILENT_BYTES // len(piece) + 4
    wire, requests = exchange(HEAD, before, *[piece] * fits)
    assert wire.ended == "closed"
    wire, requests = exchange(HEAD, before, *[piece] * over)
    assert wire.ended == "aborted"
    assert not requests


def test_a_long_body_in_small_chunks_and_long_headers_are_read() -> None:
    chunks = [b"1", b"\r\nx\r\n"] * SILENT_BYTES
    wire, requests = exchange(HEAD, *chunks, b"0\r\n\r\n")
    assert wire.written.startswith(b"HTTP/1.1 200")
    assert requests[0][1] == b"x" * SILENT_BYTES
    long = HEAD[:-2] + b"x: " + b"y" * (HEADER_BYTES // 2) + b"\r\n\r\n"
    wire, requests = exchange(long, b"1\r\n", b"x\r\n0\r\n\r\n")
    assert requests[0][1] == b"x"


GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


async def connection(app: Any) -> tuple[PatientProtocol, Wire]:
    protocol, wire = PatientProtocol(Config(app, log_config=None, lifespan="off"), ServerState(), {}), Wire()
    protocol.connection_made(wire)
    return protocol, wire


async def turns(number: int = 8) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.parametrize("before", [b"", GET])
def test_line_ends_alone_keep_no_connection_open(before: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_module, "HEADER_SECONDS", 0.1)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def talk() -> None:
        protocol, wire = await connection(app)
        if before:
            protocol.data_received(before)
            await turns()
            assert wire.written.startswith(b"HTTP/1.1 200")
        for _ in range(50):
            if wire.ended:
                break
            protocol.data_received(b"\r\n")
            await asyncio.sleep(0.01)
        assert wire.ended == "aborted"
        protocol.connection_lost(None)

    asyncio.run(talk())


def test_a_line_end_between_requests_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    wire, requests = exchange(GET, b"\r\n", GET + b"\r\n", b"\r\n" + GET)
    assert len(requests) == 3
    assert wire.written.count(b"200 OK") == 3
    assert b"400" not in wire.written


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("first", "then"),
    [
        # What is wrong is in the body of the request that is answered.
        (HEAD + b"2\r\nok\r\n", b"nonsense\r\n"),
        # It comes after a whole request, and belongs to the next.
        (GET, b"nonsense\r\n\r\n"),
        (GET, b"GET /b HTTP/1.1\r\nx: " + b"y" * HEADER_BYTES),
        # Another request waits between the two.
        (GET + GET, b"nonsense\r\n\r\n"),
    ],
)
def test_no_refusal_is_written_into_an_answer(first: bytes, then: bytes, begun: bool) -> None:
    async def talk() -> tuple[Wire, list[str]]:
        go_on, ended = asyncio.Event(), []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}
            if begun:
                await send(start)
                await send({"type": "http.response.body", "body": b"ab", "more_body": True})
            await go_on.wait()
            if not begun:
                await send(start)
                await send({"type": "http.response.body", "body": b"ab", "more_body": True})
            await send({"type": "http.response.body", "body": b"cd"})
            ended.append(scope["path"])

        protocol, wire = await connection(app)
        protocol.data_received(first)
        await turns()
        protocol.data_received(then)
        await turns()
        go_on.set()
        await turns()
        protocol.connection_lost(None)
        await asyncio.gather(*protocol.tasks)
        return wire, ended

    wire, ended = asyncio.run(talk())
    assert ended
    answers = wire.written.count(b"HTTP/1.1 ")
    if first.startswith(b"GET"):
        # The whole request is answered as if nothing had come after it; then the connection ends.
        assert answers == 1
        assert wire.written.endswith(b"\r\n\r\nabcd")
        assert wire.ended == "closed"
    elif begun:
        assert answers == 1
        assert wire.written.endswith(b"\r\n\r\nab")
        assert wire.ended == "aborted"
    else:
        assert wire.written.startswith(b"HTTP/1.1 400")
        assert answers == 1
        assert b"abcd" not in wire.written
