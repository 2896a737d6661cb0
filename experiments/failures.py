"""What a failed run tells its user, and the exit code it leaves with.

Exit codes: 0 done, 1 our fault, 2 the user's (a message, no traceback; Hydra's own errors too), 3 part of what was
asked for was not done, 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import sys
import traceback
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.errors import CarteraError

EXIT_OUR_FAULT = 1
EXIT_USER = 2
EXIT_PARTLY = 3
EXIT_INTERRUPTED = 130

interrupted = False
"""Whether an interruption was asked for: a library that swallows it halfway may fail with something else for it."""

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
    if isinstance(error, KeyboardInterrupt) or interrupted:
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
        return (
            f"no setting {key!r}{_meant(key, list(_setting_names(verb)))}. `cartera {verb} --help` lists the settings."
        )
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


def type_message(kind: type, key: str, value: Any) -> str:
    """Return what is wrong with a setting of the wrong type: what was expected and what came.

    Parameters
    ----------
    kind
        Dataclass of the verb's settings.
    key
        Dotted name, with the place in a list in brackets.
    value
        What came.

    Examples
    --------
    >>> from experiments.settings import LookalikeConfig, ServeConfig
    >>> type_message(ServeConfig, "serve.port", "abc")
    "serve.port: expected a whole number; got 'abc'."
    >>> type_message(LookalikeConfig, "codes[1]", [3])
    'codes[1]: expected text; got [3].'
    >>> type_message(ServeConfig, "serve.prt", 1)
    "serve.prt: no such setting (did you mean 'serve.port'?). There are serve.behind_proxy, serve.host, ..."
    """
    wanted: Any = kind
    for step in re.findall(r"[^.\[\]]+", key):
        wanted, _ = _without_none(wanted)
        if dataclasses.is_dataclass(wanted):
            known = typing.get_type_hints(wanted)
            if step not in known:
                return _no_such(key, key.rpartition(".")[0], known, list(_names_in(kind)))
            wanted = known[step]
        else:
            wanted = next(iter(typing.get_args(wanted)[-1:]), Any)
    wanted, optional = _without_none(wanted)
    came = json.dumps(value) if value is None or isinstance(value, bool) else f"{value!r:.80}"
    null = ", or null" if optional else ""
    return f"{key}: expected {_told(wanted, key, value)}{null}; got {came}."


def _told(wanted: Any, key: str, came: Any) -> str:
    """Return a type in words, with an example where it takes one."""
    if dataclasses.is_dataclass(wanted):
        inner = next(iter(typing.get_type_hints(wanted)))
        return f"a group of settings ({key}.{inner}=… and others)"
    if typing.get_origin(wanted) is list:
        return f"a list, as in {key}=[{came if isinstance(came, str | int) else '…'}]"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return words.get(wanted, "another value")


def _without_none(wanted: Any) -> tuple[Any, bool]:
    """Return a type without its None, and whether it had one."""
    kinds = [one for one in typing.get_args(wanted) if one is not type(None)]
    if type(None) in typing.get_args(wanted) and len(kinds) == 1:
        return kinds[0], True
    return wanted, False


def _no_such(key: str, group: str, known: Mapping[str, Any], every: Sequence[str]) -> str:
    names = sorted(f"{group}.{name}" if group else name for name in known)
    return f"{key}: no such setting{_meant(key, every)}. There are {', '.join(names)}."


def _meant(key: str, names: Sequence[str]) -> str:
    """Return which settings may have been meant: of the same last part in any group, else spelt almost so.

    Examples
    --------
    >>> _meant("recommend.level", ["level", "recommend.name", "recommend.level_of"])
    " (did you mean 'level'?)"
    >>> _meant("days", ["level", "next_products.days", "other.days"])
    " (did you mean 'next_products.days' or 'other.days'?)"
    >>> _meant("recommend.levle", ["level", "recommend.name"])
    " (did you mean 'level'?)"
    """
    last = key.rpartition(".")[2]
    found = [name for name in names if name.rpartition(".")[2] == last]
    if len(found) > 1:
        found = difflib.get_close_matches(key, found, n=1, cutoff=0.85) or found[:3]
    if not found:
        # In the group that was named, then anywhere.
        group = [name for name in names if name.rpartition(".")[0] == key.rpartition(".")[0]]
        lasts = {name.rpartition(".")[2]: name for name in reversed(names)}
        near = difflib.get_close_matches(last, lasts, n=1, cutoff=0.75)
        close = difflib.get_close_matches(key, group, n=1, cutoff=0.85) or [lasts[one] for one in near]
        found = close or difflib.get_close_matches(key, names, n=1)
    return f" (did you mean {' or '.join(map(repr, found))}?)" if found else ""


def _names_in(kind: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of the settings of a dataclass."""
    for name, wanted in typing.get_type_hints(kind).items():
        yield f"{prefix}{name}"
        inner, _ = _without_none(wanted)
        if dataclasses.is_dataclass(inner):
            yield from _names_in(inner, f"{prefix}{name}.")


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
