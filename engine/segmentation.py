"""A finished segmentation, and the way there from a customer table: cluster, choose k, name, assign."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from engine import __version__
from engine.bundle import save_bundle
from engine.clustering import backends
from engine.clustering.nearest import two_nearest
from engine.clustering.sweep import CHEAP, Evidence, Tries, sweep
from engine.clustering.trial import Trial
from engine.clustering.verdict import Verdict, choose_k
from engine.compute import Compute
from engine.device import peak_memory_mb
from engine.errors import SettingError
from engine.features.correlation import correlated_pairs
from engine.features.matrix import FeatureSet, FeatureSpec
from engine.features.store import ALWAYS
from engine.features.table import CustomerTable
from engine.report.html import render
from engine.report.summary import report_summary
from engine.schema import Word, check_language
from engine.segments.model import Classification, SegmentModel
from engine.segments.naming import RuleTable
from engine.segments.novelty import FittedDistances
from engine.segments.segment import describe

K_RANGE = (2, 10)
"""Numbers of segments that ``k="auto"`` tries."""

MOST_TRIALS = 500
"""Numbers of segments that one run tries at most."""

Seconds = dict[str, float]


@dataclass(frozen=True, slots=True)
class SegmentSettings:
    """How customers are segmented once their table stands.

    Attributes
    ----------
    features
        Columns to cluster on and their treatment.
    k
        Number of segments; a range such as ``"3..7"`` to choose from; or ``"auto"`` for :data:`K_RANGE`.
    backend, solver, seed, threads, max_passes, max_seconds, device
        As :func:`engine.clustering.backends.cluster` takes them; ``max_seconds`` is the time of each number of
        segments that is tried.
    min_segments, max_segments
        How many segments the business can handle; a ``k`` given as a number stands above them.
    min_share
        Share of customers, 0 to 1, under which a segment is warned about.
    rules
        Rule table for the names: a preset or a YAML file.
    language
        Of names and report: ``en`` or ``es``.
    evidence
        Which figures beyond the cheap ones are worked out for each k.
    """

    features: FeatureSet
    k: int | str | range = "auto"
    backend: str = "native"
    solver: str = "auto"
    seed: int = 0
    threads: int | None = None
    max_passes: int | None = None
    max_seconds: float | None = None
    device: str = "auto"
    min_segments: int = 3
    max_segments: int = 8
    min_share: float = 0.01
    rules: str = "retail"
    language: str = "en"
    evidence: Evidence = CHEAP


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Customers in their segments, with everything that led there.

    Attributes
    ----------
    model
        What classifies further customers; it holds no person.
    customers
        The customer table that was segmented.
    profile
        One row per segment, by rank (1 = highest mean billing); the columns of ``profile.csv``.
    assignments
        ``customer_id, segment_id, name, distance, margin, second_segment_id, novel``, sorted by customer.
    trials
        One for each number of segments that was tried.
    verdict
        Why this number was chosen.
    correlated
        Warnings about features that say nearly the same.
    settings
        As given.
    seconds
        Wall-clock seconds by step.
    source
        Facts of the transactions: ``lake_version``, ``notes``, ``reconciliation``.
    peak_memory_mb
        Largest resident memory of the process up to the end of the segmentation, in MiB.
    """

    model: SegmentModel
    customers: CustomerTable
    profile: pl.DataFrame
    assignments: pl.DataFrame
    trials: tuple[Trial, ...]
    verdict: Verdict
    correlated: tuple[Word, ...]
    settings: SegmentSettings
    seconds: Seconds
    source: Mapping[str, Any]
    peak_memory_mb: float

    def __repr__(self) -> str:
        """Return one line: a notebook shows the value of a cell's last line in full."""
        return f"<Segmentation: {self.customers.frame.height:,} customers in {self.model.k} segments>"

    def _repr_html_(self) -> str:
        """Return the profile, as notebooks show a frame."""
        return self.profile._repr_html_()

    @property
    def warnings(self) -> list[Word]:
        """What a reader must look at: the choice of k, features that say the same, the dates of the data."""
        return [*self.verdict.warnings, *self.correlated, *self.customers.warnings()]

    @property
    def trial(self) -> Trial:
        """The trial of the chosen number of segments."""
        return next(trial for trial in self.trials if trial.k == self.verdict.k)

    @property
    def summary(self) -> dict[str, Any]:
        """The figures of ``summary.json``."""
        return {
            "customers": self.customers.frame.height,
            "rows": self.customers.rows,
            "features": self.model.spec.names,
            "k": self.model.k,
            "inertia": self.trial.inertia,
            "silhouette": self.trial.silhouette,
            "backend": self.trial.backend,
            "solver": self.trial.solver,
            "device": self.trial.device,
            "seed": self.settings.seed,
            "lake_version": self.source["lake_version"],
            "as_of": self.customers.as_of.date().isoformat(),
            "window_days": self.customers.window_days,
            "monetary_total": str(self.customers.monetary_total),
            "seconds": {step: round(value, 3) for step, value in self.seconds.items()},
            "peak_memory_mb": round(self.peak_memory_mb, 1),
        }

    def classify(self, customer: Mapping[str, Any], *, impute: bool = False) -> Classification:
        """Return the segment of one customer from the model's variables; see :meth:`SegmentModel.classify`."""
        return self.model.classify(customer, impute=impute)

    def report(self, path: Path | str, *, language: str | None = None, name: str = "") -> Path:
        """Write the self-contained HTML report and return its path."""
        spoken = language or self.settings.language
        check_language(spoken)
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(render(report_summary(self, name=name), spoken), encoding="utf-8")
        return target

    def save(self, path: Path | str) -> Path:
        """Write the model as a bundle and return its path; :func:`load` reads it back."""
        return save_bundle(self.model, path, engine_version=__version__)


def segment_customers(
    table: CustomerTable,
    settings: SegmentSettings,
    *,
    source: Mapping[str, Any],
    seconds: Seconds | None = None,
    compute: Compute | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> Segmentation:
    """Cluster a customer table, choose the number of segments, and say who they are.

    Parameters
    ----------
    table
        From :func:`engine.features.store.customer_table`.
    settings
        How to go about it.
    source
        From :func:`source_facts`.
    seconds
        Steps timed so far; those of this function are added.
    compute
        Where native and Dask-ML clustering is done; this process by default.
    on_trial
        Called with each trial as it is done.
    """
    rules, ks = check_settings(settings)
    spent: Seconds = {} if seconds is None else seconds
    with timed(spent, "clustering"):
        spec = FeatureSpec.fit(table.frame, settings.features)
        matrix = spec.transform(table.frame)
        order, bucket_rows = table.bucket_order()
        tries = Tries(
            matrix[order],
            bucket_rows=bucket_rows,
            threads=settings.threads,
            compute=compute,
            device=settings.device,
            silhouette_rows=settings.evidence.silhouette_rows,
        )
        trials: list[Trial] = []
        for found in sweep(
            tries,
            ks,
            backend=settings.backend,
            solver=settings.solver,
            seed=settings.seed,
            max_passes=settings.max_passes,
            max_seconds=settings.max_seconds,
        ):
            trial = found.with_costly(
                tries.costly(found.k, settings.evidence, backend=settings.backend, seed=settings.seed)
            )
            trials.append(trial)
            if on_trial is not None:
                on_trial(trial)
        verdict = choose_k(
            trials,
            min_segments=settings.min_segments,
            max_segments=settings.max_segments,
            min_share=settings.min_share,
        )
        best = next(trial for trial in trials if trial.k == verdict.k)
    with timed(spent, "segments"):
        centroids = best.centroids
        facts = {
            "as_of": table.as_of.date().isoformat(),
            "window_days": table.window_days,
            "where": table.where,
            "customers": table.frame.height,
            "k": verdict.k,
            "inertia": best.inertia,
            "backend": best.backend,
            "solver": best.solver,
            "device": best.device,
            "seed": settings.seed,
        }
        near = two_nearest(matrix, centroids)
        measures = list(dict.fromkeys([*ALWAYS, *spec.names]))
        segments, profile = describe(
            table.frame, near.first, centroids, spec.digest, measures=measures, rules=rules, language=settings.language
        )
        distances = FittedDistances.fit(near.first, near.first_distance, len(centroids))
        model = SegmentModel(spec, centroids, tuple(segments), distances, facts)
        assignments = model.table(table.frame["customer_id"], near, language=settings.language)
    return Segmentation(
        model=model,
        customers=table,
        profile=profile,
        assignments=assignments,
        trials=tuple(trials),
        verdict=verdict,
        correlated=tuple(pair.warning for pair in correlated_pairs(matrix, spec.names)),
        settings=settings,
        seconds=spent,
        source=source,
        peak_memory_mb=peak_memory_mb(),
    )


def check_settings(settings: SegmentSettings) -> tuple[RuleTable, list[int]]:
    """Return the rule table and the numbers of segments to try; raise on what can be refused before any data is read.

    Raises
    ------
    SettingError
        An unknown language, an impossible k, limits that exclude each other, a rule table with a fault, or what
        :func:`engine.clustering.backends.check_settings` raises.
    """
    check_language(settings.language)
    for name, least in (("seed", 0), ("min_segments", 1), ("max_segments", 1)):
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SettingError(f"{name}: expected a whole number of at least {least}; got {value!r}.")
    if not isinstance(settings.min_share, int | float) or not 0 <= settings.min_share < 1:
        raise SettingError(f"min_share: expected a share from 0 to below 1; got {settings.min_share!r}.")
    if settings.min_segments > settings.max_segments:
        raise SettingError(
            f"segments.min={settings.min_segments} is above segments.max={settings.max_segments}: no number of "
            "segments satisfies both."
        )
    backends.check_settings(
        backend=settings.backend,
        solver=settings.solver,
        seed=settings.seed,
        threads=settings.threads,
        max_passes=settings.max_passes,
        max_seconds=settings.max_seconds,
        device=settings.device,
    )
    return RuleTable.load(settings.rules), parse_k(settings.k)


def parse_k(k: int | str | range | Sequence[int]) -> list[int]:
    """Return the numbers of segments to try, ascending.

    Examples
    --------
    >>> parse_k(4), parse_k("3..5"), parse_k("auto")[-1]
    ([4], [3, 4, 5], 10)
    """
    wanted = f"clustering.k: expected a number of segments of at least 1, a range such as 3..7, or auto; got {k!r}."
    if isinstance(k, bool):
        raise SettingError(wanted)
    if isinstance(k, str):
        if k == "auto":
            return list(range(K_RANGE[0], K_RANGE[1] + 1))
        low, dots, high = k.partition("..")
        try:
            k = range(int(low), int(high) + 1) if dots else int(low)
        except ValueError:
            raise SettingError(wanted) from None
    if not isinstance(k, Iterable):
        k = [k]
    try:
        values = list(islice(k, MOST_TRIALS + 1))
        if any(isinstance(value, bool) for value in values):
            raise TypeError
        ks = sorted({operator.index(value) for value in values})
    except TypeError:
        raise SettingError(wanted) from None
    if not ks or ks[0] < 1:
        raise SettingError(wanted)
    if len(values) > MOST_TRIALS:
        raise SettingError(f"clustering.k: expected at most {MOST_TRIALS} numbers of segments to try; got {k!r}.")
    return ks


def source_facts(source: Any) -> dict[str, Any]:
    """Return what a report says of a lake or frame: version, notes and the accounts of its rows."""
    return {
        "lake_version": source.version,
        "notes": source.notes(),
        "reconciliation": source.reconciliation(),
    }


@contextmanager
def timed(seconds: Seconds, step: str) -> Iterator[None]:
    """Add the wall-clock time of a block to ``seconds[step]``."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - start
