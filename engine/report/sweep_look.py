"""What a sweep's report is about: configurations, feature sets and backends, and how each is named and marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.report.look import PALETTE, Mark
from engine.report.numbers import NumberFormat, known
from engine.report.sweep_words import SweepWords

Row = Mapping[str, Any]
"""One place of the leaderboard, as :func:`engine.sweeps.summary.sweep_summary` writes it."""

BACKEND_COLOURS = (PALETTE[7], PALETTE[4], PALETTE[5], PALETTE[6])
"""Not those of the first feature sets: a backend must not be taken for one of them."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A feature set under a transform, and how it looks on the page.

    Attributes
    ----------
    name
        The feature set's, with the transform where the same set was tried with more than one.
    sign
        Letter on its badge, so that colour is never the only sign.
    rows
        Its places of the leaderboard, best first.
    """

    features: str
    transform: str
    name: str
    sign: str
    colour: str
    ink: str
    symbol: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend and how its curves look."""

    id: str
    name: str
    colour: str
    symbol: str
    glyph: str


def cells_of(board: Sequence[Row], say: SweepWords) -> list[Cell]:
    """Return the feature sets and transforms of a leaderboard, the best placed first."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in board:
        groups.setdefault((row["features"], row["transform"]), []).append(row)
    alone = len({features for features, _ in groups}) == len(groups)
    cells = []
    for place, ((features, transform), rows) in enumerate(groups.items(), 1):
        name = features if alone else say.treated(features, transform)
        mark = Mark.of("", place, name)
        look = (mark.colour, mark.ink, mark.symbol)
        cells.append(Cell(features, transform, name, letters(place), *look, tuple(rows)))
    return cells


def backends_of(names: Sequence[str], say: SweepWords) -> list[Backend]:
    """Return the backends in the order of the grid, each with its colour and its shape."""
    shapes = (("circle", "●"), ("square", "■"), ("diamond", "◆"), ("triangle-up", "▲"))
    return [
        Backend(name, say.short(name), BACKEND_COLOURS[place % len(BACKEND_COLOURS)], *shapes[place % len(shapes)])
        for place, name in enumerate(names)
    ]


def letters(place: int) -> str:
    """Count in letters, from 1.

    Examples
    --------
    >>> [letters(place) for place in (1, 26, 27, 703)]
    ['A', 'Z', 'AA', 'AAA']
    """
    text = ""
    while place:
        place, letter = divmod(place - 1, 26)
        text = chr(ord("A") + letter) + text
    return text


def choice_of(row: Row, cells: Mapping[tuple[str, str], Cell], say: SweepWords) -> str:
    """Name a configuration in a line.

    Examples
    --------
    >>> row = {"features": "rfm", "transform": "log", "backend": "faiss", "k": 4}
    >>> say = SweepWords("en")
    >>> [cell] = cells_of([row], say)
    >>> choice_of(row, {("rfm", "log"): cell}, say)
    'rfm, FAISS, k = 4'
    """
    name = cells[row["features"], row["transform"]].name
    return f"{name}, {say.short(row['backend'])}, k = {row['k']}"


def label(name: str, say: SweepWords) -> str:
    """Return what readers call a figure.

    Examples
    --------
    >>> label("bootstrap_stability", SweepWords("en"))
    'Bootstrap stability'
    """
    return say("bootstrap" if name == "bootstrap_stability" else name)


def figure(row: Row, name: str, say: SweepWords, to: NumberFormat) -> str:
    """Write one figure of a configuration, with its standard error where there is one.

    Examples
    --------
    >>> row = {"gap": 0.5, "gap_error": 0.012, "explained": 0.773}
    >>> say, to = SweepWords("es"), NumberFormat("en")
    >>> figure(row, "gap", say, to), figure(row, "explained", say, to), figure(row, "silhouette", say, to)
    ('0.500 ± 0.012', '77.3%', '–')

    An error of exactly 0 comes from all customers, or from resamples that all agree, and is not written.
    """
    value = row.get(name)
    if name in ("explained", "smallest_share", "largest_share"):
        return to.percent(value)
    if name == "calinski_harabasz":
        return to.decimal(value, 1)
    written = to.decimal(value, 3)
    error = row.get(f"{name}_error")
    if not (known(value) and known(error) and error):
        return written
    return say("plus_minus", value=written, error=to.decimal(error, 3 if error >= 0.0005 else 5))


def is_same(row: Row, other: Row | None) -> bool:
    """Tell whether two rows are the same choice; nothing is the same as None."""
    return other is not None and all(row[key] == other[key] for key in ("features", "transform", "backend", "k"))


def any_known(board: Sequence[Row], name: str) -> bool:
    """Tell whether a figure is known of some configuration."""
    return any(known(row.get(name)) for row in board)
