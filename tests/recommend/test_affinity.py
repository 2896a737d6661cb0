from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest

from engine.clustering import jit
from engine.clustering.jit import numba_threads
from engine.recommend import affinity
from engine.recommend.baskets import Baskets
from engine.recommend.kernels import Lists
from tests.recommend.test_synthetic import odd_shop
from tests.reference import next_basket_twin as twin

ODD = range(12)


def as_it_is(**_: object) -> Callable[[Any], Any]:
    return lambda function: function


def uncompiled() -> dict[str, ModuleType]:
    """The modules of machine code as plain Python: slow, but every index is checked."""
    found = {}
    with (
        mock.patch.object(jit, "compiled", as_it_is),
        mock.patch.dict("sys.modules"),
    ):
        for name in ("kernels", "rank_kernels", "affinity_kernels", "reason_kernels"):
            spec = importlib.util.find_spec(f"engine.recommend.{name}")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
            found[name] = module
    return found


@contextmanager
def running(modules: dict[str, ModuleType]) -> Iterator[None]:
    named = {f"engine.recommend.{name}": module for name, module in modules.items()}
    with mock.patch.dict("sys.modules", named), mock.patch.multiple("engine.recommend", create=True, **modules):
        yield


def lists_of(lists: Lists) -> list[dict[int, float]]:
    return [
        dict(zip(lists.item[start:end].tolist(), lists.share[start:end].tolist(), strict=True))
        for start, end in zip(lists.start[:-1], lists.start[1:], strict=True)
    ]


def both(history: Baskets) -> tuple[Lists, Lists]:
    start, item, _ = affinity.distinct(history)
    buyers = np.bincount(item, minlength=history.m)
    return affinity.along(start, item, buyers), affinity.following(history, buyers)


@pytest.mark.parametrize("seed", ODD)
@pytest.mark.parametrize("most", [2, 7, 400])
def test_distinct_products_are_those_of_the_twin(seed: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, "MOST_PRODUCTS", most)
    customers, m = odd_shop(seed)
    start, item, count = affinity.distinct(twin.baskets_of(customers, m))
    for c, own in enumerate(customers):
        here = slice(start[c], start[c + 1])
        found = list(zip(item[here].tolist(), count[here].tolist(), strict=True))
        assert found == list(twin.distinct(own, most).items())


def test_distinct_products_without_a_limit_are_the_counts() -> None:
    history = twin.baskets_of(*odd_shop(3))
    start, item, count = affinity.distinct(history)
    own_start, own_item, own_count = history.counts()
    assert start.tolist() == own_start.tolist()
    owner = np.repeat(np.arange(history.n), np.diff(start))
    order = np.lexsort((item, owner))
    assert item[order].tolist() == own_item.tolist()
    assert count[order].tolist() == own_count.tolist()


@pytest.mark.parametrize("seed", ODD)
@pytest.mark.parametrize(("products", "fellows"), [(400, 100), (5, 4)])
def test_what_goes_along_and_what_follows_are_those_of_the_twin(
    seed: int, products: int, fellows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(affinity, "MOST_PRODUCTS", products)
    monkeypatch.setattr(affinity, "MOST_FELLOWS", fellows)
    customers, m = odd_shop(seed)
    along, following = both(twin.baskets_of(customers, m))
    cut = {"most_products": products, "most_fellows": fellows}
    for found, expected in (
        (along, twin.along(customers, m, **cut)),
        (following, twin.following(customers, m, **cut)),
    ):
        for own, others in zip(lists_of(found), expected, strict=True):
            assert list(own) == [j for j, _ in others]
            assert list(own.values()) == pytest.approx([share for _, share in others], rel=1e-6)


def test_shares_worked_by_hand() -> None:
    # Three customers; 0 and 1 go together for two of them, 1 and 2 for one only, which proves nothing.
    customers = [[(1, [0, 1]), (2, [0])], [(1, [0]), (5, [1, 2])], [(3, [0])]]
    along, following = both(twin.baskets_of(customers, 3))
    assert lists_of(along) == [{1: pytest.approx(2 / (3 + 5))}, {0: pytest.approx(2 / (2 + 5))}, {}]
    # After a basket with 0 came one with 0 and one with 1: once each.
    assert lists_of(following) == [{}, {}, {}]


def test_a_product_may_follow_itself_and_never_goes_along_with_itself() -> None:
    customers = [[(1, [0]), (2, [0]), (3, [0, 1])], [(1, [0]), (9, [1])]]
    along, following = both(twin.baskets_of(customers, 2))
    assert lists_of(along) == [{1: pytest.approx(2 / 7)}, {0: pytest.approx(2 / 7)}]
    # Of three baskets with 0 that another came after, two had 0 next and two had 1: 0 is of the same two buyers.
    assert lists_of(following) == [{0: pytest.approx(2 / 8), 1: pytest.approx(2 / 8)}, {}]


def test_of_equal_products_the_lower_number_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, "MOST_FELLOWS", 3)
    customers = [[(1, [0, 1, 2, 3, 4, 5])]] * 3
    along, _ = both(twin.baskets_of(customers, 6))
    assert [list(own) for own in lists_of(along)] == [
        [1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2], [0, 1, 2]
    ]  # fmt: skip


def test_a_product_of_few_buyers_is_preferred_to_one_that_all_buy() -> None:
    # 1 and 2 are bought with 0 by four customers each, but everybody buys 1.
    customers = [[(1, [0, 1, 2])]] * 4 + [[(1, [1])]] * 30
    along, _ = both(twin.baskets_of(customers, 3))
    assert list(lists_of(along)[0]) == [2, 1]


@pytest.mark.parametrize("seed", [3, 7])
def test_any_number_of_threads_and_any_order_of_customers(seed: int) -> None:
    history = twin.baskets_of(*odd_shop(seed))
    with numba_threads(1):
        alone = both(history)
    with numba_threads(2):
        together = both(history)
    mixed = both(history.take(np.random.default_rng(seed).permutation(history.n)))
    for one, other, third in zip(alone, together, mixed, strict=True):
        for a, b, c in zip(one, other, third, strict=True):
            assert a.tobytes() == b.tobytes() == c.tobytes()


def test_no_customers_and_no_products() -> None:
    for customers, m in (([], 3), ([[], []], 2), ([], 0)):
        along, following = both(twin.baskets_of(customers, m))
        assert lists_of(along) == lists_of(following) == [{}] * m
