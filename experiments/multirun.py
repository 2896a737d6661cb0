"""A ``-m`` sweep around its jobs: one sweep a folder, one parent run in MLflow, one table and one exit code at the end.

Hydra calls the beginning; the end is called by the entry point, since Hydra tells nobody of a sweep that failed or was
interrupted.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psutil
from hydra.experimental.callback import Callback

from engine.errors import OutputExistsError, TrackingError
from experiments.failures import EXIT_INTERRUPTED, EXIT_OUR_FAULT, EXIT_PARTLY, report
from experiments.jobs import FOLDER, TABLE, JobRecord, JobRecords, shown, write_table
from experiments.output import MARKER, check_target
from experiments.plan import check_inputs, check_sweeper, compositions, plan, threads_each

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from engine.tracking import Tracker

PARENT_RUN = "CARTERA_PARENT_RUN"
"""Environment variable with the id of the run that the runs of all jobs belong to."""

BEST = "optimization_results.yaml"
PATIENCE_SECONDS = 10.0


def parent_run() -> str | None:
    """Return the id of the MLflow run that this job's run belongs to; ``None`` outside a sweep that is tracked.

    Examples
    --------
    >>> parent_run() is None
    True
    """
    return os.environ.get(PARENT_RUN)


class SweepCallback(Callback):
    """Begins a sweep before Hydra starts its first job."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse what cannot work, take the folder, and open the parent run."""
        verb = str(kwargs["config_name"])
        try:
            _begin(verb, config)
        except Exception as error:
            # Hydra turns exceptions of callbacks into warnings and goes on.
            raise SystemExit(report(verb, error)) from None


@dataclass
class _Sweep:
    verb: str
    out: Path
    records: JobRecords
    planned: list[list[str]] | None
    direction: str | None
    spanish: bool
    made: list[Path]
    handlers: dict[signal.Signals, Any] = field(default_factory=dict)
    tracker: Tracker | None = None
    stopping: bool = False


_sweep: _Sweep | None = None


def _begin(verb: str, config: DictConfig) -> None:
    global _sweep
    from omegaconf import OmegaConf

    check_sweeper(config)
    keys, planned = plan(config)
    threads = threads_each(config)
    asked = Path(str(config.hydra.sweep.dir))
    out = asked.absolute()
    check_target(asked, f"{verb} -m")
    for settings in [config, *compositions(config, planned or [])]:
        check_inputs(settings, out)
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    out.parent.mkdir(parents=True, exist_ok=True)
    records = JobRecords.claim(out, f"{verb} -m", keys=keys, threads=threads)
    direction = OmegaConf.select(config, "hydra.sweeper.direction")
    sweep = _sweep = _Sweep(
        verb,
        out,
        records,
        planned,
        direction=str(getattr(direction, "name", direction)) if direction is not None else None,
        spanish=OmegaConf.select(config, "language") == "es",
        made=made,
    )
    os.environ[FOLDER] = str(records.place)
    sweep.handlers = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    # Once more: whoever held the folder a moment ago may have written to it.
    check_target(asked, f"{verb} -m")
    if not (out / MARKER).exists():
        out.mkdir(exist_ok=True)
        _mark(sweep, [])
    uri = OmegaConf.select(config, "tracking.uri")
    if uri:
        from engine.tracking import open_tracker

        name = OmegaConf.select(config, "data.name") or "files"
        tracker = open_tracker(uri, run_name=f"{verb} -m {name}", tags={"cartera.sweep": verb})
        sweep.tracker = tracker.__enter__()
        if tracker.run_id is not None:
            os.environ[PARENT_RUN] = tracker.run_id


def follows_from_jobs(error: BaseException) -> bool:
    """Return whether an error that ended a sweep only repeats what the jobs tell by themselves."""
    if _sweep is None:
        return False
    kind = type(error).__name__
    # A worker died or took too long; or no trial of Optuna's came to a value.
    return kind in ("TerminatedWorkerError", "TimeoutError") or (
        isinstance(error, ValueError) and str(error).startswith("No trials are completed")
    )


def finish(code: int) -> int:
    """End the sweep, if this process has begun one, and return the exit code.

    Every job counts: 0 when all are done, the first one's code when all failed, 3 when some did, 130 after an
    interruption.

    Parameters
    ----------
    code
        The exit code so far; not 0 when something other than a job failed.
    """
    global _sweep
    sweep, _sweep = _sweep, None
    if sweep is None:
        return code
    try:
        _end_workers()
        jobs = _outcomes(sweep, interrupted=code == EXIT_INTERRUPTED)
        done = [record for record in jobs if record.code == 0]
        failed = [record for record in jobs if record.code != 0]
        try:
            _settle(sweep, jobs)
            if jobs:
                code = _tell(sweep, done, failed, code)
        except BaseException as error:
            if sweep.tracker is not None:
                sweep.tracker.__exit__(type(error), error, error.__traceback__)
            raise
        tracked = _close_run(sweep, done, failed, code)
        return code if tracked or code else EXIT_PARTLY
    finally:
        sweep.records.release()
        for folder in sweep.made:
            with suppress(OSError):
                folder.rmdir()
        for number, handler in sweep.handlers.items():
            signal.signal(number, handler)
        for variable in (FOLDER, PARENT_RUN):
            os.environ.pop(variable, None)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Give jobs in other processes a moment to clean up; without it joblib kills them at once."""
    sweep = _sweep
    if sweep is not None and not sweep.stopping:
        sweep.stopping = True
        sweep.records.stop()
        deadline = time.monotonic() + PATIENCE_SECONDS
        asked: set[int] = set()
        while time.monotonic() < deadline:
            running = {record.pid for record in sweep.records.read() if record.code is None} - {os.getpid()}
            if not running:
                break
            for pid in running - asked:
                with suppress(OSError):
                    os.kill(pid, signal.SIGINT)
            asked |= running
            time.sleep(0.05)
    raise KeyboardInterrupt


def _end_workers() -> None:
    """End joblib's worker processes, which would wait for further work."""
    pool = sys.modules.get("joblib.externals.loky.reusable_executor")
    if pool is None:
        return
    executor = getattr(pool, "_executor", None)
    if executor is not None:
        executor.shutdown(wait=True, kill_workers=True)
    # When one worker was killed, joblib returns before it has ended the others.
    workers = []
    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if any("popen_loky" in word for word in process.cmdline()):
                process.kill()
                workers.append(process)
    psutil.wait_procs(workers, timeout=PATIENCE_SECONDS)


def _outcomes(sweep: _Sweep, *, interrupted: bool) -> list[JobRecord]:
    """Return every job that began, or was to begin, with how it ended."""
    jobs = sweep.records.read()
    if not jobs:
        return []
    ended: list[JobRecord] = []
    for record in jobs:
        code = record.code
        if code is None:
            code = EXIT_INTERRUPTED if interrupted else EXIT_OUR_FAULT
            if not interrupted:
                print(
                    f"cartera {sweep.verb}, job {record.job}: its process was killed (out of memory?), or stopped "
                    "because another job's was; nothing of it was kept. Fewer jobs at a time need less memory: "
                    "hydra.launcher.n_jobs.",
                    file=sys.stderr,
                )
        ended.append(JobRecord(record.job, record.overrides, record.folder, 0, 0.0, code, record.seconds, record.value))
    begun = {record.job for record in jobs}
    for number, overrides in enumerate(sweep.planned or []):
        if number not in begun:
            ended.append(JobRecord(number, tuple(overrides), "", 0, 0.0))
    return sorted(ended, key=lambda record: record.job)


def _settle(sweep: _Sweep, jobs: list[JobRecord]) -> None:
    """Leave the folders of the jobs that are done and the table; an earlier sweep goes when there is a new one."""
    out = sweep.out
    # All jobs have ended: what they had not finished is nobody's.
    for left in out.glob(".*.*.*.partial"):
        shutil.rmtree(left, ignore_errors=True)
    (out / "multirun.yaml").unlink(missing_ok=True)
    for record in jobs:
        folder = Path(record.folder) if record.folder else out
        while record.code != 0 and folder != out and folder.is_relative_to(out):
            with suppress(OSError):
                folder.rmdir()
            folder = folder.parent
    done = {Path(record.folder) for record in jobs if record.code == 0}
    before = check_target(out, f"{sweep.verb} -m")
    if not done:
        if out in sweep.made or not before:
            (out / MARKER).unlink(missing_ok=True)
        return
    for folder in (path for path in out.iterdir() if path.is_dir() and not path.is_symlink()):
        if not any(each.is_relative_to(folder) for each in done):
            _clear_job(folder, sweep.verb)
    wrote = [TABLE, *([BEST] if sweep.direction and (out / BEST).exists() else [])]
    for name in set(before) - set(wrote):
        if not (out / name).is_dir():
            (out / name).unlink(missing_ok=True)
    write_table(out / TABLE, jobs, sweep.records)
    _mark(sweep, [*wrote, *sorted({folder.relative_to(out).parts[0] for folder in done if folder != out})])


def _clear_job(folder: Path, verb: str) -> None:
    """Remove what a job of an earlier sweep wrote; the folder stays while it holds anything else."""
    if not (folder / MARKER).is_file():
        if folder.name.isdigit():
            # Hydra makes a job's folder before the job.
            with suppress(OSError):
                folder.rmdir()
        return
    try:
        wrote = check_target(folder, verb)
    except OutputExistsError:
        return
    for entry in [folder / name for name in wrote] + [folder / MARKER]:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _mark(sweep: _Sweep, wrote: Sequence[str]) -> None:
    draft = sweep.out / f"{MARKER}.{uuid4().hex}"
    draft.write_text(json.dumps({"verb": f"{sweep.verb} -m", "wrote": list(wrote)}) + "\n", encoding="utf-8")
    draft.replace(sweep.out / MARKER)


def _tell(sweep: _Sweep, done: list[JobRecord], failed: list[JobRecord], code: int) -> int:
    """Print what came of the jobs and return the exit code."""
    from engine.report.numbers import NumberFormat

    total = len(done) + len(failed)
    spanish = sweep.spanish
    if done:
        best = _best(done, sweep.direction)
        if best is not None and best.value is not None:
            what = " ".join(sweep.records.told_apart(best.overrides))
            value = NumberFormat("es" if spanish else "en").decimal(best.value, 3)
            print(f"{'mejor: trabajo' if spanish else 'best: job'} {best.job}, {what} ({value})")
        count = f"{len(done)} de {total} terminados" if spanish else f"{len(done)} of {total} done"
        print(f"{'trabajos' if spanish else 'jobs'}: {count}, {shown(sweep.out / TABLE)}")
        sys.stdout.flush()
    if code == EXIT_INTERRUPTED or not failed:
        return code
    if total > 1:
        numbers = ", ".join(str(record.job) for record in failed)
        print(f"cartera {sweep.verb}: {len(failed)} of {total} jobs failed: {numbers}.", file=sys.stderr)
    return EXIT_PARTLY if done else failed[0].code or code or EXIT_OUR_FAULT


def _best(done: Sequence[JobRecord], direction: str | None) -> JobRecord | None:
    judged = [record for record in done if record.value is not None]
    if not judged or direction not in ("minimize", "maximize"):
        return None
    sign = 1 if direction == "maximize" else -1
    return max(judged, key=lambda record: sign * (record.value or 0.0))


def _close_run(sweep: _Sweep, done: list[JobRecord], failed: list[JobRecord], code: int) -> bool:
    """Close the parent run with the jobs' outcome; return whether all of it was recorded."""
    tracker = sweep.tracker
    if tracker is None:
        return True
    complete = True
    try:
        tracker.metrics({"jobs": len(done) + len(failed), "jobs_failed": len(failed)})
        if done:
            tracker.artifacts(sweep.out / TABLE)
    except TrackingError as error:
        complete = False
        print(f"cartera {sweep.verb}: the results are complete, but not all was tracked: {error}", file=sys.stderr)
    tracker.finished("FINISHED" if done else "FAILED")
    interruption = KeyboardInterrupt() if code == EXIT_INTERRUPTED else None
    tracker.__exit__(type(interruption) if interruption else None, interruption, None)
    if tracker.where and done:
        print(f"mlflow: {tracker.where}")
    return complete
