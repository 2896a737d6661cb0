"""Exact neighbours: FAISS looks at every row in float32, and float64 decides among the nearest.

A distance is the root of the squared differences added up in float64 in the order of the columns, given as float32.
Of equal distances the lower id is nearer, so the answer is one, on any machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.neighbours.kinds import alone, queries_at_once

SPARE = 8
"""So many more than asked are looked at in float64."""

SCAN_ROWS = 65_536


def exact_neighbours(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], k: int, *, ids: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the k nearest rows of the vectors for each query: distances and row numbers, both of shape (m, k).

    Parameters
    ----------
    queries, vectors
        Shapes (m, d) and (n, d), in C order, finite; ``k`` is at most n.
    ids
        What decides between equal distances; the row numbers where there are none.

    Examples
    --------
    >>> import numpy as np
    >>> line = np.array([[0.0], [3.0], [1.0], [1.0]], dtype=np.float32)
    >>> distances, rows = exact_neighbours(line[:1], line, 3)
    >>> distances.tolist(), rows.tolist()
    ([[0.0, 1.0, 1.0]], [[0, 2, 3]])
    """
    n, d = vectors.shape
    distances = np.empty((len(queries), k), np.float32)
    rows = np.empty((len(queries), k), np.int64)
    # Each difference, square and sum is right to half a unit in the last place; nothing cancels.
    certain, smallest = 1 - (d + 6) * 2.0**-23, d * float(np.finfo(np.float32).tiny)
    at_once = queries_at_once(d)
    for start in range(0, len(queries), at_once):
        block = queries[start : start + at_once]
        squares, near = _candidates(block, vectors, min(k + SPARE, n))
        own = distances_to(block, vectors[near])
        order = np.lexsort((near if ids is None else ids[near], own), axis=-1)[:, :k]
        own, chosen = np.take_along_axis(own, order, axis=1), np.take_along_axis(near, order, axis=1)
        if k + SPARE < n and k:
            # A row that FAISS left out is at least as far as the last that it gave, but for the rounding.
            limit = np.sqrt(np.maximum(squares[:, -1].astype(np.float64) * certain - smallest, 0.0))
            for row in np.flatnonzero(own[:, -1] >= limit):
                own[row], chosen[row] = _scan(block[row], vectors, k, float(own[row, -1]), ids)
        distances[start : start + at_once], rows[start : start + at_once] = own, chosen
    return distances, rows


def distances_to(queries: NDArray[np.float32], near: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the distances of each query, shape (m, d), to its own rows, shape (m, k, d)."""
    squares = np.zeros(near.shape[:2])
    for column in range(near.shape[2]):
        squares += (near[:, :, column].astype(np.float64) - queries[:, None, column]) ** 2
    return np.sqrt(squares).astype(np.float32)


def _candidates(
    block: NDArray[np.float32], vectors: NDArray[np.float32], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    import faiss

    if not k:
        return np.empty((len(block), 0), np.float32), np.empty((len(block), 0), np.int64)
    with alone(block):
        squares, near = faiss.knn(block, vectors, k)
    return squares, near


def _scan(
    query: NDArray[np.float32], vectors: NDArray[np.float32], k: int, limit: float, ids: NDArray[np.int64] | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the nearest within a limit by looking at every row in float64: many rows are equally far."""
    distances, rows = [], []
    for start in range(0, len(vectors), SCAN_ROWS):
        own = distances_to(query[None], vectors[None, start : start + SCAN_ROWS])[0]
        within = np.flatnonzero(own <= limit)
        distances.append(own[within])
        rows.append(within + start)
    own, there = np.concatenate(distances), np.concatenate(rows).astype(np.int64)
    order = np.lexsort((there if ids is None else ids[there], own))[:k]
    return own[order], there[order]


class FlatRows:
    """Every row is looked at; what is removed is gone at once."""

    FILE = "vectors.npy"
    probe: int | None = None

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors

    @classmethod
    def build(cls, vectors: NDArray[np.float32], **_: Any) -> FlatRows:
        """Keep a copy of the rows."""
        return cls(vectors.copy())

    @property
    def slots(self) -> int:
        """Number of rows."""
        return len(self.vectors)

    full = slots

    @property
    def d(self) -> int:
        """Number of columns."""
        return int(self.vectors.shape[1])

    def search(
        self, queries: NDArray[np.float32], k: int, *, ids: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return distances and slots of the k nearest, both of shape (m, k)."""
        return exact_neighbours(queries, self.vectors, k, ids=ids)

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Append rows."""
        self.vectors = np.concatenate([self.vectors, vectors])

    def remove(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Remove rows; return the former slots of those that stay, in their new order."""
        staying = np.delete(np.arange(self.slots), slots)
        self.vectors = self.vectors[staying]
        return staying

    def write(self, folder: Path) -> None:
        """Write the rows."""
        np.save(folder / self.FILE, self.vectors, allow_pickle=False)

    @classmethod
    def read(cls, folder: Path, *, memory_map: bool, **_: Any) -> FlatRows:
        """Read or map the rows; a change makes a copy of them first."""
        vectors = np.load(folder / cls.FILE, mmap_mode="r" if memory_map else None, allow_pickle=False)
        if vectors.ndim != 2 or vectors.dtype != np.float32:
            raise ValueError(f"expected float32 of shape (rows, columns); got {vectors.dtype} of shape {vectors.shape}")
        return cls(np.asarray(vectors))
