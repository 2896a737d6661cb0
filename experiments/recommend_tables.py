"""What ``cartera recommend`` tells of each segment: cross-selling, what is tried next, dearer products; as tables."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.recommend.purchases import PRODUCT_LEVEL
from engine.schema import Word
from experiments.reader_csv import write_reader_csv
from experiments.recommend_columns import for_offers, identified, with_kinds
from experiments.recommend_people import EVERYBODY, NO_SEGMENT
from experiments.recommend_why import TOP, Note, no_dearer, no_rules, nothing_tried, up_sell_impossible, worded

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
    "category_x": Word("category of the product bought", "categoría del producto comprado"),
    "category_x2": Word("and its category", "y su categoría"),
    "category_y": Word("category of the product to offer", "categoría del producto que ofrecer"),
    "same_kind": Word("of the same kind", "del mismo tipo"),
    "buyers_beyond_chance": Word("buyers beyond chance, at least", "compradores por encima del azar, como mínimo"),
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
        have its ``segment_id``; ``name_…`` columns say what products are called. Segments come by rank.
    ranks
        Of the segments, by id: 1 has the highest mean billing.
    why
        By table and segment id, why the table has nothing for the segment.
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
    ranks: dict[str, int] = field(default_factory=dict)
    why: dict[str, dict[str, Word]] = field(default_factory=dict)
    everyday: pl.DataFrame = field(default_factory=pl.DataFrame)
    looked_at: pl.DataFrame = field(default_factory=pl.DataFrame)
    facts: dict[str, object] = field(default_factory=dict)
    notes: list[Word] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


def segment_tables(
    c: RecommendConfig,
    recommender: CustomerRecommender,
    *,
    category: str | None,
    order: list[str] | None,
) -> SegmentTables:
    """Find what goes with what in each segment.

    Parameters
    ----------
    c
        The settings.
    recommender
        Histories, products and segments.
    category
        Column of the products with the category: for up-selling, and to tell rules within one apart.
    order
        Segment ids from the lowest to the highest by mean billing; ``None`` without segments.
    """
    found = SegmentTables(ranks=ranks_of(recommender, order))
    numbers = numbers_of(recommender)
    category = category if c.level == PRODUCT_LEVEL else None
    _add_cross_sell(found, recommender, c, numbers, category)
    _add_next_products(found, recommender, c, numbers)
    if order is not None:
        _add_up_sell(found, recommender, c, numbers, category, order)
    found.facts["why_nothing"] = {
        name: {segment_id: word.to_dict() for segment_id, word in words.items()} for name, words in found.why.items()
    }
    return found


def _add_cross_sell(
    found: SegmentTables,
    recommender: CustomerRecommender,
    c: RecommendConfig,
    numbers: NDArray[np.int32],
    category: str | None,
) -> None:
    from engine.recommend.cross_sell import cross_sell

    ids, products = segment_names(recommender), recommender.products
    try:
        crossed = cross_sell(recommender.history, numbers, **vars(c.cross_sell))
    except DataError as error:
        found.missed.append(str(error))
        return
    found.tables["cross_sell"] = for_offers(
        with_kinds(identified(crossed.rules, ids, products), products, category), found.ranks
    )
    found.everyday = identified(crossed.everyday, ids, products)
    found.looked_at = identified(crossed.segments, ids, products)
    found.why["cross_sell"] = {
        seen["segment_id"]: no_rules(seen, c.cross_sell.least_customers)
        for seen in found.looked_at.iter_rows(named=True)
        if not seen["rules"]
    }
    left_out = int(crossed.segments["rules_left_out"].sum())
    if left_out:
        found.notes.append(
            worded(
                "{n} further cross-selling rules were left out: of each segment the {pairs} clearest pairs of products "
                "are kept, and the {sets} clearest sets of three.",
                "Se dejaron fuera otras {n} reglas de venta cruzada: de cada segmento quedan las {pairs} parejas de "
                "productos más claras y los {sets} conjuntos de tres más claros.",
                "cross_sell.most_pairs=, cross_sell.most_sets=",
                n=left_out,
                pairs=c.cross_sell.most_pairs,
                sets=c.cross_sell.most_sets,
            )
        )


def _add_next_products(
    found: SegmentTables,
    recommender: CustomerRecommender,
    c: RecommendConfig,
    numbers: NDArray[np.int32],
) -> None:
    from engine.recommend.next_products import falling_off, next_products

    least = c.next_products.least_customers
    days = c.next_products.days or days_until_next(recommender.history)
    first = recommender.day - days
    falling = falling_off(recommender.history, first, recommender.day)
    try:
        # All of them, and what is too little is left out here: so it is known how much there was.
        tried = next_products(
            recommender.history,
            numbers,
            first,
            most=c.next_products.most,
            least_customers=1,
            without=falling,
        )
    except DataError as error:
        found.missed.append(str(error))
        return
    ids = segment_names(recommender)
    by_rank = pl.col("segment_id").replace_strict(found.ranks, return_dtype=pl.Int64)
    every = identified(tried, ids, recommender.products).sort(by_rank, "rank")
    found.tables["next_products"] = every.filter(pl.col("customers_new") >= least)
    begins = (date(1970, 1, 1) + timedelta(days=first)).isoformat()
    left_out = recommender.products["product_id"].filter(pl.Series(falling)).sort().to_list()
    found.facts |= {"next_products_days": days, "next_products_from": begins, "next_products_falling_off": left_out}
    best = every.filter(pl.col("rank") == 1).rows_by_key("segment_id", named=True, unique=True)
    back = came_back(recommender.history, numbers, first, ids.height)
    named = set(found.tables["next_products"]["segment_id"])
    found.why["next_products"] = {
        segment_id: nothing_tried(
            int((numbers == number).sum()), back[number], best.get(segment_id, {"customers_new": 0})["customers_new"],
            least, begins,
        )
        for number, segment_id in ids.select("segment", "segment_id").iter_rows()
        if segment_id not in named
    }  # fmt: skip


def check_table_settings(c: RecommendConfig) -> None:
    """Raise :class:`SettingError` for a setting out of its range: better now than when everything is fitted."""
    from engine.recommend.baskets import Baskets
    from engine.recommend.cross_sell import cross_sell
    from engine.recommend.next_products import next_products
    from engine.recommend.up_sell import up_sell

    about = pl.DataFrame(schema={"product_id": pl.String, "category": pl.String, "median_price": pl.Float64})
    rows = pl.DataFrame(schema={"customer_id": pl.Int64, "product_id": pl.String, "timestamp": pl.Date})
    nobody, none = Baskets.from_frame(rows, basket="day"), np.zeros(0, dtype=np.int32)
    if c.next_products.days is not None and c.next_products.days < 1:
        raise SettingError(f"next_products.days: expected at least 1, or null; got {c.next_products.days}.")
    cross_sell(nobody, none, **vars(c.cross_sell))
    up_sell(nobody, none, about, [0, 1], most_price_ratio=c.up_sell.most_price_ratio)
    with suppress(DataError):
        next_products(nobody, none, 0, most=c.next_products.most, least_customers=c.next_products.least_customers)


def _add_up_sell(
    found: SegmentTables,
    recommender: CustomerRecommender,
    c: RecommendConfig,
    numbers: NDArray[np.int32],
    category: str | None,
    order: list[str],
) -> None:
    from engine.recommend.up_sell import up_sell

    products = recommender.products
    there = "median_unit_price" in products.columns
    priced = products.filter(pl.col("median_unit_price") > 0) if there else products.clear()
    why = up_sell_impossible(
        segments=len(order), level=c.level, category=category, priced=priced.height, products=products.height
    )
    if category is None or why is not None:
        found.notes += [] if why is None else [why]
        return
    about = priced.select(
        "product_id", pl.col(category).alias("category"), pl.col("median_unit_price").alias("median_price")
    )
    ids = segment_names(recommender)
    place = dict(ids.select("segment_id", "segment").iter_rows())
    least, ratio, false_share = c.cross_sell.least_customers, c.up_sell.most_price_ratio, c.cross_sell.false_share
    dearer = up_sell(
        recommender.history,
        numbers,
        about,
        [place[segment_id] for segment_id in order],
        least_customers=least,
        most_price_ratio=ratio,
        most_pairs=c.cross_sell.most_pairs,
        false_share=false_share,
    )
    found.tables["up_sell"] = identified(dearer.pairs, ids, products)
    looked_at = identified(dearer.segments, ids, products)
    found.facts["up_sell"] = looked_at.to_dicts()
    found.why["up_sell"] = {
        seen["segment_id"]: no_dearer(seen, least=least, ratio=ratio, false_share=false_share)
        for seen in looked_at.iter_rows(named=True)
        if not seen["told"]
    }
    found.why["up_sell"][order[-1]] = TOP
    if dearer.pairs.is_empty():
        found.notes.append(
            Note(
                "No up-selling was found. Under each segment the report says why.",
                "No se ha encontrado venta de productos superiores. El informe dice por qué en cada segmento.",
            )
        )


def ranks_of(recommender: CustomerRecommender, order: list[str] | None) -> dict[str, int]:
    """Return the rank of each segment, 1 for the highest mean billing; last, who was billed nothing.

    ``order``: segment ids from the lowest to the highest mean billing.
    """
    ids = segment_names(recommender)["segment_id"].to_list()
    highest_first = [segment_id for segment_id in reversed(order or []) if segment_id in ids]
    others = [segment_id for segment_id in ids if segment_id not in highest_first]
    return {segment_id: rank for rank, segment_id in enumerate([*highest_first, *others], start=1)}


def came_back(history: Baskets, numbers: NDArray[np.int32], day: int, segments: int) -> list[int]:
    """Return how many customers of each segment bought both before a day and from then on.

    Examples
    --------
    >>> from engine.recommend.synthetic import habits
    >>> came_back(habits(customers=5, products=10, seed=0), np.zeros(5, np.int32), 0, 1)
    [0]
    """
    owner = np.repeat(np.arange(history.n), np.diff(history.basket_start))
    before, later = (
        np.bincount(owner[(history.day >= day) == late], minlength=history.n) > 0 for late in (False, True)
    )
    count: list[int] = np.bincount(numbers[before & later & (numbers >= 0)], minlength=segments).tolist()
    return count


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


def write_tables(found: SegmentTables, segments: pl.DataFrame, folder: Path, language: str) -> None:
    """Write each table as CSV for the reader's spreadsheet, with the names of the segments."""
    from engine.recommend.cross_evidence import COLUMNS as CROSS
    from engine.recommend.up_sell import COLUMNS as UP

    names = dict(segments.select("segment_id", f"name_{language}").iter_rows())
    engines = {"cross_sell": CROSS, "up_sell": UP, "next_products": {}}
    for name, kept in found.tables.items():
        # Columns are put into place; the table itself stays as it is.
        table = kept.clone()
        words = {**HEADINGS, **{column: word for column, (_, word) in engines[name].items()}}
        for column in ("next_segment", "segment"):
            if f"{column}_id" in table.columns:
                called = pl.col(f"{column}_id").replace_strict(names, return_dtype=pl.String)
                at = table.columns.index(f"{column}_id") + 1
                table = table.insert_column(at, table.select(called.alias(f"{column}_name")).to_series())
        if "same_kind" in table.columns:
            yes, no = (Word(*two).text(language) for two in (("yes", "sí"), ("no", "no")))
            said = pl.when("same_kind").then(pl.lit(yes)).when(~pl.col("same_kind")).then(pl.lit(no))
            table = table.with_columns(said.alias("same_kind"))
        headed = table.rename({column: words[column].text(language) for column in table.columns})
        write_reader_csv(headed, folder / f"{name}.csv", language)
