"""Centres that learn from batches: each is the mean of all rows that were nearest to it when they came.

The step is that of D. Sculley, "Web-scale k-means clustering", WWW 2010: a row moves its centre by one over the number
of rows the centre has had, which makes the centre their mean. Sums and weights are kept in float64 instead of the
centre, so that nothing is lost after many small moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.clustering.near_zero import TableRows, beside
from engine.clustering.rows import Centroids


@dataclass(slots=True, eq=False)
class RunningMeans:
    """What k centres have learned.

    Attributes
    ----------
    weights : (k,) float64
        Sum of the weights of the rows each centre has had.
    sums : (k, d) float64
        Weighted sum of these rows.
    """

    weights: NDArray[np.float64]
    sums: NDArray[np.float64]

    @classmethod
    def of(
        cls, centres: Centroids, labels: NDArray[np.int32], weights: NDArray[np.float64] | None = None
    ) -> RunningMeans:
        """Return what centres have learned that are the means of the rows with their labels.

        Examples
        --------
        >>> means = RunningMeans.of(np.array([[2.0], [5.0]]), np.array([0, 1, 1], dtype=np.int32))
        >>> means.weights.tolist(), means.sums[:, 0].tolist()
        ([1.0, 2.0], [2.0, 10.0])
        """
        counts = np.bincount(labels, weights, minlength=len(centres)).astype(np.float64)
        return cls(counts, counts[:, np.newaxis] * centres)

    def learn(self, rows: TableRows, centres: Centroids) -> Centroids:
        """Count every row for the nearest of the centres, and return where the centres are then.

        A centre that has had no row stays where it is.

        Examples
        --------
        >>> from engine.clustering.rows_array import ArrayRows
        >>> means = RunningMeans(np.array([3.0, 0.0]), np.array([[0.0], [0.0]]))
        >>> means.learn(ArrayRows([[4.0], [9.0], [11.0]]), np.array([[0.0], [8.0]]))[:, 0].tolist()
        [1.0, 10.0]
        """
        near, C, shift = beside(rows, centres)
        (stats,) = near.step([C])
        self.weights += stats.counts
        self.sums += stats.sums + stats.counts[:, np.newaxis] * shift
        seen = self.weights > 0
        learned = centres.copy()
        learned[seen] = self.sums[seen] / self.weights[seen, np.newaxis]
        return learned

    def without_copies(self, rows: TableRows, centres: Centroids) -> Centroids:
        """Return the centres, those that only repeat another put on rows that are far from all.

        Such are left by a first batch with fewer different rows than centres; no row would ever be nearest to them.

        Examples
        --------
        >>> from engine.clustering.rows_array import ArrayRows
        >>> means = RunningMeans(np.array([3.0, 0.0]), np.array([[6.0], [0.0]]))
        >>> means.without_copies(ArrayRows([[1.0], [9.0]]), np.array([[2.0], [2.0]]))[:, 0].tolist()
        [2.0, 9.0]
        """
        placed = centres.copy()
        for number in np.flatnonzero(self.weights == 0).tolist():
            if not (placed[:number] == placed[number]).all(axis=1).any():
                continue
            near, C, _ = beside(rows, placed)
            away = np.empty(rows.n)
            near.assign(C, np.empty(rows.n, dtype=np.int32), away)
            if rows.weights is not None:
                away[rows.weights == 0] = 0.0
            farthest = int(away.argmax())
            if away[farthest] > 0:
                placed[number] = rows.take(np.array([farthest]))[0]
        return placed
