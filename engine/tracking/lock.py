"""Locks that the operating system lets go of when a process dies, whatever it dies of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, make a store with one process before many use it
    fcntl = None  # type: ignore[assignment]


def lock(descriptor: int, *, wait: bool) -> bool:
    """Take an open file for this process alone until it is closed; return whether that was possible."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # Some network folders know no locks.
        return True
    return True


@contextmanager
def locked_folder(folder: Path) -> Iterator[bool]:
    """Let one process at a time pass, and say whether it is alone for certain; no lock file is left behind."""
    if fcntl is None:
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            alone = True
        except OSError:
            # Some network folders know no locks.
            alone = False
        yield alone
    finally:
        os.close(descriptor)
