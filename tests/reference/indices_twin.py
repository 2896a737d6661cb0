"""Figures of a clustering as their definitions read: row by row and pair by pair, nothing clever."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def total_scatter_in_fractions(matrix: NDArray) -> float:
    total = Fraction(0)
    for column in matrix.T:
        values = [Fraction(float(value)) for value in column]
        mean = sum(values) / len(values)
        total += sum((value - mean) ** 2 for value in values)
    return float(total)


def inertia_of_labels(matrix: NDArray, labels: NDArray) -> float:
    return math.fsum(
        float(np.sum((row - members.mean(axis=0)) ** 2))
        for members in _clusters(matrix, labels).values()
        for row in members
    )


def davies_bouldin_by_pairs(matrix: NDArray, labels: NDArray) -> float:
    members = _clusters(matrix, labels)
    centre = {j: rows.mean(axis=0) for j, rows in members.items()}
    width = {j: sum(math.dist(row, centre[j]) for row in rows) / len(rows) for j, rows in members.items()}
    worst = [max((width[i] + width[j]) / math.dist(centre[i], centre[j]) for j in members if j != i) for i in members]
    return sum(worst) / len(worst)


def silhouette_all_pairs(matrix: NDArray, labels: NDArray) -> float:
    values = []
    for i, x in enumerate(matrix.astype(float)):
        to = {
            int(cluster): [
                math.dist(x, y) for j, y in enumerate(matrix.astype(float)) if labels[j] == cluster and j != i
            ]
            for cluster in set(labels)
        }
        own = to.pop(int(labels[i]))
        a = sum(own) / len(own) if own else 0.0
        b = min(sum(distances) / len(distances) for distances in to.values())
        values.append((b - a) / max(a, b) if own and max(a, b) > 0 else 0.0)
    return sum(values) / len(values)


def _clusters(matrix: NDArray, labels: NDArray) -> dict[int, NDArray]:
    return {int(j): matrix[labels == j].astype(np.float64) for j in set(labels.tolist())}
