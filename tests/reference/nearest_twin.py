"""The two nearest centroids, the novelty and the classification of customers, one at a time and as they are defined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl


def two_nearest(rows: Any, centroids: Any) -> list[tuple[int, int, float, float]]:
    """Nearest, second (-1 where there is none) and both distances of each row, in float64, column after column."""
    answers = []
    for row in np.asarray(rows).astype(np.float64).tolist():
        squares = []
        for centroid in np.asarray(centroids, dtype=np.float64).tolist():
            total = 0.0
            for x, c in zip(row, centroid, strict=True):
                total = total + (x - c) * (x - c)
            squares.append(total)
        order = sorted(range(len(squares)), key=lambda c: (squares[c], c))
        second = order[1] if len(order) > 1 else -1
        after = squares[second] if second >= 0 else math.inf
        answers.append((order[0], second, math.sqrt(squares[order[0]]), math.sqrt(after)))
    return answers


def nearer(fitted: Sequence[float], distance: float) -> float:
    """The share of the fitted distances that are smaller."""
    return sum(known < distance for known in fitted) / len(fitted)


def classify(model: Any, customer: dict[str, float]) -> dict[str, Any]:
    """One customer as a table of one row, through the steps that a base takes."""
    (near,) = two_nearest(model.spec.transform(pl.DataFrame([customer])), model.centroids)
    first, second, distance, after = near
    where = np.array([first]), np.array([distance])
    return {
        "segment": model.segments[first],
        "second": None if second < 0 else model.segments[second],
        "distance": distance,
        "margin": None if second < 0 else 1.0 - distance / after if after > 0 else 0.0,
        "distance_percentile": float(model.distances.percentile(*where)[0]),
        "novel": bool(model.distances.novel(*where)[0]),
    }
