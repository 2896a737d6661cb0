from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from engine.errors import SettingError
from engine.recommend import tifu_knn
from engine.recommend.metrics import measure
from engine.recommend.sparse_rows import best_of_blends
from engine.recommend.tifu_knn import TifuKNN, seconds_to_tune, tuned
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


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_one_walk_gives_the_lists_of_each_setting_alone(seed: int, metric: str) -> None:
    rng = np.random.default_rng(seed)
    history = history_of(made_up(seed, customers=50, most=9), m=14)
    asked = history.take(np.sort(rng.choice(50, 37, replace=False)))
    # Not in order, more than there are, and one twice; weights that leave one side out.
    grid = {"group_num": (2, 5), "k": (7, 3, 99, 7), "alpha": (0.0, float(rng.uniform(0, 1)), 1.0)}
    tried = list(tifu_knn._tried(TifuKNN(metric=metric), history, asked, grid, 4))
    assert [settings for settings, _ in tried] == [
        TifuKNN(group_num=groups, k=k, alpha=alpha, metric=metric) for groups, k, alpha in product(*grid.values())
    ]
    for settings, lists in tried:
        assert lists.tolist() == settings.fit(history).recommend(asked, 4).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_blends_are_those_of_dense_arithmetic(seed: int) -> None:
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(seed)
    own, others = (rng.random((n, 40)) * (rng.random((n, 40)) < 0.2) for n in (70, 30))
    near = np.array([rng.permutation(30)[:12] for _ in own], np.int32)
    for row, length in enumerate(rng.integers(0, 13, len(near))):
        near[row, length:] = -1
    numbers, alphas = [5, 12, 1], [0.3, 0.7]
    columns, values = best_of_blends(
        csr_matrix(own), csr_matrix(others), near, 6, numbers=numbers, alphas=alphas, threads=1
    )
    for t, a, row in product(range(3), range(2), range(70)):
        first = [other for other in near[row, : numbers[t]] if other >= 0]
        mean = others[first].mean(axis=0) if first else np.zeros(40)
        scores = alphas[a] * own[row] + (1 - alphas[a]) * mean
        best = [j for j in np.lexsort((np.arange(40), -scores))[:6] if scores[j] > 0]
        assert [j for j in columns[t, a, row] if j >= 0] == best
        assert values[t, a, row, : len(best)] == pytest.approx(scores[best])
    many = best_of_blends(csr_matrix(own), csr_matrix(others), near, 6, numbers=numbers, alphas=alphas)
    assert np.array_equal(many[0], columns)
    assert np.array_equal(many[1], values)


def test_tuning_takes_longer_where_there_is_more_of_everything() -> None:
    history = history_of(made_up(0, customers=50), m=14)
    few, many = (seconds_to_tune(history, np.arange(n)) for n in (10, 40))
    assert 0 < few < many
    assert seconds_to_tune(history, np.arange(10), grid={"alpha": (0.5,)}) < few
    assert seconds_to_tune(history, np.arange(10), threads=2) == pytest.approx(few / 2)
    assert seconds_to_tune(history_of([[], []], m=3), np.arange(0)) == 0


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
