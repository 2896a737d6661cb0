"""One fit in a process of its own: memory, thread pools and a crash are that backend's alone.

The rows reach the child as a file that it maps into memory, so that they count as nobody's. A fit of a few rows comes
first and is not measured: libraries are imported and kernels compiled there. This process then watches the memory of
the child every 10 ms, until the answer comes, time or memory runs out, or the child is gone. A quick fit is made again
some times, for its seconds alone: one short time says little.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

import numpy as np
import psutil
from numpy.typing import NDArray

START_LIMIT_S = 300.0
"""Patience with imports and the first compilation of kernels; Dask-ML takes 6 seconds."""

QUICK_S = 5.0
"""A fit that takes less is made :data:`REPEATS` times."""

REPEATS = 3

_SAMPLE_S = 0.01
_WARM_ROWS = 2048
_MEMORY_SHARE = 0.9
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_GO = "go"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one process is to fit.

    Attributes
    ----------
    matrix
        A ``.npy`` file of float32, shape (n, d), checked already.
    folder
        Where the answer goes.
    backend, solver, k, seed, threads, bucket_rows
        As :func:`engine.clustering.backends.hold_rows` and :func:`engine.clustering.backends.cluster` take them.
    """

    matrix: str
    folder: str
    backend: str
    solver: str
    k: int
    seed: int
    threads: int | None = None
    bucket_rows: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """What one backend found.

    Attributes
    ----------
    centroids : ndarray of float64, shape (k, d)
    labels : ndarray of int32, shape (n,)
        Cluster of each row; mapped from a file.
    seconds : tuple of float
        Wall-clock time of holding the rows, the fit and the final assignment, of each time that it was made; not of
        imports and compilation.
    memory_added_mib : float
        Most memory during the first fit beyond what the process held before it. Pages of mapped files are not in it,
        and a peak shorter than 10 ms may be missed.
    rows_used, n_iter, stop_reason, reported_inertia
        As in :class:`engine.clustering.result.Clustering`.
    """

    centroids: NDArray[np.float64]
    labels: NDArray[np.int32]
    seconds: tuple[float, ...]
    memory_added_mib: float
    rows_used: int
    n_iter: int
    stop_reason: str
    reported_inertia: float | None


class FitFailedError(Exception):
    """There is no answer; the message is the reason, for a line of a table."""


def fit_apart(task: Task, *, limit_s: float) -> Fit:
    """Fit in a process of its own and wait for the answer; a quick fit is made :data:`REPEATS` times.

    Parameters
    ----------
    task
        What to fit.
    limit_s
        Seconds for each measured fit; :data:`START_LIMIT_S` beside it for what comes before.

    Raises
    ------
    FitFailedError
        The library is not installed or raised, the process died, or it was ended for taking too long or nearly all
        memory of the machine.
    """
    with _Child(task) as child:
        _checked(child.answer(limit_s=START_LIMIT_S))
        before = held_mib(child.pid)
        child.say(_GO)
        told = _checked(child.answer(limit_s=limit_s))
        peak = child.peak_mib
        seconds = [told.pop("seconds")]
        while seconds[0] < QUICK_S and len(seconds) < REPEATS:
            child.say(_GO)
            seconds.append(_checked(child.answer(limit_s=limit_s))["seconds"])
    folder = Path(task.folder)
    return Fit(
        centroids=np.load(folder / "centroids.npy"),
        labels=np.load(folder / "labels.npy", mmap_mode="r"),
        seconds=tuple(seconds),
        memory_added_mib=max(0.0, peak - before),
        **told,
    )


def held_mib(pid: int) -> float:
    """Return the memory of a process that no file stands behind, in MiB; 0 where it has ended.

    Where the system does not tell it apart (macOS) it is the resident size, mapped files included.
    """
    try:
        status = Path(f"/proc/{pid}/status")
        if not status.exists():
            return float(psutil.Process(pid).memory_info().rss) / 2**20
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except (OSError, psutil.Error):
        return 0.0
    # Not RssShmem: the temporary folder may lie in memory, and its mapped rows would be in it.
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


class _Child:
    """The other process: takes its task, and a command for each fit, as lines; answers in lines of JSON."""

    def __init__(self, task: Task) -> None:
        self._complaints = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115  closed in __exit__
        limits = {} if task.threads is None else dict.fromkeys(_THREAD_LIMITS, str(task.threads))
        # The child must find the modules that this process found, and nothing in the working directory besides.
        paths = [path or str(Path.cwd()) for path in sys.path]
        self._most_mib = _MEMORY_SHARE * psutil.virtual_memory().available / 2**20
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine.clustering.parity_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env={**os.environ, **limits, "PYTHONPATH": os.pathsep.join(paths)},
            # A Ctrl-C at the terminal is this process's alone, and whatever the child starts can be ended with it.
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.peak_mib = 0.0
        self.say(json.dumps(asdict(task)))

    def say(self, line: str) -> None:
        stream = _stream(self._process.stdin)
        # A process that is gone is noticed where its answer is read.
        with suppress(BrokenPipeError):
            stream.write(line.encode() + b"\n")
            stream.flush()

    def answer(self, *, limit_s: float) -> dict[str, Any]:
        """Wait for one line, watching the memory meanwhile."""
        answers = _stream(self._process.stdout)
        begun = time.monotonic()
        received = b""
        with selectors.DefaultSelector() as ready:
            ready.register(answers, selectors.EVENT_READ)
            while not received.endswith(b"\n"):
                self.peak_mib = max(self.peak_mib, held_mib(self.pid))
                if self.peak_mib > self._most_mib:
                    raise FitFailedError(f"out of memory: it held {self.peak_mib:,.0f} MiB, nearly all that was free")
                if ready.select(_SAMPLE_S):
                    piece = os.read(answers.fileno(), 65_536)
                    if not piece:
                        raise FitFailedError(self._last_words())
                    received += piece
                elif time.monotonic() - begun > limit_s:
                    raise FitFailedError(f"ended after {limit_s:g} s, the limit")
        told: dict[str, Any] = json.loads(received)
        return told

    def _last_words(self) -> str:
        code = self._process.wait()
        self._complaints.seek(0)
        lines = [line.strip() for line in self._complaints.read().splitlines() if line.strip()]
        if code == -signal.SIGKILL:
            how = "killed, as systems do when memory runs out"
        elif code < 0:
            how = f"died of {signal.Signals(-code).name}"
        else:
            how = f"exited with code {code}"
        return f"{how}: {lines[-1][:200]}" if lines else how

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *of: object) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                _stream(stream).close()
        self._complaints.close()


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise FitFailedError(answer["error"])
    return answer


def main() -> None:
    """Be the child: warm up, and at each word fit and answer, until nobody is left to ask."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What libraries print must not be taken for an answer.
    os.dup2(2, 1)
    task = Task(**json.loads(sys.stdin.readline()))
    words: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(words,), daemon=True).start()
    step = warm
    while True:
        print(json.dumps(_answered(step, task)), file=answers, flush=True)
        words.get()
        step = fit


def _listen(words: SimpleQueue[str]) -> None:
    for line in sys.stdin:
        if line.strip() == _GO:
            words.put(_GO)
    # The other end is gone: nobody waits for the answer.
    os._exit(1)


def _answered(step: Callable[[Task], dict[str, Any]], task: Task) -> dict[str, Any]:
    try:
        return step(task)
    except Exception as error:  # whatever a library raises is the reason in its line
        return {"error": reason(error)}


def reason(error: Exception) -> str:
    r"""Return why a fit failed, in a line.

    Examples
    --------
    >>> reason(ModuleNotFoundError("No module named 'faiss'", name="faiss"))
    'not installed: faiss'
    >>> reason(MemoryError()), reason(RuntimeError("std::bad_alloc")), reason(TypeError("no\n rows"))
    ('out of memory', 'out of memory: std::bad_alloc', 'TypeError: no rows')
    """
    from engine.errors import CarteraError

    told = " ".join(str(error).split())[:300]
    if isinstance(error, CarteraError):
        return told
    if isinstance(error, ModuleNotFoundError):
        return f"not installed: {error.name or told}"
    if isinstance(error, MemoryError) or "bad_alloc" in told:
        return f"out of memory: {told}" if told else "out of memory"
    return f"{type(error).__name__}: {told}" if told else type(error).__name__


def warm(task: Task) -> dict[str, Any]:
    """Fit a few rows as the task will be, so that nothing is imported or compiled while the clock runs."""
    from engine.clustering.backends import cluster, hold_rows
    from engine.clustering.checks import distinct_rows

    few = np.array(np.load(task.matrix, mmap_mode="r")[:_WARM_ROWS])
    k = distinct_rows(few, task.k)
    found = cluster(few, k, backend=task.backend, solver=task.solver, seed=task.seed, threads=task.threads)
    if found.solver == "sample":
        # So few rows are their own sample.
        hold_rows(few, threads=task.threads).draw(found.centroids, 0.5, 0.0, task.seed)
    return {}


def fit(task: Task) -> dict[str, Any]:
    """Fit the rows of a task, leave centroids and labels in its folder, and return the rest of the answer."""
    from engine.clustering.backends import cluster_rows, hold_rows

    matrix = np.asarray(np.load(task.matrix, mmap_mode="r"))
    started = time.perf_counter()
    rows = hold_rows(matrix, task.bucket_rows, backend=task.backend, threads=task.threads)
    found = cluster_rows(rows, task.k, backend=task.backend, solver=task.solver, seed=task.seed)
    seconds = time.perf_counter() - started
    np.save(Path(task.folder) / "centroids.npy", found.centroids)
    np.save(Path(task.folder) / "labels.npy", found.labels)
    return {
        "seconds": seconds,
        "rows_used": found.rows_used,
        "n_iter": found.n_iter,
        "stop_reason": found.stop_reason,
        "reported_inertia": found.reported_inertia,
    }


if __name__ == "__main__":
    main()
