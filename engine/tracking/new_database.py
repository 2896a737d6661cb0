"""A new SQLite database, made aside and put in place whole.

MLflow makes its tables in some fifty steps that cannot be taken up again. A process that dies among them would leave a
database that no later run could open.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from uuid import uuid4

_BESIDE = ("-journal", "-wal", "-shm")
"""What SQLite writes next to a database until it is closed."""


def is_missing(database: Path) -> bool:
    """Return whether a database is still to be made: no file, or an empty one."""
    try:
        return database.stat().st_size == 0
    except FileNotFoundError:
        return True


@contextmanager
def new_database(database: Path, *, alone: bool) -> Iterator[Path]:
    """Give a file to make a database in, and put it in its place where the block succeeds.

    The block closes every connection to it. Other processes see no file, or all of it.

    Parameters
    ----------
    database
        The final file; it is missing or empty.
    alone
        No other process makes a database in the folder now: what is left of earlier attempts may go.
    """
    if alone:
        for left in database.parent.glob(f".{escape(database.name)}.*.new*"):
            left.unlink(missing_ok=True)
    # A name of its own each time: MLflow keeps connections by address as long as the process lives.
    making = database.with_name(f".{database.name}.{uuid4().hex[:12]}.new")
    try:
        yield making
        if is_missing(database):
            # The journal of a database that was moved away would be played back into this one.
            _remove_beside(database)
            making.replace(database)
    finally:
        with suppress(OSError):
            making.unlink(missing_ok=True)
            _remove_beside(making)


def _remove_beside(database: Path) -> None:
    for ending in _BESIDE:
        database.with_name(database.name + ending).unlink(missing_ok=True)
