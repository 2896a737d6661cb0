"""Rules over indicators: half-open intervals, and the proof that exactly one rule fires wherever a segment may lie.

The bounds in a table cut the space of indicators into finitely many cells, and inside a cell no rule changes its
mind. So trying one point of each cell decides coverage and overlap for all segments that can ever come.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import SettingError
from engine.schema import LANGUAGES, Word
from engine.segments.indicators import Indicator

MOST_CELLS = 4_000_000
"""Cells that a check looks at, one byte each; the shipped table has about two thousand."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Values from ``lower`` (in) to ``upper`` (out); infinite where there is no bound."""

    lower: float
    upper: float

    def __contains__(self, value: float) -> bool:
        """Say whether a value lies inside."""
        return self.lower <= value and (value < self.upper or self.upper == math.inf)

    @classmethod
    def from_pair(cls, raw: object, *, where: str) -> Interval:
        """Check and build from ``[lower, upper]``, with null where there is no bound.

        Raises
        ------
        SettingError
            It is no pair of numbers or nulls, or the lower bound is not below the upper one.

        Examples
        --------
        >>> 1.5 in Interval.from_pair([1.5, None], where="rule")
        True
        """
        if not isinstance(raw, list | tuple) or len(raw) != 2 or not all(_is_bound(bound) for bound in raw):
            raise SettingError(f"{where}: expected [lower, upper], null for no bound; got {raw!r}.")
        lower = -math.inf if raw[0] is None else float(raw[0])
        upper = math.inf if raw[1] is None else float(raw[1])
        if not lower < upper:
            raise SettingError(f"{where}: the lower bound must be below the upper one; got {raw!r}.")
        return cls(lower, upper)

    def to_pair(self) -> list[float | None]:
        """Return what :meth:`from_pair` reads."""
        return [bound if math.isfinite(bound) else None for bound in (self.lower, self.upper)]


@dataclass(frozen=True, slots=True)
class Rule:
    """A name and the conditions under which a segment bears it.

    Attributes
    ----------
    key
        Short name in the table.
    name, description, action
        What the reader sees.
    when
        Alternatives; the rule fires where every interval of at least one of them holds. An indicator that an
        alternative does not mention may have any value.
    """

    key: str
    name: Word
    description: Word
    action: Word
    when: tuple[Mapping[str, Interval], ...]

    def fires(self, values: Mapping[str, float]) -> bool:
        """Say whether a segment with these indicators bears the name."""
        return any(all(values[name] in interval for name, interval in alternative.items()) for alternative in self.when)

    @classmethod
    def from_mapping(cls, raw: object, indicators: Sequence[str], *, where: str) -> Rule:
        """Check and build from a table's mapping; ``indicators`` are the names that it may speak of.

        Raises
        ------
        SettingError
            A key is missing or unknown, a language is missing, or an interval is impossible.
        """
        fields = read_keys(raw, ("key", "name", "description", "action", "when"), where=where)
        key, when = fields["key"], fields["when"]
        if not isinstance(key, str) or not key:
            raise SettingError(f"{where}.key: expected a short text; got {key!r}.")
        where = f"{where} ({key!r})"
        if not isinstance(when, list | tuple) or not when:
            raise SettingError(f"{where}.when: expected a list of alternatives; got {when!r}.")
        return cls(
            key,
            read_word(fields["name"], where=f"{where}.name"),
            read_word(fields["description"], where=f"{where}.description"),
            read_word(fields["action"], where=f"{where}.action"),
            tuple(
                _read_alternative(one, indicators, where=f"{where}.when[{number}]") for number, one in enumerate(when)
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`from_mapping` reads."""
        return {
            "key": self.key,
            "name": self.name.to_dict(),
            "description": self.description.to_dict(),
            "action": self.action.to_dict(),
            "when": [{name: one.to_pair() for name, one in parts.items()} for parts in self.when],
        }


def check_cover(indicators: Sequence[Indicator], rules: Sequence[Rule], *, where: str) -> None:
    """Raise unless exactly one rule fires for every possible combination of indicators.

    Raises
    ------
    SettingError
        Some combinations have no rule, or two; for every kind of failure the message has the number of cells and
        one of them. Or the table has more than :data:`MOST_CELLS` cells.
    """
    edges = [_edges(indicator, rules) for indicator in indicators]
    shape = tuple(len(one) - 1 for one in edges)
    if math.prod(shape) > MOST_CELLS:
        raise SettingError(
            f"{where}: its bounds make {math.prod(shape):,} cells, more than the {MOST_CELLS:,} that can be checked."
            " Use fewer indicators or fewer different bounds."
        )
    fired = [_mask(rule, indicators, edges, shape) for rule in rules]
    failures = []
    uncovered = ~np.logical_or.reduce(fired)
    if uncovered.any():
        failures.append(
            f"no rule fires in {int(uncovered.sum())} of {uncovered.size} cells,"
            f" e.g. {_cell(uncovered, indicators, edges)}"
        )
    for first in range(len(rules)):
        for second in range(first + 1, len(rules)):
            both = fired[first] & fired[second]
            if both.any():
                failures.append(
                    f"{rules[first].key!r} and {rules[second].key!r} both fire in {int(both.sum())} cells,"
                    f" e.g. {_cell(both, indicators, edges)}"
                )
    if failures:
        raise SettingError(f"{where}: every segment must get exactly one name, but {'; '.join(failures)}.")


def read_word(raw: object, *, where: str) -> Word:
    """Check and build a :class:`Word` from ``{"en": ..., "es": ...}``.

    Raises
    ------
    SettingError
        A language is missing, unknown or empty.

    Examples
    --------
    >>> read_word({"en": "new", "es": "nuevos"}, where="words")
    Word(en='new', es='nuevos')
    """
    fields = read_keys(raw, LANGUAGES, where=where)
    for language, text in fields.items():
        if not isinstance(text, str) or not text.strip():
            raise SettingError(f"{where}.{language}: expected a text; got {text!r}.")
    return Word(fields["en"].strip(), fields["es"].strip())


def read_keys(raw: object, keys: Sequence[str], *, where: str) -> dict[str, Any]:
    """Return a mapping that has exactly the keys, in their order.

    Raises
    ------
    SettingError
        It is no mapping, lacks a key, or has one too many.
    """
    if not isinstance(raw, Mapping):
        raise SettingError(f"{where}: expected a mapping with {', '.join(keys)}; got {raw!r}.")
    for name in raw:
        if name not in keys:
            raise SettingError.from_unknown(where, name, keys)
    lacking = [name for name in keys if name not in raw]
    if lacking:
        raise SettingError(f"{where}: {', '.join(lacking)} missing; expected {', '.join(keys)}.")
    return {name: raw[name] for name in keys}


def _read_alternative(raw: object, indicators: Sequence[str], *, where: str) -> Mapping[str, Interval]:
    if not isinstance(raw, Mapping):
        raise SettingError(f"{where}: expected a mapping of indicators to [lower, upper]; got {raw!r}.")
    for name in raw:
        if name not in indicators:
            raise SettingError.from_unknown(where, name, indicators)
    return {name: Interval.from_pair(bounds, where=f"{where}.{name}") for name, bounds in raw.items()}


def _is_bound(value: object) -> bool:
    # YAML's true and false are numbers in Python, but no bounds.
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value))


def _edges(indicator: Indicator, rules: Sequence[Rule]) -> list[float]:
    """Return the lower ends of an indicator's cells, and the end of the last."""
    lowest, end = indicator.domain
    bounds = {
        bound
        for rule in rules
        for alternative in rule.when
        if indicator.name in alternative
        for bound in (alternative[indicator.name].lower, alternative[indicator.name].upper)
        if lowest < bound < end
    }
    return [lowest, *sorted(bounds), end]


def _mask(
    rule: Rule, indicators: Sequence[Indicator], edges: Sequence[list[float]], shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Return where a rule fires, one entry per cell."""
    fires = np.zeros(shape, dtype=np.bool_)
    for alternative in rule.when:
        holds = np.ones(shape, dtype=np.bool_)
        for axis, indicator in enumerate(indicators):
            if indicator.name in alternative:
                inside = [lower in alternative[indicator.name] for lower in edges[axis][:-1]]
                holds &= np.array(inside).reshape([-1 if one == axis else 1 for one in range(len(shape))])
        fires |= holds
    return fires


def _cell(cells: NDArray[np.bool_], indicators: Sequence[Indicator], edges: Sequence[list[float]]) -> str:
    """Write the first marked cell out."""
    place = np.argwhere(cells)[0]
    parts = []
    for indicator, ends, number in zip(indicators, edges, place, strict=True):
        end = ends[number + 1]
        parts.append(f"{indicator.name} {ends[number]:g} to {'∞' if end == math.inf else f'{end:g}'}")
    return ", ".join(parts)
