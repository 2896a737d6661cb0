"""Solve on a sample, certify on everything.

The optimum of a sample of m rows costs only about k/m more on all rows, however many there are. So the search happens
on rows that fit in the cache, and a few exact reads of all rows choose the winner and polish it.

It begins with a few rows drawn evenly. Where half of the first starts come to rest in the same best place, or all that
have breathed do and rest at once, groups are apart, and one exact read moves every centroid to the mean of its group.
That read also says whether the few rows were a fair picture: a small cluster far from all others, of which they held
nothing, shows as squared distances that they cannot explain. Otherwise, and where groups overlap, a larger sample is
drawn in one read: half evenly, half in proportion to the squared distance from the first solution, with weights that
make it an unbiased picture of all rows (the lightweight coreset of Bachem, Lucic and Krause, KDD 2018, around k centres
instead of one). The search goes on there, and its best solutions are measured together on all rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.clustering.lloyd import Rest, lloyd, mean_variance, next_centroids, residual
from engine.clustering.plan import PLAN, Limits, Plan
from engine.clustering.rows import Centroids, IntArray, Rows, Stats
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_cuda import CudaRows, Searchable
from engine.clustering.search import SAME_BASIN, Effort, agree, breathed, continued, distinct, inertias, ranked
from engine.clustering.seeding import TooFewDistinctRowsError, draw_evenly

log = logging.getLogger(__name__)

Draw = Callable[..., list[Centroids]]

SAMPLE_TOL = 0.1
"""The sample is solved to this share of ``tol``: moves are cheap there."""

AT_ONCE = 2
"""Moves after breathing in which a search comes to rest where groups are apart; where they overlap it takes tens."""

STANDARD_ERRORS = 5.0
"""How far the mean squared distance of a cluster may lie above that of the few rows before they are no fair picture."""

UNEXPLAINED = 1e-3
"""Share of the inertia that may be unexplained by the few rows."""

POLISHED = 1e-5
"""When a move over all rows takes off less than this share of the inertia, another one is not worth its read."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a search on a sample found; see :class:`engine.clustering.solve.Solution`."""

    centroids: Centroids
    n_iter: int
    passes: int
    stop_reason: str
    residual: float
    rows_used: int


Search = Generator[list[Centroids], list[Stats], Sampled]
"""Yields centroids to be measured on all rows, is sent the measures, and returns what it found."""


def together(rows: Rows, searches: Sequence[Search]) -> list[Sampled | TooFewDistinctRowsError]:
    """Run searches side by side, so that one read of the rows measures the centroids of all.

    A search that finds too few different rows returns that error.
    """
    found: dict[int, Sampled | TooFewDistinctRowsError] = {}
    asked: dict[int, list[Centroids]] = {}

    def resume(number: int, told: list[Stats] | None) -> None:
        try:
            search = searches[number]
            asked[number] = next(search) if told is None else search.send(told)
        except StopIteration as end:
            found[number] = end.value
        except TooFewDistinctRowsError as error:
            # Without the frames it came through, which keep a sample alive.
            found[number] = error.with_traceback(None)

    for number in range(len(searches)):
        resume(number, None)
    while asked:
        waiting, asked = asked, {}
        told = iter(rows.step([model for models in waiting.values() for model in models]))
        for number, models in waiting.items():
            resume(number, [next(told) for _ in models])
    return [found[number] for number in range(len(searches))]


def solve_on_sample(
    rows: Rows, k: int, rng: np.random.Generator, *, draw: Draw, n_init: int, limits: Limits, plan: Plan = PLAN
) -> Search:
    """Find k centroids; see the module.

    Parameters
    ----------
    rows : Rows
    k : int
    rng : numpy.random.Generator
    draw : callable
        One of :data:`engine.clustering.seeding.SEEDINGS`.
    n_init : int
        Starts at least.
    limits : Limits
    plan : Plan

    Raises
    ------
    TooFewDistinctRowsError
        A sample holds fewer than k different rows.
    """
    few = evenly(rows, plan.few(k), rng)
    scale = _Scale.of(few, limits)
    best, at_rest = _first_search(few, k, draw, max(n_init, plan.first_starts(k)), scale, limits, plan, rng)
    used, passes = few.n, 0
    stats: Stats | None = None
    if at_rest:
        (stats,) = yield [best[0].centroids]
        passes = 1
        best = best[:1]
    fair = stats is not None and _explained(few, best[0].centroids, stats)
    mean = _mean_square(few.step([best[0].centroids])[0] if stats is None else stats)
    if not fair and not limits.stop(passes + 1):
        stats = None
        whole = rows.n <= 2 * plan.more(k)
        sample, part = _whole(rows) if whole else _drawn(rows, best[0].centroids, mean, plan.more(k), plan.part, rng)
        passes += not whole
        used = sample.n
        best = _searched_on(sample, part, k, best, draw, scale, limits, plan, rng)
        # Other searches draw theirs before this one ends, and a GPU need not hold all at once.
        del sample, part
    if stats is None:
        measured = yield [rest.centroids for rest in best]
        passes += 1
        winner = min(range(len(best)), key=lambda number: measured[number].inertia)
        rest, stats = best[winner], measured[winner]
    else:
        rest = best[0]
    centroids, n_iter = rest.centroids, rest.n_iter
    for reads in range(1 + plan.polish_reads):
        if reads:
            (stats,) = yield [centroids]
            passes += 1
        moved = next_centroids(rows, centroids, stats)
        left, shift = residual(centroids, moved, stats), float(np.square(moved - centroids).sum())
        centroids, n_iter = moved, n_iter + 1
        if shift <= scale.asked:
            reason = "tolerance" if shift > 0 else "fixed point"
            break
        if left <= POLISHED or fair:
            reason = "polished"
            break
        reason = limits.stop(passes) or "polished"
        if reason != "polished":
            break
    return Sampled(centroids, n_iter, passes, reason, left, used)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Tolerances in squared units of the rows: asked for, on a sample, and between solutions of one basin."""

    asked: float
    tolerance: float
    same: float

    @classmethod
    def of(cls, few: ArrayRows, limits: Limits) -> _Scale:
        variance = mean_variance(few)
        return cls(limits.tol * variance, SAMPLE_TOL * limits.tol * variance, SAME_BASIN * few.d * variance)


def _first_search(
    few: ArrayRows,
    k: int,
    draw: Draw,
    starts: int,
    scale: _Scale,
    limits: Limits,
    plan: Plan,
    rng: np.random.Generator,
) -> tuple[list[Rest], bool]:
    """Return the best solutions of the few rows, and whether groups are so far apart that there is but one."""

    def moved(starts: int) -> list[Rest]:
        most = min(plan.moves_in_part + plan.moves, limits.max_iter)
        return lloyd(few, draw(few, k, starts=starts, rng=rng), max_iter=most, shift_tolerance=scale.tolerance)

    early = moved(min(starts, plan.early))
    found = _found_often(few, early, scale)
    if found is not None:
        return [found], True
    begun = early if starts <= plan.early else early + moved(starts - plan.early)
    return _bettered(few, ranked(few, begun)[: plan.kept], plan.effort(k), scale, limits, rng)


def _found_often(few: ArrayRows, rests: Sequence[Rest], scale: _Scale) -> Rest | None:
    """Return the best of them where half of all came to rest in its place."""
    costs = inertias(few, rests)
    best = rests[costs.index(min(costs))]
    alike = [
        rest
        for rest, cost in zip(rests, costs, strict=True)
        if rest.stop_reason != "max_iter" and agree([cost, min(costs)]) and len(distinct([best, rest], scale.same)) == 1
    ]
    return best if any(rest is best for rest in alike) and 2 * len(alike) >= len(rests) else None


def _bettered(
    few: ArrayRows, begun: list[Rest], effort: Effort, scale: _Scale, limits: Limits, rng: np.random.Generator
) -> tuple[list[Rest], bool]:
    """Let the best solutions breathe and rest; say whether all of them agree and rested at once."""
    k = len(begun[0].centroids)
    options = {"max_iter": limits.max_iter, "shift_tolerance": scale.tolerance}
    kept = breathed(few, begun, effort, rng=rng, **options) if k > 1 else begun  # type: ignore[arg-type]
    ended = continued(few, kept, max_iter=min(effort.final_moves, limits.max_iter), shift_tolerance=scale.tolerance)
    moves = max(after.n_iter - before.n_iter for before, after in zip(kept, ended, strict=True))
    ended = ranked(few, ended)
    found = distinct(ended, scale.same)
    return found, len(found) == 1 and moves <= AT_ONCE and agree(inertias(few, ended))


def _explained(few: ArrayRows, centroids: Centroids, stats: Stats) -> bool:
    """Say whether squared distances over all rows are what those of the few rows let one expect.

    Each cluster may have a mean squared distance some standard errors above that of its few rows; what lies beyond
    may not make up more than a small share of the inertia.
    """
    labels, distances = np.empty(few.n, dtype=np.int32), np.empty(few.n)
    few.assign(centroids, labels, distances)
    # Squares of weights are taken below: their unit must not matter.
    weights = np.ones(few.n) if few.weights is None else few.weights / few.weights.max()
    k = len(centroids)
    squared = np.square(distances)
    total = np.bincount(labels, weights, k)
    mean = np.bincount(labels, weights * squared, k) / np.maximum(total, 1e-300)
    error = np.sqrt(np.bincount(labels, np.square(weights * (squared - mean[labels])), k)) / np.maximum(total, 1e-300)
    surplus = stats.sse - stats.counts * (mean + STANDARD_ERRORS * error)
    return float(surplus.clip(min=0.0).sum()) <= UNEXPLAINED * stats.inertia


def _searched_on(
    sample: Searchable,
    part: Searchable,
    k: int,
    known: Sequence[Rest],
    draw: Draw,
    scale: _Scale,
    limits: Limits,
    plan: Plan,
    rng: np.random.Generator,
) -> list[Rest]:
    """Continue what is known on a larger sample, beside starts of its own; return the finalists, best first."""

    def moved(rows: Searchable, rests: Sequence[Rest], most: int) -> list[Rest]:
        if limits.late():
            return list(rests)
        return continued(rows, rests, max_iter=min(most, limits.max_iter), shift_tolerance=scale.tolerance)

    fresh = [Rest(start, 0, "") for start in draw(part, k, starts=plan.fresh_starts(k), rng=rng)]
    begun = moved(sample, [*known, *moved(part, fresh, plan.moves_in_part)], plan.moves)
    kept = moved(sample, distinct(ranked(sample, begun), scale.same)[: plan.kept], plan.kept_moves)
    last = ranked(sample, moved(sample, ranked(sample, kept)[: plan.finalists], plan.final_moves))
    if k < plan.breathing_from or limits.late():
        return last
    options = {"max_iter": limits.max_iter, "shift_tolerance": scale.tolerance}
    effort = Effort(width=max(3, min(8, k // 8)))
    breathing = breathed(sample, last[:2], effort, rng=rng, **options)  # type: ignore[arg-type]
    return ranked(sample, [*moved(sample, breathing, plan.final_moves), *last])[: plan.finalists]


def evenly(rows: Rows, m: int, rng: np.random.Generator) -> ArrayRows:
    """Hold about m rows in memory, each drawn with a chance in proportion to its weight."""
    if rows.weights is None or m >= rows.n:
        index = draw_evenly(rows.n, min(m, rows.n), rng)
        return held(rows, index, None if rows.weights is None else rows.weights[index])
    ends = np.cumsum(rows.weights)
    points = (np.arange(m) + rng.random(m)) * (ends[-1] / m)
    # What rounding puts beyond the end belongs to the last row with a weight.
    last = int(np.flatnonzero(rows.weights)[-1])
    index, times = np.unique(np.minimum(np.searchsorted(ends, points, side="right"), last), return_counts=True)
    return held(rows, index, times.astype(np.float64))


def held(rows: Rows, index: IntArray, weights: NDArray[np.float64] | None) -> ArrayRows:
    """Hold these rows in memory, whoever holds them now."""
    return ArrayRows(rows.take(index), weights, threads=rows.threads)


def _whole(rows: Rows) -> tuple[Searchable, Searchable]:
    """Return all rows for what else are a sample and a part of it."""
    found = rows if isinstance(rows, CudaRows) and rows.resident else held(rows, np.arange(rows.n), rows.weights)
    return found, found


def _drawn(
    rows: Rows, rough: Centroids, mean: float, m: int, part: int, rng: np.random.Generator
) -> tuple[Searchable, Searchable]:
    """Draw about half of m rows evenly and half by squared distance from the centroids, weighted to stand for all.

    ``mean`` is what the rows' mean squared distance is thought to be. Were it wrong, because few rows lacked a far
    cluster, more rows would be drawn, and the weights be right all the same. The second sample is drawn from the first
    and has about one row in ``part``: those that lie so far that they are sure to be in it, are. The first is held on
    the GPU too where the rows are.
    """
    total = float(rows.n) if rows.weights is None else float(rows.weights.sum())
    even, per_square = 0.5 * m / total, 0.5 * m / (total * mean) if mean > 0 else 0.0
    drawn = rows.draw(rough, even, per_square, int(rng.integers(2**63)))
    own = np.ones(len(drawn.index)) if rows.weights is None else rows.weights[drawn.index]
    expected = own * (even + per_square * drawn.squared)
    chance, chance_of_part = np.minimum(expected, 1.0), np.minimum(expected / part, 1.0)
    sample = held(rows, drawn.index, own / chance)
    inside = np.flatnonzero(rng.random(len(own)) * chance < chance_of_part)
    some = held(sample, inside, own[inside] / chance_of_part[inside])
    return rows.beside(sample) if isinstance(rows, CudaRows) else sample, some


def _mean_square(stats: Stats) -> float:
    return stats.inertia / float(stats.counts.sum())
