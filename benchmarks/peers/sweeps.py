"""Who tries k = 2 to 20 and measures each: inertia, Calinski-Harabasz, Davies-Bouldin and silhouette.

Cartera's silhouettes are two: with squared distances, exact over all rows, and Euclidean from a sample of rows.
scikit-learn's is Euclidean, from a sample of :data:`SILHOUETTE_ROWS` rows, because all pairs of millions of rows are
out of reach.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.case import Timed

if TYPE_CHECKING:
    from benchmarks.case import Task
    from benchmarks.cases.points import Matrix

KS = tuple(range(2, 21))
SAMPLE = 100_000
SILHOUETTE_ROWS = 2_000
STARTS = 10
FEW_KS = (2, 11, 20)
"""Where all k would take an hour these are measured; their mean stands for every k."""


class Tried(NamedTuple):
    """Centroids of one k and what is known of them; ``None`` is what was not measured."""

    centroids: Any
    inertia: float
    calinski_harabasz: float
    davies_bouldin: float
    silhouette: float | None
    silhouette_euclidean: float


Sweep = Sequence[Tried]


def native(given: Matrix, task: Task) -> Sweep:
    """Cartera's sweep, as it comes."""
    from engine.clustering.sweep import Tries, sweep

    tries = Tries(given, threads=task.threads)
    return [
        Tried(
            trial.centroids,
            trial.inertia,
            float(trial.calinski_harabasz or 0.0),
            float(trial.davies_bouldin or 0.0),
            trial.silhouette,
            trial.silhouette_euclidean.value if trial.silhouette_euclidean else float("nan"),
        )
        for trial in sweep(tries, KS, seed=task.solver_seed)
    ]


def sklearn_sample(given: Matrix, task: Task) -> Sweep:
    """scikit-learn: ten starts on 100,000 rows, labels and figures on all of them."""
    from sklearn.cluster import KMeans

    some = _some(given, task)
    found = []
    for k in KS:
        model = KMeans(k, n_init=STARTS, random_state=task.solver_seed).fit(some)
        found.append(_measured(given, model.cluster_centers_, model.predict(given), task))
    return found


def sklearn_sample_only(given: Matrix, task: Task) -> Sweep:
    """scikit-learn: all on 100,000 rows, figures too; the inertia is scaled up, and no other row gets a label."""
    from sklearn.cluster import KMeans

    some = _some(given, task)
    found = []
    for k in KS:
        model = KMeans(k, n_init=STARTS, random_state=task.solver_seed).fit(some)
        tried = _measured(some, model.cluster_centers_, model.labels_, task)
        scale = len(given) / len(some)
        found.append(tried._replace(inertia=tried.inertia * scale, calinski_harabasz=tried.calinski_harabasz * scale))
    return found


def sklearn_plain(given: Matrix, task: Task) -> Timed:
    """scikit-learn: ten starts on all rows for three k; the seconds are those of nineteen."""
    from sklearn.cluster import KMeans

    def tried() -> Iterator[Tried]:
        for k in FEW_KS:
            model = KMeans(k, n_init=STARTS, random_state=task.solver_seed).fit(given)
            yield _measured(given, model.cluster_centers_, model.labels_, task)

    begun = time.perf_counter()
    found = list(tried())
    return Timed((time.perf_counter() - begun) * len(KS) / len(FEW_KS), found)


def _some(matrix: Matrix, task: Task) -> Matrix:
    rng = np.random.default_rng(task.solver_seed)
    return matrix[rng.choice(len(matrix), size=min(SAMPLE, len(matrix)), replace=False, shuffle=False)]


def _measured(matrix: Matrix, centroids: Any, labels: Any, task: Task) -> Tried:
    """Work out scikit-learn's figures; the inertia by its own sum over the labels, in blocks."""
    from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score

    inertia = 0.0
    for first in range(0, len(matrix), 100_000):
        rows = slice(first, first + 100_000)
        inertia += float(np.square(matrix[rows] - centroids[labels[rows]]).sum(dtype=np.float64))
    return Tried(
        centroids,
        inertia,
        float(calinski_harabasz_score(matrix, labels)),
        float(davies_bouldin_score(matrix, labels)),
        None,
        float(
            silhouette_score(
                matrix, labels, sample_size=min(SILHOUETTE_ROWS, len(matrix)), random_state=task.solver_seed
            )
        ),
    )
