"""Segments as numbers beside a history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.errors import SettingError

MOST_SEGMENTS = 10_000
"""Numbers go up to this: what is counted of a segment has a row for each."""

if TYPE_CHECKING:
    from engine.recommend.baskets import Baskets


def checked_segments(history: Baskets, segments: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the segment number of each customer, -1 for none.

    Raises
    ------
    SettingError
        There is not one whole number, -1 or above, for each customer.
    """
    of = np.asarray(segments)
    if of.shape != (history.n,) or not np.issubdtype(of.dtype, np.integer):
        raise SettingError(
            f"segments: expected a whole number for each of {history.n:,} customers (-1: none); got {of.dtype} of "
            f"shape {of.shape}."
        )
    if len(of) and not -1 <= int(of.min()) <= int(of.max()) <= MOST_SEGMENTS:
        raise SettingError(
            f"segments: expected numbers from 0 to {MOST_SEGMENTS:,}, or -1 for none; got {int(of.min())} to "
            f"{int(of.max())}."
        )
    return of
