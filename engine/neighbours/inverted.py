"""Rows in lists, each with the nearest of many centroids: a search looks through the few lists nearest to the query.

``ivf`` keeps the rows' floats, ``ivf_pq`` one byte for each column: the difference from the list's centroid, to the
nearest of 256 levels learned for that column (product quantisation, Jégou, Douze and Schmid 2011).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from engine.neighbours.kinds import alone, queries_at_once

FILE = "index.faiss"

LEVELS = 256
"""Values of a byte."""

ROWS_TO_LEARN = 50
"""Rows a centroid is learned from."""

SENT_ROWS = 2**20
"""Rows that a GPU is given at a time."""

ITERATIONS = 10
"""Lists need to be of like length, not a minimum of the inertia."""


class InvertedLists:
    """Rows in lists by their nearest centroid; a slot is the row's number in the order of arrival, and never changes.

    Attributes
    ----------
    probe
        Lists that a search for ten neighbours looks through.
    """

    def __init__(self, index: Any, *, probe: int, slots: int, mapped: bool = False) -> None:
        self._index = index
        # One thread for each query: so no answer depends on the number of threads.
        index.parallel_mode = 3
        self.probe = probe
        self.slots = slots
        self._mapped = mapped

    @classmethod
    def build(cls, vectors: NDArray[np.float32], *, kind: str, seed: int, gpu: bool = False) -> InvertedLists:
        """Learn the centroids on a sample and put every row in its list.

        With ``gpu`` the first GPU finds the nearest centroids meanwhile. It does so by the expanded square, so a row
        between two lists may come into the other; the index is one of the processor's, as without.
        """
        import faiss

        n, d = vectors.shape
        if kind == "ivf_pq" and n < LEVELS:
            raise DataError(f"index.kind=ivf_pq: expected at least {LEVELS} rows to learn from; got {n}. Use flat.")
        lists = max(1, min(round(4 * math.sqrt(n)), n // ROWS_TO_LEARN))
        coarse = faiss.IndexFlatL2(d)
        index: Any
        if kind == "ivf_pq":
            index = faiss.IndexIVFPQ(coarse, d, lists, d, 8)
            # One table for each list would take more memory than the codes.
            index.use_precomputed_table = -1
            index.pq.cp.seed, index.pq.cp.min_points_per_centroid = seed, 1
        else:
            index = faiss.IndexIVFFlat(coarse, d, lists)
        index.cp.seed, index.cp.niter, index.cp.min_points_per_centroid = seed, ITERATIONS, 1
        sample = min(n, max(lists * ROWS_TO_LEARN, LEVELS * ROWS_TO_LEARN))
        chosen = np.sort(np.random.default_rng(seed).choice(n, sample, replace=False))
        if gpu:
            _fill_by_gpu(index, coarse, vectors, vectors[chosen])
        else:
            index.train(vectors[chosen])
            index.add(vectors)
        return cls(index, probe=1, slots=n)

    @property
    def full(self) -> int:
        """Number of slots with a row in them."""
        return int(self._index.ntotal)

    @property
    def d(self) -> int:
        """Number of columns."""
        return int(self._index.d)

    @property
    def probes(self) -> list[int]:
        """What :attr:`probe` may be, ascending: about √2 from one to the next."""
        return doubling_steps(1, int(self._index.nlist))

    def search(
        self, queries: NDArray[np.float32], k: int, *, ids: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return distances and slots of the k nearest found, both of shape (m, k)."""
        distances = np.empty((len(queries), k), np.float32)
        slots = np.empty((len(queries), k), np.int64)
        # The ball that holds k neighbours touches more lists; it was measured for ten and the query's own row.
        probe = min(math.ceil(self.probe * max(1.0, (k - 1) / 10) ** 0.6), int(self._index.nlist))
        at_once = queries_at_once(queries.shape[1])
        for start in range(0, len(queries), at_once):
            block = queries[start : start + at_once]
            part = slice(start, start + len(block))
            distances[part], slots[part] = self._look(block, k, probe)
        short = np.flatnonzero(slots[:, -1] < 0) if k else np.empty(0, np.int64)
        while short.size and probe < self._index.nlist:
            probe = min(4 * probe, int(self._index.nlist))
            distances[short], slots[short] = self._look(queries[short], k, probe)
            short = short[slots[short, -1] < 0]
        return distances, slots

    def _look(self, queries: NDArray[np.float32], k: int, probe: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        import faiss

        with alone(queries):
            near, lists = self._index.quantizer.search(queries, probe)
        squares, slots = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        arrays = [faiss.swig_ptr(array) for array in (lists, near, squares, slots)]
        params = faiss.SearchParametersIVF(nprobe=probe)  # type: ignore[call-arg]
        # As the library's own search does it. Its Python method for this takes no parameters, only the index's.
        self._index.search_preassigned_c(len(queries), faiss.swig_ptr(queries), k, *arrays, False, params)
        return np.sqrt(squares), slots

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Put further rows in the lists; the centroids stay as they are."""
        self._own()
        self._index.add_with_ids(vectors, np.arange(self.slots, self.slots + len(vectors)))
        self.slots += len(vectors)

    def remove(self, slots: NDArray[np.int64]) -> None:
        """Take rows out of their lists; their slots stay empty."""
        self._own()
        self._index.remove_ids(slots)

    def write(self, folder: Path) -> None:
        """Write the lists."""
        import faiss

        faiss.write_index(self._index, str(folder / FILE))

    @classmethod
    def read(cls, folder: Path, *, memory_map: bool, probe: int, slots: int, **_: Any) -> InvertedLists:
        """Read or map the lists."""
        import faiss

        flags = faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE | (faiss.IO_FLAG_MMAP_IFC if memory_map else 0)
        index = faiss.read_index(str(folder / FILE), flags)
        if not isinstance(index, faiss.IndexIVF) or slots < index.ntotal:
            raise ValueError(f"expected lists of at most {slots} rows; got {index.ntotal} in {type(index).__name__}")
        return cls(index, probe=probe, slots=slots, mapped=memory_map)

    def _own(self) -> None:
        """Copy what is mapped, before a change."""
        if self._mapped:
            self._index, self._mapped = owned(self._index), False
            self._index.parallel_mode = 3


def _fill_by_gpu(index: Any, coarse: Any, vectors: NDArray[np.float32], sample: NDArray[np.float32]) -> None:
    """Train the lists and fill them, the nearest centroids found by the first GPU."""
    import faiss

    gpus: Any = faiss
    resources = gpus.StandardGpuResources()
    nearest = gpus.index_cpu_to_gpu(resources, 0, faiss.IndexFlatL2(vectors.shape[1]))
    index.clustering_index = nearest
    try:
        index.train(sample)
    finally:
        # It must not outlive the card's memory.
        index.clustering_index = None
    nearest.reset()
    nearest.add(coarse.reconstruct_n(0, coarse.ntotal))
    for start in range(0, len(vectors), SENT_ROWS):
        block = vectors[start : start + SENT_ROWS]
        _, lists = nearest.search(block, 1)
        # Its Python method for this takes no lists that are known already.
        index.add_core(len(block), faiss.swig_ptr(block), None, faiss.swig_ptr(lists))


def owned(index: Any) -> Any:
    """Return a copy of a mapped index in memory of its own."""
    import faiss

    return faiss.deserialize_index(faiss.serialize_index(index), faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE)


def doubling_steps(low: int, high: int) -> list[int]:
    """Return low … high, about √2 from one to the next.

    Examples
    --------
    >>> doubling_steps(1, 20)
    [1, 2, 3, 4, 6, 8, 12, 16, 20]
    """
    steps = sorted({part for power in range(low.bit_length() - 1, 63) for part in (1 << power, 3 << power >> 1)})
    return [*(step for step in steps if low <= step < high), high]
