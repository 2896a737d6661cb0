"""From the customer table to the matrix that is clustered, and back.

A :class:`FeatureSpec` holds everything learned from the data (fill values, centres, spreads), so that a customer who
comes later is seen with the same eyes. Each value goes through ``fill → log1p or nothing → (value - centre) / spread
→ × √weight``, in float64, and becomes float32 only then: values near 1e9 with a small spread lose nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.features.one_customer import OneCustomer
from engine.features.store import FEATURES
from engine.schema import require_columns

TRANSFORMS = ("log", "none")
SCALES = ("standard", "robust", "none")
IMPUTES = ("median", "zero", "refuse")


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """How to treat a column before it is clustered.

    Attributes
    ----------
    transform
        ``log`` takes log(1 + x), which tames the long tails of money and counts (values must be ≥ 0; features that
        can be negative by definition stay as they are); ``none`` leaves them.
    scale
        ``standard`` divides by the standard deviation around the mean, ``robust`` by the interquartile range around
        the median, ``none`` only centres.
    impute
        What stands for a missing value: the ``median``, ``zero``, or ``refuse`` to go on.
    weight
        Factor on the squared distance along this column, above 0.
    """

    transform: str = "log"
    scale: str = "standard"
    impute: str = "median"
    weight: float = 1.0

    def __post_init__(self) -> None:
        for key, allowed in (("transform", TRANSFORMS), ("scale", SCALES), ("impute", IMPUTES)):
            if getattr(self, key) not in allowed:
                raise SettingError.from_unknown(f"features.{key}", getattr(self, key), allowed)
        if isinstance(self.weight, bool) or not isinstance(self.weight, int | float):
            raise SettingError(f"features.weight: expected a number above 0; got {self.weight!r}.")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise SettingError(f"features.weight: expected a number above 0; got {self.weight!r}.")


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """The columns to cluster on, with one treatment for all and exceptions by column.

    Examples
    --------
    >>> FeatureSet(("frequency", "monetary"), per_column={"monetary": {"weight": 2}}).of("monetary").weight
    2
    """

    columns: tuple[str, ...]
    settings: FeatureSettings = field(default_factory=FeatureSettings)
    per_column: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(isinstance(name, str) for name in self.columns):
            raise SettingError(f"features.columns: expected names of columns; got {list(self.columns)!r}.")
        if not self.columns:
            raise SettingError("features.columns: expected at least one column; got none.")
        repeated = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if repeated:
            raise SettingError(f"features.columns: {', '.join(repeated)} named more than once.")
        for name, exceptions in self.per_column.items():
            if name not in self.columns:
                raise SettingError.from_unknown("features.per_column", name, self.columns)
            for key in exceptions:
                if key not in FeatureSettings.__dataclass_fields__:
                    raise SettingError.from_unknown(
                        f"features.per_column.{name}", key, FeatureSettings.__dataclass_fields__
                    )

    def of(self, name: str) -> FeatureSettings:
        """Return the treatment of one column.

        A feature that can be negative takes no part in the set's ``log``; an exception in ``per_column`` stands above
        that.

        Examples
        --------
        >>> both = FeatureSet(("frequency", "trend_quarter"))
        >>> both.of("frequency").transform, both.of("trend_quarter").transform
        ('log', 'none')
        """
        treatment = asdict(self.settings)
        if treatment["transform"] == "log" and name in FEATURES and FEATURES[name].minimum < 0:
            treatment["transform"] = "none"
        return FeatureSettings(**{**treatment, **self.per_column.get(name, {})})


@dataclass(frozen=True, slots=True)
class FeatureColumn:
    """One fitted column: its treatment and what was learned from the data.

    Attributes
    ----------
    fill
        Value that stands for a missing one, in business units.
    center, spread
        Of the transformed values; ``spread`` is above 0.
    """

    name: str
    transform: str
    scale: str
    impute: str
    weight: float
    fill: float
    center: float
    spread: float

    @property
    def limits(self) -> tuple[float, float]:
        """What a value may lie between, in business units: the feature's own limits, at least 0 under a logarithm."""
        feature = FEATURES.get(self.name)
        low, high = (-math.inf, math.inf) if feature is None else (feature.minimum, feature.maximum)
        return (max(low, 0.0) if self.transform == "log" else low), high

    def forward(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return business values as scaled coordinates."""
        shaped = np.log1p(values) if self.transform == "log" else values
        scaled: NDArray[np.float64] = (shaped - self.center) / self.spread * math.sqrt(self.weight)
        return scaled

    def backward(self, coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scaled coordinates as business values."""
        shaped = coordinates / math.sqrt(self.weight) * self.spread + self.center
        return np.expm1(shaped) if self.transform == "log" else shaped


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """The fitted way from customers to the matrix.

    Examples
    --------
    >>> import polars as pl
    >>> customers = pl.DataFrame({"customer_id": [1, 2, 3], "frequency": [1, 4, 12], "monetary": [10.0, 90.0, 700.0]})
    >>> spec = FeatureSpec.fit(customers, FeatureSet(("frequency", "monetary")))
    >>> matrix = spec.transform(customers)
    >>> matrix.shape, matrix.dtype.name
    ((3, 2), 'float32')
    >>> bool(np.allclose(spec.inverse(matrix)[2], [12, 700], rtol=1e-5))
    True
    """

    columns: tuple[FeatureColumn, ...]
    _one: OneCustomer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_one", OneCustomer(self.columns))

    @property
    def names(self) -> list[str]:
        """Names of the columns, in the matrix's order."""
        return [column.name for column in self.columns]

    @property
    def d(self) -> int:
        """Number of columns."""
        return len(self.columns)

    @property
    def digest(self) -> str:
        """SHA-256 of the whole specification, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    @classmethod
    def fit(cls, customers: pl.DataFrame, features: FeatureSet) -> FeatureSpec:
        """Learn fill values, centres and spreads from the customers.

        Raises
        ------
        ColumnsMissingError
            A column is not in the table.
        DataError
            Fewer than two customers, or a column that is not numeric, has infinite or (under ``log``) negative values,
            is missing throughout, or has the same value for everybody.
        """
        require_columns(
            [name for name in customers.columns if name != "customer_id"],
            features.columns,
            where="features.columns",
        )
        if customers.height < 2:
            raise DataError(
                f"expected at least two customers to segment; got {customers.height}. "
                "Widen where=, features.window_days or the data."
            )
        return cls(tuple(_fit_column(customers[name], features.of(name)) for name in features.columns))

    def transform(self, customers: pl.DataFrame) -> NDArray[np.float32]:
        """Return the matrix, float32 in C order of shape (customers, d).

        Raises
        ------
        ColumnsMissingError
            A column is not in the table.
        DataError
            A value cannot be: infinite, negative under ``log``, or missing where the specification refuses.
        """
        require_columns(customers.columns, self.names, where="customers")
        matrix = np.empty((customers.height, self.d), dtype=np.float32)
        for index, column in enumerate(self.columns):
            values = _numbers(customers[column.name])
            missing = np.isnan(values)
            if missing.any():
                if column.impute == "refuse":
                    raise DataError(
                        f"column {column.name!r}: {int(missing.sum())} of {values.size} values are missing, and "
                        "features.impute=refuse. Fill them, or set features.impute=median."
                    )
                values[missing] = column.fill
            _check_range(values, column.name, column.transform)
            with np.errstate(over="ignore"):
                matrix[:, index] = column.forward(values)
            far = int(np.isinf(matrix[:, index]).sum())
            if far:
                raise DataError(
                    f"column {column.name!r}: {far} of {values.size} values are too far from the customers of the fit "
                    "for a distance. Correct them first."
                )
        return matrix

    def row(self, values: Mapping[str, Any], *, impute: bool = False) -> NDArray[np.float32]:
        """Return one customer's coordinates, shape (d,), from a value for each column.

        Parameters
        ----------
        values
            Business values by column name; other names are refused.
        impute
            Whether a missing value may be filled as at fit.

        Raises
        ------
        DataError
            A value is missing, unknown, no number, infinite or impossible.
        """
        return np.array(self.coordinates(values, impute=impute), dtype=np.float32)

    def coordinates(self, values: Mapping[str, Any], *, impute: bool = False) -> list[float]:
        """Return what :meth:`row` does as plain numbers: to the last bit the customer's row of :meth:`transform`."""
        return self._one.coordinates(values, impute=impute)

    def inverse(self, centroids: NDArray[Any]) -> NDArray[np.float64]:
        """Return centroids, shape (k, d), in business units.

        Under ``log`` a centroid is a mean of logarithms, so what comes back is a typical value of the kind of a
        geometric mean, below the arithmetic mean of a long-tailed column.
        """
        scaled = np.asarray(centroids, dtype=np.float64)
        return np.column_stack([column.backward(scaled[:, index]) for index, column in enumerate(self.columns)])

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able mapping; :meth:`from_dict` reads it back exactly."""
        return {"columns": [asdict(column) for column in self.columns]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FeatureSpec:
        """Rebuild a specification from :meth:`to_dict`."""
        return cls(tuple(FeatureColumn(**column) for column in content["columns"]))


def _numbers(series: pl.Series) -> NDArray[np.float64]:
    """Return a numeric column as float64 with NaN where it is missing; always a fresh array."""
    if not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
        raise DataError(f"column {series.name!r}: expected numbers to cluster on; got {series.dtype}.")
    return np.array(series.cast(pl.Float64).to_numpy(), dtype=np.float64)


def _check_range(values: NDArray[np.float64], name: str, transform: str) -> None:
    infinite = int(np.isinf(values).sum())
    if infinite:
        raise DataError(f"column {name!r}: {infinite} of {values.size} values are infinite. Correct them first.")
    if transform == "log" and values.size and float(np.nanmin(values)) < 0:
        raise DataError(
            f"column {name!r}: {int((values < 0).sum())} values are negative, which log(1 + x) cannot take. "
            f"Set 'features.per_column={{{name}: {{transform: none}}}}'."
        )


def _fit_column(series: pl.Series, settings: FeatureSettings) -> FeatureColumn:
    values = _numbers(series)
    name = series.name
    known = values[~np.isnan(values)]
    if not known.size:
        raise DataError(f"column {name!r}: all {values.size} values are missing. Leave it out of features.columns.")
    _check_range(known, name, settings.transform)
    fill = float(np.median(known)) if settings.impute == "median" else 0.0
    filled = np.where(np.isnan(values), fill, values)
    if filled.min() == filled.max():
        raise DataError(
            f"column {name!r} has the same value ({filled[0]:g}) for all {filled.size} customers: it cannot tell them "
            "apart. Leave it out of features.columns."
        )
    shaped = np.log1p(filled) if settings.transform == "log" else filled
    with np.errstate(over="ignore", invalid="ignore"):
        center, spread = _center_and_spread(shaped, settings.scale)
    if not (math.isfinite(center) and math.isfinite(spread)):
        raise DataError(
            f"column {name!r}: values up to {filled.max():g} are too large to scale. Set features.transform=log."
        )
    return FeatureColumn(
        name=name,
        transform=settings.transform,
        scale=settings.scale,
        impute=settings.impute,
        weight=float(settings.weight),
        fill=fill,
        center=center,
        spread=spread,
    )


def _center_and_spread(values: NDArray[np.float64], scale: str) -> tuple[float, float]:
    if scale == "robust":
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        if high > low:
            return float(middle), float(high - low)
        # More than half of the customers share one value: the interquartile range says nothing about the others.
        return float(middle), float(values.std()) or 1.0
    if scale == "standard":
        # Two passes: the mean of squares would cancel for values near 1e9.
        return float(values.mean()), float(values.std()) or 1.0
    return float(values.mean()), 1.0


def feature_set(
    columns: Sequence[str],
    *,
    transform: str = "log",
    scale: str = "standard",
    impute: str = "median",
    weight: float = 1.0,
    per_column: Mapping[str, Mapping[str, Any]] | None = None,
) -> FeatureSet:
    """Build a :class:`FeatureSet` from plain values, as a configuration holds them."""
    return FeatureSet(tuple(columns), FeatureSettings(transform, scale, impute, weight), per_column or {})
