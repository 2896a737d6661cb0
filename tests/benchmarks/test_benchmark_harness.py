from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.machine import Commit
from benchmarks.memory import Watcher
from benchmarks.results import read
from benchmarks.session import Plan, run
from engine.errors import DataError, SettingError, SourceNotFoundError

CASE = "tests.benchmarks.made_up_case"
CLEAN = Commit("abc1234", "2026-01-01T00:00:00+00:00", dirty=False)


def measured(tmp_path: Path, *contestants: str, **settings) -> dict[str, dict]:
    plan = Plan(CASE, contestants=contestants, repeats=1, threads=1, out=tmp_path / "rows.jsonl", **settings)
    return {row["contestant"]: row for row in run(plan, lambda line: None, commit=CLEAN)}


def test_a_right_answer_is_a_complete_row(tmp_path: Path) -> None:
    row = measured(tmp_path, "right")["right"]
    assert row["ok"]
    assert row["error"] is None
    assert row["cold_seconds"] > 0
    assert len(row["warm_seconds"]) == 2
    assert row["facts"] == {"cost": 0 if row["seed"] == 0 else 1}
    assert row["memory_peak_mib"] >= row["memory_baseline_mib"] > 0
    assert (row["commit"], row["dirty"], row["threads"]) == ("abc1234", False, 1)
    assert row["machine"]["cores"] >= 1
    assert read(tmp_path / "rows.jsonl") == [row]


def test_failures_are_rows_with_their_reason(tmp_path: Path) -> None:
    rows = measured(tmp_path, "raises", "lies", "dies", "absent")
    assert not any(row["ok"] for row in rows.values())
    assert rows["raises"]["error"] == "ValueError: no such luck"
    assert rows["lies"]["error"] == "wrong answer: 43, expected 42"
    # What was measured before the answer was found wrong stays.
    assert rows["lies"]["cold_seconds"] > 0
    assert rows["dies"]["error"] == "exited with code 7"
    assert rows["absent"]["error"].startswith("not installed: no-such-package")
    assert len(read(tmp_path / "rows.jsonl")) == 4


def test_a_contestant_that_hangs_is_ended(tmp_path: Path) -> None:
    begun = time.monotonic()
    row = measured(tmp_path, "hangs", limit_s=0.5)["hangs"]
    assert row["error"] == "ended after 0.5 s"
    assert time.monotonic() - begun < 30


def test_memory_of_children_is_seen_and_limited(tmp_path: Path) -> None:
    from tests.benchmarks.made_up_case import TAKES_MIB

    name = "takes_memory_in_a_child"
    assert measured(tmp_path, name)[name]["memory_rise_mib"] >= TAKES_MIB
    ended = measured(tmp_path, name, memory_gib=TAKES_MIB / 1024 / 2, again=True)[name]
    assert ended["error"] == f"out of memory: more than {TAKES_MIB // 2} MiB"


def test_watcher_counts_what_a_process_really_holds() -> None:
    code = "import sys; block = bytearray(b'x') * (80 << 20); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        watcher = Watcher(process.pid)
        assert 80 <= watcher.sample() < 160
        assert watcher.peak_mib >= 80
        process.communicate("")
    assert watcher.sample() == 0
    assert watcher.peak_mib >= 80


@pytest.mark.skipif(sys.platform != "linux", reason="cores can be set on Linux only")
def test_limits_hold_and_printing_does_no_harm(tmp_path: Path) -> None:
    # `limits` is wrong unless threads and cores are limited and the scratch folder was emptied between its calls.
    rows = measured(tmp_path, "limits", "talks")
    assert {name: row["error"] for name, row in rows.items()} == {"limits": None, "talks": None}


def test_rows_that_are_there_are_not_measured_again(tmp_path: Path) -> None:
    assert set(measured(tmp_path, "right")) == {"right"}
    assert measured(tmp_path, "right") == {}
    assert set(measured(tmp_path, "right", "lies")) == {"lies"}
    assert set(measured(tmp_path, "right", again=True)) == {"right"}
    # What changed in a checkout with changes is not known, and another commit is another thing to measure.
    dirty = Plan(CASE, contestants=["right"], repeats=1, threads=1, out=tmp_path / "rows.jsonl")
    assert len(run(dirty, lambda line: None, commit=Commit("abc1234", "2026-01-01", dirty=True))) == 1
    other = Commit("def5678", "2026-01-02", dirty=False)
    assert len(run(dirty, lambda line: None, commit=other)) == 1


def test_one_process_runs_many_solver_seeds_and_judges_each(tmp_path: Path) -> None:
    plan = Plan(
        CASE,
        contestants=["follows_its_seed", "once", "elsewhere"],
        repeats=1,
        solver_seeds=5,
        threads=1,
        out=tmp_path / "rows.jsonl",
    )
    rows = run(plan, lambda line: None, commit=CLEAN)
    own = [row for row in rows if row["contestant"] == "follows_its_seed"]
    assert [row["solver_seed"] for row in own] == [0, 1, 2, 3]
    # Its own seconds count; the cold call is the first of the process and of no other seed.
    assert [row["cold_seconds"] for row in own] == [1.0, None, None, None]
    assert [row["warm_seconds"] for row in own] == [[1.0], [2.0], [3.0], []]
    # A wrong answer is a row and the next seed comes; a contestant that raises is done with.
    assert [row["ok"] for row in own] == [True, False, True, False]
    assert own[1]["error"] == "wrong answer: 43, expected 42"
    assert own[3]["error"] == "ValueError: not this one"
    assert {row["seed"] for row in own} == {0}
    # One is meant for a single seed, one for other data.
    assert [row["solver_seed"] for row in rows if row["contestant"] == "once"] == [0]
    assert not any(row["contestant"] == "elsewhere" for row in rows)
    # What the file has is not measured again; what it lacks is.
    assert [row["solver_seed"] for row in run(plan, lambda line: None, commit=CLEAN)] == [4]


def test_seeds_for_which_there_is_no_time_have_no_row(tmp_path: Path) -> None:
    settings = {"repeats": 1, "solver_seeds": 1000, "threads": 1, "limit_s": 0.02}
    plan = Plan(CASE, contestants=["right"], out=tmp_path / "rows.jsonl", **settings)
    rows = run(plan, lambda line: None, commit=CLEAN)
    assert 1 <= len(rows) < 1000
    assert [row["solver_seed"] for row in rows] == list(range(len(rows)))


def test_data_are_kept_where_asked_and_the_order_rotates(tmp_path: Path) -> None:
    lines: list[str] = []
    plan = Plan(
        CASE, contestants=["right", "lies"], repeats=2, threads=1, keep=tmp_path / "data", out=tmp_path / "rows.jsonl"
    )
    rows = run(plan, lines.append, commit=CLEAN)
    assert [row["contestant"] for row in rows] == ["right", "lies", "lies", "right"]
    assert (tmp_path / "data" / f"{CASE}-numbers-S-seed0-v1" / "number").read_text() == "40"
    assert any("making the data" in line for line in lines)
    lines.clear()
    run(Plan(**{**_fields(plan), "again": True}), lines.append, commit=CLEAN)
    assert not any("making the data" in line for line in lines)


def _fields(plan: Plan) -> dict:
    return {name: getattr(plan, name) for name in Plan.__slots__}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"case": "kmean"}, "did you mean 'kmeans'"),
        ({"size": "XXL"}, "expected one of XS, S, M, L"),
        ({"contestants": ["nativ"]}, "did you mean 'native'"),
        ({"data": ["blob"]}, "did you mean 'blobs'"),
        ({"repeats": 0}, "repeats: expected a whole number, 1 or more; got 0"),
        ({"solver_seeds": 0}, "solver_seeds: expected a whole number, 1 or more; got 0"),
        ({"threads": 10_000}, "threads: expected at most"),
        ({"memory_gib": 0.0}, "memory_gib: expected a number above 0; got 0"),
    ],
)
def test_impossible_plans_are_refused(settings: dict, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        Plan(**{"case": "kmeans", **settings}).checked()


def test_results_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="no results there"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"case": "kmeans"}) + "\n")
    with pytest.raises(DataError, match="line 1"):
        read(tmp_path / "rows.jsonl")
