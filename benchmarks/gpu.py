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
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks import gpu_rivals as others
from benchmarks.gpu_rivals import NotMeasuredError, WrongAnswerError, rows_of, starts_of
from benchmarks.machine import Commit, machine, versions
from benchmarks.results import append, results_file
from engine.clustering.lloyd import lloyd
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_cuda import STREAMED_BYTES, CudaRows
from engine.clustering.solve import solve
from engine.clustering.sweep import Tries, sweep
from engine.clustering.trial import Trial
from engine.device import Gpu, choose_device
from engine.errors import CarteraError, SettingError

Matrix = NDArray[np.float32]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    Every combination of ``rows``, ``features`` and ``clusters``, the most important first, and one ``wide`` one (rows,
    features, clusters) where arithmetic is the limit and not memory; by ``repeats`` calls of ``moves`` moves. Answers
    are checked on ``checked_rows`` of ``checked_features``. The processor clusters ``cpu_rows`` too. Rows that do not
    stay on the card are sent ``part_bytes`` at a time.
    """

    rows: tuple[int, ...]
    features: tuple[int, ...]
    clusters: tuple[int, ...]
    wide: tuple[int, int, int]
    moves: int = 20
    repeats: int = 7
    checked_rows: int = 50_021
    checked_features: tuple[int, ...] = (3, 8, 16, 32, 64)
    copied_bytes: int = 4 * 2**30
    cpu_rows: int = 10_000_000
    part_bytes: int = STREAMED_BYTES


SIZES = {
    "XS": Size((60,), (3,), (3,), (40, 5, 4), 2, 1, 24, (3,), 2**16, 60, 256),
    "S": Size((10_000_000, 1_000_000), (8, 16), (10, 50), (1_000_000, 64, 64), copied_bytes=2**30, cpu_rows=1_000_000),
    "L": Size((100_000_000, 10_000_000, 1_000_000), (8, 16, 32), (10, 5, 20, 50), (10_000_000, 64, 64)),
}


@dataclass
class Run:
    """One call: how much, until when (monotonic seconds), the copy's bytes a second, and the rows of results so far."""

    size: str
    seed: int
    gpu: Gpu
    out: Path | None
    ends: float
    origin: dict[str, Any]
    simulated: bool = False
    copy: float | None = None
    rows_made: list[dict[str, Any]] = field(default_factory=list)

    def left(self) -> float:
        """Return the seconds that are left, but for some to end in."""
        return self.ends - time.monotonic() - 5.0

    def figure(self, name: str, shape: Sequence[int], call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Add what ``call`` finds, or why it found nothing, as a row; return the row."""
        found: dict[str, Any] = {}
        error = None
        if self.left() <= 0:
            error = "left out: no time"
        else:
            try:
                found = call()
            except NotMeasuredError as why:
                error = str(why)
            except Exception as failed:
                # Whatever breaks one figure, a rival or the card, is that figure's result.
                error = f"{type(failed).__name__}: {' '.join(str(failed).split())}"[:300]
        seconds = found.pop("seconds", [])
        n, d, k = (*shape, None, None, None)[:3]
        row = {
            "case": "gpu", "version": 1, "size": self.size, "data": "x".join(map(str, shape)), "seed": self.seed,
            "solver_seed": 0, "contestant": name, "repeat": 0, "threads": self.origin["machine"]["cores"],
            "n": n, "d": d, "k": k, "cold_seconds": None, "warm_seconds": seconds, "facts": found,
            "ok": error is None, "error": error, "simulated": self.simulated, **self.origin,
        }  # fmt: skip
        self.rows_made.append(row)
        if self.out is not None:
            append(self.out, row)
        print(told(row), flush=True)
        return row

    def attempt(self, name: str, shape: Sequence[int], call: Callable[[], Made]) -> Made | None:
        """Return what several figures need, or measure them all; a row says so where that fails."""
        try:
            if self.left() > 0:
                return call()
            raise NotMeasuredError("left out: no time")
        except Exception as failed:
            self.figure(f"{name}: all", shape, partial(_raise, failed))
            return None

    def timed(self, call: Callable[[], object], repeats: int | None = None, *, on_card: bool = True) -> list[float]:
        """Return the seconds of warm calls, by the card's own clock or by that of the processor."""
        from engine.clustering.cuda_tiles import cuda

        if not self.simulated:
            call()
        seconds: list[float] = []
        for _ in range(1 if self.simulated else repeats or SIZES[self.size].repeats):
            if seconds and self.left() <= 0:
                break
            started = time.perf_counter()
            # The simulator's events know no time.
            events = [cuda.event(timing=True) for _ in range(2)] if on_card and not self.simulated else []
            for event in events[:1]:
                event.record()
            call()
            for event in events[1:]:
                event.record()
                event.synchronize()
            seconds.append(events[0].elapsed_time(events[1]) / 1e3 if events else time.perf_counter() - started)
        return seconds

    def reads(self, seconds: Sequence[float], n: int, d: int, reads: int = 1) -> dict[str, Any]:
        """Return seconds a read of n × d float32, and what they mean for the card's memory."""
        each = [one / reads for one in seconds]
        middle = max(statistics.median(each), 1e-12)
        share = 4.0 * n * d / middle / self.copy if self.copy else None
        return {"seconds": each, "rows_per_s": n / middle, "bytes_per_s": 4.0 * n * d / middle, "share_of_copy": share}

    def hold(self, X: Matrix, *, streamed: bool = False) -> CudaRows:
        """Put rows on the card; or have them sent anew for every read."""
        part = SIZES[self.size].part_bytes
        memory = 4 * part if streamed else int(0.9 * self.gpu.free_bytes)
        held = partial(CudaRows, ArrayRows(X), processors=self.gpu.processors, shared_bytes=self.gpu.shared_bytes)
        return held(memory_bytes=memory, streamed_bytes=part)


def told(row: dict[str, Any]) -> str:
    """Return a row of results as a line of the table.

    Examples
    --------
    >>> shape = {"contestant": "move", "n": 10**8, "d": 8, "k": 10, "error": None}
    >>> told({**shape, "warm_seconds": [0.001], "facts": {"bytes_per_s": 3.2e12, "share_of_copy": 0.75}})
    'move                      100,000,000   8   10       1.000 ms   3,200.0 GB/s   75 %'
    """
    n, d, k = ("" if row[name] is None else f"{row[name]:,}" for name in ("n", "d", "k"))
    line = f"{row['contestant']:<22}{n:>15}{d:>4}{k:>5}"
    if row["error"]:
        return f"{line}  {row['error']}"
    facts = dict(row["facts"])
    if row["warm_seconds"]:
        line += f"{statistics.median(row['warm_seconds']) * 1e3:>12,.3f} ms"
    if rate := facts.pop("bytes_per_s", None):
        line += f"{rate / 1e9:>10,.1f} GB/s"
    if share := facts.pop("share_of_copy", None):
        line += f"{share * 100:>5.0f} %"
    facts.pop("rows_per_s", None)
    return line + "".join(f"  {name}={value:.6g}" for name, value in facts.items() if isinstance(value, float | int))


def passes(run: Run, card: CudaRows, X: Matrix, k: int) -> None:
    """Time moves without a word to the host, and one step that the host waits for."""
    moves, (n, d) = SIZES[run.size].moves, X.shape
    start = starts_of(X, k, run.seed)

    def settled() -> dict[str, Any]:
        made = []
        # With a tolerance below 0 nobody rests.
        seconds = run.timed(lambda: made.append(int(card.settle([start], moves, -1.0)[1][0])))
        if made[-1] != moves:
            raise NotMeasuredError(f"expected {moves} moves, made {made[-1]}: a cluster has lost its rows")
        return run.reads(seconds, n, d, moves)

    run.figure("move", (n, d, k), settled)
    run.figure("step", (n, d, k), lambda: run.reads(run.timed(lambda: card.step([start])), n, d))


def fits(run: Run, card: CudaRows, X: Matrix, k: int) -> None:
    """Time fits: rows on the card, rows that first go there, rows that pass through it, each beside its inertia."""
    shape = (*X.shape, k)

    def inertia(centroids: NDArray[np.float64]) -> float:
        return float(card.step([centroids])[0].inertia)

    def best_known() -> dict[str, Any]:
        tried = [solve(card, k, seed=seed).centroids for seed in range(3)]
        costs = [inertia(one) for one in tried]
        (rest,) = lloyd(card, [tried[int(np.argmin(costs))]], max_iter=10 * SIZES[run.size].moves)
        return {"inertia": min(*costs, inertia(rest.centroids))}

    def fitted(prepare: Callable[[], CudaRows], repeats: int | None = None) -> dict[str, Any]:
        found: list[Any] = []
        seconds = run.timed(lambda: found.append(solve(prepare(), k, seed=7)), repeats)
        ratio = inertia(found[-1].centroids) / best if best else float("inf")
        if ratio > 1.001:
            raise NotMeasuredError(f"expected an inertia within 0.1 % of the best known; it is {ratio:.6f} times that")
        return {"seconds": seconds, "ratio": ratio, "passes": float(found[-1].passes)}

    best = run.figure("best known", shape, best_known)["facts"].get("inertia", 0.0)
    run.figure("fit, on the card", shape, lambda: fitted(lambda: card))
    run.figure("fit, sent first", shape, lambda: fitted(lambda: run.hold(X), 3))
    run.figure("fit, streamed", shape, lambda: fitted(lambda: run.hold(X, streamed=True), 3))
    streamed, start = run.hold(X, streamed=True), starts_of(X, k, run.seed)
    run.figure("step, streamed", shape, lambda: run.reads(run.timed(lambda: streamed.step([start]), 3), *X.shape))


def sweeps(run: Run, card: CudaRows, X: Matrix, k: int) -> None:
    """Time a sweep of k = 2 to 20 with its exact silhouettes, rows held already."""

    def swept() -> dict[str, Any]:
        tries, ks = Tries(X, device="cuda", silhouette_rows=0), range(2, 4 if run.simulated else 21)
        found: list[list[Trial]] = []
        seconds = run.timed(lambda: found.append(list(sweep(tries, ks, seed=1))), 3)
        where = {trial.device for trial in found[-1]}
        if where != {"cuda"}:
            raise NotMeasuredError(f"expected all trials on the card; they were on {sorted(where)}")
        return {"seconds": seconds, "best_silhouette": max(trial.silhouette or 0.0 for trial in found[-1])}

    run.figure("sweep", X.shape, swept)


def beside_the_cpu(run: Run, card: CudaRows, X: Matrix, k: int) -> None:
    """Do the same on this machine's processor, and compare."""
    X = X[: SIZES[run.size].cpu_rows]
    rows, start, shape = ArrayRows(X), starts_of(X, k, run.seed), (*X.shape, k)

    def compared() -> dict[str, Any]:
        card = run.hold(X)
        (here,), (there,) = rows.step([start]), card.step([start])
        off = abs(here.inertia - there.inertia) / here.inertia
        if off > 1e-6:
            raise WrongAnswerError(f"expected the processor's inertia within 1e-6; it is off by {off:.2g}")
        one, other = (solve(who, k, seed=7).centroids for who in (rows, card))
        fit_off = abs(card.step([one])[0].inertia / card.step([other])[0].inertia - 1.0)
        return {"inertia_off": off, "fit_inertia_off": fit_off}

    run.figure("card and processor", shape, compared)
    own = partial(run.timed, on_card=False)
    run.figure("step, processor", shape, lambda: run.reads(own(lambda: rows.step([start])), *X.shape))
    run.figure("fit, processor", shape, lambda: {"seconds": own(lambda: solve(rows, k, seed=7))})


def rivals(run: Run, card: CudaRows, X: Matrix, k: int) -> None:
    """Time a move of other libraries from the same centroids, and compare where they moved to."""
    size = SIZES[run.size]
    (stats,) = card.step([starts_of(X, k, run.seed)])
    right = stats.sums / np.maximum(stats.counts, 1.0)[:, np.newaxis]

    def raced(name: str) -> dict[str, Any]:
        limit = max(1.0, min(90.0, run.left()))
        found = others.measured_rival(name, (*X.shape, k), run.seed, size.moves, size.repeats, limit)
        off = float(np.abs(np.asarray(found["centroids"]) - right).max())
        facts = run.reads(found["seconds"], *X.shape) | {"centroids_off": off, "library": found["version"]}
        if off > 1e-2:
            raise NotMeasuredError(f"its centroids are off by {off:.2g}: its {facts['seconds'][0]:.3g} s do not count")
        return facts

    for name in others.RIVALS:
        run.figure(name, (*X.shape, k), partial(raced, name))


def timings(run: Run) -> None:
    """Measure all but the answers, the most important first."""
    size = SIZES[run.size]
    for name, copied in others.copies(size.copied_bytes, run.timed).items():
        rate = run.figure(name, (), copied)["facts"].get("bytes_per_s")
        run.copy = rate if name == "copy on the card" else run.copy
    first, *more = size.features
    n, wide, k = size.wide
    _of_width(run, first, size.rows, size.clusters, (fits, rivals, sweeps, beside_the_cpu))
    _of_width(run, wide, (n,), (k,), (rivals,))
    for d in more:
        _of_width(run, d, size.rows, size.clusters, ())


def _of_width(
    run: Run, d: int, rows: Sequence[int], clusters: Sequence[int], also: Sequence[Callable[..., None]]
) -> None:
    """Time every number of rows and clusters of d features; with the first of both ``also`` all else."""
    whole = run.attempt("rows", (rows[0], d), partial(rows_of, rows[0], d, run.seed))
    for n in rows:
        if whole is None:
            break
        X = whole[:n]
        card = run.attempt("hold", (n, d), partial(run.hold, X))
        for k in clusters:
            for measure in (passes, *(also if (n, k) == (rows[0], clusters[0]) else ())):
                if card is not None:
                    run.attempt(measure.__name__, (n, d, k), partial(measure, run, card, X, k))


def _raise(failed: Exception) -> dict[str, Any]:
    raise failed


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
