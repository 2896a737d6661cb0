"""``cartera recommend`` on the lake of a small shop: what it leaves, and that the parts agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import engine
from engine.errors import DataError
from engine.lake import inventory
from engine.recommend.recommender import CustomerRecommender
from engine.report.recommend_words import TEXTS
from experiments.output import MARKER
from tests.experiments.conftest import Ran
from tests.experiments.recommend_shop import CUSTOMERS, shop_files, shop_lake, shop_run

Cartera = Callable[..., Ran]

FILES = {
    "recommendations.parquet",
    "recommend.json",
    "recommend.html",
    "recommender",
    "config.yaml",
    "cross_sell.csv",
    MARKER,
}
GRILLS = ["p20", "p21"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    shop_lake(folder)
    shop_run(folder)
    return folder


def facts(folder: Path) -> dict:
    return json.loads((folder / "recommend.json").read_text("utf-8"))


def table(path: Path, language: str = "en") -> pl.DataFrame:
    spanish = language == "es"
    return pl.read_csv(path, separator=";" if spanish else ",", decimal_comma=spanish)


def test_everything_by_segment(cartera: Cartera, shop: Path, tmp_path: Path) -> None:
    ran = cartera("recommend", f"lake={shop}/lake", f"assignments={shop}/run", "k=4", "tracking=none", "out=out")
    assert ran.code == 0, ran.err
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == FILES | {"next_products.csv", "up_sell.csv"}
    found = pl.read_parquet(out / "recommendations.parquet")
    told = facts(out)
    assert (told["customers"], told["recommendations"], told["products"]) == (CUSTOMERS, found.height, 24)
    assert found["customer_id"].n_unique() == CUSTOMERS
    assert sum(told["reasons"].values()) == found.height
    assert told["rows"]["lake"] == told["rows"]["purchases"] + sum(told["rows"]["left_out"].values())
    assert sum(segment["customers"] for segment in told["segments"]) == CUSTOMERS
    assert found.select("customer_id", "product_id").is_unique().all()
    assert found["why"].null_count() == 0
    assert found["product"].str.starts_with("Café ").all()
    # Nobody buys a second grill, and everybody has one.
    assert told["bought_once"] == 2
    owned = pl.read_csv(shop / "sales.csv").select("customer_id", "product_id").unique()
    grills = found.join(owned, on=["customer_id", "product_id"]).filter(pl.col("product_id").is_in(GRILLS))
    assert grills.is_empty()
    # What the five figures say is what the files hold.
    assert str(CUSTOMERS) in ran.out
    assert "out/recommendations.parquet" in ran.out
    assert TEXTS[f"by_{told['foreseen']['baseline']}"].en in ran.out
    # Segments are ranked by what their customers are billed, and the dear grill is that of the better one.
    (pair,) = table(out / "up_sell.csv").filter(pl.col("product bought") == "p20").rows(named=True)
    billed = engine.load(shop / "run" / "bundle").segments
    names = [one.name.en for one in sorted(billed, key=lambda one: -one.rank)]
    assert [pair["segment"], pair["next segment up"], pair["dearer product to offer"]] == [*names, "p21"]


def test_what_is_printed_names_nobody(cartera: Cartera, tmp_path: Path) -> None:
    sales = pl.read_csv(shop_files(tmp_path)).with_columns(customer_id=pl.format("PERSON-{}", "customer_id"))
    sales.write_csv("sales.csv")
    ran = cartera("recommend", "data.path=sales.csv", "recommend.check=false", "tracking=none", "out=out")
    assert ran.code == 0, ran.err
    assert "PERSON" not in ran.out + ran.err
    out = tmp_path / "out"
    for path in (path for path in out.iterdir() if path.suffix in (".csv", ".json", ".yaml")):
        assert "PERSON" not in path.read_text("utf-8"), path
    # Those that do name persons stand in the inventory of the lake, which is inside the run, with the histories.
    listed = inventory.listed(out / "lake")
    assert sorted(listed["kind"]) == ["history", "recommendations", "recommender", "rejects"]
    assert all(Path(path).exists() for path in listed["path"])
    assert pl.read_parquet(out / "recommendations.parquet")["customer_id"].str.starts_with("PERSON").all()


def test_without_segments_and_in_spanish(cartera: Cartera, shop: Path, tmp_path: Path) -> None:
    ran = cartera("recommend", f"lake={shop}/lake", "k=2", "language=es", "tracking=none", "out=out")
    assert ran.code == 0, ran.err
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == FILES | {"next_products.csv"}
    assert (out / "cross_sell.csv").read_bytes().startswith("\N{ZERO WIDTH NO-BREAK SPACE}".encode())
    rules = table(out / "cross_sell.csv", "es")
    assert rules["segmento"].unique().to_list() == ["todos los clientes"]
    best = rules.row(0, named=True)
    # A third of the customers took to tea, and all of them went on to lemons.
    assert (best["producto comprado"], best["producto que ofrecer"]) == ("p22", "p23")
    assert best["compraron después el otro"] == CUSTOMERS // 3
    assert best["proporción que lo compró después"] == 1.0
    found = pl.read_parquet(out / "recommendations.parquet")
    assert found["why"].str.contains("compra").all()
    labels = ("clientes", "productos", "recomendaciones", "últimas cestas", "reglas de venta cruzada", "lista")
    assert all(any(line.startswith(label) for line in ran.out.splitlines()) for label in labels)


def test_the_saved_recommender_says_the_same(cartera: Cartera, shop: Path, tmp_path: Path) -> None:
    arguments = (f"lake={shop}/lake", f"bundle={shop}/run/bundle", "k=3", "recommend.check=false", "tracking=none")
    assert cartera("recommend", *arguments, "out=out").code == 0
    saved = CustomerRecommender.open(tmp_path / "out" / "recommender")
    found = pl.read_parquet(tmp_path / "out" / "recommendations.parquet")
    again = saved.recommend(None, 3).drop("score")
    assert again.equals(found.drop("score"))
    # The bundle scores the customers as the run that made it did.
    assignments = pl.read_parquet(shop / "run" / "assignments.parquet")
    own = pl.DataFrame({"customer_id": saved.history.customer_ids, "number": saved.segment_of}).join(
        saved.segments.with_row_index("number").cast({"number": pl.Int32}), on="number"
    )
    same = own.select("customer_id", "segment_id").sort("customer_id")
    assert same.equals(assignments.select("customer_id", "segment_id").sort("customer_id"))
    # A server finds the tables beside it, by segment id.
    rules = pl.read_parquet(tmp_path / "out" / "recommender" / "cross_sell.parquet")
    assert set(rules["segment_id"]) <= set(saved.segments["segment_id"])
    assert rules.height == table(tmp_path / "out" / "cross_sell.csv").height


def test_same_seed_same_files(cartera: Cartera, shop: Path, tmp_path: Path) -> None:
    for out in ("a", "b"):
        assert cartera("recommend", f"lake={shop}/lake", "k=3", "seed=5", "tracking=none", f"out={out}").code == 0
    for name in ("recommendations.parquet", "cross_sell.csv", "next_products.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    first, second = facts(tmp_path / "a"), facts(tmp_path / "b")
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def test_only_some_customers_and_a_level(cartera: Cartera, shop: Path, tmp_path: Path) -> None:
    pl.DataFrame({"customer_id": ["3", "8", "3", "99999"]}).write_csv("ids.csv")
    ran = cartera(
        "recommend", f"lake={shop}/lake", "customers=ids.csv", "level=category", "k=9", "recommend.check=false",
        "recommend.repurchase={BREAD: false}", "tracking=none", "out=out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "1 of 3 customers bought nothing before" in ran.err
    assert "There are 4 categories, so lists are shorter than 9." in ran.err
    found = pl.read_parquet(tmp_path / "out" / "recommendations.parquet")
    assert found["customer_id"].unique().sort().to_list() == [3, 8]
    assert set(found["product_id"]) <= {"BREAD", "FRUIT", "GRILLS", "TEA"}
    owned = pl.read_csv(shop / "sales.csv").join(
        pl.read_csv(shop / "products.csv"), left_on="product_id", right_on="code"
    )
    has_bread = set(owned.filter(pl.col("category") == "BREAD")["customer_id"])
    assert {3, 8} <= has_bread
    assert "BREAD" not in set(found["product_id"])


def test_only_what_is_new_and_nothing_excluded(cartera: Cartera, shop: Path, tmp_path: Path) -> None:
    owned = pl.read_csv(shop / "sales.csv").select("customer_id", "product_id").unique()
    for only, how in (("new", "anti"), ("bought", "semi")):
        ran = cartera(
            "recommend", f"lake={shop}/lake", "k=3", f"recommend.only={only}", "recommend.exclude=[p01,FRUIT]",
            "language=es", "tracking=none", f"out={only}",
        )  # fmt: skip
        assert ran.code == 0, ran.err
        found = pl.read_parquet(tmp_path / only / "recommendations.parquet")
        assert found.height
        assert found.join(owned, on=["customer_id", "product_id"], how=how).height == found.height
        fruit = {f"p{product:02}" for product in range(1, 20, 2)}
        assert not fruit & {*found["product_id"], *found["with_product"]}
        assert "Se excluyen 10 productos: no se ofrecen nunca" in ran.err
        # The last line is what to look at.
        assert ran.out.splitlines()[-1] == f"Para leerlo, abra {only}/recommend.html"
        # What is judged is what was asked for.
        foreseen = facts(tmp_path / only)["foreseen"]
        assert ("new" in foreseen, "personal_then_popular" in foreseen["measures"]) == ((only == "bought"),) * 2
    saved = CustomerRecommender.open(tmp_path / "new" / "recommender")
    assert not fruit & set(saved.recommend(k=20)["product_id"])


def test_what_cannot_be_done_is_told_and_the_rest_stands(
    cartera: Cartera, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*given: object, **named: object) -> None:
        raise DataError("Cross-selling: too many pairs. Set cross_sell.least_customers=40.")

    monkeypatch.setattr("engine.recommend.cross_sell.cross_sell", refuses)
    monkeypatch.setattr("experiments.recommend_tables.check_table_settings", lambda c: None)
    ran = cartera("recommend", f"lake={shop}/lake", "recommend.check=false", "tracking=none", "out=out")
    assert ran.code == 3
    assert "the recommendations are complete in out; not done: Cross-selling: too many pairs." in ran.err
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == FILES - {"cross_sell.csv"} | {"next_products.csv"}
    assert facts(out)["not_done"]


def test_one_small_segment(cartera: Cartera, shop: Path, tmp_path: Path) -> None:
    pl.DataFrame({"customer_id": [1, 2], "segment_id": ["x", "x"]}).write_parquet("one.parquet")
    ran = cartera("recommend", f"lake={shop}/lake", "assignments=one.parquet", "tracking=none", "out=one")
    assert ran.code == 0, ran.err
    assert "No up-selling: there are not two segments." in ran.err
    assert "customers are in no segment: they are recommended products" in ran.err
    assert [segment["customers"] for segment in facts(tmp_path / "one")["segments"]] == [2]
