"""Results as a Markdown table: what was measured last, every contestant a line, failures with their reason."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from benchmarks.case import Case
from benchmarks.curves import told_curves
from benchmarks.results import Row, is_cold, latest, seconds_of, with_ratios
from benchmarks.within import told_within

_SIZES = ("XS", "S", "M", "L")

COLD = (
    "Figures marked cold: only the first call of a process was measured, with what libraries import and set up then; "
    "the other figures are of later calls."
)
"""Stands under a table that has such figures."""


def table(rows: Iterable[Row], case: Case, *, within: float | None = None) -> str:
    """Return Markdown: for each size a heading, a table, and what one must know to read it.

    Parameters
    ----------
    rows
        Rows of one case. Of each size those of the commit, machine and threads that were measured last count.
    case
        The case.
    within
        Ratio to the best known quality that counts as reached; the case's own by default.
    """
    kept = with_ratios(latest(row for row in rows if row["case"] == case.name), case.quality)
    sizes = sorted({row["size"] for row in kept}, key=lambda size: (_SIZES.index(size) if size in _SIZES else 9, size))
    parts = []
    for size in sizes:
        own = [row for row in kept if row["size"] == size]
        parts.append(told_curves(own, case, size) if case.curves else _of_size(own, size, case))
        if case.tells:
            parts.append(case.tells(own))
        goal = within or case.within
        if goal and any(row["ok"] for row in own):
            parts.append(told_within(own, case, size, goal))
        # Points of a curve are timed one by one, after a call that is not on it.
        if not case.curves and any(row["ok"] and is_cold(row) for row in own):
            parts.append(COLD)
        parts.append(_origin(own))
    return "\n\n".join(parts)


def _of_size(rows: list[Row], size: str, case: Case) -> str:
    kinds = [kind for kind in case.data if any(row["data"] == kind for row in rows)]
    last = "answer" if case.quality is None else f"{case.quality_says} / best, worst"
    seconds = kinds if len(kinds) > 1 else ["seconds"]
    head = ["contestant", *seconds, "cold", "memory", *case.shows.values(), last]
    measure = {
        kind: _middle([r for r in rows if (r["contestant"], r["data"]) == (case.against, kind)]) for kind in kinds
    }
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    reasons: dict[str, list[str]] = {}
    for name in case.contestants:
        own = [row for row in rows if row["contestant"] == name]
        if not own:
            continue
        times = [_seconds([row for row in own if row["data"] == kind], measure[kind]) for kind in kinds]
        colds = [row["cold_seconds"] for row in own if row["ok"] and row["cold_seconds"] is not None]
        memory = max((row["memory_rise_mib"] for row in own if row["memory_rise_mib"] is not None), default=None)
        cells = [
            case.says(name, size),
            *times,
            f"{_digits(statistics.median(colds))} s" if colds else "–",
            "–" if memory is None else f"{memory:,.0f} MiB",
            *(_worst(own, name) for name in case.shows),
            _judged(own, case.quality),
        ]
        lines.append(f"| {' | '.join(cells)} |")
        for row in own:
            if row["error"]:
                reasons.setdefault(row["error"], []).append(
                    f"{case.says(name, size)} ({row['data']}, seed {row['seed']})"
                )
    notes = [f"* {', '.join(dict.fromkeys(who))}: {reason}." for reason, who in reasons.items()]
    heading = f"**{size}: {case.sizes[size]}**"
    return "\n".join([heading, "", *lines, *(["", *notes] if notes else [])])


def _middle(rows: Sequence[Row]) -> float | None:
    good = [found for row in rows if row["ok"] and (found := seconds_of(row)) is not None]
    return statistics.median(good) if good else None


def _worst(rows: Sequence[Row], fact: str) -> str:
    found = [row["facts"][fact] for row in rows if row["ok"] and row["facts"].get(fact) is not None]
    if not found:
        return "–"
    return f"{max(found):,.0f}" if max(found) >= 1000 else f"{max(found):.3g}"


def _seconds(rows: Sequence[Row], measure: float | None) -> str:
    """Return median and range of one contestant on one kind of data, or what became of it."""
    if not rows:
        return "–"
    right = [row for row in rows if row["ok"] and seconds_of(row) is not None]
    good = [found for row in right if (found := seconds_of(row)) is not None]
    if not good:
        return short(rows[-1]["error"])
    middle = statistics.median(good)
    scale, unit = (1e6, "µs") if middle < 1e-3 else (1.0, "s")
    text = f"{_digits(scale * middle)} {unit}"
    if len(good) > 1:
        text += f" ({_digits(scale * min(good))}–{_digits(scale * max(good))})"
    if colds := sum(map(is_cold, right)):
        text += " cold" if colds == len(right) else f", {colds} of {len(right)} cold"
    if measure:
        text += f", {statistics.median(good) / measure:.2f} ×"
    failed = len(rows) - len(good)
    return f"{text}, {failed} of {len(rows)} failed" if failed else text


def short(reason: str) -> str:
    """Return the beginning of a reason, as far as it fits into a cell.

    Examples
    --------
    >>> short("out of memory: more than 4096 MiB"), short("ended after 600 s")
    ('out of memory', 'ended after 600 s')
    """
    return reason.partition(":")[0][:30]


def _judged(rows: Sequence[Row], quality: str | None) -> str:
    wrong = sum(not row["ok"] and str(row["error"]).startswith("wrong answer") for row in rows)
    if wrong:
        return f"wrong in {wrong} of {len(rows)}"
    good = [row for row in rows if row["ok"]]
    if not good:
        return "–"
    if quality is None:
        return "right"
    ratios = [row["ratio"] for row in good if row["ratio"] is not None]
    return f"{max(ratios):.5f}" if ratios else "right"


def _digits(seconds: float) -> str:
    if seconds < 0.01:
        return f"{seconds:.5f}"
    if seconds < 0.1:
        return f"{seconds:.3f}"
    return f"{seconds:.2f}" if seconds < 10 else f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}"


def _origin(rows: Sequence[Row]) -> str:
    """Return where the figures come from, in one paragraph."""
    row = rows[-1]
    machine = row["machine"]
    groups = max(1, len({(each["contestant"], each["data"]) for each in rows}))
    processes = len({(each["contestant"], each["data"], each["seed"], each["repeat"]) for each in rows}) / groups
    solver_seeds = len({each["solver_seed"] for each in rows})
    versions = sorted({f"{name} {number}" for each in rows for name, number in each["versions"].items()})
    compiled = max((each["compile_seconds"] or 0.0 for each in rows), default=0.0)
    changed = " with changes" if any(each["dirty"] for each in rows) else ""
    seeds = f", up to {solver_seeds} solver seeds in each" if solver_seeds > 1 else ""
    told = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; {row['threads']} threads and at "
        f"most {row['memory_limit_mib'] / 1024:.1f} GiB each; Python {row['python']}, {', '.join(versions)}; commit "
        f"{row['commit']}{changed} of {row['commit_date'][:10]}. Seconds: median (and range) over the processes of a "
        f"contestant ({processes:.3g} on each kind of data{seeds}), each the median of its warm calls. Cold: the first "
        "call of a process, imports included. Memory: the most that calls added to what the process held before them."
    )
    return f"{told} Kernels compiled before that, once: {compiled:.1f} s." if compiled >= 0.1 else told
