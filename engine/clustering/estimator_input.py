"""The door of the estimator: whatever holds a table of numbers becomes rows in memory, checked once.

NumPy arrays of float32 or float64 are taken as they lie, by rows or by columns; so are Polars frames and Arrow tables
whose columns are stored together. Anything else is copied once, and nothing is ever written to. Rows in a file that
was opened as such stay there.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, validate_data

from engine.clustering.near_zero import TableRows
from engine.clustering.on_device import held_on
from engine.clustering.rows import Centroids
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_cuda import CudaRows
from engine.clustering.rows_file import FileRows
from engine.clustering.rows_sparse import SparseRows
from engine.errors import DataError, SettingError

MOST_WEIGHT = 1e150
"""Largest sum of the weights: they multiply squared distances, for which half of float64's exponents are left."""


def rows_to_cluster(estimator: BaseEstimator, X: Any, sample_weight: Any = None, *, reset: bool) -> TableRows:
    """Check what was passed against scikit-learn's rules, and hold it as rows.

    A sparse matrix stays sparse, unless that takes more memory than the dense one.

    Parameters
    ----------
    estimator : BaseEstimator
        Gets ``n_features_in_`` and ``feature_names_in_``, or is asked for them.
    X : array-like, sparse matrix, frame, Dask collection or FileRows, (n_samples, n_features)
        Dask collections are computed into memory block by block.
    sample_weight : (n_samples,) array-like, optional
        How often each row counts.
    reset : bool
        True when fitting: number and names of features are then taken from X, otherwise compared with it.

    Returns
    -------
    ArrayRows, SparseRows or FileRows

    Raises
    ------
    DataError
        No rows, one dimension, other features than at fit, text, dates, NaN or infinity (columns and counts are
        named), a path instead of what is there, or impossible weights.
    TypeError
        Values that are neither numbers nor text.

    Examples
    --------
    >>> rows = rows_to_cluster(BaseEstimator(), [[1, 2], [3, 4], [5, 6]], reset=True)
    >>> rows.n, rows.d, str(rows.matrix.dtype)
    (3, 2, 'float64')
    """
    from scipy.sparse import issparse

    if isinstance(X, FileRows):
        return _from_file(estimator, X, sample_weight, reset)
    table = _in_memory(X)
    try:
        # Our rows look for NaN and infinity themselves, and name the columns.
        matrix = validate_data(
            estimator,
            table,
            reset=reset,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
        )
    except ValueError as error:
        raise DataError(_with_columns(str(error), table)) from error
    weights = None if sample_weight is None else _weights(sample_weight, matrix)
    named = getattr(estimator, "feature_names_in_", None)
    names = None if named is None else [str(name) for name in named]
    if not issparse(matrix):
        return ArrayRows(matrix, weights, names=names)
    if _bytes_if_dense(matrix) <= matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes:
        return ArrayRows(matrix.toarray(), weights, names=names)
    return SparseRows(matrix, weights, names=names)


def rows_on_device(rows: TableRows, device: str) -> TableRows | CudaRows:
    """Hold the rows where they are to be solved; :class:`SettingError` where a GPU cannot take their kind.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> rows_on_device(SparseRows(csr_array([[1.0, 0.0], [0.0, 0.0]])), "cuda")
    Traceback (most recent call last):
    engine.errors.SettingError: device: 'cuda' takes dense rows in memory; X is sparse. Set device to 'auto' or 'cpu'.
    """
    if isinstance(rows, ArrayRows):
        return held_on(rows, device)
    if device == "cuda":
        what = "sparse" if isinstance(rows, SparseRows) else "in a file"
        raise SettingError(f"device: 'cuda' takes dense rows in memory; X is {what}. Set device to 'auto' or 'cpu'.")
    return rows


def check_enough(rows: TableRows, n_clusters: int) -> None:
    """Raise :class:`DataError` where there are fewer rows than clusters."""
    if rows.n < n_clusters:
        raise DataError(
            f"n_samples={rows.n} should be >= n_clusters={n_clusters}. Lower n_clusters, or give more rows."
        )


def given_centroids(given: Any, n_clusters: int, d: int) -> Centroids:
    """Return the first centroids that the caller gives, copied and checked.

    Examples
    --------
    >>> given_centroids([[1, 2]], 1, 2).tolist()
    [[1.0, 2.0]]
    """
    from scipy.sparse import issparse

    start = np.array(given.toarray() if issparse(given) else given, dtype=np.float64)
    for axis, (what, wanted) in enumerate((("number of clusters", n_clusters), ("number of features of the data", d))):
        if start.ndim != 2 or start.shape[axis] != wanted:
            raise SettingError(
                f"init: The shape of the initial centers {start.shape} does not match the {what} {wanted}. "
                f"Expected ({n_clusters}, {d})."
            )
    if not np.isfinite(start).all():
        raise DataError("init: expected finite centroids; got NaN or infinity.")
    return start


def _in_memory(X: Any) -> Any:
    """Return what scikit-learn understands, with the column names if there are any."""
    if hasattr(X, "__dask_graph__"):
        return _computed(X)
    if isinstance(X, str | PurePath):
        opened = "parquet" if str(X).endswith(".parquet") else "npy"
        raise DataError(
            f"X: expected a table of numbers; got the text {str(X)!r}. If it names a file, open it: X may be "
            f"engine.clustering.rows_file.FileRows.{opened}({str(X)!r}); there are FileRows.npy and FileRows.parquet."
        )
    kind = f"{type(X).__module__.partition('.')[0]}.{type(X).__name__}"
    if kind == "polars.LazyFrame":
        raise DataError("X: expected a table in memory; got a Polars LazyFrame. Call its collect() first.")
    if kind in ("pyarrow.Table", "pyarrow.RecordBatch"):
        import polars as pl

        return _numeric(pl.from_arrow(X))
    if kind == "polars.DataFrame":
        return _numeric(X)
    _refuse_dates(X)
    return X


def _numeric(frame: Any) -> Any:
    """Return a frame whose columns NumPy can hold; missing values become NaN, which is refused later by name."""
    import polars as pl

    wrong = [f"{name} ({kind})" for name, kind in frame.schema.items() if not (kind.is_numeric() or kind == pl.Boolean)]
    if wrong:
        raise DataError(
            f"X: expected columns of numbers; got {', '.join(wrong)}. Drop these columns, or encode them as numbers."
        )
    return frame.with_columns(pl.selectors.decimal().cast(pl.Float64))


def _refuse_dates(X: Any) -> None:
    """Raise where a pandas frame or an array holds dates or durations, which would be read as nanoseconds."""
    if hasattr(X, "dtypes") and hasattr(X, "columns"):
        kinds = {str(name): dtype for name, dtype in zip(X.columns, X.dtypes, strict=True)}
    else:
        kinds = {"all columns": getattr(X, "dtype", None)}
    # Besides NumPy's kinds those of pandas: dates with a zone have kind M too, and periods say it by their name.
    wrong = [
        f"{name} ({dtype})"
        for name, dtype in kinds.items()
        if getattr(dtype, "kind", "") in ("M", "m") or str(dtype).startswith("period")
    ]
    if wrong:
        raise DataError(
            f"X: expected columns of numbers; got dates or durations in {', '.join(wrong)}. Drop these columns, or "
            "make numbers of them, such as the days since a date."
        )


def _computed(X: Any) -> Any:
    """Compute a Dask array or frame block by block: one block is held beside the result at a time.

    Where Dask does not know how long the blocks are, all of them are held beside it for a moment.
    """
    if type(X).__module__.startswith(("dask.delayed", "dask.bag")):
        raise DataError(
            f"X: expected a table, such as a Dask array or frame; got a Dask {type(X).__name__}, which may hold "
            "anything. Call its compute() first, or make an array of it with dask.array.from_delayed."
        )
    if hasattr(X, "partitions") and hasattr(X, "columns"):
        import pandas as pd

        _refuse_dates(X)
        return pd.concat([X.partitions[number].compute() for number in range(X.npartitions)])
    if not hasattr(X, "blocks") or X.ndim != 2:
        return X.compute()
    whole = X.rechunk({1: -1}) if X.numblocks[1] > 1 else X
    blocks = (whole.blocks[number].compute() for number in range(whole.numblocks[0]))
    if np.isnan(whole.shape[0]):
        return np.concatenate(list(blocks))
    matrix = np.empty(whole.shape, dtype=whole.dtype)
    first = 0
    for block in blocks:
        matrix[first : first + len(block)] = block
        first += len(block)
    return matrix


def _from_file(estimator: BaseEstimator, rows: FileRows, sample_weight: Any, reset: bool) -> FileRows:
    """Take names and number of the features from a file, or compare them."""
    import polars as pl

    if sample_weight is not None:
        raise DataError(
            "sample_weight: rows in a file count once each; got weights. Leave it out, or read the rows into memory."
        )
    alike = np.empty((0, rows.d)) if rows.names is None else pl.DataFrame(schema=dict.fromkeys(rows.names, pl.Float64))
    try:
        validate_data(estimator, alike, reset=reset, skip_check_array=True)
    except ValueError as error:
        raise DataError(str(error)) from error
    return rows


def _weights(sample_weight: Any, matrix: Any) -> NDArray[np.float64]:
    try:
        weights: NDArray[np.float64] = _check_sample_weight(
            sample_weight, matrix, dtype=np.float64, ensure_non_negative=True
        )
    except (ValueError, TypeError) as error:
        raise DataError(
            f"sample_weight: expected a number for each of the {matrix.shape[0]} rows, 0 or more and not all 0; {error}"
        ) from error
    # Also the sum must be a number, or every mean is none.
    with np.errstate(over="ignore"):
        total = float(weights.sum())
    if not total <= MOST_WEIGHT:
        raise DataError(
            f"sample_weight: expected weights with a sum up to {MOST_WEIGHT:g}; they sum to {total:.3g}, and "
            "squared distances times these are beyond float64. Divide all weights by the largest: the clusters are "
            "the same."
        )
    return weights


def _bytes_if_dense(matrix: Any) -> int:
    return int(matrix.shape[0]) * int(matrix.shape[1]) * int(matrix.dtype.itemsize)


def _with_columns(message: str, table: Any) -> str:
    """Add to the message which columns hold text, if that is what is wrong."""
    if "could not convert string to float" not in message:
        return message
    names = getattr(table, "columns", None)
    values = np.asarray(table, dtype=object)
    if values.ndim != 2:
        word = next(value for value in values.ravel() if isinstance(value, str))
        return f"X: expected a table of numbers, rows by columns; got text ({word!r}). Give the table itself."
    told = [
        f"{names[column] if names is not None else f'column {column}'} ({text[0]!r})"
        for column in range(values.shape[1])
        if (text := [value for value in values[:, column] if isinstance(value, str) and not _is_number(value)])
    ]
    return f"X: expected numbers; got text in {', '.join(told)}. Drop these columns, or encode them as numbers."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
