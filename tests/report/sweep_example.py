"""Summaries of sweeps for the tests of their report: one that was really made, and others set by hand."""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine.clustering.sweep import Evidence
from engine.report.sweep_html import render_sweep
from engine.report.sweep_words import TEXTS
from engine.sweeps.grid import Grid
from engine.sweeps.journal import Journal
from engine.sweeps.leaderboard import Limits, leaderboard
from engine.sweeps.run import run_sweep
from engine.sweeps.summary import sweep_summary
from tests.sweeps.population import SETS, customers

Summary = dict[str, Any]

FACTS: Summary = {
    "name": "synthetic",
    "as_of": "2024-01-01",
    "where": None,
    "lake_version": 3,
    "window_days": {"rfm": None, "fm": 365},
    "notes": [{"en": "Some rows are odd.", "es": "Algunas filas son raras."}],
    "warnings": [{"en": "Two columns say the same.", "es": "Dos columnas dicen lo mismo."}],
    "segments": {"min": 3, "max": 8, "min_share": 0.01},
    "command": "cartera segment features=rfm clustering.k=3",
    "seconds": {"ingest": 4.733, "features": 0.242, "clustering": 11.364},
    "peak_memory_mb": 466.3,
}


@cache
def _found() -> str:
    grid = Grid(
        feature_sets=SETS,
        backends=("native", "sklearn"),
        ks=(1, 2, 3, 4),
        seeds=(0, 1),
        transforms=("log", "none"),
        evidence=Evidence(silhouette_rows=100, gap_references=2, bootstrap_resamples=2),
    )
    with TemporaryDirectory() as folder, Journal(Path(folder) / "journal") as journal:
        found = run_sweep(dict.fromkeys(SETS, customers(n=120)), grid, journal, threads=1)
    return json.dumps(sweep_summary(found, leaderboard(found, Limits(3, 8)), FACTS), allow_nan=False)


def made() -> Summary:
    """Return what a real sweep found: two sets, two transforms, two backends, k from 1 to 4, every kind of evidence."""
    return json.loads(_found())


@cache
def page_of(language: str) -> str:
    """Return the report of the sweep that was really made."""
    return render_sweep(made(), language)


def a_row(rank: int | None, k: int = 3, features: str = "rfm", backend: str = "native", **figures: Any) -> Summary:
    """Return a place of a leaderboard; of a failed configuration where the rank is None."""
    row: Summary = {"rank": rank, "features": features, "transform": "log", "backend": backend, "k": k, "seeds": 2}
    row |= {"failed": 0, "stability": 0.9, "inertia_ratio": 1.0, "usable": True, "pareto": False, "chosen": False}
    done = {"silhouette": 0.5, "balance": 0.8, "explained": 0.7, "inertia": 10.0, "inertia_worst": 11.0}
    done |= {"smallest_share": 0.2, "largest_share": 0.5, "seconds": 0.5, "sizes": [5, 3, 2]}
    if rank is None:
        failed = {"failed": 2, "stability": None, "inertia_ratio": None, "inertia_worst": None}
        return {**row, **failed, "usable": False, "sizes": [], **figures}
    return {**row, **done, **figures}


def a_summary(*rows: Summary, **changes: Any) -> Summary:
    """Return the summary of a sweep with this leaderboard, without verdicts or a proposal."""

    def axis(name: str) -> list[Any]:
        return list(dict.fromkeys(row[name] for row in rows))

    failed = sum(row["failed"] for row in rows)
    asked = sum(row["seeds"] for row in rows)
    return {
        **copy.deepcopy(FACTS),
        "version": "0.1.0",
        "customers": dict.fromkeys(axis("features"), 10),
        "trials": {"asked": asked, "done": asked - failed, "failed": failed, "resumed": 0},
        "grid": {
            "features": {name: ["frequency", "monetary"] for name in axis("features")},
            "transforms": axis("transform"),
            "backends": axis("backend"),
            "k": sorted(axis("k")),
            "seeds": [0, 1],
            "solver": "auto",
        },
        "proposed": None,
        "command": None,
        "verdicts": [],
        "leaderboard": list(rows),
        "failures": [],
        **changes,
    }


class Tables(HTMLParser):
    """The tables of a page, by caption: rows of cells as a reader sees them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, list[list[str]]] = {}
        self._caption = ""
        self._rows: list[list[str]] = []
        self._in = ""
        self.feed(page.split("<script>")[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._caption, self._rows = "", []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        if tag in ("caption", "td", "th"):
            self._in = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.found[self._caption.strip()] = [[" ".join(cell.split(" ")) for cell in row] for row in self._rows]
        if tag in ("caption", "td", "th"):
            self._in = ""

    def handle_data(self, data: str) -> None:
        data = re.sub(r"[ \n]+", " ", data)
        if self._in == "caption":
            self._caption += data
        elif self._in:
            self._rows[-1][-1] += data


def board_of(page: str, language: str = "en") -> list[list[str]]:
    """Return the rows of the leaderboard, open and folded, each cell without what surrounds its text."""
    found = Tables(page).found
    rest = [rows for caption, rows in found.items() if caption.startswith(("The configurations from", "Las conf"))]
    first = found[TEXTS["board_caption"].to_dict()[language]]
    folded = [row for rows in rest for row in rows[1:] if rows is not first]
    return [[cell.strip() for cell in row] for row in (*first, *folded)]


def marked(cell: str) -> str:
    """Return the words of a cell with single blanks."""
    return " ".join(cell.split())
