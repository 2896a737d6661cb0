"""Receipt lines in Parquet files to one row per customer: recency, tenure, frequency, units, revenue.

Orders are counted distinct and exactly, money to 0.0001; returns do not count. The table of every contestant must equal
the truth that was added up while the data were made: customers, orders, units, revenue, and a checksum over each
customer's row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Case, Contestant, Task
from benchmarks.cases.sales import AS_OF, MEASURES, Shop, facts, write
from benchmarks.peers import tables

SIZES = {"XS": (20_000, 1_000), "S": (1_000_000, 40_000), "M": (10_000_000, 400_000), "L": (50_000_000, 2_000_000)}
"""Rows and customers."""


@dataclass(frozen=True, slots=True)
class Sales:
    """What a contestant is given: paths and a date. Rows with ``quantity > 0`` are sales."""

    files: Path
    lake: Path
    as_of: datetime
    truth: dict[str, Any]


def make(task: Task) -> None:
    """Write the files, the truth about them, and a standing lake for the contestant that starts from one."""
    rows, customers = SIZES[task.size]
    folder = Path(task.folder)
    write(Shop(rows, customers, task.seed), folder)
    tables.ingest_files(folder / "files", folder / "lake")


def open_sales(task: Task) -> Sales:
    """Return the paths; nothing is read before the clock starts."""
    folder = Path(task.folder)
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    return Sales(folder / "files", folder / "lake", AS_OF, truth)


def judge(given: Sales, answer: Any, task: Task) -> tuple[dict[str, Any], str | None]:
    """Compare a table with the truth; counts and money must be equal, not near."""
    columns = {name: np.asarray(answer[name]) for name in ("customer_id", *MEASURES)}
    for name in ("units", "monetary"):
        columns[name] = np.rint(columns[name].astype(np.float64) * 10_000)
    found = facts({name: column.astype(np.int64) for name, column in columns.items()})
    wrong = [
        f"{name} {found[name]}, expected {given.truth[name]}" for name in found if found[name] != given.truth[name]
    ]
    return found, "; ".join(wrong) or None


CASE = Case(
    name="features",
    title="receipt lines in Parquet to recency, tenure, orders, units and revenue per customer",
    sizes={name: f"{rows:,} rows, {customers:,} customers" for name, (rows, customers) in SIZES.items()},
    data=("sales",),
    contestants={
        "cartera_lake": Contestant(tables.cartera_lake, ("cartera", "polars"), "Cartera, on a standing lake"),
        "cartera": Contestant(
            tables.cartera, ("cartera", "polars", "deltalake"), "Cartera, check and ingest the files, then features"
        ),
        "polars": Contestant(tables.polars, ("polars",), "Polars, one lazy group-by, streaming"),
        "duckdb": Contestant(tables.duckdb, ("duckdb",), "DuckDB, one query"),
        "duckdb_spill": Contestant(
            tables.duckdb_spill, ("duckdb",), f"DuckDB, orders first, at most {tables.SPILL_LIMIT}, then to disk"
        ),
        "pandas": Contestant(tables.pandas, ("pandas", "pyarrow"), "pandas, money as float"),
        "dask": Contestant(
            tables.dask_dataframe, ("dask", "pandas", "pyarrow"), "Dask DataFrame, threads, money as float", warm=2
        ),
    },
    make=make,
    open=open_sales,
    judge=judge,
    quality=None,
)
