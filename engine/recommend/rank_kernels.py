"""The machine code that ranks: scores of candidates, the best of them, for many customers at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from engine.clustering.jit import compiled
from engine.recommend.heap_kernels import better
from engine.recommend.kernels import (
    BLOCK,
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
    Wanted,
    Weights,
    candidates,
    scratch,
)

Array = np.ndarray[Any, Any]


@compiled(parallel=True)
def rank_chunks(
    p: Purchases,
    ends: Array,
    days: Array,
    myself: Array,
    segments: Array,
    along: Lists,
    following: Lists,
    people: People,
    markets: Market,
    lines: Array,
    groups: Groups,
    habits: Habits,
    wanted: Wanted,
    sizes: Array,
    room: int,
    weights: Weights,
    top: Array,
    scores: Array,
    signals_of_top: Array,
    neighbours: Array,
) -> None:
    """Write the best products of each customer, their scores and signals; -1 and 0 where there are no more.

    ``markets``: of several days, a row for each; ``lines`` (n,): which row is a customer's. ``room``: the most
    candidates. ``top`` and
    ``scores`` (n, k), ``signals_of_top`` (n, k, WIDTH) or (0, 0, WIDTH) for none, ``neighbours`` (n, CLOSEST) or
    (0, CLOSEST).
    """
    n, k = top.shape
    m, references = len(habits.gap), len(people.start) - 1
    for block in prange(-(-n // BLOCK)):
        s = scratch(m, references)
        found = np.empty(room, np.int32)
        signals = np.empty((room, WIDTH), np.float32)
        columns, value = np.empty((WIDTH, room), np.float32), np.empty(room, np.float32)
        numbers = np.arange(room).astype(np.int32)
        order = np.empty(room, np.int32)
        closest = np.empty(CLOSEST, np.int32)
        for c in range(block * BLOCK, min(n, (block + 1) * BLOCK)):
            line = lines[c]
            market = Market(markets.fresh[line], markets.recent[line], markets.ever, markets.popular[line])
            size, whole = candidates(
                p, c, ends[c], days[c], myself[c], segments[c], along, following, people, market, groups, habits,
                wanted, sizes, s, found, signals, closest,
            )  # fmt: skip
            if ends[c] > p.basket_start[c]:
                score_all(signals, whole, weights, columns, value)
            else:
                # Of whom nothing is known: what the segment buys most. Weights of other people's habits say nothing.
                for q in range(whole):
                    value[q] = signals[q, EVER] + signals[q, SEGMENT]
            kept = best_products(value, found, numbers, size, k, order)
            kept = followed(kept, size, whole, k, order)
            for q in range(k):
                top[c, q] = found[order[q]] if q < kept else -1
                scores[c, q] = value[order[q]] if q < kept else 0.0
                if len(signals_of_top) > 0:
                    for f in range(WIDTH):
                        signals_of_top[c, q, f] = signals[order[q], f] if q < kept else 0.0
            if len(neighbours) > 0:
                neighbours[c] = closest


@compiled()
def score_all(signals: Array, size: int, weights: Weights, columns: Array, value: Array) -> None:
    """Write Σ signal × (weight + Σ pair weight × signal) of each candidate; see :class:`engine.recommend.blend.Blend`.

    A signal counts as the nearest value that the fit has seen: beyond, a parabola goes anywhere. ``columns``
    (WIDTH, room) is work space: candidates side by side fill the lanes of a processor's registers.
    """
    for q in range(size):
        value[q] = 0.0
        for f in range(WIDTH):
            columns[f, q] = min(max(signals[q, f], weights.low[f]), weights.high[f])
    for f in range(WIDTH):
        own = columns[f]
        for q in range(size):
            value[q] += weights.own[f] * own[q]
        for g in range(f, WIDTH):
            other, weight = columns[g], weights.pairs[f, g]
            for q in range(size):
                value[q] += weight * (own[q] * other[q])


@compiled()
def best_products(value: Array, found: Array, numbers: Array, size: int, k: int, out: Array) -> int:
    """Write the places of the k best candidates to ``out``, best first, of equal ones the lower product first."""
    kept = 0
    for n in range(size):
        place = numbers[n]
        at = kept
        if kept == k:
            worst = out[k - 1]
            if not better(value[place], found[place], value[worst], found[worst]):
                continue
            at = k - 1
        else:
            kept += 1
        while at > 0 and better(value[place], found[place], value[out[at - 1]], found[out[at - 1]]):
            out[at] = out[at - 1]
            at -= 1
        out[at] = place
    return kept


@compiled()
def followed(kept: int, size: int, whole: int, k: int, order: Array) -> int:
    """Put what follows the candidates behind them, as far as the list has room; return how long it is."""
    for place in range(size, whole):
        if kept < k:
            order[kept] = place
            kept += 1
    return kept


@compiled(parallel=True)
def sample_chunks(
    p: Purchases,
    who: Array,
    ends: Array,
    days: Array,
    myself: Array,
    segments: Array,
    along: Lists,
    following: Lists,
    people: People,
    markets: Market,
    lines: Array,
    groups: Groups,
    habits: Habits,
    wanted: Wanted,
    sizes: Array,
    found: Array,
    signals: Array,
    size: Array,
) -> None:
    """Write the candidates of customers ``who`` and their signals; see :func:`rank_chunks`.

    ``found`` (w, room), ``signals`` (w, room, WIDTH), ``size`` (w,).
    """
    m, references = len(habits.gap), len(people.start) - 1
    for block in prange(-(-len(who) // BLOCK)):
        s = scratch(m, references)
        closest = np.empty(CLOSEST, np.int32)
        for q in range(block * BLOCK, min(len(who), (block + 1) * BLOCK)):
            line = lines[q]
            market = Market(markets.fresh[line], markets.recent[line], markets.ever, markets.popular[line])
            size[q], _ = candidates(
                p, who[q], ends[q], days[q], myself[q], segments[q], along, following, people, market, groups, habits,
                wanted, sizes, s, found[q], signals[q], closest,
            )  # fmt: skip
