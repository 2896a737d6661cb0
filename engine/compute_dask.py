"""Work on the workers of a Dask cluster: functions over items, and parts that workers hold.

A worker that is lost costs time and not the answer. What it was computing is computed again, and what it held is sent
again: whoever holds parts on a cluster keeps them at hand, mostly as views of a matrix that is there anyway.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from engine import __version__
from engine.compute import available_cores
from engine.errors import MissingExtraError, SettingError

log = logging.getLogger(__name__)

T = TypeVar("T")
Item = TypeVar("Item")

CONNECT_SECONDS = 10
"""Patience with a scheduler that runs elsewhere, and with its workers."""

LOSSES = 3
"""Times that parts lost with their worker are sent again before a piece of work is given up."""

_one_at_a_time = threading.Lock()


class DaskCompute:
    """Workers of a Dask cluster; use it in a ``with`` block.

    A task's own exception arrives as itself. A task during which four workers were lost is given up: it probably needs
    more memory than they have.

    Parameters
    ----------
    workers, scheduler
        As :func:`open_compute` takes them.

    Examples
    --------
    >>> with DaskCompute(workers=2) as compute:                                        # doctest: +SKIP
    ...     list(compute.map(lambda bucket: bucket * bucket, range(4)))
    [0, 1, 4, 9]
    """

    name = "dask"

    def __init__(self, workers: int | None = None, scheduler: str | None = None) -> None:
        try:
            import distributed
        except ImportError as error:
            raise MissingExtraError(
                f"compute=dask needs the package distributed ({error}). Install 'dask[distributed]', or use "
                "compute=local."
            ) from None
        self._distributed: Any = distributed
        self._workers = workers
        self._scheduler = scheduler
        self._open = ExitStack()
        self._client: Any = None

    def __enter__(self) -> Self:
        """Start the cluster, or connect to the one that runs."""
        import dask

        with ExitStack() as opening:
            opening.enter_context(_quiet())
            # What is large in our tasks is a frame in memory, and that has to travel.
            opening.enter_context(dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}))
            if self._scheduler is None:
                from engine.compute_workers import LocalProcesses

                wanted = self._workers or available_cores()
                processes = LocalProcesses(wanted)
                opening.callback(processes.close)
                self._client = self._connected(processes.wait())
            else:
                wanted = self._workers or 1
                self._check_answer(self._scheduler)
                self._client = self._connected(self._scheduler)
            opening.callback(self._client.close)
            self._wait_for(wanted)
            if self._scheduler is not None:
                self._check_version()
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the workers, and end them where they were started here."""
        self._open.close()
        self._client = None

    def map(
        self,
        function: Callable[[Item], T],
        items: Sequence[Item],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[T]:
        """Yield ``function(item)`` for each item, in the items' order."""
        client = self._client
        # One result for each worker may wait while the next is computed.
        window = 2 * sum(_threads_by_worker(client).values())
        pending = deque(client.submit(function, item, pure=False) for item in items[:window])
        try:
            for done in range(len(items)):
                result = self._result(pending.popleft())
                following = done + window
                if following < len(items):
                    pending.append(client.submit(function, items[following], pure=False))
                yield result
                if progress is not None:
                    progress(done + 1, len(items))
        finally:
            client.cancel(list(pending))

    def hold(self, parts: Sequence[Any]) -> DaskHeld:
        """Send parts to the workers in turn, where they stay until the result is let go."""
        return DaskHeld(self._client, parts)

    def _result(self, future: Any) -> Any:
        from distributed.client import FutureCancelledError

        try:
            return future.result()
        except self._distributed.KilledWorker:
            raise _given_up() from None
        except FutureCancelledError:
            raise _scheduler_lost() from None

    def _connected(self, address: str) -> Any:
        try:
            return self._distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise _no_scheduler(address, error) from None

    def _check_answer(self, address: str) -> None:
        """Raise unless a scheduler answers in time.

        Dask's client waits for the first answer without end, and where it fails, what is left of it holds up the end of
        this process. So it is made only once a question in a loop of our own, which ends whole, was answered.
        """
        import dask

        if dask.config.get("distributed.client.security-loader", None):
            # Only the client can load the certificates then.
            return
        # A caller such as a notebook may have a running loop in this thread.
        with ThreadPoolExecutor(1) as pool:
            try:
                pool.submit(asyncio.run, _ask(address)).result()
            # Whatever listens there may say anything, and break Dask's reader in any way.
            except Exception as error:
                raise _no_scheduler(address, error) from None

    def _wait_for(self, workers: int) -> None:
        try:
            self._client.wait_for_workers(workers, timeout=CONNECT_SECONDS)
        except TimeoutError:
            found = len(self._client.nthreads())
            raise SettingError(
                f"compute.workers: expected {workers} of them; {found} came within {CONNECT_SECONDS} s. "
                "Start more workers, or lower compute.workers."
            ) from None

    def _check_version(self) -> None:
        try:
            found = set(self._client.run(_version).values())
        except ImportError as error:
            raise SettingError(
                f"compute.scheduler: its workers lack cartera ({error}). Install version {__version__} where they run."
            ) from None
        if found != {__version__}:
            raise SettingError(
                f"compute.scheduler: its workers run cartera {', '.join(sorted(found))}, this is {__version__}. "
                "Install the same version where they run."
            )


class DaskHeld:
    """Parts on workers, and here as well, so that a part lost with its worker can be sent again.

    Parameters
    ----------
    client : distributed.Client
    parts : sequence
        What to hold; it is not copied here.
    """

    def __init__(self, client: Any, parts: Sequence[Any]) -> None:
        self._client = client
        self._parts = list(parts)
        self._futures: list[Any] = [None] * len(parts)
        self._send_lost()

    def each(self, function: Callable[..., T], *args: Any, own: Sequence[Any] | None = None) -> list[T]:
        """Return ``function(part, *args)`` for each part in order; with ``own``, ``function(part, own[i], *args)``."""
        mine: Sequence[tuple[Any, ...]] = [()] * len(self._parts) if own is None else [(item,) for item in own]

        def run(futures: list[Any]) -> list[T]:
            tasks = [
                self._client.submit(_alone, function, future, *first, *args, pure=False)
                for future, first in zip(futures, mine, strict=True)
            ]
            results: list[T] = self._client.gather(tasks)
            return results

        return self._until_whole(run)

    def lazily(self, function: Callable[[Any], Any], use: Callable[[list[Any]], T]) -> T:
        """Return ``use(delayed)``, where ``delayed[i]`` is ``function(part)`` as a ``dask.delayed.Delayed``.

        Inside ``use`` this cluster is Dask's scheduler. ``use`` is called again when parts were lost meanwhile.
        """
        import dask
        from dask.delayed import delayed

        def run(futures: list[Any]) -> T:
            with dask.config.set(scheduler=self._client):
                return use([delayed(function, pure=False)(future) for future in futures])

        return self._until_whole(run)

    def _until_whole(self, run: Callable[[list[Any]], T]) -> T:
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        for _ in range(1 + LOSSES):
            self._send_lost()
            try:
                return run(self._futures)
            except FutureCancelledError as error:
                _check_scheduler(self._client)
                log.debug("a worker was lost (%s)", error.reason)
            except KilledWorker:
                break
        raise _given_up()

    def _send_lost(self) -> None:
        _check_scheduler(self._client)
        for number, future in enumerate(self._futures):
            if future is None or future.cancelled():
                self._futures[number] = self._sent(number)

    def _sent(self, number: int) -> Any:
        for _ in range(1 + LOSSES):
            workers = sorted(_threads_by_worker(self._client))
            try:
                # In a list of one, because a part that is itself a list would be sent element by element.
                (future,) = self._client.scatter(
                    [self._parts[number]], workers=[workers[number % len(workers)]], hash=False
                )
                return future
            except OSError as error:
                log.debug("part %d could not be sent (%s)", number, error)
        raise _given_up()


def _alone(function: Callable[..., T], *args: Any) -> T:
    # Kernels use all threads of the process, and not every threading layer bears two callers.
    with _one_at_a_time:
        return function(*args)


async def _ask(address: str) -> None:
    from distributed.comm.core import connect
    from distributed.security import Security

    async with asyncio.timeout(CONNECT_SECONDS):
        comm = await connect(
            address,
            timeout=CONNECT_SECONDS,
            **Security().get_connection_args("client"),  # type: ignore[no-untyped-call]
        )
        try:
            await comm.write({"op": "identity", "reply": True})
            answer = await comm.read()
        finally:
            comm.abort()
    if answer["type"] != "Scheduler":
        raise ValueError(f"no scheduler but a {answer['type']}")


def _no_scheduler(address: str, error: BaseException) -> SettingError:
    return SettingError(
        f"compute.scheduler: no Dask scheduler answers at {address} within {CONNECT_SECONDS} s "
        f"({type(error).__name__}). Expected an address such as tcp://10.0.0.5:8786; null starts one here."
    )


def _version() -> str:
    return __version__


def _threads_by_worker(client: Any) -> dict[str, int]:
    _check_scheduler(client)
    try:
        # Another worker comes for each that is lost, but not at once.
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        found: dict[str, int] = client.nthreads()
    except TimeoutError:
        raise _given_up() from None
    except OSError:
        raise _scheduler_lost() from None
    return found


def _check_scheduler(client: Any) -> None:
    if client.status != "running":
        raise _scheduler_lost()


def _scheduler_lost() -> SettingError:
    return SettingError("compute=dask: the connection to the scheduler was lost. Run again, or use compute=local.")


def _given_up() -> SettingError:
    return SettingError(
        f"compute=dask: workers were lost {1 + LOSSES} times during the same piece of work, probably for lack of "
        "memory. Lower compute.workers, so that each has more, or make a lake with more buckets."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what Dask would tell about workers that come and go: they are made good."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client", "tornado.application")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
