"""The machine code for one customer: as :mod:`engine.recommend.kernels`, in the caller's thread and work space."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.clustering.jit import compiled
from engine.recommend.kernels import (
    CLOSEST,
    EVER,
    SEGMENT,
    WIDTH,
    Groups,
    Habits,
    Lists,
    Market,
    People,
    Purchases,
    Scratch,
    Wanted,
    Weights,
    candidates,
)
from engine.recommend.rank_kernels import best_products, followed, score_all
from engine.recommend.reason_kernels import Facts, facts_of

Array = np.ndarray[Any, Any]


@compiled()
def rank_one(
    p: Purchases,
    day: int,
    myself: int,
    segment: int,
    along: Lists,
    following: Lists,
    people: People,
    market: Market,
    groups: Groups,
    habits: Habits,
    wanted: Wanted,
    sizes: Array,
    weights: Weights,
    k: int,
    found: Array,
    signals: Array,
    columns: Array,
    value: Array,
    s: Scratch,
) -> Any:
    """Return the best products of the only customer of ``p``, what their scores rest on, and the facts of reasons.

    ``top`` (kept,) int32, ``scores`` (kept,), ``signals_of_top`` (kept, WIDTH), ``closest`` (CLOSEST,), ``facts``
    (6, kept) int32 in the order of :class:`engine.recommend.reason_kernels.Facts`. ``found`` (room,), ``signals``
    (room, WIDTH), ``columns`` (WIDTH, room), ``value`` (room,) and ``s`` are work space; ``s`` is cleared at the end.
    """
    closest = np.empty((1, CLOSEST), np.int32)
    end = p.basket_start[1]
    size, whole = candidates(
        p, 0, end, day, myself, segment, along, following, people, market, groups, habits, wanted, sizes, s, found,
        signals, closest[0],
    )  # fmt: skip
    if end > p.basket_start[0]:
        score_all(signals, whole, weights, columns, value)
    else:
        # As in rank_chunks: weights of other people's habits say nothing of whom nobody knows.
        for q in range(whole):
            value[q] = signals[q, EVER] + signals[q, SEGMENT]
    order = np.empty(k, np.int32)
    kept = best_products(value, found, np.arange(size).astype(np.int32), size, k, order)
    kept = followed(kept, size, whole, k, order)
    top = np.empty((1, kept), np.int32)
    scores = np.empty(kept, np.float32)
    signals_of_top = np.empty((kept, WIDTH), np.float32)
    for q in range(kept):
        top[0, q] = found[order[q]]
        scores[q] = value[order[q]]
        signals_of_top[q] = signals[order[q]]
    facts = np.empty((6, 1, kept), np.int32)
    rows = Facts(facts[0], facts[1], facts[2], facts[3], facts[4], facts[5])
    facts_of(p, 0, end, top, closest, along, following, people, rows, s, np.empty(kept, np.float32))
    return top[0], scores, signals_of_top, closest[0], facts[:, 0]
