from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLKIT = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))

CHILD = "from numba.cuda.cudadrv.nvvm import NVVM; NVVM()"


def test_the_machine_code_of_the_gpu_on_a_twin() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_ENABLE_CUDASIM"}
    environment |= {"CUDA_HOME": str(TOOLKIT), "CARTERA_TEST_PTX": "1", "PYTEST_ADDOPTS": ""}
    there = subprocess.run([sys.executable, "-c", CHILD], env=environment, capture_output=True, check=False)
    if there.returncode != 0:
        pytest.skip("nothing can be compiled for a GPU here: numba finds no NVVM")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "tests/cuda"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) > 60
    assert "skipped" not in done.stdout
