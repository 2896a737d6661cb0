"""``cartera sweep``: many models in one process, ranked, with a proposal."""

from __future__ import annotations

import json
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from experiments import parity
from experiments.app import out_folder, verb
from experiments.failures import PartlyDoneError
from experiments.multirun import parent_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from omegaconf import DictConfig

    from engine.compute import Compute
    from engine.features.table import CustomerTable
    from engine.sweeps.grid import Grid
    from engine.sweeps.run import Outcome, Sweep
    from experiments.progress import Progress
    from experiments.settings import FeaturesConfig, SweepConfig
    from experiments.transactions import Transactions

SHOWN = 8
"""Configurations that are printed."""


def run(config: DictConfig) -> None:
    """Make the sweep and print what came out."""
    from engine.clustering.sweep import Evidence
    from engine.compute import open_compute
    from engine.device import peak_memory_mb
    from engine.errors import DataError
    from engine.report.sweep_html import render_sweep
    from engine.schema import check_language
    from engine.segmentation import source_facts, timed
    from engine.sweeps.grid import Grid
    from engine.sweeps.journal import Journal
    from engine.sweeps.leaderboard import Limits, check_limits, leaderboard, table
    from engine.sweeps.run import run_sweep
    from engine.sweeps.summary import sweep_summary
    from engine.tracking import open_tracker
    from experiments.grid import axis, command_for, configuration_hash, feature_configs, wanted_ks
    from experiments.output import check_target, output
    from experiments.progress import Progress
    from experiments.records import SweepRecord, store_key
    from experiments.settings import SweepConfig, public_yaml, typed
    from experiments.transactions import input_paths, read_transactions

    c = typed(config, SweepConfig)
    check_language(c.language)
    sets = feature_configs(c)
    grid = Grid(
        feature_sets={name: one.feature_set() for name, one in sets.items()},
        transforms=() if c.sweep.transform is None else axis("transform", c.sweep.transform, str),
        backends=axis("backend", c.clustering.backend if c.sweep.backend is None else c.sweep.backend, str),
        ks=wanted_ks(c),
        seeds=axis("seed", c.seed if c.sweep.seed is None else c.sweep.seed, int),
        solver=c.clustering.solver,
        max_passes=c.clustering.max_passes,
        max_seconds=c.clustering.max_seconds,
        evidence=Evidence(**vars(c.evidence)),
    )
    limits = Limits(c.segments.min, c.segments.max, c.segments.min_share)
    check_limits(limits, grid.ks)
    backends = parity.wanted(c.sweep.parity)
    out = out_folder(c.out)
    check_target(out, "sweep")
    progress = Progress("sweep")
    seconds: dict[str, float] = {}
    name = str(c.data.get("name", "files"))
    journal = Journal(out.parent / f".{configuration_hash(config)}.trials")
    with ExitStack() as stack:
        compute = stack.enter_context(
            open_compute(c.compute.name, workers=c.compute.workers, scheduler=c.compute.scheduler)
        )
        folder = stack.enter_context(output(out, "sweep", inputs=input_paths(c.data, c.lake)))
        stack.enter_context(journal)
        if not c.sweep.resume:
            journal.clear()
        if journal.trials:
            progress.warn(f"going on with a sweep that was cut off: {len(journal.trials)} trials are on record.")
        with timed(seconds, "ingest"):
            read = read_transactions(c.data, c.lake, folder=folder, progress=progress, language=c.language)
        with timed(seconds, "features"):
            tables = customer_tables(sets, c, read, compute, progress)
        some = next(iter(tables.values()))
        shared = {"as_of": some.as_of.date().isoformat(), "where": c.where, "lake_version": read.lake.version}
        # Other data make another run of their own.
        run_note = f"run {store_key(c.tracking.uri)} {json.dumps(shared, sort_keys=True)}"
        tracker = stack.enter_context(
            open_tracker(
                c.tracking.uri,
                run_name=f"sweep {name}",
                parent=parent_run(),
                resume=journal.notes.get(run_note),
            )
        )
        if tracker.run_id:
            journal.note(**{run_note: tracker.run_id})
        record = SweepRecord(tracker, shared)
        with timed(seconds, "clustering"):
            warm_up(grid, max(one.frame.height for one in tables.values()), threads=c.clustering.threads)
        with timed(seconds, "clustering"), progress.step("clustering") as advance:
            done = iter(range(1, grid.trials + 1))

            def on_trial(outcome: Outcome) -> None:
                if outcome.error:
                    progress.warn(f"{outcome.plan.name} failed: {outcome.error}")
                advance(next(done) / grid.trials)

            found = run_sweep(
                tables,
                grid,
                journal,
                threads=c.clustering.threads,
                compute=compute,
                device=c.clustering.device,
                on_trial=on_trial,
                on_configuration=record.configuration,
            )
        if len(found.failed) == grid.trials:
            first = found.failed[0]
            raise DataError(
                f"every one of the {grid.trials} trials failed; the first ({first.plan.name}): {first.error}"
            )
        board = leaderboard(found, limits)
        compared, not_compared = None, ""
        if backends:
            with timed(seconds, "parity"):
                compared, not_compared = parity.compare(
                    backends, found, board, tables, threads=c.clustering.threads, progress=progress
                )
        facts = {
            "name": name,
            **shared,
            "window_days": {name: one.window_days for name, one in tables.items()},
            "notes": source_facts(read.lake)["notes"],
            "warnings": warnings_of(found, tables),
            "segments": {"min": limits.fewest, "max": limits.most, "min_share": limits.min_share},
            "command": command_for(board),
            "seconds": {step: round(value, 3) for step, value in seconds.items()},
            "peak_memory_mb": round(peak_memory_mb(), 1),
            "parity": None if compared is None else compared.to_dict(),
        }
        summary = sweep_summary(found, board, facts)
        with progress.step("report"):
            table(board).write_csv(folder / "sweep.csv")
            (folder / "verdict.json").write_text(json.dumps(summary, ensure_ascii=False, indent=1) + "\n", "utf-8")
            (folder / "config.yaml").write_text(public_yaml(config), "utf-8")
            if compared is not None:
                parity.write(compared, folder)
            (folder / "report.html").write_text(render_sweep(summary, c.language), "utf-8")
        with progress.step("tracking"):
            record.end(found, board, folder)
            if compared is not None and record.failure is None:
                record.failure = parity.track(compared, tracker, folder)
        if not found.failed:
            journal.clear()
    for text in dict.fromkeys(warning[c.language] for warning in summary["warnings"]):
        progress.warn(text)
    if tracker.where:
        print(f"mlflow: {tracker.where}")
    print_findings(summary, out, c.language)
    if compared is not None:
        print(f"\n{compared.table(c.language)}")
    missed = []
    if record.failure is not None:
        missed.append(f"the results are complete in {out}, but not all was tracked: {record.failure}")
    if found.failed:
        missed.append(
            f"{len(found.failed)} of {grid.trials} trials failed; {out / 'sweep.csv'} says why. The same command with "
            "another out= beside it tries only them again."
        )
    if not_compared:
        missed.append(f"the sweep is complete in {out}, but {not_compared}")
    if missed:
        raise PartlyDoneError("\n".join(missed))


def customer_tables(
    sets: dict[str, FeaturesConfig], c: SweepConfig, read: Transactions, compute: Compute, progress: Progress
) -> dict[str, CustomerTable]:
    """Return the customer table of each feature set: one for all sets of the same window."""
    from engine.features.store import customer_table

    found: dict[int | None, CustomerTable] = {}
    for window_days in dict.fromkeys(one.window_days for one in sets.values()):
        columns = [name for one in sets.values() if one.window_days == window_days for name in one.columns]
        with progress.step("features") as advance:

            def told(done: int, buckets: int, advance: Callable[[float], None] = advance) -> None:
                advance(done / buckets)

            found[window_days] = customer_table(
                read.lake,
                columns=columns,
                as_of=c.as_of,
                window_days=window_days,
                where=c.where,
                cache=read.cache,
                compute=compute,
                progress=told,
            )
    return {name: found[one.window_days] for name, one in sets.items()}


def warm_up(grid: Grid, rows: int, *, threads: int | None) -> None:
    """Cluster a few rows with each backend: imports and compilation are no part of the first trial's seconds.

    Parameters
    ----------
    grid
        Its backends, solver and evidence.
    rows
        Customers of the largest table: with many, native clustering goes other ways.
    threads
        Threads to use; all cores by default.
    """
    import numpy as np

    from engine.clustering.backends import hold_rows
    from engine.clustering.solve import FULL_BELOW_ROWS
    from engine.clustering.sweep import Tries

    few = np.random.default_rng(0).normal(size=(512, 2)).astype(np.float32)
    limited = grid.max_passes is not None or grid.max_seconds is not None
    by_size = "full" if rows < FULL_BELOW_ROWS and not limited else "sample"
    native = by_size if grid.solver == "auto" else grid.solver
    for backend in grid.backends:
        # A backend that does not work is told by its trials.
        with suppress(Exception):
            tries = Tries(few, threads=threads, silhouette_rows=grid.evidence.silhouette_rows)
            trial = tries.run(2, backend=backend, solver=native if backend == "native" else "auto")
            tries.labels(trial.centroids)
            if trial.solver == "sample":
                # So few rows are their own sample.
                hold_rows(few, threads=threads).draw(trial.centroids, 0.5, 0.0, 0)


def warnings_of(found: Sweep, tables: Mapping[str, CustomerTable]) -> list[dict[str, str]]:
    """Return what a reader must look at, each once: features that say the same, odd dates, rough comparisons."""
    from engine.schema import Word

    words = [word for words in found.correlated.values() for word in words]
    words += [word for table in tables.values() for word in table.warnings()]
    if len(found.specs) > 1:
        words.append(
            Word(
                "Silhouettes of different feature sets or transforms compare only roughly: a few customers far from "
                "all others raise them. Look at the sizes of the segments, and at their use, before choosing.",
                "Las siluetas de distintos conjuntos de medidas o transformaciones solo se comparan a grandes rasgos: "
                "unos pocos clientes muy alejados del resto las elevan. Antes de elegir, conviene mirar el tamaño de "
                "los segmentos y para qué sirven.",
            )
        )
    return [word.to_dict() for word in dict.fromkeys(words)]


def print_findings(summary: dict[str, Any], out: Path, language: str) -> None:
    """Print what was tried, the first places, the proposal and the command that makes it."""
    from engine.report.numbers import NumberFormat

    shown = NumberFormat(language)
    es = language == "es"

    def say(en: str, spanish: str) -> str:
        return spanish if es else en

    trials = summary["trials"]
    tried = f"{trials['done']} {say('of', 'de')} {trials['asked']}"
    if trials["resumed"]:
        tried += say(f", {trials['resumed']} of an earlier run", f", {trials['resumed']} de una ejecución anterior")
    head = [
        say("rank", "puesto"), say("features", "medidas"), say("transform", "transf."), say("backend", "motor"), "k",
        say("silhouette", "silueta"), say("stability", "estabilidad"), say("balance", "equilibrio"),
        say("seconds", "segundos"), "",
    ]  # fmt: skip
    lines = [head]
    for one in summary["leaderboard"][:SHOWN]:
        if one["rank"] is None:
            continue
        marks = [say("pareto", "pareto")] * one["pareto"] + [say("verdict", "veredicto")] * one["chosen"]
        lines.append(
            [
                str(one["rank"]), one["features"], one["transform"], one["backend"], str(one["k"]),
                shown.decimal(one.get("silhouette"), 3), shown.decimal(one["stability"], 3),
                shown.decimal(one["balance"], 3), shown.decimal(one["seconds"], 3), ", ".join(marks),
            ]
        )  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    proposed = summary["proposed"]
    answers = [(say("trials", "pruebas"), tried)]
    if proposed is not None:
        choice = f"{proposed['features']} {proposed['transform']} {proposed['backend']} k={proposed['k']}"
        answers.append((say("proposal", "propuesta"), f"{choice}: {proposed['reason'][language]}"))
        answers.append((say("to make it", "para hacerla"), summary["command"]))
    answers += [(say("table", "tabla"), str(out / "sweep.csv")), (say("report", "informe"), str(out / "report.html"))]
    width = max(len(label) for label, _ in answers) + 2
    print()
    for label, answer in answers:
        print(f"{label:<{width}}{answer}")


main = verb("sweep")(run)

if __name__ == "__main__":
    main()
