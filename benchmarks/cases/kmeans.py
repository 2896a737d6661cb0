"""Rows × 8 features into ten clusters: centroids, and the label of every row.

The rows are in memory before the clock starts, as float32 in C order, the same for all. What is judged is the inertia
of the centroids by one float64 function over all rows (``engine.clustering.quality.inertia``), never a library's own
figure; the labels must be those of the nearest centroids. With several solver seeds the rows stay what they are, and
the table says who comes within a thousandth of the best known, in how many seeds and how soon.
"""

from __future__ import annotations

from typing import Any

from benchmarks.case import Case, Contestant, Task
from benchmarks.cases.points import FAMILIES, Rows, judge_clustering, read_rows, write_rows
from benchmarks.peers import clusterers

FEATURES = 8
K = 10
SIZES = {"XS": 5_000, "S": 200_000, "M": 2_000_000, "L": 5_000_000}

SKLEARN = ("scikit-learn",)
INTELEX = ("scikit-learn-intelex", "scikit-learn")
FAISS = ("faiss-cpu",)
INITS = {"random": ("RANDOM", "random rows"), "pp": ("KMEANS_PLUS_PLUS", "k-means++"), "afkmc2": ("AFK_MC2", "AFK-MC2")}
"""FAISS's ways to start: our short name, its own, and that of the tables."""
SAMPLES = (20_000, 50_000, 100_000)


def make(task: Task) -> None:
    """Write the rows."""
    write_rows(task.folder, task.data, SIZES[task.size], FEATURES, K, task.seed)


def open_rows(task: Task) -> Rows:
    """Read the rows into memory."""
    return read_rows(task.folder, K)


def judge(given: Rows, answer: tuple[Any, Any], task: Task) -> tuple[dict[str, Any], str | None]:
    """Measure the inertia, and check that every row has the label of its nearest centroid."""
    return judge_clustering(given, answer, task.threads)


def starts(number: int) -> str:
    """Return how many starts, in words."""
    return {1: "one start", 3: "best of three starts", 10: "best of ten starts"}[number]


def _samples() -> dict[str, Contestant]:
    return {
        f"subsample_{size // 1000}k_{number}": Contestant(
            clusterers.sklearn_sample(size, number),
            SKLEARN,
            f"scikit-learn, {starts(number)} on {{sample}}, then predict",
            warm=5,
            sample=size,
        )
        for size in SAMPLES
        for number in (1, 3, 10)
    } | {
        f"intelex_{size // 1000}k_{number}": Contestant(
            clusterers.intelex_sample(size, number),
            INTELEX,
            f"scikit-learn-intelex, {starts(number)} on {{sample}}, then predict",
            warm=5,
            sample=size,
        )
        for size in SAMPLES
        for number in (1, 3, 10)
    }


def _faiss() -> dict[str, Contestant]:
    found: dict[str, Contestant] = {}
    for name, (init, says) in INITS.items():
        found |= {
            f"faiss_{name}_256": Contestant(
                clusterers.faiss(init, 10, rows_per_centroid=256),
                FAISS,
                f"FAISS on its default sample of 256 rows for each cluster, {says}, {starts(10)}",
            ),
            f"faiss_{name}_100k": Contestant(
                clusterers.faiss(init, 3, rows=100_000),
                FAISS,
                f"FAISS on {{sample}}, {says}, {starts(3)}",
                sample=100_000,
            ),
            f"faiss_{name}_all": Contestant(
                clusterers.faiss(init, 1), FAISS, f"FAISS on all rows, {says}, {starts(1)}", warm=1
            ),
        }
    return found


CASE = Case(
    name="kmeans",
    title=f"rows × {FEATURES} features, k = {K}: centroids and the label of every row",
    sizes={name: f"{rows:,} rows" for name, rows in SIZES.items()},
    data=tuple(FAMILIES),
    contestants={
        "native": Contestant(
            clusterers.native, ("cartera", "numba", "scikit-learn"), "Cartera's KMeans", warm=5, compiles=True
        ),
        "sklearn_1": Contestant(clusterers.sklearn(1), SKLEARN, "scikit-learn, one start"),
        "sklearn_10": Contestant(clusterers.sklearn(10), SKLEARN, "scikit-learn, best of ten starts", warm=1),
        **_samples(),
        "minibatch_1k": Contestant(
            clusterers.minibatch(1_024, 3), SKLEARN, f"scikit-learn MiniBatchKMeans, batches of 1,024, {starts(3)}"
        ),
        "minibatch_16k": Contestant(
            clusterers.minibatch(16_384, 10), SKLEARN, f"scikit-learn MiniBatchKMeans, batches of 16,384, {starts(10)}"
        ),
        "minibatch_100k": Contestant(
            clusterers.minibatch(100_000, 3),
            SKLEARN,
            f"scikit-learn MiniBatchKMeans, batches of 100,000, {starts(3)}",
            warm=1,
        ),
        "intelex_1": Contestant(clusterers.intelex(1), INTELEX, "scikit-learn-intelex, one start"),
        "intelex_10": Contestant(clusterers.intelex(10), INTELEX, "scikit-learn-intelex, best of ten starts", warm=1),
        **_faiss(),
        "dask_ml": Contestant(
            clusterers.dask_ml, ("dask-ml", "dask"), "dask-ml, parallel k-means++, threads", warm=1, sizes=("XS", "S")
        ),
    },
    make=make,
    open=open_rows,
    judge=judge,
    quality="inertia",
    within=1.001,
    rows=SIZES,
)
