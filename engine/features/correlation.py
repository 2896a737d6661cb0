"""Features that say the same thing: each squared distance counts what they share once per feature.

Pearson's correlation of the scaled matrix, the space that is clustered; a weight does not change it. One pass in
blocks, each block's mean and centred products merged as in T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for
computing the sample variance", The American Statistician 37 (1983), so that a large mean cancels nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import SettingError
from engine.features.store import FEATURES
from engine.schema import Word

THRESHOLD = 0.9
"""From here on two features have at least 81 % of their variance in common."""

FEWEST_CUSTOMERS = 10
"""With fewer, a high correlation is chance: of 10 customers, two unrelated features reach 0.9 once in 2,000 times."""

BLOCK_BYTES = 4 << 20
"""Size of a block in float64: it stays in cache while its products are taken."""


@dataclass(frozen=True, slots=True)
class CorrelatedPair:
    """Two features that nearly say the same thing.

    Attributes
    ----------
    first, second
        Names of the features, in the order of the matrix.
    correlation
        Pearson's, from -1 to 1; below 0 where one is high when the other is low.
    """

    first: str
    second: str
    correlation: float

    @property
    def warning(self) -> Word:
        """What a reader must know, and what to do.

        Examples
        --------
        >>> print(CorrelatedPair("frequency", "units", 0.953).warning.en)
        “Frequency” says nearly the same as “Units” (correlation 0.95): what they share counts double in the segments. \
Leave one out (features.columns), or give both less weight (features.per_column).
        """
        # Cut and not rounded: 0.996 is not 1.
        figure = f"{math.trunc(self.correlation * 100) / 100:.2f}".replace("-", "−")
        a, b = _label(self.first), _label(self.second)
        return Word(
            f"“{a.en}” says nearly the same as “{b.en}” (correlation {figure}): what they share counts double in "
            "the segments. Leave one out (features.columns), or give both less weight (features.per_column).",
            f"«{a.es}» dice casi lo mismo que «{b.es}» (correlación {figure.replace('.', ',')}): lo que tienen en "
            "común pesa el doble al formar los segmentos. Conviene prescindir de una de las dos medidas "
            "(features.columns) o dar menos peso a ambas (features.per_column).",
        )


def correlated_pairs(
    matrix: NDArray[np.float32], names: Sequence[str], *, threshold: float = THRESHOLD
) -> list[CorrelatedPair]:
    """Return the pairs of features whose correlation is at least the threshold, in either direction.

    Parameters
    ----------
    matrix
        Shape (n, d), finite, scaled as it is clustered. Read once; beside it a few MiB are used.
    names
        One for each column.
    threshold
        Absolute correlation, above 0 and up to 1.

    Returns
    -------
    list of CorrelatedPair
        The strongest first. A column that is the same for everybody is in no pair. Empty below
        :data:`FEWEST_CUSTOMERS` rows.

    Raises
    ------
    SettingError
        An impossible threshold.

    Examples
    --------
    >>> orders = np.arange(12, dtype=np.float32)
    >>> matrix = np.column_stack([orders, -2 * orders, orders % 3])
    >>> correlated_pairs(matrix, ["frequency", "recency_days", "units"])
    [CorrelatedPair(first='frequency', second='recency_days', correlation=-1.0)]
    """
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise SettingError(f"threshold: expected a correlation above 0 and up to 1; got {threshold!r}.")
    if len(matrix) < FEWEST_CUSTOMERS:
        return []
    table = _correlations(matrix)
    pairs = [
        CorrelatedPair(names[i], names[j], float(table[i, j]))
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if abs(table[i, j]) >= threshold
    ]
    return sorted(pairs, key=lambda pair: -abs(pair.correlation))


def _correlations(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the (d, d) correlations with zeros on the diagonal and beside a constant column."""
    n, d = matrix.shape
    size = max(1, BLOCK_BYTES // (8 * d))
    mean, products = np.zeros(d), np.zeros((d, d))
    for start in range(0, n, size):
        columns = np.ascontiguousarray(matrix[start : start + size].T, dtype=np.float64)  # (d, rows)
        rows = columns.shape[1]
        center = columns.mean(axis=1)
        columns -= center[:, None]
        step = center - mean
        products += np.outer(step, step) * (start * rows / (start + rows))
        mean += step * (rows / (start + rows))
        for i in range(d):
            # Not a matrix product: BLAS may add up in another order with other threads.
            products[i, i:] += (columns[i] * columns[i:]).sum(axis=1)
    # Exactly 0 where all values are equal: float32 values of a block add up in float64 without rounding.
    varies = products.diagonal() > 0
    deviation = np.sqrt(np.where(varies, products.diagonal(), 1.0))
    upper = np.triu(products, 1) / np.outer(deviation, deviation)
    upper[~np.outer(varies, varies)] = 0.0
    table: NDArray[np.float64] = (upper + upper.T).clip(-1.0, 1.0)
    return table


def _label(name: str) -> Word:
    return FEATURES[name].label if name in FEATURES else Word(name, name)
