"""Files into the lake: checked, bucketed, sorted, and added in one commit, each file once.

An ingest reads the table's version first and commits against that version with the content hash of every file as a
Delta app transaction. Two ingests of the same file that overlap therefore conflict, and the later one starts again
and finds the file known. Killed at any moment before the commit, the old table stands.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from engine.errors import DataError, OutputExistsError, SettingError
from engine.lake import notes, quality, stage
from engine.lake.accounts import IngestReport, giant_warnings, ingest_record
from engine.lake.buckets import buckets_for, check_buckets
from engine.lake.commit import Conflict, commit
from engine.lake.delta import open_table
from engine.lake.products import keep_products, products_table
from engine.lake.recipe import Recipe
from engine.lake.source import Source, extra_types, find_sources, plan_check
from engine.lake.stage import Tally, Workspace
from engine.lake.table import TABLE, Lake, reconcile
from engine.schema import TRANSACTION, Word

log = logging.getLogger(__name__)

Progress = Callable[[str, float], None]

_ATTEMPTS = 20
_SECOND_INTERRUPT_S = 0.2


def ingest(
    recipe: Recipe,
    lake: str | Path,
    *,
    rejects: str | Path,
    buckets: int | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Add the files that a recipe names to a lake, making the lake if there is none.

    Parameters
    ----------
    recipe
        What to read and how.
    lake
        The lake's folder.
    rejects
        Where to write the rejected rows of the whole lake, those of earlier ingests too (Parquet: file, row, reason,
        raw): a second run over known files leaves the same evidence as the first.
    buckets
        Number of buckets of a new lake, a power of two; chosen from the number of rows by default.
    progress
        Called with what is being done and the part of it that is done (0 to 1), perhaps from several threads.

    Returns
    -------
    IngestReport
        Rows and money, reconciled. Files that the lake already holds are skipped; when all are, nothing is
        committed.

    Raises
    ------
    SourceNotFoundError
        No file is there.
    ColumnsMissingError
        A mapped column is not in a file.
    DataError
        A file cannot be read, most of its rows cannot, no row at all can be used, or text ids meet a lake of
        whole numbers. The lake is as it was.
    SettingError
        ``buckets`` is impossible or differs from the lake's.
    OutputExistsError
        ``lake`` is a file.

    Notes
    -----
    The recipe's table of products becomes the lake's after the rows, also where all files are known: the newest ingest
    that has one decides.
    """
    if buckets is not None:
        check_buckets(buckets)
    quality.by_volume_expression(recipe.rules)
    say = progress or (lambda _what, _part: None)
    folder = Path(lake)
    if folder.is_file():
        raise OutputExistsError(f"lake={folder}: a file is there. Name a folder, new or a lake.")
    sources = find_sources(recipe)
    for _ in range(_ATTEMPTS):
        try:
            return _attempt(recipe, sources, folder, Path(rejects), buckets, say)
        except Conflict:
            log.info("another ingest committed to %s first; starting again from its version", folder)
    raise DataError(f"lake={folder}: {_ATTEMPTS} ingests in a row committed first. Try again later.")


def _attempt(
    recipe: Recipe,
    sources: Sequence[Source],
    folder: Path,
    rejects: Path,
    buckets: int | None,
    say: Progress,
) -> IngestReport:
    table, lake = _open(folder)
    new, skipped, warnings = _split(sources, lake, table)
    if lake is not None and buckets not in (None, lake.buckets):
        raise SettingError(f"data.buckets: the lake has {lake.buckets} buckets, not {buckets}. Leave it out.")
    count = lake.buckets if lake else buckets or buckets_for(sum(source.estimated_rows for source in new))
    products = None if recipe.products is None else products_table(recipe.products)
    existed = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with Workspace(folder) as space:
            if lake is not None and not new:
                _write_rejects(lake, rejects, space.token)
                if products is not None:
                    keep_products(folder, products)
                return IngestReport(
                    recipe=recipe.name,
                    lake_version=lake.version,
                    buckets=lake.buckets,
                    customer_id_type=str(lake.customer_id_dtype),
                    skipped=skipped,
                    warnings=warnings,
                    lake=lake.reconciliation(),
                )
            try:
                report = _add(recipe, new, skipped, warnings, lake, table, space, rejects, count, say)
                if products is not None:
                    keep_products(folder, products)
                return report
            except KeyboardInterrupt:
                # Polars raises a Ctrl-C itself and Python's own handler raises it again a moment later: the second
                # one is waited for here, or it would break off the removal of the working folder.
                try:
                    time.sleep(_SECOND_INTERRUPT_S)
                except KeyboardInterrupt:
                    log.debug("the interruption arrived twice")
                raise
    finally:
        if not existed and not any(folder.iterdir()):
            folder.rmdir()


def _add(
    recipe: Recipe,
    sources: list[Source],
    skipped: list[str],
    warnings: list[dict[str, str]],
    lake: Lake | None,
    table: Any,
    space: Workspace,
    rejects: Path,
    buckets: int,
    say: Progress,
) -> IngestReport:
    extras = _extras(sources, recipe, lake)
    say("checking the files", 0.0)
    checks = [plan_check(source, recipe, extras, space.scratch) for source in sources]
    stage.spread(sources, checks, space, buckets, _Meter(sources, say))
    tallies = [Tally() for _ in sources]
    stage.count_rejects(space, tallies)
    customer_id = _id_type(lake, space, buckets)
    written, totals = stage.sort_buckets(
        space,
        buckets,
        customer_id,
        list(extras),
        reject_duplicates=recipe.rules.exact_duplicates == "reject",
        tallies=tallies,
        done=lambda part: say("sorting the buckets", part),
    )
    _refuse_unreadable(sources, tallies, checks, recipe, space)
    stage.gather_rejects(space, [source.name for source in sources])
    rejects.parent.mkdir(parents=True, exist_ok=True)
    record = ingest_record(sources, tallies, totals, checks, space.token)
    say("committing", 0.0)
    schema = {"customer_id": customer_id, **TRANSACTION, **extras}
    version = commit(space, table, written, schema, record, buckets, [source.sha256 for source in sources])
    after = Lake.open(space.lake)
    _write_rejects(after, rejects, space.token)
    say("committing", 1.0)
    sums = reconcile([record])
    said = [*notes.price_only_notes([record]), *notes.currency_notes(after.ingests)]
    return IngestReport(
        recipe=recipe.name,
        lake_version=version,
        buckets=buckets,
        customer_id_type=str(customer_id),
        customers=totals.customers,
        customers_with_sales=totals.customers_with_sales,
        return_rows=totals.return_rows,
        by_volume_rows=totals.by_volume_rows,
        non_product_rows=totals.non_product_rows,
        first_timestamp=totals.first.isoformat(),
        last_timestamp=totals.last.isoformat(),
        files=record["files"],
        skipped=skipped,
        warnings=[*warnings, *(word.to_dict() for word in said), *giant_warnings(sums["rows_kept"], totals)],
        lake=after.reconciliation(),
        **sums,
    )


class _Meter:
    """Turns batches read into the part of the estimated rows that is done."""

    def __init__(self, sources: Sequence[Source], say: Progress) -> None:
        self._expected = max(1, sum(source.estimated_rows for source in sources))
        self._rows = 0
        self._say = say
        self._lock = threading.Lock()

    def __call__(self, rows: int) -> None:
        with self._lock:
            self._rows += rows
            part = min(1.0, self._rows / self._expected)
        self._say("reading", part)


def _open(folder: Path) -> tuple[Any, Lake | None]:
    if not Lake.exists(folder):
        return None, None
    table = open_table(folder, TABLE)
    return table, Lake.from_table(folder, table)


def _write_rejects(lake: Lake, target: Path, token: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{token}")
    try:
        lake.scan_rejects().sink_parquet(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _split(
    sources: Sequence[Source], lake: Lake | None, table: Any
) -> tuple[list[Source], list[str], list[dict[str, str]]]:
    """Part the sources that are new from those that the lake holds or that were named twice."""
    new: dict[str, Source] = {}
    skipped: list[str] = []
    warnings = []
    for source in sources:
        if table is not None and table.transaction_version(source.sha256) is not None:
            skipped.append(source.name)
        elif source.sha256 in new:
            skipped.append(source.name)
            twin = new[source.sha256].name
            warnings.append(
                Word(
                    en=f"{source.name} has the same content as {twin}: it counts once.",
                    es=f"{source.name} tiene el mismo contenido que {twin}: cuenta una sola vez.",
                ).to_dict()
            )
        else:
            new[source.sha256] = source
    held: dict[str, int] = {}
    for record in () if lake is None else lake.ingests:
        for file in record["files"]:
            held[file["file"]] = held.get(file["file"], 0) + file["rows_kept"]
    again = dict.fromkeys(source.name for source in new.values() if source.name in held)
    warnings += [notes.same_name_note(name, held[name]).to_dict() for name in again]
    return list(new.values()), skipped, warnings


def _extras(sources: Sequence[Source], recipe: Recipe, lake: Lake | None) -> dict[str, pl.DataType]:
    """Return the further columns and their types: the lake's, where there is one."""
    types = extra_types(list(sources), recipe)
    if lake is None:
        return types
    kept = lake.extras
    if set(types) != set(kept):
        raise DataError(
            f"lake={lake.path}: its further columns are {', '.join(kept) or 'none'}; "
            f"this recipe has {', '.join(types) or 'none'}. Map the same names in data.columns."
        )
    for name, dtype in kept.items():
        if types[name] != dtype and dtype != pl.String:
            raise DataError(
                f"lake={lake.path}: column {name!r} is {dtype} in the lake and {types[name]} in the new files."
            )
    return kept


def _id_type(lake: Lake | None, space: Workspace, buckets: int) -> pl.DataType:
    """Return the type of customer ids: the lake's, or Int64 where all are whole numbers."""
    if lake is not None and lake.customer_id_dtype == pl.String:
        return pl.String()
    if stage.ids_are_whole(space, buckets):
        return pl.Int64()
    if lake is not None and any(space.bucket_files(bucket) for bucket in range(buckets)):
        raise DataError(
            f"lake={lake.path}: its customer ids are whole numbers, and the new files have some that are not "
            "(letters, or zeros in front). Check data.columns.customer_id, or begin another lake with all files: "
            "its ids will be text."
        )
    return pl.String() if lake is None else lake.customer_id_dtype


def _refuse_unreadable(
    sources: Sequence[Source],
    tallies: Sequence[Tally],
    checks: Sequence[quality.Check],
    recipe: Recipe,
    space: Workspace,
) -> None:
    """Stop where the format must be wrong, or where nothing is left."""
    for number, (source, tally) in enumerate(zip(sources, tallies, strict=True)):
        unread = sum(tally.rejected.get(reason, (0,))[0] for reason in quality.FORMAT_REASONS)
        if unread > recipe.rules.max_reject_share * tally.rows_read:
            examples = "; ".join(stage.reject_examples(space, number, checks[number]))
            raise DataError(
                f"{source.name}: {unread:,} of {tally.rows_read:,} rows cannot be read. {examples}. "
                "Set data.decimal, data.date_format, data.delimiter or data.columns to how this file is written."
            )
    if not any(tally.rows_kept for tally in tallies):
        reasons: dict[str, int] = {}
        for tally in tallies:
            for reason, (rows, _, _) in tally.rejected.items():
                reasons[reason] = reasons.get(reason, 0) + rows
        shown = ", ".join(f"{reason} {rows:,}" for reason, rows in sorted(reasons.items()))
        raise DataError(
            f"{', '.join(source.name for source in sources)}: no row can be used ({shown}). "
            "Check data.columns and data.rules."
        )
