"""Recommendations beside a model: followed, refused, waited for, and done without."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from engine.bundle import save_bundle
from engine.customer_base import CustomerBase
from engine.errors import BundleError, SettingError, SourceNotFoundError
from engine.recommend.recommender import CustomerRecommender
from engine.serving.access import Access
from engine.serving.app import make_app
from engine.serving.opening import Opening
from engine.serving.settings import ServeSettings
from engine.serving.state import OtherModelError
from experiments.serve import check_folders
from tests.serving.api_example import RECORDS, client_of
from tests.serving.pages_example import customers_of, model_of
from tests.serving.recommend_example import recommender_of, write_recommender

IDS = list(range(90))
CUSTOMERS = customers_of(IDS, 3)


def write(folder: Path, k: int = 3) -> Path:
    return save_bundle(model_of(CUSTOMERS, k), folder / "bundle", engine_version="test")


@pytest.fixture(scope="module")
def fitted() -> dict[int, CustomerRecommender]:
    return {k: recommender_of(IDS, model_of(CUSTOMERS, k) if k else None) for k in (0, 3, 4)}


@pytest.fixture
def opening(tmp_path: Path, fitted: dict[int, CustomerRecommender]) -> Opening:
    return Opening(bundle=write(tmp_path), recommender=write_recommender(tmp_path / "recommender", fitted[3]))


def test_a_newer_recommender_is_taken_in(opening: Opening, fitted: dict[int, CustomerRecommender]) -> None:
    state = opening()
    client = client_of(make_app(state, Access(RECORDS), ServeSettings()))
    first = state.now
    assert first.offers is not None
    assert client.get("/ready").json()["recommender_as_of"] == "1971-01-05T00:00:00+00:00"
    assert state.poll() is None
    later = replace(fitted[3], as_of=fitted[3].as_of + timedelta(days=3))
    assert opening.recommender is not None
    write_recommender(opening.recommender, later)
    assert state.poll() is True
    assert client.get("/v1/customers/7/recommendations").json()["as_of"] == "1971-01-08T00:00:00+00:00"
    # Model and day of loading are what they were; a request that began before still has its own.
    assert (state.now.model, state.now.loaded_at) == (first.model, first.loaded_at)
    assert first.offers.as_of == fitted[3].as_of
    write(opening.bundle.parent)
    before = state.now.offers
    assert state.poll() is True
    assert state.now.offers is before


def test_customers_are_not_read_again_for_a_newer_recommender(
    opening: Opening, fitted: dict[int, CustomerRecommender], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opening.bundle.parent / "customers.parquet"
    CUSTOMERS.write_parquet(file)
    state = replace(opening, customers=file, read=lambda path, model: pl.read_parquet(path))()
    base = state.now.base
    monkeypatch.setattr(CustomerBase, "build", lambda *_: pytest.fail("the customers have not changed"))
    assert opening.recommender is not None
    write_recommender(opening.recommender, fitted[3])
    assert state.poll() is True
    assert state.now.base is base


def test_one_of_other_segments_waits_for_its_model(
    opening: Opening, fitted: dict[int, CustomerRecommender], caplog: pytest.LogCaptureFixture
) -> None:
    state = opening()
    client = client_of(make_app(state, Access(RECORDS), ServeSettings()))
    first = state.now
    assert opening.recommender is not None
    write_recommender(opening.recommender, fitted[4])
    with caplog.at_level(logging.INFO, logger="engine.serving.state"):
        assert state.poll() is False
    assert [record.levelno for record in caplog.records if "seg-000003" in record.getMessage()] == [logging.INFO]
    problem = client.get("/ready").json()["problem"]
    assert "seg-000003" in problem
    assert "Write it anew: `cartera recommend" in problem
    assert str(opening.bundle.parent) not in problem
    assert state.now is first
    write(opening.bundle.parent, 4)
    assert state.poll() is True
    assert (state.now.model.k, state.problem) == (4, None)


def test_one_of_other_segments_does_not_start(tmp_path: Path, fitted: dict[int, CustomerRecommender]) -> None:
    folder = write_recommender(tmp_path / "recommender", fitted[4])
    with pytest.raises(OtherModelError, match=r"seg-000003.*cartera recommend"):
        Opening(bundle=write(tmp_path), recommender=folder)()


def test_without_segments_it_serves_customers_and_baskets(
    tmp_path: Path, fitted: dict[int, CustomerRecommender]
) -> None:
    folder = write_recommender(tmp_path / "recommender", fitted[0], tables=False)
    state = Opening(bundle=write(tmp_path), recommender=folder)()
    client = client_of(make_app(state, Access(RECORDS), ServeSettings()))
    told = client.get("/v1/customers/7/recommendations").json()["recommendations"]
    assert len(told) == 10
    assert "segment" not in {one["reason"] for one in told}
    answer = client.post("/v1/recommend", json={"basket": ["p0001"], "segment_id": "seg-000001"})
    assert answer.status_code == 200
    for path in ("cross-sell", "next-products"):
        refused = client.get(f"/v1/segments/seg-000001/{path}")
        assert refused.status_code == 404
        assert "with segments" in refused.json()["detail"]


DAMAGE: dict[str, Any] = {
    "a file is gone": lambda folder: (folder / "along_item.npy").unlink(),
    "a table is cut short": lambda folder: (folder / "cross_sell.parquet").write_bytes(b"PAR1"),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "nothing": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_one_is_refused_and_the_old_one_serves_on(opening: Opening, damage: str) -> None:
    state = opening()
    client = client_of(make_app(state, Access(RECORDS), ServeSettings()))
    told = client.get("/v1/customers/7/recommendations").json()
    assert opening.recommender is not None
    DAMAGE[damage](opening.recommender)
    assert state.poll() is False
    assert str(opening.bundle.parent) not in str(state.problem)
    assert "recommender" in str(state.problem)
    assert client.get("/v1/customers/7/recommendations").json() == told
    with pytest.raises((BundleError, SourceNotFoundError)):
        opening()


def test_a_worker_serves_the_model_without_what_has_gone_bad(opening: Opening) -> None:
    file = opening.bundle.parent / "customers.parquet"
    CUSTOMERS.write_parquet(file)
    both = replace(opening, customers=file, read=lambda path, model: pl.read_parquet(path))
    assert opening.recommender is not None
    (opening.recommender / "along_item.npy").unlink()
    state = both(model_alone=True)
    assert (state.now.base is None, state.now.offers) == (False, None)
    assert str(state.problem).endswith("The model is served without recommendations.")
    file.write_bytes(b"no Parquet")
    state = both(model_alone=True)
    assert (state.now.base, state.now.offers) == (None, None)
    assert str(state.problem).endswith("The model is served without customers and recommendations.")
    (opening.bundle / "segments.json").write_bytes(b"[]")
    with pytest.raises(BundleError):
        both(model_alone=True)


def test_the_folder_of_a_run_is_told_apart_from_the_recommender_in_it(opening: Opening) -> None:
    assert opening.recommender is not None
    given = SimpleNamespace(bundle=None, customers=None, lake=None, recommender=str(opening.recommender))
    check_folders(given)
    given.recommender = str(opening.recommender.parent)
    with pytest.raises(SettingError, match=r"the folder of a run. Give recommender=.*recommender"):
        check_folders(given)
