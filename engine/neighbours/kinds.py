"""Which kind of index suits how many rows and how much memory, and how many threads FAISS takes for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.compute import available_cores
from engine.errors import SettingError

KINDS = ("flat", "ivf", "hnsw", "ivf_pq")

FLAT_ROWS = 100_000
"""Up to so many rows an exact search takes a fraction of a millisecond, and there is nothing to approximate for."""

LINKS = 16
"""Links of a row to others in the graph of ``hnsw``; twice as many on its lowest level."""


class Choice(NamedTuple):
    """A kind of index and why it is the one."""

    kind: str
    reason: str


def choose_kind(kind: str, n: int, d: int, memory_mib: float | None) -> Choice:
    """Return the kind of index for n rows of d columns.

    ``auto`` never takes ``hnsw``: it answers sooner than ``ivf``, but with the few columns of customer segmentation it
    takes four times the memory and ten times as long to build, and cannot forget a row.

    Raises
    ------
    SettingError
        An unknown kind, or memory that does not suffice for it.

    Examples
    --------
    >>> print(choose_kind("auto", 50_000, 3, None).reason)
    50,000 rows: every one is looked at
    >>> choose_kind("auto", 10_000_000, 8, 200).kind
    'ivf_pq'
    """
    if kind not in ("auto", *KINDS):
        raise SettingError.from_unknown("index.kind", kind, ("auto", *KINDS))
    number = isinstance(memory_mib, int | float | np.number) and not isinstance(memory_mib, bool)
    if memory_mib is not None and not (number and memory_mib > 0):
        raise SettingError(f"index.memory_mib: expected a number above 0, or null for no limit; got {memory_mib!r}.")
    room = float("inf") if memory_mib is None else memory_mib
    if kind != "auto":
        needed = mib(kind, n, d)
        if needed > room:
            raise SettingError(
                f"index.memory_mib: {kind} over {n:,} × {d} takes about {needed:,.0f} MiB, more than {room:,.0f}. "
                "Set index.kind=auto, or allow more."
            )
        return Choice(kind, "asked for")
    if n <= FLAT_ROWS and mib("flat", n, d) <= room:
        return Choice("flat", f"{n:,} rows: every one is looked at")
    if mib("ivf", n, d) <= room:
        return Choice("ivf", f"{n:,} rows: too many to look at every one, and their floats fit")
    if mib("ivf_pq", n, d) <= room:
        return Choice("ivf_pq", f"{n:,} rows: their floats take {mib('ivf', n, d):,.0f} MiB, more than {room:,.0f}")
    raise SettingError(
        f"index.memory_mib: {n:,} × {d} takes about {mib('ivf_pq', n, d):,.0f} MiB at one byte a number; got "
        f"{room:,.0f}. Allow more, or index fewer customers."
    )


def mib(kind: str, n: int, d: int) -> float:
    """Return about how much memory an index takes, in MiB.

    Examples
    --------
    >>> round(mib("flat", 1_000_000, 8)), round(mib("ivf", 1_000_000, 8)), round(mib("ivf_pq", 1_000_000, 8))
    (31, 38, 15)
    """
    per_row = {
        "flat": 4 * d,
        # An id of 8 bytes beside each row.
        "ivf": 4 * d + 8,
        # Links are int32; upper levels add a sixteenth.
        "hnsw": 4 * d + 4 * 2 * LINKS + 20,
        "ivf_pq": d + 8,
    }[kind]
    return n * per_row / 2**20


def queries_at_once(d: int) -> int:
    """Return how many queries of d columns FAISS may be given at once.

    More of them it would answer by the expanded square of the differences, in which neighbours that are near beside
    their distance from the origin lose their digits.
    """
    import faiss

    return max(1, min(1024, (faiss.cvar.distance_compute_blas_threshold - 1) // d))


def alone(queries: NDArray[np.float32]) -> AbstractContextManager[None]:
    """Let a single query be answered by one thread; shared out among several, it would be by the expanded square."""
    return faiss_threads(1) if len(queries) == 1 else nullcontext()


@contextmanager
def faiss_threads(threads: int | None) -> Iterator[None]:
    """Let FAISS take so many threads inside the block, in the calling thread only.

    OpenMP keeps the number for each thread of the caller: threads of a server do not disturb each other.
    """
    import faiss

    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise SettingError(f"threads: expected a whole number of at least 1, or none for all cores; got {threads!r}.")
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads or available_cores())
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
