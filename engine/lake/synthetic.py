"""Customers whose truth is known, streamed to any size.

Each customer has a type, and from it a rate of orders, a day of arrival and a day after which nothing is bought any
more. Orders come as a Poisson process between the two, so that what a model finds can be held against what is true.

Customers are drawn in blocks of 1,024, each from its own random stream: the first thousand customers are the same
in a population of two thousand and of two million, and frames may be cut anywhere.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import SettingError
from engine.schema import MONEY, TIMESTAMP

BLOCK = 1024
DAYS_A_YEAR = 365.25
_SECONDS_A_DAY = 86_400
# Part of the content hash: to be raised when the same parameters give other rows.
_GENERATION = 1
# What a lake can hold (see engine.lake.dates), and what one block of customers may take in memory.
_FIRST_DAY, _LAST_DAY = date(1900, 1, 1), date(2199, 12, 31)
_MOST_DAYS = (_LAST_DAY - _FIRST_DAY).days + 1
_MOST = {"customers": 1_000_000_000, "days": _MOST_DAYS, "products": 10_000_000}
_MOST_ROWS_A_CUSTOMER = 5_000
# Gamma shape of the spread of rates inside a type: coefficient of variation one half.
_RATE_SHAPE = 4.0

TRUTH_SCHEMA = pl.Schema(
    {
        "customer_id": pl.Int64(),
        "type": pl.String(),
        "orders_per_year": pl.Float64(),
        "first_order": TIMESTAMP,
        "active_until": TIMESTAMP,
    }
)
ROW_SCHEMA = pl.Schema(
    {
        "customer_id": pl.Int64(),
        "order_id": pl.String(),
        "timestamp": TIMESTAMP,
        "product_id": pl.String(),
        "quantity": MONEY,
        "unit_price": MONEY,
    }
)


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
    >>> population = Population(customers=100, days=90, seed=7)
    >>> rows = pl.concat(transactions(population))
    >>> rows["customer_id"].n_unique()
    100
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


def transactions(population: Population, *, max_rows: int = 250_000) -> Iterator[pl.DataFrame]:
    """Yield the transactions of the population in frames of at most ``max_rows`` rows.

    Parameters
    ----------
    population
        What to generate.
    max_rows
        Longest frame; it changes nothing but where the rows are cut.

    Yields
    ------
    pl.DataFrame
        ``customer_id, order_id, timestamp, product_id, quantity, unit_price``, by customer and time.

    Examples
    --------
    >>> frames = list(transactions(Population(customers=50, days=30), max_rows=20))
    >>> max(frame.height for frame in frames) <= 20
    True
    """
    if max_rows < 1:
        raise SettingError(f"max_rows: expected a whole number from 1; got {max_rows}.")
    for block in range(_blocks(population)):
        rng, draw = _draw(population, block)
        yield from _rows(population, draw, rng).iter_slices(max_rows)


def truth(population: Population) -> Iterator[pl.DataFrame]:
    """Yield what is true of each customer, one row each, in blocks.

    Yields
    ------
    pl.DataFrame
        ``customer_id``, ``type``, ``orders_per_year`` (the customer's own rate), ``first_order``,
        ``active_until`` (the end of the history for those who never stopped).

    Examples
    --------
    >>> frame = pl.concat(truth(Population(customers=3)))
    >>> frame["customer_id"].to_list()
    [1, 2, 3]
    """
    names = np.array(list(population.types))
    for block in range(_blocks(population)):
        _, draw = _draw(population, block)
        start = _epoch_seconds(population)
        yield (
            pl.DataFrame(
                {
                    "customer_id": draw.ids,
                    "type": names[draw.kinds].tolist(),
                    "orders_per_year": draw.rates,
                    "first_order": (start + draw.starts) * 1_000_000,
                    "active_until": (start + draw.ends) * 1_000_000,
                },
            )
            .cast(TRUTH_SCHEMA)
            .filter(pl.col("customer_id") <= population.customers)
        )


@dataclass(frozen=True, slots=True)
class _Draw:
    """The customers of one block; times in seconds from the first day."""

    ids: NDArray[np.int64]
    kinds: NDArray[np.int64]
    rates: NDArray[np.float64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def _blocks(population: Population) -> int:
    return -(-population.customers // BLOCK)


def _epoch_seconds(population: Population) -> int:
    first = population.first_day
    return int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp())


def _draw(population: Population, block: int) -> tuple[np.random.Generator, _Draw]:
    """Draw the customers of a whole block, and hand on the generator that then draws their orders."""
    rng = np.random.default_rng(np.random.SeedSequence([population.seed, block]))
    types = list(population.types.values())
    edges = np.cumsum([kind.share for kind in types])
    kinds = np.minimum(np.searchsorted(edges, rng.random(BLOCK), side="right"), len(types) - 1)
    mean_rates = np.array([kind.orders_per_year for kind in types])[kinds]
    rates = mean_rates * rng.gamma(_RATE_SHAPE, 1 / _RATE_SHAPE, BLOCK)
    span = population.days * _SECONDS_A_DAY
    # Two thirds of the history have arrivals, so that the youngest customers have had time to come back.
    starts = (rng.random(BLOCK) * span * 2 / 3).astype(np.int64)
    churn = np.array([kind.churn_per_year for kind in types])[kinds]
    years = rng.exponential(1.0, BLOCK) / np.maximum(churn, 1e-12)
    lifetimes = np.minimum(years * DAYS_A_YEAR * _SECONDS_A_DAY, span).astype(np.int64)
    ends = np.minimum(starts + lifetimes, span - 1)
    ids = np.arange(1, BLOCK + 1, dtype=np.int64) + block * BLOCK
    return rng, _Draw(ids, kinds, rates, starts, ends)


def _rows(population: Population, draw: _Draw, rng: np.random.Generator) -> pl.DataFrame:
    """Draw the orders of a block, then their lines; the customers beyond the last one are cut at the end."""
    types = list(population.types.values())
    lines_mean, units_mean, price = (
        np.array([getattr(kind, name) for kind in types])[draw.kinds]
        for name in ("lines_per_order", "units_per_line", "price")
    )
    span = draw.ends - draw.starts
    later = rng.poisson(draw.rates * span / (_SECONDS_A_DAY * DAYS_A_YEAR))
    who = np.concatenate([np.arange(BLOCK), np.repeat(np.arange(BLOCK), later)])
    # Everyone's first order is the day of arrival; the others fall uniformly in the active time.
    moment = np.concatenate([np.zeros(BLOCK), rng.random(later.sum())])
    times = draw.starts[who] + (moment * span[who]).astype(np.int64)
    order = np.lexsort((times, who))
    who, times = who[order], times[order]
    number = np.arange(who.size) - np.searchsorted(who, who) + 1
    lines = 1 + rng.poisson(lines_mean[who] - 1)
    who, times, number = (np.repeat(column, lines) for column in (who, times, number))
    products = _products(population, rng, who.size)
    units = 1 + rng.poisson(units_mean[who] - 1)
    cents = np.maximum(1, np.rint(price[who] * _price_factors(population)[products] * 100)).astype(np.int64)
    digits = len(str(population.products))
    return (
        pl.DataFrame(
            {
                "customer_id": draw.ids[who],
                "order": number,
                "timestamp": (times + _epoch_seconds(population)) * 1_000_000,
                "product": products + 1,
                "quantity": units,
                "cents": cents,
            }
        )
        .filter(pl.col("customer_id") <= population.customers)
        .select(
            "customer_id",
            (pl.col("customer_id").cast(pl.String) + "-" + pl.col("order").cast(pl.String)).alias("order_id"),
            pl.col("timestamp").cast(TIMESTAMP),
            ("P" + pl.col("product").cast(pl.String).str.zfill(digits)).alias("product_id"),
            pl.col("quantity").cast(MONEY),
            (pl.col("cents") / 100).cast(MONEY).alias("unit_price"),
        )
    )


def _products(population: Population, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Draw product numbers from 0, the r-th with a chance proportional to 1/r (Zipf)."""
    edges = np.cumsum(1.0 / np.arange(1, population.products + 1))
    drawn = np.searchsorted(edges, rng.random(count) * edges[-1], side="right")
    return np.asarray(np.minimum(drawn, population.products - 1), dtype=np.int64)


def _price_factors(population: Population) -> NDArray[np.float64]:
    """Return what each product's price is to the mean price: up to about 1.6 times more or less."""
    # Multiples of the golden angle spread evenly and need no draw, so that prices do not depend on the seed.
    factors = np.exp(0.5 * np.sin(np.arange(population.products) * 2.399963))
    return np.asarray(factors / factors.mean(), dtype=np.float64)


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
