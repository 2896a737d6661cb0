from __future__ import annotations

import io
import random
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine import api
from engine.features.matrix import FeatureSpec
from engine.serving import rows
from engine.serving.answers import Assignment
from engine.serving.arrow_stream import NotAStreamError, claimed_rows
from engine.serving.batch import checked
from engine.serving.problems import Problem
from tests.serving.api_example import ARROW, ONE, app_of, as_arrow, as_csv, client_of, of_arrow, some
from tests.serving.pages_example import FEATURES, World, make_world

CSV = "text/csv"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def client(world: World) -> Any:
    with client_of(world.app, "classify") as client:
        yield client


def batch(client: Any, content: bytes, kind: str, query: str = "", accept: str = "*/*") -> Any:
    headers = {"content-type": kind, "accept": accept}
    return client.post(f"/v1/classify/batch{query}", content=content, headers=headers)


def expected(world: World, frame: pl.DataFrame, language: str = "en") -> pl.DataFrame:
    """What `assign` says, in the order of the frame."""
    return frame.select("customer_id").join(
        world.model.assign(frame, language=language), on="customer_id", how="left", maintain_order="left"
    )


@pytest.mark.parametrize("language", ["en", "es"])
def test_three_forms_one_answer(world: World, client: Any, language: str) -> None:
    frame = some(world.customers)
    wanted, query = expected(world, frame, language), f"?language={language}"
    answer = batch(client, as_arrow(frame), ARROW, query)
    assert answer.headers["content-type"] == ARROW
    assert of_arrow(answer.content).equals(wanted)
    found = pl.DataFrame(client.post(f"/v1/classify/batch{query}", json=frame.to_dicts()).json())
    assert found.drop("window_days").equals(wanted)
    answer = batch(client, as_csv(frame), CSV, query)
    assert answer.headers["content-type"] == CSV
    assert pl.read_csv(answer.content).equals(wanted)


def test_each_row_is_what_the_customer_alone_would_get(world: World, client: Any) -> None:
    given = some(world.customers).head(20).drop("customer_id").to_dicts()
    for values, answer in zip(given, client.post("/v1/classify/batch", json=given).json(), strict=True):
        Assignment.model_validate(answer)
        alone = client.post("/v1/classify", json=values).json()
        assert answer == {name: alone[name] for name in answer}


def test_a_large_batch_equals_a_small_one_bit_by_bit(world: World, client: Any) -> None:
    # Beyond some thousand rows other code works.
    frame = pl.concat([some(world.customers).drop("customer_id")] * 100)
    large = of_arrow(batch(client, as_arrow(frame), ARROW).content)
    small = of_arrow(batch(client, as_arrow(frame.head(120)), ARROW).content)
    assert large.height == frame.height
    assert large.equals(pl.concat([small] * 100))


def test_the_answer_may_take_another_form(world: World, client: Any) -> None:
    frame = some(world.customers).head(5)
    as_json = batch(client, as_arrow(frame), ARROW, accept="application/json")
    assert [row["customer_id"] for row in as_json.json()] == frame["customer_id"].to_list()
    assert batch(client, as_csv(frame), CSV, accept=f"image/png, {ARROW};q=0.5").headers["content-type"] == ARROW
    assert batch(client, as_csv(frame), CSV, accept="text/*").headers["content-type"] == CSV
    assert batch(client, as_csv(frame), CSV, accept="image/png").status_code == 406
    for kind in ("text/plain", "", "application/x-www-form-urlencoded", "application/vnd.apache.arrow.file"):
        assert batch(client, as_csv(frame), kind).status_code == 415


def test_ids_come_back_as_they_went(client: Any) -> None:
    def ids(given: list[Any]) -> list[Any]:
        answer = client.post("/v1/classify/batch", json=[{"customer_id": each, **ONE} for each in given])
        return [row["customer_id"] for row in answer.json()] if answer.status_code == 200 else [answer.status_code]

    assert ids([3, 1, 3]) == [3, 1, 3]
    assert ids(["007", "ñ", "<b>"]) == ["007", "ñ", "<b>"]
    assert ids([2**63 - 1, -(2**63)]) == [2**63 - 1, -(2**63)]
    assert ids([1, "1"]) == [422]
    assert ids([1, None]) == [422]
    assert ids([2**64]) == [422]
    assert "customer_id" not in client.post("/v1/classify/batch", json=[ONE]).json()[0]
    text = batch(client, b"customer_id,recency_days,frequency,monetary\n007,1,2,3\n", CSV).text
    assert text.splitlines()[1].startswith("007,")
    frame = pl.DataFrame(
        {"customer_id": pl.Series(["a", "b"], dtype=pl.Categorical), **{n: [1.0, 2.0] for n in FEATURES}}
    )
    assert of_arrow(batch(client, as_arrow(frame), ARROW).content)["customer_id"].to_list() == ["a", "b"]
    frame = frame.with_columns(customer_id=pl.Series([[1], [2]]))
    assert batch(client, as_arrow(frame), ARROW).status_code == 422


BAD = [
    ("frequency", -1, "at least 0"),
    ("monetary", "x", "number"),
    ("monetary", None, "no value"),
    ("recency_days", float("inf"), "number"),
]


@pytest.mark.parametrize(("name", "value", "says"), BAD)
@pytest.mark.parametrize("row", [1, 7, 40])
def test_one_bad_row_is_named_and_nothing_is_answered(
    world: World, client: Any, name: str, value: Any, says: str, row: int
) -> None:
    frame = some(world.customers).head(40)
    texts = frame.select(pl.all().cast(pl.String)).to_dicts()
    texts[row - 1][name] = "" if value is None else str(value)
    answers = [batch(client, as_csv(pl.DataFrame(texts)), CSV)]
    if not isinstance(value, str):
        column = frame[name].cast(pl.Float64).to_list()
        column[row - 1] = value
        answers.append(batch(client, as_arrow(frame.with_columns(pl.Series(name, column, dtype=pl.Float64))), ARROW))
    if isinstance(value, int | None):
        content = frame.to_dicts()
        content[row - 1][name] = value
        answers.append(client.post("/v1/classify/batch", json=content))
    for answer in answers:
        assert answer.status_code == 422
        problem = answer.json()
        assert (problem["row"], problem["variable"]) == (row, name)
        assert problem["detail"].startswith(f"row {row}: ")
        assert says in problem["detail"]


def test_the_first_bad_row_is_named_whatever_its_column(client: Any) -> None:
    frame = pl.DataFrame({"recency_days": [1, 1, -1], "frequency": [1, -5, 1], "monetary": [1, 1, 1]})
    assert batch(client, as_arrow(frame), ARROW).json()["row"] == 2


def test_types_of_json_are_those_of_one_customer(client: Any) -> None:
    for value in ("3", True, [], {}):
        answer = client.post("/v1/classify/batch", json=[ONE, {**ONE, "monetary": value}])
        assert (answer.status_code, answer.json()["row"], answer.json()["variable"]) == (422, 2, "monetary")
    answer = client.post("/v1/classify/batch", json=[ONE, {**ONE, "shoe_size": 43}])
    assert (answer.status_code, answer.json()["row"]) == (422, 2)
    assert "shoe_size" in answer.json()["detail"]


def test_missing_values_are_filled_when_asked(world: World, client: Any) -> None:
    frame = some(world.customers).head(6)
    holes = frame.with_columns(monetary=pl.Series([1.5, None, float("nan"), 4.0, None, 6.0]))
    wanted = world.model.assign(holes)
    for content, kind in ((as_arrow(holes), ARROW), (as_arrow(holes.drop("monetary")), ARROW)):
        assert batch(client, content, kind).status_code == 422
        assert batch(client, content, kind, "?impute=true").status_code == 200
    filled = of_arrow(batch(client, as_arrow(holes), ARROW, "?impute=true").content)
    assert filled.sort("customer_id").equals(wanted)
    # What is there and no number is not missing.
    assert batch(client, b"recency_days,frequency,monetary\n1,2,n/a\n", CSV, "?impute=true").status_code == 422


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"{}", "application/json", 400),
        (b"[1]", "application/json", 422),
        (b"[]", "application/json", 422),
        (b"[{}]", "application/json", 422),
        (b"[{", "application/json", 400),
        (b"[" * 100_000, "application/json", 422),
        (b"", CSV, 400),
        (b"recency_days,frequency,monetary\n", CSV, 422),
        (b"recency_days,frequency\n1,2\n", CSV, 422),
        (b"recency_days;frequency;monetary\n1;2\n", CSV, 422),
        (b"recency_days,frequency,monetary,x\n1,2,3,4\n", CSV, 422),
        (b"recency_days,frequency,monetary\n1,2,3,4,5\n", CSV, 400),
        (b"recency_days,frequency,monetary\n\xff,2,3\n", CSV, 400),
        (b"recency_days,recency_days,monetary\n1,2,3\n", CSV, 422),
        (b"\x00\x01\x02", CSV, 422),
        (b"", ARROW, 400),
        (b"ARROW1", ARROW, 400),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f", ARROW, 400),
    ],
)
def test_what_is_no_batch(client: Any, content: bytes, kind: str, status: int) -> None:
    answer = batch(client, content, kind)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_rows_beyond_the_limit_are_told_with_the_figure(world: World) -> None:
    client = client_of(app_of(world.folder / "bundle", max_rows=100))
    frame = some(world.customers)
    for rows_sent, status in ((100, 200), (101, 413)):
        for content, kind in (
            (as_arrow(frame.head(rows_sent)), ARROW),
            (as_csv(frame.head(rows_sent)), CSV),
            (frame.head(rows_sent).write_json().encode(), "application/json"),
        ):
            answer = batch(client, content, kind)
            assert answer.status_code == status
            if status == 413:
                assert answer.json()["limit_rows"] == 100


def test_a_few_bytes_cannot_claim_a_billion_rows(client: Any) -> None:
    frame = pl.DataFrame({name: pl.repeat(None, 10**9, dtype=pl.Null, eager=True) for name in FEATURES})
    content = as_arrow(frame)
    assert len(content) < 1_000_000
    assert batch(client, content, ARROW, "?impute=true").status_code == 413


def test_a_few_bytes_cannot_claim_a_million_columns(client: Any) -> None:
    names = [f"c{number}" for number in range(rows.MOST_COLUMNS + 1)]
    wide = pl.DataFrame({name: [1] for name in names})
    assert batch(client, as_csv(wide), CSV).json()["title"] == "Too many columns"
    assert batch(client, b'"a\nb",' + as_csv(wide), CSV).json()["title"] == "Too many columns"
    assert batch(client, b"x" * 100_000, CSV).status_code == 400
    assert batch(client, as_arrow(wide), ARROW).json()["title"] == "Too many columns"
    assert batch(client, as_arrow(pl.DataFrame({f"c{n}": [1] for n in range(6_000)})), ARROW).status_code == 400
    answer = client.post("/v1/classify/transactions", json=wide.to_dicts())
    assert (answer.status_code, answer.json()["limit_columns"]) == (422, rows.MOST_COLUMNS)


def test_compressed_streams_are_not_unpacked(client: Any) -> None:
    frame = pl.DataFrame({name: np.ones(100_000) for name in FEATURES})
    for compression in ("lz4", "zstd"):
        answer = batch(client, as_arrow(frame, compression=compression), ARROW)
        assert answer.status_code == 400
        assert "compressed" in answer.json()["detail"]


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_counted_from_the_headers(seed: int) -> None:
    draw = random.Random(seed)
    parts = [pl.DataFrame({"a": np.arange(draw.randint(0, 50)), "b": "x"}) for _ in range(draw.randint(1, 4))]
    frame = pl.concat(parts, rechunk=False)
    assert claimed_rows(as_arrow(frame)) == frame.height
    content = as_arrow(frame)
    for cut in (1, 7, len(content) // 2, len(content) - 9):
        with pytest.raises(NotAStreamError):
            claimed_rows(content[:cut])


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bodies_are_never_a_fault(world: World, client: Any, seed: int) -> None:
    draw = random.Random(seed)
    frame = some(world.customers).head(8).with_columns(pl.col("customer_id").cast(pl.String))
    for content, kind in (
        (as_arrow(frame), ARROW),
        (as_arrow(frame.drop("customer_id")), ARROW),
        (as_csv(frame), CSV),
        (frame.write_json().encode(), "application/json"),
    ):
        for _ in range(40):
            damaged = bytearray(content)
            for _ in range(draw.randint(1, 4)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            if draw.random() < 0.3:
                damaged = damaged[: draw.randrange(len(damaged))]
            answer = batch(client, bytes(damaged), kind)
            assert answer.status_code in (200, 400, 413, 422), (answer.status_code, bytes(damaged))


def test_too_many_batches_at_once_are_told_to_come_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.serving import batch as batch_module

    monkeypatch.setattr(batch_module, "AT_ONCE", 0)
    answer = client_of(app_of(world.folder / "bundle")).post("/v1/classify/batch", json=[ONE])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("transform", ["log", "none"])
def test_checking_agrees_with_one_customer_at_a_time(world: World, transform: str) -> None:
    spec = FeatureSpec(tuple(replace(column, transform=transform) for column in world.model.spec.columns))
    model = replace(world.model, spec=spec)
    draw = random.Random(0)
    values: list[Any] = [0, 1, -1, 3.5, None, float("nan"), float("inf"), -1e-320, 1e308, 1e39, -0.0]
    for _ in range(300):
        row = {name: draw.choice(values) for name in FEATURES}
        for impute in (False, True):
            frame = pl.DataFrame([row], schema=dict.fromkeys(FEATURES, pl.Float64), strict=False)
            # To a table a missing number and one that is none are the same.
            alone = {name: None if value != value else value for name, value in row.items()}
            try:
                model.spec.row(alone, impute=impute)
                taken = True
            except ValueError:
                taken = False
            try:
                checked(frame, model, impute=impute)
                assert taken, row
            except Problem:
                assert not taken, row


SALES = {
    "customer_id": [1, 1, 2, 3, 3, 3],
    "order_id": ["a", "b", "c", "d", "e", "f"],
    "timestamp": ["2026-01-05", "2026-02-03", "2026-01-09", "2026-02-20", "2026-03-02", "2026-03-03T10:00:00"],
    "amount": [120.0, 80.5, 12.0, 150.0, 130.0, 9.5],
}


def test_transactions_in_three_forms(world: World, client: Any) -> None:
    frame = pl.DataFrame(SALES)
    for as_of in (None, "2026-03-03"):
        wanted = api.classify_transactions(world.model, frame, as_of=as_of)
        path = "/v1/classify/transactions" + (f"?as_of={as_of}" if as_of else "")
        assert pl.DataFrame(client.post(path, json=frame.to_dicts()).json()).drop("window_days", "as_of").equals(wanted)
        answer = client.post(path, content=as_csv(frame), headers={"content-type": CSV})
        assert pl.read_csv(io.BytesIO(answer.content)).equals(wanted)
        typed = frame.with_columns(pl.col("timestamp").str.slice(0, 10).str.to_datetime())
        answer = client.post(path, content=as_arrow(typed), headers={"content-type": ARROW})
        assert of_arrow(answer.content)["segment_id"].equals(wanted["segment_id"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"timestamp": ["2026-01-05"] * 5 + ["2026-02-30"]}, "row 6"),
        ({"customer_id": ["1", "1", "", "3", "3", "3"]}, "row 3"),
        ({"amount": ["x"] * 6}, "cannot be read"),
        ({"timestamp": ["yesterday"] * 6}, "timestamp"),
    ],
)
def test_transactions_that_cannot_be_used(client: Any, change: dict[str, Any], says: str) -> None:
    answer = client.post("/v1/classify/transactions", json=pl.DataFrame({**SALES, **change}).to_dicts())
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_transactions_without_what_they_need(client: Any) -> None:
    for column in ("customer_id", "timestamp", "amount"):
        answer = client.post("/v1/classify/transactions", json=pl.DataFrame(SALES).drop(column).to_dicts())
        assert answer.status_code == 422
        assert column in answer.json()["detail"]
    for body in ([], [{}], [{"a": [1]}], [{"customer_id": 1}, {"customer_id": "x"}], {}):
        assert client.post("/v1/classify/transactions", json=body).status_code in (400, 422)
    assert client.post("/v1/classify/transactions?as_of=soon", json=pl.DataFrame(SALES).to_dicts()).status_code == 422
    assert (
        client.post("/v1/classify/transactions?as_of=1999-01-01", json=pl.DataFrame(SALES).to_dicts()).status_code
        == 422
    )


def test_forms_are_read_whatever_the_names_of_variables() -> None:
    frame = rows.customers(b'[{"Ticket medio": 3, "class": 1}]', "json", ["Ticket medio", "class", "c"], most=5)
    assert frame.to_dicts() == [{"Ticket medio": 3.0, "class": 1.0, "c": None}]
