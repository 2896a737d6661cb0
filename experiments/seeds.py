"""Who the seeds of ``cartera lookalike`` are, and where their columns are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from engine.errors import DataError, SettingError, SourceNotFoundError
from engine.lookalike import words
from engine.lookalike.columns import numbers_in
from engine.lookalike.people import People, check_people
from engine.schema import Word, require_columns

if TYPE_CHECKING:
    from experiments.settings import LookalikeConfig

ID = "customer_id"
KEY = "__key"
ASSIGNED = ("segment_id", "name", "distance", "margin", "second_segment_id", "novel")
"""Columns of ``assignments.parquet``: what a model says of customers, nothing that a prospect could share."""

SHOWN = 8


@dataclass(frozen=True, slots=True)
class Seeds:
    """The seeds with their columns, and who else is a customer.

    Attributes
    ----------
    frame
        ``customer_id`` and columns, one row for each seed that was found.
    asked
        How many seeds were named.
    found_in
        The setting whose file holds the columns.
    customers
        Keys of everybody in ``seeds=``.
    notes
        What a reader must know.
    """

    frame: pl.DataFrame
    asked: int
    found_in: str
    customers: pl.Series
    notes: list[Word]


HINT = "Set customer_id=COLUMN to the column that holds the ids."

HINTS = {"assignments": "Take the run's folder or its assignments.parquet."}
"""What to do about a table without ids, where that is not :data:`HINT`."""


def read_people(given: str, key: str, customer_id: str, scratch: Path, *, hint: str | None = None) -> People:
    """Read a table of persons; of rows with the same id the first counts.

    Parameters
    ----------
    given
        A Parquet or text file, or ``package:NAME/inner/path``.
    key
        The setting that names it.
    customer_id
        Its column of ids; where there is none of this name, ``customer_id`` is taken.
    scratch
        Folder for a copy in UTF-8 where the text is in another encoding; nothing stays there.
    hint
        What to do where it has no column of ids; by default as :data:`HINTS` say.

    Raises
    ------
    SourceNotFoundError
        There is no such file.
    DataError
        It is no table, or its ids cannot be ids.
    ColumnsMissingError
        It has no column of ids.
    """
    from engine.lake.recipe import Recipe
    from engine.lake.source import find_paths, inspect, scan
    from engine.lake.text import EXTRA, ROW, explain

    path = find_paths((given,), setting=key)[0] if given.startswith("package:") else Path(given)
    if not path.is_file():
        raise SourceNotFoundError(f"{key}={given}: no such file. Expected a Parquet or CSV file with {customer_id}.")
    with path.open("rb"):
        pass  # What may not be read is told here, in the machine's own words.
    try:
        frame = scan(inspect(path, Recipe(name=key)), scratch).collect().drop(ROW, EXTRA, strict=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{key}={given}: cannot be read: {explain(error)}") from None
    finally:
        for copy in scratch.glob("*.csv"):
            copy.unlink()
    if customer_id != ID and customer_id in frame.columns:
        frame = frame.drop(ID, strict=False).rename({customer_id: ID})
    require_columns(frame.columns, [ID], where=f"{key}={given}", hint=hint or HINTS.get(key, HINT))
    people = check_people(frame, f"{key}={given}")
    numbers = people.keys.cast(pl.Int64, strict=False)
    if people.frame[ID].dtype == pl.String and (numbers.cast(pl.String) == people.keys).fill_null(False).all():
        # The ids of a text file are numbers where nothing is lost by it.
        return People(people.frame.with_columns(numbers.alias(ID)), people.keys, people.counts)
    return people


def read_seeds(c: LookalikeConfig, tables: Mapping[str, People], scratch: Path) -> Seeds:
    """Return the seeds with their columns.

    Parameters
    ----------
    c
        The settings.
    tables
        ``prospects``, and ``customers`` and ``reference`` where they were given.
    scratch
        Folder for copies, see :func:`read_people`.

    Raises
    ------
    SettingError
        ``segment`` or ``where`` cannot be meant.
    DataError
        Nobody is left.
    """
    if Path(c.seeds).is_dir():
        everybody, chosen = _of_run(Path(c.seeds), c.segment)
    else:
        everybody = read_people(c.seeds, "seeds", c.customer_id, scratch)
        chosen = everybody if c.segment is None else _of_file(everybody, c.seeds, c.segment)
    where = None if c.where is None else _condition(c.where)
    if where is not None and set(where.meta.root_names()) <= set(chosen.frame.columns):
        chosen, where = _picked(chosen, _holds(chosen.frame, where, str(c.where)), f"where={c.where!r}"), None
    asked = chosen.frame.height
    own = [name for name in everybody.frame.columns if name not in (ID, *ASSIGNED)]
    has_columns = not set(own).isdisjoint(tables["prospects"].frame.columns)
    found_in = next(
        (key for key in ("customers", "reference", "prospects") if key in tables),
        "seeds",
    )
    if has_columns and "customers" not in tables:
        found_in = "seeds"
    frame = chosen.frame.with_columns(chosen.keys.alias(KEY))
    notes = []
    if found_in != "seeds":
        table = tables[found_in]
        more = table.frame.drop([ID, *own, *ASSIGNED], strict=False).with_columns(table.keys.alias(KEY))
        frame = frame.join(more, on=KEY, how="inner", maintain_order="left")
        file = f"{found_in}={getattr(c, found_in)}"
        if not frame.height:
            raise DataError(
                f"seeds={c.seeds}: none of the {asked} seeds is in {file}, where their columns were sought by "
                "customer_id. Name the file that has them: customers=FILE."
            )
        if frame.height < asked:
            notes.append(words.not_found(asked - frame.height, asked, file))
    dropped = everybody.counts
    if dropped["repeated"] or dropped["without_id"]:
        notes.append(words.rows_dropped("seeds", dropped["repeated"], dropped["without_id"]))
    if where is not None:
        people = People(frame, frame[KEY], everybody.counts)
        frame = _picked(people, _holds(frame, where, str(c.where)), f"where={c.where!r}").frame
    return Seeds(
        frame=frame.drop([KEY, *ASSIGNED], strict=False),
        asked=asked,
        found_in=found_in,
        customers=everybody.keys,
        notes=notes,
    )


def _of_run(folder: Path, segment: str | None) -> tuple[People, People]:
    """Return all customers of a run, and those of one segment."""
    from engine.bundle import load_bundle
    from experiments.compare import check_run

    check_run(folder, "seeds")
    segments = sorted(load_bundle(folder / "bundle").segments, key=lambda each: each.rank)
    there = ", ".join(f"{each.segment_id} ({each.name.en} / {each.name.es})" for each in segments)
    if segment is None:
        raise SettingError(f"segment: which of the run's segments are the seeds? There are {there}.")
    wanted = segment.strip().casefold()
    for each in segments:
        if wanted in (each.segment_id, each.name.en.casefold(), each.name.es.casefold()):
            break
    else:
        raise SettingError(f"segment: expected the id or the name of a segment; got {segment!r}. There are {there}.")
    try:
        assignments = pl.read_parquet(folder / "assignments.parquet")
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"seeds={folder}: assignments.parquet is not what `cartera segment` wrote ({error}). Run it again."
        ) from None
    require_columns(assignments.columns, [ID, "segment_id"], where=f"seeds={folder}, assignments.parquet")
    everybody = check_people(assignments, f"seeds={folder}")
    return everybody, _picked(everybody, everybody.frame["segment_id"] == each.segment_id, f"segment={segment}")


def _of_file(everybody: People, given: str, segment: str) -> People:
    """Return those of one segment, by the columns that an assignment has."""
    names = [name for name in ("segment_id", "name") if name in everybody.frame.columns]
    if not names:
        raise SettingError(
            f"segment={segment}: seeds={given} has no column segment_id to select by. Give the folder of a run of "
            "`cartera segment`, or its assignments.parquet, or select with where=."
        )
    wanted = segment.strip().casefold()
    found = pl.Series([False] * everybody.frame.height, dtype=pl.Boolean)
    for name in names:
        found |= (everybody.frame[name].cast(pl.String).str.to_lowercase() == wanted).fill_null(False)
    if not found.any():
        there = everybody.frame[names[-1]].cast(pl.String).drop_nulls().unique().sort()
        more = f" and {there.len() - SHOWN} more" if there.len() > SHOWN else ""
        raise SettingError(
            f"segment: no seed with segment {segment!r} in seeds={given}. "
            f"There are {', '.join(there.head(SHOWN))}{more}."
        )
    return _picked(everybody, found, f"segment={segment}")


def _picked(people: People, chosen: pl.Series, how: str) -> People:
    if not chosen.any():
        raise DataError(f"{how}: none of the {people.frame.height} customers in seeds= is meant by it. Choose another.")
    return People(people.frame.filter(chosen), people.keys.filter(chosen), people.counts)


def _condition(where: str) -> pl.Expr:
    try:
        condition = pl.sql_expr(where)
        names = condition.meta.root_names()
    except (pl.exceptions.SQLSyntaxError, pl.exceptions.SQLInterfaceError) as error:
        raise SettingError(_wrong(where, error)) from None
    if ID in names or KEY in names:
        raise SettingError("where: customer_id cannot be used: ids of persons are not for settings. Use a file of ids.")
    return condition


def _holds(frame: pl.DataFrame, condition: pl.Expr, where: str) -> pl.Series:
    """Return for which rows an SQL condition holds."""
    names = condition.meta.root_names()
    require_columns([name for name in frame.columns if name not in (ID, KEY)], names, where=f"where={where!r}")
    # Text files hold text only: what is a number throughout is compared as one.
    texts = {name: numbers_in(frame[name]) for name in names if frame[name].dtype == pl.String}
    typed = frame.with_columns(**{name: numbers for name, numbers in texts.items() if numbers is not None})
    try:
        chosen = typed.select(condition).to_series()
        if chosen.dtype != pl.Boolean or chosen.len() != frame.height:
            raise pl.exceptions.InvalidOperationError("it is not true or false for each seed")
    except pl.exceptions.PolarsError as error:
        raise SettingError(_wrong(where, error)) from None
    return chosen.fill_null(False)


def _wrong(where: str, error: Exception) -> str:
    return f"where: expected an SQL condition on the seeds' columns, such as 'monetary > 100'; got {where!r} ({error})."
