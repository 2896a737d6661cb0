"""Names from a rule table: each segment gets the name that its figures call for, never that of its cluster number.

A table says which indicators it looks at, which intervals of them make which name, and by which words segments of
the same name are told apart. It is checked when it is loaded: wherever a segment may lie, exactly one rule fires.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl

from engine.errors import SettingError, SourceNotFoundError
from engine.schema import LANGUAGES, Word
from engine.segments.indicators import Indicator, evaluate
from engine.segments.rules import Rule, check_cover, read_keys, read_word

__all__ = ["Distinction", "NamedSegment", "RuleTable", "preset_names"]

SEPARATOR = " · "
CLEAR_GAP = math.log(1.1)
"""Gap on the scale log(1 + x) from which a word may tell two segments apart: about one tenth."""


@dataclass(frozen=True, slots=True)
class Distinction:
    """The words for standing above or below segments of the same name on one measure."""

    measure: str
    high: Word
    low: Word

    @classmethod
    def from_mapping(cls, raw: object, *, where: str) -> Distinction:
        """Check and build from ``{"measure": ..., "high": ..., "low": ...}``."""
        fields = read_keys(raw, ("measure", "high", "low"), where=where)
        if not isinstance(fields["measure"], str):
            raise SettingError(f"{where}.measure: expected a column name; got {fields['measure']!r}.")
        return cls(
            fields["measure"],
            read_word(fields["high"], where=f"{where}.high"),
            read_word(fields["low"], where=f"{where}.low"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`from_mapping` reads."""
        return {"measure": self.measure, "high": self.high.to_dict(), "low": self.low.to_dict()}


@dataclass(frozen=True, slots=True)
class NamedSegment:
    """What a rule table says about one segment.

    Attributes
    ----------
    rule
        Key of the rule that fired.
    name
        Unique within the model, in both languages.
    description, action
        Of the rule.
    indicators
        The figures that decided.
    """

    rule: str
    name: Word
    description: Word
    action: Word
    indicators: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RuleTable:
    """Rules that give every possible segment exactly one name.

    Attributes
    ----------
    source
        Name of the preset or the file, for messages.
    indicators
        The figures that rules speak of.
    rules
        In the order of the table.
    words
        What tells segments of the same name apart.
    between
        For the one among three or more that stands out in nothing.
    """

    source: str
    indicators: tuple[Indicator, ...]
    rules: tuple[Rule, ...]
    words: tuple[Distinction, ...]
    between: Word

    @classmethod
    def load(cls, name_or_path: str | Path) -> RuleTable:
        """Read a preset by its name, or a YAML file by its path, and check it.

        Raises
        ------
        SettingError
            There is no such preset, or the table is wrong; the message names the place.
        SourceNotFoundError
            There is no such file.

        Examples
        --------
        >>> [rule.name.es for rule in RuleTable.load("retail").rules][:2]
        ['Clientes usuarios', 'Clientes potenciales']
        """
        import yaml

        text = _read(name_or_path)
        try:
            raw = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SettingError(f"segments.rules={name_or_path}: the file is not valid YAML: {error}") from error
        return cls.from_mapping(raw, source=f"segments.rules={name_or_path}")

    @classmethod
    def from_mapping(cls, raw: object, *, source: str = "segments.rules") -> RuleTable:
        """Check and build from plain data, as YAML or JSON has it.

        Raises
        ------
        SettingError
            A key is unknown or missing, a language is missing, an interval is impossible, two rules or words
            read the same, or :meth:`check` fails.
        """
        fields = read_keys(raw, ("indicators", "rules", "words", "between"), where=source)
        named = fields["indicators"]
        if not isinstance(named, Mapping) or not named:
            raise SettingError(f"{source}.indicators: expected names with their definitions; got {named!r}.")
        table = cls(
            source,
            tuple(
                Indicator.from_mapping(str(name), one, where=f"{source}.indicators.{name}")
                for name, one in named.items()
            ),
            tuple(
                Rule.from_mapping(one, [str(name) for name in named], where=f"{source}.rules[{number}]")
                for number, one in enumerate(_items(fields["rules"], where=f"{source}.rules"))
            ),
            tuple(
                Distinction.from_mapping(one, where=f"{source}.words[{number}]")
                for number, one in enumerate(_items(fields["words"], where=f"{source}.words"))
            ),
            read_word(fields["between"], where=f"{source}.between"),
        )
        table.check()
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`from_mapping` reads, fit for JSON."""
        return {
            "indicators": {indicator.name: indicator.to_dict() for indicator in self.indicators},
            "rules": [rule.to_dict() for rule in self.rules],
            "words": [word.to_dict() for word in self.words],
            "between": self.between.to_dict(),
        }

    def check(self) -> None:
        """Raise :class:`SettingError` unless every possible segment gets exactly one, unmistakable name."""
        if not self.rules:
            raise SettingError(f"{self.source}.rules: expected at least one rule.")
        words = [word for one in self.words for word in (one.high, one.low)]
        _check_distinct([rule.key for rule in self.rules], where=f"{self.source}.rules, key")
        for language in LANGUAGES:
            names = [rule.name.text(language) for rule in self.rules]
            _check_distinct(names, where=f"{self.source}.rules, name.{language}")
            suffixes = [word.text(language) for word in (*words, self.between)]
            _check_distinct(suffixes, where=f"{self.source}.words and between, {language}")
            for text in (*names, *suffixes):
                if SEPARATOR in text or text.isdigit():
                    raise SettingError(
                        f"{self.source}: {text!r} holds {SEPARATOR!r} or is a number, which tell segments of"
                        " the same name apart. Write it otherwise."
                    )
        check_cover(self.indicators, self.rules, where=self.source)

    def name(self, profile: pl.DataFrame) -> list[NamedSegment]:
        """Name the segments of one model.

        Parameters
        ----------
        profile
            One row per segment with ``customers``, ``rank`` and ``<measure>_mean`` for the measures of the
            indicators (see :func:`engine.segments.profile.profile`).

        Returns
        -------
        list of NamedSegment
            In the order of the rows. No two have the same name.

        Raises
        ------
        ColumnsMissingError
            The profile lacks what an indicator is made of.

        Examples
        --------
        >>> table = pl.DataFrame(
        ...     {
        ...         "customers": [300, 100], "rank": [2, 1], "monetary_mean": [40.0, 900.0],
        ...         "frequency_mean": [1.2, 9.0], "recency_days_mean": [200.0, 9.0],
        ...         "tenure_days_mean": [230.0, 300.0],
        ...     }
        ... )
        >>> [segment.name.es for segment in RuleTable.load("retail").name(table)]
        ['Baja frecuencia, unidades y facturación', 'Clientes usuarios']
        """
        values = evaluate(self.indicators, profile)
        fired = [next(rule for rule in self.rules if rule.fires(one)) for one in values]
        suffixes = self._suffixes(profile, [rule.key for rule in fired])
        return [
            NamedSegment(rule.key, _with_suffix(rule.name, suffix), rule.description, rule.action, one)
            for rule, suffix, one in zip(fired, suffixes, values, strict=True)
        ]

    def _suffixes(self, profile: pl.DataFrame, keys: Sequence[str]) -> list[Word | None]:
        """Return what to add to each name: nothing where it is the only one of its rule."""
        suffixes: list[Word | None] = [None] * len(keys)
        ranks = profile["rank"].to_list()
        for key in set(keys):
            namesakes = sorted((row for row in range(len(keys)) if keys[row] == key), key=ranks.__getitem__)
            if len(namesakes) == 1:
                continue
            for row in namesakes:
                suffixes[row] = self._distinction(profile, row, [one for one in namesakes if one != row])
            plain = [row for row in namesakes if suffixes[row] is None]
            for row in plain:
                numeral = str(namesakes.index(row) + 1)
                alone = len(plain) == 1 and len(namesakes) > 2
                suffixes[row] = self.between if alone else Word(numeral, numeral)
        return suffixes

    def _distinction(self, profile: pl.DataFrame, row: int, others: Sequence[int]) -> Word | None:
        """Return the word for the measure on which a segment is furthest above or below all its namesakes.

        Only one of them can be the highest on a measure, and one the lowest, so no word is used twice.
        """
        best_gap, best = CLEAR_GAP, None
        for one in self.words:
            if f"{one.measure}_mean" not in profile.columns:
                continue
            means = profile[f"{one.measure}_mean"].to_list()
            if means[row] is None or any(means[other] is None for other in others):
                continue
            own, rest = _on_log_scale(means[row]), [_on_log_scale(means[other]) for other in others]
            for gap, word in ((own - max(rest), one.high), (min(rest) - own, one.low)):
                if gap > best_gap:
                    best_gap, best = gap, word
        return best


def preset_names() -> list[str]:
    """Return the names of the rule tables that come with the package.

    Examples
    --------
    >>> "retail" in preset_names()
    True
    """
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in (resources.files("engine.segments") / "presets").iterdir()
        if entry.name.endswith(".yaml")
    )


def _read(name_or_path: str | Path) -> str:
    text = str(name_or_path)
    if text in preset_names():
        return (resources.files("engine.segments") / "presets" / f"{text}.yaml").read_text(encoding="utf-8")
    path = Path(text)
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise SettingError(f"segments.rules={text}: expected a file in UTF-8: {error}") from error
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise SourceNotFoundError(
            f"segments.rules: no file {text!r}. Give the path of a YAML rule table, or one of the presets:"
            f" {', '.join(preset_names())}."
        )
    raise SettingError.from_unknown("segments.rules", text, preset_names())


def _items(raw: object, *, where: str) -> Sequence[object]:
    if not isinstance(raw, list | tuple):
        raise SettingError(f"{where}: expected a list; got {raw!r}.")
    return raw


def _check_distinct(texts: Sequence[str], *, where: str) -> None:
    twice = sorted({text for text in texts if texts.count(text) > 1})
    if twice:
        raise SettingError(f"{where}: expected each text once; got {', '.join(map(repr, twice))} again.")


def _with_suffix(name: Word, suffix: Word | None) -> Word:
    if suffix is None:
        return name
    return Word(f"{name.en}{SEPARATOR}{suffix.en}", f"{name.es}{SEPARATOR}{suffix.es}")


def _on_log_scale(value: float) -> float:
    return math.copysign(math.log1p(abs(value)), value)
