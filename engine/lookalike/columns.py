"""Which columns of two or three tables can be compared, made of one kind in all of them, and why the others cannot."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from engine.errors import ColumnsMissingError, DataError, SettingError
from engine.lake.keys import to_key
from engine.lake.numbers import to_money
from engine.lookalike import words
from engine.lookalike.bands import MISSING_WORDS, ordered_bands
from engine.schema import Word

ID = "customer_id"
MOST_BANDS = 50
ENOUGH_TO_TELL = 20
"""Rows from which on "as many values as rows" is no accident."""

NEARLY_ALL = 0.9
"""Share of different values from which on a text is an identifier."""

_NAMES_OF_IDS = re.compile(r"(.*[_ ])?(id|uuid|guid|dni|nif|nie|e_?mail|phone|telefono|teléfono|iban)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Column:
    """A column that every table has, of one kind.

    Attributes
    ----------
    name
        As in the tables.
    kind
        ``number``; ``bands`` (texts that are ranges, in order); or ``text``.
    values
        By table (``seeds``, ``prospects``, ``reference``): Float64 for numbers, otherwise String; null is missing.
    bands
        The ranges from lowest to highest.
    """

    name: str
    kind: str
    values: Mapping[str, pl.Series]
    bands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A column that cannot be compared, and why."""

    name: str
    reason: Word

    def to_dict(self) -> dict[str, Any]:
        """Return it fit for JSON."""
        return {"name": self.name, "reason": self.reason.to_dict()}


@dataclass(slots=True)
class Comparable:
    """What :func:`comparable_columns` found.

    Attributes
    ----------
    columns, left_out
        Together every column of any table but ``customer_id``, in the order of the prospects' table.
    notes
        What a reader must know of the values.
    """

    columns: list[Column] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[Word] = field(default_factory=list)


def comparable_columns(
    tables: Mapping[str, pl.DataFrame], *, wanted: Sequence[str] | None = None, codes: Sequence[str] = ()
) -> Comparable:
    """Return the columns that all tables have and that say something of people.

    A column of numbers in one table and of text in another is taken as numbers where the text holds numbers
    throughout, otherwise as text. Left out are dates, names of identifiers (unless wanted), whole numbers and texts
    with a value of its own for everybody (numbers with decimals are measures and stay), and what is missing
    throughout a table.

    Parameters
    ----------
    tables
        ``seeds``, ``prospects`` and perhaps ``reference``.
    wanted
        Only these columns; ``None`` looks at all.
    codes
        Columns whose numbers are codes, such as those of provinces: taken as text.

    Raises
    ------
    ColumnsMissingError
        A column that was named is not in one of the tables.
    SettingError
        ``wanted`` or ``codes`` is no list of names, or ``wanted`` an empty one.
    DataError
        No column is left.

    Examples
    --------
    >>> import polars as pl
    >>> seeds = pl.DataFrame({"customer_id": [1, 2], "age": [30, 40], "city": ["Jaén", "Vigo"]})
    >>> prospects = pl.DataFrame({"customer_id": [8, 9], "age": ["41", "29"], "born": [1983, 1995]})
    >>> found = comparable_columns({"seeds": seeds, "prospects": prospects})
    >>> [(column.name, column.kind) for column in found.columns], [column.name for column in found.left_out]
    ([('age', 'number')], ['born', 'city'])
    """
    for setting, given in (("columns", wanted), ("codes", codes)):
        if isinstance(given, str):
            # Its letters would be taken for names.
            raise SettingError(f"{setting}: expected a list of column names; got {given!r}. One: {setting}=[{given}].")
        if given is not None and not all(isinstance(name, str) for name in given):
            raise SettingError(f"{setting}: expected a list of column names; got {given!r:.80}.")
    if wanted is not None and not wanted:
        raise SettingError("columns: expected names, as in columns=[age,income], or null for all; got an empty list.")
    names = list(dict.fromkeys(name for key in ("prospects", "seeds") for name in tables[key].columns if name != ID))
    for key, table in tables.items():
        missing = [name for name in dict.fromkeys([*(wanted or ()), *codes]) if name not in table.columns]
        if missing:
            raise ColumnsMissingError.from_missing(
                missing, [name for name in table.columns if name != ID], where=f"columns, in {words.TABLES[key].en}"
            )
    found = Comparable()
    for name in names if wanted is None else dict.fromkeys(wanted):
        absent = [key for key, table in tables.items() if name not in table.columns]
        if absent:
            found.left_out.append(LeftOut(name, words.not_in(absent)))
        elif wanted is None and name not in codes and _NAMES_OF_IDS.fullmatch(name):
            found.left_out.append(LeftOut(name, words.NAME_OF_ID))
        else:
            _read(name, {key: table[name] for key, table in tables.items()}, name in codes, found)
    if not found.columns:
        there = "; ".join(f"{words.TABLES[key].en} have {_listed(table.columns)}" for key, table in tables.items())
        why = "; ".join(f"{column.name}: {column.reason.en}" for column in found.left_out)
        raise DataError(
            f"columns: expected at least one that both tables have and that can be compared; {there}. "
            + (f"Left out: {why}. " if why else "")
            + "Give the columns the same names in both files, with the same words for the same things."
        )
    return found


def numbers_in(text: pl.Series) -> pl.Series | None:
    """Return a text as Float64 where every value is a number or a word for none; otherwise ``None``.

    A zero in front of other digits says that the values are codes.

    Examples
    --------
    >>> import polars as pl
    >>> numbers_in(pl.Series(["1.234,50", "n/a", "12"])).to_list()
    [1234.5, None, 12.0]
    >>> numbers_in(pl.Series(["08001", "28002"])) is None
    True
    """
    known = text.set(text.str.to_lowercase().is_in(list(MISSING_WORDS)), None)
    if known.str.contains(r"^[+-]?0\d").any():
        return None
    numbers = known.cast(pl.Float64, strict=False)
    if not (numbers.is_null() & known.is_not_null()).any():
        return numbers
    for decimal in (",", ".") if known.str.contains(r"^-?0,\d").any() else (".", ","):
        money = to_money(known, decimal, currencies=set())
        if not (money.is_null() & known.is_not_null()).any():
            return money.cast(pl.Float64)
    return None


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(name for name in columns if name != ID) or "none"


def _read(name: str, given: Mapping[str, pl.Series], is_code: bool, found: Comparable) -> None:
    """Add one column to what was found, or the reason why it is left out."""

    def leave_out(reason: Word) -> None:
        found.left_out.append(LeftOut(name, reason))

    if any(series.dtype.is_temporal() for series in given.values()):
        return leave_out(words.DATE)
    if any(series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object) for series in given.values()):
        return leave_out(words.OTHER_TYPE)
    values = {key: _text(series, is_code) for key, series in given.items()}
    mixed = len({series.dtype == pl.String for series in values.values() if series.null_count() < series.len()}) > 1
    values = {key: _without_nan(series) for key, series in _one_kind(values, is_code).items()}
    is_number = all(series.dtype == pl.Float64 for series in values.values())
    if is_number:
        infinite = sum(int(series.is_infinite().sum()) for series in values.values())
        if infinite:
            found.notes.append(words.infinite(name, infinite))
            values = {key: series.set(series.is_infinite().fill_null(False), None) for key, series in values.items()}
    for key, series in values.items():
        if series.null_count() == series.len():
            return leave_out(words.all_missing(key))
    if _tells_people_apart(values, is_number):
        return leave_out(words.ALL_DIFFERENT)
    if is_number:
        found.columns.append(Column(name, "number", values))
        return None
    there = {key: set(series.drop_nulls().unique().to_list()) for key, series in values.items()}
    if not there["seeds"] & there["prospects"]:
        return leave_out(words.TYPES_DIFFER if mixed else words.NOTHING_IN_COMMON)
    everything = set().union(*there.values())
    bands = ordered_bands(everything) if len(everything) <= MOST_BANDS and not is_code else None
    if bands is None:
        found.columns.append(Column(name, "text", values))
        return None
    inside = {key: series.set(~series.is_in(bands).fill_null(True), None) for key, series in values.items()}
    for key, series in inside.items():
        if series.null_count() == series.len():
            return leave_out(words.all_missing(key))
    found.columns.append(Column(name, "bands", inside, tuple(bands)))
    return None


def _text(series: pl.Series, is_code: bool) -> pl.Series:
    """Return numbers as they are and everything else as text, outer space gone, empty as null."""
    if is_code:
        return to_key(series.cast(pl.String) if series.dtype in (pl.Boolean, pl.Categorical, pl.Enum) else series)
    if series.dtype.is_numeric():
        return series
    text = series.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def _one_kind(values: Mapping[str, pl.Series], is_code: bool) -> dict[str, pl.Series]:
    """Return all as numbers where they can be, otherwise all as text."""
    if not is_code:
        numbers = {
            key: _booleans(series) if series.dtype == pl.String else series.cast(pl.Float64)
            for key, series in values.items()
        }
        if all(series is not None for series in numbers.values()):
            return {key: series for key, series in numbers.items() if series is not None}
    return {key: series if series.dtype == pl.String else to_key(series) for key, series in values.items()}


def _booleans(text: pl.Series) -> pl.Series | None:
    """Return a text as numbers, ``true`` and ``false`` as 1 and 0; ``None`` where it holds anything else."""
    words_of = {"true": 1.0, "false": 0.0}
    lower = text.str.to_lowercase()
    if lower.is_in(list(words_of)).any() and lower.drop_nulls().is_in(list(words_of)).all():
        return lower.replace_strict(words_of, default=None, return_dtype=pl.Float64)
    return numbers_in(text)


def _without_nan(series: pl.Series) -> pl.Series:
    return series.fill_nan(None) if series.dtype == pl.Float64 else series


def _tells_people_apart(values: Mapping[str, pl.Series], is_number: bool) -> bool:
    """Return whether a column has as many values as people, as far as they are enough to tell."""
    known = [series.drop_nulls() for series in values.values()]
    known = [series for series in known if series.len() >= ENOUGH_TO_TELL]
    if not known:
        return False
    if is_number:
        whole = all((series == series.floor()).all() for series in known)
        return whole and all(series.n_unique() == series.len() for series in known)
    return all(series.n_unique() >= NEARLY_ALL * series.len() for series in known)
