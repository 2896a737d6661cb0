"""``cartera score``: a model and customers to segments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.app import out_folder, verb

if TYPE_CHECKING:
    import polars as pl
    from omegaconf import DictConfig

    from engine.segments.model import SegmentModel


BORDERLINE = 0.05
"""Margin under which an assignment is as good as a toss."""


def run(config: DictConfig) -> None:
    """Classify one customer, or assign a base."""
    from engine.bundle import load_bundle
    from engine.errors import SettingError
    from engine.schema import check_language
    from experiments.settings import ScoreConfig, typed
    from experiments.transactions import names_files

    c = typed(config, ScoreConfig)
    check_language(c.language)
    ways = {
        "customer={…}": c.customer is not None,
        "customers=FILE": c.customers is not None,
        "lake=DIR or data.path=FILES": c.lake is not None or names_files(c.data),
    }
    given = [way for way, there in ways.items() if there]
    if c.customer is not None and c.index:
        raise SettingError("index: it is of a base of customers, and customer={…} is one. Leave it out.")
    if c.customer is not None or c.customers is not None:
        for name in ("as_of", "where"):
            if getattr(c, name) is not None:
                raise SettingError(f"{name}: it selects among transactions, and none are read here. Leave it out.")
    if len(given) != 1:
        raise SettingError(f"expected one of {', '.join(ways)}; got {' and '.join(given) or 'none of them'}.")
    model = load_bundle(c.bundle)
    if c.customer is not None:
        if not isinstance(c.customer, Mapping):
            raise SettingError(
                f"customer: expected values by variable, 'customer={{frequency: 12, …}}'; got {c.customer!r}."
            )
        answer = model.classify(dict(c.customer)).to_dict(c.language)
        print(json.dumps(answer, ensure_ascii=False, indent=1))
        return
    assign_base(c, model, out_folder(c.out))


def assign_base(c: Any, model: SegmentModel, out: Path) -> None:
    """Assign every customer of a file, a lake or transactions, and print how they are spread."""
    import polars as pl

    from experiments.output import output
    from experiments.persons import came_from, names_persons, origins_of
    from experiments.progress import Progress
    from experiments.transactions import input_paths

    progress = Progress("score")
    base = [Path(c.customers)] if c.customers else input_paths(c.data, c.lake)
    with output(out, "score", inputs=[Path(c.bundle), *base]) as folder:
        customers = read_customers(Path(c.customers), model) if c.customers else compute_customers(c, model, folder)
        with progress.step("score"):
            assignments = model.assign(customers, language=c.language)
        assignments.write_parquet(folder / "assignments.parquet")
        names_persons(folder, "assignments", "assignments.parquet")
        for origin in origins_of([Path(c.customers)] if c.customers else []):
            came_from(folder, origin)
        if c.index:
            from engine.customer_base import CustomerBase

            with progress.step("index"):
                known = CustomerBase.build(customers, model)
                known.save(folder / "customers")
            names_persons(folder, "customers", "customers")
    for name in model.spec.names:
        missing = customers[name].null_count()
        if missing:
            progress.warn(f"{name}: {missing:,} of {customers.height:,} values are missing and were filled as at fit.")
    counts = assignments.group_by("segment_id", "name").len().sort("len", "segment_id", descending=[True, False])
    for segment_id, name, count in counts.iter_rows():
        print(f"{segment_id}  {count:>12,}  {count / assignments.height:>6.1%}  {name}")
    print(f"customers    {assignments.height:,}")
    if model.k > 1:
        doubtful = assignments.filter(pl.col("margin") < BORDERLINE).height
        print(f"borderline   {doubtful:,} with a margin under {BORDERLINE}: nearly as close to the second segment")
    novel = int(assignments["novel"].sum())
    print(f"novel        {novel:,} unlike the customers the model was fitted on")
    if c.index:
        print(f"neighbours   {known.index.kind}, {known.index.reason}")
        print(f"base         {out / 'customers'} holds every customer: keep it where customers may be kept")
    print(f"assignments  {out / 'assignments.parquet'}")


def read_customers(path: Path, model: SegmentModel) -> pl.DataFrame:
    """Read a file of customers that holds ``customer_id`` and the model's variables."""
    import polars as pl

    from engine.errors import DataError, SourceNotFoundError
    from engine.schema import require_columns

    if not path.is_file():
        raise SourceNotFoundError(f"customers={path}: no such file. Expected a Parquet or CSV file of customers.")
    try:
        if path.suffix.lower() in (".csv", ".gz"):
            # As text first: an id with zeros in front is no number.
            frame = pl.read_csv(path, schema_overrides={"customer_id": pl.String}, infer_schema_length=None)
            numbers = frame["customer_id"].cast(pl.Int64, strict=False) if "customer_id" in frame.columns else None
            if numbers is not None and (numbers.cast(pl.String) == frame["customer_id"]).fill_null(False).all():
                frame = frame.with_columns(numbers)
        else:
            frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"customers={path}: expected a Parquet file, or UTF-8 text with commas named .csv ({_first_line(error)})."
        ) from None
    require_columns(frame.columns, ["customer_id", *model.spec.names], where=f"customers={path}")
    if not frame.height:
        raise DataError(f"customers={path}: no customer in it.")
    ids = frame["customer_id"]
    if not (ids.dtype.is_integer() or ids.dtype == pl.String):
        raise DataError(f"customers={path}: customer_id should be whole numbers or text; it is {ids.dtype}.")
    if ids.null_count():
        raise DataError(f"customers={path}: customer_id is missing in {ids.null_count()} of {frame.height} rows.")
    repeated = frame.height - ids.n_unique()
    if repeated:
        raise DataError(f"customers={path}: {repeated} rows repeat a customer_id. Expected one row per customer.")
    return frame


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def compute_customers(c: Any, model: SegmentModel, folder: Path) -> pl.DataFrame:
    """Compute the model's variables from transactions, over the model's own window."""
    from engine.api import model_customers
    from experiments.progress import Progress
    from experiments.transactions import read_transactions

    progress = Progress("score")
    read = read_transactions(c.data, c.lake, folder=folder, progress=progress)
    with progress.step("features"):
        return model_customers(model, read.lake, as_of=c.as_of, where=c.where, cache=read.cache)


main = verb("score")(run)

if __name__ == "__main__":
    main()
