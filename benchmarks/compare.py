"""Two commits side by side: whether one is faster, or it is noise.

Both are measured by this harness on the same data, in turns; only ``engine`` comes from the commits. A difference
counts when an exact two-sided rank test over the processes' medians (Mann and Whitney 1947, Annals of Mathematical
Statistics 18) would show it by chance in less than one case in twenty: with four processes of each commit that is
when all of one are faster than all of the other.
"""

from __future__ import annotations

import io
import json
import statistics
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path

from benchmarks.harness import make_data, measure
from benchmarks.machine import ROOT, Commit
from benchmarks.results import Row, append, seconds_of
from benchmarks.session import MAKE_LIMIT_S, Plan, compile_first, task_of, told
from engine.errors import SettingError

CHANCE = 0.05
NOISE = "no difference beyond noise"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One contestant on one data set, before and after.

    Attributes
    ----------
    what
        Size, kind of data, seed and contestant.
    before_s, after_s
        Median seconds.
    ratio
        After over before: below 1 is faster.
    lowest, highest
        Fastest after over slowest before, and slowest after over fastest before.
    verdict
        In words.
    """

    what: str
    before_s: float
    after_s: float
    ratio: float
    lowest: float
    highest: float
    verdict: str


def chance(before: Sequence[float], after: Sequence[float]) -> float:
    """Return how likely ranks so far apart are when nothing differs: exact, two-sided, ties counted half.

    Examples
    --------
    >>> round(chance([1.0, 1.1, 1.2, 1.3], [2.0, 2.1, 2.2, 2.3]), 4)
    0.0286
    """
    n, m = len(before), len(after)
    wins = sum((a > b) + 0.5 * (a == b) for b in before for a in after)
    extreme = int(min(wins, n * m - wins))
    # ways[j][u]: orders of i values of one kind among j of the other with u wins.
    ways = [[1] + [0] * extreme for _ in range(m + 1)]
    for _ in range(n):
        row = [[1] + [0] * extreme]
        for j in range(1, m + 1):
            row.append([row[j - 1][u] + (ways[j][u - j] if u >= j else 0) for u in range(extreme + 1)])
        # The last of all values is of the other kind (row[j - 1], no win more) or of this one (ways[j], j wins more).
        ways = row
    return min(1.0, 2 * sum(ways[m]) / comb(n + m, n))


def judge(what: str, before: Sequence[float], after: Sequence[float]) -> Comparison:
    """Compare the medians of processes.

    Examples
    --------
    >>> judge("fit", [1.0, 1.1, 1.05, 1.02], [2.0, 2.1, 2.05, 2.02]).verdict
    'slower'
    """
    medians = statistics.median(before), statistics.median(after)
    ratio = medians[1] / medians[0]
    if 2 / comb(len(before) + len(after), len(before)) >= CHANCE:
        verdict = "too few processes to tell (4 of each are needed)"
    elif chance(before, after) >= CHANCE:
        verdict = NOISE
    else:
        verdict = "slower" if ratio > 1 else "faster"
    return Comparison(what, *medians, ratio, min(after) / max(before), max(after) / min(before), verdict)


def compare(before: Iterable[Row], after: Iterable[Row]) -> tuple[list[Comparison], list[str]]:
    """Compare what both have measured.

    Returns
    -------
    list of Comparison
        One for each contestant and data set of which both have right answers.
    list of str
        What was measured but cannot be compared, and why.

    Raises
    ------
    SettingError
        The rows come from different machines or numbers of threads.
    """
    groups: list[dict[str, list[Row]]] = [{}, {}]
    origins = set()
    for side, rows in zip(groups, (before, after), strict=True):
        for row in rows:
            origins.add((json.dumps(row["machine"], sort_keys=True), row["threads"]))
            seeds = f"seed {row['seed']}" + (f"/{row['solver_seed']}" if row["solver_seed"] else "")
            what = f"{row['case']} {row['size']} {row['data']} v{row['version']} {seeds} {row['contestant']}"
            side.setdefault(what, []).append(row)
    if len(origins) > 1:
        raise SettingError("compare: the rows come from different machines or threads. Measure both on one machine.")
    found, left_out = [], []
    for what in dict.fromkeys([*groups[0], *groups[1]]):
        sides = [side.get(what, []) for side in groups]
        reason = next(("not measured on both sides" for side in sides if not side), None)
        reason = reason or next((row["error"] for side in sides for row in side if not row["ok"]), None)
        if reason:
            left_out.append(f"{what}: {reason}")
            continue
        times = [[value for row in side if (value := seconds_of(row)) is not None] for side in sides]
        found.append(judge(what, *times))
    return found, left_out


def measure_both(names: tuple[str, str], plan: Plan, say: Callable[[str], None]) -> tuple[list[Row], list[Row]]:
    """Measure two commits in turns and return the rows of each.

    Parameters
    ----------
    names
        Two commits, as git knows them.
    plan
        What to measure; by default ours only.
    say
        Called with a line for every measurement.
    """
    case = plan.checked()
    contestants = list(plan.contestants or [next(iter(case.contestants))])
    rows: tuple[list[Row], list[Row]] = ([], [])
    with tempfile.TemporaryDirectory(prefix="cartera-compare-") as place:
        sides = [_checkout(name, Path(place) / str(number)) for number, name in enumerate(names)]
        folder = plan.keep.resolve() if plan.keep else Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        compiled: list[dict[str, float]] = [{}, {}]
        for seed in range(plan.seeds):
            for data in plan.data or case.data:
                for repeat in range(plan.repeats):
                    for contestant in contestants:
                        task = task_of(
                            plan, case, contestant=contestant, data=data, seed=seed, folder=folder, scratch=place
                        )
                        if not Path(task.folder).is_dir():
                            make_data(task, limit_s=MAKE_LIMIT_S)
                        for side in (0, 1) if repeat % 2 == 0 else (1, 0):
                            commit, root = sides[side]
                            compile_first(case, task, compiled[side], plan.limit_s, root)
                            found = measure(
                                case,
                                task,
                                repeat=repeat,
                                limit_s=plan.limit_s,
                                solver_seeds=range(plan.solver_seeds),
                                compiled_s=compiled[side].get(contestant),
                                commit=commit,
                                root=root,
                            )
                            rows[side] += found
                            for row in found:
                                if plan.out is not None:
                                    append(plan.out, row)
                                say(f"{names[side]}  {told(row, case)}")
    return rows


def _checkout(name: str, folder: Path) -> tuple[Commit, Path]:
    """Unpack a commit's engine beside this checkout's benchmarks; git's own state stays as it is."""
    shown = subprocess.run(
        ["git", "show", "-s", "--format=%h %cI", f"{name}^{{commit}}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if shown.returncode:
        raise SettingError(f"compare: expected a file of results or a commit; got {name!r}, which is neither.")
    sha, date = shown.stdout.split()
    packed = subprocess.run(["git", "archive", sha, "engine"], cwd=ROOT, capture_output=True, check=True).stdout
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks", target_is_directory=True)
    return Commit(sha, date, dirty=False), folder


def told_as_table(found: Sequence[Comparison]) -> str:
    """Return the comparisons as Markdown."""
    lines = ["| what | before | after | after / before | spread | verdict |", "|---|---|---|---|---|---|"]
    for each in found:
        spread = f"{each.lowest:.2f}–{each.highest:.2f}"
        times = f"{each.before_s:.3f} s | {each.after_s:.3f} s"
        lines.append(f"| {each.what} | {times} | {each.ratio:.3f} | {spread} | {each.verdict} |")
    return "\n".join(lines)
