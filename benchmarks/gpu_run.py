"""A run of the benchmark of a GPU: how much is measured, how it is timed, and what becomes of a figure."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu_rivals import NotMeasuredError
from benchmarks.results import append
from engine.clustering.cuda_parts import STREAMED_BYTES
from engine.clustering.on_device import free_bytes
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_cuda import CudaRows
from engine.device import Gpu

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
            self.figure(f"{name}: all", shape, partial(raised, failed))
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
        memory = 4 * part if streamed else int(0.9 * free_bytes(self.gpu))
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


def raised(failed: Exception) -> dict[str, Any]:
    """Raise what has failed, as a figure's call."""
    raise failed
