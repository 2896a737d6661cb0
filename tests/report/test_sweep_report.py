"""What the report of a sweep says: every figure, what was tried, what failed, and what is missing."""

from __future__ import annotations

import copy
import re

import pytest

from engine.report.numbers import MISSING, NumberFormat
from engine.report.sweep_html import render_sweep
from engine.report.sweep_tables import SHOWN
from engine.report.sweep_words import SweepWords
from tests.report import sweep_example
from tests.report.sweep_example import Summary, Tables, a_row, a_summary, board_of, marked, page_of
from tests.report.test_report_html import Page, charts_of, notices


@pytest.fixture(scope="module")
def made() -> Summary:
    return sweep_example.made()


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {language: page_of(language) for language in ("en", "es")}


# What the page says


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_place_of_the_leaderboard_shows_its_figures(language, made, pages):
    to, say = NumberFormat(language), SweepWords(language)
    head, *rows = board_of(pages[language], language)
    assert len(rows) == len(made["leaderboard"]) == 32
    names = ("silhouette", "silhouette_euclidean", "stability", "balance", "smallest_share", "inertia_ratio")
    assert head[5:] == [*(say(name) for name in names), say("seconds_head")]
    for row, cells in zip(made["leaderboard"], rows, strict=True):
        assert marked(cells[1]).startswith(f"{say_sign(made, row)} {row['features']}")
        assert cells[2:5] == [say.short(row["transform"]), say.short(row["backend"]), str(row["k"])]
        assert [cells[0], *cells[5:]] == [
            to.whole(row["rank"]),
            to.decimal(row.get("silhouette"), 3),
            euclidean(row, to),
            to.decimal(row["stability"], 3),
            to.decimal(row["balance"], 3),
            to.percent(row["smallest_share"]),
            to.decimal(row["inertia_ratio"], 3),
            to.decimal(row["seconds"], 3),
        ]


def say_sign(summary: Summary, row: Summary) -> str:
    cells = list(dict.fromkeys((one["features"], one["transform"]) for one in summary["leaderboard"]))
    return "ABCDEFGH"[cells.index((row["features"], row["transform"]))]


def euclidean(row: Summary, to: NumberFormat) -> str:
    if "silhouette_euclidean" not in row:
        return MISSING
    error = row["silhouette_euclidean_error"]
    return f"{to.decimal(row['silhouette_euclidean'], 3)} ± {to.decimal(error, 3 if error >= 0.0005 else 5)}"


def test_marks_stand_where_the_summary_sets_them(made, pages):
    for row, cells in zip(made["leaderboard"], board_of(pages["en"])[1:], strict=True):
        words = marked(cells[1]).split()
        assert ("Pareto" in words) == row["pareto"]
        assert ("verdict" in words) == row["chosen"]
        proposed = all(row[key] == made["proposed"][key] for key in ("features", "transform", "backend", "k"))
        assert ("proposal" in words) == proposed
        assert ("outside 3 to 8 segments" in marked(cells[1])) == (row["k"] < 3)


@pytest.mark.parametrize("language", ["en", "es"])
def test_further_figures_are_all_there(language, made, pages):
    to, say = NumberFormat(language), SweepWords(language)
    head, *rows = Tables(pages[language]).found[say("more_caption")]
    assert len(rows) == len(made["leaderboard"])
    assert {say("explained"), say("calinski_harabasz"), say("gap"), say("bootstrap")} < {one.strip() for one in head}
    for row, cells in zip(made["leaderboard"], rows, strict=True):
        assert cells[5] == to.percent(row["explained"])
        assert cells[6] == to.decimal(row.get("calinski_harabasz"), 1)
        assert cells[7] == to.decimal(row.get("davies_bouldin"), 3)
        assert cells[8] == f"{to.decimal(row['gap'], 3)} ± {to.decimal(row['gap_error'], 3)}"
        assert cells[9].startswith(to.decimal(row.get("bootstrap_stability"), 3))
        assert cells[-1] == " · ".join(to.whole(size) for size in row["sizes"])


def test_the_top_says_what_was_tried_and_what_is_proposed(made, pages):
    proposed = made["proposed"]
    english, spanish = (Page(pages[language]).text for language in ("en", "es"))
    assert (
        "Tried on 120 customers as of 1 January 2024: 2 feature sets (rfm, fm), 2 transforms (log, none), 2 backends"
        " (native, scikit-learn), k from 1 to 4 and 2 seeds (0, 1)."
    ) in english
    assert (
        "Pruebas con 120 clientes, a 1 de enero de 2024: 2 conjuntos de medidas (rfm, fm), 2 transformaciones"
        " (log, ninguna), 2 motores (native, scikit-learn), k de 1 a 4 y 2 semillas (0, 1)."
    ) in spanish
    one = Page(render_sweep(a_summary(a_row(1)), "es")).text
    assert "Pruebas con 10 clientes, a 1 de enero de 2024: 1 conjunto de medidas (rfm), 1 transformación" in one
    assert f"Proposed: {proposed['k']} segments from “{proposed['features']} · log”" in english
    assert f"Propuesta: {proposed['k']} segmentos con «{proposed['features']} · log»" in spanish
    assert "trials done 64 of 64" in english
    assert proposed["reason"]["en"] in english
    assert proposed["reason"]["es"] in spanish
    assert re.search(rf'<code id="command"[^>]*>{re.escape(made["command"])}</code>', pages["es"])


def test_warnings_come_before_the_tables():
    summary = sweep_example.made()
    verdict = next(
        one
        for one in summary["verdicts"]
        if all(one[key] == summary["proposed"][key] for key in ("features", "transform", "backend"))
    )
    verdict["warnings"] = [{"en": "The largest is huge.", "es": "El mayor es enorme."}]
    shown = notices(render_sweep(summary, "es").split("<main")[0])
    assert shown == ["Atención. Dos columnas dicen lo mismo.", "Atención. El mayor es enorme."]


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_verdict_is_told_once_for_all_backends_that_share_it(language, made, pages):
    text = Page(pages[language]).text.replace("\xa0", " ")
    for one in made["verdicts"]:
        assert one["reason"][language].replace("\xa0", " ") in text
    summary = copy.deepcopy(made)
    same = summary["verdicts"][0]
    summary["verdicts"] = [{**same, "backend": "native"}, {**same, "backend": "sklearn"}]
    text = Page(render_sweep(summary, language)).text
    assert text.count(same["reason"][language]) == 1
    assert f"k = {same['k']} (native, scikit-learn)." in text


def test_failures_are_gathered_by_reason_near_the_top():
    errors = [("a k=4 seed=0", "too few"), ("a k=5 seed=0", "no room"), ("b k=4 seed=0", "too few")]
    errors += [(f"c{place}", f"reason {place}") for place in range(60)]
    rows = [a_row(1), *(a_row(None, k=3 + place) for place in range(1, 3))]
    failures = [{"trial": trial, "error": error} for trial, error in errors]
    page = render_sweep(a_summary(*rows, failures=failures), "en").split("<main")[0]
    text = Page(page).text
    assert "4 of 6 trials came to nothing:" in text
    assert "a k=4 seed=0 and 1 more: too few a k=5 seed=0 : no room c0 : reason 0 Other reasons: 59" in text
    assert "reason 40" in text
    assert "in sweep.csv: 19." in text


def test_what_cannot_be_used_says_why():
    rows = [
        a_row(1),
        a_row(2, k=9, usable=False),
        a_row(3, k=4, usable=False, largest_share=0.972),
        a_row(4, k=5, failed=1),
        a_row(None, k=6),
    ]
    english = [marked(row[1]) for row in board_of(render_sweep(a_summary(*rows), "en"))[1:]]
    spanish = [marked(row[1]) for row in board_of(render_sweep(a_summary(*rows), "es"), "es")[1:]]
    assert [one.split("native ")[1:] for one in english] == [
        [],
        ["outside 3 to 8 segments"],
        ["one segment holds 97.2% of customers"],
        ["1 of 2 seeds failed"],
        ["every seed failed"],
    ]
    assert spanish[2].endswith("un segmento reúne el 97,2 % de los clientes")
    assert spanish[4].endswith("han fallado todas las semillas")


def test_backends_are_compared_where_all_have_a_result():
    rows = [
        a_row(1, k=3, seconds=1.0),
        a_row(2, k=4, seconds=3.0, inertia_ratio=1.0005),
        a_row(3, k=5, seconds=5.0),
        a_row(4, k=3, backend="faiss", seconds=0.5, inertia_ratio=1.02),
        a_row(5, k=4, backend="faiss", seconds=0.25),
        a_row(None, k=5, backend="faiss"),
        a_row(None, k=3, backend="dask_ml"),
    ]
    page = render_sweep(a_summary(*rows), "en")
    _, *found = Tables(page).found["Inertia and time by backend"]
    assert [[marked(cell) for cell in row] for row in found] == [
        ["● native", "2 of 2", "1.0002", "1.0005", "2.000", "3.000", "0"],
        ["■ FAISS", "1 of 2", "1.0100", "1.0200", "0.375", "0.500", "2"],
        ["◆ Dask-ML", MISSING, MISSING, MISSING, MISSING, MISSING, "2"],
    ]
    assert "Lowest inertia most often: native; quickest: FAISS" in Page(page).text
    assert "On the 2 combinations" in Page(page).text


def test_one_backend_is_not_compared_with_itself():
    page = render_sweep(a_summary(a_row(1), a_row(2, k=4)), "en")
    assert 'id="backends"' not in page


@pytest.mark.parametrize("count", [SHOWN, SHOWN + 1, SHOWN + 7])
def test_a_long_leaderboard_is_folded_after_the_first_places(count):
    page = render_sweep(a_summary(*(a_row(place, k=place) for place in range(1, count + 1))), "en")
    first = Tables(page).found["The configurations, best first"]
    assert len(first) == 1 + SHOWN
    assert [row[0] for row in board_of(page)[1:]] == [str(place) for place in range(1, count + 1)]
    rest = {0: [], 1: ["Show the other one"], 7: ["Show the other 7"]}[count - SHOWN]
    assert re.findall(r"<summary>(.*?)</summary>", page) == [*rest, "Further figures"]


# What is missing


def test_with_one_seed_the_column_goes_and_balance_takes_its_place():
    rows = [a_row(place, k=2 + place, stability=None, seeds=1, balance=0.7 + place / 50) for place in (1, 2, 3)]
    summary = a_summary(*rows)
    summary["grid"]["seeds"] = [0]
    page = render_sweep(summary, "en")
    text = Page(page).text
    assert "Stability" not in board_of(page)[0]
    assert "takes at least two seeds" in text
    assert "How alike the segments from different seeds are" not in text
    chart = charts_of(page)["chart-pareto"]
    assert chart["data"][0]["y"] == [0.72, 0.74, 0.76]
    assert chart["wide"]["annotations"][0]["text"] == "Balance"
    assert "larger the mark" not in text


def test_k_of_one_has_no_silhouette_and_breaks_nothing(pages):
    [row, *_] = [cells for cells in board_of(pages["en"]) if cells[4] == "1"]
    assert row[5:7] == [MISSING, MISSING]
    alone = a_row(1, k=1, usable=False)
    del alone["silhouette"]
    page = render_sweep(a_summary(alone), "en")
    assert charts_of(page) == {}
    assert "None of the configurations can be used" in Page(page).text


def test_everything_failed_but_one():
    rows = [a_row(1, chosen=True, pareto=True), *(a_row(None, k=k) for k in (4, 5)), a_row(None, features="fm")]
    proposed = {"features": "rfm", "transform": "log", "backend": "native", "k": 3, "seed": 0}
    proposed["reason"] = {"en": "It is all there is.", "es": "No hay otra."}
    for language in ("en", "es"):
        page = render_sweep(a_summary(*rows, proposed=proposed, command="cartera segment"), language)
        assert board_of(page, language)[2][5:] == [MISSING] * 6
        assert charts_of(page) == {}
    assert "Han fallado todas las pruebas." in Page(page).text
    assert "Propuesta: 3 segmentos con «rfm»" in Page(page).text


def test_without_a_proposal_there_is_no_command():
    page = render_sweep(a_summary(a_row(1, k=9, usable=False), a_row(2, k=10, usable=False)), "es")
    text = Page(page).text
    assert "Sin propuesta" in text
    assert "Lo que se ha probado queda fuera de 3 a 8 segmentos o ha fallado." in text
    assert 'id="command"' not in page
    assert not any("propuesta" in cells[1] for cells in board_of(page, "es"))


def test_a_figure_that_is_not_a_number_becomes_a_dash():
    odd = a_row(1, silhouette=float("nan"), gap=0.5, gap_error=float("nan"), davies_bouldin=float("inf"))
    page = render_sweep(a_summary(odd, a_row(2, k=4, gap=0.4, gap_error=0.1), a_row(3, k=5)), "en")
    assert board_of(page)[1][5] == MISSING
    assert charts_of(page)["chart-gap-0"]["data"][0]["error_y"]["array"] == [0.0, 0.1]
    assert "nan" not in Page(page).text.lower().split()


def test_figures_that_nobody_has_are_neither_shown_nor_explained():
    text = Page(render_sweep(a_summary(a_row(1), a_row(2, k=4)), "en")).text
    for name in ("Gap", "Bootstrap stability", "Euclidean silhouette"):
        assert name not in text.split("Before comparing")[0]


@pytest.mark.parametrize(("error", "written"), [(0.0, "0.400"), (0.0001, "0.400 ± 0.00010"), (0.012, "0.400 ± 0.012")])
def test_an_error_is_written_unless_it_is_nothing(error, written):
    row = a_row(1, silhouette_euclidean=0.4, silhouette_euclidean_error=error)
    assert board_of(render_sweep(a_summary(row), "en"))[1][6] == written


@pytest.mark.parametrize(
    ("ks", "en", "es"),
    [
        ([4], "k = 4", "k = 4"),
        ([3, 4], "k = 3 and 4", "k = 3 y 4"),
        ([3, 4, 5], "k from 3 to 5", "k de 3 a 5"),
        ([3, 5, 8], "k = 3, 5 and 8", "k = 3, 5 y 8"),
        (list(range(2, 30, 2)), "14 values of k from 2 to 28", "14 valores de k de 2 a 28"),
    ],
)
def test_the_numbers_tried_in_a_few_words(ks, en, es):
    summary = a_summary(*(a_row(place, k=k) for place, k in enumerate(ks, 1)))
    assert f"1 backend (native), {en} and 2 seeds (0, 1)." in Page(render_sweep(summary, "en")).text
    assert f"1 motor (native), {es} y 2 semillas (0, 1)." in Page(render_sweep(summary, "es")).text


def test_customers_that_differ_between_sets_are_a_range():
    summary = a_summary(a_row(1), a_row(2, features="fm"), customers={"rfm": 1_200, "fm": 950})
    assert "Tried on 950 to 1,200 customers" in Page(render_sweep(summary, "en")).text
