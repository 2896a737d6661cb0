from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from engine.errors import SettingError
from engine.recommend import tifu_knn
from engine.recommend.metrics import measure
from engine.recommend.tifu_knn import TifuKNN, tuned
from tests.recommend.test_metrics import history_of, made_up
from tests.reference import recommend_twin as twin


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("grouping", "itself"), [("even", False), ("published", True)])
def test_scores_and_lists_are_those_of_the_twin(seed: int, metric: str, grouping: str, itself: bool) -> None:
    rng = np.random.default_rng(seed)
    customers = made_up(seed, customers=30, most=17)
    history = history_of(customers, m=14)
    # Rates that are no round numbers: equal scores are then equal products, not an accident of rounding.
    settings = {
        "group_num": int(rng.integers(1, 6)),
        "k": int(rng.integers(1, 12)),
        "alpha": float(rng.uniform(0.1, 0.9)),
    }
    within, between = rng.uniform(0.5, 1, 2).tolist()
    found, scores = (
        TifuKNN(**settings, within_decay=within, group_decay=between, metric=metric, grouping=grouping, itself=itself)
        .fit(history)
        .scored(history, 14)
    )
    for row in range(len(customers)):
        expected = twin.tifu_scores(
            row, customers, within=within, between=between, metric=metric, grouping=grouping, itself=itself, **settings
        )
        there = [p for p in found[row].tolist() if p >= 0]
        assert dict(zip(there, scores[row].tolist(), strict=False)) == pytest.approx(expected, abs=1e-9)
        assert there == sorted(expected, key=lambda p: (-round(expected[p], 9), p))


@pytest.mark.parametrize("n", range(0, 40))
@pytest.mark.parametrize("grouping", ["even", "published"])
def test_weights_of_baskets_are_those_of_the_groups(n: int, grouping: str) -> None:
    # One product for each basket: its place in the vector is the basket's weight.
    own = [[number] for number in range(n)]
    history = history_of([own], m=40)
    for group_num in (1, 3, 7):
        settings = TifuKNN(group_num=group_num, within_decay=0.83, group_decay=0.71, grouping=grouping)
        vector = settings.vectors(history)
        found = dict(zip(vector.indices.tolist(), vector.data.tolist(), strict=True))
        assert found == pytest.approx(twin.tifu_vector(own, group_num, 0.83, 0.71, grouping))
        if grouping == "even":
            # Each group weighs alike before it fades, so without fading a basket in each group sums to one.
            plain = TifuKNN(group_num=group_num, within_decay=1, group_decay=1).vectors(history)
            assert plain.sum() == pytest.approx(min(n, 1))


def test_groups_worked_by_hand() -> None:
    # Seven baskets in three groups: the later groups are the larger, nothing is lost.
    assert twin.groups_of(7, 3, "even") == [[0, 1], [2, 3], [4, 5, 6]]
    # The published grouping takes 11 % 3 = 2 for how many are larger, then ends where it ends.
    assert twin.groups_of(11, 3, "published") == [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9, 10]]
    # 19 baskets in 10 groups of one: the last nine are lost.
    assert [group[0] for group in twin.groups_of(19, 10, "published")] == list(range(10))
    history = history_of([[[0], [1], [0], [0], [1], [1], [0]]], m=2)
    vector = TifuKNN(group_num=3, within_decay=0.5, group_decay=0.5).vectors(history).toarray()[0]
    first = [0.5 / 2 / 4 / 3, 1 / 2 / 4 / 3]
    second = [1.5 / 2 / 2 / 3, 0.0]
    third = [1 / 3 / 3, 0.75 / 3 / 3]
    assert vector == pytest.approx([sum(parts) for parts in zip(first, second, third, strict=True)])


def test_a_stranger_and_one_without_a_history() -> None:
    customers = made_up(5, customers=20)
    known = TifuKNN(k=3, alpha=0.3).fit(history_of(customers, m=14))
    history = history_of([*customers, [[0, 3], [3]], []], m=14)
    found, scores = known.scored(history.take(np.array([20, 21])), 14)
    expected = twin.tifu_scores(
        [[0, 3], [3]], customers, group_num=7, within=0.9, between=0.7, k=3, alpha=0.3, metric="cosine",
        grouping="even", itself=False,
    )  # fmt: skip
    assert dict(zip(found[0].tolist(), scores[0].tolist(), strict=False)) == pytest.approx({**expected, -1: 0})
    assert (found[1] == -1).all()


def test_blocks_of_customers_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    history = history_of(made_up(7, customers=50), m=14)
    whole = TifuKNN(k=4).fit(history).scored(history, 9)
    monkeypatch.setattr(tifu_knn, "_AT_ONCE", 7)
    parts = TifuKNN(k=4).fit(history).scored(history, 9)
    assert all(np.array_equal(*each) for each in zip(whole, parts, strict=True))


def test_a_weight_of_one_leaves_the_own_products_only() -> None:
    customers = made_up(6)
    history = history_of(customers, m=14)
    found = TifuKNN(alpha=1.0).fit(history).recommend(history, 14)
    for own, row in zip(customers, found.tolist(), strict=True):
        assert {p for p in row if p >= 0} == {p for basket in own for p in basket}


@pytest.mark.parametrize("seed", range(2))
def test_tuned_is_the_best_of_its_grid(seed: int) -> None:
    history, targets = history_of(made_up(seed, customers=40), m=14).without_last(1, least=2)
    grid = {"k": (2, 8), "alpha": (0.2, 0.9), "group_decay": (0.5, 1.0)}
    chosen = tuned(history, targets, grid=grid, at=3, by="recall", base=TifuKNN(group_num=4))

    def recall(settings: TifuKNN) -> float:
        lists = settings.fit(history).recommend(history.take(targets.customers), 3)
        return float(measure(lists, targets, history)["recall"].mean())

    tried = [TifuKNN(group_num=4, **dict(zip(grid, values, strict=True))) for values in product(*grid.values())]
    best = max(map(recall, tried))
    with pytest.raises(SettingError, match="Call fit"):
        chosen.recommend(history, 1)
    assert recall(chosen) == best
    assert chosen in tried
    # More neighbours than customers change nothing; the first of equals stays.
    assert tuned(history, targets, grid={"k": (60, 50, 70)}).k == 60
    with pytest.raises(SettingError, match="did you mean 'alpha'"):
        tuned(history, targets, grid={"alpa": (1,)})
    with pytest.raises(SettingError, match="by: expected one of precision"):
        tuned(history, targets, by="recal")


@pytest.mark.parametrize(
    "wrong",
    [
        {"group_num": 0},
        {"k": 0},
        {"within_decay": 0.0},
        {"group_decay": 1.1},
        {"alpha": -0.1},
        {"metric": "cosin"},
        {"grouping": "odd"},
    ],
)
def test_settings_that_cannot_be(wrong: dict) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(wrong))}: expected"):
        TifuKNN(**wrong)
