"""Segments as numbers beside a history."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.errors import SettingError

MOST_SEGMENTS = 10_000
"""Numbers go up to this: what is counted of a segment has a row for each."""


def checked_segments(segments: NDArray[np.integer] | None, n: int) -> NDArray[np.int32]:
    """Return the segment number of each of n customers, -1 for none; all are -1 where there are no segments.

    Raises
    ------
    SettingError
        There is not one whole number, -1 or above, for each customer.

    Examples
    --------
    >>> checked_segments(np.array([2, -1]), 2).tolist(), checked_segments(None, 1).tolist()
    ([2, -1], [-1])
    """
    if segments is None:
        return np.full(n, -1, dtype=np.int32)
    of = np.asarray(segments)
    if of.shape != (n,) or not np.issubdtype(of.dtype, np.integer):
        raise SettingError(
            f"segments: expected a whole number for each of {n:,} customers (-1: none); got {of.dtype} of "
            f"shape {of.shape}."
        )
    if n and not -1 <= int(of.min()) <= int(of.max()) <= MOST_SEGMENTS:
        raise SettingError(
            f"segments: expected numbers from 0 to {MOST_SEGMENTS:,}, or -1 for none; got {int(of.min())} to "
            f"{int(of.max())}."
        )
    return of.astype(np.int32, copy=False)
