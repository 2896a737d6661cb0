"""The customer table: one row per customer, with the accounts that prove that nobody and no cent was lost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.lake.buckets import bucket_of
from engine.schema import Word, require_columns

ODD_GAP_DAYS = 180
"""A latest sale so many days after those of nearly all customers is more likely a slip of the pen than a sale."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """A number of rows and their exact sum."""

    rows: int
    amount: Decimal

    def __sub__(self, other: Amounts) -> Amounts:
        """Return what is left when the other rows are taken out."""
        return Amounts(self.rows - other.rows, self.amount - other.amount)


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
    first_sale, last_sale
        Times of the first and last sale row inside the period.
    buckets
        Number of buckets of the source, a power of two.
    row_counts
        Sale rows that counted, for each customer of the frame.
    left_out
        Customers of the source who are not in the frame, by reason.
    rows_left_out
        Rows of the source that did not count, by reason: how many, and their exact amount. Together with ``rows`` and
        ``monetary_total`` they are all rows of the source.
    where
        The predicate that selected customers.
    """

    frame: pl.DataFrame
    as_of: datetime
    window_days: int | None
    first_sale: datetime
    last_sale: datetime
    buckets: int
    row_counts: pl.Series
    left_out: dict[str, int]
    rows_left_out: dict[str, Amounts]
    where: str | None = None

    @property
    def rows(self) -> int:
        """Sale rows that counted."""
        return int(self.row_counts.sum())

    @property
    def orders(self) -> int:
        """Orders that counted."""
        return int(self.frame["frequency"].sum())

    @property
    def monetary_total(self) -> Decimal:
        """Exact sum of the amounts that counted, in ten-thousandths."""
        # Each customer's float is the one nearest to an exact multiple of 0.0001.
        return Decimal(int((self.frame["monetary"] * 10_000).round().cast(pl.Int64).sum())).scaleb(-4)

    def bucket_order(self) -> tuple[NDArray[np.int64], list[int]]:
        """Return the row numbers of the frame bucket by bucket, and how many customers each bucket has.

        Inside a bucket customers stay in the frame's order. Blocks of rows that never cross a bucket can live wherever
        the bucket lives.
        """
        buckets = self.frame.select(bucket_of("customer_id", self.buckets)).to_series().to_numpy()
        return np.argsort(buckets, kind="stable"), np.bincount(buckets, minlength=self.buckets).tolist()

    def warnings(self) -> list[Word]:
        """Return what makes the dates look wrong: a lonely latest sale, a period longer than the data."""
        found = []
        recency = self.frame["recency_days"].sort()
        nearly_all = recency[max(1, len(recency) // 100)] if len(recency) > 1 else recency[0]
        gap = nearly_all - recency[0]
        if gap > ODD_GAP_DAYS:
            day = self.last_sale.date().isoformat()
            found.append(
                Word(
                    f"The latest sale is of {day}, {gap} days after the last purchase of nearly all customers. If that "
                    "date is wrong, correct the row or set as_of: every recency is counted from it.",
                    f"La última venta es del {day}, {gap} días después de la última compra de casi todos los clientes. "
                    "Si esa fecha es un error, conviene corregir la fila o fijar as_of: toda recencia se cuenta desde "
                    "ella.",
                )
            )
        covered = (self.as_of - self.first_sale).days + 1
        if self.window_days is not None and covered < 0.9 * self.window_days:
            found.append(
                Word(
                    f"The period of {self.window_days} days reaches further back than the sales, which begin on "
                    f"{self.first_sale.date().isoformat()}: it covers {covered} days.",
                    f"El periodo de {self.window_days} días llega más atrás que las ventas, que empiezan el "
                    f"{self.first_sale.date().isoformat()}: abarca {covered} días.",
                )
            )
        return found


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
        if not isinstance(where, str):
            raise pl.exceptions.SQLInterfaceError("it is no text")
        condition = pl.sql_expr(where)
        names = condition.meta.root_names()
    except (pl.exceptions.SQLSyntaxError, pl.exceptions.SQLInterfaceError) as error:
        raise SettingError(
            f"where: expected an SQL condition such as 'monetary > 100'; got {where!r} ({error})."
        ) from None
    if "customer_id" in names:
        raise SettingError(
            "where: customer_id cannot be used: the condition is kept with the model and shown in the report, and ids "
            "of persons are in neither. Select customers by what they do, or take their transactions out of the data."
        )
    require_columns(table.frame.columns, names, where=f"where={where!r}")
    try:
        chosen = table.frame.select(condition).to_series()
        if chosen.dtype != pl.Boolean or chosen.len() != table.frame.height:
            raise pl.exceptions.InvalidOperationError("it is not true or false for each customer")
    except pl.exceptions.PolarsError as error:
        raise SettingError(
            f"where: expected an SQL condition such as 'monetary > 100'; got {where!r} ({error})."
        ) from None
    chosen = chosen.fill_null(False)
    if not chosen.any():
        raise DataError(
            f"where={where!r}: none of the {table.frame.height} customers satisfies it. Widen the condition."
        )
    taken = replace(
        table,
        frame=table.frame.filter(chosen),
        row_counts=table.row_counts.filter(chosen),
        left_out={**table.left_out, "where": int((~chosen).sum())},
        where=where,
    )
    others = Amounts(table.rows, table.monetary_total) - Amounts(taken.rows, taken.monetary_total)
    return replace(taken, rows_left_out={**table.rows_left_out, "where": others})
