"""What the three reports share: data in a script, one template for each mark, one rule for each look."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

import jinja2
import pytest

from engine.report.look import Chart, Mark
from engine.report.page import as_json, plotly, templates

PAGES = ("report.html.j2", "compare.html.j2", "sweep.html.j2")
HOSTILE = "</script><!--<b>&amp;\N{LINE SEPARATOR}\"'\\ ñ"


def source(name: str) -> str:
    return resources.files("engine.report").joinpath("templates", name).read_text("utf-8")


def rules(styles: str) -> set[tuple[str, str, str]]:
    """Take a style sheet apart into declarations: the medium (none for all), the selector, and one declaration."""
    styles = re.sub(r"/\*.*?\*/|{%.*?%}", "", styles, flags=re.S)
    in_medium = r"(@media[^{]*){((?:[^{}]*{[^{}]*})*)\s*}"
    blocks = [("", re.sub(in_medium, "", styles)), *re.findall(in_medium, styles)]
    return {
        (medium.strip(), selector.strip(), " ".join(declaration.split()))
        for medium, block in blocks
        for selector, declarations in re.findall(r"([^{}]+){([^{}]*)}", block)
        for declaration in declarations.split(";")
        if declaration.strip()
    }


def macro(name: str, argument: Any) -> str:
    return str(getattr(templates().get_template("macros.html.j2").module, name)(argument))


@pytest.mark.parametrize("value", [HOSTILE, {HOSTILE: [HOSTILE, None, True, 0.1]}, [], {"a": -0.0, "b": 10**20}])
def test_json_means_the_same_and_cannot_leave_its_script(value):
    text = as_json(value)
    assert not set("<>&") & set(text)
    assert json.loads(text) == value
    # It is placed as it stands: a second escaping would break it.
    assert templates().from_string("{{ it }}").render(it=text) == text


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": {"b": float("-inf")}}])
def test_a_number_that_json_cannot_write_is_refused(value):
    with pytest.raises(ValueError, match="JSON compliant"):
        as_json(value)


def test_the_templates_escape_and_miss_nothing():
    assert templates().from_string("{{ it }}").render(it="<&>\"'") == "&lt;&amp;&gt;&#34;&#39;"
    with pytest.raises(jinja2.UndefinedError, match="nobody"):
        templates().from_string("{{ nobody }}").render()


def test_plotly_is_one_script_that_its_element_can_hold():
    script = plotly()
    assert templates().from_string("{{ it }}").render(it=script) == script
    assert "</script" not in script.lower()
    assert "* plotly.js v" in script


def test_a_badge_says_its_sign_in_its_ink():
    badge = macro("badge", Mark.of("seg-1", 12, "Anyone"))
    assert re.sub(r"<.*?>", "", badge).strip() == "12"
    assert "background:#e0812b;color:#1d2433" in badge


@pytest.mark.parametrize(("min_width", "scrolls"), [(0, False), (540, True)])
def test_a_drawing_that_scrolls_can_be_reached_by_keyboard(min_width, scrolls):
    chart = Chart("chart-any", "", 'Six "and" <more>', [], {"height": 321}, {}, {}, min_width)
    drawing = macro("drawing", chart)
    assert ('tabindex="0"' in drawing) is scrolls
    assert ("min-width:540px" in drawing) is scrolls
    assert "height:321px" in drawing
    assert 'aria-label="Six &#34;and&#34; &lt;more&gt;"' in drawing


def test_a_style_sheet_is_taken_apart():
    styles = "a{b:c} /* d{} */ @media print { @page { e: f; } .g, .h > i { j: k;\n l: m; } } n { o: p }"
    assert rules(styles) == {
        ("", "a", "b:c"),
        ("@media print", "@page", "e: f"),
        ("@media print", ".g, .h > i", "j: k"),
        ("@media print", ".g, .h > i", "l: m"),
        ("", "n", "o: p"),
    }


@pytest.mark.parametrize("name", PAGES)
def test_no_page_repeats_what_all_pages_share(name):
    styles = re.findall(r"<style>(.*?)</style>", source(name), flags=re.S)
    assert len(styles) == 1
    assert rules(styles[0]) & rules(source("report.css")) == set()
    macros = set(re.findall(r"{% macro (\w+)", source("macros.html.j2")))
    assert macros == {"badge", "drawing"}
    assert macros & set(re.findall(r"{% macro (\w+)", source(name))) == set()


def test_everything_that_takes_the_focus_shows_it(browser):
    page = """<!doctype html><style>STYLES</style><a href="#x">a</a><button>b</button>
        <details><summary>c</summary><p>d</p></details>
        <code tabindex="0">e</code><div class="scroll" tabindex="0">f</div>"""
    context = browser.new_context(offline=True)
    tab = context.new_page()
    tab.set_content(page.replace("STYLES", source("report.css")))
    seen = []
    for _ in range(5):
        tab.keyboard.press("Tab")
        seen.append(
            tab.evaluate(
                "(({ localName }, { outlineStyle, outlineWidth, outlineColor }) =>"
                " [localName, outlineStyle, outlineWidth, outlineColor])"
                "(document.activeElement, getComputedStyle(document.activeElement))"
            )
        )
    context.close()
    accent = ["solid", "3px", "rgb(27, 94, 158)"]
    assert seen == [[name, *accent] for name in ("a", "button", "summary", "code", "div")]
