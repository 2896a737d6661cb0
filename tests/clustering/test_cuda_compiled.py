"""The kernels as a GPU of generation 9.0 would run them, compiled where numba finds NVVM; no GPU is needed.

What is looked for cost other kernels most of their speed: rows in local memory, loops that were not unrolled, atomics.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.clustering.cuda_tiles import LANES, shape_of

ROOT = Path(__file__).parents[2]
TOOLKIT = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))

STEPS = [
    (3, "f4", True),
    (8, "f4", False),
    (8, "f4", True),
    (8, "f8", False),
    (16, "f4", False),
    (16, "f8", True),
    (32, "f4", True),
    (32, "f8", False),
    (64, "f4", False),
]
CASES = [("step", *step) for step in STEPS] + [
    (name, d, "f4", weighted)
    for name in ("add", "farthest", "draw", "assign")
    for d, weighted in ((8, True), (32, False))
]
# Figures of clusterings, with the clusters in shared memory and elsewhere.
BESIDE = [(3, "f4"), (8, "f4"), (16, "f8"), (32, "f4"), (32, "f8"), (64, "f4")]
CASES += [("beside", d, real, False) for d, real in BESIDE] + [("far", d, "f4", False) for d in (8, 32)]

CHILD = """
import json, re, subprocess, sys
from pathlib import Path
from types import SimpleNamespace
from numba import boolean, cuda, float32, float64, int32, int64, types, uint64
from numba.cuda import compiler, dispatcher
from engine.clustering import cuda_figures
from engine.clustering.cuda_kernels import kernels_of

cases, ptxas, folder = json.loads(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
try:
    from numba.cuda.cudadrv.nvvm import NVVM
    NVVM()
except Exception as error:
    print(json.dumps({"why": " ".join(str(error).split())}))
    sys.exit()
# What a device function is compiled for is asked of the card.
for module in (compiler, dispatcher):
    module.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0))
found = []
for name, d, real, weighted in cases:
    x = (float64 if real == "f8" else float32)[::1]
    masses, counts = float64[::1], int64[::1]
    given = {
        "step": (x, counts, int64, int64, types.UniTuple(int64, 4), float64[:, :, ::1]),
        "add": (int32[::1], x, int64, int64, types.UniTuple(int64, 4), float64[:, :, ::1]),
        "farthest": (x, float64[:, :, ::1], int64[:, :, ::1]),
        "draw": (x, float64, float64, uint64, int64, counts, counts, x, float64[:, ::1]),
        "assign": (x, int32[::1], x, float64[:, ::1]),
        "beside": (counts, int64, int64, boolean, float64[:, ::1]),
        "far": (counts, int64, int64, boolean, float64[:, ::1]),
    }[name]
    figures = name in cuda_figures.Kernels._fields
    if figures:
        kernels = cuda_figures.kernels_of(d, real == "f8")
    else:
        kernels = kernels_of(d, real == "f8", weighted)
    kernel = getattr(kernels, name)
    ptx, _ = cuda.compile_ptx(kernel.py_func, types.void(x, int64, x if figures else masses, *given), cc=(9, 0))
    own = {"local": ptx.count(".local"), "atomics": len(re.findall(r"\\b(?:atom|red)[.]", ptx))}
    own["wide"] = len(re.findall(r"ld[.]shared[.](?:v4[.]f32|v2[.]f64)", ptx))
    own["fma"] = ptx.count("fma.rn.f64" if real == "f8" else "fma.rn.f32")
    if ptxas:
        (folder / "kernel.ptx").write_text(ptx)
        command = [ptxas, "-arch=sm_90", "-v", str(folder / "kernel.ptx"), "-o", str(folder / "kernel.cubin")]
        own["ptxas"] = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    found.append(own)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Any, ...], dict[str, Any]]:
    ptxas = TOOLKIT / "bin" / "ptxas"
    told = str(ptxas) if ptxas.exists() else shutil.which("ptxas") or ""
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_ENABLE_CUDASIM"}
    # numba keeps the card it is told of for as long as the process lives.
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(CASES), told, str(tmp_path_factory.mktemp("ptx"))],
        cwd=ROOT,
        env=environment | {"CUDA_HOME": str(TOOLKIT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    if isinstance(answer, dict):
        pytest.skip(f"nothing can be compiled for a GPU here: {answer['why'][:100]}")
    return dict(zip(CASES, answer, strict=True))


Compiled = dict[tuple[Any, ...], dict[str, Any]]


@pytest.mark.parametrize("case", CASES)
def test_rows_stay_in_registers(case: tuple[Any, ...], compiled: Compiled) -> None:
    if case[1] <= 32:
        assert compiled[case]["local"] == 0


@pytest.mark.parametrize("case", CASES)
def test_loops_over_features_are_unrolled(case: tuple[Any, ...], compiled: Compiled) -> None:
    name, d, real, _ = case
    products = shape_of(d, 8 if real == "f8" else 4).rows * d
    if name == "add":
        # Nothing is measured.
        return
    if real == "f4":
        # One for each value that a lane holds, or a multiple where several centroids are unrolled too.
        assert compiled[case]["fma"] >= products
        assert compiled[case]["fma"] % products == 0, name
    else:
        # Those of the sums over rows stand among them.
        assert compiled[case]["fma"] >= products


@pytest.mark.parametrize(("d", "real"), BESIDE)
def test_figures_take_two_distances_and_read_16_bytes_at_a_time(d: int, real: str, compiled: Compiled) -> None:
    found, itemsize = compiled["beside", d, real, False], 8 if real == "f8" else 4
    assert found["fma"] >= 2 * shape_of(d, itemsize).rows * d
    # All that describes a cluster, but perhaps where a record ends.
    assert found["wide"] >= 3 * d * itemsize // 16 - 1


@pytest.mark.parametrize("case", CASES)
def test_only_a_draw_has_an_atomic(case: tuple[Any, ...], compiled: Compiled) -> None:
    assert compiled[case]["atomics"] == (
        shape_of(case[1], 8 if case[2] == "f8" else 4).rows if case[0] == "draw" else 0
    )


@pytest.mark.parametrize("case", CASES)
def test_registers(case: tuple[Any, ...], compiled: Compiled) -> None:
    if "ptxas" not in compiled[case]:
        pytest.skip("ptxas, of the CUDA toolkit, is not there")
    words = compiled[case]["ptxas"].replace(",", "").split()
    registers = int(words[words.index("registers") - 1])
    print(*case, registers, "registers")  # noqa: T201 - the figures that docs and issues tell
    assert "0 bytes spill stores, 0 bytes spill loads" in compiled[case]["ptxas"]
    # A processor has 65,536, given out by eights.
    warps = shape_of(case[1], 8 if case[2] == "f8" else 4).warps
    assert -(-registers // 8) * 8 * LANES * warps <= 65_536


KEPT = """
import sys
from types import SimpleNamespace
from numba import float64, int64, types
from numba.cuda import codegen, compiler, dispatcher
try:
    from numba.cuda.cudadrv.nvvm import NVVM
    NVVM()
except Exception:
    print("nothing can be compiled")
    sys.exit()
card = SimpleNamespace(compute_capability=(9, 0), id=0)
for module in (compiler, dispatcher):
    module.get_current_device = lambda: card
codegen.devices.get_context = lambda *_: SimpleNamespace(device=card)
# Nothing is loaded onto a card.
dispatcher._Kernel.bind = lambda kernel: kernel._codelibrary.get_asm_str(cc=(9, 0))
from engine.clustering import cuda_moves, cuda_tiles
if sys.argv[1:]:
    cuda_tiles._content = lambda: sys.argv[1]
    kernel = cuda_tiles.kernel()(cuda_moves.add_in_order.py_func)
else:
    kernel = cuda_moves.add_in_order
kernel.compile(types.void(float64[:, ::1], float64[::1], int64, types.boolean))
print(sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values()))
"""


def test_machine_code_is_kept_while_its_sources_stay(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_ENABLE_CUDASIM"}
    environment |= {"CUDA_HOME": str(TOOLKIT), "NUMBA_CACHE_DIR": str(tmp_path)}

    def compiled_anew(*stamp: str) -> str:
        command = [sys.executable, "-c", KEPT, *stamp]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3_000:]
        return done.stdout.strip()

    first = compiled_anew()
    if first == "nothing can be compiled":
        pytest.skip("nothing can be compiled for a GPU here")
    assert first == "0 1"
    assert compiled_anew() == "1 0"
    assert compiled_anew("other sources") == "0 1"
    assert compiled_anew("other sources") == "1 0"
    for kept in tmp_path.rglob("*.nbc"):
        kept.write_bytes(b"cut short")
    assert compiled_anew("other sources") == "0 1"
