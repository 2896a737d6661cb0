"""The machine code that looks up what a recommendation can be explained by."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import prange

from engine.clustering.jit import compiled
from engine.recommend.kernels import BLOCK, Lists, People, Purchases, Scratch, own_products, scratch

Array = np.ndarray[Any, Any]


class Facts(NamedTuple):
    """What is known of each ranked product and the customer, (n, k) int32 each.

    ``times``: baskets with it; ``first_day``, ``last_day``: of these, 0 where none; ``among``: how many of the closest
    neighbours bought it; ``fellow``: the customer's product that it goes along with most; ``leader``: the product of
    the last basket that it follows most; -1 where there is none.
    """

    times: Array
    first_day: Array
    last_day: Array
    among: Array
    fellow: Array
    leader: Array


@compiled()
def facts_of(
    p: Purchases,
    c: int,
    end: int,
    top: Array,
    neighbours: Array,
    along: Lists,
    following: Lists,
    people: People,
    facts: Facts,
    s: Scratch,
    strength: Array,
) -> None:
    """Write the facts of one customer's ranked products. ``strength`` (k,) is work space."""
    k = top.shape[1]
    times, first_day, last_day, among, fellow, leader = facts
    owned = own_products(p, c, end, s)
    # Places of the ranked products, from 1.
    for q in range(k):
        times[c, q] = first_day[c, q] = last_day[c, q] = among[c, q] = 0
        fellow[c, q] = leader[c, q] = -1
        if top[c, q] >= 0:
            s.mark[top[c, q]] = q + 1
            times[c, q] = s.times[top[c, q]]
            last_day[c, q] = s.last[top[c, q]] if times[c, q] > 0 else 0
    for b in range(end - 1, p.basket_start[c] - 1, -1):
        for r in range(p.item_start[b], p.item_start[b + 1]):
            if s.mark[p.item[r]] > 0:
                first_day[c, s.mark[p.item[r]] - 1] = p.day[b]
    for near in range(neighbours.shape[1]):
        row = neighbours[c, near]
        if row >= 0:
            for r in range(people.start[row], people.start[row + 1]):
                if s.mark[people.item[r]] > 0:
                    among[c, s.mark[people.item[r]] - 1] += 1
    strength[:] = 0.0
    for o in range(owned):
        i = s.owned[o]
        for r in range(along.start[i], along.start[i + 1]):
            q = s.mark[along.item[r]] - 1
            if q >= 0 and along.share[r] * s.fading[i] > strength[q]:
                strength[q] = along.share[r] * s.fading[i]
                fellow[c, q] = i
    strength[:] = 0.0
    if end > p.basket_start[c]:
        for b in range(p.item_start[end - 1], p.item_start[end]):
            i = p.item[b]
            for r in range(following.start[i], following.start[i + 1]):
                q = s.mark[following.item[r]] - 1
                if q >= 0 and following.share[r] > strength[q]:
                    strength[q] = following.share[r]
                    leader[c, q] = i
    for q in range(k):
        if top[c, q] >= 0:
            s.mark[top[c, q]] = 0
    for o in range(owned):
        s.times[s.owned[o]] = 0
        s.fading[s.owned[o]] = 0.0


@compiled(parallel=True)
def fact_chunks(
    p: Purchases,
    ends: Array,
    top: Array,
    neighbours: Array,
    along: Lists,
    following: Lists,
    people: People,
    facts: Facts,
) -> None:
    """Write for each ranked product what is known of it and the customer; see :class:`Facts`."""
    n, k = top.shape
    m = len(along.start) - 1
    for block in prange(-(-n // BLOCK)):
        s = scratch(m, 0)
        strength = np.zeros(k, np.float32)
        for c in range(block * BLOCK, min(n, (block + 1) * BLOCK)):
            facts_of(p, c, ends[c], top, neighbours, along, following, people, facts, s, strength)
