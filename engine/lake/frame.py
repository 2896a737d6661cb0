"""Transactions in memory, checked by the lake's rules and read through the lake's interface.

For a notebook: what reads a :class:`~engine.lake.table.Lake` reads a :class:`FrameSource` too, as one bucket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from engine.errors import DataError
from engine.lake import dates, quality
from engine.lake.columns import (
    check_types,
    extra_type,
    filled_columns,
    resolve_columns,
    unknown_extras,
    unmapped_beside_price,
)
from engine.lake.notes import reader_notes
from engine.lake.products import kept_products
from engine.lake.quality import RAW, REASON, Check, check_rows
from engine.lake.recipe import Recipe
from engine.lake.source import read_products
from engine.lake.table import ORDER, REJECTS_SCHEMA, reconcile
from engine.lake.text import ROW
from engine.schema import TRANSACTION, require_columns

_NAME = "frame"


@dataclass(frozen=True)
class FrameSource:
    """Checked transactions of a frame, as one bucket.

    Attributes
    ----------
    version, buckets
        0 and 1: a frame has no history and is not split.
    customer_id_dtype
        Int64 where every id is a whole number, else String.
    rows, columns
        Of the kept rows.
    rejects
        The rejected rows: file (``frame``), row (from 1), reason, raw (JSON).

    Examples
    --------
    >>> import polars as pl
    >>> frame = pl.DataFrame({"customer_id": [7, None], "timestamp": ["2024-05-01"] * 2, "amount": [9.5, 1.0]})
    >>> source = FrameSource.from_frame(frame)
    >>> source.rows, source.rejects["reason"].to_list()
    (1, ['missing_customer_id'])
    """

    version: int
    buckets: int
    customer_id_dtype: pl.DataType
    rows: int
    columns: list[str]
    rejects: pl.DataFrame
    _data: pl.DataFrame = field(repr=False)
    _record: dict[str, Any] = field(repr=False)
    _products: pl.DataFrame | None = field(default=None, repr=False)

    @classmethod
    def from_frame(cls, frame: pl.DataFrame | pl.LazyFrame, recipe: Recipe | None = None) -> FrameSource:
        """Check a frame and hold its rows.

        Parameters
        ----------
        frame
            Transactions; the caller's frame is left alone.
        recipe
            Columns, formats and rules; by default the columns carry their canonical names.

        Raises
        ------
        ColumnsMissingError
            A mapped column is not there.
        DataError
            No row can be used, or most cannot be read.
        """
        rule = recipe or Recipe(name=_NAME)
        batch = frame.lazy().collect()
        if batch.is_empty():
            raise DataError(f"{_NAME}: there is no row.")
        check = _check(batch, rule)
        known = None
        if rule.products is not None and check.products is not None:
            known = kept_products(check.products, rule.products)
        checked = check_rows(batch.with_row_index(ROW, offset=1).cast({ROW: pl.Int64}), check, file=0, buckets=1)
        if rule.rules.exact_duplicates == "reject":
            again = pl.col(REASON).is_null() & ~pl.struct(RAW).is_first_distinct()
            reason = pl.when(again).then(pl.lit("exact_duplicate")).otherwise(REASON)
            checked = checked.with_columns(reason.alias(REASON))
        bad = checked[REASON].is_not_null()
        rejected = checked.filter(bad)
        record = _record(checked.filter(~bad), rejected, check, batch.columns)
        _refuse(rejected, record, rule, check.columns)
        data = checked.filter(~bad)
        ids = data["customer_id"].cast(pl.Int64, strict=False)
        if (ids.cast(pl.String) == data["customer_id"]).fill_null(False).all():
            data = data.with_columns(ids)
        # Only now: numbers sort otherwise than their digits.
        data = data.sort(*ORDER, ROW).select("customer_id", *TRANSACTION, *check.extras)
        rejects = rejected.select(
            pl.lit(_NAME).alias("file"),
            pl.col(ROW).alias("row"),
            pl.col(REASON).alias("reason"),
            pl.col(RAW).alias("raw"),
        )
        return cls(
            version=0,
            buckets=1,
            customer_id_dtype=data.schema["customer_id"],
            rows=data.height,
            columns=data.columns,
            rejects=rejects.cast(REJECTS_SCHEMA),
            _data=data.with_columns(pl.col("customer_id").set_sorted()),
            _record=record,
            _products=known,
        )

    def bucket(self, number: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return all kept rows (bucket 0), sorted by customer, time and order; see ``Lake.bucket``."""
        if number != 0:
            raise DataError(f"bucket {number}: a frame has the bucket 0 only.")
        wanted = self.columns if columns is None else list(columns)
        require_columns(self.columns, wanted, where=_NAME)
        return self._data.select(wanted)

    def last_timestamp(self) -> datetime:
        """Return the time of the last row, in UTC."""
        last: datetime = self._data.select(pl.col("timestamp").max()).item()
        return last

    def products(self) -> pl.DataFrame | None:
        """Return what the recipe's table says of the products, ``None`` without one; see ``Lake.products``."""
        return self._products

    def notes(self) -> list[dict[str, str]]:
        """Return what a reader of any figure from this frame must know, in English and Spanish."""
        return reader_notes([self._record])

    def reconciliation(self) -> dict[str, Any]:
        """Return what was read, kept and rejected: rows, and money as exact decimal text."""
        return reconcile([self._record])


def _check(batch: pl.DataFrame, recipe: Recipe) -> Check:
    columns = resolve_columns(recipe.columns, batch.columns, where=_NAME)
    check_types(columns, batch.schema, where=_NAME)
    time = columns["timestamp"]
    formats: tuple[str, ...] = ()
    if dates.needs_formats(batch.schema[time]):
        formats = (
            (recipe.date_format,)
            if recipe.date_format
            else tuple(dates.find_formats(dates.representatives(batch.lazy(), time), where=f"{_NAME}, column {time!r}"))
        )
    extras = {
        name: extra_type(batch.schema[columns[name]], where=f"{_NAME}, {columns[name]!r}")
        for name in unknown_extras(columns)
    }
    products = None if recipe.products is None else read_products(recipe.products)
    return Check(columns, extras, recipe.decimal, formats, recipe.rules, products)


def _record(kept: pl.DataFrame, rejected: pl.DataFrame, check: Check, available: list[str]) -> dict[str, Any]:
    """Return the same figures that a commit of the lake records."""
    amount_kept = _sum(kept)
    reasons = {
        reason: rejected.filter(pl.col(REASON) == reason)
        for reason in quality.REASONS
        if (rejected[REASON] == reason).any()
    }
    return {
        "rows_read": kept.height + rejected.height,
        "rows_kept": kept.height,
        "rejected": {reason: rows.height for reason, rows in reasons.items()},
        "rows_without_amount": rejected["amount"].null_count(),
        "amount_read": str(amount_kept + _sum(rejected)),
        "amount_kept": str(amount_kept),
        "amount_rejected": {reason: str(_sum(rows)) for reason, rows in reasons.items()},
        "by_volume_rows": int(kept["by_volume"].sum()),
        "non_product_rows": kept.height - int(kept["is_product"].sum()),
        "filled": filled_columns([check.columns]),
        "price_only": unmapped_beside_price([available], [check.columns]),
        "currencies": sorted(check.currencies),
    }


def _sum(rows: pl.DataFrame) -> Decimal:
    total = rows["amount"].sum()
    return Decimal(0) if total is None else Decimal(str(total))


def _refuse(rejected: pl.DataFrame, record: Mapping[str, Any], recipe: Recipe, columns: Mapping[str, str]) -> None:
    """Stop where the format must be wrong, or where nothing is left."""
    unread = rejected.filter(pl.col(REASON).is_in(list(quality.FORMAT_REASONS)))
    if unread.height > recipe.rules.max_reject_share * record["rows_read"]:
        examples = "; ".join(
            quality.example(row, reason, raw, columns)
            for row, reason, raw in unread.select(ROW, REASON, RAW).head(3).iter_rows()
        )
        raise DataError(
            f"{_NAME}: {unread.height:,} of {record['rows_read']:,} rows cannot be read. {examples}. "
            "Set decimal, date_format or columns in the recipe to how the frame is written."
        )
    if not record["rows_kept"]:
        shown = ", ".join(f"{reason} {rows:,}" for reason, rows in record["rejected"].items())
        raise DataError(f"{_NAME}: no row can be used ({shown}). Check the recipe's columns and rules.")
