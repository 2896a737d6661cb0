"""The charts of a sweep's report: the Pareto front, and the curves of each feature set under each transform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from engine.report.curves import curve_chart
from engine.report.look import ACCENT, AXIS_FONT, INK, LINE, PAPER, Chart, base_layout, heading, plain
from engine.report.numbers import NO_BREAK, NumberFormat, known
from engine.report.sweep_look import Backend, Cell, Row, choice_of, figure, is_same, label
from engine.report.sweep_words import SweepWords

CURVES = ("explained", "silhouette", "gap")
"""Figures that are drawn against k."""

NARROWEST = 0.05
"""Least range of an axis: smaller differences must not look large."""

MOST_POINTS = 400
"""Marks of the Pareto chart beside those on the front."""

MOST_TOLD = 30
"""Points of the front that the summary in words names."""


class Pareto(NamedTuple):
    """The Pareto chart, what stands on its vertical axis, and how many usable configurations it lacks."""

    chart: Chart
    vertical: str
    undrawn: int


def pareto_chart(
    board: Sequence[Row], cells: Sequence[Cell], proposed: Row | None, say: SweepWords, to: NumberFormat
) -> Pareto | None:
    """Draw the usable configurations: silhouette against stability, or against balance where no stability is known.

    Returns
    -------
    Pareto or None
        None where there are fewer than two to draw.
    """
    usable = [row for row in board if row["usable"] and known(row.get("silhouette"))]
    vertical = "stability" if sum(known(row["stability"]) for row in usable) > 1 else "balance"
    drawn = [row for row in usable if known(row[vertical])]
    front = [row for row in drawn if row["pareto"]]
    others = [row for row in drawn if not row["pareto"]]
    others = [row for place, row in enumerate(others) if place < MOST_POINTS or is_same(row, proposed)]
    if len(drawn) < 2:
        return None
    by_key = {(cell.features, cell.transform): cell for cell in cells}
    # Where balance is the vertical axis, size need not say it again.
    sized = vertical == "stability" and all(known(row["balance"]) for row in drawn)
    told = {id(row): _told(row, by_key, say, to) for row in (*front, *others)}

    def points(rows: Sequence[Row], *, filled: bool) -> dict[str, Any]:
        looks = [by_key[row["features"], row["transform"]] for row in rows]
        return {
            "type": "scatter",
            "mode": "markers",
            "x": [row["silhouette"] for row in rows],
            "y": [row[vertical] for row in rows],
            "marker": {
                "symbol": [look.symbol if filled else f"{look.symbol}-open" for look in looks],
                "color": [look.colour for look in looks],
                "size": [(8 if filled else 4) + 9 * (row["balance"] if sized else 1.0) for row in rows],
                "opacity": 1 if filled else 0.75,
                "line": {"color": [PAPER if filled else look.colour for look in looks], "width": 1.2},
            },
            "hovertext": [plain(told[id(row)]) for row in rows],
            "hoverinfo": "text",
            "cliponaxis": False,
        }

    ring = [row for row in drawn if is_same(row, proposed)]
    ranked = sorted({id(row): row for row in (*front, *ring)}.values(), key=lambda row: int(row["rank"]))
    spans = [_span([float(row[name]) for row in drawn]) for name in ("silhouette", vertical)]
    (left, right), (low, high) = spans
    title = say(vertical)
    alt = say("pareto_alt", n=to.whole(len(drawn)), y=title.lower())
    layout = base_layout(
        to,
        height=440,
        margin={"l": 52, "r": 16, "t": 40, "b": 52},
        xaxis=_axis(left, right) | {"title": {"text": say("silhouette"), "font": AXIS_FONT}},
        yaxis=_axis(low, high),
    )
    chart = Chart(
        "chart-pareto",
        say("pareto_finding", front=to.whole(len(front)), usable=to.whole(sum(bool(row["usable"]) for row in board))),
        f"{alt} {'; '.join(told[id(row)] for row in front[:MOST_TOLD])}.",
        [points(others, filled=False), points(front, filled=True), _ring(ring, vertical)],
        layout,
        wide={"annotations": [heading(title, above=14), *_ranks(ranked, vertical, spans, proposed, near=0.03)]},
        narrow={"annotations": [heading(title, above=14), *_ranks(ranked, vertical, spans, proposed, near=0.1)]},
    )
    undrawn = sum(bool(row["usable"]) for row in board) - len(told)
    return Pareto(chart, vertical, undrawn)


def curve_charts(
    cell: Cell,
    place: int,
    backends: Sequence[Backend],
    limits: tuple[int, int],
    spans: Mapping[str, tuple[float, float]],
    say: SweepWords,
    to: NumberFormat,
) -> list[Chart]:
    """Draw the figures of one feature set and transform against k, a line for each backend.

    Parameters
    ----------
    place
        Of the cell on the page, for the names of the charts.
    limits
        Fewest and most segments allowed.
    spans
        Of :func:`curve_spans`: the same scale for all cells.
    """
    ks = sorted({int(row["k"]) for row in cell.rows})
    chosen = next((int(row["k"]) for row in cell.rows if row["chosen"]), 0)
    charts = []
    for name in CURVES:
        lines = _lines(cell, name, backends, say, to)
        if not any(len(line["x"]) > 1 for line in lines):
            continue
        items = [text for line in lines for text in line["hovertext"]]
        base = curve_chart(
            f"chart-{name}-{place}",
            ks,
            [None] * len(ks),
            finding=label(name, say),
            chosen=chosen,
            other=None,
            limits=limits,
            from_zero=False,
            written=[""] * len(ks),
            say=say,
            to=to,
        )
        share = name == "explained"
        axis = {
            **base.layout["yaxis"],
            "range": list(spans[name]),
            "nticks": 5,
            "tickformat": ",d" if share else ".2f",
            "ticksuffix": ("%" if to.language == "en" else f"{NO_BREAK}%") if share else "",
        }
        margin = {"l": 50, "r": 10, "t": 24, "b": 46}
        charts.append(
            replace(
                base,
                alt=f"{cell.name}, {label(name, say)}. {'; '.join(items)}.",
                data=[{**line, "hovertext": [plain(text) for text in line["hovertext"]]} for line in lines],
                layout={**base.layout, "height": 250, "margin": margin, "yaxis": axis},
            )
        )
    return charts


def curve_spans(cells: Sequence[Cell]) -> dict[str, tuple[float, float]]:
    """Return the range of each figure of :data:`CURVES` over all cells, with some air; explained shares in percent."""
    spans = {}
    for name in CURVES:
        values = [
            end
            for cell in cells
            for row in cell.rows
            if known(row.get(name))
            for end in (row[name] - _error(row, name), row[name] + _error(row, name))
        ]
        spans[name] = (0.0, 104.0) if name == "explained" else _span(values)
    return spans


def _lines(
    cell: Cell, name: str, backends: Sequence[Backend], say: SweepWords, to: NumberFormat
) -> list[dict[str, Any]]:
    lines = []
    for place, backend in enumerate(backends):
        rows = sorted(
            (row for row in cell.rows if row["backend"] == backend.id and known(row.get(name))),
            key=lambda row: int(row["k"]),
        )
        if not rows:
            continue
        # One computation of the gap serves all backends, so its line is nobody's.
        alone = len(backends) == 1 or name == "gap"
        # What lies under another line stays visible as its rim.
        width = 2.5 if alone else max(1.5, 6.0 - 2.0 * place)
        colour = ACCENT if alone else backend.colour
        share = name == "explained"
        line: dict[str, Any] = {
            "type": "scatter",
            "mode": "lines+markers",
            "x": [int(row["k"]) for row in rows],
            "y": [100 * row[name] if share else row[name] for row in rows],
            "line": {"color": colour, "width": width},
            "marker": {
                "symbol": "circle" if alone else backend.symbol,
                "size": [12 if row["chosen"] else 7 for row in rows],
                "color": [colour if row["chosen"] else PAPER for row in rows],
                "line": {"color": colour, "width": 1.8},
                "opacity": 1,
            },
            "hovertext": [
                say("curve_item", backend=backend.name, k=row["k"], value=figure(row, name, say, to)) for row in rows
            ],
            "hoverinfo": "text",
            "cliponaxis": False,
        }
        if f"{name}_error" in rows[0]:
            errors = [_error(row, name) for row in rows]
            line["error_y"] = {"type": "data", "array": errors, "color": colour, "thickness": 1.2, "width": 4}
        lines.append(line)
        if name == "gap":
            break
    return lines


def _error(row: Row, name: str) -> float:
    error = row.get(f"{name}_error")
    return float(error) if error is not None and known(error) else 0.0


def _told(row: Row, cells: Mapping[tuple[str, str], Cell], say: SweepWords, to: NumberFormat) -> str:
    names = ["silhouette", "stability", "balance"]
    parts = [f"{say(name).lower()} {figure(row, name, say, to)}" for name in names if known(row.get(name))]
    return (
        f"{row['rank']}: {choice_of(row, cells, say)}: {', '.join(parts)}, {to.decimal(row['seconds'], 3)}{NO_BREAK}s"
    )


def _ranks(
    ranked: Sequence[Row],
    vertical: str,
    spans: Sequence[tuple[float, float]],
    proposed: Row | None,
    *,
    near: float,
) -> list[dict[str, Any]]:
    """Write the ranks above the marks; marks that nearly meet share one label."""
    (left, right), (low, high) = spans
    groups: list[tuple[float, float, list[Row]]] = []
    for row in ranked:
        x, y = (row["silhouette"] - left) / (right - left), (row[vertical] - low) / (high - low)
        for group in groups:
            if abs(group[0] - x) <= near and abs(group[1] - y) <= 0.06:
                group[2].append(row)
                break
        else:
            groups.append((x, y, [row]))
    labels = []
    for _, _, rows in groups:
        ranks = [str(row["rank"]) for row in rows[:3]]
        text = " · ".join(ranks) + (f" +{len(rows) - 3}" if len(rows) > 3 else "")
        top = max(rows, key=lambda row: float(row[vertical]))
        labels.append(
            {
                "text": f"<b>{text}</b>" if any(is_same(row, proposed) for row in rows) else text,
                "x": top["silhouette"],
                "y": top[vertical],
                "yshift": 12,
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 12, "color": INK},
            }
        )
    return labels


def _span(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    spare = max(0.0, NARROWEST - (high - low)) / 2
    low, high = low - spare, high + spare
    air = 0.08 * (high - low)
    return low - air, high + 1.5 * air


def _ring(rows: Sequence[Row], vertical: str) -> dict[str, Any]:
    """Draw the ring around the proposal, above all marks: others may stand on the same spot."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [row["silhouette"] for row in rows],
        "y": [row[vertical] for row in rows],
        "marker": {"symbol": "circle-open", "size": 24, "color": INK, "line": {"width": 2.5}},
        "hoverinfo": "skip",
        "cliponaxis": False,
    }


def _axis(low: float, high: float) -> dict[str, Any]:
    return {
        "range": [low, high],
        "nticks": 7,
        "tickformat": ".2f" if high - low > 0.1 else ".3f",
        "gridcolor": LINE,
        "zeroline": False,
        "fixedrange": True,
    }
