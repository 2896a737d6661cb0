"""Whether the seeds can be told from the reference at all: figures held out by cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.lookalike.levels import Codes, Levels
from engine.lookalike.scorecard import Scorecard
from engine.lookalike.words import verdict

FOLDS = 10
TOP_SHARE = 0.1
NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Evidence:
    """How well the seeds are told from the reference, by people that the model has not seen.

    Attributes
    ----------
    auc
        How often a seed scores above a member of the reference, 0 to 1; 0.5 is chance.
    auc_low, auc_high
        Its 95 % interval.
    lift
        Times as many seeds among the best tenth of the reference's scores as under a random draw, 0 to 10.
    lift_in_list
        The same for the share of the prospects that the list takes.
    share_in_list
        That share, above 0 and at most 1.
    folds
        Of the cross-validation.
    columns
        By column, the area under the curve of a model that has this column alone.
    """

    auc: float
    auc_low: float
    auc_high: float
    lift: float
    lift_in_list: float
    share_in_list: float
    folds: int
    columns: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return it fit for JSON, with the verdict in both languages."""
        return {
            "auc": self.auc,
            "auc_interval_95": [self.auc_low, self.auc_high],
            "lift_in_best_tenth": self.lift,
            "lift_in_list": self.lift_in_list,
            "share_in_list": self.share_in_list,
            "folds": self.folds,
            "verdict": verdict(self.auc, self.auc_low).to_dict(),
        }


def held_out(
    levels: Sequence[Levels], seeds: Codes, reference: Codes, *, share_in_list: float, seed: int
) -> Evidence | None:
    """Cross-validate the scorecard; ``None`` with fewer than two people on a side.

    That the reference may hold people just like the seeds makes all figures a little low, never high.

    Parameters
    ----------
    levels
        Of each column.
    seeds, reference
        Shape (people, columns).
    share_in_list
        Share of the prospects that the list takes.
    seed
        Of the division into folds.
    """
    folds = min(FOLDS, len(seeds), len(reference))
    if folds < 2:
        return None
    draw = np.random.default_rng(seed)
    of_seeds, of_reference = (draw.permutation(np.arange(rows) % folds) for rows in (len(seeds), len(reference)))

    def scores(chosen: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        at = np.array(chosen)
        inside = [levels[index] for index in chosen]
        positive, negative = np.empty(len(seeds)), np.empty(len(reference))
        for fold in range(folds):
            here, there = of_seeds == fold, of_reference == fold
            card = Scorecard.fit(inside, seeds[~here][:, at], reference[~there][:, at])
            positive[here], negative[there] = card.score(seeds[here][:, at]), card.score(reference[there][:, at])
        return positive, negative

    positive, negative = scores(range(len(levels)))
    auc = area_under_curve(positive, negative)
    low, high = auc_interval(auc, len(seeds), len(reference))
    return Evidence(
        auc=auc,
        auc_low=low,
        auc_high=high,
        lift=lift(positive, negative, TOP_SHARE),
        lift_in_list=lift(positive, negative, share_in_list),
        share_in_list=share_in_list,
        folds=folds,
        columns={
            each.name: auc if len(levels) == 1 else area_under_curve(*scores([index]))
            for index, each in enumerate(levels)
        },
    )


def area_under_curve(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Return how often a positive scores above a negative, ties counting half.

    Examples
    --------
    >>> import numpy as np
    >>> area_under_curve(np.array([3.0, 2.0]), np.array([1.0, 2.0]))
    0.875
    """
    below = np.searchsorted(np.sort(negative), positive, side="left")
    not_above = np.searchsorted(np.sort(negative), positive, side="right")
    return float((below + not_above).sum() / 2 / (positive.size * negative.size))


def auc_interval(auc: float, positives: int, negatives: int) -> tuple[float, float]:
    """Return the 95 % interval of an area under the curve.

    The values that the observed one does not contradict, by the variance that each of them would have: method 5 of
    Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2",
    Statistics in Medicine 25 (2006). It holds for few people and for areas of 0 and 1 too.

    Parameters
    ----------
    auc
        0 to 1.
    positives, negatives
        How many people, at least one each.

    Examples
    --------
    >>> low, high = auc_interval(1.0, 10, 10)
    >>> (round(low, 2), high)
    (0.8, 1.0)
    """

    def too_far(area: float) -> bool:
        mean = (positives + negatives) / 2 - 1
        spread = 1 + mean * ((1 - area) / (2 - area) + area / (1 + area))
        return (auc - area) ** 2 > NORMAL_95**2 * area * (1 - area) * spread / (positives * negatives)

    return _edge(auc, 0.0, too_far), _edge(auc, 1.0, too_far)


def lift(positive: NDArray[np.float64], negative: NDArray[np.float64], share: float) -> float:
    """Return how many times the positives are as frequent as the negatives among the best-scored of these.

    Parameters
    ----------
    positive, negative
        Scores.
    share
        Of the negatives that are taken, from the best, above 0 and at most 1; of tied scores a fair part.

    Examples
    --------
    >>> import numpy as np
    >>> lift(np.array([9.0, 8.0, 0.0, 1.0]), np.arange(10.0) / 2, 0.1)
    5.0
    """
    taken = max(share * negative.size, 1e-12)
    ordered = np.sort(negative)[::-1]
    border = ordered[min(int(np.ceil(taken)), negative.size) - 1]
    above, tied = float((negative > border).sum()), float((negative == border).sum())
    caught = (positive > border).mean() + (positive == border).mean() * (taken - above) / tied
    return float(caught / share)


def _edge(inside: float, outside: float, too_far: Callable[[float], bool]) -> float:
    """Return where between a value and a limit the observation begins to contradict."""
    if not too_far(outside):
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if too_far(middle) else (middle, outside)
    return inside
