"""Who reaches a quality, in how many solver seeds, how soon: the race that k-means is really about.

The target of each data set is the best quality known over all contestants and solver seeds, times ``within``. A
contestant's time counts only together with how often it got there: a rival that misses the target in some seeds would
have to be run again, and its user would not know when.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.case import Case
from benchmarks.results import Row, is_cold, latest, seconds_of, with_ratios

MOSTLY = 0.9
"""Share of the seeds in which a rival must get there to be named as one that mostly does."""


@dataclass(frozen=True, slots=True)
class Reach:
    """One contestant on one kind of data.

    Attributes
    ----------
    contestant, data
        Who, on what.
    reached, measured, asked
        Seeds in which the target was reached, seeds that there are rows of, and the most seeds that any contestant
        has on this kind of data.
    seconds
        Median over the seeds, whether reached or not.
    cold_seconds
        First call of a process, imports included; ``None`` where there is none.
    cold
        Whether some of the ``seconds`` are those of a first call, for want of others.
    worst
        Largest ratio to the best known.
    """

    contestant: str
    data: str
    reached: int
    measured: int
    asked: int
    seconds: float
    cold_seconds: float | None
    cold: bool
    worst: float

    def holds(self, share: float = 1.0) -> bool:
        """Say whether the target was reached in this share of the seeds.

        Who had no time for all seeds is judged by those that there are: to a rival's favour.
        """
        return self.reached >= share * self.measured


def reaches(rows: Iterable[Row], case: Case, size: str, within: float) -> list[Reach]:
    """Return what became of each contestant on each kind of data; one without a right answer is left out.

    Parameters
    ----------
    rows, case
        Rows of the case; of the size those of the latest commit count.
    size
        Which size.
    within
        Ratio to the best known that counts as reached, 1 or more.
    """
    kept = [row for row in with_ratios(latest(rows), case.quality) if row["size"] == size]
    found = []
    for data in case.data:
        here = [row for row in kept if row["data"] == data]
        asked = max((len(_of(here, name)) for name in case.contestants), default=0)
        for name in case.contestants:
            own = _of(here, name)
            # A yardstick has no quality, and takes no part in the race.
            good = [row for row in own if row["ok"] and row["ratio"] is not None]
            times = [value for row in good if (value := seconds_of(row)) is not None]
            if not times:
                continue
            colds = [row["cold_seconds"] for row in good if row["cold_seconds"] is not None]
            found.append(
                Reach(
                    contestant=name,
                    data=data,
                    reached=sum(row["ratio"] <= within for row in good),
                    measured=len(own),
                    asked=asked,
                    seconds=statistics.median(times),
                    cold_seconds=statistics.median(colds) if colds else None,
                    cold=any(map(is_cold, good)),
                    worst=max(row["ratio"] for row in good),
                )
            )
    return found


def _of(rows: Sequence[Row], contestant: str) -> list[Row]:
    return [row for row in rows if row["contestant"] == contestant]


def best_rival(found: Iterable[Reach], ours: str, data: str, share: float = 1.0) -> Reach | None:
    """Return the fastest of the others that reaches the target in this share of the seeds, or ``None``."""
    others = [each for each in found if each.data == data and each.contestant != ours and each.holds(share)]
    return min(others, key=lambda each: each.seconds, default=None)


def told_within(rows: Iterable[Row], case: Case, size: str, within: float) -> str:
    """Return Markdown: how often everybody got there and when, and who the best tuned rival is."""
    found = reaches(rows, case, size, within)
    kinds = [data for data in case.data if any(each.data == data for each in found)]
    head = ["contestant", *kinds]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name in case.contestants:
        own = {each.data: each for each in found if each.contestant == name}
        if own:
            cells = [_cell(own.get(data)) for data in kinds]
            lines.append(f"| {case.says(name, size)} | {' | '.join(cells)} |")
    first, *others = case.contestants
    verdicts = [_verdict(found, case, first, data, size) for data in kinds if others]
    heading = (
        f"Seeds in which the {case.quality} is at most {within:g} × the best known over all contestants and seeds, of "
        "the seeds measured, and the median seconds of a seed:"
    )
    return "\n".join([heading, "", *lines, "", *verdicts])


def _cell(reach: Reach | None) -> str:
    if reach is None:
        return "–"
    short = " (fewer seeds)" if reach.measured < reach.asked else ""
    return f"{reach.reached} of {reach.measured}{short}, {_told(reach)}"


def _told(reach: Reach) -> str:
    return f"{reach.seconds:.3g} s{' cold' if reach.cold else ''}"


def _verdict(found: list[Reach], case: Case, ours: str, data: str, size: str) -> str:
    own = next((each for each in found if (each.contestant, each.data) == (ours, data)), None)
    if own is None:
        return f"* {data}: {case.says(ours, size)} was not measured."
    told = f"* {data}: {case.says(ours, size)} {own.reached} of {own.measured}, {_told(own)}"
    parts = []
    for share, words in ((1.0, "in every seed"), (MOSTLY, f"in {MOSTLY:.0%} of the seeds")):
        rival = best_rival(found, ours, data, share)
        if rival is None:
            parts.append(f"no rival {words}")
            continue
        factor = rival.seconds / own.seconds
        compared = f"{factor:.2f} × our time" if factor >= 1 else f"{1 / factor:.2f} × faster than ours"
        parts.append(
            f"the best rival {words} is {case.says(rival.contestant, size)} "
            f"({rival.reached} of {rival.measured}, {_told(rival)}, {compared})"
        )
    return f"{told}; {'; '.join(parts)}."
