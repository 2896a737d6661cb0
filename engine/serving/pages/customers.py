"""Finding a customer, and the page of one: values, segment, purchases, and who resembles them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from starlette.responses import RedirectResponse, Response

from engine.customer_rows import OURS
from engine.errors import CarteraError
from engine.report.numbers import NumberFormat
from engine.serving.history import LAST_ORDERS, by_month, orders_of
from engine.serving.pages.charts import months_chart, plane_chart
from engine.serving.pages.classify import agreement_text, how_sure, reasons
from engine.serving.pages.frame import Visit, customer_address, not_found
from engine.serving.pages.model import ModelView
from engine.serving.pages.offers import customer_offers
from engine.serving.pages.segments import map_help, people_table, typical_customers

if TYPE_CHECKING:
    from engine.customer_base import CustomerBase

log = logging.getLogger(__name__)

LISTED = 100
"""Customers of a segment that are listed."""

SIMILAR, MOST_SIMILAR = 10, 200
"""Look-alikes that a page begins with, and that it shows at most."""

LONGEST_ID = 200

OWN = ("customer_id", *OURS)
"""Columns of a customer base that say nothing further about the customer."""


def search(visit: Visit) -> Response:
    """Show the field for a customer's number, and the typical customers of a segment when one is chosen."""
    return _search(visit)


def find(visit: Visit) -> Response:
    """Go to a customer's page. The number comes in the body, so that no log of addresses begins with it."""
    base = _base(visit)
    given = visit.form.get("customer_id", "").strip()
    if not given:
        return _search(visit, error=visit.say("customer_needed"))
    row = base.row(given)
    if row is None:
        return _search(visit, given=given, error=visit.say("customer_unknown", id=given[:LONGEST_ID]))
    return RedirectResponse(customer_address(base.customer(row)["customer_id"]), status_code=303)


def customer(visit: Visit) -> Response:
    """Show one customer."""
    base, say, to = _base(visit), visit.say, visit.to
    given = str(visit.path["customer_id"])
    row = base.row(given)
    if row is None:
        raise not_found(say("customer_unknown", id=given[:LONGEST_ID]))
    view = ModelView(visit.snapshot.model, say, to)
    model, values = view.model, base.customer(row)
    cluster, second = int(values["cluster"]), int(values["second"])
    mark = view.marks[cluster]
    point = base.coordinates([row])[0].astype(np.float64)
    atlas = visit.atlas
    percentile = model.distances.percentile(np.array([cluster]), np.array([float(values["distance"])]))
    history = None if visit.snapshot.lake is None else _history(visit, values["customer_id"])
    charts = {"map": plane_chart(view, atlas, atlas.plane.place(point[None, :])[0])}
    if history is not None and "chart" in history:
        charts["months"] = history.pop("chart")
    margin = None if second < 0 else float(values["margin"])
    agreement = float(base.agreement(point[None, :], np.array([cluster]), rows=np.array([row]))[0])
    return visit.page(
        "customer.html.j2",
        title=say("customer_title", id=values["customer_id"]),
        charts=charts,
        mark=mark,
        lead=say("customer_in", name=mark.name),
        sure=say(how_sure(margin), second="" if second < 0 else view.marks[second].name),
        margin=None if margin is None else to.percent(margin, 0),
        percentile=say("percentile_text", share=to.percent(float(percentile[0]), 0)),
        agreement=agreement_text(view, agreement),
        novel=bool(values["novel"]),
        action=say.of(model.segments[cluster].action),
        values=_values(view, values, cluster),
        more=[(say.name(name), _plain(value, to)) for name, value in values.items() if _further(view, name)],
        why=None if second < 0 else reasons(view, cluster, second, values, point),
        map_help=map_help(view, atlas),
        history=history,
        offers=customer_offers(visit, view, cluster, values["customer_id"]),
        similar=_similar(visit, view, base, row),
    )


def _base(visit: Visit) -> CustomerBase:
    base = visit.snapshot.base
    if base is None:
        raise not_found(visit.say("no_base"))
    return base


def _search(visit: Visit, *, given: str = "", error: str = "") -> Response:
    base, say = _base(visit), visit.say
    view = ModelView(visit.snapshot.model, say, visit.to)
    wanted = visit.query.get("segment", "")
    cluster = view.cluster_of(wanted)
    if wanted and cluster is None:
        raise not_found(say("no_segment", id=wanted[:LONGEST_ID]))
    return visit.page(
        "customers.html.j2",
        title=say("customers_title"),
        status=422 if error else 200,
        lead=say("customers_lead", n=visit.to.whole(base.n)),
        given=given[:LONGEST_ID],
        error=error,
        marks=[view.marks[one] for one in view.ranked],
        chosen=wanted,
        listed=None if cluster is None else typical_customers(visit, view, cluster, LISTED),
        listed_title="" if cluster is None else say("typical_of", name=view.marks[cluster].name),
    )


def _values(view: ModelView, values: dict[str, Any], cluster: int) -> list[tuple[Any, str, str, str]]:
    means = view.model.segments[cluster].means
    shown = [name for name in view.measures if name in values]
    return [
        (
            view.measures[name],
            view.say("value_filled") if values[name] is None else view.figure(name, float(values[name])),
            view.figure(name, means.get(name)),
            view.figure(name, view.average[name]),
        )
        for name in shown
    ]


def _further(view: ModelView, name: str) -> bool:
    return name not in OWN and name not in view.measures


def _plain(value: Any, to: NumberFormat) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return to.decimal(None) if value is None else str(value)
    return to.whole(value) if float(value).is_integer() else to.decimal(value, 2)


def _history(visit: Visit, customer_id: int | str) -> dict[str, Any]:
    """Return a customer's purchases in words: a finding, a chart of months, and the last orders."""
    say, to = visit.say, visit.to
    assert visit.snapshot.lake is not None
    try:
        orders = orders_of(visit.snapshot.lake, customer_id)
    except (CarteraError, OSError) as error:
        # The rest of the page does not need the lake. The error names files, no customer.
        log.warning("a customer is shown without purchases: %s", error)
        return {"finding": say("history_broken"), "rows": []}
    bought = orders.filter(pl.col("amount").is_not_null())
    if not orders.height:
        return {"finding": say("history_none"), "rows": []}
    shown = orders.head(LAST_ORDERS)
    listed = {
        "caption": say("history_caption", n=to.whole(shown.height)),
        "rows": [_order(row, to) for row in shown.rows(named=True)],
    }
    if not bought.height:
        return {"finding": say("history_returns"), **listed}
    days = bought["timestamp"].dt.date()
    first, last = (_date(day, to) for day in (days.min(), days.max()))
    months = by_month(bought)
    chart = months_chart(
        [f"{month:%m/%Y}" for month in months["month"]],
        months["orders"].to_list(),
        [to.decimal(amount) for amount in months["amount"]],
        say,
        to,
    )
    key = "history_finding_one" if bought.height == 1 else "history_finding"
    return {"finding": say(key, n=to.whole(bought.height), first=first, last=last), "chart": chart, **listed}


def _order(row: Mapping[str, Any], to: NumberFormat) -> tuple[str, str, str, str, str]:
    return (
        _date(row["timestamp"].date(), to),
        str(row["order_id"]) if row["order_id"] is not None else to.decimal(None),
        to.whole(row["lines"]),
        to.decimal(row["amount"]),
        to.decimal(row["returned"]) if row["returned"] else "",
    )


def _date(day: Any, to: NumberFormat) -> str:
    assert isinstance(day, date)
    return to.date(day.isoformat())


def _similar(visit: Visit, view: ModelView, base: CustomerBase, row: int) -> dict[str, Any]:
    count = visit.query.get("similar", "")
    wanted = (
        min(max(int(count), 1), MOST_SIMILAR) if count.isascii() and count.isdigit() and len(count) < 9 else SIMILAR
    )
    chosen = visit.query.get("segment", "")
    cluster = view.cluster_of(chosen)
    near = base.similar(row, wanted, segment=cluster)
    table = people_table(visit, view, near.select("customer_id", "similarity").rows(), "similarity")
    return table | {
        "count": wanted,
        "most": MOST_SIMILAR,
        "chosen": chosen if cluster is not None else "",
        "marks": [view.marks[one] for one in view.ranked],
    }
