"""Who is measured along n, k and d: each returns (how much, seconds, answer) for every point of a curve."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.cases.points import Rows
from benchmarks.peers import clusterers

if TYPE_CHECKING:
    from benchmarks.case import Task
    from benchmarks.cases.points import Matrix
    from benchmarks.cases.scaling import Given

STEPS = 5
FITTED_DS = (3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""A pass is measured at every d, a fit at these."""


class Measured(NamedTuple):
    """One point of a curve: the shape of the rows, k, seconds, and what came out."""

    n: int
    d: int
    k: int
    seconds: float
    answer: Any


Curve = list[Measured]


def native(given: Given, task: Task) -> Curve:
    """Cartera's fit, labels of all rows included."""
    return _fits(clusterers.native, given, task)


def sklearn_sample(given: Given, task: Task) -> Curve:
    """scikit-learn's three starts on 100,000 rows, then predict."""
    return _fits(clusterers.sklearn_sample(100_000, 3), given, task)


def native_step(given: Given, task: Task) -> Curve:
    """Cartera's step: sums, counts and inertia in one read."""
    from engine.clustering.rows_array import ArrayRows

    def step(matrix: Matrix, k: int) -> tuple[float, Any]:
        rows, start = ArrayRows(matrix, threads=task.threads), matrix[:k].astype(np.float64)
        return _median(lambda: rows.step([start])[0])

    return _each(step, given)


def read(given: Given, task: Task) -> Curve:
    """Read the same bytes."""
    from benchmarks.peers.reading import read_memory

    return _each(lambda matrix, k: _median(lambda: read_memory(matrix, task.threads)), given)


def _fits(cluster: clusterers.Clusterer, given: Given, task: Task) -> Curve:
    def fit(matrix: Matrix, k: int) -> tuple[float, Any]:
        begun = time.perf_counter()
        centroids, _ = cluster(Rows(matrix, k), task)
        return time.perf_counter() - begun, centroids

    # The first fit of a process pays for imports; it is cold, and not on the curve.
    fit(given.matrix(*given.shapes[0][:2]), given.shapes[0][2])
    return _each(fit, given, FITTED_DS if task.data == "d" else None)


def _each(measure: Callable[[Matrix, int], tuple[float, Any]], given: Given, ds: Any = None) -> Curve:
    return [Measured(n, d, k, *measure(given.matrix(n, d), k)) for n, d, k in given.shapes if ds is None or d in ds]


def _median(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the median seconds of some calls after an unmeasured one, and the last answer."""
    call()
    seconds = []
    for _ in range(STEPS):
        begun = time.perf_counter()
        answer = call()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds), answer
