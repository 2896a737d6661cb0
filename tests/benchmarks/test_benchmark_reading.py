from __future__ import annotations

import json
import re
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.case import CASES, find_case
from benchmarks.compare import NOISE, chance, compare, told_as_table
from benchmarks.plot import points
from benchmarks.results import seconds_of
from benchmarks.table import COLD, table
from engine.errors import SettingError
from experiments.settings import BenchConfig

KMEANS = find_case("kmeans")
MACHINE = {"cpu": "Made up", "cores": 2, "memory_gib": 8.0, "system": "Linux x86_64"}


def row(contestant: str, seconds: float, **other) -> dict:
    return {
        "case": "kmeans",
        "version": 1,
        "size": "S",
        "data": "blobs",
        "seed": 0,
        "solver_seed": 0,
        "contestant": contestant,
        "repeat": 0,
        "threads": 2,
        "cold_seconds": 3 * seconds,
        "warm_seconds": [0.9 * seconds, seconds, 1.1 * seconds],
        "compile_seconds": None,
        "memory_baseline_mib": 100.0,
        "memory_peak_mib": 150.0,
        "memory_rise_mib": 50.0,
        "memory_limit_mib": 4096,
        "facts": {"inertia": 1000.0},
        "ok": True,
        "error": None,
        "versions": {"numba": "1.2"},
        "machine": MACHINE,
        "python": "3.11.7",
        "commit": "aaa",
        "commit_date": "2026-01-02T03:04:05+00:00",
        "dirty": False,
    } | other


def failed(contestant: str, reason: str) -> dict:
    return row(contestant, 1.0, ok=False, error=reason, cold_seconds=None, warm_seconds=[], facts={})


def test_table_shows_medians_ratios_and_failures() -> None:
    rows = [
        row("native", 0.5, facts={"inertia": 1000.0}),
        row("native", 0.7, seed=1, facts={"inertia": 2002.0}),
        row("sklearn_1", 1.5, facts={"inertia": 1100.0}),
        row("sklearn_1", 2.5, seed=1, facts={"inertia": 2000.0}),
        failed("dask_ml", "out of memory: more than 4096 MiB"),
        row("faiss_pp_all", 1.0, ok=False, error="wrong answer: labels are not those of the nearest centroids"),
    ]
    text = table(rows, KMEANS)
    figures = text.partition("Seeds in which")[0]
    cells = {
        line.split(" | ")[0].lstrip("| "): line.rstrip(" |").split(" | ")
        for line in figures.splitlines()
        if "|" in line
    }
    assert cells["Cartera's KMeans"][1:] == ["0.60 s (0.50–0.70)", "1.80 s", "50 MiB", "1.00100"]
    assert cells["scikit-learn, one start"][1:] == ["2.00 s (1.50–2.50)", "6.00 s", "50 MiB", "1.10000"]
    assert cells["dask-ml, parallel k-means++, threads"][1] == "out of memory"
    assert cells["FAISS on all rows, k-means++, one start"][-1] == "wrong in 1 of 1"
    assert "more than 4096 MiB." in text
    assert "Made up, 2 cores" in text
    assert "commit aaa of 2026-01-02" in text


def test_table_shows_the_commit_that_was_measured_last() -> None:
    text = table([row("native", 9.0), row("native", 1.0, commit="bbb", dirty=True)], KMEANS)
    assert "| 1.00 s |" in text
    assert "commit bbb with changes" in text
    # A measurement that was repeated replaces the first.
    assert "| 2.00 s |" in table([row("native", 1.0), row("native", 2.0)], KMEANS)


def test_a_process_without_warm_calls_counts_by_its_first() -> None:
    assert seconds_of(row("native", 2.0)) == 2.0
    assert seconds_of(row("native", 2.0, warm_seconds=[])) == 6.0
    assert seconds_of(failed("native", "ended after 1 s")) is None


def test_figures_of_a_first_call_alone_are_marked_and_explained() -> None:
    cold, warm = row("sklearn_1", 1.0, warm_seconds=[]), row("native", 0.5)
    text = table([warm, cold], KMEANS)
    assert "| Cartera's KMeans | 0.50 s | 1.50 s |" in text
    assert "| scikit-learn, one start | 3.00 s cold | 3.00 s |" in text
    # So it is in the table of who got there, and in the sentence under it.
    assert "| scikit-learn, one start | 1 of 1, 3 s cold |" in text
    assert "(1 of 1, 3 s cold, 6.00 × our time)" in text
    assert text.count(COLD) == 1
    some = table([warm, cold, row("sklearn_1", 2.0, seed=1)], KMEANS)
    assert "| scikit-learn, one start | 2.50 s (2.00–3.00), 1 of 2 cold |" in some
    assert COLD not in table([warm, row("sklearn_1", 1.0)], KMEANS)
    # Nor is anything marked that has no figure.
    assert "cold |" not in table([warm, failed("sklearn_1", "ended after 9 s")], KMEANS).partition("|---|")[2]


def test_a_factor_stands_beside_the_mark() -> None:
    rows = [row("native", 0.5, case="sweep", facts={"few_k": 1.0})]
    rows.append(row("sklearn_sample", 1.0, case="sweep", warm_seconds=[], facts={"few_k": 1.0}))
    assert "| 3.00 s cold, 6.00 × |" in table(rows, find_case("sweep"))


@pytest.mark.parametrize(("size", "told"), [("XS", "on all 5,000 rows, labels"), ("S", "on 100,000 rows, labels")])
def test_the_table_names_the_rows_that_a_sample_has_at_its_size(size: str, told: str) -> None:
    rows = [row("sklearn_sample", 1.0, case="sweep", size=size, facts={"few_k": 1.0})]
    assert told in table(rows, find_case("sweep"))


@pytest.mark.parametrize("name", CASES)
def test_nobody_is_said_to_search_more_rows_than_there_are(name: str) -> None:
    case = find_case(name)
    for size, who in product(case.sizes, case.contestants):
        says = case.says(who, size)
        assert "{" not in says
        numbers = [int(number.replace(",", "")) for number in re.findall(r"on (?:all )?([\d,]+) rows", says)]
        assert all(number <= case.rows[size] for number in numbers)


def test_points_of_the_picture() -> None:
    rows = [row("native", 0.5), row("sklearn_1", 2.0, facts={"inertia": 1010.0}), failed("dask_ml", "ended after 9 s")]
    assert points(rows, KMEANS, "S") == [
        ("native", "blobs", 0.5, 1e-6),
        ("sklearn_1", "blobs", 2.0, pytest.approx(0.01)),
    ]


def sides(factor: float, *, repeats: int = 5, seed: int = 0, **after) -> tuple[list[dict], list[dict]]:
    rng = np.random.default_rng(seed)
    times = 1.0 + 0.05 * rng.random((2, repeats))
    return (
        [row("native", time, repeat=number) for number, time in enumerate(times[0])],
        [row("native", factor * time, repeat=number, commit="bbb", **after) for number, time in enumerate(times[1])],
    )


@pytest.mark.parametrize("seed", range(5))
def test_twice_the_time_is_told_from_noise(seed: int) -> None:
    (found,), left_out = compare(*sides(2.0, seed=seed))
    assert found.verdict == "slower"
    assert 1.85 < found.lowest < found.ratio < found.highest < 2.15
    assert left_out == []
    assert compare(*sides(0.5, seed=seed))[0][0].verdict == "faster"
    assert "slower" in told_as_table([found])


def test_equal_commits_are_seldom_told_apart() -> None:
    # Exact at 5 %, so of 200 pairs about 10; more than 20 would happen once in a thousand.
    verdicts = [compare(*sides(1.0, seed=seed))[0][0].verdict for seed in range(200)]
    assert verdicts.count(NOISE) >= 180
    assert compare(*sides(2.0, repeats=3))[0][0].verdict.startswith("too few")


def test_what_cannot_be_compared_is_told() -> None:
    before, _ = sides(1.0)
    assert compare(before, [])[1] == ["kmeans S blobs v1 seed 0 native: not measured on both sides"]
    found, left_out = compare(before, [failed("native", "ended after 9 s")])
    assert found == []
    assert left_out == ["kmeans S blobs v1 seed 0 native: ended after 9 s"]
    with pytest.raises(SettingError, match="different machines"):
        compare(*sides(1.0, machine={**MACHINE, "cores": 4}))


def chance_by_counting(before: list[float], after: list[float]) -> float:
    """Every way to deal the values to the two sides, and how many are at least as extreme."""

    def wins(some: list[float], others: list[float]) -> int:
        return sum(a > b for a in some for b in others)

    values, n, m = before + after, len(before), len(after)
    extreme = min(wins(before, after), wins(after, before))
    deals = list(combinations(range(n + m), n))
    as_extreme = sum(
        wins([values[i] for i in deal], [values[i] for i in range(n + m) if i not in deal]) <= extreme for deal in deals
    )
    return min(1.0, 2 * as_extreme / len(deals))


@pytest.mark.parametrize("seed", range(10))
def test_chance_is_that_of_all_deals(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.random(rng.integers(1, 6)).tolist(), (rng.random(rng.integers(1, 6)) + 0.3).tolist()
    assert chance(before, after) == pytest.approx(chance_by_counting(before, after), abs=1e-12)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in sides(1.0)[0]))
    assert main(["table", "kmeans", f"results={file}"]) == 0
    assert "Cartera's KMeans" in capsys.readouterr().out
    assert main(["compare", str(file), str(file)]) == 0
    assert NOISE in capsys.readouterr().out
    assert main(["plot", "kmeans", "size=S", f"results={file}", f"out={tmp_path / 'plot.svg'}"]) == 0
    first = (tmp_path / "plot.svg").read_bytes()
    assert main(["plot", "kmeans", "size=S", f"results={file}", f"out={tmp_path / 'plot.svg'}"]) == 0
    assert (tmp_path / "plot.svg").read_bytes() == first
    capsys.readouterr()
    for wrong, told in (
        (["table", "kmean"], "did you mean 'kmeans'"),
        (["table", "kmeans", "result=x"], "did you mean 'results'"),
        (["compare", "no-such-commit", "HEAD"], "neither"),
        (["dance"], "usage"),
    ):
        assert main(wrong) == 2
        assert told in capsys.readouterr().err


def test_bench_needs_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments import bench

    monkeypatch.setattr(bench, "CHECKOUT", tmp_path)
    with pytest.raises(SettingError, match="from a checkout"):
        bench.plan_of(BenchConfig(case="kmeans"))
