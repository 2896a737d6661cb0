"""Customers to segments: one at a time in Python, and a whole base at once.

``one``: a mapping of three values in, the segment out, in a loop; seconds are those of one customer. ``base``: a scaled
matrix of eight features and ten centroids in, the label of every row out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.case import Case, Contestant, Task
from benchmarks.cases.points import DATA_SEED, Matrix, rfm
from benchmarks.cases.serving import FEATURES, SEGMENTS
from benchmarks.cases.serving import make as make_model
from benchmarks.peers import classifying

ROWS = {"XS": 50_000, "S": 1_000_000, "M": 5_000_000, "L": 10_000_000}
CALLS = {"XS": 200, "S": 2_000, "M": 5_000, "L": 10_000}
D, K = 8, 10
CHECKED_ROWS = 20_000
NEAR_A_TIE = 1e-5
"""Rows whose two nearest centroids are this close to equally far may go to either in float32."""


@dataclass(frozen=True, slots=True)
class Given:
    """Rows and centroids, or customers and the folder of the model; and the right answers of some."""

    folder: Path
    matrix: Matrix
    centroids: NDArray[np.float64]
    customers: list[dict[str, float]]


def make(task: Task) -> None:
    """Write a model and customers, or a matrix and centroids."""
    if task.data == "one":
        make_model(task)
        return
    rng = np.random.default_rng([DATA_SEED, task.seed, K])
    matrix = rfm(ROWS[task.size], D, K, rng)
    folder = Path(task.folder)
    folder.mkdir(parents=True)
    np.save(folder / "rows.npy", matrix)
    np.save(folder / "centroids.npy", matrix[rng.choice(len(matrix), K, replace=False)].astype(np.float64))


def open_given(task: Task) -> Given:
    """Read them into memory."""
    folder = Path(task.folder)
    if task.data == "base":
        rows = np.load(folder / "rows.npy", allow_pickle=False)
        return Given(folder, rows, np.load(folder / "centroids.npy", allow_pickle=False), [])
    rng = np.random.default_rng(task.seed)
    n = CALLS[task.size]
    values = np.column_stack([rng.integers(0, 700, n), rng.integers(1, 40, n), np.exp(rng.normal(5, 1, n))])
    customers = [dict(zip(FEATURES, row, strict=True)) for row in values.tolist()]
    return Given(folder, np.empty((0, len(FEATURES)), np.float32), np.empty((SEGMENTS, 0)), customers)


def judge(given: Given, answer: Any, task: Task) -> tuple[dict[str, Any], str | None]:
    """Compare labels with plain float64 on a part of the rows; of single customers with the base way of the model."""
    if task.data == "one":
        if task.contestant != "cartera":
            return {}, None
        expected = classifying.expected_segments(given)
        wrong = sum(one != other for one, other in zip(answer, expected, strict=True))
        return {"wrong": wrong}, f"{wrong} of {len(expected)} customers in another segment" if wrong else None
    part = np.linspace(0, len(given.matrix) - 1, min(CHECKED_ROWS, len(given.matrix))).astype(np.int64)
    rows = given.matrix[part].astype(np.float64)
    squared = np.square(rows[:, np.newaxis] - answer.centroids).sum(axis=2)
    best, second = np.sort(squared, axis=1)[:, :2].T
    differs = (np.asarray(answer.labels)[part] != squared.argmin(axis=1)) & (second - best > NEAR_A_TIE * second)
    wrong = int(differs.sum())
    return {"wrong": wrong}, f"{wrong} of {len(part):,} rows in another segment" if wrong else None


CASE = Case(
    name="classify",
    title="customers to segments: one in Python, and a whole base",
    sizes={
        name: f"one customer of three values ({CALLS[name]:,} in a loop); a base of {rows:,} rows × {D}, k = {K}"
        for name, rows in ROWS.items()
    },
    data=("one", "base"),
    contestants={
        "cartera": Contestant(classifying.cartera, ("cartera", "numba"), "Cartera, the segment", warm=7, compiles=True),
        "cartera_two": Contestant(
            classifying.cartera_two,
            ("cartera", "numba"),
            "Cartera, segment, second choice and both distances",
            warm=7,
            compiles=True,
            data=("base",),
        ),
        "sklearn": Contestant(classifying.sklearn, ("scikit-learn",), "scikit-learn, predict", warm=7),
        "intelex": Contestant(
            classifying.intelex,
            ("scikit-learn-intelex", "scikit-learn"),
            "scikit-learn-intelex, predict",
            warm=7,
            data=("base",),
        ),
        "faiss": Contestant(
            classifying.faiss, ("faiss-cpu",), "FAISS, flat index of the centroids", warm=3, data=("base",)
        ),
    },
    make=make,
    open=open_given,
    judge=judge,
    quality=None,
    shows={"wrong": "wrong segments"},
    against="cartera",
)
