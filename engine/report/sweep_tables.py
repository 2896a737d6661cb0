"""The tables of a sweep's report: the leaderboard, and the backends side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from engine.clustering.parity_words import OTHER_SEGMENTS, SAME_PEOPLE, STOPS
from engine.clustering.parity_words import seconds as seconds_with_range
from engine.clustering.verdict import DOMINANT_SHARE
from engine.report.look import upper_first
from engine.report.numbers import MISSING, NumberFormat, known
from engine.report.sweep_look import Backend, Cell, Row, any_known, figure, is_same, label
from engine.report.sweep_words import SweepWords

SHOWN, FOLDED = 20, 480
"""Places of the leaderboard that stand open, and those that can be unfolded; the rest is in ``sweep.csv``."""

NEARLY = 1.001
"""Inertia over the lowest up to which a backend has reached it."""

FIRST_FIGURES = ("silhouette", "silhouette_euclidean", "stability", "balance", "smallest_share", "inertia_ratio")
FURTHER_FIGURES = ("explained", "calinski_harabasz", "davies_bouldin", "gap", "bootstrap_stability", "largest_share")
"""Columns of the two tables; one that nothing is known of is left out."""


def board_section(
    summary: Mapping[str, Any], cells: Sequence[Cell], say: SweepWords, to: NumberFormat
) -> dict[str, Any]:
    """Write the leaderboard: the first places, those that can be unfolded, and further figures of all of them."""
    board = summary["leaderboard"]
    by_key = {(cell.features, cell.transform): cell for cell in cells}
    first, further = ([name for name in names if any_known(board, name)] for names in (FIRST_FIGURES, FURTHER_FIGURES))
    rows = [
        {
            "rank": to.whole(row["rank"]),
            "cell": by_key[row["features"], row["transform"]],
            "features": row["features"],
            "transform": say.short(row["transform"]),
            "backend": say.short(row["backend"]),
            "k": to.whole(row["k"]),
            "cells": [*(figure(row, name, say, to) for name in first), to.decimal(row.get("seconds"), 3)],
            "further": [*(figure(row, name, say, to) for name in further), _sizes(row, to)],
            "proposed": is_same(row, summary["proposed"]),
            "pareto": row["pareto"],
            "chosen": row["chosen"],
            "usable": row["usable"],
            "notes": _row_notes(row, summary["segments"], say, to),
        }
        for row in board[: SHOWN + FOLDED]
    ]
    beyond, rest = len(board) - len(rows), len(rows) - SHOWN
    help_text = say("board_help")
    if not any_known(board, "stability") and len(summary["grid"]["seeds"]) < 2:
        help_text += " " + say("one_seed_help")
    return {
        "finding": _board_finding(board, by_key, say, to),
        "help": help_text,
        "heads": [*(label(name, say) for name in first), say("seconds_head")],
        "further_heads": [*(label(name, say) for name in further), say("sizes_head")],
        "open": rows[:SHOWN],
        "folded": rows[SHOWN:],
        "show": say("show_one") if rest == 1 else say("show_rest", n=to.whole(rest)),
        "rest_caption": say("rest_caption", first=to.whole(SHOWN + 1)),
        "beyond": say("cut_off", n=to.whole(beyond)) if beyond else "",
    }


def _board_finding(
    board: Sequence[Row], cells: Mapping[tuple[str, str], Cell], say: SweepWords, to: NumberFormat
) -> str:
    best = board[0]
    if not any(row["usable"] for row in board):
        return say("board_none")
    if not known(best.get("silhouette")):
        return say("board_unmeasured")
    segments = say.counted("segments", best["k"], to.whole(best["k"]))
    name = cells[best["features"], best["transform"]].name
    return say("board_finding", name=name, segments=segments, value=figure(best, "silhouette", say, to))


def _row_notes(row: Row, limits: Mapping[str, Any], say: SweepWords, to: NumberFormat) -> list[str]:
    """Say why a configuration cannot be used, and how many of its seeds failed."""
    if row["rank"] is None:
        return [say("off_failed")]
    notes = []
    if not row["usable"]:
        reasons = []
        if not limits["min"] <= row["k"] <= limits["max"]:
            reasons.append(say("off_limits", low=limits["min"], high=limits["max"]))
        if row["k"] > 1 and row["largest_share"] > DOMINANT_SHARE:
            reasons.append(say("off_dominant", share=to.percent(row["largest_share"])))
        notes += reasons or [say("off_unknown")]
    if row["failed"]:
        notes.append(say("some_failed", failed=to.whole(row["failed"]), n=to.whole(row["seeds"])))
    return notes


def _sizes(row: Row, to: NumberFormat) -> str:
    return " · ".join(to.whole(size) for size in row["sizes"])


def backends_section(
    summary: Mapping[str, Any], backends: Sequence[Backend], say: SweepWords, to: NumberFormat
) -> dict[str, Any]:
    """Compare the backends where each that has results at all has one."""
    results: dict[str, dict[tuple[str, str, int], Row]] = {one.id: {} for one in backends}
    failed: Counter[str] = Counter()
    for row in summary["leaderboard"]:
        failed[row["backend"]] += row["failed"]
        if row["rank"] is not None:
            results[row["backend"]][row["features"], row["transform"], row["k"]] = row
    working = [points for points in results.values() if points]
    common = set.intersection(*map(set, working)) if working else set()
    rows, scores = [], []
    for one in backends:
        points = [results[one.id][key] for key in sorted(common) if key in results[one.id]]
        ratios = [float(row["inertia_ratio"]) for row in points]
        seconds = [float(row["seconds"]) for row in points]
        reached = sum(ratio <= NEARLY for ratio in ratios)
        if points:
            scores.append((one, reached, median(seconds)))
        rows.append(
            {
                "backend": one,
                "reached": say("trials_of", done=to.whole(reached), asked=to.whole(len(points))) if points else MISSING,
                "cells": [
                    to.decimal(median(ratios) if ratios else None, 4),
                    to.decimal(max(ratios, default=None), 4),
                    to.decimal(median(seconds) if seconds else None, 3),
                    to.decimal(max(seconds, default=None), 3),
                    to.whole(failed[one.id]),
                ],
            }
        )
    if len(scores) < 2:
        finding = say("backends_none")
    else:
        best, quickest = max(scores, key=lambda each: each[1]), min(scores, key=lambda each: each[2])
        same = all(reached == len(common) for _, reached, _ in scores)
        finding = say("backends_same" if same else "backends_differ", best=best[0].name, quickest=quickest[0].name)
    return {"finding": finding, "help": say("backends_help", n=to.whole(len(common))), "rows": rows}


def parity_section(compared: Mapping[str, Any], say: SweepWords, to: NumberFormat) -> dict[str, Any]:
    """Write the backends on the proposal side by side, and how far each pair puts the same people together.

    Parameters
    ----------
    compared
        Of :meth:`engine.clustering.parity_result.Parity.to_dict`.
    """
    lines: Sequence[Mapping[str, Any]] = compared["lines"]
    finished = [line for line in lines if not line["error"]]
    pairs = {frozenset((one["a"], one["b"])): one for one in compared["agreements"]}

    def pair(a: str, b: str) -> str:
        one = pairs.get(frozenset((a, b)))
        if one is None:
            return MISSING
        return say("parity_pair", rand=to.decimal(one["adjusted_rand"], 3), share=to.percent(one["kept_share"]))

    rows = []
    for line in lines:
        inertia, own = line["inertia"], line["reported_inertia"]
        stop = line["stop_reason"]
        rows.append(
            {
                "name": say.of(line["label"]),
                "error": line["error"],
                "cells": [
                    _fitted(line, to),
                    to.decimal(line["memory_added_mib"], 1),
                    to.decimal(line["inertia_ratio"], 5),
                    to.decimal(own / inertia if own is not None and inertia else None, 5),
                    to.whole(line["rows_used"]),
                    to.whole(line["n_iter"]),
                    say.of(STOPS[stop]) if stop in STOPS else stop or MISSING,
                ],
            }
        )
    return {
        "finding": upper_first(say.of(compared["distance"])),
        "people": say.of(compared["people"]),
        "help": say(
            "parity_help",
            rows=to.whole(compared["rows"]),
            features=to.whole(compared["features"]),
            k=compared["k"],
            seed=compared["seed"],
        ),
        "rows": rows,
        "notes": [say.of(note) for note in compared["notes"]],
        "pairs_help": say("parity_pairs_help", same=to.decimal(SAME_PEOPLE, 2), other=to.decimal(OTHER_SEGMENTS, 2)),
        "names": [say.of(line["label"]) for line in finished],
        "pairs": [(say.of(one["label"]), [pair(one["name"], other["name"]) for other in finished]) for one in finished]
        if len(finished) > 1
        else [],
    }


def _fitted(line: Mapping[str, Any], to: NumberFormat) -> str:
    if line["error"]:
        return MISSING
    return seconds_with_range(line["seconds"], line["seconds_lowest"], line["seconds_highest"], to.language)
