"""The ten nearest customers of a thousand: how quickly, and how many of the true ones are found.

The index is built before the clock starts; how long that took is told. Queries are rows of the base, each of which may
find itself. Truth is float64 differences over all rows, worked out for a part of the queries; rows as far away as the
tenth count as found.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Case, Contestant, Task
from benchmarks.cases.points import DATA_SEED, Matrix, rfm
from benchmarks.peers import neighbouring

ROWS = {"XS": 20_000, "S": 200_000, "M": 1_000_000, "L": 10_000_000}
D, AT, QUERIES, CHECKED = 8, 10, 1_000, 100
TIE = 1e-5
"""Distances this close are equal: libraries work in float32."""
LEAST_RECALL = 0.5
"""Below it an answer is wrong rather than approximate."""


@dataclass(frozen=True, slots=True)
class Given:
    """Rows, queries, and the distance of the tenth nearest of the first queries."""

    matrix: Matrix
    queries: Matrix
    tenth: Any


def make(task: Task) -> None:
    """Write rows, queries and truth."""
    rng = np.random.default_rng([DATA_SEED, task.seed, AT])
    matrix = rfm(ROWS[task.size], D, AT, rng)
    queries = matrix[rng.choice(len(matrix), QUERIES, replace=False)]
    tenth = np.empty(CHECKED)
    for number, query in enumerate(queries[:CHECKED]):
        squared = np.zeros(len(matrix))
        for column in range(D):
            squared += np.square(matrix[:, column].astype(np.float64) - float(query[column]))
        tenth[number] = np.sqrt(np.partition(squared, AT - 1)[AT - 1])
    folder = Path(task.folder)
    folder.mkdir(parents=True)
    np.save(folder / "rows.npy", matrix)
    np.savez(folder / "queries.npz", queries=queries, tenth=tenth)


def open_rows(task: Task) -> Given:
    """Read them into memory."""
    folder = Path(task.folder)
    with np.load(folder / "queries.npz", allow_pickle=False) as asked:
        return Given(np.load(folder / "rows.npy", allow_pickle=False), asked["queries"], asked["tenth"])


def judge(given: Given, answer: neighbouring.Found, task: Task) -> tuple[dict[str, Any], str | None]:
    """Count the true ones among the answers."""
    ids = np.asarray(answer.ids)[:CHECKED]
    gaps = given.matrix[ids].astype(np.float64) - given.queries[:CHECKED, np.newaxis]
    distances = np.sqrt(np.square(gaps).sum(axis=2))
    right = (distances <= given.tenth[:, np.newaxis] * (1 + TIE)) & (ids >= 0)
    repeated = sum(len(set(row)) < len(row) for row in ids.tolist())
    recall = float(right.mean())
    facts = {
        "missed": round(1 - recall, 4),
        "built_seconds": round(answer.built_seconds, 2),
        "kind": answer.kind,
        "told_recall": answer.told_recall,
    }
    if repeated:
        return facts, f"{repeated} answers name a row twice"
    return facts, None if recall >= LEAST_RECALL else f"recall {recall:.3f}"


def _ours(kind: str, says: str) -> Contestant:
    return Contestant(neighbouring.cartera(kind), ("cartera", "faiss-cpu"), says, warm=3)


CASE = Case(
    name="neighbours",
    title=f"the {AT} nearest of {QUERIES:,} customers",
    sizes={name: f"{QUERIES:,} queries to {rows:,} rows × {D}" for name, rows in ROWS.items()},
    data=("customers",),
    contestants={
        "cartera": _ours("auto", "Cartera, the kind it chooses"),
        "cartera_ivf": _ours("ivf", "Cartera, inverted lists"),
        "cartera_hnsw": _ours("hnsw", "Cartera, graph"),
        "cartera_ivf_pq": _ours("ivf_pq", "Cartera, inverted lists of compressed rows"),
        "flat": Contestant(neighbouring.flat, ("faiss-cpu",), "FAISS, flat", warm=1),
        "faiss_ivf": Contestant(
            neighbouring.faiss_ivf, ("faiss-cpu",), "FAISS, inverted lists, √n of them, 8 looked at", warm=3
        ),
        "faiss_hnsw": Contestant(neighbouring.faiss_hnsw, ("faiss-cpu",), "FAISS, HNSW32 as it comes", warm=3),
        "sklearn": Contestant(
            neighbouring.sklearn, ("scikit-learn",), "scikit-learn, NearestNeighbors (k-d tree, exact)", warm=1
        ),
    },
    make=make,
    open=open_rows,
    judge=judge,
    quality=None,
    shows={"missed": "share of the ten missed", "built_seconds": "built in, s"},
    against="flat",
)
