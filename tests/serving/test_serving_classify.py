from __future__ import annotations

import json
from typing import Any

import pytest

from engine.errors import DataError
from engine.serving.answers import Classification
from tests.serving.api_example import ONE, app_of, bearer, client_of
from tests.serving.pages_example import World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), window_days=365)


@pytest.fixture(scope="module")
def client(world: World) -> Any:
    return client_of(world.app, "classify")


def test_the_answer_is_what_python_says(world: World, client: Any) -> None:
    for customer in world.customers.drop("town", "customer_id").head(40).to_dicts():
        answer = client.post("/v1/classify", json=customer)
        assert answer.status_code == 200
        content = answer.json()
        Classification.model_validate(content)
        for language in ("en", "es"):
            said = client.post(f"/v1/classify?language={language}", json=customer).json()
            window = said.pop("window")
            assert said == world.model.classify(customer).to_dict(language)
            assert "365" in window
        assert content.pop("window").startswith("The values")
        assert content == world.model.classify(customer).to_dict()


def test_the_server_s_language_is_the_default(world: World) -> None:
    client = client_of(app_of(world.folder / "bundle", language="es"))
    assert client.post("/v1/classify", json=ONE).json()["name"].startswith("Grupo")
    assert client.post("/v1/classify?language=en", json=ONE).json()["name"].startswith("Group")


def test_a_missing_value_is_named_or_filled_when_asked(world: World, client: Any) -> None:
    given = {"recency_days": 30, "frequency": None}
    answer = client.post("/v1/classify", json=given)
    assert answer.status_code == 422
    assert "no value for frequency, monetary" in answer.json()["detail"]
    only = client.post("/v1/classify", json={**ONE, "monetary": None})
    assert (only.status_code, only.json()["variable"]) == (422, "monetary")
    filled = client.post("/v1/classify?impute=true", json=given)
    assert filled.status_code == 200
    assert filled.json()["distance"] == world.model.classify(given, impute=True).distance


@pytest.mark.parametrize(
    ("body", "status", "variable"),
    [
        ('{"recency_days": 1, "frequency": 2, "monetary": "3"}', 422, "monetary"),
        ('{"recency_days": 1, "frequency": 2, "monetary": true}', 422, "monetary"),
        ('{"recency_days": 1, "frequency": -2, "monetary": 3}', 422, "frequency"),
        ('{"recency_days": 1, "frequency": [2], "monetary": 3}', 422, "frequency"),
        ('{"recency_days": 1, "frequency": {}, "monetary": 3}', 422, "frequency"),
        ('{"recency_days": 1, "frequency": 2, "monetary": 1e400}', 422, None),
        ('{"recency_days": 1, "frequency": 2, "monetary": ' + "9" * 400 + "}", 422, "monetary"),
        ('{"recency_days": 1, "frequency": 2, "monetary": 3, "extra": 1}', 422, None),
        ('{"recency_days": 1, "frequency": 2, "monetary": NaN}', 400, None),
        ('{"recency_days": 1, "frequency": 2, "monetary": Infinity}', 400, None),
        ('{"recency_days": 1, "frequency": 2, "monetary": }', 400, None),
        ("{}", 422, None),
        ("[]", 400, None),
        ("null", 400, None),
        ("3", 400, None),
        ('"text"', 400, None),
        ("", 400, None),
        ("[" * 100_000, 400, None),
        ('{"a":' * 10_000, 400, None),
        ('{"\\ud800": 1}', 400, None),
        ("{} {}", 400, None),
    ],
)
def test_what_is_no_customer(client: Any, body: str, status: int, variable: str | None) -> None:
    answer = client.post("/v1/classify", content=body)
    assert answer.status_code == status, answer.text
    content = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert content["status"] == status
    assert content.get("variable") == variable
    assert len(answer.text) < 5_000


def test_far_values_are_classified_or_refused_but_never_a_fault(client: Any) -> None:
    for value in (1e308, 1.7976931348623157e308, 5e-324, 0, -0.0, 2**63, 10**300):
        answer = client.post("/v1/classify", content=json.dumps({**ONE, "monetary": value}))
        assert answer.status_code in (200, 422)
        if answer.status_code == 200:
            assert answer.json()["distance"] >= 0
            assert answer.json()["novel"] == (value > 1e6 or value == 0 or value < 1e-300)


def test_bytes_that_are_no_text(client: Any) -> None:
    for body in (b"\xff\xfe{}", b'{"monetary": "\xff"}', b"\x00", b"\xef\xbb\xbf{}"):
        assert client.post("/v1/classify", content=body).status_code in (400, 422)


@pytest.mark.parametrize(
    "query",
    ["impute=yes", "impute=", "impute=true&impute=true", "language=fr", "inpute=true", "x", "%ff=1", "a=1&" * 50],
)
def test_unknown_options_are_refused(client: Any, query: str) -> None:
    answer = client.post(f"/v1/classify?{query}", json=ONE)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


def test_an_option_in_the_body_is_told_where_it_stands(client: Any) -> None:
    answer = client.post("/v1/classify", json={**ONE, "language": "es"})
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert "language" in detail.split(".")[0]
    assert detail.endswith(
        "language: It stands behind the question mark of the address (?language=…), not in the body."
    )


def test_neighbours_vote_where_customers_are_at_hand(world: World, client: Any) -> None:
    customer = world.customers.drop("town", "customer_id").to_dicts()[0]
    answer = client.post("/v1/classify?neighbours=true", json=customer).json()
    # The clouds of the example lie far apart: all neighbours are of one segment.
    assert answer["neighbour_agreement"] == 1.0
    assert client.post("/v1/classify", json=customer).json()["neighbour_agreement"] is None
    bare = client_of(app_of(world.folder / "bundle"))
    refused = bare.post("/v1/classify?neighbours=true", json=customer)
    assert (refused.status_code, refused.json()["title"]) == (422, "No customers")


def test_without_a_token_nothing(world: World) -> None:
    nobody = client_of(world.app, None)
    assert nobody.post("/v1/classify", json=ONE).status_code == 401
    assert nobody.post("/v1/classify", json=ONE, headers={"Authorization": "Bearer x"}).status_code == 401
    assert nobody.post("/v1/classify", json=ONE, headers=bearer("customers")).status_code == 200


def test_classified_customers_are_counted(world: World) -> None:
    client = client_of(app_of(world.folder / "bundle"))
    for _ in range(3):
        client.post("/v1/classify", json=ONE)
    client.post("/v1/classify", json={})
    client.post("/v1/classify/batch", json=[ONE, ONE])
    assert "cartera_classified_total 5.0" in client.get("/metrics").text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"recency_days": 30, "frequency": 4, "monetary": 1, "monetary": 250.5}', 422),
        ('{"recency_days": 30, "frequency": 4, "monetary": 1, "\\u006donetary": 250.5}', 422),
        ('{"recency_days": 30, "frequency": 4, "monetary": 250.5}', 200),
        ('{"recency_days": 30, "frequency": 4, "monetary": {"a": 1, "a": 2}}', 422),
        ('{"a:b": 1}', 422),
    ],
)
def test_a_variable_that_comes_twice_is_refused(client: Any, body: str, status: int) -> None:
    answer = client.post("/v1/classify", content=body)
    assert answer.status_code == status
    if "250.5" in body and status == 422:
        assert answer.json()["variable"] == "monetary"
        assert "more than once" in answer.json()["detail"]


@pytest.mark.parametrize("given", [None, [1], "a", 5])
def test_what_is_no_mapping_is_no_customer(world: World, given: Any) -> None:
    with pytest.raises(DataError, match="expected a mapping"):
        world.model.classify(given)
