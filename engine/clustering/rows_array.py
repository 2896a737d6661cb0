"""Rows in memory: a matrix, and a fused kernel that reads it once per step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.clustering.jit import numba_threads
from engine.clustering.rows import Centroids, Drawn, FloatMatrix, IntArray, Stats
from engine.clustering.rows_input import as_matrix, checked_weights, distinct_rows, flat, not_finite
from engine.errors import DataError, SettingError

PARTS_BYTES = 32 * 2**20
"""Memory for partial sums; more chunks than fit are worked through in turns, without a change in the result."""

CHECKED_AT_ONCE = 2**22
"""Up to so many values are looked through when they come; of more, that would be a read of all."""

DRAWN_CHUNKS = 256
"""Chunks among which rows are drawn at a time, because each may give all its rows."""


class ArrayRows:
    """A matrix in memory as rows to cluster.

    float32 and float64 stay what they are, anything else becomes float64; a matrix that is contiguous
    neither by rows nor by columns is copied once, the caller's is never written to.

    Parameters
    ----------
    X : (n, d) array-like
        Finite features, on comparable scales.
    weights : (n,) array-like, optional
        How often each row counts, 0 or more and not all 0. Default: every row counts once.
    threads : int, optional
        Threads to use, 1 or more. Default: one per core that this process may use. Results do not depend on it.
    names : sequence of str, optional
        Column names, for messages.
    check_now : bool, optional
        Whether NaN and infinity are looked for at once. Otherwise the first method that reads the rows finds them, at
        no cost. Default: at once where there are few values.

    Raises
    ------
    DataError
        X is not a matrix with rows and columns, or holds NaN or infinity; a weight is negative or not finite. Methods
        that read the rows raise it too, for infinity where ``check_now`` was not, and where squared distances are
        beyond the rows' precision.
    SettingError
        Fewer than one thread.

    Examples
    --------
    >>> rows = ArrayRows([[0.0, 0.0], [0.0, 2.0], [9.0, 0.0]])
    >>> stats, = rows.step([np.array([[0.0, 1.0], [8.0, 0.0]])])
    >>> stats.counts.tolist(), stats.sums.tolist(), stats.inertia
    ([2.0, 1.0], [[0.0, 2.0], [9.0, 0.0]], 3.0)
    """

    def __init__(
        self,
        X: ArrayLike,
        weights: ArrayLike | None = None,
        threads: int | None = None,
        *,
        names: Sequence[str] | None = None,
        check_now: bool | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise SettingError(f"threads: expected 1 or more, or None for all cores; got {threads}.")
        self._threads = threads
        self._X = as_matrix(X)
        self._by_rows = bool(self._X.flags.c_contiguous)
        self._flat = flat(self._X)
        self._weights = None if weights is None else checked_weights(weights, self.n)
        self._names = names
        if self._flat.size <= CHECKED_AT_ONCE if check_now is None else check_now:
            self.check()

    def __reduce__(self) -> tuple[type[ArrayRows], tuple[Any, ...]]:
        """Travel to another process as the matrix alone."""
        return type(self), (self._X, self._weights, self._threads)

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self._X.shape[0])

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self._X.shape[1])

    @property
    def matrix(self) -> FloatMatrix:
        """The rows as they are held, (n, d), contiguous by rows or by columns; not to be written to."""
        return self._X

    @property
    def names(self) -> Sequence[str] | None:
        """Column names, for messages."""
        return self._names

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """Weight of each row (n,), or None when every row counts once."""
        return self._weights

    @property
    def threads(self) -> int | None:
        """Threads to use; None for all cores."""
        return self._threads

    @cached_property
    def _columns(self) -> FloatMatrix:
        """All values, column after column: the form that a search reads many times over."""
        return flat(self._X if not self._by_rows else np.asfortranarray(self._X))

    @cached_property
    def _rows(self) -> FloatMatrix:
        """All values, row after row."""
        return self._flat if self._by_rows else np.ascontiguousarray(self._X).ravel()

    def take(self, index: IntArray) -> FloatMatrix:
        """Return the rows with these numbers, (m, d), as a copy."""
        taken: FloatMatrix = self._X[index]
        if not np.isfinite(taken).all():
            self.check()
        return taken

    def step(self, models: Sequence[Centroids]) -> list[Stats]:
        """Measure several sets of centroids in one read.

        Parameters
        ----------
        models : sequence of (k, d) arrays
            Each is measured by itself; k may differ.

        Returns
        -------
        list of Stats
            One for each model, in order.
        """
        from engine.clustering import kernels

        if not len(models):
            return []
        bounds = np.cumsum([0, *(len(model) for model in models)], dtype=np.int64)
        K = int(bounds[-1])
        C = np.concatenate([self.narrow(model) for model in models])
        chunks = -(-self.n // kernels.CHUNK)
        turn = max(8, min(chunks, PARTS_BYTES // (8 * K * (self.d + 2))))
        sums = np.zeros((K, self.d + 2))
        with self.running():
            for first in range(0, chunks, turn):
                parts = np.empty((min(turn, chunks - first), K, self.d + 2))
                kernels.step_chunks(*self.given, self.kernel_weights, C, bounds, first, parts)
                kernels.add_in_order(parts, sums)
        self.check_total(sums[:, self.d + 1])
        return [
            Stats(counts=sums[low:high, self.d], sums=sums[low:high, : self.d], sse=sums[low:high, self.d + 1])
            for low, high in pairwise(bounds)
        ]

    def farthest(self, centroids: Centroids) -> IntArray:
        """Return for each centroid its farthest row, (k,) int64: the number of the row, -1 where there is none.

        Of the rows with a weight that are nearest to it; the first of equally far ones.
        """
        from engine.clustering import kernels

        C = self.narrow(centroids)
        shape = (-(-self.n // kernels.CHUNK), len(centroids))
        far, far_row = np.empty(shape), np.empty(shape, dtype=np.int64)
        with self.running():
            kernels.farthest_chunks(*self.given, self.kernel_weights, C, far, far_row)
        found: IntArray = far_row[far.argmax(axis=0), np.arange(len(centroids))]
        return found

    def draw(self, centroids: Centroids, even: float, per_square: float, seed: int, first_row: int = 0) -> Drawn:
        """Draw rows by their squared distance to the nearest centroid, each by itself, in one read.

        Parameters
        ----------
        centroids : (k, d)
        even, per_square : float
            A row of weight w at distance r is drawn with probability w × (even + per_square × r²), or surely where
            that is 1 or more.
        seed : int
            Whether a row is drawn follows from it and from the row's number.
        first_row : int
            Number of the first of these rows, where they are a part of more.

        Returns
        -------
        Drawn
        """
        from engine.clustering import kernels

        C = self.narrow(centroids)
        chunks = -(-self.n // kernels.CHUNK)
        index, squared, inertia = [], [], 0.0
        with self.running():
            for first in range(0, chunks, DRAWN_CHUNKS):
                m = min(DRAWN_CHUNKS, chunks - first)
                drawn, parts = np.empty(m, dtype=np.int64), np.empty(m)
                place = np.empty((m, kernels.CHUNK), dtype=np.int64)
                distance = np.empty((m, kernels.CHUNK), dtype=self._X.dtype)
                kernels.draw_chunks(
                    *self.given,
                    self.kernel_weights,
                    C,
                    float(even),
                    float(per_square),
                    np.uint64(seed),
                    first_row,
                    first,
                    drawn,
                    place,
                    distance,
                    parts,
                )
                for chunk, found in enumerate(drawn):
                    # A view would keep the whole of the scratch.
                    index.append(place[chunk, :found].copy())
                    squared.append(distance[chunk, :found].copy())
                    inertia += float(parts[chunk])
        self.check_total(inertia)
        return Drawn(np.concatenate(index), np.concatenate(squared).astype(np.float64), inertia)

    def assign(
        self,
        centroids: Centroids,
        labels_out: NDArray[np.int32],
        distances_out: NDArray[np.floating[Any]] | None = None,
    ) -> float:
        """Write each row's nearest centroid and its Euclidean distance; return the inertia.

        Parameters
        ----------
        centroids : (k, d)
        labels_out : (n,) int32
            Receives the number of the nearest centroid; the lower one where two are equally near.
        distances_out : (n,) float32 or float64, optional
            Receives the Euclidean (not squared) distance to it.

        Returns
        -------
        float
            Weighted sum of squared distances, added in float64.
        """
        from engine.clustering import kernels

        parts = np.empty(-(-self.n // kernels.CHUNK))
        distances = np.empty(0, dtype=np.float32) if distances_out is None else distances_out
        # The kernel would write beyond what is shorter.
        if labels_out.shape != (self.n,) or distances.shape not in ((self.n,), (0,)):
            raise DataError(f"assign: expected room for {self.n} rows; got {labels_out.shape} and {distances.shape}.")
        with self.running():
            kernels.assign_chunks(
                *self.given, self.kernel_weights, self.narrow(centroids), labels_out, distances, parts
            )
        inertia = float(np.add.reduce(parts))
        self.check_total(inertia)
        return inertia

    def settle(
        self, starts: Sequence[Centroids], most: int, shift_tolerance: float
    ) -> tuple[NDArray[np.float64], IntArray, IntArray]:
        """Move many starts at once, each in a thread of its own; see :func:`engine.clustering.lloyd.lloyd`.

        Returns
        -------
        centroids : (starts, k, d) float64
        moves, ends : (starts,) int64
            How often each moved, and how it ended: a constant of :mod:`engine.clustering.search_kernels`.
        """
        from engine.clustering import search_kernels

        C = np.array(starts, dtype=np.float64)
        moves, ends = np.empty(len(C), dtype=np.int64), np.empty(len(C), dtype=np.int64)
        with self.running():
            search_kernels.settle(
                self._rows,
                self._columns,
                self.n,
                self.kernel_weights,
                C,
                most,
                float(shift_tolerance),
                moves,
                ends,
            )
        return C, moves, ends

    def breathe(
        self,
        solutions: Sequence[Centroids],
        noise: NDArray[np.float64],
        *,
        width: int,
        moves: tuple[int, int],
        shift_tolerance: float,
        better: float,
    ) -> tuple[NDArray[np.float64], IntArray]:
        """Better many solutions at once, each in a thread of its own; see :func:`engine.clustering.search.breathed`.

        Returns
        -------
        centroids : (solutions, k, d) float64
        rounds : (solutions,) int64
            How often each breathed.
        """
        from engine.clustering import search_kernels

        C = np.array(solutions, dtype=np.float64)
        rounds = np.empty(len(C), dtype=np.int64)
        with self.running():
            search_kernels.breathe(
                self._rows,
                self._columns,
                self.n,
                self.kernel_weights,
                C,
                noise,
                min(width, C.shape[1]),
                *moves,
                float(shift_tolerance),
                float(better),
                rounds,
            )
        return C, rounds

    def seeds(self, shares: NDArray[np.float64]) -> IntArray:
        """Draw row numbers by greedy k-means++ from uniform numbers (starts, k, trials).

        Returns
        -------
        (starts, k) int64
            -1 from where no row with a weight is left that differs from those drawn.
        """
        from engine.clustering import seeding_kernels

        self.check()
        weights = np.ones(self.n) if self._weights is None else flat(self._weights)
        picks = np.empty(shares.shape[:2], dtype=np.int64)
        with self.running():
            seeding_kernels.greedy_starts(self._columns, self.d, weights, shares, picks)
        return picks

    def distinct(self) -> ArrayRows:
        """Return the different rows with a weight, in lexical order, each with the weight of all its copies.

        The order of the rows, and whether a row is repeated or weighted, then no longer matters to anything.

        Examples
        --------
        >>> rows = ArrayRows([[3.0], [1.0], [3.0]]).distinct()
        >>> rows.matrix[:, 0].tolist(), rows.weights.tolist()
        ([1.0, 3.0], [1.0, 2.0])
        """
        self.check()
        rows, weights = distinct_rows(self._X, self._weights)
        return ArrayRows(rows, weights, self._threads)

    def running(self) -> AbstractContextManager[None]:
        """Let kernels use this object's number of threads, and give the thread its own setting back."""
        return numba_threads(self._threads)

    @property
    def kernel_weights(self) -> FloatMatrix:
        """Weights as kernels take them: (n,), or (0,) for none."""
        return np.empty(0) if self._weights is None else flat(self._weights)

    @property
    def given(self) -> tuple[FloatMatrix, int, int, bool]:
        """What every kernel is told of the rows."""
        return self._flat, self.n, self.d, self._by_rows

    def narrow(self, centroids: Centroids) -> FloatMatrix:
        """Return centroids in the rows' precision, one after the other; :class:`DataError` where they do not fit."""
        model = np.asarray(centroids, dtype=np.float64)
        if model.ndim != 2 or model.shape[1] != self.d or not len(model):
            raise DataError(
                f"centroids: expected shape (k, {self.d}), as the rows have, and k of 1 or more; got {model.shape}."
            )
        if not np.isfinite(model).all():
            raise DataError("centroids: expected finite numbers; got NaN or infinity.")
        return model.astype(self._X.dtype).ravel()

    def check_total(self, squared: NDArray[np.float64] | float) -> None:
        """Raise unless what a read has added is finite, as it is not where a value is NaN or infinite."""
        if not np.isfinite(squared).all():
            self.check()
            raise DataError(
                f"Rows to cluster: squared distances are beyond {self._X.dtype}; the largest value is "
                f"{np.abs(self._flat).max():.3g}. Scale the features, or use float64."
            )

    def check(self) -> None:
        """Raise :class:`DataError` where a value is NaN or infinite, with the columns and how many there are."""
        from engine.clustering import kernels

        parts = np.empty(-(-self._flat.size // kernels.CHUNK), dtype=np.int64)
        with self.running():
            kernels.count_not_finite(self._flat, parts)
        if not parts.any():
            return
        raise not_finite(self._X, self._names)
