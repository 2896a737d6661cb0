"""The page of a sweep's report: its charts, both languages, hostile names, nothing fetched, a bounded size."""

from __future__ import annotations

import copy
import itertools
import re
import string
from html import escape, unescape
from importlib import resources
from pathlib import Path

import pytest

from engine.errors import SettingError
from engine.report.figure_words import FIGURE_WORDS
from engine.report.numbers import NumberFormat
from engine.report.sweep_charts import MOST_POINTS
from engine.report.sweep_html import MOST_CELLS, render_sweep
from engine.report.sweep_tables import FOLDED, SHOWN
from engine.report.sweep_words import SHORT, TEXTS, UNTRANSFORMED
from engine.report.words import TEXTS as MAIN_TEXTS
from tests.report import sweep_example
from tests.report.sweep_example import Summary, a_row, a_summary, board_of, page_of
from tests.report.test_report_html import HOSTILE, Page, charts_of, visible


@pytest.fixture(scope="module")
def made() -> Summary:
    return sweep_example.made()


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {language: page_of(language) for language in ("en", "es")}


# Charts


def test_the_pareto_chart_places_every_usable_configuration(made, pages):
    chart = charts_of(pages["en"])["chart-pareto"]
    others, front, ring = chart["data"]
    for trace, on_front in ((others, False), (front, True)):
        wanted = [row for row in made["leaderboard"] if row["usable"] and row["pareto"] == on_front]
        assert trace["x"] == [row["silhouette"] for row in wanted]
        assert trace["y"] == [row["stability"] for row in wanted]
    [proposed] = [row for row in made["leaderboard"] if row["chosen"] and row["rank"] == ring_rank(made)]
    assert (ring["x"], ring["y"]) == ([proposed["silhouette"]], [proposed["stability"]])
    ranks = {str(row["rank"]) for row in made["leaderboard"] if row["pareto"]} | {str(proposed["rank"])}
    for width in ("wide", "narrow"):
        labels = [re.sub("<[^>]+>", "", note["text"]) for note in chart[width]["annotations"][1:]]
        told = [one for label in labels for one in label.split(" +")[0].split(" · ")]
        unnamed = sum(int(label.split(" +")[1]) for label in labels if " +" in label)
        assert set(told) <= ranks
        assert len(told) + unnamed == len(ranks)


def ring_rank(summary: Summary) -> int:
    keys = ("features", "transform", "backend", "k")
    [rank] = [
        row["rank"] for row in summary["leaderboard"] if all(row[key] == summary["proposed"][key] for key in keys)
    ]
    return rank


def test_marks_of_the_front_that_meet_share_a_label():
    near = [a_row(1, silhouette=0.500, pareto=True), a_row(2, k=4, silhouette=0.505, pareto=True)]
    far = a_row(3, k=5, silhouette=0.9, pareto=True)
    chart = charts_of(render_sweep(a_summary(*near, far), "en"))["chart-pareto"]
    assert [note["text"] for note in chart["wide"]["annotations"]] == ["Stability", "1 · 2", "3"]


@pytest.mark.parametrize("name", ["explained", "silhouette", "gap"])
def test_curves_hold_the_figures_of_their_feature_set_and_transform(name, made, pages):
    charts = charts_of(pages["en"])
    cells = list(dict.fromkeys((row["features"], row["transform"]) for row in made["leaderboard"]))
    assert len(cells) == 4
    for place, (features, transform) in enumerate(cells):
        chart = charts[f"chart-{name}-{place}"]
        # The gap is worked out once for all backends.
        for line, backend in zip(chart["data"], ["native", "sklearn"][: 1 if name == "gap" else 2], strict=True):
            rows = [
                row
                for row in made["leaderboard"]
                if (row["features"], row["transform"], row["backend"]) == (features, transform, backend) and name in row
            ]
            rows.sort(key=lambda row: row["k"])
            assert line["x"] == [row["k"] for row in rows]
            scale = 100 if name == "explained" else 1
            assert line["y"] == pytest.approx([scale * row[name] for row in rows])
            assert [size > 7 for size in line["marker"]["size"]] == [row["chosen"] for row in rows]
            if name == "gap":
                assert line["error_y"]["array"] == [row["gap_error"] for row in rows]


def test_curves_of_a_kind_share_their_scale_and_hold_every_point(pages):
    charts = charts_of(pages["es"])
    for name in ("explained", "silhouette", "gap"):
        same = [chart for key, chart in charts.items() if key.startswith(f"chart-{name}-")]
        low, high = same[0]["layout"]["yaxis"]["range"]
        assert all(chart["layout"]["yaxis"]["range"] == [low, high] for chart in same)
        assert all(low <= y <= high for chart in same for line in chart["data"] for y in line["y"])


def test_the_verdict_is_marked_in_the_curves():
    rows = [a_row(1, k=3), a_row(2, k=4, chosen=True), a_row(3, k=5)]
    chart = charts_of(render_sweep(a_summary(*rows), "es"))["chart-silhouette-0"]
    assert [note["text"] for note in chart["layout"]["annotations"]] == ["<b>4: elegido</b>"]
    assert [shape["x0"] for shape in chart["layout"]["shapes"] if shape["type"] == "line"] == [4]


def test_only_svg_traces_are_used(pages):
    assert {trace["type"] for chart in charts_of(pages["en"]).values() for trace in chart["data"]} == {"scatter"}


def test_each_chart_has_a_place_and_a_summary_in_words(made, pages):
    for language, page in pages.items():
        parsed = Page(page)
        charts = charts_of(page)
        ids = {value for tag, name, value in parsed.attributes if (tag, name) == ("div", "id")}
        assert ids == set(charts)
        assert len(charts) == 1 + 4 * 3
        told = [label for label in parsed.labels if re.search(r"k = \d", label)]
        assert len(told) == len(charts)
        for row in made["leaderboard"]:
            if "silhouette" in row:
                assert f"k = {row['k']}: {NumberFormat(language).decimal(row['silhouette'], 3)}" in " ".join(told)


def test_a_huge_sweep_keeps_a_page_of_bounded_size():
    rows = [
        a_row(place, k=1 + place % 50, features=f"set_{place // 50}", pareto=place % 100 == 0, usable=True)
        for place in range(1, 3_001)
    ]
    plain = len(render_sweep(a_summary(a_row(1)), "es"))
    page = render_sweep(a_summary(*rows), "es")
    assert len(page) - plain < 2_500_000
    assert len(board_of(page, "es")) == 1 + SHOWN + FOLDED
    assert "No caben aquí, pero están en sweep.csv: 2.500." in Page(page).text
    charts = charts_of(page)
    others, front, _ = charts["chart-pareto"]["data"]
    assert (len(others["x"]), len(front["x"])) == (MOST_POINTS, 30)
    assert len([name for name in charts if name.startswith("chart-silhouette")]) == MOST_CELLS
    assert "no caben en el dibujo: 2.570." in Page(page).text


# Words


def test_both_languages_say_something_and_fill_the_same_gaps():
    def gaps(text: str) -> set[str]:
        return {field for _, field, _, _ in string.Formatter().parse(text) if field}

    for word in (*TEXTS.values(), *SHORT.values(), UNTRANSFORMED):
        assert word.en.strip()
        assert word.es.strip()
        assert gaps(word.en) == gaps(word.es)


def test_every_text_is_used_and_none_repeats_one_of_the_main_report():
    folder = resources.files("engine.report")
    sources = [folder.joinpath(f"sweep_{name}.py").read_text("utf-8") for name in ("html", "charts", "tables", "look")]
    template = folder.joinpath("templates", "sweep.html.j2").read_text("utf-8")
    asked = set(re.findall(r'\bsay\(\s*"([a-z_]+)"', template))
    assert asked <= set(TEXTS) | set(MAIN_TEXTS)
    quoted = asked | set(re.findall(r"[\"']([a-z_]+)[\"']", "\n".join(sources)))
    built = {key for key in TEXTS if re.match(r"(n|one|higher|about)_", key)}
    # The one text that the words themselves ask for.
    assert set(TEXTS) - quoted - built == {"and"}
    assert set(TEXTS) & set(MAIN_TEXTS) == set()


def test_counted_words_and_meanings_all_exist():
    for key in TEXTS:
        if key.startswith("n_"):
            assert f"one_{key[2:]}" in TEXTS
    for name in ("stability", "balance", "inertia_ratio", "explained"):
        assert f"about_{name}" in TEXTS
    for name in ("silhouette_euclidean", "calinski_harabasz", "davies_bouldin", "gap", "bootstrap"):
        assert f"{name}_help" in FIGURE_WORDS


def own_words(page: str) -> set[str]:
    """Return the words of the page itself: without the command, errors, and names of settings."""
    page = re.sub(r"<code.*?</code>|<span lang=\"en\">.*?</span>", "", page, flags=re.S)
    return set(re.findall(r"[a-záéíóúñü]+", re.sub(r"\b[a-z]+\.[a-z_]+", "", visible(page).lower())))


def test_the_spanish_page_holds_no_english(pages):
    english = {
        *("customers", "customer", "revenue", "segments", "segment", "average", "stability", "balance", "silhouette"),
        *("inertia", "seed", "seeds", "rank", "backend", "backends", "trial", "trials", "failed", "proposal"),
        *("the", "of", "and", "with", "from", "seconds", "none", "untransformed", "lowest", "measures", "settings"),
        *("front", "run", "usable", "figures", "share", "explained", "transform", "verdict", "chosen", "copy", "other"),
    }
    failures = [{"trial": "rfm log native k=4 seed=0", "error": "the seed failed"}]
    failing = a_summary(a_row(1), a_row(2, k=9, usable=False), a_row(None, k=4), failures=failures)
    for page in (pages["es"], render_sweep(failing, "es")):
        assert english & own_words(page) == set()


def test_the_english_page_holds_no_spanish(pages):
    spanish = {"clientes", "segmentos", "medidas", "silueta", "inercia", "semilla", "semillas", "motor", "los", "del"}
    spanish |= {"puesto", "veredicto", "propuesta", "ninguna", "frente", "pruebas", "equilibrio", "estabilidad", "con"}
    assert spanish & own_words(pages["en"]) == set()


def test_an_unknown_language_is_refused(made):
    with pytest.raises(SettingError, match="expected one of en, es; got 'fr'"):
        render_sweep(made, "fr")


# Safety and form


def test_hostile_names_and_errors_stay_text(made):
    rows = [a_row(1, features=HOSTILE, pareto=True), a_row(2, features=HOSTILE, k=4), a_row(3, features=HOSTILE, k=5)]
    word = {"en": HOSTILE, "es": HOSTILE}
    summary = a_summary(*rows, name=HOSTILE, where=HOSTILE, command=HOSTILE, notes=[word], warnings=[word])
    summary["failures"] = [{"trial": HOSTILE, "error": HOSTILE}]
    summary["proposed"] = {**{key: rows[0][key] for key in ("features", "transform", "backend", "k")}, "reason": word}
    page = render_sweep(summary, "en")
    parsed = Page(page)
    assert "img" not in parsed.tags
    assert parsed.tags.count("script") == Page(render_sweep(made, "en")).tags.count("script")
    assert escape(HOSTILE, quote=False).replace("'", "&#39;") in page
    chart = charts_of(page)["chart-pareto"]
    assert all("<img" not in text for trace in chart["data"] for text in trace.get("hovertext", []))
    assert HOSTILE in unescape(chart["data"][1]["hovertext"][0])


def test_the_page_fetches_nothing(pages):
    for page in pages.values():
        parsed = Page(page)
        links = [value for _, name, value in parsed.attributes if name in ("src", "href", "srcset", "action", "data")]
        assert [link for link in links if not link.startswith(("#", "data:"))] == []
        assert not re.search(r"url\(|@import", "".join(parsed.styles))
        ours = [script for script in parsed.scripts if not script.lstrip().startswith("/**")]
        assert not re.search(r"https?://|fetch\(|import\b", "".join(ours))
        assert "default-src 'none'" in page


def test_every_link_of_the_contents_has_its_section(pages):
    parsed = Page(pages["en"])
    ids = {value for _, name, value in parsed.attributes if name == "id"}
    links = [value[1:] for tag, name, value in parsed.attributes if (tag, name) == ("a", "href")]
    assert links == ["board", "board", "pareto", "curves", "backends", "what", "settings"]
    assert set(links) <= ids


def test_tables_have_captions_and_headings_descend_by_one(pages):
    tags = Page(pages["en"]).tags
    assert tags.count("table") == tags.count("caption")
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-4]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_the_summary_is_left_alone_and_the_page_is_the_same_again(made, pages):
    before = copy.deepcopy(made)
    assert render_sweep(made, "es") == pages["es"]
    assert made == before


# In a browser


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("es", 390)])
def test_every_chart_is_drawn_offline_and_the_rest_unfolds(browser, pages, tmp_path: Path, language, width):
    path = tmp_path / "report.html"
    path.write_text(pages[language], encoding="utf-8")
    complaints: list[str] = []
    requests: list[str] = []
    context = browser.new_context(offline=True, viewport={"width": width, "height": 900})
    tab = context.new_page()
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(path.as_uri())
    tab.wait_for_selector("body.drawn", timeout=20_000)
    drawn = [tab.locator(f"#{chart}.js-plotly-plot .main-svg").count() for chart in charts_of(pages[language])]
    hidden = tab.locator("details table").first.is_visible()
    tab.locator("details summary").first.focus()
    tab.keyboard.press("Enter")
    unfolded = tab.locator("details table").first.is_visible()
    overflow = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    context.close()
    assert min(drawn) > 0
    assert complaints == []
    assert [url for url in requests if url != path.as_uri() and not url.startswith("data:")] == []
    assert (hidden, unfolded) == (False, True)
    assert overflow <= 0
