"""These run on a GPU, where numba simulates one, or on a twin of one that runs what was compiled for it.

``tests/clustering/test_cuda_simulated.py`` and ``test_cuda_ptx.py`` run them so in processes of their own:
``NUMBA_ENABLE_CUDASIM=1 pytest tests/cuda`` and, where CUDA's compiler is, ``CARTERA_TEST_PTX=1 pytest tests/cuda``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from numba import cuda

TWIN = os.environ.get("CARTERA_TEST_PTX") == "1"

collect_ignore_glob = ["ptx_driver.py", "failing.py", *(["test_ptx_twin.py"] if cuda.is_available() else ["test_*.py"])]
if TWIN:
    from tests.cuda import ptx_driver

    ptx_driver.install()
    # A card is looked for in other processes, which have none.
    collect_ignore_glob = ["ptx_driver.py", "failing.py", "test_device.py"]


@pytest.fixture(autouse=TWIN)
def _memory_of_the_twin() -> Iterator[None]:
    yield
    ptx_driver.MEMORY.clear()
