"""What is generated: the settings of a synthetic population, checked.

:mod:`engine.lake.synthetic` draws the customers and their orders from it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from engine.errors import SettingError

DAYS_A_YEAR = 365.25
# Part of the content hash: to be raised when the same parameters give other rows.
_GENERATION = 1
# What a lake can hold (see engine.lake.dates), and what one block of customers may take in memory.
_FIRST_DAY, _LAST_DAY = date(1900, 1, 1), date(2199, 12, 31)
_MOST_DAYS = (_LAST_DAY - _FIRST_DAY).days + 1
_MOST = {"customers": 1_000_000_000, "days": _MOST_DAYS, "products": 10_000_000}
_MOST_ROWS_A_CUSTOMER = 5_000


@dataclass(frozen=True, slots=True)
class CustomerType:
    """One kind of customer.

    Attributes
    ----------
    share
        Of all customers (0 to 1); the shares of all types sum to one.
    orders_per_year
        Mean rate of orders while active, at most 10,000; customers vary around it (gamma, coefficient of variation
        0.5).
    lines_per_order, units_per_line
        Means, at least 1; at most 1,000 and 1,000,000.
    price
        Mean unit price, 0.01 to 1,000,000.
    churn_per_year
        Rate at which a customer stops for good, per year, at most 1,000; 0 for never.
    """

    share: float
    orders_per_year: float
    lines_per_order: float = 2.0
    units_per_line: float = 1.5
    price: float = 10.0
    churn_per_year: float = 0.0


DEFAULT_TYPES: Mapping[str, CustomerType] = {
    "loyal": CustomerType(0.15, 40.0, 4.0, 1.8, 12.0, 0.05),
    "regular": CustomerType(0.35, 12.0, 2.5, 1.5, 10.0, 0.25),
    "occasional": CustomerType(0.40, 3.0, 1.5, 1.2, 15.0, 0.8),
    "big_ticket": CustomerType(0.10, 2.0, 1.2, 1.0, 150.0, 0.3),
}


@dataclass(frozen=True, slots=True)
class Population:
    """What to generate.

    Attributes
    ----------
    customers
        How many, at least 1; the ids are 1 to ``customers``.
    first_day
        Day on which the first customer may arrive, from 1900-01-01.
    days
        Length of the history, in days; it ends by 2199-12-31.
    seed
        Of every draw.
    products
        How many products there are; the popular ones are bought far more often.
    types
        Name to :class:`CustomerType`.

    Examples
    --------
    >>> sorted(Population(customers=100, days=90, seed=7).types) == sorted(Population().types)
    True
    """

    customers: int = 2000
    first_day: date = date(2023, 1, 1)
    days: int = 730
    seed: int = 0
    products: int = 500
    types: Mapping[str, CustomerType] = dataclasses.field(default_factory=lambda: dict(DEFAULT_TYPES))

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            if not 1 <= getattr(self, name) <= most:
                raise SettingError(
                    f"data.{name}: expected a whole number from 1 to {most}; got {_short(getattr(self, name))}."
                )
        if not _FIRST_DAY <= self.first_day <= _LAST_DAY - timedelta(days=self.days - 1):
            raise SettingError(
                f"data.first_day: a history of {self.days} days from {self.first_day} does not lie from {_FIRST_DAY} "
                f"to {_LAST_DAY}. Choose another data.first_day or a smaller data.days."
            )
        if not 0 <= self.seed < 2**64:
            raise SettingError(
                f"data.seed: expected a whole number from 0, below 2 to the 64; got {_short(self.seed)}."
            )
        if not self.types:
            raise SettingError("data.types: at least one type of customer is needed.")
        for name, kind in self.types.items():
            _check_type(name, kind)
        total = sum(kind.share for kind in self.types.values())
        if abs(total - 1.0) > 1e-9:
            raise SettingError(f"data.types: the shares must sum to 1; they sum to {total:.6g}.")
        rows = sum(kind.share * kind.lines_per_order * (1 + self._orders(kind)) for kind in self.types.values())
        if rows > _MOST_ROWS_A_CUSTOMER:
            raise SettingError(
                f"data.types: a customer would have about {rows:,.0f} rows over {self.days} days; at most "
                f"{_MOST_ROWS_A_CUSTOMER:,} are possible. Lower orders_per_year, lines_per_order or data.days."
            )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Population:
        """Build it from a plain mapping; unknown keys raise SettingError."""
        names = [f.name for f in dataclasses.fields(cls)]
        values = dict(mapping)
        for key in values:
            if key not in names:
                raise SettingError.from_unknown("data", key, names)
        for key in ("customers", "days", "seed", "products"):
            if key in values:
                values[key] = _whole(values[key], f"data.{key}")
        if isinstance(values.get("first_day"), datetime):
            values["first_day"] = values["first_day"].date()
        if "first_day" in values and not isinstance(values["first_day"], date):
            try:
                values["first_day"] = date.fromisoformat(str(values["first_day"]))
            except ValueError as error:
                raise SettingError(
                    f"data.first_day: expected a day such as 2023-01-31; got {values['first_day']!r}."
                ) from error
        if "types" in values:
            values["types"] = _types(values["types"])
        return cls(**values)

    def content_hash(self) -> str:
        """Return the hash that stands for the rows, as a file's hash stands for its bytes."""
        record = {**dataclasses.asdict(self), "first_day": self.first_day.isoformat(), "generation": _GENERATION}
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()

    def estimated_rows(self) -> int:
        """Return about how many rows there will be, from the means of the types."""
        orders = sum(
            kind.share * kind.lines_per_order * (1 + self._orders(kind) * 0.75) for kind in self.types.values()
        )
        return max(1, int(self.customers * orders))

    def _orders(self, kind: CustomerType) -> float:
        """Return the mean number of orders of a customer who is active during the whole history."""
        return kind.orders_per_year * self.days / DAYS_A_YEAR


def _whole(value: object, where: str) -> int:
    # Hydra reads 2e6 as a float.
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not isinstance(value, (int, float)):
        raise SettingError(f"{where}: expected a whole number; got {value!r}.")
    return int(value)


def _types(value: object) -> dict[str, CustomerType]:
    if not isinstance(value, Mapping):
        raise SettingError(f"data.types: expected NAME: {{share: ..., orders_per_year: ...}}; got {value!r}.")
    allowed = [f.name for f in dataclasses.fields(CustomerType)]
    types: dict[str, CustomerType] = {}
    for name, settings in value.items():
        if not isinstance(settings, Mapping):
            raise SettingError(f"data.types.{name}: expected keys and values; got {settings!r}.")
        for key, number in settings.items():
            if key not in allowed:
                raise SettingError.from_unknown(f"data.types.{name}", key, allowed)
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise SettingError(f"data.types.{name}.{key}: expected a number; got {number!r}.")
            if isinstance(number, int) and number.bit_length() > 64:
                raise SettingError(f"data.types.{name}.{key}: expected a smaller number; got {_short(number)}.")
        for key in ("share", "orders_per_year"):
            if key not in settings:
                raise SettingError(f"data.types.{name}.{key}: a value is needed.")
        types[str(name)] = CustomerType(**{str(key): float(number) for key, number in settings.items()})
    return types


def _check_type(name: str, kind: CustomerType) -> None:
    bounds = {
        "share": (0.0, 1.0),
        "orders_per_year": (0.0, 10_000.0),
        "lines_per_order": (1.0, 1_000.0),
        "units_per_line": (1.0, 1_000_000.0),
        "price": (0.01, 1_000_000.0),
        "churn_per_year": (0.0, 1_000.0),
    }
    for key, (least, most) in bounds.items():
        value = getattr(kind, key)
        if not least <= value <= most:
            raise SettingError(
                f"data.types.{name}.{key}: expected a number from {least:.10g} to {most:.10g}; got {value}."
            )


def _short(value: int) -> str:
    # Python refuses to write numbers of thousands of digits.
    return str(value) if value.bit_length() < 100 else f"a number of {value.bit_length()} bits"
