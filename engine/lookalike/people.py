"""Tables of persons: each once, with an id that can be compared across files."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from engine.errors import DataError
from engine.lake.keys import to_key
from engine.lookalike.columns import ID
from engine.schema import require_columns


@dataclass(frozen=True, slots=True)
class People:
    """A table with one row a person.

    Attributes
    ----------
    frame
        ``customer_id`` and whatever else the table has.
    keys
        The ids as text, in the frame's order: 7, 7.0 and "7" are one person.
    counts
        ``rows`` read, ``repeated`` and ``without_id`` left out.
    """

    frame: pl.DataFrame
    keys: pl.Series
    counts: dict[str, int]

    def without(self, others: pl.Series) -> People:
        """Return the people whose key is not among others."""
        kept = ~self.keys.is_in(others.unique().implode())
        return People(self.frame.filter(kept), self.keys.filter(kept), self.counts)

    def only(self, others: pl.Series) -> People:
        """Return the people whose key is among others."""
        kept = self.keys.is_in(others.unique().implode())
        return People(self.frame.filter(kept), self.keys.filter(kept), self.counts)


def check_people(frame: pl.DataFrame, where: str) -> People:
    """Return a table's people; of rows with the same id the first counts.

    Parameters
    ----------
    frame
        With ``customer_id``: whole numbers or text.
    where
        Name of the table, for messages.

    Raises
    ------
    ColumnsMissingError
        There is no ``customer_id``.
    DataError
        It is no frame, or its ids are neither whole numbers nor text.

    Examples
    --------
    >>> import polars as pl
    >>> people = check_people(pl.DataFrame({"customer_id": ["7", "7", None, "9"]}), "seeds")
    >>> people.keys.to_list(), people.counts
    (['7', '9'], {'rows': 4, 'repeated': 1, 'without_id': 1})
    """
    if not isinstance(frame, pl.DataFrame):
        raise DataError(f"{where}: expected a Polars DataFrame; got {type(frame).__name__}.")
    require_columns(frame.columns, [ID], where=where)
    key = keys(frame[ID], where)
    known = key.is_not_null()
    first = known & key.is_first_distinct()
    counts = {
        "rows": frame.height,
        "repeated": int(known.sum()) - int(first.sum()),
        "without_id": frame.height - int(known.sum()),
    }
    return People(frame.filter(first), key.filter(first), counts)


def keys(ids: pl.Series, where: str) -> pl.Series:
    """Return ids as text that can be compared, or raise :class:`DataError` unless they can be ids."""
    dtype = ids.dtype
    if dtype in (pl.Categorical, pl.Enum, pl.Null):
        ids = ids.cast(pl.String)
    elif not (dtype.is_integer() or dtype.is_float() or dtype == pl.String):
        raise DataError(f"{where}: customer_id should be whole numbers or text; it is {dtype}.")
    return to_key(ids)
