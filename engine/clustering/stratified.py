"""Rows drawn at random from each cluster, so many from each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK_ROWS = 2**20


def even_level(sizes: NDArray[Any], total: int) -> int:
    """Return how many rows each cluster may give, where smaller ones give all, for no more than ``total`` together.

    Examples
    --------
    >>> import numpy as np
    >>> even_level(np.array([5, 100, 100]), 45)  # 5 + 20 + 20
    20
    """
    left = total
    for rank, size in enumerate(np.sort(sizes).tolist()):
        level = left // (len(sizes) - rank)
        if size > level:
            return int(level)
        left -= size
    return int(sizes.max())


def draw_from_clusters(
    labels: NDArray[Any], sizes: NDArray[Any], wanted: NDArray[Any], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw so many rows of each cluster without replacement, each row of a cluster being as likely as another.

    Parameters
    ----------
    labels : ndarray of integers, shape (n,)
        Cluster of each row, from 0.
    sizes : ndarray of integers, shape (k,)
        Rows of each cluster.
    wanted : ndarray of integers, shape (k,)
        Rows to draw from each, at most its size.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int64
        Row numbers, cluster by cluster, ascending within each.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([1, 0, 1, 1, 0])
    >>> draw_from_clusters(labels, np.array([2, 3]), np.array([2, 3]), np.random.default_rng(0)).tolist()
    [1, 4, 0, 2, 3]
    """
    ranks = [
        np.sort(rng.choice(size, count, replace=False, shuffle=False)) if count < size else np.arange(size)
        for size, count in zip(sizes.tolist(), wanted.tolist(), strict=True)
    ]
    found: list[list[NDArray[np.int64]]] = [[] for _ in ranks]
    # Labels of one byte or two are sorted by radix; blocks bound the memory.
    narrow = np.min_scalar_type(max(len(sizes) - 1, 0))
    seen = np.zeros(len(sizes), np.int64)
    for start in range(0, len(labels), _BLOCK_ROWS):
        block = labels[start : start + _BLOCK_ROWS].astype(narrow)
        order = np.argsort(block, kind="stable")
        counts = np.bincount(block, minlength=len(sizes))
        first = np.cumsum(counts) - counts
        for j in np.flatnonzero(counts):
            low, high = np.searchsorted(ranks[j], [seen[j], seen[j] + counts[j]])
            found[j].append(start + order[first[j] + ranks[j][low:high] - seen[j]])
        seen += counts
    return np.concatenate([part for parts in found for part in parts])
