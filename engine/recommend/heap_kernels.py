"""The machine code that finds the largest of many values: a heap whose root is the worst that is kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.clustering.jit import compiled

Array = np.ndarray[Any, Any]


@compiled()
def better(a: Any, i: int, b: Any, j: int) -> bool:
    """Say whether number i with value a ranks before number j with value b: the larger, then the lower number."""
    return a > b or (a == b and i < j)


@compiled()
def best_of(value: Array, among: Array, size: int, most: int, out: Array) -> int:
    """Write the numbers of ``among[:size]`` with the largest values to ``out``, best first; return how many.

    A heap whose root is the worst that is kept: the order of ``among`` does not matter.
    """
    kept = min(size, most)
    for n in range(kept):
        _rise(value, out, n, among[n])
    for n in range(kept, size):
        if kept > 0 and better(value[among[n]], among[n], value[out[0]], out[0]):
            _sink(value, out, kept, 0, among[n])
    _put_in_order(value, out, kept)
    return kept


@compiled()
def best_above_zero(value: Array, most: int, out: Array) -> int:
    """Write the places of the largest values to ``out``, best first; return how many. Only those above 0 count."""
    kept, worst = 0, np.float32(0.0)
    for n in range(len(value)):
        # Of equal ones the first is kept, which is the lower number.
        if value[n] > worst:
            if kept < most:
                _rise(value, out, kept, n)
                kept += 1
            else:
                _sink(value, out, kept, 0, n)
            if kept == most:
                worst = value[out[0]]
    _put_in_order(value, out, kept)
    return kept


@compiled()
def _rise(value: Array, heap: Array, place: int, number: int) -> None:
    """Put a number at the end of the heap and let it rise above those that rank before it."""
    while place > 0:
        parent = (place - 1) // 2
        if better(value[number], number, value[heap[parent]], heap[parent]):
            break
        heap[place] = heap[parent]
        place = parent
    heap[place] = number


@compiled()
def _put_in_order(value: Array, heap: Array, kept: int) -> None:
    """Turn a heap into a list, best first."""
    for end in range(kept - 1, 0, -1):
        worst, number = heap[0], heap[end]
        _sink(value, heap, end, 0, number)
        heap[end] = worst


@compiled()
def _sink(value: Array, heap: Array, size: int, place: int, number: int) -> None:
    """Put a number at a place of the heap's first ``size`` and let it sink below those that rank after it."""
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        right = child + 1
        if right < size and better(value[heap[child]], heap[child], value[heap[right]], heap[right]):
            child = right
        if not better(value[number], number, value[heap[child]], heap[child]):
            break
        heap[place] = heap[child]
        place = child
    heap[place] = number
