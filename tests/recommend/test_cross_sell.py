"""Cross-selling: counted as by hand, blind to how much people buy, not fooled by thousands of pairs."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.errors import DataError, SettingError
from engine.recommend import cross_evidence, cross_rules
from engine.recommend.adoption import Clock, Group
from engine.recommend.baskets import Baskets
from engine.recommend.chance import at_least, false_shares, lift_interval
from engine.recommend.cross_rules import measure
from engine.recommend.cross_sell import cross_sell
from tests.recommend.shops import shop
from tests.reference import cross_sell_twin as twin

EVERYTHING = {"least_customers": 1, "false_share": 0.999, "most_pairs": 10**6, "everyday_share": 1.0}
"""Settings that let through every pair that is bought more often than expected."""

SEGMENTS = np.array([0, 1, 1, 0, 2, -1], dtype=np.int32)


def three_segments(history: Baskets) -> np.ndarray:
    return SEGMENTS[np.arange(history.n) % len(SEGMENTS)]


def every_pair(
    history: Baskets, customers: np.ndarray, within_days: int | None = None
) -> tuple[Group, cross_rules.Pairs]:
    group = Group.of(Clock.of(history, within_days), customers, np.arange(history.m), history.m)
    x, y = np.nonzero(~np.eye(history.m, dtype=bool))
    return group, measure(group, x, np.full(len(x), -1), y)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("within_days", [None, 20])
def test_every_pair_is_counted_as_by_hand(seed: int, within_days: int | None) -> None:
    history = shop(seed, customers=60, products=9)
    everybody = twin.visits(history)
    members = np.flatnonzero(three_segments(history) == 1)
    group, pairs = every_pair(history, members, within_days)
    for i in range(len(pairs.x)):
        x, y = int(pairs.x[i]), int(pairs.y[i])
        by_hand = twin.count(everybody, members.tolist(), {x}, y, within_days=within_days)
        assert pairs.customers[i] == by_hand.customers_x
        assert pairs.customers[i] - pairs.before[i] == by_hand.customers_open
        assert pairs.went_on[i] == by_hand.customers_xy
        assert pairs.customers[i] - pairs.has[i] == by_hand.customers_to_offer
        assert pairs.expected[i] == pytest.approx(by_hand.expected, abs=1e-9)
        among = twin.adoptions(everybody, members.tolist(), y)
        assert group.adoptions[y] == among
        assert pairs.p[i] == pytest.approx(
            twin.binomial_tail(by_hand.customers_xy, min(by_hand.expected / among, 1.0), among) if among else 1.0,
            abs=1e-9,
        )


def as_by_hand(history: Baskets, segments: np.ndarray, rules: pl.DataFrame, within_days: int | None) -> None:
    """Assert that every figure of some rules is what counting by hand gives."""
    everybody, all_of_them = twin.visits(history), list(range(history.n))
    codes = {name: code for code, name in enumerate(history.products)}
    for rule in rules.iter_rows(named=True):
        members = np.flatnonzero(segments == rule["segment"]).tolist()
        reason = {codes[rule[name]] for name in ("product_x", "product_x2") if rule[name] is not None}
        y = codes[rule["product_y"]]
        own = twin.count(everybody, members, reason, y, within_days=within_days)
        base = twin.count(everybody, all_of_them, reason, y, within_days=within_days)
        of_base = twin.count(everybody, members, reason, y, within_days=within_days, reference=all_of_them)
        buyers = sum(any(y in visit.items for visit in everybody[c]) for c in members)
        confidence = own.customers_xy / own.customers_open
        expected = {
            "customers_x": own.customers_x,
            "customers_open": own.customers_open,
            "customers_xy": own.customers_xy,
            "customers_to_offer": own.customers_to_offer,
            "customers_together": own.customers_together,
            "confidence": confidence,
            "base_rate": buyers / len(members),
            "lift_plain": confidence * len(members) / buyers,
            "expected": own.expected,
            "lift": own.customers_xy / own.expected,
            "lift_base": own.customers_xy / of_base.expected,
            "confidence_base": base.customers_xy / base.customers_open,
            "confidence_vs_base": confidence * base.customers_open / base.customers_xy,
        }
        assert {name: rule[name] for name in expected} == pytest.approx(expected)
        assert rule["lift_low"] < rule["lift"] <= rule["lift_high"]
        baskets = [visit.items for c in members for visit in everybody[c]]
        both, ours, theirs = (sum(s <= b for b in baskets) for s in (reason | {y}, reason, {y}))
        assert rule["lift_together"] == pytest.approx(both * len(baskets) / (ours * theirs))


@pytest.mark.parametrize("seed", range(2))
def test_every_figure_of_every_rule_is_as_by_hand(seed: int) -> None:
    history = shop(seed, customers=150, products=8, follows=({3}, 6, 0.9))
    segments = three_segments(history)
    rules = cross_sell(history, segments, **EVERYTHING, within_days=60).rules
    assert set(rules["segment"]) == {0, 1, 2}
    as_by_hand(history, segments, rules, within_days=60)


@pytest.mark.parametrize("seed", range(2))
def test_two_products_that_lead_to_a_third_only_together(seed: int) -> None:
    history = shop(seed, customers=500, products=50, follows=({20, 25}, 40, 1.0))
    segments = np.zeros(history.n, dtype=np.int32)
    sets = cross_sell(history, segments).rules.filter(pl.col("product_x2").is_not_null())
    assert sets.select("product_x", "product_x2", "product_y").row(0) == ("p020", "p025", "p040")
    singles = cross_sell(history, segments, most_sets=0).rules.filter(pl.col("product_y") == "p040")
    assert sets["lift_low"][0] > singles["lift"].max() > 1
    as_by_hand(history, segments, sets.head(3), within_days=None)


def test_a_case_worked_by_hand() -> None:
    # Everybody starts with a; 1 and 2 then buy x, 3 and 4 z; later 1 and 2 take y, and 3 takes y and w together.
    bought = {1: ["a", "x", "y"], 2: ["a", "x", "y"], 3: ["a", "z", "yw"], 4: ["a", "z", "w"]}
    rows = [(c, d, p) for c, baskets in bought.items() for d, items in enumerate(baskets) for p in items]
    frame = pl.DataFrame(rows, ["customer_id", "day", "product_id"], orient="row")
    history = Baskets.from_frame(frame.with_columns(timestamp=pl.col("day").cast(pl.Date)), basket="day")
    code = {name: i for i, name in enumerate(history.products)}
    group, pairs = every_pair(history, np.arange(4))
    rule = pairs.take((pairs.x == code["x"]) & (pairs.y == code["y"]))
    # Chances: one each with one product tried (4), then with two tried 1, 1, 2 and 1 (5). Products tried part the
    # stages, so y's rate is 0 of 4 in the first and 3 of 5 in the second: of x's two buyers 2 × 3/5 are expected.
    assert (rule.customers.item(), rule.before.item(), rule.went_on.item()) == (2, 0, 2)
    assert rule.expected.item() == pytest.approx(1.2)
    # Three adoptions, each of them by a buyer of x with probability 0.4: two or more 3 × 0.16 × 0.6 + 0.064.
    assert rule.p.item() == pytest.approx(0.352)
    assert group.adoptions[code["y"]] == 3


@pytest.mark.parametrize("seed", range(4))
def test_independent_products_stay_within_their_interval(seed: int) -> None:
    history = shop(seed, customers=500, products=40)
    group, pairs = every_pair(history, np.arange(history.n))
    low, high = lift_interval(pairs.went_on, pairs.expected, group.adoptions[pairs.y])
    enough = pairs.expected >= 5
    assert enough.sum() > 500
    # 2.5 % each in theory, for pairs that share customers: a seed strays to twice that.
    assert (low > 1)[enough].mean() < 0.05
    assert (high < 1)[enough].mean() < 0.05
    assert pairs.went_on.sum() / pairs.expected.sum() == pytest.approx(1, abs=0.04)
    assert cross_sell(history).rules.height <= 1


def test_buying_much_is_no_reason() -> None:
    # A rare product belongs mostly to those who buy much, and so does every other.
    history = shop(0, customers=800, products=200)
    _, pairs = every_pair(history, np.arange(history.n))
    buyers = np.bincount(Clock.of(history).item, minlength=history.m)
    rare = (buyers[pairs.x] < 60) & (pairs.expected >= 3)
    assert rare.sum() > 100
    confidence = pairs.went_on / (pairs.customers - pairs.before)
    plain = (confidence / (buyers[pairs.y] / history.n))[rare].mean()
    fair = pairs.went_on[rare].sum() / pairs.expected[rare].sum()
    assert plain > 1.25
    assert fair == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("seed", range(4))
def test_a_planted_rule_is_found_and_no_other(seed: int) -> None:
    history = shop(seed, customers=600, products=40, follows=({20}, 30, 0.5))
    rules = cross_sell(history).rules
    assert rules.select("product_x", "product_y").row(0) == ("p020", "p030")
    assert rules["lift_low"][0] > 1.5
    assert rules.height <= 3


def test_the_order_of_customers_and_the_numbers_of_segments_change_nothing() -> None:
    history = shop(5, customers=150, products=12, follows=({2}, 5, 0.7))
    segments = three_segments(history)
    found = cross_sell(history, segments, **EVERYTHING)
    order = np.random.default_rng(0).permutation(history.n)
    names = np.array([7, 0, 4, -1], dtype=np.int32)  # of 0, 1, 2 and -1
    again = cross_sell(history.take(order), names[segments[order]], **EVERYTHING)
    renamed = again.rules.with_columns(pl.col("segment").replace({7: 0, 0: 1, 4: 2}))
    assert found.rules.height > 3
    names_of = ("segment", "product_x", "product_x2", "product_y")
    assert_frame_equal(found.rules.sort(names_of), renamed.sort(names_of))


def test_twice_the_customers_are_twice_the_counts_and_the_same_rates() -> None:
    history = shop(6, customers=120, products=10, follows=({2}, 5, 0.7))
    twice = history.take(np.tile(np.arange(history.n), 2))
    _, once = every_pair(history, np.arange(history.n))
    _, double = every_pair(twice, np.arange(twice.n))
    for name in ("customers", "before", "went_on", "has", "expected"):
        np.testing.assert_allclose(getattr(double, name), 2 * getattr(once, name), atol=1e-9)


def test_one_segment_of_all_is_the_base() -> None:
    rules = cross_sell(shop(1, 150, 10, follows=({2}, 5, 0.8)), **EVERYTHING).rules
    assert rules.height > 10
    np.testing.assert_allclose(rules["lift"], rules["lift_base"])
    np.testing.assert_allclose(rules["confidence_vs_base"], 1.0)


def test_threads_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    history = shop(2, 200, 25, follows=({2}, 5, 0.8))
    whole = cross_sell(history, three_segments(history), **EVERYTHING, threads=2)
    monkeypatch.setattr(cross_rules, "BLOCK_PAIRS", 60)
    parts = cross_sell(history, three_segments(history), **EVERYTHING, threads=1)
    assert whole.rules.height > 3
    assert_frame_equal(whole.rules, parts.rules)


def test_what_is_left_out_is_told() -> None:
    history = shop(3, 150, 12, follows=({2}, 5, 0.8))
    everything = cross_sell(history, **EVERYTHING)
    singles = everything.rules.filter(pl.col("product_x2").is_null())
    best = cross_sell(history, **EVERYTHING | {"most_pairs": 7}, most_sets=0)
    assert_frame_equal(best.rules, singles.head(7))
    assert best.segments.select("rules", "rules_left_out").row(0) == (7, singles.height - 7)
    narrow = cross_sell(history, **EVERYTHING, widest_customer=8)
    tried = np.diff(history.counts()[0])
    assert narrow.segments.select("customers", "too_wide").row(0) == ((tried <= 8).sum(), (tried > 8).sum())
    assert narrow.rules["customers_x"].max() <= (tried <= 8).sum()


def test_what_everybody_buys_is_flagged_and_never_offered() -> None:
    history = shop(3, 150, 12)
    share = np.bincount(Clock.of(history).item, minlength=history.m) / history.n
    border = float(np.sort(share)[-3] + np.sort(share)[-2]) / 2
    found = cross_sell(history, **EVERYTHING | {"everyday_share": border})
    flagged = {history.products[int(code)] for code in np.flatnonzero(share > border)}
    assert set(found.everyday["product"]) == flagged
    assert len(flagged) == 2
    named = {*found.rules["product_x"], *found.rules["product_x2"], *found.rules["product_y"]}
    assert not named & flagged
    assert len(named) > 5


def test_a_huge_basket_was_not_chosen_together(monkeypatch: pytest.MonkeyPatch) -> None:
    history = shop(4, 150, 10, follows=({2}, 5, 0.8))
    sizes = np.diff(history.item_start)
    monkeypatch.setattr(cross_evidence, "WIDEST_BASKET", 2)
    found = cross_sell(history, **EVERYTHING).rules.filter(pl.col("product_x2").is_null())
    rule = found.row(0, named=True)
    x, y = (history.products.to_list().index(rule[name]) for name in ("product_x", "product_y"))
    holds = [{x, y} <= set(items) for own in history.each() for items in own]
    owner = np.repeat(np.arange(history.n), np.diff(history.basket_start))
    assert rule["customers_together"] == len(set(owner[np.array(holds) & (sizes <= 2)]))
    assert rule["customers_together"] < len(set(owner[np.array(holds)]))


def test_too_many_rules_are_an_error_with_a_threshold_that_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    history = shop(3, 150, 12, follows=({2}, 5, 0.8))
    monkeypatch.setattr(cross_rules, "MOST_CANDIDATES", 20)
    with pytest.raises(DataError, match=r"could be rules; expected at most 20\. Set least_customers=") as error:
        cross_sell(history, **EVERYTHING)
    would_do = int(str(error.value).partition("least_customers=")[2].split()[0])
    assert cross_sell(history, **EVERYTHING | {"least_customers": would_do}).segments["pairs_tested"][0] > 0
    with pytest.raises(DataError):
        cross_sell(history, **EVERYTHING | {"least_customers": would_do - 1})


@pytest.mark.parametrize(
    ("history", "segments"),
    [
        (shop(0, 30, 5).take(np.zeros(0, dtype=np.int64)), None),
        (shop(0, 1, 5), None),
        (shop(0, 30, 1), None),
        (shop(0, 30, 5), np.full(30, -1, dtype=np.int32)),
        (shop(0, 30, 5).before(0), None),
    ],
    ids=["nobody", "one customer", "one product", "no segment", "no basket"],
)
def test_little_or_nothing_gives_an_empty_table(history: Baskets, segments: np.ndarray | None) -> None:
    found = cross_sell(history, segments, everyday_share=1.0)
    assert found.rules.height == 0
    assert list(found.rules.columns) == list(cross_evidence.COLUMNS)
    assert found.table("es").columns[3] == "producto que ofrecer"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("least_customers", 0),
        ("most_pairs", -1),
        ("most_sets", -1),
        ("within_days", 0),
        ("everyday_share", 0.0),
        ("everyday_share", 1.5),
        ("widest_customer", 0),
        ("false_share", 0.0),
        ("segments", np.zeros(3, dtype=np.int32)),
        ("segments", np.zeros(30)),
        ("segments", np.full(30, -2, dtype=np.int32)),
    ],
)
def test_impossible_settings_are_refused(setting: str, value: object) -> None:
    with pytest.raises(SettingError, match=setting):
        cross_sell(shop(0, 30, 5), **{setting: value})


def test_offers_go_to_those_who_bought_the_reason_and_not_the_product() -> None:
    history = shop(5, 200, 10, follows=({2}, 5, 0.7))
    segments = three_segments(history)
    found = cross_sell(history, segments, **EVERYTHING)
    offers = found.offers(history, segments, 1, "p005")
    rules = found.rules.filter(pl.col("segment") == 1, pl.col("product_y") == "p005")
    bought = [{item for items in own for item in items} for own in history.each()]
    codes = {name: code for code, name in enumerate(history.products)}
    expected = {}
    for c in np.flatnonzero(segments == 1):
        if codes["p005"] in bought[c]:
            continue
        speak = [
            rule["confidence"]
            for rule in rules.iter_rows(named=True)
            if {codes[rule[name]] for name in ("product_x", "product_x2") if rule[name]} <= bought[c]
        ]
        if speak:
            expected[history.customer_ids[int(c)]] = max(speak), len(speak)
    assert {row[0]: row[1:] for row in offers.select("customer_id", "confidence", "rules").iter_rows()} == expected
    order = offers.select("confidence", "rules", "bought_on")
    assert order.equals(order.sort(pl.all(), descending=True))
    assert_frame_equal(found.offers(history, segments, 1, "p005", most=3), offers.head(3))
    first = offers.row(0, named=True)
    own = history.customer_ids.to_list().index(first["customer_id"])
    days = history.day[history.basket_start[own] : history.basket_start[own + 1]]
    held = list(history.each())[own]
    named = [codes[first[name]] for name in ("product_x", "product_x2") if first[name]]
    last = max(max(d for d, items in zip(days, held, strict=True) if code in items) for code in named)
    assert offers["bought_on"].to_physical()[0] == last


def test_offers_of_what_nobody_knows() -> None:
    history = shop(5, 60, 6)
    segments = np.zeros(60, dtype=np.int32)
    found = cross_sell(history, segments)
    with pytest.raises(DataError, match=r"no segment 4\. Segments looked at: 0"):
        found.offers(history, segments, 4, "p001")
    with pytest.raises(DataError, match="nobody in the history bought product 'soap'"):
        found.offers(history, segments, 0, "soap")
    assert found.offers(history, segments, 0, "p001").height == 0


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    # The example of their paper, 1995, section 4.2: at 0.05, the four smallest of fifteen are rejected.
    p = np.array(
        [
            0.0001,
            0.0004,
            0.0019,
            0.0095,
            0.0201,
            0.0278,
            0.0298,
            0.0344,
            0.0459,
            0.3240,
            0.4262,
            0.5719,
            0.6528,
            0.7590,
            1,
        ]
    )
    assert (false_shares(p, 15) <= 0.05).sum() == 4
    shuffled = np.random.default_rng(0).permutation(p)
    np.testing.assert_allclose(false_shares(shuffled, 40), twin.false_shares(shuffled.tolist(), 40))


def test_the_tail_is_added_up() -> None:
    observed, among = np.array([0, 1, 3, 10, 10]), np.array([5, 5, 7, 10, 90])
    expected = np.array([1.0, 0.5, 2.0, 9.0, 2.5])
    by_hand = [twin.binomial_tail(int(k), e / n, int(n)) for k, e, n in zip(observed, expected, among, strict=True)]
    np.testing.assert_allclose(at_least(observed, expected, among), by_hand)
