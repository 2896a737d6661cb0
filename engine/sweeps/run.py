"""Make every trial of a grid: each matrix built once, each trial on record as soon as it is done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from engine.clustering.agreement import stability
from engine.clustering.checks import check_k
from engine.clustering.indices import Estimate
from engine.clustering.sweep import Tries
from engine.clustering.trial import Costly, Trial
from engine.compute import Compute
from engine.errors import CarteraError
from engine.features.correlation import correlated_pairs
from engine.features.matrix import FeatureSpec
from engine.features.table import CustomerTable
from engine.schema import Word
from engine.sweeps.grid import Cell, Grid, Plan, fingerprint, trial_id
from engine.sweeps.journal import Journal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one trial of the grid.

    Attributes
    ----------
    plan
        What was asked for.
    trial_id
        Hash of matrix, settings and versions; empty where there was no matrix to cluster.
    trial
        What was found; ``None`` where the trial failed.
    error
        Why it failed; empty where it did not.
    resumed
        Whether it was made by an earlier run of the same sweep, which was cut off.
    """

    plan: Plan
    trial_id: str
    trial: Trial | None
    error: str = ""
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """One choice that a user can make, tried from every seed.

    Attributes
    ----------
    features, transform, backend, k
        The choice.
    outcomes
        One for each seed.
    stability
        Mean adjusted Rand index over all pairs of seeds, at most 1 (the same segments from every seed); ``None`` with
        fewer than two finished trials.
    """

    features: str
    transform: str
    backend: str
    k: int
    outcomes: tuple[Outcome, ...]
    stability: float | None

    @property
    def trials(self) -> list[Trial]:
        """The trials that did not fail."""
        return [outcome.trial for outcome in self.outcomes if outcome.trial is not None]

    @property
    def best(self) -> Trial:
        """The trial of the lowest inertia, the first of equals."""
        return min(self.trials, key=lambda trial: trial.inertia)

    @property
    def seconds(self) -> float:
        """Median wall-clock seconds of a trial."""
        return float(np.median([trial.seconds for trial in self.trials]))


@dataclass(frozen=True, slots=True)
class Sweep:
    """Everything that a sweep found.

    Attributes
    ----------
    grid
        What was asked for.
    configurations
        In the order of the grid.
    specs
        The fitted way to the matrix of each feature set and transform.
    correlated
        Warnings about features that say nearly the same, by feature set and transform.
    customers
        Customers that were clustered, by feature set.
    """

    grid: Grid
    configurations: tuple[Configuration, ...]
    specs: Mapping[tuple[str, str], FeatureSpec]
    correlated: Mapping[tuple[str, str], tuple[Word, ...]]
    customers: Mapping[str, int]

    @property
    def outcomes(self) -> list[Outcome]:
        """One for each trial of the grid, in its order."""
        return [outcome for configuration in self.configurations for outcome in configuration.outcomes]

    @property
    def failed(self) -> list[Outcome]:
        """The trials that failed."""
        return [outcome for outcome in self.outcomes if outcome.trial is None]

    @property
    def resumed(self) -> int:
        """Trials taken over from a run that was cut off."""
        return sum(outcome.resumed for outcome in self.outcomes)


def run_sweep(
    tables: Mapping[str, CustomerTable],
    grid: Grid,
    journal: Journal,
    *,
    threads: int | None = None,
    compute: Compute | None = None,
    device: str = "auto",
    on_trial: Callable[[Outcome], None] | None = None,
    on_configuration: Callable[[Configuration, list[str]], None] | None = None,
) -> Sweep:
    """Try every combination of the grid.

    A trial that fails is part of the result and does not stop the others.

    Parameters
    ----------
    tables
        The customer table of each feature set, by its name; the same object where the sets differ in columns only.
    grid
        What to try.
    journal
        Open; trials in it are not made again, and new ones are added.
    threads
        Threads to use; all cores by default.
    compute
        Where native and Dask-ML clustering is done; this process by default.
    device
        As :func:`engine.clustering.backends.cluster` takes it.
    on_trial
        Called with each outcome, in order.
    on_configuration
        Called with each configuration when all of its seeds are done, and the names of the matrix's columns.
    """
    configurations: list[Configuration] = []
    specs: dict[tuple[str, str], FeatureSpec] = {}
    correlated: dict[tuple[str, str], tuple[Word, ...]] = {}
    for cell in grid.cells:
        held = _Held.of(cell, tables[cell.features], grid, journal, threads, compute, device)
        if held.spec is not None:
            specs[cell.features, cell.transform] = held.spec
            correlated[cell.features, cell.transform] = held.correlated
        for backend, k in product(grid.backends, grid.ks):
            outcomes, labels = [], []
            for outcome, found in _tried(
                held, grid.plans(cell, backend, k), grid, journal, _following(held, cell, backend, k, grid, journal)
            ):
                outcomes.append(outcome)
                if found is not None and len(grid.seeds) > 1:
                    labels.append(found)
                if on_trial is not None:
                    on_trial(outcome)
            configuration = Configuration(cell.features, cell.transform, backend, k, tuple(outcomes), stability(labels))
            configurations.append(configuration)
            if on_configuration is not None:
                on_configuration(configuration, list(cell.feature_set.columns))
    customers = {name: tables[name].frame.height for name in grid.feature_sets}
    return Sweep(grid, tuple(configurations), specs, correlated, customers)


@dataclass(frozen=True, slots=True)
class _Held:
    """The matrix of a cell, or why there is none."""

    spec: FeatureSpec | None = None
    tries: Tries | None = None
    fingerprint: str = ""
    costly: Mapping[int, Costly] = field(default_factory=dict)
    correlated: tuple[Word, ...] = ()
    error: str = ""

    @classmethod
    def of(
        cls,
        cell: Cell,
        table: CustomerTable,
        grid: Grid,
        journal: Journal,
        threads: int | None,
        compute: Compute | None,
        device: str,
    ) -> _Held:
        try:
            spec = FeatureSpec.fit(table.frame, cell.feature_set)
            order, bucket_rows = table.bucket_order()
            matrix = spec.transform(table.frame)[order]
            tries = Tries(
                matrix,
                bucket_rows=bucket_rows,
                threads=threads,
                compute=compute,
                device=device,
                silhouette_rows=grid.evidence.silhouette_rows,
            )
            own = fingerprint(matrix)
            alike = tuple(pair.warning for pair in correlated_pairs(matrix, spec.names))
            return cls(spec, tries, own, _costly(tries, own, grid, journal), alike)
        except CarteraError as error:
            return cls(error=str(error))


def _costly(tries: Tries, own: str, grid: Grid, journal: Journal) -> dict[int, Costly]:
    """Return gap and bootstrap for each k, from the journal as far as they are there."""
    asked = [grid.evidence.gap_references, grid.evidence.bootstrap_resamples]
    found: dict[int, Costly] = {}
    for k in grid.ks if any(asked) else ():
        key = f"evidence {own} {k} {asked} {grid.backends[0]} {grid.seeds[0]}"
        if key not in journal.notes:
            try:
                check_k(tries.matrix, k)
            except CarteraError:
                # The trials of this k will say so.
                continue
            fresh = tries.costly(k, grid.evidence, backend=grid.backends[0], seed=grid.seeds[0])
            journal.note(**{key: [asdict(one) if one else None for one in (fresh.gap, fresh.bootstrap_stability)]})
        found[k] = Costly(*(Estimate(**one) if one else None for one in journal.notes[key]))
    return found


def _following(held: _Held, cell: Cell, backend: str, k: int, grid: Grid, journal: Journal) -> list[tuple[int, int]]:
    """Return k and seed of the trials of this cell and backend, from this k on, that are still to be made."""
    return [
        (plan.k, plan.seed)
        for later in grid.ks[grid.ks.index(k) :]
        for plan in grid.plans(cell, backend, later)
        if trial_id(plan, held.fingerprint, grid.evidence) not in journal.trials
    ]


def _tried(
    held: _Held, plans: list[Plan], grid: Grid, journal: Journal, following: list[tuple[int, int]]
) -> Iterator[tuple[Outcome, NDArray[np.int32] | None]]:
    for plan in plans:
        if held.tries is None:
            yield Outcome(plan, "", None, held.error), None
            continue
        own = trial_id(plan, held.fingerprint, grid.evidence)
        costly = held.costly.get(plan.k, Costly())
        earlier = journal.trials.get(own)
        if earlier is not None and (earlier.k, earlier.backend, earlier.seed) == (plan.k, plan.backend, plan.seed):
            labels = held.tries.labels(earlier.centroids) if len(plans) > 1 else None
            yield Outcome(plan, own, earlier.with_costly(costly), resumed=True), labels
            continue
        try:
            check_k(held.tries.matrix, plan.k)
            trial = held.tries.run(
                plan.k,
                backend=plan.backend,
                solver=plan.solver,
                seed=plan.seed,
                max_passes=plan.max_passes,
                max_seconds=plan.max_seconds,
                following=following,
            )
            labels = held.tries.labels(trial.centroids) if len(plans) > 1 else None
        except CarteraError as error:
            yield Outcome(plan, own, None, str(error)), None
            continue
        except Exception as error:  # a library's own: this trial is lost, the others are not
            log.debug("%s failed", plan.name, exc_info=True)
            yield Outcome(plan, own, None, f"{type(error).__name__}: {error}"), None
            continue
        journal.add(own, trial)
        yield Outcome(plan, own, trial.with_costly(costly)), labels
