"""Where k-means begins, and which rows a sample holds.

Seeds are drawn one after the other in proportion to the squared distance from those before (k-means++), the best of a
few trials being kept each time. An even sample is drawn *systematically*: the rows are cut into equal stretches and one
comes from each, which varies less than independent draws and reads the rows in order.
"""

from __future__ import annotations

import math

import numpy as np

from engine.clustering.rows import Centroids, IntArray
from engine.clustering.rows_cuda import Searchable
from engine.errors import DataError


class TooFewDistinctRowsError(DataError):
    """The rows hold fewer different points than centroids were asked for.

    Attributes
    ----------
    found : int
        Different rows with a weight.
    """

    def __init__(self, k: int, found: int) -> None:
        self.k = k
        self.found = found
        super().__init__(
            f"clustering.k: expected no more clusters than different rows; got k={k} for {found} different "
            f"{'row' if found == 1 else 'rows'}. Lower clustering.k, or give the rows more features."
        )

    def __reduce__(self) -> tuple[type[TooFewDistinctRowsError], tuple[int, int]]:
        """Come back whole from a worker process."""
        return type(self), (self.k, self.found)


def local_trials(k: int) -> int:
    """Candidates tried for each seed: 2 + ⌊ln k⌋, as Arthur and Vassilvitskii (2007) suggest and scikit-learn does."""
    return 2 + int(math.log(k))


def kmeans_plus_plus(rows: Searchable, k: int, *, starts: int, rng: np.random.Generator) -> list[Centroids]:
    """Draw ``starts`` sets of k seeds by greedy k-means++.

    Parameters
    ----------
    rows : ArrayRows or CudaRows
    k : int
        Seeds in a set, 1 or more.
    starts : int
        Sets to draw.
    rng : numpy.random.Generator
        Source of chance; nothing else decides.

    Returns
    -------
    list of (k, d) float64
        Each seed is a row with a weight, and no two of a set are equal.

    Raises
    ------
    TooFewDistinctRowsError
        There are fewer than k different rows with a weight.

    References
    ----------
    D. Arthur, S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.

    Examples
    --------
    >>> from engine.clustering.rows_array import ArrayRows
    >>> rows = ArrayRows([[0.0], [0.0], [5.0]])
    >>> seeds, = kmeans_plus_plus(rows, 2, starts=1, rng=np.random.default_rng(0))
    >>> sorted(seeds[:, 0].tolist())
    [0.0, 5.0]
    """
    picks = rows.seeds(rng.random((starts, k, local_trials(k))))
    if (picks < 0).any():
        found = int((picks >= 0).sum(axis=1).max())
        raise TooFewDistinctRowsError(k, found)
    return [rows.take(index).astype(np.float64) for index in picks]


def random_starts(rows: Searchable, k: int, *, starts: int, rng: np.random.Generator) -> list[Centroids]:
    """Draw ``starts`` sets of k different row numbers, uniformly among rows with a weight.

    Raises
    ------
    TooFewDistinctRowsError
        There are fewer than k rows with a weight.
    """
    eligible = np.arange(rows.n) if rows.weights is None else np.flatnonzero(rows.weights > 0)
    if len(eligible) < k:
        raise TooFewDistinctRowsError(k, len(eligible))
    p = None if rows.weights is None else rows.weights[eligible] / rows.weights[eligible].sum()
    return [
        rows.take(eligible[rng.choice(len(eligible), size=k, replace=False, p=p)]).astype(np.float64)
        for _ in range(starts)
    ]


SEEDINGS = {"k-means++": kmeans_plus_plus, "random": random_starts}
"""How starts are drawn, by scikit-learn's names."""


def draw_evenly(n: int, m: int, rng: np.random.Generator) -> IntArray:
    """Draw one row number from each of m equal stretches of n rows, in ascending order.

    Every row is drawn with probability m / n, for m up to n.

    Examples
    --------
    >>> draw_evenly(100, 4, np.random.default_rng(0)).tolist()
    [15, 31, 51, 75]
    """
    edges = (np.arange(m) + rng.random(m)) * (n / m)
    return np.minimum(edges.astype(np.int64), n - 1)
