"""The pages of customers and of runs: found by any id, shown as they are in the base, with what they bought."""

from __future__ import annotations

import html
import re
from pathlib import Path
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest

from engine.errors import SourceNotFoundError
from engine.plane import Plane
from engine.report.compare_html import render_comparison
from engine.report.numbers import NumberFormat
from engine.segments.compare import compare_runs
from engine.serving.history import by_month, orders_of
from engine.serving.pages.charts import plane_chart
from engine.serving.pages.files import address, static_file
from engine.serving.pages.map import Atlas
from engine.serving.pages.model import ModelView
from engine.serving.pages.words import TEXTS, PageWords
from tests.reference import orders_twin
from tests.segments.divisions import AFTER, BEFORE, division
from tests.serving.pages_example import STRANGE_IDS, World, csrf_of, make_world
from tests.serving.test_pages import visible

IDS = [*STRANGE_IDS, *(f"c{number}" for number in range(60))]
RUNS = (Path("runs/january"), Path("runs/june"))


def read_run(folder: Path, key: str):
    return division(BEFORE if folder.name == "january" else AFTER, name=folder.name)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), ids=IDS, sales=True, runs=RUNS, read_run=read_run)


def search(world: World, customer_id: str):
    client = world.client("customers")
    return client, client.post(
        "/customers", data={"csrf": csrf_of(client.get("/customers").text), "customer_id": customer_id}
    )


@pytest.mark.parametrize("customer_id", [*STRANGE_IDS, "c7"])
def test_every_id_leads_to_its_customer(world, customer_id):
    client, found = search(world, f" {customer_id} ")
    assert found.status_code == 303
    assert found.headers["location"] == f"/customers/{quote(customer_id, safe='')}"
    page = client.get(found.headers["location"])
    assert page.status_code == 200
    assert f"Customer {customer_id}" in visible(page.text)
    assert "<script>alert" not in page.text


@pytest.mark.parametrize("customer_id", ["", "nobody", "C7", "<i>x</i>", "c7/", "x" * 5000])
def test_an_unknown_id_is_told_and_kept(world, customer_id):
    client, found = search(world, customer_id)
    assert found.status_code == 422
    kept = html.unescape(re.search(r'name="customer_id" value="([^"]*)"', found.text).group(1))
    assert kept == customer_id[:200]
    if customer_id:
        assert client.get(f"/customers/{quote(customer_id, safe='')}").status_code == 404


def test_whole_numbers_are_found_as_typed(tmp_path):
    world = make_world(tmp_path)
    assert search(world, "7")[1].headers["location"] == "/customers/7"
    for typed in ("007", "7.0", "７", "9" * 30):
        assert search(world, typed)[1].status_code == 422


def test_a_customer_stands_beside_the_means(world):
    row = world.base.row("c7")
    values = world.base.customer(row)
    segment = world.model.segments[values["cluster"]]
    text = visible(world.client("customers").get("/customers/c7").text)
    view = ModelView(world.model, PageWords("en"), NumberFormat("en"))
    own, mean, everybody = (
        view.figure("frequency", value)
        for value in (values["frequency"], segment.means["frequency"], world.customers["frequency"].mean())
    )
    assert f"Frequency orders {own} {mean} {everybody}" in text
    assert f"Revenue {values['monetary']:,.2f} {segment.means['monetary']:,.2f}" in text
    assert f"{segment.rank} {segment.name.en}" in text
    # Whatever else the base knows, escaped.
    assert f"town {values['town']}" in text
    assert "Town &lt;" in world.client("customers").get("/customers/c7").text


def test_purchases_are_those_of_the_lake(world):
    sold = pl.read_csv(world.folder / "sales.csv", schema_overrides={"customer_id": pl.String}).to_dicts()
    lake = world.state.now.lake
    for customer_id in (*STRANGE_IDS, "c1", "c30"):
        expected = orders_twin.orders(sold, customer_id)
        found = orders_of(lake, customer_id)
        assert found["order_id"].to_list() == [one[0] for one in expected]
        assert found["timestamp"].dt.replace_time_zone(None).to_list() == [one[1] for one in expected]
        assert found["lines"].to_list() == [one[2] for one in expected]
        assert [None if one is None else float(one) for one in found["amount"]] == [
            None if one[3] is None else pytest.approx(one[3]) for one in expected
        ]
        assert [float(one) for one in found["returned"]] == pytest.approx([one[4] for one in expected])
        bought = found.filter(pl.col("amount").is_not_null())
        months = orders_twin.months([one for one in expected if one[3] is not None])
        assert by_month(bought)["month"].to_list() == [one[0] for one in months]
        assert by_month(bought)["orders"].to_list() == [one[1] for one in months]
        assert [float(one) for one in by_month(bought)["amount"]] == pytest.approx([one[2] for one in months])


def test_the_page_lists_the_last_orders_and_says_how_many_there_are(world):
    found = {one: orders_of(world.state.now.lake, one) for one in IDS}
    most = max(found, key=lambda one: found[one].height)
    bought = found[most].filter(pl.col("amount").is_not_null()).height
    text = visible(world.client("customers").get(f"/customers/{quote(most, safe='')}").text)
    assert f"{bought} orders between" in text
    assert "The last 20 orders" in text
    listed = [order for order in found[most]["order_id"] if f" {order} " in text]
    assert listed == found[most]["order_id"].to_list()[:20]


def test_a_customer_of_another_type_or_without_purchases_has_none(world, tmp_path):
    lake = world.state.now.lake
    assert orders_of(lake, "nobody").height == 0
    assert orders_of(lake, 7).height == 0


def test_a_lake_that_is_gone_leaves_the_rest_of_the_page(tmp_path, caplog):
    world = make_world(tmp_path, ids=[f"c{number}" for number in range(60)], sales=True)
    for file in (tmp_path / "lake").rglob("*.parquet"):
        file.unlink()
    answer = world.client("customers").get("/customers/c7")
    assert answer.status_code == 200
    assert TEXTS["history_broken"].en in visible(answer.text)
    assert TEXTS["similar_title"].en in visible(answer.text)
    assert "without purchases" in caplog.text
    assert not re.search(r"\bc7\b", caplog.text)


def test_a_customer_who_only_returned_has_a_list_but_no_chart(world, monkeypatch):
    returns = orders_of(world.state.now.lake, "c7").with_columns(pl.lit(None, pl.Decimal(38, 4)).alias("amount"))
    monkeypatch.setattr("engine.serving.pages.customers.orders_of", lambda *_: returns)
    page = world.client("customers").get("/customers/c7").text
    assert TEXTS["history_returns"].en in visible(page)
    assert "chart-months" not in page
    assert "The last" in visible(page)


def test_look_alikes_are_those_of_the_base(world):
    client = world.client("customers")
    row = world.base.row("c7")

    def listed(path: str) -> list[str]:
        section = client.get(path).text.split('id="similar"')[1]
        return [html.unescape(one) for one in re.findall(r'<th scope="row"[^>]*><a href="[^"]*">(.*?)</a>', section)]

    assert listed("/customers/c7") == world.base.similar(row, 10)["customer_id"].to_list()
    assert listed("/customers/c7?similar=25") == world.base.similar(row, 25)["customer_id"].to_list()
    segment = next(one for one in range(3) if one != world.base.customer(row)["cluster"])
    chosen = world.model.segments[segment].segment_id
    assert listed(f"/customers/c7?similar=5&segment={chosen}") == (
        world.base.similar(row, 5, segment=segment)["customer_id"].to_list()
    )
    for odd in ("0", "-1", "x", "1e9", "9" * 40, "\N{SUPERSCRIPT TWO}"):
        assert 1 <= len(listed(f"/customers/c7?similar={odd}")) <= 200
    assert "c7" not in listed("/customers/c7?similar=200")


def test_the_similarity_that_is_shown_is_the_bases(world):
    near = world.base.similar(world.base.row("c7"), 1).row(0, named=True)
    text = visible(world.client("customers").get("/customers/c7?language=es").text)
    share = f"{100 * near['similarity']:.1f} %".replace(".", ",")
    assert share in text.replace("\N{NO-BREAK SPACE}", " ")


def test_two_runs_are_compared_as_the_engine_does(world):
    client = world.client("classify")
    content = compare_runs(read_run(RUNS[0], ""), read_run(RUNS[1], "")).to_dict()
    text = visible(client.get("/compare?before=0&after=1").text)
    assert f"{100 * content['share_moved']:.1f}% of the customers in both runs changed segment" in text
    assert f"customers in both {content['common_customers']} " in text
    assert f"adjusted Rand {content['adjusted_rand']:.3f}" in text
    for pair in content["pairs"]:
        assert f"{100 * pair['share_kept']:.1f}%" in text
    whole = client.get("/compare/report?before=0&after=1")
    from engine import __version__

    assert whole.text == render_comparison({"version": __version__, **content}, "en")
    back = visible(client.get("/compare?before=1&after=0&language=es").text)
    assert "de los clientes comunes ha cambiado de segmento" in back


@pytest.mark.parametrize(
    "query", ["before=0&after=9", "before=-1&after=0", "before=x&after=1", "before=0&after=%C2%B2"]
)
def test_a_run_that_is_not_on_the_list_is_no_page(world, query):
    client = world.client("classify")
    assert client.get(f"/compare?{query}").status_code == 404
    assert client.get(f"/compare/report?{query}").status_code == 404


def test_a_run_that_is_gone_is_told(tmp_path, caplog):
    def gone(folder: Path, key: str):
        raise SourceNotFoundError(f"{key}={folder}: there is none.")

    world = make_world(tmp_path, people=False, runs=RUNS, read_run=gone)
    client = world.client("classify")
    for path in ("/compare", "/compare/report"):
        answer = client.get(f"{path}?before=0&after=1&language=es")
        assert answer.status_code == 500
        assert TEXTS["choose_broken"].es in visible(answer.text)
        assert "january" not in visible(answer.text)
    assert "runs/january" in caplog.text


def test_a_run_is_not_compared_with_itself(world):
    answer = world.client("classify").get("/compare?before=1&after=1")
    assert answer.status_code == 422
    assert TEXTS["choose_same"].en in visible(answer.text)


def test_without_runs_the_page_says_how_to_give_them(tmp_path):
    # One run alone can be compared with nothing.
    for number, runs in enumerate(((), RUNS[:1])):
        world = make_world(tmp_path / str(number), people=False, runs=runs, read_run=read_run)
        client = world.client("classify")
        page = client.get("/compare").text
        assert TEXTS["choose_few"].en.split("`")[0].strip() in visible(page)
        assert "<code>cartera serve … runs=[FOLDER,FOLDER]</code>" in page
        assert "<select" not in page
        assert 'href="/compare"' not in client.get("/").text


def test_the_page_and_the_report_have_one_drawing(world):
    client = world.client("classify")
    drawings = [
        client.get(f"{path}?before=0&after=1&language=es").text.split('<div class="flow"')[1].split("</svg>")[0]
        for path in ("/compare", "/compare/report")
    ]
    assert drawings[0].count("<path") > 3
    assert [one.split() for one in drawings] == [drawings[0].split()] * 2
    # One place holds how it looks, too.
    rule = ".flow path.stays"
    styles = [client.get(address("pages.css")).text, client.get("/compare/report?before=0&after=1").text]
    assert [style.count(rule) for style in styles] == [1, 1]


@pytest.mark.parametrize(
    ("spread", "height"), [((10.0, 0.5), 280), ((10.0, 3.5), 350), ((1.0, 9.0), 460), ((0, 0), 280)]
)
def test_the_map_is_as_tall_as_its_customers_need(world, spread, height):
    places = np.array([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]]) * spread
    atlas = Atlas(Plane.fit(world.model.centroids), places, np.empty((0, 2)), np.empty(0, dtype=np.int64))
    chart = plane_chart(ModelView(world.model, PageWords("en"), NumberFormat("en")), atlas)
    assert (chart.layout["height"], chart.wide["height"], chart.narrow["height"]) == (height, height, 300)
    assert f"#chart-map {{ height: {chart.narrow['height']}px" in static_file("pages.css").content.decode()


def test_the_map_places_everybody_where_the_plane_does(world):
    import json

    page = world.client("customers").get("/customers/c7").text
    charts = json.loads(page.split('id="charts">')[1].split("</script>")[0])["charts"]
    drawn = next(one for one in charts if one["id"] == "chart-map")["data"]
    star = drawn[-1]
    place = world.base.place_of(world.base.coordinates([world.base.row("c7")]))[0]
    assert [star["x"][0], star["y"][0]] == pytest.approx(place.tolist(), abs=1e-6)
    assert sum(len(trace["x"]) for trace in drawn[:3]) == len(IDS)
    centres = np.array([[trace["x"][0], trace["y"][0]] for trace in drawn[3:6]])
    expected = world.base.place_of(world.model.centroids)
    assert np.sort(centres, axis=0) == pytest.approx(np.sort(expected, axis=0))
