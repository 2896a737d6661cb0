"""The model as a reader sees it: looks of the segments, labels and units of the measures, figures as text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from engine.features.store import FEATURES
from engine.report.charts import ratio_to_average
from engine.report.html import driver_sentence
from engine.report.look import MONEY_MEASURES, Mark, Measure, tint
from engine.report.numbers import NumberFormat, decimals_for, known
from engine.segments.model import SegmentModel
from engine.segments.segment import Segment
from engine.serving.pages.words import PageWords

WHOLE = frozenset({"recency_days", "tenure_days", "frequency", "units", "distinct_products", "active_span_days"})
"""Measures that count: nobody has half a day or half an order."""

TABLE_FIRST = ("monetary", "frequency", "units")
"""Measures that lead a profile, as in the report."""


@dataclass(frozen=True)
class ModelView:
    """A model in one language.

    Attributes
    ----------
    model
        What is shown.
    say, to
        Texts and figures in the reader's language.
    """

    model: SegmentModel
    say: PageWords
    to: NumberFormat

    @cached_property
    def marks(self) -> list[Mark]:
        """How each segment looks, in the order of the clusters."""
        return [Mark.of(one.segment_id, one.rank, self.say.of(one.name)) for one in self.model.segments]

    @cached_property
    def ranked(self) -> list[int]:
        """Clusters by rank of their segments."""
        return sorted(range(self.model.k), key=lambda cluster: self.model.segments[cluster].rank)

    @cached_property
    def measures(self) -> dict[str, Measure]:
        """Everything that a segment has a mean of, in the order of a profile."""
        there = list(dict.fromkeys(name for segment in self.model.segments for name in segment.means))
        first = [name for name in TABLE_FIRST if name in there]
        return {name: self.measure(name) for name in [*first, *(name for name in there if name not in first)]}

    @cached_property
    def average(self) -> dict[str, float | None]:
        """Mean of all customers of the fit, by measure, from the segments' means."""
        return {name: self._average(name) for name in self.measures}

    @property
    def typical(self) -> list[dict[str, float]]:
        """Values at each centroid, in business units, in the order of the clusters."""
        values = self.model.spec.inverse(self.model.centroids)
        return [dict(zip(self.model.spec.names, row.tolist(), strict=True)) for row in values]

    @property
    def window(self) -> str:
        """The period that the model was fitted on."""
        days = self.model.window_days
        return self.say("window_whole") if days is None else self.say("window_days", days=self.to.whole(days))

    def measure(self, name: str) -> Measure:
        """Return a measure's words; one that is not ours is called by its name."""
        feature = FEATURES.get(name)
        if feature is None:
            return Measure(name, self.say.name(name), "", "")
        label, unit, definition = (self.say.of(word) for word in (feature.label, feature.unit, feature.definition))
        return Measure(name, label, unit, definition, feature.minimum < 0)

    def cluster_of(self, segment_id: str) -> int | None:
        """Return the index of a segment, if the model has it."""
        return next((i for i, one in enumerate(self.model.segments) if one.segment_id == segment_id), None)

    def figure(self, name: str, value: Any) -> str:
        """Write a value of a measure: money with two decimals, whole numbers whole, others by their size.

        Examples
        --------
        >>> view = ModelView(None, PageWords("es"), NumberFormat("es"))
        >>> view.figure("monetary", 1234.5), view.figure("frequency", 12.0), view.figure("frequency", 2.26)
        ('1.234,50', '12', '2,26')
        """
        if isinstance(value, bool) or not isinstance(value, int | float) or not known(value):
            return self.to.decimal(None)
        if name in MONEY_MEASURES:
            return self.to.decimal(value, 2)
        return self.to.decimal(value, 0 if float(value).is_integer() else decimals_for([float(value)]))

    def bars(self, cluster: int) -> list[tuple[str, str, str, str]]:
        """Return share, words, width in percent and colour of a segment's two bars."""
        segment, mark = self.model.segments[cluster], self.marks[cluster]
        both = (
            (segment.share_customers, self.say("of_customers"), tint(mark.colour)),
            (segment.share_monetary, self.say("of_revenue"), mark.colour),
        )
        return [
            (self.to.percent(share), word, f"{100 * min(1.0, max(0.0, share)):.2f}", colour)
            for share, word, colour in both
        ]

    def count(self, customers: int) -> str:
        """Write how many customers."""
        if customers == 1:
            return self.say("one_customer")
        return self.say("customers_count", n=self.to.whole(customers))

    def apart(self, segment: Segment) -> list[str]:
        """Say what sets a segment apart."""
        return [driver_sentence(one.to_dict(), self.measures, self.say, self.to) for one in segment.drivers]

    def profile(self, cluster: int) -> list[tuple[Measure, str, str, str, str]]:
        """Return a row for each measure: mean and median here, mean of all, and how many times that is."""
        segment = self.model.segments[cluster]
        rows = []
        for name, measure in self.measures.items():
            mean, median, everybody = segment.means.get(name), segment.medians.get(name), self.average[name]
            times = self.to.times(None if measure.signed else ratio_to_average(mean, everybody))
            here, middle, overall = (self._in_column(name, value) for value in (mean, median, everybody))
            rows.append((measure, here, middle, overall, times))
        return rows

    def definitions(self) -> list[tuple[str, str]]:
        """Return what each measure means."""
        return [(one.title, one.definition) for one in self.measures.values() if one.definition]

    def _average(self, name: str) -> float | None:
        pairs = [(one.means[name], one.customers) for one in self.model.segments if name in one.means]
        people = sum(count for _, count in pairs)
        return math.fsum(mean * count for mean, count in pairs) / people if people else None

    def _in_column(self, name: str, value: float | None) -> str:
        """Write a figure with as many decimals as all means of the measure deserve, so that rows can be compared."""
        means = [one.means[name] for one in self.model.segments if name in one.means]
        return self.to.decimal(value, 2 if name in MONEY_MEASURES else decimals_for(means))


def limits(model: SegmentModel, name: str) -> tuple[float, float]:
    """Return what the values of a model's variable lie between."""
    return model.spec.columns[model.spec.names.index(name)].limits


def example(model: SegmentModel, name: str) -> float:
    """Return a typical value of a variable, to two digits that matter: that of the middle of the scaled space."""
    column = model.spec.columns[model.spec.names.index(name)]
    return counted(name, rounded(float(column.backward(np.zeros(1))[0]), 2))


def counted(name: str, value: float) -> float:
    """Round a value of a measure that counts to a whole number.

    Examples
    --------
    >>> counted("recency_days", 8.4), counted("gap_days_median", 8.4)
    (8.0, 8.4)
    """
    return float(round(value)) if name in WHOLE else value


def rounded(value: float, digits: int) -> float:
    """Round a value to what a person would type: so many digits that matter, and whole from 10 on.

    Examples
    --------
    >>> rounded(1861.52, 2), rounded(11.69, 3), rounded(0.2345, 2), rounded(float("inf"), 2)
    (1900.0, 12.0, 0.23, 0.0)
    """
    if not math.isfinite(value):
        return 0.0
    short = float(f"{value:.{digits}g}")
    return float(round(short)) if abs(short) >= 10 else short
