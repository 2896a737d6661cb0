"""Up-selling: the dearer product that customers one segment up choose in place of the one bought here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError, SettingError
from engine.recommend.baskets import Baskets, baskets_of
from engine.recommend.chance import false_shares, fisher, share_ratio_interval
from engine.recommend.segment_numbers import checked_segments
from engine.schema import Word, check_language, require_columns

Counts = NDArray[np.int64]

BLOCK_CELLS = 16_000_000
"""Customers × products of a category held at once: 64 MB."""

COLUMNS = {
    "segment": (pl.Int32, Word("segment", "segmento")),
    "next_segment": (pl.Int32, Word("next segment up", "segmento superior")),
    "category": (pl.String, Word("category", "categoría")),
    "product_x": (pl.String, Word("product bought", "producto comprado")),
    "price_x": (pl.Float64, Word("its price", "su precio")),
    "product_y": (pl.String, Word("dearer product to offer", "producto superior que ofrecer")),
    "price_y": (pl.Float64, Word("price of the dearer one", "precio del superior")),
    "choosers": (pl.Int64, Word("customers who buy one of the two", "clientes que compran uno de los dos")),
    "share": (pl.Float64, Word("share who choose the dearer", "proporción que elige el superior")),
    "choosers_next": (pl.Int64, Word("the same, next segment", "los mismos, segmento superior")),
    "share_next": (pl.Float64, Word("share, next segment", "proporción, segmento superior")),
    "lift": (pl.Float64, Word("lift", "lift")),
    "lift_low": (pl.Float64, Word("lift, at least", "lift, como mínimo")),
    "lift_high": (pl.Float64, Word("lift, at most", "lift, como máximo")),
    "p_value": (pl.Float64, Word("p value", "valor p")),
    "q_value": (pl.Float64, Word("share of false findings", "proporción de falsos hallazgos")),
    "customers_to_offer": (pl.Int64, Word("customers to offer it to", "clientes a quienes ofrecerlo")),
}
"""Columns of the table: their types, and how a reader calls them."""

_SEGMENTS = {
    name: pl.Int32 if name.endswith("segment") else pl.Int64
    for name in ("segment", "next_segment", "products", "products_bought", "pairs", "pairs_next", "told", "left_out")
} | {"lowest_q": pl.Float64}


@dataclass(frozen=True, slots=True)
class UpSell:
    """Dearer products that the next segment up chooses, and what was looked at to find them. It names no customer.

    Attributes
    ----------
    pairs
        The columns of :data:`COLUMNS`; from the lowest segment up, the pairs whose lift is surest first.
    segments
        Of each segment but the highest: ``segment, next_segment, products`` (with a category and a price),
        ``products_bought`` (of them, by enough of the two segments), ``pairs`` (of one category, within the prices and
        chosen by enough), ``pairs_next`` (of them, chosen more often by the next segment, by enough), ``told``,
        ``left_out`` (beyond ``most_pairs``) and ``lowest_q``, the q of the clearest of ``pairs_next``; null for none.
    """

    pairs: pl.DataFrame
    segments: pl.DataFrame

    def table(self, language: str = "en") -> pl.DataFrame:
        """Return the pairs with the headings of a reader's language."""
        check_language(language)
        return self.pairs.rename({name: word.text(language) for name, (_, word) in COLUMNS.items()})


def up_sell(
    history: Baskets,
    segments: NDArray[np.int32],
    products: pl.DataFrame,
    order: Sequence[int],
    *,
    least_customers: int = 10,
    most_price_ratio: float = 2.5,
    most_pairs: int = 1_000,
    false_share: float = 0.05,
) -> UpSell:
    """Find the dearer products of a category that the next segment up chooses instead.

    Compared are the customers who buy exactly one of two products of a category, the cheaper X or the dearer Y.
    ``share`` is how many of the segment's choose Y, ``share_next`` how many of the next segment's, ``lift`` the second
    over the first. Who buys both, or neither, has not chosen and does not count, so that a segment that buys more
    products of everything has no lift from that. Offered to: those of the segment who buy X and not Y
    (``customers_to_offer``).

    Parameters
    ----------
    history
        What was bought.
    segments
        Each customer's segment, shape (n,), -1 for none.
    products
        ``product_id``, ``category``, ``median_price`` (above 0, one currency); a row for each product. Products
        without a row, a category or a price are left out.
    order
        Segments from the lowest to the highest, by mean revenue for instance.
    least_customers
        Customers of the next segment who must have chosen Y, and of the segment who chose X.
    most_price_ratio
        Y costs more than X and at most so many times as much.
    most_pairs
        Most pairs of each segment, the best first.
    false_share
        Of the pairs told, the share that may be chance.

    Returns
    -------
    UpSell
        Its ``segments`` say how far the search came where no pair is told.

    Raises
    ------
    ColumnsMissingError, DataError
        A column is missing; a product has two rows, or a price is 0 or less.
    SettingError
        A setting is out of range; ``order`` names fewer than two segments, or one twice.

    Notes
    -----
    Interval: log-normal (Katz and others 1978, see :mod:`engine.recommend.chance`); p: Fisher's exact test, one-sided;
    q: Benjamini and Hochberg over all pairs of the two segments with ``least_customers`` who chose X, and as many who
    chose Y, in the two together.

    Examples
    --------
    >>> from datetime import date
    >>> import polars as pl
    >>> from engine.recommend.baskets import Baskets
    >>> bought = ["beans"] * 30 + ["espresso"] * 10 + ["beans"] * 10 + ["espresso"] * 30
    >>> rows = pl.DataFrame({"customer_id": range(80), "product_id": bought, "timestamp": date(2024, 5, 1)})
    >>> about = pl.DataFrame({"product_id": ["beans", "espresso"], "category": "coffee", "median_price": [5.0, 8.0]})
    >>> segments = np.repeat([0, 1], 40).astype(np.int32)
    >>> found = up_sell(Baskets.from_frame(rows, basket="day"), segments, about, order=[0, 1])
    >>> found.pairs.select("product_x", "product_y", "share", "share_next", "lift", "customers_to_offer").row(0)
    ('beans', 'espresso', 0.25, 0.75, 3.0, 30)
    >>> found.segments.select("products", "pairs", "pairs_next", "told").row(0)
    (2, 1, 1, 1)
    """
    history = baskets_of(history)
    of = checked_segments(segments, history.n)
    _check_settings(order, least_customers, most_price_ratio, most_pairs, false_share)
    code, category, price = _described(history, products)
    start, item, _ = history.counts()
    who = np.repeat(np.arange(history.n), np.diff(start))
    names = category.unique(maintain_order=True)
    number = np.full(history.m, -1, dtype=np.int64)
    number[code] = category.replace_strict(names, np.arange(len(names)), return_dtype=pl.Int64).to_numpy()
    # The purchases of a category lie together, and in it those of a customer.
    by_category = np.argsort(number[item], kind="stable")
    bounds = np.searchsorted(number[item], np.arange(len(names) + 1), sorter=by_category)
    who, item = who[by_category], item[by_category]
    frames = [pl.DataFrame(schema={name: kind for name, (kind, _) in COLUMNS.items()})]
    looked_at: list[tuple[int | float | None, ...]] = []
    for lower, upper in pairwise(order):
        inside = np.isin(of, [lower, upper])
        buyers = np.bincount(item[inside[who]], minlength=history.m)[code]
        parts: list[pl.DataFrame] = []
        for place, name in enumerate(names):
            chosen = np.flatnonzero((number[code] == place) & (buyers >= least_customers))
            part = slice(bounds[place], bounds[place + 1])
            chosen = chosen[np.argsort(price[chosen], kind="stable")]
            here = _choices(who[part], item[part], np.flatnonzero(of == lower), code[chosen], history)
            there = _choices(who[part], item[part], np.flatnonzero(of == upper), code[chosen], history)
            compared = _compare(here, there, price[chosen], most_price_ratio, least_customers)
            if compared is not None:
                x, y = (compared.pop(side) for side in ("x", "y"))
                parts.append(
                    pl.DataFrame(
                        {
                            "category": [name] * len(x),
                            "product_x": history.products.gather(code[chosen[x]]),
                            "price_x": price[chosen[x]],
                            "product_y": history.products.gather(code[chosen[y]]),
                            "price_y": price[chosen[y]],
                            **compared,
                        }
                    )
                )
        seen = (lower, upper, len(code), int((buyers >= least_customers).sum()))
        if not parts:
            looked_at.append((*seen, 0, 0, 0, 0, None))
            continue
        pairs = pl.concat(parts)
        pairs = pairs.with_columns(pl.Series("q_value", false_shares(pairs["p_value"].to_numpy(), pairs.height)))
        enough = (pl.col("chose_x") >= least_customers) & (pl.col("chose_y") >= least_customers)
        more = pairs.filter(enough & (pl.col("share_next") > pl.col("share")))
        told = (
            more.filter(pl.col("q_value") <= false_share)
            .with_columns(segment=pl.lit(lower), next_segment=pl.lit(upper))
            .sort("lift_low", "product_x", "product_y", descending=[True, False, False])
        )
        left_out = max(told.height - most_pairs, 0)
        lowest = more["q_value"].to_numpy().min() if more.height else None
        looked_at.append((*seen, pairs.height, more.height, told.height - left_out, left_out, lowest))
        frames.append(told.head(most_pairs).select(pl.col(column).cast(kind) for column, (kind, _) in COLUMNS.items()))
    return UpSell(pl.concat(frames), pl.DataFrame(looked_at, _SEGMENTS, orient="row"))


def _choices(
    who: Counts, item: NDArray[np.int32], customers: Counts, codes: Counts, history: Baskets
) -> tuple[Counts, Counts]:
    """Return how many customers bought each product, and each two of them."""
    place = np.full(history.n, -1, dtype=np.int64)
    place[customers] = np.arange(len(customers))
    slot = np.full(history.m, -1, dtype=np.int64)
    slot[codes] = np.arange(len(codes))
    keep = (place[who] >= 0) & (slot[item] >= 0)
    row, column = place[who[keep]], slot[item[keep]]
    both = np.zeros((len(codes), len(codes)), dtype=np.int64)
    step = max(BLOCK_CELLS // max(len(codes), 1), 1)
    for begin in range(0, len(customers), step):
        bought = np.zeros((min(step, len(customers) - begin), len(codes)), dtype=np.float32)
        within = slice(*np.searchsorted(row, [begin, begin + step]))
        bought[row[within] - begin, column[within]] = 1.0
        # Exact: a float32 counts to 16.7 million, a block has at most 16 million rows.
        both += (bought.T @ bought).astype(np.int64)
    return both.diagonal().copy(), both


def _compare(
    here: tuple[Counts, Counts],
    there: tuple[Counts, Counts],
    price: NDArray[np.float64],
    most_price_ratio: float,
    least: int,
) -> dict[str, NDArray[np.generic]] | None:
    """Compare the choices of two segments between all products of a category; None where there is nothing to."""
    dearer = (price[:, None] < price) & (price <= price[:, None] * most_price_ratio)
    x, y = np.nonzero(dearer)
    (n, both), (n_next, both_next) = here, there
    only_x, only_y = n[x] - both[x, y], n[y] - both[x, y]
    only_x_next, only_y_next = n_next[x] - both_next[x, y], n_next[y] - both_next[x, y]
    choosers, choosers_next = only_x + only_y, only_x_next + only_y_next
    # By what both segments chose together, which says nothing about who chose it: no test loses its meaning.
    kept = (only_x + only_x_next >= least) & (only_y + only_y_next >= least) & (choosers > 0) & (choosers_next > 0)
    if not kept.any():
        return None
    x, y, only_x, only_y, only_y_next, choosers, choosers_next = (
        column[kept] for column in (x, y, only_x, only_y, only_y_next, choosers, choosers_next)
    )
    share, share_next = only_y / choosers, only_y_next / choosers_next
    low, high = share_ratio_interval(only_y_next, choosers_next, only_y, choosers)
    with np.errstate(divide="ignore", invalid="ignore"):
        lift = np.where(share > 0, share_next / share, np.where(share_next > 0, np.inf, 1.0))
    # Who cannot become a pair of the table need not be tested exactly: 1 errs on the safe side.
    p = np.ones(len(x))
    may = (only_x >= least) & (only_y_next >= least) & (share_next > share)
    p[may] = fisher(only_y_next[may], choosers_next[may], only_y[may], choosers[may])
    return {
        "x": x,
        "y": y,
        "chose_x": only_x,
        "chose_y": only_y_next,
        "choosers": choosers,
        "share": share,
        "choosers_next": choosers_next,
        "share_next": share_next,
        "lift": lift,
        "lift_low": low,
        "lift_high": high,
        "p_value": p,
        "customers_to_offer": only_x,
    }


def _described(history: Baskets, products: pl.DataFrame) -> tuple[Counts, pl.Series, NDArray[np.float64]]:
    """Return the codes of the products that have a category and a price, and these."""
    require_columns(products.columns, ["product_id", "category", "median_price"], where="products")
    known = products.drop_nulls(["product_id", "category", "median_price"]).select(
        pl.col("product_id", "category").cast(pl.String), pl.col("median_price").cast(pl.Float64)
    )
    twice = known.filter(pl.col("product_id").is_duplicated())["product_id"]
    if len(twice):
        raise DataError(f"products: expected one row for each product; {twice[0]!r} has several. Keep one of them.")
    wrong = known.filter((pl.col("median_price") <= 0) | ~pl.col("median_price").is_finite())
    if wrong.height:
        name, price = wrong.select("product_id", "median_price").row(0)
        raise DataError(f"products: expected prices above 0; {name!r} has {price}. Leave it empty where it is unknown.")
    codes = pl.DataFrame({"product_id": history.products, "code": np.arange(history.m)})
    there = known.join(codes, on="product_id").sort("code")
    return there["code"].to_numpy().astype(np.int64), there["category"], there["median_price"].to_numpy()


def _check_settings(order: Sequence[int], least: int, ratio: float, most: int, false_share: float) -> None:
    if len(order) < 2 or len(set(order)) != len(order):
        raise SettingError(
            f"order: expected two segments or more, each once, from the lowest to the highest; got {list(order)}."
        )
    for name, value in (("least_customers", least), ("most_pairs", most)):
        if value < 1:
            raise SettingError(f"{name}: expected at least 1; got {value}.")
    if not ratio > 1:
        raise SettingError(f"most_price_ratio: expected more than 1, such as 2.5; got {ratio}.")
    if not 0 < false_share < 1:
        raise SettingError(f"false_share: expected a share between 0 and 1, such as 0.05; got {false_share}.")
