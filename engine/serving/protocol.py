"""uvicorn's HTTP protocol with an end to patience: for headers, trailers, what follows a refusal, and slow readers.

uvicorn itself waits for ever for the first byte, for the end of the headers, and for a client that does not read its
answer; each such connection holds memory. It also takes the trailers of a chunked body, without end, for headers. The
body's own time is watched in ``machine``.
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from engine.serving.problems import MEDIA_TYPE, Problem

HEADER_SECONDS = 15.0
"""From the connection, or from the first byte of a later request, to the end of its headers."""

HEADER_BYTES = 64 * 1024
"""Of the request line and the headers together."""

SILENT_BYTES = 8 * 1024
"""Of what follows the headers and is no body: trailers, and the extensions of a chunk's size."""

LINGER_SECONDS = 15.0
"""How long the rest of a body is still read after its request was refused, so that the client sees the answer."""

READ_SECONDS = 60.0
"""How long a client may leave an answer standing in full buffers."""

MOST_CONNECTIONS = 2_000
"""Of one process."""


class PatientProtocol(HttpToolsProtocol):
    """One connection."""

    _waiting: TimerHandle | None = None
    _writing: TimerHandle | None = None
    _in_head = True
    _head_bytes = 0
    _in_body = False
    _heard = False
    _silent_bytes = 0
    _away = False
    _answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first request, or turn the connection away where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            self._turn_away(Problem(503, "Busy", f"{MOST_CONNECTIONS:,} connections are open. Try again."))
            return
        self._wait(HEADER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        self._stop()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the headers, or what is neither header nor body, have no end."""
        if self._away:
            return
        self._heard = False
        super().data_received(data)
        if self._away or self.transport.is_closing():
            return
        if not self._in_head:
            if self._waiting is None and self._between_requests():
                # Line ends alone begin no request, and have stopped uvicorn's own clock.
                self._wait(HEADER_SECONDS)
            self._silent_bytes = self._silent_bytes + len(data) if self._in_body and not self._heard else 0
            if self._silent_bytes > SILENT_BYTES:
                # The application may be in the middle of its answer: no other can be put there.
                self.transport.abort()
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEADER_BYTES:
            self._turn_away(Problem(431, "Headers too large", f"The headers may have {HEADER_BYTES:,} bytes at most."))

    def on_message_begin(self) -> None:
        """Start the clock for the headers."""
        super().on_message_begin()
        self._in_head, self._head_bytes, self._in_body = True, 0, True
        if self._waiting is None:
            self._wait(HEADER_SECONDS)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; pass over a trailer, which must not stand for one that was checked."""
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Note that the body goes on."""
        self._heard = True
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Stop it: from here on the application keeps the time."""
        self._in_head, self._heard = False, True
        self._stop()
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # Of several requests on their way `cycle` is the last, and this the one that is answered.
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        """Note that nothing of this request is still to come."""
        self._in_body = False
        self._stop()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Give a refused upload a little time to end."""
        super().on_response_complete()
        if self._in_body and not self.transport.is_closing():
            self._wait(LINGER_SECONDS)

    def pause_writing(self) -> None:
        """Start the clock for a client that does not read."""
        super().pause_writing()
        if self._writing is None:
            self._writing = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop it."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the form of all other refusals."""
        self._turn_away(Problem(400, "No HTTP request", msg))

    def _wait(self, seconds: float) -> None:
        self._stop()
        # Closing would first wait for the buffers of the very client that does not read.
        self._waiting = self.loop.call_later(seconds, self.transport.abort)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _between_requests(self) -> bool:
        return not self._in_body and (self._answering is None or self._answering.response_complete)

    def _may_refuse(self) -> bool:
        """Return whether a refusal can be written now; where not, see to it that the connection ends well."""
        answering = self._answering
        own_body = self._in_body and not self._in_head and answering is self.cycle
        if answering is not None and own_body:
            answering.disconnected = True
            answering.message_event.set()
            if answering.response_started:
                # No other answer can be put into the middle of this one, or behind it.
                self.transport.abort()
                return False
        elif answering is not None and not answering.response_complete:
            # What is wrong came after a whole request: that one is answered, and nothing more is read.
            answering.keep_alive, self._away = False, True
            return False
        return True

    def _turn_away(self, problem: Problem) -> None:
        self._stop()
        if not self._may_refuse():
            return
        body: bytes = bytes(problem.response().body)
        headers: list[tuple[bytes, Any]] = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        self.transport.write(b"".join([STATUS_LINE[problem.status], *lines, b"\r\n", body]))
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        # Closed with something unread, a connection is reset and the answer lost: so what still comes is passed over.
        self._away = True
        self.transport.write_eof()
        self._wait(LINGER_SECONDS)
