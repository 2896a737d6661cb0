"""Rows on their way to the memory of an NVIDIA GPU: all at once, or part after part."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from engine.clustering.rows import FloatMatrix
from engine.clustering.rows_array import ArrayRows

log = logging.getLogger(__name__)

STREAMED_BYTES = 256 * 2**20
"""Rows that are sent at a time when they do not fit into the card's memory together."""


class Part(NamedTuple):
    """Some of the rows, on the card.

    Attributes
    ----------
    first, n
        The number of the first of them, and how many there are.
    X, weights
        In tiles (:mod:`engine.clustering.cuda_tiles`); weights (n,), or (0,) for none.
    stream
        Where work on them is queued.
    place
        Which of two places on the card they take, one after the other.
    """

    first: int
    n: int
    X: Any
    weights: Any
    stream: Any
    place: int = 0


class Sender:
    """Sends rows to the card, where they lie in tiles.

    Stretches of rows go through two places in turn: while one is written into tiles, or worked on, the other is filled.
    From pinned memory the host does not wait for that.

    Parameters
    ----------
    rows
        In the memory of this process.
    at_once
        How many are sent together.
    """

    def __init__(self, rows: ArrayRows, at_once: int) -> None:
        self._rows = rows
        self._at_once = at_once
        self._pinned: Any = None
        self._streams: list[Any] = []
        self._raw: list[Any] = []
        self._tiles: list[Any] = []
        self._masses: list[Any] = []

    def whole(self) -> Part:
        """Send all rows and keep them; what is queued afterwards waits until they are there."""
        from engine.clustering.cuda_tiles import cuda, shape_of, tiled

        flat, n, d, _ = self._rows.given
        tile = shape_of(d, flat.itemsize).tile
        X = cuda.device_array(tiled(n, d, flat.itemsize), flat.dtype)
        # Stretches of whole tiles: each fills its own.
        for place, first, m in self._stretches(-(-self._at_once // tile) * tile):
            self._send(first, m, place, X[first * d : first * d + tiled(m, d, flat.itemsize)])
        return Part(0, n, X, cuda.to_device(self._rows.kernel_weights), 0)

    def release(self) -> None:
        """Give back the memory that rows are sent through, and do not pin them any longer; they may be sent again."""
        for kept in (self._raw, self._tiles, self._masses):
            kept.clear()
        self._pinned = None

    def parts(self) -> Iterator[Part]:
        """Send the rows part after part."""
        from engine.clustering.cuda_tiles import cuda, tiled

        flat, _, d, _ = self._rows.given
        weights, size = self._rows.kernel_weights, self._at_once
        self._pin(flat)
        if not self._tiles:
            # Kept for the reads to come: memory that is asked for is waited for.
            self._tiles = [cuda.device_array(tiled(size, d, flat.itemsize), flat.dtype) for _ in range(2)]
            self._masses = [cuda.device_array(size if len(weights) else 0, np.float64) for _ in range(2)]
        tiles, masses = self._tiles, self._masses
        for place, first, m in self._stretches(size):
            stream, X = self._streams[place], tiles[place][: tiled(m, d, flat.itemsize)]
            self._send(first, m, place, X)
            if len(weights):
                masses[place][:m].copy_to_device(weights[first : first + m], stream=stream)
            yield Part(first, m, X, masses[place][: m if len(weights) else 0], stream, place)
        for stream in self._streams:
            stream.synchronize()

    def _stretches(self, size: int) -> Iterator[tuple[int, int, int]]:
        """Yield place, first row and number of rows of each stretch, as soon as what was in its place is done with."""
        from engine.clustering.cuda_tiles import cuda

        flat, n, d, _ = self._rows.given
        if not self._streams:
            self._streams = [cuda.stream() for _ in range(2)]
        needed = min(size, n) * d
        if not self._raw or self._raw[0].size < needed:
            self._raw = [cuda.device_array(needed, flat.dtype) for _ in range(2)]
        for number, first in enumerate(range(0, n, size)):
            # What was queued here two stretches ago reads what is overwritten now.
            self._streams[number % 2].synchronize()
            yield number % 2, first, min(size, n - first)

    def _send(self, first: int, m: int, place: int, X: Any) -> None:
        """Queue m rows on their way into tiles."""
        from engine.clustering.cuda_moves import into_tiles
        from engine.clustering.cuda_tiles import shape_of

        flat, n, d, by_rows = self._rows.given
        raw, stream = self._raw[place][: m * d], self._streams[place]
        if by_rows:
            raw.copy_to_device(flat[first * d : (first + m) * d], stream=stream)
        else:
            for f in range(d):
                raw[f * m : (f + 1) * m].copy_to_device(flat[f * n + first : f * n + first + m], stream=stream)
        threads, tile = 256, shape_of(d, flat.itemsize).tile
        into_tiles[-(-X.size // threads), threads, stream](raw, by_rows, m, d, tile, X)

    def _pin(self, flat: FloatMatrix) -> None:
        """Let the card read the rows where they lie, from now on; memory of a file, or read only, cannot be pinned."""
        from engine.clustering.cuda_tiles import FAILURES, cuda

        if self._pinned is not None:
            return
        self._pinned = cuda.pinned(flat)
        try:
            # Left when this object is no more.
            self._pinned.__enter__()
        except (*FAILURES, BufferError, ValueError) as error:
            log.info("the rows cannot be pinned, which makes sending them slower: %s", error)


def bytes_to_stay(rows: ArrayRows, streamed_bytes: int = STREAMED_BYTES) -> int:
    """Return the memory that rows take on the card: in tiles, a label and a distance each, and while they are sent."""
    from engine.clustering.cuda_tiles import tiled

    item, weight = rows.matrix.dtype.itemsize, 8 * (rows.weights is not None)
    sent = 2 * min(streamed_bytes, rows.n * (rows.d * item + weight))
    return tiled(rows.n, rows.d, item) * item + rows.n * (weight + 12) + sent
