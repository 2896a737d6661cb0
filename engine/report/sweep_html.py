"""The report of a sweep: one HTML page that needs no connection and no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.features.store import FEATURES
from engine.report.look import Chart, upper_first
from engine.report.numbers import NO_BREAK, NumberFormat
from engine.report.page import as_json, plotly, templates
from engine.report.sweep_charts import Pareto, curve_charts, curve_spans, pareto_chart
from engine.report.sweep_look import Backend, Cell, Row, any_known, backends_of, cells_of, choice_of, label
from engine.report.sweep_tables import backends_section, board_section, parity_section
from engine.report.sweep_words import MOST_LISTED, SweepWords
from engine.sweeps.leaderboard import STABLE, TIME_FACTOR

MOST_CELLS = 12
"""Feature sets and transforms whose curves are drawn."""

REASONS, FOLDED_REASONS = 3, 40
"""Reasons for failing that stand open, and those that can be unfolded."""

OWN_MEANINGS = ("stability", "balance", "inertia_ratio", "explained")
SHARED_MEANINGS = {
    "silhouette_euclidean": "silhouette_euclidean",
    "calinski_harabasz": "calinski_harabasz",
    "davies_bouldin": "davies_bouldin",
    "gap": "gap",
    "bootstrap_stability": "bootstrap",
}
"""Figures that only this report explains, and those that every report explains, with the key of their words."""


def render_sweep(summary: Mapping[str, Any], language: str) -> str:
    """Write the report of a sweep as one HTML page.

    The page holds its styles, its scripts and Plotly's JavaScript (about 5 MB); its content policy forbids every
    request. Names, errors and texts of the summary are escaped, whatever they hold.

    Parameters
    ----------
    summary
        Of :func:`engine.sweeps.summary.sweep_summary`. A figure that is missing, None or not finite is shown as a
        dash; a column without any is left out.
    language
        ``en`` or ``es``. Reasons for failing are in English, as they came.

    Returns
    -------
    str
        The page, to be written as UTF-8.

    Raises
    ------
    SettingError
        The language is neither.
    """
    say, to = SweepWords(language), NumberFormat(language)
    board: Sequence[Row] = summary["leaderboard"]
    cells = cells_of(board, say)
    backends = backends_of(summary["grid"]["backends"], say)
    pareto = pareto_chart(board, cells, summary["proposed"], say, to)
    blocks, curves = _blocks(summary, cells, backends, say, to)
    charts = ([pareto.chart] if pareto else []) + curves
    page = {
        "language": language,
        "name": summary["name"],
        "version": summary["version"],
        "say": say,
        "head": _head(summary, cells, say, to),
        "warnings": _warnings(summary, say),
        "failures": _failures(summary, say, to),
        "board": board_section(summary, cells, say, to),
        "pareto": pareto
        and {
            "chart": pareto.chart,
            "help": _pareto_help(pareto, say),
            "undrawn": say("pareto_undrawn", n=to.whole(pareto.undrawn)) if pareto.undrawn else "",
        },
        "cells": cells,
        "blocks": _cells_section(summary, blocks, say, to),
        "legend": backends if len(backends) > 1 else [],
        "backends": backends_section(summary, backends, say, to) if len(backends) > 1 else None,
        "parity": parity_section(summary["parity"], say, to) if summary.get("parity") else None,
        "definitions": _definitions(summary, say, to),
        "notes": [say.of(note) for note in summary["notes"]],
        "sets": _sets(summary, say, to),
        "run": _run(summary, say, to),
        "seconds": [(say.name(step), to.seconds(value)) for step, value in summary["seconds"].items()],
        "specs": as_json({"charts": [chart.to_dict() for chart in charts], "save": say("save_image")}),
        "plotly": plotly(),
    }
    return templates().get_template("sweep.html.j2").render(page)


def _pareto_help(pareto: Pareto, say: SweepWords) -> str:
    text = say("pareto_help", higher=say(f"higher_{pareto.vertical}"))
    return f"{text} {say('pareto_size')}" if pareto.vertical == "stability" else text


def _head(summary: Mapping[str, Any], cells: Sequence[Cell], say: SweepWords, to: NumberFormat) -> dict[str, Any]:
    proposed, trials, limits = summary["proposed"], summary["trials"], summary["segments"]
    people = _people(summary["customers"], say, to)
    head: dict[str, Any] = {
        "title": say("sweep_no_proposal"),
        "tried": say("tried", customers=people, day=to.date(summary["as_of"]), parts=_tried(summary["grid"], say, to)),
        "proposal": None,
        "help": say("no_proposal_help", low=limits["min"], high=limits["max"]),
        "command": summary["command"] or "",
        "figures": [
            (people, say("figure_customers")),
            (to.whole(len(summary["leaderboard"])), say("configurations")),
            (say("trials_of", done=to.whole(trials["done"]), asked=to.whole(trials["asked"])), say("trials")),
            (to.whole(trials["failed"]), say("trials_failed")),
            (to.whole(trials["resumed"]), say("trials_resumed")),
        ],
    }
    if proposed is None:
        return head
    by_key = {(cell.features, cell.transform): cell for cell in cells}
    segments = say.counted("segments", proposed["k"], to.whole(proposed["k"]))
    verdict = _verdict_of(summary, proposed)
    state = "clear" if verdict is not None and verdict["clear"] else "unclear"
    name = by_key[proposed["features"], proposed["transform"]].name
    return head | {
        "title": say("sweep_proposal", segments=segments, name=name),
        "proposal": {
            "state": state,
            "pill": say(f"verdict_{state}"),
            "sentence": say("look_first", choice=choice_of(proposed, by_key, say)),
            "reason": say.of(proposed["reason"]),
        },
    }


def _tried(grid: Mapping[str, Any], say: SweepWords, to: NumberFormat) -> str:
    def part(key: str, names: Sequence[str]) -> str:
        written = say.counted(key, len(names), to.whole(len(names)))
        return f"{written} ({', '.join(names)})" if len(names) <= MOST_LISTED else written

    parts = [
        part("features", list(grid["features"])),
        part("transforms", [say.short(one) for one in grid["transforms"]]),
        part("backends", [say.short(one) for one in grid["backends"]]),
        _ks(grid["k"], say),
        part("seeds", [str(seed) for seed in grid["seeds"]]),
    ]
    return say.listed(parts)


def _ks(ks: Sequence[int], say: SweepWords) -> str:
    low, high = min(ks), max(ks)
    if len(ks) > 2 and len(ks) == high - low + 1:
        return say("k_range", low=low, high=high)
    if len(ks) <= MOST_LISTED:
        return say("k_list", ks=say.listed([str(k) for k in ks]))
    return say("k_many", n=len(ks), low=low, high=high)


def _people(customers: Mapping[str, int], say: SweepWords, to: NumberFormat) -> str:
    low, high = min(customers.values()), max(customers.values())
    return to.whole(low) if low == high else say("customers_range", low=to.whole(low), high=to.whole(high))


def _verdict_of(summary: Mapping[str, Any], row: Row) -> Mapping[str, Any] | None:
    names = ("features", "transform", "backend")
    return next((one for one in summary["verdicts"] if all(one[name] == row[name] for name in names)), None)


def _warnings(summary: Mapping[str, Any], say: SweepWords) -> list[str]:
    verdict = _verdict_of(summary, summary["proposed"]) if summary["proposed"] else None
    of_proposal = verdict["warnings"] if verdict is not None else []
    return [say.of(one) for one in (*summary["warnings"], *of_proposal)]


def _failures(summary: Mapping[str, Any], say: SweepWords, to: NumberFormat) -> dict[str, Any] | None:
    """Gather the failed trials by reason, the most frequent first."""
    if not summary["failures"]:
        return None
    by_reason: dict[str, list[str]] = {}
    for one in summary["failures"]:
        by_reason.setdefault(one["error"], []).append(one["trial"])
    reasons = [
        (trials[0], say("and_more", n=to.whole(len(trials) - 1)) if len(trials) > 1 else "", error)
        for error, trials in sorted(by_reason.items(), key=lambda item: -len(item[1]))
    ]
    failed, asked = (to.whole(summary["trials"][key]) for key in ("failed", "asked"))
    folded = reasons[REASONS : REASONS + FOLDED_REASONS]
    beyond = len(reasons) - REASONS - len(folded)
    return {
        "title": say("failed_trials", failed=failed, asked=asked),
        "open": reasons[:REASONS],
        "folded": folded,
        "more": say("other_reasons", n=to.whole(len(reasons) - REASONS)),
        "beyond": say("cut_off", n=to.whole(beyond)) if beyond > 0 else "",
    }


def _blocks(
    summary: Mapping[str, Any], cells: Sequence[Cell], backends: Sequence[Backend], say: SweepWords, to: NumberFormat
) -> tuple[list[dict[str, Any]], list[Chart]]:
    """Return curves and verdicts of each feature set and transform, and all charts in them."""
    limits = (int(summary["segments"]["min"]), int(summary["segments"]["max"]))
    spans = curve_spans(cells)
    blocks, charts = [], []
    for place, cell in enumerate(cells):
        drawn = curve_charts(cell, place, backends, limits, spans, say, to) if place < MOST_CELLS else []
        charts += drawn
        columns = summary["grid"]["features"].get(cell.features, ())
        blocks.append(
            {
                "cell": cell,
                "measures": ", ".join(_measure(name, say) for name in columns),
                "charts": drawn,
                "verdicts": _verdicts(summary, cell, say),
                "silent": _silent(summary, cell, say),
                "crowded": place >= MOST_CELLS,
            }
        )
    return blocks, charts


def _cells_section(
    summary: Mapping[str, Any], blocks: Sequence[Mapping[str, Any]], say: SweepWords, to: NumberFormat
) -> dict[str, Any]:
    verdicts, limits = summary["verdicts"], summary["segments"]
    clear = sum(one["clear"] for one in verdicts)
    if not verdicts:
        finding = say("cells_no_verdict")
    elif len(summary["grid"]["k"]) == 1:
        finding = say("cells_one_k")
    elif clear:
        finding = say("cells_clear", clear=to.whole(clear), n=to.whole(len(verdicts)))
    else:
        finding = say("cells_none_clear")
    help_text = say("cells_help", low=limits["min"], high=limits["max"])
    if any_known(summary["leaderboard"], "gap") and len(summary["grid"]["backends"]) > 1:
        help_text += " " + say("gap_once")
    return {"finding": finding, "help": help_text, "each": blocks}


def _verdicts(summary: Mapping[str, Any], cell: Cell, say: SweepWords) -> list[dict[str, Any]]:
    """Return the verdicts of a cell; backends about which the same is said share one."""
    found: list[dict[str, Any]] = []
    for one in summary["verdicts"]:
        if (one["features"], one["transform"]) != (cell.features, cell.transform):
            continue
        state = "clear" if one["clear"] else "unclear"
        said = {
            "k": one["k"],
            "state": state,
            "pill": say(f"verdict_{state}"),
            "reason": say.of(one["reason"]),
            "evidence": say.of(one["evidence"]) if one["evidence"] else "",
            "warnings": [say.of(warning) for warning in one["warnings"]],
        }
        twin = next((other for other in found if other["said"] == said), None)
        if twin is None:
            found.append({"said": said, "backends": [say.short(one["backend"])]})
        else:
            twin["backends"].append(say.short(one["backend"]))
    return [{**each["said"], "backends": ", ".join(each["backends"])} for each in found]


def _silent(summary: Mapping[str, Any], cell: Cell, say: SweepWords) -> str:
    """Say which backends have no verdict on a cell."""
    if all(row["rank"] is None for row in cell.rows):
        return say("cell_failed")
    heard = {
        one["backend"]
        for one in summary["verdicts"]
        if (one["features"], one["transform"]) == (cell.features, cell.transform)
    }
    missing = [say.short(one) for one in summary["grid"]["backends"] if one not in heard]
    return say("cell_no_verdict", backends=say.listed(missing)) if missing else ""


def _definitions(summary: Mapping[str, Any], say: SweepWords, to: NumberFormat) -> list[tuple[str, str]]:
    board = summary["leaderboard"]
    stable = to.decimal(STABLE, 1)
    return [
        (say("silhouette"), f"{say('silhouette_help')} {say('about_silhouette')}"),
        *((say(name), say(f"about_{name}", stable=stable)) for name in OWN_MEANINGS if any_known(board, name)),
        *((label(name, say), _shared_meaning(name, say)) for name in SHARED_MEANINGS if any_known(board, name)),
        (say("seconds_head"), say("about_seconds")),
        (say("nav_pareto"), say("about_pareto", factor=to.whole(TIME_FACTOR))),
        (upper_first(say("mark_chosen")), say("about_chosen")),
        (say("transform"), say("about_transform")),
        (say("run_seed"), say("about_seed")),
    ]


def _shared_meaning(name: str, say: SweepWords) -> str:
    """Return what every report says of a figure, without the name that a list of such sentences begins with."""
    name = SHARED_MEANINGS[name]
    return upper_first(say(f"{name}_help").removeprefix(f"{say(name)}: "))


def _measure(name: str, say: SweepWords) -> str:
    return say.of(FEATURES[name].label) if name in FEATURES else say.name(name)


def _sets(summary: Mapping[str, Any], say: SweepWords, to: NumberFormat) -> list[tuple[str, str, str, str]]:
    windows = summary["window_days"]
    return [
        (
            name,
            ", ".join(_measure(column, say) for column in columns),
            _window(windows.get(name), say, to),
            to.whole(summary["customers"].get(name)),
        )
        for name, columns in summary["grid"]["features"].items()
    ]


def _window(days: int | None, say: SweepWords, to: NumberFormat) -> str:
    return say("run_whole_history") if days is None else say("run_days", days=to.whole(days))


def _run(summary: Mapping[str, Any], say: SweepWords, to: NumberFormat) -> list[tuple[str, str]]:
    grid, limits = summary["grid"], summary["segments"]
    facts = [
        (say("run_data"), summary["name"]),
        (say("run_as_of"), to.date(summary["as_of"])),
        (say("run_ks"), ", ".join(map(str, grid["k"]))),
        (say("run_transforms"), ", ".join(say.short(one) for one in grid["transforms"])),
        (say("run_backends"), ", ".join(map(say.name, grid["backends"]))),
        (say("run_solver"), say.name(grid["solver"])),
        (say("run_seeds"), ", ".join(map(str, grid["seeds"]))),
        (say("run_limits"), say("run_limits_value", low=limits["min"], high=limits["max"])),
        (say("run_min_share"), to.percent(limits["min_share"])),
        (say("run_lake_version"), str(summary["lake_version"])),
        (say("run_memory"), f"{to.whole(summary['peak_memory_mb'])}{NO_BREAK}MB"),
        (say("run_version"), summary["version"]),
    ]
    if summary["where"] is not None:
        facts.insert(2, (say("run_where"), summary["where"]))
    return facts
