"""How things look in every chart: colours, marks, measures, and the layout that all charts share.

A segment keeps its colour and its number throughout the page, so that colour is never the only sign.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

from engine.report.numbers import NumberFormat
from engine.segments.naming import SEPARATOR

PALETTE = (
    *("#1b5e9e", "#e0812b", "#1f8a70", "#8c4a9e", "#c23b5a"),
    *("#6ba8d6", "#8a6d1f", "#4a5160", "#d98cb3", "#3f6b2f"),
)
"""Told apart by people with the common kinds of colour blindness: neighbours differ in lightness as well as in hue."""

SYMBOLS = ("circle", "diamond", "square", "triangle-up")
"""Shape of a segment's marks: changes each time the colours start anew."""

INK, MUTED, LINE, BAND, ACCENT = "#1d2433", "#5d6573", "#dedad2", "#efece5", "#1b5e9e"
PAPER = "#ffffff"
ABOVE, AVERAGE, BELOW = "#1b5e9e", "#f4f2ed", "#c8661a"
FONT = '-apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'

AXIS_FONT = {"size": 12.5, "color": MUTED}
"""Of the names of axes."""

MONEY_MEASURES = ("monetary", "average_ticket")
"""Shown with two decimals and no unit, since no currency is known."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How one segment looks everywhere in the report."""

    segment_id: str
    rank: int
    name: str
    colour: str
    ink: str
    symbol: str

    @property
    def sign(self) -> str:
        """What its badge says."""
        return str(self.rank)

    @classmethod
    def of(cls, segment_id: str, rank: int, name: str) -> Mark:
        """Give the rank its colour, its shape, and an ink that can be read on the colour."""
        turn, place = divmod(rank - 1, len(PALETTE))
        colour = PALETTE[place]
        ink = "#ffffff" if luminance(colour) < 0.3 else INK
        return cls(segment_id, rank, name, colour, ink, SYMBOLS[turn % len(SYMBOLS)])


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure in the reader's language."""

    name: str
    label: str
    unit: str
    definition: str
    signed: bool = False

    @property
    def shown_unit(self) -> str:
        """Unit to write beside a figure; empty for money and where the label already says it."""
        return "" if self.name in MONEY_MEASURES or self.unit.lower() == self.label.lower() else self.unit

    @property
    def title(self) -> str:
        """Label with its unit, where there is one to name."""
        return f"{self.label} ({self.shown_unit})" if self.shown_unit else self.label


@dataclass(frozen=True, slots=True)
class Chart:
    """One drawing with its words.

    Attributes
    ----------
    finding
        Title: what the chart shows, in one sentence.
    alt
        The same in figures, for who cannot see it.
    wide, narrow
        Layout entries that depend on the room there is.
    min_width
        Pixels below which the chart scrolls in its box rather than shrink.
    names_inside
        Whether the segments are named in the wide chart itself, so that it needs no legend.
    """

    id: str
    finding: str
    alt: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    wide: dict[str, Any]
    narrow: dict[str, Any]
    min_width: int = 0
    names_inside: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return what the page's script needs to draw it."""
        return {
            "id": self.id,
            "data": self.data,
            "layout": self.layout,
            "wide": self.wide,
            "narrow": self.narrow,
        }


def luminance(colour: str) -> float:
    """Relative luminance of a ``#rrggbb`` colour, 0 to 1 (WCAG 2.2).

    Examples
    --------
    >>> luminance("#000000"), round(luminance("#ffffff"), 6)
    (0.0, 1.0)
    """
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def tint(colour: str, strength: float = 0.38) -> str:
    """Mix a colour with white.

    Examples
    --------
    >>> tint("#000000", 0.0), tint("#336699", 1.0)
    ('#ffffff', '#336699')
    """
    mixed = (round(255 + (int(colour[i : i + 2], 16) - 255) * strength) for i in (1, 3, 5))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def plain(text: str) -> str:
    """Keep Plotly, which understands some HTML in its labels, from reading any in a name.

    Examples
    --------
    >>> plain("<b>Fish & chips</b>")
    '&lt;b&gt;Fish &amp; chips&lt;/b&gt;'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def lower_first(text: str) -> str:
    """Write a label inside a sentence.

    Examples
    --------
    >>> lower_first("Facturación"), lower_first("RFM")
    ('facturación', 'RFM')
    """
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def upper_first(text: str) -> str:
    """Write a name at the start of a line.

    Examples
    --------
    >>> upper_first("antes del periodo")
    'Antes del periodo'
    """
    return text[:1].upper() + text[1:]


def shortened(name: str, room: int) -> str:
    """Cut a name to ``room`` characters; what tells namesakes apart, at its end, is the last to go.

    Examples
    --------
    >>> shortened("Customers with potential · those who spend most", 34)
    'Customers… · those who spend most'
    >>> shortened("Customers with potential · those who spend most", 24)
    '… · those who spend most'
    """
    if len(name) <= room:
        return name
    common, separator, own = name.rpartition(SEPARATOR)
    if not separator or len(own) + len(separator) >= room:
        return textwrap.shorten(own, room, placeholder="…")
    return textwrap.shorten(common, room - len(own) - len(separator), placeholder="…") + separator + own


def wrapped(name: str, width: int, most_lines: int) -> str:
    """Break a name into lines for Plotly, and cut it where they are not enough."""
    for room in range(most_lines * width, width - 1, -1):
        lines = textwrap.wrap(shortened(name, room), width)
        if len(lines) <= most_lines:
            break
    return "<br>".join(plain(line) for line in lines)


def heading(text: str, *, above: int = 10) -> dict[str, Any]:
    """Name the vertical axis level at its top, ``above`` pixels over the drawing.

    Examples
    --------
    >>> name = heading("Units & orders")
    >>> name["text"], name["yshift"]
    ('Units &amp; orders', 10)
    """
    return {
        "text": plain(text),
        "x": 0,
        "y": 1,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": above,
        "showarrow": False,
        "font": AXIS_FONT,
    }


def base_layout(to: NumberFormat, **special: Any) -> dict[str, Any]:
    """Return what every chart has in common, with the special entries of one."""
    return {
        "autosize": True,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 13, "color": INK},
        "separators": to.separators,
        "showlegend": False,
        "dragmode": False,
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": MUTED, "activecolor": ACCENT},
        "hoverlabel": {
            "bgcolor": INK,
            "bordercolor": INK,
            "font": {"color": PAPER, "size": 13},
            "align": "left",
        },
        **special,
    }
