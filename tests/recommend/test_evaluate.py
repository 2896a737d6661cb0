from __future__ import annotations

import json
from datetime import date

import numpy as np
import polars as pl
import pytest

from engine.errors import DataError, SettingError
from engine.recommend.baselines import ItemKNN, Personal, PersonalThenPopular, Popular
from engine.recommend.baskets import Baskets
from engine.recommend.evaluate import evaluate, from_date, last_basket
from engine.recommend.metrics import MEASURES, measure
from tests.recommend.test_metrics import history_of, made_up


def named(history: Baskets) -> list[list[list[str]]]:
    names = history.products.to_list()
    return [[sorted(names[product] for product in basket) for basket in customer] for customer in history.each()]


class Oracle:
    """Knows the answers; notes what it is asked."""

    name = "oracle"

    def __init__(self, answers: list[set[str]]) -> None:
        self.answers = answers

    def fit(self, history, segments=None):
        self.seen = named(history)
        self.code = {product: code for code, product in enumerate(history.products.to_list())}
        self.given = segments
        return self

    def recommend(self, history, k, *, day=None, segments=None):
        self.asked, self.day, self.segments = history.customer_ids.to_list(), day, segments
        rows = [sorted(self.code[product] for product in answer)[:k] for answer in self.answers]
        return np.array([row + [-1] * (k - len(row)) for row in rows], np.int32)


def test_last_basket_hides_nothing_else() -> None:
    customers = made_up(0)
    history = history_of(customers, m=14)
    past, targets = last_basket(history, least=2)
    past.check()
    assert targets.customers.tolist() == [c for c, own in enumerate(customers) if len(own) >= 3]
    everything = named(history)
    assert named(past) == [own[:-1] for own in everything]
    names = past.products.to_list()
    for row, customer in enumerate(targets.customers):
        codes = targets.item[targets.start[row] : targets.start[row + 1]]
        assert (np.diff(codes) > 0).all()
        assert sorted(names[code] for code in codes) == everything[customer][-1]


@pytest.mark.parametrize("least", [1, 4])
def test_a_date_parts_past_and_future(least: int) -> None:
    # Basket number d of a customer is of day d.
    customers = made_up(1)
    history = history_of(customers, m=14)
    past, targets = from_date(history, date(1970, 1, 5), least=least)
    past.check()
    everything = named(history)
    assert named(past) == [own[:4] for own in everything]
    assert targets.customers.tolist() == [
        c for c, own in enumerate(customers) if len(own) > 4 and len(own[:4]) >= least
    ]
    assert (targets.day == 4).all()
    names = past.products.to_list()
    for row, customer in enumerate(targets.customers):
        codes = targets.item[targets.start[row] : targets.start[row + 1]]
        assert sorted(names[code] for code in codes) == everything[customer][4]


def test_who_is_asked_and_what_is_told() -> None:
    customers = [[[0], [1], [2]], [[1]], [[0, 1], [2], [1]]]
    history = history_of(customers, m=3)
    segments = np.array([0, 1, -1], np.int32)
    oracle = Oracle([{"p002"}, {"p001"}])
    found = evaluate([oracle], history, k=2, segments=segments)
    assert oracle.seen == [[["p000"], ["p001"]], [], [["p000", "p001"], ["p002"]]]
    assert oracle.asked == [0, 2]
    assert oracle.day.tolist() == [2, 2]
    assert oracle.segments.tolist() == [0, -1]
    assert oracle.given.tolist() == [0, 1, -1]
    assert found.measures["oracle"]["recall"].mean == 1
    assert found.measures["oracle"]["ndcg"].mean == 1
    assert found.measures["oracle"]["precision"].mean == 1 / 2
    assert list(found.segments) == [0]
    assert set(found.measures) == {"popular", "personal_then_popular", "segment_popular", "oracle"}
    assert found.protocol == {
        "split": "last_basket",
        "last": 1,
        "least": 2,
        "date": None,
        "customers": 3,
        "products": 3,
        "baskets": 4,
        "targets": 2,
        "mean_target_products": 1.0,
        "share_of_repeats": 0.5,
    }
    evaluate([oracle], history, k=2, as_of_targets=False)
    assert oracle.day is None


def test_figures_are_those_of_the_measures() -> None:
    history = history_of(made_up(2, customers=60), m=14)
    found = evaluate([ItemKNN(), Personal()], history, k=4, segments=np.arange(60, dtype=np.int32) % 3)
    past, targets = last_basket(history)
    lists = ItemKNN().fit(past).recommend(past.take(targets.customers), 4)
    own = measure(lists, targets, past)
    for name in MEASURES:
        assert found.measures["item_knn"][name].mean == pytest.approx(np.nanmean(own[name]))
    inside = targets.customers % 3 == 1
    assert found.segments[1]["item_knn"]["recall"].mean == pytest.approx(own["recall"][inside].mean())
    best = max(("popular", "personal_then_popular", "segment_popular"), key=lambda n: found.measures[n]["ndcg"].mean)
    assert found.baseline == best
    apart = found.differences["item_knn"]["recall"]
    assert apart.mean == pytest.approx(found.measures["item_knn"]["recall"].mean - found.measures[best]["recall"].mean)
    assert best not in found.differences
    assert found.compare("item_knn", "personal")["hit"] == pytest.approx(
        [-1 * x for x in (lambda e: (e.mean, e.high, e.low))(found.compare("personal", "item_knn")["hit"])]
        + [len(targets.customers)]
    )
    with pytest.raises(SettingError, match="did you mean 'personal'"):
        found.compare("personel", "popular")


def test_the_table_and_the_dictionary_say_the_same() -> None:
    found = evaluate([Personal()], history_of(made_up(3), m=14), k=3, segments=np.zeros(30, np.int32))
    table = found.table
    assert table.height == len(MEASURES) * 4 * 2
    row = table.filter(
        (pl.col("recommender") == "personal") & pl.col("segment").is_null() & (pl.col("measure") == "recall")
    ).row(0, named=True)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["measures"]["personal"]["recall"] == {key: row[key] for key in ("mean", "low", "high", "customers")}
    assert told["differences"]["personal"]["recall"]["mean"] == row["difference"]
    assert told["segments"]["0"]["personal"] == told["measures"]["personal"]
    assert table.filter(pl.col("recommender") == found.baseline)["difference"].null_count() == len(MEASURES) * 2


def test_one_that_is_named_as_a_baseline_stands_in_for_it() -> None:
    history = history_of(made_up(4), m=14)
    ours = PersonalThenPopular("recency")
    found = evaluate([ours, Popular("rows")], history)
    assert list(found.measures) == ["personal_then_popular", "popular"]
    past, targets = last_basket(history)
    own = measure(ours.fit(past).recommend(past.take(targets.customers), 10), targets, past)
    assert found.measures["personal_then_popular"]["ndcg"].mean == pytest.approx(own["ndcg"].mean())


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"split": "random"}, SettingError, "split: expected one of"),
        ({"split": "date"}, SettingError, "date: expected"),
        ({"date": date(1970, 1, 2)}, SettingError, "only there"),
        ({"least": 50}, DataError, "No customer has 50 baskets"),
        ({"segments": np.zeros(3, np.int32)}, DataError, "expected 30, one for each"),
        ({"recommenders": [Personal(), Personal("recency")]}, SettingError, "different names"),
    ],
)
def test_what_cannot_be_evaluated(settings: dict, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        evaluate(**{"recommenders": [Personal()], "history": history_of(made_up(0), m=14), **settings})


@pytest.mark.parametrize("seed", range(3))
def test_new_products_are_judged_apart(seed: int) -> None:
    customers = made_up(seed, customers=60, most=5)
    history = history_of(customers, m=14)
    groups = np.array([c % 2 for c in range(len(customers))], np.int32)
    found = evaluate([Personal()], history, k=3, segments=groups)
    assert found.new is not None
    assert set(found.new.measures) == {"popular", "segment_popular"}
    past, targets = last_basket(history)
    before = list(past.each())
    bought = [set(targets.item[a:b]) for a, b in zip(targets.start[:-1], targets.start[1:], strict=True)]
    new = {
        int(c): {int(p) for p in basket if not any(p in old for old in before[c])}
        for c, basket in zip(targets.customers, bought, strict=True)
    }
    wanted = {c: basket for c, basket in new.items() if basket}
    names = history.customer_ids.to_list()
    assert found.new.customer_ids.to_list() == [names[c] for c in wanted]
    lists = Popular().fit(past).recommend(past, 3, only="new")
    recall = [len(set(lists[c].tolist()) & basket) / len(basket) for c, basket in wanted.items()]
    assert found.new.values["popular"]["recall"] == pytest.approx(recall)
    assert found.new.protocol["targets"] == len(wanted)
    assert found.new.protocol["share_of_repeats"] == 0
    assert found.to_dict()["new"]["measures"]["popular"]["recall"]["mean"] == pytest.approx(np.mean(recall))
    json.dumps(found.to_dict(), allow_nan=False)


def test_nobody_bought_anything_new() -> None:
    found = evaluate([Personal()], history_of([[[0], [0], [0, 1], [1]]] * 3, m=2), k=1)
    assert found.new is None
    assert "new" not in found.to_dict()


def test_each_recommender_is_told_of() -> None:
    told: list[tuple[str, int, float, float]] = []
    evaluate([Personal()], history_of(made_up(1), m=14), progress=lambda *given: told.append(given))
    assert [name for name, *_ in told] == ["popular", "personal_then_popular", "personal"]
    assert all(customers > 0 and learning >= 0 and answering >= 0 for _, customers, learning, answering in told)


def test_one_basket_before_is_one_basket() -> None:
    with pytest.raises(DataError, match="No customer has 1 basket before one to foresee"):
        evaluate([Personal()], history_of([[[0]], []], m=1), least=1)


@pytest.mark.parametrize("odd", [{"k": 1.5}, {"k": "3"}, {"last": True}, {"least": None}])
def test_numbers_that_are_none(odd: dict) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(odd))}: expected a whole number; got"):
        evaluate([Personal()], history_of(made_up(1), m=14), **odd)
