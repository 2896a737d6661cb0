"""How to read one source: where it is, which column means what, how it is written, which rows to refuse.

A recipe is a plain mapping (one yaml of ``conf/data``) turned into frozen dataclasses: a misspelt key fails here,
before any file is opened.
"""

from __future__ import annotations

import codecs
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.errors import SettingError
from engine.lake.dates import check_format
from engine.lake.population import Population
from engine.schema import RETURN, SALE

REQUIRED = ("customer_id", "timestamp")
OPTIONAL = ("order_id", "product_id", "quantity", "unit_price", "amount", "kind")
CANONICAL = REQUIRED + OPTIONAL
RESERVED = (*CANONICAL, "is_product", "by_volume", "bucket")

_UNSET = (None, "???", "")
# Python counts these among the text encodings, but no table is written in them.
_NO_TABLE = ("idna", "punycode", "undefined", "unicode_escape", "unicode-escape", "raw_unicode_escape")


@dataclass(frozen=True, slots=True)
class Rules:
    """What to do with rows that can be read but may not be meant.

    Attributes
    ----------
    zero_price
        ``keep`` or ``reject`` rows whose unit price (the amount, where there is no price) is 0.
    negative_price
        A price below 0 with a quantity above 0: ``keep_as_return`` or ``reject``.
    non_products
        Product codes that are no product (postage, fees), exact or as shell patterns such as ``gift_*``; their
        rows get ``is_product`` false.
    drop_non_products
        Reject those rows instead of flagging them.
    by_volume_where
        An SQL predicate over the columns of the lake and of ``products``; where it holds ``quantity`` is a volume
        or a weight, and the row counts as one unit.
    exact_duplicates
        ``keep`` or ``reject`` rows that repeat an earlier row of the same file in every source column.
    kind_values
        For a mapped ``kind`` column: the source's words for ``sale`` and ``return``.
    max_reject_share
        An ingest stops when more than this share of a file's rows cannot be read (0 to 1): then the format is
        wrong, not the rows.
    """

    zero_price: str = "keep"
    negative_price: str = "keep_as_return"
    non_products: tuple[str, ...] = ()
    drop_non_products: bool = False
    by_volume_where: str | None = None
    exact_duplicates: str = "keep"
    kind_values: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {SALE: (SALE,), RETURN: (RETURN,)})
    max_reject_share: float = 0.5

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Rules:
        """Build the rules from a plain mapping; unknown keys and words raise SettingError."""
        values = _known(cls, mapping, "data.rules")
        for key, allowed in (
            ("zero_price", ("keep", "reject")),
            ("negative_price", ("keep_as_return", "reject")),
            ("exact_duplicates", ("keep", "reject")),
        ):
            if key in values and values[key] not in allowed:
                raise SettingError.from_unknown(f"data.rules.{key}", values[key], allowed)
        if "non_products" in values:
            values["non_products"] = _texts(values["non_products"], "data.rules.non_products")
        where = values.get("by_volume_where")
        if where is not None and not isinstance(where, str):
            raise SettingError(
                f"data.rules.by_volume_where: expected an SQL predicate such as \"department = 'FUEL'\"; got {where!r}."
            )
        drop = values.get("drop_non_products")
        if drop is not None and not isinstance(drop, bool):
            raise SettingError(f"data.rules.drop_non_products: expected true or false; got {drop!r}.")
        if values.get("kind_values") is not None:
            values["kind_values"] = _kind_values(values["kind_values"])
        share = values.get("max_reject_share", 0.5)
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise SettingError(f"data.rules.max_reject_share: expected a share from 0 to 1; got {share!r}.")
        return cls(**{key: value for key, value in values.items() if value is not None})


@dataclass(frozen=True, slots=True)
class Products:
    """A table of products: the lake keeps it, and ``rules.by_volume_where`` may ask for its columns.

    Attributes
    ----------
    path
        One Parquet or text file (``package:NAME/inner/path`` for one inside an installed package).
    key
        The column that holds the product's code.
    columns
        The columns to keep: those that the predicate uses, names, categories.
    """

    path: str
    key: str
    columns: tuple[str, ...]

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Products:
        """Build it from a plain mapping; every key is needed."""
        values = _known(cls, mapping, "data.products")
        for name in ("path", "key", "columns"):
            if values.get(name) in _UNSET:
                raise SettingError(f"data.products.{name}: a value is needed; got none.")
        columns = _texts(values["columns"], "data.products.columns")
        for name in columns:
            if name in ("product_id", str(values["key"])) or name.startswith("__") or columns.count(name) > 1:
                raise SettingError(
                    f"data.products.columns: expected other columns than the key, each once; got {name!r}. The lake "
                    "keeps the key as product_id."
                )
        return cls(path=str(values["path"]), key=str(values["key"]), columns=columns)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to read one source into the canonical columns.

    Attributes
    ----------
    name
        The recipe's name, for reports.
    source
        ``files``, or ``synthetic`` for generated customers.
    path
        Files, folders or globs; ``package:NAME/inner/path`` is a file inside an installed package.
    columns
        Canonical column to source column; those not named are looked for under their own names, ``None`` says
        that the source has none. Names outside the canonical ones are further columns to keep.
    encoding, delimiter, decimal, date_format
        How text is written. ``None`` finds out, except ``decimal``, which is ``.`` or ``,``.
    rules
        What to refuse and what to flag.
    products
        A table of products, kept in the lake.
    synthetic
        What to generate when ``source`` is ``synthetic``.

    Examples
    --------
    >>> recipe = Recipe.from_mapping(
    ...     {"name": "till", "path": "sales.csv", "columns": {"customer_id": "client", "timestamp": "day"}}
    ... )
    >>> recipe.columns["timestamp"], recipe.decimal
    ('day', '.')
    """

    name: str
    source: str = "files"
    path: tuple[str, ...] = ()
    columns: Mapping[str, str | None] = field(default_factory=dict)
    encoding: str | None = None
    delimiter: str | None = None
    decimal: str = "."
    date_format: str | None = None
    rules: Rules = field(default_factory=Rules)
    products: Products | None = None
    synthetic: Population | None = None

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Recipe:
        """Build the recipe from a plain mapping.

        Raises
        ------
        SettingError
            A key is unknown, or a value is impossible; the message names the key.
        """
        if not isinstance(mapping, Mapping):
            raise SettingError(f"data: expected the keys and values of a recipe; got {mapping!r}.")
        source = mapping.get("source", "files")
        if source not in ("files", "synthetic"):
            raise SettingError.from_unknown("data.source", source, ("files", "synthetic"))
        if source == "synthetic":
            settings = {key: value for key, value in mapping.items() if key not in ("name", "source")}
            return cls(
                name=str(mapping.get("name", "synthetic")),
                source="synthetic",
                columns={name: name for name in SYNTHETIC_COLUMNS},
                synthetic=Population.from_mapping(settings),
            )
        values = _known(cls, mapping, "data", without=("synthetic",))
        if values.get("path") in _UNSET or values.get("path") == []:
            raise SettingError("data.path: a file, a folder or a glob is needed, e.g. data.path=sales/*.csv.")
        values["name"] = str(values.get("name", "files"))
        values["path"] = _texts(values["path"], "data.path")
        if not values["path"] or not all(text.strip() for text in values["path"]):
            raise SettingError(f"data.path: expected files, folders or globs; got {mapping['path']!r}.")
        values["columns"] = _column_map({} if values.get("columns") is None else values["columns"])
        values["rules"] = Rules.from_mapping({} if values.get("rules") is None else values["rules"])
        if values.get("products") is not None:
            values["products"] = Products.from_mapping(values["products"])
        decimal = values.get("decimal", ".")
        if decimal not in (".", ","):
            raise SettingError.from_unknown("data.decimal", decimal, (".", ","))
        delimiter = values.get("delimiter")
        if delimiter is not None and not _is_delimiter(delimiter):
            raise SettingError(f"data.delimiter: expected one character, e.g. ';'; got {delimiter!r}.")
        if values.get("encoding") is not None:
            values["encoding"] = _encoding(values["encoding"])
        if values.get("date_format") is not None:
            values["date_format"] = check_format(values["date_format"], where="data.date_format")
        return cls(**values)


SYNTHETIC_COLUMNS = ("customer_id", "order_id", "timestamp", "product_id", "quantity", "unit_price")


def _known(cls: type, mapping: Mapping[str, Any], where: str, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the mapping as a dict, or raise on the first key that the dataclass does not have."""
    if not isinstance(mapping, Mapping):
        raise SettingError(f"{where}: expected keys and values; got {mapping!r}.")
    allowed = [f.name for f in dataclasses.fields(cls) if f.name not in without]
    for key in mapping:
        if key not in allowed:
            raise SettingError.from_unknown(where, key, allowed)
    return dict(mapping)


def _texts(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    items = value if isinstance(value, (list, tuple)) else [value]
    if all(isinstance(item, (str, int)) and not isinstance(item, bool) for item in items):
        return tuple(str(item) for item in items)
    raise SettingError(f"{where}: expected one text or a list of them; got {value!r}.")


def _column_map(value: object) -> dict[str, str | None]:
    if not isinstance(value, Mapping):
        raise SettingError(f"data.columns: expected CANONICAL: SOURCE pairs; got {value!r}.")
    for name in ("is_product", "by_volume", "bucket"):
        if name in value:
            raise SettingError(f"data.columns.{name}: this name is the lake's own; map the source column to another.")
    for name in REQUIRED:
        if name in value and value[name] is None:
            raise SettingError(f"data.columns.{name}: a source column is needed; got none. Every row must have one.")
    for name, column in value.items():
        if isinstance(column, bool) or not isinstance(column, (str, int, type(None))):
            raise SettingError(f"data.columns.{name}: expected the name of one source column; got {column!r}.")
        if str(name).startswith("__"):
            raise SettingError(f"data.columns.{name}: a name cannot begin with two underscores.")
    return {str(name): None if column is None else str(column) for name, column in value.items()}


def _kind_values(value: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping):
        raise SettingError(f"data.rules.kind_values: expected sale: [...] and return: [...]; got {value!r}.")
    for key in value:
        if key not in (SALE, RETURN):
            raise SettingError.from_unknown("data.rules.kind_values", key, (SALE, RETURN))
    words = {str(key): _texts(spelled, f"data.rules.kind_values.{key}") for key, spelled in value.items()}
    sales, returns = ({word.strip().lower() for word in words.get(kind, ())} for kind in (SALE, RETURN))
    if both := sorted(sales & returns):
        raise SettingError(
            f"data.rules.kind_values: each word means a sale or a return, but both lists have {', '.join(both)}."
        )
    return words


def _is_delimiter(value: object) -> bool:
    # Polars takes one byte; a quote, a line end or a letter would cut fields to pieces.
    return (
        isinstance(value, str) and len(value) == 1 and value.isascii() and not value.isalnum() and value not in '"\r\n'
    )


def _encoding(value: object) -> str:
    """Return the name of an encoding that turns bytes into text, or raise."""
    wrong = f"data.encoding: expected a text encoding such as utf-8 or latin-1; got {value!r}."
    if not isinstance(value, str):
        raise SettingError(wrong)
    try:
        known = codecs.lookup(value).name
        # Codecs such as base64 and rot13 turn bytes into bytes or text into text; this call refuses them.
        "a".encode(value)
    except (LookupError, ValueError) as error:
        raise SettingError(wrong) from error
    if known in _NO_TABLE:
        raise SettingError(wrong)
    return value
