from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.recommend.next_basket import NextBasket
from engine.recommend.one_customer import FIGURES, OneByOne
from engine.recommend.recommender import CustomerRecommender
from engine.report.recommend_words import SEGMENT_OFFER_TEXTS
from engine.serving import answers
from tests.serving.api_example import ONE, bearer, client_of
from tests.serving.pages_example import STRANGE_IDS, World, make_world
from tests.serving.recommend_example import RULES, WHY_NO_RULES, recommender_of, tables_of
from tests.serving.test_serving_reading import quoted

IDS = [*STRANGE_IDS, *(f"c{number}" for number in range(82))]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), ids=IDS, recommended=True)


@pytest.fixture(scope="module")
def client(world: World) -> Any:
    return client_of(world.app, "customers")


@pytest.fixture(scope="module")
def recommender(world: World) -> CustomerRecommender:
    return CustomerRecommender.open(world.folder / "recommender")


def same(offer: dict[str, Any], row: dict[str, Any]) -> None:
    """Hold an answer against a row of the batch's table."""
    for name in ("rank", "product_id", "product", "reason", "why"):
        assert offer[name] == row[name], (name, offer, row)
    assert offer["score"] == pytest.approx(row["score"], rel=1e-5, abs=1e-5)
    for name in FIGURES:
        wanted = row[name]
        assert offer[name] == (pytest.approx(wanted, rel=1e-5) if isinstance(wanted, float) else wanted), (name, row)


@pytest.mark.parametrize("language", ["en", "es"])
def test_one_customer_gets_what_the_batch_says(recommender: CustomerRecommender, language: str) -> None:
    one, k = OneByOne(recommender), 15
    batch = recommender.recommend(None, k, language=language).rows(named=True)
    place = 0
    for row in range(recommender.history.n):
        for offer in one.customer(row, k, language=language):
            assert batch[place]["customer_id"] == recommender.history.customer_ids[row]
            same(offer, batch[place])
            place += 1
    assert place == len(batch)
    assert {row["reason"] for row in batch} >= {"habit", "owned", "along"}


def test_every_reason_is_told_as_in_the_batch(recommender: CustomerRecommender) -> None:
    """Weights that let one signal speak at a time, so that every reason has its turn."""
    from engine.recommend import kernels

    seen: set[str] = set()
    blend = recommender.model.blend
    for signal in ("alike", "along", "following", "segment", "fresh", "ever"):
        weights = np.zeros(len(blend.weights))
        weights[kernels.SIGNALS.index(signal)] = 1.0
        weights[kernels.SIGNALS.index("owned")] = -9.0
        loud = blend._replace(weights=weights, pairs=np.zeros_like(blend.pairs), centre=blend.centre - 5.0)
        changed = replace(recommender, model=NextBasket.fitted(recommender.model.knowledge, loud))
        one = OneByOne(changed)
        batch = changed.recommend(None, 4, language="es").rows(named=True)
        told = [offer for row in range(changed.history.n) for offer in one.customer(row, 4, language="es")]
        for offer, row in zip(told, batch, strict=True):
            same(offer, row)
        seen |= {row["reason"] for row in batch}
    assert seen >= {"alike", "along", "following", "segment", "fresh", "popular"}


def test_a_basket_gets_what_the_recommender_says(world: World, recommender: CustomerRecommender) -> None:
    one = OneByOne(recommender)
    ids = recommender.segments["segment_id"].to_list()
    for basket in ([], ["p0001"], ["p0005", "p0001", "p0005", "unheard of"], [f"p{i:04d}" for i in range(55)]):
        for number, segment_id in [(None, None), *enumerate(ids)]:
            told = one.basket(basket, 10, segment=number, language="es")
            wanted = recommender.for_basket(basket, segment_id=segment_id, k=10, language="es")
            assert len(told) == len(wanted)
            for offer, row in zip(told, wanted, strict=True):
                same(offer, row)
            products = [offer["product_id"] for offer in told]
            assert len(set(products)) == len(products)
            assert not set(products) & set(basket)


def test_work_space_is_left_clean(recommender: CustomerRecommender) -> None:
    """Of the same customer the same is said, whoever was asked for in between."""
    one = OneByOne(recommender)
    first = one.customer(3, 10)
    for row in range(recommender.history.n):
        one.customer(row, 1 + row % 60)
        one.basket([f"p{row % 60:04d}"], 5)
    assert one.customer(3, 10) == first
    assert OneByOne(recommender).customer(3, 10) == first


def test_a_customer_is_found_by_any_id(world: World, client: Any, recommender: CustomerRecommender) -> None:
    batch = recommender.recommend(None, 5, language="es")
    for customer_id in (*STRANGE_IDS, "c7", "c81"):
        answer = client.get(f"/v1/customers/{quoted(customer_id)}/recommendations?k=5&language=es")
        assert answer.status_code == 200, (customer_id, answer.text)
        content = answers.CustomerOffers.model_validate(answer.json())
        assert (content.customer_id, content.as_of[:10]) == (customer_id, "1971-01-05")
        own = batch.filter(pl.col("customer_id") == customer_id)
        assert [one.product_id for one in content.recommendations] == own["product_id"].to_list()
        assert [one.why for one in content.recommendations] == own["why"].to_list()
        assert content.recommendations[0].product.startswith("Café <")


def test_ids_that_are_numbers(tmp_path: Any) -> None:
    world = make_world(tmp_path, recommended=True)
    client = client_of(world.app, "customers")
    assert client.get("/v1/customers/7/recommendations").json()["customer_id"] == 7
    for unknown in ("007", "7.0", "121", "-1", "9" * 30):
        assert client.get(f"/v1/customers/{unknown}/recommendations").status_code == 404


def test_somebody_new_gets_what_fits_the_segment(world: World, client: Any) -> None:
    typical = world.model.classify(ONE).segment
    for body, segment_id in (
        ({"basket": ["p0002"], "customer": ONE}, typical.segment_id),
        ({"basket": ["p0002"], "segment_id": typical.segment_id}, typical.segment_id),
        ({"basket": ["p0002", "unheard of", "unheard of"]}, None),
        ({}, None),
    ):
        answer = client.post("/v1/recommend?language=es", json=body)
        assert answer.status_code == 200, answer.text
        content = answers.BasketOffers.model_validate(answer.json())
        assert content.segment_id == segment_id
        assert content.name == (typical.name.es if segment_id else None)
        assert content.unknown == (["unheard of"] if "unheard of" in body.get("basket", []) else [])
        assert [one.rank for one in content.recommendations] == list(range(1, 11))
        assert "p0002" not in [one.product_id for one in content.recommendations] or not body
    by_values, by_id = (
        client.post("/v1/recommend", json={"basket": ["p0002"], **body}).json()
        for body in ({"customer": ONE}, {"segment_id": typical.segment_id})
    )
    assert by_values == by_id
    missing = {"frequency": 4}
    assert client.post("/v1/recommend", json={"customer": missing}).status_code == 422
    assert client.post("/v1/recommend?impute=true", json={"customer": missing}).status_code == 200


def test_product_ids_may_be_written_as_numbers(tmp_path: Any) -> None:
    from tests.serving.recommend_example import offers_of, write_recommender

    world = make_world(tmp_path, ids=list(range(60)))
    made = recommender_of(list(range(60)), world.model, popular="1082185")
    offers = offers_of(tmp_path / "bundle", write_recommender(tmp_path / "recommender", made))(world.model)
    assert offers.of_basket(["1082185"], None, 3, "en")[1] == []
    assert offers.example[0] in {"1082185", "p0001", "p0002"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"basket": "p0001"}, "list of product ids"),
        ({"basket": [True]}, "list of product ids"),
        ({"basket": [["p0001"]]}, "list of product ids"),
        ({"basket": [1.5]}, "list of product ids"),
        ({"basket": ["p0001"] * 1_001}, "1,000 products at most; got 1,001"),
        ({"basket": ["no", "such"]}, "none of its 2 products"),
        ({"k": 0}, "from 1 to 100; got 0"),
        ({"k": 101}, "from 1 to 100"),
        ({"k": "5"}, "from 1 to 100; got '5'"),
        ({"k": True}, "from 1 to 100"),
        ({"segment_id": "seg-none"}, "there are seg-000000"),
        ({"segment_id": 3}, "expected text"),
        ({"segment_id": "seg-000001", "customer": ONE}, "got both"),
        ({"customer": [1]}, "an object of values"),
        ({"customer": {**ONE, "frequency": -1}}, "frequency"),
        ({"customer": {**ONE, "shoe_size": 43}}, "shoe_size"),
        ({"baskets": []}, "there are basket, segment_id, customer, k, only"),
        ({"only": "bought"}, "/recommendations?only=bought"),
        ({"only": "old"}, "expected 'new', or nothing; got 'old'"),
        ({"only": True}, "expected 'new', or nothing; got True"),
        ({"language": "es"}, "language: It stands behind the question mark of the address (?language=…)"),
    ],
)
def test_an_impossible_body_is_told(client: Any, body: dict[str, Any], words: str) -> None:
    answer = client.post("/v1/recommend", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 400), (b"[]", 400), (b"{", 400), (b'{"k": 1, "k": 2}', 422), (b'{"customer": {"a": 1, "a": 2}}', 422)],
)
def test_a_body_that_cannot_be_read(client: Any, content: bytes, status: int) -> None:
    answer = client.post("/v1/recommend", content=content)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_cross_selling_and_next_products_of_a_segment(client: Any, recommender: CustomerRecommender) -> None:
    content = answers.CrossSellAnswer.model_validate(
        client.get("/v1/segments/seg-000002/cross-sell?language=es").json()
    )
    own = [rule for rule in RULES if rule[0] == 2]
    assert (content.name, content.rules_in_all) == ("Grupo 2", len(own))
    for rule, (_, x, x2, y, customers, went_on, lift) in zip(content.rules, own, strict=True):
        assert [one.product_id for one in rule.bought] == [one for one in (x, x2) if one is not None]
        assert (rule.offer.product_id, rule.offer.product) == (y, f"Café <{int(y[1:])}>")
        assert (rule.customers, rule.customers_went_on, rule.lift) == (customers, went_on, lift)
        assert rule.share_went_on == pytest.approx(went_on / customers)
    short = client.get("/v1/segments/seg-000002/cross-sell?k=1").json()
    assert (len(short["rules"]), short["rules_in_all"]) == (1, 3)
    assert content.why_none is None
    empty = client.get("/v1/segments/seg-000001/cross-sell?language=es").json()
    assert empty["rules"] == []
    assert empty["why_none"] == f"{SEGMENT_OFFER_TEXTS['cross_none'].es.rstrip('.')}. {WHY_NO_RULES['es']}"

    tried = answers.NextProductsAnswer.model_validate(client.get("/v1/segments/seg-000001/next-products?k=3").json())
    wanted = tables_of(recommender)["next_products"].filter(pl.col("segment_id") == "seg-000001").head(3)
    assert [one.product_id for one in tried.products] == wanted["product"].to_list()
    assert [one.probability for one in tried.products] == wanted["probability"].to_list()
    assert (tried.counted_from, tried.counted_days) == ("1970-07-09", 180)
    assert all(math.isfinite(one.probability_high) for one in tried.products)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/customers/nobody/recommendations", 404),
        ("/v1/customers/%00/recommendations", 404),
        ("/v1/customers/c1/recommendations?k=0", 422),
        ("/v1/customers/c1/recommendations?k=101", 422),
        ("/v1/customers/c1/recommendations?k=x", 422),
        ("/v1/customers/c1/recommendations?language=fr", 422),
        ("/v1/customers/c1/recommendations?only=old", 422),
        ("/v1/customers/c1/recommendations?only=", 422),
        ("/v1/customers/c1/recommendations?only=new&only=bought", 422),
        ("/v1/customers/c1/recommendations?segment=seg-000001", 422),
        ("/v1/segments/seg-none/cross-sell", 404),
        ("/v1/segments/seg-none/next-products", 404),
        ("/v1/segments/seg-000001/cross-sell?k=1001", 422),
        ("/v1/segments/seg-000001/up-sell", 404),
    ],
)
def test_what_is_not_there_or_impossible(client: Any, path: str, status: int) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_only_what_is_new_or_only_what_was_bought(client: Any, recommender: CustomerRecommender) -> None:
    history = recommender.history
    for row in range(0, history.n, 7):
        customer_id = history.customer_ids[row]
        own = history.take(np.array([row]))
        bought = {history.products[int(code)] for code in own.item}
        address = f"/v1/customers/{quoted(customer_id)}/recommendations?k=100"
        new, again, every = (
            [one["product_id"] for one in client.get(address + option).json()["recommendations"]]
            for option in ("&only=new", "&only=bought", "")
        )
        # Of the same candidates, in the same order.
        assert new == [product for product in every if product not in bought]
        assert again == [product for product in every if product in bought]
        assert new
        assert again
    body = {"basket": ["p0002"], "k": 5}
    assert (
        client.post("/v1/recommend", json={**body, "only": "new"}).json()
        == client.post("/v1/recommend", json={**body, "only": None}).json()
        == client.post("/v1/recommend", json=body).json()
    )


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("c1/recomendations", "recomendations"),
        ("c1/recommendations/", "recommendations/"),
        ("c1/lookalike?k=3", "lookalike"),
        ("c1/orders/lookalikes", "orders/lookalikes"),
        ("c1/orders/recommendations", "orders/recommendations"),
        ("a%2Fb/recomendations", "recomendations"),
        ("c1/", ""),
    ],
)
def test_a_route_that_was_mistyped_does_not_blame_the_customer(client: Any, path: str, named: str) -> None:
    answer = client.get(f"/v1/customers/{path}")
    assert answer.status_code == 404
    problem = answer.json()
    assert problem["title"] == "Unknown route"
    assert repr(named) in problem["detail"]
    for route in ("/v1/customers/ID,", "/v1/customers/ID/lookalikes", "/v1/customers/ID/recommendations"):
        assert route in problem["detail"]


def test_a_slash_in_an_unknown_id_is_no_mistyped_route(client: Any) -> None:
    for path in ("nobody/x", "nobody/x/recommendations", "nobody/x/lookalikes"):
        assert client.get(f"/v1/customers/{path}").json()["title"] == "Unknown customer"
    assert "/v1/customers/ID/recommendations" in client.get("/v1/customers/nobody/recomendations").json()["detail"]


def test_only_who_may_see_persons_sees_their_recommendations(world: World) -> None:
    client = client_of(world.app, "classify")
    assert client.get("/v1/customers/c1/recommendations").status_code == 403
    assert client.post("/v1/recommend", json={}).status_code == 200
    assert client.get("/v1/segments/seg-000002/cross-sell").status_code == 200
    for path in ("/v1/customers/c1/recommendations", "/v1/segments/seg-000002/next-products"):
        assert client_of(world.app, None).get(path).status_code == 401
    assert client_of(world.app, None).post("/v1/recommend", json={}).status_code == 401
    # No id is in the figures of the routes.
    text = client_of(world.app, None).get("/metrics", headers=bearer("admin")).text
    assert 'route="/v1/customers/{customer_id:path}/recommendations"' in text
    assert "/c1/" not in text


def test_without_a_recommender_it_is_said(tmp_path: Any) -> None:
    world = make_world(tmp_path)
    client = client_of(world.app)
    for answer in (
        client.get("/v1/customers/7/recommendations"),
        client.post("/v1/recommend", json={}),
        client.get("/v1/segments/seg-000001/cross-sell"),
        client.get("/v1/segments/seg-000001/next-products"),
    ):
        assert answer.status_code == 404
        assert "recommender=FOLDER" in answer.json()["detail"]
    assert client.get("/ready").json()["recommender_as_of"] is None
