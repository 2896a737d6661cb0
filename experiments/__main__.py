"""``cartera VERB [overrides]``: find the verb, hand the rest to it."""

from __future__ import annotations

import difflib
import os
import sys
from importlib import import_module

VERBS = {
    "ingest": "files to lake: checked, typed, bucketed by customer",
    "features": "one row per customer at a date; describe=true prints the data dictionary",
    "segment": "the main job: transactions to named segments, report and model",
    "sweep": "many models in one process: feature sets, k, backends, seeds; a leaderboard and a proposal",
    "compare": "two runs side by side: how alike, who moved where, what changed in each segment",
    "score": "a model and customers to segments, in batch or for one customer",
    "lookalike": "seeds and prospects to the most similar prospects, with what they share and how far to trust it",
    "recommend": "what to offer next: products for each customer, cross-selling by segment; or how well that foresees",
    "serve": "a model over HTTP: an API for machines, pages for people",
    "bench": "other libraries at the same job, answers checked; from a checkout",
    "doctor": "versions, cores, memory, GPU, backends, write access, a self-test",
}

USAGE = """cartera: years of transactions to named customer segments

usage: cartera VERB [key=value ...]

{verbs}

cartera VERB --help    settings of a verb and their defaults
cartera VERB -m k=a,b  one run for each combination
cartera --version      the installed version

example: cartera segment data=files data.path=sales.csv data.columns.amount=Total language=es
"""


def usage() -> str:
    """Return the help text."""
    width = max(map(len, VERBS)) + 2
    return USAGE.format(verbs="\n".join(f"  {verb:<{width}}{text}" for verb, text in VERBS.items()))


def is_override(argument: str) -> bool:
    """Return whether an argument sets a key (``key=value``, ``+key=value``, ``~key``) and is no option or its value.

    Examples
    --------
    >>> [is_override(text) for text in ("seed=1", "~data.products", "-m", "--config-dir", "mine")]
    [True, True, False, False, False]
    """
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))


def quoted(override: str) -> str:
    """Return an override with its value in quotes where Hydra's grammar would stumble over a plain text.

    Its grammar knows no letters beyond ASCII, and takes a lone comma for the end of a list.

    Examples
    --------
    >>> quoted("data.columns.amount=Importe €"), quoted("data.decimal=,"), quoted("clustering.k=3,4")
    ('data.columns.amount="Importe €"', 'data.decimal=","', 'clustering.k=3,4')
    """
    key, equals, value = override.partition("=")
    plain = value.isascii() or "," in value or any(sign in value for sign in "\"'[]{}$\\")
    if not equals or (plain and value not in (",", ";", "|")):
        return override
    return f'{key}="{value}"'


def main() -> None:
    """Run ``cartera`` with the arguments of the process."""
    try:
        _main()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output went away (`| head`), and nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _main() -> None:
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        sys.exit(0 if arguments else 2)
    verb = arguments[0]
    if verb == "--version":
        from engine import __version__

        print(f"cartera {__version__}")
        return
    if verb not in VERBS:
        close = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        print(f"cartera: expected a verb ({', '.join(VERBS)}); got {verb!r}.{hint}", file=sys.stderr)
        sys.exit(2)
    rest = arguments[1:]
    if "--help" in rest or "-h" in rest:
        from experiments.app import config_dir
        from experiments.help import verb_help

        print(verb_help(verb, config_dir()))
        return
    # Hydra's parser takes overrides only in one piece; users mix them with options.
    overrides = [quoted(argument) for argument in rest if is_override(argument)]
    sys.argv = [f"cartera {verb}", *(argument for argument in rest if not is_override(argument)), *overrides]
    import_module(f"experiments.{verb}").main()


if __name__ == "__main__":
    main()
