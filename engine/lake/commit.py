"""One commit that adds finished files to the table, or nothing at all."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from engine.errors import DataError
from engine.lake.stage import SortedFile, Workspace
from engine.lake.table import COMMIT_KEY, REJECTS, TABLE, settings_text


class Conflict(Exception):  # noqa: N818  a turn of events that ingest answers, not an error
    """Another ingest committed first."""


def commit(
    space: Workspace,
    table: Any,
    written: Sequence[SortedFile],
    schema: Mapping[str, pl.DataType],
    record: Mapping[str, Any],
    buckets: int,
    hashes: Sequence[str],
) -> int:
    """Move the files into the table's folder, and the rejected rows beside it, and add the files in one commit.

    Parameters
    ----------
    space
        The ingest's working folder, which knows its lake and its rejected rows.
    table
        The ``DeltaTable`` as it was when the ingest began, None where there was none.
    written, schema
        The finished files and their columns.
    record
        What the commit says of the ingest, as plain values.
    buckets
        Number of buckets, for a new table.
    hashes
        Content hashes of the sources: the app transactions of the commit.

    Returns
    -------
    int
        Version of the table that this commit made.

    Raises
    ------
    Conflict
        Another ingest of one of these sources, or the one that made the table, committed first.
    """
    from deltalake import CommitProperties, DeltaTable, Schema, Transaction
    from deltalake.exceptions import CommitFailedError
    from deltalake.transaction import AddAction, create_table_with_add_actions

    # A new table is finished inside the working folder and appears in its place by one rename: of two ingests that
    # both found no lake, the file system lets one through.
    root = space.path / TABLE if table is None else space.lake / TABLE
    delta_schema = Schema.from_arrow(pl.Schema({**schema, "bucket": pl.Int32()}))
    properties = CommitProperties(
        custom_metadata={COMMIT_KEY: json.dumps(record)},
        app_transactions=[Transaction(content_hash, 1) for content_hash in hashes],
    )
    moved: list[Path] = []
    adds = []
    committed = False
    try:
        if space.rejects.exists():
            # Before the commit: a version never lacks the rows that it says were rejected.
            evidence = space.lake / REJECTS / f"{space.token}.parquet"
            evidence.parent.mkdir(exist_ok=True)
            space.rejects.rename(evidence)
            moved.append(evidence)
        for file in written:
            target = root / f"bucket={file.bucket}" / file.path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            file.path.rename(target)
            moved.append(target)
            adds.append(
                AddAction(
                    path=f"bucket={file.bucket}/{target.name}",
                    size=file.size,
                    partition_values={"bucket": str(file.bucket)},
                    modification_time=int(target.stat().st_mtime * 1000),
                    data_change=True,
                    # Nothing but the count: minima and maxima would keep erased ids in the log.
                    stats=json.dumps({"numRecords": file.rows}),
                )
            )
        if table is None:
            create_table_with_add_actions(
                str(root),
                delta_schema,
                adds,
                partition_by=["bucket"],
                name=TABLE,
                description=settings_text(buckets, schema["customer_id"]),
                # The log is the record of what was ingested.
                configuration={"delta.enableExpiredLogCleanup": "false"},
                commit_properties=properties,
            )
            _put_in_place(root, space.lake / TABLE)
        else:
            try:
                table.create_write_transaction(adds, "append", delta_schema, ["bucket"], commit_properties=properties)
            except CommitFailedError as error:
                raise Conflict from error
        committed = True
    finally:
        if not committed:
            for path in moved:
                path.unlink(missing_ok=True)
    return _version_of(DeltaTable(str(space.lake / TABLE)), hashes[0], record["token"])


def _put_in_place(new: Path, target: Path) -> None:
    try:
        new.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        from deltalake import DeltaTable

        if DeltaTable.is_deltatable(str(target)):
            raise Conflict from error
        raise DataError(
            f"lake={target.parent}: its folder {target.name!r} holds files, but is no Delta table. Move it "
            "away, or name another lake."
        ) from error


def _version_of(table: Any, content_hash: str, token: str) -> int:
    """Return the version that this ingest's commit got, which others may have followed by now."""
    for entry in table.history():
        if COMMIT_KEY in entry and json.loads(entry[COMMIT_KEY])["token"] == token:
            return int(entry["version"])
    raise DataError(f"the commit of {content_hash} is not in the table's log.")
