"""What the pages say: in whose language, every text in both, and nothing that only a programmer would write."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from engine.features.store import FEATURES
from engine.report.look import lower_first
from engine.report.words import TEXTS as REPORT_TEXTS
from engine.serving.pages.frame import coded
from engine.serving.pages.words import TEXTS, PageWords
from tests.serving.pages_example import World, csrf_of, make_world
from tests.serving.test_pages import visible


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def test_the_language_is_chosen_once_and_kept(world):
    client = world.client("classify")
    assert '<html lang="en">' in client.get("/").text
    spanish = client.get("/?language=es")
    assert '<html lang="es">' in spanish.text
    assert "el 76" not in spanish.text
    assert TEXTS["nav_overview"].es in visible(spanish.text)
    assert '<html lang="es">' in client.get("/classify").text
    assert '<html lang="es">' in client.get("/segments/none").text
    assert '<html lang="en">' in client.get("/classify?language=en").text
    assert '<html lang="en">' in client.get("/classify?language=xx").text


def test_a_server_speaks_its_own_language_first(tmp_path):
    world = make_world(tmp_path, language="es", people=False)
    assert '<html lang="es">' in world.client(None).get("/login").text
    assert '<html lang="es">' in world.client(None).get("/nothing").text


@pytest.mark.parametrize(
    ("browser", "language"),
    [
        ("es-ES,es;q=0.9,en;q=0.8", "es"),
        ("ca, es;q=0.7, en;q=0.3", "es"),
        ("de-DE,de;q=0.9,en;q=0.8,es;q=0.7", "en"),
        ("es;q=0.5, en", "en"),
        ("ES-mx", "es"),
        # None of ours, a refusal, nonsense, or no end of it: the server's own.
        ("fr", "en"),
        ("es;q=0", "en"),
        ("es;q=nan", "en"),
        ("es;q=much", "en"),
        ("*", "en"),
        ("", "en"),
        ("es," * 1000, "en"),
    ],
)
def test_who_has_chosen_no_language_gets_that_of_the_browser(world, browser, language):
    client = world.client(None)
    page = client.get("/login", headers={"accept-language": browser}).text
    assert f'<html lang="{language}">' in page


def test_a_chosen_language_wins_over_the_browsers_and_stays(world):
    client = world.client(None)
    spanish = {"accept-language": "es"}
    assert '<html lang="es">' in client.get("/login", headers=spanish).text
    assert '<html lang="en">' in client.get("/login?language=en", headers=spanish).text
    page = client.get("/login", headers=spanish).text
    assert '<html lang="en">' in page
    client.post("/login", data={"csrf": csrf_of(page), "token": "token-classify"}, headers=spanish)
    for path in ("/", "/classify", "/nothing"):
        assert '<html lang="en">' in client.get(path, headers=spanish).text


def test_what_stands_between_backticks_is_shown_as_code():
    assert coded("Run `a <b>` & go.") == "Run <code>a &lt;b&gt;</code> &amp; go."
    assert coded("<i>") == "&lt;i&gt;"
    assert coded("one ` of <two>") == "one ` of &lt;two&gt;"


def test_no_page_shows_a_raw_backtick(tmp_path):
    world = make_world(tmp_path, people=False)
    client = world.client("customers")
    for language in ("en", "es"):
        for path in ("/compare", "/customers", "/nothing"):
            page = visible(client.get(path, params={"language": language}).text)
            assert "`" not in page


@pytest.mark.parametrize(("name", "feature"), FEATURES.items())
def test_every_measure_of_ours_has_its_article(name, feature):
    subject, many = PageWords("es").subject(name, feature.label.es)
    article, rest = subject.split(" ", 1)
    assert article in ("La", "El", "Las", "Los")
    assert rest == lower_first(feature.label.es)
    # The first noun decides: «la recencia», «el ticket medio», «las unidades».
    noun = rest.split()[0]
    plural = noun.endswith("s")
    feminine = noun.rstrip("s").endswith(("a", "ad", "ción", "dade"))
    assert (article, many) == (("Las" if feminine else "Los") if plural else ("La" if feminine else "El"), plural)
    english, many = PageWords("en").subject(name, feature.label.en)
    assert (english, many) == (feature.label.en, name == "units")


def test_the_switch_leads_to_the_same_page(world):
    client = world.client("customers")
    page = client.get("/customers?segment=seg-000001&language=en").text
    link = html.unescape(re.search(r'<a href="([^"]*)" lang="es"', page).group(1))  # type: ignore[union-attr]
    assert link == "/customers?segment=seg-000001&language=es"
    assert TEXTS["typical_of"].es.split("«")[0] in visible(client.get(link).text)


def test_every_text_is_in_both_languages_with_the_same_gaps():
    for key, word in TEXTS.items():
        assert word.en.strip(), key
        assert word.es.strip(), key
        gaps = [set(re.findall(r"{(\w+)}", text)) for text in (word.en, word.es)]
        assert gaps[0] == gaps[1], key
    assert not set(TEXTS) & set(REPORT_TEXTS)


def test_every_text_is_used():
    folder = Path(__file__).parents[2] / "engine" / "serving" / "pages"
    sources = "".join(path.read_text("utf-8") for path in (*folder.glob("*.py"), *folder.glob("templates/*.j2")))
    unused = [key for key in TEXTS if not re.search(rf"""["']{key}["'](?!: Word)""", sources)]
    assert [key for key in unused if not key.startswith("problem_")] == []
    assert PageWords("es").has("problem_404")
