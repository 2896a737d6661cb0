"""Where work over buckets and blocks of rows is done: in threads of this process, or on a Dask cluster.

Threads suffice on one machine, since Polars and the kernels release the interpreter while they work. Results come back
in order whatever finishes first, so that nothing downstream depends on the number of workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

from engine.errors import SettingError

T = TypeVar("T")
Item = TypeVar("Item")

COMPUTES = ("local", "dask")

WORKERS_PER_CORE = 4
"""More of them only wait for each other, or are a slip of the pen."""


class Held(Protocol):
    """Parts that stay where they are, to be worked on many times."""

    def each(self, function: Callable[..., T], *args: Any, own: Sequence[Any] | None = None) -> list[T]:
        """Return ``function(part, *args)`` for each part in order; with ``own``, ``function(part, own[i], *args)``."""


class Compute(Protocol):
    """Who runs a function over many items, and who holds parts between two runs."""

    @property
    def name(self) -> str:
        """``local`` or ``dask``."""

    def map(
        self,
        function: Callable[[Item], T],
        items: Sequence[Item],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[T]:
        """Yield ``function(item)`` for each item, in the items' order.

        ``progress`` is called with ``(done, items)`` after each result.
        """

    def hold(self, parts: Sequence[Any]) -> Held:
        """Put parts where the work is done."""


def open_compute(
    name: str, *, workers: int | None = None, scheduler: str | None = None
) -> AbstractContextManager[Compute]:
    """Return who computes, to be used in a ``with`` block that also ends what was started.

    Parameters
    ----------
    name : {"local", "dask"}
        Threads of this process, or a Dask cluster.
    workers : int, optional
        Threads or worker processes, 1 to :data:`WORKERS_PER_CORE` for each core of this machine; one per core that
        this process may use by default. Beside a ``scheduler``: how many workers it must have before work begins, at
        least 1 by default.
    scheduler : str, optional
        Address of a Dask scheduler that runs already, such as ``tcp://10.0.0.5:8786``. ``None`` starts one here,
        which listens to this machine only, and ends it with the block.

    Raises
    ------
    SettingError
        An unknown name, fewer than one worker or too many for this machine, a scheduler beside ``local``; on entering
        the block, a scheduler that does not answer, or workers that are too few or do not run this version.
    MissingExtraError
        Dask's distributed scheduler is not installed.

    Examples
    --------
    >>> with open_compute("local", workers=2) as compute:
    ...     list(compute.map(abs, [-3, -4]))
    [3, 4]
    """
    if name not in COMPUTES:
        raise SettingError.from_unknown("compute", name, COMPUTES)
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise SettingError(f"compute.workers: expected at least 1, or null for one per core; got {workers!r}.")
    most = WORKERS_PER_CORE * (os.cpu_count() or 1)
    if scheduler is None and workers is not None and workers > most:
        raise SettingError(
            f"compute.workers: expected at most {most}, {WORKERS_PER_CORE} for each core of this machine; "
            f"got {workers}. Lower it, or take null for one per core."
        )
    if name == "dask":
        from engine.compute_dask import DaskCompute

        return DaskCompute(workers, scheduler)
    if scheduler is not None:
        raise SettingError(
            f"compute.scheduler: threads of this process have no scheduler; got {scheduler!r}. "
            "Set compute=dask, or leave compute.scheduler at null."
        )
    return nullcontext(LocalCompute(workers))


class LocalCompute:
    """Threads of this process.

    Parameters
    ----------
    workers
        How many; ``None`` takes one for each core. No more results than workers wait in memory.

    Examples
    --------
    >>> list(LocalCompute(workers=2).map(lambda bucket: bucket * bucket, range(4)))
    [0, 1, 4, 9]
    """

    name = "local"

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers

    def map(
        self,
        function: Callable[[Item], T],
        items: Sequence[Item],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[T]:
        """Yield ``function(item)`` for each item, in the items' order."""
        import polars

        # Polars' own number is less where several processes share the cores.
        threads = max(1, min(self._workers or polars.thread_pool_size(), len(items)))
        pool = ThreadPoolExecutor(threads)
        try:
            pending = [pool.submit(function, item) for item in items[:threads]]
            for done in range(len(items)):
                result = pending.pop(0).result()
                following = done + threads
                if following < len(items):
                    pending.append(pool.submit(function, items[following]))
                yield result
                if progress is not None:
                    progress(done + 1, len(items))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def hold(self, parts: Sequence[Any]) -> Held:
        """Keep parts in this process."""
        return LocalHeld(parts)


class LocalHeld:
    """Parts in this process, worked on one after the other: the kernels use all threads for each.

    Examples
    --------
    >>> LocalHeld([[3, 4], [5]]).each(lambda part, factor: factor * sum(part), 10)
    [70, 50]
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts

    def each(self, function: Callable[..., T], *args: Any, own: Sequence[Any] | None = None) -> list[T]:
        """Return ``function(part, *args)`` for each part in order; with ``own``, ``function(part, own[i], *args)``."""
        if own is None:
            return [function(part, *args) for part in self._parts]
        return [function(part, mine, *args) for part, mine in zip(self._parts, own, strict=True)]


def available_cores() -> int:
    """Return how many cores this process may use (at least 1)."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)
