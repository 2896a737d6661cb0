"""What this machine has: cores, memory, GPUs; and how much memory this process has taken at most.

Whether a GPU can be *used* is asked in a process of its own (:mod:`engine.device_probe`): a driver that crashes,
hangs or is too old takes that process down and not the run.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from engine.compute import available_cores
from engine.errors import DeviceError, SettingError

DEVICES = ("auto", "cpu", "cuda")
"""``cpu``; ``cuda``: an NVIDIA GPU, or an error; ``auto``: a GPU where it can be used and pays, else the CPU."""

PROBE_SECONDS = 60
"""A driver that has not answered by then does not answer."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """An NVIDIA GPU that has been tried.

    Attributes
    ----------
    name
        As the driver calls it.
    capability
        Generation, such as (9, 0).
    processors
        Multiprocessors.
    shared_bytes
        Shared memory of one of them, which the warps that it works on divide among themselves.
    memory_bytes, free_bytes
        Of the card; free when it was tried.
    seconds
        What trying it took, its context and a first kernel included.
    """

    name: str
    capability: tuple[int, int]
    processors: int
    shared_bytes: int
    memory_bytes: int
    free_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Device:
    """Where work is done, and why there.

    Attributes
    ----------
    kind
        ``cpu`` or ``cuda``.
    why
        Why ``auto`` took it; empty where it was asked for.
    gpu
        The card; none for the CPU.
    """

    kind: str
    why: str = ""
    gpu: Gpu | None = None


def check_device(device: str) -> None:
    """Raise :class:`SettingError` unless it is one of :data:`DEVICES`."""
    if device not in DEVICES:
        raise SettingError.from_unknown("clustering.device", device, DEVICES)


def choose_device(device: str, *, worth_it: bool = True) -> Device:
    """Return where to work.

    Parameters
    ----------
    device
        One of :data:`DEVICES`.
    worth_it
        Whether the work is so large that ``auto`` should look for a GPU at all.

    Raises
    ------
    SettingError
        There is no such device.
    DeviceError
        ``cuda`` was asked for and cannot be used.

    Examples
    --------
    >>> choose_device("cpu")
    Device(kind='cpu', why='', gpu=None)
    """
    check_device(device)
    if device == "cpu":
        return Device("cpu")
    if device == "auto" and not worth_it:
        return Device("cpu", "too few rows for a GPU to pay")
    found = usable_gpu()
    if isinstance(found, Gpu):
        return Device("cuda", "" if device == "cuda" else f"{found.name} can be used", found)
    if device == "cuda":
        raise DeviceError(
            f"clustering.device=cuda: no GPU can be used ({found}). Set clustering.device=auto or cpu, or see "
            "`cartera doctor`."
        )
    return Device("cpu", found)


@cache
def usable_gpu() -> Gpu | str:
    """Return the GPU that a process of its own could use, or why there is none; asked once."""
    simulated = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
    if not simulated and not _has_driver():
        return "there is no NVIDIA driver"
    command = [sys.executable, "-P", "-m", "engine.device_probe"]
    try:
        answer = subprocess.run(
            command, env=for_a_child(), capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it could not be tried: {error}"
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        return f"trying it ended with exit code {answer.returncode}: {last}"
    try:
        told = json.loads(answer.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return "what its trial answered cannot be read"
    if "why" in told:
        return " ".join(str(told["why"]).split())
    return Gpu(**{**told, "capability": tuple(told["capability"])})


def for_a_child() -> dict[str, str]:
    """Return the environment of a process that is to import this package, installed or not, and from nowhere else."""
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _has_driver() -> bool:
    """Say whether the driver's library can be loaded, as far as that can be seen without using it."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def machine() -> dict[str, object]:
    """Return cores this process may use, memory in GiB (total and available) and the names of NVIDIA GPUs."""
    memory = psutil.virtual_memory()
    return {
        "cores": available_cores(),
        "memory_gib": round(memory.total / 2**30, 1),
        "memory_available_gib": round(memory.available / 2**30, 1),
        "gpus": gpu_names(),
    }


def gpu_names() -> list[str]:
    """Return the names of the NVIDIA GPUs that the driver reports; none where there is no driver."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    query = [command, "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()] if answer.returncode == 0 else []


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far, in MiB.

    On Linux it is read from ``VmHWM``: the figure of ``getrusage`` starts at the peak of the parent process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)
