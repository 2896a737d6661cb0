"""The nearest rows, by looking at every pair."""

from __future__ import annotations

import math

import numpy as np


def nearest(queries: np.ndarray, vectors: np.ndarray, ids: np.ndarray, k: int) -> tuple[list[list[int]], np.ndarray]:
    """Return ids and float32 distances of the k nearest; of equal distances the lower id is nearer."""
    found, distances = [], []
    for query in queries.tolist():
        pairs = []
        for vector, label in zip(vectors.tolist(), ids.tolist(), strict=True):
            square = 0.0
            for a, b in zip(query, vector, strict=True):
                square += (b - a) ** 2
            pairs.append((np.float32(math.sqrt(square)), label))
        pairs.sort()
        found.append([label for _, label in pairs[:k]])
        distances.append([distance for distance, _ in pairs[:k]])
    return found, np.array(distances, dtype=np.float32).reshape(len(queries), -1)
