"""The page of `cartera recommend`: its figures, its words in both languages, and nothing that runs or is fetched."""

from __future__ import annotations

import html
import re
from typing import Any

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
                "Quien ha comprado Té acaba comprando lemon",
                "En lugar de Té, el segmento superior elige Café & expreso",
                "Las 5 combinaciones más claras de 8",
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
                "The 5 strongest of 8 pairs and sets",
                "30.2% to 32.2%",
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


def test_without_an_evaluation_without_tables_without_names() -> None:
    page = render_recommendations(facts(foreseen=None, notes=[], reasons={}), {}, {}, "es")
    text = shown(page)
    assert "Qué ofrecer ahora a 1.234 clientes" in text
    assert text.count(TEXTS["no_tables"].es) == 2
    assert 'id="quality"' not in page
    assert 'id="reasons"' not in page
    assert 'id="what"' not in page
    plain = shown(render_recommendations(facts(), tables(named=False), EXAMPLES, "es"))
    assert "Quien ha comprado tea acaba comprando lemon" in plain


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
    context.close()
