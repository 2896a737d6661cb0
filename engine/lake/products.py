"""What a lake knows of its products: the table that a recipe names, kept beside the transactions."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from engine.errors import DataError
from engine.lake import dates
from engine.lake.columns import extra_type
from engine.lake.delta import PRODUCTS
from engine.lake.recipe import Products
from engine.lake.small_table import change_table
from engine.lake.source import read_products
from engine.schema import TIMESTAMP


def products_table(products: Products) -> pl.DataFrame:
    """Return the products that a recipe names as the lake keeps them.

    Returns
    -------
    pl.DataFrame
        ``product_id`` as text, written as in the transactions, ascending and each once (of a code that repeats its
        first row); then the recipe's columns in the types that every reader of Delta tables understands.

    Raises
    ------
    SourceNotFoundError, MissingExtraError
        The file is not there.
    ColumnsMissingError
        It lacks the key or a column.
    DataError
        It cannot be read, no product has a code, or a column cannot be kept.
    """
    return kept_products(read_products(products), products)


def kept_products(read: pl.DataFrame, products: Products) -> pl.DataFrame:
    """Return the rows of :func:`engine.lake.source.read_products` as :func:`products_table` does."""
    if read.is_empty():
        raise DataError(
            f"data.products.path={Path(products.path).name}: no row has a product code in the column "
            f"{products.key!r}. Check data.products.key."
        )
    columns = [read["product_id"], *(_kept(read[name]) for name in products.columns)]
    return pl.DataFrame(columns).sort("product_id")


def keep_products(lake: Path, products: pl.DataFrame) -> bool:
    """Make these the lake's products, in place of those it had; return whether they differ.

    The same products leave the table as it is, with its version.
    """
    return change_table(lake, PRODUCTS, lambda _held: products)


def _kept(values: pl.Series) -> pl.Series:
    where = f"data.products.columns, {values.name!r}"
    try:
        dtype = extra_type(values.dtype, where=where)
        return dates.as_utc(values) if dtype == TIMESTAMP else values.cast(dtype)
    except (DataError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{where}: a column of type {values.dtype} cannot be kept ({error}). Leave it out of data.products.columns."
        ) from error
