"""The folder that the workers of one server share while it runs, and what servers that were killed have left of theirs.

Its owner holds a lock on the file ``pid`` in it for as long as it lives. Whoever starts next takes the folders away
whose lock is free and whose process is gone; a process of the same number in another container keeps its lock.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

PREFIX = "cartera-serve-"
OWNER = "pid"


@contextlib.contextmanager
def spool() -> Iterator[Path]:
    """Make the folder, readable by nobody else, and take it away at the end."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        # In its place only when it is locked: until then nobody takes the folder for one that was left.
        unlocked = folder / f"{OWNER}.new"
        with unlocked.open("w") as file:
            file.write(f"{os.getpid()}\n")
            file.flush()
            _lock(file.fileno())
            unlocked.rename(folder / OWNER)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers() -> list[Path]:
    """Remove the folders of this user's servers that were killed, and return them."""
    removed = []
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        try:
            if folder.is_symlink() or not _is_ours(folder) or not _is_left(folder / OWNER):
                continue
            shutil.rmtree(folder)
        except (OSError, ValueError):
            # Another start is at it, or it is not as we make them: it stays.
            continue
        removed.append(folder)
        log.info("%s: removed; the server that made it was killed", folder)
    return removed


def _is_ours(folder: Path) -> bool:
    about = folder.stat()
    return folder.is_dir() and (not hasattr(os, "getuid") or about.st_uid == os.getuid())


def _is_left(owner: Path) -> bool:
    with owner.open("r+") as file:
        pid = int(file.read(32))
        # Our own number is that of a predecessor: where servers are started in containers, all of them have the same.
        return _lock(file.fileno()) and (pid == os.getpid() or not _lives(pid))


def _lock(file: int) -> bool:
    """Lock an open file without waiting; return whether nobody else has."""
    try:
        import fcntl
    except ImportError:
        # Nobody can know who lives: what was left stays.
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(pid: int) -> bool:
    if pid <= 0:
        raise ValueError(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
