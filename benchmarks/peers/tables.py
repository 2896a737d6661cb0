"""Who makes the customer table. Each returns columns by name, in whatever frame is its own.

Rivals get every help that their users would find: only the columns needed, whole-number order ids, no sorting of the
result, and floats for money where exact decimals are slow (the judge finds any lost cent).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.case import Task
    from benchmarks.cases.features import Sales

COLUMNS = ["customer_id", "order_id", "timestamp", "quantity", "amount"]
DAY_US = 86_400_000_000
SPILL_LIMIT = "1GB"


def ingest_files(files: Path, lake: Path) -> None:
    """Check the files and add them to a new lake."""
    from engine.lake.ingest import ingest
    from engine.lake.recipe import Recipe

    names = ("customer_id", "timestamp", "order_id", "product_id", "quantity", "unit_price", "amount")
    recipe = Recipe.from_mapping({"name": "sales", "path": str(files), "columns": {name: name for name in names}})
    ingest(recipe, lake, rejects=lake.with_name("rejects.parquet"))


def cartera_lake(given: Sales, task: Task, lake: Path | None = None) -> Any:
    """Cartera, from a lake; nothing is read from a cache of earlier results."""
    from engine.compute import LocalCompute
    from engine.features.store import ALWAYS, customer_table
    from engine.lake.table import Lake

    source = Lake.open(lake or given.lake)
    return customer_table(source, columns=ALWAYS, as_of=given.as_of, compute=LocalCompute(task.threads)).frame


def cartera(given: Sales, task: Task) -> Any:
    """Cartera, from the files: every row checked, a lake left behind, then the table."""
    lake = Path(task.scratch) / "lake"
    ingest_files(given.files, lake)
    return cartera_lake(given, task, lake)


def polars(given: Sales, task: Task) -> Any:
    """Polars, one lazy group-by on the streaming engine."""
    import polars as pl

    time = pl.col("timestamp")
    return (
        pl.scan_parquet(given.files / "*.parquet")
        .filter(pl.col("quantity") > 0)
        .group_by("customer_id")
        .agg(
            (pl.lit(given.as_of) - time.max()).dt.total_days().alias("recency_days"),
            (pl.lit(given.as_of) - time.min()).dt.total_days().alias("tenure_days"),
            pl.col("order_id").n_unique().alias("frequency"),
            pl.col("quantity").sum().alias("units"),
            pl.col("amount").sum().alias("monetary"),
        )
        .with_columns(pl.col("monetary").cast(pl.Float64))
        .collect(engine="streaming")
    )


def duckdb(given: Sales, task: Task) -> Any:
    """DuckDB, one query; it may take as much memory as anybody."""
    return _query(
        given,
        task,
        f"{int(task.memory_mib * 0.9)}MiB",
        """
        SELECT customer_id, max(timestamp) AS last, min(timestamp) AS first, count(DISTINCT order_id) AS orders,
               sum(quantity) AS units, sum(amount) AS monetary
        FROM read_parquet($files) WHERE quantity > 0 GROUP BY customer_id
        """,
    )


def duckdb_spill(given: Sales, task: Task) -> Any:
    """DuckDB under a memory limit: orders first and customers from them, since a count of distinct does not spill."""
    return _query(
        given,
        task,
        SPILL_LIMIT,
        """
        SELECT customer_id, max(last) AS last, min(first) AS first, count(*) AS orders,
               sum(units) AS units, sum(monetary) AS monetary
        FROM (
            SELECT customer_id, order_id, max(timestamp) AS last, min(timestamp) AS first,
                   sum(quantity) AS units, sum(amount) AS monetary
            FROM read_parquet($files) WHERE quantity > 0 GROUP BY customer_id, order_id
        ) GROUP BY customer_id
        """,
    )


def _query(given: Sales, task: Task, memory_limit: str, totals: str) -> Any:
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": task.threads,
        "memory_limit": memory_limit,
        "temp_directory": task.scratch,
        "preserve_insertion_order": False,
    }
    with duckdb.connect(config=settings) as connection:
        return connection.execute(
            f"""
            SELECT customer_id, ($as_of - epoch_us(last)) // {DAY_US} AS recency_days,
                   ($as_of - epoch_us(first)) // {DAY_US} AS tenure_days, orders AS frequency,
                   units::DOUBLE AS units, monetary::DOUBLE AS monetary
            FROM ({totals})
            """,
            {"as_of": int(given.as_of.timestamp()) * 1_000_000, "files": str(given.files / "*.parquet")},
        ).fetchnumpy()


def pandas(given: Sales, task: Task) -> Any:
    """pandas, from Arrow columns, sums in float64."""
    import pandas as pd

    rows = pd.read_parquet(given.files, columns=COLUMNS, filters=[("quantity", ">", 0)], dtype_backend="pyarrow")
    rows = _plain(rows)
    return _days(rows.groupby("customer_id", sort=False).agg(**_AGGREGATES), given)


def dask_dataframe(given: Sales, task: Task) -> Any:
    """Dask DataFrame, one partition per file on the threads that there are, distinct orders by a group-by before."""
    import dask
    import dask.dataframe as dd

    with dask.config.set(scheduler="threads", num_workers=task.threads):
        rows = dd.read_parquet(
            str(given.files), columns=COLUMNS, filters=[("quantity", ">", 0)], dtype_backend="pyarrow"
        )
        orders = (
            rows.map_partitions(_plain)
            .groupby(["customer_id", "order_id"], sort=False)
            .agg({"timestamp": ["max", "min"], "quantity": "sum", "amount": "sum"}, split_out=task.threads)
        )
        orders.columns = ["last", "first", "units", "monetary"]
        customers = (
            orders.reset_index()
            .groupby("customer_id", sort=False)
            .agg({"last": "max", "first": "min", "order_id": "count", "units": "sum", "monetary": "sum"})
            .rename(columns={"order_id": "frequency"})
            .compute()
        )
    return _days(customers, given)


_AGGREGATES = {
    "last": ("timestamp", "max"),
    "first": ("timestamp", "min"),
    "frequency": ("order_id", "nunique"),
    "units": ("quantity", "sum"),
    "monetary": ("amount", "sum"),
}


def _plain(rows: Any) -> Any:
    """Return Arrow columns as numpy's, on which group-bys are quicker; Arrow's own casts are, too."""
    whole, real = "int64[pyarrow]", "double[pyarrow]"
    return rows.assign(
        customer_id=rows["customer_id"].astype("int64"),
        order_id=rows["order_id"].astype("int64"),
        timestamp=rows["timestamp"].astype(whole).astype("int64"),
        quantity=rows["quantity"].astype("int64"),
        amount=rows["amount"].astype(real).astype("float64"),
    )


def _days(customers: Any, given: Sales) -> Any:
    as_of = int(given.as_of.timestamp()) * 1_000_000
    return customers.assign(
        recency_days=(as_of - customers["last"]) // DAY_US, tenure_days=(as_of - customers["first"]) // DAY_US
    ).reset_index()
