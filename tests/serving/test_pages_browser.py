"""The pages as a person uses them: in a browser, by keyboard, on a phone, without JavaScript."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from engine.schema import Word
from tests.report.conftest import browser  # noqa: F401  the fixture
from tests.segments.divisions import AFTER, BEFORE, division
from tests.serving.pages_example import HOSTILE, LONG, World, make_world

IDS = ["..%2f..", "a/b", "50% á", "<b>x</b>", *(f"c{number}" for number in range(80))]
NAMES = [Word("Occasional customers", "Clientes ocasionales"), HOSTILE[0], Word(LONG, LONG)]
PATHS = (
    "/?language={language}",
    "/segments/seg-000002",
    "/classify?example=seg-000001",
    "/customers?segment=seg-000002",
    "/customers/c7",
    "/compare?before=0&after=1",
    "/nothing",
)


CLASHES = """() => [...document.querySelectorAll('tbody tr')].flatMap(row => {
    const boxes = [...row.children].map(cell => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        return range.getBoundingClientRect();
    });
    return boxes.flatMap((one, i) => boxes.slice(i + 1).filter(other =>
        one.width && other.width && one.left < other.right - 1 && other.left < one.right - 1
        && one.top < other.bottom - 1 && other.top < one.bottom - 1).map(() => row.innerText));
})"""
"""The rows of tables in which the text of one cell runs into another's."""


def read_run(folder: Path, key: str) -> Any:
    return division(BEFORE if folder.name == "january" else AFTER, name=folder.name)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    runs = (Path("runs/january"), Path("runs/june"))
    folder = tmp_path_factory.mktemp("world")
    return make_world(folder, ids=IDS, names=NAMES, sales=True, runs=runs, read_run=read_run)


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


class Reader:
    """A person at a screen, and what went wrong meanwhile."""

    def __init__(
        self, chromium: Any, url: str, *, known_to: World | None, width: int = 1280, script: bool = True
    ) -> None:
        self.url = url
        self.context = chromium.new_context(viewport={"width": width, "height": 800}, java_script_enabled=script)
        if known_to is not None:
            session = dict(known_to.client("customers").cookies)
            self.context.add_cookies([{"name": name, "value": value, "url": url} for name, value in session.items()])
        self.tab = self.context.new_page()
        self.wrong: list[str] = []
        self.tab.on("console", lambda message: self.wrong.append(message.text))
        self.tab.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.tab.on("request", lambda one: None if one.url.startswith((url, "data:")) else self.wrong.append(one.url))

    def enter(self) -> None:
        with self.tab.expect_navigation():
            self.tab.keyboard.press("Enter")

    def tab_to(self, test: str) -> None:
        for _ in range(40):
            self.tab.keyboard.press("Tab")
            if self.tab.evaluate(f"(one => {test})(document.activeElement)"):
                return
        raise AssertionError(f"no Tab reaches what satisfies {test}")

    def drawn(self) -> None:
        if self.tab.locator("#charts").count():
            self.tab.wait_for_selector("body.drawn")


@pytest.fixture
def reader(browser: Any, url: str, world: World) -> Iterator[Any]:  # noqa: F811
    opened: list[Reader] = []

    def open_one(*, known: bool = True, **more: Any) -> Reader:
        opened.append(Reader(browser, url, known_to=world if known else None, **more))
        return opened[-1]

    yield open_one
    for one in opened:
        one.context.close()


def test_a_customer_is_classified_by_keyboard_alone(world, reader):
    person = reader(known=False)
    person.tab.goto(f"{person.url}/login?language=es")
    # The field has the focus from the start.
    person.tab.wait_for_function("document.activeElement.name === 'token'")
    person.tab.keyboard.type("token-customers")
    person.enter()
    person.tab_to("one.getAttribute('href') === '/classify'")
    person.enter()
    typed = {"recency_days": "2", "frequency": "900", "monetary": "1.250,5"}
    for name, text in typed.items():
        person.tab_to(f"one.id === 'value-{name}'")
        person.tab.keyboard.type(text)
    person.enter()
    found = world.model.classify({"recency_days": 2, "frequency": 900, "monetary": 1250.5})
    assert person.tab.locator("#answer h2").inner_text().split(maxsplit=1)[1] == found.segment.name.es.strip()
    # Reading goes on at the answer, and Enter has not switched the language.
    assert person.tab.evaluate("document.activeElement.id") == "answer"
    assert person.tab.evaluate("document.documentElement.lang") == "es"
    person.drawn()
    assert person.tab.locator("#chart-map .scatterlayer .trace").count() == 3 + 3 + 1
    assert person.wrong == []
    # The language changes, the numbers stay.
    with person.tab.expect_navigation():
        person.tab.get_by_role("button", name="English").click()
    assert person.tab.input_value("#value-monetary") == "1250.5"
    assert person.tab.locator("#answer h2").inner_text().split(maxsplit=1)[1] == found.segment.name.en.strip()

    # What is wrong has the focus, is not lost, and a link leads to it.
    person.tab.fill("#value-frequency", "twelve")
    person.enter()
    assert person.tab.evaluate("document.activeElement.id") == "errors"
    assert person.tab.input_value("#value-frequency") == "twelve"
    person.tab.get_by_role("link", name="Frequency").click()
    assert person.tab.evaluate("document.activeElement.id") == "value-frequency"


@pytest.mark.parametrize(("width", "language"), [(1280, "en"), (390, "es")])
def test_every_page_draws_fits_and_complains_of_nothing(reader, width, language):
    person = reader(width=width)
    for path in PATHS:
        person.tab.goto(person.url + path.format(language=language))
        person.drawn()
        assert person.tab.evaluate("document.documentElement.lang") == language
        beyond = person.tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert (path, beyond) == (path, 0)
        assert person.tab.locator(".no-webgl").count() == 0
        assert person.tab.locator("h1").count() == 1
        assert (path, person.tab.evaluate(CLASHES)) == (path, [])
        unnamed = "[...document.querySelectorAll('input:not([type=hidden]), select')].filter(one => !one.labels.length)"
        assert (path, person.tab.evaluate(f"{unnamed}.length")) == (path, 0)
    # A browser notes every page that answers with 404.
    assert [one for one in person.wrong if "404" not in one] == []


def test_on_a_phone_no_figure_and_no_page_of_the_menu_is_out_of_sight(reader):
    person = reader(width=390)
    hidden = """() => [...document.querySelectorAll('nav a, .stack tbody :is(th, td), .stack thead ~ tbody td')]
        .filter(one => { const box = one.getBoundingClientRect();
                         return box.width === 0 || box.left < 0 || box.right > innerWidth; }).length"""
    for path in ("/customers?segment=seg-000002", "/customers/c7", "/segments/seg-000001", "/compare?before=0&after=1"):
        person.tab.goto(f"{person.url}{path}&language=es" if "?" in path else f"{person.url}{path}?language=es")
        person.drawn()
        assert person.tab.locator("table.stack").count() >= 1
        assert (path, person.tab.evaluate(hidden)) == (path, 0)
        # Each figure says what it is, as the hidden head of the table does.
        heads = "[...document.querySelectorAll('.stack tbody td:not(.pull)')].filter(one => !one.dataset.label).length"
        assert (path, person.tab.evaluate(heads)) == (path, 0)
    person.tab.goto(f"{person.url}/customers/c7")
    person.drawn()
    assert person.tab.locator("#chart-map").bounding_box()["height"] == 300
    assert person.tab.locator("#chart-map .main-svg").first.bounding_box()["height"] == 300


def test_without_javascript_everything_but_the_charts_works(world, reader):
    person = reader(script=False)
    person.tab.goto(f"{person.url}/classify?language=en")
    person.tab.click(".examples a >> nth=0")
    person.tab.click("main form button")
    best = min(world.model.segments, key=lambda one: one.rank)
    assert person.tab.locator("#answer h2").inner_text().split(maxsplit=1)[1] == best.name.en.strip()
    assert person.tab.locator("noscript").count() == 1
    # Customers are found by any id, and the switch of the language keeps it.
    for customer_id in (IDS[0], IDS[3]):
        person.tab.goto(f"{person.url}/customers?language=en")
        person.tab.fill("#customer_id", customer_id)
        person.tab.click("main form button >> nth=0")
        assert person.tab.locator("h1").inner_text() == f"Customer {customer_id}"
        person.tab.click("a[lang=es]")
        assert person.tab.locator("h1").inner_text() == f"Cliente {customer_id}"
