"""Whether rows can be clustered, and into so many clusters: what every backend needs, checked once for all."""

from __future__ import annotations

import math
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError, SettingError


def checked_matrix(matrix: NDArray[Any]) -> NDArray[np.float32]:
    """Return the rows as float32 in C order, or raise :class:`DataError` where they cannot be clustered."""
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise DataError(
            f"clustering: expected rows (customers, features) with at least one of each; got {matrix.shape}. "
            f"Loosen where=, the window or the features, so that customers remain."
        )
    with np.errstate(over="ignore"):
        X = np.ascontiguousarray(matrix, dtype=np.float32)
    # Both extremes are NaN where any value is: no mask as large as the rows is needed.
    largest = max(float(X.max()), -float(X.min()))
    if not math.isfinite(largest):
        bad = np.count_nonzero(~np.isfinite(X), axis=0)
        told = ", ".join(f"column {column} has {bad[column]}" for column in np.flatnonzero(bad))
        raise DataError(
            f"clustering: expected finite float32 values; {told} that are NaN or infinite among {len(X)} rows. "
            f"Impute or leave out these features."
        )
    if X.size * largest**2 > float(np.finfo(np.float32).max):
        raise DataError(
            f"clustering: with values as large as {largest:.3g} the squared distances are beyond float32, in which "
            f"libraries add them up. Scale the features (features: log or standard)."
        )
    return X


def check_k(matrix: NDArray[np.float32], k: int) -> None:
    """Raise unless k clusters can be made of these rows."""
    check_k_value(k)
    found = distinct_rows(matrix, k)
    if found < k:
        raise too_few_distinct(len(matrix), found, k)


def check_k_value(k: int) -> None:
    """Raise :class:`SettingError` unless k is a whole number of at least 1."""
    try:
        whole = index(k)
    except TypeError:
        whole = 0
    if whole < 1 or isinstance(k, bool):
        raise SettingError(f"clustering.k: expected a whole number of at least 1; got {k!r}.")


def too_few_distinct(rows: int, found: int, k: int) -> DataError:
    """Return the error for k clusters of rows among which only ``found`` differ."""
    if rows == 1:
        told = "there is one customer"
    elif found == 1:
        told = f"all {rows} customers are equal in every feature"
    else:
        told = f"among {rows} customers only {found} differ in some feature"
    return DataError(
        f"clustering: {k} clusters were asked for, but {told}. "
        f"Set clustering.k to at most {found}, or use more customers or features that differ."
    )


def distinct_rows(matrix: NDArray[np.float32], at_most: int) -> int:
    """Return how many rows differ, counting no further than ``at_most``.

    Exact, and quick where rows differ: blocks are read from the front until enough have been seen.

    Examples
    --------
    >>> import numpy as np
    >>> distinct_rows(np.array([[0.0], [-0.0], [1.0], [2.0]], dtype=np.float32), 10)
    3
    """
    whole_row = np.dtype((np.void, matrix.shape[1] * matrix.itemsize))
    seen = np.empty(0, whole_row)
    start, block = 0, max(1_024, 2 * at_most)
    while start < len(matrix) and len(seen) < at_most:
        # Adding zero turns -0.0 into 0.0: equal numbers then have equal bytes.
        rows = np.ascontiguousarray(matrix[start : start + block] + np.float32(0.0))
        seen = np.unique(np.concatenate([seen, rows.view(whole_row).ravel()]))
        start, block = start + block, min(4 * block, 262_144)
    return min(len(seen), at_most)
