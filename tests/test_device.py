from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engine import device
from engine.device import Gpu, choose_device, usable_gpu
from engine.errors import DeviceError, SettingError

CARD = {
    "name": "NVIDIA H200",
    "capability": [9, 0],
    "processors": 132,
    "shared_bytes": 228 * 1024,
    "memory_bytes": 140 * 2**30,
    "free_bytes": 139 * 2**30,
    "seconds": 1.5,
}


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every test ask for the GPU for the first time, on a machine with a driver and without a simulator."""
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(device, "_has_driver", lambda: True)
    usable_gpu.cache_clear()
    yield
    usable_gpu.cache_clear()


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """Put a shell script in the place of the interpreter that tries the GPU; it notes what it is called with."""

    def replace(script: str) -> Path:
        calls, interpreter = tmp_path / "calls", tmp_path / "python"
        interpreter.write_text(f'#!/bin/sh\necho "$@" >> "{calls}"\n{script}\n')
        interpreter.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(interpreter))
        return calls

    return replace


def test_without_a_driver_nothing_is_tried(monkeypatch: pytest.MonkeyPatch, child: Callable[[str], Path]) -> None:
    monkeypatch.setattr(device, "_has_driver", lambda: False)
    calls = child("exit 0")
    found = choose_device("auto")
    assert (found.kind, found.gpu, found.why) == ("cpu", None, "there is no NVIDIA driver")
    with pytest.raises(DeviceError, match=r"no GPU can be used \(there is no NVIDIA driver\).*auto or cpu"):
        choose_device("cuda")
    assert not calls.exists()


def test_a_card_that_works_is_tried_once(child: Callable[[str], Path]) -> None:
    calls = child(f"echo a line of the driver\necho '{json.dumps(CARD)}'")
    found = choose_device("auto")
    assert found.kind == "cuda"
    assert found.why == "NVIDIA H200 can be used"
    assert found.gpu == Gpu("NVIDIA H200", (9, 0), 132, 228 * 1024, 140 * 2**30, 139 * 2**30, 1.5)
    asked_for = choose_device("cuda")
    assert (asked_for.kind, asked_for.why, asked_for.gpu) == ("cuda", "", found.gpu)
    assert calls.read_text().splitlines() == ["-P -m engine.device_probe"]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("kill -SEGV $$", r"exit code -11: no message"),
        ("echo first >&2; echo 'CUDA_ERROR_UNKNOWN (999)' >&2; exit 1", r"exit code 1: CUDA_ERROR_UNKNOWN \(999\)"),
        ("exec sleep 60", r"it could not be tried: .*timed out"),
        ("""echo '{"why": "its generation is 6.1"}'""", r"^its generation is 6\.1$"),
        ("exit 0", "cannot be read"),
        ("echo hm", "cannot be read"),
    ],
    ids=["crashes", "fails", "hangs", "cannot", "silent", "garbled"],
)
def test_a_card_that_cannot_be_used(
    script: str, why: str, child: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "PROBE_SECONDS", 0.5)
    child(script)
    found = usable_gpu()
    assert isinstance(found, str)
    with pytest.raises(DeviceError, match="no GPU can be used"):
        choose_device("cuda")
    assert choose_device("auto").kind == "cpu"
    assert choose_device("auto").why == found
    assert re.search(why, found)


def test_an_interpreter_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    assert "could not be tried" in str(usable_gpu())


def test_what_is_not_worth_it_is_not_tried(child: Callable[[str], Path]) -> None:
    calls = child("exit 1")
    assert choose_device("auto", worth_it=False).why == "too few rows for a GPU to pay"
    assert choose_device("cpu").kind == "cpu"
    assert not calls.exists()
    with pytest.raises(DeviceError):
        choose_device("cuda", worth_it=False)


@pytest.mark.parametrize("name", ["gpu", "CUDA", "cuda:0", ""])
def test_other_devices_there_are_none(name: str) -> None:
    with pytest.raises(SettingError, match=r"clustering.device.*auto, cpu, cuda"):
        choose_device(name)


class FakeCuda:
    """A card that adds up as it is told to, of a generation."""

    def __init__(self, *, available: bool = True, capability: tuple[int, int] = (9, 0), adds: float = 1.0) -> None:
        self.is_available = lambda: available
        self.cuda_error = lambda: "the driver is too old"
        self._adds = adds
        card = SimpleNamespace(compute_capability=capability, name=b"A card", MULTIPROCESSOR_COUNT=7)
        card.MAX_SHARED_MEMORY_PER_MULTIPROCESSOR = 98_304
        self.current_context = lambda: SimpleNamespace(device=card, get_memory_info=lambda: (3, 5))

    def to_device(self, values: np.ndarray) -> Any:
        return SimpleNamespace(copy_to_host=lambda: values + self._adds)

    def jit(self, kernel: object) -> Any:
        return {(4, 32): lambda values: None}


@pytest.mark.parametrize(
    ("card", "why"),
    [
        (FakeCuda(available=False), "numba sees no GPU: the driver is too old"),
        (FakeCuda(capability=(6, 1)), "its generation is 6.1, and 7.0 or later is needed"),
        (FakeCuda(adds=2.0), "it gave a wrong answer to a sum"),
    ],
)
def test_the_probe_tells_what_is_wrong(card: FakeCuda, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import device_probe

    monkeypatch.setattr(device_probe, "cuda", card)
    assert device_probe.probe() == {"why": why}


def test_the_probe_tells_what_the_card_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import device_probe

    monkeypatch.setattr(device_probe, "cuda", FakeCuda(capability=(7, 0)))
    told = device_probe.probe()
    assert told.pop("seconds") >= 0
    assert told == {
        "name": "A card",
        "capability": [7, 0],
        "processors": 7,
        "shared_bytes": 98_304,
        "memory_bytes": 5,
        "free_bytes": 3,
    }
