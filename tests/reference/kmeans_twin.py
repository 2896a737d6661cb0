"""k-means as a first lecture states it: float64, one row at a time, nothing shared with the engine."""

from __future__ import annotations

import numpy as np


def squared_distances(X, centroids):
    return np.array(
        [
            [sum((float(x) - float(c)) ** 2 for x, c in zip(row, centre, strict=True)) for centre in centroids]
            for row in X
        ]
    )


def stats(X, centroids, weights=None):
    """Counts, sums, squared distances and farthest row of each cluster."""
    weights = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=np.float64)
    k, d = np.shape(centroids)
    counts, sums, sse = np.zeros(k), np.zeros((k, d)), np.zeros(k)
    farthest, far = np.full(k, -1), np.full(k, -1.0)
    for number, row in enumerate(squared_distances(X, centroids)):
        cluster = int(np.argmin(row))
        counts[cluster] += weights[number]
        sums[cluster] += weights[number] * np.asarray(X[number], dtype=np.float64)
        sse[cluster] += weights[number] * row[cluster]
        if weights[number] > 0 and row[cluster] > far[cluster]:
            farthest[cluster], far[cluster] = number, row[cluster]
    return counts, sums, sse, farthest


def lloyd(X, centroids, moves):
    """Centroids after a number of moves; no cluster may become empty."""
    centroids = np.array(centroids, dtype=np.float64)
    for _ in range(moves):
        counts, sums, _, _ = stats(X, centroids)
        centroids = sums / counts[:, np.newaxis]
    return centroids


def best_inertia(X, k):
    """Lowest inertia of any partition of a few rows into k clusters, by trying them all."""
    X = np.asarray(X, dtype=np.float64)

    def partitions(number, used):
        if number == len(X):
            yield []
            return
        for cluster in range(min(used + 1, k)):
            for rest in partitions(number + 1, max(used, cluster + 1)):
                yield [cluster, *rest]

    def cost(labels):
        labels = np.array(labels)
        return sum(((X[labels == c] - X[labels == c].mean(axis=0)) ** 2).sum() for c in set(labels.tolist()))

    return min(cost(labels) for labels in partitions(0, 0))
