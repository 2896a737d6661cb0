from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from engine.errors import DataError, SettingError
from engine.recommend.baselines import (
    ItemKNN,
    Personal,
    PersonalThenPopular,
    Popular,
    Recommender,
    SegmentPopular,
)
from engine.recommend.baskets import Baskets
from engine.recommend.most_bought import fill
from engine.recommend.sparse_rows import best_of_rows
from tests.recommend.test_metrics import history_of, made_up
from tests.reference import recommend_twin as twin


def padded(ranked: list[list[int]], k: int) -> list[list[int]]:
    return [(each + [-1] * k)[:k] for each in ranked]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by", ["customers", "rows"])
def test_popular_is_the_twins(seed: int, by: str) -> None:
    customers = made_up(seed)
    history = history_of(customers, m=14)
    found = Popular(by).fit(history).recommend(history, 10)
    assert found.tolist() == padded([twin.popular(customers, by)] * len(customers), 10)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", ["recency", "popularity"])
@pytest.mark.parametrize("filled", [False, True])
def test_personal_is_the_twins(seed: int, ties: str, filled: bool) -> None:
    # Fitted on some, asked for others: their own rows come with the question.
    customers = made_up(seed, customers=40)
    known, asked = customers[:25], customers[15:]
    found = Personal(ties, filled=filled).fit(history_of(known, m=14)).recommend(history_of(asked, m=14), 8)
    assert found.tolist() == padded([twin.personal(own, known, ties, filled) for own in asked], 8)
    assert found.dtype == np.int32


@pytest.mark.parametrize("seed", range(3))
def test_popular_of_a_segment_is_the_twins(seed: int) -> None:
    customers = made_up(seed)
    history = history_of(customers, m=14)
    segments = np.random.default_rng(seed).integers(-1, 3, len(customers)).astype(np.int32)
    found = SegmentPopular().fit(history, segments).recommend(history, 9, segments=segments)
    everybody = twin.popular(customers, "customers")
    for row, segment in enumerate(segments):
        inside = [own for own, other in zip(customers, segments, strict=True) if other == segment and segment >= 0]
        first = twin.popular(inside, "customers")
        assert found[row].tolist() == padded([first + [p for p in everybody if p not in first]], 9)[0]
    # A segment that was not there at fit has no favourites.
    unknown = SegmentPopular().fit(history, segments).recommend(history.take(np.array([0])), 3, segments=np.array([7]))
    assert unknown.tolist() == [everybody[:3]]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("neighbours", "weights", "itself"), [(3, "once", False), (50, "baskets", True)])
def test_item_knn_is_the_twins(seed: int, neighbours: int, weights: str, itself: bool) -> None:
    customers = made_up(seed, customers=25, most=3)
    history = history_of(customers, m=14)
    asked = [*customers[:6], [[0, 13]], []]
    found = ItemKNN(neighbours, weights, itself).fit(history).recommend(history_of(asked, m=14), 6)
    assert found.tolist() == padded([twin.item_knn(own, customers, neighbours, weights, itself) for own in asked], 6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("every", [False, True])
def test_best_of_rows_is_what_a_sorted_product_says(seed: int, every: bool) -> None:
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(seed)
    # Small whole numbers: sums are exact, and many are equal.
    one, other = (rng.integers(0, 3, shape) * (rng.random(shape) < 0.4) for shape in ((70, 9), (9, 40)))
    offset = rng.integers(-4, 2, 40).astype(float)
    without = rng.integers(-1, 40, 70)
    full = (one @ other).astype(float) + (offset if every else 0)
    columns, values = best_of_rows(
        csr_matrix(one.astype(float)),
        csr_matrix(other.astype(float)),
        7,
        offset=offset if every else None,
        without=without,
    )
    for row in range(70):
        order = sorted(range(40), key=lambda j, row=row: (-full[row, j], j))
        expected = [j for j in order if j != without[row] and (every or full[row, j] > 0)][:7]
        found = [j for j in columns[row].tolist() if j >= 0]
        assert found == expected
        assert values[row, : len(found)].tolist() == full[row, found].tolist()
        assert (values[row, len(found) :] == 0).all()


@pytest.mark.parametrize("recommender", [Popular(), Popular("rows"), Personal(), PersonalThenPopular("recency")])
def test_numbers_of_products_do_not_tell_the_future(recommender: Recommender) -> None:
    # Before the last baskets all are bought alike; "b" is number 0 because of what comes.
    rows = pl.DataFrame(
        {
            "customer_id": [1, 1, 1, 1, 2, 2, 2],
            "product_id": ["c", "b", "a", "b", "c", "a", "b"],
            "timestamp": [date(2024, 1, day) for day in (1, 1, 1, 9, 1, 1, 9)],
        }
    )
    history = Baskets.from_frame(rows, basket="day", products=pl.Series(["b", "c", "a"]))
    past, _ = history.without_last(1)
    one = past.take(np.array([0]))
    assert past.products[recommender.fit(one).recommend(one, 3)[0]].to_list() == ["a", "b", "c"]


def test_products_that_nobody_had_bought_come_last_by_id() -> None:
    history = replace(history_of([[[3]], [[0, 1, 3]]], m=4), products=pl.Series(["z", "y", "x", "w"]))
    found = Personal().fit(history.take(np.array([0]))).recommend(history, 4)
    assert found[1].tolist() == [3, 1, 0, -1]


def test_threads_and_blocks_change_nothing() -> None:
    customers = made_up(3, customers=150)
    history = history_of(customers, m=14)
    answers = [ItemKNN(threads=threads).fit(history).recommend(history, 5) for threads in (1, 2)]
    assert np.array_equal(*answers)
    alone = [ItemKNN().fit(history).recommend(history.take(np.array([row])), 5)[0].tolist() for row in (0, 77, 149)]
    assert alone == answers[0][[0, 77, 149]].tolist()


def test_fill_keeps_what_is_there() -> None:
    lists = np.array([[5, 0, -1, -1], [-1, -1, -1, -1], [3, 2, 1, 0]], np.int32)
    before = lists.copy()
    assert fill(lists, np.array([0, 5, 2], np.int32)).tolist() == [[5, 0, 2, -1], [0, 5, 2, -1], [3, 2, 1, 0]]
    assert np.array_equal(lists, before)


@pytest.mark.parametrize("recommender", [Popular(), Personal(), PersonalThenPopular(), ItemKNN()])
def test_what_all_have_in_common(recommender: Recommender) -> None:
    customers = [[[0, 1]], [], [[1], [1, 2]]]
    history = history_of(customers, m=5)
    with pytest.raises(SettingError, match="Call fit"):
        recommender.recommend(history, 3)
    recommender.fit(history)
    found = recommender.recommend(history, 20)
    assert found.shape == (3, 20)
    for row in found.tolist():
        there = [product for product in row if product >= 0]
        # More asked for than there are: each once, then none; and never one that nobody bought.
        assert len(set(there)) == len(there)
        assert set(there) <= {0, 1, 2}
        assert row[len(there) :] == [-1] * (20 - len(there))
    with pytest.raises(SettingError, match="k: expected"):
        recommender.recommend(history, 0)
    with pytest.raises(DataError, match="fitted on 5"):
        recommender.recommend(history_of(customers, m=4), 3)


def test_settings_that_cannot_be() -> None:
    history = history_of([[[0]]], m=1)
    for wrong in (
        lambda: Popular("orders"),
        lambda: Personal("luck"),
        lambda: ItemKNN(0),
        lambda: ItemKNN(weights="x"),
    ):
        with pytest.raises(SettingError, match="expected"):
            wrong()
    with pytest.raises(SettingError, match="expected segments"):
        SegmentPopular().fit(history)
    with pytest.raises(DataError, match="one for each customer"):
        SegmentPopular().fit(history, np.zeros(2, np.int32))


@pytest.mark.parametrize("seed", range(4))
def test_only_what_is_new_to_each(seed: int) -> None:
    customers = made_up(seed, customers=30)
    history = history_of(customers, m=14)
    groups = np.array([c % 3 - 1 for c in range(len(customers))], np.int32)
    order = twin.popular(customers, "customers")
    plain = Popular().fit(history).recommend(history, 5, only="new")
    by_segment = SegmentPopular().fit(history, groups).recommend(history, 5, segments=groups, only="new")
    for c, own in enumerate(customers):
        has = {product for basket in own for product in basket}
        assert plain[c].tolist() == padded([[p for p in order if p not in has]], 5)[0]
        first = (
            []
            if groups[c] < 0
            else twin.popular([customers[i] for i in np.flatnonzero(groups == groups[c])], "customers")
        )
        wanted = [p for p in [*first, *(p for p in order if p not in first)] if p not in has]
        assert by_segment[c].tolist() == padded([wanted], 5)[0]
    with pytest.raises(SettingError, match="only: expected one of new; got 'bought'"):
        Popular().fit(history).recommend(history, 5, only="bought")
