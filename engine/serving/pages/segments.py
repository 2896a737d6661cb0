"""The overview of a model, and the page of one segment."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from engine.report.look import lower_first
from engine.serving.pages.charts import plane_chart
from engine.serving.pages.frame import Visit, customer_address, not_found
from engine.serving.pages.map import Atlas
from engine.serving.pages.model import ModelView
from engine.serving.pages.offers import segment_offers

TYPICAL_CUSTOMERS = 10


def overview(visit: Visit) -> Response:
    """Show what the model knows: its segments, their map, and what it was fitted on."""
    say, to, model = visit.say, visit.to, visit.snapshot.model
    view = ModelView(model, say, to)
    best = model.segments[view.ranked[0]]
    facts, base = model.facts, visit.snapshot.base
    revenue = sum(one.share_monetary for one in model.segments) > 0
    people = sum(one.customers for one in model.segments)
    title = (
        say("headline", customers=to.percent(best.share_customers), revenue=to.percent(best.share_monetary))
        if revenue
        else say("headline_without_revenue", customers=to.whole(people), k=model.k)
    )
    figures = [
        (to.whole(people), say("figure_customers")),
        (to.whole(model.k), say("figure_segments")),
        (to.whole(model.spec.d), say("overview_measures")),
    ]
    if base is not None:
        figures.append((to.whole(base.n), say("overview_known")))
    atlas = visit.atlas
    return visit.page(
        "overview.html.j2",
        title=title,
        charts={"map": plane_chart(view, atlas)},
        who=say("headline_who", name=view.marks[view.ranked[0]].name) if revenue else "",
        fitted=say("overview_fitted", as_of=to.date(facts.get("as_of")), window=view.window),
        figures=figures,
        problem=visit.frame.state.problem,
        cards=[
            {
                "mark": view.marks[cluster],
                "count": view.count(model.segments[cluster].customers),
                "description": say.of(model.segments[cluster].description),
                "bars": view.bars(cluster),
            }
            for cluster in view.ranked
        ],
        map_help=map_help(view, atlas),
        directions=directions(view, atlas),
        facts=_facts(visit, view, people),
    )


def segment(visit: Visit) -> Response:
    """Show one segment: who they are, how they differ, what to do, and its most typical customers."""
    say, to, model = visit.say, visit.to, visit.snapshot.model
    view = ModelView(model, say, to)
    cluster = view.cluster_of(visit.path["segment_id"])
    if cluster is None:
        raise not_found(say("no_segment", id=visit.path["segment_id"]))
    one = model.segments[cluster]
    figures = [
        (to.whole(one.customers), say("figure_customers")),
        (to.percent(one.share_customers), say("of_customers")),
        (to.percent(one.share_monetary), say("of_revenue")),
    ]
    if "monetary" in one.means:
        figures.append((to.decimal(one.means["monetary"]), say("segment_revenue")))
    return visit.page(
        "segment.html.j2",
        title=view.marks[cluster].name,
        mark=view.marks[cluster],
        eyebrow=say("segment_eyebrow", rank=one.rank, k=model.k),
        description=say.of(one.description),
        action=say.of(one.action),
        figures=figures,
        apart=view.apart(one),
        profile=view.profile(cluster),
        offers=segment_offers(visit, view, cluster),
        typical=typical_customers(visit, view, cluster, TYPICAL_CUSTOMERS) if visit.sees_people else None,
        definitions=view.definitions(),
    )


def typical_customers(visit: Visit, view: ModelView, cluster: int, count: int) -> dict[str, Any]:
    """Return the customers of a segment who lie nearest to its centre, as a table."""
    base, model = visit.snapshot.base, visit.snapshot.model
    assert base is not None
    near = base.similar(model.centroids[cluster], count, segment=cluster)
    return people_table(visit, view, near.select("customer_id", "distance").rows(), "distance") | {
        "caption": view.say("typical_caption", n=view.to.whole(near.height)),
        "segment_id": model.segments[cluster].segment_id,
    }


def people_table(visit: Visit, view: ModelView, people: list[tuple[Any, float]], last: str) -> dict[str, Any]:
    """Return a table of customers: number, the model's variables, and one more figure, named ``last``."""
    base = visit.snapshot.base
    assert base is not None
    names = view.model.spec.names
    rows = []
    for customer_id, figure in people:
        row = base.row(customer_id)
        values = {} if row is None else base.customer(row)
        rows.append(
            {
                "id": str(customer_id),
                "address": customer_address(customer_id),
                "cells": [view.figure(name, values.get(name)) for name in names],
                "last": view.to.percent(figure) if last == "similarity" else view.to.decimal(figure, 2),
                "mark": view.marks[int(values["cluster"])] if values else None,
            }
        )
    heads = [(measure.label, measure.shown_unit) for measure in map(view.measure, names)]
    return {"heads": heads, "rows": rows, "last": view.say(last)}


def map_help(view: ModelView, atlas: Atlas) -> str:
    """Say what the map shows."""
    values = {"d": view.to.whole(view.model.spec.d), "share": view.to.percent(atlas.plane.share)}
    if not len(atlas.clusters):
        return view.say("plane_help_bare", **values)
    return view.say("plane_help", n=view.to.whole(len(atlas.clusters)), **values)


def directions(view: ModelView, atlas: Atlas) -> list[str]:
    """Say what the two directions of the map stand for."""
    texts = []
    for axis, key in enumerate(("plane_right", "plane_up")):
        drivers = atlas.drivers(axis)
        what = ", ".join(
            view.say(
                "plane_more" if grows else "plane_less",
                measure=lower_first(view.measure(view.model.spec.names[index]).label),
            )
            for index, grows in drivers
        )
        if what:
            texts.append(view.say(key, what=what))
    return texts


def _facts(visit: Visit, view: ModelView, people: int) -> list[tuple[str, str]]:
    say, to, facts = visit.say, visit.to, visit.snapshot.model.facts
    rows = [
        (say("run_as_of"), to.date(facts.get("as_of"))),
        (say("run_window"), view.window),
        (say("model_customers"), to.whole(people)),
        (say("model_features"), ", ".join(view.measure(name).title for name in view.model.spec.names)),
        (say("model_file"), visit.model_name),
    ]
    if facts.get("where"):
        rows.insert(2, (say("run_where"), str(facts["where"])))
    return rows
