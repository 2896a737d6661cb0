"""The tables by segment: their columns, their order, what the documents say of them, and why one is empty."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.recommend.baskets import Baskets
from engine.recommend.chance import lift_interval
from engine.schema import Word
from experiments.recommend_batch import fewer_products, not_offered, repeated_names
from experiments.recommend_columns import for_offers, with_kinds
from experiments.recommend_figures import customers_with_repeats, typical
from experiments.recommend_tables import came_back
from experiments.recommend_why import Note, no_dearer, no_rules, nothing_tried, up_sell_impossible, worded
from tests.experiments.conftest import Ran
from tests.experiments.recommend_shop import shop_lake, shop_run

DOCS = Path(__file__).parents[2] / "docs" / "recommend.md"


def documented(title: str) -> list[list[str]]:
    """Return the rows of the table below a heading of docs/recommend.md."""
    part = DOCS.read_text("utf-8").split(f"\n### {title}\n")[1].split("\n#")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in part.splitlines() if line[:3] == "| `"]
    return [[row[0].strip("| `"), *row[1:]] for row in rows]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    shop_lake(folder)
    shop_run(folder)
    return folder


def test_the_documents_name_every_column(cartera: object, shop: Path, tmp_path: Path) -> None:
    ran: Ran = cartera(  # type: ignore[operator]
        "recommend", f"lake={shop}/lake", f"assignments={shop}/run", "recommend.check=false", "tracking=none", "out=o"
    )
    assert ran.code == 0, ran.err
    out = tmp_path / "o"
    for name in ("cross_sell", "next_products", "up_sell"):
        rows = documented(f"{name}.csv")
        assert [row[1] for row in rows] == pl.read_csv(out / f"{name}.csv").columns
        told = pl.read_parquet(out / "recommender" / f"{name}.parquet").columns
        assert [row[0] for row in rows if "only in the CSV" not in row[2]] == told
        assert all(row[2] for row in rows)
    columns = [row[0] for row in documented("recommendations.parquet")]
    assert columns == pl.read_parquet(out / "recommendations.parquet").columns
    # What is not looked for is not told.
    assert "last baskets" not in ran.out
    facts = json.loads((out / "recommend.json").read_text("utf-8"))
    ranks = {one["segment_id"]: one["rank"] for one in facts["segments"]}
    profile = pl.read_csv(shop / "run" / "profile.csv")
    assert ranks == dict(profile.select("segment_id", "rank").iter_rows())
    assert list(ranks.values()) == [1, 2]
    # Every segment has rows, or why it has none.
    for name in ("cross_sell", "next_products", "up_sell"):
        table = pl.read_parquet(out / "recommender" / f"{name}.parquet")
        assert set(table["segment_id"]) | set(facts["why_nothing"][name]) == set(ranks)
        assert not set(table["segment_id"]) & set(facts["why_nothing"][name])
        order = [ranks[segment_id] for segment_id in table["segment_id"]]
        assert name == "up_sell" or order == sorted(order)
    assert "higher revenue" in facts["why_nothing"]["up_sell"][profile.sort("rank")["segment_id"][0]]["en"]
    kinds = pl.read_csv(out / "cross_sell.csv").join(
        pl.read_parquet(out / "recommender" / "cross_sell.parquet").select("segment_id", *PAIR, "same_kind"),
        left_on=["segment id", "product bought", "and product bought", "product to offer"],
        right_on=["segment_id", *PAIR],
        nulls_equal=True,
    )
    said = kinds.select((pl.col("of the same kind") == "yes") == pl.col("same_kind")).to_series()
    assert len(said) == kinds.height > 0
    assert said.all()


def test_at_the_level_of_categories_up_selling_says_so(cartera: object, shop: Path, tmp_path: Path) -> None:
    ran: Ran = cartera(  # type: ignore[operator]
        "recommend", f"lake={shop}/lake", f"assignments={shop}/run", "level=category", "k=2", "recommend.check=false",
        "cross_sell.least_customers=200", "next_products.least_customers=200", "tracking=none", "out=o",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "No up-selling: it compares the prices of products within a category" in ran.err
    assert "(level=product_id)" in ran.err
    facts = json.loads((tmp_path / "o" / "recommend.json").read_text("utf-8"))
    page = (tmp_path / "o" / "recommend.html").read_text("utf-8")
    assert f"categories           {facts['products']}" in ran.out
    assert facts["categories"]
    assert "<dt>categories</dt>" in page
    assert "No up-selling: it compares the prices" in page
    assert "level=" not in page
    for name in ("cross_sell", "next_products"):
        assert len(facts["why_nothing"][name]) == 2
        for why in facts["why_nothing"][name].values():
            assert why["en"] in page


def test_what_is_no_merchandise_stands_in_no_table(cartera: object, shop: Path, tmp_path: Path) -> None:
    ran: Ran = cartera(  # type: ignore[operator]
        "recommend", f"lake={shop}/lake", f"assignments={shop}/run", "recommend.exclude=[TEA, p20, p03]", "k=2",
        "recommend.check=false", "cross_sell.least_customers=1",
        "cross_sell.false_share=0.999", "next_products.least_customers=1", "tracking=none", "out=o",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    # What is left is counted: 24 products but for four.
    facts = json.loads((tmp_path / "o" / "recommend.json").read_text("utf-8"))
    assert facts["products"] == 20
    assert not facts["categories"]
    assert "products             20" in ran.out
    assert "4 products are left out" in ran.err
    out = {"p03", "p20", "p22", "p23"}
    for name in ("cross_sell", "next_products", "up_sell"):
        table = pl.read_parquet(tmp_path / "o" / "recommender" / f"{name}.parquet")
        named = {*itertools.chain(*(table[column] for column in table.columns if column.startswith("product")))}
        assert not named & out
        # Where the grills' rival is gone there is nothing dearer.
        assert table.height > 0 or name == "up_sell"


PAIR = ["product_x", "product_x2", "product_y"]


def rules(*rows: tuple[str, str, str | None, str, int, float, float]) -> pl.DataFrame:
    names = ("segment_id", *PAIR, "customers_to_offer", "confidence", "lift_low")
    return pl.DataFrame(rows, dict.fromkeys(names) | {"product_x2": pl.String}, orient="row")


def test_what_promises_most_comes_first() -> None:
    found = rules(
        ("low", "a", None, "b", 9, 0.9, 9.0),
        ("top", "a", None, "b", 10, 0.5, 2.0),
        ("top", "a", "b", "c", 100, 0.25, 1.25),
        ("top", "b", None, "c", 0, 1.0, 50.0),
        ("top", "c", None, "d", 1000, 0.5, 0.8),
        ("top", "d", None, "d2", 1000, 0.9, 3.0),
    )
    products = pl.DataFrame({"product_id": ["a", "b", "c", "d", "d2"], "kind": ["k", "l", "m", "n", "n"]})
    given = found.columns
    told = for_offers(with_kinds(found, products, "kind"), {"top": 1, "low": 2})
    assert found.columns == given
    assert list(zip(told["product_x"], told["product_y"], strict=True)) == [
        ("a", "c"), ("a", "b"), ("c", "d"), ("d", "d2"), ("b", "c"), ("a", "b"),
    ]  # fmt: skip
    # By hand: 100 × 0.25 × (1 − 1 / 1.25) = 5, 10 × 0.5 × (1 − 1 / 2) = 2.5, and nothing where chance may be all of it.
    assert told["buyers_beyond_chance"].to_list() == pytest.approx([5, 2.5, 0, 600, 0, 9 * 0.9 * (8 / 9)])
    assert told["same_kind"].to_list() == [False, False, False, True, False, False]
    assert told.columns[:9] == [
        "segment_id", "product_x", "category_x", "product_x2", "category_x2", "product_y", "category_y", "same_kind",
        "customers_to_offer",
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_the_order_is_one_and_loses_no_rule(seed: int) -> None:
    rng = np.random.default_rng(seed)
    went, among = rng.integers(1, 40, 60), rng.integers(40, 90, 60)
    low, _ = lift_interval(went, rng.uniform(1, 30, 60), among)
    ids = [f"p{i}" for i in range(8)]
    found = pl.DataFrame({
        "segment_id": [f"s{i}" for i in rng.integers(0, 3, 60)],
        "product_x": rng.choice(ids, 60), "product_x2": pl.Series([None] * 60, dtype=pl.String),
        "product_y": rng.choice(ids, 60), "customers_to_offer": rng.integers(0, 5, 60),
        "confidence": went / among, "lift_low": low,
    })  # fmt: skip
    products = pl.DataFrame({"product_id": ids[:7], "kind": ["k", "l", None, "m", "k", "l", "l"]})
    ranks = {"s0": 2, "s1": 1, "s2": 3}
    told = for_offers(with_kinds(found, products, "kind"), ranks)
    assert told.select(found.columns).sort(pl.all()).equals(found.sort(pl.all()))
    keys = [
        (ranks[row["segment_id"]], row["customers_to_offer"] == 0, row["same_kind"], -row["buyers_beyond_chance"])
        for row in told.iter_rows(named=True)
    ]
    assert keys == sorted(keys)
    of = dict(products.iter_rows())
    for row in told.iter_rows(named=True):
        x, y = of.get(row["product_x"]), of.get(row["product_y"])
        assert row["same_kind"] == (x is not None and x == y)
        least = row["customers_to_offer"] * row["confidence"]
        assert 0 <= row["buyers_beyond_chance"] <= least


def test_a_name_shared_is_one_kind_too() -> None:
    found = rules(("s", "a", "b", "c", 1, 0.5, 2.0), ("s", "a", None, "b", 1, 0.5, 2.0))
    named = found.with_columns(name_x=pl.lit("SOAP"), name_x2=pl.lit("TEA"), name_y=pl.Series(["TEA", "TEA"]))
    named = named.with_columns(name_x2=pl.when(pl.col("product_x2").is_not_null()).then("name_x2"))
    assert with_kinds(named, pl.DataFrame(), None)["same_kind"].to_list() == [True, False]
    assert with_kinds(found, pl.DataFrame(), None).columns == found.columns


def test_who_came_back_is_counted_by_hand() -> None:
    days = {0: [1, 9], 1: [1, 2], 2: [8, 9], 3: [4, 5, 6], 4: [1, 7], 5: [1, 7]}
    rows = pl.DataFrame(
        [(c, d, "x") for c, own in days.items() for d in own], ["customer_id", "t", "product_id"], orient="row"
    )
    history = Baskets.from_frame(rows.with_columns(timestamp=pl.col("t").cast(pl.Date)), basket="day")
    segments = np.array([0, 0, 0, 1, 1, -1], dtype=np.int32)
    assert came_back(history, segments, 5, 3) == [1, 2, 0]


def no_raw_keys(word: Word) -> None:
    for text in word.to_dict().values():
        assert not re.search(r"[a-z]+[._][a-z]+|=|{", text.replace("40.0", "")), text


def test_why_there_is_nothing_has_its_figure_in_both_languages() -> None:
    few = no_rules({"customers": 1219, "products": 1, "pairs_tested": 0}, 10)
    assert ("1,219" in few.en, "1.219" in few.es) == (True, True)
    chance = no_rules({"customers": 1219, "products": 120, "pairs_tested": 14_280}, 10)
    assert "14,280 pairs" in chance.en
    nobody = nothing_tried(219, 0, 0, 5, "2017-12-21")
    assert ("21 December 2017" in nobody.en, "21 de diciembre de 2017" in nobody.es) == (True, True)
    least = nothing_tried(219, 24, 2, 5, "2017-12-21")
    assert re.findall(r"\d+", least.en) == ["219", "24", "21", "2017", "2", "5"]
    for word in (few, chance, nobody, least):
        no_raw_keys(word)
        assert word.setting in word.text("en")


def test_why_nothing_dearer_follows_how_far_the_search_came() -> None:
    seen = {"products": 3000, "products_bought": 1, "pairs": 0, "pairs_next": 0, "lowest_q": None}
    settings = {"least": 10, "ratio": 2.5, "false_share": 0.05}
    stages = [seen, {**seen, "products_bought": 70}, {**seen, "products_bought": 70, "pairs": 6731}]
    stages.append({**stages[-1], "pairs_next": 69, "lowest_q": 0.153})
    words = [no_dearer(one, **settings) for one in stages]
    assert len({word.en for word in words}) == len({word.es for word in words}) == 4
    for word, figures in zip(
        words, (["3,000", "1", "10"], ["70", "2.5"], ["6,731", "10"], ["69", "15.3%"]), strict=True
    ):
        assert all(figure in word.en for figure in figures), word.en
        no_raw_keys(Word(word.en.replace("2.5", ""), word.es.replace("2.5", "")))
    assert "15,3" in words[-1].es


def test_each_thing_that_up_selling_lacks_is_told_apart() -> None:
    whole = {"segments": 2, "level": "product_id", "category": "kind", "priced": 5, "products": 9}
    assert up_sell_impossible(**whole) is None
    lacks = {"segments": 1, "level": "kind", "category": None, "priced": 0}
    told = [up_sell_impossible(**{**whole, name: value}) for name, value in lacks.items()]
    for word, wanted in zip(told, ("two segments", "whole groups", "has a category", "price above 0"), strict=True):
        assert wanted in word.en
        no_raw_keys(word)
    assert len({word.setting for word in told}) == 4
    assert not any(a.en == b.en for a, b in itertools.combinations(told, 2))


def test_a_note_tells_the_setting_to_who_runs_it_and_not_to_who_reads() -> None:
    note = worded("{n} of {share}", "{n} de {share}", "k=", n=1200, share=0.5)
    assert note == Note("1,200 of 50.0%", "1.200 de 50,0\N{NO-BREAK SPACE}%", "k=")
    assert note.text("en") == "1,200 of 50.0% (k=)"
    assert Note("a", "b").text("es") == "b"


def part(*rows: tuple[int, str, float, str, str | None]) -> pl.DataFrame:
    """Return recommendations: customer, product, score, reason, and the product that it goes with."""
    names = ("customer_id", "product_id", "score", "reason", "with_product")
    found = pl.DataFrame(rows, dict.fromkeys(names) | {"with_product": pl.String}, orient="row")
    named = found.join(ABOUT, on="product_id", how="left").rename({"name": "product"})
    return named.with_columns(why=pl.format("{}-{}", "reason", "score"))


ABOUT = pl.DataFrame({"product_id": ["a", "b", "c", "d"], "name": ["SUGAR", "SUGAR", "TEA", "SUGAR"]})


def test_the_example_of_a_reason_is_typical_and_no_product_beside_itself() -> None:
    found = part(
        (1, "a", 9.0, "habit", None), (1, "c", 2.0, "habit", None), (2, "b", 3.0, "habit", None),
        (2, "a", 5.0, "along", "b"), (3, "c", 4.0, "along", "b"), (3, "a", 1.0, "along", "c"),
        (4, "b", 3.0, "following", "a"),
    )  # fmt: skip
    assert typical(found, ABOUT) == {"habit": (3.0, "SUGAR", "habit-3.0"), "along": (1.0, "SUGAR", "along-1.0")}
    # In whatever order they come.
    assert typical(found.reverse(), ABOUT) == typical(found, ABOUT)


def test_who_has_a_name_three_times_is_counted_once() -> None:
    rows = [(c, product, 1.0, "popular", None) for c, own in {1: "abd", 2: "abc", 3: "abdc"}.items() for product in own]
    assert customers_with_repeats(part(*rows)) == 2


def test_notes_count_what_they_speak_of() -> None:
    told = (
        not_offered(2, 17_161, categories=True), fewer_products(10, 4, categories=True), repeated_names(1763, 2469),
    )  # fmt: skip
    assert told[0].en.startswith("2 categories are left out")
    one = not_offered(1, 17_161, categories=True)
    assert one.en.startswith("One category is left out: it is never offered, and its 17,161")
    assert one.es.startswith("Se excluye una categoría: no se ofrece nunca, y sus 17.161")
    assert not_offered(1, 3).es.startswith("Se excluye un producto")
    assert "2 categorías" in told[0].es
    assert "17.161" in told[0].es
    assert told[1].es.startswith("Hay 4 categorías")
    assert "1,763 of 2,469 customers a name stands 3 times" in told[2].en
    for word in told:
        no_raw_keys(word)


def test_a_note_on_names_comes_where_many_lists_repeat_one(cartera: object, shop: Path, tmp_path: Path) -> None:
    arguments = (f"lake={shop}/lake", "recommend.check=false", "tracking=none")
    for name, k, wanted in (("category", 9, True), ("category", 2, False), (None, 9, False)):
        column = [] if name is None else [f"recommend.name={name}"]
        ran: Ran = cartera("recommend", *arguments, *column, f"k={k}", f"out={name}{k}")  # type: ignore[operator]
        assert ran.code == 0, ran.err
        assert ("a name stands 3 times" in ran.err) == wanted
