"""Who finds the nearest rows. An index is built once a process and kept; searches are timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.case import Contend, Timed

if TYPE_CHECKING:
    from benchmarks.case import Task
    from benchmarks.cases.neighbours import Given

AT = 10
LOOKED_AT = 8

_KEPT: dict[str, tuple[Any, float]] = {}


class Found(NamedTuple):
    """Row numbers (queries, 10), how long the index took to build, its kind, and the recall that it claims."""

    ids: Any
    built_seconds: float
    kind: str = ""
    told_recall: float | None = None


@cache
def cartera(kind: str) -> Contend:
    """Return a contestant with our index of a kind."""

    def contend(given: Given, task: Task) -> Timed:
        from engine.neighbours import NeighbourIndex

        index, seconds = _built(
            task.contestant, lambda: NeighbourIndex.build(given.matrix, kind=kind, threads=task.threads)
        )
        begun = time.perf_counter()
        ids = index.search(given.queries, AT, threads=task.threads).ids
        spent = time.perf_counter() - begun
        return Timed(spent, Found(ids, seconds, index.kind, index.recall.measured if index.recall else None))

    return contend


def flat(given: Given, task: Task) -> Timed:
    """FAISS without any structure: exact."""
    return _faiss(given, task, lambda library, d: library.IndexFlatL2(d))


def faiss_ivf(given: Given, task: Task) -> Timed:
    """FAISS's inverted lists by the rule of thumb."""

    def make(library: Any, d: int) -> Any:
        index = library.IndexIVFFlat(library.IndexFlatL2(d), d, int(len(given.matrix) ** 0.5))
        index.nprobe = LOOKED_AT
        return index

    return _faiss(given, task, make)


def faiss_hnsw(given: Given, task: Task) -> Timed:
    """FAISS's graph with its own settings."""
    return _faiss(given, task, lambda library, d: library.IndexHNSWFlat(d, 32))


def sklearn(given: Given, task: Task) -> Timed:
    """scikit-learn: it takes a k-d tree for so few features."""
    from sklearn.neighbors import NearestNeighbors

    index, seconds = _built("sklearn", lambda: NearestNeighbors(n_neighbors=AT, n_jobs=task.threads).fit(given.matrix))
    begun = time.perf_counter()
    ids = index.kneighbors(given.queries, return_distance=False)
    return Timed(time.perf_counter() - begun, Found(ids, seconds, "k-d tree"))


def _faiss(given: Given, task: Task, make: Callable[[Any, int], Any]) -> Timed:
    import faiss as library

    library.omp_set_num_threads(task.threads)

    def build() -> Any:
        index = make(library, given.matrix.shape[1])
        if not index.is_trained:
            rng = np.random.default_rng(0)
            index.train(given.matrix[rng.choice(len(given.matrix), min(len(given.matrix), 64 * index.nlist), False)])
        index.add(given.matrix)
        return index

    index, seconds = _built(task.contestant, build)
    begun = time.perf_counter()
    ids = index.search(given.queries, AT)[1]
    return Timed(time.perf_counter() - begun, Found(ids, seconds, type(index).__name__))


def _built(name: str, build: Callable[[], Any]) -> tuple[Any, float]:
    if name not in _KEPT:
        begun = time.perf_counter()
        index = build()
        _KEPT[name] = index, time.perf_counter() - begun
    return _KEPT[name]
