"""The drawings of the pages: the map of customers, and a customer's orders by month.

As in the report a chart is plain Plotly data and layout, with SVG traces only: WebGL ones fail without a word under
our content policy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.report.look import AXIS_FONT, INK, LINE, PALETTE, PAPER, Chart, base_layout, plain
from engine.report.numbers import NumberFormat
from engine.serving.pages.map import Atlas
from engine.serving.pages.model import ModelView
from engine.serving.pages.words import PageWords

STAR = "#111111"

MAP_WIDTH, MAP_HEIGHTS = 1000, (280, 460)
"""Pixels of the map where there is room: its usual width, and the lowest and the greatest height."""

NARROW_MAP_HEIGHT = 300
"""The same as in ``pages.css``."""

SMALL_MARKS_FROM = 9
"""Segments from which the numbered marks are smaller, so that they hide each other less."""


def plane_chart(view: ModelView, atlas: Atlas, place: NDArray[np.float64] | None = None) -> Chart:
    """Draw the map: a sample of customers, the centres of the segments, and the place of one customer if given.

    Parameters
    ----------
    place
        Shape (2,), where the customer lies.
    """
    say = view.say
    data: list[dict[str, object]] = []
    for cluster in view.ranked:
        mark, own = view.marks[cluster], atlas.clusters == cluster
        if own.any():
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": atlas.points[own, 0].round(4).tolist(),
                    "y": atlas.points[own, 1].round(4).tolist(),
                    "marker": {
                        "color": mark.colour,
                        "symbol": mark.symbol,
                        "size": 6,
                        "opacity": 0.5,
                        "line": {"width": 0},
                    },
                    "hovertext": plain(mark.name),
                    "hoverinfo": "text",
                }
            )
    few = view.model.k < SMALL_MARKS_FROM
    # The best segment last: it is drawn above the others.
    for cluster in reversed(view.ranked):
        mark, (x, y) = view.marks[cluster], atlas.centres[cluster].tolist()
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "x": [x],
                "y": [y],
                "text": [f"<b>{mark.rank}</b>"],
                "textfont": {"color": mark.ink, "size": 13 if few else 11},
                "marker": {
                    "color": mark.colour,
                    "symbol": mark.symbol,
                    "size": 26 if few else 20,
                    "line": {"color": PAPER, "width": 2.5},
                },
                "hovertext": [plain(mark.name)],
                "hoverinfo": "text",
            }
        )
    if place is not None:
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [float(place[0])],
                "y": [float(place[1])],
                "marker": {"color": STAR, "symbol": "star", "size": 20, "line": {"color": PAPER, "width": 2}},
                "hovertext": [say("this_customer")],
                "hoverinfo": "text",
            }
        )
    axis = {"showticklabels": False, "zeroline": False, "showgrid": True, "gridcolor": LINE, "fixedrange": True}
    height = _map_height(atlas, place)
    layout = base_layout(
        view.to,
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        xaxis=axis,
        # Distances on the map are distances: both directions have one scale.
        yaxis={**axis, "scaleanchor": "x", "scaleratio": 1},
    )
    narrow = {"height": NARROW_MAP_HEIGHT}
    return Chart("chart-map", say("plane_finding"), say("plane_alt"), data, layout, {"height": height}, narrow)


def _map_height(atlas: Atlas, place: NDArray[np.float64] | None) -> int:
    """Return how high the map must be to show everybody at its usual width: a flat cloud needs no tall map."""
    shown = np.concatenate([atlas.centres, atlas.points, *([] if place is None else [place[None, :]])])
    wide, high = np.ptp(shown, axis=0)
    lowest, greatest = MAP_HEIGHTS
    return round(min(max(MAP_WIDTH * high / wide, lowest), greatest)) if wide > 0 else lowest


def months_chart(
    months: Sequence[str], orders: Sequence[int], amounts: Sequence[str], say: PageWords, to: NumberFormat
) -> Chart:
    """Draw a bar for each month.

    Parameters
    ----------
    months
        As the reader writes them, without gaps.
    orders
        How many in each.
    amounts
        What they came to, as text.
    """
    items = [
        say("months_item_one" if count == 1 else "months_item", month=month, n=to.whole(count), amount=amount)
        for month, count, amount in zip(months, orders, amounts, strict=True)
    ]
    bars = {
        "type": "bar",
        "x": list(months),
        "y": list(orders),
        "marker": {"color": PALETTE[0]},
        "hovertext": items,
        "hoverinfo": "text",
    }
    most = max(orders, default=0)
    layout = base_layout(
        to,
        height=240,
        margin={"l": 36, "r": 8, "t": 12, "b": 56},
        bargap=0.25,
        xaxis={"type": "category", "fixedrange": True, "tickfont": AXIS_FONT, "automargin": True, "nticks": 12},
        yaxis={
            "gridcolor": LINE,
            "zerolinecolor": INK,
            "fixedrange": True,
            "rangemode": "tozero",
            "dtick": 1 if most <= 5 else None,
            "tickformat": ",d",
        },
    )
    bought = [item for item, count in zip(items, orders, strict=True) if count]
    return Chart(
        "chart-months",
        say("months_help"),
        f"{say('months_alt')} {'; '.join(bought)}.",
        [bars],
        layout,
        wide={"xaxis.nticks": 14},
        narrow={"xaxis.nticks": 6},
    )
