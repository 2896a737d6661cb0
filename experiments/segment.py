"""``cartera segment``: the main job, from transactions to named segments."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.app import out_folder, verb
from experiments.failures import PartlyDoneError
from experiments.multirun import parent_run

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from engine.segmentation import Segmentation


def run(config: DictConfig) -> float | None:
    """Run the main job, print the five figures that matter, and return the silhouette: what a search looks for."""
    from engine.clustering.sweep import Evidence
    from engine.compute import open_compute
    from engine.errors import SettingError
    from engine.features.store import customer_table
    from engine.segmentation import SegmentSettings, check_settings, segment_customers, source_facts, timed
    from engine.tracking import check_registered_name, open_tracker
    from experiments.output import check_target, output
    from experiments.progress import Progress
    from experiments.records import record_segmentation
    from experiments.settings import SegmentConfig, public_yaml, typed
    from experiments.transactions import input_paths, read_transactions

    config_yaml = public_yaml(config)
    c = typed(config, SegmentConfig)
    settings = SegmentSettings(
        features=c.features.feature_set(),
        k=c.clustering.ks(),
        backend=c.clustering.backend,
        solver=c.clustering.solver,
        seed=c.seed,
        threads=c.clustering.threads,
        max_passes=c.clustering.max_passes,
        max_seconds=c.clustering.max_seconds,
        device=c.clustering.device,
        min_segments=c.segments.min,
        max_segments=c.segments.max,
        min_share=c.segments.min_share,
        rules=c.segments.rules,
        language=c.language,
        evidence=Evidence(**vars(c.evidence)),
    )
    # Whatever can be refused is refused before the data are read and before the run is recorded.
    _, ks = check_settings(settings)
    if c.tracking.register is not None:
        check_registered_name(c.tracking.register)
        if c.tracking.uri is None:
            raise SettingError("tracking.register: a model is registered in a tracking store; set tracking.uri too.")
    out = out_folder(c.out)
    check_target(out, "segment")
    progress = Progress("segment")
    seconds: dict[str, float] = {}
    name = str(c.data.get("name", "files"))
    tracker = open_tracker(c.tracking.uri, run_name=f"segment {name}", parent=parent_run())
    with (
        open_compute(c.compute.name, workers=c.compute.workers, scheduler=c.compute.scheduler) as compute,
        output(out, "segment", inputs=input_paths(c.data, c.lake)) as folder,
    ):
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
                compute=compute,
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
                    compute=compute,
                    on_trial=lambda trial: advance(next(tried) / len(ks)),
                )
            with progress.step("report"):
                write_results(s, folder, config_yaml=config_yaml, name=name)
            with progress.step("tracking"):
                untracked = (
                    record_segmentation(tracker, s, folder, register=c.tracking.register) if tracker.where else None
                )
    for warning in s.warnings:
        progress.warn(warning.text(c.language))
    if tracker.where:
        print(f"mlflow: {tracker.where}")
    print_figures(s, out)
    if untracked is not None:
        raise PartlyDoneError(f"the results are complete in {out}, but not all was tracked: {untracked}")
    return s.trial.silhouette


def write_results(s: Segmentation, folder: Path, *, config_yaml: str, name: str) -> None:
    """Write everything that a run leaves behind."""
    from engine.segmentation import timed
    from experiments.persons import names_persons

    (folder / "config.yaml").write_text(config_yaml, encoding="utf-8")
    s.profile.write_csv(folder / "profile.csv")
    s.assignments.write_parquet(folder / "assignments.parquet")
    names_persons(folder, "assignments", "assignments.parquet")
    s.save(folder / "bundle")
    with timed(s.seconds, "report"):
        s.report(folder / "report.html", name=name)
    content = json.dumps(s.summary, ensure_ascii=False, indent=1)
    (folder / "summary.json").write_text(content + "\n", encoding="utf-8")


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


main = verb("segment")(run)

if __name__ == "__main__":
    main()
