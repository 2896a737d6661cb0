"""What this machine has: cores, memory, GPUs; and how much memory this process has taken at most."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from engine.compute import available_cores


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
