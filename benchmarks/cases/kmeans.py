"""Rows × 8 features into ten clusters: centroids, and the label of every row.

The rows are in memory before the clock starts, as float32 in C order, the same for all. What is judged is the inertia
of the centroids by one float64 function over all rows (``engine.clustering.quality.inertia``), never a library's own
figure; the labels must be those of the nearest centroids.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Case, Contestant, Task
from benchmarks.cases.points import DATA_SEED, FAMILIES, Matrix
from benchmarks.peers import clusterers

FEATURES = 8
K = clusterers.K
SIZES = {"XS": 5_000, "S": 200_000, "M": 2_000_000, "L": 5_000_000}
LABEL_TOLERANCE = 1e-3
"""How much more the labels' own sum of squares may be than that of the nearest centroids: float32 ties, no more."""


def make(task: Task) -> None:
    """Write the rows."""
    rng = np.random.default_rng([DATA_SEED, task.seed])
    Path(task.folder).mkdir(parents=True)
    np.save(Path(task.folder) / "rows.npy", FAMILIES[task.data](SIZES[task.size], FEATURES, K, rng))


def open_rows(task: Task) -> Matrix:
    """Read the rows into memory."""
    rows: Matrix = np.load(Path(task.folder) / "rows.npy", allow_pickle=False)
    return rows


def judge(given: Matrix, answer: tuple[Any, Any], task: Task) -> tuple[dict[str, Any], str | None]:
    """Measure the inertia, and check that every row has the label of its nearest centroid."""
    from engine.clustering.quality import inertia

    centroids, labels = np.asarray(answer[0], dtype=np.float64), np.asarray(answer[1])
    if centroids.shape != (K, FEATURES) or not np.isfinite(centroids).all():
        return {}, f"expected {K} finite centroids of {FEATURES} features; got shape {centroids.shape}"
    if labels.shape != (len(given),) or labels.min() < 0 or labels.max() >= K:
        return {}, f"expected {len(given)} labels from 0 to {K - 1}; got shape {labels.shape}"
    found = inertia(given, centroids, threads=task.threads)
    by_labels = 0.0
    for first in range(0, len(given), 100_000):
        rows = slice(first, first + 100_000)
        difference = given[rows].astype(np.float64) - centroids[labels[rows]]
        by_labels += float(np.einsum("ij,ij->", difference, difference))
    facts = {"inertia": found, "clusters": len(np.unique(labels))}
    if by_labels > found * (1 + LABEL_TOLERANCE):
        return facts, f"labels are not those of the nearest centroids: {by_labels / found:.4f} times the inertia"
    return facts, None


CASE = Case(
    name="kmeans",
    title=f"rows × {FEATURES} features, k = {K}: centroids and the label of every row",
    sizes={name: f"{rows:,} rows" for name, rows in SIZES.items()},
    data=tuple(FAMILIES),
    contestants={
        "native": Contestant(
            clusterers.native, ("cartera", "numba", "scikit-learn"), "Cartera's KMeans", warm=5, compiles=True
        ),
        "sklearn_1": Contestant(clusterers.sklearn_1, ("scikit-learn",), "scikit-learn, one start"),
        "sklearn_10": Contestant(clusterers.sklearn_10, ("scikit-learn",), "scikit-learn, best of ten starts", warm=1),
        "subsample_20k": Contestant(
            clusterers.subsample_20k, ("scikit-learn",), "scikit-learn, ten starts on 20,000 rows, then predict"
        ),
        "subsample_100k": Contestant(
            clusterers.subsample_100k,
            ("scikit-learn",),
            "scikit-learn, ten starts on 100,000 rows, then predict",
            warm=5,
        ),
        "minibatch": Contestant(
            clusterers.minibatch, ("scikit-learn",), "scikit-learn MiniBatchKMeans, batches of 16,384"
        ),
        "intelex_1": Contestant(
            clusterers.intelex_1, ("scikit-learn-intelex", "scikit-learn"), "scikit-learn-intelex, one start"
        ),
        "intelex_10": Contestant(
            clusterers.intelex_10,
            ("scikit-learn-intelex", "scikit-learn"),
            "scikit-learn-intelex, best of ten starts",
            warm=1,
        ),
        "faiss_1": Contestant(clusterers.faiss_1, ("faiss-cpu",), "FAISS on all rows, k-means++, one start"),
        "faiss_10": Contestant(
            clusterers.faiss_10, ("faiss-cpu",), "FAISS on all rows, k-means++, best of ten starts", warm=1
        ),
        "dask_ml": Contestant(
            clusterers.dask_ml, ("dask-ml", "dask"), "dask-ml, parallel k-means++, threads", warm=1, sizes=("XS", "S")
        ),
    },
    make=make,
    open=open_rows,
    judge=judge,
    quality="inertia",
)
