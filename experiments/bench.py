"""``cartera bench CASE``: measure against other libraries. Works from a checkout; the wheel has no benchmarks."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import SettingError
from experiments.app import verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from experiments.settings import BenchConfig

CHECKOUT = Path(__file__).resolve().parent.parent


def run(config: DictConfig) -> None:
    """Measure, and print the table of what the file then holds."""
    from experiments.settings import BenchConfig, typed

    settings = typed(config, BenchConfig)
    case = _benchmarks("case")
    if settings.case is None:
        raise SettingError(f"case: expected one of {', '.join(case.CASES)}, as in cartera bench kmeans size=S.")
    session, results = _benchmarks("session"), _benchmarks("results")
    plan = plan_of(settings)
    session.run(plan, lambda line: print(line, file=sys.stderr, flush=True))
    found = case.find_case(settings.case)
    path = plan.out or results.results_file(found.name)
    print(_benchmarks("table").table(results.read(path), found))
    print(f"\nrows       {path}")


def plan_of(settings: BenchConfig) -> Any:
    """Return the settings as a ``benchmarks.session.Plan``."""
    return _benchmarks("session").Plan(
        case=settings.case,
        size=settings.size,
        contestants=settings.contestants,
        data=settings.families,
        seeds=settings.seeds,
        repeats=settings.repeats,
        solver_seeds=settings.solver_seeds,
        threads=settings.threads,
        memory_gib=settings.memory_gib,
        limit_s=settings.limit_s,
        keep=Path(settings.keep) if settings.keep else None,
        out=Path(settings.out) if settings.out else None,
        again=settings.again,
    )


def _benchmarks(module: str) -> Any:
    """Return a module of ``benchmarks``, which is there in a checkout only."""
    if not (CHECKOUT / "benchmarks" / "harness.py").is_file():
        raise SettingError(
            "bench: the benchmarks are not part of the installed package. Run it from a checkout of the source: "
            "make bench, or .venv/bin/cartera bench kmeans size=S after pip install -e ."
        )
    return import_module(f"benchmarks.{module}")


_main = verb("bench")(run)


def main() -> None:
    """Run the verb; a plain first word is the case."""
    if len(sys.argv) > 1 and sys.argv[1].replace("_", "").isalnum():
        sys.argv[1] = f"case={sys.argv[1]}"
    _main()


if __name__ == "__main__":
    main()
