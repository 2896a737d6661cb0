"""Who to offer a product to."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import engine
from engine.errors import BundleError, DataError, SettingError, SourceNotFoundError
from engine.recommend import for_product, knowledge, popularity
from engine.recommend.baskets import Baskets, baskets_of
from engine.recommend.recommender import CustomerRecommender
from engine.recommend.synthetic import habits
from tests.reference import customers_for_twin as twin

AS_OF = datetime(1971, 1, 1, tzinfo=UTC)


def fitted(seed: int, **settings: Any) -> CustomerRecommender:
    history = habits(customers=120, products=40, seed=seed)
    ids = history.customer_ids
    # Every fifth customer has no segment.
    segments = pl.DataFrame(
        {"customer_id": ids, "segment_id": [None if i % 5 == 0 else f"s{i % 2}" for i in range(120)]}
    )
    products = pl.DataFrame(
        {
            "product_id": history.products,
            "kind": ["grill" if i % 3 == 0 else "bag" if i == 1 else "food" for i in range(40)],
        }
    )
    return CustomerRecommender.fit(
        history, as_of=AS_OF, products=products, category="kind", assignments=segments, **settings
    )


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_everybodys_list_says(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(for_product, "PART_CUSTOMERS", 17)
    if seed % 2:
        # So that not every product is one that many buy.
        monkeypatch.setattr(popularity, "IN_VOGUE", 4)
        monkeypatch.setattr(knowledge, "FAVOURITES", 3)
    recommender = fitted(seed, repurchase={"grill": False}, exclude=["bag"])
    told = set()
    for code, only, segment in (
        (0, None, None),
        (3, "new", "s1"),
        (8, "bought", None),
        (20, None, "s0"),
        (37, None, None),
    ):
        product = recommender.history.products[code]
        most_bought = (
            recommender.model.knowledge.groups.popular,
            recommender.model.knowledge.popularity.market(np.array([recommender.day])).popular,
        )
        widely = code in np.concatenate([array.ravel() for array in most_bought])
        told.add(widely)
        expected = twin.customers_for(recommender, product, segment_id=segment, only=only, widely=widely)
        found = recommender.customers_for(product, segment_id=segment, only=only).to_dicts()
        assert [one["customer_id"] for one in found] == [one["customer_id"] for one in expected]
        for one, other in zip(found, expected, strict=True):
            assert one == {name: other[name] for name in one}
        few = recommender.customers_for(product, segment_id=segment, only=only, most=7).to_dicts()
        assert few == found[:7]
    assert told == ({True, False} if seed % 2 else {True})


def test_owners_of_what_is_bought_once_are_left_out() -> None:
    recommender = fitted(0, repurchase={"grill": False})
    owned = {
        customer
        for customer, own in zip(recommender.history.customer_ids, recommender.history.each(), strict=True)
        if any(0 in basket for basket in own)
    }
    found = recommender.customers_for(recommender.history.products[0])
    assert owned
    assert not owned & {*found["customer_id"]}
    assert set(found["times_bought"]) == {0}


@pytest.mark.parametrize("seed", range(3))
def test_those_named_first_buy_it_more_often(seed: int) -> None:
    # The score of one product compares customers: it was fitted on the candidates of all of them together.
    before, targets = habits(customers=300, products=40, seed=seed).without_last()
    recommender = CustomerRecommender.fit(before)
    bought = {
        int(customer): set(targets.item[targets.start[j] : targets.start[j + 1]].tolist())
        for j, customer in enumerate(targets.customers)
    }
    row_of = {customer: row for row, customer in enumerate(before.customer_ids)}
    first = last = 0
    for code in range(10):
        rows = [row_of[customer] for customer in recommender.customers_for(before.products[code])["customer_id"]]
        hits = [code in bought.get(row, ()) for row in rows]
        first += sum(hits[:30])
        last += sum(hits[-100:])
    assert first / 300 > 3 * last / 1_000


def test_it_is_the_same_from_a_folder_and_in_both_languages(tmp_path: Path) -> None:
    recommender = fitted(1)
    recommender.save(tmp_path / "offers" / "recommender")
    opened = engine.load(tmp_path / "offers" / "recommender")
    assert isinstance(opened, CustomerRecommender)
    product = recommender.history.products[2]
    spanish = opened.customers_for(product, language="es")
    assert spanish.equals(recommender.customers_for(product, language="es"))
    english = opened.customers_for(product)
    assert english.drop("why").equals(spanish.drop("why"))
    assert not english["why"].equals(spanish["why"])
    assert english.columns[:4] == ["customer_id", "score", "reason", "why"]
    with pytest.raises(SourceNotFoundError, match=r"that of a whole run\. Take .*recommender"):
        engine.load(tmp_path / "offers")
    with pytest.raises(SourceNotFoundError):
        engine.load(tmp_path / "none")
    manifest = tmp_path / "offers" / "recommender" / "manifest.json"
    manifest.write_text(manifest.read_text("utf-8").replace('"version"', '"verzion"'), "utf-8")
    with pytest.raises(BundleError, match="recommender="):
        engine.load(manifest.parent)
    manifest.write_text("[", "utf-8")
    with pytest.raises(BundleError, match=r"manifest\.json"):
        engine.load(manifest.parent)


def test_numbers_and_nobody() -> None:
    history = habits(customers=120, products=40, seed=0)
    numbers = history.products.str.slice(1).cast(pl.Int64).cast(pl.String)
    plain = Baskets(history.customer_ids, numbers, *(getattr(history, name) for name in history.__slots__[2:]))
    recommender = CustomerRecommender.fit(plain, as_of=AS_OF)
    assert recommender.customers_for(3).equals(recommender.customers_for("3"))
    # A customer whose baskets held nothing but what is excluded is known, and not asked.
    own = next(row for row, customer in enumerate(history.each()) if customer)
    bought = {product for basket in list(history.each())[own] for product in basket}
    never = CustomerRecommender.fit(plain, as_of=AS_OF, exclude=[numbers[code] for code in bought])
    other = next(code for code in range(40) if code not in bought)
    assert history.customer_ids[own] not in never.customers_for(numbers[other])["customer_id"]
    assert np.diff(never.history.basket_start)[own] == 0


@pytest.mark.parametrize(
    ("product", "settings", "message"),
    [
        ("p0001", {}, "product_id: 'p0001' is never offered"),
        ("P0002", {}, r"product_id: 'P0002' is no product that anybody bought \(did you mean 'p0002'\?\)"),
        (None, {}, "products: expected ids, texts or whole numbers; got None"),
        (["p0002"], {}, "products: expected ids, texts or whole numbers"),
        ("p0002", {"segment_id": "s7"}, "segment_id: expected one of s0, s1; got 's7'"),
        ("p0002", {"most": 0}, "most: expected a number of customers, at least 1; got 0"),
        ("p0002", {"most": True}, "most: expected a number of customers"),
        ("p0002", {"only": "old"}, "only: expected one of new, bought; got 'old'"),
        ("p0002", {"language": "fr"}, "language: expected one of"),
    ],
)
def test_what_cannot_be_asked(product: Any, settings: dict[str, Any], message: str) -> None:
    history = habits(customers=120, products=40, seed=1)
    kinds = pl.DataFrame({"customer_id": history.customer_ids, "segment_id": [f"s{i % 2}" for i in range(120)]})
    recommender = CustomerRecommender.fit(history, as_of=AS_OF, assignments=kinds, exclude=["p0001"])
    with pytest.raises((DataError, SettingError), match=message):
        recommender.customers_for(product, **settings)


def test_what_is_no_history_says_what_to_give() -> None:
    recommender = fitted(2)
    assert baskets_of(recommender.history) is recommender.history
    with pytest.raises(SettingError, match=r"got CustomerRecommender\. It has them: give its \.history"):
        baskets_of(recommender)
    with pytest.raises(SettingError, match=r"got DataFrame\. Make them of a frame with Baskets\.from_frame"):
        baskets_of(pl.DataFrame())
    with pytest.raises(SettingError, match="got NoneType"):
        baskets_of(None)
