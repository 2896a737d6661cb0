"""Rows in blocks: what is known about all of them is the sum of what each block says, added in the blocks' order.

A block is a run of whole buckets of the lake. Whoever holds the blocks, this process or the workers of a cluster, the
sums are the same ones in the same order: the results are equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.clustering.rows import Centroids, Drawn, FloatMatrix, IntArray, Stats
from engine.clustering.rows_array import ArrayRows
from engine.compute import Held, LocalCompute
from engine.errors import DataError

BLOCK_ROWS = 131_072
"""Rows of a block, at least: fewer are worked through in less time than it takes to ask a worker. Results depend on
it, so it never follows the machine."""


def block_edges(bucket_rows: Sequence[int], at_least: int | None = None) -> list[int]:
    """Return where blocks of whole buckets begin, and where the last one ends.

    Buckets are taken in order until a block has enough rows; what is left over at the end joins the block before.

    Parameters
    ----------
    bucket_rows : sequence of int
        Rows of each bucket, 0 or more.
    at_least : int, optional
        Rows that make a block; :data:`BLOCK_ROWS` by default.

    Returns
    -------
    list of int
        ``edges[i]`` to ``edges[i + 1]`` is block i. No block is empty.

    Examples
    --------
    >>> block_edges([4, 0, 3, 5, 2], at_least=5)
    [0, 7, 14]
    """
    least = BLOCK_ROWS if at_least is None else at_least
    edges = [0]
    total = 0
    for rows in bucket_rows:
        total += rows
        if total - edges[-1] >= max(1, least):
            edges.append(total)
    if edges[-1] < total:
        # The rest is too small for a block of its own.
        edges[max(1, len(edges) - 1) :] = [total]
    return edges


class HeldRows:
    """Rows in blocks, wherever the blocks are held.

    Every row counts once.

    Parameters
    ----------
    held : Held
        One :class:`ArrayRows` without weights for each block.
    edges : sequence of int
        Block i has the rows ``edges[i]`` to ``edges[i + 1]``.
    d : int
        Number of features.
    dtype : dtype
        Precision of the rows.
    threads : int, optional
        Threads of this process for what is fetched from the blocks; all cores by default.
    """

    def __init__(
        self, held: Held, edges: Sequence[int], d: int, dtype: np.dtype[Any], threads: int | None = None
    ) -> None:
        self._held = held
        self._edges = np.asarray(edges, dtype=np.int64)
        self._d = d
        self._dtype = dtype
        self._threads = threads

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self._edges[-1])

    @property
    def d(self) -> int:
        """Number of features."""
        return self._d

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """None: every row counts once."""
        return None

    @property
    def threads(self) -> int | None:
        """Threads of this process to use; None for all cores."""
        return self._threads

    @property
    def held(self) -> Held:
        """The blocks where they are, one :class:`ArrayRows` each."""
        return self._held

    @property
    def dtype(self) -> np.dtype[Any]:
        """Precision of the rows."""
        return self._dtype

    @property
    def edges(self) -> list[int]:
        """Where each block begins, and where the last one ends."""
        edges: list[int] = self._edges.tolist()
        return edges

    def take(self, index: IntArray) -> FloatMatrix:
        """Return the rows with these numbers, (m, d), as a copy; no other row leaves its block."""
        index = np.asarray(index, dtype=np.int64)
        if index.size and not 0 <= index.min() <= index.max() < self.n:
            raise IndexError(f"rows 0 to {self.n - 1} are there; got {index.min()} to {index.max()}")
        block_of = np.searchsorted(self._edges, index, side="right") - 1
        asked = [np.flatnonzero(block_of == block) for block in range(len(self._edges) - 1)]
        wanted = [index[places] - first for places, first in zip(asked, self._edges, strict=False)]
        taken = np.empty((len(index), self._d), dtype=self._dtype)
        for places, rows in zip(asked, self._held.each(_take, own=wanted), strict=True):
            taken[places] = rows
        return taken

    def distinct(self) -> ArrayRows:
        """Return the different rows, each with the number of its copies, in this process.

        For rows of which few differ: all that do are fetched.
        """
        told = self._held.each(_distinct)
        weights = np.concatenate([counts for _, counts in told])
        return ArrayRows(np.concatenate([rows for rows, _ in told]), weights, self._threads).distinct()

    def step(self, models: Sequence[Centroids]) -> list[Stats]:
        """Measure several sets of centroids in one read; see :meth:`ArrayRows.step`."""
        told = self._held.each(_step, list(models))
        return [_added([block[number] for block in told]) for number in range(len(models))]

    def farthest(self, centroids: Centroids) -> IntArray:
        """Return the number of each cluster's farthest row; see :meth:`ArrayRows.farthest`."""
        told = self._held.each(_farthest, centroids)
        squared = np.array([theirs for _, theirs in told])
        rows = np.array([index + first * (index >= 0) for (index, _), first in zip(told, self._edges, strict=False)])
        found: IntArray = rows[squared.argmax(axis=0), np.arange(len(centroids))]
        return found

    def draw(self, centroids: Centroids, even: float, per_square: float, seed: int) -> Drawn:
        """Draw rows by their distance; see :meth:`ArrayRows.draw`."""
        told = self._held.each(_draw, centroids, even, per_square, seed, own=self._edges[:-1].tolist())
        return Drawn(
            np.concatenate([drawn.index + first for drawn, first in zip(told, self._edges, strict=False)]),
            np.concatenate([drawn.squared for drawn in told]),
            sum(drawn.inertia for drawn in told),
        )

    def assign(
        self,
        centroids: Centroids,
        labels_out: NDArray[np.int32],
        distances_out: NDArray[np.floating[Any]] | None = None,
    ) -> float:
        """Write each row's nearest centroid and its Euclidean distance; see :meth:`ArrayRows.assign`."""
        dtype = None if distances_out is None else distances_out.dtype
        inertia = 0.0
        told = self._held.each(_assign, centroids, dtype)
        for (first, last), (labels, distances, part) in zip(pairwise(self._edges), told, strict=True):
            labels_out[first:last] = labels
            if distances_out is not None:
                distances_out[first:last] = distances
            inertia += part
        return inertia


class BlockRows(HeldRows):
    """A matrix in memory as rows in blocks: what :class:`DaskRows` is on workers, in this process.

    Parameters
    ----------
    matrix : (n, d) ndarray
        Finite features, float32 or float64, in the order of the buckets. It is neither copied nor written to.
    edges : sequence of int
        From :func:`block_edges`; the last one is n.
    threads : int, optional
        Threads to use, 1 or more; one per core by default. Results do not depend on it.

    Raises
    ------
    DataError
        The edges are not those of the matrix's rows, or the matrix holds NaN or infinity.

    Examples
    --------
    >>> rows = BlockRows(np.array([[0.0, 0.0], [0.0, 2.0], [9.0, 0.0]]), [0, 1, 3])
    >>> stats, = rows.step([np.array([[0.0, 1.0], [8.0, 0.0]])])
    >>> stats.counts.tolist(), stats.inertia
    ([2.0, 1.0], 3.0)
    """

    def __init__(self, matrix: FloatMatrix, edges: Sequence[int], threads: int | None = None) -> None:
        blocks = array_blocks(matrix, edges, threads)
        super().__init__(LocalCompute().hold(blocks), edges, blocks[0].d, blocks[0].matrix.dtype, threads)
        self._matrix = matrix

    @property
    def matrix(self) -> FloatMatrix:
        """All rows as they are held, (n, d); not to be written to."""
        return self._matrix


def array_blocks(matrix: FloatMatrix, edges: Sequence[int], threads: int | None) -> list[ArrayRows]:
    """Return the blocks between the edges as rows of their own: views of the matrix, checked."""
    check_edges(edges, len(matrix))
    return [ArrayRows(matrix[first:last], threads=threads) for first, last in pairwise(edges)]


def check_edges(edges: Sequence[int], n: int) -> None:
    """Raise :class:`DataError` unless the blocks are n rows together and none is empty."""
    if len(edges) < 2 or edges[0] != 0 or edges[-1] != n or any(last <= first for first, last in pairwise(edges)):
        raise DataError(
            f"Rows in buckets: expected buckets that hold the {n} rows of the matrix together; they end at row "
            f"{edges[-1]}. Give the rows in the order of their buckets, and the number of rows in each."
        )


def _added(told: Sequence[Stats]) -> Stats:
    """Add blocks in their order."""
    counts, sums, sse = told[0].counts.copy(), told[0].sums.copy(), told[0].sse.copy()
    for stats in told[1:]:
        counts += stats.counts
        sums += stats.sums
        sse += stats.sse
    return Stats(counts=counts, sums=sums, sse=sse)


def _step(rows: ArrayRows, models: Sequence[Centroids]) -> list[Stats]:
    return rows.step(models)


def _farthest(rows: ArrayRows, centroids: Centroids) -> tuple[IntArray, NDArray[np.float64]]:
    index = rows.farthest(centroids)
    there = np.flatnonzero(index >= 0)
    squared = np.full(len(index), -1.0)
    gaps = rows.take(index[there]) - np.asarray(centroids, dtype=np.float64)[there]
    squared[there] = np.square(gaps).sum(axis=1)
    return index, squared


def _draw(rows: ArrayRows, own: int, centroids: Centroids, even: float, per_square: float, seed: int) -> Drawn:
    return rows.draw(centroids, even, per_square, seed, first_row=own)


def _assign(
    rows: ArrayRows, centroids: Centroids, dtype: np.dtype[Any] | None
) -> tuple[NDArray[np.int32], NDArray[Any] | None, float]:
    labels = np.empty(rows.n, dtype=np.int32)
    distances = None if dtype is None else np.empty(rows.n, dtype=dtype)
    inertia = rows.assign(centroids, labels, distances)
    return labels, distances, inertia


def _distinct(rows: ArrayRows) -> tuple[FloatMatrix, NDArray[np.float64]]:
    different = rows.distinct()
    return different.matrix, np.ones(different.n) if different.weights is None else different.weights


def _take(rows: ArrayRows, index: IntArray) -> FloatMatrix:
    return rows.take(index)
