"""What a comparison of backends on the same rows found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from engine.clustering import parity_words as words
from engine.clustering.parity_process import QUICK_S
from engine.schema import Word, check_language


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One backend on the rows; figures are None where it failed.

    Attributes
    ----------
    name
        The backend, with the solver where native is there with both: ``native full``, ``native sample``.
    backend, solver
        As :func:`engine.clustering.backends.cluster` was asked.
    error
        Why there is no answer; empty where there is one.
    seconds, seconds_lowest, seconds_highest
        Wall-clock time of the fit and the final assignment, without imports and compilation: median, and range.
    fits
        How often it was fitted for that: a quick one more than once.
    memory_added_mib
        Most memory during the fit, beyond what its process held before.
    inertia
        Sum of squared distances over all rows, computed here in float64 from the centroids.
    inertia_ratio
        Inertia over the lowest of all lines, 1 or more; None beside a lowest of 0.
    reported_inertia
        The backend's own figure, where it has one.
    rows_used
        Rows that the centroids were trained on. Native clustering keeps identical rows as one with a weight, and with
        ``sample`` it searches a sample.
    n_iter, stop_reason
        Iterations of the winning start, and why they ended.
    """

    name: str
    backend: str
    solver: str
    error: str = ""
    seconds: float | None = None
    seconds_lowest: float | None = None
    seconds_highest: float | None = None
    fits: int | None = None
    memory_added_mib: float | None = None
    inertia: float | None = None
    inertia_ratio: float | None = None
    reported_inertia: float | None = None
    rows_used: int | None = None
    n_iter: int | None = None
    stop_reason: str | None = None

    @property
    def label(self) -> Word:
        """What readers call it."""
        return words.NAMES.get(self.name, Word(self.name, self.name))


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two backends put the same rows together.

    Attributes
    ----------
    a, b
        Names of the lines.
    adjusted_rand
        1 where both divisions are the same, about 0 where they agree no more than by chance.
    kept_share
        Share of the rows that are in matched clusters, 0 to 1.
    """

    a: str
    b: str
    adjusted_rand: float
    kept_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Backends side by side.

    Attributes
    ----------
    rows, features, k, seed
        What all of them were given.
    lines
        One for each, in the order asked for; those that failed are among them.
    agreements
        One for each pair that finished.
    busy_cores
        Cores that other programs kept busy when the comparison began; None where nobody looked.

    Examples
    --------
    >>> lines = (
    ...     Line(name="native", backend="native", solver="full", seconds=0.1, inertia=90.0, inertia_ratio=1.0),
    ...     Line(name="faiss", backend="faiss", solver="auto", error="not installed: faiss"),
    ... )
    >>> print(Parity(rows=9, features=2, k=3, seed=0, lines=lines, agreements=()).finding.en)
    Only native finished: there is nothing to compare it with.
    """

    rows: int
    features: int
    k: int
    seed: int
    lines: tuple[Line, ...]
    agreements: tuple[Agreement, ...]
    busy_cores: float | None = None

    @property
    def finished(self) -> list[Line]:
        """The lines with an answer."""
        return [line for line in self.lines if not line.error]

    @property
    def best(self) -> Line | None:
        """The line of the lowest inertia, of equals the quicker; None where all failed."""
        return min(self.finished, key=lambda line: (line.inertia or 0.0, line.seconds or 0.0), default=None)

    @property
    def quickest(self) -> Line | None:
        """The line that took the least time; None where all failed."""
        return min(self.finished, key=lambda line: line.seconds or 0.0, default=None)

    def between(self, a: str, b: str) -> Agreement | None:
        """Return how far two lines agree, in either order; None where one of them failed or both are the same."""
        return next((one for one in self.agreements if {one.a, one.b} == {a, b}), None)

    def rand(self, a: str, b: str) -> float | None:
        """Return the adjusted Rand index of two lines, 1 of a line with itself; None where one of them failed."""
        if a == b:
            return 1.0 if a in {line.name for line in self.finished} else None
        found = self.between(a, b)
        return None if found is None else found.adjusted_rand

    @property
    def distance(self) -> Word:
        """How far the quickest is from the lowest inertia: a sentence without its full stop."""
        best, quickest = self.best, self.quickest
        if best is None or quickest is None:
            return words.NONE_FINISHED
        if len(self.finished) == 1:
            return words.one_finished(best.label)
        excess = None if quickest.inertia_ratio is None else quickest.inertia_ratio - 1.0
        return words.distance(quickest.label, quickest.seconds or 0.0, best.label, best.seconds or 0.0, excess)

    @property
    def people(self) -> Word:
        """Whether the segments would be the same people; empty where fewer than two finished.

        Compared are the quickest and the best; where one line is both, that one and the line farthest from it.
        """
        best, quickest = self.best, self.quickest
        if best is None or quickest is None or len(self.finished) < 2:
            return Word("", "")
        if best is not quickest:
            return words.people_of_both(self.rand(quickest.name, best.name) or 0.0)
        others = [line for line in self.finished if line is not best]
        farthest = min(others, key=lambda line: self.rand(line.name, best.name) or 0.0)
        return words.people_of_others(self.rand(farthest.name, best.name) or 0.0, farthest.label)

    @property
    def finding(self) -> Word:
        """:attr:`distance` and :attr:`people` as one text."""
        return Word(
            f"{self.distance.en}. {self.people.en}".rstrip(),
            f"{self.distance.es}. {self.people.es}".rstrip(),
        )

    @property
    def notes(self) -> list[Word]:
        """What one must know to read the figures: repeats, a busy machine, fewer rows than there are."""
        found = []
        repeats = [line.fits for line in self.finished if line.fits is not None and line.fits > 1]
        if repeats:
            found.append(words.of_repeats(max(repeats), QUICK_S))
        if self.busy_cores is not None and self.busy_cores >= words.BUSY_CORES:
            found.append(words.of_busy(self.busy_cores))
        fewer = [line for line in self.finished if line.rows_used is not None and line.rows_used < self.rows]
        sampled = any(line.solver == "sample" for line in fewer)
        merged = any(line.solver != "sample" for line in fewer)
        if fewer:
            found.append(words.of_rows(self.rows, merged=merged, sampled=sampled))
        return found

    def table(self, language: str = "en") -> str:
        """Return the lines as a table to print, what one must know to read it, and :attr:`finding`.

        Raises
        ------
        SettingError
            The language is neither ``en`` nor ``es``.
        """
        check_language(language)

        def of(word: Word) -> str:
            return word.to_dict()[language]

        rows = [[of(head) for head in words.HEADS]]
        for line in self.lines:
            if line.error:
                rows.append([of(line.label), line.error])
                continue
            rand = None if self.best is None else self.rand(line.name, self.best.name)
            figures = (
                (line.memory_added_mib, 1), (line.inertia_ratio, 5), (rand, 3), (line.rows_used, 0), (line.n_iter, 0),
            )  # fmt: skip
            seconds = words.seconds(line.seconds or 0.0, line.seconds_lowest, line.seconds_highest, language)
            told = (words.number(value, places, language) for value, places in figures)
            rows.append([of(line.label), seconds, *told])
        notes = self.notes
        if len(self.finished) > 1:
            notes.insert(0, words.of_index())
        parts = [words.aligned(rows), *(["\n".join(of(note) for note in notes)] if notes else []), of(self.finding)]
        return "\n\n".join(parts)

    def figures(self) -> dict[str, float]:
        """Return the figures that a tracking store keeps, by name: ``parity_NAME_FIGURE``."""
        found: dict[str, float] = {}
        for line in self.finished:
            key = f"parity_{line.name.replace(' ', '_')}"
            rand = None if self.best is None else self.rand(line.name, self.best.name)
            for name in ("seconds", "memory_added_mib", "inertia", "inertia_ratio"):
                value = getattr(line, name)
                if value is not None:
                    found[f"{key}_{name}"] = float(value)
            if rand is not None:
                found[f"{key}_adjusted_rand_with_best"] = rand
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it; no row is in it."""
        return {
            "rows": self.rows,
            "features": self.features,
            "k": self.k,
            "seed": self.seed,
            "best": None if self.best is None else self.best.name,
            "quickest": None if self.quickest is None else self.quickest.name,
            "distance": self.distance.to_dict(),
            "people": self.people.to_dict(),
            "busy_cores": self.busy_cores,
            "notes": [note.to_dict() for note in self.notes],
            "lines": [{**asdict(line), "label": line.label.to_dict()} for line in self.lines],
            "agreements": [asdict(one) for one in self.agreements],
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a row for each line, with its agreement with every other: the columns of ``parity.csv``."""
        rows = []
        for line in self.lines:
            row = asdict(line)
            for other in self.lines:
                pair = self.between(line.name, other.name)
                key = other.name.replace(" ", "_")
                row[f"adjusted_rand_{key}"] = self.rand(line.name, other.name)
                row[f"kept_share_{key}"] = 1.0 if line is other and not line.error else pair and pair.kept_share
            rows.append(row)
        return rows
