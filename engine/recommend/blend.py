"""How much each signal counts: fitted on baskets that are known, by what was in them and what was not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError

if TYPE_CHECKING:
    from engine.recommend.kernels import Weights

ENOUGH_BOUGHT = 10_000
"""Purchases from which on the ridge penalty is weak (C = 1 as scikit-learn has it); with fewer it grows.

In made shops of some hundred customers C = 0.1 is better than 1, on Ta-Feng, with 14,000 purchases, it is worse."""

MOST_ROWS = 120_000
"""Candidates that the weights are fitted on, at most: a hundred weights need no more."""


class Blend(NamedTuple):
    """Weights of the signals.

    Attributes
    ----------
    weights, pairs
        A score is Σ_f x_f (weights_f + Σ_{g ≥ f} pairs_fg x_g) of the signals x; shapes (signals,) and
        (signals, signals), upper triangle.
    centre
        Mean of each signal over the candidates of the fit: what a reason is measured from.
    low, high
        Range of each signal at the fit. Beyond it counts as its end: what was never seen must not explode in a square.
    rows, bought
        Candidates of which a sample was fitted on, and how many of them were in the basket.
    """

    weights: NDArray[np.float64]
    pairs: NDArray[np.float64]
    centre: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    rows: int
    bought: int

    def score(self, signals: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the scores of signals, shape (…, signals)."""
        x = np.clip(signals.astype(np.float64), self.low, self.high)
        scores: NDArray[np.float64] = (x * (self.weights + x @ self.pairs.T)).sum(axis=-1)
        return scores

    def kernel_weights(self) -> Weights:
        """Return what the kernels are told."""
        from engine.recommend.kernels import Weights

        return Weights(*(a.astype(np.float32) for a in (self.weights, self.pairs, self.low, self.high)))

    def gains(self, signals: NDArray[np.floating[Any]], groups: list[list[int]]) -> NDArray[np.float64]:
        """Return what each group of signals adds to the score, against the same product with these at their mean.

        Shape (groups, …) of signals (…, signals).
        """
        without = np.repeat(signals.astype(np.float64)[None], len(groups), axis=0)
        for line, group in enumerate(groups):
            without[line][..., group] = self.centre[group]
        return self.score(signals) - self.score(without)


def fit_blend(signals: NDArray[np.float32], bought: NDArray[np.bool_], rng: np.random.Generator) -> Blend:
    """Fit a logistic regression of *was in the basket* on the signals, their squares and the products of two.

    Parameters
    ----------
    signals
        Of candidates, shape (rows, signals), finite.
    bought
        Whether each candidate was in the basket that came next.
    rng
        Of the sample where rows are many.

    Raises
    ------
    DataError
        Nothing or everything was bought: there is nothing to learn.

    Notes
    -----
    The order of a customer's products by this score is the order by the estimated odds of being in the next basket.
    A signal that says nothing on these data (buying again, where nobody does) gets a weight near 0: so the blend
    finds by itself which kind of shop it is in. Pairs let it say that being in vogue counts otherwise for what a
    customer owns; on three public sets they are worth 1 to 14 % of NDCG, and trees are no better.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    hits = int(bought.sum())
    if hits == 0 or hits == len(bought):
        raise DataError(
            f"Next basket: of {len(bought):,} products that could have been in the last baskets {hits:,} were, so no "
            "weights can be fitted. More customers with at least two baskets are needed, or more products"
            + ("; where all counts as bought once, see repurchase and once_below." if hits == 0 else ".")
        )
    chosen, weight = _sample(bought, rng)
    x = signals[chosen].astype(np.float64)
    first, second = np.triu_indices(signals.shape[1])
    centre = signals.mean(axis=0, dtype=np.float64)
    spread = signals.std(axis=0, dtype=np.float64)
    spread[spread < 1e-9] = np.inf
    z = (x - centre) / spread
    both = z[:, first] * z[:, second]
    # What is the same for all rows, or for one signal as for another, the penalty settles.
    size = both.std(axis=0)
    size[size < 1e-9] = np.inf
    model: Any = LogisticRegression(C=min(1.0, hits / ENOUGH_BOUGHT), solver="newton-cholesky", max_iter=100)
    # One thread adds up in one order: the weights do not depend on how many there are, and 120,000 rows need a second.
    with threadpool_limits(1):
        model.fit(np.hstack([z, both / size]), bought[chosen], sample_weight=weight)
    own, rest = np.split(model.coef_[0], [len(centre)])
    pairs = np.zeros((len(centre), len(centre)))
    pairs[first, second] = rest / (size * spread[first] * spread[second])
    # (x − c)ᵀ P (x − c) + w (x − c) / s, less what is the same for every product.
    low, high = signals.min(axis=0).astype(np.float64), signals.max(axis=0).astype(np.float64)
    return Blend(own / spread - centre @ (pairs + pairs.T), pairs, centre, low, high, len(bought), hits)


def _sample(bought: NDArray[np.bool_], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows to fit on and their weights: of the few that were bought a third, of the many others the rest.

    Each row stands for those of its kind that were left out; the weights have the mean 1.
    """
    rows, weights = [], []
    most = MOST_ROWS // 3
    for kind in (np.flatnonzero(bought), np.flatnonzero(~bought)):
        taken = kind if len(kind) <= most else np.sort(rng.choice(kind, most, replace=False))
        rows.append(taken)
        weights.append(np.full(len(taken), len(kind) / len(taken)))
        most = MOST_ROWS - len(taken)
    weight = np.concatenate(weights)
    return np.concatenate(rows), weight / weight.mean()
