"""Which source column means what, and which further columns the lake can keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from engine.errors import DataError
from engine.lake.recipe import CANONICAL, OPTIONAL, REQUIRED, RESERVED
from engine.schema import TIMESTAMP, require_columns


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
