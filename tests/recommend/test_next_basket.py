from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from engine.errors import DataError, SettingError
from engine.recommend import affinity, kernels, knowledge, next_basket, popularity
from engine.recommend.baskets import Baskets
from engine.recommend.kernels import SIGNALS
from engine.recommend.next_basket import NextBasket, Ranked, wanted_kinds
from engine.recommend.synthetic import habits
from tests.recommend.test_affinity import running, uncompiled
from tests.recommend.test_synthetic import odd_shop
from tests.reference import next_basket_twin as twin

# Of single precision and of sums in another order.
SIGNAL_TOLERANCE = 3e-5


class Case(NamedTuple):
    """A shop, what is asked of it, and the model that was fitted on it."""

    customers: list[twin.Customer]
    asked: list[int]
    history: Baskets
    days: np.ndarray
    segments: np.ndarray
    asked_segments: np.ndarray
    model: NextBasket
    limits: twin.Limits


def limited(patch: pytest.MonkeyPatch, limits: twin.Limits) -> None:
    patch.setattr(next_basket, "SIZES", limits.sizes)
    # The candidates alone: what follows them on a long list has a test of its own.
    patch.setattr(next_basket, "wanted_kinds", lambda *given, least: wanted_kinds(*given, least=0))
    patch.setattr(affinity, "MOST_PRODUCTS", limits.most_products)
    patch.setattr(affinity, "MOST_FELLOWS", limits.most_fellows)
    patch.setattr(knowledge, "FAVOURITES", limits.favourites)
    patch.setattr(popularity, "IN_VOGUE", limits.in_vogue)


@cache
def odd_case(seed: int) -> Case:
    rng = np.random.default_rng(seed + 100)
    # Short lists in every second case, so that they cut.
    limits = twin.Limits(sizes=(100, 60, 60, 30))
    if seed % 8 >= 4:
        limits = twin.Limits(12, 6, 400, 3, 4, (5, 6, 5, 3))
    customers, m = odd_shop(seed)
    history = twin.baskets_of(customers, m)
    segments = rng.choice([-1, 0, 1, 3], len(customers)).astype(np.int32)
    segments[:4] = [-1, 0, 1, 3]
    asked = rng.permutation(len(customers))[:18]
    days = rng.choice([-50, 100, 150, 366, 2_000], len(asked)).astype(np.int32)
    with pytest.MonkeyPatch.context() as patch:
        limited(patch, limits)
        model = NextBasket(references=17, seed=seed).fit(history, segments)
    # Not all who are asked for had this segment at fit.
    told = rng.permutation(segments[asked])
    return Case(customers, asked.tolist(), history.take(asked), days, segments, told, model, limits)


def ranked(case: Case, k: int) -> Ranked:
    with pytest.MonkeyPatch.context() as patch:
        limited(patch, case.limits)
        return case.model.rank(case.history, k, day=case.days, segments=case.asked_segments)


def rows_of(model: NextBasket) -> list[int]:
    """Reference customers; in these shops an id is a row number."""
    return [int(row) for row in model.knowledge.references]


@pytest.mark.parametrize("seed", range(12))
def test_candidates_signals_and_neighbours_are_those_of_the_twin(seed: int) -> None:
    case = odd_case(seed)
    m, rows = case.history.m, rows_of(case.model)
    # More than there are products: all candidates come back.
    found = ranked(case, m + 3)
    known = twin.known_of(case.customers, m, rows, case.limits)
    assert case.model.knowledge.repurchase.once.tolist() == known.once
    for line, c in enumerate(case.asked):
        day, segment = int(case.days[line]), int(case.asked_segments[line])
        own = twin.told(known, case.customers, case.segments.tolist(), segment, day, case.limits)
        customer = case.customers[c]
        myself = rows.index(c) if c in rows else -1
        alike = twin.similarities(customer, own.references, myself, case.limits)
        near = [row for row in found.neighbours[line].tolist() if row >= 0]
        assert_nearest(near, alike, min(case.limits.sizes[0], kernels.CLOSEST))
        sums, signals = twin.signals_of(
            customer, day, near if case.limits.sizes[0] <= kernels.CLOSEST else alike, own, case.limits
        )
        must, may = twin.candidates(customer, sums, own, case.limits)
        codes = [code for code in found.codes[line].tolist() if code >= 0]
        assert len(set(codes)) == len(codes)
        assert must <= set(codes) <= may
        for place, code in enumerate(codes):
            told = dict(zip(kernels.SIGNALS, found.signals[line, place].tolist(), strict=True))
            assert told == pytest.approx(signals[code], rel=1e-5, abs=SIGNAL_TOLERANCE)


def assert_nearest(near: list[int], alike: dict[int, float], most: int) -> None:
    assert len(near) == len(set(near)) == min(most, len(alike))
    sure, possible = twin.best(alike, most)
    assert sure <= set(near) <= possible
    for one, next_one in pairwise(near):
        assert alike[one] >= alike[next_one] * (1 - twin.NEAR)


@pytest.mark.parametrize("seed", range(12))
def test_the_order_is_that_of_the_blend(seed: int) -> None:
    case = odd_case(seed)
    whole, few = ranked(case, case.history.m + 3), ranked(case, 4)
    blend = case.model.blend
    for line in range(case.history.n):
        there = whole.codes[line] >= 0
        codes, scores, signals = whole.codes[line][there], whole.scores[line][there], whole.signals[line][there]
        # -1 and nothing else only at the end.
        assert there.tolist() == sorted(there.tolist(), reverse=True)
        assert not whole.scores[line][~there].any()
        assert not whole.signals[line][~there].any()
        seen = np.clip(signals, blend.low, blend.high)
        expected = [plain_score(own, blend.weights, blend.pairs) for own in seen.tolist()]
        if case.history.basket_start[line] == case.history.basket_start[line + 1]:
            # Nothing is known of the customer: by what the segment buys most.
            expected = [own[SIGNALS.index("ever")] + own[SIGNALS.index("segment")] for own in signals.tolist()]
        size = [plain_score(np.abs(own).tolist(), np.abs(blend.weights), np.abs(blend.pairs)) for own in seen]
        for score, value, terms in zip(scores.tolist(), expected, size, strict=True):
            assert score == pytest.approx(value, abs=2e-6 * terms + 1e-6)
        # The best first, of equal ones the lower product.
        assert list(zip(-scores, codes, strict=True)) == sorted(zip(-scores, codes, strict=True))
        # A short list is the beginning of the long one.
        assert few.codes[line].tolist() == [*codes.tolist(), -1, -1, -1, -1][:4]
        assert few.scores[line].tolist() == [*scores.tolist(), 0, 0, 0, 0][:4]


def plain_score(signals: list[float], weights: np.ndarray, pairs: np.ndarray) -> float:
    total = 0.0
    for f, one in enumerate(signals):
        total += one * weights[f]
        for g, other in enumerate(signals):
            if g >= f:
                total += one * other * pairs[f, g]
    return total


# Where not all products are candidates, which are may hang on rounding.
@pytest.mark.parametrize("seed", [0, 1, 2, 4, 5, 6])
def test_weights_are_fitted_on_the_candidates_of_the_last_baskets(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = twin.Limits()
    limited(monkeypatch, limits)
    customers, m = odd_shop(seed)
    history = twin.baskets_of(customers, m)
    blend = NextBasket().fit(history).blend
    before = [own[:-1] for own in customers]
    rows = [c for c, own in enumerate(before) if own]
    known = twin.known_of(before, m, rows, limits)
    told, bought = [], 0
    for c in rows:
        day, target = customers[c][-1]
        own = twin.told(known, before, [-1] * len(before), -1, day, limits)
        alike = twin.similarities(before[c], own.references, rows.index(c), limits)
        sums, signals = twin.signals_of(before[c], day, alike, own, limits)
        must, may = twin.candidates(before[c], sums, own, limits)
        assert must == may
        told += [list(signals[code].values()) for code in must]
        bought += len(must & set(target))
    assert (blend.rows, blend.bought) == (len(told), bought)
    assert blend.centre == pytest.approx(np.mean(told, axis=0), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("seed", [2, 7])
def test_threads_and_company_change_nothing(seed: int) -> None:
    case = odd_case(seed)
    asked = {"day": case.days, "segments": case.asked_segments}
    alone, together = (case.model.rank(case.history, 5, **asked, threads=threads) for threads in (1, 2))
    some = np.random.default_rng(seed).permutation(case.history.n)[:7]
    part = case.model.rank(case.history.take(some), 5, day=case.days[some], segments=case.asked_segments[some])
    for name in ("codes", "scores", "signals", "neighbours"):
        one = getattr(alone, name)
        assert one.tobytes() == getattr(together, name).tobytes()
        assert one[some].tobytes() == getattr(part, name).tobytes()
    plain = case.model.rank(case.history, 5, **asked, explain=False)
    assert plain.codes.tobytes() == alone.codes.tobytes()
    assert plain.scores.tobytes() == alone.scores.tobytes()
    assert case.model.recommend(case.history, 5, **asked).tolist() == alone.codes.tolist()


def test_more_days_than_are_held_at_once() -> None:
    history = habits(customers=150, products=20, seed=3)
    model = NextBasket().fit(history)
    days = np.arange(200, 350, dtype=np.int32)
    together = model.rank(history, 4, day=days)
    for c in (0, 63, 64, 149):
        alone = model.rank(history.take(np.array([c])), 4, day=int(days[c]))
        assert alone.codes[0].tolist() == together.codes[c].tolist()
        assert alone.signals[0].tobytes() == together.signals[c].tobytes()
    after = model.rank(history, 4)
    assert after.scores.tobytes() == model.rank(history, 4, day=int(history.day.max()) + 1).scores.tobytes()


@pytest.mark.parametrize("seed", range(3))
def test_names_do_not_matter(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # All customers are near: of those who are equally near the first are taken, which names decide.
    limited(monkeypatch, twin.Limits())
    history = habits(customers=80, products=25, seed=seed)
    rng = np.random.default_rng(seed)
    people, codes = rng.permutation(history.n), rng.permutation(history.m)
    customers = twin.customers_of(history)
    renamed = twin.baskets_of(
        [[(day, sorted(codes[items].tolist())) for day, items in customers[c]] for c in people], history.m
    )
    one, other = (NextBasket().fit(own).rank(own, 5) for own in (history, renamed))
    assert other.scores == pytest.approx(one.scores[people], rel=1e-3, abs=2e-3)
    clear = np.diff(one.scores[people], axis=1, prepend=np.inf) < -0.01
    clear &= np.diff(one.scores[people], axis=1, append=-np.inf) < -0.01
    # The last of a list may change places with one that is not in it.
    clear[:, -1] = False
    assert clear.mean() > 0.5
    assert other.codes[clear].tolist() == codes[one.codes[people]][clear].tolist()


def test_a_customer_who_bought_more_than_is_considered() -> None:
    # Two products that are bought once, then six hundred others in one basket.
    m = 700
    rng = np.random.default_rng(3)
    shop = [
        [(7 * b, sorted(set(rng.choice(60, 5).tolist()))) for b in range(6)] for _ in range(120)
    ] + [[(0, [0, 1]), (3, list(range(60, m)))]]  # fmt: skip
    history = twin.baskets_of(shop, m)
    told = np.full(m, -1, np.int8)
    told[:3] = 0
    model = NextBasket(repurchase=told).fit(history)
    found = model.rank(history, m)
    codes = set(found.codes[-1].tolist())
    assert {0, 1}.isdisjoint(codes)
    assert 2 in codes
    owned = [code for code in codes if code >= 60]
    # Those bought last, and in a basket the first ones.
    assert sorted(owned)[: kernels.MOST_OWNED] == list(range(60, 60 + kernels.MOST_OWNED))


def test_a_customer_of_a_thousand_baskets() -> None:
    # What was bought so long ago counts next to nothing, which is still something.
    m = 20
    long = [(day, [day % 19]) for day in range(60)] + [(day, [19]) for day in range(60, 1_000)]
    rest = twin.customers_of(habits(customers=60, products=m, seed=1))
    history = twin.baskets_of([*rest, long], m)
    model = NextBasket().fit(history)
    own = history.take(np.array([60]))
    with running(uncompiled()):
        text = model.rank(own, m)
    machine = model.rank(own, m)
    assert machine.codes.tolist() == text.codes.tolist()
    assert machine.codes[0, 0] == 19


@pytest.mark.parametrize("seed", range(8))
def test_only_new_or_bought_products_and_never_the_excluded(seed: int) -> None:
    case = odd_case(seed)
    m = case.history.m
    asked = {"day": case.days, "segments": case.asked_segments}
    never = np.random.default_rng(seed).random(m) < 0.3
    with pytest.MonkeyPatch.context() as patch:
        limited(patch, case.limits)
        whole = case.model.recommend(case.history, m, **asked)
        for only, excluded in (("new", None), ("bought", None), (None, never), ("new", never), ("bought", never)):
            found = case.model.recommend(case.history, m, only=only, excluded=excluded, **asked)
            for line, baskets in enumerate(case.history.each()):
                owned = {code for basket in baskets for code in basket}
                kept = [
                    code
                    for code in whole[line].tolist()
                    if code >= 0
                    and (only is None or (code in owned) == (only == "bought"))
                    and (excluded is None or not excluded[code])
                ]
                assert found[line].tolist() == kept + [-1] * (m - len(kept))


@pytest.mark.parametrize("only", [None, "new", "bought"])
@pytest.mark.parametrize("seed", range(3))
def test_a_list_is_as_long_as_can_be(seed: int, only: str | None) -> None:
    # Many more products than there are candidates.
    rng = np.random.default_rng(seed)
    m = 900
    shop = [
        [(9 * b, sorted(set(rng.choice(m, 6, p=share).tolist()))) for b in range(4)]
        for share in [np.arange(m, 0, -1) ** 3 / (np.arange(m, 0, -1) ** 3).sum()]
        for _ in range(90)
    ]
    history = twin.baskets_of([*shop, []], m)
    never = rng.random(m) < 0.2
    told = np.where(rng.random(m) < 0.3, 0, 1).astype(np.int8)
    model = NextBasket(repurchase=told).fit(history)
    buyers = model.knowledge.buyers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(next_basket, "wanted_kinds", lambda *given, least: wanted_kinds(*given, least=0))
        candidates = model.recommend(history, 990, only=only, excluded=never)
    for k in (5, 400, 990):
        found = model.rank(history, k, only=only, excluded=never)
        for line, baskets in enumerate(history.each()):
            owned = {code for basket in baskets for code in basket}
            able = {
                code
                for code in range(m)
                if not never[code]
                and (told[code] == 1 if code in owned else True)
                and (only is None or (code in owned) == (only == "bought"))
            }
            first = [code for code in candidates[line].tolist() if code >= 0]
            # The candidates by their scores, then what most people buy, of equally many the lower product.
            rest = sorted(able - set(first), key=lambda code: (-buyers[code], code))
            expected = [*first, *rest][:k]
            assert found.codes[line].tolist() == expected + [-1] * (k - len(expected))
            assert np.isfinite(found.scores[line]).all()


def test_never_what_is_owned_and_bought_once() -> None:
    customers = [[(day, [0, 1 + (c + day) % 6] if day < 3 else [0]) for day in range(5)] for c in range(600)]
    history = twin.baskets_of(customers, 7)
    once = NextBasket().fit(history)
    assert once.knowledge.repurchase.once.tolist() == [False] + [True] * 6
    codes = once.recommend(history, 7)
    for own, found in zip(history.each(), codes.tolist(), strict=True):
        owned = {code for basket in own for code in basket} - {0}
        assert owned.isdisjoint(found)
        # All others, and then no more.
        assert sorted(found) == [-1] * len(owned) + sorted({0, 1, 2, 3, 4, 5, 6} - owned)
        assert found[-len(owned) :] == [-1] * len(owned)
    told = np.array([-1, 1, -1, -1, -1, -1, -1], np.int8)
    allowed = NextBasket(repurchase=told).fit(history).recommend(history, 7)
    assert (allowed == 1).any(axis=1).all()


def test_who_is_new_gets_what_is_in_vogue() -> None:
    history = habits(customers=200, products=30, seed=5)
    model = NextBasket().fit(history)
    nobody = Baskets(
        pl.Series(["new"]), history.products, np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(1, np.int64),
        np.zeros(0, np.int32),
    )  # fmt: skip
    found = model.rank(nobody, 5)
    assert (found.codes >= 0).all()
    assert (found.neighbours == -1).all()
    assert set(found.codes[0].tolist()) <= set(range(15))
    # Before the first day nothing is in vogue; there is still an answer.
    assert (model.recommend(nobody, 5, day=-1_000) >= 0).all()
    assert model.recommend(nobody.take(np.array([], np.int64)), 5).shape == (0, 5)


def test_fitted_twice_is_fitted_on_the_second() -> None:
    one, other = (habits(customers=90, products=15, seed=seed) for seed in (0, 1))
    twice = NextBasket().fit(one).fit(other)
    once = NextBasket().fit(other)
    assert twice.rank(other, 5).scores.tobytes() == once.rank(other, 5).scores.tobytes()


def test_samples_follow_the_seed() -> None:
    history = habits(customers=150, products=15, seed=0)
    first, same, other = (NextBasket(fit_customers=60, references=40, seed=seed).fit(history) for seed in (1, 1, 2))
    assert first.blend.weights.tobytes() == same.blend.weights.tobytes()
    assert first.blend.weights.tobytes() != other.blend.weights.tobytes()
    assert len(first.knowledge.references) == 40
    assert first.blend.rows < NextBasket(references=40, seed=1).fit(history).blend.rows


def test_what_is_asked_for_wrongly() -> None:
    history = habits(customers=60, products=12, seed=0)
    model = NextBasket()
    for ask in (lambda: model.recommend(history, 5), lambda: model.blend, lambda: model.knowledge):
        with pytest.raises(DataError, match=r"call fit\(history\) first"):
            ask()
    for settings in ({"fit_customers": 0}, {"references": 0}):
        with pytest.raises(SettingError, match="expected at least 1; got 0"):
            NextBasket(**settings)
    with pytest.raises(SettingError, match="once_below"):
        NextBasket(once_below=2.0).fit(history)
    with pytest.raises(DataError, match="category"):
        NextBasket(category=np.zeros(3, np.int32)).fit(history)
    model.fit(history, np.arange(60, dtype=np.int32) % 2)
    with pytest.raises(SettingError, match=r"only.*new, bought"):
        model.recommend(history, 5, only="old")
    for excluded in (np.zeros(3, bool), np.zeros(12, np.int8)):
        with pytest.raises(DataError, match="excluded: expected a truth value for each of 12 products"):
            model.recommend(history, 5, excluded=excluded)
    for k in (0, -3):
        with pytest.raises(SettingError, match="at least 1 product"):
            model.recommend(history, k)
    with pytest.raises(DataError, match=r"knows 2 segments \(0 to 1\); got number 2"):
        model.recommend(history, 5, segments=np.full(60, 2, np.int32))
    with pytest.raises(SettingError, match="whole number for each of 60 customers"):
        model.recommend(history, 5, segments=np.zeros(59, np.int32))
    with pytest.raises(DataError, match="fitted without segments"):
        NextBasket().fit(history).recommend(history, 5, segments=np.zeros(60, np.int32))
    for day in (np.zeros(59, np.int32), 3.7, "2024-05-01", 10**12, np.zeros((60, 1), np.int32)):
        with pytest.raises(DataError, match="expected whole days"):
            model.recommend(history, 5, day=day)  # type: ignore[arg-type]


def test_other_products_are_refused() -> None:
    history = habits(customers=60, products=12, seed=0)
    model = NextBasket().fit(history)
    for products in (history.products.head(11), history.products.reverse()):
        other = Baskets.from_frame(
            pl.DataFrame({"customer_id": [1], "product_id": [products[0]], "timestamp": [5]}).with_columns(
                pl.col("timestamp").cast(pl.Date)
            ),
            basket="day",
            products=products,
        )
        with pytest.raises(DataError, match="model's products"):
            model.recommend(other, 5)


def test_nothing_to_learn_from() -> None:
    for customers in ([], [[]], [[(1, [0, 1])], [(2, [1])]]):
        with pytest.raises(DataError, match="two baskets"):
            NextBasket().fit(twin.baskets_of(customers, 2))
    # The one last basket holds what nobody bought before.
    with pytest.raises(DataError, match="no weights can be fitted"):
        NextBasket(once_below=0.0).fit(twin.baskets_of([[(1, [0]), (2, [80])]], 81))
