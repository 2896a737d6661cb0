"""Tables for a reader's spreadsheet: Spanish ones want semicolons, decimal commas and a mark of the encoding."""

from __future__ import annotations

from pathlib import Path

import polars as pl


def write_reader_csv(frame: pl.DataFrame, path: Path, language: str) -> None:
    """Write a table so that a spreadsheet of the language opens it; a figure that is no number is left empty."""
    floats = [name for name, kind in frame.schema.items() if kind.is_float()]
    finite = frame.with_columns(pl.when(pl.col(name).is_finite()).then(name).alias(name) for name in floats)
    # A spreadsheet would take these for formulas.
    finite = finite.with_columns(
        pl.when(pl.col(pl.String).str.contains(r"^[=+\-@\t\r]"))
        .then("'" + pl.col(pl.String))
        .otherwise(pl.col(pl.String))
        .name.keep()
    )
    if language == "es":
        finite.write_csv(path, separator=";", decimal_comma=True, include_bom=True)
    else:
        finite.write_csv(path)
