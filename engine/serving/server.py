"""The process, or the processes, that answer: one socket, workers that share it, and an end without a failed request.

With several workers the first process answers nothing itself: it starts them, starts one anew that dies, and hands on
what it is told (SIGTERM and Ctrl-C end, SIGHUP reads the bundle again). Each worker opens the same files, and what is
memory-mapped is in memory once.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import uvicorn

from engine.errors import CarteraError, SettingError
from engine.serving.access import Access
from engine.serving.app import Stop, make_app
from engine.serving.metrics import SHARED_FOLDER
from engine.serving.opening import Opening
from engine.serving.protocol import PatientProtocol
from engine.serving.proxy import BehindProxy
from engine.serving.settings import ServeSettings
from engine.serving.state import State
from engine.serving.tokens import TokenRecord

log = logging.getLogger(__name__)

GRACE_SECONDS = 30
"""For requests in flight when the end is asked for."""

LOOK_SECONDS = 1.0
"""Between two looks of a worker at whether the first process is there."""

EXIT_USER = 2
"""Of a worker that cannot open what it should serve."""

YOUNG_SECONDS = 5.0
MOST_YOUNG_DEATHS = 5
"""A worker that dies so young, so often, would die again for ever."""

RETRY_SECONDS = 30.0
"""Until it is tried again nevertheless, where other workers serve."""


@dataclass(frozen=True)
class Worker:
    """What a process needs in order to answer; it travels to each.

    Attributes
    ----------
    settings
        How to serve.
    opening
        Opens what is served.
    tokens
        Records beside those of the file.
    key
        Signs the sessions, the same in all workers.
    """

    settings: ServeSettings
    opening: Opening
    tokens: tuple[TokenRecord, ...]
    key: bytes


def listen(settings: ServeSettings) -> socket.socket:
    """Return the listening socket.

    Raises
    ------
    SettingError
        The address is taken or not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((settings.host, settings.port))
        sock.listen(2_048)
    except OSError as error:
        sock.close()
        raise SettingError(
            f"serve.host={settings.host} serve.port={settings.port}: cannot listen there ({error.strerror or error}). "
            "Choose another port; 0 takes a free one."
        ) from None
    sock.set_inheritable(True)
    return sock


def run(worker: Worker, sock: socket.socket, state: State) -> int:
    """Serve until a signal says to end, and return which one it was.

    One worker is this process and serves ``state``; several open it anew, each for itself.
    """
    return _serve(worker, sock, state) if worker.settings.workers == 1 else _supervise(worker, sock)


def _serve(worker: Worker, sock: socket.socket, state: State) -> int:
    """Answer requests in this process."""
    _log_requests(worker.settings.log)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    server = server_of(worker, state)
    # What is there now stays: the collector need not go through it again while somebody waits.
    gc.collect()
    gc.freeze()
    server.run(sockets=[sock])
    return server.signal


def server_of(worker: Worker, state: State) -> _Server:
    """Return the server of one process."""
    settings = worker.settings
    access = Access(worker.tokens, file=settings.tokens, key=worker.key, secure=settings.secure)
    stop = Stop()
    app = make_app(state, access, settings, stop=stop)
    config = uvicorn.Config(
        BehindProxy(app, settings.proxies) if settings.behind_proxy else app,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    return _Server(config, state, stop)


class _Server(uvicorn.Server):
    """uvicorn's server, which tells by which signal it ended and takes SIGHUP for "read the bundle again"."""

    def __init__(self, config: uvicorn.Config, state: State, stop: Stop) -> None:
        super().__init__(config)
        self._state, self._stop = state, stop
        self.signal = 0

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Hold the signals while requests are answered; the caller is told, not interrupted."""
        if threading.current_thread() is not threading.main_thread():
            # Only the main thread can; whoever runs it elsewhere ends it by `should_exit`.
            yield
            return
        kept = {number: signal.signal(number, self._end) for number in (signal.SIGINT, signal.SIGTERM)}
        if hasattr(signal, "SIGHUP"):
            kept[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: self._state.look_again())
            # A worker was started with it held back; one that came meanwhile arrives now.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)

    def _end(self, number: int, frame: Any) -> None:
        # A second Ctrl-C does not wait for requests in flight.
        self.force_exit = self.should_exit and number == signal.SIGINT
        self.signal = self.signal or number
        self._stop.asked = self.should_exit = True


def _supervise(worker: Worker, sock: socket.socket) -> int:
    """Keep the workers alive until a signal says to end."""
    # Spawned, not forked: threads of Polars and numba do not survive a fork.
    context = multiprocessing.get_context("spawn")
    told: list[int] = []
    names = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    kept = {number: signal.signal(number, lambda number, frame: told.append(number)) for number in names}
    workers: list[tuple[BaseProcess, float]] = []

    def start() -> tuple[BaseProcess, float]:
        process = context.Process(target=_work, args=(worker, sock, _levels()))
        # The child inherits what is held back: it could not answer SIGHUP before it is ready, and would die of it.
        with _hang_up_held():
            process.start()
        return process, time.monotonic()

    young_deaths = 0
    again: dict[int, float] = {}
    try:
        workers = [start() for _ in range(worker.settings.workers)]
        while not any(number in (signal.SIGINT, signal.SIGTERM) for number in told):
            time.sleep(0.1)
            while told and told[0] not in (signal.SIGINT, signal.SIGTERM):
                _tell(workers, told.pop(0))
            for index, (process, since) in enumerate(workers):
                now = time.monotonic()
                if process.is_alive() or told or now < again.get(index, now):
                    continue
                if again.pop(index, None) is None:
                    _forget(process)
                    young_deaths = young_deaths + 1 if now - since < YOUNG_SECONDS else 0
                    if young_deaths >= MOST_YOUNG_DEATHS:
                        if not any(other.is_alive() and now - born >= YOUNG_SECONDS for other, born in workers):
                            raise SettingError(
                                f"serve.workers={worker.settings.workers}: workers end as soon as they start (exit "
                                f"code {process.exitcode}); the lines above say why. Try serve.workers=1."
                            )
                        # The others serve on.
                        again[index] = now + RETRY_SECONDS
                        log.error("workers end as soon as they start; the next try is in %g s", RETRY_SECONDS)
                        continue
                log.warning("a worker has ended (exit code %s); another takes its place", process.exitcode)
                workers[index] = start()
        return next(number for number in told if number in (signal.SIGINT, signal.SIGTERM))
    finally:
        _tell(workers, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS + 5
        for process, _ in workers:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        for number, handler in kept.items():
            signal.signal(number, handler)


def _work(worker: Worker, sock: socket.socket, levels: dict[str, int]) -> None:
    """Be a worker."""
    # Ctrl-C reaches the whole group; the first process tells its workers to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)
    threading.Thread(target=_end_with_first, daemon=True).start()
    try:
        # The first process opened the customers; if they are bad by now, the model can still be served.
        state = worker.opening(model_alone=True)
    except (CarteraError, OSError) as error:
        log.error("a worker cannot start: %s", error)
        sys.exit(EXIT_USER)
    _serve(worker, sock, state)


def _end_with_first() -> None:
    """End this worker when the first process is gone, even if it was killed and could tell nobody."""
    first = multiprocessing.parent_process()
    if first is None:
        return
    while os.getppid() == first.pid and first.is_alive():
        first.join(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    # Nobody is left to end it by force.
    time.sleep(GRACE_SECONDS + 5)
    os._exit(1)


@contextlib.contextmanager
def _hang_up_held() -> Iterator[None]:
    """Hold SIGHUP back; one that comes arrives afterwards."""
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _levels() -> dict[str, int]:
    return {name: logging.getLogger(name or None).level for name in ("", "engine", "cartera")}


def _tell(workers: list[tuple[BaseProcess, float]], number: int) -> None:
    for process, _ in workers:
        if process.is_alive() and process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)


def _forget(process: BaseProcess) -> None:
    """Take a dead worker out of the figures that show who is alive."""
    if SHARED_FOLDER in os.environ and process.pid is not None:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(process.pid)  # type: ignore[no-untyped-call]


def _log_requests(form: str) -> None:
    """Set how the one line of each request is written."""
    requests = logging.getLogger("engine.serving.requests")
    if form == "none":
        requests.setLevel(logging.WARNING)
    elif form == "json":
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_JsonLine())
        requests.handlers[:] = [handler]
        requests.propagate = False


class _JsonLine(logging.Formatter):
    """A record of a request as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry: dict[str, Any] = {"time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}"}
        if isinstance(record.args, tuple) and len(record.args) == 4:
            method, route, status, milliseconds = record.args
            entry |= {"method": method, "route": route, "status": status, "ms": round(float(str(milliseconds)), 3)}
        else:
            entry |= {"level": record.levelname, "message": record.getMessage()}
        return json.dumps(entry, ensure_ascii=False)


def share_figures(folder: Path) -> None:
    """Let the workers that this process starts add up their figures in a folder."""
    folder.mkdir(exist_ok=True)
    os.environ[SHARED_FOLDER] = str(folder)
