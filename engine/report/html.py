"""The report: one HTML page that needs no connection and no other file.

:func:`render` turns the plain summary of a run into the page. Here figures become text and sections become lists;
:mod:`engine.report.charts` draws, :mod:`engine.report.words` speaks, and the template only places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from engine.report.charts import map_chart, profile_chart, shares_chart
from engine.report.curves import choice_charts, choice_section
from engine.report.look import MONEY_MEASURES, Chart, Mark, Measure, tint, upper_first
from engine.report.numbers import NumberFormat, decimals_for, known
from engine.report.page import as_json, plotly, templates
from engine.report.words import TEXTS, Words

CARD_MEASURES = ("monetary", "frequency", "units", "recency_days")
"""What a card shows of a segment, in this order, where the run has it."""

TABLE_FIRST = ("monetary", "frequency", "units")
"""Measures that lead the profile table, as in ``profile.csv``."""


def render(summary: Mapping[str, Any], language: str) -> str:
    """Write the report of a run as one HTML page.

    The page holds its styles, its script and Plotly's JavaScript (about 5 MB); its content policy forbids every
    request. Names and texts of the summary are escaped, whatever they hold.

    Parameters
    ----------
    summary
        The run as plain values, as :mod:`engine.report.summary` builds it. A figure that is None or not finite is
        shown as a dash.
    language
        ``en`` or ``es``.

    Returns
    -------
    str
        The page, to be written as UTF-8.

    Raises
    ------
    SettingError
        The language is neither.
    """
    say, to = Words(language), NumberFormat(language)
    segments = sorted(summary["segments"], key=lambda segment: int(segment["rank"]))
    marks = [Mark.of(s["segment_id"], int(s["rank"]), say.of(s["name"])) for s in segments]
    measures = {
        m["name"]: Measure(
            m["name"], say.of(m["label"]), say.of(m["unit"]), say.of(m["definition"]), m.get("signed", False)
        )
        for m in summary["measures"]
    }
    charts: dict[str, Chart] = {"shares": shares_chart(marks, segments, say, to)}
    shown = list(measures.values())
    charts["profile"] = profile_chart(marks, segments, summary["population"]["means"], shown, say, to)
    scatter = map_chart(marks, segments, summary["sample"], measures, say, to)
    map_counts: dict[str, str] = {}
    if scatter is not None:
        charts["map"], drawn, undrawn = scatter
        map_counts = {"drawn": to.whole(drawn), "undrawn": to.whole(undrawn) if undrawn else ""}
    charts |= choice_charts(summary, say, to)
    page = {
        "language": language,
        "name": summary["name"],
        "version": summary["version"],
        "say": say,
        "head": _head(summary, segments, marks, say, to),
        "verdict": _verdict(summary["verdict"], say, to),
        "warnings": [say.of(one) for one in (*summary.get("warnings", ()), *summary["verdict"]["warnings"])],
        "marks": marks,
        "cards": _cards(segments, marks, measures, say, to),
        "charts": charts,
        "map": map_counts,
        "table": _profile_table(summary, segments, marks, measures, say, to),
        "notes": [say.of(note) for note in summary["notes"]],
        "choice": choice_section(summary, say, to),
        "data": _data(summary["reconciliation"], say, to),
        "definitions": _definitions(measures, say),
        "features": _features(summary["features"], measures, say, to),
        "run": _run(summary, say, to),
        "seconds": [(say.name(step), to.seconds(s)) for step, s in summary["run"]["seconds"].items()],
        "specs": as_json({"charts": [c.to_dict() for c in charts.values()], "save": say("save_image")}),
        "plotly": plotly(),
    }
    return templates().get_template("report.html.j2").render(page)


def _head(
    summary: Mapping[str, Any],
    segments: Sequence[Mapping[str, Any]],
    marks: Sequence[Mark],
    say: Words,
    to: NumberFormat,
) -> dict[str, Any]:
    run, best = summary["run"], segments[0]
    customers = to.whole(run["customers"])
    if known(best["share_monetary"]):
        title = say(
            "headline",
            customers=to.percent(best["share_customers"]),
            revenue=to.percent(best["share_monetary"]),
        )
        who = say("headline_who", name=marks[0].name)
    else:
        title, who = say("headline_without_revenue", customers=customers, k=run["k"]), ""
    mean = run["monetary_total"] / run["customers"] if known(run["monetary_total"]) else None
    period = say(
        "period", first=to.date(run["first_sale"]), last=to.date(run["last_sale"]), as_of=to.date(run["as_of"])
    )
    if run["window_days"] is not None:
        period += " " + say("period_window", days=to.whole(run["window_days"]))
    return {
        "title": title,
        "who": who,
        "period": period,
        "figures": [
            (customers, say("figure_customers")),
            (to.decimal(run["monetary_total"]), say("figure_revenue")),
            (to.whole(run["orders"]), say("figure_orders")),
            (to.decimal(mean), say("figure_mean")),
            (to.whole(run["k"]), say("figure_segments")),
        ],
    }


def _verdict(verdict: Mapping[str, Any], say: Words, to: NumberFormat) -> dict[str, Any]:
    by_user = verdict["chosen_by"] == "user"
    state = "fixed" if by_user else "clear" if verdict["clear"] else "unclear"
    return {
        "state": state,
        "pill": say(f"verdict_{state}"),
        "sentence": say("verdict_user" if by_user else "verdict_auto", k=to.whole(verdict["k"])),
        "reason": say.of(verdict["reason"]),
    }


def _cards(
    segments: Sequence[Mapping[str, Any]],
    marks: Sequence[Mark],
    measures: Mapping[str, Measure],
    say: Words,
    to: NumberFormat,
) -> list[dict[str, Any]]:
    names = [name for name in CARD_MEASURES if name in measures] or list(measures)[:4]
    places = {name: _places(name, segments) for name in names}
    cards = []
    for segment, mark in zip(segments, marks, strict=True):
        count = segment["customers"]
        figures = []
        for name in names:
            value = to.decimal(segment["means"].get(name), places[name])
            figures.append((measures[name].label, value, measures[name].shown_unit))
        bars = [
            (say("of_customers"), segment["share_customers"], tint(mark.colour)),
            (say("of_revenue"), segment["share_monetary"], mark.colour),
        ]
        cards.append(
            {
                "mark": mark,
                "count": say("one_customer") if count == 1 else say("customers_count", n=to.whole(count)),
                "description": say.of(segment["description"]),
                "action": say.of(segment["action"]),
                "figures": figures,
                "bars": [
                    (to.percent(share), word, f"{100 * min(1.0, max(0.0, share or 0.0)):.2f}", colour)
                    for word, share, colour in bars
                ],
                "apart": [driver_sentence(driver, measures, say, to) for driver in segment["drivers"]],
            }
        )
    return cards


def driver_sentence(driver: Mapping[str, Any], measures: Mapping[str, Measure], say: Words, to: NumberFormat) -> str:
    """Say in a sentence how a segment departs from the average in one measure.

    The direction comes from typical (logarithmic) values, the ratio from means. Where a few large customers make
    them disagree, the sentence keeps to the direction and gives no figure.

    Examples
    --------
    >>> say, to = Words("en"), NumberFormat("en")
    >>> driver_sentence({"feature": "monetary", "ratio": 2.258, "z": 1.0, "direction": "high"}, {}, say, to)
    'Spends 2.3 times the average'
    >>> driver_sentence({"feature": "monetary", "ratio": 0.04, "z": -2.1, "direction": "low"}, {}, say, to)
    'Spends 4% of the average'
    """
    feature, ratio, direction = driver["feature"], driver["ratio"], driver["direction"]
    label = measures[feature].label if feature in measures else say.name(feature)
    agrees = known(ratio) and (ratio >= 1.05 if direction == "high" else 0 <= ratio <= 0.95)
    if not agrees:
        return say("any_above" if direction == "high" else "any_below", label=label)
    key = f"{feature}_{direction}"
    return say(
        key if key in TEXTS else f"any_{direction}",
        label=label,
        times=to.factor(ratio),
        share=to.percent(ratio, 0),
    )


def _places(name: str, segments: Sequence[Mapping[str, Any]]) -> int:
    values = [s["means"].get(name) for s in segments]
    return 2 if name in MONEY_MEASURES else decimals_for([float(v) for v in values if known(v)])


def _profile_table(
    summary: Mapping[str, Any],
    segments: Sequence[Mapping[str, Any]],
    marks: Sequence[Mark],
    measures: Mapping[str, Measure],
    say: Words,
    to: NumberFormat,
) -> dict[str, Any]:
    first = [name for name in TABLE_FIRST if name in measures]
    names = first + [name for name in measures if name not in first]
    places = {name: _places(name, segments) for name in names}

    def cells(means: Mapping[str, Any], medians: Mapping[str, Any]) -> list[tuple[str, str]]:
        return [
            (to.decimal(means.get(name), places[name]), to.decimal(medians.get(name), places[name])) for name in names
        ]

    everyone = summary["population"]
    return {
        "heads": [(measures[name].label, measures[name].shown_unit) for name in names],
        "rows": [
            {
                "mark": mark,
                "customers": to.whole(segment["customers"]),
                "share_customers": to.percent(segment["share_customers"]),
                "share_revenue": to.percent(segment["share_monetary"]),
                "cells": cells(segment["means"], segment["medians"]),
            }
            for segment, mark in zip(segments, marks, strict=True)
        ],
        "everyone": {
            "customers": to.whole(summary["run"]["customers"]),
            "share_customers": to.percent(1),
            "share_revenue": to.percent(1 if known(segments[0]["share_monetary"]) else None),
            "cells": cells(everyone["means"], everyone["medians"]),
        },
    }


def _data(facts: Mapping[str, Any], say: Words, to: NumberFormat) -> dict[str, Any]:
    read, kept = facts["rows_read"], facts["rows_kept"]
    analysed = facts.get("rows_analysed", kept)
    if analysed == read:
        title = say("data_all_kept", rows=to.whole(read))
    else:
        # Nearly all is not all: 99.97 % must not be rounded up to 100.
        share = Decimal(analysed) / Decimal(read)
        title = say("data_kept", share=to.percent(min(share, Decimal("0.999"))))
    amounts = facts["amount_rejected"]
    rejected = sorted(facts["rejected"].items(), key=lambda item: (-item[1], item[0]))
    left_out = sorted(facts["customers_left_out"].items(), key=lambda item: (-item[1], item[0]))
    return {
        "title": title,
        "rows": [
            (say("read"), to.whole(read), to.decimal(facts["amount_read"]), "sum"),
            *(
                (
                    say("rejected", reason=say.name(reason)),
                    to.whole(rows),
                    to.decimal(amounts.get(reason)),
                    "part",
                )
                for reason, rows in rejected
            ),
            (say("kept"), to.whole(kept), to.decimal(facts["amount_kept"]), "sum"),
            *_analysed(facts, say, to),
        ],
        "people": [
            (say("in_lake"), to.whole(facts["customers_in_lake"]), "sum"),
            *((say("left_out", reason=say.name(reason)), to.whole(n), "part") for reason, n in left_out),
            (say("segmented"), to.whole(facts["customers_segmented"]), "sum"),
        ],
    }


def _analysed(facts: Mapping[str, Any], say: Words, to: NumberFormat) -> list[tuple[str, str, str, str]]:
    """Lead from the rows kept to the rows that the figures rest on; nothing where the summary does not say."""
    if "rows_analysed" not in facts:
        return []
    left_out = facts.get("rows_left_out", {})
    return [
        *(
            (upper_first(say.name(reason)), to.whole(part["rows"]), to.decimal(part["amount"]), "part")
            for reason, part in sorted(left_out.items(), key=lambda item: (-item[1]["rows"], item[0]))
            if part["rows"]
        ),
        (
            say("analysed"),
            to.whole(facts["rows_analysed"]),
            to.decimal(facts.get("amount_analysed")),
            "sum",
        ),
    ]


def _definitions(measures: Mapping[str, Measure], say: Words) -> list[tuple[str, str]]:
    return [
        *((measure.title, measure.definition) for measure in measures.values()),
        (say("share_customers"), say("definition_customers")),
        (say("share_revenue"), say("definition_revenue")),
        (say("median").capitalize(), say("definition_median")),
        (say("inertia"), say("elbow_help")),
        (say("silhouette"), say("silhouette_help")),
    ]


def _features(
    features: Sequence[Mapping[str, Any]], measures: Mapping[str, Measure], say: Words, to: NumberFormat
) -> list[tuple[str, str, str, str]]:
    return [
        (
            measures[f["name"]].label if f["name"] in measures else say.name(f["name"]),
            say.name(f["transform"]),
            say.name(f["scale"]),
            to.decimal(f["weight"], 1),
        )
        for f in features
    ]


def _run(summary: Mapping[str, Any], say: Words, to: NumberFormat) -> list[tuple[str, str]]:
    run = summary["run"]
    window = run["window_days"]
    facts = [
        (say("run_as_of"), to.date(run["as_of"])),
        (
            say("run_window"),
            say("run_whole_history") if window is None else say("run_days", days=to.whole(window)),
        ),
        (say("run_rows"), to.whole(run["rows"])),
        (say("inertia"), to.decimal(run["inertia"], 1)),
        (say("silhouette"), to.decimal(run["silhouette"], 3)),
        (say("run_backend"), say.name(run["backend"])),
        (say("run_solver"), say.name(run["solver"])),
        (say("run_seed"), str(run["seed"])),
        (say("run_lake_version"), str(run["lake_version"])),
        (say("run_memory"), f"{to.whole(run['peak_memory_mb'])}\N{NO-BREAK SPACE}MB"),
        (say("run_version"), summary["version"]),
    ]
    if run["where"] is not None:
        facts.insert(2, (say("run_where"), run["where"]))
    return facts
