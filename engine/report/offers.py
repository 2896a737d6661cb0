"""What to offer in a segment, in words and figures: what is tried next, cross-selling, dearer products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.report.numbers import NumberFormat
from engine.report.words import Words

LISTED = 10
"""Products, and rules, that a page lists."""

Row = Mapping[str, Any]
"""Of a table by segment; what the product in a column ``product…`` is called stands in ``product…_name``."""


def segment_offers(
    tried: Sequence[Row] | None,
    rules: Sequence[Row] | None,
    dearer: Sequence[Row] | None,
    say: Words,
    to: NumberFormat,
    *,
    above: str,
    listed: int = LISTED,
) -> dict[str, Any]:
    """Return what a page shows of one segment; the template is ``offers.html.j2``.

    Parameters
    ----------
    tried, rules, dearer
        Rows of ``next_products``, ``cross_sell`` and ``up_sell``, the best first; ``None`` where there is none.
    say, to
        Texts, with those of :data:`engine.report.recommend_words.SEGMENT_OFFER_TEXTS`, and figures.
    above
        Name of the next segment up.
    listed
        Rows of each table at most.
    """
    return {
        "next": None if tried is None else _tried(tried, say, to, listed),
        "cross": None if rules is None else _rules(rules, say, to, listed),
        # There are few of them, and mostly none: then nothing is said.
        "up": _dearer(dearer, say, to, listed, above) if dearer else None,
    }


def product_of(row: Row, column: str = "product") -> tuple[str, str]:
    """Return what a product is called, and its id where that is something else."""
    product_id, name = row[column], row[f"{column}_name"]
    return name, "" if name == product_id else product_id


def _tried(rows: Sequence[Row], say: Words, to: NumberFormat, listed: int) -> dict[str, Any]:
    if not rows:
        return {"finding": say("next_none"), "rows": []}
    return {
        "finding": say("next_finding", product=rows[0]["product_name"]),
        "caption": say("next_caption", n=to.whole(rows[0]["customers"])),
        "rows": [
            {
                "product": product_of(one),
                "probability": to.percent(one["probability"]),
                "range": say("range", low=to.percent(one["probability_low"]), high=to.percent(one["probability_high"])),
                "customers": to.whole(one["customers_new"]),
            }
            for one in rows[:listed]
        ],
    }


def _rules(rows: Sequence[Row], say: Words, to: NumberFormat, listed: int) -> dict[str, Any]:
    if not rows:
        return {"finding": say("cross_none"), "rows": []}
    every = len(rows) <= listed
    caption = "cross_caption_all" if every else "cross_caption"
    return {
        "finding": say("cross_finding", bought=_bought(rows[0], say), offer=rows[0]["product_y_name"]),
        "caption": say(caption, n=to.whole(listed), all=to.whole(len(rows))),
        "rows": [
            {
                "bought": [
                    product_of(one, column) for column in ("product_x", "product_x2") if one[column] is not None
                ],
                "offer": product_of(one, "product_y"),
                "share": to.percent(one["confidence"]),
                "lift": to.times(one["lift"]),
                "range": say("range", low=to.times(one["lift_low"]), high=to.times(one["lift_high"])),
                "customers": to.whole(one["customers_to_offer"]),
            }
            for one in rows[:listed]
        ],
    }


def _dearer(rows: Sequence[Row], say: Words, to: NumberFormat, listed: int, above: str) -> dict[str, Any]:
    return {
        "finding": say("up_finding", bought=rows[0]["product_x_name"], offer=rows[0]["product_y_name"]),
        "help": say("up_help", name=above),
        "rows": [
            {
                "bought": product_of(one, "product_x"),
                "price": say("price", price=to.decimal(one["price_x"])),
                "offer": product_of(one, "product_y"),
                "price_offer": say("price", price=to.decimal(one["price_y"])),
                "here": to.percent(one["share"]),
                "there": to.percent(one["share_next"]),
                "customers": to.whole(one["customers_to_offer"]),
            }
            for one in rows[:listed]
        ],
    }


def _bought(rule: Row, say: Words) -> str:
    one, other = rule["product_x_name"], rule["product_x2_name"]
    return str(one) if other is None else say("cross_and", one=one, other=other)
