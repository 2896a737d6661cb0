"""``cartera segment``: the main job, from transactions to named segments."""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.app import out_folder, verb
from experiments.failures import PartlyDoneError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from engine.clustering.sweep import Trial
    from engine.errors import TrackingError
    from engine.segmentation import Segmentation
    from engine.tracking import Tracker
    from experiments.progress import Progress


def run(config: DictConfig) -> None:
    """Run the main job and print the five figures that matter."""
    from omegaconf import OmegaConf

    from engine.features.store import customer_table
    from engine.segmentation import SegmentSettings, check_settings, segment_customers, source_facts, timed
    from engine.tracking import open_tracker
    from experiments.output import check_target, output
    from experiments.progress import Progress
    from experiments.settings import SegmentConfig, typed
    from experiments.transactions import input_paths, read_transactions

    config_yaml = OmegaConf.to_yaml(config)
    c = typed(config, SegmentConfig)
    settings = SegmentSettings(
        features=c.features.feature_set(),
        k=c.clustering.ks(),
        backend=c.clustering.backend,
        solver=c.clustering.solver,
        seed=c.seed,
        threads=c.clustering.threads,
        min_segments=c.segments.min,
        max_segments=c.segments.max,
        min_share=c.segments.min_share,
        rules=c.segments.rules,
        language=c.language,
    )
    # Whatever can be refused is refused before the data are read and before the run is recorded.
    _, ks = check_settings(settings)
    out = out_folder(c.out)
    check_target(out, "segment")
    progress = Progress("segment")
    seconds: dict[str, float] = {}
    name = str(c.data.get("name", "files"))
    tracker = open_tracker(c.tracking.uri, run_name=f"segment {name}")
    with output(out, "segment", inputs=input_paths(c.data, c.lake)) as folder:
        with timed(seconds, "ingest"):
            read = read_transactions(c.data, c.lake, folder=folder, progress=progress, language=c.language)
        with timed(seconds, "features"), progress.step("features") as advance:
            table = customer_table(
                read.lake,
                columns=settings.features.columns,
                as_of=c.as_of,
                window_days=c.features.window_days,
                where=c.where,
                cache=read.cache,
                progress=lambda done, buckets: advance(done / buckets),
            )
        with tracker:
            with progress.step("clustering") as advance:
                tried = itertools.count(1)
                s = segment_customers(
                    table,
                    settings,
                    source=source_facts(read.lake),
                    seconds=seconds,
                    on_trial=lambda trial: advance(next(tried) / len(ks)),
                )
            with progress.step("report"):
                write_results(s, folder, config_yaml=config_yaml, name=name)
            untracked = track(tracker, s, folder, progress) if tracker.where else None
    for warning in s.warnings:
        progress.warn(warning.text(c.language))
    if tracker.where:
        print(f"mlflow: {tracker.where}")
    print_figures(s, out)
    if untracked is not None:
        raise PartlyDoneError(f"the results are complete in {out}, but not all was tracked: {untracked}")


def write_results(s: Segmentation, folder: Path, *, config_yaml: str, name: str) -> None:
    """Write everything that a run leaves behind."""
    from engine.segmentation import timed

    (folder / "config.yaml").write_text(config_yaml, encoding="utf-8")
    s.profile.write_csv(folder / "profile.csv")
    s.assignments.write_parquet(folder / "assignments.parquet")
    s.save(folder / "bundle")
    with timed(s.seconds, "report"):
        s.report(folder / "report.html", name=name)
    content = json.dumps(s.summary, ensure_ascii=False, indent=1)
    (folder / "summary.json").write_text(content + "\n", encoding="utf-8")


def track(tracker: Tracker, s: Segmentation, folder: Path, progress: Progress) -> TrackingError | None:
    """Log the run, a child for each number of segments, and those files of ``folder`` that hold no person.

    A store that fails now is returned and not raised: the results stand, whatever becomes of the record of the run.
    """
    import polars as pl

    from engine.errors import TrackingError
    from engine.report.elbow import elbow_png

    shared = _params(s)
    centroids = pl.DataFrame(s.model.spec.inverse(s.model.centroids), schema=s.model.spec.names, orient="row")
    ids = pl.Series("segment_id", [segment.segment_id for segment in s.model.segments])
    with progress.step("tracking"), tempfile.TemporaryDirectory() as scratch:
        centroids.insert_column(0, ids).write_csv(Path(scratch) / "centroids.csv")
        elbow_png(s.trials, s.verdict.k, Path(scratch) / "elbow.png")
        try:
            tracker.params({**shared, "k": s.model.k})
            for trial in s.trials:
                tracker.child(f"k={trial.k}", {**shared, "k": trial.k}, _metrics(trial))
            tracker.metrics({**_metrics(s.trial), "seconds": sum(s.seconds.values())})
            tracker.artifacts(Path(scratch))
            for name in ("config.yaml", "profile.csv", "summary.json", "report.html"):
                tracker.artifacts(folder / name)
            tracker.artifacts(folder / "bundle", into="bundle")
        except TrackingError as error:
            return error
    return None


def print_figures(s: Segmentation, out: Path) -> None:
    """Print the five figures that matter and where the report is, in the reader's language."""
    import polars as pl

    from engine.report.numbers import NumberFormat

    es = s.settings.language == "es"
    shown = NumberFormat(s.settings.language)
    best = s.profile.filter(pl.col("rank") == 1).row(0, named=True)

    def say(en: str, spanish: str) -> str:
        return spanish if es else en

    lines = [
        (say("customers", "clientes"), shown.whole(s.customers.frame.height)),
        (say("revenue", "facturación"), shown.decimal(s.customers.monetary_total)),
        (say("segments", "segmentos"), f"{s.model.k}: {s.verdict.reason.text(s.settings.language)}"),
        (say("silhouette", "silueta"), shown.decimal(s.trial.silhouette, 3)),
        (
            say("top segment", "mejor segmento"),
            f"{best['name']}: {shown.percent(best['share_customers'])} {say('of customers', 'de los clientes')}, "
            f"{shown.percent(best['share_monetary'])} {say('of revenue', 'de la facturación')}",
        ),
        (say("report", "informe"), str(out / "report.html")),
    ]
    width = max(len(label) for label, _ in lines) + 2
    for label, value in lines:
        print(f"{label:<{width}}{value}")


def _params(s: Segmentation) -> dict[str, Any]:
    return {
        "features": ",".join(s.model.spec.names),
        "backend": s.trial.clustering.backend,
        "solver": s.trial.clustering.solver,
        "seed": s.settings.seed,
        "as_of": s.customers.as_of.date().isoformat(),
        "window_days": s.customers.window_days,
        "where": s.customers.where,
        "segments_min": s.settings.min_segments,
        "segments_max": s.settings.max_segments,
        "lake_version": s.source["lake_version"],
    }


def _metrics(trial: Trial) -> dict[str, float]:
    figures = {
        "inertia": trial.inertia,
        "silhouette": trial.silhouette,
        "smallest_share": trial.smallest_share,
        "largest_share": trial.largest_share,
        "seconds": trial.seconds,
    }
    sizes = {f"size_{rank}": float(size) for rank, size in enumerate(sorted(trial.clustering.sizes, reverse=True), 1)}
    return {name: float(value) for name, value in {**figures, **sizes}.items() if value is not None}


main = verb("segment")(run)

if __name__ == "__main__":
    main()
