"""What a run of `cartera recommend` found, as one HTML page that needs no connection, no other file and no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.report.look import Mark, upper_first
from engine.report.numbers import NumberFormat
from engine.report.offers import segment_offers
from engine.report.page import templates
from engine.report.recommend_words import TEXTS, RecommendWords

if TYPE_CHECKING:
    import polars as pl

OURS = "cartera"
"""Name of the recommender in an evaluation."""

SHOWN_MEASURES = ("recall", "hit", "ndcg", "recall_repeat", "recall_explore")

SHOWN_OF_NEW = ("recall", "hit", "ndcg")
"""Where only products that were new to the customers are recommended and looked for."""

LISTED = 5
"""Products, and rules, that are listed of each segment."""

LEAST_TO_OFFER = 10
"""Customers whom a listed rule has left to offer to; with fewer it is not worth a campaign, and is counted only."""


def render_recommendations(
    facts: Mapping[str, Any],
    tables: Mapping[str, pl.DataFrame],
    examples: Mapping[str, tuple[str, str]],
    language: str,
) -> str:
    """Write the page.

    Styles are inside and the content policy forbids scripts and every request. Names are escaped, whatever they hold.
    No customer's id is in the page.

    Parameters
    ----------
    facts
        Of the run: ``version``, ``as_of`` (ISO date), ``k``, ``customers``, ``products``, ``recommendations``,
        ``reasons`` (rows by reason), ``foreseen`` (:meth:`engine.recommend.evaluate.Evaluation.to_dict`, or None),
        ``only`` (``new`` where nothing else was recommended, nor looked for), ``segments`` (``segment_id``, ``en``,
        ``es``, ``customers``, and ``rank``, 1 for the highest mean billing; without it they are numbered as they come)
        and ``notes`` (``en``, ``es``). Perhaps ``why_nothing`` (by table and segment id ``en`` and ``es``: why there is
        nothing), ``next_products_from`` (ISO date), ``next_products_days``, ``next_products_falling_off`` (what
        was left out of them), ``categories`` (whether its products are categories).
    tables
        ``next_products``, ``cross_sell`` and ``up_sell``, those that there are: with ``segment_id``, and what products
        are called in columns ``name…`` where that is not their id.
    examples
        By reason a product and the reason in words, in the reader's language.
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
    say, to = RecommendWords(language), NumberFormat(language)
    by_segment = {name: _by_segment(table) for name, table in tables.items()}
    marks = [
        Mark.of(one["segment_id"], int(one.get("rank") or place), upper_first(str(one[language])))
        for place, one in enumerate(facts["segments"], start=1)
    ]
    page = {
        "language": language,
        "version": facts["version"],
        "say": say,
        "head": _head(facts, tables, say, to),
        "notes": [note[language] for note in facts["notes"]],
        "qualities": _qualities(facts, say, to),
        "reasons": _reasons(facts["reasons"], examples, say, to),
        "segments": _segments(facts, marks, by_segment, say, to),
        "definitions": _definitions(tables, facts["foreseen"], say),
    }
    return templates().get_template("recommend.html.j2").render(page)


def _head(
    facts: Mapping[str, Any], tables: Mapping[str, pl.DataFrame], say: RecommendWords, to: NumberFormat
) -> dict[str, Any]:
    customers = to.whole(facts["customers"])
    found = facts["foreseen"]
    recall = None if found is None else found["measures"][OURS]["recall"]["mean"]
    share = to.percent(recall)
    rules = tables["cross_sell"].height if "cross_sell" in tables else None
    figures = [
        (customers, say("figure_customers")),
        (to.whole(facts["products"]), say("figure_categories" if facts.get("categories") else "figure_products")),
        (to.whole(facts["recommendations"]), say("figure_recommendations")),
    ]
    # What was not looked for is no figure.
    figures += [] if recall is None else [(share, say("figure_found"))]
    figures += [] if rules is None else [(to.whole(rules), say("figure_rules"))]
    return {
        "title": say("recommend_title_bare", customers=customers)
        if recall is None
        else say("recommend_title_new" if _only_new(facts) else "recommend_title", share=share, k=to.whole(found["k"])),
        "lead": f"{say('recommend_lead', customers=customers, day=to.date(facts['as_of']))} {say('recommend_list')}",
        "figures": figures,
    }


def _only_new(facts: Mapping[str, Any]) -> bool:
    return facts.get("only") == "new"


def _qualities(facts: Mapping[str, Any], say: RecommendWords, to: NumberFormat) -> list[dict[str, Any]]:
    """Return the tables of recommenders: of all products and, where it was judged, of those new to the customers."""
    found = facts["foreseen"]
    if found is None:
        return []
    if _only_new(facts):
        return [{**_quality("novel", found, SHOWN_OF_NEW, say, to), "id": "quality", "title": say("quality_title")}]
    tables = [_quality("quality", found, SHOWN_MEASURES, say, to)]
    new = found.get("new")
    if new is not None and OURS in new["measures"]:
        tables.append(_quality("novel", new, SHOWN_OF_NEW, say, to))
    return tables


def _quality(
    key: str, found: Mapping[str, Any], measures: Sequence[str], say: RecommendWords, to: NumberFormat
) -> dict[str, Any]:
    """Return a table of recommenders, ours first."""
    apart = found["differences"].get(OURS, {}).get("ndcg", {"low": None, "high": None})
    low, high = apart["low"], apart["high"]
    verdict = "better" if low is not None and low > 0 else "worse" if high is not None and high < 0 else "alike"
    others = sorted((name for name in found["measures"] if name != OURS), key=lambda name: -_mean(found, name))
    return {
        "id": key,
        "title": say(f"{key}_title"),
        "finding": say(f"quality_{verdict}", name=_by(found["baseline"], say)),
        "help": say(f"{key}_help", n=to.whole(found["protocol"]["targets"]), k=to.whole(found["k"])),
        "heads": [say(f"measure_{name}") for name in measures],
        "rows": [
            {
                "name": upper_first(_by(name, say)),
                "ours": name == OURS,
                "cells": [_cell(measure, found["measures"][name][measure], say, to) for measure in measures],
            }
            for name in (OURS, *others)
        ],
    }


def _mean(found: Mapping[str, Any], name: str) -> float:
    mean = found["measures"][name]["ndcg"]["mean"]
    return -1.0 if mean is None else float(mean)


def _by(name: str, say: RecommendWords) -> str:
    return say(f"by_{name}") if f"by_{name}" in TEXTS else name


def _cell(measure: str, estimate: Mapping[str, Any], say: RecommendWords, to: NumberFormat) -> tuple[str, str]:
    def shown(value: float | None) -> str:
        return to.decimal(value, 3) if measure == "ndcg" else to.percent(value)

    if estimate["low"] is None:
        return shown(estimate["mean"]), ""
    # An interval may reach beyond what a share can be.
    low, high = max(0.0, estimate["low"]), min(1.0, estimate["high"])
    return shown(estimate["mean"]), say("interval", low=shown(low), high=shown(high))


def _reasons(
    counts: Mapping[str, int], examples: Mapping[str, tuple[str, str]], say: RecommendWords, to: NumberFormat
) -> dict[str, Any] | None:
    every = sum(counts.values())
    if not every:
        return None
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows = []
    for reason, count in ranked:
        product, why = examples.get(reason, ("", ""))
        rows.append((upper_first(say(f"reason_{reason}")), to.percent(count / every), product, why))
    first = say(f"reason_{ranked[0][0]}")
    return {"finding": say("reasons_finding", share=rows[0][1], reason=first), "rows": rows}


def _segments(
    facts: Mapping[str, Any],
    marks: Sequence[Mark],
    tables: Mapping[str, Mapping[str, list[dict[str, Any]]]],
    say: RecommendWords,
    to: NumberFormat,
) -> list[dict[str, Any]]:
    names = {mark.segment_id: mark.name for mark in marks}
    found = []
    period, days = "", facts.get("next_products_days")
    if facts.get("next_products_from"):
        period = say("next_period", days=to.whole(days), first=to.date(facts["next_products_from"]))
        period += f" {say('next_falling')}" if facts.get("next_products_falling_off") else ""
    for one, mark in sorted(zip(facts["segments"], marks, strict=True), key=lambda pair: pair[1].rank):
        tried, rules, dearer = (
            tables[name].get(mark.segment_id, []) if name in tables else None
            for name in ("next_products", "cross_sell", "up_sell")
        )
        above = names.get(dearer[0]["next_segment_id"], "") if dearer else ""
        count = one["customers"]
        why = {
            name: said[mark.segment_id][say.language]
            for name, said in facts.get("why_nothing", {}).items()
            if mark.segment_id in said
        }
        found.append(
            {
                "mark": mark,
                # A line breaks before the point and not behind it.
                "title": mark.name.replace(" · ", " ·\N{NO-BREAK SPACE}"),
                "count": say("one_customer") if count == 1 else say("customers_count", n=to.whole(count)),
                "offers": segment_offers(
                    tried,
                    rules,
                    dearer,
                    say,
                    to,
                    above=above,
                    listed=LISTED,
                    why=why,
                    period=period,
                    days=days,
                    least_to_offer=LEAST_TO_OFFER,
                ),
            }
        )
    return found


def _by_segment(table: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each segment, with what each product is called in columns ``product…_name``."""
    found: dict[str, list[dict[str, Any]]] = {}
    products = [column for column in table.columns if column.startswith("product")]
    for row in table.iter_rows(named=True):
        for column in products:
            row[f"{column}_name"] = row.get("name" + column.removeprefix("product")) or row[column]
        found.setdefault(row["segment_id"], []).append(row)
    return found


def _definitions(
    tables: Mapping[str, pl.DataFrame], found: Mapping[str, Any] | None, say: RecommendWords
) -> list[tuple[str, str]]:
    terms = []
    if "next_products" in tables:
        terms.append((say("probability"), say("define_probability")))
    if "cross_sell" in tables:
        terms += [(say("lift"), say("define_lift")), (say("between"), say("define_between"))]
    if found is not None:
        terms.append((say("measure_ndcg"), say("define_ndcg")))
    return terms
