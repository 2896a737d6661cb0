"""Why a product is recommended: the signal that speaks for it most, in words and with its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engine.recommend.baskets import Baskets
    from engine.recommend.blend import Blend
    from engine.recommend.next_basket import NextBasket, Ranked

REASONS = ("habit", "owned", "alike", "along", "following", "segment", "fresh", "popular")
"""``habit``: the customer buys it again and again; ``owned``: bought before; ``alike``: customers who buy alike have
it; ``along``: it goes with another product that the customer buys; ``following``: it comes after one of the last
basket; ``segment``: the segment buys it more than others; ``fresh``: bought more these days than before; ``popular``:
many buy it."""

LEAST_ALIKE = 3
"""So many of the closest neighbours must have bought a product for that to be a reason."""

LAPSED_INTERVALS = 3
"""Intervals between two purchases after which a habit is one no more."""

HABIT_TIMES = 3
"""Baskets with a product that make buying it a habit."""

LEAST_LIFT = 1.2
"""So many times as often as all a segment must buy a product, or all buy it now as before."""


class Evidence(NamedTuple):
    """Why each ranked product is there, arrays of shape (n, k); without meaning where the code is -1.

    Attributes
    ----------
    reason
        Place in :data:`REASONS`.
    times, since_days, interval_days
        Baskets with it; days since the last of them, -1 without; days between two of them, NaN below two.
    nearest
        How many of the nearest customers bought it.
    partner
        Code of the product that it goes with or follows; -1 without.
    lift
        Of the segment or of these days; NaN where neither is the reason.
    nearest_of
        How many nearest customers there are, shape (n,).
    """

    reason: NDArray[np.int64]
    times: NDArray[np.int32]
    since_days: NDArray[np.int32]
    interval_days: NDArray[np.float64]
    nearest: NDArray[np.int32]
    partner: NDArray[np.int32]
    lift: NDArray[np.float32]
    nearest_of: NDArray[np.int64]


def evidence(
    model: NextBasket,
    history: Baskets,
    ranked: Ranked,
    days: NDArray[np.int32],
    *,
    segments: bool,
    threads: int | None = None,
) -> Evidence:
    """Return what speaks for each ranked product; see :func:`explained`.

    Who has bought a product before is told so: no reason is plainer. For any other the signal counts that adds most
    to its score.
    """
    from engine.clustering.jit import numba_threads
    from engine.recommend.next_basket import purchases
    from engine.recommend.reason_kernels import Facts, fact_chunks

    known = model.knowledge
    facts = np.empty((6, *ranked.codes.shape), np.int32)
    with numba_threads(threads):
        fact_chunks(
            purchases(history), history.basket_start[1:], ranked.codes, ranked.neighbours, known.along, known.following,
            known.people, Facts(*facts),
        )  # fmt: skip
    new = np.diff(history.basket_start) == 0
    reason, partner, lift = reasons_of(
        model.blend, ranked.signals, facts, new[:, None], days[:, None], segments=segments
    )
    times, first, last, among = facts[:4]
    return Evidence(
        reason=reason,
        times=times,
        since_days=np.where(times > 0, np.maximum(days[:, None] - last, 0), -1).astype(np.int32),
        interval_days=np.where(times > 1, (last - first) / np.maximum(times - 1, 1), np.nan),
        nearest=among,
        partner=partner,
        lift=lift,
        nearest_of=(ranked.neighbours >= 0).sum(axis=1),
    )


def reasons_of(
    blend: Blend,
    signals: NDArray[np.float32],
    facts: NDArray[np.int32],
    new: NDArray[np.bool_],
    days: NDArray[np.int32],
    *,
    segments: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Return the reason of each product, the product that it speaks of (or -1), and the lift that it tells (or NaN).

    Parameters
    ----------
    blend
        Says what a signal adds to a score.
    signals
        Of ranked products, shape (…, signals).
    facts
        In the order of :class:`engine.recommend.reason_kernels.Facts`, shape (6, …).
    new
        Whether the customer has no basket: then it is what the segment buys, or all. Broadcast against the products.
    days
        The day of the recommendation; broadcast too.
    segments
        Whether there are any.
    """
    from engine.recommend import kernels as k_

    times, first, last, among, fellow, leader = facts
    lift_here = np.exp(signals[..., k_.SEGMENT])
    lift_now = np.exp(signals[..., k_.FRESH] - signals[..., k_.RECENT])
    here = (lift_here >= LEAST_LIFT) & segments
    may = {
        "alike": (among >= LEAST_ALIKE, [k_.ALIKE]),
        "along": (fellow >= 0, [k_.ALONG]),
        "following": (leader >= 0, [k_.FOLLOWING]),
        "segment": (here, [k_.SEGMENT]),
        "fresh": (lift_now >= LEAST_LIFT, [k_.FRESH, k_.RECENT]),
        "popular": (np.ones(times.shape, bool), [k_.FRESH, k_.RECENT, k_.EVER]),
    }
    gains = blend.gains(signals, [group for _, group in may.values()])
    strength = np.where(np.stack([able for able, _ in may.values()]) & ~new, gains, -np.inf)
    names = [*may]
    strength[names.index("popular")] = np.where(new, 0.0, strength[names.index("popular")])
    strength[names.index("segment")] = np.where(new & here, lift_here, strength[names.index("segment")])
    best = np.array([REASONS.index(name) for name in names])[strength.argmax(axis=0)]
    habit, owned, segment, fresh, along, following = map(
        REASONS.index, ("habit", "owned", "segment", "fresh", "along", "following")
    )
    # Who has let it go for several intervals does not buy it every so often any more.
    kept_up = (days - last) * np.maximum(times - 1, 1) <= LAPSED_INTERVALS * (last - first)
    reason = np.where(times > 0, np.where((times >= HABIT_TIMES) & (last > first) & kept_up, habit, owned), best)
    partner = np.where(reason == following, leader, np.where(reason == along, fellow, -1))
    lift = np.where(reason == segment, lift_here, np.where(reason == fresh, lift_now, np.float32(np.nan)))
    return reason, partner.astype(np.int32), lift.astype(np.float32)


def explained(
    model: NextBasket,
    history: Baskets,
    ranked: Ranked,
    *,
    day: NDArray[np.int32] | int | None = None,
    segments: NDArray[np.int32] | None = None,
) -> pl.DataFrame:
    """Return the recommendations as a table, each with its reason and the figures of the reason.

    Parameters
    ----------
    model, history, ranked
        What was ranked for whom, with ``explain``.
    day
        As ranked. Of the history only what lies before it may be given.
    segments
        As ranked; without, no reason speaks of a segment.

    Returns
    -------
    pl.DataFrame
        ``customer_id``, ``rank`` (from 1), ``product_id``, ``score``, ``reason`` (one of :data:`REASONS`) and its
        figures: ``times_bought`` (baskets), ``days_since_bought``, ``interval_days`` (between two purchases of this
        customer; null below two), ``nearest`` and ``nearest_of`` (of so many nearest customers so many bought it),
        ``with_product`` (that it goes with or follows), ``lift`` (of the segment, or of these days).
    """
    from engine.recommend.next_basket import checked_days

    n, k = ranked.codes.shape
    names = model.knowledge.products
    days = checked_days(day, n, model.knowledge.popularity.day_after)
    why = evidence(model, history, ranked, days, segments=segments is not None)
    there = ranked.codes >= 0
    rows = np.repeat(np.arange(n), there.sum(axis=1))
    partner = why.partner[there]
    return pl.DataFrame(
        {
            "customer_id": history.customer_ids.gather(rows),
            "rank": np.broadcast_to(np.arange(1, k + 1, dtype=np.int32), (n, k))[there],
            "product_id": names.gather(ranked.codes[there]),
            "score": ranked.scores[there],
            "reason": pl.Series(why.reason[there].astype(np.uint8)).cat.to(pl.Enum(REASONS)),
            "times_bought": why.times[there],
            "days_since_bought": pl.Series(why.since_days[there]).replace(-1, None),
            "interval_days": pl.Series(why.interval_days[there]).fill_nan(None),
            "nearest": why.nearest[there],
            "nearest_of": why.nearest_of[rows].astype(np.int32),
            "with_product": names.gather(pl.Series(np.where(partner < 0, 0, partner))),
            "lift": pl.Series(why.lift[there]).fill_nan(None),
        }
    ).with_columns(pl.when(pl.Series(partner >= 0)).then("with_product"))
