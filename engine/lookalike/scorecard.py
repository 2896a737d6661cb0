"""How typical of the seeds each level of each column is: a regularised logistic regression, read as a table of points.

The regression tells seeds from a reference population, both weighing alike. Its score is additive over the columns
and depends on a person's levels only, so it is a scorecard: one weight for each level. A score of 0 means that such
people are as frequent among the seeds as in the reference, a score of log 2 that they are twice as frequent.

The reference is not labelled: it may hold people just like the seeds. Where the seeds are a fair draw from all such
people, the ranking is the same as with true labels; only the scores come out nearer to 0 (Elkan & Noto, "Learning
classifiers from only positive and unlabeled data", KDD 2008).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.lookalike.levels import Codes, Levels, expand

STRENGTH = 0.1
"""scikit-learn's ``C``, with weights that sum to twice the number of seeds: many seeds may say more than few.

On the households of Complete Journey (seven columns, 60 seeds) values from 0.03 to 0.3 rank alike, and better than 1.
"""

DIGITS = 6
"""Weights are rounded: sums in another order, on other numbers of threads, differ in the last bits."""


@dataclass(frozen=True, eq=False)
class Scorecard:
    """Weights by level.

    Attributes
    ----------
    weights
        For each column the points of its levels; the intercept is in the first one.
    """

    weights: tuple[NDArray[np.float64], ...]

    @classmethod
    def fit(cls, levels: Sequence[Levels], seeds: Codes, reference: Codes) -> Scorecard:
        """Tell seeds from the reference.

        Parameters
        ----------
        levels
            Of each column.
        seeds, reference
            Shape (people, columns); at least one row each.
        """
        from sklearn.linear_model import LogisticRegression

        steps = [each.steps for each in levels]
        (of_seeds, seed_counts), (of_reference, counts) = (patterns(codes, levels) for codes in (seeds, reference))
        matrix = expand(np.vstack([of_seeds, of_reference]), steps)
        is_seed = np.arange(len(matrix)) < len(of_seeds)
        balance = np.concatenate([seed_counts, counts * (len(seeds) / len(reference))])
        model = LogisticRegression(C=STRENGTH, solver="newton-cholesky")
        model.fit(matrix, is_seed, sample_weight=balance)
        ends = np.cumsum([table.shape[1] for table in steps])
        parts = np.split(model.coef_[0], ends[:-1])
        weights = [np.round(table @ part, DIGITS) for table, part in zip(steps, parts, strict=True)]
        weights[0] = weights[0] + round(float(model.intercept_[0]), DIGITS)
        return cls(tuple(weights))

    def score(self, codes: Codes) -> NDArray[np.float64]:
        """Return each person's points: the logarithm of how many times as frequent among the seeds."""
        total = np.zeros(len(codes))
        for index, weights in enumerate(self.weights):
            total += weights[codes[:, index]]
        return total


def patterns(codes: Codes, levels: Sequence[Levels]) -> tuple[Codes, NDArray[np.int64]]:
    """Return the different rows of levels, and how many people have each.

    Where there are more combinations of levels than int64 can number, the rows come back as they are, once each.
    """
    if math.prod(each.size for each in levels) > np.iinfo(np.int64).max:
        return codes, np.ones(len(codes), dtype=np.int64)
    numbers = np.zeros(len(codes), dtype=np.int64)
    for index, each in enumerate(levels):
        numbers = numbers * each.size + codes[:, index]
    _, first, counts = np.unique(numbers, return_index=True, return_counts=True)
    return codes[first], counts


def similarity(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores as shares, 0 to 1: of people with such values, drawn alike from both, how many are seeds.

    Examples
    --------
    >>> import numpy as np
    >>> similarity(np.array([0.0, np.log(3)])).tolist()
    [0.5, 0.75]
    """
    share: NDArray[np.float64] = 1 / (1 + np.exp(-score))
    return share
