"""The working folder of an ingest: rows checked and spread over buckets, then each bucket sorted on its own.

Two stages bound the memory. The first streams every source once into one unsorted file per bucket (rejected rows
are a bucket of their own); the second reads one bucket at a time. Everything happens in a hidden folder inside the
lake, on the same disk as the table, so that the finished files only have to be renamed.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl

from engine.errors import DataError
from engine.lake.quality import (
    FILE,
    FORMAT_REASONS,
    RAW,
    REASON,
    REJECTS_BUCKET,
    Check,
    check_rows,
    example,
    staged_schema,
)
from engine.lake.source import Source, scan
from engine.lake.table import FILE_MARK, ORDER
from engine.lake.text import ROW, explain
from engine.schema import SALE, TRANSACTION

log = logging.getLogger(__name__)

_PREFIX = ".staging"
# Sources that one streaming query reads: few enough for the limit on open files.
_SOURCES_AT_ONCE = 16
_REMOVALS = 20


class Workspace:
    """A hidden folder inside the lake for one ingest, removed when the ``with`` block ends however it ends.

    What a killed ingest of this machine left behind is removed first.
    """

    def __init__(self, lake: Path) -> None:
        self.token = uuid.uuid4().hex
        self.lake = lake
        self.path = lake / f"{_PREFIX}@{socket.gethostname()}@{os.getpid()}@{self.token}"
        self.scratch = self.path / "scratch"
        self.staged = self.path / "staged"
        self.sorted = self.path / "sorted"
        self.duplicates = self.path / "duplicates"
        self.rejects = self.path / "rejects.parquet"

    def __enter__(self) -> Workspace:
        _sweep(self.lake)
        for folder in (self.scratch, self.staged, self.sorted, self.duplicates):
            folder.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The threads of an interrupted query may still be closing files there.
        for _ in range(_REMOVALS):
            shutil.rmtree(self.path, ignore_errors=True)
            if not self.path.exists():
                return
            time.sleep(0.1)
        log.warning("%s could not be removed; the next ingest tries again", self.path)

    def bucket_files(self, bucket: int) -> list[Path]:
        """Return the staged files of a bucket, in the order they were written."""
        return sorted((self.staged / f"bucket={bucket}").glob("*.parquet"))


@dataclass(slots=True)
class Tally:
    """Rows and money of one source.

    Attributes
    ----------
    rows_kept, amount_kept
        Of the rows in the lake.
    rejected
        Reason to (rows, amount, rows without a readable amount).
    """

    rows_kept: int = 0
    amount_kept: Decimal = Decimal(0)
    rejected: dict[str, tuple[int, Decimal, int]] = field(default_factory=dict)

    def reject(self, reason: str, rows: int, amount: Decimal | None, without: int) -> None:
        """Add rejected rows to the ones counted so far."""
        before = self.rejected.get(reason, (0, Decimal(0), 0))
        self.rejected[reason] = (
            before[0] + rows,
            before[1] + (Decimal(0) if amount is None else amount),
            before[2] + without,
        )

    @property
    def rows_rejected(self) -> int:
        """Rows rejected for any reason."""
        return sum(rows for rows, _, _ in self.rejected.values())

    @property
    def rows_read(self) -> int:
        """Rows in the source."""
        return self.rows_kept + self.rows_rejected


@dataclass(frozen=True, slots=True)
class SortedFile:
    """One finished file of the lake: its bucket, where it lies, rows and bytes."""

    bucket: int
    path: Path
    rows: int
    size: int


@dataclass(slots=True)
class Totals:
    """What the second stage saw of the kept rows."""

    customers: int = 0
    customers_with_sales: int = 0
    largest_customer_rows: int = 0
    by_volume_rows: int = 0
    non_product_rows: int = 0
    return_rows: int = 0
    first: Any = None
    last: Any = None

    def add(self, rows: pl.DataFrame) -> None:
        """Count the sorted rows of one whole bucket."""
        sizes = rows["customer_id"].rle().struct.field("len")
        self.customers += len(sizes)
        self.largest_customer_rows = max(self.largest_customer_rows, int(sizes.max() or 0))  # type: ignore[arg-type]
        sales = rows["kind"] == SALE
        self.customers_with_sales += rows["customer_id"].filter(sales).n_unique()
        self.return_rows += rows.height - int(sales.sum())
        self.by_volume_rows += int(rows["by_volume"].sum())
        self.non_product_rows += rows.height - int(rows["is_product"].sum())
        first, last = rows["timestamp"].min(), rows["timestamp"].max()
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)


def spread(
    sources: Sequence[Source],
    checks: Sequence[Check],
    space: Workspace,
    buckets: int,
    seen: Callable[[int], None],
) -> None:
    """Stream the sources, checked, into one folder of unsorted files per bucket.

    Parameters
    ----------
    sources, checks
        What to read and how, in the same order.
    space
        Where to write.
    buckets
        Number of buckets.
    seen
        Called with the number of rows of each batch, from several threads.

    Raises
    ------
    DataError
        Polars cannot read a source.
    """
    schema = staged_schema(checks[0].extras)

    def checker(number: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
        def run(batch: pl.DataFrame) -> pl.DataFrame:
            seen(batch.height)
            return check_rows(batch, checks[number], file=number, buckets=buckets)

        return run

    for start in range(0, len(sources), _SOURCES_AT_ONCE):
        group = range(start, min(start + _SOURCES_AT_ONCE, len(sources)))
        frames = [
            scan(sources[number], space.scratch).map_batches(
                checker(number),
                schema=schema,
                predicate_pushdown=False,
                projection_pushdown=False,
                slice_pushdown=False,
                streamable=True,
            )
            for number in group
        ]
        names = ", ".join(sources[number].name for number in group)
        try:
            pl.concat(frames).sink_parquet(
                pl.PartitionBy(
                    space.staged, key="bucket", include_key=False, file_path_provider=partial(_staged_path, start)
                ),
                compression="lz4",
                mkdir=True,
            )
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{names}: cannot be read: {explain(error)} Nothing was added to the lake.") from error


def count_rejects(space: Workspace, tallies: list[Tally]) -> None:
    """Add the rejected rows of the first stage to the tallies of their sources."""
    files = space.bucket_files(REJECTS_BUCKET)
    if not files:
        return
    amount = pl.col("amount")
    groups = (
        pl.scan_parquet(files, hive_partitioning=False)
        .group_by(FILE, REASON)
        .agg(pl.len().alias("rows"), amount.sum().alias("amount"), amount.null_count().alias("without"))
        .sort(FILE, REASON)
        .collect()
    )
    for file, reason, rows, total, without in groups.iter_rows():
        tallies[file].reject(reason, rows, total, without)


def ids_are_whole(space: Workspace, buckets: int) -> bool:
    """Return whether every kept customer id is a whole number in plain digits."""
    files = [file for bucket in range(buckets) for file in space.bucket_files(bucket)]
    if not files:
        return False
    text = pl.col("customer_id")
    same = text.cast(pl.Int64, strict=False).cast(pl.String).eq_missing(text)
    return bool(pl.scan_parquet(files, hive_partitioning=False).select(same.all()).collect().item())


def sort_buckets(
    space: Workspace,
    buckets: int,
    customer_id: pl.DataType,
    extras: Sequence[str],
    *,
    reject_duplicates: bool,
    tallies: list[Tally],
    done: Callable[[float], None],
) -> tuple[list[SortedFile], Totals]:
    """Sort each bucket and write its final file; return the files and what was counted on the way."""
    columns = ["customer_id", *TRANSACTION, *extras]
    written: list[SortedFile] = []
    totals = Totals()
    for bucket in range(buckets):
        files = space.bucket_files(bucket)
        if files:
            rows = pl.read_parquet(files, hive_partitioning=False)
            if reject_duplicates:
                rows = _without_duplicates(rows, space, bucket, tallies)
            rows = rows.drop(REASON, RAW).with_columns(pl.col("customer_id").cast(customer_id))
            rows = rows.sort(*ORDER, FILE, ROW)
            per_file = rows.group_by(FILE).agg(pl.len().alias("rows"), pl.col("amount").sum())
            for file, count, amount in per_file.iter_rows():
                tallies[file].rows_kept += count
                tallies[file].amount_kept += amount
            totals.add(rows)
            written.append(_write(rows.select(columns), space, bucket))
            for file in files:
                file.unlink()
        done((bucket + 1) / buckets)
    return written, totals


def gather_rejects(space: Workspace, names: Sequence[str]) -> None:
    """Write the rejected rows, if any, to ``space.rejects``: file, row (from 1), reason, source row as JSON."""
    files = space.bucket_files(REJECTS_BUCKET) + sorted(space.duplicates.glob("*.parquet"))
    if files:
        numbers = dict(enumerate(names))
        pl.scan_parquet(files, hive_partitioning=False).select(
            pl.col(FILE).replace_strict(numbers, return_dtype=pl.String).alias("file"),
            pl.col(ROW).alias("row"),
            pl.col(REASON).alias("reason"),
            pl.col(RAW).alias("raw"),
        ).sink_parquet(space.rejects)


def reject_examples(space: Workspace, file: int, check: Check, count: int = 3) -> list[str]:
    """Return a few rows of one source that could not be read, for a message."""
    rows = (
        pl.scan_parquet(space.bucket_files(REJECTS_BUCKET), hive_partitioning=False)
        .filter((pl.col(FILE) == file) & pl.col(REASON).is_in(list(FORMAT_REASONS)))
        .select(ROW, REASON, RAW)
        .head(count)
        .collect()
    )
    return [example(row, reason, raw, check.columns) for row, reason, raw in rows.iter_rows()]


def _staged_path(group: int, part: Any) -> str:
    # The first number is the group of sources, so that files sort in the order of the rows.
    return f"bucket={part.partition_keys['bucket'][0]}/{group:08d}-{part.index_in_partition:08d}.parquet"


def _without_duplicates(rows: pl.DataFrame, space: Workspace, bucket: int, tallies: list[Tally]) -> pl.DataFrame:
    """Keep the first of the rows of a file that are the same in every source column."""
    rows = rows.sort(FILE, ROW)
    first = rows.select(pl.struct(FILE, RAW).is_first_distinct())[FILE]
    again = rows.filter(~first)
    if again.is_empty():
        return rows
    again = again.with_columns(pl.lit("exact_duplicate").alias(REASON))
    again.write_parquet(space.duplicates / f"{bucket:08d}.parquet")
    groups = again.group_by(FILE, maintain_order=True).agg(pl.len().alias("rows"), pl.col("amount").sum())
    for file, count, amount in groups.iter_rows():
        tallies[file].reject("exact_duplicate", count, amount, 0)
    return rows.filter(first)


def _write(rows: pl.DataFrame, space: Workspace, bucket: int) -> SortedFile:
    folder = space.sorted / f"bucket={bucket}"
    folder.mkdir()
    path = folder / f"{FILE_MARK}{space.token}-{bucket:05d}.parquet"
    rows.write_parquet(path, compression="zstd")
    return SortedFile(bucket, path, rows.height, path.stat().st_size)


def _sweep(lake: Path) -> None:
    """Remove the working folders of ingests of this machine whose process is gone."""
    import psutil

    for folder in lake.glob(f"{_PREFIX}@*"):
        _, host, pid, _ = folder.name.split("@")
        if host == socket.gethostname() and not psutil.pid_exists(int(pid)):
            log.info("removing what an interrupted ingest left behind: %s", folder.name)
            shutil.rmtree(folder, ignore_errors=True)
