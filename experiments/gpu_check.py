"""The GPU as ``cartera doctor`` sees it: which it is, and whether k-means on it gives what float64 on the CPU gives.

The test runs in a process of its own (``python -m experiments.gpu_check`` prints one line), which a driver may crash or
hang without taking the doctor along.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.errors import DeviceError

if TYPE_CHECKING:
    from engine.clustering.rows_array import ArrayRows
    from engine.clustering.rows_cuda import CudaRows
    from engine.device import Gpu

SECONDS = 180
"""A card that has not answered by then hangs: most of the time goes into compiling, and that is seconds."""

CASES = ((3, False), (8, True), (33, False))
"""Features, and whether rows have weights: one line of sums in part, in full, and two lines."""

GROUPS = 5


def gpu_line(found: Gpu | str, names: list[str]) -> str:
    """Return what is known of the GPU in one line.

    Parameters
    ----------
    found
        From :func:`engine.device.usable_gpu`.
    names
        Cards that the driver tells of.

    Examples
    --------
    >>> gpu_line("there is no NVIDIA driver", [])
    'none (there is no NVIDIA driver)'
    """
    if isinstance(found, str):
        told = " ".join(found.split())
        return f"{', '.join(names)}, which cannot be used: {told}" if names else f"none ({told})"
    generation = ".".join(str(part) for part in found.capability)
    return (
        f"{found.name}, {found.memory_bytes / 2**30:,.1f} GiB, {found.free_bytes / 2**30:,.1f} GiB free, "
        f"generation {generation}, driver {driver_version()}"
    )


def driver_version() -> str:
    """Return the version of the driver of the first GPU, as ``nvidia-smi`` tells it."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return "unknown"
    query = [command, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return answer.stdout.strip().splitlines()[0] if answer.returncode == 0 and answer.stdout.strip() else "unknown"


def check_gpu(*, seconds: float = SECONDS) -> str:
    """Try k-means on the GPU in a process of its own and return what it says.

    Raises
    ------
    DeviceError
        It crashed, hung or was wrong.
    """
    from engine.device import for_a_child

    command = [sys.executable, "-P", "-m", "experiments.gpu_check"]
    try:
        answer = subprocess.run(
            command, env=for_a_child(), capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"no answer in {seconds:g} seconds. Set clustering.device=cpu.") from None
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        raise DeviceError(f"its process ended with exit code {answer.returncode}: {last}. Set clustering.device=cpu.")
    return answer.stdout.strip()


def compare(n: int, seed: int, *, processors: int, cases: Sequence[tuple[int, bool]] = CASES) -> str:
    """Measure, assign and cluster n rows in far groups on the card and, as float64, on the CPU; say what was compared.

    Raises
    ------
    ValueError
        They differ.
    """
    import numpy as np

    from engine.clustering.rows_array import ArrayRows
    from engine.clustering.rows_cuda import CudaRows
    from engine.clustering.solve import solve

    generator = np.random.default_rng(seed)
    for d, weighted in cases:
        group = generator.integers(GROUPS, size=n)
        group[:GROUPS] = range(GROUPS)
        far = 20 * generator.normal(size=(GROUPS, d)).round() + 100 * np.arange(GROUPS)[:, None]
        X = (generator.normal(size=(n, d)) + far[group]).astype(np.float32)
        weights = generator.integers(1, 4, n).astype(np.float64) if weighted else None
        exact, single = ArrayRows(X.astype(np.float64), weights), ArrayRows(X, weights)
        start = X[:GROUPS].astype(np.float64)
        card = CudaRows(single, memory_bytes=2**28, processors=processors, streamed_bytes=2**26)
        _compare_reads(card, exact, start, f"{d} features")
        # From a row of each far group they rest after two moves.
        found, expected = (solve(who, GROUPS, solver="full", init=[start], max_iter=3) for who in (card, exact))
        if not np.allclose(found.centroids, expected.centroids, rtol=1e-9, atol=1e-9):
            raise ValueError(f"{d} features: k-means ends at other centroids than on the CPU")
        if weighted:
            part = -(-n // 6) * (4 * d + 8)
            card = CudaRows(single, memory_bytes=4 * part, processors=processors, streamed_bytes=part)
            _compare_reads(card, exact, start, f"{d} features, in parts")
    return f"{n:,} rows of {', '.join(str(d) for d, _ in cases)} features as in float64 on the CPU"


def _compare_reads(card: CudaRows, exact: ArrayRows, centroids: Any, where: str) -> None:
    import numpy as np

    (found,), (expected,) = card.step([centroids]), exact.step([centroids])
    if found.counts.tolist() != expected.counts.tolist():
        raise ValueError(f"{where}: the clusters' sizes are {found.counts.tolist()}, not {expected.counts.tolist()}")
    if not np.allclose(found.sums, expected.sums, rtol=1e-12, atol=1e-12 * float(np.abs(expected.sums).max())):
        raise ValueError(f"{where}: the sums of the clusters differ by more than 1e-12")
    if abs(found.inertia - expected.inertia) > 1e-6 * expected.inertia:
        raise ValueError(f"{where}: the inertia is {found.inertia!r}, not {expected.inertia!r}")
    labels, of_exact = np.full(card.n, -1, np.int32), np.full(card.n, -1, np.int32)
    inertia = card.assign(centroids, labels)
    exact.assign(centroids, of_exact)
    if not np.array_equal(labels, of_exact) or abs(inertia - expected.inertia) > 1e-6 * expected.inertia:
        raise ValueError(f"{where}: rows are assigned to other clusters")


def main() -> None:
    """Print what was compared, or leave with a message where there is a difference or the card fails."""
    import os
    import secrets
    import time

    from engine.device_probe import probe

    card = probe()
    if "why" in card:
        sys.exit(" ".join(card["why"].split()))
    # The simulator works on a thousand rows a second.
    simulated = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
    rows, cases = (24, CASES[1:2]) if simulated else (200_000, CASES)
    seed = secrets.randbelow(2**31)
    began = time.perf_counter()
    try:
        told = compare(rows, seed, processors=card["processors"], cases=cases)
    except (ValueError, DeviceError) as error:
        sys.exit(f"{error} (seed {seed})")
    print(f"{told} (seed {seed}, {time.perf_counter() - began:.1f} s with compiling)")


if __name__ == "__main__":
    main()
