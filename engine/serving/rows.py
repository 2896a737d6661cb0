"""Many customers or transactions in a body, as JSON, CSV or an Arrow stream; and answers in the same three forms."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
import polars as pl

from engine.serving.arrow_stream import NotAStreamError, claimed_rows
from engine.serving.problems import Problem

MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
}
JSON_ROWS = 100_000
"""At most, whatever the limit: the interpreter answers nobody else while it reads JSON. CSV and Arrow take more."""

MOST_COLUMNS = 1_000
"""A table's columns cost memory even where they are empty."""

_HEADER_BYTES = 64 * 1024
_ID = int | str | None
_PLACE = re.compile(r"\$\[(\d+)\](?:\.([^`]*))?")
_MIXED = "customer_id: expected whole numbers in all rows, or text in all, or none at all."


def form_of(content_type: str) -> str:
    """Return which form a body is in.

    Raises
    ------
    Problem
        415: none of ours.

    Examples
    --------
    >>> form_of("text/csv; charset=utf-8")
    'csv'
    """
    kind = content_type.partition(";")[0].strip().lower()
    for form, media_type in MEDIA_TYPES.items():
        if kind == media_type:
            return form
    raise Problem(
        415,
        "Unknown form",
        f"Expected the header Content-Type to be one of {', '.join(MEDIA_TYPES.values())}; got {kind or 'none'!r}.",
    )


def answer_form(accept: str, given: str) -> str:
    """Return the form of the answer: the first of ours that the header ``Accept`` names, or that of the body.

    Raises
    ------
    Problem
        406: it names none of ours.

    Examples
    --------
    >>> answer_form("*/*", "csv"), answer_form("application/json", "csv")
    ('csv', 'json')
    """
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",") if part.strip()]
    for kind in kinds:
        for form, media_type in MEDIA_TYPES.items():
            if kind == media_type:
                return form
        if kind in ("*/*", MEDIA_TYPES[given].partition("/")[0] + "/*"):
            return given
    if kinds:
        raise Problem(406, "Unknown form", f"The answer can be {', '.join(MEDIA_TYPES.values())}; got {accept!r}.")
    return given


def encode(frame: pl.DataFrame, form: str) -> bytes:
    """Write a table in one of the forms."""
    if form == "json":
        return frame.write_json().encode()
    stream = io.BytesIO()
    if form == "csv":
        frame.write_csv(stream)
    else:
        # Readers of today all know the older layout of text.
        frame.write_ipc_stream(stream, compat_level=pl.CompatLevel.oldest())
    return stream.getvalue()


def customers(body: bytes, form: str, names: Sequence[str], *, most: int) -> pl.DataFrame:
    """Read customers: a column for each variable that was given, and ``customer_id`` where it was.

    Raises
    ------
    Problem
        400: not what the form says. 413: more rows than taken. 422: a value of the wrong kind.
    """
    if form == "json":
        return _json_customers(body, tuple(names), most)
    return _csv(body, most) if form == "csv" else _arrow(body, most)


def transactions(body: bytes, form: str, *, most: int) -> pl.DataFrame:
    """Read transactions, columns as they come."""
    if form != "json":
        return _csv(body, most) if form == "csv" else _arrow(body, most)
    rows = _json(body, list[dict[str, float | int | str | bool | None]], most)
    if len(set().union(*rows)) > MOST_COLUMNS:
        raise _too_wide()
    try:
        return pl.DataFrame(rows, infer_schema_length=None)
    except (pl.exceptions.PolarsError, TypeError, OverflowError) as error:
        raise Problem(
            422, "Values of several kinds", f"Expected values of one kind in each column ({_line(error)})."
        ) from None


def too_many(most: int) -> Problem:
    """Return the problem of more rows than are taken."""
    return Problem(413, "Too many rows", f"One request may have {most:,} rows; send them in pieces.", limit_rows=most)


@lru_cache(maxsize=16)
def _row_type(names: tuple[str, ...]) -> Any:
    # Variables may have any name; attributes of a class may not.
    fields: list[tuple[str, Any, Any]] = [("c", _ID, None)]
    fields += [(f"v{index}", float | None, None) for index in range(len(names))]
    rename = {"c": "customer_id", **{f"v{index}": name for index, name in enumerate(names)}}
    row = msgspec.defstruct("Row", fields, rename=rename, forbid_unknown_fields=True, gc=False)
    return list[row]  # type: ignore[valid-type]


def _json_customers(body: bytes, names: tuple[str, ...], most: int) -> pl.DataFrame:
    rows = _json(body, _row_type(names), most)
    ids = [row.c for row in rows]
    kinds = {type(each) for each in ids}
    columns = {
        name: pl.Series([getattr(row, f"v{i}") for row in rows], dtype=pl.Float64) for i, name in enumerate(names)
    }
    if kinds <= {type(None)}:
        return pl.DataFrame(columns)
    if len(kinds) > 1:
        raise Problem(422, "Mixed ids", _MIXED, variable="customer_id")
    try:
        given = pl.Series(ids, dtype=pl.Int64 if kinds == {int} else pl.String)
    except (OverflowError, TypeError, pl.exceptions.PolarsError):
        raise Problem(422, "Impossible ids", "customer_id: expected whole numbers of 64 bits.") from None
    return pl.DataFrame({"customer_id": given, **columns})


def _json(body: bytes, kind: Any, most: int) -> list[Any]:
    most = min(most, JSON_ROWS)
    try:
        rows: list[Any] = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _misplaced(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "No JSON", f"Expected a JSON list of objects, one each row ({_line(error)}).") from None
    if len(rows) > most:
        raise too_many(most)
    if not rows:
        raise Problem(422, "No rows", "The list is empty. Expected at least one row.")
    return rows


def _misplaced(message: str) -> Problem:
    place = _PLACE.search(message)
    what = message.partition(" - at ")[0].replace("`", "'")
    if place is None:
        return Problem(400, "No list of objects", f"Expected a JSON list of objects, one each row. {what}.")
    row = int(place.group(1)) + 1
    extra: dict[str, Any] = {"variable": place.group(2)} if place.group(2) else {}
    where = f"row {row}" + (f", {place.group(2)}" if place.group(2) else "")
    return Problem(422, "Impossible value", f"{where}: {what}.", row=row, **extra)


def _csv(body: bytes, most: int) -> pl.DataFrame:
    if _names_line(body).count(b",") >= MOST_COLUMNS:
        raise _too_wide()
    try:
        # As text: what a column holds is decided by what it should hold, and an id may begin with zeros.
        frame = pl.read_csv(body, infer_schema=False, n_rows=most + 1)
    except pl.exceptions.PanicException:
        raise Problem(400, "No CSV", "Expected a line of names, then lines of values, commas between.") from None
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise Problem(
            400,
            "No CSV",
            f"Expected UTF-8 text: a line of names, then lines of values, commas between ({_line(error)}).",
        ) from None
    if frame.height > most:
        raise too_many(most)
    if not frame.height:
        raise Problem(422, "No rows", "Expected at least one line under the names.")
    _check_widths(body, frame)
    # `""` is as empty as nothing between two commas.
    return frame.with_columns(pl.all().replace("", None))


def _check_widths(body: bytes, frame: pl.DataFrame) -> None:
    """Raise where a line is blank or has fewer values than there are names; the reader fills those unseen."""
    if not frame.to_series(-1).null_count():
        return
    quoted = b'"' in body
    if frame.width > 1 and not quoted and body.count(b",") == (frame.height + 1) * (frame.width - 1):
        return
    lines = csv.reader(io.StringIO(body.decode(errors="replace"), newline="\n"))
    row = -1
    try:
        for values in lines:
            # Blank lines before the names are nobody's.
            row += bool(values) or row >= 0
            if row > 0 and len(values) < frame.width:
                came = f"{len(values)} of {frame.width} values" if values else "a blank line"
                raise Problem(
                    422,
                    "Short row",
                    f"row {row}: expected a value, or nothing between commas, for each name; got "
                    f"{came}. Complete or remove it.",
                    row=row,
                )
    except csv.Error as error:
        raise Problem(400, "No CSV", f"Expected lines of values, commas between ({_line(error)}).") from None


def _names_line(body: bytes) -> bytes:
    """Return the first line of a CSV text; a line may end inside of quotes."""
    end = -1
    while (end := body.find(b"\n", end + 1, _HEADER_BYTES)) >= 0:
        if body.count(b'"', 0, end) % 2 == 0:
            return body[:end]
    if len(body) > _HEADER_BYTES:
        raise Problem(400, "No CSV", "Expected a line of names first; none ends within 64 kB.")
    return body


def _too_wide() -> Problem:
    return Problem(422, "Too many columns", f"Expected {MOST_COLUMNS:,} columns at most.", limit_columns=MOST_COLUMNS)


def _arrow(body: bytes, most: int) -> pl.DataFrame:
    try:
        if claimed_rows(body) > most:
            raise too_many(most)
        frame = pl.read_ipc_stream(io.BytesIO(body))
    except NotAStreamError as error:
        raise Problem(400, "No Arrow stream", f"Expected an Arrow IPC stream; {error}.") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, OSError) as error:
        raise Problem(400, "No Arrow stream", f"Expected an Arrow IPC stream ({_line(error)}).") from None
    if frame.width > MOST_COLUMNS:
        raise _too_wide()
    if not frame.height:
        raise Problem(422, "No rows", "The stream holds no row.")
    return frame


def _line(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is too deeply nested"
    return (str(error).strip() or type(error).__name__).splitlines()[0]
