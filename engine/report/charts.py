"""The charts of the report: what each one shows, its title (the finding), and a summary in words.

A chart is plain Plotly data and layout; the page draws it in the reader's browser. Only SVG traces are used: WebGL
ones fail without a word under a strict content policy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.report.look import (
    ABOVE,
    AVERAGE,
    AXIS_FONT,
    BELOW,
    INK,
    LINE,
    MONEY_MEASURES,
    PAPER,
    Chart,
    Mark,
    Measure,
    base_layout,
    heading,
    lower_first,
    plain,
    tint,
    wrapped,
)
from engine.report.numbers import NumberFormat, known
from engine.report.words import Words

FULL_COLOUR_AT = 4.0
"""Ratio to the average (or its inverse) from which the heat map is at its deepest colour."""

NAME_ROOM, SHORTEST_NAME, MOST_LINES = 110, 14, 3
"""Characters above the heat map for all names together, the fewest that make a name worth writing, and its lines."""

BAR, LINE_HEIGHT, NAME_ON_PHONE = 19, 18, 42
"""Height of a bar and of a line above it, in pixels, and characters that fit into that line on a telephone."""


def ratio_to_average(mean: float | None, average: float | None) -> float | None:
    """Divide the segment's mean by everybody's; None where that says nothing (no mean, average not above 0).

    Examples
    --------
    >>> ratio_to_average(3.0, 2.0), ratio_to_average(3.0, 0.0), ratio_to_average(-1.0, 2.0)
    (1.5, None, None)
    """
    if mean is None or average is None or not (known(mean) and known(average)):
        return None
    return mean / average if average > 0 and mean >= 0 else None


def shares_chart(marks: Sequence[Mark], segments: Sequence[Mapping[str, Any]], say: Words, to: NumberFormat) -> Chart:
    """Paired bars: the segment's share of customers and its share of revenue."""
    count = len(marks)
    # A narrow page needs a second line for long names.
    lines = 2 if any(len(mark.name) > NAME_ON_PHONE for mark in marks) else 1
    pitch = 54 + LINE_HEIGHT * lines
    both = [(to.percent(segment["share_customers"]), to.percent(segment["share_monetary"])) for segment in segments]
    items = [
        say("shares_item", name=mark.name, customers=people, revenue=money)
        for mark, (people, money) in zip(marks, both, strict=True)
    ]

    def bars(key: str, word: str, colours: list[str], offset: float, texts: list[str]) -> dict[str, Any]:
        return {
            "type": "bar",
            "orientation": "h",
            "x": [segment[key] for segment in segments],
            "y": [row + offset / pitch for row in range(count)],
            "width": BAR / pitch,
            "marker": {"color": colours},
            "text": [f"{text} {say(word)}" for text in texts],
            "textposition": "outside",
            "textfont": {"color": INK},
            "cliponaxis": False,
            "hovertext": [plain(item) for item in items],
            "hoverinfo": "text",
        }

    shares = [segment[key] or 0.0 for segment in segments for key in ("share_customers", "share_monetary")]
    low, high = min(0.0, *shares), max(shares)
    long, short = (
        [f"<b>{mark.rank}</b>  {wrapped(mark.name, room, most_lines)}" for mark in marks]
        for room, most_lines in ((100, 1), (NAME_ON_PHONE, lines))
    )
    names = [
        {
            "text": text,
            "x": 0,
            "y": row - 1.25 * BAR / pitch,
            "align": "left",
            "xanchor": "left",
            "yanchor": "bottom",
            "xshift": -3,
            "showarrow": False,
            "font": {"size": 14},
        }
        for row, text in enumerate(long)
    ]
    gains = [
        (segment["share_monetary"] / segment["share_customers"], mark.name)
        for mark, segment in zip(marks, segments, strict=True)
        if segment["share_monetary"] is not None and segment["share_customers"]
    ]
    gain, name = max(gains, default=(1.0, ""))
    finding = say("shares_finding", name=name, ratio=to.factor(gain)) if gain >= 1.05 else say("shares_even")
    layout = base_layout(
        to,
        height=pitch * count + 30,
        margin={"l": 2, "r": 8, "t": 18, "b": 4},
        bargap=0,
        xaxis={"visible": False, "fixedrange": True},
        yaxis={"visible": False, "range": [count - 0.5, -0.5 - 0.2 * lines], "fixedrange": True},
        annotations=names,
    )
    return Chart(
        "chart-shares",
        finding,
        "; ".join(items) + ".",
        [
            bars(
                "share_customers",
                "of_customers",
                [tint(mark.colour) for mark in marks],
                -0.55 * BAR,
                [people for people, _ in both],
            ),
            bars(
                "share_monetary",
                "of_revenue",
                [mark.colour for mark in marks],
                0.55 * BAR,
                [money for _, money in both],
            ),
        ],
        layout,
        wide={"xaxis.range": [low * 1.2, high * 1.25]} | _texts(long),
        narrow={"xaxis.range": [low * 2, high * 1.95]} | _texts(short),
    )


def map_chart(
    marks: Sequence[Mark],
    segments: Sequence[Mapping[str, Any]],
    sample: Mapping[str, Any],
    measures: Mapping[str, Measure],
    say: Words,
    to: NumberFormat,
) -> tuple[Chart, int, int] | None:
    """Scatter chart of the sample on logarithmic axes, with a numbered mark at each segment's median customer.

    Returns
    -------
    tuple or None
        The chart, the customers drawn, and those left out for being at zero or below; None when nobody can be drawn.
    """
    x, y = measures[sample["x"]], measures[sample["y"]]
    by_id = {points["segment_id"]: points for points in sample["points"]}
    data: list[dict[str, Any]] = []
    drawn: list[tuple[float, float]] = []
    undrawn = 0
    for mark in marks:
        points = by_id.get(mark.segment_id, {"x": [], "y": []})
        pairs = list(zip(points["x"], points["y"], strict=True))
        good = [(a, b) for a, b in pairs if known(a) and known(b) and a > 0 and b > 0]
        undrawn += len(pairs) - len(good)
        drawn += good
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [a for a, _ in good],
                "y": [b for _, b in good],
                "marker": {
                    "color": mark.colour,
                    "symbol": mark.symbol,
                    "size": 6,
                    "opacity": 0.55,
                    "line": {"width": 0},
                },
                "hovertemplate": f"{plain(mark.name)}<br>{plain(x.label)}: %{{x:,.{_places(x)}f}}"
                f"<br>{plain(y.label)}: %{{y:,.{_places(y)}f}}<extra></extra>",
            }
        )
    if not drawn:
        return None
    items = []
    for mark, segment in zip(marks, segments, strict=True):
        a, b = segment["medians"].get(x.name), segment["medians"].get(y.name)
        if not (known(a) and known(b) and a > 0 and b > 0):
            continue
        words = say(
            "map_item",
            name=mark.name,
            x_label=lower_first(x.label),
            x=to.decimal(a, _places(x)),
            y_label=lower_first(y.label),
            y=to.decimal(b, _places(y)),
        )
        items.append(words)
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "x": [a],
                "y": [b],
                "text": [f"<b>{mark.rank}</b>"],
                "textfont": {"color": mark.ink, "size": 13 if len(marks) <= 8 else 11},
                "marker": {
                    "color": mark.colour,
                    "symbol": mark.symbol,
                    "size": 26 if len(marks) <= 8 else 20,
                    "line": {"color": PAPER, "width": 2.5},
                },
                "hovertext": [plain(words)],
                "hoverinfo": "text",
            }
        )
    x_label, y_label = lower_first(x.label), lower_first(y.label)
    alt = say("map_alt", n=to.whole(len(drawn)), x_label=x_label, y_label=y_label)
    layout = base_layout(
        to,
        height=480,
        margin={"l": 66, "r": 16, "t": 36, "b": 52},
        xaxis=_log_axis([a for a, _ in drawn], to, title=x.title),
        yaxis=_log_axis([b for _, b in drawn], to),
        annotations=[heading(y.title)],
    )
    chart = Chart(
        "chart-map",
        _map_finding(drawn, x_label, y_label, x.label, say),
        f"{alt} {'; '.join(items)}.",
        data,
        layout,
        wide={"margin.l": 66, "margin.r": 16},
        narrow={"margin.l": 52, "margin.r": 8},
    )
    return chart, len(drawn), undrawn


def profile_chart(
    marks: Sequence[Mark],
    segments: Sequence[Mapping[str, Any]],
    average: Mapping[str, float | None],
    measures: Sequence[Measure],
    say: Words,
    to: NumberFormat,
) -> Chart:
    """Heat map: each segment's mean of each measure, as a multiple of the mean of all customers.

    A measure that can be negative has no such multiple and is in the table only.
    """
    measures = [measure for measure in measures if not measure.signed]
    ratios = [
        [ratio_to_average(segment["means"].get(measure.name), average.get(measure.name)) for segment in segments]
        for measure in measures
    ]
    depths = [[_depth(ratio) for ratio in row] for row in ratios]
    known_cells = [
        (ratio, measure, mark)
        for measure, row in zip(measures, ratios, strict=True)
        for mark, ratio in zip(marks, row, strict=True)
        if ratio is not None
    ]
    top, at, who = max(known_cells, key=lambda cell: cell[0], default=(1.0, None, None))
    finding = say("profile_even")
    if at is not None and who is not None and top >= 1.05:
        finding = say("profile_finding", measure=lower_first(at.label), name=who.name, ratio=to.factor(top))
    numbers = [f"<b>{mark.rank}</b>" for mark in marks]
    room = NAME_ROOM // len(marks)
    inside, width = room >= SHORTEST_NAME, max(room, SHORTEST_NAME)
    names = [
        f"{number}<br>{wrapped(mark.name, width, MOST_LINES)}" for number, mark in zip(numbers, marks, strict=True)
    ]
    still = {"showgrid": False, "zeroline": False, "fixedrange": True, "ticks": ""}
    layout = base_layout(
        to,
        height=46 * len(measures) + 90,
        margin={"l": 10, "r": 4, "t": 76, "b": 4},
        xaxis={"side": "top", "tickvals": list(range(len(marks))), "tickangle": 0, **still},
        yaxis={
            "tickvals": list(range(len(measures))),
            "ticktext": [wrapped(measure.label, SHORTEST_NAME, MOST_LINES) for measure in measures],
            "autorange": "reversed",
            "automargin": True,
            "ticklabelstandoff": 8,
            **still,
        },
        annotations=[
            {
                "text": to.times(ratio),
                "x": column,
                "y": line,
                "showarrow": False,
                "font": {"color": PAPER if abs(depth or 0.0) > 0.65 else INK},
            }
            for line, row in enumerate(zip(ratios, depths, strict=True))
            for column, (ratio, depth) in enumerate(zip(*row, strict=True))
        ],
    )
    heat = {
        "type": "heatmap",
        "z": depths,
        "zmin": -1,
        "zmax": 1,
        "colorscale": [[0, BELOW], [0.5, AVERAGE], [1, ABOVE]],
        "showscale": False,
        "xgap": 3,
        "ygap": 3,
        "hovertext": [
            [
                f"{plain(mark.name)}<br>{plain(measure.label)}: {to.times(ratio)}"
                for mark, ratio in zip(marks, row, strict=True)
            ]
            for measure, row in zip(measures, ratios, strict=True)
        ],
        "hoverinfo": "text",
        "hoverongaps": False,
    }
    cells = "; ".join(
        f"{mark.name}, {lower_first(measure.label)} {to.times(ratio)}" for ratio, measure, mark in known_cells
    )
    return Chart(
        "chart-profile",
        finding,
        say("profile_alt") + f" {cells}.",
        [heat],
        layout,
        wide={"xaxis.ticktext": names if inside else numbers, "margin.t": 76 if inside else 30},
        narrow={"xaxis.ticktext": numbers, "margin.t": 30},
        min_width=110 + 43 * len(marks),
        names_inside=inside,
    )


def _texts(texts: Sequence[str]) -> dict[str, str]:
    """Address the annotations of a layout one by one."""
    return {f"annotations[{place}].text": text for place, text in enumerate(texts)}


def _depth(ratio: float | None) -> float | None:
    """Place a ratio on the colour scale, from -1 to 1; halves and doubles are as far from the middle."""
    if ratio is None:
        return None
    return max(-1.0, min(1.0, math.log(ratio, FULL_COLOUR_AT))) if ratio > 0 else -1.0


def _map_finding(drawn: Sequence[tuple[float, float]], x_label: str, y_label: str, x_title: str, say: Words) -> str:
    x, y = np.log(np.array(drawn, dtype=np.float64)).T
    spread = float(x.std() * y.std())
    together = float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread > 0 else 0.0
    if abs(together) < 0.5:
        return say("map_apart", x=x_title, y=y_label)
    return say("map_rises" if together > 0 else "map_falls", x=x_label, y=y_label)


def _log_axis(values: Sequence[float], to: NumberFormat, title: str = "") -> dict[str, Any]:
    low, high = math.log10(min(values)), math.log10(max(values))
    edge = max(0.06 * (high - low), 0.05)
    steps = (1,) if high - low > 2.5 else (1, 3) if high - low > 1.2 else (1, 2, 5)
    ticks = [
        step * 10.0**decade
        for decade in range(math.floor(low) - 1, math.ceil(high) + 1)
        for step in steps
        if low - edge <= math.log10(step) + decade <= high + edge
    ]
    axis: dict[str, Any] = {
        "type": "log",
        "range": [low - edge, high + edge],
        "tickvals": ticks,
        "ticktext": [to.decimal(tick, max(0, -math.floor(math.log10(tick)))) for tick in ticks],
        "gridcolor": LINE,
        "zeroline": False,
        "fixedrange": True,
    }
    if title:
        axis["title"] = {"text": plain(title), "font": AXIS_FONT}
    return axis


def _places(measure: Measure) -> int:
    return 2 if measure.name in MONEY_MEASURES else 0
