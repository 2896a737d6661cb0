"""Why this number of segments: inertia and silhouette against every number that was tried."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.report.look import ACCENT, AXIS_FONT, BAND, LINE, MUTED, PAPER, Chart, base_layout
from engine.report.numbers import NumberFormat, known
from engine.report.words import Words


def trials_of(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the trials in order of k."""
    return sorted(summary["trials"], key=lambda trial: int(trial["k"]))


def choice_section(summary: Mapping[str, Any], say: Words, to: NumberFormat) -> dict[str, Any]:
    """Write what stands around the curves: what was allowed and tried, the evidence, and a row for each trial."""
    verdict, trials = summary["verdict"], trials_of(summary)
    low, high = verdict["limits"]
    allowed = say("limits_help", low=low, high=high)
    tried = [int(trial["k"]) for trial in trials if low <= trial["k"] <= high]
    if tried and (tried[0], tried[-1]) != (low, high):
        allowed += " " + say("limits_tried", low=tried[0], high=tried[-1])
    evidence = verdict.get("evidence")
    columns = [
        column
        for column in COLUMNS
        if column.figure in ALWAYS_SHOWN or any(known(trial.get(column.figure)) for trial in trials)
    ]
    return {
        "title": say("choice_title", k=to.whole(verdict["k"])),
        "limits": allowed,
        "evidence": say.of(evidence) if evidence else "",
        "columns": [say(column.word) for column in columns],
        "rows": [
            {
                "k": to.whole(trial["k"]),
                "chosen": trial["k"] == verdict["k"],
                "cells": [column.cell(trial, to) for column in columns],
            }
            for trial in trials
        ],
        "glossary": [say(column.help) for column in columns if column.help],
    }


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of the trials: its name in the summary, its heading, how it is written, and what it means."""

    figure: str
    word: str
    written: Callable[[NumberFormat, Any], str]
    help: str = ""

    def cell(self, trial: Mapping[str, Any], to: NumberFormat) -> str:
        """Return the figure of one trial as text, with its standard error where it has one."""
        text = self.written(to, trial.get(self.figure))
        error = trial.get(f"{self.figure}_error")
        return text if not known(error) or not error else f"{text} ± {to.decimal(error, 3)}"


COLUMNS = (
    Column("inertia", "inertia", lambda to, value: to.decimal(value, 1)),
    Column("silhouette", "silhouette", lambda to, value: to.decimal(value, 3)),
    Column(
        "silhouette_euclidean",
        "silhouette_euclidean",
        lambda to, value: to.decimal(value, 3),
        "silhouette_euclidean_help",
    ),
    Column("calinski_harabasz", "calinski_harabasz", lambda to, value: to.decimal(value, 1), "calinski_harabasz_help"),
    Column("davies_bouldin", "davies_bouldin", lambda to, value: to.decimal(value, 3), "davies_bouldin_help"),
    Column("gap", "gap", lambda to, value: to.decimal(value, 3), "gap_help"),
    Column("bootstrap_stability", "bootstrap", lambda to, value: to.decimal(value, 3), "bootstrap_help"),
    Column("smallest_share", "smallest_share", lambda to, value: to.percent(value)),
    Column("largest_share", "largest_share", lambda to, value: to.percent(value)),
    Column("seconds", "time", lambda to, value: to.seconds(value)),
)
"""Figures of a trial, in the order of the table; those that no trial has are left out."""

ALWAYS_SHOWN = ("inertia", "silhouette")


def choice_charts(summary: Mapping[str, Any], say: Words, to: NumberFormat) -> dict[str, Chart]:
    """Draw the curves over the numbers of segments; none where only one number was tried."""
    verdict, trials = summary["verdict"], trials_of(summary)
    if len(trials) < 2:
        return {}
    ks, chosen, knee = [int(trial["k"]) for trial in trials], int(verdict["k"]), verdict["knee"]
    inertias = [trial["inertia"] for trial in trials]
    charts = {
        "elbow": curve_chart(
            "chart-elbow",
            ks,
            inertias,
            finding=_elbow_finding(verdict, say),
            chosen=chosen,
            other=None if knee is None else (int(knee), say("knee_mark", k=knee)),
            limits=verdict["limits"],
            from_zero=True,
            written=[to.decimal(value, 1) for value in inertias],
            say=say,
            to=to,
        )
    }
    scores = [trial["silhouette"] if known(trial["silhouette"]) else None for trial in trials]
    measured = {k: score for k, score in zip(ks, scores, strict=True) if score is not None}
    if len(measured) < 2:
        return charts
    best = int(verdict["silhouette_best"])
    if chosen not in measured:
        finding = say("silhouette_unknown", k=chosen)
    elif chosen == best:
        finding = say("silhouette_same", k=chosen)
    else:
        score = to.decimal(measured[chosen])
        finding = say("silhouette_other", best=best, k=chosen, score=score)
    charts["silhouette"] = curve_chart(
        "chart-silhouette",
        ks,
        scores,
        finding=finding,
        chosen=chosen,
        other=(best, say("best_mark", k=best)),
        limits=verdict["limits"],
        from_zero=False,
        written=[to.decimal(score, 3) for score in scores],
        say=say,
        to=to,
    )
    return charts


def _elbow_finding(verdict: Mapping[str, Any], say: Words) -> str:
    if verdict["knee"] is None:
        return say("elbow_none")
    # Every curve bends most somewhere: only a clear verdict makes that an argument.
    return say("elbow_knee" if verdict["clear"] else "elbow_weak", knee=verdict["knee"])


def curve_chart(
    chart_id: str,
    ks: Sequence[int],
    values: Sequence[float | None],
    *,
    finding: str,
    chosen: int,
    other: tuple[int, str] | None,
    limits: Sequence[int],
    from_zero: bool,
    written: Sequence[str],
    say: Words,
    to: NumberFormat,
) -> Chart:
    """Draw a figure against the number of segments, with the chosen number marked and a second one named.

    Parameters
    ----------
    other
        A second number worth a mark (the knee, the best silhouette) and its label; None for none.
    written
        The values as text, for hovering and for the summary.
    """
    places = {k: place for place, k in enumerate(ks)}
    marked = [(chosen, say("chosen_mark", k=chosen), ACCENT, 0)]
    if other is not None and other[0] != chosen:
        marked.append((*other, MUTED, 1))
    items = [say("trial_item", k=k, value=text) for k, text in zip(ks, written, strict=True)]
    big = [k in {mark[0] for mark in marked} for k in ks]
    shapes: list[dict[str, Any]] = [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": max(limits[0], ks[0]) - 0.4,
            "x1": min(limits[1], ks[-1]) + 0.4,
            "y0": 0,
            "y1": 1,
            "fillcolor": BAND,
            "opacity": 0.6,
            "line": {"width": 0},
            "layer": "below",
        }
    ]
    labels = []
    for k, text, colour, level in marked:
        if k not in places:
            continue
        shapes.append(
            {
                "type": "line",
                "xref": "x",
                "yref": "paper",
                "x0": k,
                "x1": k,
                "y0": 0,
                "y1": 1,
                "line": {"color": colour, "width": 1.5, "dash": "solid" if level == 0 else "dot"},
                "layer": "below",
            }
        )
        third = 3 * places[k] / max(1, len(ks) - 1)
        labels.append(
            {
                "text": f"<b>{text}</b>" if level == 0 else text,
                "x": k,
                "y": 1,
                "yref": "paper",
                "yshift": 17 * level,
                "yanchor": "bottom",
                "xanchor": "left" if third <= 0.5 else "right" if third >= 2.5 else "center",
                "showarrow": False,
                "font": {"color": colour, "size": 12.5},
            }
        )
    layout = base_layout(
        to,
        height=330,
        margin={"l": 46, "r": 14, "t": 42, "b": 48},
        xaxis={
            "title": {"text": say("axis_k"), "font": AXIS_FONT},
            "range": [ks[0] - 0.5, ks[-1] + 0.5],
            "dtick": math.ceil(len(ks) / 12),
            "tick0": ks[0],
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        },
        yaxis={
            "rangemode": "tozero" if from_zero else "normal",
            "nticks": 6,
            "tickformat": ".2f" if not from_zero else "~s" if max(v or 0.0 for v in values) >= 1e6 else ",~f",
            "gridcolor": LINE,
            "zeroline": False,
            "fixedrange": True,
        },
        shapes=shapes,
        annotations=labels,
    )
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": list(ks),
        "y": list(values),
        "connectgaps": True,
        "line": {"color": ACCENT, "width": 2.5},
        "marker": {
            "size": [13 if k == chosen else 10 if special else 8 for k, special in zip(ks, big, strict=True)],
            "color": [ACCENT if k == chosen else PAPER for k in ks],
            "line": {"color": ACCENT, "width": 2},
            "opacity": 1,
        },
        "cliponaxis": False,
        "hovertext": items,
        "hoverinfo": "text",
    }
    return Chart(chart_id, finding, f"{'; '.join(items)}.", [line], layout, wide={}, narrow={})
