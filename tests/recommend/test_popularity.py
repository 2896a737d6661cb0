from __future__ import annotations

import numpy as np
import pytest

from engine.recommend import popularity
from engine.recommend.popularity import Popularity
from tests.recommend.test_synthetic import odd_shop
from tests.reference import next_basket_twin as twin

DAYS = np.array([-400, 0, 1, 37, 100, 101, 250, 366, 5_000])


@pytest.mark.parametrize("seed", range(12))
def test_shares_on_a_day_are_those_of_the_twin(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popularity, "IN_VOGUE", 5)
    customers, m = odd_shop(seed)
    found = Popularity(twin.baskets_of(customers, m)).market(DAYS)
    for line, day in enumerate(DAYS.tolist()):
        fresh, totals = twin.shares_on(customers, m, day, 5.0)
        assert np.exp(found.fresh[line]) - 1e-5 == pytest.approx(fresh, rel=1e-5, abs=1e-9)
        recent, _ = twin.shares_on(customers, m, day, 21.0)
        assert np.exp(found.recent[line]) - 1e-5 == pytest.approx(recent, rel=1e-5, abs=1e-9)
        sure, possible = twin.best(dict(enumerate(totals)), 5)
        vogue = found.popular[line].tolist()
        assert len(set(vogue)) == min(5, m)
        assert sure <= set(vogue) <= possible
    assert np.exp(found.ever) - 1e-5 == pytest.approx(twin.shares_ever(customers, m), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_each_day_is_the_same_asked_alone(seed: int) -> None:
    known = Popularity(twin.baskets_of(*odd_shop(seed)))
    together = known.market(DAYS)
    for line in range(len(DAYS)):
        alone = known.market(DAYS[line : line + 1])
        for name in ("fresh", "recent", "popular"):
            assert getattr(alone, name)[0].tobytes() == getattr(together, name)[line].tobytes()


@pytest.mark.parametrize("seed", range(8))
def test_nothing_from_a_day_on_changes_what_was_in_vogue_before_it(seed: int) -> None:
    customers, m = odd_shop(seed)
    history = twin.baskets_of(customers, m)
    for day in (0, 60, 200):
        at = np.array([day])
        whole, cut = Popularity(history).market(at), Popularity(history.before(day)).market(at)
        for name in ("fresh", "recent", "popular"):
            assert getattr(whole, name).tobytes() == getattr(cut, name).tobytes(), name


def test_half_lives_worked_by_hand() -> None:
    # Product 0 on day 0, product 1 on day 5, both on day 26.
    known = Popularity(twin.baskets_of([[(0, [0]), (26, [0, 1])], [(5, [1])]], 2))
    assert known.day_after == 27
    found = known.market(np.array([5, 6, 26, 27]))
    shares = np.exp(found.fresh) - 1e-5
    assert shares[0] == pytest.approx([1, 0], abs=1e-7)
    # Five days are a half-life of the one, so the older basket counts half.
    assert shares[1] == pytest.approx([1 / 3, 2 / 3], rel=1e-5)
    assert shares[2] == pytest.approx([1 / 3, 2 / 3], rel=1e-5)
    # On day 27 by 21 days: 2^-1, 2^(-5/21) less, and 1, all times the same.
    older, old, new = 2 ** (-26 / 21), 2 ** (-21 / 21), 1.0
    recent = np.exp(found.recent[3]) - 1e-5
    assert recent == pytest.approx(np.array([older + new, old + new]) / (older + old + new), rel=1e-5)
    assert np.exp(found.ever) - 1e-5 == pytest.approx([2 / 3, 2 / 3], rel=1e-5)
    assert found.popular.tolist() == [[0, 1], [1, 0], [1, 0], [1, 0]]


def test_what_nobody_bought_and_nobody_at_all() -> None:
    empty = Popularity(twin.baskets_of([[]], 3))
    assert empty.day_after == 0
    found = empty.market(np.array([5]))
    assert np.unique(found.fresh).tolist() == np.unique(found.ever).tolist() == [np.log(1e-5, dtype=np.float32)]
    assert found.popular.tolist() == [[0, 1, 2]]
    nothing = Popularity(twin.baskets_of([], 0)).market(np.array([5]))
    assert nothing.popular.shape == (1, 0)


def test_a_shop_that_was_closed_for_years_remembers() -> None:
    # 3,000 half-lives: the old purchases weigh less than a number can say, the shares are still shares.
    known = Popularity(twin.baskets_of([[(0, [0]), (15_000, [1])]], 2))
    found = known.market(np.array([14_999, 15_000, 15_001, 40_000]))
    assert np.exp(found.fresh) - 1e-5 == pytest.approx(np.array([[1, 0], [1, 0], [0, 1], [0, 1]]), abs=1e-6)
