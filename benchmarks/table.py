"""Results as a Markdown table: what was measured last, every contestant a line, failures with their reason."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from benchmarks.case import Case
from benchmarks.results import Row, latest, seconds_of, with_ratios

_SIZES = ("XS", "S", "M", "L")


def table(rows: Iterable[Row], case: Case) -> str:
    """Return Markdown: for each size a heading, a table, and what one must know to read it.

    Parameters
    ----------
    rows
        Rows of one case. Of each size those of the commit, machine and threads that were measured last count.
    case
        The case.
    """
    kept = with_ratios(latest(row for row in rows if row["case"] == case.name), case.quality)
    sizes = sorted({row["size"] for row in kept}, key=lambda size: (_SIZES.index(size) if size in _SIZES else 9, size))
    return "\n\n".join(_of_size([row for row in kept if row["size"] == size], size, case) for size in sizes)


def _of_size(rows: list[Row], size: str, case: Case) -> str:
    kinds = [kind for kind in case.data if any(row["data"] == kind for row in rows)]
    last = "inertia / best, worst" if case.quality == "inertia" else "answer"
    seconds = kinds if len(kinds) > 1 else ["seconds"]
    head = ["contestant", *seconds, "cold", "memory", last]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    reasons: dict[str, list[str]] = {}
    for name, contestant in case.contestants.items():
        own = [row for row in rows if row["contestant"] == name]
        if not own:
            continue
        times = [_seconds([row for row in own if row["data"] == kind]) for kind in kinds]
        colds = [row["cold_seconds"] for row in own if row["ok"]]
        memory = max((row["memory_rise_mib"] for row in own if row["memory_rise_mib"] is not None), default=None)
        cells = [
            contestant.says,
            *times,
            f"{_digits(statistics.median(colds))} s" if colds else "–",
            "–" if memory is None else f"{memory:,.0f} MiB",
            _judged(own, case.quality),
        ]
        lines.append(f"| {' | '.join(cells)} |")
        for row in own:
            if row["error"]:
                reasons.setdefault(row["error"], []).append(f"{contestant.says} ({row['data']}, seed {row['seed']})")
    notes = [f"* {', '.join(dict.fromkeys(who))}: {reason}." for reason, who in reasons.items()]
    heading = f"**{size}: {case.sizes[size]}**"
    return "\n".join([heading, "", *lines, "", *notes, *([""] if notes else []), _origin(rows)])


def _seconds(rows: Sequence[Row]) -> str:
    """Return median and range of one contestant on one kind of data, or what became of it."""
    if not rows:
        return "–"
    good = [found for row in rows if row["ok"] and (found := seconds_of(row)) is not None]
    if not good:
        return short(rows[-1]["error"])
    text = f"{_digits(statistics.median(good))} s"
    if len(good) > 1:
        text += f" ({_digits(min(good))}–{_digits(max(good))})"
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
    return f"{max(row['ratio'] for row in good):.5f}"


def _digits(seconds: float) -> str:
    if seconds < 0.1:
        return f"{seconds:.3f}"
    return f"{seconds:.2f}" if seconds < 10 else f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}"


def _origin(rows: Sequence[Row]) -> str:
    """Return where the figures come from, in one paragraph."""
    row = rows[-1]
    machine = row["machine"]
    processes = len(rows) / max(1, len({(each["contestant"], each["data"]) for each in rows}))
    versions = sorted({f"{name} {number}" for each in rows for name, number in each["versions"].items()})
    compiled = max((each["compile_seconds"] or 0.0 for each in rows), default=0.0)
    changed = " with changes" if any(each["dirty"] for each in rows) else ""
    told = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; {row['threads']} threads and at "
        f"most {row['memory_limit_mib'] / 1024:.1f} GiB each; Python {row['python']}, {', '.join(versions)}; commit "
        f"{row['commit']}{changed} of {row['commit_date'][:10]}. Seconds: median (and range) over the processes of a "
        f"contestant ({processes:.3g} on each kind of data), each the median of its warm calls. Cold: first call of a "
        "process, imports included. Memory: the most that calls added to what the process held before them."
    )
    return f"{told} Kernels compiled before that, once: {compiled:.1f} s." if compiled >= 0.1 else told
