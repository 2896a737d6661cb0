"""What a verb sees of the record of a run, and a tracker that keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self


class Tracker(Protocol):
    """Where a run's parameters, figures and files go.

    Used as a context manager: left by an exception, the run is marked FAILED (KILLED for an interruption).
    """

    @property
    def where(self) -> str | None:
        """How to find the run again, for the user; ``None`` where nothing is kept."""

    @property
    def run_id(self) -> str | None:
        """What other processes name as ``parent`` and a later one as ``resume``; ``None`` where nothing is kept."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def params(self, values: Mapping[str, Any]) -> None:
        """Record the settings of the run."""

    def metrics(self, values: Mapping[str, float]) -> None:
        """Record figures of the run."""

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
        """Record one trial under the run; ``texts`` are its small files by name, ``status`` may be FAILED."""

    def known_children(self, tag: str) -> set[str]:
        """Return the values of a tag over the children that are recorded already."""

    def artifacts(self, path: Path, into: str | None = None) -> None:
        """Keep a file or everything in a folder."""

    def model(self, bundle: Path, *, name: str = "segments", registered_name: str | None = None) -> str | None:
        """Record a bundle as a model that MLflow can load; return its id where there is one."""

    def finished(self, status: str) -> None:
        """Say how the run ends, FINISHED or FAILED, if not as the block it is used in does."""


class NullTracker:
    """Keeps nothing: ``tracking.uri=null``."""

    where: str | None = None
    run_id: str | None = None

    def __enter__(self) -> Self:
        """Start nothing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End nothing."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Drop the settings."""

    def metrics(self, values: Mapping[str, float]) -> None:
        """Drop the figures."""

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
        """Drop the trial."""

    def known_children(self, tag: str) -> set[str]:
        """Return that nothing is recorded."""
        return set()

    def artifacts(self, path: Path, into: str | None = None) -> None:
        """Drop the files."""

    def model(self, bundle: Path, *, name: str = "segments", registered_name: str | None = None) -> str | None:
        """Drop the model."""
        return None

    def finished(self, status: str) -> None:
        """Drop the outcome."""
