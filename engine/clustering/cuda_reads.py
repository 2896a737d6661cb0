"""Reads of rows on an NVIDIA GPU that add up clusters: how many warps, with which memory, one after the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from engine.clustering.cuda_launches import Launch
from engine.clustering.cuda_parts import Part

RESERVED_BYTES = 1024
"""Shared memory that the system takes of each block."""


class Reads:
    """Queues reads; nothing here waits for the card.

    Parameters
    ----------
    d, dtype, weighted
        Features of a row, their precision, and whether rows have weights.
    processors, shared_bytes
        The card's multiprocessors, and the shared memory of each.
    """

    def __init__(self, d: int, dtype: DTypeLike, weighted: bool, *, processors: int, shared_bytes: int) -> None:
        from engine.clustering.cuda_kernels import kernels_of

        self.d = d
        self.dtype = np.dtype(dtype)
        self.kernels = kernels_of(d, self.dtype == np.float64, weighted)
        self._processors, self._shared = processors, shared_bytes
        self._found: dict[int, Any] = {}
        self._sums: dict[int, Any] = {}

    def blocks_for(self, n: int, room: int = 0) -> int:
        """Return how many warps work on n rows: as many as find ``room`` bytes of shared memory, and a tile."""
        from engine.clustering.cuda_tiles import shape_of

        shape = shape_of(self.d, self.dtype.itemsize)
        warps = min(shape.warps, max(1, self._shared // (room + RESERVED_BYTES)))
        return max(1, min(self._processors * warps, -(-n // shape.tile)))

    def _room_for(self, part: Part, launch: Launch) -> Any:
        """Return memory of the card for what each block of a launch adds up."""
        from engine.clustering.cuda_tiles import UNIT, cuda

        shape = (self.blocks_for(part.n, UNIT * launch.places.end), launch.high - launch.low, self.d + 2)
        # What is queued in a place is done one after the other, and memory that is asked for is waited for.
        kept = self._sums.get(part.place)
        if kept is None or kept.size < math.prod(shape):
            kept = self._sums[part.place] = cuda.device_array(math.prod(shape), np.float64)
        return kept[: math.prod(shape)].reshape(shape)

    def add_up(self, part: Part, launch: Launch, added: Any, *, further: bool = False) -> None:
        """Queue a read of some rows, and the sum over its blocks: into ``added``, or ``further`` to what it holds."""
        from engine.clustering.cuda_moves import queue_sum
        from engine.clustering.cuda_tiles import LANES, UNIT

        found = self._room_for(part, launch)

        places, room = tuple(launch.places[:4]), UNIT * launch.places.end
        blocks, low, high = found.shape[0], launch.low - launch.offset, launch.high - launch.offset
        if launch.in_turns:
            labels, squared, parts = self._measured(part)
            if low == 0:
                self.kernels.assign[parts.shape[0], LANES, part.stream](
                    part.X, part.n, part.weights, launch.centroids, labels, squared, parts
                )
            self.kernels.add[blocks, LANES, part.stream, room](
                part.X, part.n, part.weights, labels, squared, low, high, places, found
            )
        else:
            self.kernels.step[blocks, LANES, part.stream, room](
                part.X, part.n, part.weights, launch.centroids, launch.bounds, low, high, places, found
            )
        queue_sum(found.reshape(blocks, added.size), added, part.stream, further=further)

    def forget(self) -> None:
        """Give back what is kept between reads."""
        self._found.clear()
        self._sums.clear()

    def _measured(self, part: Part) -> Any:
        """Return memory of the card for the nearest centroid and squared distance of each row of a part."""
        from engine.clustering.cuda_tiles import LANES, cuda

        # What is queued in the place of a part is done with the part that was there before.
        kept = self._found.get(part.place)
        if kept is None or kept[0].size < part.n:
            kept = self._found[part.place] = (
                cuda.device_array(part.n, np.int32),
                cuda.device_array(part.n, self.dtype),
                cuda.device_array((self.blocks_for(part.n), LANES), np.float64),
            )
        return kept
