"""What is offered to customers and in segments: a recommender's folder as a server holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from engine.customer_rows import SortedIds
from engine.errors import BundleError
from engine.recommend.one_customer import FIGURES, Offer

if TYPE_CHECKING:
    from datetime import datetime

    from engine.recommend.recommender import CustomerRecommender

TABLES: Mapping[str, tuple[str, ...]] = {
    "cross_sell": ("product_x", "product_x2", "product_y"),
    "next_products": ("product",),
    "up_sell": ("product_x", "product_y"),
}
"""Tables by segment that `cartera recommend` leaves beside the recommender, and their columns with products."""

Rows = list[dict[str, Any]]


class Offers:
    """A recommender and the tables beside it, ready for one question at a time.

    Parameters
    ----------
    recommender
        Opened.
    tables
        By the names of :data:`TABLES`, those that there are; each with ``segment_id``.

    Attributes
    ----------
    customers
        How many have a history.
    as_of
        Purchases before it are known.
    segment_ids
        Of the segments that it was fitted with; empty where it was fitted without.
    tried_from
        The day (ISO) from which it was counted what is tried next, and over how many days, where the run has left it.
    example
        Two products that many have, to show what a basket is.
    """

    def __init__(self, recommender: CustomerRecommender, tables: Mapping[str, pl.DataFrame]) -> None:
        self._one = recommender.one_by_one
        ids = self._customer_ids = recommender.history.customer_ids
        # They lie bucket by bucket.
        self._order = ids.arg_sort().to_numpy()
        self._ids = SortedIds(ids.gather(self._order))
        self.customers = len(ids)
        self.as_of: datetime = recommender.as_of
        self.segment_ids: list[str] = recommender.segments["segment_id"].to_list()
        self.example = tuple(recommender.products["product_id"].head(2).to_list())
        facts = recommender.facts
        begins, days = facts.get("next_products_from"), facts.get("next_products_days")
        self.tried_from: tuple[str, int] | None = None if begins is None or days is None else (begins, days)
        self._why_nothing: dict[str, dict[str, dict[str, str]]] = facts.get("why_nothing", {})
        self._tables = {name: self._by_segment(name, table) for name, table in tables.items()}
        # The first call loads, or compiles, the machine code: here nobody waits for it.
        self._one.basket([], 1)

    @classmethod
    def open(cls, folder: Path | str) -> Offers:
        """Open the folder ``recommender`` of a run of `cartera recommend`.

        Raises
        ------
        SourceNotFoundError, BundleError
            There is none, or it is damaged or of another version.
        """
        from engine.recommend.recommender import CustomerRecommender

        path = Path(folder)
        recommender = CustomerRecommender.open(path)
        try:
            tables = {
                name: pl.read_parquet(path / f"{name}.parquet")
                for name in TABLES
                if (path / f"{name}.parquet").is_file()
            }
            return cls(recommender, tables)
        except (pl.exceptions.PolarsError, OSError, KeyError) as error:
            raise BundleError(
                f"recommender={path}: its tables cannot be read ({error}). Write it anew with `cartera recommend`."
            ) from error

    def row(self, customer_id: int | str) -> int | None:
        """Return a customer's row, ``None`` where nobody of this id has a history.

        Where ids are numbers, the text of one will do (``"42"``); where they are text, a number stands for its digits.
        """
        place = self._ids.row(customer_id)
        return None if place is None else int(self._order[place])

    def customer_id(self, row: int) -> int | str:
        """Return the id of a customer, as the history has it."""
        return self._customer_ids[row]  # type: ignore[no-any-return]

    def of_customer(self, row: int, k: int, language: str, *, only: str | None = None) -> list[Offer]:
        """Return a customer's k best products; see :meth:`engine.recommend.one_customer.OneByOne.customer`.

        ``only``: ``"new"`` for products that the customer has not bought so far, ``"bought"`` for the others.
        """
        return [nested(offer) for offer in self._one.customer(row, k, only=only, language=language)]

    def of_basket(
        self, product_ids: Sequence[str], segment_id: str | None, k: int, language: str
    ) -> tuple[list[Offer], list[str]]:
        """Return what goes with a basket, and which of its products are not known.

        Parameters
        ----------
        product_ids
            In the basket; it may be empty.
        segment_id
            Where it is known; one that the recommender does not know counts as none.
        """
        number = self.segment_ids.index(segment_id) if segment_id in self.segment_ids else None
        unknown = [product for product in dict.fromkeys(product_ids) if self._one.code(product) is None]
        offers = self._one.basket(product_ids, k, segment=number, language=language)
        return [nested(offer) for offer in offers], unknown

    def table(self, name: str, segment_id: str) -> Rows | None:
        """Return the rows of a table for one segment, the best first; ``None`` where there is no such table.

        Where the table has ``product_x``, a row has ``product_x`` (its id) and ``product_x_name``.
        """
        of = self._tables.get(name)
        return None if of is None else of.get(segment_id, [])

    def why_nothing(self, segment_id: str, language: str) -> dict[str, str]:
        """Return why tables have nothing for a segment, by the table's name, as far as the run has said so."""
        return {name: words[segment_id][language] for name, words in self._why_nothing.items() if segment_id in words}

    def _by_segment(self, name: str, table: pl.DataFrame) -> dict[str, Rows]:
        found: dict[str, Rows] = {}
        for row in table.iter_rows(named=True):
            for column in TABLES[name]:
                row[f"{column}_name"] = None if row[column] is None else self._one.name(row[column])
            found.setdefault(row["segment_id"], []).append(row)
        return found


def nested(offer: Offer) -> Offer:
    """Return an offer with the figures of its reason together.

    Examples
    --------
    >>> figures = dict.fromkeys(FIGURES, 1)
    >>> list(nested({"rank": 1, "product_id": "tea", **figures}))
    ['rank', 'product_id', 'figures']
    """
    return {name: value for name, value in offer.items() if name not in FIGURES} | {
        "figures": {name: offer[name] for name in FIGURES}
    }
