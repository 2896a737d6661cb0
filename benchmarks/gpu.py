"""What a GPU does, in one call: ``python -m benchmarks.gpu [size=L] [out=FILE] [limit_s=540] [seed=N]``.

First the answers, on fresh random rows, against float64 on the processor: a wrong one ends it with exit code 1. Then
the seconds: device events around warm calls, their median, and beside them the copy bandwidth of the same card, of
which each is a share. What other libraries need is measured in processes of their own, where they are installed. What
fails is told with its reason, and the rest goes on.

One line of JSON a figure goes to ``out``, with card, driver, versions and commit; a table is printed. Without a GPU the
exit code is 2. In numba's simulator (``NUMBA_ENABLE_CUDASIM=1``, size XS) all of it runs and its seconds mean nothing.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks import gpu_rivals as others
from benchmarks.gpu_run import SIZES, Run
from benchmarks.gpu_timings import timings
from benchmarks.machine import Commit, machine, versions
from benchmarks.results import results_file
from engine.device import Gpu, choose_device
from engine.errors import CarteraError, SettingError


def origin_of(gpu: Gpu, simulated: bool) -> dict[str, Any]:
    """Return card, driver, versions, machine and commit, which every row tells."""
    commit, told_by = Commit.of(), Path("/proc/driver/nvidia/version")
    found = versions(("numba", "numpy", "llvmlite"))
    if not simulated:
        from numba.cuda.cudadrv import driver, nvvm

        compiler, cuda_driver = cast(Any, nvvm).NVVM(), cast(Any, driver).driver
        found |= {"cuda_of_driver": str(cuda_driver.get_version()), "nvvm_ir": str(compiler.get_ir_version())}
    return {
        "card": asdict(gpu),
        "driver": told_by.read_text(encoding="utf-8").partition("\n")[0] if told_by.exists() else "none",
        "versions": found,
        "machine": machine(),
        "python": sys.version.split()[0],
        "commit": commit.sha,
        "commit_date": commit.date,
        "dirty": commit.dirty,
    }


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say; return 0, 1 for a wrong answer, 2 where nothing can be measured; 3: no end in time."""
    simulated = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
    try:
        keys: dict[str, str] = {}
        for word in arguments:
            name, equals, keys[name] = word.partition("=")
            if not equals or name not in ("size", "out", "limit_s", "seed"):
                raise SettingError.from_unknown("key", word, ("size=", "out=", "limit_s=", "seed="))
        size = keys.get("size", "L")
        if size not in SIZES:
            raise SettingError.from_unknown("size", size, SIZES)
        fresh = np.random.SeedSequence().generate_state(1)[0]
        limit, seed = _number(keys, "limit_s", 540), _number(keys, "seed", int(fresh) % 2**31)
        gpu = choose_device("cuda").gpu
    except CarteraError as error:
        print(f"benchmarks gpu: {error}", file=sys.stderr)
        return 2
    assert gpu is not None
    out = Path(keys["out"]) if "out" in keys else None if simulated else results_file("gpu")
    run = Run(size, seed, gpu, out, time.monotonic() + limit, origin_of(gpu, simulated), simulated)
    watch = threading.Timer(limit, _give_up, [run])
    watch.daemon = True
    watch.start()
    print(f"{gpu.name}, {run.origin['driver']}, {run.origin['versions']}, commit {run.origin['commit']}, seed {seed}")
    print("simulated: seconds mean nothing" if simulated else "seconds: medians by the card's clock")
    print(f"{'':<22}{'rows':>15}{'d':>4}{'k':>5}{'median':>15}{'read':>15}{'of copy':>9}", flush=True)
    others.checks(run.figure, gpu.processors, SIZES[size].checked_rows, SIZES[size].checked_features, seed)
    if any(row["error"] for row in run.rows_made):
        print("benchmarks gpu: an answer is wrong or missing; nothing was timed", file=sys.stderr)
        return 1
    timings(run)
    watch.cancel()
    return _end(run)


def _end(run: Run) -> int:
    return int(any(str(row["error"]).startswith("wrong answer") for row in run.rows_made))


def _give_up(run: Run) -> None:
    print("benchmarks gpu: the time is over, and the last figure is not done", file=sys.stderr, flush=True)
    os._exit(_end(run) or 3)


def _number(keys: dict[str, str], name: str, default: int) -> int:
    value = keys.get(name, str(default))
    if not value.isdigit() or (name == "limit_s" and int(value) < 10):
        raise SettingError(f"{name}: expected a whole number{', 10 or more' * (name == 'limit_s')}; got {value!r}.")
    return int(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
