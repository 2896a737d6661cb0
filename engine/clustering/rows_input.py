"""What comes to be clustered, in the form that the kernels take, or refused with its reason."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.clustering.rows import FloatMatrix
from engine.errors import DataError


def as_matrix(X: ArrayLike) -> FloatMatrix:
    """Return float32 and float64 as they are where they lie by rows or by columns; copy anything else."""
    array = np.asarray(X)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(
            f"Rows to cluster: expected a matrix with at least one row and one column; got shape {array.shape}."
        )
    if not array.flags.c_contiguous and not array.flags.f_contiguous:
        array = np.ascontiguousarray(array)
    return array


def flat(matrix: FloatMatrix) -> FloatMatrix:
    """Return all values as they lie in memory, under a name that may be written to, though nobody does.

    For numba, an array that must not be written to is of another type: everything would be compiled twice.
    """
    values = np.asarray(matrix).ravel(order="K")
    if values.flags.writeable:
        return values
    number = ctypes.c_float if values.dtype == np.float32 else ctypes.c_double
    alias: FloatMatrix = np.ctypeslib.as_array(values.ctypes.data_as(ctypes.POINTER(number)), shape=(values.size,))
    return alias


def checked_weights(weights: ArrayLike, n: int) -> NDArray[np.float64]:
    """Return the weights as float64, or raise :class:`DataError` where they cannot count n rows."""
    checked = np.ascontiguousarray(weights, dtype=np.float64)
    if checked.shape != (n,):
        raise DataError(f"weights: expected one for each of the {n} rows; got shape {checked.shape}.")
    wrong = int(np.count_nonzero(~(np.isfinite(checked) & (checked >= 0))))
    if wrong:
        raise DataError(f"weights: expected finite numbers, 0 or more; {wrong} of {n} are not.")
    if not checked.any():
        raise DataError("weights: all are 0, so no row counts; give some row a weight above 0.")
    return checked


def not_finite(matrix: FloatMatrix, names: Sequence[str] | None) -> DataError:
    """Return the error for a matrix that holds NaN or infinity: which columns, and how many."""
    bad = np.count_nonzero(~np.isfinite(matrix), axis=0)
    told = ", ".join(
        f"{names[column] if names is not None else f'column {column}'} ({bad[column]})"
        for column in np.flatnonzero(bad).tolist()
    )
    return DataError(
        f"Rows to cluster: expected finite numbers; NaN or infinity in {told} of {len(matrix)} rows. "
        "Fill or drop these values before clustering."
    )


def distinct_rows(matrix: FloatMatrix, weights: NDArray[np.float64] | None) -> tuple[FloatMatrix, NDArray[np.float64]]:
    """Return the different rows with a weight, in lexical order, each with the weight of all its copies."""
    order = np.lexsort(matrix.T[::-1])
    own = np.ones(len(matrix)) if weights is None else weights
    order = order[own[order] > 0]
    ordered = matrix[order]
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    firsts = np.flatnonzero(new)
    return ordered[firsts], np.add.reduceat(own[order], firsts)
