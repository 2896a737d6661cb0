"""``cartera VERB [overrides]``: find the verb, hand the rest to it."""

from __future__ import annotations

import difflib
import sys
from importlib import import_module

VERBS = {
    "ingest": "files to lake: checked, typed, bucketed by customer",
    "features": "one row per customer at a date; describe=true prints the data dictionary",
    "segment": "the main job: transactions to named segments, report and model",
    "score": "a model and customers to segments, in batch or for one customer",
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


def main() -> None:
    """Run ``cartera`` with the arguments of the process."""
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
    # Hydra's parser takes overrides only in one piece; users mix them with options.
    rest = arguments[1:]
    sys.argv = [f"cartera {verb}", *(a for a in rest if not is_override(a)), *(a for a in rest if is_override(a))]
    import_module(f"experiments.{verb}").main()


if __name__ == "__main__":
    main()
