"""Whether a GPU puts rows into lists: FAISS must be one with GPU code, and see a card."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from engine.device import DEVICES
from engine.errors import DeviceError, SettingError

T = TypeVar("T")

log = logging.getLogger(__name__)

WITH_LISTS = ("ivf", "ivf_pq")
"""Kinds that a GPU helps to build: rows of ``flat`` are only copied, and the graph of ``hnsw`` is not for GPUs."""


def built_on(device: str, kind: str, build: Callable[[bool], T]) -> tuple[T, str]:
    """Return what ``build`` makes, called with whether it may use a GPU, and what to tell of that.

    Parameters
    ----------
    device
        ``cpu``; ``cuda``: a GPU, or an error; ``auto``: a GPU where FAISS can use one for this kind, else the CPU.
    kind
        Of index.

    Raises
    ------
    SettingError
        There is no such device, or ``cuda`` was asked for a kind that no GPU helps to build.
    DeviceError
        ``cuda`` was asked for, and FAISS has no GPU code, sees no GPU, or failed on it.

    Examples
    --------
    >>> built_on("cpu", "ivf", lambda gpu: f"GPU: {gpu}")
    ('GPU: False', '')
    """
    if device not in DEVICES:
        raise SettingError.from_unknown("index.device", device, DEVICES)
    if device == "cuda" and kind not in WITH_LISTS:
        raise SettingError(
            f"index.device=cuda: a GPU helps to build the kinds {' and '.join(WITH_LISTS)} only; got {kind}. Set "
            "index.device=auto, or index.kind=ivf."
        )
    if device == "cpu" or kind not in WITH_LISTS or not _sees_gpu(device):
        return build(False), ""
    try:
        return build(True), "; lists by a GPU"
    # FAISS tells by it of a card that fails or has too little memory.
    except RuntimeError as error:
        told = " ".join(str(error).split())
        if device == "cuda":
            raise DeviceError(
                f"index.device=cuda: the GPU failed ({told}). Set index.device=auto, which goes on with the CPU, or "
                "cpu."
            ) from error
        log.warning("the GPU failed, and the CPU builds the index: %s", told)
        return build(False), ""


def _sees_gpu(device: str) -> bool:
    import faiss

    if hasattr(faiss, "get_num_gpus") and faiss.get_num_gpus() > 0:
        return True
    if device == "cuda":
        built = "sees no GPU" if hasattr(faiss, "StandardGpuResources") else "is built without GPU code"
        raise DeviceError(
            f"index.device=cuda: the installed FAISS {built}. Install faiss-gpu in the place of faiss-cpu, or set "
            "index.device=auto or cpu."
        )
    return False
