"""The columns that the tables of ``cartera recommend`` get beside the engine's, and the order of their rows."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl


def identified(table: pl.DataFrame, segments: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
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


def with_kinds(rules: pl.DataFrame, products: pl.DataFrame, category: str | None) -> pl.DataFrame:
    """Return rules with the categories of their products, and ``same_kind``.

    ``same_kind``: whether the product to offer has the category, or the name, of a product that is bought: another size
    or flavour of the same, which is rather variety than cross-selling. It is missing where neither is known.
    """
    # Columns are put into place; the caller's table stays as it is.
    rules = rules.clone()
    there = {"category"} if category is not None else set()
    if category is not None:
        of = dict(products.select("product_id", pl.col(category).cast(pl.String)).iter_rows())
        for column in ("product_x", "product_x2", "product_y"):
            side = column.removeprefix("product")
            kind = pl.col(column).replace_strict(of, default=None, return_dtype=pl.String).alias(f"category{side}")
            at = rules.columns.index(column) + (2 if f"name{side}" in rules.columns else 1)
            rules = rules.insert_column(at, rules.select(kind).to_series())
    there |= {"name"} & {column.removesuffix("_y") for column in rules.columns}
    if not there:
        return rules
    same = [pl.col(f"{what}_y") == pl.col(f"{what}_{x}") for what in sorted(there) for x in ("x", "x2")]
    last = max(rules.columns.index(f"{what}_y") for what in there)
    told = pl.any_horizontal(one.fill_null(False) for one in same).alias("same_kind")
    return rules.insert_column(last + 1, rules.select(told).to_series())


def for_offers(rules: pl.DataFrame, ranks: Mapping[str, int]) -> pl.DataFrame:
    """Return rules in the order in which they are worth an offer, with ``buyers_beyond_chance``.

    By rank of the segment; first what leads to another kind of product, then what stays within one, last what everybody
    has already whom it could be offered to; in each of the three the most buyers beyond chance first:
    ``customers_to_offer × confidence × (1 − 1 / lift_low)``, none where ``lift_low`` is 1 or less. It supposes that who
    is left goes on as often as those who could before.
    """
    beyond = pl.col("customers_to_offer") * pl.col("confidence") * (1 - 1 / pl.col("lift_low").clip(lower_bound=1.0))
    kind = [pl.col("same_kind")] if "same_kind" in rules.columns else []
    return rules.with_columns(beyond.alias("buyers_beyond_chance")).sort(
        pl.col("segment_id").replace_strict(ranks, return_dtype=pl.Int64),
        pl.col("customers_to_offer") == 0,
        *kind,
        -pl.col("buyers_beyond_chance"),
        -pl.col("lift_low"),
        maintain_order=True,
    )
