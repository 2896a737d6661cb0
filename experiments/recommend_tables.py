"""What ``cartera recommend`` tells of each segment: cross-selling, what is tried next, dearer products; as tables."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.schema import Word
from experiments.reader_csv import write_reader_csv
from experiments.recommend_people import EVERYBODY, NO_SEGMENT

if TYPE_CHECKING:
    from engine.recommend.baskets import Baskets
    from engine.recommend.recommender import CustomerRecommender
    from experiments.settings import RecommendConfig

QUICKEST, SLOWEST = 7, 0.5
"""What customers try next is counted over a week at least, and half of the history at most."""

COMES_BACK = 0.9
"""Share of baskets that are followed by the next within the days that are counted."""

HEADINGS: Mapping[str, Word] = {
    "segment_id": Word("segment id", "id del segmento"),
    "segment_name": Word("segment", "segmento"),
    "next_segment_id": Word("next segment's id", "id del segmento superior"),
    "next_segment_name": Word("next segment up", "segmento superior"),
    "name_x": Word("name of the product bought", "nombre del producto comprado"),
    "name_x2": Word("and its name", "y su nombre"),
    "name_y": Word("name of the product to offer", "nombre del producto que ofrecer"),
    "rank": Word("rank", "puesto"),
    "product": Word("product", "producto"),
    "name": Word("name", "nombre"),
    "customers": Word("customers who came back", "clientes que volvieron"),
    "customers_new": Word("of them, with it as new", "de ellos, con él por primera vez"),
    "probability": Word("probability", "probabilidad"),
    "probability_low": Word("probability, at least", "probabilidad, como mínimo"),
    "probability_high": Word("probability, at most", "probabilidad, como máximo"),
    "customers_without": Word("came back and did not have it", "volvieron sin haberlo tenido"),
    "probability_without": Word("probability among these", "probabilidad entre estos"),
}
"""How a reader calls the columns that the engine's tables have not named."""


@dataclass(slots=True)
class SegmentTables:
    """Tables by segment; none of them names a customer.

    Attributes
    ----------
    tables
        ``cross_sell``, ``next_products`` and ``up_sell``, as far as there are any. Instead of a segment's number they
        have its ``segment_id``; ``name_…`` columns say what products are called.
    everyday
        Products that nearly everybody buys, by segment.
    looked_at
        What cross-selling looked at in each segment, a row each.
    facts
        Figures for JSON.
    notes
        What a reader must know.
    missed
        What could not be done, and why.
    """

    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    everyday: pl.DataFrame = field(default_factory=pl.DataFrame)
    looked_at: pl.DataFrame = field(default_factory=pl.DataFrame)
    facts: dict[str, object] = field(default_factory=dict)
    notes: list[Word] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


def segment_tables(
    c: RecommendConfig, recommender: CustomerRecommender, *, category: str | None, order: list[str] | None
) -> SegmentTables:
    """Find what goes with what in each segment.

    Parameters
    ----------
    c
        The settings.
    recommender
        Histories, products and segments.
    category
        Column of the products with the category, for up-selling.
    order
        Segment ids from the lowest to the highest by mean billing; ``None`` without segments.
    """
    from engine.recommend.cross_sell import cross_sell
    from engine.recommend.next_products import next_products

    found = SegmentTables()
    history, numbers = recommender.history, numbers_of(recommender)
    ids = segment_names(recommender)
    try:
        crossed = cross_sell(history, numbers, **vars(c.cross_sell))
    except DataError as error:
        found.missed.append(str(error))
    else:
        found.tables["cross_sell"] = _identified(crossed.rules, ids, recommender.products)
        found.everyday = _identified(crossed.everyday, ids, recommender.products)
        found.looked_at = _identified(crossed.segments, ids, recommender.products)
        left_out = int(crossed.segments["rules_left_out"].sum())
        if left_out:
            found.notes.append(
                Word(
                    f"{left_out:,} further cross-selling rules were left out: cross_sell.most_pairs= and most_sets= "
                    "take more of them.",
                    f"Se dejaron fuera otras {left_out} reglas de venta cruzada; con cross_sell.most_pairs= y "
                    "most_sets= caben más.",
                )
            )
    days = c.next_products.days or days_until_next(history)
    try:
        settings = {"most": c.next_products.most, "least_customers": c.next_products.least_customers}
        tried = next_products(history, numbers, recommender.day - days, **settings)
    except DataError as error:
        found.missed.append(str(error))
    else:
        found.tables["next_products"] = _identified(tried, ids, recommender.products)
        found.facts["next_products_days"] = days
    _add_up_sell(found, recommender, c, numbers, category, order)
    return found


def check_table_settings(c: RecommendConfig) -> None:
    """Raise :class:`SettingError` for a setting out of its range: better now than when everything is fitted."""
    from engine.recommend.baskets import Baskets
    from engine.recommend.cross_sell import cross_sell
    from engine.recommend.next_products import next_products
    from engine.recommend.up_sell import up_sell

    about = pl.DataFrame(schema={"product_id": pl.String, "category": pl.String, "median_price": pl.Float64})
    rows = pl.DataFrame(schema={"customer_id": pl.Int64, "product_id": pl.String, "timestamp": pl.Date})
    nobody, none = Baskets.from_frame(rows, basket="day"), np.zeros(0, dtype=np.int32)
    tried = {"most": c.next_products.most, "least_customers": c.next_products.least_customers}
    if c.next_products.days is not None and c.next_products.days < 1:
        raise SettingError(f"next_products.days: expected at least 1, or null; got {c.next_products.days}.")
    cross_sell(nobody, none, **vars(c.cross_sell))
    up_sell(nobody, none, about, [0, 1], most_price_ratio=c.up_sell.most_price_ratio)
    with suppress(DataError):
        next_products(nobody, none, 0, **tried)


def _add_up_sell(
    found: SegmentTables,
    recommender: CustomerRecommender,
    c: RecommendConfig,
    numbers: NDArray[np.int32],
    category: str | None,
    order: list[str] | None,
) -> None:
    from engine.recommend.up_sell import up_sell

    there = recommender.products.columns
    priced = recommender.products.filter(pl.col("median_unit_price") > 0) if "median_unit_price" in there else None
    if order is None:
        return
    if len(order) < 2:
        why = Word("there are not two segments", "no hay dos segmentos")
    elif category is None or c.level != "product_id":
        why = Word("products have no category", "los productos no tienen categoría")
    elif priced is None or not priced.height:
        why = Word("products have no price", "los productos no tienen precio")
    else:
        about = priced.select(
            "product_id", pl.col(category).alias("category"), pl.col("median_unit_price").alias("median_price")
        )
        place = {segment_id: number for number, segment_id in enumerate(recommender.segments["segment_id"])}
        pairs = up_sell(
            recommender.history,
            numbers,
            about,
            [place[segment_id] for segment_id in order],
            least_customers=c.cross_sell.least_customers,
            most_price_ratio=c.up_sell.most_price_ratio,
            most_pairs=c.cross_sell.most_pairs,
            false_share=c.cross_sell.false_share,
        )
        found.tables["up_sell"] = _identified(pairs, segment_names(recommender), recommender.products)
        return
    found.notes.append(
        Word(f"No up-selling: {why.en}.", f"Sin venta de productos superiores: {why.es}."),
    )


def days_until_next(history: Baskets) -> int:
    """Return the days in which :data:`COMES_BACK` of the baskets are followed by their customer's next.

    Examples
    --------
    >>> from engine.recommend.synthetic import habits
    >>> days_until_next(habits(customers=50, products=10, seed=0)) >= QUICKEST
    True
    """
    if not history.baskets:
        return QUICKEST
    gaps = np.diff(history.day)
    inside = np.ones(len(gaps), dtype=bool)
    begins = history.basket_start[(history.basket_start > 0) & (history.basket_start < history.baskets)]
    inside[begins - 1] = False
    days = int(np.quantile(gaps[inside], COMES_BACK, method="inverted_cdf")) if inside.any() else 0
    span = int(history.day.max()) - int(history.day.min())
    return max(min(max(days, QUICKEST), int(span * SLOWEST)), 1)


def numbers_of(recommender: CustomerRecommender) -> NDArray[np.int32]:
    """Return each customer's segment number; all are 0 where there are no segments."""
    if recommender.segments.height:
        return recommender.segment_of
    return np.zeros(recommender.history.n, dtype=np.int32)


def segment_names(recommender: CustomerRecommender) -> pl.DataFrame:
    """Return ``segment``, ``segment_id``, ``name_en`` and ``name_es``; one row for all where there are no segments."""
    segments = recommender.segments
    if not segments.height:
        segments = pl.DataFrame({"segment_id": [NO_SEGMENT], "name_en": [EVERYBODY.en], "name_es": [EVERYBODY.es]})
    number = pl.int_range(pl.len(), dtype=pl.Int32).alias("segment")
    return segments.select(
        number, "segment_id", pl.coalesce("name_en", "segment_id"), pl.coalesce("name_es", "segment_id")
    )


def _identified(table: pl.DataFrame, segments: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    """Return a table with ids of segments in place of their numbers, and the names of products beside their ids."""
    ids = dict(segments.select("segment", "segment_id").iter_rows())
    for column in ("next_segment", "segment"):
        if column in table.columns:
            of = pl.col(column).replace_strict(ids, return_dtype=pl.String).alias(f"{column}_id")
            table = table.with_columns(of).select(f"{column}_id", pl.exclude(column, f"{column}_id"))
    if products["name"].equals(products["product_id"]):
        return table
    names = products.select("product_id", "name")
    for column in ("product_x", "product_x2", "product_y", "product"):
        if column in table.columns:
            called = "name" + column.removeprefix("product")
            named = names.rename({"product_id": column, "name": called})
            table = table.join(named, on=column, how="left", maintain_order="left")
            at = table.columns.index(column) + 1
            table = table.select(*table.columns[:at], called, *[x for x in table.columns[at:] if x != called])
    return table


def write_tables(found: SegmentTables, segments: pl.DataFrame, folder: Path, language: str) -> None:
    """Write each table as CSV for the reader's spreadsheet, with the names of the segments."""
    from engine.recommend.cross_evidence import COLUMNS as CROSS
    from engine.recommend.up_sell import COLUMNS as UP

    names = dict(segments.select("segment_id", f"name_{language}").iter_rows())
    engines = {"cross_sell": CROSS, "up_sell": UP, "next_products": {}}
    for name, table in found.tables.items():
        words = {**HEADINGS, **{column: word for column, (_, word) in engines[name].items()}}
        for column in ("next_segment", "segment"):
            if f"{column}_id" in table.columns:
                called = pl.col(f"{column}_id").replace_strict(names, return_dtype=pl.String)
                at = table.columns.index(f"{column}_id") + 1
                table = table.insert_column(at, table.select(called.alias(f"{column}_name")).to_series())
        headed = table.rename({column: words[column].text(language) for column in table.columns})
        write_reader_csv(headed, folder / f"{name}.csv", language)
