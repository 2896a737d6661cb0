"""Rows of results: one JSON object per line, one line per contestant, data set and repetition."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from engine.errors import DataError, SourceNotFoundError

Row = dict[str, Any]

KEY = ("case", "version", "size", "data", "seed", "solver_seed", "contestant", "repeat", "threads")
"""What tells one measurement from another at the same commit."""


def results_file(case: str) -> Path:
    """Return where the committed results of a case are."""
    return ROOT / "benchmarks" / "results" / f"{case.rpartition('.')[2]}.jsonl"


def read(path: Path) -> list[Row]:
    """Return the rows of a file.

    Raises
    ------
    SourceNotFoundError
        There is no such file.
    DataError
        A line is no row of results.
    """
    if not path.is_file():
        raise SourceNotFoundError(f"{path}: no results there. Measure with python -m benchmarks run CASE out={path}.")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            key_of(row)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}, line {number}: expected one row of results as JSON; got {line[:60]!r}."
            ) from error
        rows.append(row)
    return rows


def append(path: Path, row: Row) -> None:
    """Add a row to a file; a run that is broken off leaves whole lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def key_of(row: Row) -> tuple[Any, ...]:
    """Return what tells the row from others of its commit."""
    return tuple(row[name] for name in KEY)


def latest(rows: Iterable[Row]) -> list[Row]:
    """Return, for each size, the rows of the commit, machine and threads that were measured last, each once.

    Examples
    --------
    >>> row = {name: 0 for name in KEY} | {"commit": "a", "machine": "m", "size": "S"}
    >>> [kept["commit"] for kept in latest([row, row | {"commit": "b"}])]
    ['b']
    """
    rows = list(rows)
    newest = {row["size"]: _origin(row) for row in rows}
    kept = {key_of(row): row for row in rows if _origin(row) == newest[row["size"]]}
    return list(kept.values())


def _origin(row: Row) -> tuple[Any, ...]:
    return row["commit"], json.dumps(row["machine"], sort_keys=True), row["threads"]


def seconds_of(row: Row) -> float | None:
    """Return the median of the warm calls; the first call where no other ended in time; ``None`` where none did."""
    if row["warm_seconds"]:
        return float(statistics.median(row["warm_seconds"]))
    cold = row["cold_seconds"]
    return None if cold is None else float(cold)


def is_cold(row: Row) -> bool:
    """Say whether :func:`seconds_of` a row are those of the first call, imports included, for want of another."""
    return not row["warm_seconds"] and row["cold_seconds"] is not None


def with_ratios(rows: Iterable[Row], quality: str | None) -> list[Row]:
    """Return the rows with ``ratio``: the quality as a multiple of the best known of the same data.

    Examples
    --------
    >>> row = {"size": "S", "data": "d", "seed": 0, "version": 1, "ok": True}
    >>> found = with_ratios([row | {"facts": {"inertia": 2.0}}, row | {"facts": {"inertia": 3.0}}], "inertia")
    >>> [each["ratio"] for each in found]
    [1.0, 1.5]
    """
    rows = list(rows)
    best: dict[tuple[Any, ...], float] = {}
    for row in rows:
        if row["ok"] and quality in row["facts"]:
            data = _data_of(row)
            best[data] = min(best.get(data, float("inf")), row["facts"][quality])
    return [
        {**row, "ratio": row["facts"][quality] / best[_data_of(row)] if row["ok"] and quality in row["facts"] else None}
        for row in rows
    ]


def _data_of(row: Row) -> tuple[Any, ...]:
    return row["version"], row["size"], row["data"], row["seed"]
