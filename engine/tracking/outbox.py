"""Operations that wait on disk for a server that is down, and their sending when it is back.

::

    runs/mlflow-outbox/
      3f0c…/                       one folder for each address, named by a hash; no secret is in it
        address.txt                the address without its password
        1764201600000-9a1b…/       one folder for each run, in the order of their beginnings
          operations.jsonl         what was to be written, with its times
          files/                   copies of the files that were to be kept

Each operation is one that :class:`engine.tracking.store.Store` can repeat without harm, so a sending that breaks off
goes on later from the start, and nothing is there twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import TrackingError
from engine.tracking.failures import UnreachableError, redacted
from engine.tracking.lock import lock
from engine.tracking.store import Store

log = logging.getLogger(__name__)

OUTBOX = Path("runs/mlflow-outbox")
"""Beside the default database."""

OPERATIONS = "operations.jsonl"


class Outbox:
    """The runs that wait for one address.

    Parameters
    ----------
    root
        Folder of all addresses.
    uri
        The address. Its password is neither written nor hashed.
    """

    def __init__(self, root: Path | str, uri: str) -> None:
        shown = redacted(uri)
        self.folder = Path(root) / hashlib.sha256(shown.encode()).hexdigest()[:16]
        self._shown = shown

    def begin(self, *, key: str, start_ms: int, **arguments: Any) -> WaitingRun:
        """Return a new folder for a run whose operations shall wait, its beginning written."""
        with _written(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "address.txt").write_text(self._shown + "\n", encoding="utf-8")
            run = WaitingRun(self.folder / f"{start_ms:013d}-{key}")
        run.add("begin", {"key": key, "start_ms": start_ms, **arguments})
        return run

    def waiting(self) -> list[Path]:
        """Return the folders of the runs that wait, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(f.parent for f in self.folder.glob(f"[!.]*/{OPERATIONS}"))

    def known_children(self, key: str, run_id: str, tag: str) -> set[str]:
        """Return the values of a tag over the children of a run that wait to be written."""
        found: set[str] = set()
        for folder in self.waiting():
            operations = _read(folder)
            if operations and (operations[0][1]["key"] == key or operations[0][1].get("resume") == run_id):
                found.update(a["tags"][tag] for op, a in operations if op == "child" and tag in (a.get("tags") or {}))
        return found

    def send(self, store: Store) -> None:
        """Write what waits to the store; a run goes from here only when all of it is there.

        A run that the store refuses stays, with a warning, and does not keep the others waiting.

        Raises
        ------
        UnreachableError
            The server went away again.
        """
        for leftover in self.folder.glob(".*.sent"):
            shutil.rmtree(leftover, ignore_errors=True)
        sent = 0
        for folder in self.waiting():
            with _alone(folder) as free:
                if not free:
                    continue  # its run still writes, or another process is sending it
                try:
                    if not _replay(folder, store):
                        continue  # a run that has just begun to write, or was killed as it did
                    # One rename, so that a removal that is interrupted leaves no half run to send.
                    done = folder.with_name(f".{folder.name}.sent")
                    folder.rename(done)
                    shutil.rmtree(done, ignore_errors=True)
                except UnreachableError:
                    raise
                except (OSError, ValueError, KeyError, TypeError) as error:
                    log.warning(
                        "the run in %s cannot be sent and stays there (%s). Delete the folder to give it up.",
                        folder,
                        error,
                    )
                else:
                    sent += 1
        if sent:
            log.info("%d waiting run%s sent to %s", sent, "" if sent == 1 else "s", self._shown)


class WaitingRun:
    """One run that is being written to the outbox; other processes leave it alone until it is closed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "files").mkdir(parents=True)
        self._copies = 0
        self._file = (folder / OPERATIONS).open("a", encoding="utf-8")
        lock(self._file.fileno(), wait=True)

    def add(self, operation: str, arguments: dict[str, Any]) -> None:
        """Write one operation down, with a copy of the file or folder it names."""
        with _written(self.folder):
            if "path" in arguments:
                source = Path(arguments["path"])
                copy = self.folder / "files" / str(self._copies) / source.name
                copy.parent.mkdir()
                if source.is_dir():
                    shutil.copytree(source, copy)
                else:
                    shutil.copy2(source, copy)
                self._copies += 1
                arguments = {**arguments, "path": copy.relative_to(self.folder).as_posix()}
            self._file.write(json.dumps([operation, arguments]) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Leave the run to whoever reaches the server."""
        self._file.close()


def _read(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    lines = (folder / OPERATIONS).read_text(encoding="utf-8").split("\n")
    # A process that was killed may have left half a line, the last.
    return [(operation, arguments) for operation, arguments in map(json.loads, lines[:-1])]


def _replay(folder: Path, store: Store) -> bool:
    """Do all the operations of a run; return whether there were any."""
    operations = _read(folder)
    if not operations:
        return False
    run_id = ""
    for operation, arguments in operations:
        if "path" in arguments:
            arguments["path"] = str(folder / arguments["path"])
        if operation == "begin":
            run_id = store.begin(**arguments, again=True)
        elif operation == "child":
            store.child(run_id, **arguments, again=True)
        elif operation in ("record", "artifacts", "model", "end"):
            getattr(store, operation)(run_id, **arguments)
        else:
            raise ValueError(f"unknown operation {operation!r}")
    if operations[-1][0] != "end":
        store.end(run_id, status="KILLED", end_ms=int((folder / OPERATIONS).stat().st_mtime * 1000))
    return True


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrackingError(
            f"the server of tracking.uri does not answer, and the run cannot wait in {folder} ({error}). Make room "
            "and the right to write there, or set tracking.uri=null."
        ) from error


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Say whether nobody else has the run in hand, and keep it so."""
    try:
        file = (folder / OPERATIONS).open(encoding="utf-8")
    except FileNotFoundError:
        yield False
        return
    with file:
        # Between the listing and the lock another process may have sent it.
        yield lock(file.fileno(), wait=False) and (folder / OPERATIONS).is_file()
