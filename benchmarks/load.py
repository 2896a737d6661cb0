"""Load on an HTTP server: one request over and over, on connections that stay open.

*Closed*: each connection sends its next request when the answer to the last has come; that finds the most a server
does. *Open*: requests are due at a fixed rate whether or not answers have come, and an answer's time counts from when
its request was due: a server that stands still for a second is charged for all who would have come in that second
(what a closed loop leaves out is known as coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Load:
    """What a server did under load.

    Attributes
    ----------
    seconds
        How long the load lasted.
    latencies
        Seconds of each request that was answered or whose connection was lost, shape (answered,).
    failed
        Answers of another status than 200, and requests without any.
    requests
        Those that were due; in a closed loop, those that were answered.
    """

    seconds: float
    latencies: NDArray[np.float64]
    failed: int
    requests: int

    @property
    def per_second(self) -> float:
        """Good answers a second."""
        return (self.requests - self.failed) / self.seconds

    def quantile(self, q: float) -> float | None:
        """Return a quantile of the latencies, in seconds; ``None`` where nothing was answered."""
        return float(np.quantile(self.latencies, q)) if len(self.latencies) else None

    def then(self, other: Load) -> Load:
        """Return this load and the one that came after it as one."""
        return Load(
            self.seconds + other.seconds,
            np.concatenate([self.latencies, other.latencies]),
            self.failed + other.failed,
            self.requests + other.requests,
        )


def post(path: str, body: bytes, *, headers: dict[str, str] | None = None, host: str = "127.0.0.1") -> bytes:
    r"""Return a request as it goes over the wire.

    Examples
    --------
    >>> post("/v1/classify", b"{}").partition(b"\r\n")[0]
    b'POST /v1/classify HTTP/1.1'
    """
    fields = {"Host": host, "Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def drive(
    port: int,
    request: bytes,
    *,
    seconds: float,
    connections: int = 16,
    per_second: float | None = None,
    host: str = "127.0.0.1",
) -> Load:
    """Put a server under load and return what it did.

    Parameters
    ----------
    port, host
        Where it listens.
    request
        From :func:`post`.
    seconds
        How long.
    connections
        At most so many requests under way.
    per_second
        Requests due a second; ``None`` for a closed loop.
    """
    work = _drive(host, port, request, seconds, connections, per_second)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


LAST_ONES_S = 1.0
"""The last requests of an open loop get so much time for their answers."""


class _Connection(asyncio.Protocol):
    """One connection: it takes the next request that is due when its answer is whole."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: Any = None
        self._seen = b""
        self._due: float | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._run.idle(self)

    def send(self, due: float) -> None:
        self._due = due
        self._transport.write(self._run.request)

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, whole, body = self._seen.partition(b"\r\n\r\n")
        if not whole:
            return
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(body) < length:
            return
        self._seen, due, self._due = b"", self._due, None
        if due is not None:
            self._run.answered(due, head.split(b" ", 2)[1] == b"200")
        self._run.idle(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._run.lost(self, self._due)


class _Run:
    def __init__(self, request: bytes, per_second: float | None) -> None:
        self.request = request
        self.latencies: list[float] = []
        self.failed = 0
        self.over = False
        self._open_loop = per_second is not None
        self._idle: deque[_Connection] = deque()
        self._due: deque[float] = deque()

    def idle(self, connection: _Connection) -> None:
        if self.over:
            return
        if not self._open_loop:
            connection.send(time.perf_counter())
        elif self._due:
            connection.send(self._due.popleft())
        else:
            self._idle.append(connection)

    def due(self, at: float) -> None:
        if self._idle:
            self._idle.popleft().send(at)
        else:
            self._due.append(at)

    def answered(self, due: float, good: bool) -> None:
        if not self.over:
            self.latencies.append(time.perf_counter() - due)
            self.failed += not good

    def lost(self, connection: _Connection, due: float | None) -> None:
        if due is not None and not self.over:
            self.answered(due, False)
        if connection in self._idle:
            self._idle.remove(connection)


async def _drive(
    host: str, port: int, request: bytes, seconds: float, connections: int, per_second: float | None
) -> Load:
    loop = asyncio.get_running_loop()
    run = _Run(request, per_second)
    begun = time.perf_counter()
    made = [await loop.create_connection(lambda: _Connection(run), host, port) for _ in range(connections)]
    if per_second is None:
        await asyncio.sleep(seconds)
    else:
        asked = round(seconds * per_second)
        for number in range(asked):
            at = begun + number / per_second
            wait = at - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            run.due(at)
        # What has not come by then has failed.
        until = time.perf_counter() + LAST_ONES_S
        while len(run.latencies) < asked and time.perf_counter() < until:
            await asyncio.sleep(0.01)
    spent = time.perf_counter() - begun
    run.over = True
    for transport, _ in made:
        transport.close()
    await asyncio.sleep(0)
    answered = len(run.latencies)
    requests = answered if per_second is None else asked
    return Load(spent, np.array(run.latencies), run.failed + requests - answered, requests)
