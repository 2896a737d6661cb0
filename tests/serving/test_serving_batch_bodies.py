from __future__ import annotations

import asyncio
from typing import Any

import polars as pl
import pytest

from engine.serving import batch as batch_module
from engine.serving import rows
from engine.serving.access import Principal
from engine.serving.batch import Batches, without_settings
from engine.serving.metrics import Metrics
from engine.serving.problems import Problem
from engine.serving.state import State
from tests.serving.api_example import ONE, client_of
from tests.serving.pages_example import FEATURES, World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def client(world: World) -> Any:
    with client_of(world.app, "classify") as client:
        yield client


class Named:
    """Whoever asks is who the request says."""

    def require(self, scope: Any, role: str) -> Principal:
        return Principal(scope["name"], role)


def test_who_sends_slowly_keeps_nobody_else_out(world: World) -> None:
    scope = {"query_string": b"", "headers": [(b"content-type", b"application/json")]}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def never() -> Any:
        await asyncio.Event().wait()

    async def body() -> Any:
        return {"type": "http.request", "body": b'[{"recency_days": 1, "frequency": 2, "monetary": 3}]'}

    async def run() -> None:
        metrics: Any = Metrics()
        many = Batches(State(world.folder / "bundle"), Named(), metrics, language="en", max_rows=9)  # type: ignore[arg-type]
        slow = [
            asyncio.create_task(many.customers({**scope, "name": "slow"}, never, send))
            for _ in range(3 * batch_module.AT_ONCE)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        refused = [task for task in slow if task.done()]
        assert len(refused) == len(slow) - batch_module.READ_AT_ONCE
        for task in refused:
            problem = task.exception()
            assert isinstance(problem, Problem)
            assert (problem.status, problem.headers["Retry-After"]) == (503, "1")
        await many.customers({**scope, "name": "other"}, body, send)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        assert not many._reading
        # Nothing is left behind: the same name is heard again.
        await many.customers({**scope, "name": "slow"}, body, send)
        many.close()

    asyncio.run(run())
    assert [message["status"] for message in sent if "status" in message] == [200, 200]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("impute", ["true", "false"])
@pytest.mark.parametrize(
    ("lines", "row"),
    [
        (["1,30,4,250", "", "3,30,4,250"], 2),
        (["1,30,4,250", "2,30,4"], 2),
        (["", "1,30,4,250", "2,30,4,250"], 1),
        (['"1","30","4","250"', '"2","30"'], 2),
        (['"a\nb",30,4,250', "", "c,30,4,250"], 2),
    ],
)
def test_blank_and_short_lines_are_nobody(client: Any, lines: list[str], row: int, impute: str, end: str) -> None:
    content = end.join(["customer_id," + ",".join(FEATURES), *lines, ""]).encode()
    answer = client.post(f"/v1/classify/batch?impute={impute}", content=content, headers={"content-type": "text/csv"})
    assert (answer.status_code, answer.json()["row"]) == (422, row)
    assert f"row {row}: expected a value" in answer.json()["detail"]


def test_empty_values_stay_what_impute_fills() -> None:
    for text in (b"a,b\n1,\n,2\n", b'a,b\n"1",\n"",2\n', b"\n\na,b\n1,\n,2", b'a,b\r\n1,""\r\n,2\r\n'):
        assert rows._csv(text, 9).rows() == [("1", None), (None, "2")], text
    assert rows._csv(b'a\n"x,y"\n""\n', 9).rows() == [("x,y",), (None,)]
    with pytest.raises(Problem, match="row 2"):
        rows._csv(b"a\n1\n\n2\n", 9)


def test_a_packed_body_is_named(client: Any) -> None:
    for path in ("classify", "classify/batch", "classify/transactions"):
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        answer = client.post(f"/v1/{path}", content=b"\x1f\x8b\x08", headers=headers)
        assert answer.status_code == 415
        assert "gzip" in answer.json()["detail"]
    assert client.post("/v1/classify/batch", json=[ONE], headers={"content-encoding": "identity"}).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": ["yesterday"] * 3},
        {"amount": ["x"] * 3},
        {"customer_id": None},
        {"amount": None},
        {"customer_id": [[1]] * 3},
    ],
)
def test_no_advice_on_settings_over_http(world: World, change: dict[str, Any]) -> None:
    sales = {"customer_id": [1, 2, 3], "timestamp": ["2026-01-05"] * 3, "amount": [1.0, 2.0, 3.0], **change}
    frame = pl.DataFrame({name: values for name, values in sales.items() if values is not None})
    with pytest.raises(Problem) as caught:
        batch_module.from_transactions(frame, world.model)
    assert "data." not in str(caught.value.detail)
    assert "recipe" not in str(caught.value.detail)
    assert next(iter(change)).split("_")[0] in str(caught.value.detail)


def test_other_advice_stays() -> None:
    assert without_settings("A came. Give B. Set data.x=1.") == "A came. Give B. Correct the body."
    assert without_settings("A came. Give B.") == "A came. Give B."
    text = "A came. Convert the column, or set data.columns.amount to another one."
    assert without_settings(text) == "A came. Convert the column."
