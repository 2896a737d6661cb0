from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from engine.errors import DataError
from engine.recommend import blend
from engine.recommend.baskets import Baskets, Targets
from engine.recommend.blend import Blend, fit_blend
from engine.recommend.next_basket import NextBasket
from tests.reference.next_basket_twin import baskets_of

K = 10
KINDS = ("once", "again", "mixed")


WIDE = np.array([-9.0, -9.0]), np.array([9.0, 9.0])


def made_up(seed: int, rows: int = 400, width: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    signals = (rng.normal(size=(rows, width)) * [1, 5, 0.2] + [0, -9, 3]).astype(np.float32)
    odds = signals[:, 0] - 0.3 * signals[:, 1] + signals[:, 0] * signals[:, 2] / 4 - 3
    return signals, rng.random(rows) < 1 / (1 + np.exp(-odds))


@pytest.mark.parametrize("seed", range(4))
def test_the_weights_are_where_the_penalised_likelihood_is_largest(seed: int) -> None:
    signals, bought = made_up(seed)
    found = fit_blend(signals, bought, np.random.default_rng(0))
    x = signals.astype(np.float64)
    centre, spread = x.mean(axis=0), x.std(axis=0)
    assert found.centre == pytest.approx(centre)
    # Back to the signals as they were fitted: less their mean, over their spread; and all products of two, so too.
    told = (x - centre) / spread
    first, second = np.triu_indices(3)
    both = told[:, first] * told[:, second]
    sizes = both.std(axis=0)
    told = np.hstack([told, both / sizes])
    slopes = (found.weights + (found.pairs + found.pairs.T) @ centre) * spread
    coefficients = np.append(slopes, (found.pairs * np.outer(spread, spread))[first, second] * sizes)
    score = told @ coefficients
    # The constant, which the blend leaves out, makes as many expected as bought.
    low, high = -50.0, 50.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(-score - middle))).sum() < bought.sum() else (low, middle)
    expected = 1 / (1 + np.exp(-score - low))
    # The slope of C · log-likelihood − |coefficients|² / 2 is zero.
    strength = min(1.0, bought.sum() / blend.ENOUGH_BOUGHT)
    assert strength * told.T @ (bought - expected) == pytest.approx(coefficients, abs=0.05)
    assert np.abs(coefficients).max() > 0.1
    # And scores differ by the constant only.
    assert np.ptp(found.score(signals) - score) == pytest.approx(0, abs=1e-6)
    assert (found.rows, found.bought) == (400, bought.sum())


def test_scores_and_gains_worked_by_hand() -> None:
    found = Blend(
        np.array([1.0, 10.0]), np.array([[100.0, 1000.0], [0.0, 10_000.0]]), np.array([0.0, 1.0]), *WIDE, 9, 3
    )
    # 2·1 + 3·10 + 2·2·100 + 2·3·1000 + 3·3·10000
    assert found.score(np.array([[2, 3]], np.float32)).tolist() == [96_432]
    assert found.gains(np.array([[2, 3]], np.float32), [[0]]).tolist() == [[2 + 400 + 6_000]]
    assert found.gains(np.array([[2, 3]], np.float32), [[1]]).tolist() == [[96_432 - (2 + 10 + 400 + 2_000 + 10_000)]]
    assert found.score(np.zeros((4, 5, 2), np.float32)).shape == (4, 5)


def test_a_signal_that_is_always_the_same_weighs_nothing() -> None:
    signals, bought = made_up(1)
    signals[:, 1] = -9.21034
    found = fit_blend(signals, bought, np.random.default_rng(0))
    assert found.weights[1] == 0
    assert not found.pairs[1].any()
    assert not found.pairs[:, 1].any()
    assert np.isfinite(found.weights).all()


def test_nothing_and_everything_bought() -> None:
    signals, _ = made_up(0)
    for bought in (np.zeros(400, bool), np.ones(400, bool)):
        with pytest.raises(DataError, match="no weights can be fitted"):
            fit_blend(signals, bought, np.random.default_rng(0))
    with pytest.raises(DataError, match="of 0 products that could have been in the last baskets 0 were"):
        fit_blend(signals[:0], np.zeros(0, bool), np.random.default_rng(0))


def test_of_many_rows_a_sample_that_stands_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    signals, bought = made_up(0, rows=12_000)
    whole = fit_blend(signals, bought, np.random.default_rng(0))
    monkeypatch.setattr(blend, "MOST_ROWS", 6_000)
    one, same, other = (fit_blend(signals, bought, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.weights.tobytes() == same.weights.tobytes() != other.weights.tobytes()
    assert (one.rows, one.bought) == (12_000, bought.sum())
    assert one.centre.tolist() == whole.centre.tolist()
    # Others are drawn more often than what was bought, which is undone by their weights: the odds are those of all.
    for found in (one, other):
        assert np.corrcoef(found.score(signals), whole.score(signals))[0, 1] > 0.99
        assert np.ptp(found.score(signals)) == pytest.approx(np.ptp(whole.score(signals)), rel=0.2)


class Shop(NamedTuple):
    """What came before, and the basket that is to be foreseen."""

    history: Baskets
    targets: Targets


@cache
def shop(kind: str, seed: int, customers: int = 300, products: int = 60) -> Shop:
    """Customers of two tastes; they buy products once, their favourites again and again, or some so and some so."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(2, products + 2)
    rows = []
    for c in range(customers):
        # Half of them prefer the first products, half every third.
        taste = share * (np.arange(products) % 3 == 0) + share / 3 if c % 2 else share
        usual = rng.choice(products, 5, replace=False, p=taste / taste.sum())
        owned: set[int] = set()
        own = []
        for day in np.sort(rng.choice(150, rng.integers(3, 8), replace=False)).tolist():
            bought = set(rng.choice(products, 3, replace=False, p=taste / taste.sum()).tolist())
            if kind != "once":
                bought |= set(usual[rng.random(5) < 0.5].tolist())
            if kind != "again":
                bought = {i for i in bought if (kind == "mixed" and i % 2) or i not in owned}
            owned |= bought
            if bought:
                own.append((day, sorted(bought)))
        rows.append(own)
    return Shop(*baskets_of(rows, products).without_last())


def recall(codes: np.ndarray, targets: Targets) -> np.ndarray:
    found = []
    for line, c in enumerate(targets.customers.tolist()):
        wanted = set(targets.item[targets.start[line] : targets.start[line + 1]].tolist())
        found.append(len(wanted & set(codes[c].tolist())) / len(wanted))
    return np.array(found)


def baselines(history: Baskets) -> dict[str, np.ndarray]:
    """What all buy; what all buy and the customer does not own; what the customer buys most, then what all buy."""
    bought = np.bincount(history.item, minlength=history.m)
    popular = sorted(range(history.m), key=lambda i: (-bought[i], i))
    lists: dict[str, list[list[int]]] = {"popular": [], "popular and new": [], "personal": []}
    for own in history.each():
        counts: dict[int, int] = {}
        for basket in own:
            for item in basket:
                counts[item] = counts.get(item, 0) + 1
        personal = sorted(counts, key=lambda i: (-counts[i], -bought[i], i))
        lists["popular"].append(popular[:K])
        lists["popular and new"].append([i for i in popular if i not in counts][:K])
        lists["personal"].append([*personal, *(i for i in popular if i not in counts)][:K])
    return {name: np.array(codes) for name, codes in lists.items()}


@cache
def fitted(kind: str, seed: int) -> NextBasket:
    return NextBasket().fit(shop(kind, seed).history)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_never_below_a_plain_baseline_by_more_than_its_interval(kind: str, seed: int) -> None:
    history, targets = shop(kind, seed)
    day = np.full(history.n, 150, np.int32)
    day[targets.customers] = targets.day
    ours = recall(fitted(kind, seed).recommend(history, K, day=day), targets)
    plain = {name: recall(codes, targets) for name, codes in baselines(history).items()}
    for name, theirs in plain.items():
        difference = ours - theirs
        margin = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
        assert difference.mean() + margin >= 0, name
    # What is good in one kind of shop is bad in another, so that no baseline is good in all.
    means = {name: float(values.mean()) for name, values in plain.items()}
    best = max(means, key=means.__getitem__)
    assert best == "popular and new" if kind == "once" else best != "popular and new"
    assert kind != "again" or best == "personal"


def share_owned(model: NextBasket, history: Baskets) -> float:
    """Of what is offered, the share that the customer bought before."""
    codes = model.recommend(history, K)
    owned = [
        len({item for basket in own for item in basket} & set(found))
        for own, found in zip(history.each(), codes.tolist(), strict=True)
    ]
    return float(np.mean(owned)) / K


@pytest.mark.parametrize("seed", range(2))
def test_where_nobody_buys_again_what_is_owned_is_not_offered(seed: int) -> None:
    # Even without knowing which products are bought once.
    history, _ = shop("once", seed)
    assert share_owned(NextBasket(once_below=0.0).fit(history), history) < 0.02
    # Where all do, it is most of what is offered.
    assert share_owned(fitted("again", seed), shop("again", seed).history) > 0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_who_is_new_gets_what_is_popular(kind: str, seed: int) -> None:
    # First baskets of others, of whom nothing is known: what all buy is hard to beat and must not be lost.
    history, _ = shop(kind, seed + 10)
    baskets, targets = history.without_last(1, least=0)
    nobody = baskets.before(-1)
    ours = recall(fitted(kind, seed).recommend(nobody, K), targets)
    theirs = recall(np.tile(baselines(shop(kind, seed).history)["popular"][:1], (history.n, 1)), targets)
    difference = ours - theirs
    assert difference.mean() + 1.96 * difference.std(ddof=1) / np.sqrt(len(difference)) >= 0


def test_beyond_the_range_of_the_fit_a_signal_counts_as_its_end() -> None:
    pairs = np.array([[0.0, 0.0], [0.0, -50.0]])
    found = Blend(np.array([1.0, 1.0]), pairs, np.zeros(2), np.array([-1.0, -0.1]), np.array([1.0, 0.1]), 9, 3)
    assert found.score(np.array([[0.5, 7.0], [5.0, -3.0]])).tolist() == pytest.approx(
        [0.5 + 0.1 - 0.5, 1.0 - 0.1 - 0.5]
    )


def test_purchases_at_one_interval_are_foreseen_the_day_after() -> None:
    # Every seven days the same: how long ago hardly varies in the fit, and is far out of its range on the next day.
    shop = [(c, b, 7 * b, p) for c in range(60) for b in range(5) for p in ("bread", "tea", f"other {(c + b) % 9}")]
    rows = pl.DataFrame(shop, schema=["customer_id", "order_id", "timestamp", "product_id"], orient="row")
    history = Baskets.from_frame(rows.with_columns(pl.col("timestamp").cast(pl.Date)))
    model = NextBasket().fit(history)
    top = model.recommend(history, 2, day=29)
    assert {history.products[code] for code in np.unique(top).tolist()} == {"bread", "tea"}
