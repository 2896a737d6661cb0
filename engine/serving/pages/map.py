"""The map of customers: the scaled space seen along the two directions in which they differ most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.plane import Plane

if TYPE_CHECKING:
    from engine.customer_base import CustomerBase
    from engine.segments.model import SegmentModel
    from engine.serving.state import Snapshot

SAMPLE_CUSTOMERS = 1_500
"""Points on the map, as in the report: enough to show the shape, few enough to stay readable and quick."""

NAMED_FROM = 0.5
"""Weight of a variable in a direction, against the weightiest, from which it is named."""


@dataclass(frozen=True, slots=True)
class Atlas:
    """The map of a model: where the segments lie on it, and a sample of their customers.

    Attributes
    ----------
    plane
        How coordinates become places.
    centres
        Shape (k, 2), the centroids, in the order of the clusters.
    points, clusters
        Shapes (n, 2) and (n,): a sample of customers; n is 0 where none are at hand.
    """

    plane: Plane
    centres: NDArray[np.float64]
    points: NDArray[np.float64]
    clusters: NDArray[np.int64]

    @classmethod
    def draw(cls, model: SegmentModel, base: CustomerBase | None) -> Atlas:
        """Draw the map from the customers at hand; without any, from the centroids alone.

        Parameters
        ----------
        model
            Whose segments are shown.
        base
            The customers.
        """
        plane = Plane.fit(model.centroids) if base is None else base.plane
        points, clusters = np.empty((0, 2)), np.empty(0, dtype=np.int64)
        if base is not None:
            sample = base.sample(SAMPLE_CUSTOMERS)
            points, clusters = sample.select("x", "y").to_numpy(), sample["cluster"].to_numpy().astype(np.int64)
        return cls(plane, plane.place(model.centroids), points, clusters)

    def drivers(self, axis: int) -> list[tuple[int, bool]]:
        """Return the variables that a direction stands for, the weightiest first.

        Parameters
        ----------
        axis
            0 (to the right) or 1 (upwards).

        Returns
        -------
        list of (int, bool)
            Index of the variable, and whether it grows along the direction; empty where nobody differs along it.

        Examples
        --------
        >>> plane = Plane.fit(np.array([[0.0, 0.0], [4.0, -4.0]]))
        >>> Atlas(plane, plane.place(np.array([[0.0, 0.0], [4.0, -4.0]])), np.empty((0, 2)), np.empty(0)).drivers(0)
        [(0, True), (1, False)]
        """
        weights = np.array(self.plane.axes[axis])
        largest = float(np.abs(weights).max())
        places = np.concatenate([self.centres[:, axis], self.points[:, axis]])
        if not largest or float(np.ptp(places)) < 1e-9:
            return []
        order = np.argsort(-np.abs(weights).round(9), kind="stable")
        return [(int(j), bool(weights[j] > 0)) for j in order if abs(weights[j]) >= NAMED_FROM * largest]


class Atlases:
    """Keeps the map of the snapshot that is served, so that it is drawn once."""

    def __init__(self) -> None:
        self._last: tuple[Snapshot, Atlas] | None = None

    def of(self, snapshot: Snapshot) -> Atlas:
        """Return the map of a snapshot."""
        last = self._last
        if last is None or last[0] is not snapshot:
            last = (snapshot, Atlas.draw(snapshot.model, snapshot.base))
            self._last = last
        return last[1]
