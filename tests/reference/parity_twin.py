"""The backends on the same rows, the obvious way: one after the other in this process, pairs of rows counted."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np

from engine.clustering.backends import cluster
from engine.clustering.parity_process import Fit, Task
from tests.reference.inertia_twin import squared_distances


def fit_here(task: Task, *, limit_s: float) -> Fit:
    """Do what a child process would, in this one."""
    found = cluster(
        np.load(task.matrix), task.k, backend=task.backend, solver=task.solver, seed=task.seed, threads=task.threads
    )
    assert Path(task.folder).is_dir()
    return Fit(
        centroids=found.centroids,
        labels=found.labels,
        seconds=(found.seconds,),
        memory_added_mib=0.0,
        rows_used=found.rows_used,
        n_iter=found.n_iter,
        stop_reason=found.stop_reason,
        reported_inertia=found.reported_inertia,
    )


def slow_inertia(matrix: np.ndarray, centroids: np.ndarray) -> float:
    """Sum, over the rows, the least squared distance to a centroid."""
    return float(np.array(squared_distances(matrix, centroids)).min(axis=1).sum())


def slow_rand(a: np.ndarray, b: np.ndarray) -> float:
    """Adjusted Rand index by looking at every pair of rows (Hubert and Arabie 1985)."""
    pairs = [(a[i] == a[j], b[i] == b[j]) for i, j in combinations(range(len(a)), 2)]
    both = sum(in_a and in_b for in_a, in_b in pairs)
    in_a, in_b = sum(one for one, _ in pairs), sum(one for _, one in pairs)
    expected = in_a * in_b / len(pairs)
    return (both - expected) / ((in_a + in_b) / 2 - expected)
