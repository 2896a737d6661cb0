"""Which rows go to a GPU, and what is told of it."""

from __future__ import annotations

import logging

from engine.clustering.rows import Rows
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_cuda import CudaRows
from engine.device import Gpu, check_device, choose_device
from engine.errors import DeviceError, SettingError

log = logging.getLogger(__name__)

PAYS_FROM_VALUES = 2**30
"""Rows × features from which on ``auto`` looks for a GPU. A process spends seconds on the driver and its libraries, and
once on compiling (all kernels: 4.4 s on one core), in which two cores have clustered so many."""

SHARE_OF_FREE_MEMORY = 0.8
"""Of the card's free memory: others use the card too."""

BACKENDS = ("native", "faiss")
"""Those that can work on a GPU."""


def check(device: str, backend: str) -> None:
    """Raise :class:`SettingError` unless there is such a device and the backend can work on it."""
    check_device(device)
    if device == "cuda" and backend not in BACKENDS:
        raise SettingError(
            f"clustering.device=cuda: only the backends {' and '.join(BACKENDS)} work on a GPU; got {backend}. Set "
            "clustering.device=auto or clustering.backend=native."
        )


def held_on(rows: ArrayRows, device: str) -> ArrayRows | CudaRows:
    """Return rows where the device keeps them.

    Parameters
    ----------
    rows : ArrayRows
        In memory.
    device : str
        One of :data:`engine.device.DEVICES`.

    Raises
    ------
    DeviceError
        ``cuda`` was asked for and cannot be used, or cannot take these rows.
    """
    chosen = choose_device(device, worth_it=rows.n * rows.d >= PAYS_FROM_VALUES)
    if chosen.gpu is None:
        if device == "auto" and rows.n * rows.d >= PAYS_FROM_VALUES:
            log.info("clustering on the CPU: %s", chosen.why)
        return rows
    try:
        return CudaRows(
            rows,
            memory_bytes=int(SHARE_OF_FREE_MEMORY * free_bytes(chosen.gpu)),
            processors=chosen.gpu.processors,
            shared_bytes=chosen.gpu.shared_bytes,
            fall_back=device == "auto",
        )
    except DeviceError as error:
        if device == "cuda":
            raise
        log.warning("clustering on the CPU, not on the GPU: %s", error)
        return rows


def free_bytes(gpu: Gpu) -> int:
    """Return what is free on the card now: since it was tried, this process may have taken some."""
    from engine.clustering.cuda_tiles import FAILURES, cuda

    try:
        return int(min(gpu.free_bytes, cuda.current_context().get_memory_info()[0]))
    except FAILURES as error:
        raise DeviceError(
            f"clustering.device=cuda: the GPU failed ({' '.join(str(error).split())}). Set clustering.device=auto or "
            "cpu; `cartera doctor` tries the GPU."
        ) from error


def device_of(rows: Rows) -> str:
    """Return where rows are worked on: ``cpu``, ``cuda``, or ``cpu`` with what the GPU failed with.

    Examples
    --------
    >>> device_of(ArrayRows([[1.0], [2.0]]))
    'cpu'
    """
    if not isinstance(rows, CudaRows):
        return "cpu"
    return "cuda" if rows.failure is None else f"cpu (the GPU failed: {rows.failure})"


def faiss_gpus(device: str) -> int:
    """Return how many GPUs FAISS is to use: it trains on the CPU without a word where it sees none.

    Raises
    ------
    DeviceError
        ``cuda`` was asked for, and this FAISS has no GPU code or sees no GPU.
    """
    import faiss

    gpus = int(faiss.get_num_gpus()) if hasattr(faiss, "get_num_gpus") else 0
    if device == "cpu":
        return 0
    if device == "cuda" and not gpus:
        built = "sees no GPU" if hasattr(faiss, "StandardGpuResources") else "is built without GPU code"
        raise DeviceError(
            f"clustering.device=cuda: the installed FAISS {built}. Install faiss-gpu in the place of faiss-cpu, or set "
            "clustering.device=auto or cpu."
        )
    return gpus
