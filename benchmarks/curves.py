"""Cost against n, k or d: tables and pictures of rows whose fact ``points`` is a curve, with the slope of each.

The slope is that of a straight line through the logarithms by least squares: 1 means that twice as much takes twice
the time. It is taken over the upper half of the points, where fixed costs no longer flatten it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from math import log
from pathlib import Path

from benchmarks.case import Case
from benchmarks.results import Row, latest
from engine.errors import DataError

Point = tuple[float, float]


def slope(points: Sequence[Point]) -> float:
    """Return by which power the seconds grow, over the upper half of the points (at least two).

    Examples
    --------
    >>> round(slope([(1, 5.0), (10, 5.0), (100, 10.0), (1000, 100.0)]), 6)
    1.0
    """
    upper = sorted(points)[len(points) // 2 if len(points) > 3 else 0 :]
    xs, ys = [log(x) for x, _ in upper], [log(y) for _, y in upper]
    middle_x, middle_y = statistics.mean(xs), statistics.mean(ys)
    across = sum((x - middle_x) ** 2 for x in xs)
    return sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True)) / across


def curves(rows: Iterable[Row], case: Case, size: str) -> dict[tuple[str, str], list[Point]]:
    """Return the points of each contestant on each kind of data: of several rows the median seconds."""
    found: dict[tuple[str, str], dict[float, list[float]]] = {}
    for row in latest(rows):
        if row["size"] == size and row["ok"]:
            own = found.setdefault((row["data"], row["contestant"]), {})
            for much, seconds in row["facts"]["points"]:
                own.setdefault(much, []).append(seconds)
    ordered = [(data, name) for data in case.data for name in case.contestants if (data, name) in found]
    return {key: [(x, statistics.median(ys)) for x, ys in sorted(found[key].items())] for key in ordered}


def told_curves(rows: Sequence[Row], case: Case, size: str) -> str:
    """Return Markdown: for each kind of data a line for each amount, a column for each contestant, and the slopes."""
    found = curves(rows, case, size)
    parts = [f"**{size}: {case.sizes[size]}**"]
    for data in dict.fromkeys(data for data, _ in found):
        own = {name: dict(points) for (kind, name), points in found.items() if kind == data}
        beside = own.get(case.against or "", {})
        head = [data, *(f"{case.says(name, size)}, s" for name in own)]
        compared = [name for name in own if beside and name != case.against]
        head += [f"{name} / {case.against}" for name in compared]
        lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        for much in sorted({much for points in own.values() for much in points}):
            cells = [f"{points[much]:.4g}" if much in points else "–" for points in own.values()]
            cells += [
                f"{own[name][much] / beside[much]:.2f}" if much in own[name] and much in beside else "–"
                for name in compared
            ]
            lines.append(f"| {much:,.0f} | {' | '.join(cells)} |")
        slopes = [f"{slope(list(points.items())):.2f}" for points in own.values() if len(points) > 1]
        lines.append(f"| slope | {' | '.join(slopes + ['–'] * (len(head) - 1 - len(slopes)))} |")
        parts.append("\n".join(lines))
    faults = [f"* {row['contestant']} ({row['data']}): {row['error']}." for row in rows if row["error"]]
    return "\n\n".join([*parts, *(["\n".join(faults)] if faults else [])])


def plot_curves(rows: Iterable[Row], case: Case, size: str, path: Path) -> None:
    """Draw one panel for each kind of data, both axes logarithmic, and write it as SVG or PNG.

    Raises
    ------
    DataError
        Nobody came through at this size.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = curves(rows, case, size)
    if not found:
        raise DataError(f"plot: no contestant of case {case.name} has a right answer at size {size}. Measure it first.")
    kinds = list(dict.fromkeys(data for data, _ in found))
    names = [name for name in case.contestants if any(name == other for _, other in found)]
    colours = dict(zip(names, ("#c2410c", "#f59e0b", "#475569", "#0e7490", "#7c3aed", "#4d7c0f"), strict=False))
    figure = Figure(figsize=(4.4 * len(kinds) + 0.6, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        for (data, name), points in found.items():
            if data != kind:
                continue
            told = f"{name}, slope {slope(points):.2f}" if len(points) > 1 else name
            xs, ys = zip(*points, strict=True)
            panel.plot(xs, ys, label=told, color=colours.get(name), marker="o", markersize=3, linewidth=1.2)
        panel.set(xscale="log", yscale="log", xlabel=kind, ylabel="seconds")
        panel.grid(visible=True, which="major", color="#e2e8f0", zorder=0)
        amounts = sorted({x for (data, _), points in found.items() if data == kind for x, _ in points})
        shown = sorted({amounts[(len(amounts) - 1) * part // 5] for part in range(6)})
        panel.set_xticks(shown, [f"{x:,.0f}" for x in shown], fontsize=8)
        panel.minorticks_off()
        panel.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    figure.suptitle(f"{case.name} {size}: {case.sizes[size]}", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "cartera", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
