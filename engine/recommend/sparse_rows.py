"""Customers and products as sparse matrices, and the largest entries in each row of a product of two of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.recommend.baskets import Baskets

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Lists = NDArray[np.int32]
"""A row of codes for each customer, best first, -1 where there are no more."""


def bought_matrix(history: Baskets, *, counted: bool = False) -> csr_matrix:
    """Return who bought what, customers × products, as a sparse matrix of ones, or of the number of baskets."""
    from scipy.sparse import csr_matrix

    start, item, count = history.counts()
    value = count.astype(np.float64) if counted else np.ones(len(item))
    return csr_matrix((value, item, start), shape=(history.n, history.m))


def rows_to_matrix(column: Lists, value: NDArray[np.float64], width: int) -> csr_matrix:
    """Return columns and values of each row, shape (n, k) both and -1 where none, as a sparse matrix (n, width)."""
    from scipy.sparse import csr_matrix

    there = column >= 0
    start = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    matrix = csr_matrix((value[there], column[there], start), shape=(len(column), width))
    matrix.sort_indices()
    return matrix


def best_of_rows(
    one: csr_matrix,
    other: csr_matrix,
    k: int,
    *,
    offset: NDArray[np.float64] | None = None,
    without: NDArray[np.int64] | None = None,
    threads: int | None = None,
) -> tuple[Lists, NDArray[np.float64]]:
    """Return columns and values of the k largest entries above 0 in each row of ``one @ other``, the largest first.

    The product is never held: each row is added up, looked through and forgotten. Of equal entries the lower column is
    first.

    Parameters
    ----------
    one, other
        Shapes (n, d) and (d, w).
    k
        At least 1.
    offset
        Added to every row, shape (w,); then every column takes part, whatever its entry.
    without
        A column of each row that is left out, -1 for none; shape (n,).
    threads
        Cores; all by default. The answer is the same.

    Returns
    -------
    (columns, values)
        Shape (n, k) each, int32 and float64; -1 and 0 where there are no more.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> best_of_rows(csr_matrix([[1.0, 2.0]]), csr_matrix([[1.0, 0.0, 5.0], [1.0, 0.0, 0.0]]), 2)[0].tolist()
    [[2, 0]]
    """
    from engine.clustering.jit import numba_threads
    from engine.recommend.product_kernels import best_of_product

    n, width = one.shape[0], other.shape[1]
    columns, values = np.full((n, k), -1, np.int32), np.zeros((n, k))
    parts = [*_parts(one), *_parts(other)]
    added = np.zeros(0) if offset is None else np.ascontiguousarray(offset, np.float64)
    left_out = np.full(n, -1, np.int64) if without is None else np.ascontiguousarray(without, np.int64)
    with numba_threads(threads):
        best_of_product(*parts, added, left_out, width, columns, values)
    return columns, values


def best_of_blends(
    own: csr_matrix,
    others: csr_matrix,
    near: Lists,
    k: int,
    *,
    numbers: Sequence[int],
    alphas: Sequence[float],
    threads: int | None = None,
) -> tuple[Lists, NDArray[np.float64]]:
    """Return columns and values of the k largest entries above 0 of rows blended with the mean of their nearest rows.

    An entry is ``alpha * own + (1 - alpha) * mean``. Of equal entries the lower column is first.

    Parameters
    ----------
    own, others
        Shapes (n, w) and (o, w), no entry below 0.
    near
        Rows of ``others``, the nearest first, -1 after the last; shape (n, most).
    k
        At least 1.
    numbers
        Over how many of the nearest the mean is, at most; each is answered for, in the order given.
    alphas
        Weights of the own row, 0 to 1; each is answered for.
    threads
        Cores; all by default. The answer is the same.

    Returns
    -------
    (columns, values)
        Shape (numbers, alphas, n, k) each; -1 and 0 where there are no more.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> own, others = csr_matrix([[1.0, 0.0, 0.0]]), csr_matrix([[0.0, 3.0, 0.0], [0.0, 0.0, 4.0]])
    >>> columns, values = best_of_blends(own, others, np.array([[0, 1]]), 2, numbers=[1, 2], alphas=[0.5])
    >>> columns[:, 0, 0].tolist(), values[:, 0, 0].tolist()
    ([[1, 0], [2, 1]], [[1.5, 0.5], [1.0, 0.75]])
    """
    from engine.clustering.jit import numba_threads
    from engine.recommend import product_kernels

    asked, place = np.unique(np.asarray(numbers, np.int64), return_inverse=True)
    weights = np.asarray(alphas, np.float64)
    shape = (len(asked), len(weights), len(near), k)
    columns, values = np.full(shape, -1, np.int32), np.zeros(shape)
    rows = np.ascontiguousarray(near, np.int32)
    with numba_threads(threads):
        product_kernels.best_of_blends(
            *_parts(own), *_parts(others), rows, asked, weights, own.shape[1], columns, values
        )
    return columns[place], values[place]


def _parts(matrix: csr_matrix) -> list[NDArray[Any]]:
    """Return a matrix as the kernels read it: starts, columns ascending in each row, and values."""
    rows = matrix.sorted_indices()
    kinds = ((rows.indptr, np.int64), (rows.indices, np.int32), (rows.data, np.float64))
    return [np.ascontiguousarray(part, kind) for part, kind in kinds]
