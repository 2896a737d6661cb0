"""How the machine code of k-means is compiled and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

MATH = frozenset({"contract", "nnan", "nsz"})
"""Freedoms of the compiler with floating point. It may not choose the order of a sum, or the result would differ from
machine to machine and from one number of threads to another."""

SOURCES = ("figures_kernels", "jit", "kernels", "search_kernels", "seeding_kernels", "simd", "tiles")
"""Modules whose functions are compiled into each other."""


def compiled(*, parallel: bool = False, math: frozenset[str] = MATH) -> Callable[[Any], Any]:
    """Compile a function at its first call for each kind of number, and keep the machine code on disk.

    numba asks only whether the file of the outermost function has changed, by its time and size. What it calls from
    other files would stay as it was when they change, and a package that was installed over an older one may have the
    times and sizes of its predecessor. Here the content of all files counts.
    """

    def build(function: Any) -> Any:
        import numba

        njit: Any = numba.njit
        dispatcher = njit(cache=True, nogil=True, error_model="numpy", fastmath=set(math), parallel=parallel)(function)
        dispatcher._cache._cache_file._source_stamp = _content()
        return dispatcher

    return build


@cache
def _content() -> str:
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update((folder / f"{name}.py").read_bytes())
    return digest.hexdigest()


@contextmanager
def numba_threads(threads: int | None) -> Iterator[None]:
    """Let kernels use so many threads (None: all cores), and give the thread its own setting back."""
    import numba

    before = numba.get_num_threads()
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(most if threads is None else min(threads, most))
    try:
        yield
    finally:
        numba.set_num_threads(before)
