"""What to offer: to one customer, with reasons; and in a segment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from engine.report.offers import LISTED
from engine.report.offers import segment_offers as in_words
from engine.report.recommend_words import TEXTS
from engine.serving.pages.model import ModelView

if TYPE_CHECKING:
    from engine.serving.offers import Offers
    from engine.serving.pages.frame import Visit

KINDS = {"": "offers_all", "new": "offers_only_new", "bought": "offers_only_bought"}
"""Which products may be asked for alone, and how that is called; the empty one is all."""


def customer_offers(visit: Visit, view: ModelView, cluster: int, customer_id: int | str) -> dict[str, Any] | None:
    """Return a customer's recommendations in words; ``None`` where none are served.

    Who has bought nothing yet gets what fits anybody new in the segment, and the page says so.
    """
    offers, say, to = visit.snapshot.offers, visit.say, visit.to
    if offers is None:
        return None
    row = offers.row(customer_id)
    asked = visit.query.get("only", "")
    only = asked if row is not None and asked in KINDS else ""
    if row is None:
        found, _ = offers.of_basket([], view.model.segments[cluster].segment_id, LISTED, visit.language)
    else:
        found = offers.of_customer(row, LISTED, visit.language, only=only or None)
    day = to.date(offers.as_of.date().isoformat())
    none = "offers_none_bought" if only == "bought" else "offers_none"
    return {
        "only": only,
        # Who has bought nothing has nothing to choose from.
        "kinds": []
        if row is None
        else [(say(key), _address(visit, kind), kind == only) for kind, key in KINDS.items()],
        "finding": say("offers_finding", product=found[0]["product"]) if found else say(none),
        "help": say("offers_new" if row is None else "offers_help", day=day),
        "caption": say("offers_caption_one") if len(found) == 1 else say("offers_caption", n=to.whole(len(found))),
        "rows": [_offer(one, visit) for one in found],
    }


def segment_offers(visit: Visit, view: ModelView, cluster: int) -> dict[str, Any] | None:
    """Return what to offer in a segment; ``None`` where the recommendations know no segments."""
    offers = visit.snapshot.offers
    if offers is None or not offers.segment_ids:
        return None
    segment_id = view.model.segments[cluster].segment_id
    tables = (offers.table(name, segment_id) for name in ("next_products", "cross_sell", "up_sell"))
    tried, rules, dearer = tables
    above = view.cluster_of(dearer[0]["next_segment_id"]) if dearer else None
    return in_words(
        tried,
        rules,
        dearer,
        visit.say,
        visit.to,
        above="" if above is None else view.marks[above].name,
        why=offers.why_nothing(segment_id, visit.language),
        period=_period(visit, offers),
        days=None if offers.tried_from is None else offers.tried_from[1],
    )


def _period(visit: Visit, offers: Offers) -> str:
    """Say from which time it was counted what is tried next, where the run has left it."""
    if offers.tried_from is None:
        return ""
    first, days = offers.tried_from
    return visit.say.of(TEXTS["next_period"]).format(days=visit.to.whole(days), first=visit.to.date(first))


def _address(visit: Visit, only: str) -> str:
    """Return the address of this page with another kind of products."""
    kept = {name: value for name, value in visit.query.items() if name in ("similar", "segment")}
    return f"?{urlencode(kept | ({'only': only} if only else {}))}#offers"


def _offer(offer: Mapping[str, Any], visit: Visit) -> dict[str, Any]:
    figures, to = offer["figures"], visit.to
    bought = figures["times_bought"]
    return {
        "product": (offer["product"], "" if offer["product"] == offer["product_id"] else offer["product_id"]),
        "why": offer["why"],
        "times": to.whole(bought) if bought else "",
        "days": to.whole(figures["days_since_bought"]) if bought else "",
    }
