"""The two nearest centroids of every row: what a customer's segment, its margin and the second choice rest on.

Computed in float64 from the float32 matrix, block by block, by differences: an assignment made at fit, one made when
a base is scored and one made for a single customer are the same to the last bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 16_384
"""Rows × k × 8 bytes stay in cache for the k of customer segmentation."""


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


def two_nearest(matrix: NDArray[np.float32], centroids: NDArray[Any]) -> TwoNearest:
    """Return the two nearest of the centroids, shape (k, d), for each row of the matrix, shape (n, d).

    Examples
    --------
    >>> import numpy as np
    >>> near = two_nearest(np.array([[0.0], [4.0]], dtype=np.float32), np.array([[0.0], [5.0]]))
    >>> near.first.tolist(), near.second.tolist(), near.margin.round(3).tolist()
    ([0, 1], [1, 0], [1.0, 0.75])
    """
    n, k = len(matrix), len(centroids)
    C = np.asarray(centroids, dtype=np.float64)
    near = TwoNearest(
        np.zeros(n, np.int32), np.full(n, -1, np.int32), np.empty(n, np.float64), np.full(n, np.inf, np.float64)
    )
    for start in range(0, n, BLOCK_ROWS):
        block = slice(start, min(start + BLOCK_ROWS, n))
        squares = squared_distances(matrix[block].astype(np.float64), C)
        rows = np.arange(len(squares))
        first = squares.argmin(axis=1)
        near.first[block] = first
        near.first_distance[block] = np.sqrt(squares[rows, first])
        if k > 1:
            squares[rows, first] = np.inf
            second = squares.argmin(axis=1)
            near.second[block] = second
            near.second_distance[block] = np.sqrt(squares[rows, second])
    return near


def squared_distances(X: NDArray[np.float64], C: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return squared distances, shape (n, k), summed over the columns in their order.

    The order of the sum is the same for one row as for a million, which a matrix product would not promise.
    """
    squares = np.zeros((len(X), len(C)))
    for column in range(X.shape[1]):
        squares += (X[:, column, None] - C[None, :, column]) ** 2
    return squares
