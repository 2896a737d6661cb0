"""Products for customers: histories, the fitted model, names and segments together, in memory or in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.recommend.baskets import Baskets
from engine.recommend.next_basket import NextBasket
from engine.recommend.one_customer import OneByOne
from engine.recommend.reason_words import with_text
from engine.recommend.reasons import explained
from engine.recommend.repurchase import ONCE_BELOW
from engine.schema import require_columns

if TYPE_CHECKING:
    from engine.recommend.history import History

NAMES = ("name", "description", "product_name")
"""Columns of a table of products that can hold what a product is called, the first that is there."""

PART_CUSTOMERS = 100_000
"""Customers that are ranked and explained together: some hundred megabytes."""

MOST_K = 1_000
"""Products that may be asked for at once."""


@dataclass(frozen=True)
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

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from engine.recommend.synthetic import habits
    >>> history = habits(customers=300, products=40, seed=0)
    >>> recommender = CustomerRecommender.fit(history, as_of=datetime(1971, 1, 1, tzinfo=UTC))
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
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        history: Baskets | History,
        *,
        as_of: datetime | None = None,
        products: pl.DataFrame | None = None,
        name: str | None = None,
        category: str | None = None,
        repurchase: Mapping[str, bool] | None = None,
        once_below: float = ONCE_BELOW,
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
            Its column with what a product is called; by default the first of :data:`NAMES` that is there, else the id.
        category
            Its column with the category: what is known of it helps where a product is rare, and ``repurchase`` speaks
            of it.
        repurchase
            What is known beforehand, by category: true, its products are bought again; false, who owns one is never
            offered it again.
        once_below
            See :data:`engine.recommend.repurchase.ONCE_BELOW`.
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
        own = history if isinstance(history, Baskets) else history.baskets()
        if not isinstance(history, Baskets):
            as_of = as_of or history.as_of
            products = history.products if products is None else products
        if as_of is not None:
            as_of = as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of
            last = datetime.fromtimestamp(int(own.day.max(initial=0)) * 86_400, UTC)
            if own.baskets and last.date() > as_of.date():
                raise DataError(
                    f"as_of: expected no purchase after it; got {as_of:%Y-%m-%d}, and the history goes on to "
                    f"{last:%Y-%m-%d}. Build the history at that date, or cut it with history.before(day)."
                )
        table = _named(own.products, products, name)
        numbers, told = _categories(table, category, repurchase)
        known, of = _numbered(own.customer_ids, assignments, segments)
        model = NextBasket(category=numbers, repurchase=told, once_below=once_below, seed=seed)
        model.fit(own, of if len(known) else None)
        day = int(own.day.max()) + 1 if own.baskets else 0
        return cls(model, own, table, known, of, as_of or datetime.fromtimestamp(day * 86_400, UTC))

    @property
    def day(self) -> int:
        """The day that is recommended for, days since 1970-01-01."""
        return int(self.as_of.timestamp() // 86_400)

    def rows_of(self, customer_ids: Sequence[Any] | pl.Series) -> NDArray[np.int64]:
        """Return the row of each customer in the history, -1 where nobody has the id."""
        ids = self.history.customer_ids
        asked = as_ids(pl.Series("id", customer_ids), ids.dtype)
        known = pl.DataFrame({"id": ids, "row": np.arange(len(ids))})
        rows = asked.to_frame().join(known, on="id", how="left", maintain_order="left")["row"]
        found: NDArray[np.int64] = rows.fill_null(-1).to_numpy().astype(np.int64)
        return found

    def recommend(
        self, customer_ids: Sequence[Any] | pl.Series | None = None, k: int = 10, *, language: str = "en"
    ) -> pl.DataFrame:
        """Return the k best products of customers, each with its reason.

        Parameters
        ----------
        customer_ids
            Who; everybody by default.
        k
            How many products each, 1 to :data:`MOST_K`; fewer come where there are fewer.
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
        """
        parts = list(self.parts(customer_ids, k, language=language))
        return pl.concat(parts)

    def parts(
        self, customer_ids: Sequence[Any] | pl.Series | None = None, k: int = 10, *, language: str = "en"
    ) -> Iterator[pl.DataFrame]:
        """Yield what :meth:`recommend` returns, some customers at a time."""
        rows = np.arange(self.history.n) if customer_ids is None else self.rows_of(customer_ids)
        missing = int((rows < 0).sum())
        if missing:
            raise DataError(
                f"{missing:,} of {len(rows):,} customers are not known here: they bought nothing before "
                f"{self.as_of:%Y-%m-%d}. Leave them out, or recommend by basket and segment."
            )
        # An empty table has its columns too.
        for begin in range(0, max(len(rows), 1), PART_CUSTOMERS):
            part = rows[begin : begin + PART_CUSTOMERS]
            yield self._explained(self.history.take(part), self.segment_of[part], k, language)

    def row_of(self, customer_id: Any) -> int | None:
        """Return the row of a customer in the history, ``None`` where nobody has the id."""
        ids, order = self._by_id
        if isinstance(customer_id, bool) or not isinstance(customer_id, str if ids.dtype.kind == "S" else Integral):
            return None
        # A surrogate, or an end that such arrays cut off, is nobody's id.
        key = customer_id.encode("utf-8", "replace") if isinstance(customer_id, str) else int(customer_id)
        if isinstance(key, int) and not -(2**63) <= key < 2**63:
            return None
        place = int(np.searchsorted(ids, key))
        row = int(order[min(place, len(ids) - 1)]) if len(ids) else -1
        return row if row >= 0 and self.history.customer_ids[row] == customer_id else None

    def for_customer(self, customer_id: Any, *, k: int = 10, language: str = "en") -> list[dict[str, Any]]:
        """Return what :meth:`recommend` says of one customer as plain values, in a fraction of the time.

        Raises
        ------
        DataError
            Nobody has the id.
        """
        row = self.row_of(customer_id)
        if row is None:
            raise DataError("customer: not known here. Recommend by basket and segment.")
        return self.one_by_one.customer(row, _checked_k(k), language=language)

    def for_basket(
        self, product_ids: Sequence[str], *, segment_id: str | None = None, k: int = 10, language: str = "en"
    ) -> list[dict[str, Any]]:
        """Return what goes with a basket of somebody who is not known, by the segment and by what is in it so far.

        Parameters
        ----------
        product_ids
            What is in the basket, none too; products that are not known here are passed over.
        segment_id
            The segment, where it is known.
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
        one = self.one_by_one
        if product_ids and all(one.code(product) is None for product in product_ids):
            example = "".join(self.products["product_id"].head(1).to_list())
            raise DataError(
                f"basket: none of the {len(product_ids)} products is known here. Give product ids such as {example}."
            )
        known = self.segments["segment_id"].to_list()
        if segment_id is not None and segment_id not in known:
            there = ", ".join(known) or "none: the recommender was fitted without segments"
            raise DataError(f"segment_id: expected one of {there}; got {segment_id!r}.")
        number = None if segment_id is None else known.index(segment_id)
        return one.basket(product_ids, _checked_k(k), segment=number, language=language)

    @cached_property
    def one_by_one(self) -> OneByOne:
        """Answers for one customer at a time; made at the first question."""
        return OneByOne(self)

    @cached_property
    def _by_id(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Ids in ascending order, text as UTF-8, and the row of each."""
        ids = self.history.customer_ids
        array = np.array([one.encode() for one in ids]) if ids.dtype == pl.String else ids.to_numpy()
        order = np.argsort(array, kind="stable")
        return array[order], order

    def ready(self) -> None:
        """Build what :meth:`for_customer` and :meth:`for_basket` look up, so that the first request need not wait."""
        self.for_basket([], k=1)
        _ = self._by_id

    def _explained(self, history: Baskets, numbers: NDArray[np.int32], k: int, language: str) -> pl.DataFrame:
        segments = numbers if self.segments.height else None
        ranked = self.model.rank(history, _checked_k(k), day=self.day, segments=segments)
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


def as_ids(asked: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return ids in the type of the history's; null where one cannot be one of them (7.9, or a truth value).

    Examples
    --------
    >>> as_ids(pl.Series([7.0, 7.9]), pl.Int64()).to_list()
    [7, None]
    """
    if asked.dtype == dtype:
        return asked
    if asked.dtype == pl.Boolean:
        return pl.Series(asked.name, [None] * len(asked), dtype=dtype)
    if asked.dtype.is_float() and dtype.is_integer():
        asked = (
            asked.to_frame()
            .select(pl.when(pl.col(asked.name) == pl.col(asked.name).floor()).then(asked.name))
            .to_series()
        )
    return asked.cast(dtype, strict=False)


def _checked_k(k: int) -> int:
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= 2 * MOST_K:
        raise SettingError(f"k: expected 1 to {MOST_K:,} products; got {k!r}.")
    return k


def _named(codes: pl.Series, products: pl.DataFrame | None, name: str | None) -> pl.DataFrame:
    """Return a row for each product by code, with its name: by default its id."""
    table = codes.rename("product_id").to_frame()
    if products is None:
        if name is not None:
            raise SettingError(f"name: there is no table of products that could have a column {name!r}.")
        return table.with_columns(pl.col("product_id").alias("name"))
    require_columns(products.columns, ["product_id", *([name] if name else [])], where="the table of products")
    chosen = name or next((column for column in NAMES if column in products.columns), "product_id")
    called = pl.col(chosen).cast(pl.String)
    text = pl.when(called.str.strip_chars() != "").then(called).otherwise("product_id").alias("name")
    known = products.with_columns(pl.col("product_id").cast(pl.String)).with_columns(text)
    joined = table.join(known, on="product_id", how="left", maintain_order="left", validate="m:1")
    return joined.with_columns(pl.coalesce("name", "product_id").alias("name"))


def _categories(
    products: pl.DataFrame, category: str | None, repurchase: Mapping[str, bool] | None
) -> tuple[NDArray[np.int32] | None, NDArray[np.int8] | None]:
    """Return the number of each product's category, and what is known of its being bought again."""
    if category is None:
        if repurchase:
            raise SettingError("repurchase: it speaks of categories; say which column holds them with category=COLUMN.")
        return None, None
    require_columns(products.columns, [category], where="the table of products")
    values = products[category].cast(pl.String)
    names = values.unique().drop_nulls().sort()
    numbers = values.replace_strict(names, np.arange(len(names), dtype=np.int32), default=-1, return_dtype=pl.Int32)
    told = np.full(products.height, -1, dtype=np.int8)
    for value, again in (repurchase or {}).items():
        which = (values == value).fill_null(False).to_numpy()
        if not which.any():
            near = ", ".join(names.head(10).to_list())
            raise SettingError(
                f"repurchase: no product has {category}={value!r}. There are {near}{' …' * (len(names) > 10)}."
            )
        told[which] = int(again)
    return numbers.fill_null(-1).to_numpy(), told if repurchase else None


def _numbered(
    ids: pl.Series, assignments: pl.DataFrame | None, segments: pl.DataFrame | None
) -> tuple[pl.DataFrame, NDArray[np.int32]]:
    """Return the segments and each customer's number among them."""
    if assignments is None:
        empty = pl.DataFrame(schema={"segment_id": pl.String, "name_en": pl.String, "name_es": pl.String})
        return empty, np.full(len(ids), -1, dtype=np.int32)
    require_columns(assignments.columns, ["customer_id", "segment_id"], where="assignments")
    given = assignments.select(
        as_ids(assignments["customer_id"], ids.dtype).alias("customer_id"), pl.col("segment_id").cast(pl.String)
    ).drop_nulls("customer_id")
    if given["customer_id"].n_unique() < given.height:
        raise DataError("assignments: expected each customer once; some come twice.")
    known = given["segment_id"].unique().drop_nulls().sort().to_frame()
    if segments is not None:
        require_columns(segments.columns, ["segment_id", "name_en", "name_es"], where="segments")
        named = segments.select(pl.col("segment_id").cast(pl.String), "name_en", "name_es")
        known = known.join(named, on="segment_id", how="left", maintain_order="left", validate="m:1")
    else:
        known = known.with_columns(pl.col("segment_id").alias("name_en"), pl.col("segment_id").alias("name_es"))
    found = ids.rename("customer_id").to_frame().join(given, on="customer_id", how="left", maintain_order="left")
    numbers = found.join(known.with_row_index("number"), on="segment_id", how="left", maintain_order="left")["number"]
    if len(ids) and numbers.null_count() == len(ids):
        raise DataError(
            "assignments: none of its customers bought anything here. Take the assignments of the same lake, or check "
            "that the ids are written the same way."
        )
    return known, numbers.cast(pl.Int32).fill_null(-1).to_numpy()
