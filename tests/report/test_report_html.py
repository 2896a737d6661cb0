"""The report as a reader gets it: both languages, hostile names, nothing fetched, every chart drawn."""

from __future__ import annotations

import itertools
import json
import re
import string
from decimal import Decimal
from html import escape, unescape
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest

from engine.clustering.backends import BACKENDS, SOLVERS
from engine.clustering.trial import Trial
from engine.clustering.verdict import choose_k
from engine.errors import SettingError
from engine.lake.quality import REASONS
from engine.report.charts import ratio_to_average
from engine.report.html import driver_sentence, render
from engine.report.look import PALETTE, Mark, luminance, shortened
from engine.report.numbers import MISSING, NumberFormat, decimals_for
from engine.report.words import NAMES, TEXTS, Words
from engine.schema import Word
from tests.report import example

ALL_CHARTS = {"chart-shares", "chart-map", "chart-profile", "chart-elbow", "chart-silhouette"}
CASES = {
    "complete_journey": example.complete_journey,
    "two_segments": lambda: example.many_segments(2),
    "twenty_segments": lambda: example.many_segments(20),
    "fixed_k_dirty": example.dirty_till,
}


class Page(HTMLParser):
    """Text, attributes and scripts of a page, apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.labels: list[str] = []
        self._into = self.words
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.labels += [value or "" for name, value in attrs if name == "aria-label"]
        self._into = {"script": self.scripts, "style": self.styles}.get(tag, self.words)

    def handle_endtag(self, tag: str) -> None:
        self._into = self.words

    def handle_data(self, data: str) -> None:
        self._into.append(data)


def charts_of(page: str) -> dict[str, dict]:
    payload = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.S)
    assert payload is not None
    return {chart["id"]: chart for chart in json.loads(payload[1])["charts"]}


def visible(page: str) -> str:
    """Return what a reader or a screen reader meets: the text, the chart summaries, the words inside the charts."""
    parsed = Page(page)
    inside = [
        unescape(re.sub(r"<[^>]+>", " ", text))
        for chart in charts_of(page).values()
        for text in strings_under(chart, ("text", "hovertext", "hovertemplate", "ticktext", "title"))
    ]
    return " ".join([parsed.text, *parsed.labels, *inside])


def strings_under(value: object, keys: tuple[str, ...], inside: bool = False) -> list[str]:
    if isinstance(value, dict):
        return [
            found
            for key, one in value.items()
            for found in strings_under(one, keys, inside or key.split(".")[-1] in keys)
        ]
    if isinstance(value, list):
        return [found for one in value for found in strings_under(one, keys, inside)]
    return [value] if inside and isinstance(value, str) else []


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {language: render(example.complete_journey(), language) for language in ("en", "es")}


# Numbers and dates

BEYOND_28_DIGITS = ("12,345,678,901,234,567,890,123,456,789.1", "12.345.678.901.234.567.890.123.456.789,1")


@pytest.mark.parametrize(
    ("value", "places", "en", "es"),
    [
        ("4596039.58", 2, "4,596,039.58", "4.596.039,58"),
        ("4596039.5800", 2, "4,596,039.58", "4.596.039,58"),
        (1234, 0, "1,234", "1.234"),
        (-1234.5, 1, "−1,234.5", "−1.234,5"),
        (-0.001, 2, "0.00", "0,00"),
        (0, 0, "0", "0"),
        (Decimal("12345678901234567890123456789.12"), 1, *BEYOND_28_DIGITS),
        (None, 2, MISSING, MISSING),
        (float("nan"), 2, MISSING, MISSING),
        (float("inf"), 2, MISSING, MISSING),
    ],
)
def test_decimals_carry_the_marks_of_the_language(value, places, en, es):
    assert NumberFormat("en").decimal(value, places) == en
    assert NumberFormat("es").decimal(value, places) == es


@pytest.mark.parametrize(
    ("share", "en", "es"),
    [
        (0.2924260834, "29.2%", "29,2\xa0%"),
        (1, "100.0%", "100,0\xa0%"),
        (0, "0.0%", "0,0\xa0%"),
        (0.00049, "<\xa00.1%", "<\xa00,1\xa0%"),
        (0.0005, "0.1%", "0,1\xa0%"),
        (12.345, "1,234.5%", "1.234,5\xa0%"),
        (None, MISSING, MISSING),
    ],
)
def test_percentages_keep_their_sign_on_the_line(share, en, es):
    assert NumberFormat("en").percent(share) == en
    assert NumberFormat("es").percent(share) == es


@pytest.mark.parametrize(
    ("iso", "en", "es"),
    [
        ("2018-01-02", "2 January 2018", "2 de enero de 2018"),
        ("2011-09-30T23:59:00+00:00", "30 September 2011", "30 de septiembre de 2011"),
        ("2020-02-29", "29 February 2020", "29 de febrero de 2020"),
        (None, MISSING, MISSING),
    ],
)
def test_dates_are_written_in_words(iso, en, es):
    assert NumberFormat("en").date(iso) == en
    assert NumberFormat("es").date(iso) == es


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.043, "0.04"), (0.994, "0.99"), (0.996, "1.0"), (2.26, "2.3"), (9.94, "9.9"), (9.96, "10"), (0, "0.00")],
)
def test_a_factor_shows_about_two_digits(ratio, text):
    assert NumberFormat("en").factor(ratio) == text


@pytest.mark.parametrize(("values", "places"), [([1713.9, 0.1], 1), ([1.3], 2), ([0.3], 3), ([], 2), ([0.0], 2)])
def test_a_column_has_one_number_of_decimals(values, places):
    assert decimals_for(values) == places


@pytest.mark.parametrize(
    ("mean", "average", "ratio"),
    [
        (3.0, 2.0, 1.5),
        (0.0, 2.0, 0.0),
        (3.0, 0.0, None),
        (3.0, -1.0, None),
        (None, 2.0, None),
        (float("nan"), 2.0, None),
    ],
)
def test_a_ratio_is_given_only_where_it_says_something(mean, average, ratio):
    assert ratio_to_average(mean, average) == ratio


# Words


@pytest.mark.parametrize("word", [*TEXTS.values(), *NAMES.values()], ids=[*TEXTS, *(f"name-{name}" for name in NAMES)])
def test_both_languages_say_something_and_fill_the_same_gaps(word: Word):
    def gaps(text: str) -> set[str]:
        return {field for _, field, _, _ in string.Formatter().parse(text) if field}

    assert word.en.strip()
    assert word.es.strip()
    assert gaps(word.en) == gaps(word.es)


def test_every_text_is_used_and_every_text_used_exists():
    folder = resources.files("engine.report")
    files = [path for path in folder.iterdir() if path.name.endswith(".py") and path.name != "words.py"]
    sources = [path.read_text("utf-8") for path in files]
    template = folder.joinpath("templates", "report.html.j2").read_text("utf-8")
    asked = set(re.findall(r'\bsay\(\s*"([a-z_]+)"', template))
    assert asked <= set(TEXTS)
    quoted = asked | set(re.findall(r'"([a-z_]+)"', "\n".join(sources)))
    measured = {key for key in TEXTS if re.search(r"_(high|low)$", key)}
    by_state = {"verdict_clear", "verdict_unclear", "verdict_fixed"}
    assert set(TEXTS) - quoted - measured - by_state == set()


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_for_rejecting_a_row_has_a_name(reason):
    assert reason in NAMES


@pytest.mark.parametrize("case", CASES)
def test_the_spanish_page_holds_no_english(case):
    summary = CASES[case]()
    page = visible(render(summary, "es"))
    english = {
        *("customers", "customer", "revenue", "segments", "segment", "average", "orders", "days", "median", "mean"),
        *("rows", "kept", "rejected", "chosen", "silhouette", "inertia", "weight", "seed", "warning", "share", "the"),
        *("of", "and", "with", "from", "time", "units", "frequency", "recency", "tenure", "spends", "buys"),
    }
    # A filter is the user's own text, shown as it was written.
    page = page.replace(summary["run"]["where"] or "\0", "")
    assert english & set(re.findall(r"[a-záéíóúñü]+", page.lower())) == set()


@pytest.mark.parametrize("case", CASES)
def test_the_english_page_holds_no_spanish(case):
    page = visible(render(CASES[case](), "en")).lower()
    spanish = {"clientes", "facturación", "segmentos", "media", "pedidos", "días", "filas", "silueta", "los", "del"}
    assert spanish & set(re.findall(r"[a-záéíóúñü]+", page)) == set()


def test_an_unknown_language_is_refused():
    with pytest.raises(SettingError, match="expected one of en, es; got 'fr'"):
        render(example.complete_journey(), "fr")


# What the page says


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_segment_is_there_with_its_words_and_figures(language, pages):
    text, to = Page(pages[language]).text.replace("\xa0", " "), NumberFormat(language)
    for segment in example.complete_journey()["segments"]:
        wanted = [segment[key][language] for key in ("name", "description", "action")]
        wanted += [segment["segment_id"], to.whole(segment["customers"])]
        wanted += [to.percent(segment["share_customers"]), to.percent(segment["share_monetary"])]
        wanted += [to.decimal(segment["means"]["monetary"]), to.decimal(segment["medians"]["monetary"])]
        wanted += [to.decimal(segment["means"]["frequency"], 1), to.decimal(segment["means"]["recency_days"], 1)]
        assert [one for one in wanted if one.replace("\xa0", " ") not in text] == []


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        (
            "en",
            [
                "29.2% of customers bring 66.0% of revenue",
                "4,596,039.58",
                "Sales from 1 January 2017 to 1 January 2018, seen on 2 January 2018.",
                "The segment “Regular customers” weighs 2.3 times as much in revenue as in customers",
                "Adding segments pays less beyond 4",
                "Of the numbers allowed, 3 separates best; with 4 the silhouette is 0.59",
                "Places 2.1 times the average number of orders",
                "All 1,469,307 rows that were read are in the analysis",
            ],
        ),
        (
            "es",
            [
                "El 29,2 % de los clientes aporta el 66,0 % de la facturación",
                "4.596.039,58",
                "Ventas del 1 de enero de 2017 al 1 de enero de 2018, vistas al 2 de enero de 2018.",
                "El segmento «Clientes usuarios» pesa en facturación 2,3 veces lo que pesa en clientes",
                "A partir de 4, añadir segmentos compensa menos",
                "De los números permitidos, 3 es el que mejor separa; con 4 la silueta es 0,59",
                "Hace 2,1 veces los pedidos de la media",
                "Las 1.469.307 filas leídas están todas en el análisis",
            ],
        ),
    ],
)
def test_titles_state_the_finding(language, sentences, pages):
    text = Page(pages[language]).text.replace("\xa0", " ")
    assert [sentence for sentence in sentences if sentence not in text] == []


def test_warnings_and_notes_are_shown(pages):
    summary = example.complete_journey()
    for language, page in pages.items():
        text = Page(page).text
        for one in (*summary["verdict"]["warnings"], *summary["notes"]):
            assert one[language] in text


def test_cards_follow_the_rank_whatever_the_order_they_come_in(pages):
    summary = example.complete_journey()
    summary["segments"].reverse()
    assert render(summary, "en") == pages["en"]


def test_a_fixed_k_has_no_curves_and_says_why():
    page = render(example.dirty_till(), "en")
    assert set(charts_of(page)) == ALL_CHARTS - {"chart-elbow", "chart-silhouette"}
    assert "no other was tried" in Page(page).text
    assert "You asked for 4 segments." in Page(page).text


def test_a_bend_is_an_argument_only_in_a_clear_verdict():
    summary = example.complete_journey()
    summary["verdict"]["clear"] = False
    text = Page(render(summary, "en")).text
    assert "The curve bends most at 4" in text
    assert "pays less" not in text


def test_a_missing_silhouette_leaves_the_elbow_alone():
    summary = example.complete_journey()
    for trial in summary["trials"]:
        trial["silhouette"] = None
    assert set(charts_of(render(summary, "en"))) == ALL_CHARTS - {"chart-silhouette"}


def test_a_curve_without_a_knee_says_so():
    summary = example.complete_journey()
    summary["verdict"]["knee"] = None
    assert "The curve falls without a clear bend" in Page(render(summary, "en")).text


def test_a_figure_that_is_not_a_number_becomes_a_dash_and_the_page_stays_valid():
    summary = example.complete_journey()
    summary["segments"][0]["means"]["recency_days"] = float("nan")
    summary["trials"][1]["silhouette"] = float("nan")
    page = render(summary, "en")
    assert charts_of(page)["chart-silhouette"]["data"][0]["y"][1] is None
    assert "nan" not in Page(page).text.lower().split()


def test_a_measure_that_is_always_zero_has_no_ratio():
    profile = charts_of(render(example.dirty_till(), "en"))["chart-profile"]
    assert profile["data"][0]["z"][-1] == [None] * 4
    assert [note["text"] for note in profile["layout"]["annotations"]][-4:] == [MISSING] * 4


def test_customers_who_cannot_stand_on_the_map_are_counted():
    page = render(example.dirty_till(), "en")
    assert "no place on such a scale: 1." in Page(page).text
    assert min(min(trace["y"]) for trace in charts_of(page)["chart-map"]["data"]) > 0


def test_without_a_sample_there_is_no_map():
    summary = example.complete_journey()
    summary["sample"]["points"] = []
    page = render(summary, "en")
    assert "chart-map" not in charts_of(page)
    assert 'id="map"' not in page


def test_without_revenue_the_headline_counts_customers():
    summary = example.complete_journey()
    summary["run"]["monetary_total"] = None
    for segment in summary["segments"]:
        segment["share_monetary"] = None
    assert "2,469 customers in 4 segments" in Page(render(summary, "en")).text


def test_rejected_rows_are_shown_by_reason_largest_first():
    text = Page(render(example.dirty_till(), "es")).text
    assert "Rechazadas: sin cliente 135.037 1.447.682,12 Rechazadas: precio cero 40 0,00" in text
    assert "Fuera del análisis: solo devoluciones 4" in text


def test_nearly_all_rows_are_not_called_all():
    summary = example.complete_journey()
    summary["reconciliation"] |= {"rows_kept": 1_469_306, "rejected": {"not_a_date": 1}}
    assert "99.9% of the rows read are in the analysis" in Page(render(summary, "en")).text


@pytest.mark.parametrize(
    ("driver", "en", "es"),
    [
        (
            ("frequency", 2.146, "high"),
            "Places 2.1 times the average number of orders",
            "Hace 2,1 veces los pedidos de la media",
        ),
        (("monetary", 0.2247, "low"), "Spends 22% of the average", "Gasta el 22\xa0% de la media"),
        (("visits", 3.0, "high"), "visits: 3.0 times the average", "visits: 3,0 veces la media"),
        (("visits", 0.5, "low"), "visits: 50% of the average", "visits: el 50\xa0% de la media"),
        # The mean is pulled down or up by a few: no figure that would contradict the direction.
        (("units", 0.79, "high"), "units: usually above average", "units: por lo general, por encima de la media"),
        (("units", 1.3, "low"), "units: usually below average", "units: por lo general, por debajo de la media"),
        (("units", None, "low"), "units: usually below average", "units: por lo general, por debajo de la media"),
    ],
)
def test_a_driver_becomes_a_true_sentence(driver, en, es):
    feature, ratio, direction = driver
    record = {"feature": feature, "ratio": ratio, "z": 1.0, "direction": direction}
    assert driver_sentence(record, {}, Words("en"), NumberFormat("en")) == en
    assert driver_sentence(record, {}, Words("es"), NumberFormat("es")) == es


def test_the_evidence_on_k_stands_with_the_curves():
    summary = example.complete_journey()
    without = Page(render(summary, "es")).text
    summary["verdict"]["evidence"] = {"en": "The line breaks nowhere.", "es": "La línea no se quiebra."}
    choice = Page(render(summary, "es")).text.split("Por qué 4 segmentos")[1]
    assert "La línea no se quiebra." in choice.split("Los números de segmentos probados")[0]
    assert "La línea no se quiebra." not in without


def test_the_numbers_tried_are_told_where_they_are_fewer_than_allowed():
    summary = example.complete_journey()
    assert "were tried" not in Page(render(summary, "en")).text
    summary["trials"] = [trial for trial in summary["trials"] if 3 <= trial["k"] <= 7]
    assert "allowed: 3 to 8. Of these, 3 to 7 were tried." in Page(render(summary, "en")).text
    assert "de 3 a 8. De ellos se han probado de 3 a 7." in Page(render(summary, "es")).text


def notices(page: str) -> list[str]:
    found = re.findall(r'<p class="notice" role="note">(.*?)</p>', page, re.S)
    return [unescape(re.sub(r"<[^>]+>", "", one)).strip() for one in found]


@pytest.mark.parametrize("language", ["en", "es"])
def test_warnings_about_a_k_that_the_user_fixed_stand_at_the_top(language):
    trial = Trial(
        k=2,
        backend="native",
        solver="full",
        seed=0,
        centroids=np.zeros((2, 1)),
        sizes=np.array([999, 1]),
        inertia=1.0,
        total_scatter=2.0,
        silhouette=0.9,
        n_iter=1,
        stop_reason="converged",
        seconds=0.0,
    )
    verdict = choose_k([trial], min_segments=3, max_segments=8).to_dict()
    summary = example.dirty_till()
    summary["verdict"] = {**verdict, "chosen_by": "user"}
    shown = notices(render(summary, language).split("<main")[0])
    assert len(shown) == len(verdict["warnings"]) == 3
    for text, warning in zip(shown, verdict["warnings"], strict=True):
        assert warning[language] in text


def test_warnings_about_the_data_come_before_those_about_the_segments():
    summary = example.complete_journey()
    summary["warnings"] = [{"en": "The last sale is of 2091.", "es": "La última venta es de 2091."}]
    shown = notices(render(summary, "es").split("<main")[0])
    assert [text.split(". ")[0] for text in shown] == ["Atención", "Atención"]
    assert "La última venta es de 2091." in shown[0]
    assert summary["verdict"]["warnings"][0]["es"] in shown[1]


def test_the_rows_kept_lead_to_the_rows_analysed():
    summary = example.dirty_till()
    summary["reconciliation"] |= {
        "rows_left_out": {
            "where": {"rows": 29, "amount": "65.8140"},
            "returns": {"rows": 8_000, "amount": "-500000.0000"},
            "before_window": {"rows": 0, "amount": "0.0000"},
        },
        "rows_analysed": 398_800,
        "amount_analysed": "8800000.0000",
    }
    english, spanish = Page(render(summary, "en")).text, Page(render(summary, "es")).text
    assert (
        "Kept 406,829 8,300,065.81 Returns 8,000 −500,000.00 By the filter on customers 29 65.81 "
        "Analysed 398,800 8,800,000.00"
    ) in english
    assert "Devoluciones 8.000 −500.000,00 Por el filtro de clientes 29 65,81 Analizadas 398.800" in spanish
    assert "Before the period" not in english
    # 398,800 of 541,909, not the 406,829 that were kept.
    assert "73.6% of the rows read are in the analysis" in english


def test_an_older_summary_stops_at_the_rows_kept():
    text = Page(render(example.dirty_till(), "en")).text
    assert "Analysed" not in text
    assert "75.1% of the rows read are in the analysis" in text


@pytest.mark.parametrize("reason", ["returns", "on_or_after_as_of", "before_window", "where"])
def test_every_reason_for_leaving_out_a_row_has_a_name(reason):
    assert reason in NAMES


@pytest.mark.parametrize(
    ("backend", "en", "es"),
    [
        ("native", "native (Cartera's own)", "native (propio de Cartera)"),
        ("faiss", "FAISS", "FAISS"),
        ("sklearn", "scikit-learn", "scikit-learn"),
        ("dask_ml", "Dask-ML", "Dask-ML"),
    ],
)
def test_the_backend_is_called_as_it_calls_itself(backend, en, es):
    summary = example.complete_journey()
    summary["run"]["backend"] = backend
    assert f"Clustering backend {en}" in Page(render(summary, "en")).text
    assert f"Motor de agrupamiento {es}" in Page(render(summary, "es")).text


@pytest.mark.parametrize("name", [*BACKENDS, *SOLVERS])
def test_every_backend_and_solver_has_a_name(name):
    assert name in NAMES


@pytest.mark.parametrize("name", ["Clientes nuevos / poco usuarios", "Baja frecuencia, unidades y facturación"])
def test_namesakes_stay_apart_in_every_chart_at_every_width(name):
    ends = ["los que llevan más tiempo sin comprar", "los que han comprado más recientemente"]
    for k in (2, 5, 7):
        summary = example.many_segments(k)
        for segment, end in zip(summary["segments"], ends, strict=False):
            segment["name"] = {"en": f"{name} · {end}", "es": f"{name} · {end}"}
        charts = charts_of(render(summary, "es"))
        shares, heat = charts["chart-shares"], charts["chart-profile"]["wide"]["xaxis.ticktext"]
        for place, end in enumerate(ends):
            for width in ("wide", "narrow"):
                assert end in shares[width][f"annotations[{place}].text"].replace("<br>", " ")
            assert end in heat[place].replace("<br>", " ")


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (38, "Frequent… · those who spend most"),
        (41, "Frequent customers · those who spend most"),
        (24, "… · those who spend most"),
        (12, "those who…"),
    ],
)
def test_a_name_that_is_cut_keeps_its_end(room, expected):
    assert shortened("Frequent customers · those who spend most", room) == expected


def test_render_leaves_the_summary_alone():
    summary = example.complete_journey()
    render(summary, "es")
    assert summary == example.complete_journey()


# Safety and form


HOSTILE = "</script><script>alert('1')</script><img src=x onerror=alert(2)>"


def test_hostile_names_stay_text():
    summary = example.complete_journey()
    summary["name"] = HOSTILE
    summary["run"]["where"] = HOSTILE
    summary["notes"].append({"en": HOSTILE, "es": HOSTILE})
    for segment in summary["segments"]:
        for key in ("name", "description", "action"):
            segment[key] = {"en": HOSTILE, "es": HOSTILE}
    page = render(summary, "en")
    parsed = Page(page)
    assert "img" not in parsed.tags
    assert parsed.tags.count("script") == Page(render(example.complete_journey(), "en")).tags.count("script")
    assert escape(HOSTILE, quote=False).replace("'", "&#39;") in page
    assert "&lt;img" in charts_of(page)["chart-shares"]["wide"]["annotations[0].text"]


def test_the_page_fetches_nothing(pages):
    for page in pages.values():
        parsed = Page(page)
        links = [value for _, name, value in parsed.attributes if name in ("src", "href", "srcset", "action", "data")]
        assert [link for link in links if not link.startswith(("#", "data:"))] == []
        assert not re.search(r"url\(|@import", "".join(parsed.styles))
        ours = [script for script in parsed.scripts if not script.lstrip().startswith("/**")]
        assert not re.search(r"https?://|fetch\(|import\b", "".join(ours))
        assert "default-src 'none'" in page


def test_plotly_is_in_the_page_once(pages):
    assert pages["en"].count("* plotly.js v") == 1


def test_only_svg_traces_are_used():
    charts = [chart for case in CASES.values() for chart in charts_of(render(case(), "en")).values()]
    kinds = {trace["type"] for chart in charts for trace in chart["data"]}
    assert kinds == {"bar", "scatter", "heatmap"}


def test_each_chart_has_a_place_and_a_summary_in_words(pages):
    parsed = Page(pages["es"])
    ids = {value for tag, name, value in parsed.attributes if (tag, name) == ("div", "id")}
    assert ids == ALL_CHARTS
    alts = [label for label in parsed.labels if len(label) > 60]
    assert len(alts) == len(ALL_CHARTS)


def test_tables_have_captions_and_headings_descend_by_one(pages):
    tags = Page(pages["en"]).tags
    assert tags.count("table") == tags.count("caption")
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-4]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_a_segment_has_one_colour_in_all_charts():
    charts = charts_of(render(example.many_segments(7), "en"))
    bars = charts["chart-shares"]["data"][1]["marker"]["color"]
    points = [trace["marker"]["color"] for trace in charts["chart-map"]["data"]]
    assert bars == points[:7] == points[7:] == list(PALETTE[:7])


def test_the_rank_can_be_read_on_its_colour():
    # 3 : 1 is what WCAG 2.2 asks of large or bold text.
    for rank in range(1, len(PALETTE) + 1):
        mark = Mark.of("seg-aaaaaa", rank, "")
        light, dark = sorted((luminance(mark.colour), luminance(mark.ink)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3


def test_segments_that_share_a_colour_differ_in_shape():
    marks = [Mark.of(f"seg-{rank}", rank, "") for rank in range(1, 21)]
    assert len({(mark.colour, mark.symbol) for mark in marks}) == 20


# In a browser


@pytest.mark.parametrize(
    ("case", "language", "width"),
    [
        ("complete_journey", "en", 1280),
        ("complete_journey", "es", 390),
        ("twenty_segments", "es", 390),
        ("fixed_k_dirty", "en", 390),
    ],
)
def test_every_chart_is_drawn_offline(browser, tmp_path, case, language, width):
    page = render(CASES[case](), language)
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    context = browser.new_context(offline=True, viewport={"width": width, "height": 900})
    tab = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(path.as_uri())
    tab.wait_for_selector("body.drawn", timeout=20_000)
    drawn = {chart: tab.locator(f"#{chart}.js-plotly-plot .main-svg").count() for chart in charts_of(page)}
    overflow = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    no_webgl = tab.locator(".no-webgl").count()
    context.close()
    assert min(drawn.values()) > 0
    assert complaints == []
    assert [url for url in requests if url != path.as_uri() and not url.startswith("data:")] == []
    assert no_webgl == 0
    assert overflow <= 0
