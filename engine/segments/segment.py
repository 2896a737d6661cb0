"""A segment as everything downstream sees it: who it is, what it is like, what sets it apart, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import BundleError
from engine.schema import Word, check_language
from engine.segments.identity import segment_ids
from engine.segments.naming import RuleTable
from engine.segments.profile import (
    contrasts,
    measure_names,
    measures_in,
    population,
    profile,
    row_values,
)

MOST_DRIVERS = 3
CLEAR_DEVIATIONS = 0.25
"""Distance from the population, in standard deviations, from which a measure may set a segment apart."""

CLEAR_RATIO = 1.2
"""The same for the ratio of means, upwards; downwards it is the inverse."""


@dataclass(frozen=True, slots=True)
class Driver:
    """A measure that sets a segment apart from all customers.

    Attributes
    ----------
    feature
        Column name of the measure.
    ratio
        Segment mean / mean of all customers, 0 or more; ``None`` for a measure that can be negative, where
        "times the average" has no meaning.
    z
        Distance of the segment from all customers, in standard deviations on the logarithmic scale of
        :func:`engine.segments.profile.contrasts`.
    direction
        ``high`` or ``low``; ratio and z agree on it.
    """

    feature: str
    ratio: float | None
    z: float
    direction: str

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes, fit for JSON."""
        return {"feature": self.feature, "ratio": self.ratio, "z": self.z, "direction": self.direction}


@dataclass(frozen=True, slots=True)
class Segment:
    """One named segment of a model. It holds no customer.

    Attributes
    ----------
    segment_id
        Stable id, see :mod:`engine.segments.identity`.
    name, description, action
        In both languages; the name is unique within the model.
    rank
        1 for the highest mean billing per customer.
    customers
        How many.
    share_customers, share_monetary
        Of all customers and of their billing, 0 to 1.
    means, medians
        By measure, over the customers with a value; a measure that none of them has is left out.
    drivers
        What sets the segment apart, the strongest first; at most three.
    """

    segment_id: str
    name: Word
    description: Word
    action: Word
    rank: int
    customers: int
    share_customers: float
    share_monetary: float
    means: dict[str, float]
    medians: dict[str, float]
    drivers: tuple[Driver, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes, fit for JSON; :meth:`from_dict` gives the same segment back."""
        return {
            "segment_id": self.segment_id,
            "rank": self.rank,
            "name": self.name.to_dict(),
            "description": self.description.to_dict(),
            "action": self.action.to_dict(),
            "customers": self.customers,
            "share_customers": self.share_customers,
            "share_monetary": self.share_monetary,
            "means": dict(self.means),
            "medians": dict(self.medians),
            "drivers": [driver.to_dict() for driver in self.drivers],
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Segment:
        """Read what :meth:`to_dict` wrote.

        Raises
        ------
        BundleError
            A key is missing or unknown.
        """
        try:
            fields = dict(raw)
            for word in ("name", "description", "action"):
                fields[word] = Word(**fields[word])
            fields["drivers"] = tuple(Driver(**driver) for driver in fields["drivers"])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise BundleError(
                f"segment: the saved segment is damaged or of another version ({error}). Fit the model again."
            ) from error


def describe(
    customers: pl.DataFrame,
    labels: NDArray[np.int32],
    centroids: NDArray[np.float64],
    spec_digest: str,
    *,
    measures: Sequence[str],
    rules: RuleTable,
    language: str = "en",
) -> tuple[list[Segment], pl.DataFrame]:
    """Turn clusters into segments: name them, identify them, and say what each is like.

    Parameters
    ----------
    customers
        One row per customer, with ``monetary`` and the measures in business units.
    labels
        Shape (n,), cluster index of each row.
    centroids
        Shape (k, d), in the scaled space.
    spec_digest
        Digest of the feature spec.
    measures
        Numeric columns to profile, beside those that every profile has.
    rules
        Where the names come from.
    language
        Of the names in the table: ``en`` or ``es``.

    Returns
    -------
    segments : list of Segment
        In the order of the cluster index.
    table : pl.DataFrame
        The columns of :func:`profile_table`, by rank.

    Raises
    ------
    ColumnsMissingError
        A measure, or one that the rules need, is not there.
    DataError
        Labels do not fit the customers, a cluster is empty, or a measure is not made of finite numbers.

    Examples
    --------
    >>> customers = pl.DataFrame(
    ...     {
    ...         "monetary": [900.0, 700.0, 40.0, 20.0], "frequency": [9, 7, 1, 1],
    ...         "recency_days": [3, 9, 200, 250], "tenure_days": [300, 310, 210, 250],
    ...     }
    ... )
    >>> segments, table = describe(
    ...     customers, np.array([1, 1, 0, 0], dtype=np.int32), np.array([[-1.0], [1.0]]), "a1",
    ...     measures=[], rules=RuleTable.load("retail"), language="es",
    ... )
    >>> [segment.rank for segment in segments]
    [2, 1]
    >>> table.select("name", "customers", "monetary_mean").row(0)
    ('Clientes usuarios', 2, 800.0)
    """
    check_language(language)
    k = len(centroids)
    table = profile(customers, labels, k, measures=measures)
    named = rules.name(table)
    ids = segment_ids(spec_digest, centroids)
    drivers = find_drivers(customers, labels, table)
    segments = [
        Segment(
            segment_id=ids[index],
            name=named[index].name,
            description=named[index].description,
            action=named[index].action,
            rank=row["rank"],
            customers=row["customers"],
            share_customers=row["share_customers"],
            share_monetary=row["share_monetary"],
            means=row_values(row, "_mean"),
            medians=row_values(row, "_median"),
            drivers=drivers[index],
        )
        for index, row in enumerate(table.iter_rows(named=True))
    ]
    return segments, profile_table(table, segments, language=language)


def profile_table(table: pl.DataFrame, segments: Sequence[Segment], *, language: str = "en") -> pl.DataFrame:
    """Return the profile as it is published: with ids and names, by rank.

    Parameters
    ----------
    table
        Of :func:`engine.segments.profile.profile`, one row per cluster index.
    segments
        In the order of the cluster index.
    language
        Of the names: ``en`` or ``es``.

    Returns
    -------
    pl.DataFrame
        ``segment_id, name, customers, share_customers, monetary_mean, frequency_mean, units_mean,
        share_monetary, rank``, the means of the other measures, the medians of all, and
        ``<measure>_missing`` for measures that some customers have no value of. Columns of a measure that
        the customers lack are left out.
    """
    measures = measures_in(table)
    first = [name for name in ("monetary", "frequency", "units") if name in measures]
    others = [name for name in measures if name not in first]
    lacking = [name for name in measures if table[f"{name}_missing"].sum() > 0]
    names = [segment.name.text(language) for segment in segments]
    return (
        table.with_columns(
            pl.Series("segment_id", [segment.segment_id for segment in segments], dtype=pl.String),
            pl.Series("name", names, dtype=pl.String),
        )
        .select(
            "segment_id",
            "name",
            "customers",
            "share_customers",
            *(f"{name}_mean" for name in first),
            "share_monetary",
            "rank",
            *(f"{name}_mean" for name in others),
            *(f"{name}_median" for name in measures),
            *(f"{name}_missing" for name in lacking),
        )
        .sort("rank")
    )


def find_drivers(customers: pl.DataFrame, labels: NDArray[np.int32], table: pl.DataFrame) -> list[tuple[Driver, ...]]:
    """Return, for each cluster index, the measures on which it lies furthest from all customers.

    A measure counts where the segment's distance is at least 0.25 standard deviations, and the ratio of means
    says the same: a skewed measure may have a mean below and a logarithmic mean above the population's, and
    then no plain sentence about it would be true.

    Parameters
    ----------
    customers, labels
        As in :func:`describe`.
    table
        Their profile.
    """
    measures = measure_names(customers, measures_in(table))
    far = contrasts(customers, labels, table.height, measures=measures)
    overall = population(customers, measures=measures)["means"]
    signed = {name for name in measures if (lowest := customers[name].min()) is not None and lowest < 0}  # type: ignore[operator]
    found = []
    for row in table.iter_rows(named=True):
        drivers = []
        for name in measures:
            z, mean = far[name][row["cluster"]], row[f"{name}_mean"]
            if z is None or mean is None or abs(z) < CLEAR_DEVIATIONS:
                continue
            if name in signed:
                if (mean > overall[name]) == (z > 0):
                    drivers.append(Driver(name, None, z, "high" if z > 0 else "low"))
                continue
            if overall[name] <= 0:
                continue
            ratio = mean / overall[name]
            if z > 0 and ratio >= CLEAR_RATIO:
                drivers.append(Driver(name, ratio, z, "high"))
            elif z < 0 and ratio <= 1 / CLEAR_RATIO:
                drivers.append(Driver(name, ratio, z, "low"))
        drivers.sort(key=lambda driver: -abs(driver.z))
        found.append(tuple(drivers[:MOST_DRIVERS]))
    return found
