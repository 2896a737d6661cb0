from __future__ import annotations

import asyncio
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.bundle import load_bundle, save_bundle
from engine.customer_base import CustomerBase
from engine.errors import BundleError, DataError, SourceNotFoundError
from engine.serving import state as state_module
from engine.serving.access import Access
from engine.serving.app import make_app
from engine.serving.opening import Opening
from engine.serving.settings import ServeSettings
from engine.serving.state import State, try_out
from tests.serving.api_example import ONE, RECORDS, client_of
from tests.serving.pages_example import customers_of, model_of

CUSTOMERS = customers_of(list(range(90)), 3)


def write(folder: Path, k: int = 3) -> Path:
    return save_bundle(model_of(CUSTOMERS, k), folder / "bundle", engine_version="test")


def test_nothing_new_is_nothing_done(tmp_path: Path) -> None:
    state = State(write(tmp_path))
    first = state.now
    assert state.poll() is None
    assert state.now is first
    assert state.problem is None
    assert first.digest == json.loads((tmp_path / "bundle" / "manifest.json").read_text())["digest"]
    assert first.loaded_at.tzinfo is not None


def test_a_new_bundle_is_taken_in_and_the_old_snapshot_stays_whole(tmp_path: Path) -> None:
    state = State(write(tmp_path, 3))
    held, told = state.now, []
    state.told = told.append
    write(tmp_path, 5)
    assert state.poll() is True
    assert (held.model.k, state.now.model.k) == (3, 5)
    assert held.digest != state.now.digest
    assert told == [state.now]
    assert state.poll() is None


DAMAGE: dict[str, Any] = {
    "a file is gone": lambda bundle: (bundle / "centroids.npy").unlink(),
    "a byte has changed": lambda bundle: (bundle / "segments.json").write_bytes(b"[]"),
    "no manifest": lambda bundle: (bundle / "manifest.json").unlink(),
    "half a manifest": lambda bundle: (bundle / "manifest.json").write_bytes(b'{"format": "cart'),
    "no object": lambda bundle: (bundle / "manifest.json").write_bytes(b"[]"),
    "no text": lambda bundle: (bundle / "manifest.json").write_bytes(b"\xff\x00"),
    "all gone": lambda bundle: shutil.rmtree(bundle),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_broken_bundle_is_told_and_the_old_one_serves_on(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = write(tmp_path)
    state = State(bundle)
    app = make_app(state, Access(RECORDS), ServeSettings())
    client, first = client_of(app), state.now
    DAMAGE[how](bundle)
    with caplog.at_level(logging.WARNING):
        assert state.poll() is False
    assert state.now is first
    assert state.problem
    assert "stays" in caplog.text
    assert client.post("/v1/classify", json=ONE).status_code == 200
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()["problem"]) == (200, state.problem)
    assert 'cartera_reloads_total{result="failed"} 1.0' in client.get("/metrics").text
    # It is not tried again and again while nothing changes.
    assert state.poll() is None
    shutil.rmtree(bundle, ignore_errors=True)
    write(tmp_path, 4)
    assert state.poll() is True
    assert state.problem is None
    assert state.now.model.k == 4
    assert client.get("/ready").json()["problem"] is None
    figures = client.get("/metrics").text
    assert 'cartera_reloads_total{result="ok"} 1.0' in figures
    assert figures.count("cartera_model_loaded_timestamp_seconds{") == 1
    assert state.now.digest in figures


def test_the_first_bundle_must_be_good(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError):
        State(tmp_path / "none")
    bundle = write(tmp_path)
    (bundle / "spec.json").write_text("{}")
    with pytest.raises(BundleError):
        State(bundle)


def test_a_model_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    model = load_bundle(write(tmp_path))
    try_out(model, tmp_path)
    crossed = model.centroids.copy()
    # Farther apart than float32 can hold: a point near one is no longer nearest to it.
    crossed[0] = 1e39
    with pytest.raises((BundleError, DataError)), np.errstate(all="ignore"):
        try_out(replace(model, centroids=crossed), tmp_path)
    same = np.repeat(model.centroids[:1], model.k, axis=0)
    try_out(replace(model, centroids=same), tmp_path)  # two on one point: either will do


def test_our_own_fault_while_reading_does_not_end_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(write(tmp_path))
    monkeypatch.setattr(state_module, "load_bundle", lambda _: 1 / 0)
    write(tmp_path, 4)
    assert state.poll() is False
    assert state.now.model.k == 3
    assert "ZeroDivisionError" in str(state.problem)


def test_a_hang_up_signal_reads_again_what_seems_unchanged(tmp_path: Path) -> None:
    state = State(write(tmp_path))
    first = state.now
    state.look_again()
    assert state.poll() is True
    assert state.now is not first
    assert (state.now.digest, state.now.loaded_at) == (first.digest, first.loaded_at)


def test_the_watch_takes_in_what_comes(tmp_path: Path) -> None:
    state = State(write(tmp_path))

    async def wait() -> None:
        watching = asyncio.create_task(state.watch(0.01))
        await asyncio.sleep(0.03)
        write(tmp_path, 5)
        for _ in range(200):
            await asyncio.sleep(0.01)
            if state.now.model.k == 5:
                break
        watching.cancel()

    asyncio.run(wait())
    assert state.now.model.k == 5


def test_requests_during_a_change_see_one_model_or_the_other(tmp_path: Path) -> None:
    state = State(write(tmp_path, 3))
    client = client_of(make_app(state, Access(RECORDS), ServeSettings()))
    allowed = {load_bundle(tmp_path / "bundle").classify(ONE).distance}
    for k in (4, 5, 3):
        write(tmp_path, k)
        allowed.add(load_bundle(tmp_path / "bundle").classify(ONE).distance)
        state.poll()
        answer = client.post("/v1/classify", json=ONE).json()
        assert answer["distance"] in allowed
        assert answer["distance"] == load_bundle(tmp_path / "bundle").classify(ONE).distance


def base_folder(folder: Path, k: int) -> Path:
    model = load_bundle(folder / "bundle")
    assert model.k == k
    return CustomerBase.build(CUSTOMERS, model).save(folder / "customers")


def test_model_and_customers_change_together(tmp_path: Path) -> None:
    opening = Opening(bundle=write(tmp_path, 3), customers=base_folder(tmp_path, 3))
    state = opening()
    first = state.now
    assert first.base is not None
    assert first.base.n == 90
    write(tmp_path, 4)
    # The customers are still of the other model: it waits for them.
    assert state.poll() is False
    assert state.now is first
    assert "another model" in str(state.problem)
    base_folder(tmp_path, 4)
    assert state.poll() is True
    assert state.now.model.k == 4
    assert state.now.base is not None
    assert len(state.now.base.counts) == 4
    # The customers that were mapped before still answer: their files are gone from the folder, not from memory.
    assert first.base.row(5) is not None
    assert first.base.similar(5, 3).height == 3


def test_a_worker_serves_the_model_alone_where_the_customers_went_bad(tmp_path: Path) -> None:
    opening = Opening(bundle=write(tmp_path, 3), customers=base_folder(tmp_path, 3))
    with (tmp_path / "customers" / "customers.arrow").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(BundleError):
        opening()
    state = opening(model_alone=True)
    assert state.now.base is None
    assert "without customers" in str(state.problem)
    client = client_of(make_app(state, Access(RECORDS), ServeSettings()))
    ready = client.get("/ready").json()
    assert (ready["customers"], ready["problem"]) == (None, state.problem)
    assert client.post("/v1/classify", json=ONE).status_code == 200
    # They come back by themselves when they are whole again.
    shutil.rmtree(tmp_path / "customers")
    base_folder(tmp_path, 3)
    assert state.poll() is True
    assert state.now.base is not None
    assert state.problem is None
    # Without a model there is nothing to serve.
    (tmp_path / "bundle" / "centroids.npy").unlink()
    with pytest.raises(BundleError):
        opening(model_alone=True)


@pytest.mark.parametrize("relative", [False, True])
def test_the_reason_that_anybody_may_read_tells_no_folders(
    tmp_path: Path, relative: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "a secret place"
    folder.mkdir()
    write(folder)
    monkeypatch.chdir(tmp_path)
    state = State(Path(folder.name, "bundle") if relative else folder / "bundle")
    (folder / "bundle" / "centroids.npy").unlink()
    with caplog.at_level(logging.WARNING):
        assert state.poll() is False
    assert "bundle=bundle" in str(state.problem)
    assert "secret" not in str(state.problem)
    assert "/" not in str(state.problem)
    assert "secret" in caplog.text
    monkeypatch.setattr(state_module, "load_bundle", lambda _: open("/etc/other place/file"))  # noqa: SIM115, PTH123
    state.look_again()
    assert state.poll() is False
    assert "/etc" not in str(state.problem)


def read(path: Path, model: Any) -> pl.DataFrame:
    return pl.read_parquet(path)


@pytest.mark.parametrize("spooled", [False, True])
def test_customers_of_a_file_follow_every_model(tmp_path: Path, spooled: bool) -> None:
    file = tmp_path / "customers.parquet"
    CUSTOMERS.write_parquet(file)
    spool = tmp_path / "spool" if spooled else None
    if spool:
        spool.mkdir()
    state = Opening(bundle=write(tmp_path, 3), customers=file, read=read, spool=spool)()
    assert state.now.base is not None
    assert len(state.now.base.counts) == 3
    write(tmp_path, 4)
    assert state.poll() is True
    assert state.now.base is not None
    assert len(state.now.base.counts) == 4
    CUSTOMERS.head(50).write_parquet(file)
    assert state.poll() is True
    assert state.now.base.n == 50
    if spool:
        assert len([path for path in spool.iterdir() if path.is_dir()]) == 3


def test_workers_build_the_customers_of_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, spool = tmp_path / "customers.parquet", tmp_path / "spool"
    CUSTOMERS.write_parquet(file)
    spool.mkdir()
    opening = Opening(bundle=write(tmp_path, 3), customers=file, read=read, spool=spool)
    opening()
    monkeypatch.setattr(CustomerBase, "build", lambda *_: pytest.fail("built twice"))
    second = opening().now.base
    assert second is not None
    assert second.n == 90
