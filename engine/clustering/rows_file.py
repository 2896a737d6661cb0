"""Rows in files, larger than memory: each read of them holds two blocks at a time.

While one block is worked on, the next one is read. Memory is that of two blocks, however many rows there are; what is
asked of all rows at once, such as their labels, is the caller's to hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from engine.clustering.matrix_files import MatrixFile, NpyFile, ParquetFiles
from engine.clustering.rows import Centroids, FloatMatrix, IntArray
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_blocks import HeldRows
from engine.compute import T
from engine.errors import DataError, SettingError

BLOCK_BYTES = 64 * 2**20
"""Most memory of a block, counted in float64, up to 1024 features."""

MOST_ROWS = 2**20
"""Most rows of a block."""

WHOLE_ROWS = 8192
"""A block is a multiple of this many rows: the kernels' own partial sums then never end early."""

STRETCH_BYTES = 4 * 2**20
"""Rows that lie together are fetched in stretches of this size."""


def rows_of_block(d: int) -> int:
    """Return how many rows of d features make a block.

    Results depend on it through the order of their sums, so it follows from d alone: never from the machine, the
    precision or the number of rows.

    Examples
    --------
    >>> rows_of_block(8), rows_of_block(24), rows_of_block(5000)
    (1048576, 344064, 8192)
    """
    return max(WHOLE_ROWS, min(MOST_ROWS, BLOCK_BYTES // (8 * d) // WHOLE_ROWS * WHOLE_ROWS))


class FileRows(HeldRows):
    """Rows in a ``.npy`` file or in Parquet, of which two blocks at a time are in memory.

    Equal to :class:`~engine.clustering.rows_blocks.BlockRows` of the same edges, bit for bit, on any number of
    threads. Every row counts once. Between two reads no file is open and no thread runs.

    A file may not change while its rows are used: that is looked for at each read, and raises.

    Parameters
    ----------
    file : MatrixFile
        What :meth:`npy` and :meth:`parquet` open.
    threads : int, optional
        Threads to use for the work, 1 or more; one per core by default. One more reads. Results do not depend on it.
    block_rows : int, optional
        Rows of a block, 1 or more; the last block may have fewer. Default: :func:`rows_of_block`.

    Raises
    ------
    SettingError
        Fewer than one thread, or than one row in a block.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/rows.npy", np.array([[0.0, 0.0], [0.0, 2.0], [9.0, 0.0]]))
    ...     with FileRows.npy(f"{folder}/rows.npy", block_rows=2) as rows:
    ...         stats, = rows.step([np.array([[0.0, 1.0], [8.0, 0.0]])])
    >>> rows.n, rows.edges, stats.counts.tolist(), stats.inertia
    (3, [0, 2, 3], [2.0, 1.0], 3.0)
    """

    def __init__(self, file: MatrixFile, threads: int | None = None, block_rows: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise SettingError(f"threads: expected 1 or more, or None for all cores; got {threads}.")
        if block_rows is not None and block_rows < 1:
            raise SettingError(f"block_rows: expected 1 or more, or None for the default; got {block_rows}.")
        d = len(file.names)
        edges = [*range(0, file.n, block_rows or rows_of_block(d)), file.n]
        self._file = FileHeld(file, edges, threads)
        super().__init__(self._file, edges, d, file.dtype, threads)

    def __repr__(self) -> str:
        """Return one line: how many rows and features, and where they are."""
        first, *more = self._file.file.paths
        where = f"{first} and {len(more)} more" if more else str(first)
        return f"<FileRows: {self.n:,} × {self.d} {self.dtype} in {where}>"

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the features; None where the file has none, as ``.npy``."""
        return self._file.file.names if self._file.file.has_names else None

    def less(self, shift: FloatMatrix) -> FileRows:
        """Return the same rows with ``shift`` (d,) subtracted from each as it is read; the file stays what it is.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/years.npy", np.array([[2019.0], [2024.0]]))
        ...     FileRows.npy(f"{folder}/years.npy").less(np.array([2020.0])).take(np.array([0, 1])).tolist()
        [[-1.0], [4.0]]
        """
        moved = copy(self)
        moved._file = moved._held = self._file.less(shift)
        return moved

    @classmethod
    def npy(cls, path: str | Path, *, threads: int | None = None, block_rows: int | None = None) -> Self:
        """Open a matrix that ``numpy.save`` wrote.

        Parameters
        ----------
        path : str or Path
            float32 or float64, (n, d), in C or Fortran order.
        threads, block_rows : int, optional
            See the class.

        Raises
        ------
        SourceNotFoundError
            There is no such file.
        DataError
            It is damaged or cut short, or holds something else; NaN or infinity raises at the first read.
        """
        return cls(NpyFile(path), threads, block_rows)

    @classmethod
    def parquet(
        cls,
        paths: str | Path | Sequence[str | Path],
        columns: str | Sequence[str] | None = None,
        *,
        dtype: Any = np.float32,
        threads: int | None = None,
        block_rows: int | None = None,
    ) -> Self:
        """Open numeric columns of Parquet files.

        Besides the two blocks memory holds the row groups that a block touches, so files should have row groups of
        about a million rows or fewer, as most writers make them.

        Parameters
        ----------
        paths : str, Path or sequence of them
            One file, several in their order, a folder, whose ``.parquet`` files are taken by name, or a pattern such
            as ``"folder/2024-*.parquet"``.
        columns : str or sequence of str, optional
            Features in their order, or the one there is. Default: all columns, if all are numeric.
        dtype : {float32, float64}
            To which every number is cast.
        threads, block_rows : int, optional
            See the class.

        Raises
        ------
        SourceNotFoundError
            There is no such file, none in the folder, or none that matches.
        ColumnsMissingError
            A file lacks a column.
        DataError
            A file is damaged, a column is not numeric, no file has a row, or the folder is a Delta table; null, NaN
            or infinity raises at the first read.
        SettingError
            No column, or one twice, or another dtype.

        Examples
        --------
        >>> import polars, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     frame = polars.DataFrame({"customer": ["a", "b"], "orders": [3, 1], "spend": [9.5, 2.0]})
        ...     frame.write_parquet(f"{folder}/customers.parquet")
        ...     FileRows.parquet(folder, ["spend", "orders"]).take(np.array([1])).tolist()
        [[2.0, 1.0]]
        """
        return cls(ParquetFiles(paths, columns, dtype), threads, block_rows)

    def take(self, index: IntArray) -> FloatMatrix:
        """Return the rows with these numbers, (m, d), as a copy, reading little more than these.

        Raises
        ------
        IndexError
            A number below 0, or n or above.
        DataError
            NaN, infinity or null in these rows; the file has changed.
        """
        rows, places = np.unique(np.asarray(index, dtype=np.int64), return_inverse=True)
        if len(rows) and not 0 <= rows[0] <= rows[-1] < self.n:
            raise IndexError(f"rows 0 to {self.n - 1} are there; got {rows[0]} to {rows[-1]}")
        return self._file.rows(rows)[places]

    def assign(
        self,
        centroids: Centroids,
        labels_out: NDArray[np.int32],
        distances_out: NDArray[np.floating[Any]] | None = None,
    ) -> float:
        """Write each row's nearest centroid and its Euclidean distance; see :meth:`ArrayRows.assign`.

        What is given to be written to may be a map of a file, where labels are too many for memory as well.
        """
        out = [
            (labels_out[first:last], None if distances_out is None else distances_out[first:last])
            for first, last in pairwise(self.edges)
        ]
        inertia = 0.0
        for part in self._held.each(_assign_into, centroids, own=out):
            inertia += part
        return inertia

    def close(self) -> None:
        """Refuse further reads. Nothing else needs to end, as nothing stays open between reads."""
        self._file.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FileHeld:
    """Blocks of a file, each read when it is its turn.

    Parameters
    ----------
    file : MatrixFile
    edges : sequence of int
        Block i has the rows ``edges[i]`` to ``edges[i + 1]``.
    threads : int, optional
        Threads that work on a block.
    shift : (d,) array, optional
        What is subtracted from each row as it is read.

    Attributes
    ----------
    file : MatrixFile
        What is read.
    closed : bool
        Whether reading is refused.
    """

    def __init__(
        self, file: MatrixFile, edges: Sequence[int], threads: int | None, shift: FloatMatrix | None = None
    ) -> None:
        self.file = file
        self._edges = edges
        self._threads = threads
        self._shift = shift
        self.closed = False

    def less(self, shift: FloatMatrix) -> FileHeld:
        """Return the same blocks with ``shift`` subtracted from each row."""
        held = FileHeld(self.file, self._edges, self._threads, shift if self._shift is None else self._shift + shift)
        held.closed = self.closed
        return held

    def each(self, function: Callable[..., T], *args: Any, own: Sequence[Any] | None = None) -> list[T]:
        """Return ``function(part, *args)`` for each part in order; with ``own``, ``function(part, own[i], *args)``.

        A part is an :class:`~engine.clustering.rows_array.ArrayRows` that lives until ``function`` returns: its
        memory is used again, so that nothing in a result may be a view of it.
        """
        self._check_open()
        blocks = list(pairwise(self._edges))
        most = max(last - first for first, last in blocks)
        buffers = [self._buffer(most) for _ in blocks[:2]]
        results = []
        with self.file.opened() as read, ThreadPoolExecutor(1, "read rows") as reader:

            def fetch(number: int) -> FloatMatrix:
                first, last = blocks[number]
                block = self._matrix(buffers[number % 2], last - first)
                read(first, last, block)
                return self._shifted(block)

            following = reader.submit(fetch, 0)
            for number, (first, last) in enumerate(blocks):
                block = following.result()
                if number + 1 < len(blocks):
                    following = reader.submit(fetch, number + 1)
                # The function reads the block, and so finds what cannot be clustered without a read more.
                part = ArrayRows(block, threads=self._threads, check_now=False)
                try:
                    results.append(function(part, *args) if own is None else function(part, own[number], *args))
                except DataError as error:
                    self._name_unfit(block, range(first, last), error)
                    raise
        return results

    def rows(self, rows: IntArray) -> FloatMatrix:
        """Return the rows with these numbers, which ascend, each once, (m, d)."""
        self._check_open()
        taken = np.empty((len(rows), len(self.file.names)), self.file.dtype)
        if not len(rows):
            return taken
        most = max(1, STRETCH_BYTES // taken[0].nbytes)
        if self.file.near >= self.file.n:
            most = max(most, int(np.diff(self._edges).max()))
        apart = (np.diff(rows) > self.file.near) | (np.diff(rows // most) > 0)
        starts = [0, *(np.flatnonzero(apart) + 1).tolist(), len(rows)]
        buffer = self._buffer(min(most, int(rows[-1] - rows[0]) + 1))
        with self.file.opened() as read:
            for start, end in pairwise(starts):
                first, last = int(rows[start]), int(rows[end - 1]) + 1
                stretch = self._matrix(buffer, last - first)
                read(first, last, stretch)
                taken[start:end] = stretch[rows[start:end] - first]
        self._name_unfit(taken, rows, None)
        return self._shifted(taken)

    def _shifted(self, matrix: FloatMatrix) -> FloatMatrix:
        """Return the matrix, which is ours to write to, with what is to be subtracted taken off."""
        if self._shift is not None:
            matrix -= self._shift
        return matrix

    def _buffer(self, rows: int) -> FloatMatrix:
        return np.empty(rows * len(self.file.names), self.file.dtype)

    def _matrix(self, buffer: FloatMatrix, rows: int) -> FloatMatrix:
        """Return the beginning of a buffer as a matrix in the order of the file."""
        d = len(self.file.names)
        values = buffer[: rows * d]
        return values.reshape(rows, d) if self.file.by_rows else values.reshape(d, rows).T

    def _name_unfit(self, matrix: FloatMatrix, rows: range | IntArray, error: DataError | None) -> None:
        """Raise with the name of the file where rows with these numbers hold NaN or infinity."""
        bad = ~np.isfinite(matrix)
        if not bad.any():
            return
        first = int(rows[int(bad.any(axis=1).argmax())])
        told = ", ".join(
            f"{self.file.names[column]} ({bad[:, column].sum()})" for column in np.flatnonzero(bad.any(axis=0))
        )
        raise DataError(
            f"{self.file.place(first)}: expected finite {matrix.dtype} numbers; NaN or infinity in {told} of "
            f"{len(matrix)} rows that were read. Fill or drop these values before clustering."
        ) from error

    def _check_open(self) -> None:
        if self.closed:
            raise DataError(f"{self.file.place(0)}: these rows were closed. Open the file again to read them.")


def _assign_into(
    rows: ArrayRows,
    out: tuple[NDArray[np.int32], NDArray[np.floating[Any]] | None],
    centroids: Centroids,
) -> float:
    labels, distances = out
    return rows.assign(centroids, labels, distances)
