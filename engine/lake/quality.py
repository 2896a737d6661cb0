"""Which rows can be used: every row of a batch comes out typed, kept or rejected with one reason.

Money is exact: ``amount`` is a decimal, rows kept plus rows rejected are the rows read, and so are their amounts.
The quick path works on whole columns; reasons are only looked for among the rows that failed.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from engine.errors import SettingError
from engine.lake import dates, numbers
from engine.lake.buckets import bucket_of
from engine.lake.keys import to_key
from engine.lake.raw import as_json
from engine.lake.recipe import Rules
from engine.lake.text import EXTRA, ROW
from engine.schema import MONEY, RETURN, SALE, TIMESTAMP, TRANSACTION, require_columns

REASON = "__reason"
RAW = "__raw"
FILE = "__file"
REJECTS_BUCKET = -1

REASONS = (
    "ragged_row",
    "missing_customer_id",
    "missing_timestamp",
    "not_a_date",
    "date_out_of_range",
    numbers.NOT_A_NUMBER,
    numbers.INFINITE,
    numbers.TOO_LARGE,
    "missing_quantity",
    "missing_amount",
    "unknown_kind",
    "zero_price",
    "negative_price",
    "non_product",
    "exact_duplicate",
)
"""Why a row is rejected; of several reasons the first in this order counts."""

FORMAT_REASONS = ("ragged_row", "not_a_date", "date_out_of_range", numbers.NOT_A_NUMBER)
"""Reasons that speak of how a file is written rather than of the row."""

_MONEY_COLUMNS = ("quantity", "unit_price", "amount")
# A quantity with a currency sign is a price in the wrong column.
_CURRENCY_COLUMNS = ("unit_price", "amount")


@dataclass(frozen=True, slots=True)
class Check:
    """Everything that :func:`check_rows` needs to know about one source.

    Attributes
    ----------
    columns
        Canonical name to source column, only those that are there.
    extras
        Names and types of the further columns to keep.
    decimal, date_formats
        How text is written.
    rules
        What to refuse.
    products
        A frame with ``product_id`` and the columns that ``rules.by_volume_where`` uses, or None.
    short
        Numbers of the records with too few fields, or None.
    currencies
        Takes the currency signs that :func:`check_rows` meets, whatever the order of the batches.
    """

    columns: Mapping[str, str]
    extras: Mapping[str, pl.DataType]
    decimal: str
    date_formats: tuple[str, ...]
    rules: Rules
    products: pl.DataFrame | None = None
    short: pl.Series | None = None
    currencies: set[str] = field(default_factory=set)


def staged_schema(extras: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """Return the columns of a checked batch, in order."""
    return {
        "customer_id": pl.String(),
        **TRANSACTION,
        **extras,
        FILE: pl.Int32(),
        ROW: pl.Int64(),
        REASON: pl.String(),
        RAW: pl.String(),
        "bucket": pl.Int32(),
    }


def by_volume_expression(rules: Rules) -> pl.Expr | None:
    """Return the predicate of ``rules.by_volume_where``.

    Raises
    ------
    SettingError
        It is not SQL.
    """
    if rules.by_volume_where is None:
        return None
    try:
        return pl.sql_expr(rules.by_volume_where)
    except pl.exceptions.PolarsError as error:
        raise SettingError(
            f"data.rules.by_volume_where: expected an SQL predicate such as \"department = 'FUEL'\"; "
            f"got {rules.by_volume_where!r} ({error})."
        ) from error


def check_rows(batch: pl.DataFrame, check: Check, *, file: int, buckets: int) -> pl.DataFrame:
    """Return the batch typed, with the reason of each rejected row.

    Parameters
    ----------
    batch
        Source rows with ``__row``, their number in the source from 1.
    check
        What the columns mean and which rows to refuse.
    file
        Number of the source, kept in ``__file``.
    buckets
        Number of buckets; rejected rows get bucket -1.

    Returns
    -------
    pl.DataFrame
        The columns of :func:`staged_schema`. Kept rows have null ``__reason``; rejected rows have their source
        fields as JSON in ``__raw`` and whatever of them could be read.
    """
    batch = _plain_text(_without_blank_records(batch, check), check)
    source = [name for name in batch.columns if name not in (ROW, EXTRA)]
    typed = _typed(batch, check)
    unread = {
        name: typed[name].is_null() & ~numbers.missing(batch[check.columns[name]])
        for name in _MONEY_COLUMNS
        if name in check.columns
    }
    typed = _derived(typed, check)
    problems = _problems(batch, typed, unread, check)
    reason = _first_reason(problems, batch, unread, check)
    raw = pl.Series(RAW, [None], dtype=pl.String).new_from_index(0, batch.height)
    if check.rules.exact_duplicates == "reject":
        raw = as_json(batch, source)
    elif reason is not None:
        bad = reason.is_not_null()
        raw = raw.scatter(bad.arg_true(), as_json(batch.filter(bad), source))
    rejected = pl.lit(None, pl.String) if reason is None else pl.lit(reason)
    return (
        typed.with_columns(
            pl.lit(file, pl.Int32).alias(FILE), batch[ROW], rejected.alias(REASON), pl.lit(raw).alias(RAW)
        )
        .with_columns(
            pl.when(pl.col(REASON).is_null())
            .then(bucket_of("customer_id", buckets))
            .otherwise(pl.lit(REJECTS_BUCKET, pl.Int32))
            .alias("bucket")
        )
        .select(list(staged_schema(check.extras)))
    )


def _without_blank_records(batch: pl.DataFrame, check: Check) -> pl.DataFrame:
    """Drop the blank lines of a text file: they are no rows."""
    if EXTRA not in batch.columns:
        return batch
    first = batch[check.columns["customer_id"]]
    if not first.null_count():
        return batch
    return batch.filter(~pl.all_horizontal(pl.exclude(ROW).is_null()))


def _plain_text(batch: pl.DataFrame, check: Check) -> pl.DataFrame:
    """Turn mapped columns of categories into the text they stand for."""
    coded = [name for name in set(check.columns.values()) if batch.schema[name] in (pl.Categorical, pl.Enum)]
    return batch.with_columns(pl.col(coded).cast(pl.String)) if coded else batch


def _typed(batch: pl.DataFrame, check: Check) -> pl.DataFrame:
    """Read the mapped columns as their canonical types; what cannot be read is null."""
    columns = []
    for name, source in check.columns.items():
        values = batch[source]
        if name in ("customer_id", "order_id", "product_id"):
            read = to_key(values)
        elif name == "timestamp":
            read = dates.to_timestamp(values, list(check.date_formats))
        elif name in _MONEY_COLUMNS:
            read = numbers.to_money(
                values, check.decimal, currencies=check.currencies if name in _CURRENCY_COLUMNS else None
            )
        elif name == "kind":
            read = _kind(values, check.rules)
        else:
            read = _extra(values, check.extras[name])
        columns.append(read.alias(name))
    return pl.DataFrame(columns)


def _kind(values: pl.Series, rules: Rules) -> pl.Series:
    words = {word.strip().lower(): kind for kind, spelled in rules.kind_values.items() for word in spelled}
    return (
        values.cast(pl.String)
        .str.strip_chars()
        .str.to_lowercase()
        .replace_strict(words, default=None, return_dtype=pl.String)
    )


def _extra(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    if dtype == TIMESTAMP:
        return dates.as_utc(values)
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        values = values.set(~dates.holdable(values), None)
    return values.cast(dtype)


def _derived(typed: pl.DataFrame, check: Check) -> pl.DataFrame:
    """Fill in the canonical columns that the source does not have."""
    there = check.columns
    if "quantity" not in there:
        typed = typed.with_columns(pl.lit(1).cast(MONEY).alias("quantity"))
    if "unit_price" not in there:
        typed = typed.with_columns(pl.lit(None, MONEY).alias("unit_price"))
    if "product_id" not in there:
        typed = typed.with_columns(pl.lit(None, pl.String).alias("product_id"))
    if "amount" not in there:
        product = (pl.col("quantity") * pl.col("unit_price")).cast(MONEY, strict=False)
        typed = typed.with_columns(product.alias("amount"))
    day = pl.col("timestamp").dt.strftime("%Y-%m-%d")
    order = pl.coalesce("order_id", day) if "order_id" in there else day
    typed = typed.with_columns(order.alias("order_id"))
    if "kind" not in there:
        back = (pl.col("quantity") < 0) | (pl.col("amount") < 0)
        typed = typed.with_columns(pl.when(back).then(pl.lit(RETURN)).otherwise(pl.lit(SALE)).alias("kind"))
    return _flagged(typed, check)


def _flagged(typed: pl.DataFrame, check: Check) -> pl.DataFrame:
    """Add ``is_product`` and ``by_volume``."""
    codes = check.rules.non_products
    is_product: pl.Expr = pl.lit(True)
    if codes:
        pattern = "|".join(fnmatch.translate(code).removesuffix(r"\Z").removesuffix(r"\z") for code in codes)
        is_product = ~pl.col("product_id").str.contains(f"^(?:{pattern})$").fill_null(False)
    typed = typed.with_columns(is_product.alias("is_product"))
    predicate = by_volume_expression(check.rules)
    if predicate is None:
        return typed.with_columns(pl.lit(False).alias("by_volume"))
    wide = typed
    if check.products is not None:
        wide = typed.join(check.products, on="product_id", how="left", maintain_order="left", suffix="_product")
    require_columns(wide.columns, predicate.meta.root_names(), where="data.rules.by_volume_where")
    try:
        holds = wide.select(predicate.alias("by_volume"))["by_volume"]
    except pl.exceptions.PolarsError as error:
        raise SettingError(
            f"data.rules.by_volume_where: {check.rules.by_volume_where!r} cannot be evaluated ({error})."
        ) from error
    if holds.dtype != pl.Boolean:
        raise SettingError(
            f"data.rules.by_volume_where: expected a condition, true or false for each row; "
            f"got {check.rules.by_volume_where!r}, which is {holds.dtype}."
        )
    return typed.with_columns(holds.fill_null(False))


def _problems(
    batch: pl.DataFrame, typed: pl.DataFrame, unread: Mapping[str, pl.Series], check: Check
) -> dict[str, pl.Series]:
    """Return, for each kind of problem, the rows that have it (numbers are told apart later)."""
    none = pl.Series([False]).new_from_index(0, batch.height)
    ragged = batch[EXTRA].is_not_null() if EXTRA in batch.columns else none
    if check.short is not None and not check.short.is_empty():
        ragged = ragged | batch[ROW].is_in(check.short.implode())
    no_time = typed["timestamp"].is_null()
    blank_time = no_time & numbers.missing(batch[check.columns["timestamp"]])
    problems = {
        "ragged_row": ragged,
        "missing_customer_id": typed["customer_id"].is_null(),
        "missing_timestamp": blank_time,
        "not_a_date": no_time & ~blank_time,
    }
    if problems["not_a_date"].any():
        times = batch[check.columns["timestamp"]]
        outside = problems["not_a_date"] & dates.out_of_range(times, list(check.date_formats))
        problems |= {"not_a_date": problems["not_a_date"] & ~outside, "date_out_of_range": outside}
    number = none
    for failed in unread.values():
        number = number | failed
    problems["number"] = number
    problems["missing_quantity"] = typed["quantity"].is_null()
    problems["missing_amount"] = typed["amount"].is_null()
    problems["unknown_kind"] = typed["kind"].is_null()
    price = typed["unit_price"] if "unit_price" in check.columns else typed["amount"]
    if check.rules.zero_price == "reject":
        problems["zero_price"] = (price == 0).fill_null(False)
    if check.rules.negative_price == "reject":
        negative = (price < 0) & (typed["quantity"] > 0)
        problems["negative_price"] = negative.fill_null(False)
    if check.rules.drop_non_products:
        problems["non_product"] = ~typed["is_product"]
    return problems


def _first_reason(
    problems: Mapping[str, pl.Series], batch: pl.DataFrame, unread: Mapping[str, pl.Series], check: Check
) -> pl.Series | None:
    """Return the reason of each row, null for rows to keep; None when every row is kept."""
    bad = pl.Series([False]).new_from_index(0, batch.height)
    for rows in problems.values():
        bad = bad | rows
    if not bad.any():
        return None
    reason = pl.Series(REASON, [None], dtype=pl.String).new_from_index(0, batch.height)
    for name, rows in reversed(list(problems.items())):
        if not rows.any():
            continue
        if name == "number":
            reason = _number_reasons(reason, batch, unread, check)
        elif name == "missing_amount":
            reason = reason.scatter(rows.arg_true(), _why_no_amount(rows, batch, check))
        else:
            reason = reason.scatter(rows.arg_true(), name)
    return reason


def _number_reasons(reason: pl.Series, batch: pl.DataFrame, unread: Mapping[str, pl.Series], check: Check) -> pl.Series:
    whys = []
    for name, rows in unread.items():
        why = pl.Series([None], dtype=pl.String).new_from_index(0, batch.height)
        if rows.any():
            values = batch[check.columns[name]].filter(rows)
            found = numbers.why_unread(values, check.decimal, currency=name in _CURRENCY_COLUMNS)
            why = why.scatter(rows.arg_true(), found)
        whys.append(why)
    for wanted in (numbers.TOO_LARGE, numbers.INFINITE, numbers.NOT_A_NUMBER):
        for why in whys:
            reason = reason.scatter((why == wanted).fill_null(False).arg_true(), wanted)
    return reason


def _why_no_amount(rows: pl.Series, batch: pl.DataFrame, check: Check) -> pl.Series:
    """Tell a product of two numbers that is too large from an amount that is not there."""
    name = "missing_amount"
    if "amount" in check.columns:
        return pl.Series([name]).new_from_index(0, int(rows.sum()))
    price = numbers.missing(batch[check.columns["unit_price"]]).filter(rows)
    return price.to_frame("x").select(
        pl.when("x").then(pl.lit(name)).otherwise(pl.lit(numbers.TOO_LARGE)).alias("reason")
    )["reason"]


def example(row: int, reason: str, raw: str, columns: Mapping[str, str]) -> str:
    """Return a rejected row for a message: only its date and numbers, for a message may end up in a log.

    Examples
    --------
    >>> example(3, "not_a_number", '{"client": 7, "price": "1,5"}', {"customer_id": "client", "unit_price": "price"})
    'row 3 (not_a_number): price=1,5'
    """
    fields = json.loads(raw)
    shown = [columns[name] for name in ("timestamp", *_MONEY_COLUMNS) if name in columns]
    return f"row {row} ({reason}): " + ", ".join(f"{name}={fields[name]}" for name in shown)
