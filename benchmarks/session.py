"""A run of a case: which measurements, in which order, skipping those that are there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.case import Case, Task, data_folder, find_case
from benchmarks.harness import EndedError, compile_seconds, make_data, measure
from benchmarks.machine import ROOT, Commit
from benchmarks.results import Row, append, key_of, read, results_file, seconds_of
from engine.compute import available_cores
from engine.errors import SettingError

MAKE_LIMIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes
    ----------
    case, size
        Which case, how large.
    contestants, data
        Names; ``None`` takes all that are meant for the size, and all kinds of data.
    seeds, repeats
        How many data sets of each kind, and processes of each contestant for each of them.
    solver_seeds
        How often each process does the job on its data set, from solver seeds 0, 1, ...
    threads
        Cores and threads of each contestant; all by default.
    memory_gib
        Memory of each contestant; four fifths of the machine's by default.
    limit_s
        Seconds for all calls of one process.
    keep
        Folder in which data sets stay for the next time; by default they are removed once they were used.
    out
        File that rows are added to; ``benchmarks/results/CASE.jsonl`` by default.
    again
        Measure again what the file has from the same commit. Rows of a checkout with changes are always measured
        again: what was changed is not known.
    """

    case: str
    size: str = "S"
    contestants: Sequence[str] | None = None
    data: Sequence[str] | None = None
    seeds: int = 1
    repeats: int = 3
    solver_seeds: int = 1
    threads: int | None = None
    memory_gib: float | None = None
    limit_s: float = 600.0
    keep: Path | None = None
    out: Path | None = None
    again: bool = False

    def checked(self) -> Case:
        """Return the case, or raise :class:`SettingError` where the plan cannot be carried out."""
        case = find_case(self.case)
        case.check("size", (self.size,), case.sizes)
        case.check("contestants", list(self.contestants or ()), case.contestants)
        case.check("families", list(self.data or ()), case.data)
        for name, value in (
            ("seeds", self.seeds),
            ("repeats", self.repeats),
            ("solver_seeds", self.solver_seeds),
            ("threads", self.threads),
        ):
            if value is not None and value < 1:
                raise SettingError(f"{name}: expected a whole number, 1 or more; got {value}.")
        for name, amount in (("memory_gib", self.memory_gib), ("limit_s", self.limit_s)):
            if amount is not None and amount <= 0:
                raise SettingError(f"{name}: expected a number above 0; got {amount:g}.")
        if self.threads is not None and self.threads > available_cores():
            raise SettingError(
                f"threads: expected at most {available_cores()}, the cores that this process may use; "
                f"got {self.threads}."
            )
        return case


def run(plan: Plan, say: Callable[[str], None], *, commit: Commit | None = None, root: Path = ROOT) -> list[Row]:
    """Measure what the plan asks for and the file does not have yet; return the new rows.

    Parameters
    ----------
    plan
        What to measure.
    say
        Called with a line for every measurement.
    commit, root
        What is measured and where its ``engine`` lies; this checkout by default.
    """
    case = plan.checked()
    which = commit or Commit.of()
    out = plan.out or results_file(case.name)
    known: set[tuple[object, ...]] = set()
    if out.exists() and not plan.again and not which.dirty:
        known = {key_of(row) for row in read(out) if row["commit"] == which.sha and not row["dirty"]}
    names = list(plan.contestants or [name for name, who in case.contestants.items() if plan.size in who.sizes])
    for name in case.contestants:
        if plan.contestants is None and name not in names:
            say(f"{name} is not meant for size {plan.size}; contestants=[{name}] runs it all the same")
    new: list[Row] = []
    compiled: dict[str, float] = {}
    with _folder(plan.keep) as folder, tempfile.TemporaryDirectory(prefix="cartera-bench-") as scratch:
        for seed in range(plan.seeds):
            for turn, data in enumerate(plan.data or case.data):
                tasks = [
                    (task, repeat, missing)
                    for repeat in range(plan.repeats)
                    for task in _in_turn(plan, case, names, data, seed, folder, scratch, seed + turn + repeat)
                    if (missing := _missing(plan, case, task, repeat, known))
                ]
                if not tasks:
                    say(f"{case.name} {plan.size} {data} seed {seed}: nothing left to measure")
                    continue
                made = Path(tasks[0][0].folder)
                if not made.is_dir():
                    say(f"{case.name} {plan.size} {data} seed {seed}: making the data")
                    make_data(tasks[0][0], limit_s=MAKE_LIMIT_S)
                for number, (task, repeat, missing) in enumerate(tasks, start=1):
                    compile_first(case, task, compiled, plan.limit_s, root)
                    rows = measure(
                        case,
                        task,
                        repeat=repeat,
                        limit_s=plan.limit_s,
                        solver_seeds=missing,
                        compiled_s=compiled.get(task.contestant),
                        commit=which,
                        root=root,
                    )
                    for row in rows:
                        append(out, row)
                        say(f"{number}/{len(tasks)} {told(row, case)}")
                    new += rows
                if plan.keep is None:
                    shutil.rmtree(made)
    return new


def compile_first(case: Case, task: Task, compiled: dict[str, float], limit_s: float, root: Path) -> None:
    """See to it, once, that the kernels of a contestant that compiles are on disk."""
    if case.contestants[task.contestant].compiles and task.contestant not in compiled:
        try:
            compiled[task.contestant] = compile_seconds(task, limit_s=limit_s, root=root)
        except EndedError:
            # The measured process will fail in the same way, and its row says how.
            compiled[task.contestant] = 0.0


def told(row: Row, case: Case) -> str:
    """Return one row as a line for the screen."""
    seeds = f"seed {row['seed']}" + (f"/{row['solver_seed']}" if row["solver_seed"] else "")
    where = f"{row['size']} {row['data']} {seeds} repeat {row['repeat']}  {row['contestant']:<15}"
    seconds, rise = seconds_of(row), row["memory_rise_mib"]
    cold = row["cold_seconds"]
    times = f"{seconds:9.3f} s" if seconds is not None else f"{'-':>9}"
    times += f" (cold {cold:.3f} s)" if cold is not None else ""
    memory = f"{rise:9.0f} MiB" if rise is not None else ""
    quality = row["facts"].get(case.quality) if case.quality else None
    judged = row["error"] or (f"{case.quality} {quality:.6g}" if quality is not None else "answer right")
    return f"{where} {times} {memory}  {judged}"


def task_of(
    plan: Plan, case: Case, *, contestant: str, data: str, seed: int, folder: Path, scratch: str | Path
) -> Task:
    """Return the task of one contestant on one data set."""
    gib = plan.memory_gib or 0.8 * psutil.virtual_memory().total / 2**30
    return Task(
        case=plan.case,
        contestant=contestant,
        size=plan.size,
        data=data,
        seed=seed,
        threads=plan.threads or available_cores(),
        memory_mib=int(gib * 1024),
        folder=str(data_folder(folder, case, plan.size, data, seed)),
        scratch=str(Path(scratch) / "call"),
    )


def _in_turn(
    plan: Plan, case: Case, names: list[str], data: str, seed: int, folder: Path, scratch: str, turn: int
) -> Iterator[Task]:
    """Yield the contestants' tasks, another one first at every turn: whoever comes after a heavy one suffers."""
    names = [name for name in names if data in (case.contestants[name].data or case.data)]
    first = turn % len(names) if names else 0
    for name in names[first:] + names[:first]:
        yield task_of(plan, case, contestant=name, data=data, seed=seed, folder=folder, scratch=scratch)


def _missing(plan: Plan, case: Case, task: Task, repeat: int, known: set[tuple[object, ...]]) -> list[int]:
    """Return the solver seeds that are asked for and not there."""
    most = case.contestants[task.contestant].solver_seeds
    wanted = range(plan.solver_seeds if most is None else min(most, plan.solver_seeds))
    before = case.name, case.version, task.size, task.data, task.seed
    after = task.contestant, repeat, task.threads
    return [number for number in wanted if (*before, number, *after) not in known]


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="cartera-bench-data-") as folder:
        yield Path(folder)
