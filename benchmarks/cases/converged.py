"""How many full passes it takes to be as good as Lloyd's algorithm run until nothing moves.

Rows × 8 features, k = 10. The judge lets scikit-learn go on from the centroids that were found, without tolerance,
until no row changes its cluster, and measures by how much the inertia still falls. Passes are counted: every read of
all rows, drawing of a sample and final labelling among them. The rivals' are the iterations that they tell; their
seeding and labelling are not in it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.case import Case, Contestant, Task
from benchmarks.cases.points import FAMILIES, Rows, judge_clustering, read_rows, write_rows
from benchmarks.peers import converging

FEATURES = 8
K = 10
SIZES = {"XS": 5_000, "S": 200_000, "M": 2_000_000, "L": 5_000_000}
MOST_MOVES = 2_000


def make(task: Task) -> None:
    """Write the rows."""
    write_rows(task.folder, task.data, SIZES[task.size], FEATURES, K, task.seed)


def open_rows(task: Task) -> Rows:
    """Read the rows into memory."""
    return read_rows(task.folder, K)


def judge(given: Rows, answer: converging.Found, task: Task) -> tuple[dict[str, Any], str | None]:
    """Check centroids and labels, go on to rest, and tell what was left to gain."""
    from sklearn.cluster import KMeans

    from engine.clustering.quality import inertia

    facts, fault = judge_clustering(given, (answer.centroids, answer.labels), task.threads)
    if fault:
        return facts, fault
    start = np.asarray(answer.centroids, dtype=np.float32)
    rested = KMeans(given.k, init=start, n_init=1, max_iter=MOST_MOVES, tol=0.0).fit(given.matrix)
    least = inertia(given.matrix, rested.cluster_centers_, threads=task.threads)
    left = max(0.0, facts["inertia"] / least - 1)
    return facts | {"passes": answer.passes, "left_to_gain": left, "moves_to_rest": int(rested.n_iter_)}, None


CASE = Case(
    name="converged",
    title=f"rows × {FEATURES} features, k = {K}: full passes, and what Lloyd's algorithm could still gain",
    sizes={name: f"{rows:,} rows" for name, rows in SIZES.items()},
    data=tuple(FAMILIES),
    contestants={
        "native": Contestant(
            converging.native, ("cartera", "numba", "scikit-learn"), "Cartera's KMeans", warm=1, compiles=True
        ),
        "sklearn_1": Contestant(converging.sklearn, ("scikit-learn",), "scikit-learn, one start", warm=0),
        "intelex_1": Contestant(
            converging.intelex, ("scikit-learn-intelex", "scikit-learn"), "scikit-learn-intelex, one start", warm=0
        ),
    },
    make=make,
    open=open_rows,
    judge=judge,
    quality="inertia",
    shows={"passes": "full passes", "left_to_gain": "left to gain, share of inertia"},
)
