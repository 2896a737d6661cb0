"""MLflow, and a tracker of the same shape that keeps nothing. The only module that imports mlflow.

A run of ``cartera segment`` is one parent run with a child for each number of segments. Runs are written through the
client, never through MLflow's global state, so that a library user's own active run is left alone.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from engine.errors import TrackingError

log = logging.getLogger(__name__)

EXPERIMENT = "cartera"
SQLITE = "sqlite:///"


class Tracker(Protocol):
    """Where a run's parameters, figures and files go."""

    @property
    def where(self) -> str | None:
        """How to find the run again, for the user; ``None`` where nothing is kept."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def params(self, values: Mapping[str, Any]) -> None:
        """Record the settings of the run."""

    def child(self, name: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Record one finished trial under the run."""

    def metrics(self, values: Mapping[str, float]) -> None:
        """Record figures of the run."""

    def artifacts(self, path: Path, into: str | None = None) -> None:
        """Keep a file or everything in a folder."""


class NullTracker:
    """Keeps nothing: ``tracking.uri=null``."""

    where: str | None = None

    def __enter__(self) -> Self:
        """Start nothing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End nothing."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Drop the settings."""

    def child(self, name: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Drop the trial."""

    def metrics(self, values: Mapping[str, float]) -> None:
        """Drop the figures."""

    def artifacts(self, path: Path, into: str | None = None) -> None:
        """Drop the files."""


class MlflowTracker:
    """One MLflow run and its children.

    Used as a context manager: left by an exception, the run is marked FAILED (KILLED for an interruption).

    Parameters
    ----------
    uri
        A database (``sqlite:///runs/mlflow.db``) or a tracking server.
    run_name
        Shown in MLflow's list.

    Raises
    ------
    TrackingError
        The store cannot be opened or written.
    """

    def __init__(self, uri: str, *, run_name: str) -> None:
        # Both must stand before the first import: telemetry starts with it, and the default is minutes of retries.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        import mlflow

        # Alembic reports every migration of a new database, MLflow every default it takes.
        for chatty in ("alembic", "mlflow"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        self._uri = uri
        self._run_name = run_name
        self._run_id = ""
        with self._translated("opened"):
            if uri.startswith(SQLITE):
                database = Path(uri.removeprefix(SQLITE)).absolute()
                if database.is_dir():
                    # SQLAlchemy would try again and again for half a minute.
                    raise IsADirectoryError(f"{database} is a folder")
                database.parent.mkdir(parents=True, exist_ok=True)
            self._client = mlflow.MlflowClient(tracking_uri=uri)
            self._experiment_id = self._experiment()

    @property
    def where(self) -> str:
        """Experiment and run, and the store they are in."""
        return f"experiment {EXPERIMENT}, run {self._run_id} in {redacted(self._uri)}"

    def __enter__(self) -> Self:
        """Open the parent run."""
        with self._translated("written"):
            self._run_id = self._client.create_run(self._experiment_id, run_name=self._run_name).info.run_id
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the parent run with its outcome."""
        if not self._run_id:
            return
        status = "FINISHED" if kind is None else "KILLED" if kind is KeyboardInterrupt else "FAILED"
        try:
            with self._translated("written"):
                self._client.set_terminated(self._run_id, status)
        except TrackingError as failure:
            # Neither results that stand nor the error that ended the run may give way to this.
            log.warning("%s", failure)

    def params(self, values: Mapping[str, Any]) -> None:
        """Record the settings of the run."""
        self._log(self._run_id, values, {})

    def metrics(self, values: Mapping[str, float]) -> None:
        """Record figures of the run."""
        self._log(self._run_id, {}, values)

    def child(self, name: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Record one finished trial under the run."""
        tags = {"mlflow.parentRunId": self._run_id}
        with self._translated("written"):
            run_id = self._client.create_run(self._experiment_id, run_name=name, tags=tags).info.run_id
            self._log(run_id, params, metrics)
            self._client.set_terminated(run_id)

    def artifacts(self, path: Path, into: str | None = None) -> None:
        """Keep a file or everything in a folder."""
        keep = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        with self._translated("written"):
            keep(self._run_id, str(path), artifact_path=into)

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Turn what the store's drivers raise into one error with the address and the next step."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except TrackingError:
            raise
        except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise TrackingError(
                f"tracking.uri={redacted(self._uri)}: cannot be {what} ({redacted(reason)}). Expected a database such "
                "as sqlite:///runs/mlflow.db, the address of an MLflow server, or null for no tracking."
            ) from None  # the driver's own message may hold the password

    def _log(self, run_id: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric, Param

        now_ms = int(time.time() * 1000)
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}
        with self._translated("written"):
            self._client.log_batch(
                run_id,
                params=[Param(name, text) for name, text in texts.items()],
                metrics=[Metric(name, float(value), now_ms, 0) for name, value in metrics.items()],
            )

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            location = None
            if self._uri.startswith(SQLITE):
                # By default MLflow would put artifacts under ./mlruns of whatever folder the user stands in.
                database = Path(self._uri.removeprefix(SQLITE)).absolute()
                location = (database.parent / "mlflow-artifacts").as_uri()
            try:
                return str(self._client.create_experiment(EXPERIMENT, artifact_location=location))
            except MlflowException:
                # Another process may have made it between the question and the order.
                found = self._client.get_experiment_by_name(EXPERIMENT)
                if found is None:
                    raise
        return str(found.experiment_id)


def open_tracker(uri: str | None, *, run_name: str) -> Tracker:
    """Return the tracker for ``tracking.uri``: MLflow's, or one that keeps nothing for ``None``."""
    return NullTracker() if not uri else MlflowTracker(uri, run_name=run_name)


def redacted(text: str) -> str:
    """Return a text with the user names and passwords of addresses in it blotted out.

    Examples
    --------
    >>> redacted("postgresql://ana:secret@host/db")
    'postgresql://***@host/db'
    """
    return re.sub(r"(\w://)[^\s/@]+@", r"\1***@", text)
