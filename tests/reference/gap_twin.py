"""The gap statistic as its paper writes it: dispersion from all pairs within a cluster, then means of logarithms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from numpy.typing import NDArray


def dispersion_over_pairs(matrix: NDArray, labels: NDArray) -> float:
    """W_k: for each cluster, the squared distances of all its ordered pairs over twice its size."""
    total = 0.0
    for cluster in set(labels.tolist()):
        rows = matrix[labels == cluster].astype(float)
        total += sum(math.dist(x, y) ** 2 for x in rows for y in rows) / (2 * len(rows))
    return total


def gap_of(data: NDArray, references: Sequence[NDArray], divide: Callable[[NDArray], NDArray]) -> tuple[float, float]:
    logs = [math.log(dispersion_over_pairs(points, divide(points))) for points in references]
    mean = sum(logs) / len(logs)
    sd = math.sqrt(sum((one - mean) ** 2 for one in logs) / len(logs))
    return mean - math.log(dispersion_over_pairs(data, divide(data))), sd * math.sqrt(1 + 1 / len(logs))
