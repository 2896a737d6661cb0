from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from engine.bundle import save_bundle
from engine.serving.access import Access
from engine.serving.app import make_app
from engine.serving.settings import ServeSettings
from tests.delivery.tracking_example import make_bundle
from tests.serving.api_example import RECORDS, bearer, client_of
from tests.serving.pages_example import FEATURES, World, make_world

EXAMPLES = 5
"""Of each operation; `docs/serving.md` has the command for thousands."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), sales=True, recommended=True)


@pytest.fixture(scope="module")
def client(world: World) -> Any:
    with client_of(world.app) as client:
        yield client


@pytest.fixture(scope="module")
def document(client: Any) -> dict[str, Any]:
    return client.get("/openapi.json").json()  # type: ignore[no-any-return]


def test_every_route_for_machines_is_described(world: World, document: dict[str, Any]) -> None:
    machine: Any = world.app
    served = {
        (route.path.replace(":path", ""), method.lower())
        for route in machine.app.router.routes
        if isinstance(route, Route) and not route.name.startswith("page ") and route.name not in ("openapi", "docs")
        for method in (route.methods or ()) - {"HEAD"}
    }
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert described == served
    assert len(served) == 14


def test_the_guide_names_every_route(document: dict[str, Any]) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")
    for path in document["paths"]:
        assert path in guide or f"…/{path.rpartition('/')[2]}" in guide, path


def test_what_k_may_be_is_told_in_words_and_in_the_guide(document: dict[str, Any], client: Any) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")
    bounded = [
        (parameter["schema"], parameter["description"])
        for methods in document["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", [])
        if parameter["name"] == "k"
    ]
    basket = document["components"]["schemas"]["Basket"]["properties"]["k"]
    assert len(bounded) == 4
    for schema, description in [*bounded, (basket, basket["description"])]:
        assert description.endswith(f" 1 to {schema['maximum']:,}.")
        assert f"1 to {schema['maximum']:,}" in guide
    # `language` is an option of the address on every route that has it, and of no body.
    assert not any("language" in schema.get("properties", {}) for schema in document["components"]["schemas"].values())


def test_the_body_is_that_of_the_model(world: World, document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["Customer"]
    assert list(schema["properties"]) == list(FEATURES) == schema["required"]
    for column in world.model.spec.columns:
        low, high = column.limits
        assert schema["properties"][column.name]["minimum"] == low
        assert schema["properties"][column.name].get("maximum", float("inf")) == high
    assert schema["properties"]["recency_days"]["title"] == "Recency (days)"
    assert schema["additionalProperties"] is False


def test_every_example_is_taken(document: dict[str, Any], client: Any) -> None:
    tried = 0
    for path, methods in document["paths"].items():
        for kind, content in methods.get("post", {}).get("requestBody", {}).get("content", {}).items():
            for example in content.get("examples", {}).values():
                value = example["value"]
                sent = {"content": value} if isinstance(value, str) else {"json": value}
                answer = client.post(path, headers={"content-type": kind}, **sent)
                assert answer.status_code == 200, (path, kind, answer.text)
                tried += 1
    assert tried == 6


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> Any:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "$ref":
                    yield value
                else:
                    yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    found = list(references(document))
    assert found
    for reference in found:
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_the_document_follows_the_model(tmp_path: Path) -> None:
    world = make_world(tmp_path, people=False)
    client = client_of(world.app)
    assert list(client.get("/openapi.json").json()["components"]["schemas"]["Customer"]["properties"]) == list(FEATURES)
    other, _ = make_bundle(tmp_path / "other")
    save_bundle(other, tmp_path / "bundle", engine_version="test")
    assert world.state.poll() is True
    properties = client.get("/openapi.json").json()["components"]["schemas"]["Customer"]["properties"]
    assert list(properties) == ["frequency", "monetary"]


def test_the_page_of_the_document_needs_no_script_and_names_every_route(client: Any, document: dict[str, Any]) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "<script" not in page.text
    for path in document["paths"]:
        assert path.replace("&", "&amp;") in page.text
    for external in ("http://cdn", "https://cdn", "//fonts"):
        assert external not in page.text


def test_schemathesis_finds_no_fault(world: World, tmp_path: Path) -> None:
    import schemathesis
    from hypothesis import HealthCheck, Phase, configuration, given, settings

    # Its own files stay out of the checkout.
    configuration.set_hypothesis_home_dir(tmp_path)
    app = make_app(world.state, Access(RECORDS), ServeSettings(hosts=("testserver",)))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=bearer("admin"))
    asked = 0
    for result in schema.get_all_operations():

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=result.ok().as_strategy())
        def ask(case: Any) -> None:
            nonlocal asked
            answer = case.call(headers=bearer("admin"))
            assert answer.status_code < 500, (case, answer.text)
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == ["application/problem+json"]
            asked += 1

        ask()
    assert asked >= 10
