"""Text tables: what is inside one (encoding, delimiter, columns) and a lazy scan of it as text.

Every field is read as text, so that a value that is no number is seen and rejected, never silently null. The
bytes of a file pass once through :func:`inspect_text`, which hashes them, finds the encoding, and fails on a file
that is empty, binary or cut short.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import io
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl

from engine.errors import DataError, SettingError

ROW = "__row"
EXTRA = "__extra"

_CHUNK = 1 << 20
# Enough for a header of many thousand columns and the rows that show the delimiter.
_HEAD_BYTES = 1 << 20
# Fields beyond the header that are looked at; a value in the first few tells a ragged record.
_SURPLUS = 3
_DELIMITERS = (";", ",", "\t", "|")
UNCLOSED_QUOTE = (
    'perhaps a double quote is not closed, or stands inside a field (an inch mark such as 5" pipe). A field with a '
    'double quote must be written in double quotes, with the quote doubled: "5"" pipe".'
)
# Bytes that cp1252 leaves undefined: a text with one of them is latin-1.
_NOT_CP1252 = frozenset((0x81, 0x8D, 0x8F, 0x90, 0x9D))
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class TextFile:
    """What :func:`inspect_text` found in one file.

    Attributes
    ----------
    sha256
        Of the file's bytes, as they lie on disk.
    text_bytes
        Length after decompression.
    encoding, delimiter, header
        How it is written; ``header`` holds the column names, without outer space; a column without a name is called
        ``column_N`` after its place.
    named
        Number of columns up to the last one that has a name: what a record must have.
    quoted
        Whether a double quote occurs anywhere.
    """

    sha256: str
    text_bytes: int
    encoding: str
    delimiter: str
    header: tuple[str, ...]
    named: int
    quoted: bool

    @property
    def is_utf8(self) -> bool:
        """Whether Polars can read the bytes as they are."""
        return self.encoding in ("utf-8", "utf-8-sig")


class _HashingReader:
    """A binary file that hashes whatever is read through it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.hash.update(data)
        return data


def inspect_text(path: Path, *, encoding: str | None, delimiter: str | None) -> TextFile:
    """Read a file once and return how it is written.

    Raises
    ------
    DataError
        The file is empty, holds only a header, is binary, is a damaged gzip, or is not in the given encoding.
    SettingError
        The encoding has no such name.
    """
    head = bytearray()
    size = 0
    quoted = False
    lines = 0
    odd: set[int] = set()
    with path.open("rb") as stream:
        reader = _HashingReader(stream)
        chunks = _chunks(reader, path)
        first = next(chunks, b"")
        if not first.strip():
            raise DataError(f"{path}: the file is empty. Expected a header line and rows.")
        wide = _wide_encoding(first)
        if wide is None and encoding is None and b"\0" in first[:_HEAD_BYTES]:
            raise DataError(f"{path}: this is not a text table (it holds zero bytes). Expected CSV or Parquet.")
        strict: codecs.IncrementalDecoder | None = _decoder(wide or encoding or "utf-8")
        for chunk in _with_first(first, chunks):
            size += len(chunk)
            quoted = quoted or b'"' in chunk
            lines += chunk.count(b"\n")
            if len(head) < _HEAD_BYTES:
                head += chunk[: _HEAD_BYTES - len(head)]
            if strict is not None:
                try:
                    strict.decode(chunk)
                except UnicodeDecodeError as error:
                    if wide or encoding:
                        raise DataError(
                            f"{path}: not written in {wide or encoding} ({error.reason}). Set data.encoding, "
                            "or leave it out to have it found."
                        ) from error
                    strict = None
            if strict is None:
                odd.update(_NOT_CP1252.intersection(chunk))
        while reader.read(_CHUNK):
            pass
    found = wide or encoding or ("utf-8" if strict is not None else "latin-1" if odd else "cp1252")
    text = codecs.getincrementaldecoder(found)("ignore").decode(bytes(head))
    sign = delimiter or _find_delimiter(text)
    _refuse_without_rows(text, sign, path, cut=size > len(head))
    header, named = _header(text, sign, path)
    return TextFile(reader.hash.hexdigest(), size, found, sign, header, named, quoted)


def scan_text(path: Path, file: TextFile, scratch: Path) -> pl.LazyFrame:
    """Return the rows as text, with ``__row`` (1 for the first record after the header) and ``__extra``.

    ``__extra`` is not null where a record has more fields than the header and one of the first three surplus ones
    holds something (a delimiter at the end of every line does no harm). A file that is not UTF-8 is first rewritten
    under ``scratch``.
    """
    readable = path if file.is_utf8 else _transcode(path, file, scratch)
    surplus = [f"{EXTRA}{number}" for number in range(_SURPLUS)]
    raw = pl.scan_csv(
        readable,
        separator=file.delimiter,
        # By place: the names of the file may be empty or padded.
        has_header=False,
        skip_rows=1,
        schema=dict.fromkeys((*file.header, *surplus), pl.String),
        infer_schema=False,
        truncate_ragged_lines=True,
        missing_columns="insert",
        row_index_name=ROW,
        row_index_offset=1,
        glob=False,
    )
    return raw.with_columns(pl.col(ROW).cast(pl.Int64), pl.coalesce(surplus).alias(EXTRA)).drop(surplus)


def short_records(path: Path, file: TextFile, scan: pl.LazyFrame, scratch: Path) -> pl.Series:
    """Return the numbers of the records with fewer fields than the header has up to its last name.

    Polars fills such records with nulls and cannot tell them from empty fields, so where a last field is empty the
    delimiters of the lines are counted. A file whose last column is always filled pays nothing for it.
    """
    none = pl.Series(ROW, [], dtype=pl.Int64)
    last = pl.col(file.header[file.named - 1])
    if file.named == 1 or not scan.select(last.is_null().any()).collect().item():
        return none
    readable = path if file.is_utf8 else _transcode(path, file, scratch)
    line = pl.col("line").fill_null("")
    lines = pl.scan_lines(readable, name="line")
    if not file.quoted:
        counted = lines.select(line.str.count_matches(file.delimiter, literal=True).alias("signs"), line)
        counted = counted.with_row_index(ROW).select(pl.col(ROW).cast(pl.Int64), "signs", "line")
        records = counted.filter(pl.col("line") != "")
    else:
        quotes = line.str.count_matches('"', literal=True)
        inside = (quotes.cum_sum().shift(1, fill_value=0) % 2) == 1
        outside = pl.when(inside).then('"' + line).otherwise(line).str.replace_all(r'"[^"]*("|$)', "q")
        records = (
            lines.with_columns(inside=inside, bare=outside)
            .select(
                (~pl.col("inside")).cast(pl.Int64).cum_sum().alias(ROW) - 1,
                pl.col("bare").str.count_matches(file.delimiter, literal=True).alias("signs"),
                (pl.col("bare") != "").alias("filled"),
            )
            .group_by(ROW)
            .agg(pl.col("signs").sum(), pl.col("filled").any())
            .filter("filled")
        )
    short = records.filter((pl.col("signs") < file.named - 1) & (pl.col(ROW) > 0))
    return short.select(pl.col(ROW).sort()).collect()[ROW]


def explain(error: pl.exceptions.PolarsError) -> str:
    """Return what Polars says of a text file that it cannot read, in words that help to mend the file.

    Examples
    --------
    >>> explain(pl.exceptions.ComputeError("CSV malformed: expected 0 rows"))[:57]
    'CSV malformed: expected 0 rows; perhaps a double quote is'
    """
    said = str(error).splitlines()[0].rstrip(".")
    return f"{said}; {UNCLOSED_QUOTE}" if "malformed" in said or "could not parse" in said else f"{said}."


def _chunks(reader: _HashingReader, path: Path) -> Iterator[bytes]:
    if not _is_gzip(path):
        while chunk := reader.read(_CHUNK):
            yield chunk
        return
    try:
        with gzip.GzipFile(fileobj=reader, mode="rb") as unzipped:  # type: ignore[call-overload]
            while chunk := unzipped.read(_CHUNK):
                yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: the gzip file is damaged or cut short ({error}). Fetch it again.") from error


def _is_gzip(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _with_first(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _wide_encoding(first: bytes) -> str | None:
    """Return the encoding that a byte order mark names, or UTF-16 where every second byte is zero."""
    for mark, name in _BOMS:
        if first.startswith(mark):
            return name
    probe = first[:1000]
    if len(probe) >= 4 and not any(probe[1::2]) and all(probe[0::2]):
        return "utf-16-le"
    return None


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    try:
        return codecs.getincrementaldecoder(encoding)("strict")
    except LookupError as error:
        raise SettingError(
            f"data.encoding: expected a text encoding such as utf-8 or latin-1; got {encoding!r}."
        ) from error


def _find_delimiter(text: str) -> str:
    """Return the candidate that occurs equally often, and at all, on most of the first lines."""
    lines = [line for line in text.splitlines()[:200] if line.strip()]
    # The last line may be cut by the end of the probe.
    lines = lines[:-1] if len(lines) > 2 else lines
    best, score = ",", (0.0, 0)
    for sign in _DELIMITERS:
        try:
            counts = [len(row) - 1 for row in csv.reader(lines, delimiter=sign)]
        except csv.Error:
            # A field without an end: the other signs may do better, and the reading says what is wrong.
            continue
        if not counts or counts[0] == 0:
            continue
        steady = sum(count == counts[0] for count in counts) / len(counts)
        if (steady, counts[0]) > score:
            best, score = sign, (steady, counts[0])
    return best


def _records(text: str, delimiter: str, path: Path) -> Iterator[list[str]]:
    """Yield the records at the beginning of the file, with line ends inside quotes kept."""
    try:
        yield from csv.reader(io.StringIO(text, newline=None), delimiter=delimiter)
    except csv.Error as error:
        raise DataError(f"{path}: {UNCLOSED_QUOTE}") from error


def _header(text: str, delimiter: str, path: Path) -> tuple[tuple[str, ...], int]:
    """Return the column names, and how many columns there are up to the last one that has a name in the file."""
    if "\n" not in text and "\r" in text:
        raise DataError(
            f"{path}: its lines end in a carriage return alone, as on old Macintosh computers. "
            "Save it again with line feeds (LF) or Windows line ends (CR LF)."
        )
    names = [name.strip() for name in next(_records(text, delimiter, path), [])]
    if not any(names):
        raise DataError(f"{path}: the first line holds no column name. Expected the header there.")
    header = [name or f"column_{place}" for place, name in enumerate(names, 1)]
    twice = sorted(name for name, times in Counter(header).items() if times > 1)
    if twice:
        raise DataError(f"{path}: the header has the same column more than once: {', '.join(twice)}.")
    return tuple(header), max(place for place, name in enumerate(names, 1) if name)


def _refuse_without_rows(text: str, delimiter: str, path: Path, *, cut: bool) -> None:
    rows = _records(text, delimiter, path)
    next(rows, None)
    if any(any(field.strip() for field in row) for row in rows):
        return
    if cut:
        raise DataError(
            f"{path}: the first {_HEAD_BYTES >> 20} MiB hold no row after the header line. "
            f"Expected a header line and rows. {UNCLOSED_QUOTE[0].upper()}{UNCLOSED_QUOTE[1:]}"
        )
    raise DataError(f"{path}: the file has a header and no row.")


def _transcode(path: Path, file: TextFile, scratch: Path) -> Path:
    """Write the text again as UTF-8 under ``scratch`` (once per file) and return where."""
    target = scratch / f"{file.sha256[:32]}.csv"
    if target.exists():
        return target
    opener = gzip.open if _is_gzip(path) else open
    part = target.with_suffix(".part")
    with (
        opener(path, "rt", encoding=file.encoding, newline="") as source,
        part.open("w", encoding="utf-8", newline="") as sink,
    ):
        while piece := source.read(_CHUNK):
            sink.write(piece)
    part.rename(target)
    return target
