"""Identifiers of customers, orders and products: one text for one thing, however its source wrote it."""

from __future__ import annotations

import polars as pl


def to_key(values: pl.Series) -> pl.Series:
    """Return identifiers as text: outer space gone, empty as null, ``12345.0`` as ``12345``, zeros in front kept.

    Zero is one identifier, however it is signed.

    Examples
    --------
    >>> import polars as pl
    >>> to_key(pl.Series([" 12345.0", "00123", "", "-0.0"])).to_list()
    ['12345', '00123', None, '0']
    """
    if values.dtype.is_float():
        whole = values.cast(pl.Int64, strict=False)
        is_whole = (whole.cast(pl.Float64) == values).fill_null(False)
        return values.to_frame("x").select(
            pl.when(pl.lit(is_whole))
            .then(pl.lit(whole).cast(pl.String))
            .when(pl.col("x").is_finite())
            .then(pl.col("x").cast(pl.String))
            .alias(values.name)
        )[values.name]
    text = values.cast(pl.String)
    if values.dtype.is_integer():
        return text
    text = text.str.strip_chars()
    text = text.set(text == "", None)
    if text.str.contains(".", literal=True).any():
        text = text.str.replace(r"^(-?(?:0|[1-9][0-9]*))\.0+$", "${1}")
    return text.set(text == "-0", "0")
