"""Who counts which products are taken up one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from benchmarks.case import Task
    from benchmarks.cases.cross_sell import Given
    from engine.recommend.baskets import Baskets

LEAST = 10


class Pairs(NamedTuple):
    """How many customers of a segment took up product y later than product x; arrays of one length."""

    segment: Any
    x: Any
    y: Any
    customers: Any


class Rules(NamedTuple):
    """The same for rules, and how many were to be expected."""

    segment: Any
    x: Any
    y: Any
    customers: Any
    expected: Any


def history_of(given: Given) -> Baskets:
    """Return the history that the arrays are."""
    import polars as pl

    from engine.recommend.baskets import Baskets

    arrays = (given.basket_start, given.day, given.item_start, given.item)
    return Baskets(pl.Series(given.customer_ids), pl.Series(given.products), *arrays)


def cartera(given: Given, task: Task) -> Rules:
    """Rules of all segments, the thousand best of each."""
    import polars as pl

    from engine.recommend.cross_sell import cross_sell

    history = history_of(given)
    found = cross_sell(
        history,
        given.segments,
        least_customers=LEAST,
        everyday_share=1.0,
        most_sets=0,
        widest_customer=given.item.size + 1,
        threads=task.threads,
    ).rules
    codes = pl.DataFrame({"product": history.products, "code": np.arange(history.m)})
    x, y = (
        found.select(product=name).join(codes, on="product", how="left", maintain_order="left")["code"].to_numpy()
        for name in ("product_x", "product_y")
    )
    told = found.select("segment", "customers_xy", "expected").to_numpy().T
    return Rules(told[0].astype(np.int64), x, y, told[1].astype(np.int64), told[2])


def cartera_counts(given: Given, task: Task) -> Pairs:
    """Count what the rules are drawn from."""
    from engine.clustering.jit import numba_threads
    from engine.recommend.adoption import Clock, Group
    from engine.recommend.cross_rules import frequent

    history = history_of(given)
    parts: list[tuple[Any, ...]] = []
    with numba_threads(task.threads):
        clock = Clock.of(history)
        for segment in np.unique(given.segments).tolist():
            customers = np.flatnonzero(given.segments == segment)
            buyers = np.bincount(clock.item[np.isin(clock.customer, customers)], minlength=history.m)
            group = Group.of(clock, customers, np.flatnonzero(buyers >= LEAST), history.m)
            for x, y, count in frequent(group, LEAST):
                parts.append((np.full(len(x), segment), group.codes[x], group.codes[y], count))
    return Pairs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def polars(given: Given, task: Task) -> Pairs:
    """Join first purchases with themselves, one segment at a time so that memory holds out."""
    import polars as pl

    first = _first(given)
    frames = []
    for _, part in first.group_by("segment", maintain_order=True):
        frequent = part.filter(pl.len().over("item") >= LEAST).lazy()
        frames.append(
            frequent.join(frequent, on="customer", suffix="_y")
            .filter(pl.col("basket") < pl.col("basket_y"))
            .group_by("segment", "item", "item_y")
            .len()
            .filter(pl.col("len") >= LEAST)
            .collect(engine="streaming")
        )
    found = pl.concat(frames)
    return Pairs(*(found[name].to_numpy() for name in ("segment", "item", "item_y", "len")))


def duckdb(given: Given, task: Task) -> Pairs:
    """Do the same in one query; it goes to disk where memory does not reach."""
    import duckdb as library

    first = _first(given).to_arrow()
    with library.connect(config={"threads": task.threads, "temp_directory": task.scratch}) as connection:
        connection.register("first", first)
        found = connection.execute(
            f"""
            with kept as (select * from first qualify count(*) over (partition by segment, item) >= {LEAST})
            select a.segment, a.item as x, b.item as y, count(*) as customers
            from kept a join kept b on a.customer = b.customer and a.basket < b.basket
            group by all having count(*) >= {LEAST}
            """
        ).fetchnumpy()
    return Pairs(*(np.asarray(found[name]) for name in ("segment", "x", "y", "customers")))


def _first(given: Given) -> Any:
    """Return each customer's first purchase of each product as a frame."""
    import polars as pl

    baskets = np.repeat(np.arange(len(given.day)), np.diff(given.item_start))
    owner = np.repeat(np.arange(len(given.segments)), np.diff(given.basket_start))
    rows = pl.LazyFrame({"customer": owner[baskets], "basket": baskets, "item": given.item})
    first = rows.group_by("customer", "item").agg(pl.col("basket").min())
    return first.with_columns(pl.lit(pl.Series(given.segments)).gather(pl.col("customer")).alias("segment")).collect()
