"""Many customers or transactions in a body, as JSON, CSV or an Arrow stream; and answers in the same three forms."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import polars as pl

from engine.serving.arrow_stream import NotAStreamError, claimed_rows
from engine.serving.json_names import check_names
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

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""Of a CSV's values; found from the line of names."""

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
    """Return the form of the answer: the one of ours most welcome by the header ``Accept``, or that of the body.

    Raises
    ------
    Problem
        406: it names none of ours.

    Examples
    --------
    >>> answer_form("*/*", "csv"), answer_form("application/json", "csv")
    ('csv', 'json')
    >>> answer_form("text/csv;q=0.5, application/json", "csv")
    'json'
    """
    wanted = [_range(part) for part in accept.split(",") if part.strip()]
    if not wanted:
        return given
    best, found = (0.0, 0.0), None
    for form in (given, *(form for form in MEDIA_TYPES if form != given)):
        media_type = MEDIA_TYPES[form]
        kinds = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
        # The range that says most about a form decides about it.
        at = next((wanted.index(each) for kind in kinds for each in wanted if each[0] == kind), None)
        if at is None:
            continue
        kind, quality = wanted[at]
        # Of forms as welcome, those named in full come first, in their order.
        score = (quality, 1.0 / (1 + at) if kind == media_type else 0.0)
        if quality > 0 and (found is None or score > best):
            best, found = score, form
    if found is None:
        raise Problem(406, "Unknown form", f"The answer can be {', '.join(MEDIA_TYPES.values())}; got {accept!r}.")
    return found


def _range(part: str) -> tuple[str, float]:
    """Return a media range of the header ``Accept`` and how welcome it is, 0 to 1."""
    kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
    return kind, quality if 0.0 <= quality <= 1.0 else 0.0


def encode(frame: pl.DataFrame, form: str, period: Mapping[str, int | str | None]) -> bytes:
    """Write a table in one of the forms, with the period that it is of.

    Parameters
    ----------
    frame
        A row each.
    form
        ``json``, ``csv`` or ``arrow``.
    period
        Members of every row in JSON, metadata of the schema in Arrow (as JSON); in CSV there is no place for them.
    """
    if form == "json":
        return frame.with_columns(**{name: pl.lit(value) for name, value in period.items()}).write_json().encode()
    stream = io.BytesIO()
    if form == "csv":
        frame.write_csv(stream)
        return stream.getvalue()
    import pyarrow.ipc  # type: ignore[import-untyped]

    # Readers of today all know the older layout of text.
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    table = table.replace_schema_metadata({name: json.dumps(value) for name, value in period.items()})
    with pyarrow.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
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
    texts = (text for row in rows for text in (*row, *row.values()) if isinstance(text, str))
    check_names(body, sum(map(len, rows)) + sum(text.count(":") for text in texts))
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
    fields: list[tuple[str, Any, Any]] = [("c", _ID | msgspec.UnsetType, msgspec.UNSET)]
    fields += [(f"v{index}", float | None | msgspec.UnsetType, msgspec.UNSET) for index in range(len(names))]
    rename = {"c": "customer_id", **{f"v{index}": name for index, name in enumerate(names)}}
    row = msgspec.defstruct("Row", fields, rename=rename, forbid_unknown_fields=True, gc=False)
    return list[row]  # type: ignore[valid-type]


def _json_customers(body: bytes, names: tuple[str, ...], most: int) -> pl.DataFrame:
    rows = _json(body, _row_type(names), most)
    given = [[row.c for row in rows], *([getattr(row, f"v{i}") for row in rows] for i in range(len(names)))]
    absent = sum(values.count(msgspec.UNSET) for values in given)
    if absent:
        given = [[None if each is msgspec.UNSET else each for each in values] for values in given]
    ids, *numbers = given
    colons = sum(each.count(":") for each in ids if isinstance(each, str))
    check_names(body, len(rows) * len(given) - absent + colons)
    kinds = {type(each) for each in ids}
    columns = {name: pl.Series(values, dtype=pl.Float64) for name, values in zip(names, numbers, strict=True)}
    if kinds <= {type(None)}:
        return pl.DataFrame(columns)
    if len(kinds) > 1:
        raise Problem(422, "Mixed ids", _MIXED, variable="customer_id")
    try:
        known = pl.Series(ids, dtype=pl.Int64 if kinds == {int} else pl.String)
    except (OverflowError, TypeError, pl.exceptions.PolarsError):
        raise Problem(422, "Impossible ids", "customer_id: expected whole numbers of 64 bits.") from None
    return pl.DataFrame({"customer_id": known, **columns})


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
    # The mark that spreadsheets put first, and the blank lines that editors leave last.
    body = body.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")
    _refuse_wide_letters(body)
    names = _names_line(body)
    sign = _separator(names)
    if names.count(sign.encode()) >= MOST_COLUMNS:
        raise _too_wide()
    try:
        # As text: what a column holds is decided by what it should hold, and an id may begin with zeros.
        frame = pl.read_csv(body, separator=sign, infer_schema=False, n_rows=most + 1)
    except pl.exceptions.PanicException:
        raise Problem(400, "No CSV", f"Expected a line of names, then lines of values, {_between(sign)}.") from None
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise Problem(
            400,
            "No CSV",
            f"Expected UTF-8 text: a line of names, then lines of values, {_between(sign)} ({_line(error)}).",
        ) from None
    if frame.height > most:
        raise too_many(most)
    if not frame.height:
        raise Problem(422, "No rows", "Expected at least one line under the names.")
    _check_names_once(names, sign)
    _check_widths(body, frame, sign)
    # `""` is as empty as nothing between two commas.
    return frame.with_columns(pl.all().replace("", None))


def _refuse_wide_letters(body: bytes) -> None:
    probe = body[:1000]
    marked = probe.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if marked or (len(probe) >= 4 and any(not any(probe[at::2]) and all(probe[1 - at :: 2]) for at in (0, 1))):
        raise Problem(
            400, "No UTF-8", "Expected CSV in UTF-8; this is UTF-16. Save it as 'CSV UTF-8', or send it re-encoded."
        )


def _separator(names: bytes) -> str:
    """Return the sign that stands most often between the names; a comma where there is one name only."""
    outside = b"".join(names.split(b'"')[::2])
    return max(SEPARATORS, key=lambda sign: outside.count(sign.encode()))


def _between(sign: str) -> str:
    return f"{SEPARATORS[sign]} between"


def _check_names_once(names: bytes, sign: str) -> None:
    """Raise where a column comes twice; the reader gives the second another name unseen."""
    header = next(csv.reader(io.StringIO(names.decode(errors="replace").lstrip("\r\n")), delimiter=sign), [])
    for name in header:
        if header.count(name) > 1:
            raise Problem(
                422,
                "Repeated column",
                f"{name[:100]!r} comes more than once in the line of names. Give each column once.",
                variable=name[:100],
            )


def _check_widths(body: bytes, frame: pl.DataFrame, sign: str) -> None:
    """Raise where a line is blank or has fewer values than there are names; the reader fills those unseen."""
    if not frame.to_series(-1).null_count():
        return
    quoted = b'"' in body
    if frame.width > 1 and not quoted and body.count(sign.encode()) == (frame.height + 1) * (frame.width - 1):
        return
    lines = csv.reader(io.StringIO(body.decode(errors="replace"), newline="\n"), delimiter=sign)
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
                    f"row {row}: expected a value, or nothing, for each name, {_between(sign)}; got {came}. Complete "
                    "or remove it.",
                    row=row,
                )
    except csv.Error as error:
        raise Problem(400, "No CSV", f"Expected lines of values, {_between(sign)} ({_line(error)}).") from None


def _names_line(body: bytes) -> bytes:
    """Return the first line of a CSV text; a line may end inside of quotes, and blank ones do not count."""
    body = body[: _HEADER_BYTES + 1].lstrip(b"\r\n")
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
