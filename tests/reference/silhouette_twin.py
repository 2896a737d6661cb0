"""The silhouette as its definition reads: every pair of rows, nothing clever."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def silhouette_all_pairs(matrix: NDArray, labels: NDArray) -> float:
    rows = [np.asarray(row, np.float64) for row in matrix]
    values = []
    for i, x in enumerate(rows):
        mean_square = {}
        for cluster in set(labels.tolist()):
            others = [rows[j] for j in range(len(rows)) if labels[j] == cluster and j != i]
            if others:
                mean_square[cluster] = sum(float(np.sum((x - y) ** 2)) for y in others) / len(others)
        if labels[i] not in mean_square:
            values.append(0.0)
            continue
        a = mean_square.pop(labels[i])
        b = min(mean_square.values())
        values.append((b - a) / max(a, b) if max(a, b) > 0 else 0.0)
    return sum(values) / len(values)
