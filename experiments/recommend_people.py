"""Whom ``cartera recommend`` speaks of: the segments of the customers, and who of them is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.schema import Word, require_columns

if TYPE_CHECKING:
    from engine.segments.segment import Segment
    from experiments.settings import RecommendConfig
    from experiments.transactions import Transactions

ID = "customer_id"
EVERYBODY = Word("all customers", "todos los clientes")
NO_SEGMENT = "all"
"""Stands for the segment id where customers have no segments."""


@dataclass(frozen=True, slots=True)
class Segmented:
    """Segments of customers.

    Attributes
    ----------
    assignments
        ``customer_id``, ``segment_id``; each customer once.
    segments
        ``segment_id``, ``name_en``, ``name_es``.
    """

    assignments: pl.DataFrame
    segments: pl.DataFrame

    @property
    def ids(self) -> list[str]:
        """Segment ids by number."""
        return self.assignments["segment_id"].unique().drop_nulls().sort().to_list()

    def numbers(self, customer_ids: pl.Series) -> NDArray[np.int32]:
        """Return the segment number of each customer, its place among the ids in order; -1 for none.

        Raises
        ------
        DataError
            None of them has a segment.
        """
        from engine.recommend.by_code import as_ids

        own = self.assignments.with_columns(as_ids(self.assignments[ID], customer_ids.dtype).alias(ID)).drop_nulls(ID)
        known = pl.DataFrame({"segment_id": self.ids}, {"segment_id": pl.String}).with_row_index("number")
        asked = customer_ids.rename(ID).to_frame().join(own, on=ID, how="left", maintain_order="left")
        found = asked.join(known, on="segment_id", how="left", maintain_order="left")["number"].cast(pl.Int32)
        if found.null_count() == len(found):
            raise DataError(
                "assignments: none of its customers bought anything here. Take the assignments of the same lake, or "
                "check that the ids are written the same way."
            )
        numbers: NDArray[np.int32] = found.fill_null(-1).to_numpy()
        return numbers


def check_segments(c: RecommendConfig) -> None:
    """Raise unless at most one source of segments is named, and it is there."""
    from engine.errors import SourceNotFoundError
    from experiments.compare import check_run

    if c.assignments is not None and c.bundle is not None:
        raise SettingError("expected one of assignments= and bundle=, or neither; got both.")
    if c.assignments is None:
        return
    path = Path(c.assignments)
    if path.is_dir() and not (path / "assignments.parquet").is_file():
        check_run(path, "assignments")
    if not path.exists():
        raise SourceNotFoundError(
            f"assignments={path}: there is none. Expected a folder that `cartera segment` or `cartera score` left, or "
            "a Parquet or CSV file with customer_id and segment_id."
        )


def read_segments(
    c: RecommendConfig, read: Transactions | None, scratch: Path, *, as_of: str | date | datetime | None
) -> Segmented | None:
    """Return the segments that were asked for, ``None`` for none.

    Parameters
    ----------
    c
        The settings.
    read
        The lake that a bundle scores; ``None`` where there is none.
    scratch
        Folder for a copy of a text file in UTF-8; nothing stays there.
    as_of
        Until when a bundle sees transactions.
    """
    from engine.bundle import load_bundle

    if c.assignments is not None:
        path = Path(c.assignments)
        named = load_bundle(path / "bundle").segments if (path / "bundle").is_dir() else ()
        return _of_table(path / "assignments.parquet" if path.is_dir() else path, named, scratch)
    if c.bundle is None:
        return None
    if read is None:
        raise SettingError("bundle: it scores the customers of a lake; a file of baskets has assignments=FILE.")
    from engine.api import model_customers, segment_names

    model = load_bundle(c.bundle)
    customers = model_customers(model, read.lake, as_of=as_of, cache=read.cache)
    return Segmented(model.assign(customers).select(ID, "segment_id"), segment_names(model.segments))


def _of_table(path: Path, named: tuple[Segment, ...], scratch: Path) -> Segmented:
    from engine.api import segment_names
    from experiments.seeds import read_people

    people = read_people(str(path), "assignments", ID, scratch)
    if people.counts["repeated"]:
        raise DataError(
            f"assignments={path}: expected each customer once; {people.counts['repeated']:,} rows name one that came "
            "before. Keep one row of each."
        )
    table = people.frame
    require_columns(table.columns, [ID, "segment_id"], where=f"assignments={path}")
    table = table.with_columns(pl.col("segment_id").cast(pl.String))
    if named:
        return Segmented(table.select(ID, "segment_id"), segment_names(named))
    called = pl.col("name").cast(pl.String) if "name" in table.columns else pl.col("segment_id")
    names = table.drop_nulls("segment_id").group_by("segment_id").agg(called.drop_nulls().sort().first().alias("name"))
    name = pl.coalesce("name", "segment_id")
    names = names.sort("segment_id").select("segment_id", name.alias("name_en"), name.alias("name_es"))
    return Segmented(table.select(ID, "segment_id"), names)


def read_asked(c: RecommendConfig, scratch: Path) -> pl.Series | None:
    """Return the ids of ``customers=FILE``, each once; ``None`` for everybody."""
    from experiments.seeds import read_people

    if c.customers is None:
        return None
    asked = read_people(c.customers, "customers", ID, scratch, hint="Name the column of ids customer_id.").frame[ID]
    if not len(asked):
        raise DataError(f"customers={c.customers}: no customer in it.")
    return asked
