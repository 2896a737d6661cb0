"""What the pages offer: the same as the API, in words, in both languages, on a telephone too."""

from __future__ import annotations

import html
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from markupsafe import escape

import engine
from engine.report.numbers import NumberFormat
from engine.report.offers import segment_offers
from engine.report.recommend_words import SEGMENT_OFFER_TEXTS
from engine.schema import Word
from engine.serving.pages.offer_words import OFFER_TEXTS
from engine.serving.pages.offers import KINDS
from engine.serving.pages.words import PageWords
from tests.report.conftest import browser  # noqa: F401  the fixture
from tests.serving.api_example import client_of
from tests.serving.pages_example import HOSTILE, LONG, STRANGE_IDS, World, make_world
from tests.serving.recommend_example import WHY_NO_RULES, offers_of, recommender_of, write_recommender
from tests.serving.test_pages import visible

IDS = [*STRANGE_IDS, *(f"c{number}" for number in range(82))]
NAMES = [Word("Occasional", "Ocasionales"), HOSTILE[0], Word(LONG, LONG)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), ids=IDS, names=NAMES, recommended=True)


def rows_of(page: str, section: str) -> list[list[str]]:
    """Return the rows of the table in a section, cell by cell."""
    part = page.split(f'id="{section}"')[1].split("</section>")[0]
    body = part.split("<tbody>")[1].split("</tbody>")[0]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in body.split("</tr>")[:-1]]
    return [[visible(cell) for cell in row] for row in cells]


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_customer_is_offered_what_the_api_says(world: World, language: str) -> None:
    page = world.client("customers").get(f"/customers/c7?language={language}")
    asked = client_of(world.app, "customers").get(f"/v1/customers/c7/recommendations?language={language}")
    told = asked.json()["recommendations"]
    rows = rows_of(page.text, "offers")
    assert len(rows) == len(told) == 10
    for row, one in zip(rows, told, strict=True):
        assert row[0].split() == [*one["product"].split(), one["product_id"]]
        assert row[1] == one["why"]
        bought = one["figures"]["times_bought"]
        assert row[2:] == ([str(bought), str(one["figures"]["days_since_bought"])] if bought else ["–", "–"])
    say = PageWords(language)
    assert say("offers_finding", product=told[0]["product"]) in visible(page.text)
    assert NumberFormat(language).date("1971-01-05") in visible(page.text)


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_reader_chooses_new_products_or_those_bought_before(world: World, language: str) -> None:
    client, api = world.client("customers"), client_of(world.app, "customers")
    page = client.get(f"/customers/c7?language={language}&similar=3&segment=seg-000001").text
    kinds = re.findall(r'<a href="([^"]*#offers)"( aria-current="true")?>([^<]*)</a>', page)
    assert [word for _, _, word in kinds] == [OFFER_TEXTS[key].text(language) for key in KINDS.values()]
    for chosen, (address, _, _) in zip(KINDS, kinds, strict=True):
        query = html.unescape(address).removesuffix("#offers")
        shown = client.get(f"/customers/c7{query}").text
        told = api.get(f"/v1/customers/c7/recommendations{f'?only={chosen}' if chosen else ''}").json()
        wanted = [one["product_id"] for one in told["recommendations"]]
        assert [row[0].split()[-1] for row in rows_of(shown, "offers")] == wanted
        # One is marked, and the number of look-alikes stays as it was.
        assert re.findall(r'<a href="([^"]*)" aria-current="true">', shown.split('id="offers"')[1]) == [address]
        assert 'value="3"' in shown
        assert (f'name="only" value="{chosen}"' in shown) == bool(chosen)
    assert rows_of(client.get("/customers/c7?only=nonsense").text, "offers") == rows_of(page, "offers")


def test_where_nothing_is_left_to_offer_the_page_says_so(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(tmp_path, recommended=True)
    monkeypatch.setattr(world.state.now.offers, "of_customer", lambda *_, **__: [])
    page = world.client("customers").get("/customers/7?only=bought&language=es").text
    assert OFFER_TEXTS["offers_none_bought"].es in visible(page)
    assert OFFER_TEXTS["offers_only_new"].es in page


def test_strange_names_of_products_are_shown_as_they_are(tmp_path: Any) -> None:
    """Also where recommendations are of categories, so that the name of one is the id."""
    strange = '<img src=x onerror=alert(1)> & "ñ" 50% a/b #1 {{ 7 }} \N{RIGHT-TO-LEFT OVERRIDE}\''
    world = make_world(tmp_path)
    made = recommender_of(world.customers["customer_id"].to_list(), world.model, popular=strange)
    named = made.products.with_columns(name="product_id")
    folder = write_recommender(tmp_path / "strange", replace(made, products=named))
    offers = offers_of(tmp_path / "bundle", folder)(world.model)
    assert offers is not None
    object.__setattr__(world.state.now, "offers", offers)
    client, api = world.client("customers"), client_of(world.app, "customers")
    pages = [client.get(path).text for path in ("/segments/seg-000002", "/customers/7?only=bought", "/customers/7")]
    assert any(html.escape(strange) in page or str(escape(strange)) in page for page in pages)
    assert not any("<img src=x" in page for page in pages)
    answer = api.post("/v1/recommend", json={"basket": [strange]})
    assert (answer.status_code, answer.json()["unknown"]) == (200, [])


def test_somebody_who_has_bought_nothing_gets_what_fits_the_segment(tmp_path: Any) -> None:
    world = make_world(tmp_path, recommended=True)
    offers = world.state.now.offers
    assert offers is not None
    known = offers.row
    offers.row = lambda customer_id: None if customer_id == 7 else known(customer_id)  # type: ignore[method-assign]
    page = world.client("customers").get("/customers/7?language=es")
    segment_id = client_of(world.app, "customers").get("/v1/customers/7").json()["segment_id"]
    wanted = client_of(world.app).post("/v1/recommend", json={"segment_id": segment_id}).json()["recommendations"]
    assert [row[0].split()[-1] for row in rows_of(page.text, "offers")] == [one["product_id"] for one in wanted]
    assert "no compró nada antes del 5 de enero de 1971" in visible(page.text)


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_segment_shows_what_to_offer(world: World, language: str) -> None:
    page = world.client("classify").get(f"/segments/seg-000002?language={language}")
    api, to = client_of(world.app, "classify"), NumberFormat(language)
    rules = api.get("/v1/segments/seg-000002/cross-sell?k=10").json()["rules"]
    rows = rows_of(page.text, "cross-sell")
    assert len(rows) == len(rules) == 3
    for row, rule in zip(rows, rules, strict=True):
        assert all(one["product_id"] in row[0] for one in rule["bought"])
        assert rule["offer"]["product_id"] in row[1]
        assert row[2] == to.times(rule["lift"])
        assert row[4:] == [visible(to.percent(rule["share_went_on"])), str(rule["customers_to_offer"])]
    tried = api.get("/v1/segments/seg-000002/next-products").json()["products"]
    rows = rows_of(page.text, "next")
    assert [row[1] for row in rows] == [visible(to.percent(one["probability"])) for one in tried]
    empty = world.client("classify").get(f"/segments/seg-000001?language={language}")
    assert SEGMENT_OFFER_TEXTS["cross_none"].text(language) in visible(empty.text)
    assert html.escape(WHY_NO_RULES[language]) in empty.text
    assert NumberFormat(language).date("1970-07-09") in visible(page.text)
    assert "up-sell" not in page.text
    assert "<script>alert" not in page.text


def test_without_recommendations_nothing_is_offered(tmp_path: Any) -> None:
    world = make_world(tmp_path)
    client = world.client("customers")
    for path, sections in (("/customers/7", ["offers"]), ("/segments/seg-000002", ["next", "cross-sell", "up-sell"])):
        page = client.get(path)
        assert page.status_code == 200
        assert not any(f'id="{section}"' in page.text for section in sections)


def test_a_dearer_product_is_told_with_its_price() -> None:
    row = {"next_segment_id": "seg-000002", "product_x": "x", "product_x_name": "Café", "product_y": "y"}
    row |= {"product_y_name": "Expreso", "price_x": 5.0, "price_y": 8.5, "share": 0.25, "share_next": 0.75}
    row |= {"customers_to_offer": 1200}
    told = segment_offers(None, None, [row], PageWords("es"), NumberFormat("es"), above="Campeones")
    assert (told["next"], told["cross"]) == (None, None)
    assert told["up"]["finding"] == "En lugar de Café, el segmento superior elige Expreso"
    (only,) = told["up"]["rows"]
    assert (only["price"], only["price_offer"], only["customers"]) == ("a 5,00", "a 8,50", "1.200")
    assert "Campeones" in told["up"]["help"]


def test_every_text_is_shown_somewhere() -> None:
    root = Path(engine.__file__).parent
    sources = [*(root / "serving" / "pages").rglob("*offers*"), *(root / "report").rglob("offers*")]
    text = "".join(one.read_text("utf-8") for one in sources if one.suffix != ".pyc")
    for key, word in {**OFFER_TEXTS, **SEGMENT_OFFER_TEXTS}.items():
        assert f'"{key}"' in text, key
        assert sorted(re.findall(r"{(\w+)}", word.en)) == sorted(re.findall(r"{(\w+)}", word.es)), key


@pytest.fixture(scope="module")
def url(world: World) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(world.app, host="127.0.0.1", port=0, log_config=None, http="httptools"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_on_a_phone_nothing_is_out_of_sight(world: World, url: str, browser: Any) -> None:  # noqa: F811
    context = browser.new_context(viewport={"width": 390, "height": 800})
    session = dict(world.client("customers").cookies)
    context.add_cookies([{"name": name, "value": value, "url": url} for name, value in session.items()])
    tab = context.new_page()
    hidden = """() => [...document.querySelectorAll('.stack tbody :is(th, td)')]
        .filter(one => { const box = one.getBoundingClientRect();
                         return box.width === 0 || box.left < 0 || box.right > innerWidth; }).length"""
    for path in ("/customers/c7?language=es", "/segments/seg-000002?language=es"):
        tab.goto(url + path)
        assert tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        assert tab.evaluate(hidden) == 0
        unlabelled = "[...document.querySelectorAll('.stack tbody td:not(.pull)')].filter(one => !one.dataset.label)"
        assert tab.evaluate(f"{unlabelled}.length") == 0
    context.close()
