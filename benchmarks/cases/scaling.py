"""Cost against the number of rows, of clusters and of features: a curve each, with its slope.

``n``: rows × 8 features, k = 10, twice as many from point to point. ``k``: 2 to 200 clusters of a fifth of the largest
n. ``d``: every number of features from 3 to 64 in the same number of bytes, so that a flat curve means that time goes
with the bytes; fits are measured at some d. Beside Cartera's fit and single pass stand a rival's fit and the bare
reading of the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.case import Case, Contestant, Task
from benchmarks.cases.points import DATA_SEED, Matrix, rfm
from benchmarks.cases.step import INERTIA_TOLERANCE, one_step
from benchmarks.peers import growing

FEATURES = 8
K = 10
SIZES = {"XS": 16_000, "S": 500_000, "M": 2_000_000, "L": 5_000_000}
KS = (2, 5, 10, 20, 50, 100, 200)
DS = range(3, 65)
LEAST_N = 1_000
CHECKED_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Given:
    """Values in memory, and the shapes that are made of the first of them: n, d, k of each point."""

    values: NDArray[np.float32]
    shapes: list[tuple[int, int, int]]

    def matrix(self, n: int, d: int) -> Matrix:
        """Return n rows of d features, the same memory."""
        return self.values[: n * d].reshape(n, d)


def shapes(size: str, data: str) -> list[tuple[int, int, int]]:
    """Return n, d and k of each point.

    Examples
    --------
    >>> shapes("XS", "n")
    [(1000, 8, 10), (2000, 8, 10), (4000, 8, 10), (8000, 8, 10), (16000, 8, 10)]
    >>> shapes("XS", "d")[-1]
    (2000, 64, 10)
    """
    most = SIZES[size]
    if data == "n":
        ns = [most]
        while ns[0] // 4 * 2 >= LEAST_N:
            ns.insert(0, ns[0] // 4 * 2)
        return [(n, FEATURES, K) for n in ns]
    if data == "k":
        return [(most // 5, FEATURES, k) for k in KS]
    # An even number of rows, so that the values are pairs whatever d is.
    return [(most * FEATURES // d // 2 * 2, d, K) for d in DS]


def make(task: Task) -> None:
    """Write the values."""
    rng = np.random.default_rng([DATA_SEED, task.seed])
    n = SIZES[task.size]
    values = rng.standard_normal((n, FEATURES), dtype=np.float32) if task.data == "d" else rfm(n, FEATURES, K, rng)
    Path(task.folder).mkdir(parents=True)
    np.save(Path(task.folder) / "values.npy", values.ravel())


def open_values(task: Task) -> Given:
    """Read the values into memory."""
    values = np.load(Path(task.folder) / "values.npy", allow_pickle=False)
    return Given(values, shapes(task.size, task.data))


def judge(given: Given, answer: growing.Curve, task: Task) -> tuple[dict[str, Any], str | None]:
    """Check every point: totals of a pass, words of a reading, inertia of a fit."""
    facts: dict[str, Any] = {"points": [(_amount(point, task.data), point.seconds) for point in answer]}
    for point in answer:
        matrix = given.matrix(point.n, point.d)
        where = f"n = {point.n}, d = {point.d}, k = {point.k}"
        if isinstance(point.answer, int):
            wrong = point.answer != int(matrix.reshape(-1).view(np.uint64).sum())
        elif isinstance(point.answer, np.ndarray):
            from engine.clustering.quality import inertia

            found = inertia(matrix, np.asarray(point.answer, dtype=np.float64), threads=task.threads)
            facts.setdefault("inertias", []).append(found)
            wrong = point.answer.shape != (point.k, point.d) or not np.isfinite(found)
        else:
            wrong = not _step_is_right(point, matrix, task.threads)
        if wrong:
            return facts, f"{where}: the answer is not that of float64"
    return facts, None


def _amount(point: growing.Measured, data: str) -> int:
    amount: int = getattr(point, data)
    return amount


def _step_is_right(point: growing.Measured, matrix: Matrix, threads: int) -> bool:
    """Compare the totals over all rows, and on the first rows everything, with float64."""
    from engine.clustering.rows_array import ArrayRows

    stats = point.answer
    totals = matrix.sum(axis=0, dtype=np.float64)
    scale = np.abs(matrix).sum(axis=0, dtype=np.float64)
    if stats.counts.sum() != len(matrix) or np.abs(stats.sums.sum(axis=0) - totals).max() > 1e-6 * scale.max():
        return False
    start = matrix[: point.k].astype(np.float64)
    _, expected = one_step(matrix[:CHECKED_ROWS], start)
    (part,) = ArrayRows(matrix[:CHECKED_ROWS], threads=threads).step([start])
    return abs(part.inertia / expected - 1) <= INERTIA_TOLERANCE


CASE = Case(
    name="scaling",
    title="cost against n, k and d",
    sizes={name: f"up to {rows:,} rows × {FEATURES}" for name, rows in SIZES.items()},
    data=("n", "k", "d"),
    contestants={
        "native": Contestant(
            growing.native, ("cartera", "numba", "scikit-learn"), "Cartera, fit", warm=0, compiles=True
        ),
        "native_step": Contestant(
            growing.native_step, ("cartera", "numba"), "Cartera, one pass", warm=0, compiles=True
        ),
        "sklearn_sample": Contestant(
            growing.sklearn_sample,
            ("scikit-learn",),
            "scikit-learn, best of three starts on at most 100,000 rows, then predict",
            warm=0,
        ),
        "read": Contestant(growing.read, ("numpy",), "reading the same bytes", warm=0),
    },
    make=make,
    open=open_values,
    judge=judge,
    quality=None,
    against="read",
    curves=True,
)
