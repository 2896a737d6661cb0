"""One contestant in a process of its own: ``python -m benchmarks.contend`` takes its task and its turns by the line.

Standard input brings a task as one line of JSON and then commands; each is answered by one line of JSON. What libraries
print goes to standard error. Only ``call`` is timed, and only while it runs does the parent look at the memory.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.case import Task, Timed, find_case


def main() -> None:
    """Answer commands until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    task = Task(**json.loads(sys.stdin.readline()))
    if hasattr(os, "sched_setaffinity"):
        # Some libraries know no other limit than the cores that they can see.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.threads])
    turns = Turns(task)
    commands: dict[str, Callable[..., dict[str, Any]]] = {
        "make": turns.make,
        "open": turns.open,
        "record": turns.record,
        "call": turns.call,
        "judge": turns.judge,
        "seed": turns.seed,
    }
    for line in sys.stdin:
        try:
            command, *numbers = line.split()
            answer = commands[command](*map(int, numbers))
        except Exception as error:  # whatever a library raises is an answer too: the row says it
            told = " ".join(str(error).split())
            answer = {"error": f"{type(error).__name__}: {told}"[:300] if told else type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)


class Turns:
    """What a process can be asked to do.

    Parameters
    ----------
    task
        Who contends, on which data.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._case = find_case(task.case)
        self._given: Any = None
        self._answer: Any = None
        self._compiled: list[float] | None = None

    def make(self) -> dict[str, Any]:
        """Make the data."""
        self._case.make(self._task)
        return {}

    def open(self) -> dict[str, Any]:
        """Open the data."""
        self._given = self._case.open(self._task)
        return {}

    def record(self) -> dict[str, Any]:
        """Note from now on how long kernels compile; costs an import, so never in a process that is measured."""
        from numba.core import event

        compiled = self._compiled = []
        begun: list[float] = []

        class Clock(event.Listener):
            """Told of every compilation; one inside another counts once."""

            def on_start(self, event: Any) -> None:
                begun.append(time.perf_counter())

            def on_end(self, event: Any) -> None:
                since = begun.pop()
                if not begun:
                    compiled.append(time.perf_counter() - since)

        event.register("numba:compile", Clock())  # type: ignore[no-untyped-call]
        return {}

    def seed(self, solver_seed: int) -> dict[str, Any]:
        """Let the calls from now on draw from this seed."""
        self._task = replace(self._task, solver_seed=solver_seed)
        return {}

    def call(self) -> dict[str, Any]:
        """Do the job once, from an empty scratch folder."""
        self._answer = None
        gc.collect()
        scratch = Path(self._task.scratch)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        contend = self._case.contestants[self._task.contestant].call
        begun = time.perf_counter()
        self._answer = contend(self._given, self._task)
        seconds = time.perf_counter() - begun
        if isinstance(self._answer, Timed):
            seconds, self._answer = self._answer
        return {"seconds": seconds, "compile_seconds": None if self._compiled is None else sum(self._compiled)}

    def judge(self) -> dict[str, Any]:
        """Judge the answer of the latest call."""
        facts, fault = self._case.judge(self._given, self._answer, self._task)
        return {"facts": facts, "fault": fault}


if __name__ == "__main__":
    main()
