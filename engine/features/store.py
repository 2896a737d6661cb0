"""One row per customer at a date: computed bucket by bucket, cached by content.

Only rows before ``as_of`` are ever looked at, so the table is what was knowable then; with ``window_days`` only the
last so many days of them count (the tenure excepted, which asks when the customer first bought).
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import polars as pl

from engine.compute import map_buckets
from engine.errors import DataError, SettingError
from engine.features import rfm
from engine.features.feature import Feature
from engine.schema import SALE, require_columns

log = logging.getLogger(__name__)

FEATURES: dict[str, Feature] = {feature.name: feature for feature in rfm.FAMILY}
"""Every feature that can be asked for, by name."""

ALWAYS = ("recency_days", "tenure_days", "frequency", "units", "monetary")
"""Computed whatever is clustered: profiles and names rest on them."""


class TransactionSource(Protocol):
    """Whoever holds transactions by bucket: a lake on disk or a frame in memory."""

    @property
    def buckets(self) -> int:
        """Number of buckets; a customer's rows are all in one."""

    @property
    def version(self) -> int:
        """Version of the table that is read."""

    def bucket(self, number: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the rows of one bucket, sorted by customer, time and order."""

    def last_timestamp(self) -> datetime:
        """Return the time of the last row."""


@dataclass(frozen=True, slots=True)
class CustomerTable:
    """One row per customer, and the accounts that prove nobody was lost.

    Attributes
    ----------
    frame
        ``customer_id`` and one column per feature, sorted by ``customer_id``.
    as_of
        Rows before this moment counted (UTC).
    window_days
        Length of the period that ends at ``as_of``; ``None`` is the whole history.
    rows
        Sale rows that counted.
    orders
        Orders that counted: the sum of ``frequency`` over all customers before ``where``.
    monetary_total
        Exact sum of their amounts over all customers before ``where``.
    first_sale, last_sale
        Times of the first and last sale row that counted.
    left_out
        Customers of the source who are not in the frame, by reason.
    """

    frame: pl.DataFrame
    as_of: datetime
    window_days: int | None
    rows: int
    orders: int
    monetary_total: Decimal
    first_sale: datetime
    last_sale: datetime
    left_out: dict[str, int]
    where: str | None = None


def parse_as_of(value: str | date | datetime | None, last_timestamp: datetime) -> datetime:
    """Return the moment before which rows count: the given one, or the midnight after the last row.

    Examples
    --------
    >>> parse_as_of(None, datetime(2018, 1, 1, 4, 1, tzinfo=UTC)).isoformat()
    '2018-01-02T00:00:00+00:00'
    >>> parse_as_of("2017-07-01", datetime(2018, 1, 1, tzinfo=UTC)).isoformat()
    '2017-07-01T00:00:00+00:00'
    """
    if value is None:
        return datetime.combine(last_timestamp.date() + timedelta(days=1), time(), UTC)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise SettingError(f"as_of: expected a date such as 2018-01-02; got {value!r}.") from None
    elif not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def customer_table(
    source: TransactionSource,
    *,
    columns: Sequence[str] = ALWAYS,
    as_of: str | date | datetime | None = None,
    window_days: int | None = None,
    where: str | None = None,
    cache: Path | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CustomerTable:
    """Compute the customer table of a source at a date.

    Parameters
    ----------
    source
        A :class:`engine.lake.table.Lake` or :class:`engine.lake.frame.FrameSource`.
    columns
        Features wanted beside :data:`ALWAYS`.
    as_of
        Date or moment (UTC); rows strictly before it count. ``None``: the midnight after the last row.
    window_days
        Only sales of the last so many days count, tenure excepted; at least 1. ``None``: all.
    where
        SQL predicate over the columns of the table that selects customers, such as ``monetary > 100``.
    cache
        Folder for results by content; ``None`` computes afresh.

    Raises
    ------
    SettingError
        An unknown feature, an impossible window, a predicate that does not parse.
    DataError
        No sale before ``as_of``, or nobody satisfies ``where``.
    """
    for name in columns:
        if name not in FEATURES:
            raise SettingError.from_unknown("features.columns", name, FEATURES)
    if window_days is not None and (not isinstance(window_days, int) or window_days < 1):
        raise SettingError(
            f"features.window_days: expected a whole number of days of at least 1, or null; got {window_days!r}."
        )
    wanted = tuple(dict.fromkeys([*ALWAYS, *columns]))
    moment = parse_as_of(as_of, source.last_timestamp())
    kept = cache / f"features-{_key(source, wanted, moment, window_days)}.parquet" if cache else None
    if kept is not None and kept.exists():
        log.debug("customer table from cache: %s", kept)
        table = _load(kept)
    else:
        table = _compute(source, wanted, moment, window_days, workers, progress)
        if kept is not None:
            _save(table, kept)
    if not table.frame.height:
        since = f" in the {window_days} days" if window_days else ""
        raise DataError(
            f"as_of={moment.date()}: no sale{since} before that date; the last row of the source is of "
            f"{source.last_timestamp().date()}. Set as_of or features.window_days."
        )
    return table if where is None else select(table, where)


def select(table: CustomerTable, where: str) -> CustomerTable:
    """Return the table with only the customers for whom the SQL predicate holds.

    Raises
    ------
    SettingError
        The predicate does not parse or is no condition.
    ColumnsMissingError
        It names a column that is not in the table.
    DataError
        No customer satisfies it.
    """
    try:
        condition = pl.sql_expr(where)
        names = condition.meta.root_names()
    except (pl.exceptions.SQLSyntaxError, pl.exceptions.SQLInterfaceError) as error:
        raise SettingError(
            f"where: expected an SQL condition such as 'monetary > 100'; got {where!r} ({error})."
        ) from None
    require_columns(table.frame.columns, names, where=f"where={where!r}")
    try:
        frame = table.frame.filter(condition)
    except pl.exceptions.PolarsError as error:
        raise SettingError(
            f"where: expected an SQL condition such as 'monetary > 100'; got {where!r} ({error})."
        ) from None
    if not frame.height:
        raise DataError(
            f"where={where!r}: none of the {table.frame.height} customers satisfies it. Widen the condition."
        )
    left_out = {**table.left_out, "where": table.frame.height - frame.height}
    return replace(table, frame=frame, left_out=left_out, where=where)


def dictionary(columns: Sequence[str]) -> str:
    """Return the data dictionary of the named features as Markdown, in both languages."""
    lines = ["| column | unit | definition | definición |", "|---|---|---|---|"]
    for name in columns:
        feature = FEATURES[name]
        lines.append(f"| `{name}` | {feature.unit.en} | {feature.definition.en} | {feature.definition.es} |")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Part:
    """One bucket's contribution."""

    frame: pl.DataFrame
    rows: int
    monetary: Decimal
    first: datetime | None
    last: datetime | None
    left_out: dict[str, int]


def _compute(
    source: TransactionSource,
    names: Sequence[str],
    as_of: datetime,
    window_days: int | None,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> CustomerTable:
    features = [FEATURES[name] for name in names]
    reads = sorted({"customer_id", "timestamp", "order_id", "kind", "amount"}.union(*(f.reads for f in features)))

    def one(number: int) -> _Part:
        return _aggregate(source.bucket(number, reads), features, as_of, window_days)

    parts = list(map_buckets(one, source.buckets, workers=workers, progress=progress))
    frame = pl.concat([part.frame for part in parts]).sort("customer_id")
    firsts = [part.first for part in parts if part.first is not None]
    lasts = [part.last for part in parts if part.last is not None]
    reasons = sorted({reason for part in parts for reason in part.left_out})
    return CustomerTable(
        frame=frame,
        as_of=as_of,
        window_days=window_days,
        rows=sum(part.rows for part in parts),
        orders=int(frame["frequency"].sum()),
        monetary_total=sum((part.monetary for part in parts), Decimal(0)),
        first_sale=min(firsts, default=as_of),
        last_sale=max(lasts, default=as_of),
        left_out={reason: sum(part.left_out.get(reason, 0) for part in parts) for reason in reasons},
    )


def _aggregate(rows: pl.DataFrame, features: Sequence[Feature], as_of: datetime, window_days: int | None) -> _Part:
    everybody = rows["customer_id"].n_unique()
    known = rows.filter(pl.col("timestamp") < as_of)
    before = known["customer_id"].n_unique()
    sales = known.filter(pl.col("kind") == SALE)
    buyers = sales["customer_id"].n_unique()
    inside = sales if window_days is None else sales.filter(pl.col("timestamp") >= as_of - timedelta(days=window_days))

    table = inside.group_by("customer_id", maintain_order=True).agg(
        feature.expression(as_of).alias(feature.name) for feature in features
    )
    whole = [feature for feature in features if feature.whole_history]
    if window_days is not None and whole:
        history = sales.group_by("customer_id").agg(feature.expression(as_of).alias(feature.name) for feature in whole)
        table = table.drop(feature.name for feature in whole).join(history, on="customer_id", how="left")
    # Decimal sums are exact; each customer's total becomes a float only here.
    table = table.with_columns(pl.selectors.decimal().cast(pl.Float64))
    return _Part(
        frame=table.select("customer_id", *(feature.name for feature in features)),
        rows=inside.height,
        monetary=Decimal(inside["amount"].sum() or 0),
        first=inside["timestamp"].min(),  # type: ignore[arg-type]
        last=inside["timestamp"].max(),  # type: ignore[arg-type]
        left_out={
            "nothing_before_as_of": everybody - before,
            "returns_only": before - buyers,
            "no_sale_in_window": buyers - table.height,
        },
    )


def _key(source: TransactionSource, names: Sequence[str], as_of: datetime, window_days: int | None) -> str:
    code = "".join(inspect.getsource(module) for module in (rfm, inspect.getmodule(_key)) if module)
    content = json.dumps([source.version, list(names), as_of.isoformat(), window_days, code])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _save(table: CustomerTable, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "as_of": table.as_of.isoformat(),
        "window_days": table.window_days,
        "rows": table.rows,
        "orders": table.orders,
        "monetary_total": str(table.monetary_total),
        "first_sale": table.first_sale.isoformat(),
        "last_sale": table.last_sale.isoformat(),
        "left_out": table.left_out,
    }
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        table.frame.write_parquet(partial, metadata={"cartera": json.dumps(facts)})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _load(path: Path) -> CustomerTable:
    facts = json.loads(pl.read_parquet_metadata(path)["cartera"])
    return CustomerTable(
        frame=pl.read_parquet(path),
        as_of=datetime.fromisoformat(facts["as_of"]),
        window_days=facts["window_days"],
        rows=facts["rows"],
        orders=facts["orders"],
        monetary_total=Decimal(facts["monetary_total"]),
        first_sale=datetime.fromisoformat(facts["first_sale"]),
        last_sale=datetime.fromisoformat(facts["last_sale"]),
        left_out=facts["left_out"],
    )
