"""``cartera recommend action=evaluate``: the figures are those of the engine, wherever the baskets come from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.errors import TrackingError
from engine.recommend.baselines import PersonalThenPopular, Popular
from engine.recommend.basket_file import least_baskets, least_rows, read_rows
from engine.recommend.baskets import Baskets
from engine.recommend.evaluate import evaluate
from engine.tracking import NullTracker
from tests.experiments.conftest import Ran
from tests.experiments.recommend_shop import CUSTOMERS, shop_lake, shop_run

Cartera = Callable[..., Ran]
EVALUATE = ("recommend", "action=evaluate", "tracking=none")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    shop_lake(folder)
    shop_run(folder)
    return folder


def facts(folder: Path) -> dict:
    return json.loads((folder / "evaluation.json").read_text("utf-8"))


def test_a_file_of_baskets_with_filters(cartera: Cartera, shop: Path, tmp_path: Path) -> None:
    sales = pl.read_csv(shop / "sales.csv")
    sales.rename({"customer_id": "Kunde", "order_id": "Bon", "product_id": "Artikel"}).write_csv(
        "baskets.tsv", separator="\t"
    )
    ran = cartera(
        *EVALUATE, "baskets.path=baskets.tsv", "baskets.customer=Kunde", "baskets.product=Artikel", "baskets.order=Bon",
        "baskets.least_baskets=7", "baskets.least_rows=40", "evaluate.popular_by=rows", "k=5", "out=out",
        "evaluate.recommenders=[personal_then_popular]",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    raw = read_rows(
        shop / "sales.csv", customer="customer_id", product="product_id", time="timestamp", order="order_id"
    )
    rows = least_rows(least_baskets(raw, 7), 40, counted=raw)
    wanted = evaluate([Popular("rows"), PersonalThenPopular()], Baskets.from_frame(rows), k=5)
    told = facts(tmp_path / "out")
    assert told["measures"] == wanted.to_dict()["measures"]
    assert told["protocol"]["customers"] == rows["customer_id"].n_unique() < CUSTOMERS
    lines = pl.read_csv(tmp_path / "out" / "evaluation.csv")
    recall = lines.filter(pl.col("recommender") == "popular", pl.col("measure") == "recall").row(0, named=True)
    assert recall["mean"] == pytest.approx(wanted.measures["popular"]["recall"].mean)
    assert f"{wanted.measures['popular']['recall'].mean:.4f}" in ran.out


def test_all_recommenders_on_a_lake_by_date(cartera: Cartera, shop: Path, tmp_path: Path) -> None:
    names = "[cartera,popular,personal,personal_then_popular,segment_popular,item_knn,tifu_knn]"
    ran = cartera(
        *EVALUATE, f"lake={shop}/lake", f"bundle={shop}/run/bundle", "evaluate.split=date", "evaluate.date=2024-09-01",
        f"evaluate.recommenders={names}", "evaluate.tifu_knn={group_num: 3, within_decay: 0.9, group_decay: 0.9}",
        "k=3", "language=es", "out=out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "Puede que" not in ran.err  # scored at the date
    told = facts(tmp_path / "out")
    assert set(told["measures"]) == set(names.strip("[]").split(","))
    assert (told["tifu_knn"]["group_num"], told["category"]) == (3, "category")
    sales = pl.read_csv(shop / "sales.csv", try_parse_dates=True)
    later = sales.filter(pl.col("timestamp") >= date(2024, 9, 1))["customer_id"].unique()
    before = sales.filter(pl.col("timestamp") < date(2024, 9, 1))["customer_id"].unique()
    assert told["protocol"]["targets"] == later.is_in(before.implode()).sum()
    spanish = pl.read_csv(tmp_path / "out" / "evaluation.csv", separator=";", decimal_comma=True)
    assert set(spanish["segmento"]) - {"todos los clientes"} == {
        told["segment_names"][one]["es"] for one in told["segments"]
    }
    counted = spanish.filter(pl.col("recomendador") == "cartera", pl.col("medida") == "hit")
    assert counted["clientes"].to_list()[0] == sum(counted["clientes"].to_list()[1:])


def test_segments_that_may_know_the_future_are_told_of(cartera: Cartera, shop: Path) -> None:
    ran = cartera(
        *EVALUATE, f"lake={shop}/lake", f"assignments={shop}/run", "evaluate.recommenders=[popular]", "out=out"
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "may have been made with the baskets that are to be foreseen" in ran.err


def test_a_sweep_judges_the_first_recommender(cartera: Cartera, shop: Path, tmp_path: Path) -> None:
    ran = cartera(
        "recommend", "-m", "action=evaluate", f"lake={shop}/lake", "evaluate.recommenders=[personal]",
        "k=2,4", "tracking=none", "out=sweep",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    jobs = pl.read_csv(tmp_path / "sweep" / "jobs.csv")
    told = [facts(tmp_path / "sweep" / str(number)) for number in (0, 1)]
    assert [each["k"] for each in told] == [2, 4]
    assert jobs["value"].to_list() == pytest.approx([each["measures"]["personal"]["ndcg"]["mean"] for each in told])


class Kept(NullTracker):
    """Keeps what it is told."""

    where = "here"

    def __init__(self) -> None:
        self.settings: dict = {}
        self.told: dict = {}
        self.children: dict = {}
        self.files: list[str] = []

    def params(self, values) -> None:
        self.settings |= values

    def metrics(self, values) -> None:
        self.told |= values

    def child(self, name, params, metrics, **more) -> None:
        self.children[name] = (dict(params), dict(metrics))

    def artifacts(self, path, into=None) -> None:
        assert path.exists()
        self.files.append(path.name)


def test_what_is_tracked_is_what_is_written(
    cartera: Cartera, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Kept()
    monkeypatch.setattr("engine.tracking.open_tracker", lambda *given, **named: tracker)
    ran = cartera(
        "recommend", "action=evaluate", f"lake={shop}/lake", "k=3", "out=out", "evaluate.recommenders=[tifu_knn]",
        "evaluate.tifu_knn={group_num: 3, within_decay: 0.9, group_decay: 0.9, k: 20}",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    told = facts(tmp_path / "out")
    assert set(tracker.children) == set(told["measures"])
    params, metrics = tracker.children["tifu_knn"]
    assert (params["k"], params["tifu_k"], params["tifu_alpha"]) == (3, 20, told["tifu_knn"]["alpha"])
    assert metrics["recall"] == tracker.told["recall"] == told["measures"]["tifu_knn"]["recall"]["mean"]
    assert metrics["ndcg_difference_low"] == told["differences"]["tifu_knn"]["ndcg"]["low"]
    assert tracker.files == ["config.yaml", "evaluation.csv", "evaluation_new.csv", "evaluation.json"]
    batch = Kept()
    monkeypatch.setattr("engine.tracking.open_tracker", lambda *given, **named: batch)
    assert cartera("recommend", f"lake={shop}/lake", "k=3", "out=batch").code == 0
    told = json.loads((tmp_path / "batch" / "recommend.json").read_text("utf-8"))
    assert batch.told["recommendations"] == told["recommendations"]
    assert batch.told["ndcg"] == told["foreseen"]["measures"]["cartera"]["ndcg"]["mean"]
    # Nothing that names a person goes there.
    assert set(batch.files) == {
        "config.yaml",
        "recommend.json",
        "recommend.html",
        "cross_sell.csv",
        "next_products.csv",
    }


def test_a_store_that_fails_costs_the_record_and_not_the_results(
    cartera: Cartera, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(Kept):
        def metrics(self, values) -> None:
            raise TrackingError("the store is full.")

    monkeypatch.setattr("engine.tracking.open_tracker", lambda *given, **named: Full())
    for out, arguments in (("a", ["action=evaluate", "evaluate.recommenders=[popular]"]), ("b", [])):
        ran = cartera("recommend", f"lake={shop}/lake", *arguments, "recommend.check=false", f"out={out}")
        assert ran.code == 3
        assert "but not all was tracked: the store is full." in ran.err
        assert (tmp_path / out / "config.yaml").exists()


def test_a_basket_is_not_foreseen_from_itself(cartera: Cartera, tmp_path: Path) -> None:
    # Each basket holds a product that nobody ever bought before: nothing can be found but by looking ahead.
    rows = [(c, n, f"p{c}-{n}") for c in range(30) for n in range(4)]
    pl.DataFrame(rows, schema=["customer_id", "timestamp", "product_id"], orient="row").write_csv("new.csv")
    ran = cartera(
        *EVALUATE, "baskets.path=new.csv", "out=out", "evaluate.recommenders=[personal,item_knn,tifu_knn]"
    )  # fmt: skip
    assert ran.code == 0, ran.err
    measures = facts(tmp_path / "out")["measures"]
    assert {name: each["recall"]["mean"] for name, each in measures.items()} == dict.fromkeys(measures, 0.0)


def test_new_products_have_a_table_of_their_own(cartera: Cartera, shop: Path, tmp_path: Path) -> None:
    for language, decimal in (("en", "."), ("es", ",")):
        ran = cartera(
            *EVALUATE, f"lake={shop}/lake", "k=3", "evaluate.recommenders=[cartera]", f"language={language}",
            f"out={language}",
        )  # fmt: skip
        assert ran.code == 0, ran.err
        new = facts(tmp_path / language)["new"]
        assert set(new["measures"]) == {"cartera", "popular"}
        recall = new["measures"]["cartera"]["recall"]
        assert f"{recall['mean']:.4f}".replace(".", decimal) in ran.out
        assert ran.out.rstrip().endswith(f"{language}/evaluation_new.csv")
    table = pl.read_csv(tmp_path / "en" / "evaluation_new.csv")
    row = table.filter(pl.col("recommender") == "cartera", pl.col("measure") == "recall").row(0, named=True)
    assert [row["mean"], row["at least"], row["at most"]] == pytest.approx(
        [recall[end] for end in ("mean", "low", "high")]
    )
    assert row["customers"] == new["protocol"]["targets"]
    assert row["minus the best baseline"] == pytest.approx(new["differences"]["cartera"]["recall"]["mean"])


def test_what_is_slow_takes_part_where_it_is_asked_for(
    cartera: Cartera, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("evaluate.tifu_knn={group_num: 3, within_decay: 0.9, group_decay: 0.9}", f"lake={shop}/lake", "k=3")
    ran = cartera(*EVALUATE, *few, "out=quick")
    assert ran.code == 0, ran.err
    assert "tifu_knn" in facts(tmp_path / "quick")["measures"]
    assert "tifu_knn: tuning on" in ran.err
    assert re.search(r"cartera: learnt in [\d.]+ s; \d+ customers in [\d.]+ s, \d+ a second", ran.err)
    monkeypatch.setattr("experiments.recommend_evaluate.PATIENCE_S", 0.0)
    ran = cartera(*EVALUATE, *few, "out=without")
    assert ran.code == 0, ran.err
    assert set(facts(tmp_path / "without")["measures"]) == {
        "cartera", "personal", "item_knn", "popular", "personal_then_popular",
    }  # fmt: skip
    asked = "'evaluate.recommenders=[cartera,personal,item_knn,tifu_knn]'"
    assert f"Ask for it with {asked}" in ran.err
    assert cartera(*EVALUATE, *few, asked.strip("'"), "out=asked").code == 0
    assert facts(tmp_path / "asked")["measures"] == facts(tmp_path / "quick")["measures"]


def test_what_is_never_offered_need_not_be_foreseen(cartera: Cartera, shop: Path, tmp_path: Path) -> None:
    ran = cartera(
        *EVALUATE, f"lake={shop}/lake", "recommend.exclude=[GRILLS,p00]", "evaluate.recommenders=[cartera]", "out=out"
    )  # fmt: skip
    assert ran.code == 0, ran.err
    sales = pl.read_csv(shop / "sales.csv", try_parse_dates=True)
    never = pl.col("product_id").is_in(["p00", "p20", "p21"])
    lines = sales.filter(never).height
    assert f"3 products are left out: they are never offered, and their {lines:,} purchases do not count" in ran.err
    told = facts(tmp_path / "out")
    goods = Baskets.from_frame(sales.filter(~never))
    wanted = evaluate([PersonalThenPopular()], goods, k=10)
    for measure, mean in wanted.to_dict()["measures"]["personal_then_popular"].items():
        assert told["measures"]["personal_then_popular"][measure] == pytest.approx(mean)
    assert told["protocol"]["baskets"] == wanted.protocol["baskets"]
