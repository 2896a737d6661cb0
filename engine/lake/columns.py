"""Which source column means what, and which further columns the lake can keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from engine.errors import DataError
from engine.lake.recipe import CANONICAL, OPTIONAL, REQUIRED, RESERVED
from engine.schema import TIMESTAMP, require_columns

_NUMBERS = ("quantity", "unit_price", "amount")
_EXPECTED = {
    "timestamp": "dates, dates with a time, or text or whole numbers such as 20240131",
    **dict.fromkeys(_NUMBERS, "numbers or text"),
}


def resolve_columns(columns: Mapping[str, str | None], available: list[str], *, where: str) -> dict[str, str]:
    """Return the part of a column map that applies to a source.

    A canonical column that the map does not name is looked for under its own name; an optional one that is not
    there is filled in by the lake. ``None`` says that the source has none, even if a column has that name. Any
    other column that the map names must be there.

    Raises
    ------
    ColumnsMissingError
        A column is missing; the message lists those that are there.

    Examples
    --------
    >>> resolve_columns({"customer_id": "client"}, ["client", "timestamp", "amount"], where="sales.csv")
    {'customer_id': 'client', 'timestamp': 'timestamp', 'amount': 'amount'}
    """
    resolved = {}
    for name, column in {**{name: name for name in CANONICAL}, **columns}.items():
        if column in available:
            resolved[name] = column
        elif name in REQUIRED or column not in (None, name):
            hint = f"Set data.columns.{name}=COLUMN to the column that holds the {name.replace('_', ' ')}."
            require_columns(available, [column or name], where=where, hint=hint)
    if "amount" not in resolved and "unit_price" not in resolved:
        hint = "Set data.columns.amount (the row's value) or data.columns.unit_price."
        require_columns(available, ["amount"], where=where, hint=hint)
    return resolved


def check_types(columns: Mapping[str, str], schema: Mapping[str, pl.DataType], *, where: str) -> None:
    """Raise unless each canonical column has a type that can mean it.

    Raises
    ------
    DataError
        The message names the column, its type and the types that are expected.

    Examples
    --------
    >>> import polars as pl
    >>> check_types({"customer_id": "client"}, {"client": pl.Int64()}, where="sales.parquet")
    """
    for name, source in columns.items():
        if name in CANONICAL and not _can_mean(name, schema[source]):
            raise DataError(
                f"{where}: column {source!r} has the type {schema[source]}, which cannot be read as the "
                f"{name.replace('_', ' ')}. Expected {_EXPECTED.get(name, 'text or numbers')}. Convert the column, or "
                f"set data.columns.{name} to another one."
            )


def _can_mean(name: str, dtype: pl.DataType) -> bool:
    if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null) or dtype.is_integer():
        return True
    if name == "timestamp":
        return dtype == pl.Date or isinstance(dtype, pl.Datetime)
    if name == "customer_id" or name in _NUMBERS:
        return dtype.is_numeric()
    return not dtype.is_nested() and dtype not in (pl.Binary, pl.Object, pl.Duration)


def extra_type(dtype: pl.DataType, *, where: str) -> pl.DataType:
    """Return the lake's type for a further column: one that every reader of Delta tables understands."""
    if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        return pl.String()
    if dtype.is_integer():
        return pl.Int64()
    if dtype.is_float():
        return pl.Float64()
    if isinstance(dtype, pl.Datetime):
        return TIMESTAMP
    if dtype in (pl.Boolean, pl.Date) or dtype.is_decimal():
        return dtype
    raise DataError(f"{where}: a column of type {dtype} cannot be kept. Take it out of data.columns.")


def unknown_extras(columns: Mapping[str, str]) -> list[str]:
    """Return the mapped names that are not canonical: further columns to keep."""
    return [name for name in columns if name not in RESERVED]


def unmapped_beside_price(
    available: Sequence[Sequence[str]], resolved: Sequence[Mapping[str, str]]
) -> list[str] | None:
    """Return the columns mapped to nothing of the sources whose unit price alone is the amount; None without any.

    Examples
    --------
    >>> unmapped_beside_price([["id", "price", "Qty"]], [{"customer_id": "id", "unit_price": "price"}])
    ['Qty']
    """
    found: dict[str, None] = {}
    any_source = False
    for names, columns in zip(available, resolved, strict=True):
        if "quantity" not in columns and "amount" not in columns:
            any_source = True
            found.update(dict.fromkeys(name for name in names if name not in columns.values()))
    return list(found) if any_source else None


def filled_columns(resolved: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the optional columns that some source does not have, so that the lake filled them in."""
    return [name for name in OPTIONAL if any(name not in columns for columns in resolved)]
