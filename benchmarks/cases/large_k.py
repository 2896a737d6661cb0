"""Many clusters: 50, 100 and 200 among up to 500,000 rows × 8 features.

As the case ``kmeans``, with as many groups in the data ``blobs`` as clusters are asked for. scikit-learn's ten starts
take minutes, so they are measured from one solver seed whatever is asked for.
"""

from __future__ import annotations

from typing import Any

from benchmarks.case import Case, Contestant, Task
from benchmarks.cases.points import Rows, judge_clustering, read_rows, write_rows
from benchmarks.peers import clusterers

FEATURES = 8
SIZES = {"XS": 5_000, "S": 50_000, "M": 200_000, "L": 500_000}
KS = (50, 100, 200)


def k_of(data: str) -> int:
    """Return the number of clusters of a kind of data.

    Examples
    --------
    >>> k_of("rfm-100")
    100
    """
    return int(data.rpartition("-")[2])


def make(task: Task) -> None:
    """Write the rows."""
    family = task.data.partition("-")[0]
    write_rows(task.folder, family, SIZES[task.size], FEATURES, k_of(task.data), task.seed)


def open_rows(task: Task) -> Rows:
    """Read the rows into memory."""
    return read_rows(task.folder, k_of(task.data))


def judge(given: Rows, answer: tuple[Any, Any], task: Task) -> tuple[dict[str, Any], str | None]:
    """Measure the inertia, and check that every row has the label of its nearest centroid."""
    return judge_clustering(given, answer, task.threads)


CASE = Case(
    name="large_k",
    title=f"rows × {FEATURES} features, many clusters: centroids and the label of every row",
    sizes={name: f"{rows:,} rows" for name, rows in SIZES.items()},
    data=tuple(f"{family}-{k}" for family in ("rfm", "blobs") for k in KS),
    contestants={
        "native": Contestant(
            clusterers.native, ("cartera", "numba", "scikit-learn"), "Cartera's KMeans", compiles=True
        ),
        "sklearn_10": Contestant(
            clusterers.sklearn(10), ("scikit-learn",), "scikit-learn, best of ten starts", warm=0, solver_seeds=1
        ),
        "sklearn_1": Contestant(clusterers.sklearn(1), ("scikit-learn",), "scikit-learn, one start", warm=1),
        "subsample_100k_3": Contestant(
            clusterers.sklearn_sample(100_000, 3),
            ("scikit-learn",),
            "scikit-learn, best of three starts on {sample}, then predict",
            warm=1,
            sample=100_000,
        ),
        "intelex_10": Contestant(
            clusterers.intelex(10),
            ("scikit-learn-intelex", "scikit-learn"),
            "scikit-learn-intelex, best of ten starts",
            warm=0,
            solver_seeds=1,
        ),
        "faiss_pp": Contestant(
            clusterers.faiss("KMEANS_PLUS_PLUS", 1), ("faiss-cpu",), "FAISS on all rows, k-means++, one start", warm=0
        ),
    },
    make=make,
    open=open_rows,
    judge=judge,
    quality="inertia",
    within=1.001,
    rows=SIZES,
)
