"""What a sweep tries: every combination of feature set, transform, backend, number of segments and seed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import product

import numpy as np
from numpy.typing import NDArray

from engine.clustering.backends import check_settings
from engine.clustering.sweep import CHEAP, Evidence
from engine.errors import SettingError
from engine.features.matrix import TRANSFORMS, FeatureSet

MOST_TRIALS = 20_000
"""Trials that one sweep makes at most: a grid of more is a slip of the pen."""

_PACKAGE_OF_BACKEND = {"native": "cartera", "faiss": "faiss-cpu", "sklearn": "scikit-learn", "dask_ml": "dask-ml"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One matrix of the grid: a feature set under a transform.

    Attributes
    ----------
    features
        Name of the feature set.
    transform
        Transform of all columns that the set makes no exception for: ``log`` or ``none``.
    feature_set
        The columns with this treatment.
    """

    features: str
    transform: str
    feature_set: FeatureSet


@dataclass(frozen=True, slots=True)
class Plan:
    """One trial of the grid, before it is made."""

    features: str
    transform: str
    backend: str
    solver: str
    k: int
    seed: int
    max_passes: int | None = None
    max_seconds: float | None = None

    @property
    def name(self) -> str:
        """A line for lists: ``rfm log native k=4 seed=0``."""
        return f"{self.features} {self.transform} {self.backend} k={self.k} seed={self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The combinations to try.

    Attributes
    ----------
    feature_sets
        By name.
    transforms
        ``log``, ``none``, or both; empty leaves each feature set its own.
    backends
        As :func:`engine.clustering.backends.cluster` knows them.
    ks
        Numbers of segments.
    seeds
        Each configuration is tried from each: how much the results differ is its stability.
    solver
        For all backends that have a choice.
    max_passes, max_seconds
        Limits of each trial of the native backend; the others have none.
    evidence
        Figures beyond the cheap ones.

    Raises
    ------
    SettingError
        An axis without values, a value that is unknown or out of range, a limit without the native backend, or more
        trials than :data:`MOST_TRIALS`.

    Examples
    --------
    >>> sets = {"fm": FeatureSet(("frequency", "monetary"))}
    >>> grid = Grid(feature_sets=sets, transforms=("log", "none"), backends=("native",), ks=(2, 3), seeds=(0, 1))
    >>> grid.trials, [plan.name for plan in grid.plans(grid.cells[1], "native", 3)]
    (8, ['fm none native k=3 seed=0', 'fm none native k=3 seed=1'])
    """

    feature_sets: Mapping[str, FeatureSet]
    backends: tuple[str, ...]
    ks: tuple[int, ...]
    seeds: tuple[int, ...]
    transforms: tuple[str, ...] = ()
    solver: str = "auto"
    max_passes: int | None = None
    max_seconds: float | None = None
    evidence: Evidence = field(default=CHEAP)

    def __post_init__(self) -> None:
        for axis, values in (
            ("features", tuple(self.feature_sets)),
            ("backend", self.backends),
            ("k", self.ks),
            ("seed", self.seeds),
        ):
            if not values:
                raise SettingError(f"sweep.{axis}: expected at least one value to try; got none.")
        for axis, values in (("backend", self.backends), ("seed", self.seeds), ("transform", self.transforms)):
            repeated = sorted(str(value) for value, times in Counter(values).items() if times > 1)
            if repeated:
                raise SettingError(f"sweep.{axis}: {', '.join(repeated)} named more than once.")
        for transform in self.transforms:
            if transform not in TRANSFORMS:
                raise SettingError.from_unknown("sweep.transform", transform, TRANSFORMS)
        for backend in self.backends:
            # A sample is the native solver's; the others of the grid go their own way.
            solver = self.solver if backend == "native" or self.solver != "sample" else "auto"
            # So are limits; where it is not among them, none of them could keep one.
            kept = backend == "native" or "native" not in self.backends
            for seed in self.seeds:
                check_settings(
                    backend=backend,
                    solver=solver,
                    seed=seed,
                    threads=None,
                    max_passes=self.max_passes if kept else None,
                    max_seconds=self.max_seconds if kept else None,
                )
        if self.trials > MOST_TRIALS:
            raise SettingError(
                f"sweep: expected at most {MOST_TRIALS:,} trials; the grid has {self.trials:,} "
                f"({len(self.cells)} matrices × {len(self.backends)} backends × {len(self.ks)} k × "
                f"{len(self.seeds)} seeds). Make it smaller."
            )

    @property
    def cells(self) -> list[Cell]:
        """The matrices, each once: where a set's own transform is among ``transforms`` it is not tried twice."""
        found = []
        for name, feature_set in self.feature_sets.items():
            for transform in self.transforms or (feature_set.settings.transform,):
                settings = replace(feature_set.settings, transform=transform)
                found.append(Cell(name, transform, replace(feature_set, settings=settings)))
        return found

    @property
    def trials(self) -> int:
        """Number of trials of the whole grid."""
        return len(self.cells) * len(self.backends) * len(self.ks) * len(self.seeds)

    def plans(self, cell: Cell, backend: str, k: int) -> list[Plan]:
        """Return the trials of one configuration, one for each seed."""
        solver = self.solver if backend == "native" or self.solver != "sample" else "auto"
        limits = (self.max_passes, self.max_seconds) if backend == "native" else (None, None)
        return [Plan(cell.features, cell.transform, backend, solver, k, seed, *limits) for seed in self.seeds]

    def all_plans(self) -> list[Plan]:
        """Return every trial, in the order in which they are made."""
        return [
            plan
            for cell, backend, k in product(self.cells, self.backends, self.ks)
            for plan in self.plans(cell, backend, k)
        ]


def fingerprint(matrix: NDArray[np.float32]) -> str:
    """Return the SHA-256 of a matrix, shape and values, in hexadecimal."""
    digest = hashlib.sha256(json.dumps([str(matrix.dtype), matrix.shape]).encode())
    digest.update(np.ascontiguousarray(matrix).data)
    return digest.hexdigest()


def trial_id(plan: Plan, matrix_fingerprint: str, evidence: Evidence) -> str:
    """Return what identifies a trial: 16 hexadecimal digits of a hash of the matrix, the settings and the versions.

    The same id means that the same centroids would be found again, or others as good under a limit of time, so that a
    finished trial need not be repeated.
    """
    content = [
        matrix_fingerprint,
        plan.backend,
        version(_PACKAGE_OF_BACKEND.get(plan.backend, "cartera")),
        plan.solver,
        plan.k,
        plan.seed,
        evidence.silhouette_rows,
        plan.max_passes,
        plan.max_seconds,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
