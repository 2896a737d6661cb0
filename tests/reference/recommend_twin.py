"""Measures, baselines and TIFU-KNN as one would explain them at a blackboard: lists, loops, dictionaries.

A history is a list of customers, each a list of baskets in the order of time, each a list of products (numbers).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

Customer = Sequence[Sequence[int]]
History = Sequence[Customer]


def measures(ranked: Sequence[int], target: Sequence[int], own: Customer, history: History, k: int) -> dict[str, float]:
    """All measures of one customer's list; NaN where there is nothing to divide by."""
    wanted, before = set(target), {product for basket in own for product in basket}
    places = [place for place, product in enumerate(ranked, start=1) if product in wanted]
    gained = sum(1 / math.log2(place + 1) for place in places)

    def best(hits: int) -> float:
        return sum(1 / math.log2(place + 1) for place in range(1, hits + 1))

    def recall(of: set[int]) -> float:
        return len(of & set(ranked)) / len(of) if of else math.nan

    buyers = Counter(product for customer in history for product in {p for basket in customer for p in basket})
    known = sum(1 for customer in history if customer)
    bits = [-math.log2(max(buyers[product], 1) / known) for product in ranked]
    return {
        "precision": len(places) / k,
        "recall": recall(wanted),
        "ndcg": gained / best(min(k, len(wanted))) if wanted else math.nan,
        "ndcg_whole_basket": gained / best(len(wanted)) if wanted else math.nan,
        "hit": float(bool(places)),
        "recall_repeat": recall(wanted & before),
        "recall_explore": recall(wanted - before),
        "novelty": sum(bits) / len(bits) if bits else math.nan,
    }


def popular(history: History, by: str) -> list[int]:
    count: Counter[int] = Counter()
    for customer in history:
        once = [{product for basket in customer for product in basket}]
        for products in customer if by == "rows" else once:
            count.update(products)
    return sorted(count, key=lambda product: (-count[product], product))


def personal(own: Customer, history: History, ties: str, filled: bool) -> list[int]:
    order = popular(history, "rows")
    count = Counter(product for basket in own for product in basket)
    last = {product: number for number, basket in enumerate(own) for product in basket}

    def key(product: int) -> tuple[int, ...]:
        rank = order.index(product) if product in order else len(order)
        recency = -last[product] if ties == "recency" else 0
        return (-count[product], recency, rank, product)

    ranked = sorted(count, key=key)
    return ranked + [product for product in order if product not in count] if filled else ranked


def item_knn(own: Customer, history: History, neighbours: int, weights: str, itself: bool) -> list[int]:
    sets = [{p for basket in customer for p in basket} for customer in history]
    buyers: dict[int, set[int]] = {}
    for number, products in enumerate(sets):
        for product in products:
            buyers.setdefault(product, set()).add(number)

    def alike(one: int, other: int) -> float:
        # Term by term, as the fast form adds up, so that equal values are equal to the last bit.
        each = 1 / math.sqrt(len(buyers[one])) * (1 / math.sqrt(len(buyers[other])))
        return sum(each for _ in buyers[one] & buyers[other])

    score: dict[int, float] = {}
    count = Counter(product for basket in own for product in basket)
    for product in sorted(set(count) & set(buyers)):
        others = [(-alike(product, other), other) for other in buyers if itself or other != product]
        for value, other in sorted(pair for pair in others if pair[0] < 0)[:neighbours]:
            score[other] = score.get(other, 0.0) - value * (count[product] if weights == "baskets" else 1)
    return sorted(score, key=lambda product: (-score[product], product))


def groups_of(n: int, group_num: int, grouping: str) -> list[list[int]]:
    """Which baskets (0 is the first) are in which group."""
    if n < group_num:
        return [[number] for number in range(n)]
    size = n // group_num
    larger = n % group_num if grouping == "even" else n % size
    groups, begin = [], 0
    for group in range(group_num):
        end = begin + size + (group >= group_num - larger)
        groups.append(list(range(begin, end)))
        begin = end
    return groups


def tifu_vector(own: Customer, group_num: int, within: float, between: float, grouping: str) -> dict[int, float]:
    total: dict[int, float] = {}
    groups = groups_of(len(own), group_num, grouping)
    for place, group in enumerate(groups):
        for number in group:
            age = len(own) - 1 - number if grouping == "published" else group[-1] - number
            weight = within**age / len(group) * (between ** (len(groups) - 1 - place) / len(groups))
            for product in own[number]:
                total[product] = total.get(product, 0.0) + weight
    return total


def tifu_scores(
    query: int | Customer,
    history: History,
    *,
    group_num: int,
    within: float,
    between: float,
    k: int,
    alpha: float,
    metric: str,
    grouping: str,
    itself: bool,
) -> dict[int, float]:
    """Scores above 0 of the customer at a place of the history, or of another one."""
    vectors = [tifu_vector(customer, group_num, within, between, grouping) for customer in history]
    known = isinstance(query, int)
    own = vectors[query] if known else tifu_vector(query, group_num, within, between, grouping)

    def nearness(other: Mapping[int, float]) -> float:
        if metric == "euclidean":
            return -sum((own.get(p, 0.0) - other.get(p, 0.0)) ** 2 for p in {*own, *other})
        lengths = [math.sqrt(sum(value * value for value in vector.values())) for vector in (own, other)]
        return sum(own[p] * other.get(p, 0.0) for p in own) / (lengths[0] * lengths[1]) if all(lengths) else 0.0

    order = [number for number in range(len(history)) if itself or not known or number != query]
    near = sorted(order, key=lambda number: (-round(nearness(vectors[number]), 12), number))[:k]
    if metric == "cosine":
        near = [number for number in near if nearness(vectors[number]) > 1e-12]
    score = {product: alpha * value for product, value in own.items()}
    for number in near:
        for product, value in vectors[number].items():
            score[product] = score.get(product, 0.0) + (1 - alpha) / len(near) * value
    return {product: value for product, value in score.items() if value > 0}
