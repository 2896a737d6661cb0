"""Every file with persons that was made from a lake, so that who erases a person finds them all.

A history of purchases or a list of assignments lies wherever its maker wanted it. Whoever writes such a thing notes it
here first or with it: an entry without a file costs a look, a file without an entry keeps an erased person. The table
names files, never persons.

The verbs note, by kind: ``assignments``, ``customers`` (the folder of a base), ``features``, ``history``,
``lookalikes``, ``moves`` (who changed segment between two runs), ``recommendations``, ``recommender`` (a folder),
``rejects`` (rows of the files that were read), and ``feature cache``, the folder inside the lake where features are
kept between runs. What is erased from the lake's own tables, the transactions and the rows that were rejected, is
erased from the lake.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import polars as pl

from engine.errors import SettingError
from engine.lake.delta import INVENTORY, open_small
from engine.lake.small_table import change_table
from engine.lake.table import Lake
from engine.schema import TIMESTAMP

_SCHEMA = pl.Schema(
    {"kind": pl.String(), "path": pl.String(), "relative": pl.String(), "made": TIMESTAMP, "version": pl.Int64()}
)


def note(lake_path: str | Path, kind: str, path: str | Path, *, made: datetime, version: int | None = None) -> None:
    """Write down that there is a file or folder with persons from this lake; noted again, it replaces its entry.

    Several processes may note at a time.

    Parameters
    ----------
    lake_path
        The lake's folder.
    kind
        What it is, such as ``history``: tells the reader how to erase from it.
    path
        Where it lies, or will in a moment. Inside the lake or its parent folder it is found again after a move of both.
    made
        Up to when its rows reach: its ``as_of``, with a time zone.
    version
        Version of the lake's transactions that it was made from; the newest by default. A file made from a version
        before an erasure may hold the erased.

    Raises
    ------
    SourceNotFoundError
        There is no such lake.
    SettingError
        ``kind`` is empty, or ``made`` has no time zone.
    DataError
        The inventory is damaged or cannot be written.

    Examples
    --------
    >>> note("no/such/lake", "history", "runs/history", made=datetime(2024, 1, 1))
    Traceback (most recent call last):
    ...
    engine.errors.SettingError: made: expected a moment with a time zone; got 2024-01-01T00:00:00.
    """
    if not isinstance(kind, str) or not kind.strip():
        raise SettingError(f"kind: expected what the file is, such as 'history'; got {kind!r}.")
    if made.tzinfo is None:
        raise SettingError(f"made: expected a moment with a time zone; got {made.isoformat()}.")
    if version is None or not Lake.exists(lake_path):
        version = Lake.open(lake_path).version
    folder = Path(lake_path).resolve()
    place = Path(path).resolve()
    entry = pl.DataFrame(
        {
            "kind": [kind],
            "path": [str(place)],
            "relative": [_relative(place, folder)],
            "made": [made],
            "version": [version],
        },
        schema=_SCHEMA,
    )

    def added(held: pl.DataFrame | None) -> pl.DataFrame:
        if held is None:
            return entry
        # An entry that may speak of another place as well stays.
        same = [
            found == [str(place)] or path == str(place)
            for found, path in zip(_places(held, folder), held["path"], strict=True)
        ]
        others = held.filter(~pl.Series(same, dtype=pl.Boolean))
        return pl.concat([others, entry]).sort("kind", "path")

    change_table(folder, INVENTORY, added)


def listed(lake_path: str | Path) -> pl.DataFrame:
    """Return what was noted, each path once.

    Returns
    -------
    pl.DataFrame
        ``kind``, ``path`` (absolute, as it is found from the lake's folder of now), ``made`` (UTC), ``version``; by
        kind and path. A path where nothing is any more stays listed: a drive may be away for a day. Where lake and file
        may have moved together or not, and there is something at both places, both are listed.

    Raises
    ------
    DataError
        The inventory is damaged.

    Examples
    --------
    >>> listed("no/such/lake").columns
    ['kind', 'path', 'made', 'version']
    """
    found = open_small(Path(lake_path), INVENTORY)
    rows = pl.DataFrame(schema=_SCHEMA) if found is None else found[1]
    places = pl.Series("path", _places(rows, Path(lake_path).resolve()), dtype=pl.List(pl.String))
    found_now = rows.with_columns(places).explode("path").unique(["kind", "path"], keep="last", maintain_order=True)
    return found_now.select("kind", "path", "made", "version").sort("kind", "path")


def _relative(place: Path, lake: Path) -> str | None:
    """Return the way from the lake to a place inside it or beside it, ``None`` for others."""
    return Path(os.path.relpath(place, lake)).as_posix() if place.is_relative_to(lake.parent) else None


def _places(rows: pl.DataFrame, lake: Path) -> list[list[str]]:
    """Return where each of the noted files may be now."""
    places = []
    for path, relative in rows.select("path", "relative").iter_rows():
        moved = None if relative is None else Path(os.path.normpath(lake / relative))
        if moved is None:
            places.append([path])
        elif moved.is_relative_to(lake) or not Path(path).exists():
            places.append([str(moved)])
        else:
            # What lay beside the lake moved with it, or stayed where it was; another may lie where it would be now.
            places.append([str(moved), path] if moved.exists() and str(moved) != path else [path])
    return places
