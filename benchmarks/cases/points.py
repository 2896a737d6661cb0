"""Four families of rows for k-means, each from its own seed.

The settings of the native solver were found on other data than these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
DATA_SEED = 2026
LABEL_TOLERANCE = 1e-3
"""How much more the labels' own sum of squares may be than that of the nearest centroids: float32 ties, no more."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What a contestant is given: rows in memory, float32 in C order, and how many clusters."""

    matrix: Matrix
    k: int


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


def write_rows(folder: str, family: str, n: int, d: int, k: int, seed: int) -> None:
    """Write the rows of a family to a new folder."""
    rng = np.random.default_rng([DATA_SEED, seed])
    Path(folder).mkdir(parents=True)
    np.save(Path(folder) / "rows.npy", FAMILIES[family](n, d, k, rng))


def read_rows(folder: str, k: int) -> Rows:
    """Read the rows into memory."""
    return Rows(np.load(Path(folder) / "rows.npy", allow_pickle=False), k)


def judge_clustering(given: Rows, answer: tuple[Any, Any], threads: int) -> tuple[dict[str, Any], str | None]:
    """Measure the inertia, and check that every row has the label of its nearest centroid."""
    from engine.clustering.quality import inertia

    (n, d), k = given.matrix.shape, given.k
    centroids, labels = np.asarray(answer[0], dtype=np.float64), np.asarray(answer[1])
    if centroids.shape != (k, d) or not np.isfinite(centroids).all():
        return {}, f"expected {k} finite centroids of {d} features; got shape {centroids.shape}"
    if labels.shape != (n,) or labels.min() < 0 or labels.max() >= k:
        return {}, f"expected {n} labels from 0 to {k - 1}; got shape {labels.shape}"
    found = inertia(given.matrix, centroids, threads=threads)
    by_labels = 0.0
    for first in range(0, n, 100_000):
        rows = slice(first, first + 100_000)
        difference = given.matrix[rows].astype(np.float64) - centroids[labels[rows]]
        by_labels += float(np.einsum("ij,ij->", difference, difference))
    facts = {"inertia": found, "clusters": int(np.count_nonzero(np.bincount(labels, minlength=k)))}
    if by_labels > found * (1 + LABEL_TOLERANCE):
        return facts, f"labels are not those of the nearest centroids: {by_labels / found:.4f} times the inertia"
    return facts, None
