"""Products for customers: histories, the fitted model, names and segments together, in memory or in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.features.store import parse_as_of
from engine.neighbours.checks import check_seed
from engine.recommend.baskets import Baskets, baskets_of
from engine.recommend.by_code import RowsById, asked_ids, categories, excluded, listed, named, numbered, segment_number
from engine.recommend.next_basket import MOST_K, NextBasket
from engine.recommend.one_customer import OneByOne
from engine.recommend.reason_words import with_text
from engine.recommend.reasons import explained
from engine.recommend.repurchase import ONCE_BELOW

if TYPE_CHECKING:
    from engine.recommend.history import History

PART_CUSTOMERS = 100_000
"""Customers that are ranked and explained together: some hundred megabytes."""


@dataclass(frozen=True, repr=False, eq=False)
class CustomerRecommender:
    """What each customer may be offered next.

    Attributes
    ----------
    model
        Fitted on the histories.
    history
        What each customer bought.
    products
        By code: ``product_id``, ``name``, and what else is known of each.
    segments
        ``segment_id`` and, where known, ``name_en`` and ``name_es``, by segment number.
    segment_of
        Each customer's segment number, -1 where none.
    as_of
        Purchases before this moment are known; recommendations are for the day of it.
    excluded
        Which products are never offered and do not count as purchases, shape (m,).
    facts
        What else is to be kept with it, for JSON.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from engine.recommend.synthetic import habits
    >>> history = habits(customers=300, products=40, seed=0)
    >>> recommender = CustomerRecommender.fit(history, as_of=datetime(1971, 1, 1, tzinfo=UTC))
    >>> recommender
    <CustomerRecommender: 300 customers, 40 products, 0 segments, for 1971-01-01>
    >>> offers = recommender.recommend([7], k=3)
    >>> offers.columns[:7]
    ['customer_id', 'rank', 'product_id', 'product', 'score', 'reason', 'why']
    """

    model: NextBasket
    history: Baskets
    products: pl.DataFrame
    segments: pl.DataFrame
    segment_of: NDArray[np.int32]
    as_of: datetime
    excluded: NDArray[np.bool_]
    facts: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"<CustomerRecommender: {self.history.n:,} customers, {self.history.m:,} products, "
            f"{self.segments.height:,} segments, for {self.as_of:%Y-%m-%d}>"
        )

    @classmethod
    def fit(
        cls,
        history: Baskets | History,
        *,
        as_of: str | date | datetime | None = None,
        products: pl.DataFrame | None = None,
        name: str | None = None,
        category: str | None = None,
        repurchase: Mapping[str, bool] | None = None,
        once_below: float = ONCE_BELOW,
        exclude: Sequence[str] | None = None,
        assignments: pl.DataFrame | None = None,
        segments: pl.DataFrame | None = None,
        seed: int = 0,
    ) -> CustomerRecommender:
        """Learn from the histories of all customers.

        Parameters
        ----------
        history
            Of all customers: a folder's, or arrays.
        as_of
            Purchases before it are known, and there may be none after its day; without a zone it is UTC. By default
            that of the folder, or the midnight after the last basket.
        products
            ``product_id`` and what is known of each; by default what the folder has.
        name
            Its column with what a product is called; by default the first of
            :data:`engine.recommend.by_code.NAMES` that is there. Where there is none, ``product`` is the id.
        category
            Its column with the category: what is known of it helps where a product is rare, and ``repurchase`` speaks
            of it.
        repurchase
            What is known beforehand, by category: true, its products are bought again; false, who owns one is never
            offered it again.
        once_below
            See :data:`engine.recommend.repurchase.ONCE_BELOW`.
        exclude
            What is no merchandise, such as bags, coupons or fuel: ids of products, and categories where ``category``
            is given. It is never offered, and buying it does not count as a purchase: no reason speaks of it either.
        assignments
            ``customer_id`` and ``segment_id``; customers that it does not name have no segment.
        segments
            ``segment_id`` with ``name_en`` and ``name_es``.
        seed
            Of samples.

        Raises
        ------
        DataError, ColumnsMissingError, SettingError
            Tables that do not fit, no customer with two baskets, an unknown column or category.
        """
        own = baskets_of(history)
        if not isinstance(history, Baskets):
            as_of = as_of or history.as_of
            products = history.products if products is None else products
        for key, frame in (("products", products), ("assignments", assignments), ("segments", segments)):
            if frame is not None and not isinstance(frame, pl.DataFrame):
                raise SettingError(f"{key}: expected a Polars frame; got {type(frame).__name__}.")
        check_seed(seed)
        day = int(own.day.max()) + 1 if own.baskets else 0
        moment = parse_as_of(as_of, datetime.fromtimestamp((day - 1) * 86_400, UTC))
        last = datetime.fromtimestamp((day - 1) * 86_400, UTC)
        if own.baskets and last.date() > moment.date():
            raise DataError(
                f"as_of: expected no purchase after it; got {moment:%Y-%m-%d}, and the history goes on to "
                f"{last:%Y-%m-%d}. Build the history at that date, or cut it with history.before(day)."
            )
        table = named(own.products, products, name)
        numbers, told = categories(table, category, repurchase)
        never = excluded(table, category, exclude)
        own = own.without(never)
        known, of = numbered(own.customer_ids, assignments, segments)
        model = NextBasket(category=numbers, repurchase=told, once_below=once_below, seed=seed)
        model.fit(own, of if len(known) else None)
        return cls(model, own, table, known, of, moment, never)

    @property
    def day(self) -> int:
        """The day that is recommended for, days since 1970-01-01."""
        return int(self.as_of.timestamp() // 86_400)

    def rows_of(self, customer_ids: Sequence[Any] | pl.Series) -> NDArray[np.int64]:
        """Return the row of each customer in the history, -1 where nobody has the id."""
        ids = self.history.customer_ids
        asked = asked_ids(customer_ids, ids.dtype)
        known = pl.DataFrame({"id": ids, "row": np.arange(len(ids))})
        rows = asked.to_frame().join(known, on="id", how="left", maintain_order="left")["row"]
        found: NDArray[np.int64] = rows.fill_null(-1).to_numpy().astype(np.int64)
        return found

    def recommend(
        self,
        customer_ids: Sequence[Any] | pl.Series | None = None,
        k: int = 10,
        *,
        only: str | None = None,
        language: str = "en",
    ) -> pl.DataFrame:
        """Return the k best products of customers, each with its reason.

        Parameters
        ----------
        customer_ids
            Who; everybody by default.
        k
            How many products each, 1 to :data:`MOST_K`; fewer come where there are fewer.
        only
            ``"new"``: products that the customer has not bought so far; ``"bought"``: those bought before; by default
            both.
        language
            Of ``why``.

        Returns
        -------
        pl.DataFrame
            ``customer_id``, ``rank``, ``product_id``, ``product`` (its name), ``score``, ``reason``, ``why`` and the
            reason's figures, see :func:`engine.recommend.reasons.explained`.

        Raises
        ------
        DataError
            Somebody is not known.
        SettingError
            ``k``, ``only`` or ``language`` is none of those that there are.
        """
        return pl.concat(list(self.parts(customer_ids, k, only=only, language=language)))

    def parts(
        self,
        customer_ids: Sequence[Any] | pl.Series | None = None,
        k: int = 10,
        *,
        only: str | None = None,
        language: str = "en",
    ) -> Iterator[pl.DataFrame]:
        """Yield what :meth:`recommend` returns, some customers at a time."""
        rows = np.arange(self.history.n) if customer_ids is None else self.rows_of(customer_ids)
        missing = int((rows < 0).sum())
        if missing:
            first = list(() if customer_ids is None else customer_ids)[int((rows < 0).argmax())]
            raise DataError(
                f"customer_ids: {missing:,} of {len(rows):,} customers are not known here, such as {first!r}: they "
                f"bought nothing before {self.as_of:%Y-%m-%d}. Leave them out, or recommend by basket and segment."
            )
        # An empty table has its columns too.
        for begin in range(0, max(len(rows), 1), PART_CUSTOMERS):
            part = rows[begin : begin + PART_CUSTOMERS]
            yield self._explained(self.history.take(part), self.segment_of[part], k, only, language)

    def row_of(self, customer_id: Any) -> int | None:
        """Return the row of a customer in the history, ``None`` for nobody; ids are read as by :meth:`rows_of`."""
        return self._by_id.row(customer_id)

    def for_customer(
        self, customer_id: Any, *, k: int = 10, only: str | None = None, language: str = "en"
    ) -> list[dict[str, Any]]:
        """Return what :meth:`recommend` says of one customer as plain values, in a fraction of the time.

        Raises
        ------
        DataError
            Nobody has the id.
        SettingError
            As of :meth:`recommend`.
        """
        row = self.row_of(customer_id)
        if row is None:
            raise DataError(
                f"customer_id: {customer_id!r} is not known here: nothing was bought before {self.as_of:%Y-%m-%d}. "
                "Recommend by basket and segment."
            )
        return self.one_by_one.customer(row, _checked_k(k), only=only, language=language)

    def for_basket(
        self, product_ids: Sequence[Any], *, segment_id: Any = None, k: int = 10, language: str = "en"
    ) -> list[dict[str, Any]]:
        """Return what goes with a basket of somebody who is not known, by the segment and by what is in it so far.

        Parameters
        ----------
        product_ids
            What is in the basket, none too; products that are not known here are passed over. A whole number stands
            for its digits.
        segment_id
            The segment, where it is known; a number stands for its digits here too.
        k, language
            See :meth:`recommend`.

        Returns
        -------
        list of dict
            As of :meth:`for_customer`; nothing that is in the basket.

        Raises
        ------
        DataError
            None of the products is known; the segment is not.
        """
        if not listed(product_ids):
            raise DataError(f"basket: expected a list of product ids, such as [{product_ids!r}]; got {product_ids!r}.")
        one = self.one_by_one
        if len(product_ids) and all(one.code(product) is None for product in product_ids):
            example = "".join(self.products["product_id"].head(1).to_list())
            raise DataError(
                f"basket: none of the {len(product_ids)} products is known here. Give product ids such as {example}."
            )
        return one.basket(product_ids, _checked_k(k), segment=self._segment(segment_id), language=language)

    def customers_for(
        self,
        product_id: Any,
        *,
        segment_id: Any = None,
        most: int = 1_000,
        only: str | None = None,
        language: str = "en",
    ) -> pl.DataFrame:
        """Return who to offer a product to: the customers for whom it scores best, each with the reason.

        Parameters
        ----------
        product_id
            What is offered; a whole number stands for its digits.
        segment_id
            Only customers of this segment; by default of all.
        most
            How many customers; fewer come where there are fewer.
        only
            ``"new"``: customers who have not bought it so far; ``"bought"``: those who have; by default both.
        language
            Of ``why``.

        Returns
        -------
        pl.DataFrame
            ``customer_id``, ``score`` (the highest first), ``reason``, ``why`` and the reason's figures, as of
            :meth:`recommend`. Left out: owners of what is bought once, and customers for whom nothing speaks.

        Raises
        ------
        DataError
            Nobody bought the product, or it is excluded; the segment is not known.
        SettingError
            ``most``, ``only`` or ``language`` is none of those that there are.
        """
        from engine.recommend.for_product import customers_for

        segment = self._segment(segment_id)
        return customers_for(self, product_id, segment=segment, most=most, only=only, language=language)

    def _segment(self, segment_id: Any) -> int | None:
        return None if segment_id is None else segment_number(self.segments["segment_id"], segment_id)

    @cached_property
    def one_by_one(self) -> OneByOne:
        """Answers for one customer at a time; made at the first question."""
        return OneByOne(self)

    @cached_property
    def _by_id(self) -> RowsById:
        return RowsById(self.history.customer_ids)

    def ready(self) -> None:
        """Build what :meth:`for_customer` and :meth:`for_basket` look up, so that the first request need not wait."""
        self.for_basket([], k=1)
        _ = self._by_id

    def _explained(
        self, history: Baskets, numbers: NDArray[np.int32], k: int, only: str | None, language: str
    ) -> pl.DataFrame:
        segments = numbers if self.segments.height else None
        ranked = self.model.rank(
            history, _checked_k(k), day=self.day, segments=segments, only=only, excluded=self.excluded
        )
        table = explained(self.model, history, ranked, day=self.day, segments=segments)
        names = self.products.select("product_id", "name")
        table = with_text(table, names, language=language)
        table = table.join(names.rename({"name": "product"}), on="product_id", how="left", maintain_order="left")
        first = ["customer_id", "rank", "product_id", "product", "score", "reason", "why"]
        return table.select(*first, pl.exclude(first))

    def save(self, folder: str | Path) -> None:
        """Write everything to a folder, whole or not at all; it names persons. See :meth:`open`."""
        from engine.recommend.recommender_folder import save

        save(self, Path(folder))

    @classmethod
    def open(cls, folder: str | Path) -> CustomerRecommender:
        """Open a folder that :meth:`save` wrote; large arrays are mapped, not read.

        Raises
        ------
        SourceNotFoundError, BundleError
            There is none, or it is of another version or damaged.
        """
        from engine.recommend.recommender_folder import load

        return load(Path(folder))


def _checked_k(k: Any) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= MOST_K:
        raise SettingError(f"k: expected 1 to {MOST_K:,} products; got {k!r}.")
    return int(k)
