"""Source rows as JSON text: the evidence that a rejected row leaves behind.

JSON has text, numbers, truth values and lists. Bytes are written as hexadecimal digits, dates that no calendar of
Python's holds as the plain number that the file has for them, and foreign objects as their ``repr``.
"""

from __future__ import annotations

import polars as pl

from engine.lake import dates


def as_json(rows: pl.DataFrame, columns: list[str]) -> pl.Series:
    """Return each row as one JSON object of the named columns.

    Examples
    --------
    >>> import polars as pl
    >>> as_json(pl.DataFrame({"id": [7], "photo": [b"ab"]}), ["id", "photo"]).to_list()
    ['{"id":7,"photo":"6162"}']
    """
    plain = pl.DataFrame([_plain(rows[name]).alias(name) for name in columns])
    return plain.select(pl.struct(columns).struct.json_encode().alias("raw"))["raw"]


def _plain(values: pl.Series) -> pl.Series:
    """Return the values as a type that Polars can write as JSON."""
    dtype = values.dtype
    if dtype == pl.Object:
        return pl.Series([None if value is None else repr(value) for value in values], dtype=pl.String)
    if dtype == pl.Binary:
        return values.bin.encode("hex")
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return _plain_times(values)
    if isinstance(dtype, pl.Map):
        return _plain(values.map.entries())
    if isinstance(dtype, pl.BaseExtension):
        return _plain(values.ext.storage())
    if isinstance(dtype, pl.Array):
        return _plain(values.arr.to_list())
    if isinstance(dtype, pl.List):
        return _plain_lists(values)
    if isinstance(dtype, pl.Struct):
        fields = [_plain(values.struct.field(field.name)).alias(field.name) for field in dtype.fields]
        if not fields:
            return values
        # A struct that is null must not become a struct of nulls.
        built = pl.DataFrame(fields).to_struct("x").to_frame()
        return built.select(pl.when(values.is_not_null()).then(pl.col("x")))["x"]
    return values


def _plain_times(values: pl.Series) -> pl.Series:
    inside = dates.holdable(values)
    if (inside | values.is_null()).all():
        return values
    number = values.to_physical().cast(pl.String)
    held = values.to_frame("x").select(pl.when(inside).then(pl.col("x")))["x"].dt.to_string()
    return number.to_frame("x").select(pl.when(inside).then(held).otherwise(pl.col("x")))["x"]


def _plain_lists(values: pl.Series) -> pl.Series:
    """Make the items plain all at once, and put them back into lists of the same lengths."""
    rows = pl.DataFrame({"row": pl.int_range(len(values), eager=True), "items": values})
    items = rows.filter(pl.col("items").list.len() > 0).explode("items")
    lists = items.with_columns(_plain(items["items"]).alias("items")).group_by("row").agg("items").sort("row")
    joined = rows.select("row", pl.col("items").is_null().alias("none")).join(lists, on="row", how="left")
    empty = pl.lit([], dtype=lists.schema["items"])
    return joined.sort("row").select(pl.when("none").then(None).otherwise(pl.col("items").fill_null(empty)).alias("x"))[
        "x"
    ]
