"""What every verb shares: composing its configuration, running it as one job or as a sweep of jobs, and leaving."""

from __future__ import annotations

import functools
import io
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from experiments import failures
from experiments.failures import EXIT_INTERRUPTED, EXIT_OUR_FAULT, report

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from experiments.jobs import JobRecords

Task = Callable[["DictConfig"], Any]
"""What a verb does. A number that it returns is what Optuna's sweeper judges the job by."""

THREADS = ("POLARS_MAX_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def config_dir() -> Path:
    """Return where the configuration tree is: inside the installed package, or at the top of a checkout."""
    installed = Path(__file__).resolve().parent / "conf"
    return installed if installed.is_dir() else installed.parent.parent / "conf"


def verb(name: str) -> Callable[[Task], Callable[[], None]]:
    """Turn a function of a composed configuration into the entry point of a verb."""

    def wrap(task: Task) -> Callable[[], None]:
        def main() -> None:
            _log_to_stderr()
            signal.signal(signal.SIGTERM, _as_interrupt)
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, _as_interrupt)
            # Hydra prints its own errors and exits with 1 unless this is set; then it raises.
            os.environ.setdefault("HYDRA_FULL_ERROR", "1")
            import hydra

            from experiments import multirun

            code = 0
            try:
                hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=name)(_told(name, task))()
            except SystemExit as leaving:
                code = leaving.code if isinstance(leaving.code, int) else EXIT_OUR_FAULT if leaving.code else 0
            except BrokenPipeError:
                _hang_up()
            except BaseException as error:  # Polars' panics are no Exceptions, and an interruption is none either
                code = 0 if multirun.follows_from_jobs(error) else report(name, error)
            try:
                code = multirun.finish(code)
            except BrokenPipeError:
                _hang_up()
            except Exception as error:
                code = report(name, error)
            if code:
                sys.exit(code)

        return main

    return wrap


def out_folder(out: str) -> Path:
    """Return the folder of this run: ``out``, or the job's own folder under it in a ``-m`` sweep."""
    from hydra.core.hydra_config import HydraConfig

    return Path(HydraConfig.get().runtime.output_dir) if is_multirun() else Path(out)


def is_multirun() -> bool:
    """Return whether this job is one of a ``-m`` sweep."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def _told(name: str, task: Task) -> Task:
    """Return the task such that a failure is told where it happens.

    Raised through Hydra it would come back with a line of Hydra's before our message, and in a sweep only the first
    one would.
    """

    @functools.wraps(task)
    def job(config: DictConfig) -> Any:
        if is_multirun():
            return _run_in_sweep(name, task, config)
        try:
            return task(config)
        except BrokenPipeError:
            raise
        except Exception as error:
            sys.exit(report(name, error))

    return job


class _Shared(io.TextIOWrapper):
    """A terminal that several jobs write to: each one's bars would draw over the others'."""

    def isatty(self) -> bool:
        """Return ``False``."""
        return False


def _run_in_sweep(name: str, task: Task, config: DictConfig) -> Any:
    """Run one job of a sweep, in whatever process it is; note how it ends and let the others run."""
    from hydra.core.hydra_config import HydraConfig

    from experiments.jobs import JobRecords

    settings = HydraConfig.get()
    number = int(settings.job.num)
    overrides = [str(text) for text in settings.overrides.task]
    records = JobRecords.current()
    if records.stopped:
        raise KeyboardInterrupt
    if records.owner != os.getpid():
        _settle_in(records, number)
    start = time.perf_counter()
    record = records.start(number, overrides, settings.runtime.output_dir)
    code, value, figures = EXIT_INTERRUPTED, None, io.StringIO()
    try:
        with redirect_stdout(figures):
            records.own_folder(record)
            value = task(config)
        code = 0
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # Polars' panics are no Exceptions
        code = report(name, error, job=number)
    finally:
        records.end(record, code, time.perf_counter() - start, value if isinstance(value, int | float) else None)
        if records.owner != os.getpid():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if records.abandoned:
                # Nobody waits for the result, but joblib would hand this process the next job all the same.
                os._exit(EXIT_OUR_FAULT)
    # In one piece: other jobs print at the same time.
    word = "trabajo" if config.get("language") == "es" else "job"
    heading = " ".join([f"{word} {number}:", *records.told_apart(overrides)])
    try:
        if figures.getvalue():
            sys.stdout.write(f"{heading}\n{figures.getvalue()}")
            sys.stdout.flush()
    except BrokenPipeError:
        _hang_up()
    return value


def _settle_in(records: JobRecords, number: int) -> None:
    """Prepare a worker process: its share of the cores, its log, and one interruption that no second one disturbs."""
    for variable in THREADS if records.threads else ():
        # Read when Polars and the others are imported, which is when the task begins.
        os.environ.setdefault(variable, str(records.threads))
    if sys.stderr.isatty():
        sys.stderr = _Shared(sys.stderr.buffer, sys.stderr.encoding, sys.stderr.errors, line_buffering=True)
    _log_to_stderr(f"job {number} ")
    signal.signal(signal.SIGINT, _as_only_interrupt)


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    failures.interrupted = True
    raise KeyboardInterrupt


def _as_only_interrupt(number: int, frame: FrameType | None) -> None:
    # A Ctrl-C reaches a worker twice: from the terminal and from the process that started it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _hang_up() -> None:
    """Go on in silence: the reader of our output went away (`| head`), and nobody is left to tell."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _log_to_stderr(who: str = "") -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {who}%(name)s: %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    level = os.environ.get("CARTERA_LOG", "INFO").upper()
    for package in ("engine", "cartera"):
        logging.getLogger(package).setLevel(level if level in logging.getLevelNamesMapping() else "INFO")
