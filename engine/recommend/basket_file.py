"""Purchase histories from any file of baskets, and the filters that published protocols begin with.

A protocol is then a chain: read the rows, filter them, make baskets. Filters may count on other rows than those that
they filter, for some protocols count everything on the raw file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from engine.errors import DataError, SourceNotFoundError
from engine.recommend.baskets import Baskets
from engine.schema import require_columns

_PARQUET = (".parquet", ".pq")
_FORMS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_TEXT = (".csv", ".csv.gz", ".tsv", ".tsv.gz")


def read_rows(path: str | Path, *, customer: str, product: str, time: str, order: str | None = None) -> pl.DataFrame:
    """Return the purchases of a file, a row for each as it stands there.

    Parameters
    ----------
    path
        Parquet (``.parquet``, ``.pq``) or text with a head (``.csv``, ``.tsv``, also ``.gz``).
    customer, product, time, order
        Names of the columns. ``time`` is a date, a time, a text of either (ISO 8601), or a whole number by which a
        customer's baskets are in order; a number n stands for day n after 1970-01-01. Without ``order`` a basket is
        what a customer bought on one day (or under one number).

    Returns
    -------
    pl.DataFrame
        ``customer_id``, ``product_id`` (text), ``timestamp`` and, where it was named, ``order_id``; rows without
        customer, product or time are left out.

    Raises
    ------
    SourceNotFoundError, ColumnsMissingError, DataError
        No such file; a column is missing; a file or a time that cannot be read.
    """
    where = Path(path)
    if not where.is_file():
        raise SourceNotFoundError(f"{where}: no such file. Expected baskets as Parquet or CSV.")
    named = {"customer_id": customer, "product_id": product, "timestamp": time}
    if order is not None:
        named["order_id"] = order
    try:
        rows = _scan(where)
        require_columns(rows.collect_schema().names(), named.values(), where=where.name)
        frame = rows.select(pl.col(column).alias(name) for name, column in named.items()).collect()
    except (pl.exceptions.ComputeError, pl.exceptions.NoDataError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{where}: cannot be read as a table ({first}). Expected baskets as Parquet or CSV.") from error
    frame = frame.drop_nulls(["customer_id", "product_id", "timestamp"])
    return frame.with_columns(pl.col("product_id").cast(pl.String), _times(frame["timestamp"], time))


def read_baskets(path: str | Path, *, customer: str, product: str, time: str, order: str | None = None) -> Baskets:
    """Return the histories in a file of baskets; see :func:`read_rows` for what it may hold."""
    rows = read_rows(path, customer=customer, product=product, time=time, order=order)
    return Baskets.from_frame(rows, basket=basket_of(rows))


def basket_of(rows: pl.DataFrame) -> Literal["order", "day"]:
    """Return what makes a basket in rows: an order where they have one, else a day."""
    return "order" if "order_id" in rows.columns else "day"


def least_baskets(rows: pl.DataFrame, least: int, *, counted: pl.DataFrame | None = None) -> pl.DataFrame:
    """Keep the customers with so many baskets.

    Parameters
    ----------
    rows
        As :func:`read_rows` returns them.
    least
        Baskets that a customer must have.
    counted
        The rows in which they are counted; ``rows`` by default.

    Examples
    --------
    >>> from datetime import date
    >>> rows = pl.DataFrame({"customer_id": [1, 1, 2], "product_id": ["x", "y", "x"],
    ...                      "timestamp": [date(2024, 5, 1), date(2024, 5, 2), date(2024, 5, 1)]})
    >>> least_baskets(rows, 2)["customer_id"].to_list()
    [1, 1]
    """
    among = rows if counted is None else counted
    basket = pl.col("order_id") if basket_of(among) == "order" else pl.col("timestamp").dt.date()
    enough = among.group_by("customer_id").agg(basket.n_unique().alias("baskets")).filter(pl.col("baskets") >= least)
    return rows.filter(pl.col("customer_id").is_in(enough["customer_id"].implode()))


def least_rows(rows: pl.DataFrame, least: int, *, counted: pl.DataFrame | None = None) -> pl.DataFrame:
    """Keep the products with so many rows, counted in ``counted`` (``rows`` by default).

    Examples
    --------
    >>> rows = pl.DataFrame({"product_id": ["x", "y", "x"]})
    >>> least_rows(rows, 2)["product_id"].to_list()
    ['x', 'x']
    """
    enough = (rows if counted is None else counted).group_by("product_id").len().filter(pl.col("len") >= least)
    return rows.filter(pl.col("product_id").is_in(enough["product_id"].implode()))


def without_hyper_frequent(rows: pl.DataFrame, *, deviations: float = 2.0) -> pl.DataFrame:
    """Leave out customers who buy too often to be a household, and those who bought on one day only.

    A customer's pace is rows / days from the first to the last, both counted. Left out is who has the mean pace plus so
    many standard deviations (of the population) or more; mean and deviation are over all customers, those of one day
    included. From the protocol of Romanov and others (2023), "Time-aware item weighting for the next basket
    recommendations".
    """
    seen = rows.group_by("customer_id").agg(
        pl.len().alias("rows"),
        pl.col("timestamp").dt.date().min().alias("first"),
        pl.col("timestamp").dt.date().max().alias("last"),
    )
    days = (pl.col("last") - pl.col("first")).dt.total_days()
    pace = pl.col("rows") / (days + 1)
    kept = seen.with_columns(pace.alias("pace")).filter(
        (pl.col("first") < pl.col("last"))
        & (pl.col("pace") < pl.col("pace").mean() + deviations * pl.col("pace").std(ddof=0))
    )
    return rows.filter(pl.col("customer_id").is_in(kept["customer_id"].implode()))


def _scan(path: Path) -> pl.LazyFrame:
    name = path.name.lower()
    if name.endswith(_PARQUET):
        return pl.scan_parquet(path)
    if name.endswith(_TEXT):
        # All rows decide on the types: an id may be a number for the first thousand only.
        return pl.scan_csv(path, separator="\t" if ".tsv" in name else ",", infer_schema_length=None)
    raise DataError(f"{path}: expected a file ending in one of {', '.join(_PARQUET + _TEXT)}.")


def _times(values: pl.Series, column: str) -> pl.Series:
    if values.dtype.is_temporal() and values.dtype not in (pl.Time, pl.Duration):
        return values
    if values.dtype.is_integer():
        # Their order alone counts.
        return values.rank("dense").cast(pl.Int32).cast(pl.Date)
    if values.dtype == pl.String:
        read = pl.coalesce(pl.lit(values).str.to_datetime(form, time_unit="us", strict=False) for form in _FORMS)
        times = pl.select(read.alias("timestamp")).to_series()
        if times.null_count():
            unread = values.filter(times.is_null())[0]
            raise DataError(f"{column}: expected dates or times as 2024-05-01 or 2024-05-01 10:30:00; got {unread!r}.")
        return times
    raise DataError(f"{column}: expected dates, times or whole numbers; got {values.dtype}.")
