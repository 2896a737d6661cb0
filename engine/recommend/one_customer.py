"""One customer at a time: what a recommender says in batches, in less than a millisecond and without a frame."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import DataError, SettingError
from engine.recommend import alike
from engine.recommend.by_code import product_key
from engine.recommend.next_basket import ONLY
from engine.recommend.reason_words import sentence
from engine.recommend.reasons import REASONS, reasons_of
from engine.schema import check_language

if TYPE_CHECKING:
    from engine.recommend.kernels import Purchases
    from engine.recommend.recommender import CustomerRecommender

Offer = dict[str, Any]
"""A row of :meth:`engine.recommend.recommender.CustomerRecommender.recommend` without the customer: ``rank``,
``product_id``, ``product``, ``score``, ``reason``, ``why`` and :data:`FIGURES`."""

FIGURES = ("times_bought", "days_since_bought", "interval_days", "nearest", "nearest_of", "with_product", "lift")
"""Of a reason; see :func:`engine.recommend.reasons.explained`."""


class OneByOne:
    """Answers for one customer, or one basket, at a time.

    All that does not depend on the customer is prepared once. Calls from several threads wait for one another.

    Parameters
    ----------
    recommender
        Fitted or opened.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from engine.recommend.recommender import CustomerRecommender
    >>> from engine.recommend.synthetic import habits
    >>> history = habits(customers=300, products=40, seed=0)
    >>> one = OneByOne(CustomerRecommender.fit(history, as_of=datetime(1971, 1, 1, tzinfo=UTC)))
    >>> [offer["rank"] for offer in one.customer(7, 3)], len(one.basket(["p0000"], 2))
    ([1, 2, 3], 2)
    """

    def __init__(self, recommender: CustomerRecommender) -> None:
        from engine.recommend.kernels import WIDTH, Market, Purchases, scratch
        from engine.recommend.next_basket import MOST_K, ROOM, SIZES, wanted_kinds

        self.recommender = recommender
        known, blend, history = recommender.model.knowledge, recommender.model.blend, recommender.history
        self._day = recommender.day
        self._myself = alike.rows_among(history.customer_ids, known.references)
        self._names: list[str] = recommender.products["name"].to_list()
        self._product_ids: list[str] = recommender.products["product_id"].to_list()
        self._codes = {product: code for code, product in enumerate(self._product_ids)}
        self._purchases = _fixed(Purchases(history.basket_start, history.day, history.item_start, history.item))
        markets = known.popularity.market(np.array([self._day]))
        market = Market(markets.fresh[0], markets.recent[0], markets.ever, markets.popular[0])
        tables = (known.along, known.following, known.people, market, known.groups, known.repurchase.habits)
        self._tables = tuple(_fixed(one) for one in tables)
        self._sizes, self._weights = np.array(SIZES), blend.kernel_weights()
        # An array of its own: what is mapped from a file may be another type to the machine code.
        never = np.array(recommender.excluded)
        self._wanted = {only: wanted_kinds(only, never, known.buyers, least=0) for only in (None, *ONLY)}
        self._nobody = len(known.groups.lift) - 1
        room = ROOM + MOST_K
        signals = np.zeros((room, WIDTH), np.float32)
        self._space = np.empty(room, np.int32), signals, np.empty((WIDTH, room), np.float32), np.empty(room, np.float32)
        self._scratch = scratch(history.m, len(known.people.start) - 1)
        self._busy = threading.Lock()

    def code(self, product_id: Any) -> int | None:
        """Return a product's code, ``None`` where it is not known; a whole number stands for its digits."""
        return self._codes.get(product_key(product_id))

    def name(self, product_id: str) -> str:
        """Return what a product is called; its id where it is not known."""
        code = self._codes.get(product_id)
        return product_id if code is None else self._names[code]

    def customer(self, row: int, k: int, *, only: str | None = None, language: str = "en") -> list[Offer]:
        """Return the k best products of a customer, the best first; fewer where there are fewer.

        Parameters
        ----------
        row
            Of the customer in the recommender's history.
        k
            How many, at least 1.
        only
            One of :data:`engine.recommend.next_basket.ONLY`; both by default.
        language
            Of ``why``.

        Raises
        ------
        DataError
            There is no such row.
        SettingError
            ``only`` or ``language`` is unknown.
        """
        if not 0 <= row < self.recommender.history.n:
            raise DataError(f"row: expected a whole number from 0 to {self.recommender.history.n - 1}; got {row!r}.")
        number = int(self.recommender.segment_of[row])
        own = self._purchases._replace(basket_start=self._purchases.basket_start[row : row + 2])
        return self._offers(own, int(self._myself[row]), number, k, only, language)

    def basket(
        self, product_ids: Sequence[Any], k: int, *, segment: int | None = None, language: str = "en"
    ) -> list[Offer]:
        """Return what goes with a basket of somebody who is not known; nothing that is in it.

        Parameters
        ----------
        product_ids
            What is in it, none too; products that are not known or never offered are passed over.
        k, language
            See :meth:`customer`.
        segment
            Row of the segment in the recommender's ``segments``, where it is known.
        """
        from engine.recommend.kernels import Purchases

        never = self.recommender.excluded
        codes = sorted({code for code in map(self.code, product_ids) if code is not None and not never[code]})
        baskets = int(len(codes) > 0)
        purchases = Purchases(
            np.array([0, baskets]),
            np.full(baskets, self._day, np.int32),
            np.array([0, len(codes)][: baskets + 1]),
            np.array(codes, np.int32),
        )
        number = -1 if segment is None else segment
        # What is in the basket is what this customer has bought.
        return self._offers(_fixed(purchases), -1, number, k, "new", language)

    def _offers(
        self, purchases: Purchases, myself: int, number: int, k: int, only: str | None, language: str
    ) -> list[Offer]:
        from engine.recommend.one_kernels import rank_one

        check_language(language)
        if only is not None and only not in ONLY:
            raise SettingError.from_unknown("only", only, ONLY)
        segment = self._nobody if number < 0 else number
        wanted = self._wanted[only]._replace(least=k)
        with self._busy:
            top, scores, signals, closest, facts = rank_one(
                purchases, self._day, myself, segment, *self._tables, wanted, self._sizes, self._weights,
                k, *self._space, self._scratch,
            )  # fmt: skip
        new = np.array(purchases.basket_start[0] == purchases.basket_start[1])
        has_segments = self.recommender.segments.height > 0
        day = np.array(self._day)
        told = reasons_of(self.recommender.model.blend, signals, facts, new, day, segments=has_segments)
        reasons, partners, lifts = (array.tolist() for array in told)
        times, first, last, among, _, _ = facts.tolist()
        of = int((closest >= 0).sum())
        offers: list[Offer] = []
        for q, code in enumerate(top.tolist()):
            reason, partner = REASONS[reasons[q]], partners[q]
            figures = (
                times[q],
                max(self._day - last[q], 0) if times[q] else None,
                (last[q] - first[q]) / (times[q] - 1) if times[q] > 1 else None,
                among[q],
                of,
                self._product_ids[partner] if partner >= 0 else None,
                lifts[q] if reason in ("segment", "fresh") else None,
            )
            shown = dict(zip(FIGURES, figures, strict=True))
            called = self._names[partner] if partner >= 0 else ""
            same = partner >= 0 and called == self._names[code]
            offers.append(
                {
                    "rank": q + 1,
                    "product_id": self._product_ids[code],
                    "product": self._names[code],
                    "score": float(scores[q]),
                    "reason": reason,
                    "why": sentence(reason, shown, product=called, same=same, language=language),
                    **shown,
                }
            )
        return offers


def _fixed(arrays: Any) -> Any:
    """Return arrays that belong together as views that cannot be written to.

    Machine code is compiled for each kind of array: so it is the same for what is mapped and for what is in memory.
    """
    views = [np.ascontiguousarray(array).view() for array in arrays]
    for view in views:
        view.flags.writeable = False
    return type(arrays)(*views)
