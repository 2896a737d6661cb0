"""What is told of each cross-selling rule: its columns, and the figures in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.recommend.adoption import Clock, Group
from engine.recommend.chance import lift_interval
from engine.recommend.cross_rules import Found, Pairs, measure
from engine.schema import Word

if TYPE_CHECKING:
    from engine.recommend.baskets import Baskets

WIDEST_BASKET = 500
"""A basket of more products is an order of stock: nobody chose its products together."""

COLUMNS = {
    "segment": (pl.Int32, Word("segment", "segmento")),
    "product_x": (pl.String, Word("product bought", "producto comprado")),
    "product_x2": (pl.String, Word("and product bought", "y producto comprado")),
    "product_y": (pl.String, Word("product to offer", "producto que ofrecer")),
    "customers_x": (pl.Int64, Word("customers who bought it", "clientes que lo compraron")),
    "customers_open": (pl.Int64, Word("of them, without the other by then", "de ellos, aún sin el otro")),
    "customers_xy": (pl.Int64, Word("went on to buy the other", "compraron después el otro")),
    "confidence": (pl.Float64, Word("share who went on", "proporción que lo compró después")),
    "base_rate": (pl.Float64, Word("share of the segment who buy it", "proporción del segmento que lo compra")),
    "lift_plain": (pl.Float64, Word("plain lift", "lift simple")),
    "expected": (pl.Float64, Word("expected customers", "clientes esperados")),
    "lift": (pl.Float64, Word("lift", "lift")),
    "lift_low": (pl.Float64, Word("lift, at least", "lift, como mínimo")),
    "lift_high": (pl.Float64, Word("lift, at most", "lift, como máximo")),
    "p_value": (pl.Float64, Word("p value", "valor p")),
    "q_value": (pl.Float64, Word("share of false findings", "proporción de falsos hallazgos")),
    "lift_base": (pl.Float64, Word("lift against all customers", "lift frente a toda la base")),
    "confidence_base": (pl.Float64, Word("share who went on, all customers", "proporción en toda la base")),
    "confidence_vs_base": (pl.Float64, Word("share, segment over all", "proporción, segmento entre base")),
    "customers_together": (pl.Int64, Word("bought both in one basket", "compraron ambos en una cesta")),
    "lift_together": (pl.Float64, Word("plain lift within baskets", "lift simple dentro de la cesta")),
    "customers_to_offer": (pl.Int64, Word("customers to offer it to", "clientes a quienes ofrecerlo")),
}
"""Columns of the rules: their types, and how a reader calls them."""


def evidence(
    history: Baskets, clock: Clock, everybody: NDArray[np.int64], found: Mapping[int, tuple[Group, Found]]
) -> pl.DataFrame:
    """Return the rules of all segments with all that is told of them."""
    parts: list[tuple[int, Group, Pairs]] = []
    for segment, (group, result) in found.items():
        parts += [(segment, group, pairs) for pairs in (result.rules, result.sets)]
    used = [group.codes[slots] for _, group, pairs in parts for slots in (pairs.x, pairs.y)]
    codes = np.unique(np.concatenate([*used, np.zeros(0, dtype=np.int64)])).astype(np.int64)
    base = Group.of(clock, everybody, codes, history.m)
    together = _Together(history, codes)
    frames = [pl.DataFrame(schema={name: kind for name, (kind, _) in COLUMNS.items()})]
    for segment, group, pairs in parts:
        if not len(pairs.x):
            continue
        # The codes of rules are among the base's; x2 = -1 stays what it is.
        x, y = (np.searchsorted(codes, group.codes[slots]) for slots in (pairs.x, pairs.y))
        x2 = np.where(pairs.x2 >= 0, np.searchsorted(codes, group.codes[pairs.x2]), -1)
        of_base = measure(base, x, x2, y)
        against_base = measure(Group.of(clock, group.customers, codes, history.m), x, x2, y, base.rates)
        both, lift_together = together.count(group.customers, x, x2, y)
        open_to_it, open_base = pairs.customers - pairs.before, of_base.customers - of_base.before
        low, high = lift_interval(pairs.went_on, pairs.expected, group.adoptions[pairs.y])
        share = group.buyers()[pairs.y] / len(group.customers)
        confidence, confidence_base = pairs.went_on / open_to_it, of_base.went_on / open_base
        names = history.products
        columns: dict[str, Any] = {
            "segment": np.full(len(x), segment),
            "product_x": names.gather(codes[x]),
            "product_x2": names.gather(pl.Series(np.where(x2 >= 0, codes[x2], 0))).zip_with(
                pl.Series(x2 >= 0), pl.Series([None], dtype=pl.String).new_from_index(0, len(x))
            ),
            "product_y": names.gather(codes[y]),
            "customers_x": pairs.customers,
            "customers_open": open_to_it,
            "customers_xy": pairs.went_on,
            "confidence": confidence,
            "base_rate": share,
            "lift_plain": confidence / share,
            "expected": pairs.expected,
            "lift": pairs.went_on / pairs.expected,
            "lift_low": low,
            "lift_high": high,
            "p_value": pairs.p,
            "q_value": pairs.q,
            "lift_base": pairs.went_on / against_base.expected,
            "confidence_base": confidence_base,
            "confidence_vs_base": confidence / confidence_base,
            "customers_together": both,
            "lift_together": lift_together,
            "customers_to_offer": pairs.customers - pairs.has,
        }
        frames.append(pl.DataFrame({name: pl.Series(name, columns[name], dtype=COLUMNS[name][0]) for name in COLUMNS}))
    return pl.concat(frames)


class _Together:
    """Which baskets hold which products, without the huge ones."""

    def __init__(self, history: Baskets, codes: NDArray[np.int64]) -> None:
        self._owner = np.repeat(np.arange(history.n), np.diff(history.basket_start))
        self._counts = np.diff(history.item_start) <= WIDEST_BASKET
        slot = np.full(history.m, -1, dtype=np.int64)
        slot[codes] = np.arange(len(codes))
        basket = history.basket_of()
        keep = (slot[history.item] >= 0) & self._counts[basket]
        order = np.argsort(slot[history.item[keep]], kind="stable")
        self._basket = basket[keep][order]
        self._start = np.searchsorted(slot[history.item[keep]][order], np.arange(len(codes) + 1))

    def count(
        self, customers: NDArray[np.int64], x: NDArray[np.int64], x2: NDArray[np.int64], y: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return for each rule the customers with a basket of all its products, and the plain lift of such baskets."""
        ours = np.zeros(int(self._owner.max(initial=-1)) + 1, dtype=bool)
        ours[customers[customers < len(ours)]] = True
        baskets = int((ours[self._owner] & self._counts).sum())
        kept: dict[int, NDArray[np.int64]] = {}
        for slot in {*x.tolist(), *x2.tolist(), *y.tolist()} - {-1}:
            held = self._basket[self._start[slot] : self._start[slot + 1]]
            kept[slot] = held[ours[self._owner[held]]]
        number, lift = np.zeros(len(x), dtype=np.int64), np.zeros(len(x))
        for i, (one, other, then) in enumerate(zip(x.tolist(), x2.tolist(), y.tolist(), strict=True)):
            reason = kept[one] if other < 0 else np.intersect1d(kept[one], kept[other], assume_unique=True)
            both = np.intersect1d(reason, kept[then], assume_unique=True)
            number[i] = len(np.unique(self._owner[both]))
            lift[i] = len(both) * baskets / max(len(reason) * len(kept[then]), 1)
        return number, lift
