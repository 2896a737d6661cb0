from __future__ import annotations

import logging
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from engine.clustering import KMeans, cuda_kernels, cuda_tiles, on_device, rows_cuda, solve
from engine.clustering.backends import cluster
from engine.clustering.rows_array import ArrayRows
from engine.clustering.sweep import Tries
from engine.device import Gpu, choose_device, usable_gpu
from engine.errors import DeviceError
from experiments import gpu_check
from tests.cuda.failing import Failing

# numpy's scalars warn where machine integers wrap around.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in scalar multiply")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """The card as it is known after one try, and so few rows on it that the simulator is soon done with them."""
    found = Gpu("the card", (9, 0), 1, 2**16, 2**30, 2**30, 1.0)
    monkeypatch.setattr("engine.device.usable_gpu", lambda: found)
    monkeypatch.setattr(rows_cuda, "MOVES_AT_ONCE", 1)
    # Fewer are solved in memory, wherever they are.
    monkeypatch.setattr(solve, "FULL_BELOW_ROWS", 10)
    monkeypatch.setattr(solve, "FULL_STARTS", 3)


def far_groups(seed: int = 0, n: int = 24) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 1)) + 30.0 * (np.arange(n) % 2)[:, None]).astype(np.float32)


def test_the_card_can_be_used() -> None:
    usable_gpu.cache_clear()
    found = choose_device("cuda")
    assert found.kind == "cuda"
    assert found.gpu is not None
    assert found.gpu == usable_gpu()
    assert found.gpu.processors >= 1
    assert 0 < found.gpu.free_bytes <= found.gpu.memory_bytes
    assert choose_device("auto").gpu == found.gpu
    assert choose_device("auto", worth_it=False).kind == "cpu"


@pytest.mark.usefixtures("card")
def test_a_clustering_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    X = far_groups()
    expected = cluster(X, 2, solver="full", device="cpu")
    # Whoever searched on the processor would notice.
    monkeypatch.setattr(ArrayRows, "settle", None)
    monkeypatch.setattr(ArrayRows, "assign", None)
    found = cluster(X, 2, solver="full", device="cuda")
    assert (found.device, expected.device) == ("cuda", "cpu")
    assert sorted(found.centroids[:, 0]) == pytest.approx(sorted(expected.centroids[:, 0]), abs=1e-12)
    assert sorted(found.sizes) == sorted(expected.sizes) == [12, 12]
    assert found.inertia == pytest.approx(expected.inertia, rel=1e-6)


@pytest.mark.usefixtures("card")
def test_trials_on_the_card_have_the_figures_of_the_processor() -> None:
    X = far_groups(3)
    found, expected = (Tries(X, device=device).run(2, solver="full") for device in ("cuda", "cpu"))
    assert (found.device, expected.device) == ("cuda", "cpu")
    for name in ("inertia", "silhouette", "davies_bouldin", "calinski_harabasz"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-6), name
    assert sorted(found.sizes) == sorted(expected.sizes) == [12, 12]


@pytest.mark.usefixtures("card")
def test_the_estimator_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    # So far from zero that the rows are moved there first.
    X = far_groups(1).astype(np.float64) + 1e6
    expected = KMeans(2, random_state=0, solver="full").fit(X, sample_weight=np.arange(24.0))
    for name in ("settle", "assign"):
        monkeypatch.setattr(ArrayRows, name, None)
    found = KMeans(2, random_state=0, solver="full", device="cuda").fit(X, sample_weight=np.arange(24.0))
    assert (found.device_, expected.device_) == ("cuda", "cpu")
    one, other = (np.argsort(model.cluster_centers_[:, 0]) for model in (found, expected))
    assert found.cluster_centers_[one] == pytest.approx(expected.cluster_centers_[other], rel=1e-13)
    assert np.argsort(one)[found.labels_].tolist() == np.argsort(other)[expected.labels_].tolist()
    assert found.inertia_ == pytest.approx(expected.inertia_, rel=1e-9)
    monkeypatch.undo()
    assert found.predict(X).tolist() == found.labels_.tolist()


@pytest.mark.usefixtures("card")
def test_the_estimator_on_the_card_has_more_clusters_than_there_are_different_rows() -> None:
    # The squares of the smallest are 0 in float32.
    X = np.repeat(np.array([[0.0], [1e-30], [7.0]], np.float32), 4, axis=0)
    with pytest.warns(ConvergenceWarning, match=r"\(2\) found smaller than n_clusters \(3\).*scale X up"):
        found = KMeans(3, random_state=0, device="cuda").fit(X)
    assert (found.device_, found.inertia_, set(found.labels_)) == ("cuda", 0.0, {0, 1})


def test_a_sample_finds_its_place_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_cuda, "SEARCHED_FROM", 8)
    rows = ArrayRows(far_groups())
    card = rows_cuda.CudaRows(rows, memory_bytes=2**30, processors=1)
    sample = card.beside(rows)
    assert isinstance(sample, rows_cuda.CudaRows)
    assert sample.resident


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize(("name", "times"), [("step", 0), ("step", 1), ("assign", 0)])
def test_a_card_that_fails_midway(
    name: str, times: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = cuda_kernels.kernels_of

    def failing(*of: Any) -> Any:
        kernels = whole(*of)
        return kernels._replace(**{name: Failing(getattr(kernels, name), times)})

    monkeypatch.setattr(cuda_kernels, "kernels_of", failing)
    monkeypatch.setattr(on_device, "PAYS_FROM_VALUES", 1)
    X = far_groups(5)
    found, expected = cluster(X, 2, solver="full"), cluster(X, 2, solver="full", device="cpu")
    assert found.device == "cpu (the GPU failed: CUDA_ERROR_LAUNCH_FAILED)"
    assert sorted(found.centroids[:, 0]) == pytest.approx(sorted(expected.centroids[:, 0]), abs=1e-12)
    assert found.inertia == pytest.approx(expected.inertia, rel=1e-6)
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == ["the GPU failed, and the CPU goes on: CUDA_ERROR_LAUNCH_FAILED"]
    with pytest.raises(DeviceError, match=r"the GPU failed \(CUDA_ERROR_LAUNCH_FAILED\).*device=auto"):
        cluster(X, 2, solver="full", device="cuda")


def test_the_test_of_the_doctor() -> None:
    # As the doctor calls it, in a process of its own.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "experiments.gpu_check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "features as in float64 on the CPU (seed" in done.stdout


@pytest.mark.parametrize(("name", "told"), [("step", "sizes are"), ("assign", "assigned to other clusters")])
def test_the_test_of_the_doctor_finds_what_is_wrong(name: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        """Leaves what it should fill as it is: at zero."""

        def __getitem__(self, launch: object) -> Any:
            return lambda *given: None

    def zeros(shape: Any, dtype: Any, stream: Any = 0) -> Any:
        return cuda_tiles.cuda.to_device(np.zeros(shape, dtype))

    whole = cuda_kernels.kernels_of
    monkeypatch.setattr(cuda_kernels, "kernels_of", lambda *of: whole(*of)._replace(**{name: Silent()}))
    monkeypatch.setattr(cuda_tiles.cuda, "device_array", zeros)
    with pytest.raises(ValueError, match=told):
        gpu_check.compare(20, 0, processors=1)


@pytest.mark.usefixtures("card")
def test_what_is_free_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, usual = ArrayRows(far_groups(n=200)), rows_cuda.CudaRows.__init__.__kwdefaults__
    for free, resident in ((2**20, True), (6_000, False)):
        now = SimpleNamespace(get_memory_info=lambda free=free: (free, 2**30))
        monkeypatch.setattr(cuda_tiles.cuda, "current_context", lambda now=now: now)
        monkeypatch.setitem(usual, "streamed_bytes", 1_000)
        found = on_device.held_on(rows, "cuda")
        assert isinstance(found, rows_cuda.CudaRows)
        assert found.resident is resident
