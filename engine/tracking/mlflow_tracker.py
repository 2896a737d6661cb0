"""The record of a run in MLflow; what a server that is down cannot take waits in the outbox."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from engine.errors import TrackingError
from engine.tracking.failures import UnreachableError, redacted
from engine.tracking.outbox import OUTBOX, Outbox, WaitingRun
from engine.tracking.store import EXPERIMENT, WAITING, Store

log = logging.getLogger(__name__)


class MlflowTracker:
    """One MLflow run and its children.

    Used as a context manager: left by an exception, the run is marked FAILED (KILLED for an interruption). While the
    server does not answer, at the beginning or from some moment on, the rest of the run waits in a folder; the next
    tracker that reaches the server sends it first.

    Parameters
    ----------
    uri
        A database (``sqlite:///runs/mlflow.db``) or a tracking server.
    run_name
        Shown in MLflow's list.
    parent
        ``run_id`` of the run that this one belongs to.
    tags
        Further tags of the run.
    resume
        ``run_id`` of an earlier run to go on with; one that the store no longer has is begun anew.
    outbox
        Folder where runs wait while the server is down.

    Raises
    ------
    TrackingError
        The address is wrong, or the store cannot be opened or written.
    """

    def __init__(
        self,
        uri: str,
        *,
        run_name: str,
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
        resume: str | None = None,
        outbox: Path | str = OUTBOX,
    ) -> None:
        self._uri = uri
        self._run_id: str | None = None
        self._status = "FINISHED"
        self._outbox = Outbox(outbox, uri)
        self._store: Store | None = None
        self._waiting: WaitingRun | None = None
        resumes_waiting = resume is not None and resume.startswith(WAITING)
        self._key = resume.removeprefix(WAITING) if resume and resumes_waiting else uuid4().hex
        self._beginning: dict[str, Any] = {
            "key": self._key,
            "name": run_name,
            "tags": dict(tags or {}),
            "parent": parent,
            "resume": None if resumes_waiting else resume,
        }
        self._again = resumes_waiting
        try:
            self._store = Store(uri)
            self._outbox.send(self._store)
        except UnreachableError as error:
            self._give_up(error)

    @property
    def where(self) -> str:
        """Experiment and run, and the store they are in or wait for."""
        if self._store is not None:
            return f"experiment {EXPERIMENT}, run {self._run_id} in {redacted(self._uri)}"
        place = self._waiting.folder if self._waiting else self._outbox.folder
        return f"waiting in {place} for {redacted(self._uri)}; the next run that reaches it sends this one"

    @property
    def run_id(self) -> str | None:
        """Id of the run, once it is open."""
        return self._run_id

    def __enter__(self) -> Self:
        """Open the run."""
        start_ms = _now_ms()
        self._beginning["start_ms"] = start_ms
        if self._store is not None:
            try:
                self._run_id = self._store.begin(**self._beginning, again=self._again)
                return self
            except UnreachableError as error:
                self._give_up(error)
        self._run_id = self._beginning["resume"] or WAITING + self._key
        self._wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the run with its outcome."""
        if self._run_id is None:
            return
        status = self._status if kind is None else "KILLED" if kind is KeyboardInterrupt else "FAILED"
        try:
            self._do("end", status=status, end_ms=_now_ms())
        except (TrackingError, OSError) as failure:
            # Neither results that stand nor the error that ended the run may give way to this.
            log.warning("%s", failure)
        finally:
            if self._waiting is not None:
                self._waiting.close()

    def params(self, values: Mapping[str, Any]) -> None:
        """Record the settings of the run."""
        self._do("record", params=_texts(values), metrics={}, time_ms=_now_ms())

    def metrics(self, values: Mapping[str, float]) -> None:
        """Record figures of the run."""
        self._do("record", params={}, metrics=_numbers(values), time_ms=_now_ms())

    def child(
        self,
        name: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        *,
        tags: Mapping[str, str] | None = None,
        texts: Mapping[str, str] | None = None,
        status: str = "FINISHED",
    ) -> None:
        """Record one trial under the run; its length in MLflow is its metric ``seconds``, if it has one."""
        end_ms = _now_ms()
        figures = _numbers(metrics)
        self._do(
            "child",
            key=uuid4().hex,
            name=name,
            params=_texts(params),
            metrics=figures,
            tags=dict(tags or {}),
            texts=dict(texts or {}),
            status=status,
            start_ms=end_ms - max(0, int(1000 * figures.get("seconds", 0.0))),
            end_ms=end_ms,
        )

    def known_children(self, tag: str) -> set[str]:
        """Return the values of a tag over the children that are recorded already, here or in the outbox."""
        if self._run_id is None:
            return set()
        found = self._outbox.known_children(self._key, self._run_id, tag)
        if self._store is not None:
            try:
                found.update(tags[tag] for tags in self._store.children(self._run_id) if tag in tags)
            except UnreachableError as error:
                self._give_up(error)
                self._wait()
        return found

    def artifacts(self, path: Path, into: str | None = None) -> None:
        """Keep a file or everything in a folder."""
        self._do("artifacts", path=str(path), into=into)

    def model(self, bundle: Path, *, name: str = "segments", registered_name: str | None = None) -> str | None:
        """Record a bundle as a model for MLflow's own tools, and register it where a name is given.

        Returns
        -------
        str or None
            The model's id: load it by ``models:/ID``. ``None`` while it waits in the outbox.

        Raises
        ------
        BundleError, SourceNotFoundError
            There is no bundle, or it is damaged.
        """
        from engine.bundle import load_bundle

        load_bundle(bundle)
        made = self._do("model", path=str(bundle), name=name, registered_name=registered_name)
        return None if made is None else str(made)

    def finished(self, status: str) -> None:
        """Say how the run ends, FINISHED or FAILED, if not as the block it is used in does."""
        self._status = status

    def _do(self, operation: str, **arguments: Any) -> Any:
        """Do an operation in the store, or write it down for later."""
        if self._store is not None:
            try:
                return getattr(self._store, operation)(self._run_id, **arguments)
            except UnreachableError as error:
                self._give_up(error)
                # The run is there, or was: what is left of it goes on where it stopped.
                self._beginning["resume"] = self._run_id
                self._wait()
        assert self._waiting is not None
        self._waiting.add(operation, arguments)
        return None

    def _wait(self) -> None:
        self._waiting = self._outbox.begin(**self._beginning)

    def _give_up(self, error: UnreachableError) -> None:
        """Turn to the outbox for the rest of the run: one pause for a dead server is enough."""
        self._store = None
        log.warning(
            "%s The record of this run waits in %s and is sent by the next run that reaches the server.",
            error,
            self._outbox.folder,
        )


def _now_ms() -> int:
    return int(time.time() * 1000)


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def _numbers(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}
