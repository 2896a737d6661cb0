"""What a failed run tells its user, and the exit code it leaves with.

Exit codes: 0 done, 1 our fault, 2 the user's (a message, no traceback; Hydra's own errors too), 3 part of what was
asked for was not done, 130 interrupted.
"""

from __future__ import annotations

import difflib
import re
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from engine.errors import CarteraError

EXIT_OUR_FAULT = 1
EXIT_USER = 2
EXIT_PARTLY = 3
EXIT_INTERRUPTED = 130

SWEEP_AXES = ("features", "transform", "backend", "k", "seed")
"""Keys of ``cartera sweep`` that take several values, as ``sweep.KEY=[…]``."""


class PartlyDoneError(Exception):
    """Part of what was asked for was not done; the message says which part."""


def report(verb: str, error: BaseException, *, job: int | None = None) -> int:
    """Print what went wrong and return the exit code.

    Parameters
    ----------
    verb
        Who failed.
    error
        Any exception; of those that are not the user's to mend the traceback is printed too.
    job
        Number of the job in a ``-m`` sweep.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    name = f"cartera {verb}" if job is None else f"cartera {verb}, job {job}"
    if isinstance(error, KeyboardInterrupt):
        code, message = EXIT_INTERRUPTED, "interrupted; nothing was left half-written."
    elif isinstance(error, PartlyDoneError):
        code, message = EXIT_PARTLY, str(error)
    elif isinstance(error, HydraException | OmegaConfBaseException):
        code, message = EXIT_USER, hydra_message(verb, error)
    elif isinstance(error, ValueError) and str(error).startswith("Config group override"):
        # Hydra's own, but no HydraException.
        code, message = EXIT_USER, "a group of settings takes the name of one of its files (group=NAME), not null."
    elif isinstance(error, CarteraError):
        code, message = EXIT_USER, str(error)
    elif isinstance(error, OSError) and error.strerror:
        # A place that cannot be written, a full disk, a name too long: the machine's own words say it best.
        code, message = EXIT_USER, f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    else:
        traceback.print_exception(error)
        code, message = EXIT_OUR_FAULT, "this is a fault of ours; please report the lines above."
    print(f"{name}: {message}", file=sys.stderr)
    return code


def hydra_message(verb: str, error: Exception) -> str:
    """Return an error of Hydra's in our words, with the next step."""
    from hydra.errors import OverrideParseException

    text = str(error).strip()
    if isinstance(error, OverrideParseException):
        return f"{text}\nA value with a comma, a brace or an equals sign needs quotes of its own: 'key=\"a,b\"'."
    unknown = re.match(r"Could not override '([^']*)'", text)
    if unknown:
        key = unknown.group(1)
        close = difflib.get_close_matches(key, list(_setting_names(verb)), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        return f"no setting {key!r}{hint}. `cartera {verb} --help` lists the settings."
    options = re.match(
        r"(?:In '[^']*': )?Could not find '([^']*)'\s+Available options in '[^']*':\s+(.*?)\s+Config search", text, re.S
    )
    if options and options.group(1) == "hydra/sweeper/optuna":
        return "hydra/sweeper=optuna needs Optuna, which is not installed. Try: pip install 'cartera[optuna]'."
    if options:
        return f"no option {options.group(1)!r}; there are {', '.join(options.group(2).split())}."
    several = re.match(r"Ambiguous value for argument '([^=]*)=([^']*)'", text)
    if several:
        key, values = several.groups()
        axis = key.rpartition(".")[2]
        here = f"In this sweep: sweep.{axis}=[{values}]. " if verb == "sweep" and axis in SWEEP_AXES else ""
        return f"{key}: expected one value; got {values}. {here}One run for each: add -m. As a list: {key}=[{values}]."
    cause = error.__cause__
    if cause is not None and str(cause).strip() not in text:
        text = f"{text} ({str(cause).strip()})"
    return text


def _setting_names(verb: str) -> Iterator[str]:
    """Yield the dotted names of a verb's settings."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    from experiments.app import config_dir

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        tree = OmegaConf.to_container(compose(verb))
    pending: list[tuple[str, Any]] = [("", tree)]
    while pending:
        prefix, node = pending.pop()
        if isinstance(node, dict):
            for key, value in node.items():
                yield f"{prefix}{key}"
                pending.append((f"{prefix}{key}.", value))
