"""What every verb shares: composing its configuration, exit codes, and the folder it writes.

Exit codes: 0 done, 1 our fault, 2 the user's (a message, no traceback; Hydra's own errors too), 3 part of what was
asked for was not done, 130 interrupted.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from engine.errors import CarteraError

if TYPE_CHECKING:
    from omegaconf import DictConfig

EXIT_OUR_FAULT = 1
EXIT_USER = 2
EXIT_PARTLY = 3
EXIT_INTERRUPTED = 130


class PartlyDoneError(Exception):
    """Part of what was asked for was not done; the message says which part."""


def config_dir() -> Path:
    """Return where the configuration tree is: inside the installed package, or at the top of a checkout."""
    installed = Path(__file__).resolve().parent / "conf"
    return installed if installed.is_dir() else installed.parent.parent / "conf"


def verb(name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Turn a function of a composed configuration into the entry point of a verb."""

    def wrap(task: Callable[[DictConfig], None]) -> Callable[[], None]:
        def main() -> None:
            _log_to_stderr()
            signal.signal(signal.SIGTERM, _as_interrupt)
            # Hydra prints its own errors and exits with 1 unless this is set; then it raises.
            os.environ.setdefault("HYDRA_FULL_ERROR", "1")
            import hydra
            from hydra.errors import HydraException
            from omegaconf.errors import OmegaConfBaseException

            failed: list[Exception] = []

            @functools.wraps(task)
            def job(config: DictConfig) -> None:
                try:
                    task(config)
                except Exception as error:
                    if is_multirun():
                        raise
                    # Through Hydra it would come back with a line of its own before our message.
                    failed.append(error)

            run = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=name)(job)
            try:
                run()
                for error in failed:
                    raise error
            except (CarteraError, HydraException, OmegaConfBaseException) as error:
                _leave(EXIT_USER, f"cartera {name}: {_message(error)}")
            except PartlyDoneError as error:
                _leave(EXIT_PARTLY, f"cartera {name}: {error}")
            except KeyboardInterrupt:
                _leave(EXIT_INTERRUPTED, f"cartera {name}: interrupted; nothing was left half-written.")
            except BrokenPipeError:
                # The reader of our output went away (`| head`): its choice, and nobody is left to tell.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(0)
            except Exception:
                traceback.print_exc()
                _leave(EXIT_OUR_FAULT, f"cartera {name}: this is a fault of ours; please report the lines above.")

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


def _message(error: Exception) -> str:
    from hydra.errors import OverrideParseException

    text = str(error).strip()
    if isinstance(error, OverrideParseException):
        return f"{text}\nA value with a comma, a brace or an equals sign needs quotes of its own: 'key=\"a,b\"'."
    cause = error.__cause__
    if cause is not None and str(cause).strip() not in text:
        text = f"{text} ({str(cause).strip()})"
    return text


def _leave(code: int, message: str) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(code)


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
