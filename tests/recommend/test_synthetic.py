from __future__ import annotations

import numpy as np
import pytest

from engine.recommend.synthetic import habits
from tests.reference.next_basket_twin import Customer, baskets_of, customers_of


def odd_shop(seed: int) -> tuple[list[Customer], int]:
    """Made customers, some of whom are odd: without baskets, with one, with one product, with two baskets a day."""
    rng = np.random.default_rng(seed)
    m = [3, 12, 45, 130][seed % 4]
    made = habits(customers=int(rng.integers(20, 32)), products=m, seed=seed, baskets=int(rng.integers(3, 9)))
    # The products are numbered by their names here: some were bought by nobody.
    number = np.array([int(product[1:]) for product in made.products.to_list()])
    customers = [[(day, sorted(number[items].tolist())) for day, items in own] for own in customers_of(made)]
    customers[0] = []
    customers[3] = customers[3][-1:]
    customers[5] = [(day, [1]) for day, _ in customers[5]]
    customers[7] = [(40 + number // 2, items) for number, (_, items) in enumerate(customers[7])]
    customers[9] = [(100, list(range(m)))]
    customers[11] = customers[4]
    return customers, m


@pytest.mark.parametrize("seed", range(3))
def test_favourites_are_in_every_second_basket(seed: int) -> None:
    made = habits(customers=80, products=60, seed=seed, favourites=4, baskets=20)
    made.check()
    assert made.n == 80
    assert np.diff(made.basket_start).min() >= 2
    shares = []
    for own in made.each():
        counts = np.bincount([item for items in own for item in items], minlength=60)
        shares += (np.sort(counts)[-4:] / len(own)).tolist()
    # A favourite is taken in half of the baskets, and the most popular ones now and then beside.
    assert 0.5 < np.mean(shares) < 0.65


def test_the_same_seed_makes_the_same_histories() -> None:
    one, same, other = (habits(customers=20, products=9, seed=seed) for seed in (4, 4, 5))
    assert one.item.tolist() == same.item.tolist()
    assert one.day.tolist() == same.day.tolist()
    assert one.item.tolist() != other.item.tolist()


def test_products_that_are_numbered_by_how_many_bought_them() -> None:
    made = habits(customers=150, products=40, seed=2)
    buyers = [len({c for c, own in enumerate(made.each()) if any(code in b for b in own)}) for code in range(made.m)]
    assert buyers == sorted(buyers, reverse=True)


def test_a_shop_of_one_product() -> None:
    made = habits(customers=5, products=1, seed=0)
    assert made.products.to_list() == ["p0000"]
    assert set(made.item.tolist()) == {0}


@pytest.mark.parametrize("seed", range(8))
def test_odd_shops_are_histories(seed: int) -> None:
    customers, m = odd_shop(seed)
    history = baskets_of(customers, m)
    history.check()
    assert customers_of(history) == customers
    sizes = np.diff(history.basket_start)
    assert sizes.min() == 0
    assert (sizes == 1).any()
