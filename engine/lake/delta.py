"""The Delta tables that a lake is a folder of: opened, and what is said of one that is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from engine.errors import DataError

PRODUCTS = "products"
INVENTORY = "inventory"
"""The small tables: what is known of the products, and every file with persons made from the lake."""


def open_table(folder: Path, name: str) -> Any:
    """Return one table of the lake, a ``deltalake.DeltaTable``, at its newest version.

    Raises
    ------
    DataError
        The table's log cannot be read.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        return DeltaTable(str(folder / name))
    except (DeltaError, OSError, ValueError) as error:
        raise damaged(folder, error) from error


def open_small(folder: Path, name: str) -> tuple[Any, pl.DataFrame] | None:
    """Return a small table of the lake at its newest version, and its rows; ``None`` where there is none."""
    if not (folder / name / "_delta_log").is_dir():
        return None
    table = open_table(folder, name)
    files = pl.Series(table.get_add_actions(flatten=True)).struct.field("path").to_list()
    schema = pl.Schema(table.schema())
    try:
        # Not by scan_delta: it panics over a file that was cut.
        runs = [pl.read_parquet(folder / name / unquote(file), hive_partitioning=False, glob=False) for file in files]
        return table, pl.concat([schema.to_frame(), *(run.select(schema.names()).cast(schema) for run in runs)])
    except (pl.exceptions.PolarsError, OSError) as error:
        raise damaged(folder, error) from error


def damaged(folder: Path, error: Exception) -> DataError:
    """Return the error for a lake whose files are missing or not what they were."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return DataError(
        f"lake={folder}: a file of the lake is missing or damaged ({reason}). Put the lake back from a copy, or make "
        "another from the source files with cartera ingest lake=ANOTHER_FOLDER."
    )
