"""What each cluster is like: customers, shares, means and medians, and how far it lies from everybody.

Sums are exactly rounded and therefore free of order: the same customers give the same bits, however they
are sorted and on any number of threads. A missing value is left out of means and medians and counted; it
is never filled in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError
from engine.schema import require_columns

FloatArray = NDArray[np.float64]

CORE = ("monetary", "frequency", "units", "recency_days", "tenure_days")
"""Measures that every profile shows where the customers have them, in the order of the table."""

TINY = 1e-12
"""A measure that spreads less than this, on its logarithmic scale, sets nobody apart."""


def profile(
    customers: pl.DataFrame, labels: NDArray[np.int32], k: int, *, measures: Sequence[str] = ()
) -> pl.DataFrame:
    """Describe each cluster by counts, shares, means and medians.

    Parameters
    ----------
    customers
        One row per customer, with ``monetary`` and the measures.
    labels
        Shape (n,), cluster index of each row, 0 to k - 1.
    k
        Number of clusters.
    measures
        Numeric columns beside :data:`CORE`, which are always in when present.

    Returns
    -------
    pl.DataFrame
        One row per cluster index: ``cluster, customers, share_customers, share_monetary, rank``, then
        ``<measure>_mean``, ``<measure>_median`` and ``<measure>_missing`` (customers without a value) for
        each measure. ``rank`` is 1 for the highest mean billing per customer; ties go to the lower index.
        A mean is null where no customer of the cluster has a value. Where billing adds up to nothing,
        every ``share_monetary`` is 0.

    Raises
    ------
    ColumnsMissingError
        A measure, or ``monetary``, is not there.
    DataError
        Labels do not fit the customers, a cluster is empty, or a measure is not made of finite numbers.

    Examples
    --------
    >>> customers = pl.DataFrame({"monetary": [10.0, 30.0, 60.0], "frequency": [1, 2, 6]})
    >>> table = profile(customers, np.array([0, 0, 1], dtype=np.int32), 2)
    >>> table.select("customers", "share_monetary", "rank", "frequency_mean").rows()
    [(2, 0.4, 2, 1.5), (1, 0.6, 1, 6.0)]
    """
    sizes = _sizes(customers, labels, k)
    names = measure_names(customers, measures)
    billing = values_of(customers, "monetary")
    billed = exact_sums(billing, labels, k)
    total = math.fsum(billed)
    columns: dict[str, list[int] | list[float] | list[float | None]] = {
        "cluster": list(range(k)),
        "customers": [int(size) for size in sizes],
        "share_customers": [int(size) / customers.height for size in sizes],
        "share_monetary": [float(part) / total if total else 0.0 for part in billed],
    }
    measured: dict[str, list[int] | list[float | None]] = {}
    order = np.argsort(labels, kind="stable")
    for name in names:
        values = values_of(customers, name)
        missing = np.bincount(labels[np.isnan(values)], minlength=k)
        measured[f"{name}_mean"] = _means(exact_sums(values, labels, k), sizes - missing)
        measured[f"{name}_median"] = [_median(group) for group in _groups(values[order], sizes)]
        measured[f"{name}_missing"] = [int(count) for count in missing]
    columns["rank"] = ranks(measured["monetary_mean"])
    return pl.DataFrame(columns | measured, schema_overrides=_types(names))


def population(customers: pl.DataFrame, *, measures: Sequence[str] = ()) -> dict[str, dict[str, float]]:
    """Return ``{"means": {...}, "medians": {...}}`` of all customers, for the measures of :func:`profile`.

    A measure that nobody has a value for is left out.

    Examples
    --------
    >>> population(pl.DataFrame({"monetary": [10.0, 30.0, None]}))
    {'means': {'monetary': 20.0}, 'medians': {'monetary': 20.0}}
    """
    everybody = np.zeros(customers.height, dtype=np.int32)
    table = profile(customers, everybody, 1, measures=measures)
    return {
        "means": row_values(table.row(0, named=True), "_mean"),
        "medians": row_values(table.row(0, named=True), "_median"),
    }


def contrasts(
    customers: pl.DataFrame, labels: NDArray[np.int32], k: int, *, measures: Sequence[str]
) -> dict[str, list[float | None]]:
    """Return how far each cluster lies from the population on each measure, in standard deviations.

    Money and counts are skewed, so the measure is taken on a logarithmic scale: log(1 + x), mirrored for
    negative values. Then (mean of the cluster - mean of all) / population standard deviation of all.

    Parameters
    ----------
    customers, labels, k
        As in :func:`profile`.
    measures
        Numeric columns.

    Returns
    -------
    dict
        For each measure one value per cluster index; ``None`` where no customer of the cluster has a
        value, or all customers have the same.

    Examples
    --------
    >>> customers = pl.DataFrame({"monetary": [0.0, 0.0, 10.0, 10.0]})
    >>> contrasts(customers, np.array([0, 0, 1, 1], dtype=np.int32), 2, measures=["monetary"])
    {'monetary': [-1.0, 1.0]}
    """
    sizes = _sizes(customers, labels, k)
    everybody = np.zeros_like(labels)
    found: dict[str, list[float | None]] = {}
    for name in measures:
        values = values_of(customers, name)
        scaled = np.sign(values) * np.log1p(np.abs(values))
        known = ~np.isnan(scaled)
        count = int(known.sum())
        if count == 0 or np.ptp(scaled[known]) < TINY:
            found[name] = [None] * k
            continue
        mean = float(exact_sums(scaled, everybody, 1)[0]) / count
        deviation = math.sqrt(float(exact_sums((scaled - mean) ** 2, everybody, 1)[0]) / count)
        means = _means(exact_sums(scaled, labels, k), sizes - np.bincount(labels[~known], minlength=k))
        found[name] = [None if value is None else (value - mean) / deviation for value in means]
    return found


def exact_sums(values: FloatArray, labels: NDArray[np.int32], k: int) -> FloatArray:
    """Return the sum of each cluster's values, rounded once as ``math.fsum`` does; missing ones are skipped.

    Each round cuts from every value the leading bits that can be added without any rounding, in any
    order, and leaves the rest to the next round: two or three passes instead of a Python loop.

    Parameters
    ----------
    values
        Shape (n,), NaN where missing; magnitudes below 1e290.
    labels
        Shape (n,), 0 to k - 1.
    k
        Number of clusters.

    Returns
    -------
    ndarray of float64, shape (k,)

    Notes
    -----
    The cut is the error-free extraction of Rump, Ogita and Oishi, "Accurate floating-point summation part I",
    SIAM J. Sci. Comput. 31 (2008).

    Examples
    --------
    >>> exact_sums(np.array([1e16, 1.0, -1e16, 0.5]), np.array([0, 0, 0, 1], dtype=np.int32), 2).tolist()
    [1.0, 0.5]
    """
    known = ~np.isnan(values)
    rest, groups = values[known], labels[known]
    parts: list[FloatArray] = []
    room = len(rest).bit_length() + 1
    while rest.size and (largest := float(np.abs(rest).max())) > 0.0:
        sigma = math.ldexp(1.0, math.frexp(largest)[1] + room)
        lead = (rest + sigma) - sigma
        parts.append(np.bincount(groups, weights=lead, minlength=k).astype(np.float64, copy=False))
        rest = rest - lead
    return np.array([math.fsum(float(part[cluster]) for part in parts) for cluster in range(k)])


def values_of(customers: pl.DataFrame, name: str) -> FloatArray:
    """Return one measure as float64, with NaN where it is missing.

    Raises
    ------
    DataError
        The column is not numeric, or holds NaN or infinite values.
    """
    column = customers[name]
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean or column.dtype == pl.Null):
        raise DataError(
            f"profile: measure {name!r} should be numeric, but is {column.dtype}."
            " Leave it out of the measures (features.columns), or convert it."
        )
    column = column.cast(pl.Float64)
    wrong = column.len() - column.null_count() - int(column.is_finite().sum())
    if wrong:
        raise DataError(
            f"profile: measure {name!r} holds {wrong} values that are NaN or infinite; expected finite"
            " numbers, or null where the value is not known."
        )
    return np.asarray(column.to_numpy(), dtype=np.float64)


def measure_names(customers: pl.DataFrame, measures: Sequence[str]) -> list[str]:
    """Return the measures of a profile: those of :data:`CORE` that are there, then the others as given."""
    require_columns(customers.columns, ["monetary", *measures], where="profile", hint="Check features.columns.")
    core = [name for name in CORE if name in customers.columns]
    return list(dict.fromkeys([*core, *measures]))


def measures_in(table: pl.DataFrame) -> list[str]:
    """Return the measures that a profile has means of, in its order."""
    return [name.removesuffix("_mean") for name in table.columns if name.endswith("_mean")]


def row_values(row: dict[str, object], ending: str) -> dict[str, float]:
    """Return a profile row's values by measure, for columns with an ending; unknown values are left out."""
    return {
        name.removesuffix(ending): float(value)
        for name, value in row.items()
        if name.endswith(ending) and isinstance(value, int | float)
    }


def ranks(monetary_mean: Sequence[float | None]) -> list[int]:
    """Return each cluster's place by mean billing: 1 for the highest, ties to the lower index, unknown last.

    Examples
    --------
    >>> ranks([5.0, 9.0, 9.0])
    [3, 1, 2]
    """
    order = sorted(
        range(len(monetary_mean)),
        key=lambda index: (-math.inf if (mean := monetary_mean[index]) is None else mean, -index),
        reverse=True,
    )
    places = [0] * len(order)
    for place, index in enumerate(order, start=1):
        places[index] = place
    return places


def _sizes(customers: pl.DataFrame, labels: NDArray[np.int32], k: int) -> NDArray[np.int64]:
    if labels.shape != (customers.height,):
        raise DataError(
            f"profile: expected one label for each of {customers.height} customers; got shape {labels.shape}."
        )
    if customers.is_empty() or labels.min() < 0 or labels.max() >= k:
        raise DataError(
            f"profile: expected labels from 0 to {k - 1} for at least one customer; got "
            + ("no customers." if customers.is_empty() else f"{labels.min()} to {labels.max()}.")
        )
    sizes = np.bincount(labels, minlength=k)
    if (sizes == 0).any():
        raise DataError(
            f"profile: cluster {int(np.argmin(sizes))} of {k} has no customers. Use a smaller clustering.k:"
            " the data hold fewer distinct customers than that."
        )
    return sizes


def _groups(ordered: FloatArray, sizes: NDArray[np.int64]) -> Iterator[FloatArray]:
    ends = np.cumsum(sizes)
    for start, end in zip(ends - sizes, ends, strict=True):
        group = ordered[start:end]
        yield group[~np.isnan(group)]


def _median(values: FloatArray) -> float | None:
    return float(np.median(values)) if values.size else None


def _means(sums: FloatArray, known: NDArray[np.int64]) -> list[float | None]:
    return [float(total) / int(count) if count else None for total, count in zip(sums, known, strict=True)]


def _types(names: Sequence[str]) -> dict[str, pl.DataType]:
    types: dict[str, pl.DataType] = {"cluster": pl.Int32(), "customers": pl.Int64(), "rank": pl.Int64()}
    types |= {f"{name}_{figure}": pl.Float64() for name in names for figure in ("mean", "median")}
    return types | {f"{name}_missing": pl.Int64() for name in names}
