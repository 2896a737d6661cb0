"""``cartera VERB --help``: the settings of a verb as its configuration files explain them."""

from __future__ import annotations

from pathlib import Path

import yaml

USAGE = """usage: cartera {verb} [key=value ...]

Set any key below as key=value; a key in a group as group.key=value; a group's other files as group=NAME.
  -m                   one run for each combination of values, key=a,b, in numbered folders under out, with jobs.csv
  -m hydra/launcher=joblib hydra.launcher.n_jobs=4
                       the same, four at a time
  --config-dir DIR     further groups of your own
  --cfg job            print the composed settings and stop
"""


def verb_help(verb: str, conf: Path) -> str:
    """Return the help of a verb: its own file, then the default file of each of its groups, comments included.

    Parameters
    ----------
    verb
        Name of a root file in ``conf``.
    conf
        The configuration tree.
    """
    root = conf / f"{verb}.yaml"
    text = root.read_text("utf-8")
    parts = [USAGE.format(verb=verb), _without_defaults(text)]
    for entry in yaml.safe_load(text)["defaults"]:
        if not isinstance(entry, dict):
            continue
        ((group, option),) = entry.items()
        others = sorted(path.stem for path in (conf / group).glob("*.yaml"))
        if option is None:
            parts.append(f"== {group}: {' | '.join(others)} (none by default) ==\n")
            continue
        content = (conf / group / f"{option}.yaml").read_text("utf-8").strip()
        parts.append(f"== {group}: {' | '.join(others)} (default {option}) ==\n{content}\n")
    return "\n".join(parts)


def _without_defaults(text: str) -> str:
    """Return a root file without its list of groups, which is of no use to a reader."""
    kept, inside = [], False
    for line in text.splitlines():
        inside = line.startswith("defaults:") or (inside and line.startswith(" "))
        if not inside:
            kept.append(line)
    return "\n".join(kept).strip() + "\n"
