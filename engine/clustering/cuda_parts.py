"""Rows on their way to the memory of an NVIDIA GPU: all at once, or part after part."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from engine.clustering.rows import FloatMatrix
from engine.clustering.rows_array import ArrayRows

log = logging.getLogger(__name__)


class Part(NamedTuple):
    """Some of the rows, on the card.

    Attributes
    ----------
    first, n
        The number of the first of them, and how many there are.
    X, weights
        Flat, by columns; weights (n,), or (0,) for none.
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
    """Sends rows to the card, where they lie by columns.

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

    def whole(self) -> Part:
        """Send all rows and keep them."""
        from engine.clustering.cuda_kernels import cuda

        flat, n, d, by_rows = self._rows.given
        weights = cuda.to_device(self._rows.kernel_weights)
        if not by_rows:
            return Part(0, n, cuda.to_device(flat), weights, 0)
        X = cuda.device_array(n * d, flat.dtype)
        for first in range(0, n, self._at_once):
            last = min(n, first + self._at_once)
            self._turn(cuda.to_device(flat[first * d : last * d]), n, first, X, 0)
        cuda.synchronize()
        return Part(0, n, X, weights, 0)

    def parts(self) -> Iterator[Part]:
        """Send the rows part after part, into two places in turn: while one is worked on the other is filled."""
        from engine.clustering.cuda_kernels import cuda

        flat, n, d, by_rows = self._rows.given
        weights, size = self._rows.kernel_weights, self._at_once
        self._pin(flat)
        streams = [cuda.stream() for _ in range(2)]
        columns, rows = ([cuda.device_array(size * d, flat.dtype) for _ in streams] for _ in range(2))
        masses = [cuda.device_array(size if len(weights) else 0, np.float64) for _ in streams]
        for number, first in enumerate(range(0, n, size)):
            place, last = number % 2, min(n, first + size)
            stream, m = streams[place], last - first
            # What was queued here two parts ago reads what is overwritten now.
            stream.synchronize()
            X = columns[place][: m * d]
            if by_rows:
                rows[place][: m * d].copy_to_device(flat[first * d : last * d], stream=stream)
                self._turn(rows[place][: m * d], m, 0, X, stream)
            else:
                for f in range(d):
                    X[f * m : (f + 1) * m].copy_to_device(flat[f * n + first : f * n + last], stream=stream)
            if len(weights):
                masses[place][:m].copy_to_device(weights[first:last], stream=stream)
            yield Part(first, m, X, masses[place][: m if len(weights) else 0], stream, place)
        for stream in streams:
            stream.synchronize()

    def _turn(self, rows: Any, n: int, first: int, X: Any, stream: Any) -> None:
        """Write rows that came one after the other by columns."""
        from engine.clustering.cuda_moves import by_columns

        threads = 256
        by_columns[-(-rows.size // threads), threads, stream](rows, self._rows.d, n, first, X)

    def _pin(self, flat: FloatMatrix) -> None:
        """Let the card read the rows where they lie, from now on; memory of a file, or read only, cannot be pinned."""
        from engine.clustering.cuda_kernels import FAILURES, cuda

        if self._pinned is not None:
            return
        self._pinned = cuda.pinned(flat)
        try:
            # Left when this object is no more.
            self._pinned.__enter__()
        except (*FAILURES, BufferError, ValueError) as error:
            log.info("the rows cannot be pinned, which makes sending them slower: %s", error)
