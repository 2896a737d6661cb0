"""Products for very many customers: learned from all their baskets, and ranked for each of them.

Seconds are those of the whole: what is counted, the weights, ten products for every customer, and the reasons of some.
The facts tell them apart. Histories are made up: customers with favourites that they buy again and again, among
products of which few are bought often.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.case import Case, Contestant, Task
from benchmarks.peers import offering

CUSTOMERS: Mapping[str, int] = {"XS": 2_000, "S": 20_000, "M": 200_000, "L": 1_000_000}
PRODUCTS: Mapping[str, int] = {"XS": 500, "S": 5_000, "M": 20_000, "L": 50_000}
BASKETS, LINES, FAVOURITES = 12, 8, 20
"""Of a customer: baskets and their lines on average, and products that half of the lines are of."""

K = 10
DAYS = 730
ARRAYS = ("basket_start", "day", "item_start", "item")
PART = 50_000


def make(task: Task) -> None:
    """Write histories as arrays."""
    rng = np.random.default_rng([task.seed, 6])
    n, m = CUSTOMERS[task.size], PRODUCTS[task.size]
    weight = 1.0 / np.arange(1, m + 1) ** 0.8
    edges = np.cumsum(weight / weight.sum())
    parts = [_histories(min(PART, n - begin), edges, rng) for begin in range(0, n, PART)]
    folder = Path(task.folder)
    folder.mkdir(parents=True)
    for name in ARRAYS:
        own = [part[name] for part in parts]
        if name.endswith("start"):
            ends = np.cumsum([0, *(part[-1] for part in own[:-1])])
            own = [part[:-1] + end for part, end in zip(own, ends, strict=True)] + [ends[-1:] + parts[-1][name][-1]]
        np.save(folder / f"{name}.npy", np.concatenate(own), allow_pickle=False)


def _histories(n: int, edges: NDArray[np.float64], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Return the baskets of some customers."""
    favourites = np.searchsorted(edges, rng.random((n, FAVOURITES))).astype(np.int32)
    baskets = 2 + rng.poisson(BASKETS - 2, n)
    of_basket = np.repeat(np.arange(n), baskets)
    day = np.sort(of_basket * DAYS + rng.integers(0, DAYS, len(of_basket))) % DAYS
    lines = 1 + rng.poisson(LINES - 1, len(of_basket))
    basket = np.repeat(np.arange(len(of_basket)), lines)
    own = favourites[of_basket[basket], rng.integers(0, FAVOURITES, len(basket))]
    item = np.where(rng.random(len(basket)) < 0.5, own, np.searchsorted(edges, rng.random(len(basket))))
    key = np.sort(basket * len(edges) + item)
    key = key[np.concatenate([[True], key[1:] != key[:-1]])]
    item_start = np.searchsorted(key, np.arange(len(of_basket) + 1) * len(edges))
    return {
        "basket_start": np.concatenate([[0], np.cumsum(baskets)]).astype(np.int64),
        "day": (18_000 + day).astype(np.int32),
        "item_start": item_start.astype(np.int64),
        "item": (key % len(edges)).astype(np.int32),
    }


def open_given(task: Task) -> dict[str, NDArray[Any]]:
    """Map the arrays."""
    return {name: np.load(Path(task.folder) / f"{name}.npy", mmap_mode="c", allow_pickle=False) for name in ARRAYS}


def judge(given: Any, answer: Any, task: Task) -> tuple[dict[str, Any], str | None]:
    """Count who got ten different products, and compare the last basket's products with what is recommended."""
    facts, codes = answer
    m = PRODUCTS[task.size]
    ordered = np.sort(codes, axis=1)
    wrong = (codes < 0).any(axis=1) | (codes >= m).any(axis=1) | (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    facts = {"rows": len(given["item"]), **facts}
    return facts, f"{int(wrong.sum()):,} customers without ten different products" if wrong.any() else None


CASE = Case(
    name="offers",
    title="ten products for every customer",
    sizes={
        name: f"{number:,} customers, {PRODUCTS[name]:,} products, about {number * BASKETS * LINES:,} rows"
        for name, number in CUSTOMERS.items()
    },
    data=("habits",),
    contestants={
        "cartera": Contestant(offering.cartera, ("cartera", "numba"), "Cartera", warm=1, compiles=True),
        "als": Contestant(
            offering.als, ("implicit",), "implicit, ALS with 64 factors, no reasons", warm=1, sizes=("XS", "S", "M")
        ),
    },
    make=make,
    open=open_given,
    judge=judge,
    quality=None,
    shows={
        "fit_seconds": "fit, s",
        "rank_customers_per_second": "ranked/s",
        "explained_customers_per_second": "with reasons/s",
        "one_ms": "one, ms",
    },
    against="cartera",
)
