"""One customer's values to coordinates: the way of the matrix without a matrix, in microseconds."""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import DataError

if TYPE_CHECKING:
    from engine.features.matrix import FeatureColumn

LARGEST = sys.float_info.max
FARTHEST = float(np.finfo(np.float32).max)


class OneCustomer:
    """Fitted columns made ready for one customer at a time.

    Parameters
    ----------
    columns
        In the matrix's order.

    Examples
    --------
    >>> from engine.features.matrix import FeatureColumn
    >>> column = FeatureColumn("visits", "none", "standard", "median", 1.0, fill=3.0, center=2.0, spread=4.0)
    >>> OneCustomer([column]).coordinates({"visits": 4})
    [0.5]
    """

    __slots__ = ("_columns", "_known", "_names")

    def __init__(self, columns: Sequence[FeatureColumn]) -> None:
        self._columns = tuple(map(_prepared, columns))
        self._names = tuple(column.name for column in columns)
        self._known = frozenset(self._names)

    def coordinates(self, values: Mapping[str, Any], *, impute: bool = False) -> list[float]:
        """Return the customer's row of the matrix, to the last bit: plain numbers that float32 can hold.

        What it takes and raises is said at :meth:`engine.features.matrix.FeatureSpec.row`.
        """
        if not self._known.issuperset(values):
            unknown = [name for name in values if name not in self._known]
            raise DataError(
                f"customer: unknown {', '.join(map(repr, unknown))}; this model takes {', '.join(self._names)}."
            )
        coordinates = []
        for name, logarithm, low, high, fill, center, spread, factor in self._columns:
            number = values.get(name)
            if number is None and impute:
                number = fill
            if type(number) is not float:
                number = self._number(name, number, values)
            if not low <= number <= high:
                raise DataError(f"customer: {name} should be {_within(low, high)}; got {values.get(name)!r}.")
            # NumPy's logarithm, as for the matrix: that of the standard library may differ in the last bit.
            shaped = float(np.log1p(number)) if logarithm else number
            coordinates.append((shaped - center) / spread * factor)
        if max(map(abs, coordinates), default=0.0) > FARTHEST:
            name = next(n for n, x in zip(self._names, coordinates, strict=True) if abs(x) > FARTHEST)
            raise DataError(
                f"customer: {name}={values.get(name)!r} is too far from the customers of the fit for a distance. "
                "Correct the value."
            )
        form = f"{len(coordinates)}f"
        return list(struct.unpack(form, struct.pack(form, *coordinates)))

    def _number(self, name: str, value: Any, values: Mapping[str, Any]) -> float:
        """Return a value that is no plain float as one, infinite where it is too large, or say what is wrong."""
        if value is None:
            missing = [name for name in self._names if values.get(name) is None]
            raise DataError(f"customer: no value for {', '.join(missing)}; this model needs {', '.join(self._names)}.")
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise DataError(f"customer: {name} should be a number; got {value!r}.")
        try:
            return float(value)
        except OverflowError:
            return math.inf


def _prepared(column: FeatureColumn) -> tuple[str, bool, float, float, float, float, float, float]:
    """Return name, whether its logarithm is taken, lowest, highest, fill, center, spread, root of the weight."""
    low, high = column.limits
    # Infinity is beyond every limit, and within them is nothing that is no number.
    ends = max(low, -LARGEST), min(high, LARGEST)
    log = column.transform == "log"
    return column.name, log, *ends, column.fill, column.center, column.spread, math.sqrt(column.weight)


def _within(low: float, high: float) -> str:
    if high < LARGEST:
        return f"a number from {low:g} to {high:g}"
    return f"a finite number of at least {low:g}" if low > -LARGEST else "a finite number"
