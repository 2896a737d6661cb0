"""What is known of one clustering that was tried: figures and centroids, no rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.clustering.indices import Estimate, calinski_harabasz, explained


@dataclass(frozen=True, slots=True)
class Costly:
    """Evidence about one k that takes fits of its own; ``None`` where it was not asked for.

    Attributes
    ----------
    gap
        Gap statistic.
    bootstrap_stability
        Mean adjusted Rand index between clusterings of resampled rows.
    """

    gap: Estimate | None = None
    bootstrap_stability: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """One number of clusters, tried by one backend from one seed.

    Attributes
    ----------
    k : int
        Number of clusters.
    backend, solver, seed
        Who found the centroids, how, and what the random choices followed from.
    centroids : ndarray of float64, shape (k, d)
        In the scaled space of the matrix.
    sizes : ndarray of int64, shape (k,)
        Rows per cluster, each at least 1.
    inertia : float
        Sum of squared distances over all rows.
    total_scatter : float
        Sum of squared distances of all rows to their mean: the inertia of one cluster.
    silhouette : float or None
        Exact squared-Euclidean mean; None for k = 1, where no other cluster is there to compare with.
    silhouette_euclidean : Estimate or None
        Euclidean mean, from a sample of the rows; None where it was not asked for, or k = 1.
    davies_bouldin : float or None
        Mean over the clusters of the worst ratio of spreads to distance; smaller is better. None for k = 1.
    gap, bootstrap_stability : Estimate or None
        As in :class:`Costly`.
    n_iter : int
        Lloyd iterations of the winning start.
    stop_reason : str
        Why the iterations ended.
    residual : float or None
        How far from a fixed point of Lloyd's algorithm, as a share of the inertia, where the backend says.
    reported_inertia : float or None
        The backend's own figure, for comparison only.
    device : str
        Where all rows were read: ``cpu`` or ``cuda``; see :func:`engine.clustering.on_device.device_of`.
    seconds : float
        Wall-clock time of fit and figures, an equal part of it where trials shared their reads; not of gap and
        bootstrap.
    """

    k: int
    backend: str
    solver: str
    seed: int
    centroids: NDArray[np.float64]
    sizes: NDArray[np.int64]
    inertia: float
    total_scatter: float
    silhouette: float | None
    silhouette_euclidean: Estimate | None = None
    davies_bouldin: float | None = None
    gap: Estimate | None = None
    bootstrap_stability: Estimate | None = None
    n_iter: int
    stop_reason: str
    residual: float | None = None
    reported_inertia: float | None = None
    device: str = "cpu"
    seconds: float

    @property
    def rows(self) -> int:
        """Number of rows that were clustered."""
        return int(self.sizes.sum())

    @property
    def smallest_share(self) -> float:
        """Share of the rows in the smallest cluster, 0 to 1."""
        return float(self.sizes.min()) / self.rows

    @property
    def largest_share(self) -> float:
        """Share of the rows in the largest cluster, 0 to 1."""
        return float(self.sizes.max()) / self.rows

    @property
    def balance(self) -> float:
        """Evenness of the sizes: Shannon entropy over its maximum, 1 when all clusters are equally large, near 0 when
        one holds nearly all rows (Pielou 1966); 1 for k = 1.
        """  # noqa: D205
        if self.k == 1:
            return 1.0
        shares = self.sizes / self.rows
        return float(-(shares * np.log(shares)).sum() / math.log(self.k))

    @property
    def explained(self) -> float | None:
        """Share of the total scatter that lies between the clusters, 0 to 1."""
        return explained(self.inertia, self.total_scatter)

    @property
    def calinski_harabasz(self) -> float | None:
        """Scatter between clusters over scatter within, each per degree of freedom; larger is better."""
        return calinski_harabasz(self.inertia, self.total_scatter, self.rows, self.k)

    def with_costly(self, costly: Costly) -> Trial:
        """Return the trial with the evidence about its k."""
        return replace(self, gap=costly.gap, bootstrap_stability=costly.bootstrap_stability)

    def figures(self) -> dict[str, float]:
        """Return every figure that is known, by name: what tables show and MLflow logs.

        An estimate has its standard error beside it, named ``…_error``.
        """
        found: dict[str, float | None] = {
            "inertia": self.inertia,
            "explained": self.explained,
            "silhouette": self.silhouette,
            "calinski_harabasz": self.calinski_harabasz,
            "davies_bouldin": self.davies_bouldin,
            "residual": self.residual,
        }
        for name in ("silhouette_euclidean", "gap", "bootstrap_stability"):
            estimate: Estimate | None = getattr(self, name)
            if estimate is not None:
                found |= {name: estimate.value, f"{name}_error": estimate.standard_error}
        found |= {
            "balance": self.balance,
            "smallest_share": self.smallest_share,
            "largest_share": self.largest_share,
            "seconds": self.seconds,
        }
        return {name: float(value) for name, value in found.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them; :meth:`from_dict` reads them back exactly."""
        content: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value = value.tolist()
            elif isinstance(value, Estimate):
                value = [value.value, value.standard_error]
            content[field.name] = value
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Trial:
        """Rebuild a trial from :meth:`to_dict`."""
        values = dict(content)
        values["centroids"] = np.array(values["centroids"], dtype=np.float64)
        values["sizes"] = np.array(values["sizes"], dtype=np.int64)
        for name in ("silhouette_euclidean", "gap", "bootstrap_stability"):
            if values[name] is not None:
                values[name] = Estimate(*values[name])
        return cls(**values)
