"""A case whose contestants do what real ones should not: raise, hang, lie, take memory, disappear."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Contestant, Task, Timed

TAKES_MIB = 64


def make(task: Task) -> None:
    Path(task.folder).mkdir(parents=True)
    (Path(task.folder) / "number").write_text(str(40 + task.seed))


def open_number(task: Task) -> int:
    return int((Path(task.folder) / "number").read_text())


def judge(given: int, answer: Any, task: Task) -> tuple[dict[str, Any], str | None]:
    return {"cost": abs(answer - 42)}, None if answer == given + 2 else f"{answer}, expected {given + 2}"


def right(given: int, task: Task) -> int:
    Path(task.scratch, "left behind").write_text("x")
    return given + 2


def raises(given: int, task: Task) -> int:
    raise ValueError("no such luck")


def lies(given: int, task: Task) -> int:
    return given + 3


def hangs(given: int, task: Task) -> int:
    time.sleep(60)
    return 0


def dies(given: int, task: Task) -> int:
    os._exit(7)


def talks(given: int, task: Task) -> int:
    os.write(1, b"a library that prints\n")
    return given + 2


def takes_memory_in_a_child(given: int, task: Task) -> int:
    code = f"import time; block = bytearray(b'x') * ({TAKES_MIB} << 20); time.sleep(0.4)"
    subprocess.run([sys.executable, "-c", code], check=True)
    return given + 2


def limits(given: int, task: Task) -> int:
    names = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")
    kept = all(os.environ[name] == str(task.threads) for name in names) and not any(Path(task.scratch).iterdir())
    return given + 2 if kept and len(os.sched_getaffinity(0)) == task.threads else 0


def follows_its_seed(given: int, task: Task) -> Timed:
    if task.solver_seed == 3:
        raise ValueError("not this one")
    return Timed(1.0 + task.solver_seed, given + 2 + (task.solver_seed == 1))


CASE = Case(
    name="tests.benchmarks.made_up_case",
    title="forty and two",
    sizes={"S": "one number"},
    data=("numbers",),
    contestants={
        call.__name__: Contestant(call, (), call.__name__, warm=warm)
        for call, warm in (
            (right, 2),
            (raises, 1),
            (lies, 1),
            (hangs, 1),
            (dies, 1),
            (talks, 1),
            (takes_memory_in_a_child, 0),
            (limits, 1),
            (follows_its_seed, 2),
        )
    }
    | {
        "absent": Contestant(right, ("no-such-package",), "absent"),
        "once": Contestant(right, (), "once", warm=0, solver_seeds=1),
        "elsewhere": Contestant(right, (), "elsewhere", data=("letters",)),
    },
    make=make,
    open=open_number,
    judge=judge,
    quality="cost",
)
