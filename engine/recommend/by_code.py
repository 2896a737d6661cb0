"""Tables about products and customers, brought into the order in which a history numbers them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.schema import require_columns

NAMES = ("name", "description", "product_name")
"""Columns of a table of products that can hold what a product is called, the first that is there."""

MOST_COMPARED = 5_000
"""Ids at most that a mistyped one is compared with, letter by letter: a hundred thousand take a second."""


def as_ids(asked: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return ids in the type of the history's; null where one cannot be one of them (7.9, or a truth value).

    Examples
    --------
    >>> as_ids(pl.Series([7.0, 7.9]), pl.Int64()).to_list(), as_ids(pl.Series(["7", "07"]), pl.Int64()).to_list()
    ([7, None], [7, None])
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
    cast = asked.cast(dtype, strict=False)
    if asked.dtype == pl.String:
        # 07 is written otherwise than the number 7: in a file of texts it would be somebody else.
        both = pl.DataFrame({"cast": cast, "asked": asked})
        kept = pl.when(pl.col("cast").cast(pl.String) == pl.col("asked")).then("cast")
        cast = both.select(kept.alias(asked.name)).to_series()
    return cast


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


class RowsById:
    """Finds the row of one customer in a history, in a few microseconds; ids are read as by :func:`asked_ids`.

    Parameters
    ----------
    ids
        Of all customers, each once.

    Examples
    --------
    >>> rows = RowsById(pl.Series([9, 7]))
    >>> rows.row(7), rows.row("7"), rows.row(8)
    (1, 1, None)
    """

    def __init__(self, ids: pl.Series) -> None:
        self._ids, self._text = ids, ids.dtype == pl.String
        # Text as UTF-8, in whose order its letters are too.
        array = np.array([one.encode() for one in ids]) if self._text else ids.to_numpy()
        self._order = np.argsort(array, kind="stable")
        self._sorted = array[self._order]

    def row(self, customer_id: Any) -> int | None:
        """Return the row of a customer, ``None`` where nobody has the id."""
        if isinstance(customer_id, bool) or not isinstance(customer_id, str if self._text else Integral):
            # In another type, "7" for 7: by the same rules as many.
            try:
                customer_id = asked_ids([customer_id], self._ids.dtype)[0]
            except DataError:
                return None
        if customer_id is None or not len(self._ids):
            return None
        # A surrogate, or an end that such arrays cut off, is nobody's id.
        key = customer_id.encode("utf-8", "replace") if self._text else int(customer_id)
        if isinstance(key, int) and not -(2**63) <= key < 2**63:
            return None
        row = int(self._order[min(int(np.searchsorted(self._sorted, key)), len(self._ids) - 1)])
        return row if self._ids[row] == customer_id else None


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


def segment_number(known: pl.Series, segment_id: Any) -> int:
    """Return the place of a segment among the ids that are known; a number stands for its digits.

    Raises
    ------
    DataError
        There is no such segment.

    Examples
    --------
    >>> segment_number(pl.Series(["0", "1"]), 1.0)
    1
    """
    key = segment_id
    if isinstance(segment_id, Real) and not isinstance(segment_id, bool):
        key = segment_keys(pl.Series([segment_id]))[0]
    place = known.index_of(key) if isinstance(key, str) else None
    if place is None:
        there = ", ".join(known) or "none: the recommender was fitted without segments"
        raise DataError(f"segment_id: expected one of {there}; got {segment_id!r}.")
    return place


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
    if products.schema[category].is_nested():
        raise DataError(f"category: expected text in column {category!r}; got {products.schema[category]}.")
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
    if category == "product_id":
        category = None  # whole categories are recommended
    ids = products["product_id"].cast(pl.String)
    kinds = ids if category is None else products[category].cast(pl.String)
    for value in map(str, exclude):
        own = ((ids == value) | (kinds == value)).fill_null(False).to_numpy()
        if not own.any():
            no_kind = "" if category is None else f", and no {category}"
            there = "" if category is None else f" There are {_some(kinds.unique().drop_nulls().sort())}."
            close = closest(value, products, category)
            raise SettingError(f"exclude: {value!r} is no product that anybody bought{no_kind}{close}.{there}")
        which |= own
    if len(which) and which.all():
        raise SettingError("exclude: it leaves no product to offer. Exclude fewer.")
    return which


def closest(given: str, products: pl.DataFrame, category: str | None = None) -> str:
    """Return the rest of a sentence about a value that is no id and no category: what may have been meant.

    Parameters
    ----------
    given
        What came.
    products
        By code: ``product_id`` and ``name``.
    category
        Their column with the category, where that may be meant too.

    Examples
    --------
    >>> products = pl.DataFrame({"product_id": ["p1", "p2"], "name": ["fuel", "milk"], "kind": ["GAS", "DAIRY"]})
    >>> closest("Fuel", products, "kind")
    " (names do not count, ids and categories do: 'fuel' is p1, of GAS)"
    >>> closest("DIARY", products, "kind")
    " (did you mean 'DAIRY'?)"
    """
    ids, names = products["product_id"].cast(pl.String), products["name"].cast(pl.String)
    kinds = ids.clear() if category is None else products[category].cast(pl.String)
    meant = {each.casefold(): each for each in names.unique().drop_nulls().sort()}
    meant |= {each.casefold(): each for each in kinds.unique().drop_nulls().sort()}
    if len(ids) <= MOST_COMPARED:
        meant |= {each.casefold(): each for each in ids}
    near = difflib.get_close_matches(given.strip().casefold(), meant, n=1)
    if not near:
        return ""
    found = meant[near[0]]
    if (ids == found).any() or (kinds == found).any():
        return f" (did you mean {found!r}?)"
    called = products.filter(names == found)
    what = "ids do" if category is None else "ids and categories do"
    of = "" if category is None else _some(called[category].cast(pl.String).drop_nulls().unique().sort(), 3)
    codes = _some(called["product_id"].cast(pl.String), 3)
    return f" (names do not count, {what}: {found!r} is {codes}{f', of {of}' if of else ''})"


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
        if segments["segment_id"].n_unique() < segments.height:
            raise DataError("segments: expected each segment once; some come twice.")
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


def _some(names: pl.Series, most: int = 10) -> str:
    return ", ".join(names.head(most).to_list()) + " …" * (len(names) > most)


def _check_column(key: str, column: Any) -> None:
    if column is not None and not isinstance(column, str):
        raise SettingError(f"{key}: expected the name of a column of the products; got {column!r}.")
