from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.clustering.indices import Estimate
from engine.clustering.sweep import Tries
from engine.clustering.trial import Costly, Trial
from engine.errors import SettingError
from engine.sweeps.journal import Journal


def a_trial(k: int = 2) -> Trial:
    rows = np.random.default_rng(k).normal(size=(50, 3)).astype(np.float32)
    return Tries(rows, threads=1).run(k)


def same(one: Trial, other: Trial) -> bool:
    return one.to_dict() == other.to_dict() and one.centroids.tobytes() == other.centroids.tobytes()


def test_what_is_kept_is_read_back_to_the_last_bit(tmp_path: Path) -> None:
    first = a_trial().with_costly(Costly(gap=Estimate(0.1, 0.02)))
    with Journal(tmp_path / "j") as journal:
        journal.add("a", first)
        journal.note(run="x")
        journal.add("b", a_trial(3))
    with Journal(tmp_path / "j") as again:
        assert set(again.trials) == {"a", "b"}
        assert same(again.trials["a"], first)
        assert again.notes == {"run": "x"}


@pytest.mark.parametrize("cut", range(1, 400, 37))
def test_a_line_cut_short_costs_that_trial_only(tmp_path: Path, cut: int) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.add("a", a_trial(2))
        journal.add("b", a_trial(3))
    path = tmp_path / "j" / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(tmp_path / "j") as again:
        assert set(again.trials) == {"a"}
        again.add("c", a_trial(4))
    with Journal(tmp_path / "j") as third:
        assert set(third.trials) == {"a", "c"}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[1]",
        '"x"',
        "0123456789abcdef {}",
        "\xff",
        "[" * 100_000,
    ],
)
def test_lines_that_are_no_trials_are_passed_over(tmp_path: Path, line: str) -> None:
    (tmp_path / "j").mkdir()
    (tmp_path / "j" / "trials.jsonl").write_text(f"\n{line}\n", encoding="latin-1")
    with Journal(tmp_path / "j") as journal:
        assert journal.trials == {}
        assert journal.notes == {}


def test_a_figure_that_was_changed_afterwards_is_not_believed(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.add("a", a_trial())
    path = tmp_path / "j" / "trials.jsonl"
    content = path.read_text("utf-8")
    assert '"seed": 0' in content
    path.write_text(content.replace('"seed": 0', '"seed": 1'), encoding="utf-8")
    with Journal(tmp_path / "j") as journal:
        assert journal.trials == {}


def test_cleared_it_leaves_no_folder(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.add("a", a_trial())
        journal.clear()
    assert not (tmp_path / "j").exists()


def test_one_process_at_a_time_and_a_killed_one_is_no_hindrance(tmp_path: Path) -> None:
    hold = (
        "import sys, time, pathlib; from engine.sweeps.journal import Journal\n"
        "with Journal(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path / "j")], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(SettingError, match="by another process"), Journal(tmp_path / "j"):
            pass
    finally:
        os.kill(other.pid, 9)
        other.wait()
        other.stdout.close()
    with Journal(tmp_path / "j") as journal:
        assert journal.trials == {}
