"""How machine code is compiled and kept on disk."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, wraps
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_ONE_AT_A_TIME = threading.RLock()
_told = False

MATH = frozenset({"contract", "nnan", "nsz"})
"""Freedoms of the compiler with floating point. It may not choose the order of a sum, or the result would differ from
machine to machine and from one number of threads to another."""

SOURCES = ("figures_kernels", "jit", "kernels", "nearest_kernels", "search_kernels", "seeding_kernels", "simd", "tiles")
"""Modules of this package whose functions are compiled into each other."""


ONCE = "once for each part"
EVERY_TIME = "in every process, for there is no folder to keep them in (NUMBA_CACHE_DIR names one)"


def compiled(*, parallel: bool = False, math: frozenset[str] = MATH) -> Callable[[Any], Any]:
    """Compile a function at its first call for each kind of number, and keep the machine code on disk.

    numba asks only whether the file of the outermost function has changed, by its time and size. What it calls from
    other files would stay as it was when they change, and a package that was installed over an older one may have the
    times and sizes of its predecessor. Here the content of all files counts: of :data:`SOURCES`, and of the files
    called ``…kernels.py`` beside the function's own. Where nothing can be kept, or what was kept cannot be read, the
    function is compiled anew.
    """

    def build(function: Any) -> Any:
        import numba

        if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
            # NUMBA_DISABLE_JIT=1: slow, and a debugger can step through it.
            return function
        njit: Any = numba.njit
        options = {"nogil": True, "error_model": "numpy", "fastmath": set(math), "parallel": parallel}
        try:
            dispatcher = njit(cache=True, **options)(function)
        except RuntimeError as error:
            # No folder that numba may write to; NUMBA_CACHE_DIR names one.
            log.debug("machine code of %s is not kept: %s", function.__name__, error)
            dispatcher = njit(**options)(function)
            dispatcher._cache.load_overload = _telling(dispatcher._cache.load_overload, EVERY_TIME)
            return dispatcher
        keep_carefully(dispatcher, _content(Path(function.__code__.co_filename).parent))
        dispatcher._cache.load_overload = _telling(dispatcher._cache.load_overload, ONCE)
        return dispatcher

    return build


def keep_carefully(dispatcher: Any, stamp: str) -> None:
    """Let numba keep the machine code of a function while the stamp of its sources stays, and do without on failure."""
    kept = dispatcher._cache
    kept._cache_file._source_stamp = stamp
    kept.load_overload = _careful(kept.load_overload, kept.cache_path)
    kept.save_overload = _careful(kept.save_overload, kept.cache_path)


def _telling(load: Callable[..., Any], how_often: str) -> Callable[..., Any]:
    """Say once in a process that it compiles, when machine code was looked for and is not there."""

    @wraps(load)
    def attempt(*args: Any) -> Any:
        global _told
        found = load(*args)
        if found is None and not _told:
            _told = True
            log.info("compiling the kernels for this machine: up to half a minute, %s", how_often)
        return found

    return attempt


def _careful(function: Callable[..., Any], folder: str) -> Callable[..., Any]:
    """Read and write the files of machine code one process at a time, and do without where that fails.

    Two processes that compile at once would write over each other's files, and one would run the other's code. The
    files save time, no more.
    """

    @wraps(function)
    def attempt(*args: Any) -> Any:
        try:
            with _alone(folder):
                return function(*args)
        except Exception as error:  # a file cut short fails in as many ways as there are
            log.warning("machine code cannot be kept or read back, and is compiled anew: %s", error)
            return None

    return attempt


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Hold the lock of a folder; where the system has no such locks, go on without."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    with (Path(folder) / "kernels.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cache
def _content(folder: Path | None = None) -> str:
    own = Path(__file__).parent
    files = [own / f"{name}.py" for name in SOURCES]
    if folder is not None and folder != own:
        files += sorted(folder.glob("*kernels.py"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


@contextmanager
def numba_threads(threads: int | None) -> Iterator[None]:
    """Let kernels use so many threads (None: all cores), and give the thread its own setting back."""
    import numba

    with _ONE_AT_A_TIME if _takes_one_caller() else nullcontext():
        before = numba.get_num_threads()
        most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        numba.set_num_threads(most if threads is None else min(threads, most))
        try:
            yield
        finally:
            numba.set_num_threads(before)


def _takes_one_caller() -> bool:
    """Say whether numba's threads would abort the process if two threads of it called kernels at once."""
    import numba

    known: Any = numba
    try:
        return bool(known.threading_layer() == "workqueue")
    except ValueError:
        # Not chosen yet: the first call does.
        return True
