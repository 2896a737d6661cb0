"""The comparison of two runs as one HTML page that needs no connection, no other file and no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.features.store import FEATURES
from engine.report.compare_flow import Node, flow, nodes
from engine.report.compare_words import CompareWords
from engine.report.look import (
    ABOVE,
    BELOW,
    INK,
    MONEY_MEASURES,
    MUTED,
    PAPER,
    Measure,
    luminance,
    shortened,
    tint,
    upper_first,
)
from engine.report.numbers import MINUS, MISSING, NumberFormat, decimals_for, known
from engine.report.page import templates
from engine.segments.migration import GONE, NEW

LARGEST_MOVES = 8
"""Movements that are listed."""

NAME_BESIDE_BAR = 60
"""Characters of a name that fit beside the drawing, on two lines."""

GREY = "#8d887e"


def render_comparison(content: Mapping[str, Any], language: str) -> str:
    """Write the comparison as one HTML page.

    Styles are inside, the drawing is SVG, and the content policy forbids scripts and every request. Names are escaped,
    whatever they hold. No customer's id is in the page.

    Parameters
    ----------
    content
        Of :meth:`engine.segments.compare.Comparison.to_dict`, with ``version``, Cartera's own.
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
    say, to = CompareWords(language), NumberFormat(language)
    before, after = nodes(content, say)
    drawing = flow(content, before, after)
    moves = [
        (
            before[one["from_segment_id"]],
            after[one["to_segment_id"]],
            to.whole(one["customers"]),
            to.percent(one["share_of_from"]),
        )
        for one in _moves(content)
    ]
    items = [
        say("flow_item", start=band.start.name, end=band.end.name, n=to.whole(band.customers)) for band in drawing.bands
    ]
    page = {
        "language": language,
        "version": content["version"],
        "say": say,
        "head": _head(content, say, to),
        "notes": [say.of(note) for note in content["notes"]],
        "flow": drawing,
        "items": items,
        "alt": f"{say('flow_alt')} {'; '.join(items)}.",
        "label": lambda node: shortened(node.name, NAME_BESIDE_BAR),
        "count": lambda bar: to.whole(bar.customers),
        "finding": _moves_finding(moves, say),
        "matrix": _matrix(content, before, after, to),
        "legend_before": list(before.values()),
        "legend_after": list(after.values()),
        "moves": moves[:LARGEST_MOVES],
        "pairs_finding": _pairs_finding(content, before, say, to),
        "cards": _cards(content, before, after, say, to),
        "definitions": _definitions(content, say),
        "runs": _runs(content, say, to),
    }
    return templates().get_template("compare.html.j2").render(page)


def _head(content: Mapping[str, Any], say: CompareWords, to: NumberFormat) -> dict[str, Any]:
    common, moved, rand = content["common_customers"], content["moved_customers"], content["adjusted_rand"]
    lead = {"stayed": to.whole(content["stayed_customers"]), "common": to.whole(common)}
    if not common:
        title, who = say("compare_none"), ""
    else:
        title = say("compare_moved", share=to.percent(content["share_moved"])) if moved else say("compare_still")
        who = (
            say("compare_lead_short", **lead)
            if rand is None
            else say("compare_lead", **lead, alike=say.alike(rand), rand=to.decimal(rand, 3))
        )
    first, second = (content[side]["facts"].get("as_of") for side in ("before", "after"))
    period = (
        ""
        if first is None or second is None
        else say("compare_same_day", day=to.date(first))
        if first == second
        else say("compare_period", before=to.date(first), after=to.date(second))
    )
    return {
        "title": title,
        "who": who,
        "period": period,
        "figures": [
            (to.whole(common), say("figure_common")),
            (to.whole(moved), say("figure_moved")),
            (to.whole(content["new_customers"]), say("figure_new")),
            (to.whole(content["gone_customers"]), say("figure_gone")),
            (to.decimal(rand, 3), say("figure_rand")),
        ],
    }


def _moves_finding(moves: Sequence[tuple[Node, Node, str, str]], say: CompareWords) -> str:
    if not moves:
        return say("top_nobody")
    start, end, customers, _ = moves[0]
    count = say("one_customer") if customers == "1" else say("customers_count", n=customers)
    return say("moves_finding", start=start.name, end=end.name, n=count)


def _moves(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the cells of customers who went from a segment to one that is not its match, the largest first."""
    matches = {(pair["before_segment_id"], pair["after_segment_id"]) for pair in content["pairs"]}
    cells = [
        one
        for one in content["migration"]
        if one["customers"]
        and one["from_segment_id"] != NEW
        and one["to_segment_id"] != GONE
        and (one["from_segment_id"], one["to_segment_id"]) not in matches
    ]
    return sorted(cells, key=lambda one: -one["customers"])


def _matrix(
    content: Mapping[str, Any], before: Mapping[str, Node], after: Mapping[str, Node], to: NumberFormat
) -> dict[str, Any]:
    cells = {(one["from_segment_id"], one["to_segment_id"]): one for one in content["migration"]}
    matches = {(pair["before_segment_id"], pair["after_segment_id"]) for pair in content["pairs"]}
    rows = []
    for start, node in before.items():
        row = []
        for end in after:
            one = cells.get((start, end))
            if one is None:
                row.append(("", "", PAPER, INK))
                continue
            if not one["customers"]:
                row.append((to.percent(one["share_of_from"], 0), to.whole(0), PAPER, MUTED))
                continue
            hue = GREY if start == NEW or end == GONE else ABOVE if (start, end) in matches else BELOW
            paint = tint(hue, 0.04 + 0.86 * one["share_of_from"])
            row.append((to.percent(one["share_of_from"]), to.whole(one["customers"]), paint, _ink_on(paint)))
        total = sum(cells[start, end]["customers"] for end in after if (start, end) in cells)
        rows.append((node, row, to.whole(total)))
    totals = [sum(cells[start, end]["customers"] for start in before if (start, end) in cells) for end in after]
    return {
        "heads": list(after.values()),
        "rows": rows,
        "totals": [to.whole(total) for total in totals],
        "everybody": to.whole(sum(totals)),
    }


def _ink_on(colour: str) -> str:
    """Choose the ink that stands out more, by the contrast ratio of WCAG 2.2."""
    light = luminance(colour) + 0.05
    return INK if light / (luminance(INK) + 0.05) >= 1.05 / light else PAPER


def _pairs_finding(content: Mapping[str, Any], before: Mapping[str, Node], say: CompareWords, to: NumberFormat) -> str:
    if not content["pairs"]:
        return say("pairs_none")
    changes = [
        (pair["figures"]["customers"]["relative_change"] or 0.0, before[pair["before_segment_id"]].name)
        for pair in content["pairs"]
    ]
    most, name = max(changes, key=lambda change: abs(change[0]), default=(0.0, ""))
    if round(most, 3) == 0:
        return say("pairs_same")
    return say("pairs_finding", name=name, change=_signed_percent(most, to))


def _cards(
    content: Mapping[str, Any],
    before: Mapping[str, Node],
    after: Mapping[str, Node],
    say: CompareWords,
    to: NumberFormat,
) -> list[dict[str, Any]]:
    """Return a card for all customers, one for each pair, and one for each segment without a match."""
    sizes = {one["segment_id"]: one["customers"] for one in content["before"]["segments"]}
    everyone = content["everyone"]
    cards: list[dict[str, Any]] = [
        {"node": None, "title": say("all_customers"), "now": "", "texts": [], "rows": _figures(everyone, say, to)}
    ]
    for pair in content["pairs"]:
        node, heir = before[pair["before_segment_id"]], after[pair["after_segment_id"]]
        kept = say(
            "kept_customers",
            kept=to.whole(pair["kept_customers"]),
            n=to.whole(sizes[node.id]),
            share=to.percent(pair["share_kept"]),
        )
        cards.append(
            {
                "node": node,
                "title": node.name,
                "now": "" if heir.name == node.name else say("became", name=heir.name),
                "texts": [kept, say("by_id" if pair["matched_by"] == "segment_id" else "by_customers")],
                "rows": _figures(pair["figures"], say, to),
            }
        )
    for side, looks, word in (("before", before, "ended"), ("after", after, "born")):
        for alone in content["without_match"][side]:
            node = looks[alone["segment_id"]]
            rows = _figures(alone["figures"], say, to)
            cards.append({"node": node, "title": node.name, "now": "", "texts": [say(word)], "rows": rows})
    return cards


def _figures(
    figures: Mapping[str, Mapping[str, Any]], say: CompareWords, to: NumberFormat
) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, change in figures.items():
        first, second = change["before"], change["after"]
        if name.startswith("share_"):
            label = say("share_customers" if name == "share_customers" else "share_revenue")
            points = change["change"]
            difference = MISSING if points is None else say("points", n=_signed(100 * points, 1, to))
            rows.append((label, to.percent(first), to.percent(second), difference))
            continue
        measure = name.removesuffix("_mean")
        values = [float(value) for value in (first, second) if known(value)]
        whole, money = name == "customers", measure in MONEY_MEASURES
        places = 0 if whole else 2 if money else decimals_for(values)
        label = say("customers") if whole else _title(measure, say)
        difference = _signed_percent(change["relative_change"], to)
        rows.append((label, to.decimal(first, places), to.decimal(second, places), difference))
    return rows


def _signed(value: float, places: int, to: NumberFormat) -> str:
    text = to.decimal(abs(value), places)
    return text if round(abs(value), places) == 0 else f"{'+' if value > 0 else MINUS}{text}"


def _signed_percent(value: float | None, to: NumberFormat) -> str:
    if value is None or not known(value):
        return MISSING
    if round(abs(100 * value), 1) == 0:
        return to.percent(0)
    return f"{'+' if value > 0 else MINUS}{to.percent(abs(value))}"


def _label(measure: str, say: CompareWords) -> str:
    return say.of(FEATURES[measure].label) if measure in FEATURES else say.name(measure)


def _title(measure: str, say: CompareWords) -> str:
    unit = say.of(FEATURES[measure].unit) if measure in FEATURES else ""
    return upper_first(Measure(measure, _label(measure, say), unit, "").title)


def _definitions(content: Mapping[str, Any], say: CompareWords) -> list[tuple[str, str]]:
    measures = [name.removesuffix("_mean") for name in content["everyone"] if name.endswith("_mean")]
    return [
        (upper_first(say("figure_rand")), say("rand_definition")),
        (say("moved_title"), say("moved_definition")),
        (say("match_title"), say("match_definition")),
        (say("outside_title"), say("outside_definition")),
        *((say.of(FEATURES[name].label), say.of(FEATURES[name].definition)) for name in measures if name in FEATURES),
    ]


def _runs(content: Mapping[str, Any], say: CompareWords, to: NumberFormat) -> list[tuple[str, str, str, bool]]:
    columns = [_run(content[side], say, to) for side in ("before", "after")]
    return [(label, *values, values[0] != values[1]) for label, values in _side_by_side(columns)]


def _side_by_side(columns: Sequence[Mapping[str, str]]) -> list[tuple[str, tuple[str, str]]]:
    return [(label, (columns[0][label], columns[1][label])) for label in columns[0]]


def _run(run: Mapping[str, Any], say: CompareWords, to: NumberFormat) -> dict[str, str]:
    facts = run["facts"]
    window = facts.get("window_days")
    return {
        say("run_name"): run["name"],
        say("run_as_of"): to.date(facts.get("as_of")),
        say("run_window"): say("run_whole_history") if window is None else say("run_days", days=to.whole(window)),
        say("run_where"): facts.get("where") or say("run_none"),
        say("customers"): to.whole(run["customers"]),
        upper_first(say("figure_revenue")): to.decimal(facts.get("monetary_total")),
        upper_first(say("figure_segments")): to.whole(len(run["segments"])),
        say("run_features"): ", ".join(_label(name, say) for name in run["features"]) or MISSING,
        say("silhouette"): to.decimal(facts.get("silhouette"), 3),
    }
