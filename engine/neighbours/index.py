"""An index over customers' coordinates that answers who the nearest are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.errors import BundleError, DataError, SettingError
from engine.neighbours.checks import (
    check_body,
    check_files,
    check_k,
    check_seed,
    checked,
    checked_exclude,
    checked_ids,
    checked_table,
    checked_unwanted,
)
from engine.neighbours.exact import FlatRows
from engine.neighbours.folder import new_folder, read_manifest, write_manifest
from engine.neighbours.graph import Graph
from engine.neighbours.inverted import InvertedLists
from engine.neighbours.kinds import choose_kind, faiss_threads
from engine.neighbours.on_device import built_on
from engine.neighbours.recall import Recall, tuned

FORMAT = "cartera-neighbours"
VERSION = 1


class Neighbours(NamedTuple):
    """The nearest of each query, the nearest first.

    Attributes
    ----------
    ids
        Shape (m, k), int64; -1 where there are fewer.
    distances
        Shape (m, k), float32: Euclidean; infinite where there are fewer. Those of ``ivf_pq`` are to the rows as its
        codes have them.
    """

    ids: NDArray[np.int64]
    distances: NDArray[np.float32]


class Rows(Protocol):
    """Who holds the rows: each has a slot, from 0 in the order of arrival."""

    probe: Any

    @property
    def slots(self) -> int:
        """Number of slots."""

    @property
    def full(self) -> int:
        """Number of slots with a row in them."""

    @property
    def d(self) -> int:
        """Number of columns."""

    def search(
        self, queries: NDArray[np.float32], k: int, *, ids: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return distances and slots of the k nearest, -1 where fewer were found."""

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Append rows."""

    def remove(self, slots: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Remove rows; return the former slots of those that stay in their new order, ``None`` where none moved."""

    def write(self, folder: Path) -> None:
        """Write the rows."""


_BUILD: dict[str, Callable[..., Rows]] = {
    "flat": FlatRows.build,
    "ivf": InvertedLists.build,
    "ivf_pq": InvertedLists.build,
    "hnsw": Graph.build,
}

_READ: dict[str, Callable[..., Rows]] = {
    "flat": FlatRows.read,
    "ivf": InvertedLists.read,
    "ivf_pq": InvertedLists.read,
    "hnsw": Graph.read,
}


class NeighbourIndex:
    """The nearest of many customers, found exactly or nearly so.

    It holds coordinates of persons and their ids: keep it where the customers may be kept, and erase with
    :meth:`remove` and :meth:`save`. Searches may run side by side; a change must be alone.

    Attributes
    ----------
    kind
        ``flat`` (exact), ``ivf``, ``hnsw`` or ``ivf_pq``.
    reason
        Why this kind.
    n, d
        Number of rows and of columns.
    recall
        What an approximate index finds, as measured when it was built; ``None`` for ``flat``, which finds all.

    Examples
    --------
    >>> import numpy as np
    >>> line = np.array([[0.0], [1.0], [3.0], [7.0]], dtype=np.float32)
    >>> index = NeighbourIndex.build(line, np.array([10, 11, 12, 13]))
    >>> index.search(line[:1], 2).ids.tolist(), index.search(line[:1], 2, exclude=[10]).ids.tolist()
    ([[10, 11]], [[11, 12]])
    >>> index.remove([11, 99]), index.n
    (1, 3)
    """

    def __init__(
        self,
        rows: Rows,
        *,
        kind: str,
        reason: str,
        d: int,
        seed: int,
        recall: Recall | None,
        n: int,
        ids: NDArray[np.int64] | None,
    ) -> None:
        self.kind = kind
        self.reason = reason
        self.n = n
        self.d = d
        self.recall = recall
        self._rows = rows
        self._seed = seed
        # The id of each slot, -1 where it is empty; None where every slot is full and its number is the id.
        self._ids = ids

    @classmethod
    def build(
        cls,
        matrix: NDArray[Any],
        ids: Any = None,
        *,
        kind: str = "auto",
        memory_mib: float | None = None,
        recall: float = 0.99,
        seed: int = 0,
        threads: int | None = None,
        device: str = "auto",
    ) -> NeighbourIndex:
        """Index the rows of a matrix. The same rows and seed give the same index on any number of threads.

        Parameters
        ----------
        matrix
            Shape (n, d), finite numbers of at most 1e15; they become float32.
        ids
            Shape (n,), different whole numbers of at least 0; the row numbers by default.
        kind : {"auto", "flat", "ivf", "hnsw", "ivf_pq"}
            How; see :func:`engine.neighbours.kinds.choose_kind` for ``auto``.
        memory_mib
            What the index may take, in MiB; ``None`` for no limit.
        recall
            Share of the ten nearest that an approximate index should find, above 0 and up to 1. One that cannot says
            so in a warning; :attr:`recall` has the figure.
        seed
            Of the sample that lists are learned from, and of the graph's levels.
        threads
            Threads to take; ``None`` for all cores.
        device : {"auto", "cpu", "cuda"}
            Who puts rows into the lists of ``ivf`` and ``ivf_pq``: the CPU; an NVIDIA GPU, or an error; ``auto``, a GPU
            where FAISS can use one. Searches are the CPU's, and so are the files.

        Raises
        ------
        DataError
            No rows, values that are no finite numbers, or ids that repeat or do not fit.
        SettingError
            An unknown kind or device, memory that does not suffice, or a seed that is no whole number of 31 bits.
        DeviceError
            ``cuda`` was asked for and FAISS cannot use a GPU.
        """
        vectors = checked(matrix, None)
        n, d = vectors.shape
        if not n or not d:
            raise DataError(f"neighbours: expected a matrix with rows and columns; got shape {vectors.shape}.")
        known = None if ids is None else checked_ids(ids, n)
        if isinstance(recall, bool) or not isinstance(recall, int | float) or not 0 < recall <= 1:
            raise SettingError(f"index.recall: expected a share above 0 and up to 1; got {recall!r}.")
        check_seed(seed)
        choice = choose_kind(kind, n, d, memory_mib)
        with faiss_threads(threads):
            build: Callable[..., Any] = partial(_BUILD[choice.kind], vectors, kind=choice.kind, seed=seed)
            rows, told = built_on(device, choice.kind, lambda gpu: build(gpu=gpu))
            measured = None if choice.kind == "flat" else tuned(rows, vectors, asked=recall, seed=seed)
        return cls(rows, kind=choice.kind, reason=choice.reason + told, d=d, seed=seed, recall=measured, n=n, ids=known)

    def __repr__(self) -> str:
        """Return one line."""
        text = f"{self.kind} over {self.n:,} × {self.d} ({self.reason})"
        if self.recall is None:
            return f"<NeighbourIndex: {text}>"
        times = self.recall.flat_seconds_per_query / self.recall.seconds_per_query
        return (
            f"<NeighbourIndex: {text}; recall@{self.recall.at} {self.recall.measured:.4f}, {times:,.0f} × flat's speed>"
        )

    def search(self, matrix: NDArray[Any], k: int, *, exclude: Any = None, threads: int | None = None) -> Neighbours:
        """Return the k nearest rows of each query; of equal distances the lower id is nearer.

        Parameters
        ----------
        matrix
            Shape (m, d): the queries.
        k
            Neighbours for each, at least 1.
        exclude
            Shape (m,): for each query an id that its answer leaves out, such as its own; -1 for none.
        threads
            Threads to take; ``None`` for all cores. The answer does not depend on it.

        Raises
        ------
        DataError
            Another width than the index, or values that are no finite numbers.
        """
        queries = checked(matrix, self.d)
        check_k(k, self.n)
        m = len(queries)
        found = Neighbours(np.full((m, k), -1, np.int64), np.full((m, k), np.inf, np.float32))
        left_out = None if exclude is None else checked_exclude(exclude, m)
        asked = min(k + (left_out is not None), self.n)
        if not m or not asked:
            return found
        with faiss_threads(1 if m == 1 else threads):
            distances, slots = self._rows.search(queries, asked, ids=self._ids)
        ids = slots if self._ids is None else np.where(slots >= 0, self._ids[slots], -1)
        distances = np.where(ids < 0, np.float32(np.inf), distances)
        if left_out is not None:
            own = (ids == left_out[:, None]) & (ids >= 0)
            ids, distances = np.where(own, -1, ids), np.where(own, np.float32(np.inf), distances)
        order = np.lexsort((ids, distances), axis=-1)[:, :k]
        width = order.shape[1]
        found.ids[:, :width] = np.take_along_axis(ids, order, axis=1)
        found.distances[:, :width] = np.take_along_axis(distances, order, axis=1)
        return found

    def add(self, matrix: NDArray[Any], ids: Any) -> None:
        """Add rows; a row whose id is there already is replaced.

        The recall stays the one measured at build: build anew when the rows have become others.

        Raises
        ------
        DataError
            Another width than the index, values that are no finite numbers, or ids that repeat or do not fit.
        """
        vectors = checked(matrix, self.d)
        fresh = checked_ids(ids, len(vectors))
        self.remove(fresh)
        before = self._slot_ids()
        self._rows.add(vectors)
        self._ids = np.concatenate([before, fresh])
        self.n += len(fresh)

    def remove(self, ids: Any) -> int:
        """Remove rows by id; return how many there were.

        Their coordinates are gone from this index, and from the disk once it is saved over the old folder.

        Raises
        ------
        DataError
            The ids are no list of whole numbers; nothing was removed.
        """
        unwanted = checked_unwanted(ids)
        slot_ids = self._slot_ids()
        slots = np.flatnonzero(np.isin(slot_ids, unwanted))
        if slots.size:
            staying = self._rows.remove(slots)
            if staying is None:
                slot_ids = slot_ids.copy()
                slot_ids[slots] = -1
            else:
                slot_ids = slot_ids[staying]
            self._ids = slot_ids
            self.n -= int(slots.size)
        return int(slots.size)

    def renumber(self, ids: Any) -> None:
        """Give every row another id: ``ids[old]`` is the new one, shape (highest old id + 1,) or longer.

        Raises
        ------
        DataError
            An old id has no new one, or the new ones are no whole numbers, below 0 or repeat; all keep their ids.
        """
        self._ids = checked_table(ids, self._slot_ids())

    def _slot_ids(self) -> NDArray[np.int64]:
        return np.arange(self._rows.slots) if self._ids is None else self._ids

    def save(self, folder: Path | str) -> Path:
        """Write the index as a folder; an index that stands there is replaced whole.

        Raises
        ------
        OutputExistsError
            The folder holds something that is not an index.
        """
        target = Path(folder)
        recall = None
        if self.recall is not None:
            recall = {name: getattr(self.recall, name) for name in Recall.__dataclass_fields__}
        with new_folder(target, format=FORMAT) as partial:
            self._rows.write(partial)
            if self._ids is not None:
                np.save(partial / "ids.npy", self._ids, allow_pickle=False)
            body = {
                "kind": self.kind,
                "reason": self.reason,
                "n": self.n,
                "d": self.d,
                "slots": self._rows.slots,
                "probe": self._rows.probe,
                "seed": self._seed,
                "recall": recall,
                "ids": self._ids is not None,
            }
            write_manifest(partial, format=FORMAT, version=VERSION, body=body)
        return target

    @classmethod
    def load(cls, folder: Path | str, *, memory_map: bool = True) -> NeighbourIndex:
        """Read an index.

        Parameters
        ----------
        memory_map
            Map the files: the index is ready at once, and processes that map the same folder share the memory. A
            change copies it first.

        Raises
        ------
        SourceNotFoundError
            There is no index in the folder.
        BundleError
            A file is missing, cut or changed, or the index is of another version.
        """
        path = Path(folder)
        remedy = "Build the index anew."
        body = read_manifest(path, format=FORMAT, version=VERSION, name="index", remedy=remedy)
        try:
            check_body(body)
            rows = _READ[body["kind"]](
                path, memory_map=memory_map, probe=body["probe"], slots=body["slots"], seed=body["seed"]
            )
            # Mapped too, but only where a row's number is not its id.
            ids = np.load(path / "ids.npy", mmap_mode="r" if memory_map else None) if body["ids"] else None
            if not body["ids"] and (path / "ids.npy").exists():
                raise ValueError("expected no ids; there are some")
            check_files(body, rows, ids)
            return cls(
                rows,
                kind=body["kind"],
                reason=body["reason"],
                d=body["d"],
                seed=body["seed"],
                recall=None if body["recall"] is None else Recall(**body["recall"]),
                n=body["n"],
                ids=None if ids is None else np.asarray(ids),
            )
        # FAISS tells of a broken file by RuntimeError.
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError) as error:
            raise BundleError(f"index={path}: its files do not hold an index ({error}). {remedy}") from error
