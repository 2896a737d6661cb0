"""Run one function over the buckets of a lake.

Threads suffice on one machine, since Polars releases the interpreter while it works. Results come back in bucket
order whatever finishes first, so that nothing downstream depends on the number of workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def available_cores() -> int:
    """Return how many cores this process may use (at least 1)."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def map_buckets(
    function: Callable[[int], T],
    buckets: int,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[T]:
    """Yield ``function(0)``, ``function(1)`` … ``function(buckets - 1)``, in that order.

    Parameters
    ----------
    function
        Called once for each bucket number, from several threads.
    buckets
        How many there are.
    workers
        Threads; ``None`` takes one for each core. No more results than workers wait in memory.
    progress
        Called with ``(done, buckets)`` after each result.

    Examples
    --------
    >>> list(map_buckets(lambda bucket: bucket * bucket, 4, workers=2))
    [0, 1, 4, 9]
    """
    threads = max(1, min(workers or available_cores(), buckets))
    pool = ThreadPoolExecutor(threads)
    try:
        pending = [pool.submit(function, number) for number in range(min(threads, buckets))]
        for done in range(buckets):
            result = pending.pop(0).result()
            following = done + threads
            if following < buckets:
                pending.append(pool.submit(function, following))
            yield result
            if progress is not None:
                progress(done + 1, buckets)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
