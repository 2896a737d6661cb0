"""Each operation on an MLflow store, safe to repeat.

A run and a child carry a key of their own as a tag; times are arguments. An operation that broke off, or waited in the
outbox, is done again with ``again=True``: what is there already is recognised, and nothing is there twice. All goes
through MLflow's client, never through its global state, so that a library user's own active run is left alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import TrackingError
from engine.tracking.failures import check_address, redacted, sqlite_file, translated
from engine.tracking.lock import locked_folder
from engine.tracking.new_database import is_missing, new_database

EXPERIMENT = "cartera"
KEY = "cartera.key"
"""Tag by which a run or a child is recognised when it is written again."""

PARENT_KEY = "cartera.parentKey"
"""Tag of a run whose parent waited in the outbox when it was written."""

PARENT = "mlflow.parentRunId"
WAITING = "outbox-"
"""What the id of a run begins with that the store has not seen; the key follows."""

# Before MLflow's first import: telemetry starts with it, and its patience is measured in minutes.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "PGCONNECT_TIMEOUT": "4",
}


class Store:
    """An MLflow store with our experiment in it.

    Parameters
    ----------
    uri
        A database or a tracking server.

    Raises
    ------
    TrackingError
        The store cannot be opened.
    UnreachableError
        It may be right but does not answer.
    """

    def __init__(self, uri: str) -> None:
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        import mlflow

        # Alembic reports every migration of a new database, MLflow every default it takes; what fails we say ourselves.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        self.uri = uri
        with translated(uri, "opened"):
            check_address(uri)
            with _one_at_a_time(uri) as alone:
                self._make_if_missing(alone)
                place = _from_anywhere(uri)
                self.client = mlflow.MlflowClient(tracking_uri=place, registry_uri=place)
                self.experiment_id = self._experiment()

    def begin(
        self,
        *,
        key: str,
        name: str,
        start_ms: int,
        tags: Mapping[str, str],
        parent: str | None,
        resume: str | None = None,
        again: bool = False,
    ) -> str:
        """Open a run, a new one or one that is there already, and return its id."""
        with translated(self.uri, "written"):
            run_id = self._reopened(resume) if resume else None
            if run_id is None and again:
                run_id = self.find(key)
                if run_id is not None:
                    self.client.update_run(run_id, status="RUNNING")
            if run_id is None:
                labels = {KEY: key, **tags}
                if parent is not None:
                    known = self.find(parent.removeprefix(WAITING)) if parent.startswith(WAITING) else parent
                    labels |= {PARENT: known} if known else {PARENT_KEY: parent.removeprefix(WAITING)}
                run_id = self._create(name, labels, start_ms)
            if again:
                for orphan in self._search(PARENT_KEY, key):
                    if PARENT not in orphan.data.tags:
                        self.client.set_tag(orphan.info.run_id, PARENT, run_id)
        return run_id

    def record(self, run_id: str, *, params: Mapping[str, str], metrics: Mapping[str, float], time_ms: int) -> None:
        """Write settings and figures."""
        from mlflow.entities import Metric, Param

        with translated(self.uri, "written"):
            self.client.log_batch(
                run_id,
                params=[Param(name, text) for name, text in params.items()],
                metrics=[Metric(name, value, time_ms, 0) for name, value in metrics.items()],
            )

    def child(
        self,
        run_id: str,
        *,
        key: str,
        name: str,
        params: Mapping[str, str],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        texts: Mapping[str, str],
        status: str,
        start_ms: int,
        end_ms: int,
        again: bool = False,
    ) -> None:
        """Write one finished trial under a run."""
        with translated(self.uri, "written"):
            child_id = self.find(key) if again else None
            if child_id is None:
                child_id = self._create(name, {KEY: key, PARENT: run_id, **tags}, start_ms)
            self.record(child_id, params=params, metrics=metrics, time_ms=end_ms)
            for file, text in texts.items():
                self.client.log_text(child_id, text, file)
            self.client.set_terminated(child_id, status, end_ms)

    def artifacts(self, run_id: str, *, path: str, into: str | None) -> None:
        """Keep a file or everything in a folder."""
        keep = self.client.log_artifacts if Path(path).is_dir() else self.client.log_artifact
        with translated(self.uri, "written"):
            keep(run_id, path, artifact_path=into)

    def model(self, run_id: str, *, path: str, name: str, registered_name: str | None) -> str:
        """Record a bundle as a model and return the model's id."""
        from engine.tracking.model import log_model

        with translated(self.uri, "written"):
            return log_model(self.client, self.experiment_id, run_id, Path(path), name, registered_name)

    def end(self, run_id: str, *, status: str, end_ms: int) -> None:
        """Close a run with its outcome."""
        with translated(self.uri, "written"):
            self.client.set_terminated(run_id, status, end_ms)

    def find(self, key: str) -> str | None:
        """Return the id of the run that carries a key."""
        found = self._search(KEY, key)
        return str(found[0].info.run_id) if found else None

    def children(self, run_id: str) -> Iterator[Mapping[str, str]]:
        """Yield the tags of each child of a run; one that a killed process left half-written is deleted."""
        with translated(self.uri, "read"):
            for run in self._search(PARENT, run_id):
                if run.info.status == "RUNNING":
                    self.client.delete_run(run.info.run_id)
                else:
                    yield run.data.tags

    def _create(self, name: str, tags: Mapping[str, str], start_ms: int) -> str:
        created = self.client.create_run(self.experiment_id, start_time=start_ms, run_name=name, tags=dict(tags))
        return str(created.info.run_id)

    def _reopened(self, run_id: str) -> str | None:
        from mlflow.exceptions import MlflowException

        try:
            if self.client.get_run(run_id).info.lifecycle_stage != "active":
                return None
            self.client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return run_id

    def _search(self, tag: str, value: str) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], f"tags.`{tag}` = '{value}'", page_token=token)
            found.extend(page)
            token = page.token
            if not token:
                return found

    def _make_if_missing(self, alone: bool) -> None:
        database = sqlite_file(self.uri)
        # An address in SQLite's own form (file:...?mode=ro&uri=true) says itself what may be made.
        if database is None or "uri=true" in self.uri or not is_missing(database):
            return
        import mlflow

        with new_database(database, alone=alone) as making:
            place = f"sqlite:///{making}"
            self.client = mlflow.MlflowClient(tracking_uri=place, registry_uri=place)
            try:
                self._experiment()
            finally:
                _close(place)
        # An earlier file of that name, since moved away, may still be open in this process.
        _close(_from_anywhere(self.uri))

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            # By default MLflow would put artifacts under ./mlruns of whatever folder the user stands in.
            database = sqlite_file(self.uri)
            location = None if database is None else (database.parent / "mlflow-artifacts").as_uri()
            try:
                made = str(self.client.create_experiment(EXPERIMENT, artifact_location=location))
                # Otherwise MLflow's pages offer tools for language models.
                self.client.set_experiment_tag(made, "mlflow.experimentKind", "custom_model_development")
                return made
            except MlflowException:
                # Another process may have made it between the question and the order.
                found = self.client.get_experiment_by_name(EXPERIMENT)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"tracking.uri={redacted(self.uri)}: the experiment {EXPERIMENT} was deleted there. Bring it back with "
                f"`mlflow experiments restore -x {found.experiment_id}`, or choose another tracking.uri."
            )
        return str(found.experiment_id)


def _from_anywhere(uri: str) -> str:
    """Return the address with a database's path made absolute: MLflow keeps connections by address; folders change."""
    database = sqlite_file(uri)
    if database is None or "?" in uri:
        return uri
    return f"sqlite:///{database}"


def _close(place: str) -> None:
    """Close what MLflow holds open of a database; it keeps engines for each address."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for engines in (SqlAlchemyStore._engine_map, Registry._engine_map):
        engine = engines.pop(place, None)
        if engine is not None:
            engine.dispose()


@contextmanager
def _one_at_a_time(uri: str) -> Iterator[bool]:
    """Let one process at a time make a SQLite database: MLflow's migrations trip over one another."""
    database = sqlite_file(uri)
    if database is None:
        yield False
        return
    with locked_folder(database.parent) as alone:
        yield alone
