"""What the report of a sweep says of the backends that were compared on the proposal."""

from __future__ import annotations

from html import escape

import pytest

from engine.clustering.parity_result import Agreement, Line, Parity
from engine.clustering.parity_words import NAMES, STOPS
from engine.report.numbers import MISSING, NumberFormat
from engine.report.sweep_html import render_sweep
from engine.report.sweep_words import SweepWords
from tests.report.sweep_example import Tables, a_row, a_summary, marked
from tests.report.test_report_html import HOSTILE, Page

FIGURES = {"n_iter": 12, "rows_used": 2_469, "memory_added_mib": 1.25}
FOUND = Parity(
    rows=2_469, features=3, k=4, seed=1,
    lines=(
        Line(name="native full", backend="native", solver="full", seconds=0.25,
             seconds_lowest=0.2, seconds_highest=1.5, fits=3, inertia=4_200.0, inertia_ratio=1.05,
             stop_reason="tolerance", **FIGURES),
        Line(name="native sample", backend="native", solver="sample", seconds=0.5, inertia=4_000.0, inertia_ratio=1.0,
             stop_reason="polished", **{**FIGURES, "rows_used": None}),
        Line(name="faiss", backend="faiss", solver="full", seconds=1.5, inertia=4_400.0, inertia_ratio=1.1,
             stop_reason="max_iter", reported_inertia=4_444.0, **FIGURES),
        Line(name="dask_ml", backend="dask_ml", solver="auto", error=f"died of SIGSEGV {HOSTILE}"),
    ),
    agreements=(
        Agreement("native full", "native sample", 0.9, 0.95),
        Agreement("native full", "faiss", 0.4, 0.5),
        Agreement("native sample", "faiss", 0.99, 0.998),
    ),
    busy_cores=1.5,
).to_dict()  # fmt: skip


def page_of(language: str) -> str:
    return render_sweep(a_summary(a_row(1), a_row(2, k=4), parity=FOUND), language)


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_line_shows_its_figures_or_its_reason(language):
    to, say = NumberFormat(language), SweepWords(language)
    _, *rows = Tables(page_of(language)).found[say("parity_caption")]
    assert [row[0] for row in rows] == [say.of(NAMES[line["name"]]) for line in FOUND["lines"]]
    for row, line in zip(rows[:3], FOUND["lines"], strict=False):
        own = line["reported_inertia"]
        repeated = f" ({to.decimal(0.2, 3)}–{to.decimal(1.5, 3)})" if line["fits"] else ""
        assert row[1:] == [
            to.decimal(line["seconds"], 3) + repeated,
            to.decimal(1.25, 1),
            to.decimal(line["inertia_ratio"], 5),
            MISSING if own is None else to.decimal(4_444 / 4_400, 5),
            to.whole(line["rows_used"]),
            "12",
            say.of(STOPS[line["stop_reason"]]),
        ]
    assert marked(rows[3][1]) == f"died of SIGSEGV {HOSTILE}"
    assert HOSTILE not in page_of(language).split("<script>")[0].replace(escape(HOSTILE), "")


@pytest.mark.parametrize("language", ["en", "es"])
def test_each_pair_that_finished_shows_how_far_it_agrees(language):
    to, say = NumberFormat(language), SweepWords(language)
    head, *rows = Tables(page_of(language)).found[say("parity_pairs_caption")]
    finished = [say.of(NAMES[name]) for name in ("native full", "native sample", "faiss")]
    assert head[1:] == [row[0] for row in rows] == finished
    far = f"{to.decimal(0.4, 3)} ({to.percent(0.5)})".replace("\xa0", " ")
    assert (rows[0][3].replace("\xa0", " "), rows[0][3]) == (far, rows[2][1])
    assert [rows[place][place + 1] for place in range(3)] == [MISSING] * 3


@pytest.mark.parametrize(
    ("language", "title", "people"),
    [
        ("en", "Native (all rows) is the quickest", "Most people would be together in the segments of both"),
        ("es", "Native (todas las filas) es el más rápido", "La mayoría de las personas quedarían juntas con ambos"),
    ],
)
def test_the_finding_is_the_title_and_the_page_leads_to_it(language, title, people):
    page = page_of(language)
    text = Page(page).text.replace("\xa0", " ")
    assert title in text
    assert [note[language] for note in FOUND["notes"] if note[language].replace("\xa0", " ") in text] == [
        note[language] for note in FOUND["notes"]
    ]
    assert len(FOUND["notes"]) == 2
    assert people in text
    assert 'href="#parity"' in page
    assert '<section id="parity"' in page
    tags = Page(page).tags
    assert tags.count("table") == tags.count("caption")


@pytest.mark.parametrize("changes", [{}, {"parity": None}])
def test_without_a_comparison_nothing_is_said_of_one(changes):
    page = render_sweep(a_summary(a_row(1), a_row(2, k=4), **changes), "en")
    assert "parity" not in page.split("<body>")[1].split("<script>")[0]


def test_one_line_alone_has_no_pairs():
    alone = {**FOUND, "lines": [FOUND["lines"][0], FOUND["lines"][3]], "agreements": []}
    page = render_sweep(a_summary(a_row(1), parity=alone), "en")
    assert SweepWords("en")("parity_pairs_caption") not in Tables(page).found
