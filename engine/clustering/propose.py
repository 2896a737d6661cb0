"""Native centroids for several k and seeds, found side by side: each read of the rows serves all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engine.clustering.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """Centroids of the native backend; fields as in :class:`Clustering`."""

    centroids: NDArray[np.float64]
    backend: str
    solver: str
    seed: int
    n_iter: int
    stop_reason: str
    residual: float | None
    reported_inertia: float | None = None


def propose_many(
    rows: Rows,
    tasks: Sequence[tuple[int, int]],
    *,
    solver: str = "auto",
    max_passes: int | None = None,
    max_seconds: float | None = None,
) -> list[Proposed]:
    """Find the native centroids for each (k, seed), those of :func:`cluster_rows`, in shared reads of the rows.

    ``max_passes`` limits each search, ``max_seconds`` all of them together.
    """
    from engine.clustering.solve import solve_many

    found = solve_many(
        rows,
        [k for k, _ in tasks],
        seeds=[seed for _, seed in tasks],
        solver=solver,
        max_passes=max_passes,
        max_seconds=max_seconds,
    )
    return [
        Proposed(
            centroids=solution.centroids,
            backend="native",
            solver=solution.solver,
            seed=seed,
            n_iter=solution.n_iter,
            stop_reason=solution.stop_reason,
            residual=solution.residual,
        )
        for solution, (_, seed) in zip(found, tasks, strict=True)
    ]
