"""What was new in the next baskets, and what falls off."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from engine.errors import DataError, SettingError
from engine.recommend.baskets import Baskets
from engine.recommend.chance import wilson
from engine.recommend.next_products import FALLEN, falling_off, next_products
from tests.recommend.shops import shop
from tests.recommend.test_cross_sell import three_segments
from tests.reference import cross_sell_twin as twin


@pytest.mark.parametrize("seed", range(3))
def test_next_products_are_shares_of_those_who_came_back(seed: int) -> None:
    history = shop(seed, 150, 12)
    segments, day = three_segments(history), 60
    found = next_products(history, segments, day, most=4, least_customers=2)
    everybody = twin.visits(history)
    for segment in range(3):
        came, new, without = 0, np.zeros(12, int), np.zeros(12, int)
        for c in np.flatnonzero(segments == segment):
            past, later = ([v for v in everybody[c] if (v.day >= day) == late] for late in (False, True))
            if past and later:
                came += 1
                had = set().union(*(v.items for v in past))
                new[list(later[0].items - had)] += 1
                without[[i for i in range(12) if i not in had]] += 1
        rows = found.filter(pl.col("segment") == segment)
        codes = [history.products.to_list().index(name) for name in rows["product"]]
        assert codes == np.argsort(-new, kind="stable")[:4].tolist()
        assert rows["customers"].to_list() == [came] * 4
        assert rows["customers_new"].to_list() == new[codes].tolist()
        assert rows["customers_without"].to_list() == without[codes].tolist()
        low, high = wilson(new[codes], np.full(4, came))
        np.testing.assert_allclose(rows.select("probability_low", "probability_high").to_numpy().T, [low, high])
    with pytest.raises(DataError, match="no customer of any segment bought both before 1970-01-01"):
        next_products(history, segments, 0)


@pytest.mark.parametrize("seed", range(6))
def test_what_falls_off_is_told_by_exact_chances(seed: int) -> None:
    history = shop(seed, 150, 12)
    # Half of the products are sold ever less after some day; the days begin where others lie before.
    rng = np.random.default_rng(seed)
    end, days = int(history.day.max()) + 1, int(rng.integers(3, 60))
    first = end - days
    rows = [
        (c, visit.day, f"p{i:03}")
        for c, own in enumerate(twin.visits(history))
        for visit in own
        for i in visit.items
        if i % 2 == 0 or visit.day < end - days // 3 or rng.random() < 0.1
    ]
    frame = pl.DataFrame(rows, ["customer_id", "day", "product_id"], orient="row")
    sold = Baskets.from_frame(frame.with_columns(timestamp=pl.col("day").cast(pl.Int32).cast(pl.Date)), basket="day")
    told = falling_off(sold, first, end)
    everybody = [visit for own in twin.visits(sold) for visit in own if first <= visit.day < end]
    late = [visit.day >= end - days // 3 for visit in everybody]
    for i in range(sold.m):
        bought = [is_late for visit, is_late in zip(everybody, late, strict=True) if i in visit.items]
        early_share = 1 - sum(late) / len(late)
        chance = twin.binomial_tail(len(bought) - sum(bought), early_share, len(bought))
        assert told[i] == (chance < FALLEN), (i, chance)
    # Who counts fewer than three days cannot tell, and what lies outside of them does not count.
    assert not falling_off(sold, end - 2, end).any()
    assert not falling_off(sold, end + 10, end + 40).any()


def test_a_product_of_christmas_is_not_named() -> None:
    # Twelve days: the star is in 24 baskets of the first eight, in none of the last four; tea in all.
    rows = [(c, 100 + c % 12, "tea") for c in range(60)]
    rows += [(c, day, "star") for c, day, _ in rows if day < 108][:24]
    rows += [(c, 90, "soap") for c in range(60)]
    frame = pl.DataFrame(rows, ["customer_id", "day", "product_id"], orient="row")
    history = Baskets.from_frame(frame.with_columns(timestamp=pl.col("day").cast(pl.Int32).cast(pl.Date)), basket="day")
    nobody, segments = falling_off(history, 100, 112), np.zeros(60, dtype=np.int32)
    # By hand: two of three baskets lie in the first eight days, (2/3)^24 < 0.01.
    assert dict(zip(history.products, nobody.tolist(), strict=True)) == {"tea": False, "star": True, "soap": False}
    assert next_products(history, segments, 100)["product"].to_list() == ["tea", "star"]
    left = next_products(history, segments, 100, without=nobody)
    assert left.select("rank", "product").rows() == [(1, "tea")]
    for wrong in (nobody[:2], nobody.astype(int)):
        with pytest.raises(SettingError, match="without: expected true or false for each of 3 products"):
            next_products(history, segments, 100, without=wrong)
