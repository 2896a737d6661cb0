"""The page that compares two runs: both languages, hostile names, nothing fetched, nothing run."""

from __future__ import annotations

import json
import re
import string
from html import escape
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

import experiments.compare
from engine.errors import SettingError
from engine.report.compare_flow import BARS_HEIGHT, flow, nodes
from engine.report.compare_html import render_comparison
from engine.report.compare_words import TEXTS, CompareWords
from engine.report.words import TEXTS as MAIN_TEXTS
from engine.segments.compare import compare_runs
from tests.segments.divisions import AFTER, BEFORE, division

HOSTILE = "</style><script>alert('1')</script><img src=x onerror=alert(2)>"


@pytest.fixture
def content() -> dict[str, Any]:
    facts = [{"as_of": "2017-07-01", "window_days": None}, {"as_of": "2018-01-02", "window_days": None}]
    before = division(BEFORE, name="spring", features=("frequency",), facts=facts[0])
    # A segment more than before: it has no match.
    after = division({**AFTER, 2: "w", 3: "w"}, name="autumn", features=("units",), facts=facts[1])
    return {"version": "0.0", **json.loads(json.dumps(compare_runs(before, after).to_dict()))}


class Page(HTMLParser):
    """Text, tags and attributes of a page, without its styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self._in_style = False
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self.words.append(data)


def visible(page: str) -> str:
    parsed = Page(page)
    return " ".join([parsed.text, *(value for name, value in parsed.attributes if name == "aria-label")])


@pytest.mark.parametrize("key", TEXTS)
def test_both_languages_fill_the_same_gaps(key: str) -> None:
    def gaps(text: str) -> set[str]:
        return {field for _, field, _, _ in string.Formatter().parse(text) if field}

    assert TEXTS[key].en.strip()
    assert TEXTS[key].es.strip()
    assert gaps(TEXTS[key].en) == gaps(TEXTS[key].es)


def test_every_text_is_used_and_every_text_used_exists() -> None:
    folder = resources.files("engine.report")
    sources = [folder.joinpath(name).read_text("utf-8") for name in ("compare_html.py", "compare_flow.py")]
    sources += [folder.joinpath("templates", "compare.html.j2").read_text("utf-8")]
    sources += [Path(experiments.compare.__file__).read_text("utf-8")]
    asked = set(re.findall(r"\bsay\(\s*[\"']([a-z_]+)[\"']", "\n".join(sources)))
    assert asked <= set(TEXTS) | set(MAIN_TEXTS)
    quoted = set(re.findall(r"[\"']([a-z_]+)[\"']", "\n".join(sources)))
    assert {key for key in TEXTS if not key.startswith("alike_")} - quoted == set()


@pytest.mark.parametrize(
    ("rand", "words"),
    [
        (1.0, "are the same"),
        (0.9, "are almost the same"),
        (0.899, "are much alike"),
        (0.65, "are partly alike"),
        (0.649, "are not much alike"),
        (-0.2, "are not much alike"),
    ],
)
def test_likeness_is_said_in_words(rand: float, words: str) -> None:
    assert CompareWords("en").alike(rand) == words


def test_the_spanish_page_holds_no_english_and_the_english_no_spanish(content: dict) -> None:
    english = {"customers", "segments", "segment", "before", "after", "revenue", "the", "of", "and", "who"}
    spanish = {"clientes", "segmentos", "segmento", "antes", "después", "facturación", "los", "de", "que"}
    pages = {language: visible(render_comparison(content, language)).lower() for language in ("en", "es")}
    words = {language: set(re.findall(r"[a-záéíóúñü]+", page)) for language, page in pages.items()}
    assert english & words["es"] == set()
    assert spanish & words["en"] == set()
    assert english <= words["en"]
    assert spanish <= words["es"]
    with pytest.raises(SettingError, match="expected one of en, es"):
        render_comparison(content, "fr")


def test_the_page_shows_every_segment_and_every_count(content: dict) -> None:
    text = Page(render_comparison(content, "en")).text
    for side in ("before", "after"):
        for segment in content[side]["segments"]:
            assert segment["name"]["en"] in text
            assert str(segment["customers"]) in text
    for cell in content["migration"]:
        assert str(cell["customers"]) in text
    share = f"{100 * content['share_moved']:.1f}%"
    assert f"{share} of the customers in both runs changed segment" in text
    assert "adjusted Rand" in text


def test_the_page_fetches_nothing_and_runs_nothing(content: dict) -> None:
    page = render_comparison(content, "en")
    parsed = Page(page)
    links = [value for name, value in parsed.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert [link for link in links if not link.startswith(("#", "data:"))] == []
    assert not re.search(r"https?://|url\(|@import", page)
    assert "script" not in parsed.tags
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    assert parsed.tags.count("table") == parsed.tags.count("caption")


def test_hostile_names_stay_text(content: dict) -> None:
    spoilt = json.loads(json.dumps(content))
    spoilt["before"]["name"] = HOSTILE
    spoilt["before"]["facts"]["where"] = HOSTILE
    spoilt["notes"].append({"en": HOSTILE, "es": HOSTILE})
    for side in ("before", "after"):
        for segment in spoilt[side]["segments"]:
            segment["name"] = {"en": HOSTILE, "es": HOSTILE}
    page = render_comparison(spoilt, "en")
    assert {"img", "script"}.isdisjoint(Page(page).tags)
    assert escape(HOSTILE, quote=False).replace("'", "&#39;") in page


def test_bands_are_as_thick_as_their_customers(content: dict) -> None:
    before, after = nodes(content, CompareWords("en"))
    drawing = flow(content, before, after)
    assert sum(bar.height for bar in drawing.before) == pytest.approx(BARS_HEIGHT)
    assert sum(bar.height for bar in drawing.after) == pytest.approx(BARS_HEIGHT)
    assert sum(band.customers for band in drawing.bands) == 10
    for bar in drawing.before:
        leaving = [band for band in drawing.bands if band.start is bar.node]
        assert sum(band.customers for band in leaving) == bar.customers
        # Bands leave in order, the first at the top of the bar, the last down to its end.
        tops = [float(re.match(r"M[\d.]+,([\d.]+)", band.outline)[1]) for band in leaving]
        heights = [BARS_HEIGHT * band.customers / 10 for band in leaving]
        assert tops == pytest.approx([bar.top + sum(heights[:place]) for place in range(len(leaving))], abs=0.01)
    for bar in drawing.after:
        arriving = [band for band in drawing.bands if band.end is bar.node]
        tops = [float(re.search(r"98\.6,([\d.]+)V", band.outline)[1]) for band in arriving]
        heights = [BARS_HEIGHT * band.customers / 10 for band in arriving]
        assert tops == pytest.approx([bar.top + sum(heights[:place]) for place in range(len(arriving))], abs=0.01)
    assert [band.stays for band in drawing.bands].count(True) == len(content["pairs"])


def test_a_segment_has_the_colour_of_its_match(content: dict) -> None:
    before, after = nodes(content, CompareWords("en"))
    for pair in content["pairs"]:
        assert before[pair["before_segment_id"]].colour == after[pair["after_segment_id"]].colour
    segments = [after[one["segment_id"]].colour for one in content["after"]["segments"]]
    assert len(set(segments)) == len(segments)


def test_the_page_fits_its_window(content: dict, browser: Any, tmp_path: Path) -> None:
    complaints: list[str] = []
    for language, width in (("en", 1280), ("es", 390)):
        path = tmp_path / f"{language}.html"
        path.write_text(render_comparison(content, language), encoding="utf-8")
        context = browser.new_context(offline=True, viewport={"width": width, "height": 900})
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.goto(path.as_uri())
        overflow = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        drawing = tab.locator(".flow svg").bounding_box()["width"]
        context.close()
        assert overflow <= 0
        assert drawing > 150
    assert complaints == []
