from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from engine.errors import DataError
from engine.serving import machine as machine_module
from engine.serving import reading
from engine.serving.machine import SMALL_BODY
from tests.serving.api_example import ONE, app_of, bearer, client_of
from tests.serving.pages_example import World, make_world

CHROME = "text/html,application/xhtml+xml"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), ids=["ana-7", "b/c", *map(str, range(60))])


@pytest.fixture
def app(world: World) -> Any:
    return app_of(world.folder / "bundle")


PATHS = ("/health", "/v1/segments", "/v1/nothing", "/", "/login", "/openapi.json", "/docs", "/static/pages.css", "/x")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("role", [None, "admin"])
def test_every_answer_has_the_security_headers(app: Any, path: str, role: str | None) -> None:
    answer = client_of(app, role).get(path)
    headers = answer.headers
    assert headers["x-content-type-options"] == "nosniff"
    # no-referrer would make browsers send `Origin: null` with our own forms.
    assert headers["referrer-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert (
        "script-src 'self'" in policy
        if headers.get("content-type", "").startswith("text/html")
        else "script" not in policy
    )
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers
    assert headers["cache-control"] == "no-store" or path.startswith("/static")
    assert "strict-transport-security" not in headers


def test_with_tls_browsers_are_told_to_stay_with_it(world: World) -> None:
    answer = client_of(app_of(world.folder / "bundle", behind_proxy=True)).get("/health")
    assert "max-age" in answer.headers["strict-transport-security"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "", "localhost.evil.example", "127.0.0.1.nip.io"]
)
def test_another_name_is_not_served(app: Any, host: str) -> None:
    answer = client_of(app).get("/v1/segments", headers={"host": host})
    assert answer.status_code == 421
    # A load balancer asks by address.
    assert client_of(app).get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:8000", "[::1]:8000", "[::1]"])
def test_own_names_are(app: Any, host: str) -> None:
    assert client_of(app).get("/v1/segments", headers={"host": host}).status_code == 200


def test_another_site_may_not_post(app: Any) -> None:
    client = client_of(app)
    for origin in ("http://evil.example", "null", "http://localhost:8001"):
        assert client.post("/v1/classify", json=ONE, headers={"origin": origin}).status_code == 403
    assert client.post("/v1/classify", json=ONE, headers={"origin": "http://localhost"}).status_code == 200
    assert client.get("/v1/segments", headers={"origin": "http://evil.example"}).status_code == 200


def test_a_large_body_is_refused_before_it_is_read(app: Any) -> None:
    client = client_of(app)
    for size in (SMALL_BODY + 1, 50_000_000):
        answer = client.post("/v1/classify", content=b" " * size)
        assert answer.status_code == 413
        assert answer.json()["limit_bytes"] == SMALL_BODY

    def pieces() -> Any:
        for _ in range(100):
            yield b" " * 10_000

    # Without a length it is counted as it comes.
    assert client.post("/v1/classify", content=pieces()).status_code == 413
    assert client.post("/v1/classify", content=b"{}", headers={"content-length": "x"}).status_code == 413


def test_batches_have_their_own_limit(world: World) -> None:
    client = client_of(app_of(world.folder / "bundle", max_body_mib=1))
    csv = {"content-type": "text/csv"}
    lines = "recency_days,frequency,monetary\n" + "1,2,3\n" * 100_000
    assert client.post("/v1/classify/batch", content=lines, headers=csv).status_code == 200
    answer = client.post("/v1/classify/batch", content=lines * 2, headers=csv)
    assert (answer.status_code, answer.json()["limit_bytes"]) == (413, 2**20)


def test_a_token_has_its_rate_and_others_theirs(world: World) -> None:
    client = client_of(app_of(world.folder / "bundle", rate=0.5))
    assert client.get("/v1/segments").status_code == 200
    answer = client.get("/v1/segments")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/v1/segments", headers=bearer("classify")).status_code == 200
    assert all(client.get("/health").status_code == 200 for _ in range(5))


def test_guessing_is_slowed_down_and_disturbs_nobody_else(app: Any) -> None:
    guesser, known = client_of(app, None), client_of(app, "classify")
    codes = [guesser.get("/v1/segments", headers={"Authorization": f"Bearer {i}"}).status_code for i in range(40)]
    assert codes[:20] == [401] * 20
    assert codes[25:] == [429] * 15
    assert known.get("/v1/segments").status_code == 200
    assert guesser.get("/health").status_code == 200


def test_guessing_at_the_log_in_is_too(world: World) -> None:
    client = client_of(app_of(world.folder / "bundle"), None)
    page = client.get("/login", headers={"accept": CHROME}).text
    csrf = page.split('name="csrf" value="')[1].split('"')[0]
    codes = [client.post("/login", data={"csrf": csrf, "token": str(i)}).status_code for i in range(30)]
    assert codes[0] == 401
    assert codes[-1] == 429


def test_too_many_at_once_are_told_to_come_back(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "MOST_REQUESTS", 0)
    answer = client_of(app).get("/v1/segments")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert client_of(app).get("/health").status_code == 200


def test_a_fault_of_ours_leaks_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError(f"customer {4_700 + 11}")

    monkeypatch.setattr(reading, "segment_answer", broken)
    app = app_of(world.folder / "bundle")
    with caplog.at_level(logging.INFO):
        answer = client_of(app, raise_server_exceptions=False).get("/v1/segments/seg-000001")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    for text in (answer.text, caplog.text):
        assert "4711" not in text
    assert "Traceback" not in answer.text
    assert "RuntimeError" in caplog.text
    assert "test_serving_machine.py" in caplog.text  # where it happened
    assert client_of(app).get("/health").status_code == 200


def test_a_fault_on_the_quick_way_too(app: Any, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.serving import classify

    def broken(*_: Any) -> str:
        raise KeyError("4711")

    monkeypatch.setattr(classify, "window_text", broken)
    answer = client_of(app, raise_server_exceptions=False).post("/v1/classify", json=ONE)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "4711" not in answer.text


def test_the_log_and_the_figures_hold_no_id(world: World, caplog: pytest.LogCaptureFixture) -> None:
    client = client_of(world.app)
    with caplog.at_level(logging.INFO):
        for path in (
            "/v1/customers/ana-7",
            "/v1/customers/b%2Fc",
            "/v1/customers/nobody",
            "/v1/customers/ana-7/lookalikes?k=2",
            "/customers/ana-7",
            "/v1/segments?language=es&secret=1",
            "/unheard/ana-7",
        ):
            client.get(path)
        client.post("/v1/classify", json={"ana-7": 1})
        client.request("BREW", "/v1/classify")
    lines = [r.getMessage() for r in caplog.records if r.name == "engine.serving.requests"]
    figures = client.get("/metrics").text
    assert len(lines) == 9
    assert lines[0].startswith("GET /v1/customers/{customer_id:path} 200 ")
    for text in (*lines, figures):
        for secret in ("ana-7", "b/c", "b%2Fc", "nobody", "token-", "secret", "language=es"):
            assert secret not in text
    assert 'cartera_requests_total{method="GET",route="/v1/customers/{customer_id:path}",status="404"} 1.0' in figures
    assert 'method="OTHER",route="/v1/classify",status="405"' in figures
    assert 'route="unknown",status="404"' in figures


def test_a_slow_body_is_cut_off(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "BODY_SECONDS", 0.05)
    sent: list[Any] = []

    async def slow() -> Any:
        await asyncio.sleep(0.03)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope_of("/v1/classify"), slow, send))
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in [(name.lower(), value) for name, value in sent[0]["headers"]]


def test_who_leaves_in_the_middle_is_no_fault(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError("nobody is there to answer")

    with caplog.at_level(logging.ERROR):
        asyncio.run(app(scope_of("/v1/classify"), receive, send))
    assert not caplog.records


def scope_of(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "headers": [(b"host", b"localhost"), (b"authorization", b"Bearer token-admin")],
    }


def test_problems_are_pages_for_browsers_and_documents_for_machines(app: Any) -> None:
    client = client_of(app)
    page = client.get("/nothing", headers={"accept": CHROME})
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    for path in ("/nothing", "/v1/nothing"):
        answer = client.get(path, headers={"accept": "application/json" if path == "/nothing" else CHROME})
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert answer.json()["status"] == 404
    wrong = client.get("/v1/classify")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["title"] == "Method Not Allowed"


def test_a_lake_that_is_gone_is_said_without_its_path(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: Any) -> Any:
        raise DataError("lake=/srv/secret: a file of the lake is missing")

    monkeypatch.setattr(reading, "orders_of", gone)
    now = world.state.now
    monkeypatch.setattr(
        world.state, "_now", type(now)(now.model, now.base, object(), now.bundle, now.digest, now.loaded_at)
    )
    answer = client_of(world.app).get("/v1/customers/ana-7")
    assert answer.status_code == 503
    assert "/srv" not in answer.text
    assert "/srv/secret" in caplog.text


@pytest.mark.parametrize(
    "again", [(b"host", b"localhost"), (b"host", b"evil"), (b"authorization", b"Bearer token-admin")]
)
@pytest.mark.parametrize("first", [True, False])
def test_a_header_that_decides_may_come_once(app: Any, again: tuple[bytes, bytes], first: bool) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("nothing of a refused request is read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = scope_of("/v1/classify")
    scope["headers"] = [again, *scope["headers"]] if first else [*scope["headers"], again]
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 400
    assert b"Header sent twice" in sent[1]["body"]


def test_the_language_is_read_from_a_cookie_header_of_ordinary_length(app: Any) -> None:
    client = client_of(app, None)
    for length, language in ((4_096, "es"), (4_097, "en")):
        cookies = "cartera_language=es; x=".ljust(length, "\\")
        page = client.get("/login", headers={"accept": CHROME, "cookie": cookies})
        assert f'<html lang="{language}"' in page.text
