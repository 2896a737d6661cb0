"""From a folder of customers to the first answers: one customer looked up by id, and the ten most like that one.

The base is built and saved before the clock starts; how long that took, and the most memory it held, is told. Each call
opens the folder anew. Before the first, *cold* call of a process the kernel is asked to forget the files; the warm
calls find of them what memory has kept. The plain way opens the table with Polars, reads the whole
matrix and looks at every row. Truth is float64 differences over all rows; rows as far away as the tenth count as found.
"""

from __future__ import annotations

import json
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Case, Contestant, Task
from benchmarks.cases import serving
from benchmarks.cases.points import DATA_SEED
from benchmarks.peers import opening

ROWS = {"XS": 20_000, "S": 200_000, "M": 1_000_000, "L": 10_000_000}
AT = opening.AT
TIE = 1e-5
"""Distances this close are equal: libraries work in float32."""
LEAST_RECALL = 0.5
"""Below it an answer is wrong rather than approximate."""


@dataclass(frozen=True, slots=True)
class Given:
    """The folder, the model, who is asked about, their values, the tenth distance, and what making the base took."""

    folder: Path
    model: Any
    customer_id: int
    values: dict[str, float]
    tenth: float
    built: dict[str, float]


def make(task: Task) -> None:
    """Fit a model, draw customers, build and save their base, and note the truth about one of them."""
    import polars as pl

    from engine.bundle import load_bundle
    from engine.customer_base import CustomerBase

    serving.make(task)
    folder = Path(task.folder)
    model = load_bundle(folder / "bundle")
    rng = np.random.default_rng([DATA_SEED, task.seed, AT])
    n = ROWS[task.size]
    customers = pl.DataFrame(
        {
            "customer_id": 2 * rng.permutation(n),
            "recency_days": (730 * rng.random(n) ** 2).astype(np.float32),
            "frequency": np.minimum(rng.zipf(1.8, n), 500).astype(np.float32),
            "monetary": np.exp(rng.normal(4.0, 1.2, n)).round(2),
        }
    )
    who = customers.row(int(rng.integers(n)), named=True)
    begun = time.perf_counter()
    base = CustomerBase.build(customers, model, threads=task.threads)
    base.save(folder / "customers")
    built = {
        "seconds": time.perf_counter() - begun,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "kind": base.index.kind,
    }
    own = base.row(who["customer_id"])
    squared = np.zeros(n)
    matrix = np.load(folder / "customers" / "matrix.npy", mmap_mode="r", allow_pickle=False)
    for column in range(matrix.shape[1]):
        squared += np.square(matrix[:, column].astype(np.float64) - float(matrix[own, column]))
    squared[own] = np.inf
    truth = {**who, "tenth": float(np.sqrt(np.partition(squared, AT - 1)[AT - 1])), "built": built}
    (folder / "truth.json").write_text(json.dumps(truth), encoding="utf-8")
    for file in _files(folder):
        # Pages that are not yet on disk cannot be forgotten before the first call.
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def open_model(task: Task) -> Given:
    """Read the model and the truth; let the kernel forget the customers."""
    from engine.bundle import load_bundle

    folder = Path(task.folder)
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    if hasattr(os, "posix_fadvise"):
        for file in _files(folder):
            with file.open("rb") as stream:
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    tenth, built = truth.pop("tenth"), truth.pop("built")
    return Given(folder / "customers", load_bundle(folder / "bundle"), truth.pop("customer_id"), truth, tenth, built)


def judge(given: Given, answer: opening.Answered, task: Task) -> tuple[dict[str, Any], str | None]:
    """Compare the values of the one looked up and count the true ones among those alike."""
    distances = np.asarray(answer.distances, dtype=np.float64)
    found = float((distances <= given.tenth * (1 + TIE)).mean()) if len(distances) == AT else 0.0
    facts = {
        "opened_seconds": round(answer.opened_seconds, 4),
        "looked_up_seconds": round(answer.looked_up_seconds, 6),
        "alike_seconds": round(answer.alike_seconds, 4),
        "missed": round(1 - found, 4),
        "built_seconds": round(given.built["seconds"], 2),
        "built_peak_mib": round(given.built["peak_mib"]),
        "kind": given.built["kind"],
    }
    wrong = [name for name, value in given.values.items() if answer.values.get(name) != value]
    if wrong:
        return (
            facts,
            f"{wrong[0]} of the customer is {answer.values.get(wrong[0])!r}, expected {given.values[wrong[0]]!r}",
        )
    if given.customer_id in answer.ids or len(set(answer.ids)) < AT:
        return facts, "those alike hold the customer, or one of them twice"
    return facts, None if found >= LEAST_RECALL else f"{found:.0%} of those most alike"


def _files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.is_file()]


CASE = Case(
    name="ready",
    title=f"a folder of customers opened, one looked up, the {AT} most like that one found",
    sizes={name: f"{rows:,} customers × {len(serving.FEATURES)} variables" for name, rows in ROWS.items()},
    data=("customers",),
    contestants={
        "cartera": Contestant(opening.cartera, ("cartera", "faiss-cpu", "pyarrow"), "Cartera, files mapped", warm=5),
        "plain": Contestant(opening.plain, ("polars", "numpy"), "Polars and NumPy, every row looked at", warm=5),
    },
    make=make,
    open=open_model,
    judge=judge,
    quality=None,
    shows={
        "opened_seconds": "opened in, s",
        "alike_seconds": "those alike in, s",
        "missed": "share of the ten missed",
        "built_seconds": "base built in, s",
        "built_peak_mib": "in MiB at most",
    },
    against="plain",
)
