"""Two runs side by side: who changed segment, and how the segments changed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response

from engine import __version__
from engine.errors import CarteraError
from engine.report.compare_flow import flow, nodes
from engine.report.compare_html import NAME_BESIDE_BAR, render_comparison
from engine.report.compare_words import CompareWords
from engine.report.look import shortened
from engine.report.numbers import MISSING, NumberFormat
from engine.segments.compare import compare_runs
from engine.serving.pages.frame import PageProblem, Visit, not_found

if TYPE_CHECKING:
    from engine.segments.division import Division

log = logging.getLogger(__name__)

KEPT = 8
"""Comparisons that are kept: reading two large runs takes seconds."""

NAME_PARTS = 2
"""Last parts of a folder's path that name a run."""

Reader = Callable[[Path, str], "Division"]


def choose(visit: Visit) -> Response:
    """Show two lists of runs and, once two are chosen, what a comparison of them finds."""
    runs, say = visit.frame.settings.runs, visit.say
    chosen = [visit.query.get(side, "") for side in ("before", "after")]
    error, found = "", None
    if all(chosen):
        try:
            before, after = (_chosen(number, len(runs)) for number in chosen)
        except ValueError:
            raise not_found(say("choose_unknown")) from None
        if before == after:
            error = say("choose_same")
        else:
            found = _found(_content(visit, before, after), visit)
    return visit.page(
        "compare_runs.html.j2",
        title=say("choose_title"),
        status=422 if error else 200,
        error=error,
        options=[(str(number), "/".join(run.parts[-NAME_PARTS:])) for number, run in enumerate(runs)],
        chosen=chosen if all(chosen) else ["0", str(len(runs) - 1)],
        words=CompareWords(visit.language),
        found=found,
    )


def report(visit: Visit) -> Response:
    """Show the whole comparison as ``cartera compare`` writes it."""
    runs = visit.frame.settings.runs
    try:
        before, after = (_chosen(visit.query.get(side, ""), len(runs)) for side in ("before", "after"))
    except ValueError:
        raise not_found(visit.say("choose_unknown")) from None
    return HTMLResponse(render_comparison(_content(visit, before, after), visit.language))


def _chosen(number: str, runs: int) -> int:
    if not (number.isascii() and number.isdigit() and len(number) < 6 and int(number) < runs):
        raise ValueError(number)
    return int(number)


def _content(visit: Visit, before: int, after: int) -> dict[str, Any]:
    settings = visit.frame.settings
    assert settings.read_run is not None
    first, second = settings.runs[before], settings.runs[after]
    try:
        return _compared(settings.read_run, first, second, _age(first), _age(second))
    except (CarteraError, OSError) as error:
        log.warning("two runs could not be compared: %s", error)
        raise PageProblem(500, detail=visit.say("choose_broken")) from None


def _age(run: Path) -> int:
    """Return when a run was written: another one in its place is read anew."""
    try:
        return (run / "bundle" / "manifest.json").stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=KEPT)
def _compared(read_run: Reader, before: Path, after: Path, *ages: int) -> dict[str, Any]:
    found = compare_runs(read_run(before, "runs"), read_run(after, "runs"))
    return {"version": __version__, **found.to_dict()}


def _found(content: dict[str, Any], visit: Visit) -> dict[str, Any]:
    say, to = CompareWords(visit.language), NumberFormat(visit.language)
    before, after = nodes(content, say)
    drawing = flow(content, before, after)
    items = [
        say("flow_item", start=band.start.name, end=band.end.name, n=to.whole(band.customers)) for band in drawing.bands
    ]
    common, rand = content["common_customers"], content["adjusted_rand"]
    lead = {"stayed": to.whole(content["stayed_customers"]), "common": to.whole(common)}
    moved = content["moved_customers"]
    return {
        "finding": say("compare_none")
        if not common
        else say("compare_moved", share=to.percent(content["share_moved"]))
        if moved
        else say("compare_still"),
        "lead": ""
        if not common
        else say("compare_lead_short", **lead)
        if rand is None
        else say("compare_lead", **lead, alike=say.alike(rand), rand=to.decimal(rand, 3)),
        "figures": [
            (to.whole(common), say("figure_common")),
            (to.whole(moved), say("figure_moved")),
            (to.whole(content["new_customers"]), say("figure_new")),
            (to.whole(content["gone_customers"]), say("figure_gone")),
            (to.decimal(rand, 3), say("figure_rand")),
        ],
        "notes": [say.of(note) for note in content["notes"]],
        "flow": drawing,
        "texts": items,
        "alt": f"{say('flow_alt')} {'; '.join(items)}.",
        "label": lambda node: shortened(node.name, NAME_BESIDE_BAR),
        "count": lambda bar: to.whole(bar.customers),
        "before": list(before.values()),
        "after": list(after.values()),
        "rows": _rows(content, before, after, visit, to),
    }


def _rows(content: dict[str, Any], before: Any, after: Any, visit: Visit, to: NumberFormat) -> list[tuple[Any, ...]]:
    """Return each segment with its counterpart: both looks, customers before and after, and who stayed."""
    sizes = [{one["segment_id"]: one["customers"] for one in content[side]["segments"]} for side in ("before", "after")]
    none = visit.say("no_counterpart")
    rows: list[tuple[Any, ...]] = [
        (
            before[pair["before_segment_id"]],
            after[pair["after_segment_id"]],
            to.whole(sizes[0][pair["before_segment_id"]]),
            to.whole(sizes[1][pair["after_segment_id"]]),
            to.percent(pair["share_kept"]),
            none,
        )
        for pair in content["pairs"]
    ]
    ended, born = ([one["segment_id"] for one in content["without_match"][side]] for side in ("before", "after"))
    rows += [(before[one], None, to.whole(sizes[0][one]), MISSING, MISSING, none) for one in ended]
    rows += [(None, after[one], MISSING, to.whole(sizes[1][one]), MISSING, none) for one in born]
    return rows
