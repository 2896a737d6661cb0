"""Four families of rows for k-means, each from its own seed.

The settings of the native solver were found on other data than these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
DATA_SEED = 2026


def blobs(n: int, d: int, k: int, rng: np.random.Generator) -> Matrix:
    """Separated groups of different sizes."""
    centres = rng.normal(size=(k, d)) * 6
    group = rng.choice(k, size=n, p=rng.dirichlet(np.full(k, 5.0)))
    return (centres[group] + rng.normal(size=(n, d))).astype(np.float32)


def rfm(n: int, d: int, k: int, rng: np.random.Generator) -> Matrix:
    """Logarithms of correlated, heavy-tailed measures, one of them a count: no gaps between customers."""
    hidden = np.stack([np.log(rng.gamma(1.5, size=n) + 1e-3), rng.normal(size=n), rng.standard_t(4, size=n)], axis=1)
    X = hidden @ rng.normal(size=(3, d)) * 0.7 + rng.normal(size=(n, d)) * 0.6
    X[:, 0] = np.log1p(rng.poisson(np.exp(np.clip(X[:, 0], -5, 6))))
    scaled: Matrix = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)
    return scaled


def rare(n: int, d: int, k: int, rng: np.random.Generator) -> Matrix:
    """Separated groups, and one row in ten thousand far from all of them."""
    X = blobs(n, d, k - 1, rng)
    far = rng.choice(n, size=max(1, n // 10_000), replace=False)
    X[far] = rng.normal(size=(len(far), d)) * 0.3 + 60
    return X


def uniform(n: int, d: int, k: int, rng: np.random.Generator) -> Matrix:
    """No groups at all."""
    return rng.random((n, d), dtype=np.float32)


FAMILIES: Mapping[str, Callable[[int, int, int, np.random.Generator], Matrix]] = {
    "blobs": blobs,
    "rfm": rfm,
    "rare": rare,
    "uniform": uniform,
}
"""Families of data by name: each returns n rows of d features, with k groups where it has groups."""
