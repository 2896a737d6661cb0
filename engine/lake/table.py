"""The lake as readers see it: one Delta table of transactions, read bucket by bucket at one version."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from engine.errors import DataError, SourceNotFoundError
from engine.lake.buckets import HASH_NAME, HASH_SEED, bucket_of
from engine.lake.delta import PRODUCTS, damaged, open_small, open_table
from engine.lake.notes import reader_notes
from engine.schema import SORT_KEYS, TRANSACTION, require_columns

log = logging.getLogger(__name__)

TABLE = "transactions"
REJECTS = "rejects"
"""Folder of the lake with the rejected rows, one Parquet file per ingest, named by the ingest's token."""
REJECTS_SCHEMA = pl.Schema({"file": pl.String, "row": pl.Int64, "reason": pl.String, "raw": pl.String})
FILE_MARK = "sorted-"
"""Beginning of the names of files that this engine wrote: bucketed and sorted."""
COMMIT_KEY = "cartera"
"""Key of an ingest's record in the commit that it made."""

ORDER = (*SORT_KEYS, "product_id", "quantity", "amount")
"""Full order of the rows of a bucket: rows that tie in all of it have the same measures."""

_ID_TYPES: dict[str, pl.DataType] = {"Int64": pl.Int64(), "String": pl.String()}


def settings_text(buckets: int, customer_id_dtype: pl.DataType) -> str:
    """Return what is written in the Delta table's description: how to find a customer's bucket."""
    return json.dumps(
        {
            "cartera_lake": 1,
            "buckets": buckets,
            "hash": HASH_NAME,
            "seed": HASH_SEED,
            "customer_id": str(customer_id_dtype),
            "order": list(ORDER),
        }
    )


@dataclass(frozen=True)
class Lake:
    """A lake at the version it had when opened.

    Attributes
    ----------
    path
        The lake's folder.
    version
        Delta version of ``transactions``; later ingests do not show.
    buckets
        Number of buckets.
    customer_id_dtype
        Int64 or String.
    rows
        Number of transactions.
    columns
        Their columns.

    Examples
    --------
    >>> Lake.exists("no/such/lake")
    False
    """

    path: Path
    version: int
    buckets: int
    customer_id_dtype: pl.DataType
    rows: int
    columns: list[str]
    _schema: dict[str, pl.DataType] = field(repr=False)
    _files: dict[int, list[str]] = field(repr=False)
    _ingests: list[dict[str, Any]] = field(repr=False)

    @staticmethod
    def exists(path: str | Path) -> bool:
        """Return whether there is a lake with transactions in this folder."""
        return (Path(path) / TABLE / "_delta_log").is_dir()

    @classmethod
    def open(cls, path: str | Path) -> Lake:
        """Open the lake at its newest version.

        Raises
        ------
        SourceNotFoundError
            There is no lake.
        DataError
            There is a Delta table, but not one that ``cartera ingest`` made.
        """
        folder = Path(path)
        if not cls.exists(folder):
            raise SourceNotFoundError(f"lake={folder}: no lake there. Make one with cartera ingest.")
        return cls.from_table(folder, open_table(folder, TABLE))

    @classmethod
    def from_table(cls, folder: Path, table: Any) -> Lake:
        """Open the lake from a loaded ``deltalake.DeltaTable``."""
        settings = _settings(table.metadata().description, folder)
        adds = pl.DataFrame(pl.Series(table.get_add_actions(flatten=True)).struct.unnest())
        files: dict[int, list[str]] = {}
        for name, bucket in zip(adds["path"].to_list(), adds["partition.bucket"].to_list(), strict=True):
            files.setdefault(int(bucket), []).append(unquote(name))
        ingests = [
            {**json.loads(entry[COMMIT_KEY]), "version": int(entry["version"])}
            for entry in reversed(table.history())
            if COMMIT_KEY in entry
        ]
        # Runs in the order of their ingests, so that rows that tie keep the order in which they came.
        age = {str(ingest["token"]): number for number, ingest in enumerate(ingests)}
        for names in files.values():
            names.sort(key=lambda name: (age.get(_token(name), len(age)), name))
        schema = dict(pl.Schema(table.schema()))
        schema.pop("bucket")
        return cls(
            path=folder,
            version=int(table.version()),
            buckets=int(settings["buckets"]),
            customer_id_dtype=_ID_TYPES[settings["customer_id"]],
            rows=int(adds["num_records"].sum() or 0),
            columns=list(schema),
            _schema=schema,
            _files=files,
            _ingests=ingests,
        )

    def bucket(self, number: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the transactions of one bucket, sorted by customer, time and order.

        Parameters
        ----------
        number
            From 0 to ``buckets`` − 1.
        columns
            Which columns, in this order; all of them by default.

        Returns
        -------
        pl.DataFrame
            ``customer_id`` carries the sorted flag. Sorted by all of :data:`ORDER`, whether the bucket was written
            in one ingest or in many.

        Raises
        ------
        ColumnsMissingError
            A column is not in the lake.
        DataError
            Another engine wrote a customer into the wrong bucket.
        """
        if not 0 <= number < self.buckets:
            raise DataError(f"bucket {number}: this lake has the buckets 0 to {self.buckets - 1}.")
        wanted = list(self.columns) if columns is None else list(columns)
        require_columns(self.columns, wanted, where=f"lake={self.path}")
        return self._rows(number, wanted)

    def customer(self, customer_id: int | str, columns: Sequence[str]) -> pl.DataFrame:
        """Return one customer's transactions, sorted as :meth:`bucket` sorts them.

        Of the customer's bucket only the groups of rows that may hold the id are read: files are sorted by customer and
        say the lowest and the highest id of each group.

        Parameters
        ----------
        customer_id
            Of the type that the lake has; nobody has the id of another type.
        columns
            Which columns, in this order.

        Raises
        ------
        ColumnsMissingError, DataError
            As :meth:`bucket` raises them.
        """
        require_columns(self.columns, list(columns), where=f"lake={self.path}")
        asked = pl.Series([customer_id])
        if asked.dtype != self.customer_id_dtype:
            return pl.DataFrame(schema={name: self._schema[name] for name in columns})
        number = int(pl.select(bucket_of(pl.lit(str(customer_id)), self.buckets)).item())
        return self._rows(number, list(columns), pl.col("customer_id") == asked[0])

    def _rows(self, number: int, wanted: list[str], only: pl.Expr | None = None) -> pl.DataFrame:
        """Return rows of a bucket, of those that were asked for what need not be read left out."""
        names = self._files.get(number, [])
        if not names:
            return _flag(pl.DataFrame(schema={name: self._schema[name] for name in wanted}))
        own = all(Path(name).name.startswith(FILE_MARK) for name in names)
        in_order = own and len(names) == 1
        needed = wanted if in_order else list(dict.fromkeys([*wanted, *ORDER]))
        read = {name: self._schema[name] for name in needed}
        frames = [pl.scan_parquet(self.path / TABLE / name, hive_partitioning=False, glob=False) for name in names]
        if own and only is not None:
            frames = [frame.filter(only) for frame in frames]
        try:
            rows = pl.concat(frame.select(needed).cast(read).collect() for frame in frames)  # type: ignore[arg-type]
        except (pl.exceptions.PolarsError, OSError) as error:
            raise damaged(self.path, error) from error
        if not own:
            # What another engine wrote may lie anywhere: the whole bucket is looked at first.
            self._check_bucket(rows, number)
            rows = rows if only is None else rows.filter(only)
        if not in_order:
            rows = rows.sort(ORDER, maintain_order=True).select(wanted)
        return _flag(rows)

    def __getstate__(self) -> dict[str, Any]:
        # Workers of a cluster may run in another working directory.
        return {**self.__dict__, "path": self.path.absolute()}

    @property
    def extras(self) -> dict[str, pl.DataType]:
        """The columns beyond the canonical ones, with their types."""
        return {
            name: dtype for name, dtype in self._schema.items() if name != "customer_id" and name not in TRANSACTION
        }

    @property
    def ingests(self) -> list[dict[str, Any]]:
        """The records of the ingests that made the lake, oldest first."""
        return list(self._ingests)

    def last_timestamp(self) -> datetime:
        """Return the time of the last row, in UTC.

        Raises
        ------
        DataError
            The lake holds no row.
        """
        paths = [self.path / TABLE / name for names in self._files.values() for name in names]
        last = None
        if paths:
            latest = pl.scan_parquet(paths, hive_partitioning=False).select(pl.col("timestamp").max())
            try:
                last = latest.collect().item()
            except (pl.exceptions.PolarsError, OSError) as error:
                raise damaged(self.path, error) from error
        if last is None:
            raise DataError(f"lake={self.path}: the lake holds no transaction.")
        result: datetime = last
        return result

    def products(self) -> pl.DataFrame | None:
        """Return what the lake knows of its products by now; ``None`` where no recipe named a table of them.

        Returns
        -------
        pl.DataFrame
            ``product_id`` as in the transactions, each once, ascending; then the columns that the recipe names.
        """
        found = open_small(self.path, PRODUCTS)
        if found is None:
            return None
        held = found[1]
        require_columns(held.columns, ["product_id"], where=f"lake={self.path}, {PRODUCTS}")
        # Another engine may have added rows.
        return held.unique("product_id", keep="first", maintain_order=True).sort("product_id")

    def notes(self) -> list[dict[str, str]]:
        """Return what a reader of any figure from this lake must know, in English and Spanish."""
        return reader_notes(self._ingests)

    def sources(self) -> pl.DataFrame:
        """Return one row per ingested file: file, hash, rows_read, rows_kept, rows_rejected, amount_kept, version."""
        rows = [{**file, "version": ingest["version"]} for ingest in self._ingests for file in ingest["files"]]
        return pl.DataFrame(
            {
                "file": [row["file"] for row in rows],
                "hash": [row["hash"] for row in rows],
                "rows_read": [row["rows_read"] for row in rows],
                "rows_kept": [row["rows_kept"] for row in rows],
                "rows_rejected": [row["rows_rejected"] for row in rows],
                "amount_kept": [Decimal(row["amount_kept"]) for row in rows],
                "version": [row["version"] for row in rows],
            },
            schema={
                "file": pl.String,
                "hash": pl.String,
                "rows_read": pl.Int64,
                "rows_kept": pl.Int64,
                "rows_rejected": pl.Int64,
                "amount_kept": pl.Decimal(38, 4),
                "version": pl.Int64,
            },
        )

    def scan_rejects(self) -> pl.LazyFrame:
        """Return the rejected rows of all ingests, not read yet; see :meth:`rejects`."""
        files = [self.path / REJECTS / f"{ingest['token']}.parquet" for ingest in self._ingests if ingest["rejected"]]
        # Only tokens of commits count: a file that a killed ingest left there belongs to none.
        there = [file for file in files if file.is_file()]
        if len(there) < len(files):
            log.warning("lake=%s: the rejected rows of %d ingests are gone", self.path, len(files) - len(there))
        if not there:
            return pl.LazyFrame(schema=REJECTS_SCHEMA)
        return pl.scan_parquet(there, hive_partitioning=False, glob=False)

    def rejects(self) -> pl.DataFrame:
        """Return the rejected rows of all ingests, oldest first.

        Returns
        -------
        pl.DataFrame
            ``file``, ``row`` (1 for the first after the header), ``reason``, and ``raw``: the source row as JSON.
        """
        return self.scan_rejects().collect()

    def reconciliation(self) -> dict[str, Any]:
        """Return what was read, kept and rejected in all ingests together: rows, and money as text."""
        return reconcile(self._ingests)

    def _check_bucket(self, rows: pl.DataFrame, number: int) -> None:
        wrong = rows.select((bucket_of("customer_id", self.buckets) != number).any()).item()
        if wrong:
            raise DataError(
                f"lake={self.path}, bucket {number}: another engine wrote customers of other buckets into it. "
                f"The bucket is {HASH_NAME} (seed {HASH_SEED}) of the id's text, modulo {self.buckets}."
            )


def reconcile(ingests: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up the records of ingests: rows, rejected rows by reason, and money as exact decimal text."""
    rows_read = rows_kept = without_amount = 0
    amount_read = amount_kept = Decimal(0)
    rejected: dict[str, int] = {}
    amount_rejected: dict[str, Decimal] = {}
    for ingest in ingests:
        rows_read += ingest["rows_read"]
        rows_kept += ingest["rows_kept"]
        without_amount += ingest["rows_without_amount"]
        amount_read += Decimal(ingest["amount_read"])
        amount_kept += Decimal(ingest["amount_kept"])
        for reason, rows in ingest["rejected"].items():
            rejected[reason] = rejected.get(reason, 0) + rows
        for reason, amount in ingest["amount_rejected"].items():
            amount_rejected[reason] = amount_rejected.get(reason, Decimal(0)) + Decimal(amount)
    return {
        "rows_read": rows_read,
        "rows_kept": rows_kept,
        "rejected": rejected,
        "rows_without_amount": without_amount,
        "amount_read": str(amount_read),
        "amount_kept": str(amount_kept),
        "amount_rejected": {reason: str(amount) for reason, amount in amount_rejected.items()},
    }


def _flag(rows: pl.DataFrame) -> pl.DataFrame:
    if "customer_id" not in rows.columns:
        return rows
    return rows.with_columns(pl.col("customer_id").set_sorted())


def _token(name: str) -> str:
    return Path(name).name.removeprefix(FILE_MARK).partition("-")[0]


def _settings(description: str | None, folder: Path) -> dict[str, Any]:
    advice = "Make a lake with cartera ingest lake=ANOTHER_FOLDER."
    try:
        settings = json.loads(description or "")
    except json.JSONDecodeError:
        settings = None
    if not isinstance(settings, dict) or "cartera_lake" not in settings:
        raise DataError(f"lake={folder}: a Delta table is there, but not a lake of ours. {advice}")
    if settings["cartera_lake"] != 1 or settings["hash"] != HASH_NAME or settings["seed"] != HASH_SEED:
        raise DataError(f"lake={folder}: written by another version of the lake's format. {advice}")
    return settings
