"""The table of a customer base: what is kept of a customer, what the model adds, and how an id finds its row."""

from __future__ import annotations

import bisect
import logging
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.clustering.nearest import two_nearest
from engine.errors import DataError
from engine.schema import require_columns
from engine.segments.model import SegmentModel

log = logging.getLogger(__name__)

OURS = ("cluster", "distance", "margin", "second", "novel")
"""Columns that are added to the customers' own."""


def assigned(customers: pl.DataFrame, model: SegmentModel) -> tuple[pl.DataFrame, NDArray[np.float32]]:
    """Return the customers by ascending id with :data:`OURS` as last columns, and their coordinates, shape (n, d).

    ``cluster`` and ``second`` are places in the model's segments (Int16, ``second`` -1 where there is only one),
    ``distance`` and ``margin`` Float32, ``novel`` Boolean.

    Raises
    ------
    ColumnsMissingError
        ``customer_id`` or a variable of the model is not there.
    DataError
        No customers, ids that are missing or repeat, values that cannot be, or a column named as one of ours.
    """
    frame = _checked(customers, model).sort("customer_id")
    matrix = np.ascontiguousarray(model.spec.transform(frame), dtype=np.float32)
    near = two_nearest(matrix, model.centroids)
    frame = frame.with_columns(
        cluster=pl.Series(near.first, dtype=pl.Int16),
        distance=pl.Series(near.first_distance).cast(pl.Float32),
        margin=pl.Series(near.margin if model.k > 1 else [None] * len(matrix), dtype=pl.Float64).cast(pl.Float32),
        second=pl.Series(near.second, dtype=pl.Int16),
        novel=pl.Series(model.distances.novel(near.first, near.first_distance)),
    )
    return frame.rechunk(), matrix


class SortedIds:
    """Ids in ascending order, among which one is found in microseconds without reading them all.

    Where they are numbers, the text of one will do (``"42"``); where they are text, a number stands for its digits.

    Examples
    --------
    >>> ids = SortedIds(pl.Series([3, 42, 77]))
    >>> ids.row(42), ids.row("42"), ids.row("042"), ids.row(5)
    (1, 1, None, None)
    """

    def __init__(self, ids: pl.Series) -> None:
        self._ids: Any = ids.to_numpy() if ids.dtype == pl.Int64 else ids

    def row(self, customer_id: int | str) -> int | None:
        """Return the row of an id, ``None`` where nobody has it."""
        if isinstance(customer_id, bool) or not isinstance(customer_id, int | str | np.integer):
            raise DataError(f"customer_id: expected a whole number or text; got {customer_id!r:.80}.")
        key: Any = str(customer_id)
        if isinstance(self._ids, np.ndarray):
            key = _whole(key)
            if key is None:
                return None
            row = int(np.searchsorted(self._ids, key))
        else:
            # Python orders text as Polars does: by code point, which is the order of the bytes of UTF-8.
            row = bisect.bisect_left(self._ids, key)
        return row if row < len(self._ids) and self._ids[row] == key else None


def _whole(text: str) -> np.int64 | None:
    """Return the number that is written so, ``None`` for other text: "042" is another id than 42."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and str(int(text)) == text):
        return None
    number = int(text)
    return np.int64(number) if -(2**63) <= number < 2**63 else None


def _checked(customers: pl.DataFrame, model: SegmentModel) -> pl.DataFrame:
    """Return the columns that are kept, ``customer_id`` and the model's variables first."""
    if not isinstance(customers, pl.DataFrame):
        raise DataError(f"customers: expected a Polars DataFrame; got {type(customers).__name__}.")
    require_columns(customers.columns, ["customer_id", *model.spec.names], where="customers")
    clash = [name for name in customers.columns if name in OURS]
    if clash:
        raise DataError(
            f"customers: {', '.join(clash)} would be overwritten by what the model says of a customer. Rename or leave "
            "out these columns."
        )
    if not customers.height:
        raise DataError("customers: no customer in the table.")
    ids = customers["customer_id"]
    if ids.dtype.is_integer():
        try:
            ids = ids.cast(pl.Int64)
        except pl.exceptions.InvalidOperationError:
            raise DataError("customers: a customer_id is beyond 64 bits. Give the ids as text.") from None
    elif ids.dtype != pl.String:
        raise DataError(f"customers: customer_id should be whole numbers or text; it is {ids.dtype}.")
    if ids.null_count():
        raise DataError(f"customers: customer_id is missing in {ids.null_count():,} of {len(ids):,} rows.")
    repeated = len(ids) - ids.n_unique()
    if repeated:
        raise DataError(f"customers: {repeated:,} rows repeat a customer_id. Expected one row per customer.")
    further = [name for name in customers.columns if name not in ("customer_id", *model.spec.names)]
    texts = [name for name in further if customers.schema[name] in (pl.Categorical, pl.Enum)]
    plain = [name for name in further if name in texts or _is_plain(customers.schema[name])]
    if len(plain) < len(further):
        log.info("not kept, neither numbers nor text: %s", ", ".join(name for name in further if name not in plain))
    return customers.select(ids, *model.spec.names, *(pl.col(n).cast(pl.String) if n in texts else n for n in plain))


def _is_plain(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype.is_temporal() or dtype in (pl.String, pl.Boolean)
