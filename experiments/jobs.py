"""The jobs of one ``-m`` sweep: who holds the folder, how each job ended, and the table that is left of them.

While a sweep runs, a hidden folder beside ``out`` holds one small file for each job. Whatever process a launcher runs
a job in, it finds the folder by an environment variable that it inherits.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import psutil

from engine.errors import OutputExistsError, SettingError

FOLDER = "CARTERA_SWEEP"
"""Environment variable with the hidden folder of the running sweep."""

TABLE = "jobs.csv"
COLUMNS = ("job", "overrides", "exit_code", "seconds", "value", "folder")


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job as far as it is known.

    ``code`` is the exit code (0 done), ``None`` for a job that has not ended; ``seconds`` is wall time; ``value`` is
    what the job is judged by, where it returns a number; ``folder`` is where its results go; ``pid`` and ``born``
    (seconds since 1970) tell the process that runs it.
    """

    job: int
    overrides: tuple[str, ...]
    folder: str
    pid: int
    born: float
    code: int | None = None
    seconds: float | None = None
    value: float | None = None


class JobRecords:
    """The hidden folder of a sweep.

    Parameters
    ----------
    place
        The folder; :meth:`claim` makes it.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        content = json.loads((place / "owner.json").read_text("utf-8"))
        self.owner: int = content["pid"]
        self._born: float = content["born"]
        self.threads: int | None = content["threads"]
        self.keys: frozenset[str] = frozenset(content["keys"])

    @classmethod
    def claim(cls, out: Path, verb: str, *, keys: Iterable[str] = (), threads: int | None = None) -> Self:
        """Take ``out`` for a new sweep.

        Parameters
        ----------
        out
            The sweep's folder; it need not exist.
        verb
            Who asks.
        keys
            The keys whose values differ between jobs.
        threads
            Threads that each job may use; ``None`` leaves it to the libraries.

        Raises
        ------
        OutputExistsError
            Another sweep is writing there.
        """
        place = out.with_name(f".{out.name}.sweep")
        draft = out.with_name(f".{out.name}.{uuid4().hex}.sweep")
        draft.mkdir()
        owner = {
            "host": platform.node(),
            "pid": os.getpid(),
            "born": _born(os.getpid()),
            "threads": threads,
            "keys": sorted(keys),
        }
        (draft / "owner.json").write_text(json.dumps(owner), encoding="utf-8")
        try:
            # A folder that holds something is never renamed onto: of two sweeps one comes first.
            for _ in range(2):
                with suppress(OSError):
                    draft.rename(place)
                    return cls(place)
                _clear_abandoned(place, out, verb)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        raise OutputExistsError(_taken(out, verb, "another process", place))

    @classmethod
    def current(cls) -> Self:
        """Return the records of the sweep that this process belongs to."""
        return cls(Path(os.environ[FOLDER]))

    @property
    def stopped(self) -> bool:
        """Whether no further job may begin."""
        return (self.place / "stopped").exists()

    @property
    def abandoned(self) -> bool:
        """Whether the process that began the sweep is gone."""
        return _born(self.owner) != self._born

    def stop(self) -> None:
        """Let no further job begin."""
        (self.place / "stopped").touch()

    def start(self, job: int, overrides: Sequence[str], folder: str) -> JobRecord:
        """Note that a job begins."""
        record = JobRecord(job, tuple(overrides), folder, os.getpid(), _born(os.getpid()))
        self._write(record)
        return record

    def own_folder(self, record: JobRecord) -> None:
        """Take the folder of a job for it alone.

        Raises
        ------
        SettingError
            Another job of the sweep has the same folder.
        """
        try:
            (self.place / hashlib.sha256(record.folder.encode()).hexdigest()).touch(exist_ok=False)
        except FileExistsError:
            raise SettingError(
                f"hydra.sweep.subdir: expected a folder for each job; {record.folder} belongs to another job already. "
                "Leave the setting out, or let it depend on ${hydra.job.num}."
            ) from None

    def end(self, record: JobRecord, code: int, seconds: float, value: float | None) -> None:
        """Note how a job ended."""
        self._write(JobRecord(**{**asdict(record), "code": code, "seconds": seconds, "value": value}))

    def read(self) -> list[JobRecord]:
        """Return what is known of each job that began, by number."""
        return _read(self.place)

    def release(self) -> None:
        """Give the folder free."""
        shutil.rmtree(self.place, ignore_errors=True)

    def told_apart(self, overrides: Iterable[str]) -> list[str]:
        """Return those overrides by which jobs differ."""
        return [text for text in overrides if text.partition("=")[0].lstrip("+~") in self.keys]

    def _write(self, record: JobRecord) -> None:
        draft = self.place / f"{record.job}.draft"
        draft.write_text(json.dumps(asdict(record)), encoding="utf-8")
        draft.replace(self.place / f"{record.job}.json")


def write_table(path: Path, records: Iterable[JobRecord], names: JobRecords) -> None:
    """Write one line for each job: what set it apart, its exit code, seconds, value and folder.

    The exit code is empty for a job that never began, the folder for one that left no results.
    """
    from engine.tracking import redacted

    draft = path.with_name(f".{path.name}.{uuid4().hex}.draft")
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for record in records:
            done = record.code == 0
            cells: list[Any] = [
                record.job,
                redacted(" ".join(names.told_apart(record.overrides))),
                record.code,
                None if record.seconds is None else f"{record.seconds:.1f}",
                None if record.value is None else repr(record.value),
                os.path.relpath(record.folder, path.parent) if done else None,
            ]
            writer.writerow(["" if cell is None else cell for cell in cells])
    draft.replace(path)


def shown(path: Path) -> Path:
    """Return a path as the user would write it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _read(place: Path) -> list[JobRecord]:
    contents = [json.loads(path.read_text("utf-8")) for path in place.glob("[0-9]*.json")]
    records = [JobRecord(**{**content, "overrides": tuple(content["overrides"])}) for content in contents]
    return sorted(records, key=lambda record: record.job)


def _clear_abandoned(place: Path, out: Path, verb: str) -> None:
    """Remove the folder of a sweep whose processes are all gone; raise if one may live."""
    try:
        owner = json.loads((place / "owner.json").read_text("utf-8"))
        processes = [(owner["pid"], owner["born"])] + [
            (each.pid, each.born) for each in _read(place) if each.code is None
        ]
    except (OSError, ValueError, KeyError, TypeError):
        if not place.exists():
            return
        raise OutputExistsError(_taken(out, verb, "another process", place)) from None
    if owner["host"] != platform.node():
        raise OutputExistsError(_taken(out, verb, f"process {owner['pid']} on {owner['host']}", place))
    living = [pid for pid, born in processes if _born(pid) == born]
    if living:
        raise OutputExistsError(_taken(out, verb, f"process {living[0]}", place))
    # Of two that find it abandoned one moves it; the other tries again.
    gone = place.with_name(f".{uuid4().hex}.old")
    with suppress(OSError):
        place.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _taken(out: Path, verb: str, who: str, place: Path) -> str:
    return (
        f"out={shown(out)}: another `cartera {verb}` is writing there ({who}). Wait for it, or choose another out=. "
        f"If it no longer runs, delete {shown(place)}."
    )


def _born(pid: int) -> float:
    """Return when a process started, in seconds since 1970; 0 if there is none that works."""
    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return 0.0
