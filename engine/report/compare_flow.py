"""The flow of customers between two runs, drawn as SVG in the page itself: bands between two columns of segments.

It needs no script. The drawing stretches with the page; labels are text beside it, at heights in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.report.look import INK, PALETTE, luminance
from engine.report.words import Words
from engine.segments.migration import GONE, NEW

BARS_HEIGHT, GAP = 340.0, 44.0
"""Height of all bars of a column together, and the room between two of them (a label has two lines), in pixels."""

WIDTH, BAR = 100.0, 1.4
"""Units across the drawing, and of these the width of a bar."""

OUTSIDE_COLOUR = "#a9a49a"


@dataclass(frozen=True, slots=True)
class Node:
    """How a segment of one run, or the customers outside it, look everywhere in the page.

    A segment and its match have one colour; the sign is the rank in the segment's own run.
    """

    id: str
    sign: str
    name: str
    colour: str
    ink: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A segment in the drawing: its place and its customers."""

    node: Node
    customers: int
    top: float
    height: float

    @property
    def middle(self) -> float:
        """Height of the label, in pixels from the top."""
        return self.top + self.height / 2


@dataclass(frozen=True, slots=True)
class Band:
    """Customers who go from a segment to another: an outline for an SVG path."""

    start: Node
    end: Node
    customers: int
    outline: str
    stays: bool


@dataclass(frozen=True, slots=True)
class Flow:
    """The drawing: two columns of bars and the bands between them, in a box of :attr:`height` pixels."""

    before: tuple[Bar, ...]
    after: tuple[Bar, ...]
    bands: tuple[Band, ...]
    height: float


def nodes(content: Mapping[str, Any], say: Words) -> tuple[dict[str, Node], dict[str, Node]]:
    """Return the looks of the segments before and after, by id in order of rank, then those outside."""
    heirs = {pair["after_segment_id"]: pair["before_segment_id"] for pair in content["pairs"]}
    before = {one["segment_id"]: _node(one, place, say) for place, one in enumerate(content["before"]["segments"])}
    after, used = {}, len(before)
    for one in content["after"]["segments"]:
        heir = heirs.get(one["segment_id"])
        place = used if heir is None else list(before).index(heir)
        used += heir is None
        after[one["segment_id"]] = _node(one, place, say)
    if content["new_customers"]:
        before[NEW] = Node(NEW, "+", say("new"), OUTSIDE_COLOUR, INK)
    if content["gone_customers"]:
        after[GONE] = Node(GONE, "−", say("gone"), OUTSIDE_COLOUR, INK)
    return before, after


def flow(content: Mapping[str, Any], before: Mapping[str, Node], after: Mapping[str, Node]) -> Flow:
    """Lay out the drawing.

    Parameters
    ----------
    content
        Of :meth:`engine.segments.compare.Comparison.to_dict`.
    before, after
        Of :func:`nodes`.
    """
    cells = {(one["from_segment_id"], one["to_segment_id"]): one["customers"] for one in content["migration"]}
    matches = {(pair["before_segment_id"], pair["after_segment_id"]) for pair in content["pairs"]}
    everybody = sum(cells.values())
    left = {key: sum(cells.get((key, end), 0) for end in after) for key in before}
    right = {key: sum(cells.get((start, key), 0) for start in before) for key in after}
    first, second = (
        _column([(looks[key], count) for key, count in counts.items() if count], everybody)
        for looks, counts in ((before, left), (after, right))
    )
    starts, ends = ({bar.node.id: bar.top for bar in column} for column in (first, second))
    bands = []
    for start in before:
        for end in after:
            customers = cells.get((start, end), 0)
            if not customers:
                continue
            height = BARS_HEIGHT * customers / everybody
            outline = _outline(starts[start], ends[end], height)
            bands.append(Band(before[start], after[end], customers, outline, (start, end) in matches))
            starts[start] += height
            ends[end] += height
    bottom = max(bar.top + bar.height for bar in (*first, *second))
    return Flow(tuple(first), tuple(second), tuple(bands), bottom + GAP / 2)


def _node(segment: Mapping[str, Any], place: int, say: Words) -> Node:
    colour = PALETTE[place % len(PALETTE)]
    ink = "#ffffff" if luminance(colour) < 0.3 else INK
    return Node(segment["segment_id"], str(segment["rank"]), say.of(segment["name"]), colour, ink)


def _column(counts: Sequence[tuple[Node, int]], everybody: int) -> list[Bar]:
    bars, top = [], GAP / 2
    for node, customers in counts:
        height = BARS_HEIGHT * customers / everybody
        bars.append(Bar(node, customers, top, height))
        top += height + GAP
    return bars


def _outline(left: float, right: float, height: float) -> str:
    """Return the path of a band: two level ends, joined by curves."""
    near, far, middle = BAR, WIDTH - BAR, WIDTH / 2

    def curve(x: float, start: float, end: float) -> str:
        return f"C{middle:g},{start:.2f} {middle:g},{end:.2f} {x:g},{end:.2f}"

    return (
        f"M{near:g},{left:.2f}{curve(far, left, right)}V{right + height:.2f}"
        f"{curve(near, right + height, left + height)}Z"
    )
