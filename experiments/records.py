"""What runs and sweeps leave in the tracking store: figures, models and files that hold no person."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import TrackingError

if TYPE_CHECKING:
    from engine.clustering.trial import Trial
    from engine.segmentation import Segmentation
    from engine.sweeps.leaderboard import Leaderboard
    from engine.sweeps.run import Configuration, Sweep
    from engine.tracking import Tracker

TRIAL_TAG = "cartera.trial"
"""Tag by which a resumed sweep knows the trials that the tracking store has already."""

FAILED_TAG = "cartera.failed_trial"
"""The same of trials that failed: they are tried again, and then have another child."""


def store_key(uri: str | None) -> str:
    """Return a name for a tracking store that does not tell its address, which may hold a password."""
    return hashlib.sha256((uri or "").encode()).hexdigest()[:12]


def record_segmentation(
    tracker: Tracker, s: Segmentation, folder: Path, *, register: str | None = None
) -> TrackingError | None:
    """Log a run, a child for each number of segments, the model, and those files of ``folder`` that hold no person.

    ``register`` is the name under which the model is registered. A store that fails now is returned and not raised:
    the results stand, whatever becomes of the record of the run.
    """
    import polars as pl

    from engine.report.elbow import elbow_png

    shared = {
        "features": ",".join(s.model.spec.names),
        "backend": s.trial.backend,
        "solver": s.trial.solver,
        "device": s.trial.device,
        "seed": s.settings.seed,
        "as_of": s.customers.as_of.date().isoformat(),
        "window_days": s.customers.window_days,
        "where": s.customers.where,
        "segments_min": s.settings.min_segments,
        "segments_max": s.settings.max_segments,
        "lake_version": s.source["lake_version"],
    }
    centroids = pl.DataFrame(s.model.spec.inverse(s.model.centroids), schema=s.model.spec.names, orient="row")
    ids = pl.Series("segment_id", [segment.segment_id for segment in s.model.segments])
    with tempfile.TemporaryDirectory() as scratch:
        centroids.insert_column(0, ids).write_csv(Path(scratch) / "centroids.csv")
        elbow_png(s.trials, s.verdict.k, Path(scratch) / "elbow.png")
        try:
            tracker.params({**shared, "k": s.model.k})
            for trial in s.trials:
                tracker.child(f"k={trial.k}", {**shared, "k": trial.k}, metrics_of(trial))
            tracker.metrics({**metrics_of(s.trial), "seconds": sum(s.seconds.values())})
            tracker.artifacts(Path(scratch))
            for name in ("config.yaml", "profile.csv", "summary.json", "report.html"):
                tracker.artifacts(folder / name)
            tracker.model(folder / "bundle", registered_name=register)
        except TrackingError as error:
            return error
    return None


def metrics_of(trial: Trial) -> dict[str, float]:
    """Return the figures of a trial and the sizes of its clusters, the largest first."""
    sizes = sorted(trial.sizes.tolist(), reverse=True)
    return {**trial.figures(), **{f"size_{rank}": float(size) for rank, size in enumerate(sizes, 1)}}


class SweepRecord:
    """Logs a sweep as it goes: a child run for each trial, with its centroids.

    Parameters
    ----------
    tracker
        Open; the run in it is the parent.
    shared
        Parameters that all trials have in common.

    Attributes
    ----------
    failure
        The first failure of the store; after it nothing more is logged, for the results stand without.
    """

    def __init__(self, tracker: Tracker, shared: Mapping[str, Any]) -> None:
        self._tracker = tracker
        self._shared = shared
        self.failure: TrackingError | None = None
        try:
            self._known = {tag: tracker.known_children(tag) for tag in (TRIAL_TAG, FAILED_TAG)}
        except TrackingError as error:
            self._known = {TRIAL_TAG: set(), FAILED_TAG: set()}
            self.failure = error

    def configuration(self, one: Configuration, names: Sequence[str]) -> None:
        """Log the trials of a configuration whose seeds are all done; those that are logged already are left alone.

        Parameters
        ----------
        one
            The configuration.
        names
            Features, in the order of the centroids' columns.
        """
        for outcome in one.outcomes:
            # A trial without a matrix has no id of its own; its name is as good.
            key = outcome.trial_id or outcome.plan.name
            plan, trial = outcome.plan, outcome.trial
            tag = FAILED_TAG if trial is None else TRIAL_TAG
            if self.failure is not None or key in self._known[tag]:
                continue
            params = {
                **self._shared,
                "features": plan.features,
                "transform": plan.transform,
                "backend": plan.backend,
                "solver": plan.solver if trial is None else trial.solver,
                **({} if trial is None else {"device": trial.device}),
                "k": plan.k,
                "seed": plan.seed,
                **({"error": outcome.error} if outcome.error else {}),
            }
            metrics = {} if trial is None else metrics_of(trial)
            if one.stability is not None and len(one.trials) == len(one.outcomes):
                # A seed that failed may be done later, and the figure would be another.
                metrics["stability"] = one.stability
            texts = {} if trial is None else {"centroids.csv": centroids_csv(trial, names)}
            status = "FAILED" if trial is None else "FINISHED"
            try:
                self._tracker.child(plan.name, params, metrics, tags={tag: key}, texts=texts, status=status)
            except TrackingError as error:
                self.failure = error

    def end(self, sweep: Sweep, board: Leaderboard, folder: Path) -> None:
        """Log what the sweep found as a whole, and the files of ``folder``."""
        if self.failure is not None:
            return
        grid = sweep.grid
        try:
            self._tracker.params(
                {
                    **self._shared,
                    "features": ",".join(grid.feature_sets),
                    "transform": ",".join(dict.fromkeys(cell.transform for cell in grid.cells)),
                    "backend": ",".join(grid.backends),
                    "k": ",".join(map(str, grid.ks)),
                    "seed": ",".join(map(str, grid.seeds)),
                    "trials": grid.trials,
                }
            )
            self._tracker.metrics({"trials_failed": len(sweep.failed)})
            if board.proposed is not None:
                self._tracker.metrics(metrics_of(board.proposed.best))
            with tempfile.TemporaryDirectory() as scratch:
                for (features, transform), spec in sweep.specs.items():
                    content = json.dumps(spec.to_dict(), indent=1)
                    (Path(scratch) / f"{features}-{transform}.json").write_text(content + "\n", encoding="utf-8")
                self._tracker.artifacts(Path(scratch), into="feature_specs")
            for name in ("config.yaml", "sweep.csv", "verdict.json", "report.html"):
                self._tracker.artifacts(folder / name)
        except TrackingError as error:
            self.failure = error


def centroids_csv(trial: Trial, names: Sequence[str]) -> str:
    """Return the centroids in the scaled space as CSV, a row per cluster, every digit kept."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["cluster", "size", *names])
    for number, (size, centroid) in enumerate(zip(trial.sizes.tolist(), trial.centroids.tolist(), strict=True)):
        rows.writerow([number, size, *map(repr, centroid)])
    return text.getvalue()
