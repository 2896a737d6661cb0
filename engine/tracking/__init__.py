"""Where the record of a run goes: MLflow, a folder that waits for MLflow's server, or nowhere.

::

    tracker          what a verb sees, and a tracker that keeps nothing
    mlflow_tracker   the same, kept by MLflow
    registered_name  which names MLflow's registry takes
    store            each operation on an MLflow store, safe to repeat
    new_database     a SQLite database, made aside and put in place whole
    outbox           operations that wait on disk for a server that is down
    failures         what stores raise, as one error with the next step
    model            the segmentation as an MLflow model
    model_code       the file that such a model is loaded by

The only package that imports mlflow, and only inside the functions that use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.tracking.failures import UnreachableError, redacted
from engine.tracking.mlflow_tracker import MlflowTracker
from engine.tracking.outbox import OUTBOX
from engine.tracking.registered_name import check_registered_name
from engine.tracking.store import EXPERIMENT, Store
from engine.tracking.tracker import NullTracker, Tracker

__all__ = [
    "EXPERIMENT",
    "MlflowTracker",
    "NullTracker",
    "Tracker",
    "check_registered_name",
    "open_tracker",
    "prepare_store",
    "redacted",
]


def open_tracker(
    uri: str | None,
    *,
    run_name: str,
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
    resume: str | None = None,
    outbox: Path | str = OUTBOX,
) -> Tracker:
    """Return the tracker for ``tracking.uri``: MLflow's, or one that keeps nothing for ``None``.

    Parameters
    ----------
    uri
        A database (``sqlite:///runs/mlflow.db``) or a tracking server.
    run_name
        Shown in MLflow's list.
    parent
        ``run_id`` of the run, of this or another process, that this one belongs to.
    tags
        Further tags of the run.
    resume
        ``run_id`` of an earlier run to go on with; one that the store no longer has is begun anew.
    outbox
        Folder where runs wait while the server is down.

    Raises
    ------
    TrackingError
        The address is wrong, or the store cannot be opened. A server that does not answer is no error.
    """
    if not uri:
        return NullTracker()
    return MlflowTracker(uri, run_name=run_name, parent=parent, tags=tags, resume=resume, outbox=outbox)


def prepare_store(uri: str | None) -> None:
    """Make a database and its experiment, so that many processes find them standing.

    Does nothing for ``None`` and for a server that does not answer.

    Raises
    ------
    TrackingError
        The address is wrong, or the store cannot be opened.
    """
    if not uri:
        return
    try:
        Store(uri)
    except UnreachableError:
        # Each run says so itself and waits in the outbox.
        return
