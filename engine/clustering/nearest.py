"""The two nearest centroids of every row: what a customer's segment, its margin and the second choice rest on.

Computed in float64 from the float32 matrix, by differences, added up in the order of the columns: an assignment made
at fit, one made when a base is scored and one made for a single customer are the same to the last bit. There are three
ways to the same bits, for one customer, for some, and for many.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 16_384
"""Rows × k × 8 bytes stay in cache for the k of customer segmentation."""

FEW_ROWS, MANY_ROWS = 2048, 500_000
"""Up to so many rows NumPy answers: where the machine code is loaded, and where it is not.

NumPy takes an eighth of a second for half a million rows; to load numba takes half a second, and to compile on a
machine that never did, ten.
"""


class TwoNearest(NamedTuple):
    """Nearest and second nearest centroid of each row.

    Attributes
    ----------
    first, second
        Cluster indices, shape (n,), int32; of equal distances the lower index is nearer. ``second`` is -1 where k = 1.
    first_distance, second_distance
        Euclidean distances, shape (n,), float64; ``second_distance`` is infinite where k = 1.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    first_distance: NDArray[np.float64]
    second_distance: NDArray[np.float64]

    @property
    def margin(self) -> NDArray[np.float64]:
        """``1 - first_distance / second_distance``, from 0 (on the border) to 1 (on the centroid)."""
        with np.errstate(invalid="ignore"):
            ratio = self.first_distance / self.second_distance
        # Two centroids on one point leave nothing to choose by.
        return np.where(self.second_distance > 0, 1.0 - ratio, 0.0)


def two_nearest(matrix: NDArray[Any], centroids: NDArray[Any], *, threads: int | None = None) -> TwoNearest:
    """Return the two nearest of the centroids for each row of the matrix.

    Parameters
    ----------
    matrix
        Shape (n, d), finite; float32 by rows or by columns is read where it lies.
    centroids
        Shape (k, d), finite.
    threads
        How many work where the rows are many; all cores by default. The result does not depend on it.

    Examples
    --------
    >>> import numpy as np
    >>> near = two_nearest(np.array([[0.0], [4.0]], dtype=np.float32), np.array([[0.0], [5.0]]))
    >>> near.first.tolist(), near.second.tolist(), near.margin.round(3).tolist()
    ([0, 1], [1, 0], [1.0, 0.75])
    """
    n, k = len(matrix), len(centroids)
    C = np.asarray(centroids, dtype=np.float64)
    near = TwoNearest(np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n), np.empty(n))
    if _worth_machine_code(n):
        from engine.clustering.jit import numba_threads
        from engine.clustering.nearest_kernels import two_nearest_chunks

        with numba_threads(threads):
            two_nearest_chunks(*_given(matrix, C), *near)
        return near
    for block in _blocks(n):
        squares = squared_distances(matrix[block].astype(np.float64), C)
        rows = np.arange(len(squares))
        first = squares.argmin(axis=1)
        near.first[block] = first
        near.first_distance[block] = np.sqrt(squares[rows, first])
        squares[rows, first] = np.inf
        second = squares.argmin(axis=1)
        near.second[block] = second if k > 1 else -1
        near.second_distance[block] = np.sqrt(squares[rows, second])
    return near


def nearest(
    matrix: NDArray[Any], centroids: NDArray[Any], *, threads: int | None = None
) -> NDArray[np.unsignedinteger]:
    """Return the nearest centroid of each row alone, shape (n,): ``two_nearest(matrix, centroids).first``.

    It takes a fraction of the time where rows are many: of each row one byte is written instead of 24. The labels are
    of the smallest unsigned type that holds them (``uint8`` up to 256 centroids): memory that was not touched before
    costs more, on a virtual machine, than to find the nearest centroid.

    Examples
    --------
    >>> import numpy as np
    >>> nearest(np.array([[0.0], [4.0]], dtype=np.float32), np.array([[0.0], [5.0]]))
    array([0, 1], dtype=uint8)
    """
    n = len(matrix)
    C = np.asarray(centroids, dtype=np.float64)
    labels: NDArray[np.unsignedinteger] = np.empty(n, np.min_scalar_type(len(C) - 1))
    if _worth_machine_code(n):
        from engine.clustering.jit import numba_threads
        from engine.clustering.nearest_kernels import nearest_chunks

        given = _given(matrix, C)
        number = given[0].dtype.type
        with np.errstate(over="ignore"):
            narrow = given[-1].astype(number)
            share, least = map(number, doubt(C))
        with numba_threads(threads):
            nearest_chunks(*given, narrow, share, least, labels)
        return labels
    for block in _blocks(n):
        labels[block] = squared_distances(matrix[block].astype(np.float64), C).argmin(axis=1)
    return labels


def _worth_machine_code(n: int) -> bool:
    return n > (FEW_ROWS if "engine.clustering.nearest_kernels" in sys.modules else MANY_ROWS)


def _blocks(n: int) -> list[slice]:
    return [slice(start, min(start + BLOCK_ROWS, n)) for start in range(0, n, BLOCK_ROWS)]


def _given(matrix: NDArray[Any], C: NDArray[np.float64]) -> tuple[Any, ...]:
    """Return what the kernels are told of rows and centroids."""
    from engine.clustering.rows_input import as_matrix, flat

    X = as_matrix(matrix)
    return flat(X), len(X), X.shape[1], bool(X.flags.c_contiguous), flat(np.ascontiguousarray(C))


def doubt(centroids: NDArray[np.float64]) -> tuple[float, float]:
    """Return by how much two squared distances in float32 must differ, or the order of the true ones is in doubt.

    By more than ``share`` of the larger one, and ``least``. With u = 2⁻²⁴, a centroid is off by u‖C‖ at most once it is
    float32, and the differences, squares and sums of d columns make a distance t wrong by w t at most, where
    w = (d / 2 + 2) u. So two distances s ≤ t must differ by 2 (u‖C‖ + w t), their squares by (t + s) times that, which
    is at most 4 u‖C‖ t + 4 w t². By 4 a t ≤ w t² + 4 a² / w the first part is one of t² and one without t. What is
    returned is twice that, for the roundings of the comparison itself.
    """
    unit, d = 2.0**-24, centroids.shape[1]
    wrong = (d / 2 + 2) * unit
    off = unit * float(np.sqrt((centroids**2).sum(axis=1).max()))
    # And what is lost where squares are too small for float32.
    return 10 * wrong, 8 * off * off / wrong + 1e-35


def squared_distances(X: NDArray[np.float64], C: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return squared distances, shape (n, k), summed over the columns in their order.

    The order of the sum is the same for one row as for a million, which a matrix product would not promise.
    """
    squares = np.zeros((len(X), len(C)))
    for column in range(X.shape[1]):
        squares += (X[:, column, None] - C[None, :, column]) ** 2
    return squares


def two_nearest_of_one(row: Sequence[float], centroids: NDArray[np.float64]) -> tuple[int, int, float, float]:
    """Return nearest, second, and the distances to them, of a row of d numbers; as :func:`two_nearest`, bit by bit.

    Examples
    --------
    >>> import numpy as np
    >>> two_nearest_of_one([4.0], np.array([[0.0], [5.0]]))
    (1, 0, 1.0, 4.0)
    """
    gaps = centroids - np.array(row)
    # A running sum goes from column to column; a plain one may add in another order.
    squares = np.add.accumulate(gaps * gaps, axis=1)[:, -1].tolist()
    first, second = 0, -1
    low = after = math.inf
    for c, square in enumerate(squares):
        if square < low:
            first, second, low, after = c, first if c else -1, square, low
        elif square < after:
            second, after = c, square
    return first, second, math.sqrt(low), math.sqrt(after)
