"""What was new in each segment's next baskets: shares of customers, counted at a date that has passed."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.recommend.baskets import Baskets, baskets_of
from engine.recommend.chance import at_least, wilson
from engine.recommend.segment_numbers import checked_segments

FALLEN = 0.01
"""Probability below which it is no chance any more that a product is bought so little at the end."""

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
    history: Baskets,
    segments: NDArray[np.int32],
    day: int,
    *,
    most: int = 10,
    least_customers: int = 5,
    without: NDArray[np.bool_] | None = None,
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
    without
        Products that are not to be named, shape (m,): those of :func:`falling_off`; by default none.

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
        A setting is out of range, or ``segments`` or ``without`` has another length.
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
    history = baskets_of(history)
    of = checked_segments(segments, history.n)
    for name, value in (("most", most), ("least_customers", least_customers)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise SettingError(f"{name}: expected a whole number, at least 1; got {value!r}.")
    never = np.zeros(history.m, dtype=bool) if without is None else np.asarray(without)
    if never.shape != (history.m,) or never.dtype != np.bool_:
        raise SettingError(
            f"without: expected true or false for each of {history.m:,} products; got {never.dtype} of shape "
            f"{never.shape}. Take what falling_off returns."
        )
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
        lacking = n - np.bincount(held[ours[held // history.m]] % history.m, minlength=history.m)
        best = np.argsort(-first, kind="stable")
        best = best[~never[best]][:most]
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
            "customers_without": lacking[best],
            "probability_without": first[best] / np.maximum(lacking[best], 1),
        }
        frames.append(pl.DataFrame({name: pl.Series(name, columns[name], dtype=_SCHEMA[name]) for name in _SCHEMA}))
    return pl.concat(frames)


def falling_off(history: Baskets, first: int, end: int) -> NDArray[np.bool_]:
    """Tell of which products so little is bought in the last third of some days that they are on their way out.

    Christmas decorations are the new product of December, and on 2 January nobody is to be offered them. Compared are
    the baskets with the product in the last third of the days and in the first two. If it were bought as evenly as
    all else, each of its n baskets would lie in the last third with probability q, the share of all baskets that lie
    there. A product falls off where so few or fewer in the last third have a probability below :data:`FALLEN`
    (one-sided, binomial: the conditional comparison of two Poisson rates, Przyborowski and Wilenski, Biometrika 31
    (1940), 313-323). Of products that do not fall off, up to 1 in 100 is told to. With q of a third it takes a dozen
    baskets to tell: what was bought less often never falls off.

    Parameters
    ----------
    history
        Baskets of those days; others do not count.
    first, end
        The first of the days, and the one behind the last, since 1970-01-01. With fewer than 3 nothing falls off.

    Returns
    -------
    ndarray of bool, shape (m,)

    Examples
    --------
    >>> from datetime import date
    >>> import polars as pl
    >>> from engine.recommend.baskets import Baskets
    >>> rows = pl.DataFrame([(c, date(1970, 1, 1 + c % 9), p) for c in range(90) for p in ("tea", "star")
    ...     if p == "tea" or c % 9 < 6], ["customer_id", "timestamp", "product_id"], orient="row")
    >>> history = Baskets.from_frame(rows, basket="day")
    >>> dict(zip(history.products, falling_off(history, 0, 9).tolist()))
    {'tea': False, 'star': True}
    """
    if end - first < 3:
        return np.zeros(history.m, dtype=bool)
    inside = (history.day >= first) & (history.day < end)
    begins = end - (end - first) // 3
    early = inside & (history.day < begins)
    if not inside.any():
        return np.zeros(history.m, dtype=bool)
    basket = history.basket_of()
    before, all_of_it = (np.bincount(history.item[some[basket]], minlength=history.m) for some in (early, inside))
    # So few at the end is the same as so many before it.
    chance = at_least(before, all_of_it * (early.sum() / inside.sum()), all_of_it)
    return chance < FALLEN


def _distinct(who: NDArray[np.int64], item: NDArray[np.int32], m: int) -> NDArray[np.int64]:
    """Return customer × m + product of what was bought, each once, ascending."""
    return np.unique(who * m + item)
