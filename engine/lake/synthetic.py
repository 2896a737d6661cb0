"""Customers whose truth is known, streamed to any size.

Each customer has a type, and from it a rate of orders, a day of arrival and a day after which nothing is bought any
more. Orders come as a Poisson process between the two, so that what a model finds can be held against what is true.

Customers are drawn in blocks of 1,024, each from its own random stream: the first thousand customers are the same
in a population of two thousand and of two million, and frames may be cut anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import SettingError
from engine.lake.population import DAYS_A_YEAR, Population
from engine.schema import MONEY, TIMESTAMP

BLOCK = 1024
_SECONDS_A_DAY = 86_400
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
