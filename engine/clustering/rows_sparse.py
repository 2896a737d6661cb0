"""Rows of which few values differ from zero: a sparse matrix, read block by block and never made dense as a whole.

A squared distance is taken from its expansion, ``|x|² - 2 x·c + |c|²``, because only that costs as much as there are
values. What it loses where row and centroid are close is made good there by differences: equal rows are at distance
0, as in :class:`~engine.clustering.rows_array.ArrayRows`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engine.clustering.rows import Centroids, Drawn, FloatMatrix, IntArray, Stats
from engine.clustering.rows_input import checked_weights
from engine.clustering.seeding import SEEDINGS, TooFewDistinctRowsError
from engine.clustering.solve import DISTINCT_UP_TO_ROWS, FULL_STARTS, Solution, best_of
from engine.errors import DataError, SettingError

BLOCK_ROWS = 4096
"""Rows worked through at a time. Results depend on it, so it never follows the machine."""

CLOSE = 1e-6
"""Below this share of ``|x|² + |c|²`` a squared distance is taken by differences; above, its relative error is at most
some 1e-9."""

DENSE_VALUES = 2**17
"""Values that rows made dense for differences fill at a time: they stay in cache."""

Squares = NDArray[np.float64]


class SparseRows:
    """A sparse matrix in memory as rows to cluster.

    Distances and sums are float64 whatever the matrix is, and values are not moved towards zero before: that would
    make them all differ from it.

    Parameters
    ----------
    X : scipy sparse matrix or array, (n, d)
        Finite features, on comparable scales. CSR of float32 or float64 is taken as it is, anything else is copied
        once; the caller's is never written to.
    weights : (n,) array-like, optional
        How often each row counts, 0 or more and not all 0. Default: every row counts once.
    threads : int, optional
        Kept for whoever asks; the products of SciPy run on one thread.
    names : sequence of str, optional
        Column names, for messages.

    Raises
    ------
    DataError
        X has no rows or columns, or holds NaN or infinity; a weight is negative or not finite.
    SettingError
        Fewer than one thread.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> rows = SparseRows(csr_array([[0.0, 0.0], [0.0, 2.0], [9.0, 0.0]]))
    >>> stats, = rows.step([np.array([[0.0, 1.0], [8.0, 0.0]])])
    >>> stats.counts.tolist(), stats.sums.tolist(), stats.inertia
    ([2.0, 1.0], [[0.0, 2.0], [9.0, 0.0]], 3.0)
    """

    def __init__(
        self,
        X: Any,
        weights: Any = None,
        threads: int | None = None,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise SettingError(f"threads: expected 1 or more, or None for all cores; got {threads}.")
        self._threads = threads
        self._X = _canonical(X)
        self._weights = None if weights is None else checked_weights(weights, self.n)
        self._check_finite(names)
        squares = np.square(self._X.data, dtype=np.float64)
        row_of = np.repeat(np.arange(self.n), np.diff(self._X.indptr))
        self._norms = np.bincount(row_of, squares, minlength=self.n)

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self._X.shape[0])

    @property
    def d(self) -> int:
        """Number of features."""
        return int(self._X.shape[1])

    @property
    def matrix(self) -> Any:
        """The rows as they are held, a CSR array (n, d) without stored zeros; not to be written to."""
        return self._X

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """Weight of each row (n,), or None when every row counts once."""
        return self._weights

    @property
    def threads(self) -> int | None:
        """Threads that were asked for; None for all cores."""
        return self._threads

    def take(self, index: IntArray) -> FloatMatrix:
        """Return the rows with these numbers, dense, (m, d)."""
        rows: FloatMatrix = self._X[np.asarray(index)].toarray()
        return rows

    def step(self, models: Sequence[Centroids]) -> list[Stats]:
        """Measure several sets of centroids in one read; see :meth:`ArrayRows.step`."""
        from scipy.sparse import csr_array

        bounds = np.cumsum([0, *(len(model) for model in models)], dtype=np.int64)
        K = int(bounds[-1])
        counts, sums, sse = np.zeros(K), np.zeros((K, self.d)), np.zeros(K)
        for block, X, squares in self._read(np.concatenate([self._checked(model) for model in models])):
            m = len(squares)
            w = np.ones(m) if self._weights is None else self._weights[block]
            nearest = np.stack([low + squares[:, low:high].argmin(axis=1) for low, high in pairwise(bounds)], axis=1)
            weights = np.repeat(w, len(models))
            counts += np.bincount(nearest.ravel(), weights, minlength=K)
            squared = np.take_along_axis(squares, nearest, axis=1)
            sse += np.bincount(nearest.ravel(), weights * squared.ravel(), minlength=K)
            ends = np.arange(m + 1) * len(models)
            belongs = csr_array((weights, nearest.ravel(), ends), shape=(m, K))
            part = (belongs.T @ X).tocoo()
            sums[part.coords] += part.data
        if not np.isfinite(sse).all():
            raise DataError(
                "Rows to cluster: squared distances are beyond float64. Scale the features: values above 1e150 cannot "
                "be squared."
            )
        return [
            Stats(counts=counts[low:high], sums=sums[low:high], sse=sse[low:high]) for low, high in pairwise(bounds)
        ]

    def farthest(self, centroids: Centroids) -> IntArray:
        """Return for each centroid its farthest row with a weight, (k,); -1 where there is none."""
        labels, squared = self._nearest(centroids)
        if self._weights is not None:
            squared = np.where(self._weights > 0, squared, -1.0)
        found = np.full(len(centroids), -1, dtype=np.int64)
        for cluster in np.unique(labels[squared >= 0]).tolist():
            found[cluster] = np.where(labels == cluster, squared, -1.0).argmax()
        return found

    def draw(self, centroids: Centroids, even: float, per_square: float, seed: int) -> Drawn:
        """Draw rows by their squared distance to the nearest centroid; see :meth:`ArrayRows.draw`."""
        _, squared = self._nearest(centroids)
        weights = np.ones(self.n) if self._weights is None else self._weights
        chance = weights * (even + per_square * squared)
        index = np.flatnonzero(np.random.default_rng(seed).random(self.n) < chance)
        return Drawn(index, squared[index], float(weights @ squared))

    def assign(
        self,
        centroids: Centroids,
        labels_out: NDArray[np.int32],
        distances_out: NDArray[np.floating[Any]] | None = None,
    ) -> float:
        """Write each row's nearest centroid and its Euclidean distance; see :meth:`ArrayRows.assign`."""
        labels, squared = self._nearest(centroids)
        labels_out[:] = labels
        if distances_out is not None:
            distances_out[:] = np.sqrt(squared)
        return float(squared.sum() if self._weights is None else (self._weights * squared).sum())

    def distances(self, centroids: Centroids) -> Squares:
        """Return the Euclidean distance of each row to each centroid, (n, k).

        Examples
        --------
        >>> from scipy.sparse import csr_array
        >>> SparseRows(csr_array([[0.0, 0.0], [0.0, 2.0]])).distances(np.array([[0.0, 2.0], [3.0, 4.0]])).tolist()
        [[2.0, 5.0], [0.0, 3.605551275463989]]
        """
        found = np.empty((self.n, len(centroids)))
        for block, _, squares in self._read(self._checked(centroids)):
            found[block] = np.sqrt(squares)
        return found

    def seeds(self, shares: NDArray[np.float64]) -> IntArray:
        """Draw row numbers by greedy k-means++ from uniform numbers (starts, k, trials); see :meth:`ArrayRows.seeds`.

        All starts are drawn in the same reads: two for each seed.
        """
        starts, k, trials = shares.shape
        picks = np.full((starts, k), -1, dtype=np.int64)
        weights = np.ones(self.n) if self._weights is None else self._weights
        nearest = np.full((starts, self.n), np.inf)
        for j in range(k):
            mass = np.tile(weights, (starts, 1)) if j == 0 else weights * nearest
            if not (mass.sum(axis=1) > 0).all():
                break
            tried = 1 if j == 0 else trials
            candidates = np.stack([_drawn(mass[s], shares[s, j, :tried]) for s in range(starts)])
            winner = np.zeros(starts, dtype=np.int64)
            if tried > 1:
                potentials = np.zeros((starts, tried))
                for block, _, squares in self._read(self._taken(candidates.ravel())):
                    closer = np.minimum(squares.reshape(-1, starts, tried), nearest[:, block].T[:, :, np.newaxis])
                    potentials += np.einsum("r,rst->st", weights[block], closer)
                winner = potentials.argmin(axis=1)
            picks[:, j] = candidates[np.arange(starts), winner]
            for block, _, squares in self._read(self._taken(picks[:, j])):
                nearest[:, block] = np.minimum(nearest[:, block], squares.T)
        return picks

    def distinct(self) -> SparseRows:
        """Return the different rows with a weight, in an order that follows from them, each with its copies' weight.

        Examples
        --------
        >>> from scipy.sparse import csr_array
        >>> rows = SparseRows(csr_array([[3.0, 0.0], [0.0, 1.0], [3.0, 0.0]])).distinct()
        >>> rows.matrix.toarray().tolist(), rows.weights.tolist()
        ([[3.0, 0.0], [0.0, 1.0]], [2.0, 1.0])
        """
        weights = np.ones(self.n) if self._weights is None else self._weights
        columns = self._X.indices.astype(">i8")
        copies: dict[tuple[bytes, bytes], list[int]] = {}
        for row, (first, last) in enumerate(pairwise(self._X.indptr)):
            if weights[row] > 0:
                key = columns[first:last].tobytes(), self._X.data[first:last].tobytes()
                copies.setdefault(key, []).append(row)
        groups = [copies[key] for key in sorted(copies)]
        # Weights are added in the order of their size: any order of the same rows gives the same sum.
        together = [float(np.sort(weights[rows]).sum()) for rows in groups]
        return SparseRows(self._X[[rows[0] for rows in groups]], together, self._threads)

    def _nearest(self, centroids: Centroids) -> tuple[IntArray, Squares]:
        labels, squared = np.empty(self.n, dtype=np.int64), np.empty(self.n)
        for block, _, squares in self._read(self._checked(centroids)):
            labels[block] = squares.argmin(axis=1)
            squared[block] = np.take_along_axis(squares, labels[block, np.newaxis], axis=1)[:, 0]
        return labels, squared

    def _read(self, C: Centroids) -> Iterator[tuple[slice, Any, Squares]]:
        """Yield block by block where it is, its rows, and their squared distances to all centroids, (m, K)."""
        by_feature, norms = np.ascontiguousarray(C.T), np.square(C).sum(axis=1)
        for first in range(0, self.n, BLOCK_ROWS):
            block = slice(first, min(self.n, first + BLOCK_ROWS))
            X = self._X[block]
            together = self._norms[block, np.newaxis] + norms
            squares = np.maximum(together - 2.0 * (X @ by_feature), 0.0)
            self._set_close(X, C, squares, squares < CLOSE * together)
            yield block, X, squares

    def _set_close(self, X: Any, C: Centroids, squares: Squares, close: NDArray[np.bool_]) -> None:
        rows, centres = np.nonzero(close)
        size = max(1, DENSE_VALUES // self.d)
        for first in range(0, len(rows), size):
            r, c = rows[first : first + size], centres[first : first + size]
            gaps = X[r].toarray() - C[c]
            squares[r, c] = np.einsum("ij,ij->i", gaps, gaps)

    def _taken(self, index: IntArray) -> Centroids:
        return self.take(index).astype(np.float64, copy=False)

    def _checked(self, centroids: Centroids) -> Centroids:
        C = np.asarray(centroids, dtype=np.float64)
        if C.ndim != 2 or C.shape[1] != self.d:
            raise DataError(f"centroids: expected shape (k, {self.d}), as the rows have; got {C.shape}.")
        return C

    def _check_finite(self, names: Sequence[str] | None) -> None:
        wrong = ~np.isfinite(self._X.data)
        if not wrong.any():
            return
        bad = np.bincount(self._X.indices[wrong], minlength=self.d)
        told = ", ".join(
            f"{names[column] if names is not None else f'column {column}'} ({bad[column]})"
            for column in np.flatnonzero(bad).tolist()
        )
        raise DataError(
            f"Rows to cluster: expected finite numbers; NaN or infinity in {told} of {self.n} rows. "
            "Fill or drop these values before clustering."
        )


def solve_sparse(
    rows: SparseRows,
    k: int,
    *,
    seed: int = 0,
    init: str | Sequence[Centroids] = "k-means++",
    n_init: int | None = None,
    max_iter: int = 300,
    tol: float = 1e-4,
) -> Solution:
    """Find k centroids of low inertia by Lloyd's algorithm on all rows; see :func:`engine.clustering.solve.solve`.

    Parameters
    ----------
    rows : SparseRows
    k, seed, init, n_init, max_iter, tol
        As there; the solver is always ``full``.

    Returns
    -------
    Solution

    Raises
    ------
    TooFewDistinctRowsError
        There are fewer than k different rows with a weight.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> rows = SparseRows(csr_array([[0.0], [1.0], [8.0], [10.0]]))
    >>> sorted(solve_sparse(rows, 2).centroids[:, 0].tolist())
    [0.5, 9.0]
    """
    if rows.n <= DISTINCT_UP_TO_ROWS:
        rows = rows.distinct()
        if k > rows.n:
            raise TooFewDistinctRowsError(k, rows.n)
    if isinstance(init, str):
        # Seeding asks of rows only what these have too.
        starts = SEEDINGS[init](cast(Any, rows), k, starts=n_init or FULL_STARTS, rng=np.random.default_rng(seed))
    else:
        starts = list(init)
    return best_of(rows, starts, max_iter=max_iter, tol=tol)


def _canonical(X: Any) -> Any:
    """CSR of float32 or float64 with sorted columns, none of them twice and no zero stored."""
    from scipy.sparse import csr_array

    if X.ndim != 2 or 0 in X.shape:
        raise DataError(
            f"Rows to cluster: expected a matrix with at least one row and one column; got shape {X.shape}."
        )
    matrix = csr_array(X)
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float64)
    # The answer is kept on the object that was asked, so ours is asked and not the caller's.
    if not matrix.has_canonical_format or not matrix.data.all():
        matrix = matrix.copy()
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    return matrix


def _drawn(mass: Squares, shares: Squares) -> IntArray:
    """Numbers of the rows at these shares of the mass."""
    ends = np.cumsum(mass)
    found = np.searchsorted(ends, shares * ends[-1], side="right")
    # The last row with a mass takes what rounding leaves beyond the total.
    return cast(IntArray, np.minimum(found, np.flatnonzero(mass)[-1]))
