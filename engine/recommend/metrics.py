"""How good lists of products are, customer by customer, and how sure one can be of the mean.

Each measure is a number for each customer, so that two recommenders can be compared on the same customers: what
customers have in common then drops out of the difference, and its interval is much narrower than those of the two
means suggest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from engine.recommend.baskets import Baskets, Targets
from engine.schema import Word

Floats = NDArray[np.float64]

MEASURES: Mapping[str, Word] = {
    "precision": Word("share of the list that was bought", "parte de la lista que se compró"),
    "recall": Word("share of the basket that was on the list", "parte de la cesta que estaba en la lista"),
    "ndcg": Word("NDCG, hits count more at the top", "NDCG, los aciertos pesan más arriba"),
    "ndcg_whole_basket": Word("NDCG against the whole basket", "NDCG respecto de la cesta entera"),
    "hit": Word("customers with a hit", "clientes con algún acierto"),
    "recall_repeat": Word(
        "share found of what they had bought before", "parte hallada de lo que ya habían comprado antes"
    ),
    "recall_explore": Word("share found of what was new to them", "parte hallada de lo que era nuevo para ellos"),
    "novelty": Word("novelty of the list, bits", "novedad de la lista, bits"),
}
"""The measures that each customer has a value of, in the order in which they are told."""


class Estimate(NamedTuple):
    """A mean over customers and where the true one probably lies.

    Attributes
    ----------
    mean
        NaN where no customer has a value.
    low, high
        Ends of the 95 % interval by Student's t; NaN for fewer than two customers.
    customers
        How many have a value.
    """

    mean: float
    low: float
    high: float
    customers: int

    @classmethod
    def of(cls, values: Floats, *, level: float = 0.95, within: tuple[float, float] = (-np.inf, np.inf)) -> Estimate:
        """Return mean and interval of one value per customer; NaN stands for "has none".

        The interval is cut where no value can be: ``within`` (0, 1) for shares.

        Examples
        --------
        >>> mean, low, high, customers = Estimate.of(np.array([0.2, 0.6, 0.7, np.nan]), within=(0.0, 1.0))
        >>> round(mean, 3), round(low, 3), round(high, 3), customers
        (0.5, 0.0, 1.0, 3)
        """
        from scipy.special import stdtrit

        known = np.asarray(values, dtype=np.float64)
        known = known[~np.isnan(known)]
        n = len(known)
        if not n:
            return cls(np.nan, np.nan, np.nan, 0)
        mean = float(known.mean())
        if n == 1:
            return cls(mean, np.nan, np.nan, 1)
        reach = float(stdtrit(n - 1, (1 + level) / 2) * known.std(ddof=1) / np.sqrt(n))
        return cls(mean, max(mean - reach, within[0]), min(mean + reach, within[1]), n)

    @classmethod
    def of_difference(cls, one: Floats, other: Floats, *, level: float = 0.95) -> Estimate:
        """Return mean and interval of ``one - other``, customer by customer, where both have a value.

        Examples
        --------
        >>> Estimate.of_difference(np.array([0.5, 0.2, 0.9]), np.array([0.4, 0.1, 0.8])).customers
        3
        """
        return cls.of(np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64), level=level)

    @property
    def clear_of_zero(self) -> bool:
        """Whether the interval leaves zero out; false where there is no interval."""
        return self.low > 0 or self.high < 0


def measure(lists: NDArray[np.int32], targets: Targets, history: Baskets) -> dict[str, Floats]:
    """Return each of :data:`MEASURES` for each customer that has a target, arrays of shape (t,).

    With L the list of k places, T the target basket and a hit at place i (from 1) worth 1 / log2(i + 1):

    * precision: hits / k, also where the list has fewer than k products; recall: hits / size of T;
    * ndcg: the worth of the hits / that of min(k, size of T) hits at the top, so that 1 can be reached;
    * ndcg_whole_basket: the same / that of as many hits as T has products, as several papers on next baskets have it;
      below 1 where that is more than k;
    * hit: 1 where there is any;
    * recall_repeat, recall_explore: recall of the products of T that the customer had bought before, and of the others;
      NaN where T has none of the kind;
    * novelty: the mean over the list of -log2 of the share of customers who had bought the product (one that nobody
      bought counts as bought by one); NaN for an empty list.

    A target without products has NaN for all measures but precision, hit and novelty.

    Parameters
    ----------
    lists
        Codes, best first, -1 where there are no more; row j is for ``targets.customers[j]``; shape (t, k).
    targets
        What was bought.
    history
        What was bought before; the rows of ``targets.customers`` are its customers.

    Raises
    ------
    DataError
        Lists of another number of customers, codes that are no product, or a product twice in a list.

    Examples
    --------
    One customer bought product 0, then 0 and 2; the list is 1, 0:

    >>> import polars as pl
    >>> ints = lambda *values: np.array(values, dtype=np.int64)
    >>> history = Baskets(pl.Series([7]), pl.Series(["a", "b", "c"]), ints(0, 1), ints(0), ints(0, 1), ints(0))
    >>> values = measure(np.array([[1, 0]]), Targets(ints(0), ints(9), ints(0, 2), ints(0, 2)), history)
    >>> {name: round(float(value[0]), 4) for name, value in values.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'precision': 0.5, 'recall': 0.5, 'ndcg': 0.3869, 'ndcg_whole_basket': 0.3869, 'hit': 1.0, 'recall_repeat': 1.0,
     'recall_explore': 0.0, 'novelty': 0.0}
    """
    return judge(targets, history)(lists)


def judge(targets: Targets, history: Baskets) -> Callable[[NDArray[np.int32]], dict[str, Floats]]:
    """Return :func:`measure` for these targets: what does not depend on the lists is worked out once."""
    t, m = len(targets.customers), max(history.m, 1)
    sizes = np.diff(targets.start)
    owner = np.repeat(np.arange(t), sizes)
    wanted = owner * m + targets.item
    known = _bought(history)
    before = _among(targets.customers[owner] * m + targets.item, known)
    repeats = np.bincount(owner[before], minlength=t)
    bits = _bits(history, known)

    def judged(lists: NDArray[np.int32]) -> dict[str, Floats]:
        check_lists(lists, t, history.m)
        k = lists.shape[1]
        listed = lists >= 0
        codes = np.maximum(lists, 0)
        hits = listed & _among(np.arange(t)[:, np.newaxis] * m + codes, wanted)
        hits_before = hits & _among(targets.customers[:, np.newaxis] * m + codes, known)
        found, found_before = hits.sum(axis=1), hits_before.sum(axis=1)
        worth = 1 / np.log2(np.arange(2, max(k, int(sizes.max(initial=0))) + 2))
        best = np.concatenate([[0.0], np.cumsum(worth)])
        gained = hits @ worth[:k]
        return {
            "precision": found / k,
            "recall": _ratio(found, sizes),
            "ndcg": _ratio(gained, best[np.minimum(sizes, k)]),
            "ndcg_whole_basket": _ratio(gained, best[sizes]),
            "hit": (found > 0).astype(np.float64),
            "recall_repeat": _ratio(found_before, repeats),
            "recall_explore": _ratio(found - found_before, sizes - repeats),
            "novelty": _ratio(np.where(listed, bits[codes], 0.0).sum(axis=1), listed.sum(axis=1)),
        }

    return judged


def coverage(lists: NDArray[np.int32], history: Baskets) -> float:
    """Return the share of the products that anybody had bought which are on at least one list, 0 to 1.

    Examples
    --------
    >>> import polars as pl
    >>> ints = lambda *values: np.array(values, dtype=np.int64)
    >>> history = Baskets(pl.Series([7]), pl.Series(["a", "b"]), ints(0, 1), ints(0), ints(0, 2), ints(0, 1))
    >>> coverage(np.array([[1, -1]]), history)
    0.5
    """
    bought = np.unique(history.item)
    return float(np.isin(bought, lists).mean()) if len(bought) else np.nan


def check_lists(lists: NDArray[np.int32], customers: int, m: int) -> None:
    """Raise :class:`DataError` unless these are lists of distinct products for so many customers."""
    if lists.ndim != 2 or len(lists) != customers:
        raise DataError(f"Lists: expected {customers} of them, a row for each target; got the shape {lists.shape}.")
    if lists.size and not -1 <= int(lists.min()) <= int(lists.max()) < m:
        raise DataError(f"Lists: expected codes from 0 to {m - 1}, or -1 for none; got {lists.min()} to {lists.max()}.")
    ordered = np.sort(lists, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        row = int(np.flatnonzero(twice.any(axis=1))[0])
        raise DataError(f"Lists: a product stands twice in row {row}: {lists[row].tolist()}. Expected each once.")


def _bought(history: Baskets) -> NDArray[np.int64]:
    """Return customer * m + product of all that was bought, ascending, each once."""
    return np.unique(history.owners() * max(history.m, 1) + history.item)


def _bits(history: Baskets, known: NDArray[np.int64]) -> Floats:
    """Return -log2 of the share of the customers with a history who bought each product, shape (m,) or (1,)."""
    m = max(history.m, 1)
    buyers = np.bincount(known % m, minlength=m)
    customers = max(int((np.diff(history.basket_start) > 0).sum()), 1)
    bits: Floats = -np.log2(np.maximum(buyers, 1) / customers)
    return bits


def _among(keys: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which keys are among ascending ones."""
    if not len(known):
        return np.zeros(keys.shape, dtype=bool)
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    found: NDArray[np.bool_] = known[place] == keys
    return found


def _ratio(part: NDArray[np.generic], whole: NDArray[np.generic]) -> Floats:
    """Return part / whole, NaN where the whole is nothing."""
    out = np.full(len(part), np.nan)
    np.divide(part, whole, out=out, where=np.asarray(whole) > 0)
    return out
