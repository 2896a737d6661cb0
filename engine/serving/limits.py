"""How much one caller may ask: token buckets, which let a burst through and then a steady rate."""

from __future__ import annotations

import time
from collections.abc import Callable

MOST_KEYS = 10_000
"""Callers remembered at a time; beyond it those who have been quiet are forgotten first."""


class Buckets:
    """One token bucket for each caller.

    Parameters
    ----------
    rate
        Requests per second that go on for ever, above 0.
    burst
        Requests that may come at once after a pause, at least 1.
    clock
        Seconds that only grow.

    Examples
    --------
    >>> now = 0.0
    >>> buckets = Buckets(rate=2.0, burst=1.0, clock=lambda: now)
    >>> buckets.take("crm"), buckets.take("crm"), buckets.take("till")
    (0.0, 0.5, 0.0)
    >>> now = 0.5
    >>> buckets.take("crm")
    0.0
    """

    def __init__(self, rate: float, burst: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self.burst = max(1.0, burst)
        self._clock = clock
        # Caller to (what is left in the bucket, when that was so).
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, key: str, cost: float = 1.0) -> float:
        """Take from a caller's bucket; return 0, or the seconds to wait where it holds too little."""
        now = self._clock()
        level = self._level(key, now)
        if level < cost:
            self._put(key, level, now)
            return (cost - level) / self.rate
        self._put(key, level - cost, now)
        return 0.0

    def wait(self, key: str) -> float:
        """Return the seconds until a caller's bucket holds one, without taking it."""
        return max(0.0, (1.0 - self._level(key, self._clock())) / self.rate)

    def _level(self, key: str, now: float) -> float:
        left, then = self._levels.get(key, (self.burst, now))
        return min(self.burst, left + (now - then) * self.rate)

    def _put(self, key: str, level: float, now: float) -> None:
        # Last in the dictionary is who came last.
        self._levels.pop(key, None)
        self._levels[key] = (level, now)
        if len(self._levels) > MOST_KEYS:
            del self._levels[next(iter(self._levels))]
