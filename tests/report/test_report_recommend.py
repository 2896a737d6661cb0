"""The page of `cartera recommend`: its figures, its words in both languages, and nothing that runs or is fetched."""

from __future__ import annotations

import html
import re
from typing import Any

import polars as pl
import pytest

from engine.errors import SettingError
from engine.recommend.reasons import REASONS
from engine.report.recommend_html import render_recommendations
from engine.report.recommend_words import TEXTS, RecommendWords
from tests.report.conftest import browser  # noqa: F401  the fixture
from tests.report.recommend_example import EXAMPLES, facts, foreseen, tables


def shown(page: str) -> str:
    """Return the text of a page as a reader sees it."""
    body = re.sub(r"<style>.*?</style>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).replace("\N{NO-BREAK SPACE}", " ").split())


def rendered(language: str = "es", **changes: Any) -> str:
    return render_recommendations(facts(**changes), tables(), EXAMPLES, language)


@pytest.mark.parametrize(
    ("language", "wanted"),
    [
        (
            "es",
            (
                "El 31,2 % de la siguiente cesta de un cliente está entre los 10 productos recomendados",
                "Para 1.234 clientes, según las compras anteriores al 2 de enero de 2018.",
                "Mejores que la mejor regla sencilla, «lo que más compra el cliente y, después, todos»",
                "El 72,9 % de las recomendaciones: el cliente lo compra una y otra vez",
                "Después de Té compran lemon: 2,5 veces lo esperado",
                "En lugar de Té, el segmento superior elige Café & expreso",
                "5 de 8 combinaciones",
                "Lo nuevo de las últimas cestas: Leche <b>entera</b>",
                "15,0–26,0 %",
                "La lista de cada cliente está en recommendations.parquet.",
                "Pocos tienen tres cestas.",
                "12.340",
                "lo compras cada 3 semanas",
            ),
        ),
        (
            "en",
            (
                "31.2% of a customer's next basket is among the 10 products recommended",
                "Better than the best plain rule, “what the customer buys most, then what all do”",
                "72.9% of the recommendations: the customer buys it again and again",
                "5 of 8 pairs and sets",
                "30.2% to 32.2%",
                "New in the latest baskets: Leche <b>entera</b>",
                "15.0–26.0%",
                "1.5–4.0×",
            ),
        ),
    ],
)
def test_the_figures_are_those_of_the_run(language: str, wanted: tuple[str, ...]) -> None:
    text = shown(rendered(language))
    for words in wanted:
        assert words in text
    # Of the second segment there is up-selling, and of the rest that there is nothing.
    assert TEXTS["cross_none"].text(language) in text
    assert TEXTS["next_none"].text(language) in text


@pytest.mark.parametrize(
    ("apart", "key"), [(0.05, "quality_better"), (0.005, "quality_alike"), (-0.05, "quality_worse")]
)
def test_the_verdict_follows_the_interval(apart: float, key: str) -> None:
    text = shown(rendered("en", foreseen=foreseen(0.3, 0.25, apart)))
    assert RecommendWords("en")(key, name=TEXTS["by_personal_then_popular"].en) in text


def test_ours_comes_first_and_then_the_best() -> None:
    page = rendered("en")
    rows = page.split('id="quality"')[1].split("<tbody>")[1].split("</tbody>")[0]
    names = [shown(row) for row in re.findall(r'<th scope="row">(.*?)</th>', rows)]
    assert names == ["Cartera", "What the customer buys most, then what all do", "House <i>", "What all buy most"]
    assert rows.count('class="chosen"') == 1
    # An interval of a share ends where shares do, and what is not known is a dash.
    assert "98.5% to 100.0%" in shown(rows)
    assert "–" in shown(rows)


def test_products_that_were_new_are_judged_apart() -> None:
    of_new = foreseen(0.03, 0.05, -0.02) | {"protocol": {"targets": 987}}
    page = rendered("es", foreseen=foreseen(0.3123, 0.25, 0.05) | {"new": of_new})
    part = shown(page.split('id="novel"')[1].split("</section>")[0])
    assert RecommendWords("es")("quality_worse", name=TEXTS["by_personal_then_popular"].es) in part
    assert "987 clientes llevaban" in part
    assert "3,0 %" in part
    assert TEXTS["measure_recall_repeat"].es not in part
    assert 'id="novel"' not in rendered("es")
    # Where only those were asked for, that is all there is to judge.
    page = rendered("en", foreseen=of_new, only="new")
    assert "3.0% of what a customer buys for the first time" in shown(page)
    assert page.count('id="quality"') == 1
    assert "987 customers had something" in shown(page)
    assert TEXTS["measure_recall_repeat"].en not in shown(page)


def test_without_an_evaluation_without_tables_without_names() -> None:
    page = render_recommendations(facts(foreseen=None, notes=[], reasons={}), {}, {}, "es")
    text = shown(page)
    assert "Qué ofrecer ahora a 1.234 clientes" in text
    assert text.count(TEXTS["no_tables"].es) == 2
    assert 'id="quality"' not in page
    assert 'id="reasons"' not in page
    assert 'id="what"' not in page
    plain = shown(render_recommendations(facts(), tables(named=False), EXAMPLES, "es"))
    assert "Después de tea compran lemon: 2,5 veces lo esperado" in plain


def changed(**columns: list[Any]) -> dict[str, pl.DataFrame]:
    """Return tables whose rules have other columns."""
    found = tables()
    rules = found["cross_sell"]
    return found | {"cross_sell": rules.with_columns(pl.Series(name, values) for name, values in columns.items())}


def cross_selling(found: dict[str, pl.DataFrame], language: str = "en") -> str:
    page = render_recommendations(facts(), found, EXAMPLES, language)
    return shown(page.split('id="cross-sell-1"')[1].split("</section>")[0])


def test_what_can_be_offered_to_nobody_is_counted_and_not_listed() -> None:
    text = cross_selling(
        changed(customers_to_offer=[0, 0, 0, 10, 50, 50, 50, 9], same_kind=[False] * 4 + [True] + [False] * 3)
    )
    assert "p0" not in text
    assert "p1" in text
    assert "p2" not in text
    # Nine customers are too few for a campaign; ten are not.
    assert "p5" not in text
    assert TEXTS["cross_few"].en.format(n=1, least=10) in text
    assert "All that stand out: 3" in text
    assert TEXTS["cross_taken"].en.format(n=3) in text
    assert TEXTS["cross_same_left"].en.format(n=1) in text
    # The order is told where it is the one of the verb's tables.
    assert TEXTS["cross_order"].en not in text
    ordered = cross_selling(changed(buyers_beyond_chance=[1.0] * 8), "es")
    assert TEXTS["cross_order"].es in ordered


def test_rules_of_one_kind_are_listed_where_there_are_no_others() -> None:
    text = cross_selling(changed(same_kind=[True] * 8), "es")
    assert TEXTS["cross_same_only"].es in text
    assert "5 de 8 combinaciones" in text
    taken = cross_selling(changed(customers_to_offer=[0] * 8))
    assert TEXTS["cross_all_taken"].en.format(n=8) in taken
    few = cross_selling(changed(customers_to_offer=[3] + [0] * 7), "es")
    assert TEXTS["cross_all_few"].es.format(n=8, least=10) in few


def test_two_products_of_one_name_are_told_apart() -> None:
    found = changed(name_y=["Té"] + ["Café"] * 7, name_x=["Té"] * 8)
    assert "Buyers of Té (tea) go on to Té (lemon) 2.5 times as often as expected" in cross_selling(found)
    assert "(tea)" not in cross_selling(tables())
    tried = tables()["next_products"]
    two = pl.concat([tried, tried.with_columns(product=pl.lit("oat"), rank=pl.lit(2, pl.Int64))])
    page = render_recommendations(facts(), {"next_products": two}, EXAMPLES, "es")
    assert "lo nuevo más frecuente de las últimas cestas: Leche <b>entera</b> (milk)" in shown(page)


@pytest.mark.parametrize(
    ("high_of_second", "days", "english", "spanish"),
    [
        (0.149, 12, "New in the last 12 days: tea", "Lo nuevo de los últimos 12 días: tea"),
        (0.149, 1, "New on the last day: tea", "Lo nuevo del último día: tea"),
        (
            0.15,
            12,
            "No product stands out; most often new in the last 12 days: tea",
            "Ningún producto destaca; lo nuevo más frecuente de los últimos 12 días: tea",
        ),
    ],
)
def test_a_product_stands_out_where_its_interval_does(
    high_of_second: float, days: int, english: str, spanish: str
) -> None:
    first = {**tables(named=False)["next_products"].row(0, named=True), "product": "tea"}
    second = {**first, "rank": 2, "product": "oat", "probability_high": high_of_second}
    third = {**second, "rank": 3, "product": "rye", "probability_high": 0.1}
    tried = {"next_products": pl.DataFrame([first, second, third])}
    told = {"next_products_from": "2017-12-21", "next_products_days": days}
    for language, wanted in (("en", english), ("es", spanish)):
        text = shown(render_recommendations(facts(**told), tried, {}, language))
        assert wanted in text
        assert TEXTS["next_falling"].text(language) not in text
        left_out = facts(**told, next_products_falling_off=["star"])
        assert TEXTS["next_falling"].text(language) in shown(render_recommendations(left_out, tried, {}, language))


def test_no_heading_ends_with_a_full_stop() -> None:
    told = {"why_nothing": {"cross_sell": {"seg-bbbbbb": {"en": "Few buyers.", "es": "Pocos compradores."}}}}
    for language in ("en", "es"):
        headings = re.findall(r"<h[1-6][^>]*>(.*?)</h[1-6]>", rendered(language, **told), flags=re.S)
        assert len(headings) > 6
        assert not [one for one in headings if shown(one).endswith(".")]


def test_categories_are_called_so() -> None:
    for language, wanted in (("en", "categories"), ("es", "categorías")):
        assert f"<dt>{wanted}</dt>" in rendered(language, categories=True)
        assert f"<dt>{wanted}</dt>" not in rendered(language)


def test_a_line_breaks_before_the_point_of_a_name() -> None:
    segments = [{**facts()["segments"][0], "en": "loyal · recent", "es": "fieles · recientes"}]
    assert "Fieles ·\N{NO-BREAK SPACE}recientes" in rendered("es", segments=segments)


@pytest.mark.parametrize("language", ["en", "es"])
def test_where_there_is_nothing_the_page_says_why(language: str) -> None:
    why = {
        name: {"seg-bbbbbb": {"en": f"{name} has 7 & <few>", "es": f"{name} tiene 7 & <pocos>"}}
        for name in ("next_products", "cross_sell")
    }
    why["up_sell"] = {"seg-aaaaaa": {"en": "highest", "es": "el más alto"}}
    told = {"why_nothing": why, "next_products_from": "2017-12-21", "next_products_days": 1012}
    page = rendered(language, **told)
    first, second = (shown(part.split('class="of"')[0]) for part in page.split('aria-labelledby="segment-')[1:3])
    for name in ("next_products", "cross_sell"):
        assert why[name]["seg-bbbbbb"][language] in second
        assert why[name]["seg-bbbbbb"][language] not in first
    assert why["up_sell"]["seg-aaaaaa"][language] in first
    assert TEXTS["up_none"].text(language) in first
    assert ("21 December 2017" if language == "en" else "21 de diciembre de 2017") in first
    assert ("1,012" if language == "en" else "1.012") in first


def test_what_was_not_looked_for_is_no_figure() -> None:
    page = render_recommendations(facts(foreseen=None), {"next_products": tables()["next_products"]}, {}, "es")
    figures = page.split('class="figures"')[1].split("</dl>")[0]
    assert figures.count("<dt>") == 3
    assert "–" not in figures


def test_names_cannot_break_out_and_nothing_is_fetched() -> None:
    for language in ("en", "es"):
        page = rendered(language)
        assert "<script" not in page
        assert "<b>entera" not in page
        assert "Leche <b>entera</b>" in shown(page)
        assert "default-src 'none'" in page
        assert not re.search(r"(?:src|href)=\"(?!#|data:)", page)


def test_segments_come_by_their_rank() -> None:
    segments = [{**one, "rank": rank} for one, rank in zip(facts()["segments"], (2, 1), strict=True)]
    text = shown(rendered("es", segments=segments))
    assert text.index("<script>x") < text.index("Campeones")


def test_a_third_language_is_refused() -> None:
    with pytest.raises(SettingError, match="fr"):
        rendered("fr")


def test_every_reason_and_measure_has_its_words_in_both_languages() -> None:
    assert {f"reason_{reason}" for reason in REASONS} <= TEXTS.keys()
    for key, word in TEXTS.items():
        assert sorted(re.findall(r"{(\w+)}", word.en)) == sorted(re.findall(r"{(\w+)}", word.es)), key


@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_and_complains_of_nothing(browser: Any, width: int, tmp_path: Any) -> None:  # noqa: F811
    file = tmp_path / "recommend.html"
    file.write_text(rendered("es"), encoding="utf-8")
    context = browser.new_context(offline=True, viewport={"width": width, "height": 900})
    tab, wrong = context.new_page(), []
    tab.on("console", lambda message: wrong.append(message.text))
    tab.goto(file.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert tab.locator("h1").count() == 1
    assert wrong == []
    if width == 390:
        unlabelled = "[...document.querySelectorAll('.stack tbody td')].filter(one => !one.dataset.label).length"
        assert tab.evaluate(unlabelled) == 0
        # An interval stands on one line.
        spans = "all => [...new Set(all.map(one => getComputedStyle(one).whiteSpace))]"
        assert tab.locator("td.range, small.range").evaluate_all(spans) == ["nowrap"]
    context.close()
