"""What a clustering is: the same fields whichever library found the centroids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clustering:
    """Customers divided among k centroids, with the cost of the division.

    The number of a cluster means nothing and changes from fit to fit; segments give the meaning. Labels, distances
    and inertia follow from the centroids by one function for all backends, so that they can be compared.

    Attributes
    ----------
    centroids : ndarray of float64, shape (k, d)
        In the scaled space of the matrix.
    labels : ndarray of int32, shape (n,)
        Index of the nearest centroid, 0 to k - 1; every index occurs.
    distances : ndarray of float32, shape (n,)
        Euclidean distance to it (not squared), in the scaled space.
    inertia : float
        Sum of the squared distances over all n rows.
    sizes : ndarray of int64, shape (k,)
        Rows per cluster, each at least 1; they sum to n.
    k : int
        Number of clusters.
    backend : str
        Who found the centroids: a key of :data:`engine.clustering.backends.BACKENDS`.
    solver : str
        ``full`` when every iteration read all rows, ``sample`` when a sample was solved and certified on all.
    seed : int
        What the random choices followed from.
    n_iter : int
        Lloyd iterations of the winning start.
    reported_inertia : float or None
        The backend's own figure, where it has one: for comparison only (FAISS's is float32 and one step old,
        Dask-ML's changes its unit and is left out).
    stop_reason : str
        Why the iterations ended.
    residual : float or None
        How far from a fixed point of Lloyd's algorithm, as a share of the inertia; see
        :class:`engine.clustering.solve.Solution`. None where the backend does not say.
    rows_used : int
        Rows among which the centroids were searched: those of the sample where ``solver`` is ``sample``.
    device : str
        Where all rows were read: ``cpu`` or ``cuda``; see :func:`engine.clustering.on_device.device_of`. Fewer than
        100,000 are solved on the CPU in any case.
    seconds : float
        Wall-clock time of the fit and the final assignment together.
    """

    centroids: NDArray[np.float64]
    labels: NDArray[np.int32]
    distances: NDArray[np.float32]
    inertia: float
    sizes: NDArray[np.int64]
    k: int
    backend: str
    solver: str
    seed: int
    n_iter: int
    reported_inertia: float | None
    stop_reason: str
    residual: float | None = None
    rows_used: int
    device: str = "cpu"
    seconds: float
