"""Distances between rows and centres, whose digits do not depend on how far from zero both lie.

A feature near 10⁹ that varies by 1 leaves a float64 few digits for a squared difference's sum, and a float32 none. The
same number subtracted from rows and centres changes no distance, so features that lie far from zero are moved there
first. Sparse rows are left where they are: moved, none of their values would be zero. Rows in a file are moved as
they are read.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engine.clustering.rows import Centroids, FloatMatrix
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_file import FileRows
from engine.clustering.rows_sparse import SparseRows

TableRows = ArrayRows | SparseRows | FileRows
"""Rows that the estimator takes."""

FAR_FROM_ZERO = 16.0
"""A feature whose values lie this many times their spread away from zero is moved there before distances are taken."""

BLOCK_ROWS = 8192
"""Rows whose differences to a centre are held at a time."""


def shift_of_rows(rows: TableRows) -> FloatMatrix | None:
    """Say what to subtract from the rows, (d,) in their precision; None where nothing lies far from zero.

    Judged by a thousand rows: any value near the middle would do.

    Examples
    --------
    >>> shift_of_rows(ArrayRows([[0.0, 1e9], [1.0, 1e9 + 2.0]])).tolist()
    [0.0, 1000000001.0]
    """
    if isinstance(rows, SparseRows):
        return None
    every = max(1, rows.n // 1000)
    some = rows.take(np.arange(0, rows.n, every)) if isinstance(rows, FileRows) else rows.matrix[::every]
    some = some.astype(np.float64)
    return _shift(some.mean(axis=0), np.ptp(some, axis=0), precision(rows))


def precision(rows: TableRows) -> np.dtype[Any]:
    """Return the dtype of the values, float32 or float64."""
    dtype: np.dtype[Any] = rows.dtype if isinstance(rows, FileRows) else rows.matrix.dtype
    return dtype


def moved(rows: TableRows, shift: FloatMatrix | None) -> TableRows:
    """Return the rows with the shift subtracted; the rows themselves where there is none."""
    if shift is None or isinstance(rows, SparseRows):
        return rows
    if isinstance(rows, FileRows):
        return rows.less(shift)
    return ArrayRows(rows.matrix - shift, rows.weights, rows.threads, names=rows.names)


def beside(rows: TableRows, centres: Centroids) -> tuple[TableRows, Centroids, FloatMatrix | float]:
    """Return rows and centres with the same subtracted from both, and what that is."""
    shift = _shift(centres.mean(axis=0), np.ptp(centres, axis=0), precision(rows))
    if shift is None or isinstance(rows, SparseRows):
        return rows, centres, 0.0
    return moved(rows, shift), centres - shift, shift


def nearest(rows: TableRows, centres: Centroids) -> tuple[NDArray[np.int32], float]:
    """Return the number of the nearest centre of each row, and the inertia.

    Examples
    --------
    >>> labels, inertia = nearest(ArrayRows([[1e9], [1e9 + 1], [1e9 + 5]]), np.array([[1e9 + 0.5], [1e9 + 5.0]]))
    >>> labels.tolist(), inertia
    ([0, 0, 1], 0.5)
    """
    near, C, _ = beside(rows, centres)
    labels = np.empty(rows.n, dtype=np.int32)
    return labels, near.assign(C, labels)


def distances(rows: TableRows, centres: Centroids) -> FloatMatrix:
    """Return the Euclidean distance of each row to each centre, (n, k), in the precision of the rows.

    Examples
    --------
    >>> distances(ArrayRows([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0]])).tolist()
    [[0.0], [5.0]]
    """
    dtype = precision(rows)
    if isinstance(rows, SparseRows):
        return rows.distances(centres).astype(dtype, copy=False)
    found = np.empty((rows.n, len(centres)), dtype=dtype)
    if isinstance(rows, FileRows):
        for start, end in pairwise(rows.edges):
            found[start:end] = distances(ArrayRows(rows.take(np.arange(start, end)), check_now=False), centres)
        return found
    rows.check()
    near, C, _ = beside(rows, centres)
    matrix = cast(ArrayRows, near).matrix
    for first in range(0, rows.n, BLOCK_ROWS):
        block = slice(first, first + BLOCK_ROWS)
        for number, centre in enumerate(C.astype(dtype)):
            gaps = matrix[block] - centre
            found[block, number] = np.sqrt(np.einsum("ij,ij->i", gaps, gaps))
    return found


def _shift(middle: NDArray[np.float64], spread: NDArray[np.float64], dtype: np.dtype[Any]) -> FloatMatrix | None:
    """Middle of the features so far from zero that a centroid would lose its last digits; None without such."""
    far = np.abs(middle) > FAR_FROM_ZERO * spread
    return np.where(far, middle, 0.0).astype(dtype) if far.any() else None
