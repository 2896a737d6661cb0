"""What stands before every request: its host, size, rate and time; and after it: headers, figures and one log line.

A plain ASGI layer around the application. It answers the refusals itself, so that nothing is read, parsed or looked up
for a request that will not be served; a failure of ours inside becomes a problem document without a traceback.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.serving.limits import Buckets
from engine.serving.problems import Problem, too_large

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.responses import Response

    from engine.serving.access import Access
    from engine.serving.metrics import Metrics

    ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

log = logging.getLogger("engine.serving.requests")

SMALL_BODY = 256 * 1024
"""Bytes of any body but a batch: one customer, or a form."""

BODY_SECONDS = 60.0
"""Within which a whole body must have come."""

MOST_REQUESTS = 1_000
"""Answered at a time by one process; beyond it the next is told to come back."""

FAILURES_PER_MINUTE = 20.0
"""Wrong tokens from one address; beyond it whoever comes from there without a valid one has to wait."""

STRANGER_RATE = 50.0
"""Requests a second from one address without a token: the log-in page and its files."""

BARE = ("/health", "/ready")
"""Asked by load balancers, by address and without a token: no check of the host, no limit."""

SINGLE = (b"host", b"authorization")
"""Headers that decide about a request: of two, a proxy may have checked the one and we the other."""

API_POLICY = b"default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    b"font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    # Not no-referrer: with it a browser sends `Origin: null` with our own forms.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


@dataclass(frozen=True, slots=True)
class Rules:
    """What requests must keep to.

    Attributes
    ----------
    hosts
        Names in the header ``Host`` that are ours, without port; a browser that a foreign name leads here is refused.
    large
        Paths whose bodies may have ``max_body`` bytes.
    rate
        Requests a second of one token, twice as many at once; ``None`` is no limit.
    secure
        Whether browsers reach the server by TLS.
    """

    hosts: frozenset[str]
    large: frozenset[str] = frozenset()
    max_body: int = 64 * 2**20
    rate: float | None = None
    secure: bool = False


class Machine:
    """The layer; see the module.

    Parameters
    ----------
    app
        What answers.
    access, rules, metrics
        Who may ask, how much, and where it is counted.
    templates
        From endpoint to the template of its route. An address may hold a customer's id; its template does not.
    show
        From the scope of a request and a problem to its answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        rules: Rules,
        metrics: Metrics,
        templates: Mapping[Any, str],
        show: Callable[[Any, Problem], Response] = lambda scope, problem: problem.response(),
    ) -> None:
        self.app = app
        self.access = access
        self.show = show
        self._templates = templates
        self.rules = rules
        self.metrics = metrics
        self.running = 0
        self._callers = Buckets(rules.rate, 2 * rules.rate) if rules.rate else None
        self._failures = Buckets(FAILURES_PER_MINUTE / 60, FAILURES_PER_MINUTE)
        self._strangers = Buckets(STRANGER_RATE, 4 * STRANGER_RATE)
        strict = [(b"strict-transport-security", b"max-age=31536000")] if rules.secure else []
        always = [*HEADERS, *strict]
        self._for_api = [*always, (b"content-security-policy", API_POLICY)]
        self._for_page = [*always, (b"content-security-policy", PAGE_POLICY)]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            # Start and stop; no other protocol is offered.
            await self.app(scope, receive, send)
            return
        start, method = time.perf_counter(), scope["method"]
        if method == "HEAD":
            # What a GET would answer, without its body; no route needs to know.
            scope = {**scope, "method": "GET"}
        exchange = _Exchange(self, scope, receive, send, bodiless=method == "HEAD")
        self.running += 1
        try:
            problem = self._refusal(scope)
            if problem is None:
                await self.app(scope, exchange.receive, exchange.send)
            else:
                await exchange.refuse(problem)
        except Problem as problem:
            await exchange.refuse(problem)
        except Exception as error:
            if exchange.gone:
                # Who asked has left in the middle of the body.
                return
            log_fault(self.route_of(scope), error)
            await exchange.refuse(Problem(500, detail="A fault of ours; it has been noted in the server's log."))
        finally:
            self.running -= 1
            seconds = time.perf_counter() - start
            route = self.route_of(scope)
            status = exchange.status or 499
            if status == 401:
                self._failures.take(_address(scope))
            self.metrics.request(route, method if method in METHODS else "OTHER", status, seconds)
            log.info("%s %s %d %.1f ms", method, route, status, 1e3 * seconds)

    def route_of(self, scope: Any) -> str:
        """Return the template of the route that answered, ``unknown`` where none did."""
        return self._templates.get(scope.get("endpoint"), "unknown")

    def headers_for(self, kind: bytes) -> list[tuple[bytes, bytes]]:
        """Return the headers that an answer of a media type gets."""
        return self._for_page if kind.startswith(b"text/html") else self._for_api

    def _refusal(self, scope: Any) -> Problem | None:
        path = scope["path"]
        if path in BARE:
            return None
        host = origin = length = None
        seen = [name for name, _ in scope["headers"] if name in SINGLE]
        if len(set(seen)) < len(seen):
            return Problem(400, "Header sent twice", "Send each of the headers Host and Authorization once at most.")
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
            elif name == b"content-length":
                length = value
        if _hostname(host) not in self.rules.hosts:
            return Problem(
                421,
                "Unknown host",
                "The header Host names none of this server's names. Use the address that it printed at its start, or "
                "add the name with serve.hosts=[NAME].",
            )
        if origin is not None and scope["method"] not in ("GET", "HEAD") and origin.partition(b"://")[2] != host:
            return Problem(403, "Foreign origin", "Another site sent this request; only our own pages may.")
        limit = self.rules.max_body if path in self.rules.large else SMALL_BODY
        if length is not None and (not length.isdigit() or int(length[:20]) > limit):
            return too_large(limit)
        if self.running > MOST_REQUESTS:
            return Problem(
                503, "Busy", f"{MOST_REQUESTS:,} requests are being answered. Try again.", headers={"Retry-After": "1"}
            )
        return self._too_often(scope)

    def _too_often(self, scope: Any) -> Problem | None:
        who = self.access.of_scope(scope)
        if who is not None:
            wait = self._callers.take(who.name) if self._callers else 0.0
        else:
            address = _address(scope)
            wait = self._failures.wait(address) or self._strangers.take(address)
        if not wait:
            return None
        seconds = math.ceil(wait)
        return Problem(
            429,
            "Too many requests",
            f"Try again in {seconds} s." + ("" if who else " Requests without a valid token are limited by address."),
            headers={"Retry-After": str(seconds)},
        )


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class _Exchange:
    """One request on its way in and its answer on the way out."""

    __slots__ = (
        "_bodiless",
        "_deadline",
        "_left",
        "_limit",
        "_machine",
        "_receive",
        "_scope",
        "_send",
        "gone",
        "status",
    )

    def __init__(self, machine: Machine, scope: Any, receive: Any, send: Any, *, bodiless: bool) -> None:
        self._machine, self._scope, self._receive, self._send = machine, scope, receive, send
        self._bodiless = bodiless
        self._limit = machine.rules.max_body if scope["path"] in machine.rules.large else SMALL_BODY
        self._left: int | None = self._limit
        self._deadline = 0.0
        self.status = 0
        self.gone = False

    async def receive(self) -> Any:
        """Return the next piece of the body, within its size and its time."""
        if self._left is None:
            return await self._receive()
        now = asyncio.get_running_loop().time()
        self._deadline = self._deadline or now + BODY_SECONDS
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise Problem(
                408,
                "Body too slow",
                f"The whole body must come within {BODY_SECONDS:g} s.",
                headers={"Connection": "close"},
            ) from None
        if message["type"] == "http.disconnect":
            self.gone = True
            return message
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise too_large(self._limit)
        if not message.get("more_body", False):
            self._left = None
        return message

    async def send(self, message: Any) -> None:
        """Send a piece of the answer, with the headers that all answers have."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = dict(message["headers"])
            headers = [*message["headers"], *self._machine.headers_for(given.get(b"content-type", b""))]
            if b"cache-control" not in given:
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        elif self._bodiless:
            message = {**message, "body": b""}
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        """Answer with a problem, unless an answer has begun."""
        if self.status:
            return
        response = self._machine.show(self._scope, problem)
        start = {"type": "http.response.start", "status": problem.status, "headers": list(response.raw_headers)}
        await self.send(start)
        await self.send({"type": "http.response.body", "body": response.body})


def _address(scope: Any) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _hostname(host: bytes | None) -> str:
    """Return the name in a ``Host`` header without its port, in small letters."""
    if host is None:
        return ""
    text = host.decode("latin-1").lower()
    name, colon, port = text.rpartition(":")
    return name if colon and port.isdigit() else text


def log_fault(where: str, error: Exception) -> None:
    """Log a fault of ours by its place in the code."""
    # Not in the error's own words: they may repeat a customer's id or a value of theirs.
    trace = [entry for entry in traceback.extract_tb(error.__traceback__) if "site-packages" not in entry.filename]
    log.error("%s failed: %s\n%s", where, type(error).__name__, "".join(traceback.format_list(trace)).rstrip())
