"""Classifying one customer on the page: numbers as people write them, an answer that is the model's, and its why."""

from __future__ import annotations

import html
import re

import numpy as np
import polars as pl
import pytest

from engine.errors import DataError
from engine.features.store import FEATURES
from engine.report.numbers import NumberFormat
from engine.serving.pages.classify import (
    BORDERLINE,
    FAIR,
    LEANING,
    how_sure,
    read_number,
    typed,
    typical_customer,
)
from engine.serving.pages.model import WHOLE, ModelView, counted, example, limits, rounded
from engine.serving.pages.why import pulls
from engine.serving.pages.words import TEXTS, PageWords
from experiments.score import BORDERLINE as SCORE_BORDERLINE
from tests.serving.pages_example import World, csrf_of, make_world, model_of
from tests.serving.test_pages import visible

EN, ES = NumberFormat("en"), NumberFormat("es")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def send(world: World, values: dict[str, str], path: str = "/classify", **more: str) -> tuple[int, str]:
    client = world.client("classify")
    form = {"csrf": csrf_of(client.get("/classify").text), **{f"value-{name}": text for name, text in values.items()}}
    answer = client.post(path, data={**form, **more})
    return answer.status_code, answer.text


def value_of(page: str, name: str) -> str:
    return html.unescape(re.search(rf'name="value-{name}" value="([^"]*)"', page).group(1))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "to", "value"),
    [
        ("12", EN, 12.0),
        (" 1,234,567.5 ", EN, 1_234_567.5),
        ("1.234.567,5", ES, 1_234_567.5),
        ("1 234,5", ES, 1234.5),
        ("1.234", EN, 1.234),
        ("1.234", ES, 1234.0),
        ("1,234", EN, 1234.0),
        ("1,234", ES, 1.234),
        ("0.234", ES, 0.234),
        ("0,234", EN, 0.234),
        ("12.5", ES, 12.5),
        ("12,5", EN, 12.5),
        ("\N{MINUS SIGN}3", EN, -3.0),
        ("+4", EN, 4.0),
        (".5", EN, 0.5),
        ("1e3", EN, 1000.0),
        ("1e400", EN, float("inf")),
    ],
)
def test_numbers_are_read_as_they_are_written(text, to, value):
    assert read_number(text, to) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1.2.3",
        "1,2,3",
        "1.234,5.6",
        "--1",
        "1-",
        "nan",
        "inf",
        "Infinity",
        "0x10",
        "1_000",
        "١٢",
        "12 €",
        "1e99999",
    ],
)
@pytest.mark.parametrize("to", [EN, ES])
def test_what_is_no_number_is_not_guessed(text, to):
    with pytest.raises(ValueError, match=r"expected a number|could not convert"):
        read_number(text, to)


@pytest.mark.parametrize("to", [EN, ES])
def test_what_is_typed_out_reads_back_the_same(to):
    draw = np.random.default_rng(0)
    for value in [0.0, 1234.0, 0.1, *(10.0 ** draw.uniform(-3, 12, 200)).round(3).tolist()]:
        assert read_number(typed(value, to), to) == value
        # As the report writes it, with thousands marks.
        assert read_number(to.decimal(value, 3), to) == pytest.approx(value, abs=1e-3)


def test_the_answer_is_the_models(world):
    for seed in range(5):
        draw = np.random.default_rng(seed)
        typed_in = {
            "recency_days": str(draw.integers(0, 400)),
            "frequency": str(draw.integers(1, 60)),
            "monetary": f"{draw.uniform(10, 9000):.2f}",
        }
        found = world.model.classify({name: float(text) for name, text in typed_in.items()})
        status, page = send(world, typed_in)
        text = visible(page)
        assert status == 200
        assert f"The customer belongs to {found.segment.rank} {found.segment.name.en} " in text
        assert found.segment.action.en in text
        assert f"Margin {found.margin:.0%}" in text
        assert TEXTS[how_sure(found.margin)].en.format(second=found.second.name.en) in text
        assert (TEXTS["novel_title"].en in text) is found.novel
        assert {name: value_of(page, name) for name in typed_in} == typed_in


def test_a_customer_like_none_before_is_called_so(world):
    status, page = send(world, {"recency_days": "5000", "frequency": "1000", "monetary": "1"})
    assert status == 200
    assert TEXTS["novel_title"].en in visible(page)


def test_what_is_wrong_stands_beside_its_field_and_nothing_typed_is_lost(world):
    typed_in = {"recency_days": "-1", "frequency": "<b>twelve</b>", "monetary": "99.5"}
    status, page = send(world, typed_in)
    assert status == 422
    assert {name: value_of(page, name) for name in typed_in} == typed_in
    errors = dict(re.findall(r'<p class="error" id="error-(\w+)">(.*?)</p>', page))
    assert set(errors) == {"recency_days", "frequency"}
    assert errors["recency_days"] == "The value must be 0 or more."
    assert "&lt;b&gt;twelve&lt;/b&gt;" in errors["frequency"]
    for name in errors:
        assert re.search(rf'id="value-{name}"[^>]*aria-describedby="error-{name} [^>]*aria-invalid="true"', page)
        assert f'<a href="#value-{name}">' in page
    assert "belongs to" not in visible(page)


@pytest.mark.parametrize(
    ("text", "key"), [("", "value_missing"), ("1e400", "value_too_large"), ("nan", "value_no_number")]
)
def test_each_bad_value_has_its_words(world, text, key):
    status, page = send(world, {"recency_days": text, "frequency": "3", "monetary": "3"})
    assert status == 422
    assert TEXTS[key].en.split("{")[0].strip("“") in visible(page)


def test_even_the_largest_number_is_answered_or_refused(world):
    status, page = send(world, {"recency_days": "1e308", "frequency": "1e308", "monetary": "1e308"})
    assert status in (200, 422)
    assert 'value="1e308"' in page


def test_switching_the_language_keeps_the_numbers(world):
    status, page = send(
        world,
        {"recency_days": "1.234", "frequency": "7", "monetary": "1.234,5"},
        path="/classify?language=en",
        written_in="es",
    )
    assert status == 200
    assert [value_of(page, name) for name in ("recency_days", "frequency", "monetary")] == ["1234", "7", "1234.5"]
    assert 'name="written_in" value="en"' in page


def test_an_example_fills_the_form_and_belongs_where_it_says(world):
    client = world.client("classify")
    for language in ("en", "es"):
        for segment in world.model.segments:
            page = client.get("/classify", params={"example": segment.segment_id, "language": language}).text
            values = {name: value_of(page, name) for name in world.model.spec.names}
            numbers = {name: read_number(text, NumberFormat(language)) for name, text in values.items()}
            assert world.model.classify(numbers).segment_id == segment.segment_id
    assert value_of(client.get("/classify?example=nobody").text, "frequency") == ""


def test_the_form_and_the_model_agree_on_what_is_possible(world):
    for name in world.model.spec.names:
        low, high = limits(world.model, name)
        values = dict.fromkeys(world.model.spec.names, 1.0)
        for inside in (low, min(high, 1e6)):
            world.model.classify({**values, name: inside})
        with pytest.raises(DataError, match=name):
            world.model.classify({**values, name: np.nextafter(low, -np.inf)})
        assert low <= example(world.model, name) <= high


def test_the_window_is_told_in_the_readers_language(tmp_path):
    world = make_world(tmp_path, people=False, window_days=90)
    client = world.client("classify")
    assert "in the last 90 days, up to today." in visible(client.get("/classify?language=en").text)
    assert "en los últimos 90 días, hasta hoy." in visible(client.get("/classify?language=es").text)


def test_a_recency_beyond_the_period_of_the_model_is_told_in_plain_words(tmp_path):
    world = make_world(tmp_path, people=False, window_days=90)
    others = {"frequency": "3", "monetary": "40"}
    for recency, warned in (("90", False), ("91", True), ("1200", True)):
        for language in ("en", "es"):
            path, values = f"/classify?language={language}", {"recency_days": recency, **others}
            status, page = send(world, values, path=path, written_in=language)
            text = visible(page)
            assert status == 200
            assert (getattr(TEXTS["beyond_title"], language) in text) is warned
    assert "este lleva 1.200 días sin comprar" in text
    assert "compraron en los últimos 90 días" in text


def test_without_a_period_no_recency_is_too_long(world):
    _, page = send(world, {"recency_days": "4000", "frequency": "3", "monetary": "40"})
    assert TEXTS["beyond_title"].en not in visible(page)


@pytest.mark.parametrize("seed", range(5))
def test_the_example_of_what_is_counted_is_a_whole_number(seed):
    draw = np.random.default_rng(seed)
    cloud = np.arange(60) % 3
    customers = pl.DataFrame(
        {
            "customer_id": range(60),
            "recency_days": 9 - 3 * cloud + draw.integers(0, 2, 60),
            "frequency": 1 + 3 * cloud + draw.integers(0, 2, 60),
            "monetary": (1 + 4.0 * cloud + draw.uniform(0, 1, 60)).round(2),
        }
    )
    model = model_of(customers, 3)
    view = ModelView(model, PageWords("en"), EN)
    for cluster, segment in enumerate(model.segments):
        for values in (typical_customer(view, cluster), {name: example(model, name) for name in model.spec.names}):
            assert values["recency_days"].is_integer()
            assert values["frequency"].is_integer()
        assert model.classify(typical_customer(view, cluster)).segment_id == segment.segment_id
    assert counted("gap_days_median", 3.5) == 3.5
    assert set(FEATURES) >= WHOLE


def test_the_pulls_add_up_to_the_difference_of_the_squared_distances():
    for seed in range(20):
        draw = np.random.default_rng(seed)
        x, a, b = draw.normal(0, 10.0 ** draw.uniform(-3, 3), size=(3, 1 + seed % 9))
        found = pulls(x, a, b)
        assert found.sum() == pytest.approx(((x - b) ** 2).sum() - ((x - a) ** 2).sum(), rel=1e-9, abs=1e-12)
        # Seen from the other side, everything pulls the other way.
        assert pulls(x, b, a).tolist() == pytest.approx((-found).tolist())


def test_the_why_lists_each_variable_by_its_pull(world):
    values = {"recency_days": 3.0, "frequency": 90.0, "monetary": 90.0}
    _, page = send(world, {name: typed(value, EN) for name, value in values.items()})
    found = world.model.classify(values)
    ids = [one.segment_id for one in world.model.segments]
    first, second = (world.model.centroids[ids.index(one)] for one in (found.segment_id, found.second_segment_id))
    strength = pulls(world.model.spec.row(values), first, second)
    labels = {"recency_days": "Recency", "frequency": "Frequency", "monetary": "Revenue"}
    order = [labels[world.model.spec.names[index]] for index in np.argsort(-strength)]
    table = page.split('<table class="why stack">')[1].split("</table>")[0]
    assert re.findall(r'<th scope="row">(\w+)', table) == order
    assert (np.abs(strength) > 0.01 * np.abs(strength).max()).all()
    assert len({one > 0 for one in strength}) == 2
    towards = [found.segment.name.en if one > 0 else found.second.name.en for one in np.sort(strength)[::-1]]
    assert re.findall(r"</span> (\S.*?)</small>", table) == towards


def test_the_more_margin_the_surer():
    order = ["sure_border", "sure_leaning", "sure_fair", "sure_clear"]
    found = [order.index(how_sure(margin)) for margin in np.linspace(0, 1, 101)]
    assert found == sorted(found)
    assert [how_sure(one) for one in (BORDERLINE, LEANING, FAIR)] == order[1:]
    assert BORDERLINE == SCORE_BORDERLINE


def test_figures_are_rounded_to_what_a_person_would_type():
    assert [rounded(value, 3) for value in (0.0, 12345.6, 99.96, 9.996, 0.123456)] == [0, 12300, 100, 10, 0.123]


def test_the_mean_of_all_is_that_of_the_customers(world):
    view = ModelView(world.model, PageWords("en"), EN)
    for name in world.model.spec.names:
        assert view.average[name] == pytest.approx(world.customers[name].mean())
