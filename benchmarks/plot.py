"""Results as a picture: seconds against memory where all answers are equal, against inertia where they are not."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from math import log10
from pathlib import Path

from benchmarks.case import Case
from benchmarks.curves import plot_curves
from benchmarks.results import Row, latest, seconds_of, with_ratios
from engine.errors import DataError

LEAST_EXCESS = 1e-6
"""An inertia nearer to the best known than this is drawn here: the axis has no zero."""


def points(rows: Iterable[Row], case: Case, size: str) -> list[tuple[str, str, float, float]]:
    """Return contestant, kind of data, seconds and the other measure of every contestant that came through.

    Parameters
    ----------
    rows, case
        Rows of the case.
    size
        Which size to draw.

    Returns
    -------
    list of tuple
        Seconds are the median over seeds and repeats. The other measure is the largest memory rise in MiB, or the worst
        excess over the best known inertia, as a share of it.
    """
    kept = [row for row in with_ratios(latest(rows), case.quality) if row["size"] == size and row["ok"]]
    found = []
    for name in case.contestants:
        for data in case.data:
            own = [row for row in kept if (row["contestant"], row["data"]) == (name, data)]
            if case.quality:
                own = [row for row in own if row["ratio"] is not None]
            if not own:
                continue
            seconds = statistics.median(value for row in own if (value := seconds_of(row)) is not None)
            if case.quality:
                other = max(LEAST_EXCESS, *(row["ratio"] - 1 for row in own))
            else:
                other = max(row["memory_rise_mib"] for row in own)
            found.append((name, data, seconds, other))
    return found


def plot(rows: Iterable[Row], case: Case, size: str, path: Path) -> None:
    """Draw one panel for each kind of data and write it as SVG or PNG, by the file's ending.

    Raises
    ------
    DataError
        Nobody came through at this size.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if case.curves:
        plot_curves(rows, case, size, path)
        return
    drawn = points(rows, case, size)
    if not drawn:
        raise DataError(f"plot: no contestant of case {case.name} has a right answer at size {size}. Measure it first.")
    kinds = [data for data in case.data if any(point[1] == data for point in drawn)]
    figure = Figure(figsize=(4.2 * len(kinds) + 0.6, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    ours = {name for name in case.contestants if name.startswith(("native", "cartera"))}
    for panel, kind in zip(panels, kinds, strict=True):
        labelled: list[tuple[float, float]] = []
        for name, data, seconds, other in sorted(drawn, key=lambda point: point[2]):
            if data != kind:
                continue
            colour = "#c2410c" if name in ours else "#475569"
            place = log10(seconds), log10(other)
            near = sum(abs(place[0] - x) < 0.7 and abs(place[1] - y) < 0.4 for x, y in labelled)
            labelled.append(place)
            panel.scatter(seconds, other, color=colour, s=36, zorder=2)
            # Names of near points are stacked, or one would hide another.
            at = {"xytext": (5, 4 + 10 * near), "textcoords": "offset points"}
            panel.annotate(name, (seconds, other), fontsize=8, color=colour, **at)
        panel.set(xscale="log", yscale="log", xlabel="seconds", title=kind if len(kinds) > 1 else "")
        panel.margins(x=0.25, y=0.2)
        panel.grid(visible=True, which="major", color="#e2e8f0", zorder=0)
    panels[0].set_ylabel("excess inertia over the best known" if case.quality else "memory, MiB")
    figure.suptitle(f"{case.name} {size}: {case.sizes[size]} (nearer to the lower left is better)", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a date and with ids from a fixed salt the same results give the same bytes.
    with mpl.rc_context({"svg.hashsalt": "cartera", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
