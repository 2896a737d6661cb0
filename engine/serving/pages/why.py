"""Why a customer is in one segment and not in the next: how far each variable pulls."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pulls(point: NDArray[Any], first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Return how far each variable draws a customer to the first centroid rather than to the second.

    A variable's pull is its part of the difference between the two squared distances,
    ``(x - second)² - (x - first)²``: above 0 towards the first, below 0 towards the second. Squared Euclidean distance
    is a sum over the variables, so nothing is left over: the pulls add up to ``distance_second² - distance_first²``.

    Parameters
    ----------
    point, first, second
        Shape (d,): the customer and the two centroids, in the scaled space.

    Returns
    -------
    ndarray of float64, shape (d,)

    Examples
    --------
    >>> pulls(np.array([1.0, 0.0]), np.array([1.0, 1.0]), np.array([3.0, 0.0])).tolist()
    [4.0, -1.0]
    """
    x, a, b = (np.asarray(one, dtype=np.float64) for one in (point, first, second))
    # As a product of sum and difference: the difference of two squares would cancel.
    return (a - b) * (2 * x - a - b)
