"""The model: how a customer is seen, where the centroids lie, and who the segments are. It holds no person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.clustering.nearest import TwoNearest, two_nearest, two_nearest_of_one
from engine.errors import DataError
from engine.features.matrix import FeatureSpec
from engine.schema import check_language, require_columns
from engine.segments.novelty import FittedDistances
from engine.segments.segment import Segment


@dataclass(frozen=True, slots=True)
class Classification:
    """One customer's segment.

    Attributes
    ----------
    segment
        The nearest segment.
    distance
        Euclidean distance to its centroid in the scaled space.
    margin
        ``1 - distance / distance to the second segment``: 0 on the border, 1 on the centroid; ``None`` where the model
        has one segment.
    second
        The second nearest segment, if there is one.
    window_days
        Period that the given values refer to; ``None`` is the whole history.
    distance_percentile
        Share of the segment's customers at fit that lie nearer to its centroid, 0 to 1.
    novel
        Whether the customer is unlike those of the fit: farther than all but one in a thousand of the segment.
    neighbour_agreement
        Share of the nearest known customers that belong to the same segment, 0 to 1; ``None`` where no customers are
        at hand.
    """

    segment: Segment
    distance: float
    margin: float | None
    second: Segment | None
    window_days: int | None
    distance_percentile: float
    novel: bool
    neighbour_agreement: float | None = None

    @property
    def segment_id(self) -> str:
        """Stable id of the nearest segment."""
        return self.segment.segment_id

    @property
    def second_segment_id(self) -> str | None:
        """Stable id of the second nearest segment."""
        return None if self.second is None else self.second.segment_id

    def to_dict(self, language: str = "en") -> dict[str, Any]:
        """Return what a caller needs, in one language."""
        return {
            "segment_id": self.segment_id,
            "name": self.segment.name.text(language),
            "distance": self.distance,
            "margin": self.margin,
            "second_segment_id": self.second_segment_id,
            "second_name": None if self.second is None else self.second.name.text(language),
            "action": self.segment.action.text(language),
            "window_days": self.window_days,
            "distance_percentile": self.distance_percentile,
            "novel": self.novel,
            "neighbour_agreement": self.neighbour_agreement,
        }


@dataclass(frozen=True, slots=True)
class SegmentModel:
    """A fitted segmentation without its customers.

    Attributes
    ----------
    spec
        From business values to the scaled space.
    centroids
        Shape (k, d), float64, in the scaled space.
    segments
        One for each centroid, in the same order.
    distances
        How far the customers of the fit lie from the centroids of their segments.
    facts
        What the model was fitted on: ``as_of``, ``window_days``, ``customers``, ``inertia`` and the like; plain JSON.

    Raises
    ------
    DataError
        Centroids, segments and distances are not of one shape.
    """

    spec: FeatureSpec
    centroids: NDArray[np.float64]
    segments: tuple[Segment, ...]
    distances: FittedDistances
    facts: Mapping[str, Any]
    _window_days: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        k, shape = len(self.segments), self.centroids.shape
        if not k or shape != (k, self.spec.d) or self.distances.k != k or not np.isfinite(self.centroids).all():
            raise DataError(
                f"expected finite centroids of shape ({k}, {self.spec.d}), one for each segment, and the fitted "
                f"distances of each; got shape {shape} and distances of {self.distances.k}."
            )
        days = self.facts.get("window_days")
        object.__setattr__(self, "_window_days", None if days is None else int(days))

    def __repr__(self) -> str:
        """Return one line."""
        return f"<SegmentModel: {self.k} segments on {', '.join(self.spec.names)}>"

    @property
    def k(self) -> int:
        """Number of segments."""
        return len(self.segments)

    @property
    def window_days(self) -> int | None:
        """Period in days that the model's feature values refer to."""
        return self._window_days

    def nearest(self, customers: pl.DataFrame) -> TwoNearest:
        """Return the two nearest clusters of each customer, as indices into ``segments``."""
        return two_nearest(self.spec.transform(customers), self.centroids)

    def assign(self, customers: pl.DataFrame, *, language: str = "en") -> pl.DataFrame:
        """Return each customer's segment, sorted by ``customer_id``.

        Parameters
        ----------
        customers
            ``customer_id`` and the model's columns, in business units.
        language
            Of the segment names: ``en`` or ``es``.

        Returns
        -------
        pl.DataFrame
            ``customer_id, segment_id, name, distance, margin, second_segment_id, novel``.
        """
        if not isinstance(customers, pl.DataFrame):
            raise DataError(f"customers: expected a Polars DataFrame; got {type(customers).__name__}.")
        require_columns(customers.columns, ["customer_id", *self.spec.names], where="customers")
        return self.table(customers["customer_id"], self.nearest(customers), language=language)

    def table(self, customer_id: pl.Series, near: TwoNearest, *, language: str = "en") -> pl.DataFrame:
        """Return assignments that :meth:`nearest` has worked out already."""
        check_language(language)
        ids = pl.Series([segment.segment_id for segment in self.segments], dtype=pl.String)
        names = pl.Series([segment.name.text(language) for segment in self.segments], dtype=pl.String)
        second = pl.Series(near.second).replace(-1, None)
        return pl.DataFrame(
            {
                "customer_id": customer_id,
                "segment_id": ids.gather(near.first),
                "name": names.gather(near.first),
                "distance": near.first_distance,
                "margin": pl.Series(near.margin if self.k > 1 else [None] * len(near.first), dtype=pl.Float64),
                "second_segment_id": ids.gather(second),
                "novel": self.distances.novel(near.first, near.first_distance),
            }
        ).sort("customer_id", maintain_order=True)

    def classify(self, customer: Mapping[str, Any], *, impute: bool = False) -> Classification:
        """Return the segment of one customer given by the model's variables.

        It takes microseconds and says, to the last bit, what :meth:`assign` says of the customer in a table.

        Parameters
        ----------
        customer
            A business value for each of ``spec.names``, for the model's period.
        impute
            Whether values may be missing and are filled as at fit.

        Raises
        ------
        DataError
            A value is missing, unknown, no number or impossible.
        """
        # Asked of what is no dict only: this is the way of single microseconds.
        if type(customer) is not dict and not isinstance(customer, Mapping):
            raise DataError(f"expected a mapping of values by variable; got {type(customer).__name__}.")
        row = self.spec.coordinates(customer, impute=impute)
        first, second, distance, after = two_nearest_of_one(row, self.centroids)
        percentile, novel = self.distances.of_one(first, distance)
        alone = second < 0
        return Classification(
            segment=self.segments[first],
            distance=distance,
            # Two centroids on one point leave nothing to choose by.
            margin=None if alone else 1.0 - distance / after if after > 0 else 0.0,
            second=None if alone else self.segments[second],
            window_days=self._window_days,
            distance_percentile=percentile,
            novel=novel,
        )
