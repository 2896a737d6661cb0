"""How much a search on samples does, and when a solve has to stop."""

from __future__ import annotations

import time
from dataclasses import dataclass

from engine.clustering.search import Effort


@dataclass(frozen=True, slots=True)
class Plan:
    """How many rows and starts are searched; the defaults hold the aim of 1.001 × the best that is known.

    Attributes
    ----------
    few_rows, few_rows_per_cluster, few_rows_most, few_rows_least : int
        The first sample has ``few_rows``, or so many a cluster up to ``few_rows_most``, or ``few_rows_least`` a
        cluster: the most of these.
    early : int
        Starts there that are looked at first. Where groups overlap no two of them end alike within a dozen moves; where
        groups are apart about four of six do, and what each of the others misses is its own.
    starts, starts_for_centroids : int
        At most so many starts there, and for larger k so many centroids in all; never fewer than ``starts_least``.
    rows_least, rows, rows_per_cluster : int
        Rows of the larger sample: ``rows`` from ten clusters on, fewer for fewer, but never fewer than ``rows_least``;
        more for very many.
    fresh, fresh_for_centroids : int
        Starts of its own there, because it may hold a far cluster that the few rows did not.
    part : int
        Those begin on each ``part``-th of its rows.
    moves_in_part, moves : int
        Moves of every start there, and on all of it. On the first sample each start makes as many as both.
    kept, kept_moves : int
        Solutions there that go on, and how far.
    finalists, final_moves : int
        Solutions that go on further, and are measured on all rows.
    breathing_from : int
        From this k on, the two best of them breathe once more before: few clusters gain nothing by it.
    polish_reads : int
        Further reads.
    """

    few_rows: int = 16_384
    few_rows_per_cluster: int = 2048
    few_rows_most: int = 40_960
    few_rows_least: int = 512
    early: int = 6
    starts: int = 16
    starts_for_centroids: int = 160
    starts_least: int = 4
    rows_least: int = 32_768
    rows: int = 131_072
    rows_per_cluster: int = 4096
    fresh: int = 16
    fresh_for_centroids: int = 160
    fresh_least: int = 2
    part: int = 4
    moves_in_part: int = 7
    moves: int = 5
    kept: int = 4
    kept_moves: int = 15
    finalists: int = 3
    final_moves: int = 35
    breathing_from: int = 24
    polish_reads: int = 3

    def few(self, k: int) -> int:
        """Return the rows of the first sample."""
        return max(self.few_rows, min(self.few_rows_most, self.few_rows_per_cluster * k), self.few_rows_least * k)

    def first_starts(self, k: int) -> int:
        """Return the starts on the first sample."""
        return max(self.starts_least, min(self.starts, self.starts_for_centroids // k))

    def more(self, k: int) -> int:
        """Return the rows of the larger sample."""
        return max(self.rows_least, min(self.rows, self.rows * k // 10), self.rows_per_cluster * k)

    def fresh_starts(self, k: int) -> int:
        """Return the starts on the larger sample."""
        return max(self.fresh_least, min(self.fresh, self.fresh_for_centroids // k))

    def effort(self, k: int) -> Effort:
        """Return how the first search breathes."""
        return Effort(width=max(3, min(24, k // 4)))


PLAN = Plan()


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop: most moves of a start, tolerance in mean variances, reads of all rows, a time of the clock."""

    max_iter: int
    tol: float
    max_passes: int | None = None
    until: float | None = None

    def stop(self, passes: int) -> str:
        """Return the limit that forbids another read, or nothing."""
        if self.max_passes is not None and passes >= self.max_passes:
            return "max_passes"
        return "max_seconds" if self.late() else ""

    def late(self) -> bool:
        """Say whether time is up."""
        return self.until is not None and time.monotonic() > self.until
