"""How many rows an Arrow stream says it holds, read from its messages' headers before anything is unpacked.

A few bytes can claim a billion rows, and a compressed buffer can hold a thousand times its size. So the rows are
counted from the metadata alone, and compressed streams are not taken.

References
----------
Apache Arrow columnar format, "Encapsulated message format" and ``format/Message.fbs``; FlatBuffers internals.
"""

from __future__ import annotations

import struct

_CONTINUATION = 0xFFFFFFFF
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_MESSAGE_KIND, _MESSAGE_HEADER, _MESSAGE_BODY = 1, 2, 3
_BATCH_ROWS, _BATCH_COMPRESSION = 0, 3
_DICTIONARY_DATA = 1


METADATA_BYTES = 256 * 1024
"""Of one message: about five thousand columns. Each costs memory when it is unpacked, even without rows."""


class NotAStreamError(ValueError):
    """The bytes are no uncompressed Arrow stream; the message says why."""


def claimed_rows(body: bytes) -> int:
    """Return the rows of all record batches together, as their headers say.

    Raises
    ------
    NotAStreamError
        The bytes are no Arrow IPC stream, or a compressed one.

    Examples
    --------
    >>> import io, polars as pl
    >>> stream = io.BytesIO()
    >>> _ = pl.DataFrame({"frequency": [1, 2, 3]}).write_ipc_stream(stream)
    >>> claimed_rows(stream.getvalue())
    3
    """
    try:
        return _claimed_rows(body)
    except (struct.error, IndexError):
        raise NotAStreamError("it ends too early, or is none") from None


def _claimed_rows(body: bytes) -> int:
    at = rows = messages = 0
    while at < len(body):
        mark, size = struct.unpack_from("<Ii", body, at)
        if mark != _CONTINUATION:
            raise NotAStreamError("its messages do not begin as those of a stream do")
        at += 8
        if size == 0:
            break
        if size < 0 or at + size > len(body):
            raise NotAStreamError("it ends too early")
        if size > METADATA_BYTES:
            raise NotAStreamError("its metadata are too large; send fewer columns")
        header = _Table.root(body[at : at + size])
        at += size
        kind = header.byte(_MESSAGE_KIND)
        content = header.table(_MESSAGE_HEADER)
        if not messages and kind != _SCHEMA:
            raise NotAStreamError("it does not begin with a schema")
        messages += 1
        if kind == _DICTIONARY:
            content = content.table(_DICTIONARY_DATA)
        if kind in (_DICTIONARY, _BATCH):
            if content.has(_BATCH_COMPRESSION):
                raise NotAStreamError("it is compressed; send it without compression")
            length = content.long(_BATCH_ROWS)
            if length < 0:
                raise NotAStreamError("a batch has less than no row")
            rows += length
        skip = header.long(_MESSAGE_BODY)
        if skip < 0 or at + skip > len(body):
            raise NotAStreamError("it ends too early")
        at += skip
    if not messages:
        raise NotAStreamError("it is empty")
    return rows


class _Table:
    """A FlatBuffers table: fields by number, found through a table of offsets."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        (back,) = struct.unpack_from("<i", data, at)
        self._offsets = at - back
        if self._offsets < 0:
            raise NotAStreamError("its metadata are damaged")
        (self._size,) = struct.unpack_from("<H", data, self._offsets)

    @classmethod
    def root(cls, data: bytes) -> _Table:
        """Return the table that a buffer begins with."""
        (at,) = struct.unpack_from("<I", data, 0)
        return cls(data, at)

    def has(self, field: int) -> bool:
        """Return whether a field is there."""
        return self._place(field) is not None

    def byte(self, field: int) -> int:
        """Return an unsigned byte, 0 where it is left out."""
        at = self._place(field)
        return 0 if at is None else self._data[at]

    def long(self, field: int) -> int:
        """Return a 64-bit integer, 0 where it is left out."""
        at = self._place(field)
        return 0 if at is None else int(struct.unpack_from("<q", self._data, at)[0])

    def table(self, field: int) -> _Table:
        """Return a table inside this one."""
        at = self._place(field)
        if at is None:
            raise NotAStreamError("its metadata are damaged")
        (step,) = struct.unpack_from("<I", self._data, at)
        return _Table(self._data, at + step)

    def _place(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self._size:
            return None
        (offset,) = struct.unpack_from("<H", self._data, self._offsets + entry)
        return self._at + offset if offset else None
