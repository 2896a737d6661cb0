"""Cross-selling: what the customers of a segment go on to buy, once they have bought something.

Why a plain count will not do, and what is counted in its place, stands at :func:`cross_sell`.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.clustering.jit import numba_threads
from engine.errors import DataError, SettingError
from engine.recommend.adoption import Clock, Group
from engine.recommend.baskets import Baskets, baskets_of
from engine.recommend.cross_evidence import COLUMNS, evidence
from engine.recommend.cross_rules import find_rules
from engine.recommend.segment_numbers import checked_segments
from engine.schema import check_language

if TYPE_CHECKING:
    from engine.recommend.cross_rules import Found

_EVERYDAY = {"segment": pl.Int32, "product": pl.String, "customers": pl.Int64, "share": pl.Float64}
_SEGMENTS = {
    name: pl.Int32 if name == "segment" else pl.Int64
    for name in ("segment", "customers", "too_wide", "products", "pairs_tested", "rules", "sets", "rules_left_out")
}


@dataclass(frozen=True, slots=True)
class CrossSell:
    """What goes with what, segment by segment. It names no customer.

    Attributes
    ----------
    rules
        The columns of :data:`COLUMNS`; by segment, rules from one product first, then those from two, the best first.
    everyday
        Products that nearly everybody buys, which are neither offered nor a reason: ``segment, product, customers,
        share``.
    segments
        What was looked at: ``segment, customers, too_wide`` (left out for the number of their products), ``products``
        (with enough customers), ``pairs_tested, rules, sets, rules_left_out`` (beyond ``most_pairs``).
    within_days
        How soon after the first product the second had to follow; None for ever.
    """

    rules: pl.DataFrame
    everyday: pl.DataFrame
    segments: pl.DataFrame
    within_days: int | None

    def table(self, language: str = "en") -> pl.DataFrame:
        """Return the rules with the headings of a reader's language."""
        check_language(language)
        return self.rules.rename({name: word.text(language) for name, (_, word) in COLUMNS.items()})

    def offers(
        self, history: Baskets, segments: NDArray[np.int32], segment: int, product: str, *, most: int | None = None
    ) -> pl.DataFrame:
        """Return the customers of a segment who have bought what leads to a product, and not the product.

        Parameters
        ----------
        history
            Of the customers; it may be later than the one that the rules come from.
        segments
            Each customer's segment, shape (n,).
        segment, product
            Whom to offer what.
        most
            How many customers; by default all.

        Returns
        -------
        DataFrame
            ``customer_id``, the reason (``product_x, product_x2``, last ``bought_on``), its ``confidence`` and
            ``lift``, and how many ``rules`` speak for it; the highest confidence first, then the more rules, then the
            later purchase. Of a customer's rules the one of highest confidence is the reason.

        Raises
        ------
        DataError
            The segment was not looked at, or nobody in the history bought the product.
        """
        history = baskets_of(history)
        segments = checked_segments(segments, history.n)
        if segment not in self.segments["segment"]:
            known = ", ".join(map(str, self.segments["segment"])) or "none"
            raise DataError(f"Cross-selling: no segment {segment}. Segments looked at: {known}.")
        codes = {name: code for code, name in enumerate(history.products.to_list())}
        if product not in codes:
            raise DataError(
                f"Cross-selling: nobody in the history bought product {product!r}. See the rules' product_y."
            )
        rules = self.rules.filter(pl.col("segment") == segment, pl.col("product_y") == product)
        rules = rules.sort("confidence", "customers_xy", descending=True, maintain_order=True)
        who = np.flatnonzero(segments == segment)
        needed = sorted({*rules["product_x"], *rules["product_x2"].drop_nulls(), product})
        bought = dict(zip(needed, _last_days(history, who, [codes.get(n, -1) for n in needed]), strict=True))
        best = np.full(len(who), -1, dtype=np.int64)
        day, speak = np.zeros(len(who), dtype=np.int32), np.zeros(len(who), dtype=np.int64)
        for number, (one, other) in enumerate(rules.select("product_x", "product_x2").iter_rows()):
            met = bought[one] if other is None else _both(bought[one], bought[other])
            fits = (met != _NEVER) & (bought[product] == _NEVER)
            new = fits & (best < 0)
            best[new], day[new] = number, met[new]
            speak += fits
        chosen = np.flatnonzero(best >= 0)
        found = rules[best[chosen]].select("product_x", "product_x2", "confidence", "lift")
        return (
            found.with_columns(
                history.customer_ids.gather(who[chosen]).alias("customer_id"),
                pl.Series("bought_on", day[chosen], dtype=pl.Int32).cast(pl.Date),
                pl.Series("rules", speak[chosen], dtype=pl.Int64),
            )
            .select("customer_id", "product_x", "product_x2", "bought_on", "confidence", "lift", "rules")
            .sort(
                "confidence",
                "rules",
                "bought_on",
                "customer_id",
                descending=[True, True, True, False],
                maintain_order=True,
            )
            .head(len(chosen) if most is None else most)
        )


def cross_sell(
    history: Baskets,
    segments: NDArray[np.int32] | None = None,
    *,
    least_customers: int = 10,
    most_pairs: int = 1_000,
    most_sets: int = 100,
    within_days: int | None = None,
    everyday_share: float = 0.7,
    widest_customer: int = 2_000,
    false_share: float = 0.05,
    threads: int | None = None,
) -> CrossSell:
    """Find, for each segment, what its customers go on to buy after they have bought something.

    A rule X → Y speaks of the customers who bought X and did not have Y by the end of that basket
    (``customers_open``). Those of them who bought Y in a later basket went on (``customers_xy``); their share is the
    ``confidence``. What order allows no answer about, both in one basket, is told apart (``customers_together``).

    Whoever buys X may simply buy much, and then buys Y as well as everything else: ``lift_plain``, confidence over the
    share of the segment who buy Y, cannot tell the difference. ``lift`` can. It divides those who went on by those who
    were *to be expected* to: every time that a customer tries a new product there is a chance that it is Y, and how
    often it is, for customers of the segment who do not have Y, in the same period and with about as many products
    tried, is Y's rate (:mod:`engine.recommend.adoption`). The expectation adds up the rates over the chances that X's
    buyers had after X until they bought Y or the history ends. So a lift of 2 means: **when a buyer of X tries
    something new, it is Y twice as often as for others of the segment at that time and stage**. Having many
    baskets, large baskets, a long or a recent history does not raise it. Tastes that X and Y share do; a rule shows
    what goes together, not that an offer causes it.

    ``lift_base`` takes the rates of all customers in place of the segment's: it is higher where the whole segment takes
    to Y. ``confidence_base`` counts the same rule over all customers, and ``confidence_vs_base`` divides by it.

    Parameters
    ----------
    history
        What was bought.
    segments
        Each customer's segment, shape (n,), from 0; -1 for none: they count in the base only. By default all are
        segment 0.
    least_customers
        Customers of the segment who must have gone on from X to Y; at least 1.
    most_pairs, most_sets
        Most rules of each segment, from one product and from two. What is left out is told.
    within_days
        How many days after X still count; by default all. Customers who bought X more recently than that have had less
        time: the expectation knows it, the confidence does not.
    everyday_share
        A product that more of the segment's customers than this share bought (carrier bags) is flagged, and is no part
        of rules.
    widest_customer
        Customers with more distinct products than this are resellers rather than consumers, and left out.
    false_share
        Of the rules of a segment, the share that may be chance.
    threads
        How many to use; by default all cores. The result does not depend on it.

    Returns
    -------
    CrossSell

    Raises
    ------
    SettingError
        A setting is out of range, or ``segments`` has another length.
    DataError
        So many pairs could be rules that they cannot be held; the message names a threshold that would do.

    Notes
    -----
    Observed over expected with the chances of the same people as reference is the standardised ratio of epidemiology
    (Breslow and Day, Statistical Methods in Cancer Research II, 1987, chapters 2 and 3), the expectation that of the
    log-rank test (Peto and Peto, 1972), by cell. Intervals and p values: :mod:`engine.recommend.chance`; they treat X
    as part of the segment, and are on the safe side where X's buyers are most of it. ``q_value`` allows for all pairs
    of products with enough customers, whether or not anybody went from one to the other. Sets {X, X2} are tried where
    X → Y and X2 → Y are both among the best rules, and told where they surely lift more than each of these. In
    ``customers_together``, baskets of more than 500 products do not count. Counts are exact.

    Examples
    --------
    >>> from datetime import date, timedelta
    >>> import polars as pl
    >>> from engine.recommend.baskets import Baskets
    >>> buys = [(c, d, p) for c in range(60) for d, p in enumerate(
    ...     ["bread", "tea", "lemon", "milk"] if c < 30 else ["bread", "milk", "rice", "salt"])]
    >>> rows = pl.DataFrame(buys, ["customer_id", "d", "product_id"], orient="row").with_columns(
    ...     timestamp=pl.lit(date(2024, 5, 1)) + pl.duration(days="d"))
    >>> found = cross_sell(Baskets.from_frame(rows, basket="day"))
    >>> for rule in found.rules.select("product_x", "product_y", "customers_xy", "confidence").rows():
    ...     print(rule)
    ('rice', 'salt', 30, 1.0)
    ('tea', 'lemon', 30, 1.0)
    >>> found.everyday["product"].to_list()
    ['bread', 'milk']
    """
    history = baskets_of(history)
    _check_settings(least_customers, most_pairs, most_sets, within_days, everyday_share, widest_customer, false_share)
    of = np.zeros(history.n, dtype=np.int32) if segments is None else checked_segments(segments, history.n)
    found: dict[int, tuple[Group, Found]] = {}
    everyday, looked_at = [], []
    with numba_threads(threads):
        clock = Clock.of(history, within_days)
        narrow = np.bincount(clock.customer, minlength=history.n) <= widest_customer
        for segment in np.unique(of[of >= 0]).tolist():
            customers = np.flatnonzero((of == segment) & narrow)
            buyers = np.bincount(clock.item[np.isin(clock.customer, customers)], minlength=history.m)
            common = buyers > everyday_share * len(customers)
            everyday += [
                (segment, history.products[int(code)], int(buyers[code]), float(buyers[code] / len(customers)))
                for code in np.flatnonzero(common & (buyers >= least_customers))
            ]
            group = Group.of(clock, customers, np.flatnonzero((buyers >= least_customers) & ~common), history.m)
            result = find_rules(group, least_customers, most_pairs, most_sets, false_share)
            found[segment] = group, result
            told = (len(customers), int((of == segment).sum()) - len(customers), len(group.codes), result.tests)
            looked_at.append((segment, *told, len(result.rules.x), len(result.sets.x), result.left_out))
        rules = evidence(history, clock, np.flatnonzero(narrow), found)
    return CrossSell(
        rules,
        pl.DataFrame(everyday, _EVERYDAY, orient="row"),
        pl.DataFrame(looked_at, _SEGMENTS, orient="row"),
        within_days,
    )


_NEVER = np.iinfo(np.int32).min


def _last_days(history: Baskets, who: NDArray[np.int64], codes: list[int]) -> list[NDArray[np.int32]]:
    """Return for each product on which day each customer bought it last."""
    place = np.full(history.n, -1, dtype=np.int64)
    place[who] = np.arange(len(who))
    row = place[history.owners()]
    days = np.repeat(history.day, np.diff(history.item_start))
    result = []
    for code in codes:
        last = np.full(len(who), _NEVER, dtype=np.int32)
        fits = (history.item == code) & (row >= 0)
        np.maximum.at(last, row[fits], days[fits])
        result.append(last)
    return result


def _both(one: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the later of two days, where there are both."""
    met: NDArray[np.int32] = np.where((one == _NEVER) | (other == _NEVER), _NEVER, np.maximum(one, other))
    return met


def _check_settings(
    least: int, pairs: int, sets: int, days: int | None, everyday: float, widest: int, false_share: float
) -> None:
    whole = {
        "least_customers": (least, 1),
        "most_pairs": (pairs, 0),
        "most_sets": (sets, 0),
        "widest_customer": (widest, 1),
    }
    if days is not None:
        whole["within_days"] = (days, 1)
    for name, (value, lowest) in whole.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < lowest:
            raise SettingError(f"{name}: expected a whole number, at least {lowest}; got {value!r}.")
    if not 0 < everyday <= 1:
        raise SettingError(f"everyday_share: expected more than 0 and at most 1; got {everyday}.")
    if not 0 < false_share < 1:
        raise SettingError(f"false_share: expected a share between 0 and 1, such as 0.05; got {false_share}.")
