"""Indicators: a few figures about a segment, relative to the population, that naming rules can speak about.

All come from a profile alone (customers, rank and means of each segment), so names can be worked out by hand.

=============== ==================================================================================== =======
kind            meaning                                                                              values
=============== ==================================================================================== =======
``ratio``       segment mean / population mean, averaged over the measures; 1 is the average         0 to ∞
                customer
``peak``        the same, of the measure on which it is highest: below 1 all lie below the average   0 to ∞
``standing``    share of customers in segments with a lower mean, plus half of those in segments     0 to 1
                with the same mean, averaged over the measures; 0.5 is the middle of the customers,
                whatever one giant does to the mean
``quotient``    segment mean of the first measure / segment mean of the second                       0 to ∞
``from_top``    place among the model's segments by standing, 1 for the highest                      1 to k
``from_bottom`` the same from the other end, 1 for the lowest                                        1 to k
``leading``     place by standing among the segments that reach the average on the first measure;    1 to k
                those that do not come after them
=============== ==================================================================================== =======

The standing is the ridit of I. D. J. Bross, "How to use ridit analysis", Biometrics 14 (1958), of the segments in the
order of their means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from engine.errors import ColumnsMissingError, DataError, SettingError
from engine.schema import require_columns

KINDS: Mapping[str, tuple[float, float]] = {
    "ratio": (0.0, math.inf),
    "peak": (0.0, math.inf),
    "standing": (0.0, 1.0),
    "quotient": (0.0, math.inf),
    "from_top": (1.0, math.inf),
    "from_bottom": (1.0, math.inf),
    "leading": (1.0, math.inf),
}
"""Each kind of indicator with the half-open interval that its values lie in."""

EXACT = 12
"""Decimals of a ratio."""


@dataclass(frozen=True, slots=True)
class Indicator:
    """One figure per segment.

    Attributes
    ----------
    name
        What rules call it.
    kind
        One of :data:`KINDS`.
    measures
        Columns that it is made of. Those that a profile lacks are left out, except by ``quotient``, which
        needs its two; at least one must be there.
    """

    name: str
    kind: str
    measures: tuple[str, ...]

    @property
    def domain(self) -> tuple[float, float]:
        """Lowest possible value, and the value that all are below."""
        return KINDS[self.kind]

    @classmethod
    def from_mapping(cls, name: str, raw: object, *, where: str) -> Indicator:
        """Check and build from ``{"kind": ..., "measures": [...]}``.

        Raises
        ------
        SettingError
            The kind is unknown, or the measures are not a list of names of the right length.
        """
        if not isinstance(raw, Mapping) or set(raw) != {"kind", "measures"}:
            raise SettingError(f"{where}: expected {{kind: ..., measures: [...]}}; got {raw!r}.")
        kind, measures = raw["kind"], raw["measures"]
        if kind not in KINDS:
            raise SettingError.from_unknown(f"{where}.kind", kind, KINDS)
        if (
            not isinstance(measures, list | tuple)
            or not measures
            or not all(isinstance(measure, str) for measure in measures)
        ):
            raise SettingError(f"{where}.measures: expected a list of column names; got {measures!r}.")
        if kind == "quotient" and len(measures) != 2:
            raise SettingError(f"{where}.measures: a quotient has two measures; got {measures!r}.")
        return cls(name, kind, tuple(measures))

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`from_mapping` reads."""
        return {"kind": self.kind, "measures": list(self.measures)}


def evaluate(indicators: Sequence[Indicator], table: pl.DataFrame) -> list[dict[str, float]]:
    """Return the indicators of each segment.

    Parameters
    ----------
    indicators
        What to work out.
    table
        A profile: one row per segment with ``customers``, ``rank`` and ``<measure>_mean``, and
        ``<measure>_missing`` where some customers have no value.

    Returns
    -------
    list of dict
        Indicator by name, for each row.

    Raises
    ------
    ColumnsMissingError
        The profile has none of an indicator's measures.
    DataError
        A segment has no value for any of an indicator's measures.

    Examples
    --------
    >>> table = pl.DataFrame({"customers": [1, 3], "rank": [1, 2], "monetary_mean": [50.0, 10.0]})
    >>> level = Indicator("level", "ratio", ("monetary",))
    >>> standing = Indicator("standing", "standing", ("monetary",))
    >>> evaluate([level, standing], table)
    [{'level': 2.5, 'standing': 0.875}, {'level': 0.5, 'standing': 0.375}]
    """
    require_columns(table.columns, ["customers", "rank"], where="naming")
    columns = {indicator.name: _VALUES[indicator.kind](_present(indicator, table)) for indicator in indicators}
    return [{name: values[row] for name, values in columns.items()} for row in range(table.height)]


@dataclass(frozen=True, slots=True)
class _Means:
    """Segment means of an indicator's measures, with what is needed to weigh them."""

    indicator: str
    customers: list[int]
    ranks: list[int]
    means: dict[str, list[float | None]]
    known: dict[str, list[int]]


def _present(indicator: Indicator, table: pl.DataFrame) -> _Means:
    there = [measure for measure in indicator.measures if f"{measure}_mean" in table.columns]
    needed = len(indicator.measures) if indicator.kind == "quotient" else 1
    if len(there) < needed:
        raise ColumnsMissingError.from_missing(
            [measure for measure in indicator.measures if measure not in there],
            [name.removesuffix("_mean") for name in table.columns if name.endswith("_mean")],
            where=f"naming, indicator {indicator.name!r}",
            hint="Add the measure to features.columns, or choose another rule table with segments.rules.",
        )
    customers: list[int] = table["customers"].to_list()
    known: dict[str, list[int]] = {}
    for measure in there:
        missing = f"{measure}_missing"
        absent = table[missing].to_list() if missing in table.columns else [0] * len(customers)
        known[measure] = [count - lacking for count, lacking in zip(customers, absent, strict=True)]
    means: dict[str, list[float | None]] = {name: table[f"{name}_mean"].to_list() for name in there}
    return _Means(indicator.name, customers, table["rank"].to_list(), means, known)


def _values(parts: Mapping[str, list[float | None]], given: _Means) -> list[list[float]]:
    """Return the values that each segment has."""
    rows = []
    for row in range(len(given.customers)):
        values = [value for column in parts.values() if (value := column[row]) is not None]
        if not values:
            raise DataError(
                f"naming: no customer of cluster {row} has a value of {', '.join(given.means)}, which the"
                f" indicator {given.indicator!r} needs. Choose another rule table with segments.rules."
            )
        rows.append(values)
    return rows


def _average(parts: Mapping[str, list[float | None]], given: _Means) -> list[float]:
    return [math.fsum(values) / len(values) for values in _values(parts, given)]


def _ratios(given: _Means) -> dict[str, list[float | None]]:
    parts: dict[str, list[float | None]] = {}
    for measure, means in given.means.items():
        weights = given.known[measure]
        total = math.fsum(mean * count for mean, count in zip(means, weights, strict=True) if mean is not None)
        # Where the population's mean is nothing or less, "times the average" has no meaning: nobody stands out.
        overall = total / sum(weights) if total > 0 else 0.0
        # Rounded, so that a segment that is the average is 1 and not the last bit below it.
        parts[measure] = [
            None if mean is None else round(max(mean, 0.0) / overall, EXACT) if overall else 1.0 for mean in means
        ]
    return parts


def _ratio(given: _Means) -> list[float]:
    return _average(_ratios(given), given)


def _peak(given: _Means) -> list[float]:
    return [max(values) for values in _values(_ratios(given), given)]


def _standing(given: _Means) -> list[float]:
    parts: dict[str, list[float | None]] = {}
    for measure, means in given.means.items():
        pairs = [(mean, count) for mean, count in zip(means, given.known[measure], strict=True) if mean is not None]
        everybody = sum(count for _, count in pairs)
        parts[measure] = [
            None
            if mean is None
            else sum(count * (2 * (other < mean) + (other == mean)) for other, count in pairs) / (2 * everybody)
            for mean in means
        ]
    return _average(parts, given)


def _quotient(given: _Means) -> list[float]:
    above, below = (_average({name: means}, given) for name, means in given.means.items())
    return [
        0.0 if top <= 0 else top / bottom if bottom > 0 else math.inf for top, bottom in zip(above, below, strict=True)
    ]


def _from_top(given: _Means) -> list[float]:
    standing = _standing(given)
    order = sorted(range(len(standing)), key=lambda row: (-standing[row], given.ranks[row]))
    return [float(order.index(row) + 1) for row in range(len(order))]


def _from_bottom(given: _Means) -> list[float]:
    return [len(given.customers) + 1 - place for place in _from_top(given)]


def _leading(given: _Means) -> list[float]:
    first = _ratios(given)[next(iter(given.means))]
    reaches = [ratio is not None and ratio >= 1 for ratio in first]
    places = _from_top(given)
    order = sorted(range(len(places)), key=lambda row: (not reaches[row], places[row]))
    return [float(order.index(row) + 1) for row in range(len(order))]


_VALUES: Mapping[str, Callable[[_Means], list[float]]] = {
    "ratio": _ratio,
    "peak": _peak,
    "standing": _standing,
    "quotient": _quotient,
    "from_top": _from_top,
    "from_bottom": _from_bottom,
    "leading": _leading,
}
