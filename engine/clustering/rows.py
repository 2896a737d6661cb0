"""The one interface between k-means and whoever holds the rows.

Lloyd's loop, seeding and the choice between solutions are written against :class:`Rows`; memory, a file, a cluster or
a graphics card differ by a class that answers the same four questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FloatMatrix = NDArray[np.floating[Any]]
"""float32 or float64, (rows, features)."""

Centroids = NDArray[np.float64]
"""(k, d), in the space of the rows."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stats:
    """What one read of all rows says about one set of k centroids.

    A row belongs to its nearest centroid, and to the lower number where two are equally near.

    Attributes
    ----------
    counts : (k,) float64
        Sum of the weights of the rows of each cluster; without weights, their number.
    sums : (k, d) float64
        Weighted sum of the rows. ``sums / counts`` are the centroids of Lloyd's next step.
    sse : (k,) float64
        Weighted sum of squared Euclidean distances to the centroid; their total is the inertia.
    """

    counts: NDArray[np.float64]
    sums: NDArray[np.float64]
    sse: NDArray[np.float64]

    @property
    def inertia(self) -> float:
        """Weighted sum of squared distances of all rows to their nearest centroid."""
        return float(self.sse.sum())


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows that were drawn by their distance.

    Attributes
    ----------
    index : (m,) int64, ascending
        Their numbers.
    squared : (m,) float64
        Squared Euclidean distance of each to its nearest centroid.
    inertia : float
        Weighted sum of squared distances of all rows, drawn or not.
    """

    index: IntArray
    squared: NDArray[np.float64]
    inertia: float


class Rows(Protocol):
    """n rows of d finite features, each with a weight, wherever they are."""

    @property
    def n(self) -> int:
        """Number of rows."""

    @property
    def d(self) -> int:
        """Number of features."""

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """Weight of each row (n,), or None when every row counts once."""

    @property
    def threads(self) -> int | None:
        """Threads that work on these rows; None for all cores. No result depends on it."""

    def take(self, index: IntArray) -> FloatMatrix:
        """Return the rows with these numbers, (m, d), as a copy."""

    def step(self, models: Sequence[Centroids]) -> list[Stats]:
        """Measure several sets of centroids in one read."""

    def farthest(self, centroids: Centroids) -> IntArray:
        """Return the number of each cluster's farthest row with a weight, (k,); -1 for an empty cluster."""

    def draw(self, centroids: Centroids, even: float, per_square: float, seed: int) -> Drawn:
        """Draw each row with probability weight × (even + per_square × squared distance to its centroid)."""

    def assign(
        self,
        centroids: Centroids,
        labels_out: NDArray[np.int32],
        distances_out: NDArray[np.floating[Any]] | None = None,
    ) -> float:
        """Write each row's nearest centroid and its Euclidean distance; return the inertia."""
