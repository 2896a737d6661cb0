"""From proposed centroids to labels: each row to its nearest, and no centroid without a row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.clustering.rows import Rows
from engine.errors import DataError

COUNTED_AT_A_TIME = 2**20
"""Labels that are counted together: numpy counts in a copy of twice their size."""


def assigned(
    rows: Rows, proposed: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.float32], float]:
    """Return centroids of which each has a row, and labels, distances and inertia from them."""
    centroids = np.array(proposed, dtype=np.float64)
    labels = np.empty(rows.n, np.int32)
    distances = np.empty(rows.n, np.float32)
    while True:
        total = rows.assign(centroids, labels, distances)
        empty = np.flatnonzero(sizes_of(labels, len(centroids)) == 0)
        if not len(empty):
            return centroids, labels, distances, total
        farthest = int(distances.argmax())
        if distances[farthest] == 0:
            raise DataError(
                f"clustering: only {len(centroids) - len(empty)} of {len(centroids)} clusters can be told apart in "
                f"float32. Lower clustering.k, or scale the features."
            )
        # A library may leave a centroid without rows. The row that is worst served gets it, and inertia falls.
        centroids[empty[0]] = rows.take(np.array([farthest], dtype=np.int64))[0]


def sizes_of(labels: NDArray[np.int32], k: int) -> NDArray[np.int64]:
    """Count the rows of each cluster, a stretch at a time: numpy counts in a copy of twice the labels' size."""
    sizes = np.zeros(k, dtype=np.int64)
    for first in range(0, len(labels), COUNTED_AT_A_TIME):
        sizes += np.bincount(labels[first : first + COUNTED_AT_A_TIME], minlength=k)
    return sizes
