"""Try the GPU, in a process that may be lost: ``python -m engine.device_probe`` prints one line of JSON.

Either what :class:`engine.device.Gpu` holds, or ``why`` it cannot be used.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import numpy as np
from numba import cuda as numba_cuda

# Of this name, which numba's simulator looks for.
cuda: Any = numba_cuda

LEAST_CAPABILITY = (7, 0)
"""Generation from which on a GPU is taken: older ones add float64 at a thirtieth of the speed, and are in no data
centre."""


def probe() -> dict[str, Any]:
    """Return what the first GPU is, after one kernel has run on it with the right answer; or why it cannot be used."""
    begun = time.perf_counter()
    simulated = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
    if not cuda.is_available():
        return {"why": f"numba sees no GPU: {getattr(cuda, 'cuda_error', lambda: None)() or 'no device'}"}
    context = cuda.current_context()
    device = context.device
    capability = tuple(device.compute_capability)
    if not simulated and capability < LEAST_CAPABILITY:
        return {"why": f"its generation is {capability[0]}.{capability[1]}, and 7.0 or later is needed"}

    values = cuda.to_device(np.arange(100.0))
    cuda.jit(_add_one)[4, 32](values)
    if not np.array_equal(values.copy_to_host(), np.arange(100.0) + 1.0):
        return {"why": "it gave a wrong answer to a sum"}
    free, total = (1 << 30, 1 << 30) if simulated else context.get_memory_info()
    name = "simulator" if simulated else device.name
    return {
        "name": name.decode() if isinstance(name, bytes) else str(name),
        "capability": list(capability),
        "processors": 1 if simulated else int(device.MULTIPROCESSOR_COUNT),
        "shared_bytes": 64 * 1024 if simulated else int(device.MAX_SHARED_MEMORY_PER_MULTIPROCESSOR),
        "memory_bytes": int(total),
        "free_bytes": int(free),
        "seconds": round(time.perf_counter() - begun, 3),
    }


def _add_one(values: Any) -> None:
    at = cuda.grid(1)
    if at < values.size:
        values[at] += 1.0


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe()) + "\n")
