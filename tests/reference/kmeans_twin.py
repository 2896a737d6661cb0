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


def read(X, centroids, weights=None):
    """Labels, squared distances, counts, sums and sse of one read; for many rows, one centroid at a time."""
    X = np.asarray(X, dtype=np.float64)
    weights = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=np.float64)
    squared = np.stack([((X - centre) ** 2).sum(axis=1) for centre in np.asarray(centroids, dtype=np.float64)], axis=1)
    labels = squared.argmin(axis=1)
    nearest = squared[np.arange(len(X)), labels]
    own = [labels == cluster for cluster in range(len(centroids))]
    counts = np.array([weights[rows].sum() for rows in own])
    sums = np.array([weights[rows] @ X[rows] for rows in own])
    sse = np.array([weights[rows] @ nearest[rows] for rows in own])
    return labels, nearest, counts, sums, sse


def farthest(labels, squared, k, weights=None):
    """The first of the farthest rows with a weight of each cluster, -1 for a cluster without."""
    found = np.full(k, -1)
    for cluster in range(k):
        rows = np.flatnonzero((labels == cluster) & (True if weights is None else np.asarray(weights) > 0))
        if len(rows):
            found[cluster] = rows[squared[rows].argmax()]
    return found


def greedy_seeds(X, weights, shares):
    """Row numbers of greedy k-means++, from uniform numbers (k, trials); -1 from where nothing is left to draw."""
    X = np.asarray(X, dtype=np.float64)
    near = np.ones(len(X))
    picks = np.full(len(shares), -1)
    for seed, drawn in enumerate(shares):
        mass = np.cumsum(weights * near)
        if mass[-1] <= 0:
            break
        if seed == 0:
            drawn, near = drawn[:1], np.full(len(X), np.inf)
        candidates = np.searchsorted(mass, drawn * mass[-1], side="right")
        after = [np.minimum(near, ((X - X[row]) ** 2).sum(axis=1)) for row in candidates]
        best = int(np.argmin([weights @ each for each in after]))
        picks[seed], near = candidates[best], after[best]
    return picks


def _moved(X, weights, centroids, moves):
    """Centroids after some moves, or when none moves any more; a cluster without rows stays where it is."""
    for _ in range(moves):
        _, _, counts, sums, _ = read(X, centroids, weights)
        after = centroids.copy()
        after[counts > 0] = sums[counts > 0] / counts[counts > 0, np.newaxis]
        if (after == centroids).all():
            break
        centroids = after
    return centroids


def _breathed_out(X, weights, centroids, k):
    """The k centroids that are left when those go whose rows lose least; the nearest of one that goes may stay."""
    squared = np.stack([((X - centre) ** 2).sum(axis=1) for centre in centroids], axis=1)
    ordered = np.sort(squared, axis=1)
    loss = np.bincount(squared.argmin(axis=1), weights * (ordered[:, 1] - ordered[:, 0]), len(centroids))
    here, frozen = list(range(len(centroids))), set()
    for spare_neighbours in (True, False):
        for cluster in np.argsort(loss, kind="stable"):
            if len(here) == k or cluster not in here or (spare_neighbours and cluster in frozen):
                continue
            here.remove(cluster)
            gaps = ((centroids[here] - centroids[cluster]) ** 2).sum(axis=1)
            frozen.add(here[int(gaps.argmin())])
    return centroids[here]


def breathe(X, weights, centroids, noise, width, moves_in, moves_out, better):
    """Breathing k-means: the best centroids that were met, and the number of breaths."""
    k, d = centroids.shape
    best, best_inertia, tried, rounds = centroids, np.inf, centroids, 0
    while True:
        inertia = read(X, tried, weights)[4].sum()
        if rounds and not inertia < best_inertia * (1 - better):
            width -= 1
        if inertia < best_inertia:
            best, best_inertia = tried, inertia
        if width == 0:
            return best, rounds
        _, _, counts, _, sse = read(X, best, weights)
        worst = np.argsort(-sse)[:width]
        spread = np.sqrt(sse[worst] / counts[worst] / d)
        more = np.concatenate([best, best[worst] + spread[:, np.newaxis] * noise])
        tried = _moved(X, weights, _breathed_out(X, weights, _moved(X, weights, more, moves_in), k), moves_out)
        rounds += 1
