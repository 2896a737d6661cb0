"""Agreement of two divisions by looking at every pair of rows and every way to match clusters."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, permutations


def adjusted_rand_by_pairs(a: Sequence[int], b: Sequence[int]) -> float:
    together_a = together_b = both = every = 0
    for i, j in combinations(range(len(a)), 2):
        every += 1
        together_a += a[i] == a[j]
        together_b += b[i] == b[j]
        both += a[i] == a[j] and b[i] == b[j]
    if every == 0:
        return 1.0
    expected = Fraction(together_a * together_b, every)
    most = Fraction(together_a + together_b, 2)
    return 1.0 if most == expected else float((both - expected) / (most - expected))


def most_rows_kept(a: Sequence[int], b: Sequence[int]) -> int:
    first, second = sorted(set(a)), sorted(set(b))
    short, long = (first, second) if len(first) <= len(second) else (second, first)
    pairs = list(zip(a, b, strict=True)) if short is first else list(zip(b, a, strict=True))
    return max(
        sum(dict(zip(short, chosen, strict=True))[x] == y for x, y in pairs)
        for chosen in permutations(long, len(short))
    )
