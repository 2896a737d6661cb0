"""What ``cartera recommend`` refuses, and what it says then: one message, the next step, nothing left behind."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hydra import compose, initialize_config_dir

from engine.errors import CarteraError
from engine.recommend.cross_sell import cross_sell
from engine.recommend.recommender import CustomerRecommender
from experiments.app import config_dir
from experiments.recommend import check_settings
from experiments.settings import RecommendConfig, typed
from tests.experiments.conftest import Ran
from tests.experiments.recommend_shop import shop_lake

Cartera = Callable[..., Ran]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(shop_lake(tmp_path_factory.mktemp("shop")).path)


def test_defaults_are_those_of_the_engine() -> None:
    import inspect

    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        settings = typed(compose("recommend"), RecommendConfig)
    assert settings == RecommendConfig(data=settings.data, out=settings.out, tracking=settings.tracking)
    for function, given in ((cross_sell, settings.cross_sell), (CustomerRecommender.fit, settings.recommend)):
        parameters = inspect.signature(function).parameters
        shared = {name: value for name, value in vars(given).items() if name in parameters}
        assert shared
        assert {name: parameters[name].default for name in shared} == shared


BATCH = [
    ({"action": "bach"}, "did you mean 'batch'?"),
    ({"k": 0}, "k: expected 1 to 1,000 products for each customer; got 0."),
    ({"k": 1001}, "k: expected 1 to 1,000 products for each customer; got 1001."),
    ({"seed": -1}, "seed: expected a whole number"),
    ({"language": "fr"}, "language: expected one of en, es; got 'fr'."),
    ({"assignments": "a", "bundle": "b"}, "expected one of assignments= and bundle=, or neither; got both."),
    ({"assignments": "nowhere"}, "assignments=nowhere: there is none."),
    ({"recommend.once_below": 2.0}, "recommend.once_below: expected a share from 0 to 1; got 2.0."),
    ({"recommend.only": "old"}, "recommend.only: expected one of new, bought; got 'old'"),
    ({"recommend.repurchase": {"BREAD": "maybe"}}, "recommend.repurchase: expected true or false by category"),
    ({"recommend.repurchase": ["BREAD"]}, "recommend.repurchase: expected true or false by category"),
    ({"cross_sell.false_share": 3.0}, "false_share: expected a share between 0 and 1"),
    ({"next_products.days": 0}, "next_products.days: expected at least 1, or null; got 0."),
    ({"next_products.most": 0}, "most: expected a whole number, at least 1; got 0."),
    ({"up_sell.most_price_ratio": 1.0}, "most_price_ratio: expected more than 1"),
    ({"baskets.path": "b.csv"}, "a file of baskets is evaluated; add action=evaluate"),
]

EVALUATE = [
    (
        {"baskets.path": "b.csv", "as_of": "2024-01-01"},
        "expected baskets.path, or a lake; got baskets.path and lake, as_of.",
    ),
    ({"customers": "ids.csv"}, "customers: everybody takes part in an evaluation."),
    ({"evaluate.recommenders": ["als"]}, "expected one of cartera, popular"),
    ({"recommend.only": "new"}, "an evaluation has a table of its own for products that are new"),
    ({"evaluate.recommenders": "popular"}, "expected a list of one or more of cartera"),
    ({"evaluate.recommenders": []}, "expected a list of one or more of cartera"),
    ({"evaluate.recommenders": ["popular", "popular"]}, "expected each once"),
    ({"evaluate.recommenders": ["segment_popular"]}, "segment_popular needs segments"),
    ({"evaluate.split": "weeks"}, "evaluate.split: expected one of last_basket, date"),
    ({"evaluate.split": "date"}, "evaluate.date: expected with evaluate.split=date, and only there."),
    ({"evaluate.date": "2024-01-01"}, "evaluate.date: expected with evaluate.split=date, and only there."),
    ({"evaluate.split": "date", "evaluate.date": "soon"}, "expected a date such as 2017-11-01; got 'soon'."),
    ({"evaluate.last": 0}, "evaluate.last, evaluate.least: expected at least 1 and 0; got 0 and None."),
    ({"evaluate.popular_by": "money"}, "evaluate.popular_by: expected one of customers, rows"),
    ({"evaluate.tifu_knn.alpha": 7.0}, "alpha: expected a weight from 0 to 1"),
]
CASES = [*BATCH, *(({"action": "evaluate", **settings}, message) for settings, message in EVALUATE)]


@pytest.mark.parametrize(("settings", "message"), CASES, ids=[str(settings) for settings, _ in CASES])
def test_refused_before_the_data_are_read(settings: dict[str, Any], message: str) -> None:
    c = RecommendConfig(data={}, out="out", lake="lake")
    for key, value in settings.items():
        *groups, name = key.split(".")
        group = c
        for each in groups:
            group = getattr(group, each)
        assert hasattr(group, name)
        setattr(group, name, value)
    with pytest.raises(CarteraError) as refused:
        check_settings(c)
    assert message in str(refused.value)


READ = [
    ([], "or a standing lake (lake=DIR)"),
    (["lake=nowhere"], "lake=nowhere: no lake there"),
    (["lake=LAKE", "level=colour"], "level: expected one of product_id, name, category; got 'colour'."),
    (["lake=LAKE", "basket=week"], "basket: expected one of order, day; got 'week'."),
    (["lake=LAKE", "as_of=1999-01-01"], "no purchase of a product before that date"),
    (["lake=LAKE", "window_days=0"], "window_days: expected a whole number of days"),
    (["lake=LAKE", "assignments=strangers.csv"], "none of its customers bought anything here"),
    (["lake=LAKE", "assignments=twice.csv"], "assignments=twice.csv: expected each customer once; 2 rows name one"),
    (["lake=LAKE", "assignments=ids.csv"], "no column 'segment_id'"),
    (["lake=LAKE", "bundle=nowhere"], "nowhere"),
    (["lake=LAKE", "assignments=LAKE"], "This is a lake; it holds no segments."),
    (
        ["lake=LAKE", "recommend.exclude=[BAGS]"],
        "recommend.exclude: 'BAGS' is no product that anybody bought, and no category",
    ),
    (["lake=LAKE", "recommend.exclude=[BREDA]"], "(did you mean 'BREAD'?). There are"),
    (["lake=LAKE", "customers=nowhere.csv"], "customers=nowhere.csv: no such file."),
    (["lake=LAKE", "customers=strangers.csv"], "customers: none of the 2 customers bought anything before"),
    (["lake=LAKE", "recommend.category=colour"], "recommend.category: expected one of name, category; got 'colour'."),
    (["lake=LAKE", "recommend.name=colour"], "recommend.name: expected one of name, category; got 'colour'."),
    (["lake=LAKE", "assignments=profile.csv"], "Take the run's folder or its assignments.parquet."),
    (["lake=LAKE", "recommend.level=category"], "no setting 'recommend.level' (did you mean 'level'?)."),
    (["lake=LAKE", "+recommend.level=category"], "recommend.level: no such setting (did you mean 'level'?)."),
    (["lake=LAKE", "level=category", "recommend.category=name"], "with level=category a product is a category already"),
    (["lake=LAKE", "recommend.repurchase={BRAED: true}"], "recommend.repurchase: no product has category='BRAED'."),
    (["lake=LAKE", "cross_sel.least_customers=3"], "did you mean 'cross_sell.least_customers'?"),
    (["action=evaluate", "baskets.path=nowhere.csv"], "nowhere.csv: no such file."),
    (["action=evaluate", "baskets.path=ids.csv"], "Name the columns with baskets.customer="),
    (["action=evaluate", "baskets.path=few.csv", "bundle=b"], "a file of baskets has assignments=FILE"),
    (["action=evaluate", "baskets.path=few.csv", "baskets.least_baskets=9"], "no row is left after the filters"),
    (["action=evaluate", "baskets.path=few.csv"], "No customer has 2 baskets before one to foresee."),
]


@pytest.mark.parametrize(("arguments", "message"), READ, ids=[" ".join(arguments) for arguments, _ in READ])
def test_refused(cartera: Cartera, lake: str, tmp_path: Path, arguments: list[str], message: str) -> None:
    pl.DataFrame({"customer_id": [1, 2]}).write_csv("ids.csv")
    pl.DataFrame({"segment_id": ["x", "y"], "customers": [1, 2]}).write_csv("profile.csv")
    pl.DataFrame({"customer_id": [9001, 9002], "segment_id": ["x", "y"]}).write_csv("strangers.csv")
    pl.DataFrame({"customer_id": [1, 1, 1, 2], "segment_id": ["x", "x", "y", "x"]}).write_csv("twice.csv")
    pl.DataFrame({"customer_id": [1], "product_id": ["a"], "timestamp": [1]}).write_csv("few.csv")
    given = [argument.replace("LAKE", lake) for argument in arguments]
    ran = cartera("recommend", *given, "tracking=none", "out=out")
    assert ran.code == 2, ran.err
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "out").exists()


def test_help_explains_every_setting(cartera: Cartera) -> None:
    ran = cartera("recommend", "--help")
    assert ran.code == 0
    for name in ("once_below", "least_customers", "recommenders", "without_hyper_frequent", "assignments"):
        assert name in ran.out


def test_commands_of_the_guide_compose() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "recommend.md").read_text("utf-8")
    commands = [line for block in guide.split("```")[1::2] for line in block.replace("\\\n", " ").splitlines()]
    commands = [shlex.split(line) for line in commands if line.startswith("cartera recommend")]
    assert len(commands) == 5
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        for _, _, *arguments in commands:
            settings = [argument for argument in arguments if argument != "-m"]
            # Of the values of a sweep each is one job.
            first = [each.split(",")[0] if "-m" in arguments and "[" not in each else each for each in settings]
            assert typed(compose("recommend", first), RecommendConfig).action in ("batch", "evaluate")
