"""Up-selling: choices between two products, one segment up against one segment down."""

from __future__ import annotations

from math import comb, exp, log, sqrt

import numpy as np
import polars as pl
import pytest

from engine.errors import ColumnsMissingError, DataError, SettingError
from engine.recommend import up_sell as module
from engine.recommend.baskets import Baskets
from engine.recommend.chance import fisher
from engine.recommend.up_sell import COLUMNS, up_sell
from tests.recommend.shops import shop
from tests.reference import cross_sell_twin as twin

PRICES = [1.0, 1.5, 1.5, 2.4, 9.0, 1.0, 2.0, 3.0]


def described(history: Baskets) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "product_id": history.products,
            "category": ["tea"] * 5 + ["soap"] * (history.m - 5),
            "median_price": PRICES[: history.m],
        }
    )


@pytest.mark.parametrize("seed", range(3))
def test_every_pair_is_compared_as_by_hand(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    history = shop(seed, 240, 8)
    segments = (np.arange(240) % 4 - 1).astype(np.int32)
    monkeypatch.setattr(module, "BLOCK_CELLS", 100)
    found = up_sell(history, segments, described(history), [2, 0, 1], least_customers=1, false_share=0.9999).pairs
    bought = [{item for items in own for item in items} for own in history.each()]

    def choices(segment: int, x: int, y: int) -> tuple[int, int]:
        own = [bought[c] for c in np.flatnonzero(segments == segment)]
        return sum(x in b and y not in b for b in own), sum(y in b and x not in b for b in own)

    codes = {name: code for code, name in enumerate(history.products)}
    compared = 0
    for lower, upper in ((2, 0), (0, 1)):
        p, rules = {}, found.filter(pl.col("segment") == lower)
        for x in range(8):
            for y in range(8):
                if (x < 5) != (y < 5) or not PRICES[x] < PRICES[y] <= 2.5 * PRICES[x]:
                    continue
                (x1, y1), (x2, y2) = choices(lower, x, y), choices(upper, x, y)
                n, m = x1 + y1, x2 + y2
                p[x, y] = sum(
                    comb(m, k) * comb(n, y1 + y2 - k) / comb(n + m, y1 + y2) for k in range(y2, min(m, y1 + y2) + 1)
                )
        told = {(codes[r["product_x"]], codes[r["product_y"]]): r for r in rules.iter_rows(named=True)}
        assert set(told) <= set(p)
        for (x, y), rule in told.items():
            (x1, y1), (x2, y2) = choices(lower, x, y), choices(upper, x, y)
            assert rule["next_segment"] == upper
            assert (rule["choosers"], rule["choosers_next"], rule["customers_to_offer"]) == (x1 + y1, x2 + y2, x1)
            assert rule["share"] == pytest.approx(y1 / (x1 + y1))
            assert rule["lift"] == pytest.approx(y2 / (x2 + y2) * (x1 + y1) / y1)
            assert rule["p_value"] == pytest.approx(p[x, y])
            a, b, c, d = y2 + 0.5, x2 + y2 + 0.5, y1 + 0.5, x1 + y1 + 0.5
            middle, spread = log(a / b * d / c), 1.96 * sqrt(1 / a - 1 / b + 1 / c - 1 / d)
            assert rule["lift_low"] == pytest.approx(exp(middle - spread), rel=1e-4)
            assert rule["lift_high"] == pytest.approx(exp(middle + spread), rel=1e-4)
            compared += 1
        # Only what could be told is tested; the others count as 1.
        for x, y in p:
            (x1, y1), (x2, y2) = choices(lower, x, y), choices(upper, x, y)
            if not (x1 and y2 and y2 * (x1 + y1) > y1 * (x2 + y2)):
                p[x, y] = 1.0
        q = dict(zip(p, twin.false_shares(list(p.values()), len(p)), strict=True))
        enough = {pair for pair in p if choices(lower, *pair)[0] and choices(upper, *pair)[1]}
        assert set(told) == {pair for pair in enough if q[pair] <= 0.9999}
    assert compared >= 2


def choosers(low: tuple[int, int], high: tuple[int, int], both: int = 0) -> tuple[Baskets, np.ndarray]:
    """Return people who buy plain or fine tea, and some of the higher segment who buy both."""
    bought = ["plain"] * low[0] + ["fine"] * low[1] + ["plain"] * high[0] + ["fine"] * high[1]
    segments = np.repeat([0, 1], [sum(low), sum(high)])
    rows = pl.DataFrame({"customer_id": range(len(bought)), "product_id": bought})
    two = pl.DataFrame(
        {"customer_id": np.repeat(np.arange(both), 2) + len(bought), "product_id": ["plain", "fine"] * both}
    )
    rows = pl.concat([rows, two]).with_columns(timestamp=pl.lit("2024-05-01").str.to_date())
    return Baskets.from_frame(rows, basket="day"), np.append(segments, np.ones(both, int)).astype(np.int32)


TEA = pl.DataFrame({"product_id": ["plain", "fine"], "category": "tea", "median_price": [2.0, 3.0]})


def test_who_buys_both_has_not_chosen() -> None:
    alike, segments = choosers((60, 20), (60, 20), both=300)
    assert up_sell(alike, segments, TEA, [0, 1]).pairs.height == 0
    better, segments = choosers((60, 20), (20, 60), both=300)
    rule = up_sell(better, segments, TEA, [0, 1]).pairs.row(0, named=True)
    assert (rule["product_x"], rule["product_y"]) == ("plain", "fine")
    assert (rule["share"], rule["share_next"], rule["lift"]) == (0.25, 0.75, 3.0)
    assert rule["customers_to_offer"] == 60


def test_the_order_of_the_segments_decides() -> None:
    history, segments = choosers((60, 20), (20, 60))
    assert up_sell(history, segments, TEA, [1, 0]).pairs.height == 0


def test_chance_is_no_rule() -> None:
    fooled = 0
    for seed in range(20):
        history = shop(seed, 200, 8)
        fooled += up_sell(history, (np.arange(200) % 2).astype(np.int32), described(history), [0, 1]).pairs.height > 0
    # At 5 %: one shop of twenty is expected to tell of something, four or more in one of sixty.
    assert fooled <= 3


def test_prices_and_categories_bound_what_is_offered() -> None:
    history, segments = choosers((60, 20), (20, 60))
    far = TEA.with_columns(median_price=pl.Series([1.0, 3.0]))
    assert up_sell(history, segments, far, [0, 1]).pairs.height == 0
    assert up_sell(history, segments, far, [0, 1], most_price_ratio=3.0).pairs.height == 1
    assert up_sell(history, segments, TEA.with_columns(category=pl.Series(["tea", "herbs"])), [0, 1]).pairs.height == 0
    unknown = TEA.with_columns(median_price=pl.Series([2.0, None]))
    assert up_sell(history, segments, unknown, [0, 1]).pairs.height == 0


def test_how_far_the_search_came_is_told() -> None:
    def seen(history: Baskets, segments: np.ndarray, about: pl.DataFrame, **settings: object) -> tuple[object, ...]:
        found = up_sell(history, segments, about, [0, 1], **settings).segments
        return found.select("products", "products_bought", "pairs", "pairs_next", "told", "left_out").row(0)

    history, segments = choosers((60, 20), (20, 60))
    assert seen(history, segments, TEA) == (2, 2, 1, 1, 1, 0)
    # Of 160 choosers: enough, enough in each segment, too few.
    assert seen(history, segments, TEA, least_customers=60) == (2, 2, 1, 1, 1, 0)
    assert seen(history, segments, TEA, least_customers=61) == (2, 2, 1, 0, 0, 0)
    assert seen(history, segments, TEA, least_customers=81) == (2, 0, 0, 0, 0, 0)
    assert seen(history, segments, TEA.with_columns(median_price=pl.Series([1.0, 3.0]))) == (2, 2, 0, 0, 0, 0)
    assert seen(history, segments, TEA.with_columns(median_price=pl.Series([2.0, None]))) == (1, 1, 0, 0, 0, 0)
    assert seen(*choosers((20, 60), (60, 20)), TEA) == (2, 2, 1, 0, 0, 0)
    # A little more often, and that may be chance: the only pair's q is its p.
    alike = choosers((60, 20), (58, 22))
    assert seen(*alike, TEA) == (2, 2, 1, 1, 0, 0)
    by_chance = fisher(*(np.array([each]) for each in (22, 80, 20, 80))).item()
    assert up_sell(*alike, TEA, [0, 1]).segments["lowest_q"][0] == pytest.approx(by_chance)
    assert up_sell(history, segments, TEA, [1, 0]).segments["lowest_q"].to_list() == [None]


def test_headings_in_both_languages() -> None:
    history, segments = choosers((60, 20), (20, 60))
    found = up_sell(history, segments, TEA, [0, 1])
    assert found.pairs.columns == list(COLUMNS)
    assert found.table("es").columns[5] == "producto superior que ofrecer"
    assert len(set(found.table("en").columns)) == len(COLUMNS)


def test_what_cannot_be_is_refused() -> None:
    history, segments = choosers((60, 20), (20, 60))
    with pytest.raises(ColumnsMissingError, match="category"):
        up_sell(history, segments, TEA.drop("category"), [0, 1])
    with pytest.raises(DataError, match="'plain' has several"):
        up_sell(history, segments, pl.concat([TEA, TEA.head(1)]), [0, 1])
    with pytest.raises(DataError, match=r"'fine' has 0\.0"):
        up_sell(history, segments, TEA.with_columns(median_price=pl.Series([2.0, 0.0])), [0, 1])
    wrongs = {"order": [0]}, {"order": [0, 0]}, {"least_customers": 0}, {"most_price_ratio": 1.0}, {"false_share": 1}
    for wrong in wrongs:
        with pytest.raises(SettingError, match=next(iter(wrong))):
            up_sell(history, segments, TEA, **{"order": [0, 1]} | wrong)


def test_fisher_is_the_tea_taster() -> None:
    # Fisher's own example, The Design of Experiments (1935): all four cups told right, 1 in 70.
    assert fisher(np.array([4]), np.array([4]), np.array([0]), np.array([4])).item() == pytest.approx(1 / 70)
