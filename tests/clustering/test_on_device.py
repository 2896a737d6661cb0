from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_array

from engine import segment
from engine.clustering import KMeans, cuda_tiles, on_device
from engine.clustering.backends import cluster, hold_rows
from engine.clustering.on_device import device_of, held_on
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_file import FileRows
from engine.clustering.sweep import Tries
from engine.device import Gpu
from engine.errors import DeviceError, SettingError
from engine.tracking.tracker import NullTracker
from experiments import records
from tests.experiments.till import sales_csv

ROWS = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card of which is known that it can be used, and that no kernel can reach."""
    found = Gpu("A card", (9, 0), 2, 2**16, 2**30, 2**30, 1.0)
    monkeypatch.setattr("engine.device.usable_gpu", lambda: found)
    monkeypatch.setattr(on_device, "free_bytes", lambda gpu: gpu.free_bytes)


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.device.usable_gpu", lambda: "there is no NVIDIA driver")


@pytest.fixture
def gpus_of_faiss(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A FAISS that sees two GPUs and works on the CPU; what its k-means is given for ``gpu``, call after call."""
    given: list[Any] = []

    class Kmeans(faiss.Kmeans):
        def __init__(self, *arguments: Any, gpu: Any, **named: Any) -> None:
            given.append(gpu)
            super().__init__(*arguments, **named)

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(faiss, "Kmeans", Kmeans)
    return given


def unasked() -> Gpu | str:
    raise AssertionError("the GPU was tried")


def test_auto_tries_no_gpu_for_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.device.usable_gpu", unasked)
    monkeypatch.setattr(on_device, "PAYS_FROM_VALUES", ROWS.size + 1)
    rows = ArrayRows(ROWS)
    assert held_on(rows, "auto") is rows
    assert held_on(rows, "cpu") is rows
    monkeypatch.setattr(on_device, "PAYS_FROM_VALUES", ROWS.size)
    with pytest.raises(AssertionError, match="was tried"):
        held_on(rows, "auto")
    assert held_on(rows, "cpu") is rows


@pytest.mark.usefixtures("no_card")
def test_auto_says_why_it_stays_on_the_cpu(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(on_device, "PAYS_FROM_VALUES", 1)
    caplog.set_level(logging.INFO)
    assert device_of(hold_rows(ROWS)) == "cpu"
    assert caplog.messages == ["clustering on the CPU: there is no NVIDIA driver"]


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize(
    ("d", "free", "why"), [(65, 2**30, "at most 64 features"), (3, 2**10, "free memory on the card")]
)
def test_auto_falls_back_before_it_begins_and_cuda_does_not(
    d: int, free: int, why: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("engine.device.usable_gpu", lambda: Gpu("A card", (9, 0), 2, 2**16, free, free, 1.0))
    monkeypatch.setattr(on_device, "free_bytes", lambda gpu: gpu.free_bytes)
    monkeypatch.setattr(on_device, "PAYS_FROM_VALUES", 1)
    X = np.random.default_rng(1).normal(size=(80, d)).astype(np.float32)
    found = cluster(X, 2)
    assert found.device == "cpu"
    (warned,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warned.startswith("clustering on the CPU, not on the GPU: ")
    assert why in warned
    np.testing.assert_array_equal(found.labels, cluster(X, 2, device="cpu").labels)
    with pytest.raises(DeviceError, match=why):
        cluster(X, 2, device="cuda")


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("backend", ["sklearn", "dask_ml"])
def test_backends_of_the_cpu_refuse_a_gpu(backend: str) -> None:
    with pytest.raises(SettingError, match=rf"only the backends native and faiss work on a GPU; got {backend}"):
        cluster(ROWS, 2, backend=backend, device="cuda")


@pytest.mark.usefixtures("no_card")
@pytest.mark.parametrize("device", ["gpu", "cuda:1"])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(SettingError, match=r"clustering\.device"):
        cluster(ROWS, 2, device=device)


@pytest.mark.usefixtures("no_card")
def test_cuda_without_a_card_is_refused_wherever_it_is_asked_for(tmp_path: Path) -> None:
    sales = pl.read_csv(sales_csv(tmp_path / "sales.csv"))
    calls = [
        lambda: cluster(ROWS, 2, device="cuda"),
        lambda: Tries(ROWS, device="cuda").run(2),
        lambda: segment(sales, k=2, device="cuda"),
        lambda: KMeans(2, device="cuda").fit(ROWS),
        lambda: KMeans(2, device="cuda").fit_predict(ROWS),
    ]
    for call in calls:
        with pytest.raises(DeviceError, match=r"no GPU can be used \(there is no NVIDIA driver\)"):
            call()


def test_the_estimator_tries_no_gpu_for_what_none_can_take(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("engine.device.usable_gpu", unasked)
    monkeypatch.setattr(on_device, "PAYS_FROM_VALUES", ROWS.size + 1)
    np.save(tmp_path / "rows.npy", ROWS)
    sparse, filed = csr_array(ROWS * (ROWS > 1.5)), FileRows.npy(tmp_path / "rows.npy")
    for X in (ROWS, sparse, filed):
        assert KMeans(2, random_state=0).fit(X).device_ == "cpu"
    monkeypatch.setattr(on_device, "PAYS_FROM_VALUES", 1)
    for X, what in ((sparse, "sparse"), (filed, "in a file")):
        assert KMeans(2, random_state=0).fit(X).device_ == "cpu"
        with pytest.raises(SettingError, match=f"device: 'cuda' takes dense rows in memory; X is {what}"):
            KMeans(2, device="cuda").fit(X)
    # Only a fit is asked for the device.
    model = KMeans(2, random_state=0, device="cpu").fit(ROWS).set_params(device="cuda")
    assert model.predict(ROWS).tolist() == model.labels_.tolist()
    assert model.score(ROWS) == -model.inertia_
    assert model.transform(ROWS).shape == (60, 2)
    assert KMeans(2, random_state=0, device="cuda").partial_fit(ROWS).n_steps_ == 1
    with pytest.raises(AssertionError, match="was tried"):
        KMeans(2).fit(ROWS)


@pytest.mark.usefixtures("card")
def test_the_estimator_falls_back_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_device, "PAYS_FROM_VALUES", 1)
    X = np.random.default_rng(1).normal(size=(80, 65))
    assert KMeans(2, random_state=0).fit(X).device_ == "cpu"
    with pytest.raises(DeviceError, match="at most 64 features"):
        KMeans(2, device="cuda").fit(X)


def test_faiss_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    assert cluster(ROWS, 2, backend="faiss").device == "cpu"
    with pytest.raises(DeviceError, match=r"installed FAISS is built without GPU code.*faiss-gpu in the place"):
        cluster(ROWS, 2, backend="faiss", device="cuda")
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    with pytest.raises(DeviceError, match="installed FAISS sees no GPU"):
        cluster(ROWS, 2, backend="faiss", device="cuda")
    monkeypatch.delattr(faiss, "get_num_gpus")
    assert on_device.faiss_gpus("auto") == 0


def test_faiss_is_told_of_its_gpus(gpus_of_faiss: list[Any]) -> None:
    devices = [cluster(ROWS, 2, backend="faiss", device=device).device for device in ("auto", "cuda", "cpu")]
    assert devices == ["cuda", "cuda", "cpu"]
    assert gpus_of_faiss == [2, 2, False]


def test_faiss_fails_on_its_gpu(
    gpus_of_faiss: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trains = faiss.Kmeans

    class Failing(trains):  # type: ignore[misc,valid-type]
        def train(self, *given: Any, **named: Any) -> Any:
            if gpus_of_faiss[-1]:
                raise RuntimeError("CUDA error 2 out of memory")
            return super().train(*given, **named)

    monkeypatch.setattr(faiss, "Kmeans", Failing)
    assert cluster(ROWS, 2, backend="faiss").device == "cpu"
    assert "the CPU goes on: CUDA error 2 out of memory" in caplog.text
    with pytest.raises(DeviceError, match=r"FAISS failed on the GPU \(CUDA error 2"):
        cluster(ROWS, 2, backend="faiss", device="cuda")


def test_where_it_was_found_is_kept_with_the_model_and_in_the_store(
    gpus_of_faiss: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    class Tracker(NullTracker):
        def params(self, values: Any) -> None:
            told.append(values["device"])

        def child(self, name: str, params: Any, *more: Any, **named: Any) -> None:
            told.append((name, params["device"]))

    monkeypatch.setattr("engine.report.elbow.elbow_png", lambda *given: None)
    sales = pl.read_csv(sales_csv(tmp_path / "sales.csv"))
    for device, where in (("auto", "cuda"), ("cpu", "cpu")):
        told.clear()
        s = segment(sales, k=2, backend="faiss", device=device)
        assert [trial.device for trial in s.trials] == [where]
        assert s.model.facts["device"] == where
        assert s.summary["device"] == where
        assert records.record_segmentation(Tracker(), s, tmp_path) is None
        assert told == [where, ("k=2", where)]
    assert gpus_of_faiss == [2, False]


@pytest.mark.usefixtures("card")
def test_a_card_that_fails_when_its_memory_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def current_context(self) -> None:
            raise cuda_tiles.FAILURES[-1]("CUDA_ERROR_DEVICE_UNAVAILABLE")

    monkeypatch.undo()
    monkeypatch.setattr("engine.device.usable_gpu", lambda: Gpu("A card", (9, 0), 2, 2**16, 2**30, 2**30, 1.0))
    monkeypatch.setattr(on_device, "PAYS_FROM_VALUES", 1)
    monkeypatch.setattr(cuda_tiles, "cuda", Gone())
    assert cluster(ROWS, 2).device == "cpu"
    with pytest.raises(DeviceError, match=r"the GPU failed \(CUDA_ERROR_DEVICE_UNAVAILABLE"):
        cluster(ROWS, 2, device="cuda")
