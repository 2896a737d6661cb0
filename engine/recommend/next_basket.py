"""The next basket: for each customer the products most probably in it, by what is known of the customer and of all.

Repeat purchases make most of what can be foreseen in retail, and how often and how lately a customer bought a product
says most about them; customers who buy alike, what goes along, what follows and what is in vogue say the rest. Each of
these is a signal, and a logistic regression on a basket that is already known says how much each counts in *this* shop
(blending; Hu et al. 2020, "Modeling personalized item frequency information for next-basket
recommendation", and Faggioli et al. 2020, "Recency aware collaborative filtering for next basket recommendation", are
the personal and the neighbours' part).

Signals of product i for a customer, in the order of :data:`engine.recommend.kernels.SIGNALS`; the first six are 0
where the customer does not own it:

* ``owned`` 1; ``times`` log(1 + baskets with it); ``share`` log(their share + 0.01); ``fading`` log of the sum of
  0.8^(baskets since) + 0.01;
* ``due`` log(days since bought / the product's own interval), from -3 to 3; ``habit`` log-odds that an owner of it buys
  it again;
* ``alike`` log share of the baskets of the customers most alike; ``along`` log probability given what the customer
  owns, ``following`` given the last basket;
* ``fresh``, ``recent``, ``ever`` log share of all baskets by half-lives of 5 and 21 days and without; ``segment`` log
  of how much more often the segment buys it than all.

Where nothing is known of the customer, ``alike``, ``along`` and ``following`` are as ``ever``; a customer without any
basket gets what the segment buys most, without weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.recommend import alike
from engine.recommend.blend import Blend, fit_blend
from engine.recommend.knowledge import Knowledge
from engine.recommend.repurchase import ONCE_BELOW
from engine.recommend.segment_numbers import checked_segments

if TYPE_CHECKING:
    from engine.recommend.baskets import Baskets, Targets

MOST_K = 1_000
"""Products that may be asked for at once."""

ROOM = 700
"""Candidates of a customer at most; what follows them on a long list has room besides."""

SIZES = (50, 40, 40, 20)
"""Neighbours of a customer; candidates of theirs, of what goes along, of what follows."""

ONLY = ("new", "bought")
"""What may be asked for alone: products that a customer has not bought so far (*explore*), or those bought before
(*repeat*)."""

DAYS_AT_ONCE = 64
"""Days whose popularity is held in memory together."""

FIT_AT_ONCE = 1_000
"""Customers whose candidates are held in memory together, with room for the most that there can be."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """Products ranked for customers.

    Attributes
    ----------
    codes
        Best first, shape (n, k), int32; -1 where there are no more.
    scores
        Log-odds up to a constant of the customer, shape (n, k), float32.
    signals
        Shape (n, k, signals), float32.
    neighbours
        Rows of the closest reference customers, shape (n, 20), int32; -1 where there are fewer.
    """

    codes: NDArray[np.int32]
    scores: NDArray[np.float32]
    signals: NDArray[np.float32]
    neighbours: NDArray[np.int32]


class NextBasket:
    """Ranks products for customers.

    Parameters
    ----------
    category
        A number from 0 for each product, -1 where it has none: what is known of a category helps where a product is
        rare.
    repurchase
        What is known beforehand of each product: 1 it is bought again, 0 it is not and is never offered to who owns
        it, -1 find out.
    once_below
        Share of owners who buy again below which a product is bought once; see
        :mod:`engine.recommend.repurchase`.
    fit_customers
        How many customers' last baskets the weights are fitted on, at most.
    references
        How many customers others are compared with, at most.
    seed
        Of both samples.

    Examples
    --------
    >>> from engine.recommend.synthetic import habits
    >>> history = habits(customers=300, products=40, seed=0)
    >>> model = NextBasket().fit(history)
    >>> model.recommend(history, 5).shape
    (300, 5)
    """

    name = "cartera"

    def __init__(
        self,
        *,
        category: NDArray[np.int32] | None = None,
        repurchase: NDArray[np.int8] | None = None,
        once_below: float = ONCE_BELOW,
        fit_customers: int = 8_000,
        references: int = alike.MOST_REFERENCES,
        seed: int = 0,
    ) -> None:
        for key, value in (("fit_customers", fit_customers), ("references", references)):
            if value < 1:
                raise SettingError(f"{key}: expected at least 1; got {value}.")
        self._count = partial(Knowledge.of, category=category, repurchase=repurchase, once_below=once_below)
        self._fit_customers, self._references, self._seed = fit_customers, references, seed
        self._knowledge: Knowledge | None = None
        self._blend: Blend | None = None

    def fit(self, history: Baskets, segments: NDArray[np.int32] | None = None) -> NextBasket:
        """Learn from the histories of all customers.

        The weights are fitted on the last basket of customers with at least two, foreseen from what came before; then
        everything is counted anew with those baskets in it.

        Raises
        ------
        DataError
            No customer has two baskets, or none of their last ones could be foreseen.
        """
        rng = np.random.default_rng(self._seed)
        rows = alike.reference_customers(history, self._references, rng)
        before, targets = history.without_last()
        if not len(targets.customers):
            raise DataError(
                f"Next basket: none of {history.n:,} customers has two baskets, so that one could be foreseen from the "
                "other. Take a longer history, or recommend what is popular."
            )
        with_history = rows[np.diff(before.basket_start)[rows] > 0]
        known = self._count(before, segments, with_history)
        self._blend = self._weighed(before, targets, segments, known, with_history, rng)
        self._knowledge = self._count(history, segments, rows)
        return self

    @classmethod
    def fitted(cls, knowledge: Knowledge, blend: Blend) -> NextBasket:
        """Return a model of what was learned before."""
        model = cls()
        model._knowledge, model._blend = knowledge, blend
        return model

    @property
    def knowledge(self) -> Knowledge:
        """What was counted; :class:`DataError` before :meth:`fit`."""
        if self._knowledge is None:
            raise DataError("Next basket: call fit(history) first.")
        return self._knowledge

    @property
    def blend(self) -> Blend:
        """The weights; :class:`DataError` before :meth:`fit`."""
        if self._blend is None:
            raise DataError("Next basket: call fit(history) first.")
        return self._blend

    def recommend(
        self,
        history: Baskets,
        k: int,
        *,
        day: NDArray[np.int32] | int | None = None,
        segments: NDArray[np.int32] | None = None,
        only: str | None = None,
        excluded: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int32]:
        """Return the codes of the k best products for each customer, shape (n, k), -1 where there are no more.

        Parameters
        ----------
        history
            What each customer bought so far; the products are those of the fit.
        k
            How many, at least 1.
        day
            For which day (days since 1970-01-01), one for all or one each; by default the day after the last of the
            fit. What is in vogue is counted up to it.
        segments
            Number of each customer's segment at fit, -1 for none.
        only
            One of :data:`ONLY`; both by default.
        excluded
            Which products are never offered, shape (m,).
        """
        return self.rank(history, k, day=day, segments=segments, only=only, excluded=excluded, explain=False).codes

    def rank(
        self,
        history: Baskets,
        k: int,
        *,
        day: NDArray[np.int32] | int | None = None,
        segments: NDArray[np.int32] | None = None,
        only: str | None = None,
        excluded: NDArray[np.bool_] | None = None,
        explain: bool = True,
        myself: NDArray[np.int64] | None = None,
        threads: int | None = None,
    ) -> Ranked:
        """Return the best products, their scores and, with ``explain``, what these rest on; see :meth:`recommend`.

        ``myself``: each customer's row among the reference customers, -1 where none, if it is known already.
        """
        from engine.clustering.jit import numba_threads
        from engine.recommend.kernels import CLOSEST, WIDTH
        from engine.recommend.rank_kernels import rank_chunks

        known, blend, n = self.knowledge, self.blend, history.n
        if k < 1:
            raise SettingError(f"k: expected at least 1 product; got {k}.")
        same = history.products is known.products or history.products.equals(known.products)
        if not same:
            raise DataError(
                f"Next basket: the history has {history.m:,} products, the model {len(known.products):,} or others. "
                "Encode the history with the model's products."
            )
        days = checked_days(day, n, known.popularity.day_after)
        numbers = self._segments(segments, n)
        if myself is None:
            myself = alike.rows_among(history.customer_ids, known.references)
        top, scores = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
        signals = np.empty((n if explain else 0, k, WIDTH), np.float32)
        neighbours = np.empty((n if explain else 0, CLOSEST), np.int32)
        weights, offered = blend.kernel_weights(), wanted_kinds(only, excluded, known.buyers, least=k)
        with numba_threads(threads):
            for part, markets, lines in _by_days(known, days):
                # Of one day, the usual case, nothing is copied.
                whole = len(part) == n
                own = history if whole else history.take(part)
                out = (
                    [array if whole else array[part] for array in (top, scores, signals, neighbours)]
                    if explain
                    else [*(array if whole else array[part] for array in (top, scores)), signals, neighbours]
                )
                rank_chunks(
                    purchases(own), own.basket_start[1:], days[part], myself[part], numbers[part], known.along,
                    known.following, known.people, markets, lines, known.groups, known.repurchase.habits,
                    offered, np.array(SIZES), ROOM + k, weights, *out,
                )  # fmt: skip
                if not whole:
                    top[part], scores[part] = out[:2]
                    if explain:
                        signals[part], neighbours[part] = out[2:]
        return Ranked(top, scores, signals, neighbours)

    def _weighed(
        self,
        before: Baskets,
        targets: Targets,
        segments: NDArray[np.int32] | None,
        known: Knowledge,
        rows: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> Blend:
        """Fit the weights on targets, by what came before them."""
        from engine.recommend.kernels import WIDTH
        from engine.recommend.rank_kernels import sample_chunks

        count = len(targets.customers)
        chosen = np.arange(count)
        if count > self._fit_customers:
            chosen = np.sort(rng.choice(count, self._fit_customers, replace=False))
        who, days = targets.customers[chosen], targets.day[chosen]
        myself = np.full(before.n, -1)
        myself[rows] = np.arange(len(rows))
        numbers = self._segments(segments, before.n, len(known.groups.lift) - 1)[who]
        owner = np.repeat(np.arange(count), np.diff(targets.start))
        place = np.full(count, -1)
        place[chosen] = np.arange(len(chosen))
        wanted = place[owner] >= 0
        in_basket = np.sort(place[owner][wanted] * before.m + targets.item[wanted])
        signals, bought, anything = [], [], wanted_kinds(None, None, known.buyers, least=0)
        for part, markets, lines in _by_days(known, days, FIT_AT_ONCE):
            found, size = np.empty((len(part), ROOM), np.int32), np.zeros(len(part), np.int64)
            of_part = np.empty((len(part), ROOM, WIDTH), np.float32)
            sample_chunks(
                purchases(before), who[part], before.basket_start[1:][who[part]], days[part], myself[who[part]],
                numbers[part], known.along, known.following, known.people, markets, lines, known.groups,
                known.repurchase.habits, anything, np.array(SIZES), found, of_part, size,
            )  # fmt: skip
            there = np.arange(ROOM) < size[:, None]
            code = np.repeat(part, size) * before.m + found[there]
            signals.append(of_part[there])
            bought.append(in_basket[np.minimum(np.searchsorted(in_basket, code), len(in_basket) - 1)] == code)
        return fit_blend(np.concatenate(signals), np.concatenate(bought), rng)

    def _segments(self, segments: NDArray[np.int32] | None, n: int, count: int | None = None) -> NDArray[np.int64]:
        """Return the row of each customer's segment in the knowledge of groups: the last where there is none."""
        last = len(self.knowledge.groups.lift) - 1 if count is None else count
        numbers = checked_segments(segments, n).astype(np.int64)
        if n and last == 0 and int(numbers.max()) >= 0:
            raise DataError("segments: the model was fitted without segments. Fit it with them, or give none.")
        if n and int(numbers.max()) >= last:
            raise DataError(f"segments: the model knows {last} segments (0 to {last - 1}); got number {numbers.max()}.")
        return np.where(numbers < 0, last, numbers)


def checked_days(day: Any, n: int, default: int) -> NDArray[np.int32]:
    """Return a day for each of n customers, days since 1970-01-01; :class:`DataError` where they are none."""
    days = np.asarray(default if day is None else day)
    fits = np.issubdtype(days.dtype, np.integer) and days.shape in ((), (n,))
    if not fits or (days.size and not -(2**31) <= int(days.min()) <= int(days.max()) < 2**31):
        raise DataError(
            f"day: expected whole days since 1970-01-01, one or one for each of {n:,} customers; got shape "
            f"{days.shape}, type {days.dtype}."
        )
    return np.ascontiguousarray(np.broadcast_to(days.astype(np.int32), n))


def wanted_kinds(
    only: str | None, excluded: NDArray[np.bool_] | None, buyers: NDArray[np.integer], *, least: int
) -> Any:
    """Return what may be offered, as the kernels read it; see :meth:`NextBasket.recommend`.

    ``buyers`` (m,): of each product, in whose order what follows the candidates comes, up to ``least``.
    """
    from engine.recommend.kernels import Wanted

    m = len(buyers)

    if only is not None and only not in ONLY:
        raise SettingError.from_unknown("only", only, ONLY)
    never = np.zeros(m, np.bool_) if excluded is None else np.ascontiguousarray(excluded)
    if never.dtype != np.bool_ or never.shape != (m,):
        raise DataError(f"excluded: expected a truth value for each of {m:,} products; got shape {never.shape}.")
    order = np.argsort(-np.asarray(buyers), kind="stable").astype(np.int32)
    return Wanted(only != "bought", only != "new", never, least, order)


def purchases(history: Baskets) -> Any:
    """Return a history as the kernels read it."""
    from engine.recommend.kernels import Purchases

    return Purchases(history.basket_start, history.day, history.item_start, history.item)


def _by_days(known: Knowledge, days: NDArray[np.int32], most: int | None = None) -> Iterator[Any]:
    """Yield customers (row numbers, ascending), the markets of their days and which row of these is each one's.

    ``most``: customers at once; all of a block of days by default.
    """
    distinct, line = np.unique(days, return_inverse=True)
    order = np.argsort(line, kind="stable")
    ends = np.searchsorted(line[order], np.arange(len(distinct) + 1))
    for begin, markets in known.popularity.markets(distinct.astype(np.int64), DAYS_AT_ONCE):
        end = min(begin + DAYS_AT_ONCE, len(distinct))
        whole = np.sort(order[ends[begin] : ends[end]])
        for first in range(0, len(whole), most or max(len(whole), 1)):
            part = whole[first : first + (most or len(whole))]
            yield part, markets, line[part] - begin
