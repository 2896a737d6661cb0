from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu, gpu_rivals
from benchmarks.gpu_rivals import NotMeasuredError, WrongAnswerError, measured_rival, rows_of, seconds_a_move, starts_of
from benchmarks.gpu_run import Run, raised
from benchmarks.results import read, seconds_of
from engine import device
from engine.device import Gpu

CARD = Gpu("card", (9, 0), 4, 2**16, 2**30, 2**30, 0.1)


def a_run(out: Path | None = None, ends: float = float("inf")) -> Run:
    origin = {"machine": {"cores": 2}, "commit": "abc"}
    return Run("XS", 0, CARD, out, ends, origin, simulated=True, copy=4e12)


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr(device, "usable_gpu", lambda: "there is no NVIDIA driver")
    assert gpu.main(["size=XS", f"out={tmp_path / 'none.jsonl'}"]) == 2
    assert "no GPU can be used (there is no NVIDIA driver)" in capsys.readouterr().err
    assert not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize(
    ("word", "told"),
    [("size=M", "XS"), ("sise=L", "size="), ("quick", "limit_s="), ("limit_s=9", "10 or more"), ("seed=x", "whole")],
)
def test_bad_words(word: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([word]) == 2
    assert told in capsys.readouterr().err


def test_what_fails_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    run = a_run(tmp_path / "rows.jsonl")

    def out_of_memory() -> dict[str, object]:
        raise MemoryError("CUDA_ERROR_OUT_OF_MEMORY")

    def lies() -> dict[str, object]:
        raise WrongAnswerError("sums")

    run.figure("one", (5, 2), out_of_memory)
    run.figure("two", (5, 2, 3), lies)
    run.attempt("four", (5,), lambda: [][0])
    run.figure("three", (), lambda: {"seconds": [0.5, 0.1, 0.2], "ratio": 1.0})
    rows = read(tmp_path / "rows.jsonl")
    assert [row["error"] for row in rows] == [
        "MemoryError: CUDA_ERROR_OUT_OF_MEMORY",
        "wrong answer: sums",
        "IndexError: list index out of range",
        None,
    ]
    assert [row["ok"] for row in rows] == [False, False, False, True]
    assert (rows[1]["n"], rows[1]["d"], rows[1]["k"], rows[3]["n"]) == (5, 2, 3, None)
    assert seconds_of(rows[3]) == 0.2
    assert all(row["simulated"] and row["commit"] == "abc" for row in rows)
    assert gpu._end(run) == 1


def test_what_there_is_no_time_for() -> None:
    run = a_run(ends=0.0)
    assert run.figure("late", (5,), lambda: {"seconds": [1.0]})["error"] == "left out: no time"
    assert gpu._end(run) == 0


def test_a_share_of_the_bandwidth() -> None:
    # 20 moves over 1e8 rows of 8 float32 in 20 ms: 3.2 GB a millisecond.
    found = a_run().reads([0.02, 0.02, 0.04], 10**8, 8, 20)
    assert found["seconds"] == [0.001, 0.001, 0.002]
    assert found["bytes_per_s"] == pytest.approx(3.2e12)
    assert found["rows_per_s"] == pytest.approx(1e11)
    assert found["share_of_copy"] == pytest.approx(0.8)


def test_rows_do_not_depend_on_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_rivals, "CHUNK", 100)
    rows = rows_of(950, 3, 4)
    assert rows.dtype == np.float32
    assert np.array_equal(rows_of(420, 3, 4), rows[:420])
    assert not np.array_equal(rows_of(950, 3, 5), rows)
    assert not np.array_equal(rows[:100], rows[100:200])
    start = starts_of(rows, 20, 1)
    assert len(np.unique(start, axis=0)) == 20
    assert all((rows == one).all(axis=1).any() for one in start.astype(np.float32))


def test_a_move_without_what_a_call_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(gpu_rivals.time, "perf_counter", lambda: now[0])

    def move(moves: int) -> None:
        # A second for the call, and a quarter for each move.
        now[0] += 1.0 + 0.25 * moves

    assert seconds_a_move(move, 4, 3) == [0.25, 0.25, 0.25]


def test_an_absent_library(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = gpu_rivals.Rival(("surely_not_there",), "none", gpu_rivals._torch)
    monkeypatch.setitem(gpu_rivals.RIVALS, "none", absent)
    with pytest.raises(NotMeasuredError, match="absent: surely_not_there is not installed"):
        measured_rival("none", (10, 2, 2), 0, 1, 1, 10.0)


def test_a_library_that_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = gpu_rivals.Rival(("json",), "none", gpu_rivals._torch)
    monkeypatch.setitem(gpu_rivals.RIVALS, "sleeper", sleeper)
    with pytest.raises(NotMeasuredError, match="not done after 0 s"):
        measured_rival("sleeper", (10, 2, 2), 0, 1, 1, 0.01)


def test_a_library_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def mean(X: np.ndarray, start: np.ndarray) -> gpu_rivals.Move:
        return lambda moves: start + moves

    monkeypatch.setitem(gpu_rivals.RIVALS, "numpy", gpu_rivals.Rival(("numpy",), "numpy", mean))
    gpu_rivals.main(["numpy", "30", "2", "3", "1", "2", "4"])
    found = gpu_rivals.json.loads(capsys.readouterr().out)
    assert np.allclose(found["centroids"], starts_of(rows_of(30, 2, 1), 3, 1) + 1.0, atol=1e-6)
    assert (len(found["seconds"]), found["version"]) == (4, np.__version__)


def test_faiss_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Faiss:
        @staticmethod
        def get_num_gpus() -> int:
            return 0

    monkeypatch.setitem(sys.modules, "faiss", Faiss)  # type: ignore[arg-type]
    with pytest.raises(SystemExit, match="absent: this FAISS sees no GPU"):
        gpu_rivals._faiss_sees_a_gpu()


@pytest.mark.parametrize("failed", [WrongAnswerError("step: sums"), MemoryError("out of memory")])
def test_nothing_is_timed_unless_all_answers_are_right(
    failed: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(figure: Callable[..., object], *given: object) -> None:
        figure("check", (5, 2), partial(raised, failed))

    monkeypatch.setattr(device, "usable_gpu", lambda: CARD)
    monkeypatch.setattr(gpu, "origin_of", lambda card, simulated: a_run().origin | {"driver": "1", "versions": {}})
    monkeypatch.setattr(gpu_rivals, "checks", wrong)
    monkeypatch.setattr(gpu, "timings", lambda run: pytest.fail("timed all the same"))
    assert gpu.main(["size=XS", f"out={tmp_path / 'rows.jsonl'}"]) == 1
    assert str(failed) in read(tmp_path / "rows.jsonl")[0]["error"]
    assert "nothing was timed" in capsys.readouterr().err
