"""What each segment will most probably try next: shares of customers, counted at a date that has passed."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.recommend.chance import wilson
from engine.recommend.segment_numbers import checked_segments

if TYPE_CHECKING:
    from engine.recommend.baskets import Baskets

_SCHEMA = {
    "segment": pl.Int32,
    "rank": pl.Int64,
    "product": pl.String,
    "customers": pl.Int64,
    "customers_new": pl.Int64,
    "probability": pl.Float64,
    "probability_low": pl.Float64,
    "probability_high": pl.Float64,
    "customers_without": pl.Int64,
    "probability_without": pl.Float64,
}


def next_products(
    history: Baskets, segments: NDArray[np.int32], day: int, *, most: int = 10, least_customers: int = 5
) -> pl.DataFrame:
    """Rank, for each segment, the products that its customers' next basket after a date held as new.

    The probability is a share of people, not a score: of the segment's customers who had bought before the day and
    bought again, how many had in their first basket from that day on the product, and in none before it. For the
    customers of today it holds as far as the season and the range are those of the day: take one a year ago, or the
    latest that leaves most customers time to come back.

    Parameters
    ----------
    history
        Baskets before and after the day.
    segments
        Each customer's segment, shape (n,), -1 for none.
    day
        Days since 1970-01-01.
    most
        Products of each segment.
    least_customers
        Customers that a product needs to be named.

    Returns
    -------
    DataFrame
        ``segment, rank, product, customers`` (who came back), ``customers_new`` (of them, with it as new),
        ``probability`` with its 95 % interval (Wilson), ``customers_without`` (who came back and did not have it
        before) and ``probability_without``, the share among those: what an offer to them starts from. By segment, the
        most probable first, and then in the order of the history's products.

    Raises
    ------
    SettingError
        A setting is out of range, or ``segments`` has another length.
    DataError
        Nobody of any segment bought both before the day and after.

    Examples
    --------
    >>> from datetime import date
    >>> import polars as pl
    >>> from engine.recommend.baskets import Baskets
    >>> rows = pl.DataFrame([(c, date(2024, 5, 1 + d), p) for c in range(8) for d, p in enumerate(
    ...     ["tea", "lemon" if c < 6 else "tea"])], ["customer_id", "timestamp", "product_id"], orient="row")
    >>> history = Baskets.from_frame(rows, basket="day")
    >>> found = next_products(history, np.zeros(8, dtype=np.int32), (date(2024, 5, 2) - date(1970, 1, 1)).days)
    >>> found.select("product", "customers", "customers_new", "probability").row(0)
    ('lemon', 8, 6, 0.75)
    """
    of = checked_segments(segments, history.n)
    for name, value in (("most", most), ("least_customers", least_customers)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise SettingError(f"{name}: expected a whole number, at least 1; got {value!r}.")
    owner = np.repeat(np.arange(history.n), np.diff(history.basket_start))
    earlier = np.bincount(owner[history.day < day], minlength=history.n)
    following = history.basket_start[:-1] + earlier
    came_back = (earlier > 0) & (following < history.basket_start[1:]) & (of >= 0)
    if not came_back.any():
        raise DataError(
            f"Next products: no customer of any segment bought both before {np.datetime64(day, 'D')} and from then on. "
            "Take a day within the history."
        )
    basket = history.basket_of()
    who = owner[basket]
    held = _distinct(who[history.day[basket] < day], history.item[history.day[basket] < day], history.m)
    now = basket == following[who]
    bought = _distinct(who[now], history.item[now], history.m)
    new = np.setdiff1d(bought, held, assume_unique=True)
    frames = [pl.DataFrame(schema=_SCHEMA)]
    for segment in np.unique(of[came_back]).tolist():
        ours = came_back & (of == segment)
        n = int(ours.sum())
        first = np.bincount(new[ours[new // history.m]] % history.m, minlength=history.m)
        without = n - np.bincount(held[ours[held // history.m]] % history.m, minlength=history.m)
        best = np.argsort(-first, kind="stable")[:most]
        best = best[first[best] >= least_customers]
        low, high = wilson(first[best], np.full(len(best), n))
        columns: dict[str, Any] = {
            "segment": np.full(len(best), segment),
            "rank": np.arange(1, len(best) + 1),
            "product": history.products.gather(best),
            "customers": np.full(len(best), n),
            "customers_new": first[best],
            "probability": first[best] / n,
            "probability_low": low,
            "probability_high": high,
            "customers_without": without[best],
            "probability_without": first[best] / np.maximum(without[best], 1),
        }
        frames.append(pl.DataFrame({name: pl.Series(name, columns[name], dtype=_SCHEMA[name]) for name in _SCHEMA}))
    return pl.concat(frames)


def _distinct(who: NDArray[np.int64], item: NDArray[np.int32], m: int) -> NDArray[np.int64]:
    """Return customer × m + product of what was bought, each once, ascending."""
    return np.unique(who * m + item)
