"""Where work over buckets and blocks of rows is done: in threads of this process, or on a Dask cluster.

Threads suffice on one machine, since Polars and the kernels release the interpreter while they work. Results come back
in order whatever finishes first, so that nothing downstream depends on the number of workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")
Item = TypeVar("Item")


class Compute(Protocol):
    """Who runs a function over many items."""

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
        threads = max(1, min(self._workers or available_cores(), len(items)))
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


def available_cores() -> int:
    """Return how many cores this process may use (at least 1)."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)
