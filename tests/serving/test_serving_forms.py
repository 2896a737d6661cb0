"""How a batch may be written, and what its answer says beside the rows."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pyarrow.ipc
import pytest

from engine.serving import rows
from engine.serving.answers import Assignment, CustomerOfTransactions
from engine.serving.problems import Problem
from tests.serving.api_example import ARROW, ONE, app_of, as_arrow, as_csv, client_of
from tests.serving.pages_example import FEATURES, World, make_world

CSV = "text/csv"
SALES = [
    {"customer_id": 1, "timestamp": "2026-01-05T10:00:00", "amount": 120.5},
    {"customer_id": 1, "timestamp": "2026-02-03T11:30:00", "amount": 80.0},
    {"customer_id": 2, "timestamp": "2026-02-09", "amount": 12.25},
]


@pytest.fixture(scope="module", params=[None, 400])
def world(request: Any, tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), window_days=request.param)


@pytest.fixture(scope="module")
def client(world: World) -> Any:
    with client_of(world.app, "classify") as client:
        yield client


def batch(client: Any, content: bytes | str, kind: str, path: str = "batch") -> Any:
    return client.post(f"/v1/classify/{path}", content=content, headers={"content-type": kind})


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoted", [False, True])
def test_a_csv_s_separator_is_found(client: Any, world: World, sign: str, quoted: bool) -> None:
    frame = world.customers.select("customer_id", *FEATURES).head(12)
    style: Any = "always" if quoted else "necessary"
    content = frame.write_csv(separator=sign, quote_style=style).encode()
    wanted = batch(client, as_csv(frame), CSV)
    assert wanted.status_code == 200
    assert batch(client, content, CSV).content == wanted.content
    # A row without its last value is found, whatever the sign.
    cut = content.rstrip().rpartition(sign.encode())[0] + b"\n"
    assert batch(client, cut, CSV).json()["row"] == 12
    sales = pl.DataFrame(SALES)
    found = batch(client, sales.write_csv(separator=sign, quote_style=style), CSV, "transactions")
    assert found.content == batch(client, as_csv(sales), CSV, "transactions").content


def test_a_sign_inside_of_quotes_separates_nothing() -> None:
    assert rows._csv(b'"a;b;c",d\n1,2\n', 9).columns == ["a;b;c", "d"]
    assert rows._csv(b"a\n1;2\n", 9).rows() == [("1;2",)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(client: Any, encoding: str) -> None:
    answer = batch(client, "recency_days,frequency,monetary\n1,2,3\n".encode(encoding), CSV)
    assert answer.status_code == 400
    assert "UTF-16" in answer.json()["detail"]
    assert "CSV UTF-8" in answer.json()["detail"]


def test_a_mark_before_the_names_and_blank_lines_at_the_end_do_no_harm(client: Any) -> None:
    plain = batch(client, "recency_days,frequency,monetary\n1,2,3\n", CSV)
    for text in (
        "\ufeffrecency_days,frequency,monetary\n1,2,3\n",
        "recency_days,frequency,monetary\n1,2,3\n\n",
        "recency_days,frequency,monetary\r\n1,2,3\r\n\r\n\r\n",
        "recency_days,frequency,monetary\n1,2,3",
    ):
        assert batch(client, text.encode(), CSV).content == plain.content, text
    # What ends with a separator has an empty last value, not a blank line.
    assert batch(client, "recency_days\tfrequency\tmonetary\n1\t2\t\n\n", CSV).json()["variable"] == "monetary"


def test_a_column_that_comes_twice_is_named(client: Any) -> None:
    answer = batch(client, "recency_days;frequency;recency_days\n1;2;3\n", CSV)
    assert (answer.status_code, answer.json()["variable"]) == (422, "recency_days")
    assert "more than once" in answer.json()["detail"]


DOUBLED = '{"recency_days": 30, "frequency": 4, "monetary": 2, "frequency": 5}'


def test_a_name_that_comes_twice_is_told_as_for_one_customer(client: Any) -> None:
    one = client.post("/v1/classify", content=DOUBLED).json()
    for first in (
        json.dumps(ONE),
        json.dumps({"customer_id": "a:b", **ONE}),
        '{"customer_id": "a\\u003ab", ' + DOUBLED[1:],
    ):
        content = f"[{first}, {DOUBLED}]"
        answer = batch(client, content, "application/json")
        row = 1 if "u003a" in first else 2
        assert (answer.status_code, answer.json()["row"], answer.json()["variable"]) == (422, row, "frequency")
        assert answer.json()["detail"] == f"row {row}: {one['detail']}"
    # One name too few in a row does not hide one too many in another.
    few = json.dumps({"recency_days": 1, "frequency": 2})
    answer = client.post(
        "/v1/classify/batch?impute=true", content=f"[{few}, {DOUBLED}]", headers={"content-type": "application/json"}
    )
    assert answer.json()["row"] == 2
    assert client.post("/v1/classify/batch?impute=true", json=json.loads(f"[{few}, {few}]")).status_code == 200
    sale = '{"customer_id": 1, "timestamp": "2026-01-05T10:00:00", "amount": 1, "amount": 2}'
    answer = batch(client, f"[{json.dumps(SALES[0])}, {sale}]", "application/json", "transactions")
    assert (answer.status_code, answer.json()["row"], answer.json()["variable"]) == (422, 2, "amount")


@pytest.mark.parametrize("ids", [["a:b", "c"], ["ñ:\u0001", ":"], ["\\u003a", "::"]])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_colons_in_ids_are_no_names(client: Any, ids: list[str], ascii_only: bool) -> None:
    content = json.dumps([{"customer_id": each, **ONE} for each in ids], ensure_ascii=ascii_only)
    answer = batch(client, content, "application/json")
    assert [row["customer_id"] for row in answer.json()] == ids


def test_a_row_is_named_without_the_words_for_one_customer(client: Any) -> None:
    answer = client.post("/v1/classify/batch", json=[ONE, {**ONE, "frequency": -1}])
    assert answer.json()["detail"].startswith("row 2: frequency")


@pytest.mark.parametrize(
    ("accept", "given", "wanted"),
    [
        ("", "csv", "csv"),
        ("*/*", "arrow", "arrow"),
        ("text/*", "json", "csv"),
        ("application/*", "csv", "json"),
        ("application/*", "arrow", "arrow"),
        ("application/json, text/plain, */*", "csv", "json"),
        ("*/*, application/json", "csv", "json"),
        ("text/csv;q=0.5, application/json", "csv", "json"),
        ("text/csv; Q=0.5, application/json;q=0.4", "json", "csv"),
        ("*/*, text/csv;q=0", "csv", "json"),
        (f"{ARROW}, text/csv", "csv", "arrow"),
        ("*/*;q=0.1, text/csv;q=0.9", "json", "csv"),
        ("*/*;q=0", "csv", None),
        ("*/*;q=0.0, image/png", "csv", None),
        ("text/csv;q=0", "csv", None),
        ("*/*;q=none", "csv", None),
        ("*/*;q=nan", "csv", None),
    ],
)
def test_the_most_welcome_form_is_chosen(accept: str, given: str, wanted: str | None) -> None:
    if wanted is not None:
        assert rows.answer_form(accept, given) == wanted
        return
    with pytest.raises(Problem) as refused:
        rows.answer_form(accept, given)
    assert refused.value.status == 406


def test_the_period_is_told_in_every_form(client: Any, world: World) -> None:
    days = world.model.window_days
    assert client.post("/v1/classify", json=ONE).json()["window_days"] == days
    sent = pl.DataFrame([ONE])
    for path, frame, period in (
        ("batch", sent, {"window_days": days}),
        ("transactions", pl.DataFrame(SALES), {"window_days": days, "as_of": "2026-02-10"}),
    ):
        answers = {
            "json": client.post(f"/v1/classify/{path}", json=frame.to_dicts()),
            "csv": batch(client, as_csv(frame), CSV, path),
            "arrow": batch(client, as_arrow(frame), ARROW, path),
        }
        for answer in answers.values():
            assert answer.status_code == 200, answer.text
            assert answer.headers["cartera-window-days"] == json.dumps(days)
            assert answer.headers.get("cartera-as-of") == period.get("as_of")
        kind = Assignment if path == "batch" else CustomerOfTransactions
        for row in answers["json"].json():
            kind.model_validate(row)
            assert {name: row[name] for name in period} == period
        metadata = pyarrow.ipc.open_stream(answers["arrow"].content).schema.metadata
        assert {name.decode(): json.loads(value) for name, value in metadata.items()} == period
    moment = client.post("/v1/classify/transactions?as_of=2026-02-04T12:00:00", json=SALES)
    assert moment.headers["cartera-as-of"] == "2026-02-04T12:00:00+00:00"


READING = (
    "/health",
    "/ready",
    "/metrics",
    "/v1/segments",
    "/v1/segments/seg-000001",
    "/v1/customers/7",
    "/openapi.json",
)


@pytest.mark.parametrize(
    "path", [*READING, "/v1/customers/7/lookalikes?k=3", "/docs", "/v1/customers/none", "/v1/nowhere"]
)
def test_head_is_get_without_a_body(world: World, path: str) -> None:
    client = client_of(world.app)
    get, head = client.get(path), client.head(path)
    assert head.status_code == get.status_code
    assert head.content == b""
    # The figures count the requests in between.
    if path != "/metrics":
        assert head.headers == get.headers


def test_head_asks_for_the_same_rights_and_is_named(world: World) -> None:
    app = app_of(world.folder / "bundle")
    assert client_of(app, None).head("/v1/segments").status_code == 401
    refused = client_of(app).head("/v1/classify")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert set(client_of(app).post("/v1/segments").headers["allow"].split(", ")) == {"GET", "HEAD"}
    client_of(app).head("/v1/segments")
    assert 'method="HEAD",route="/v1/segments",status="200"} 1.0' in client_of(app).get("/metrics").text


def test_the_refusal_of_a_packed_body_is_described(client: Any) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/v1/classify", "/v1/classify/batch", "/v1/classify/transactions"):
        assert "415" in paths[path]["post"]["responses"]
    headers = paths["/v1/classify/transactions"]["post"]["responses"]["200"]["headers"]
    assert set(headers) == {"Cartera-Window-Days", "Cartera-As-Of"}
    assert set(paths["/v1/classify/batch"]["post"]["responses"]["200"]["headers"]) == {"Cartera-Window-Days"}
