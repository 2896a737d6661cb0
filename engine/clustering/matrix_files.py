"""A matrix in files, of which any run of rows can be read: ``.npy``, and numeric columns of Parquet.

A ``.npy`` file is read and not mapped into memory: a map of a file that is cut short while it is used ends the process
without a message.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.clustering.rows import FloatMatrix
from engine.errors import ColumnsMissingError, DataError, SettingError, SourceNotFoundError

NEAR_BYTES = 32 * 2**10
"""Rows of a ``.npy`` file closer than this are fetched together: reading what lies between costs less than one more
seek."""

Read = Callable[[int, int, FloatMatrix], None]
"""Write the rows first to last into a matrix (last - first, d) of the file's dtype, contiguous as the file is."""


class MatrixFile(Protocol):
    """n rows of d floats in one file or several."""

    @property
    def n(self) -> int:
        """Number of rows."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, in the order of their rows."""

    @property
    def names(self) -> tuple[str, ...]:
        """What to call each of the d columns."""

    @property
    def has_names(self) -> bool:
        """Whether the file itself names its columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""

    @property
    def by_rows(self) -> bool:
        """Whether the values of a row lie side by side; otherwise those of a column do."""

    @property
    def near(self) -> int:
        """Rows that may lie between two that are fetched together."""

    def place(self, row: int) -> str:
        """Say which file holds a row, and which of its rows that is, counted from 0."""

    def opened(self) -> AbstractContextManager[Read]:
        """Return how rows are read until the block ends, or raise because a file is gone or another than before."""


class _Mark(NamedTuple):
    """What tells one state of a file from the next."""

    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> _Mark:
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Name the file in what the operating system says."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceNotFoundError(
            f"{path}: no such file. It must be there, and stay, while its rows are used."
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}). Expected a file.") from error


def _marked(path: Path) -> _Mark:
    """Return the state of a file, or raise unless it is one."""
    with _told(path):
        found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{path}: neither a .npy file nor Parquet, but a folder, a pipe or a device. Expected a file.")
    return _Mark.of(found)


def _check_same(path: Path, found: os.stat_result, before: _Mark) -> None:
    if _Mark.of(found) != before:
        raise DataError(
            f"{path}: the file has changed since it was opened ({before.size} bytes then, {found.st_size} now). "
            "Leave it as it is while its rows are used, or open it again and start over."
        )


class NpyFile:
    """A matrix that ``numpy.save`` wrote.

    Parameters
    ----------
    path : str or Path
        float32 or float64, (n, d), in either order.

    Raises
    ------
    SourceNotFoundError
        There is no such file; also while reading, when it is gone.
    DataError
        It is not a ``.npy`` file or is cut short, or holds something else than a matrix of float32 or float64; while
        reading, it is another than it was.
    """

    has_names = False

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.paths = (self.path,)
        self._mark = _marked(self.path)
        with _told(self.path), self.path.open("rb", buffering=0) as stream:
            shape, by_columns, self.dtype = _npy_header(self.path, stream)
            self._offset = stream.tell()
        if self.dtype not in (np.float32, np.float64):
            raise DataError(
                f"{self.path}: expected float32 or float64 in this machine's byte order; got {self.dtype}. "
                "Save it again with numpy.save(path, matrix.astype('float32'))."
            )
        if len(shape) != 2 or min(shape) < 1:
            raise DataError(f"{self.path}: expected a matrix with at least one row and one column; got shape {shape}.")
        self.by_rows = not by_columns
        self.n, d = shape
        expected = self._offset + self.n * d * self.dtype.itemsize
        if self._mark.size != expected:
            raise DataError(
                f"{self.path}: expected {expected} bytes for {self.n} rows of {d} {self.dtype}; the file has "
                f"{self._mark.size}. It was cut short or written to: save it again."
            )
        self.names = tuple(f"column {number}" for number in range(d))
        self.near = max(1, NEAR_BYTES // (d * self.dtype.itemsize))

    def place(self, row: int) -> str:
        """Say which file holds a row, and which of its rows that is, counted from 0."""
        return f"{self.path}, row {row}"

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Return how rows are read until the block ends."""
        with _told(self.path):
            stream = self.path.open("rb", buffering=0)
        with stream:
            _check_same(self.path, os.fstat(stream.fileno()), self._mark)

            def read(first: int, last: int, out: FloatMatrix) -> None:
                with _told(self.path):
                    self._read(stream, first, last, out)
                    _check_same(self.path, os.fstat(stream.fileno()), self._mark)

            yield read

    def _read(self, stream: BinaryIO, first: int, last: int, out: FloatMatrix) -> None:
        item = self.dtype.itemsize
        if self.by_rows:
            self._fill(stream, self._offset + first * out.shape[1] * item, out)
            return
        for column in range(out.shape[1]):
            self._fill(stream, self._offset + (column * self.n + first) * item, out[:, column])

    def _fill(self, stream: BinaryIO, position: int, out: NDArray[Any]) -> None:
        stream.seek(position)
        left = out.data.cast("B")
        while left:
            # One call of the system returns 2 GiB at most.
            got = stream.readinto(left)  # type: ignore[attr-defined]
            if not got:
                raise DataError(f"{self.path}: the file ends before its last row. It was cut short: save it again.")
            left = left[got:]


def _npy_header(path: Path, stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        # The third version only adds names of fields, which a matrix has not.
        shape, by_columns, dtype = readers[np.lib.format.read_magic(stream)](stream)
    except OSError:
        raise
    except Exception as error:
        # A damaged header raises whatever the parser of Python literals does.
        raise DataError(
            f"{path}: not a .npy file of a matrix, or a damaged one ({error}). Expected numpy.save's."
        ) from error
    return shape, by_columns, dtype


class ParquetFiles:
    """Numeric columns of Parquet files, below each other.

    Parameters
    ----------
    paths : str, Path or sequence of them
        One file, several in their order, a pattern such as ``"folder/*.parquet"``: what matches it, by name; or a
        folder: its files that end in ``.parquet``, by name. Of pattern and folder, what begins with a dot or an
        underscore is left out.
    columns : str or sequence of str, optional
        Features in their order, or the one there is. Default: all columns of the first file, each of which must be
        numeric.
    dtype : dtype
        float32 or float64, to which every number is cast.

    Raises
    ------
    SourceNotFoundError
        There is no such file, or none in the folder, or none that matches; also while reading, when it is gone.
    ColumnsMissingError
        A file lacks a column.
    DataError
        A file is damaged, a column is not numeric, no file has a row; while reading, a null, or a file is another
        than it was.
    SettingError
        No column or one twice, or another dtype.
    """

    has_names = True

    def __init__(
        self, paths: str | Path | Sequence[str | Path], columns: str | Sequence[str] | None, dtype: Any = np.float32
    ) -> None:
        columns = [columns] if isinstance(columns, str) else columns
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise SettingError(f"dtype: expected float32 or float64; got {self.dtype}.")
        if columns is not None and (not columns or len(set(columns)) < len(columns)):
            raise SettingError(f"columns: expected at least one, and each once; got {', '.join(columns) or 'none'}.")
        self._files: list[tuple[Path, _Mark]] = []
        starts = [0]
        wanted = columns
        for path in _parquet_paths(paths):
            mark = _marked(path)
            there, rows = _parquet_shape(path)
            wanted = list(there) if wanted is None else wanted
            _check_columns(path, there, wanted, every=columns is None)
            self._files.append((path, mark))
            starts.append(starts[-1] + rows)
        self.names = tuple(wanted or ())
        self.paths = tuple(path for path, _ in self._files)
        self._starts = np.array(starts, dtype=np.int64)
        self.n = starts[-1]
        if self.n == 0:
            raise DataError(f"{self._files[0][0]}: the file has columns and no row.")
        self.by_rows = False
        # Pages are decoded whole, so that nothing is saved by leaving out the rows between.
        self.near = self.n

    def place(self, row: int) -> str:
        """Say which file holds a row, and which of its rows that is, counted from 0."""
        number = self._file_of(row)
        return f"{self._files[number][0]}, row {row - int(self._starts[number])}"

    def opened(self) -> AbstractContextManager[Read]:
        """Return how rows are read until the block ends; files are opened one by one."""
        return nullcontext(self._read)

    def _file_of(self, row: int) -> int:
        return int(np.searchsorted(self._starts, row, side="right")) - 1

    def _read(self, first: int, last: int, out: FloatMatrix) -> None:
        number = self._file_of(first)
        row = first
        while row < last:
            start, end = self._starts[number : number + 2].tolist()
            stop = min(last, end)
            if stop > row:
                self._read_file(number, row - start, out[row - first : stop - first])
            row = stop
            number += 1

    def _read_file(self, number: int, first: int, out: FloatMatrix) -> None:
        import polars as pl

        path, mark = self._files[number]
        float_type = pl.Float32 if self.dtype == np.float32 else pl.Float64
        with _told(path):
            _check_same(path, path.stat(), mark)
            # Some damage makes the decoder panic, which Polars tells in a BaseException.
            try:
                frame = _scan(path).select(pl.col(self.names).cast(float_type)).slice(first, len(out)).collect()
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
                raise DataError(f"{path}: not a Parquet file, or a damaged one ({error}).") from error
            _check_same(path, path.stat(), mark)
        if frame.height != len(out):
            raise DataError(f"{path}: expected {len(out)} rows from row {first}; got {frame.height}. Write it again.")
        nulls = {name: count for name, count in frame.null_count().row(0, named=True).items() if count}
        if nulls:
            null = frame.select(pl.any_horizontal(pl.all().is_null()).arg_max()).item()
            raise DataError(
                f"{path}, row {first + null}: expected a number in every row; null in "
                f"{', '.join(f'{name} ({count})' for name, count in nulls.items())} of {len(out)} rows from row "
                f"{first}. Fill or drop these values before clustering."
            )
        for column, values in enumerate(frame.iter_columns()):
            out[:, column] = values.to_numpy()


def _scan(path: Path) -> Any:
    import polars as pl

    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


def _parquet_paths(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    if not isinstance(paths, str | Path):
        files = [Path(path) for path in paths]
        if not files:
            raise SourceNotFoundError("Rows in Parquet: expected at least one file; got an empty list.")
        return files
    folder = Path(paths)
    if not folder.exists() and any(sign in str(folder) for sign in "*?["):
        # Writers leave marks of their own beside the files: _SUCCESS, _metadata.
        matching = Path(folder.anchor or ".").glob(str(folder.relative_to(folder.anchor)))
        files = sorted(file for file in matching if not file.name.startswith((".", "_")))
        if not files:
            raise SourceNotFoundError(f"{folder}: no file matches this pattern.")
        return files
    if not folder.is_dir():
        return [folder]
    if (folder / "_delta_log").is_dir():
        raise DataError(
            f"{folder}: a Delta table, whose folder also holds files that it no longer counts. "
            "Give the list of the files that its present version counts."
        )
    files = sorted(file for file in folder.glob("*.parquet") if not file.name.startswith((".", "_")))
    if not files:
        raise SourceNotFoundError(f"{folder}: the folder holds no file that ends in .parquet.")
    return files


def _parquet_shape(path: Path) -> tuple[dict[str, Any], int]:
    """Columns with their types, and the number of rows."""
    import polars as pl

    with _told(path):
        try:
            lazy = _scan(path)
            return dict(lazy.collect_schema()), int(lazy.select(pl.len()).collect().item())
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise DataError(f"{path}: not a Parquet file, or a damaged one ({error}).") from error


def _check_columns(path: Path, there: dict[str, Any], wanted: Sequence[str], *, every: bool) -> None:
    missing = [name for name in wanted if name not in there]
    if missing:
        raise ColumnsMissingError.from_missing(missing, there, where=str(path))
    beyond = [name for name in there if name not in wanted]
    if every and beyond:
        raise DataError(
            f"{path}: expected the columns of the first file; got {', '.join(beyond)} too. Name the features: columns=."
        )
    wrong = [f"{name} ({there[name]})" for name in wanted if not there[name].is_numeric()]
    if wrong:
        raise DataError(
            f"{path}: expected numeric columns; got {', '.join(wrong)}. Name the features (columns=), or cast these."
        )
