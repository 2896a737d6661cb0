"""What all customers buy: ever, and at any day of the history what they bought lately."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from engine.recommend.baskets import ranges

if TYPE_CHECKING:
    from engine.recommend.baskets import Baskets
    from engine.recommend.kernels import Market

FRESH_DAYS, RECENT_DAYS = 5.0, 21.0
"""Half-lives of what was bought: an offer of the week, and a season."""

LEAST_SHARE = 1e-5
"""Added to the share of baskets before the logarithm: what a product has that nobody bought."""

IN_VOGUE = 60
"""Products in vogue that every customer is a candidate for."""


class Popularity:
    """How often each product was bought on each day.

    Parameters
    ----------
    history
        Of all customers.

    Notes
    -----
    On day t a basket of day d counts 2^(−(t − d) / half-life), and only where d < t: what is in vogue on a day rests on
    the days before it. What was bought *ever* is of the whole history, which whoever recommends for a day in the past
    must cut there.
    """

    def __init__(self, history: Baskets) -> None:
        self.m = history.m
        self.baskets = history.baskets
        self.bought = np.bincount(history.item, minlength=history.m).astype(np.float64)
        order = np.argsort(history.day, kind="stable")
        self.days, begins, counts = np.unique(history.day[order], return_index=True, return_counts=True)
        self._baskets = dict(zip(self.days.tolist(), counts.tolist(), strict=True))
        items, times, first = [], [], [0]
        for begin, baskets in zip(begins.tolist(), counts.tolist(), strict=True):
            own = order[begin : begin + baskets]
            bought = np.bincount(
                history.item[ranges(history.item_start[own], history.item_start[own + 1])], minlength=self.m
            )
            items.append(np.flatnonzero(bought).astype(np.int32))
            times.append(bought[items[-1]].astype(np.int32))
            first.append(first[-1] + len(items[-1]))
        self._item = np.concatenate(items) if items else np.zeros(0, np.int32)
        self._count = np.concatenate(times) if times else np.zeros(0, np.int32)
        self._first = np.array(first)
        self._kept: tuple[int, Market] | None = None

    @property
    def day_after(self) -> int:
        """The day after the last of the history."""
        return int(self.days[-1]) + 1 if len(self.days) else 0

    def market(self, days: NDArray[np.int64]) -> Market:
        """Return what was in vogue on each of some days (ascending, each once)."""
        ((_, market),) = self.markets(days, max(len(days), 1))
        return market

    def _one_day(self, day: int) -> Market:
        """Return what was in vogue on one day; the last that was asked for is kept."""
        if self._kept is None or self._kept[0] != day:
            ((_, market),) = self._walk(np.array([day]), 1)
            self._kept = (day, market)
        return self._kept[1]

    def markets(self, days: NDArray[np.int64], at_once: int) -> Iterator[tuple[int, Market]]:
        """Yield the place of the first of so many days at once, and what was in vogue on them; once at least."""
        if len(days) == 1:
            yield 0, self._one_day(int(days[0]))
        else:
            yield from self._walk(days, at_once)

    def _walk(self, days: NDArray[np.int64], at_once: int) -> Iterator[tuple[int, Market]]:
        from engine.recommend.kernels import Market

        fresh, recent = _Fading(self.m, FRESH_DAYS), _Fading(self.m, RECENT_DAYS)
        ever = np.log(self.bought / max(self.baskets, 1) + LEAST_SHARE).astype(np.float32)
        following = 0
        for begin in range(0, max(len(days), 1), at_once):
            part = days[begin : begin + at_once].tolist()
            now_fresh, now_recent = (np.empty((len(part), self.m), np.float32) for _ in range(2))
            popular = np.empty((len(part), min(IN_VOGUE, self.m)), np.int32)
            for line, day in enumerate(part):
                while following < len(self.days) and self.days[following] < day:
                    rows = slice(self._first[following], self._first[following + 1])
                    now = int(self.days[following])
                    for state in (fresh, recent):
                        state.add(now, self._item[rows], self._count[rows], self._baskets[now])
                    following += 1
                for state, out in ((fresh, now_fresh), (recent, now_recent)):
                    out[line] = np.log(state.shares() + LEAST_SHARE)
                popular[line] = _best(fresh.total, recent.total, popular.shape[1])
            yield begin, Market(now_fresh, now_recent, ever, popular)


class PopularityThen:
    """What was in vogue on the day that a model was written for; nothing is known of the days before it.

    Parameters
    ----------
    day
        That day, days since 1970-01-01.
    market
        Of that day.
    """

    def __init__(self, day: int, market: Market) -> None:
        self.day_after = day
        self._market = market

    def market(self, days: NDArray[np.int64]) -> Market:
        """Return what was in vogue, the same for every day from that one on."""
        if len(days) and int(days.min()) < self.day_after:
            raise DataError(
                f"day: this recommender was written for day {self.day_after} (since 1970-01-01) and later ones; got "
                f"{int(days.min())}. Fit one at the earlier date."
            )
        own = self._market
        if len(days) == 1:
            return own
        line = np.zeros(len(days), dtype=np.int64)
        return own._replace(fresh=own.fresh[line], recent=own.recent[line], popular=own.popular[line])

    def markets(self, days: NDArray[np.int64], at_once: int) -> Iterator[tuple[int, Market]]:
        """Yield the same for so many days at once; see :meth:`Popularity.markets`."""
        for begin in range(0, max(len(days), 1), at_once):
            yield begin, self.market(days[begin : begin + at_once])


class _Fading:
    """Counts that lose half their weight every so many days; kept as of the day that was last added."""

    def __init__(self, m: int, half_life_days: float) -> None:
        self.total = np.zeros(m)
        self._baskets = 0.0
        self._day: int | None = None
        self._half_life = half_life_days

    def add(self, day: int, item: NDArray[np.int32], count: NDArray[np.int32], baskets: int) -> None:
        """Add the purchases of a later day."""
        if self._day is not None:
            fade = 2.0 ** (-(day - self._day) / self._half_life)
            self.total *= fade
            self._baskets *= fade
        self.total[item] += count
        self._baskets += baskets
        self._day = day

    def shares(self) -> NDArray[np.float64]:
        """Return the share of baskets that had each product."""
        return self.total / max(self._baskets, 1e-300) if self._baskets else self.total


def _best(fresh: NDArray[np.float64], recent: NDArray[np.float64], most: int) -> NDArray[np.int32]:
    """Return the products with the largest totals; of equal ones that of the longer memory, then the lower code."""
    return np.lexsort((np.arange(len(fresh)), -recent, -fresh))[:most].astype(np.int32)
