from __future__ import annotations

import numpy as np
import pytest

from engine.errors import SettingError
from engine.recommend import affinity, knowledge
from engine.recommend.knowledge import Knowledge
from engine.recommend.segment_numbers import checked_segments
from tests.recommend.test_synthetic import odd_shop
from tests.reference import next_basket_twin as twin


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("most", [6, 400])
def test_segments_are_those_of_the_twin(seed: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, "MOST_PRODUCTS", most)
    monkeypatch.setattr(knowledge, "FAVOURITES", 7)
    customers, m = odd_shop(seed)
    # Segment 2 is empty, some have none.
    segments = np.random.default_rng(seed).choice([-1, 0, 1, 3], len(customers)).astype(np.int32)
    segments[:4] = [-1, 0, 1, 3]
    history = twin.baskets_of(customers, m)
    found = Knowledge.of(history, segments, np.arange(1, 5), once_below=0.02)
    buyers = twin.buyers_of(customers, m, most)
    assert found.buyers.tolist() == buyers
    lift, counted = twin.lifts(customers, segments.tolist(), m, most)
    assert found.groups.lift[:-1] == pytest.approx(np.array(lift), rel=1e-5, abs=1e-6)
    assert found.groups.lift[2] == pytest.approx(np.zeros(m), abs=1e-12)
    for segment, bought in enumerate(counted):
        assert found.groups.popular[segment].tolist() == twin.favourites(bought, buyers, 7)
    # Who has no segment buys as all do.
    assert found.groups.lift[-1].tolist() == [0] * m
    assert found.groups.popular[-1].tolist() == sorted(range(m), key=lambda i: (-buyers[i], i))[:7]
    assert found.references.to_list() == [1, 2, 3, 4]


def test_lifts_worked_by_hand() -> None:
    # Both of segment 0 buy 0, none of segment 1 does: half of all.
    customers = [[(1, [0])], [(1, [0, 1])], [(1, [1])], [(2, [1])]]
    found = Knowledge.of(twin.baskets_of(customers, 3), np.array([0, 0, 1, 1]), np.arange(4), once_below=0.02)
    drawn = [(2 + 2.5) / 7 / 0.5, (1 + 3.75) / 7 / 0.75, 1, (0 + 2.5) / 7 / 0.5, (2 + 3.75) / 7 / 0.75, 1]
    assert np.exp(found.groups.lift[:2]).ravel() == pytest.approx(drawn, rel=1e-6)


def test_without_segments_there_is_one_group() -> None:
    customers, m = odd_shop(2)
    found = Knowledge.of(twin.baskets_of(customers, m), None, np.arange(3), once_below=0.02)
    assert found.groups.lift.shape == (1, m)
    assert found.groups.popular.shape == (1, 30)


def test_segment_numbers() -> None:
    assert checked_segments(None, 2).tolist() == [-1, -1]
    assert checked_segments(np.array([3, -1], np.int8), 2).tolist() == [3, -1]
    assert checked_segments(np.array([], np.int32), 0).tolist() == []
    for wrong in (np.zeros(3), np.zeros(2, np.int32), np.zeros((3, 1), np.int32)):
        with pytest.raises(SettingError, match="whole number for each of 3 customers"):
            checked_segments(wrong, 3)
    with pytest.raises(SettingError, match="got -7 to 3"):
        checked_segments(np.array([3, -7]), 2)
