"""The same model once more, a model that waits for its customers, and a bundle put in the wrong place."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.bundle import load_bundle, save_bundle
from engine.customer_base import CustomerBase
from engine.lake.ingest import ingest
from engine.lake.recipe import Recipe
from engine.serving.access import Access
from engine.serving.app import make_app
from engine.serving.opening import Opening
from engine.serving.settings import ServeSettings
from engine.serving.state import OtherModelError, State
from tests.serving.api_example import RECORDS, client_of
from tests.serving.pages_example import customers_of, model_of, write_sales

CUSTOMERS = customers_of(list(range(90)), 3)


def write(folder: Path, k: int = 3, name: str = "bundle") -> Path:
    return save_bundle(model_of(CUSTOMERS, k), folder / name, engine_version="test")


def reloads(client: Any, result: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith(f'cartera_reloads_total{{result="{result}"}}')]
    return float(found[0].split()[-1]) if found else 0.0


@pytest.mark.parametrize("how", ["written again", "hang-up"])
def test_the_same_model_again_is_no_new_one(tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    state = State(write(tmp_path))
    client = client_of(make_app(state, Access(RECORDS), ServeSettings()))
    first, ready = state.now, client.get("/ready").json()
    if how == "hang-up":
        state.look_again()
    else:
        write(tmp_path)
    with caplog.at_level(logging.INFO, logger="engine.serving.state"):
        assert state.poll() is True
    assert state.now.loaded_at == first.loaded_at
    assert state.now.model is first.model
    assert client.get("/ready").json() == ready
    assert "now serving" not in caplog.text
    assert reloads(client, "ok") == 0
    write(tmp_path, 4)
    with caplog.at_level(logging.INFO, logger="engine.serving.state"):
        assert state.poll() is True
    assert state.now.loaded_at > first.loaded_at
    assert "now serving" in caplog.text
    assert reloads(client, "ok") == 1


def test_the_same_model_after_a_broken_one_is_well_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = State(write(tmp_path))
    client = client_of(make_app(state, Access(RECORDS), ServeSettings()))
    first = state.now
    (tmp_path / "bundle" / "segments.json").write_bytes(b"[]")
    assert state.poll() is False
    write(tmp_path)
    with caplog.at_level(logging.INFO, logger="engine.serving.state"):
        assert state.poll() is True
    assert (state.problem, state.now.loaded_at) == (None, first.loaded_at)
    assert "well again" in caplog.text
    assert (reloads(client, "ok"), reloads(client, "failed")) == (0, 1)


def read(path: Path, model: Any) -> pl.DataFrame:
    return pl.read_parquet(path)


def test_customers_and_lake_change_under_the_same_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, lake = tmp_path / "customers.parquet", tmp_path / "lake"
    CUSTOMERS.write_parquet(file)

    def sell(seed: int) -> None:
        write_sales(tmp_path / f"sales-{seed}.csv", [1, 2], seed)
        recipe = Recipe.from_mapping({"name": "till", "path": [str(tmp_path / f"sales-{seed}.csv")]})
        ingest(recipe, lake, rejects=tmp_path / "rejects.parquet")

    sell(0)
    state = Opening(bundle=write(tmp_path), customers=file, lake=lake, read=read)()
    client = client_of(make_app(state, Access(RECORDS), ServeSettings()))
    first = state.now
    with monkeypatch.context() as patched:
        patched.setattr(CustomerBase, "build", lambda *_: pytest.fail("the customers have not changed"))
        sell(1)
        assert state.poll() is True
        write(tmp_path)
        assert state.poll() is True
    assert state.now.lake is not None
    assert first.lake is not None
    assert state.now.lake.version != first.lake.version
    assert state.now.base is first.base
    CUSTOMERS.head(50).write_parquet(file)
    assert state.poll() is True
    assert state.now.base is not None
    assert state.now.base.n == client.get("/ready").json()["customers"] == 50
    assert "cartera_customers 50.0" in client.get("/metrics").text
    assert state.now.loaded_at == first.loaded_at
    # Told to look again it reads them whatever they seem.
    before = state.now.base
    state.look_again()
    assert state.poll() is True
    assert state.now.base is not before
    assert reloads(client, "ok") == 0


@pytest.mark.parametrize("first_comes", ["model", "customers"])
def test_waiting_for_the_other_half_is_no_failure(
    tmp_path: Path, first_comes: str, caplog: pytest.LogCaptureFixture
) -> None:
    opening = Opening(bundle=write(tmp_path), customers=tmp_path / "customers")
    CustomerBase.build(CUSTOMERS, load_bundle(tmp_path / "bundle")).save(tmp_path / "customers")
    state = opening()
    client = client_of(make_app(state, Access(RECORDS), ServeSettings()))
    first = state.now
    halves = {
        "model": lambda: write(tmp_path, 4),
        "customers": lambda: CustomerBase.build(CUSTOMERS, model_of(CUSTOMERS, 4)).save(tmp_path / "customers"),
    }
    halves.pop(first_comes)()
    with caplog.at_level(logging.INFO, logger="engine.serving.state"):
        assert state.poll() is False
        assert state.poll() is None
    waits = [record for record in caplog.records if "another model" in record.getMessage()]
    assert [record.levelno for record in waits] == [logging.INFO]
    assert "Write them anew" in waits[0].getMessage()
    assert state.now is first
    assert "another model" in client.get("/ready").json()["problem"]
    assert (reloads(client, "ok"), reloads(client, "failed")) == (0, 0)
    halves[next(iter(halves))]()
    assert state.poll() is True
    assert (state.now.model.k, state.problem) == (4, None)
    assert (reloads(client, "ok"), reloads(client, "failed")) == (1, 0)


def test_customers_of_another_model_do_not_start(tmp_path: Path) -> None:
    opening = Opening(bundle=write(tmp_path), customers=tmp_path / "customers")
    CustomerBase.build(CUSTOMERS, model_of(CUSTOMERS, 4)).save(tmp_path / "customers")
    with pytest.raises(OtherModelError, match="index=true"):
        opening()


def test_a_folder_moved_into_the_place_of_the_old_one_is_noticed(tmp_path: Path) -> None:
    state = State(write(tmp_path))
    write(tmp_path, 4, "bundle.new")
    (tmp_path / "bundle").rename(tmp_path / "bundle.old")
    (tmp_path / "bundle.new").rename(tmp_path / "bundle")
    assert state.poll() is True
    assert state.now.model.k == 4


def test_a_folder_moved_into_the_old_one_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = State(write(tmp_path))
    first = state.now
    shutil.move(write(tmp_path, 4, "bundle.new"), tmp_path / "bundle")
    with caplog.at_level(logging.WARNING):
        assert state.poll() is False
    assert "bundle.new: `mv` onto a folder" in caplog.text
    assert "bundle.new" in str(state.problem)
    assert str(tmp_path) not in str(state.problem)
    assert state.now is first
    shutil.rmtree(tmp_path / "bundle" / "bundle.new")
    assert state.poll() is True
    assert state.problem is None
