"""How far is far: a customer's distance to its centroid beside those of the segment's customers at fit.

A distance in the scaled space says nothing by itself, and segments differ in how wide they are. So each keeps the
quantiles of its own customers' distances: a hundred numbers, and no customer. Of a new customer they tell which share
of the segment lies nearer, and whether anybody like that was seen at all.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError

LEVELS = (*(percent / 100 for percent in range(100)), 0.995, 0.999, 0.9995, 1.0)
"""Shares of a segment's customers whose distances are kept: every hundredth, and more at the top."""

NOVEL_FROM = 0.999
"""One of :data:`LEVELS`: a customer beyond it is unlike those of the fit, as one in a thousand of them is."""

_NOVEL = LEVELS.index(NOVEL_FROM)


@dataclass(frozen=True, slots=True, eq=False)
class FittedDistances:
    """Distances of the customers of each segment to its centroid, as they were at fit.

    A quantile is such that a further customer of the same kind lies beyond it with the probability that it says
    (Hyndman and Fan 1996, type 6): beyond :data:`NOVEL_FROM` one in a thousand. A segment of n < 999 customers knows
    no such quantile; the farthest of them stands for it, beyond which one of n + 1 lies. Nobody was ever like a
    customer in a segment without customers: all are novel there.

    Attributes
    ----------
    quantiles
        Shape (k, len(LEVELS)), float64, ascending: Euclidean distances in the scaled space at :data:`LEVELS`.

    Raises
    ------
    DataError
        Quantiles of another shape, not finite, below 0 or descending.

    Examples
    --------
    >>> import numpy as np
    >>> fitted = FittedDistances.fit(np.zeros(1999, np.int32), np.arange(1.0, 2000.0), 1)
    >>> fitted.percentile(np.zeros(3, np.int32), np.array([0.5, 1000.0, 5000.0])).tolist()
    [0.0, 0.5, 1.0]
    >>> fitted.novel(np.zeros(2, np.int32), np.array([1998.0, 1999.0])).tolist()
    [False, True]
    """

    quantiles: NDArray[np.float64]
    _tables: tuple[tuple[float, ...], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        q = self.quantiles
        if q.ndim != 2 or q.shape[1] != len(LEVELS):
            raise DataError(f"fitted distances: expected shape (k, {len(LEVELS)}); got {q.shape}.")
        if not (np.isfinite(q).all() and (q >= 0).all() and (np.diff(q, axis=1) >= 0).all()):
            raise DataError("fitted distances: expected finite quantiles of at least 0, in ascending order.")
        object.__setattr__(self, "_tables", tuple(map(tuple, q.tolist())))

    @classmethod
    def fit(cls, labels: NDArray[Any], distances: NDArray[np.float64], k: int) -> FittedDistances:
        """Learn the quantiles from the customers of the fit.

        Parameters
        ----------
        labels
            Shape (n,), cluster index 0 … k - 1 of each customer.
        distances
            Shape (n,), Euclidean distance of each to that cluster's centroid.
        k
            Number of clusters.
        """
        quantiles = np.zeros((k, len(LEVELS)))
        for cluster in range(k):
            own = np.sort(distances[labels == cluster])
            if own.size:
                place = np.clip((own.size + 1) * np.array(LEVELS) - 1, 0, own.size - 1)
                low = place.astype(np.int64)
                above = own[np.minimum(low + 1, own.size - 1)]
                quantiles[cluster] = own[low] + (place - low) * (above - own[low])
        # Between two nearly equal distances a rounding may turn the order.
        return cls(np.maximum.accumulate(quantiles, axis=1))

    @property
    def k(self) -> int:
        """Number of segments."""
        return len(self.quantiles)

    def percentile(self, clusters: NDArray[Any], distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of the segment's fitted customers that lie nearer, shape (n,), 0 to 1.

        Parameters
        ----------
        clusters
            Shape (n,), cluster index of each customer.
        distances
            Shape (n,), Euclidean distance of each to that cluster's centroid.
        """
        shares = np.empty(len(distances))
        levels = np.array(LEVELS)
        for cluster, known in enumerate(self.quantiles):
            there = np.flatnonzero(clusters == cluster)
            own = distances[there]
            above = np.searchsorted(known, own)
            inside = (above > 0) & (above < len(LEVELS))
            share = (above > 0).astype(np.float64)
            high, d = above[inside], own[inside]
            low = high - 1
            part = (d - known[low]) / (known[high] - known[low])
            share[inside] = levels[low] + part * (levels[high] - levels[low])
            shares[there] = share
        return shares

    def novel(self, clusters: NDArray[Any], distances: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return who lies farther than all but one in a thousand of the segment at fit, shape (n,)."""
        beyond: NDArray[np.bool_] = distances > self.quantiles[:, _NOVEL][clusters]
        return beyond

    def of_one(self, cluster: int, distance: float) -> tuple[float, bool]:
        """Return both for one customer, to the last bit as :meth:`percentile` and :meth:`novel` do."""
        known = self._tables[cluster]
        novel = distance > known[_NOVEL]
        high = bisect_left(known, distance)
        if high == 0:
            return 0.0, novel
        if high == len(known):
            return 1.0, novel
        low = high - 1
        part = (distance - known[low]) / (known[high] - known[low])
        return LEVELS[low] + part * (LEVELS[high] - LEVELS[low]), novel
