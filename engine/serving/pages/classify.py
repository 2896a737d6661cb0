"""The page on which one customer is classified: a field for each variable, and an answer with its why."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.responses import Response

from engine.errors import DataError
from engine.report.look import tint
from engine.report.numbers import NumberFormat
from engine.schema import LANGUAGES
from engine.segments.model import Classification
from engine.serving.pages.charts import plane_chart
from engine.serving.pages.frame import Visit
from engine.serving.pages.model import ModelView, counted, example, limits, rounded
from engine.serving.pages.segments import map_help
from engine.serving.pages.why import pulls

BORDERLINE, LEANING, FAIR = 0.05, 0.2, 0.4
"""Margins below which an answer is a toss-up, a leaning, and fair; from the last one on it is clear.

The distances to the two nearest centres are then as 0.95 : 1, 0.8 : 1 and 0.6 : 1.
"""

LONGEST_NUMBER = 40
"""Characters of a value that is repeated to who typed it."""


@dataclass(frozen=True, slots=True)
class Field:
    """One value to type."""

    name: str
    label: str
    unit: str
    definition: str
    range: str
    example: str
    text: str
    error: str


def form(visit: Visit) -> Response:
    """Show the empty form, or one filled in with a typical customer of ``?example=SEGMENT``."""
    view = _view(visit)
    cluster = view.cluster_of(visit.query.get("example", ""))
    texts = {}
    if cluster is not None:
        texts = {name: typed(value, visit.to) for name, value in typical_customer(view, cluster).items()}
    return _page(visit, view, texts, {})


def answer(visit: Visit) -> Response:
    """Classify what was typed; where it cannot be, show the form again with what is wrong beside each field."""
    view, model = _view(visit), visit.snapshot.model
    # The language may have been switched after typing: 1.234 is another number there.
    written = NumberFormat(given if (given := visit.form.get("written_in")) in LANGUAGES else visit.language)
    texts = {name: visit.form.get(f"value-{name}", "").strip() for name in model.spec.names}
    values, errors = {}, {}
    for name, text in texts.items():
        try:
            values[name] = read_number(text, written)
        except ValueError:
            key = "value_no_number" if text else "value_missing"
            errors[name] = visit.say(key, text=text[:LONGEST_NUMBER], example=_example(view, name))
            continue
        low, high = limits(model, name)
        if math.isinf(values[name]):
            errors[name] = visit.say("value_too_large")
        elif not low <= values[name] <= high:
            errors[name] = visit.say("value_low" if math.isinf(high) else "value_outside", **_bounds(view, name))
        if written.language != visit.language:
            texts[name] = typed(values[name], visit.to)
    if errors:
        return _page(visit, view, texts, errors)
    try:
        found = model.classify(values)
        point = model.spec.row(values).astype(np.float64)
    except DataError as error:
        return _page(visit, view, texts, {}, refused=str(error))
    atlas = visit.atlas
    return _page(
        visit,
        view,
        texts,
        {},
        answer=_answer(visit, view, found, values, point),
        charts={"map": plane_chart(view, atlas, atlas.plane.place(point[None, :])[0])},
        map_help=map_help(view, atlas),
    )


def typical_customer(view: ModelView, cluster: int) -> dict[str, float]:
    """Return the values of a customer in the middle of a segment, as a person would type them."""
    model, centre = view.model, view.typical[cluster]
    medians = model.segments[cluster].medians
    exact = {name: rounded(medians.get(name, centre[name]), 3) for name in model.spec.names}
    whole = {name: counted(name, value) for name, value in exact.items()}
    # Of very small counts the whole number may lie in the neighbouring segment.
    return whole if model.classify(whole).segment_id == model.segments[cluster].segment_id else exact


def read_number(text: str, to: NumberFormat) -> float:
    """Read a number as people write it in a language: with its decimal mark, with or without thousands marks.

    A mark of the other language is understood where it can mean nothing else.

    Raises
    ------
    ValueError
        It is no number, or not clearly one.

    Examples
    --------
    >>> en, es = NumberFormat("en"), NumberFormat("es")
    >>> read_number("1,234.5", en), read_number("1.234,5", es), read_number("1.234", es), read_number("1.234", en)
    (1234.5, 1234.5, 1234.0, 1.234)
    >>> read_number("0,5", en), read_number("-3", es)
    (0.5, -3.0)
    """
    decimal, thousands = to.separators[0], to.separators[1]
    plain = re.sub(r"[\s\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}']", "", text).replace("\N{MINUS SIGN}", "-")
    if re.fullmatch(rf"[+-]?[1-9]\d{{0,2}}(\{thousands}\d{{3}})+(\{decimal}\d*)?", plain, re.ASCII):
        plain = plain.replace(thousands, "")
    # One mark that cannot separate thousands is a decimal mark, whichever it is.
    plain = plain.replace(decimal, ".") if decimal in plain else plain.replace(thousands, ".")
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,4})?", plain, re.ASCII | re.IGNORECASE):
        raise ValueError(f"expected a number; got {text!r}.")
    return float(plain)


def typed(value: float, to: NumberFormat) -> str:
    """Write a number as one would type it: exactly, without thousands marks.

    Examples
    --------
    >>> typed(1234.5, NumberFormat("es")), typed(12.0, NumberFormat("en"))
    ('1234,5', '12')
    """
    text = repr(value)
    return text.removesuffix(".0").replace(".", to.separators[0])


def how_sure(margin: float | None) -> str:
    """Return the key of the words for a margin.

    Examples
    --------
    >>> how_sure(0.01), how_sure(0.9), how_sure(None)
    ('sure_border', 'sure_clear', 'sure_alone')
    """
    if margin is None:
        return "sure_alone"
    steps = ((BORDERLINE, "sure_border"), (LEANING, "sure_leaning"), (FAIR, "sure_fair"))
    return next((key for below, key in steps if margin < below), "sure_clear")


def beyond(view: ModelView, values: dict[str, float]) -> str:
    """Say that a customer has not bought within the period of the model; nothing where that is not so."""
    days, recency = view.model.window_days, values.get("recency_days", 0.0)
    if days is None or recency <= days:
        return ""
    typed_in = f"{view.figure('recency_days', recency)} {view.measure('recency_days').unit}"
    return view.say("beyond_text", days=view.to.whole(days), typed=typed_in)


def agreement_text(view: ModelView, share: float) -> str:
    """Say how many of the nearest known customers are in the same segment; nothing where nobody can tell."""
    return "" if math.isnan(share) else view.say("agreement_text", share=view.to.percent(share, 0))


def reasons(view: ModelView, first: int, second: int, values: dict[str, Any], point: Any) -> dict[str, Any]:
    """Return why a customer is in one segment and not in the next, as a finding and a table.

    Parameters
    ----------
    first, second
        The two nearest clusters.
    values
        The customer's, in business units.
    point
        Shape (d,), the customer in the scaled space.
    """
    model, say = view.model, view.say
    pull = pulls(point, model.centroids[first], model.centroids[second])
    largest = float(np.abs(pull).max())
    order = np.argsort(-pull, kind="stable")
    typical, marks = view.typical, view.marks
    rows = []
    for index in order:
        name, strength = model.spec.names[index], float(pull[index])
        towards = marks[first if strength > 0 else second]
        counts = abs(strength) > 0.005 * largest
        rows.append(
            {
                "measure": view.measure(name),
                "cells": [
                    view.figure(name, values.get(name)),
                    *(view.figure(name, rounded(typical[one][name], 3)) for one in (first, second)),
                ],
                "width": f"{100 * abs(strength) / largest:.1f}" if counts else "0",
                "left": strength < 0,
                "mark": towards if counts else None,
                "colour": towards.colour if strength > 0 else tint(towards.colour, 0.6),
                "towards": say("why_towards", name=towards.name) if counts else say("why_neither"),
            }
        )
    main = model.spec.names[order[0]]
    subject, many = say.subject(main, view.measure(main).label)
    names = {"first": marks[first].name, "second": marks[second].name}
    return {
        "finding": say("why_finding_many" if many else "why_finding", measure=subject, **names),
        "first": marks[first],
        "second": marks[second],
        "rows": rows,
    }


def _view(visit: Visit) -> ModelView:
    return ModelView(visit.snapshot.model, visit.say, visit.to)


def _answer(
    visit: Visit, view: ModelView, found: Classification, values: dict[str, float], point: Any
) -> dict[str, Any]:
    say, to = visit.say, visit.to
    first = view.cluster_of(found.segment_id)
    assert first is not None
    second = None if found.second is None else view.cluster_of(found.second.segment_id)
    base = visit.snapshot.base
    agreement = math.nan if base is None else float(base.agreement(point[None, :], np.array([first]))[0])
    return {
        "mark": view.marks[first],
        "description": say.of(found.segment.description),
        "action": say.of(found.segment.action),
        "sure": say(how_sure(found.margin), second="" if second is None else view.marks[second].name),
        "margin": None if found.margin is None else to.percent(found.margin, 0),
        "percentile": say("percentile_text", share=to.percent(found.distance_percentile, 0)),
        "agreement": agreement_text(view, agreement),
        "novel": found.novel,
        "beyond": beyond(view, values),
        "why": None if second is None else reasons(view, first, second, values, point),
    }


def _page(
    visit: Visit,
    view: ModelView,
    texts: dict[str, str],
    errors: dict[str, str],
    *,
    answer: dict[str, Any] | None = None,
    refused: str = "",
    charts: dict[str, Any] | None = None,
    map_help: str = "",
) -> Response:
    say, model = visit.say, view.model
    days = model.window_days
    window = say("of_window_whole") if days is None else say("of_window_days", days=visit.to.whole(days))
    task = say("classify_lead_one" if model.spec.d == 1 else "classify_lead", n=model.spec.d)
    fields = []
    for name in model.spec.names:
        measure = view.measure(name)
        fields.append(
            Field(
                name=name,
                label=measure.label,
                unit=measure.shown_unit,
                definition=measure.definition,
                range=_range(view, name),
                example=_example(view, name),
                text=texts.get(name, ""),
                error=errors.get(name, ""),
            )
        )
    return visit.page(
        "classify.html.j2",
        title=say("classify_title"),
        status=422 if errors or refused else 200,
        charts=charts,
        lead=f"{task} {window}",
        fields=fields,
        refused=refused,
        examples=[view.marks[cluster] for cluster in view.ranked],
        answer=answer,
        map_help=map_help,
        resend="classify",
    )


def _range(view: ModelView, name: str) -> str:
    low, high = limits(view.model, name)
    if math.isinf(low):
        return view.say("range_any")
    return view.say("range_from" if math.isinf(high) else "range_between", **_bounds(view, name))


def _bounds(view: ModelView, name: str) -> dict[str, str]:
    low, high = limits(view.model, name)
    return {"low": typed(low, view.to), "high": typed(high, view.to)}


def _example(view: ModelView, name: str) -> str:
    low, high = limits(view.model, name)
    return typed(min(max(example(view.model, name), low), high), view.to)
