"""What a sweep has done so far, on disk: a sweep that was cut off goes on where it was.

One line for each finished trial, written when the trial is done: a digest and JSON. A line that a kill cut short, or
that was changed since, does not agree with its digest and is passed over. There is no customer in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.clustering.trial import Trial
from engine.errors import SettingError

log = logging.getLogger(__name__)


class Journal:
    """The finished trials of one sweep, in a folder that no other process writes to meanwhile.

    Parameters
    ----------
    folder
        Made if it is not there.

    Raises
    ------
    SettingError
        Another process is at the same sweep.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trials: dict[str, Trial] = {}
        self.notes: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Take the folder for this process and read what is there."""
        while not self._taken():
            # Whoever had it has just finished and removed it.
            continue
        self._read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the folder back; what was written stays."""
        if not self.trials and not self.notes:
            # Nothing to go on from. Removed under the lock, so that nobody else's journal can be in there.
            self._path.unlink(missing_ok=True)
            self._lock_path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.folder.rmdir()
        os.close(self._lock)

    def _taken(self) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            return False
        try:
            # The system gives the lock back when the process ends, however it ends.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self._lock).st_ino == self._lock_path.stat().st_ino:
                return True
        except FileNotFoundError:
            pass
        except OSError:
            os.close(self._lock)
            raise SettingError(
                f"The same sweep is being made by another process ({self.folder} is locked). Wait for it, or change "
                "the grid or the folder that out= lies in."
            ) from None
        os.close(self._lock)
        return False

    def add(self, trial_id: str, trial: Trial) -> None:
        """Keep a finished trial."""
        self._append({"trial": trial_id, **trial.to_dict()})
        self.trials[trial_id] = trial

    def note(self, **values: Any) -> None:
        """Keep facts about the sweep itself, such as the id of its run in the tracking store."""
        self._append({"note": values})
        self.notes.update(values)

    def clear(self) -> None:
        """Forget everything: the sweep is complete, or begins afresh."""
        self.trials.clear()
        self.notes.clear()
        self._path.unlink(missing_ok=True)

    @property
    def _path(self) -> Path:
        return self.folder / "trials.jsonl"

    @property
    def _lock_path(self) -> Path:
        return self.folder / "lock"

    def _append(self, content: Mapping[str, Any]) -> None:
        text = json.dumps(content)
        # The newline comes first, so that a line cut short by a kill does not swallow the next one.
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"\n{_digest(text)} {text}")

    def _read(self) -> None:
        if not self._path.exists():
            return
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            digest, _, text = line.partition(" ")
            if digest != _digest(text):
                continue
            content = json.loads(text)
            if "note" in content:
                self.notes.update(content["note"])
            else:
                trial_id = content.pop("trial")
                self.trials[trial_id] = Trial.from_dict(content)
        log.debug("%s: %d finished trials", self._path, len(self.trials))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
