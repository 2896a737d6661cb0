"""One row per customer at a date: computed bucket by bucket, cached by content.

Only rows before ``as_of`` are ever looked at, so the table is what was knowable then; with ``window_days`` only the
last so many days of them count (excepted are the tenure, which asks when the customer first bought, and the trend,
which brings its own period). A customer is in the table who has a sale in the period; returns alone make nobody one.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import operator
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import polars as pl

from engine.compute import Compute, LocalCompute
from engine.errors import DataError, SettingError
from engine.features import basket, cadence, rfm
from engine.features.feature import Feature
from engine.features.table import Amounts, CustomerTable, select
from engine.schema import SALE

log = logging.getLogger(__name__)

FEATURES: dict[str, Feature] = {feature.name: feature for family in (rfm, basket, cadence) for feature in family.FAMILY}
"""Every feature that can be asked for, by name."""

ROWS = "__rows"
"""Column in which each customer's number of rows travels until the table is complete."""

ALWAYS = ("recency_days", "tenure_days", "frequency", "units", "monetary")
"""Computed whatever is clustered: profiles and names rest on them."""


LONGEST_WINDOW_DAYS = 36_525
"""A hundred years: more than any till has kept."""


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


def parse_as_of(value: str | date | datetime | None, last_timestamp: datetime) -> datetime:
    """Return the moment before which rows count: the given one, or the midnight after the last row.

    Examples
    --------
    >>> parse_as_of(None, datetime(2018, 1, 1, 4, 1, tzinfo=UTC)).isoformat()
    '2018-01-02T00:00:00+00:00'
    >>> parse_as_of("2017-07-01", datetime(2018, 1, 1, tzinfo=UTC)).isoformat()
    '2017-07-01T00:00:00+00:00'
    """
    try:
        if value is None:
            return datetime.combine(last_timestamp.date() + timedelta(days=1), time(), UTC)
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(moment, datetime):
            moment = datetime.combine(moment, time())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        raise SettingError(f"as_of: expected a date such as 2018-01-02; got {value!r}.") from None


def customer_table(
    source: TransactionSource,
    *,
    columns: Sequence[str] = ALWAYS,
    as_of: str | date | datetime | None = None,
    window_days: int | None = None,
    where: str | None = None,
    cache: Path | None = None,
    compute: Compute | None = None,
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
        Only sales of the last so many days count, save for features of the whole history; at least 1. ``None``: all.
    where
        SQL predicate over the columns of the table that selects customers, such as ``monetary > 100``.
    cache
        Folder for results by content; ``None`` computes afresh.
    compute
        Who works on the buckets; threads of this process by default. No result depends on it.
    progress
        Called with ``(done, buckets)`` after each bucket.

    Raises
    ------
    SettingError
        An unknown feature, an impossible window, a predicate that does not parse.
    DataError
        No sale before ``as_of``, a feature without the column that it needs, or nobody satisfies ``where``.
    """
    for name in columns:
        if name not in FEATURES:
            raise SettingError.from_unknown("features.columns", name, FEATURES)
    window_days = _checked_window(window_days)
    wanted = tuple(dict.fromkeys([*ALWAYS, *columns]))
    moment = parse_as_of(as_of, source.last_timestamp())
    kept = cache / f"features-{_key(source, wanted, moment, window_days)}.parquet" if cache else None
    table = _load(kept, wanted) if kept is not None and kept.exists() else None
    if table is None:
        table = _compute(source, wanted, moment, window_days, compute or LocalCompute(), progress)
        if kept is not None:
            _save(table, kept)
    if not table.frame.height:
        since = f" in the {window_days} days" if window_days else ""
        raise DataError(
            f"as_of={moment.date()}: no sale{since} before that date; the last row of the source is of "
            f"{source.last_timestamp().date()}. Set as_of or features.window_days."
        )
    _check_required(table.frame)
    return table if where is None else select(table, where)


def _check_required(customers: pl.DataFrame) -> None:
    """Refuse what would be a column of nothing: a product count of data without products."""
    for name in customers.columns[1:]:
        needed = FEATURES[name].requires
        if needed and customers[name].null_count() == customers.height:
            column = needed[0]
            raise DataError(
                f"features.columns: {name} needs {column}, and no sale of a product before as_of has one. Map the "
                f"column with data.columns.{column}=SOURCE_COLUMN, or leave {name} out of features.columns."
            )


def _checked_window(window_days: Any) -> int | None:
    if window_days is None:
        return None
    try:
        if isinstance(window_days, bool) or not 1 <= operator.index(window_days) <= LONGEST_WINDOW_DAYS:
            raise TypeError
    except TypeError:
        raise SettingError(
            f"features.window_days: expected a whole number of days from 1 to {LONGEST_WINDOW_DAYS}, or null; got "
            f"{window_days!r}."
        ) from None
    return operator.index(window_days)


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
    row_counts: pl.Series
    first: datetime | None
    last: datetime | None
    left_out: dict[str, int]
    rows_left_out: dict[str, Amounts]


def _compute(
    source: TransactionSource,
    names: Sequence[str],
    as_of: datetime,
    window_days: int | None,
    compute: Compute,
    progress: Callable[[int, int], None] | None,
) -> CustomerTable:
    features = [FEATURES[name] for name in names]
    reads = sorted({"customer_id", "timestamp", "order_id", "kind", "amount"}.union(*(f.reads for f in features)))

    def one(number: int) -> _Part:
        return _aggregate(source.bucket(number, reads), features, as_of, window_days)

    parts = list(compute.map(one, range(source.buckets), progress=progress))
    counted = pl.concat([part.frame.with_columns(part.row_counts.alias(ROWS)) for part in parts]).sort("customer_id")
    firsts = [part.first for part in parts if part.first is not None]
    lasts = [part.last for part in parts if part.last is not None]
    reasons = sorted({reason for part in parts for reason in part.left_out})
    return CustomerTable(
        frame=counted.drop(ROWS),
        as_of=as_of,
        window_days=window_days,
        first_sale=min(firsts, default=as_of),
        last_sale=max(lasts, default=as_of),
        buckets=source.buckets,
        row_counts=counted[ROWS],
        left_out={reason: sum(part.left_out[reason] for part in parts) for reason in reasons},
        rows_left_out={
            reason: Amounts(
                sum(part.rows_left_out[reason].rows for part in parts),
                sum((part.rows_left_out[reason].amount for part in parts), Decimal(0)),
            )
            for reason in parts[0].rows_left_out
        },
    )


def _aggregate(rows: pl.DataFrame, features: Sequence[Feature], as_of: datetime, window_days: int | None) -> _Part:
    everybody = rows["customer_id"].n_unique()
    known = rows.filter(pl.col("timestamp") < as_of)
    before = known["customer_id"].n_unique()
    sales = known.filter(pl.col("kind") == SALE)
    buyers = sales["customer_id"].n_unique()
    start = None if window_days is None else as_of - timedelta(days=window_days)
    inside = _since(sales, start)

    scopes: dict[tuple[str, bool], list[Feature]] = {}
    for feature in features:
        scopes.setdefault((feature.rows, feature.whole_history and start is not None), []).append(feature)
    own = scopes.pop(("sales", False), [])
    table = inside.group_by("customer_id", maintain_order=True).agg(*_columns(own, as_of), pl.len().alias(ROWS))
    for (kinds, unbounded), others in scopes.items():
        seen = _since(known if kinds == "all" else sales, None if unbounded else start)
        more = seen.group_by("customer_id", maintain_order=True).agg(*_columns(others, as_of))
        table = table.join(more, on="customer_id", how="left", maintain_order="left")
    # Decimal sums are exact; each customer's total becomes a float only here.
    table = table.with_columns(pl.selectors.decimal().cast(pl.Float64))
    return _Part(
        frame=table.select("customer_id", *(feature.name for feature in features)),
        row_counts=table[ROWS].cast(pl.Int64),
        first=inside["timestamp"].min(),  # type: ignore[arg-type]
        last=inside["timestamp"].max(),  # type: ignore[arg-type]
        left_out={
            "nothing_before_as_of": everybody - before,
            "returns_only": before - buyers,
            "no_sale_in_window": buyers - table.height,
        },
        rows_left_out={
            "on_or_after_as_of": _amounts(rows) - _amounts(known),
            "returns": _amounts(known) - _amounts(sales),
            "before_window": _amounts(sales) - _amounts(inside),
        },
    )


def _since(rows: pl.DataFrame, start: datetime | None) -> pl.DataFrame:
    return rows if start is None else rows.filter(pl.col("timestamp") >= start)


def _columns(features: Sequence[Feature], as_of: datetime) -> list[pl.Expr]:
    return [feature.expression(as_of).alias(feature.name) for feature in features]


def _amounts(rows: pl.DataFrame) -> Amounts:
    return Amounts(rows.height, Decimal(rows["amount"].sum() or 0))


def _key(source: TransactionSource, names: Sequence[str], as_of: datetime, window_days: int | None) -> str:
    content = json.dumps([source.version, list(names), as_of.isoformat(), window_days, _code()])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _code() -> str:
    """Return the source of everything that decides what is in the table: any change of it computes afresh."""
    families = {feature.expression.__module__ for feature in FEATURES.values()}
    modules = sorted({*families, Feature.__module__, CustomerTable.__module__, __name__})
    return "".join(inspect.getsource(sys.modules[module]) for module in modules)


def _save(table: CustomerTable, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "as_of": table.as_of.isoformat(),
        "window_days": table.window_days,
        "first_sale": table.first_sale.isoformat(),
        "last_sale": table.last_sale.isoformat(),
        "buckets": table.buckets,
        "left_out": table.left_out,
        "rows_left_out": {reason: [part.rows, str(part.amount)] for reason, part in table.rows_left_out.items()},
    }
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        counted = table.frame.with_columns(table.row_counts.alias(ROWS))
        counted.write_parquet(partial, metadata={"cartera": json.dumps(facts)})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _load(path: Path, names: Sequence[str]) -> CustomerTable | None:
    """Return the table, or ``None`` where the file cannot be read: it is a cache, and the lake has the truth."""
    try:
        facts = json.loads(pl.read_parquet_metadata(path)["cartera"])
        counted = pl.read_parquet(path)
        return CustomerTable(
            frame=counted.select("customer_id", *names),
            as_of=datetime.fromisoformat(facts["as_of"]),
            window_days=facts["window_days"],
            first_sale=datetime.fromisoformat(facts["first_sale"]),
            last_sale=datetime.fromisoformat(facts["last_sale"]),
            buckets=facts["buckets"],
            row_counts=counted[ROWS],
            left_out=facts["left_out"],
            rows_left_out={
                reason: Amounts(rows, Decimal(amount)) for reason, (rows, amount) in facts["rows_left_out"].items()
            },
        )
    # Cut short, or laid out otherwise by another release: any of these.
    except (
        pl.exceptions.PolarsError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        ArithmeticError,
    ) as error:
        log.warning("%s cannot be read (%s); computing the customer table again", path, error)
        return None
