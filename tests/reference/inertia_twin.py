"""Nearest centroids as their definition reads: one row and one centroid at a time, in float64."""

from __future__ import annotations

import math

from numpy.typing import NDArray


def squared_distances(matrix: NDArray, centroids: NDArray) -> list[list[float]]:
    """Every row against every centroid, as lists."""
    return [
        [sum((float(x) - float(c)) ** 2 for x, c in zip(row, centroid, strict=True)) for centroid in centroids]
        for row in matrix
    ]


def inertia_row_by_row(matrix: NDArray, centroids: NDArray) -> float:
    return math.fsum(min(squares) for squares in squared_distances(matrix, centroids))
