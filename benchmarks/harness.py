"""One contestant measured: seconds, memory, answer, or the reason why there are none.

Every measurement has a process of its own, on the same cores and with the same limits of threads. Its data are opened
before the clock starts. *Cold* is the first call, with all imports that the library still needs; *warm* are the calls
after it. Memory is watched by this process, which does nothing else, every 10 ms while a call runs: the *baseline* is
what the process held before its first call (the interpreter, numpy, the rows in memory where a case gives rows), the
*peak* the most it held during any call, the *rise* the difference. The answer of the last call is judged when clock
and watch have stopped. A contestant that fails, takes too long or too much memory becomes a row that says so.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from benchmarks.case import Case, Task
from benchmarks.machine import ROOT, Commit, machine, missing, versions
from benchmarks.memory import SAMPLE_S, Watcher, children

JUDGE_LIMIT_S = 600.0
"""A judge that works in float64 may take longer than those it judges."""

_THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)


class EndedError(Exception):
    """The process is gone, or was ended; the message is the reason that the row gives."""


class Process:
    """A contestant's process, asked one command at a time.

    Parameters
    ----------
    task
        What it is to do.
    root
        Folder whose ``benchmarks`` and ``engine`` it imports.
    """

    def __init__(self, task: Task, root: Path = ROOT) -> None:
        self._task = task
        self._complaints = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115  closed in __exit__
        limits = {name: str(task.threads) for name in _THREAD_LIMITS}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contend"],
            cwd=root,
            env={**os.environ, **limits},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            # A group of its own, so that all it started can be ended with it.
            start_new_session=True,
        )
        self._say(json.dumps(asdict(task)))
        self.memory = Watcher(self._process.pid)

    def ask(self, command: str, *, limit_s: float, watch: bool = False) -> dict[str, Any]:
        """Send a command and return its answer.

        Raises
        ------
        EndedError
            The process died, or was ended after ``limit_s`` seconds or beyond its memory.
        """
        self._say(command)
        begun = time.monotonic()
        answers = self._stream(self._process.stdout)
        received = b""
        with selectors.DefaultSelector() as ready:
            ready.register(answers, selectors.EVENT_READ)
            while not received.endswith(b"\n"):
                if ready.select(SAMPLE_S):
                    piece = os.read(answers.fileno(), 65_536)
                    if not piece:
                        raise EndedError(self._last_words())
                    received += piece
                    continue
                if watch and self.memory.sample() > self._task.memory_mib:
                    raise EndedError(f"out of memory: more than {self._task.memory_mib} MiB")
                if time.monotonic() - begun > limit_s:
                    raise EndedError(f"ended after {limit_s:g} s")
        if watch:
            self.memory.sample()
        answer: dict[str, Any] = json.loads(received)
        return answer

    def _say(self, line: str) -> None:
        stream = self._stream(self._process.stdin)
        # A process that is gone is noticed where its answer is read.
        with suppress(BrokenPipeError):
            stream.write(line.encode() + b"\n")
            stream.flush()

    @staticmethod
    def _stream(stream: IO[bytes] | None) -> IO[bytes]:
        assert stream is not None
        return stream

    def _last_words(self) -> str:
        code = self._process.wait()
        self._complaints.seek(0)
        lines = [line.strip() for line in self._complaints.read().splitlines() if line.strip()]
        how = f"died of {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        return f"{how}: {lines[-1][:200]}" if lines else how

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        started = children(self._process.pid)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pid in started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                self._stream(stream).close()
        self._complaints.close()


def make_data(task: Task, *, limit_s: float) -> None:
    """Make a case's data in a process of its own, whole or not at all.

    Raises
    ------
    EndedError
        It could not be made.
    """
    folder = Path(task.folder)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    with Process(Task(**{**asdict(task), "folder": str(partial)})) as process:
        answer = process.ask("make", limit_s=limit_s)
    if "error" in answer:
        raise EndedError(f"the data of case {task.case} could not be made: {answer['error']}")
    partial.rename(folder)


def compile_seconds(task: Task, *, limit_s: float, root: Path = ROOT) -> float:
    """Let a contestant do the job once, unmeasured, so that its kernels are on disk; return how long they compiled.

    Raises
    ------
    EndedError
        It failed.
    """
    with Process(task, root) as process:
        for command in ("open", "record", "call"):
            answer = process.ask(command, limit_s=limit_s)
            if "error" in answer:
                raise EndedError(answer["error"])
    return float(answer["compile_seconds"])


def measure(
    case: Case,
    task: Task,
    *,
    repeat: int,
    limit_s: float,
    solver_seeds: Sequence[int] = (0,),
    compiled_s: float | None = None,
    commit: Commit | None = None,
    root: Path = ROOT,
) -> list[dict[str, Any]]:
    """Measure one contestant in one process and return its rows, one for each solver seed.

    Parameters
    ----------
    case, task
        What to do; the data are in ``task.folder``.
    repeat
        Number of the repetition, from 0.
    limit_s
        A call that takes more seconds is ended. No further call begins that would not end in time if all calls
        together had so many seconds, judged by the longest before it.
    solver_seeds
        From which the contestant draws, one after the other. With one seed there are as many warm calls as the
        contestant is meant for, with several one of each, and the answer of each is judged. Those for which the time
        does not reach have no row.
    compiled_s
        Seconds of compilation that went before, if the contestant compiles.
    commit
        What is measured; the checkout by default.
    root
        Where it is.

    Returns
    -------
    list of dict
        ``ok`` is false where the answer is wrong or missing, and ``error`` then says why. Only the first row has a
        cold call.
    """
    contestant = case.contestants[task.contestant]
    which = commit or Commit.of()
    row: dict[str, Any] = {
        "case": case.name,
        "version": case.version,
        "size": task.size,
        "data": task.data,
        "seed": task.seed,
        "solver_seed": solver_seeds[0],
        "contestant": task.contestant,
        "repeat": repeat,
        "threads": task.threads,
        "cold_seconds": None,
        "warm_seconds": [],
        "compile_seconds": compiled_s,
        "memory_baseline_mib": None,
        "memory_peak_mib": None,
        "memory_rise_mib": None,
        "memory_limit_mib": task.memory_mib,
        "facts": {},
        "ok": False,
        "error": None,
        "versions": {},
        "machine": machine(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "commit": which.sha,
        "commit_date": which.date,
        "dirty": which.dirty,
    }
    absent = missing(contestant.packages)
    if absent:
        row["error"] = f"not installed: {', '.join(absent)} (cartera[bench] brings what the benchmarks need)"
        return [row]
    row["versions"] = versions(contestant.packages)
    with Process(task, root) as process:
        warm = contestant.warm if len(solver_seeds) == 1 else 1
        return list(_take_turns(process, row, solver_seeds, warm, limit_s))


def _take_turns(
    process: Process, row: dict[str, Any], solver_seeds: Sequence[int], warm: int, limit_s: float
) -> Iterator[dict[str, Any]]:
    """Open; for each seed call, call again and judge; what is known when something goes wrong stays in the row."""
    spent = longest = 0.0
    for solver_seed in solver_seeds:
        first = solver_seed == solver_seeds[0]
        if not first and spent + longest > limit_s:
            return
        row = {**row, "solver_seed": solver_seed, "cold_seconds": None, "warm_seconds": [], "facts": {}, "error": None}
        ended = False
        try:
            if first:
                _checked(process.ask("open", limit_s=limit_s))
                row["memory_baseline_mib"] = round(process.memory.sample(), 1)
            process.ask(f"seed {solver_seed}", limit_s=limit_s)
            for number in range(warm + first):
                if number and spent + longest > limit_s:
                    break
                begun = time.monotonic()
                seconds = _checked(process.ask("call", limit_s=limit_s, watch=True))["seconds"]
                longest = max(longest, time.monotonic() - begun)
                spent += time.monotonic() - begun
                if first and number == 0:
                    row["cold_seconds"] = seconds
                else:
                    row["warm_seconds"].append(seconds)
            judged = _checked(process.ask("judge", limit_s=max(limit_s, JUDGE_LIMIT_S)))
            row["facts"] = judged["facts"]
            if judged["fault"]:
                row["error"] = f"wrong answer: {judged['fault']}"
        except EndedError as error:
            row["error"], ended = str(error), True
        if row["memory_baseline_mib"] is not None:
            row["memory_peak_mib"] = round(process.memory.peak_mib, 1)
            row["memory_rise_mib"] = round(process.memory.peak_mib - row["memory_baseline_mib"], 1)
        row["ok"] = row["error"] is None
        yield row
        if ended:
            return


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise EndedError(answer["error"])
    return answer
