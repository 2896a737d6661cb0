"""What to offer in a segment, in words and figures: what is tried next, cross-selling, dearer products."""

from __future__ import annotations

from collections import Counter
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
    why: Mapping[str, str] | None = None,
    period: str = "",
    days: int | None = None,
    least_to_offer: int = 1,
) -> dict[str, Any]:
    """Return what a page shows of one segment; the template is ``offers.html.j2``.

    Parameters
    ----------
    tried, rules, dearer
        Rows of ``next_products``, ``cross_sell`` and ``up_sell``, the best first; ``None`` where there is no table.
        Rules that could be offered to fewer than ``least_to_offer`` are not listed, and those of one kind
        (``same_kind``) only where there are no others.
    say, to
        Texts, with those of :data:`engine.report.recommend_words.SEGMENT_OFFER_TEXTS`, and figures.
    above
        Name of the next segment up.
    listed
        Rows of each table at most.
    why
        By the name of a table, why it has nothing for this segment.
    period
        From when on it was counted what is new, in a sentence.
    days
        Over how many days that was, where it is known.
    least_to_offer
        Customers whom a rule must have left to offer to, at least 1.
    """
    reasons = why or {}
    return {
        "next": None if tried is None else _tried(tried, say, to, listed, reasons, period, days),
        "cross": None if rules is None else _rules(rules, say, to, listed, reasons, least_to_offer),
        "up": None if dearer is None else _dearer(dearer, say, to, listed, reasons, above),
    }


def product_of(row: Row, column: str = "product") -> tuple[str, str]:
    """Return what a product is called, and its id where that is something else."""
    product_id, name = row[column], row[f"{column}_name"]
    return name, "" if name == product_id else product_id


def names_shared(*tables: tuple[Sequence[Row], Sequence[str]]) -> set[str]:
    """Return the names that several products of some tables have; each table comes with its columns of products.

    Examples
    --------
    >>> rows = [{"product": "7", "product_name": "SUGAR"}, {"product": "8", "product_name": "SUGAR"}]
    >>> names_shared((rows, ["product"]))
    {'SUGAR'}
    """
    called = {
        (str(row[f"{column}_name"]), row[column])
        for rows, columns in tables
        for row in rows
        for column in columns
        if row[column] is not None
    }
    count = Counter(name for name, _ in called)
    return {name for name, ids in count.items() if ids > 1}


def spanned(low: str, high: str) -> str:
    """Return an interval; the sign that both ends have is written once.

    Examples
    --------
    >>> spanned("0.5%", "2.2%"), spanned("2,8×", "4,7×"), spanned("< 0.1%", "0.4%")
    ('0.5–2.2%', '2,8–4,7×', '< 0.1–0.4%')
    """
    sign = high[len(high.rstrip("%×\N{NO-BREAK SPACE}")) :]
    return f"{low.removesuffix(sign)}–{high}"


def _tried(
    rows: Sequence[Row],
    say: Words,
    to: NumberFormat,
    listed: int,
    why: Mapping[str, str],
    period: str,
    days: int | None,
) -> dict[str, Any]:
    if not rows:
        return {"finding": say("next_none"), "help": why.get("next_products", ""), "rows": []}
    shared = names_shared((rows, ["product"]))
    span = say("next_span_unknown")
    if days is not None:
        span = say("next_span_day") if days == 1 else say("next_span", days=to.whole(days))
    apart = all(rows[0]["probability_low"] > one["probability_high"] for one in rows[1:])
    return {
        "finding": say(
            "next_finding" if apart else "next_alike", span=span, product=_called(rows[0], "product", shared)
        ),
        "help": " ".join([say("next_help"), *([period] if period else [])]),
        "caption": say("next_caption", n=to.whole(rows[0]["customers"])),
        "rows": [
            {
                "product": product_of(one),
                "probability": to.percent(one["probability"]),
                "range": spanned(to.percent(one["probability_low"]), to.percent(one["probability_high"])),
                "customers": to.whole(one["customers_new"]),
            }
            for one in rows[:listed]
        ],
    }


def _rules(
    rows: Sequence[Row], say: Words, to: NumberFormat, listed: int, why: Mapping[str, str], least_to_offer: int
) -> dict[str, Any]:
    if not rows:
        return {"finding": say("cross_none"), "help": why.get("cross_sell", ""), "rows": [], "notes": []}
    some = [one for one in rows if one["customers_to_offer"] >= least_to_offer]
    taken = sum(not one["customers_to_offer"] for one in rows)
    least = to.whole(least_to_offer)
    if not some:
        key = "cross_all_taken" if taken == len(rows) else "cross_all_few"
        return {"finding": say(key, n=to.whole(len(rows)), least=least), "help": "", "rows": [], "notes": []}
    across = [one for one in some if not one.get("same_kind")]
    shown = across or some
    notes = [say("cross_order")] if "buyers_beyond_chance" in rows[0] else []
    if not across:
        notes.append(say("cross_same_only"))
    elif len(across) < len(some):
        notes.append(say("cross_same_left", n=to.whole(len(some) - len(across))))
    few = len(rows) - len(some) - taken
    notes += [say("cross_few", n=to.whole(few), least=least)] if few else []
    notes += [say("cross_taken", n=to.whole(taken))] if taken else []
    first, columns = shown[0], ("product_x", "product_x2", "product_y")
    shared = names_shared((shown, columns))
    offer = _called(first, "product_y", shared)
    reasons = [_called(first, column, shared) for column in columns[:2] if first[column] is not None]
    bought = reasons[0] if len(reasons) == 1 else say("cross_and", one=reasons[0], other=reasons[1])
    caption = "cross_caption_all" if len(shown) <= listed else "cross_caption"
    return {
        "finding": say("cross_finding", bought=bought, offer=offer, lift=to.factor(first["lift"])),
        "help": say("cross_help"),
        "caption": say(caption, n=to.whole(listed), all=to.whole(len(shown))),
        "notes": notes,
        "rows": [
            {
                "bought": [product_of(one, column) for column in columns[:2] if one[column] is not None],
                "offer": product_of(one, "product_y"),
                "share": to.percent(one["confidence"]),
                "lift": to.times(one["lift"]),
                "range": spanned(to.times(one["lift_low"]), to.times(one["lift_high"])),
                "customers": to.whole(one["customers_to_offer"]),
            }
            for one in shown[:listed]
        ],
    }


def _dearer(
    rows: Sequence[Row], say: Words, to: NumberFormat, listed: int, why: Mapping[str, str], above: str
) -> dict[str, Any]:
    if not rows:
        return {"finding": say("up_none"), "help": why.get("up_sell", ""), "rows": []}
    shared = names_shared((rows, ["product_x", "product_y"]))
    bought, offer = (_called(rows[0], column, shared) for column in ("product_x", "product_y"))
    return {
        "finding": say("up_finding", bought=bought, offer=offer),
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


def _called(row: Row, column: str, shared: set[str]) -> str:
    """Return what a product is called in a sentence, with its id where another has the same name."""
    name, product_id = str(row[f"{column}_name"]), row[column]
    return f"{name} ({product_id})" if name in shared else name
