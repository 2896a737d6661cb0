"""What a case is made of: data from a seed, contestants, and a judge of their answers.

A case module holds one ``CASE``. It is imported by every contestant's process before anything is timed, so it may
import the standard library and numpy only; what a contestant needs it imports when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import SettingError

CASES: Mapping[str, str] = {
    name: f"benchmarks.cases.{name}"
    for name in (
        "features",
        "kmeans",
        "step",
        "converged",
        "sweep",
        "large_k",
        "disk",
        "scaling",
        "serving",
        "soak",
        "classify",
        "neighbours",
        "ready",
        "next_basket",
        "cross_sell",
        "offers",
    )
}
"""Module of each case."""


@dataclass(frozen=True, slots=True)
class Task:
    """What one process is to do.

    Attributes
    ----------
    case, contestant, size, data, seed
        Which case, who, how much, and which of the case's kinds of data, drawn from which seed.
    solver_seed
        From which the contestant makes its own random choices.
    threads
        Cores and threads that it may use.
    memory_mib
        Memory that it may take; beyond it the process is ended.
    folder
        Where the data lie; read only.
    scratch
        Where it may write; emptied after every call.
    """

    case: str
    contestant: str
    size: str
    data: str
    seed: int
    threads: int
    memory_mib: int
    folder: str
    scratch: str
    solver_seed: int = 0


class Timed(NamedTuple):
    """An answer with seconds of its own, for a contestant that can time only more or less than the job itself.

    Attributes
    ----------
    seconds
        What the job takes; the row has it in place of the call's seconds.
    answer
        For the judge.
    """

    seconds: float
    answer: Any


Contend = Callable[[Any, Task], Any]


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to do the job.

    Attributes
    ----------
    call
        Does the whole job once: what the case opened and the task in, the answer out.
    packages
        Distributions whose versions are recorded; without one of them the row says so.
    says
        What it does, in a few words for the reader of the table; ``{sample}`` stands for the rows that it searches.
    warm
        Calls after the first.
    sizes
        Sizes it is run at unless it is asked for by name.
    compiles
        Whether it compiles kernels that are then kept on disk: one unmeasured process goes first.
    solver_seeds
        Most solver seeds that it is run with; for those that take minutes.
    data
        Kinds of data that it is run on; all of them by default.
    sample
        Rows that it searches, where that is not all: fewer at a size that has fewer.
    """

    call: Contend
    packages: tuple[str, ...]
    says: str
    warm: int = 3
    sizes: tuple[str, ...] = ("XS", "S", "M", "L")
    compiles: bool = False
    solver_seeds: int | None = None
    data: tuple[str, ...] | None = None
    sample: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One job for all contestants.

    Attributes
    ----------
    name, title
        Short name, and what the job is.
    sizes
        What each size means, in words.
    data
        The kinds of data.
    contestants
        By name, ours first.
    make
        ``make(task)`` writes the data of ``task.data``, size and seed to ``task.folder``.
    open
        ``open(task)`` returns what every contestant is given, before the clock starts.
    judge
        ``judge(given, answer, task)`` returns facts about the answer, measured alike for all, and what is wrong with
        it (``None``: nothing).
    quality
        Name of the fact of which less is better, shown as a ratio to the best known; ``None`` where answers are equal.
    shows
        Facts that have a column of their own in the table, the worst of each contestant: name and heading.
    within
        Ratio to the best known that counts as reached: the table then tells in how many solver seeds, and names the
        best rival. ``None`` for cases that do not race to a quality.
    against
        Contestant whose seconds those of the others are also told as a multiple of.
    curves
        Whether the fact ``points`` holds pairs (how much, seconds), to be read as a curve.
    quality_says
        What the tables call it.
    version
        To be raised when the same seed makes other data.
    rows
        Rows of each size, for cases with contestants that search a sample.
    tells
        Turns the rows of a size into Markdown that the table gets beside.
    """

    name: str
    title: str
    sizes: Mapping[str, str]
    data: tuple[str, ...]
    contestants: Mapping[str, Contestant]
    make: Callable[[Task], None]
    open: Callable[[Task], Any]
    judge: Callable[[Any, Any, Task], tuple[dict[str, Any], str | None]]
    quality: str | None
    quality_says: str = "inertia"
    version: int = 1
    shows: Mapping[str, str] = field(default_factory=dict)
    within: float | None = None
    against: str | None = None
    curves: bool = False
    rows: Mapping[str, int] = field(default_factory=dict)
    tells: Callable[[Sequence[dict[str, Any]]], str] | None = None

    def says(self, name: str, size: str) -> str:
        """Return what a contestant does, with the rows that its sample has at this size.

        Examples
        --------
        >>> find_case("large_k").says("subsample_100k_3", "L")
        'scikit-learn, best of three starts on 100,000 rows, then predict'
        >>> find_case("large_k").says("subsample_100k_3", "XS")
        'scikit-learn, best of three starts on all 5,000 rows, then predict'
        """
        contestant = self.contestants[name]
        if contestant.sample is None:
            return contestant.says
        whole = self.rows[size]
        told = f"{contestant.sample:,} rows" if contestant.sample < whole else f"all {whole:,} rows"
        return contestant.says.replace("{sample}", told)

    def check(self, what: str, names: list[str] | tuple[str, ...], known: Mapping[str, Any] | tuple[str, ...]) -> None:
        """Raise :class:`SettingError` unless each name is known."""
        for name in names:
            if name not in known:
                raise SettingError.from_unknown(what, name, known)

    def data_key(self, size: str, data: str, seed: int) -> str:
        """Return the name of a data set: equal names, equal bytes."""
        return f"{self.name}-{data}-{size}-seed{seed}-v{self.version}"


def find_case(name: str) -> Case:
    """Return a case by its name, or by the dotted name of a module that holds one.

    Raises
    ------
    SettingError
        There is no such case.

    Examples
    --------
    >>> find_case("kmeans").quality
    'inertia'
    """
    if name not in CASES and "." not in name:
        raise SettingError.from_unknown("case", name, CASES)
    case: Case = import_module(CASES.get(name, name)).CASE
    return case


def data_folder(root: Path, case: Case, size: str, data: str, seed: int) -> Path:
    """Return where a data set lies under a folder of data sets."""
    return root / case.data_key(size, data, seed)
