"""Which configurations are worth a look: ranked, the Pareto front marked, the number of segments judged, one proposed.

Inertia compares backends and seeds on one matrix, and nothing else: it grows with the number of features. So
configurations are ranked by silhouette, which every feature set can be judged by, and four figures that pull in
different directions decide who is dominated: silhouette, stability over seeds, balance of sizes, time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from engine.clustering.verdict import Verdict, choose_k, degenerate
from engine.errors import SettingError
from engine.schema import Word
from engine.sweeps.run import Configuration, Sweep

STABLE = 0.8
"""Adjusted Rand index from which divisions are usually called alike (Steinley 2004 calls 0.8 good, 0.9 excellent)."""

EVEN = 0.8
"""Balance from which the sizes count as even: three segments of 60, 30 and 10 % have 0.82, of 74, 22 and 4 % 0.62."""

TIME_FACTOR = 2.0
"""A configuration counts as quicker when it takes less than 1 / this of the time: smaller differences are noise."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the business can use.

    Attributes
    ----------
    fewest, most
        Segments.
    min_share
        Share of customers under which a segment is warned about.
    """

    fewest: int = 3
    most: int = 8
    min_share: float = 0.01


@dataclass(frozen=True, slots=True)
class Standing:
    """A configuration's place.

    Attributes
    ----------
    rank
        From 1; ``None`` where every seed failed.
    configuration
        What was tried.
    inertia_ratio
        Its lowest inertia over the lowest on the same matrix with the same k, 1 or more.
    usable
        Whether k is within the limits and no segment holds nearly everybody.
    pareto
        Whether no other usable configuration is at least as good in silhouette, stability, balance and time, and
        better in one of them.
    chosen
        Whether the verdict for its feature set, transform and backend fell on this k.
    """

    rank: int | None
    configuration: Configuration
    inertia_ratio: float | None
    usable: bool
    pareto: bool
    chosen: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on the number of segments for one feature set, transform and backend."""

    features: str
    transform: str
    backend: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """The sweep judged.

    Attributes
    ----------
    standings
        Best first; failed configurations last.
    verdicts
        One for each feature set, transform and backend with a trial within the limits.
    proposed
        The configuration to look at first; ``None`` where no k within the limits was tried.
    reason
        Why that one.
    """

    standings: tuple[Standing, ...]
    verdicts: tuple[Judged, ...]
    proposed: Configuration | None
    reason: Word | None = field(default=None)


def leaderboard(sweep: Sweep, limits: Limits) -> Leaderboard:
    """Rank the configurations of a sweep and propose one.

    The rank does not depend on time, so that a sweep that was cut off and resumed ranks as one that was not: usable
    configurations come first, by silhouette, then stability, balance, k and their place in the grid.

    The proposal is, among the configurations on which a verdict fell, one whose k is clear before one whose k is not,
    one that is stable over seeds (adjusted Rand at least :data:`STABLE`) before one that is not, one whose sizes are
    even (balance at least :data:`EVEN`, no segment too small) before one whose sizes are not, then the highest
    silhouette. Sizes count because silhouettes of different matrices compare only roughly: a few customers far from
    all others raise them.
    """
    done = [one for one in sweep.configurations if one.trials]
    verdicts = tuple(_verdicts(done, limits))
    chosen = {(one.features, one.transform, one.backend, one.verdict.k) for one in verdicts}
    lowest: dict[tuple[str, str, int], float] = {}
    for one in done:
        key = (one.features, one.transform, one.k)
        lowest[key] = min(one.best.inertia, lowest.get(key, math.inf))
    usable = {id(one) for one in done if limits.fewest <= one.k <= limits.most and degenerate(one.best) is None}
    contenders = [one for one in done if id(one) in usable]
    front = {id(one) for one in contenders if not any(dominates(other, one) for other in contenders)}
    ordered = sorted(done, key=lambda one: (id(one) not in usable, _order(one)))
    failed = [one for one in sweep.configurations if not one.trials]
    standings = [
        Standing(
            rank=rank,
            configuration=one,
            inertia_ratio=_ratio(one.best.inertia, lowest[one.features, one.transform, one.k]),
            usable=id(one) in usable,
            pareto=id(one) in front,
            chosen=(one.features, one.transform, one.backend, one.k) in chosen,
        )
        for rank, one in enumerate(ordered, 1)
    ]
    standings += [Standing(None, one, None, usable=False, pareto=False, chosen=False) for one in failed]
    proposed, reason = _proposal(standings, verdicts, limits)
    return Leaderboard(tuple(standings), verdicts, proposed, reason)


def dominates(one: Configuration, other: Configuration) -> bool:
    """Return whether one configuration is at least as good as another in all four figures, and better in one.

    Times within a factor of :data:`TIME_FACTOR` count as equal.
    """
    mine, theirs = _merits(one), _merits(other)
    if any(a < b for a, b in zip(mine, theirs, strict=True)):
        return False
    quicker = one.seconds * TIME_FACTOR < other.seconds
    slower = other.seconds * TIME_FACTOR < one.seconds
    return not slower and (quicker or mine != theirs)


def table(board: Leaderboard) -> pl.DataFrame:
    """Return ``sweep.csv``: one row per trial, by the rank of its configuration and by seed.

    ``rank``, ``inertia_ratio``, ``stability``, ``pareto``, ``chosen`` and ``usable`` are the configuration's; the other
    figures are the trial's own. ``residual`` says how far from a fixed point of Lloyd's algorithm, which has 0, a trial
    stopped (see :class:`engine.clustering.solve.Solution`); it is empty where the backend does not say.
    """
    rows: list[dict[str, Any]] = []
    for standing in board.standings:
        one = standing.configuration
        for outcome in one.outcomes:
            plan, trial = outcome.plan, outcome.trial
            figures: Mapping[str, float] = {} if trial is None else trial.figures()
            rows.append(
                {
                    "rank": standing.rank,
                    "features": plan.features,
                    "transform": plan.transform,
                    "backend": plan.backend,
                    "k": plan.k,
                    "seed": plan.seed,
                    "status": "failed" if trial is None else "done",
                    **{name: figures.get(name) for name in FIGURES},
                    "stability": one.stability,
                    "inertia_ratio": standing.inertia_ratio,
                    "usable": standing.usable,
                    "pareto": standing.pareto,
                    "chosen": standing.chosen,
                    "solver": plan.solver if trial is None else trial.solver,
                    "n_iter": None if trial is None else trial.n_iter,
                    "stop_reason": None if trial is None else trial.stop_reason,
                    "residual": None if trial is None else trial.residual,
                    "trial_id": outcome.trial_id,
                    "error": outcome.error,
                }
            )
    schema = {
        "rank": pl.Int64,
        "features": pl.String,
        "transform": pl.String,
        "backend": pl.String,
        "k": pl.Int64,
        "seed": pl.Int64,
        "status": pl.String,
        **dict.fromkeys(FIGURES, pl.Float64),
        "stability": pl.Float64,
        "inertia_ratio": pl.Float64,
        "usable": pl.Boolean,
        "pareto": pl.Boolean,
        "chosen": pl.Boolean,
        "solver": pl.String,
        "n_iter": pl.Int64,
        "stop_reason": pl.String,
        "residual": pl.Float64,
        "trial_id": pl.String,
        "error": pl.String,
    }
    return pl.DataFrame(rows, schema=schema)


FIGURES = (
    "inertia",
    "explained",
    "silhouette",
    "silhouette_euclidean",
    "silhouette_euclidean_error",
    "calinski_harabasz",
    "davies_bouldin",
    "gap",
    "gap_error",
    "bootstrap_stability",
    "bootstrap_stability_error",
    "balance",
    "smallest_share",
    "largest_share",
    "seconds",
)
"""Figures of a trial, in the order of ``sweep.csv``."""


def check_limits(limits: Limits, ks: Sequence[int]) -> None:
    """Raise :class:`SettingError` where no k of the grid lies within the limits of the business."""
    if limits.fewest > limits.most or limits.fewest < 1:
        raise SettingError(
            f"segments.min, segments.max: expected 1 ≤ segments.min ≤ segments.max; got {limits.fewest} and "
            f"{limits.most}."
        )
    if not 0 <= limits.min_share < 1:
        raise SettingError(f"segments.min_share: expected a share from 0 to below 1; got {limits.min_share!r}.")
    if len(ks) > 1 and not any(limits.fewest <= k <= limits.most for k in ks):
        raise SettingError(
            f"sweep.k: expected a k from segments.min={limits.fewest} to segments.max={limits.most} among those to "
            f"try; got {', '.join(map(str, ks))}. Change either."
        )


def _verdicts(done: Sequence[Configuration], limits: Limits) -> list[Judged]:
    groups: dict[tuple[str, str, str], list[Configuration]] = {}
    for one in done:
        groups.setdefault((one.features, one.transform, one.backend), []).append(one)
    found = []
    for (features, transform, backend), members in groups.items():
        if len(members) > 1 and not any(limits.fewest <= one.k <= limits.most for one in members):
            # What was within the limits has failed.
            continue
        verdict = choose_k(
            [one.best for one in members],
            min_segments=limits.fewest,
            max_segments=limits.most,
            min_share=limits.min_share,
        )
        found.append(Judged(features, transform, backend, verdict))
    return found


def _merits(one: Configuration) -> tuple[float, float, float]:
    best = one.best
    silhouette = -1.0 if best.silhouette is None else best.silhouette
    # Seeds that were not compared, or of which one failed, have not shown that they agree.
    stability = -1.0 if one.stability is None else one.stability
    # Backends that find the same segments differ in the last digits only.
    return round(silhouette, 6), round(stability, 6), round(best.balance, 6)


def _order(one: Configuration) -> tuple[float, ...]:
    return *(-merit for merit in _merits(one)), one.k


def _ratio(inertia: float, lowest: float) -> float:
    return inertia / lowest if lowest > 0 else 1.0


def _proposal(
    standings: Sequence[Standing], verdicts: Sequence[Judged], limits: Limits
) -> tuple[Configuration | None, Word | None]:
    clear = {(one.features, one.transform, one.backend) for one in verdicts if one.verdict.clear}
    chosen = [standing.configuration for standing in standings if standing.chosen]
    if not chosen:
        return None, None

    def is_clear(one: Configuration) -> bool:
        return (one.features, one.transform, one.backend) in clear

    def is_stable(one: Configuration) -> bool:
        return one.stability is not None and one.stability >= STABLE

    def is_even(one: Configuration) -> bool:
        return one.best.balance >= EVEN and one.best.smallest_share >= limits.min_share

    best = min(chosen, key=lambda one: (not is_clear(one), not is_stable(one), not is_even(one), _order(one)))
    if is_clear(best):
        why = Word("its k is clear", "su k es claro")
    else:
        why = Word(
            "no k is clear; its k is the verdict's choice", "ningún k es claro; el suyo es el que elige el veredicto"
        )
    if best.stability is None:
        steady = Word("stability was not tested", "no se ha medido la estabilidad")
    elif is_stable(best):
        steady = Word("the seeds agree", "las semillas coinciden")
    else:
        steady = Word("but the seeds do not agree well", "pero las semillas no coinciden bien")
    others = len(chosen) - 1
    among = (
        Word(
            f"; of {len(chosen)} such choices it has the highest silhouette among the clearest, most stable and even",
            f"; de {len(chosen)} elecciones así, tiene la silueta más alta entre las claras, estables y equilibradas",
        )
        if others
        else Word("", "")
    )
    return best, Word(f"{why.en}, {steady.en}{among.en}.", f"{why.es}, {steady.es}{among.es}.")
