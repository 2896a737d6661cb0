"""A flat map of the scaled space: the two directions along which customers differ most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 50_000
"""Customers that the directions are learned from; further ones would not turn them."""


@dataclass(frozen=True, slots=True)
class Plane:
    """The first two principal components of the customers' coordinates.

    It is a summary: no customer can be read from it.

    Attributes
    ----------
    centre
        Mean of the coordinates, d numbers.
    axes
        Two directions of length 1, d numbers each; the second is all zeros where d = 1.
    share
        Share of the customers' variance that the map shows, 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> plane = Plane.fit(np.array([[0.0, 0.0, 5.0], [2.0, 0.0, 5.0], [4.0, 1.0, 5.0]]))
    >>> plane.place(np.array([[2.0, 1 / 3, 5.0]])).round(6).tolist(), round(plane.share, 3)
    ([[0.0, 0.0]], 1.0)
    """

    centre: tuple[float, ...]
    axes: tuple[tuple[float, ...], tuple[float, ...]]
    share: float

    @classmethod
    def fit(cls, coordinates: NDArray[Any]) -> Plane:
        """Learn the directions from coordinates, shape (n, d); each points to where its largest part is above 0."""
        X = np.asarray(coordinates[:: -(-len(coordinates) // ROWS)], dtype=np.float64)
        centre = X.mean(axis=0)
        # Not by matrix product, whose sums depend on the number of threads.
        values, vectors = np.linalg.eigh(np.einsum("ni,nj->ij", X - centre, X - centre))
        axes = np.zeros((2, X.shape[1]))
        for place in range(min(2, X.shape[1])):
            axis = vectors[:, -1 - place]
            axes[place] = axis * np.sign(axis[np.argmax(np.abs(axis))])
        whole = float(values.sum())
        share = min(1.0, float(values[-2:].sum()) / whole) if whole > 0 else 1.0
        first, second = axes.tolist()
        return cls(tuple(centre.tolist()), (tuple(first), tuple(second)), share)

    def place(self, coordinates: NDArray[Any]) -> NDArray[np.float64]:
        """Return where coordinates, shape (m, d), lie on the map, shape (m, 2)."""
        X = np.asarray(coordinates, dtype=np.float64) - np.array(self.centre)
        placed: NDArray[np.float64] = np.einsum("md,ad->ma", X, np.array(self.axes))
        return placed

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON; :meth:`from_dict` reads it back exactly."""
        return {"centre": list(self.centre), "axes": [list(axis) for axis in self.axes], "share": self.share}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Plane:
        """Rebuild a plane from :meth:`to_dict`."""
        first, second = content["axes"]
        return cls(tuple(content["centre"]), (tuple(first), tuple(second)), content["share"])
