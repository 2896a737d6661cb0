from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import device
from engine.device import Gpu
from engine.errors import DeviceError
from experiments import doctor, gpu_check
from experiments.gpu_check import check_gpu, driver_version, gpu_line
from tests.experiments.till import sales_csv

Cartera = Callable[..., Any]

CARD = Gpu("NVIDIA H200", (9, 0), 132, 228 * 1024, 140 * 2**30, 139 * 2**30, 1.5)


@pytest.fixture
def only_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the other checks of the doctor take no time."""
    for name in ("check_write", "check_backend", "check_main_job", "check_recommendations"):
        monkeypatch.setattr(doctor, name, lambda *given: "well")


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Put a shell script in the place of the interpreter."""

    def replace(script: str) -> None:
        interpreter = tmp_path / "python"
        interpreter.write_text(f'#!/bin/sh\n[ "$*" = "-P -m experiments.gpu_check" ] || exit 9\n{script}\n')
        interpreter.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(interpreter))

    return replace


@pytest.mark.parametrize(
    ("found", "names", "line"),
    [
        ("there is no NVIDIA driver", [], "none (there is no NVIDIA driver)"),
        ("it is\n old", ["GTX 1080", "GTX 1070"], "GTX 1080, GTX 1070, which cannot be used: it is old"),
        (CARD, ["NVIDIA H200"], "NVIDIA H200, 140.0 GiB, 139.0 GiB free, generation 9.0, driver 580.65"),
    ],
)
def test_the_gpu_in_one_line(found: Gpu | str, names: list[str], line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.gpu_check.driver_version", lambda: "580.65")
    assert gpu_line(found, names) == line


@pytest.mark.parametrize(("script", "version"), [("echo 580.65\necho 580.65", "580.65"), ("exit 3", "unknown")])
def test_the_driver_is_asked_for_its_version(
    script: str, version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert driver_version() == version
    tool.unlink()
    assert driver_version() == "unknown"


@pytest.mark.usefixtures("only_the_gpu")
def test_without_a_gpu_nothing_fails(cartera: Cartera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "usable_gpu", lambda: "there is no NVIDIA driver")
    monkeypatch.setattr(device, "gpu_names", list)
    ran = cartera("doctor")
    assert ran.code == 0, ran.err
    assert "GPU                 none (there is no NVIDIA driver)\n" in ran.out
    assert "k-means" not in ran.out


@pytest.mark.usefixtures("only_the_gpu")
@pytest.mark.parametrize(
    ("script", "code", "told"),
    [
        ("echo 200,000 rows as on the CPU", 0, "ok: 200,000 rows as on the CPU;"),
        ("echo no >&2; echo '8 features: the sums differ' >&2; exit 1", 3, "exit code 1: 8 features: the sums differ."),
        ("kill -SEGV $$", 3, "exit code -11: no message."),
    ],
    ids=["well", "wrong", "crashed"],
)
def test_a_gpu_is_tried(
    script: str, code: int, told: str, cartera: Cartera, child: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "usable_gpu", lambda: CARD)
    child(script)
    ran = cartera("doctor")
    assert ran.code == code, ran.err
    (line,) = [line for line in ran.out.splitlines() if line.startswith("GPU, k-means")]
    assert told in line
    assert ("failed: GPU, k-means." in ran.err) == (code == 3)
    assert ("Set clustering.device=cpu." in line) == (code == 3)


def test_a_gpu_that_hangs_is_left(child: Callable[[str], None]) -> None:
    child("exec sleep 60")
    with pytest.raises(DeviceError, match=r"no answer in 0\.2 seconds"):
        check_gpu(seconds=0.2)


def test_where_no_kernel_can_run_the_child_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.device_probe.probe", lambda: {"why": "numba sees no GPU: \nno driver\n"})
    with pytest.raises(SystemExit) as leaving:
        gpu_check.main()
    assert leaving.value.code == "numba sees no GPU: no driver"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("clustering.device=cuda", "clustering.device=cuda: no GPU can be used (there is no NVIDIA driver)"),
        ("clustering.device=gpu", "clustering.device"),
        ("clustering=sklearn clustering.device=cuda", "only the backends native and faiss work on a GPU; got sklearn"),
    ],
)
def test_a_device_that_cannot_be_had_is_the_users_to_mend(
    given: str, told: str, cartera: Cartera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "usable_gpu", lambda: "there is no NVIDIA driver")
    sales_csv(tmp_path / "sales.csv")
    ran = cartera("segment", "data.path=sales.csv", "tracking.uri=null", "clustering.k=2", "out=run", *given.split())
    assert ran.code == 2, ran.err
    assert told in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("there", "told"), [({}, "not installed"), ({"faiss-gpu": "1.15.1"}, "faiss-gpu 1.15.1 is in")]
)
def test_faiss_with_gpu_stands_in_the_place_of_the_other(
    there: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(package: str) -> str:
        if package not in there:
            raise doctor.PackageNotFoundError(package)
        return there[package]

    monkeypatch.setattr(doctor, "version", version)
    assert told in doctor.installed("faiss-cpu")
    assert doctor.installed("numba-cuda") == "not installed (cartera[gpu] brings it)"
