"""Rows in memory: a matrix, and a fused kernel that reads it once per step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.clustering.rows import Centroids, FloatMatrix, IntArray, Stats
from engine.errors import DataError, SettingError

PARTS_BYTES = 32 * 2**20
"""Memory for partial sums; more chunks than fit are worked through in turns, without a change in the result."""


class ArrayRows:
    """A matrix in memory as rows to cluster.

    float32 and float64 stay what they are, anything else becomes float64; a matrix that is not contiguous by rows is
    copied once, the caller's is never written to.

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

    Raises
    ------
    DataError
        X is not a matrix with rows and columns, or holds NaN or infinity; a weight is negative or not finite.
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
    ) -> None:
        if threads is not None and threads < 1:
            raise SettingError(f"threads: expected 1 or more, or None for all cores; got {threads}.")
        self._threads = threads
        self._X = _matrix(X)
        self._weights = None if weights is None else _checked_weights(weights, self.n)
        self._check_finite(names)

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
        """The rows as they are held, (n, d), contiguous by rows; not to be written to."""
        return self._X

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """Weight of each row (n,), or None when every row counts once."""
        return self._weights

    @property
    def threads(self) -> int | None:
        """Threads to use; None for all cores."""
        return self._threads

    @cached_property
    def columns(self) -> FloatMatrix:
        """The matrix turned, (d, n), contiguous: the form that seeding reads many times over."""
        return np.ascontiguousarray(self._X.T)

    def take(self, index: IntArray) -> FloatMatrix:
        """Return the rows with these numbers, (m, d), as a copy."""
        return self._X[index]

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

        bounds = np.cumsum([0, *(len(model) for model in models)], dtype=np.int64)
        K = int(bounds[-1])
        C = self._padded(np.concatenate([np.asarray(model, dtype=np.float64) for model in models]))
        chunks = -(-self.n // kernels.CHUNK)
        turn = max(8, min(chunks, PARTS_BYTES // (8 * K * (self.d + 4))))
        sums = np.zeros((K, self.d + 2))
        farthest_squared = np.full(K, -1.0)
        farthest = np.full(K, -1, dtype=np.int64)
        with self.running():
            for first in range(0, chunks, turn):
                m = min(turn, chunks - first)
                parts = np.empty((m, K, self.d + 2))
                far = np.empty((m, K))
                far_row = np.empty((m, K), dtype=np.int64)
                kernels.step_chunks(self._X, self._kernel_weights, C, bounds, first, parts, far, far_row)
                kernels.add_in_order(parts, far, far_row, sums, farthest_squared, farthest)
        return [
            Stats(
                counts=sums[low:high, self.d],
                sums=sums[low:high, : self.d],
                sse=sums[low:high, self.d + 1],
                farthest=farthest[low:high],
            )
            for low, high in pairwise(bounds)
        ]

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

        C = self._padded(np.asarray(centroids, dtype=np.float64))
        parts = np.empty(-(-self.n // kernels.CHUNK))
        distances = np.empty(0, dtype=np.float32) if distances_out is None else distances_out
        with self.running():
            kernels.assign_chunks(self._X, self._kernel_weights, C, labels_out, distances, parts)
        return float(np.add.reduce(parts))

    def distinct(self) -> ArrayRows:
        """Return the different rows with a weight, in lexical order, each with the weight of all its copies.

        The order of the rows, and whether a row is repeated or weighted, then no longer matters to anything.

        Examples
        --------
        >>> rows = ArrayRows([[3.0], [1.0], [3.0]]).distinct()
        >>> rows.matrix[:, 0].tolist(), rows.weights.tolist()
        ([1.0, 3.0], [1.0, 2.0])
        """
        order = np.lexsort(self._X.T[::-1])
        weights = np.ones(self.n) if self._weights is None else self._weights
        order = order[weights[order] > 0]
        ordered = self._X[order]
        new = np.ones(len(ordered), dtype=bool)
        new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        firsts = np.flatnonzero(new)
        return ArrayRows(ordered[firsts], np.add.reduceat(weights[order], firsts), self._threads)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let kernels use this object's number of threads, and give the thread its own setting back."""
        import numba

        before = numba.get_num_threads()
        most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        numba.set_num_threads(most if self._threads is None else min(self._threads, most))
        try:
            yield
        finally:
            numba.set_num_threads(before)

    @property
    def _kernel_weights(self) -> NDArray[np.float64]:
        return np.empty(0) if self._weights is None else self._weights

    def _padded(self, centroids: Centroids) -> FloatMatrix:
        """Centroids in the rows' precision, with zeros up to a multiple of four features."""
        if centroids.ndim != 2 or centroids.shape[1] != self.d:
            raise DataError(f"centroids: expected shape (k, {self.d}), as the rows have; got {centroids.shape}.")
        padded = np.zeros((len(centroids), -(-self.d // 4) * 4), dtype=self._X.dtype)
        padded[:, : self.d] = centroids
        return padded

    def _check_finite(self, names: Sequence[str] | None) -> None:
        from engine.clustering import kernels

        parts = np.empty(-(-self.n // kernels.CHUNK), dtype=np.int64)
        with self.running():
            kernels.count_not_finite(self._X, parts)
        if not parts.any():
            return
        bad = np.count_nonzero(~np.isfinite(self._X), axis=0)
        told = ", ".join(
            f"{names[column] if names is not None else f'column {column}'} ({bad[column]})"
            for column in np.flatnonzero(bad).tolist()
        )
        raise DataError(
            f"Rows to cluster: expected finite numbers; NaN or infinity in {told} of {self.n} rows. "
            "Fill or drop these values before clustering."
        )


def _matrix(X: ArrayLike) -> FloatMatrix:
    array = np.asarray(X)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(
            f"Rows to cluster: expected a matrix with at least one row and one column; got shape {array.shape}."
        )
    return np.ascontiguousarray(array)


def _checked_weights(weights: ArrayLike, n: int) -> NDArray[np.float64]:
    checked = np.ascontiguousarray(weights, dtype=np.float64)
    if checked.shape != (n,):
        raise DataError(f"weights: expected one for each of the {n} rows; got shape {checked.shape}.")
    wrong = int(np.count_nonzero(~(np.isfinite(checked) & (checked >= 0))))
    if wrong:
        raise DataError(f"weights: expected finite numbers, 0 or more; {wrong} of {n} are not.")
    if not checked.any():
        raise DataError("weights: all are 0, so no row counts; give some row a weight above 0.")
    return checked
