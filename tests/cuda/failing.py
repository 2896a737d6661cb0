"""A kernel that fails."""

from __future__ import annotations

from typing import Any

from engine.clustering import cuda_tiles


class Failing:
    """A kernel that can be launched so many times."""

    def __init__(self, kernel: Any, times: int) -> None:
        self._kernel = kernel
        self._times = times

    def __getitem__(self, launch: Any) -> Any:
        self._times -= 1
        if self._times < 0:
            raise cuda_tiles.FAILURES[-1]("CUDA_ERROR_LAUNCH_FAILED")
        return self._kernel[launch]
