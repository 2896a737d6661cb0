"""One division of customers into segments, as a run left it, and what makes two of them hard to compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from engine.errors import DataError
from engine.features.store import FEATURES
from engine.schema import LANGUAGES, Word, require_columns
from engine.segments.segment import Segment

SHARES = ("customers", "share_customers", "share_monetary")
"""Figures of a profile that are no means."""


@dataclass(frozen=True, slots=True)
class Division:
    """Customers divided into segments, as one run left them.

    Attributes
    ----------
    profile
        As ``profile.csv``: ``segment_id``, ``customers``, shares and ``<measure>_mean`` of each segment.
    assignments
        ``customer_id`` and ``segment_id``; every customer once.
    segments
        The segments of the model, in any order.
    name
        What the run is called.
    features
        What its customers were compared on.
    facts
        Of the run: ``as_of``, ``window_days``, ``where`` and the like; plain JSON.
    """

    profile: pl.DataFrame
    assignments: pl.DataFrame
    segments: tuple[Segment, ...]
    name: str = ""
    features: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ranked(self) -> list[Segment]:
        """Segments by rank, the highest mean billing first."""
        return sorted(self.segments, key=lambda segment: segment.rank)

    @property
    def measures(self) -> list[str]:
        """Measures that the profile has a mean of."""
        return [column.removesuffix("_mean") for column in self.profile.columns if column.endswith("_mean")]

    def check(self, where: str) -> None:
        """Raise :class:`DataError` unless profile, assignments and segments speak of the same customers."""
        require_columns(self.assignments.columns, ["customer_id", "segment_id"], where=f"{where}, assignments")
        require_columns(self.profile.columns, ["segment_id", *SHARES], where=f"{where}, profile")
        ids = self.assignments["customer_id"]
        if not ids.len():
            raise DataError(f"{where}: no customer in its assignments. Expected one row for each customer.")
        if ids.null_count():
            raise DataError(f"{where}: customer_id is missing in {ids.null_count()} of {ids.len()} rows.")
        if repeated := ids.len() - ids.n_unique():
            raise DataError(f"{where}: {repeated} rows repeat a customer_id. Expected one row for each customer.")
        carded = {segment.segment_id: segment.customers for segment in self.segments}
        counted = dict(self.assignments.group_by("segment_id").len().iter_rows())
        profiled = dict(self.profile.select("segment_id", "customers").iter_rows())
        if not carded == counted == profiled or self.profile.height != len(self.segments):
            raise DataError(
                f"{where}: expected assignments, profile and segments of one run; they differ in their segments or in "
                "how many customers each has. Point at the folder as `cartera segment` wrote it."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the persons and the profile, fit for JSON; segments by rank."""
        return {
            "name": self.name,
            "customers": self.assignments.height,
            "features": list(self.features),
            "facts": dict(self.facts),
            "segments": [
                {
                    "segment_id": segment.segment_id,
                    "rank": segment.rank,
                    "name": segment.name.to_dict(),
                    "customers": segment.customers,
                }
                for segment in self.ranked
            ],
        }


def caveats(before: Division, after: Division, common: int) -> Iterator[Word]:
    """Yield what makes two divisions hard to compare.

    Parameters
    ----------
    before, after
        The two divisions.
    common
        Customers in both.
    """
    if not common:
        yield Word(
            "The two runs have no customer in common, so nobody can have stayed or moved. Only the profiles can be "
            "compared. Check that both write the customer ids in the same way.",
            "Las dos ejecuciones no tienen ningún cliente en común, así que nadie puede haberse quedado ni haber "
            "cambiado. Solo se pueden comparar los perfiles. Conviene comprobar que ambas escriben igual los "
            "identificadores de cliente.",
        )
    only = [
        [name for name in one.features if name not in other.features]
        for one, other in ((before, after), (after, before))
    ]
    if any(only):
        first, second = ([_list(names, language) for names in only] for language in LANGUAGES)
        yield Word(
            f"The runs compare customers on different measures (only before: {first[0]}; only after: {first[1]}), so "
            "part of the movement may come from there and not from the customers.",
            f"Las ejecuciones comparan a los clientes con medidas distintas (solo antes: {second[0]}; solo después: "
            f"{second[1]}), así que parte del movimiento puede venir de ahí y no de los clientes.",
        )
    if before.facts.get("window_days") != after.facts.get("window_days"):
        yield Word(
            "The runs look at periods of different length, so totals per customer cannot be compared one to one.",
            "Las ejecuciones miran periodos de distinta duración, así que los totales por cliente no se pueden "
            "comparar sin más.",
        )
    if before.facts.get("where") != after.facts.get("where"):
        yield Word(
            "The runs filter customers in different ways: some of those who are new or no longer there are so because "
            "of the filter.",
            "Las ejecuciones filtran a los clientes de forma distinta: parte de los que no estaban antes o ya no están "
            "se debe al filtro.",
        )
    dates = [division.facts.get("as_of") for division in (before, after)]
    if all(dates) and str(dates[0]) > str(dates[1]):
        yield Word(
            f"The run given as the earlier one looks at a later date ({dates[0]}) than the other ({dates[1]}). "
            "Perhaps they are the wrong way round.",
            f"La ejecución indicada como anterior mira una fecha posterior ({dates[0]}) a la de la otra ({dates[1]}). "
            "Puede que estén al revés.",
        )


def _list(names: Sequence[str], language: str) -> str:
    labels = [FEATURES[name].label.text(language).lower() if name in FEATURES else name for name in names]
    return ", ".join(labels) or Word("none", "ninguna").text(language)
