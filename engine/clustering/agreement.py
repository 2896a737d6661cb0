"""How far two divisions of the same rows agree, whatever the numbers of their clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.clustering.indices import checked_labels
from engine.errors import DataError

_BLOCK_ROWS = 2**20
_DENSE_CELLS = 2**22


@dataclass(frozen=True, slots=True)
class Matching:
    """Which cluster of one division is which of another.

    Attributes
    ----------
    pairs : mapping of int to int
        Cluster of the first division to the cluster of the second that it is matched with, one to one. Clusters that
        found no partner with a row in common are not in it.
    kept_share : float
        Share of the rows whose two clusters are matched with each other, 0 to 1.
    """

    pairs: Mapping[int, int]
    kept_share: float


def adjusted_rand(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Agreement of two divisions of the same rows, corrected for chance: the adjusted Rand index.

    Of all pairs of rows, those that both divisions put together, less the number expected if rows were dealt at
    random to clusters of the same sizes, over the most there could be beyond it. 1 when the divisions are the same up
    to the numbers of the clusters, about 0 when one says nothing about the other; slightly negative when they agree
    less than by chance.

    Parameters
    ----------
    a, b : ndarray of integers, shape (n,)
        Cluster of each row, from 0; numbers that no row has do not matter.

    Returns
    -------
    float
        Between -0.5 and 1, the same for (b, a). Two divisions of no or of one row are the same.

    Raises
    ------
    DataError
        Different numbers of rows, or labels that are negative or no whole numbers.

    Notes
    -----
    L. Hubert and P. Arabie, "Comparing partitions", Journal of Classification 2 (1985). Counts of pairs are exact
    integers of any size; one division makes the result. Time: O(n).

    Examples
    --------
    >>> import numpy as np
    >>> adjusted_rand(np.array([0, 0, 1, 1]), np.array([7, 7, 3, 3]))
    1.0
    >>> adjusted_rand(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    -0.5
    """
    table = _table("adjusted_rand", a, b)
    both, in_a, in_b = _pairs(table.rows), _pairs(table.rows_a), _pairs(table.rows_b)
    every = _pairs(np.array([len(a)]))
    most = every * (in_a + in_b) - 2 * in_a * in_b
    # Chance has no say only where both put all rows together or both each alone: these are the same.
    return 1.0 if most == 0 else 2 * (every * both - in_a * in_b) / most


def stability(labelings: Sequence[NDArray[Any]]) -> float | None:
    """Mean agreement of several divisions of the same rows, such as those that different seeds lead to.

    Near 1: whatever was varied does not matter. Low: the division is one of many that are as good, and its segments
    should not be read as groups that exist.

    Parameters
    ----------
    labelings : sequence of ndarray of integers, each of shape (n,)
        As for :func:`adjusted_rand`.

    Returns
    -------
    float or None
        Mean of the adjusted Rand index over all pairs, -0.5 to 1. None for fewer than two divisions.

    Raises
    ------
    DataError
        As from :func:`adjusted_rand`.

    Examples
    --------
    >>> import numpy as np
    >>> halves, same, across = np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]), np.array([0, 1, 0, 1])
    >>> stability([halves, same, across])
    0.0
    """
    found = [adjusted_rand(a, b) for a, b in combinations(labelings, 2)]
    return sum(found) / len(found) if found else None


def match_clusters(a: NDArray[Any], b: NDArray[Any]) -> Matching:
    """Match the clusters of two divisions one to one so that as many rows as possible keep their cluster.

    Parameters
    ----------
    a, b : ndarray of integers, shape (n,)
        Cluster of each row, from 0. The numbers of clusters may differ; the surplus finds no partner.

    Returns
    -------
    Matching

    Raises
    ------
    DataError
        No rows, different numbers of rows, or labels that are negative or no whole numbers.

    Notes
    -----
    The assignment problem on the table of rows in common, solved exactly: O(n + k³). H. Kuhn, "The Hungarian method
    for the assignment problem", Naval Research Logistics Quarterly 2 (1955).

    Examples
    --------
    >>> import numpy as np
    >>> match_clusters(np.array([0, 0, 0, 1, 1]), np.array([5, 5, 2, 2, 2]))
    Matching(pairs={0: 5, 1: 2}, kept_share=0.8)
    """
    from scipy.optimize import linear_sum_assignment

    if not len(a):
        raise DataError("match_clusters: expected at least one row; got none.")
    table = _table("match_clusters", a, b)
    common = np.zeros((len(table.rows_a), len(table.rows_b)), np.int64)
    common[table.a, table.b] = table.rows
    first, second = linear_sum_assignment(common, maximize=True)
    kept = common[first, second]
    pairs = {
        int(table.names_a[i]): int(table.names_b[j]) for i, j, rows in zip(first, second, kept, strict=True) if rows
    }
    return Matching(pairs=pairs, kept_share=int(kept.sum()) / len(a))


class _Table(NamedTuple):
    """Rows in common of two divisions: the cells with rows, the clusters that have rows, and how many they have."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    rows: NDArray[np.int64]
    rows_a: NDArray[np.int64]
    rows_b: NDArray[np.int64]
    names_a: NDArray[Any]
    names_b: NDArray[Any]


def _table(what: str, a: NDArray[Any], b: NDArray[Any]) -> _Table:
    n = len(a)
    first, names_a, rows_a = _from_zero(checked_labels(what, a, n))
    second, names_b, rows_b = _from_zero(checked_labels(what, b, n))
    width = len(names_b)
    cells = len(names_a) * width
    if cells <= max(_DENSE_CELLS, n):
        counts = np.zeros(cells, np.int64)
        for start in range(0, n, _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            counts += np.bincount(first[block].astype(np.int64) * width + second[block], minlength=cells)
        there = np.flatnonzero(counts)
        rows = counts[there]
    else:
        there, rows = np.unique(first.astype(np.int64) * width + second, return_counts=True)
    return _Table(there // max(width, 1), there % max(width, 1), rows, rows_a, rows_b, names_a, names_b)


def _from_zero(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Return labels without gaps, the old label of each new one, and its rows."""
    if not len(labels) or labels.max() >= max(_DENSE_CELLS, len(labels)):
        names, inverse, rows = np.unique(labels, return_inverse=True, return_counts=True)
        return inverse, names, rows
    rows = np.bincount(labels)
    names = np.flatnonzero(rows)
    if len(names) == len(rows):
        return labels, names, rows
    return (np.cumsum(rows > 0) - 1)[labels], names, rows[names]


def _pairs(rows: NDArray[np.int64]) -> int:
    return sum(count * (count - 1) // 2 for count in rows.tolist())
