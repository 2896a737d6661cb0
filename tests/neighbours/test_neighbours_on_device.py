from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from engine.errors import DeviceError, SettingError
from engine.neighbours import NeighbourIndex, inverted

ROWS = (np.random.default_rng(3).normal(size=(3_000, 4)) + 5).astype(np.float32)


@pytest.fixture
def gpu_of_faiss(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, type]]:
    """A FAISS that sees a GPU, which the CPU plays; what was sent there."""
    sent: list[tuple[int, type]] = []

    def send(resources: Any, number: int, index: Any) -> Any:
        sent.append((number, type(index)))
        return index

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", send, raising=False)
    # Rows are sent in several goes.
    monkeypatch.setattr(inverted, "SENT_ROWS", 700)
    return sent


@pytest.mark.parametrize("kind", ["ivf", "ivf_pq"])
def test_a_gpu_that_finds_the_same_lists_makes_the_same_files(
    kind: str, gpu_of_faiss: list[tuple[int, type]], tmp_path: Path
) -> None:
    by_gpu, by_cpu = (
        NeighbourIndex.build(ROWS, kind=kind, seed=7, threads=1, device=device) for device in ("auto", "cpu")
    )
    assert gpu_of_faiss == [(0, faiss.IndexFlatL2)]
    assert (by_gpu.reason, by_cpu.reason) == ("asked for; lists by a GPU", "asked for")
    own, other = (index.save(tmp_path / name) for index, name in ((by_gpu, "gpu"), (by_cpu, "cpu")))
    assert (own / inverted.FILE).read_bytes() == (other / inverted.FILE).read_bytes()
    queries = ROWS[:50] + np.float32(0.01)
    for index in (by_gpu, NeighbourIndex.load(own)):
        found, expected = index.search(queries, 5), by_cpu.search(queries, 5)
        assert found.ids.tolist() == expected.ids.tolist()
        assert found.distances.tolist() == expected.distances.tolist()
    # Nothing of the card is needed to change it.
    assert by_gpu.remove([0, 1]) == 2
    by_gpu.add(ROWS[:1], [9_000])
    assert by_gpu.search(ROWS[:1], 1).ids.tolist() == [[9_000]]
    assert json.loads((own / "manifest.json").read_text())["body"]["reason"] == by_gpu.reason


def test_kinds_that_a_gpu_does_not_help_with(gpu_of_faiss: list[tuple[int, type]]) -> None:
    for kind in ("flat", "hnsw"):
        assert NeighbourIndex.build(ROWS[:300], kind=kind, threads=1).reason == "asked for"
        with pytest.raises(SettingError, match=rf"index\.device=cuda: .*ivf and ivf_pq only; got {kind}"):
            NeighbourIndex.build(ROWS[:300], kind=kind, device="cuda")
    assert gpu_of_faiss == []


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    assert NeighbourIndex.build(ROWS[:300], kind="ivf", threads=1).reason == "asked for"
    with pytest.raises(DeviceError, match="installed FAISS is built without GPU code"):
        NeighbourIndex.build(ROWS[:300], kind="ivf", device="cuda")
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    with pytest.raises(DeviceError, match="installed FAISS sees no GPU"):
        NeighbourIndex.build(ROWS[:300], kind="ivf", device="cuda")
    with pytest.raises(SettingError, match=r"index\.device.*auto, cpu, cuda"):
        NeighbourIndex.build(ROWS[:300], kind="ivf", device="gpu")


@pytest.mark.parametrize("at", ["index_cpu_to_gpu", "StandardGpuResources"])
@pytest.mark.usefixtures("gpu_of_faiss")
def test_a_gpu_that_fails(at: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*given: Any) -> Any:
        raise RuntimeError("Error in\n alloc: out of memory")

    monkeypatch.setattr(faiss, at, fail)
    expected = NeighbourIndex.build(ROWS[:300], kind="ivf", threads=1, device="cpu").search(ROWS[:9], 3)
    found = NeighbourIndex.build(ROWS[:300], kind="ivf", threads=1)
    assert found.reason == "asked for"
    assert found.search(ROWS[:9], 3).ids.tolist() == expected.ids.tolist()
    assert "the CPU builds the index: Error in alloc: out of memory" in caplog.text
    with pytest.raises(DeviceError, match=r"the GPU failed \(Error in alloc: out of memory\).*index\.device=auto"):
        NeighbourIndex.build(ROWS[:300], kind="ivf", device="cuda")
