from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from engine.serving import answers
from tests.serving.api_example import app_of, client_of
from tests.serving.pages_example import FEATURES, STRANGE_IDS, World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    ids = [*STRANGE_IDS, *(f"c{number}" for number in range(50))]
    return make_world(tmp_path_factory.mktemp("world"), ids=ids, sales=True)


@pytest.fixture(scope="module")
def client(world: World) -> Any:
    return client_of(world.app, "customers")


def test_health_and_readiness_need_no_token(world: World) -> None:
    nobody = client_of(world.app, None)
    assert nobody.get("/health").json() == {"status": "ok"}
    ready = nobody.get("/ready")
    assert ready.status_code == 200
    content = answers.Ready.model_validate(ready.json())
    assert (content.status, content.customers, content.problem) == ("ready", 58, None)
    assert content.digest == world.state.now.digest
    bare = answers.Ready.model_validate(client_of(app_of(world.folder / "bundle"), None).get("/ready").json())
    assert bare.customers is None


def test_segments_come_by_rank_in_the_language_asked_for(world: World, client: Any) -> None:
    content = answers.SegmentsAnswer.model_validate(client.get("/v1/segments?language=es").json())
    assert [one.rank for one in content.segments] == [1, 2, 3]
    assert all(one.name.startswith("Grupo") for one in content.segments)
    assert content.variables == list(FEATURES)
    assert content.window.startswith("Los valores son los de toda la historia")
    assert sum(one.share_customers for one in content.segments) == pytest.approx(1)
    for one in content.segments:
        alone = client.get(f"/v1/segments/{one.segment_id}?language=es").json()
        assert answers.SegmentAnswer.model_validate(alone) == one
    unknown = client.get("/v1/segments/seg-zzzzzz")
    assert unknown.status_code == 404
    assert "seg-000001" in unknown.json()["detail"]


def test_a_customer_is_what_the_model_says_of_them(world: World, client: Any) -> None:
    assigned = {row["customer_id"]: row for row in world.model.assign(world.customers).to_dicts()}
    values = {row["customer_id"]: row for row in world.customers.to_dicts()}
    for customer_id in ("c1", "c7", "c49", *STRANGE_IDS):
        path = f"/v1/customers/{quoted(customer_id)}"
        answer = client.get(path)
        assert answer.status_code == 200, (customer_id, answer.text)
        content = answers.CustomerAnswer.model_validate(answer.json())
        wanted = assigned[customer_id]
        assert content.customer_id == customer_id
        assert (content.segment_id, content.second_segment_id) == (wanted["segment_id"], wanted["second_segment_id"])
        assert content.distance == pytest.approx(wanted["distance"], rel=1e-6)
        assert content.margin == pytest.approx(wanted["margin"], abs=1e-6)
        assert content.novel == wanted["novel"]
        alone = world.model.classify({name: values[customer_id][name] for name in FEATURES})
        assert content.distance_percentile == pytest.approx(alone.distance_percentile, abs=1e-6)
        assert content.values == {name: values[customer_id][name] for name in (*FEATURES, "town")}


def quoted(customer_id: str) -> str:
    from urllib.parse import quote

    return quote(customer_id, safe="")


def test_the_last_orders_come_from_the_lake(world: World, client: Any) -> None:
    sales = pl.read_csv(world.folder / "sales.csv", schema_overrides={"customer_id": pl.String})
    for customer_id in ("c1", "c2", "a/b"):
        orders = client.get(f"/v1/customers/{quoted(customer_id)}").json()["orders"]
        own = sales.filter(pl.col("customer_id") == customer_id)
        assert len(orders) == min(20, own["order_id"].n_unique())
        assert [order["timestamp"] for order in orders] == sorted((o["timestamp"] for o in orders), reverse=True)
        for order in orders:
            lines = own.filter(pl.col("order_id") == order["order_id"])
            sold = lines.filter(pl.col("quantity") > 0)
            assert order["lines"] == lines.height
            amount = (sold["quantity"] * sold["unit_price"]).sum() if sold.height else None
            assert order["amount"] == (None if amount is None else pytest.approx(amount))
    bare = make_customer_only(world)
    assert bare["orders"] is None


def make_customer_only(world: World) -> dict[str, Any]:
    from engine.customer_base import CustomerBase
    from engine.serving.access import Access
    from engine.serving.app import make_app
    from engine.serving.settings import ServeSettings
    from engine.serving.state import State
    from tests.serving.api_example import RECORDS

    state = State(world.folder / "bundle", base=lambda model, digest: CustomerBase.build(world.customers, model))
    return client_of(make_app(state, Access(RECORDS), ServeSettings())).get("/v1/customers/c1").json()  # type: ignore[no-any-return]


def test_lookalikes_are_the_nearest_and_not_the_customer(world: World, client: Any) -> None:
    base = world.base
    assert base is not None
    row = base.row("c1")
    assert row is not None
    content = answers.LookalikesAnswer.model_validate(client.get("/v1/customers/c1/lookalikes?k=5").json())
    wanted = base.similar(row, 5)
    assert [one.customer_id for one in content.lookalikes] == wanted["customer_id"].to_list()
    assert "c1" not in [one.customer_id for one in content.lookalikes]
    assert [one.distance for one in content.lookalikes] == sorted(one.distance for one in content.lookalikes)
    within = client.get("/v1/customers/c1/lookalikes?segment=seg-000002&k=3").json()["lookalikes"]
    assert {one["segment_id"] for one in within} == {"seg-000002"}
    assert len(client.get("/v1/customers/a%2Fb/lookalikes").json()["lookalikes"]) == 10


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/customers/nobody", 404),
        ("/v1/customers/nobody/lookalikes", 404),
        ("/v1/customers/", 404),
        ("/v1/customers/..%2f..%2fetc%2fpasswd", 404),
        ("/v1/customers/%00", 404),
        ("/v1/customers/%ff", 404),
        ("/v1/customers/" + "9" * 5_000, 404),
        ("/v1/customers/c1/lookalikes?k=0", 422),
        ("/v1/customers/c1/lookalikes?k=x", 422),
        ("/v1/customers/c1/lookalikes?k=1001", 422),
        ("/v1/customers/c1/lookalikes?k=99999999999999999999", 422),
        ("/v1/customers/c1/lookalikes?segment=seg-none", 422),
        ("/v1/customers/c1?language=fr", 422),
        ("/v1/segments?language=", 422),
        ("/v1/segments/", 404),
        ("/static/../../etc/passwd", 404),
        ("/static/..%2f..%2fetc%2fpasswd", 404),
    ],
)
def test_what_is_not_there_or_impossible(client: Any, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    if path.startswith("/v1"):
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "roles"),
    [
        ("/v1/segments", ("classify", "customers", "admin")),
        ("/v1/segments/seg-000001", ("classify", "customers", "admin")),
        ("/openapi.json", ("classify", "customers", "admin")),
        ("/docs", ("classify", "customers", "admin")),
        ("/v1/customers/c1", ("customers", "admin")),
        ("/v1/customers/c1/lookalikes", ("customers", "admin")),
        ("/v1/customers/nobody", ("customers", "admin")),
        ("/metrics", ("admin",)),
    ],
)
def test_roles(world: World, path: str, roles: tuple[str, ...]) -> None:
    assert client_of(world.app, None).get(path).status_code == 401
    for role in ("classify", "customers", "admin"):
        status = client_of(world.app, role).get(path).status_code
        assert status == (403 if role not in roles else 404 if "nobody" in path else 200)


def test_metrics_may_be_public(world: World) -> None:
    app = app_of(world.folder / "bundle", metrics_public=True)
    assert client_of(app, None).get("/metrics").status_code == 200


def test_a_session_may_ask_the_api_too(world: World) -> None:
    client = client_of(world.app, None)
    page = client.get("/login", headers={"accept": "text/html"}).text
    csrf = page.split('name="csrf" value="')[1].split('"')[0]
    assert client.post("/login", data={"csrf": csrf, "token": "token-customers"}).status_code == 303
    assert client.get("/v1/customers/c1").status_code == 200
    assert client.get("/metrics").status_code == 403


def test_without_customers_their_routes_say_so(world: World) -> None:
    answer = client_of(app_of(world.folder / "bundle")).get("/v1/customers/c1")
    assert (answer.status_code, answer.json()["title"]) == (404, "No customers")


@pytest.mark.parametrize(
    ("path", "option"),
    [
        ("/v1/segments?x=1", "x"),
        ("/v1/segments?language=en&language=es", "language"),
        ("/v1/customers/1/lookalikes?k=5&k=6", "k"),
        ("/v1/customers/1/lookalikes?k=5&limit=6", "limit"),
        ("/v1/customers/1?", None),
        ("/v1/customers/1/lookalikes?k=5", None),
    ],
)
def test_options_are_known_and_come_once(client: Any, path: str, option: str | None) -> None:
    answer = client.get(path)
    if option is None:
        assert answer.status_code in (200, 404)
    else:
        assert (answer.status_code, answer.json()["option"]) == (422, option)
