from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.results import read

ROOT = Path(__file__).parents[2]


def test_all_of_it_in_the_simulator(tmp_path: Path) -> None:
    out = tmp_path / "gpu.jsonl"
    # numba decides at its import whether there is a simulator.
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "size=XS", f"out={out}", "seed=5"],
        cwd=ROOT,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
    assert "seconds mean nothing" in done.stdout
    rows = read(out)
    assert all(row["simulated"] and row["card"]["name"] == "simulator" for row in rows)
    # Libraries that need a card, where they are installed, find none.
    libraries = {"flash-kmeans", "torch", "cuml", "faiss gpu"}
    assert {row["contestant"] for row in rows if row["error"]} == libraries
    found = {(row["contestant"], row["d"], row["k"]): row for row in rows}
    assert {name for name, _, _ in found} - libraries == {
        "check, no weights", "check, no weights, f4", "check, weights", "check, weights, f4", "copy on the card",
        "copy from pinned", "copy from pageable", "move", "step", "best known", "fit, on the card", "fit, sent first",
        "fit, streamed", "step, streamed", "sweep", "card and processor", "step, processor", "fit, processor",
    }  # fmt: skip
    assert ("move", 5, 4) in found
    assert found["card and processor", 3, 3]["facts"]["inertia_off"] < 1e-6
    assert all(row["warm_seconds"] for row in rows if row["contestant"] in ("move", "step", "sweep"))
