"""How much each signal counts: fitted on baskets that are known, by what was in them and what was not."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError

STRENGTH = 1.0
"""Inverse of the ridge penalty, as in scikit-learn's ``LogisticRegression``: it settles what many rows do not."""


class Blend(NamedTuple):
    """Weights of the signals.

    Attributes
    ----------
    weights
        A score is the sum of weight × signal, shape (signals,), float64.
    centre
        Mean of each signal over the candidates of the fit: what a reason is measured from.
    rows, bought
        Candidates that the weights were fitted on, and how many of them were in the basket.
    """

    weights: NDArray[np.float64]
    centre: NDArray[np.float64]
    rows: int
    bought: int


def fit_blend(signals: NDArray[np.float32], bought: NDArray[np.bool_]) -> Blend:
    """Fit a logistic regression of *was in the basket* on the signals.

    Parameters
    ----------
    signals
        Of candidates, shape (rows, signals), finite.
    bought
        Whether each candidate was in the basket that came next.

    Raises
    ------
    DataError
        Nothing or everything was bought: there is nothing to learn.

    Notes
    -----
    The order of a customer's products by this score is the order by the estimated odds of being in the next basket.
    A signal that says nothing on these data (buying again, where nobody does) gets a weight near 0: so the blend
    finds by itself which kind of shop it is in.
    """
    from sklearn.linear_model import LogisticRegression

    hits = int(bought.sum())
    if hits == 0 or hits == len(bought):
        raise DataError(
            f"Next basket: of {len(bought):,} candidates {hits:,} were bought, so no weights can be fitted. "
            "More customers with at least two baskets are needed."
        )
    centre, spread = signals.mean(axis=0, dtype=np.float64), signals.std(axis=0, dtype=np.float64)
    spread[spread < 1e-9] = np.inf
    model: Any = LogisticRegression(C=STRENGTH, solver="newton-cholesky", max_iter=100)
    model.fit((signals - centre) / spread, bought)
    return Blend(model.coef_[0] / spread, centre, len(bought), hits)
