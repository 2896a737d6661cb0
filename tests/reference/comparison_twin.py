"""The comparison of two divisions as its definitions read: dictionaries, pairs of customers, every matching tried."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, permutations


def moves(before: dict[int, str], after: dict[int, str]) -> Counter[tuple[str, str]]:
    return Counter((before.get(one, "new"), after.get(one, "gone")) for one in before.keys() | after.keys())


def adjusted_rand(before: dict[int, str], after: dict[int, str]) -> float | None:
    pairs = list(combinations(sorted(before.keys() & after.keys()), 2))
    if not pairs:
        return None
    together = [(before[a] == before[b], after[a] == after[b]) for a, b in pairs]
    both = sum(first and second for first, second in together)
    one, other = (sum(pair[side] for pair in together) for side in (0, 1))
    expected = one * other / len(pairs)
    most = (one + other) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


def most_who_can_stay(before: dict[int, str], after: dict[int, str]) -> int:
    """Try every one-to-one matching of the segments that have no namesake; namesakes are matched as they are."""
    counts = moves(before, after)
    first, second = set(before.values()), set(after.values())
    rows, columns = sorted(first - second), sorted(second - first)
    columns += ["nobody"] * len(rows)
    ways = permutations(columns, len(rows))
    best = max(sum(counts[pair] for pair in zip(rows, way, strict=True)) for way in ways)
    return best + sum(counts[key, key] for key in first & second)
