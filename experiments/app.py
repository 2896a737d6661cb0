"""What every verb shares: composing its configuration, running it as one job or as a sweep of jobs, and leaving."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from experiments.failures import EXIT_PARTLY, report

if TYPE_CHECKING:
    from omegaconf import DictConfig

Task = Callable[["DictConfig"], None]


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
            # Hydra prints its own errors and exits with 1 unless this is set; then it raises.
            os.environ.setdefault("HYDRA_FULL_ERROR", "1")
            import hydra

            codes: list[int] = []
            job = _counted(name, task, codes)
            try:
                hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=name)(job)()
            except SystemExit:
                raise
            except BrokenPipeError:
                # The reader of our output went away (`| head`): its choice, and nobody is left to tell.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(0)
            except BaseException as error:  # Polars' panics are no Exceptions, and an interruption is none either
                sys.exit(report(name, error))
            failed = [code for code in codes if code]
            if len(codes) > 1 and failed:
                print(f"cartera {name}: {len(failed)} of {len(codes)} jobs failed.", file=sys.stderr)
            if failed:
                sys.exit(failed[0] if len(failed) == len(codes) else EXIT_PARTLY)

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


def _counted(name: str, task: Task, codes: list[int]) -> Task:
    """Return the task such that a failure is told at once, adds its exit code, and lets further jobs run.

    Raised through Hydra it would come back with a line of Hydra's before our message, and in a sweep only the first
    one would.
    """

    @functools.wraps(task)
    def job(config: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        settings = HydraConfig.get()
        if is_multirun() and not settings.launcher["_target_"].endswith("BasicLauncher"):
            # In another process nobody would see the list of codes.
            task(config)
            return
        try:
            task(config)
            codes.append(0)
        except BrokenPipeError:
            raise
        except Exception as error:
            codes.append(report(name, error, job=settings.job.num if is_multirun() else None))
            if is_multirun():
                # Hydra made the job's folder before the job.
                with suppress(OSError):
                    Path(settings.runtime.output_dir).rmdir()

    return job


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    level = os.environ.get("CARTERA_LOG", "INFO").upper()
    for package in ("engine", "cartera"):
        logging.getLogger(package).setLevel(level if level in logging.getLevelNamesMapping() else "INFO")
