"""Small tables beside the transactions: read whole, replaced whole, by several writers at a time.

Each is a Delta table of its own. A writer reads it, works out what it should be and commits that against the version
it read; of two that began from one version the second starts again, so nobody's change is lost.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from engine.errors import DataError
from engine.lake.delta import open_small
from engine.lake.stage import Workspace

log = logging.getLogger(__name__)

_ATTEMPTS = 50


def change_table(lake: Path, name: str, change: Callable[[pl.DataFrame | None], pl.DataFrame]) -> bool:
    """Replace a small table of a lake by what a function makes of it; return whether that was another one.

    Parameters
    ----------
    lake
        The lake's folder, which is there.
    name
        The table's folder in it.
    change
        Called with the rows of now (None where there is no such table), and again where another writer was first.
        Rows and columns that are the same leave the table untouched.

    Raises
    ------
    DataError
        The folder holds something else, is damaged, or cannot be written.
    """
    from deltalake import CommitProperties, Transaction, write_deltalake
    from deltalake.exceptions import CommitFailedError, DeltaError

    for _ in range(_ATTEMPTS):
        table, held = open_small(lake, name) or (None, None)
        wanted = change(held)
        if held is not None and held.schema == wanted.schema and held.equals(wanted):
            return False
        # The same mark on every commit: Delta lets only one of two writers that read one version pass.
        mark = CommitProperties(app_transactions=[Transaction(name, 1)])
        try:
            if table is not None:
                write_deltalake(table, wanted, mode="overwrite", schema_mode="overwrite", commit_properties=mark)
            elif not _create(lake, name, wanted, mark):
                continue
        except CommitFailedError as error:
            log.info("another writer changed %s of %s first (%s); starting again from its version", name, lake, error)
        except (DeltaError, OSError) as error:
            raise DataError(
                f"lake={lake}: its table {name!r} cannot be written ({error}). Make the lake's folder writable."
            ) from error
        else:
            return True
    raise DataError(f"lake={lake}: {_ATTEMPTS} writers in a row changed its table {name!r} first. Try again later.")


def _create(lake: Path, name: str, rows: pl.DataFrame, mark: Any) -> bool:
    """Finish a new table inside a working folder and put it in place by one rename; False where one is there."""
    from deltalake import write_deltalake

    with Workspace(lake) as space:
        new = space.path / name
        write_deltalake(str(new), rows, mode="error", name=name, commit_properties=mark)
        try:
            new.rename(lake / name)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            if not (lake / name / "_delta_log").is_dir():
                raise DataError(
                    f"lake={lake}: {name!r} is there, but is no Delta table. Move it away, or name another lake."
                ) from error
            return False
    return True
