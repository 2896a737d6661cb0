"""Rows linked to rows near them, on levels that thin out upwards; a search walks downhill (Malkov and Yashunin 2020).

The graph cannot forget a row: others are reached through it. A removed row therefore takes on the coordinates of its
nearest remaining neighbour, so that the way stays and the person does not, and is left out of every answer. When many
have gone, the graph is built anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.neighbours.inverted import FILE, doubling_steps, owned
from engine.neighbours.kinds import LINKS

BREADTH = 64
"""Candidates kept while a row is linked in (efConstruction)."""

NARROWEST, WIDEST = 20, 2048
"""Candidates kept at least and at most while the nearest ten are sought."""

REBUILD_FROM = 0.2
"""Share of removed rows from which the graph is built anew."""


class Graph:
    """Rows in a hierarchical graph; a slot is the row's number in the order of arrival.

    Attributes
    ----------
    probe
        Candidates that a search for ten neighbours keeps (efSearch).
    """

    def __init__(self, index: Any, *, seed: int, probe: int, gone: NDArray[np.int64], mapped: bool = False) -> None:
        self._index = index
        self._seed = seed
        self.probe = probe
        self._gone = gone
        self._mapped = mapped

    @classmethod
    def build(cls, vectors: NDArray[np.float32], *, seed: int, **_: Any) -> Graph:
        """Link all rows."""
        import faiss

        index: Any = faiss.IndexHNSWFlat(vectors.shape[1], LINKS)
        index.hnsw.efConstruction = BREADTH
        graph = cls(index, seed=seed, probe=NARROWEST, gone=np.empty(0, np.int64))
        graph.add(vectors)
        return graph

    @property
    def slots(self) -> int:
        """Number of rows, the removed ones among them."""
        return int(self._index.ntotal)

    @property
    def full(self) -> int:
        """Number of rows less the removed ones."""
        return self.slots - len(self._gone)

    @property
    def d(self) -> int:
        """Number of columns."""
        return int(self._index.d)

    @property
    def probes(self) -> list[int]:
        """What :attr:`probe` may be, ascending: about √2 from one to the next."""
        return doubling_steps(NARROWEST, max(NARROWEST, min(WIDEST, self.slots)))

    def search(
        self, queries: NDArray[np.float32], k: int, *, ids: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return distances and slots of the k nearest found, both of shape (m, k)."""
        if not k:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        # It was measured for ten and the query's own row.
        breadth = max(self.probe, 2 * (k - 1))
        distances, slots = self._walk(queries, k, breadth, self._gone)
        short = np.flatnonzero(slots[:, -1] < 0)
        while short.size and breadth < self.slots:
            breadth = min(4 * breadth, self.slots)
            distances[short], slots[short] = self._walk(queries[short], k, breadth, self._gone)
            short = short[slots[short, -1] < 0]
        return distances, slots

    def _walk(
        self, queries: NDArray[np.float32], k: int, breadth: int, without: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        import faiss

        among = {"sel": faiss.IDSelectorNot(faiss.IDSelectorBatch(without))} if without.size else {}
        params = faiss.SearchParametersHNSW(efSearch=breadth, **among)  # type: ignore[attr-defined]
        squares, slots = self._index.search(queries, k, params=params)
        return np.sqrt(squares), slots

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Link further rows."""
        import faiss

        self._own()
        # The levels are drawn as if the graph had just been read from disk, where the generator's state is not kept.
        self._index.hnsw.rng = faiss.RandomGenerator(self._seed + self.slots)  # type: ignore[attr-defined]
        if len(vectors):
            self._index.add(vectors)

    def remove(self, slots: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Forget rows; return the former slots of those that stay where the graph was built anew, else ``None``."""
        self._own()
        gone = np.union1d(self._gone, slots)
        if gone.size > REBUILD_FROM * self.slots:
            staying = np.delete(np.arange(self.slots), gone)
            anew = Graph.build(self._vectors()[staying], seed=self._seed)
            self._index, self._gone = anew._index, anew._gone
            return staying
        vectors = self._vectors()
        _, nearest = self._walk(vectors[slots], 1, self.probe, gone)
        anybody = np.setdiff1d(np.arange(gone.size + 1), gone)[0]
        vectors[slots] = vectors[np.where(nearest[:, 0] >= 0, nearest[:, 0], anybody)]
        self._gone = gone
        return None

    def _vectors(self) -> NDArray[np.float32]:
        """Return the coordinates as FAISS holds them, to be read and written."""
        import faiss

        storage: Any = faiss.downcast_index(self._index.storage)
        return faiss.rev_swig_ptr(storage.get_xb(), self.slots * self._index.d).reshape(self.slots, -1)

    def write(self, folder: Path) -> None:
        """Write the graph, and which of its rows are gone."""
        import faiss

        faiss.write_index(self._index, str(folder / FILE))
        np.save(folder / "gone.npy", self._gone, allow_pickle=False)

    @classmethod
    def read(cls, folder: Path, *, memory_map: bool, probe: int, seed: int, **_: Any) -> Graph:
        """Read or map the graph."""
        import faiss

        index = faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC if memory_map else 0)
        gone = np.load(folder / "gone.npy", allow_pickle=False)
        if not isinstance(index, faiss.IndexHNSW):
            raise ValueError(f"expected a graph; got {type(index).__name__}")
        whole = gone.dtype == np.int64 and gone.ndim == 1 and (np.diff(gone) > 0).all()
        if not whole or (gone.size and not 0 <= gone[0] <= gone[-1] < index.ntotal):
            raise ValueError(f"expected the removed among {index.ntotal} rows; got {gone.dtype} of shape {gone.shape}")
        return cls(index, seed=seed, probe=probe, gone=gone, mapped=memory_map)

    def _own(self) -> None:
        """Copy what is mapped, before a change."""
        if self._mapped:
            self._index, self._mapped = owned(self._index), False
