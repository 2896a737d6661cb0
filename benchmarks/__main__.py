"""``python -m benchmarks``: run cases, and turn their rows into tables, pictures and comparisons."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.case import CASES, find_case
from benchmarks.machine import ROOT
from benchmarks.results import read, results_file
from engine.errors import CarteraError, SettingError

USAGE = f"""usage: python -m benchmarks WHAT ...

  run CASE [key=value ...]        measure; the same as cartera bench CASE (its --help lists the keys)
  table CASE [results=FILE] [within=1.001]     the results as Markdown; within: how near to the best known counts
  plot CASE size=S [results=FILE] [out=FILE]   a picture, SVG or PNG, into docs/images
  compare A B [case=CASE] [key=value ...]      two commits, measured in turns, or two files of results

cases: {", ".join(CASES)}; without results=, the committed rows in benchmarks/results are read
also: python -m benchmarks.verdict, how often the verdict on k is right
"""


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say and return the exit code."""
    what, *rest = arguments or ["help"]
    if what in ("help", "-h", "--help"):
        print(USAGE)
        return 0
    if what == "run":
        from experiments import bench

        sys.argv = ["cartera bench", *rest]
        bench.main()
        return 0
    try:
        words = [word for word in rest if "=" not in word]
        keys = dict(word.split("=", 1) for word in rest if "=" in word)
        if what in ("table", "plot") and len(words) == 1:
            print(_table(words[0], keys) if what == "table" else _plot(words[0], keys))
        elif what == "compare" and len(words) == 2:
            print(_compare(words, keys))
        else:
            print(USAGE, file=sys.stderr)
            return 2
    except CarteraError as error:
        print(f"benchmarks {what}: {error}", file=sys.stderr)
        return 2
    return 0


def _table(name: str, keys: dict[str, str]) -> str:
    from benchmarks.table import table

    _only(keys, ("results", "within"))
    case = find_case(name)
    return table(read(Path(keys.get("results", results_file(case.name)))), case, within=_within(keys))


def _plot(name: str, keys: dict[str, str]) -> str:
    from benchmarks.plot import plot

    _only(keys, ("results", "size", "out"))
    case = find_case(name)
    size = keys.get("size", "M")
    case.check("size", (size,), case.sizes)
    path = Path(keys.get("out", ROOT / "docs" / "images" / f"bench-{case.name}-{size}.svg"))
    plot(read(Path(keys.get("results", results_file(case.name)))), case, size, path)
    return str(path)


def _compare(names: list[str], keys: dict[str, str]) -> str:
    from benchmarks.compare import compare, measure_both, told_as_table

    if all(Path(name).is_file() for name in names):
        _only(keys, ())
        before, after = (read(Path(name)) for name in names)
    else:
        from omegaconf import OmegaConf

        from experiments.bench import plan_of
        from experiments.settings import BenchConfig, typed

        chosen = {"case": "kmeans", "repeats": "5", **keys}
        plan = plan_of(typed(OmegaConf.from_dotlist([f"{key}={value}" for key, value in chosen.items()]), BenchConfig))
        before, after = measure_both((names[0], names[1]), plan, lambda line: print(line, file=sys.stderr, flush=True))
    found, left_out = compare(before, after)
    return "\n".join([told_as_table(found), *(f"* {line}" for line in left_out)])


def _within(keys: dict[str, str]) -> float | None:
    if "within" not in keys:
        return None
    try:
        found = float(keys["within"])
    except ValueError:
        found = 0.0
    if not 1 <= found < float("inf"):
        raise SettingError(f"within: expected a ratio to the best known, 1 or more, as in 1.001; got {keys['within']}.")
    return found


def _only(keys: dict[str, str], known: tuple[str, ...]) -> None:
    for key in keys:
        if key not in known:
            raise SettingError.from_unknown("key", key, known or ("none for files of results",))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
