"""What one read of the rows on a GPU is launched as: which models together, and which of their clusters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from engine.clustering.rows import IntArray
from engine.errors import DeviceError


class Launch(NamedTuple):
    """Some models that are measured together, and which of their clusters are added up.

    Attributes
    ----------
    centroids, bounds
        On the card; model m has the centroids bounds[m]..bounds[m + 1].
    offset
        Number of the first centroid among those of all models.
    low, high
        The clusters, numbered as those of all models.
    places
        Of its shared memory (:class:`engine.clustering.cuda_tiles.Places`).
    in_turns
        Whether this is one of several launches that add up one model, which is measured before the first of them.
    """

    centroids: Any
    bounds: Any
    offset: int
    low: int
    high: int
    places: Any
    in_turns: bool


def launches(bounds: IntArray, centroids: Any, d: int, itemsize: int) -> Iterator[Launch]:
    """Yield the launches that read the rows once for all models, whose centroids are on the card."""
    from engine.clustering.cuda_tiles import cuda, places_of

    for first, last, low, high in windows(bounds, d, itemsize):
        own = bounds[first : last + 1] - bounds[first]
        in_turns = high - low < int(own[-1])
        yield Launch(
            centroids=centroids[int(bounds[first]) * d : int(bounds[last]) * d],
            bounds=cuda.to_device(own),
            offset=int(bounds[first]),
            low=low,
            high=high,
            places=places_of(d, itemsize, 0 if in_turns else int(own[-1]), high - low),
            in_turns=in_turns,
        )


def windows(bounds: IntArray, d: int, itemsize: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield which models are measured together (first, last) and of which clusters they are added up (low, high).

    Of many models, or many clusters, the sums do not fit into shared memory at once.
    """
    from engine.clustering.cuda_tiles import window_of

    first = 0
    while first < len(bounds) - 1:
        last = first + 1
        while last < len(bounds) - 1:
            together = int(bounds[last + 1] - bounds[first])
            if window_of(d, itemsize, together) < together:
                break
            last += 1
        K = int(bounds[last] - bounds[first])
        room = window_of(d, itemsize, K)
        if room < K:
            # In turns no centroids lie beside the sums.
            room = min(window_of(d, itemsize, 0), K - 1)
        if room < 1:
            raise DeviceError(
                f"clustering.device=cuda: the sums of a cluster of {d} features do not fit into the shared memory of a "
                "processor. Set clustering.device=auto or cpu."
            )
        for low in range(int(bounds[first]), int(bounds[last]), room):
            yield first, last, low, min(low + room, int(bounds[last]))
        first = last
