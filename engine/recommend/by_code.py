"""Tables about products and customers, brought into the order in which a history numbers them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.schema import require_columns

NAMES = ("name", "description", "product_name")
"""Columns of a table of products that can hold what a product is called, the first that is there."""


def as_ids(asked: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return ids in the type of the history's; null where one cannot be one of them (7.9, or a truth value).

    Examples
    --------
    >>> as_ids(pl.Series([7.0, 7.9]), pl.Int64()).to_list()
    [7, None]
    """
    if asked.dtype == dtype:
        return asked
    if asked.dtype == pl.Boolean:
        return pl.Series(asked.name, [None] * len(asked), dtype=dtype)
    if asked.dtype.is_float() and dtype.is_integer():
        asked = (
            asked.to_frame()
            .select(pl.when(pl.col(asked.name) == pl.col(asked.name).floor()).then(asked.name))
            .to_series()
        )
    return asked.cast(dtype, strict=False)


def asked_ids(given: Sequence[Any] | pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return the ids that somebody asks for in the type of the history's; null where nobody can have one.

    Raises
    ------
    DataError
        One id in place of a list, or ids of several kinds.

    Examples
    --------
    >>> asked_ids([7, 8], pl.String()).to_list()
    ['7', '8']
    """
    if not listed(given):
        raise DataError(f"customer_ids: expected a list of ids, such as [{given!r}]; got {given!r}.")
    try:
        ids = pl.Series("id", given if isinstance(given, pl.Series | np.ndarray) else list(given), strict=True)
        return as_ids(ids, dtype)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        raise DataError(
            "customer_ids: expected ids of one kind, whole numbers or texts; got "
            f"{', '.join(repr(one) for one in list(given)[:3])}{' …' * (len(given) > 3)}."
        ) from None


def listed(given: Any) -> bool:
    """Return whether something is a list of values, and not one text.

    Examples
    --------
    >>> listed([]), listed("p17"), listed(17)
    (True, False, False)
    """
    return isinstance(given, Iterable) and hasattr(given, "__len__") and not isinstance(given, str | bytes | Mapping)


def product_key(given: Any) -> str:
    """Return a product's id as a history has it, a text; :class:`DataError` where it can be none.

    Examples
    --------
    >>> product_key(1082185), product_key("p17")
    ('1082185', 'p17')
    """
    if isinstance(given, str):
        return given
    if isinstance(given, Integral) and not isinstance(given, bool):
        return str(int(given))
    raise DataError(f"products: expected ids, texts or whole numbers; got {given!r}.")


def segment_keys(given: pl.Series) -> pl.Series:
    """Return segment ids as text; a whole number is written without a point, wherever it was read.

    Examples
    --------
    >>> segment_keys(pl.Series([1.0, None, 2.0])).to_list()
    ['1', None, '2']
    """
    if given.dtype.is_float():
        given = given.fill_nan(None)
        if (given == given.floor()).all() and (given.abs() < 2**53).all():
            given = given.cast(pl.Int64)
    return given.cast(pl.String)


def named(codes: pl.Series, products: pl.DataFrame | None, name: str | None) -> pl.DataFrame:
    """Return a row for each product by code, with its name: by default its id."""
    _check_column("name", name)
    table = codes.rename("product_id").to_frame()
    if products is None:
        if name is not None:
            raise SettingError(f"name: there is no table of products that could have a column {name!r}.")
        return table.with_columns(pl.col("product_id").alias("name"))
    require_columns(products.columns, ["product_id", *([name] if name else [])], where="the table of products")
    chosen = name or next((column for column in NAMES if column in products.columns), "product_id")
    called = pl.col(chosen).cast(pl.String)
    text = pl.when(called.str.strip_chars() != "").then(called).otherwise("product_id").alias("name")
    known = products.with_columns(pl.col("product_id").cast(pl.String)).with_columns(text)
    if known["product_id"].n_unique() < known.height:
        raise DataError("products: expected each product_id once; some come twice. Keep one row of each.")
    joined = table.join(known, on="product_id", how="left", maintain_order="left", validate="m:1")
    return joined.with_columns(pl.coalesce("name", "product_id").alias("name"))


def categories(
    products: pl.DataFrame, category: str | None, repurchase: Mapping[str, bool] | None
) -> tuple[NDArray[np.int32] | None, NDArray[np.int8] | None]:
    """Return the number of each product's category, and what is known of its being bought again."""
    _check_column("category", category)
    if repurchase is not None and not (
        isinstance(repurchase, Mapping) and all(isinstance(again, bool | np.bool_) for again in repurchase.values())
    ):
        raise SettingError(
            f"repurchase: expected True or False by category, {{'COFFEE': True, 'GRILLS': False}}; got {repurchase!r}."
        )
    if category is None:
        if repurchase:
            raise SettingError("repurchase: it speaks of categories; say which column holds them with category=COLUMN.")
        return None, None
    require_columns(products.columns, [category], where="the table of products")
    values = products[category].cast(pl.String)
    names = values.unique().drop_nulls().sort()
    numbers = values.replace_strict(names, np.arange(len(names), dtype=np.int32), default=-1, return_dtype=pl.Int32)
    told = np.full(products.height, -1, dtype=np.int8)
    for value, again in (repurchase or {}).items():
        which = (values == str(value)).fill_null(False).to_numpy()
        if not which.any():
            raise SettingError(f"repurchase: no product has {category}={value!r}. There are {_some(names)}.")
        told[which] = int(again)
    return numbers.fill_null(-1).to_numpy(), told if repurchase else None


def excluded(products: pl.DataFrame, category: str | None, exclude: Sequence[Any] | None) -> NDArray[np.bool_]:
    """Return which products are never offered: those named by id or by category, shape (m,).

    Raises
    ------
    SettingError
        Not a list, or a value that is neither a product's id nor a category.
    """
    which = np.zeros(products.height, np.bool_)
    if exclude is None:
        return which
    if not listed(exclude):
        raise SettingError(f"exclude: expected a list of product ids and categories; got {exclude!r}.")
    ids = products["product_id"].cast(pl.String)
    kinds = ids if category is None else products[category].cast(pl.String)
    for value in map(str, exclude):
        own = ((ids == value) | (kinds == value)).fill_null(False).to_numpy()
        if not own.any():
            raise SettingError(
                f"exclude: {value!r} is no product that anybody bought."
                if category is None
                else f"exclude: {value!r} is no product that anybody bought, and no {category}: there are "
                f"{_some(kinds.unique().drop_nulls().sort())}."
            )
        which |= own
    if len(which) and which.all():
        raise SettingError("exclude: it leaves no product to offer. Exclude fewer.")
    return which


def numbered(
    ids: pl.Series, assignments: pl.DataFrame | None, segments: pl.DataFrame | None
) -> tuple[pl.DataFrame, NDArray[np.int32]]:
    """Return the segments and each customer's number among them."""
    if assignments is None:
        empty = pl.DataFrame(schema={"segment_id": pl.String, "name_en": pl.String, "name_es": pl.String})
        return empty, np.full(len(ids), -1, dtype=np.int32)
    require_columns(assignments.columns, ["customer_id", "segment_id"], where="assignments")
    given = assignments.select(
        as_ids(assignments["customer_id"], ids.dtype).alias("customer_id"),
        segment_keys(assignments["segment_id"]).alias("segment_id"),
    ).drop_nulls("customer_id")
    if given["customer_id"].n_unique() < given.height:
        raise DataError("assignments: expected each customer once; some come twice.")
    known = given["segment_id"].unique().drop_nulls().sort().to_frame()
    if segments is not None:
        require_columns(segments.columns, ["segment_id", "name_en", "name_es"], where="segments")
        called = segments.select(segment_keys(segments["segment_id"]), "name_en", "name_es")
        known = known.join(called, on="segment_id", how="left", maintain_order="left", validate="m:1")
    else:
        known = known.with_columns(pl.col("segment_id").alias("name_en"), pl.col("segment_id").alias("name_es"))
    found = ids.rename("customer_id").to_frame().join(given, on="customer_id", how="left", maintain_order="left")
    numbers = found.join(known.with_row_index("number"), on="segment_id", how="left", maintain_order="left")["number"]
    if len(ids) and numbers.null_count() == len(ids):
        raise DataError(
            "assignments: none of its customers bought anything here. Take the assignments of the same lake, or check "
            "that the ids are written the same way."
        )
    return known, numbers.cast(pl.Int32).fill_null(-1).to_numpy()


def _some(names: pl.Series) -> str:
    return ", ".join(names.head(10).to_list()) + " …" * (len(names) > 10)


def _check_column(key: str, column: Any) -> None:
    if column is not None and not isinstance(column, str):
        raise SettingError(f"{key}: expected the name of a column of the products; got {column!r}.")
