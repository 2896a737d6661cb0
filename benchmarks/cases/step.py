"""One exact Lloyd pass over rows in memory: the unit that every k-means is made of.

Everybody starts from the same centroids, which are far from rest, and returns the centroids of the next step; they must
be those of plain float64 arithmetic over all rows, which is done once, when the data are made. ``read`` is no
contestant but the yardstick: the same bytes, read once with as many threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.case import Case, Contestant, Task
from benchmarks.cases.points import DATA_SEED, Matrix, rfm
from benchmarks.peers import passes

FEATURES = 8
SIZES = {"XS": 20_000, "S": 500_000, "M": 2_000_000, "L": 5_000_000}
KS = (2, 5, 10, 20, 50, 100, 200)
CENTROID_TOLERANCE = 1e-2
"""Most that a centroid may be off, in standard deviations of a feature. A library that adds float32 is off by 3e-3,
and a row between two centroids may fall to either."""
INERTIA_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Given:
    """Rows, the centroids to start from (k, d), and what one step makes of them in float64."""

    matrix: Matrix
    start: NDArray[np.float64]
    after: NDArray[np.float64]
    inertia: float


def make(task: Task) -> None:
    """Write rows, start and truth."""
    k, n = int(task.data.removeprefix("k")), SIZES[task.size]
    rng = np.random.default_rng([DATA_SEED, task.seed, k])
    matrix = rfm(n, FEATURES, k, rng)
    start = matrix[rng.choice(n, k, replace=False)].astype(np.float64)
    after, inertia = one_step(matrix, start)
    folder = Path(task.folder)
    folder.mkdir(parents=True)
    np.save(folder / "rows.npy", matrix)
    np.savez(folder / "truth.npz", start=start, after=after, inertia=inertia)


def one_step(matrix: NDArray[Any], start: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the means of the rows nearest to each centroid, and the inertia before: numpy, float64, no tricks.

    Examples
    --------
    >>> after, inertia = one_step(np.array([[0.0], [2.0], [9.0]]), np.array([[0.0], [8.0]]))
    >>> after.tolist(), inertia
    ([[1.0], [9.0]], 5.0)
    """
    k, d = start.shape
    sums, counts, inertia = np.zeros((k, d)), np.zeros(k), 0.0
    for first in range(0, len(matrix), 20_000):
        rows = matrix[first : first + 20_000].astype(np.float64)
        # Column by column: differences first, so that no digits are lost as in |x|² - 2 x·c + |c|².
        squared = np.zeros((len(rows), k))
        for column in range(d):
            squared += np.square(rows[:, column, np.newaxis] - start[:, column])
        label = squared.argmin(axis=1)
        inertia += float(squared[np.arange(len(rows)), label].sum())
        counts += np.bincount(label, minlength=k)
        for column in range(d):
            sums[:, column] += np.bincount(label, rows[:, column], k)
    return sums / counts[:, np.newaxis], inertia


def open_rows(task: Task) -> Given:
    """Read rows and truth into memory."""
    folder = Path(task.folder)
    with np.load(folder / "truth.npz", allow_pickle=False) as truth:
        return Given(
            np.load(folder / "rows.npy", allow_pickle=False), truth["start"], truth["after"], float(truth["inertia"])
        )


def judge(given: Given, answer: Any, task: Task) -> tuple[dict[str, Any], str | None]:
    """Compare the centroids of the next step with float64; of the reader the sum of all words."""
    if isinstance(answer, int):
        expected = int(given.matrix.reshape(-1).view(np.uint64).sum())
        return {}, None if answer == expected else f"the words add up to {expected}, not to {answer}"
    found, inertia = answer
    off = float(np.abs(np.asarray(found, dtype=np.float64) - given.after).max())
    facts = {"centroids_off": off}
    if not off <= CENTROID_TOLERANCE:
        return facts, f"a centroid is off by {off:.3g}, more than {CENTROID_TOLERANCE:g}"
    if inertia is not None and abs(inertia / given.inertia - 1) > INERTIA_TOLERANCE:
        return facts, f"inertia {inertia:.9g}, expected {given.inertia:.9g}"
    return facts, None


CASE = Case(
    name="step",
    title=f"one Lloyd pass over rows × {FEATURES} features: the next centroids",
    sizes={
        name: f"one pass over {rows:,} rows × {FEATURES}; cold is a process's first pass, after imports"
        for name, rows in SIZES.items()
    },
    data=tuple(f"k{k}" for k in KS),
    contestants={
        "native": Contestant(passes.native, ("cartera", "numba"), "Cartera, step", warm=11, compiles=True),
        "native_labels": Contestant(
            passes.native_labels, ("cartera", "numba"), "Cartera, labels", warm=11, compiles=True
        ),
        "sklearn": Contestant(passes.sklearn, ("scikit-learn",), "scikit-learn, one iteration of Lloyd", warm=1),
        "intelex": Contestant(
            passes.intelex, ("scikit-learn-intelex", "scikit-learn"), "scikit-learn-intelex, one iteration", warm=1
        ),
        "faiss": Contestant(passes.faiss, ("faiss-cpu",), "FAISS, one iteration of its training", warm=1),
        "read": Contestant(passes.read, ("numpy",), "reading the same bytes", warm=11),
    },
    make=make,
    open=open_rows,
    judge=judge,
    quality=None,
    shows={"centroids_off": "centroids off by, sd"},
    against="read",
)
