from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.case import find_case
from benchmarks.curves import curves, plot_curves, slope, told_curves
from benchmarks.plot import points
from benchmarks.results import append
from benchmarks.table import table
from benchmarks.within import best_rival, reaches, told_within
from engine.errors import DataError
from tests.benchmarks.test_benchmark_reading import failed, row

KMEANS, SCALING, DISK = find_case("kmeans"), find_case("scaling"), find_case("disk")


def seeds(contestant: str, seconds: float, ratios: list[float], **other) -> list[dict]:
    rows = [
        row(contestant, seconds, solver_seed=number, facts={"inertia": 1000.0 * ratio}, **other)
        for number, ratio in enumerate(ratios)
    ]
    for each in rows[1:]:
        each["cold_seconds"] = None
    return rows


RACE = [
    *seeds("native", 0.2, [1.0005] * 10),
    # Fast, and there in nine of ten.
    *seeds("subsample_20k_3", 0.1, [1.0] + [1.001] * 8 + [1.0011]),
    # There always, but slower than the next, which had time for four seeds only.
    *seeds("sklearn_10", 9.0, [1.0009] * 10),
    *seeds("intelex_1", 0.8, [1.0002] * 4),
    # Quickest of all, and seldom there.
    *seeds("minibatch_1k", 0.01, [1.02] * 9 + [1.0]),
    failed("dask_ml", "out of memory: more than 4096 MiB"),
]


def test_who_reaches_the_best_known_and_how_often() -> None:
    found = {each.contestant: each for each in reaches(RACE, KMEANS, "S", 1.001)}
    assert {name: (each.reached, each.measured, each.asked) for name, each in found.items()} == {
        "native": (10, 10, 10),
        "subsample_20k_3": (9, 10, 10),
        "sklearn_10": (10, 10, 10),
        "intelex_1": (4, 4, 10),
        "minibatch_1k": (1, 10, 10),
    }
    assert found["native"].seconds == pytest.approx(0.2)
    assert found["native"].cold_seconds == pytest.approx(0.6)
    assert found["minibatch_1k"].worst == pytest.approx(1.02)


def test_best_rival_is_the_fastest_that_holds() -> None:
    found = reaches(RACE, KMEANS, "S", 1.001)
    always, mostly = best_rival(found, "native", "blobs"), best_rival(found, "native", "blobs", 0.9)
    assert always is not None
    assert always.contestant == "intelex_1"
    assert mostly is not None
    assert mostly.contestant == "subsample_20k_3"
    assert best_rival(found, "native", "rfm") is None
    # A wider goal lets everybody in.
    widest = best_rival(reaches(RACE, KMEANS, "S", 1.03), "native", "blobs")
    assert widest is not None
    assert widest.contestant == "minibatch_1k"


def test_a_loss_is_told_as_plainly_as_a_win() -> None:
    text = told_within(RACE, KMEANS, "S", 1.001)
    assert "| 4 of 4 (fewer seeds), 0.8 s |" in text
    assert "(4 of 4, 0.8 s, 4.00 × our time)" in text
    assert "(9 of 10, 0.1 s, 2.00 × faster than ours)" in text
    alone = told_within(seeds("sklearn_1", 1.0, [1.0]), KMEANS, "S", 1.001)
    assert "blobs: Cartera's KMeans was not measured" in alone
    assert "no rival in every seed" in told_within(seeds("native", 1.0, [1.0]), KMEANS, "S", 1.001)


def test_table_tells_the_race_below_the_figures() -> None:
    text = table(RACE, KMEANS)
    assert "at most 1.001 × the best known" in text
    assert "at most 1.05 × the best known" in table(RACE, KMEANS, within=1.05)
    # Only the first call of a process is cold; the others must not be counted as none.
    assert "| Cartera's KMeans | 0.20 s (0.20–0.20) | 0.60 s | 50 MiB | 1.00050 |" in text
    assert "up to 10 solver seeds in each" in text


def test_a_yardstick_takes_no_part_but_is_divided_by() -> None:
    shared = {"case": "disk", "data": "apart"}
    rows = [
        row("native", 3.0, facts={"inertia": 5.0, "centroids_off": 1e-9, "largest_cluster": 25_000_000}, **shared),
        row("read", 2.0, facts={}, **shared),
    ]
    text = table(rows, DISK)
    assert "| Cartera | 3.00 s, 1.50 × | 9.00 s | 50 MiB | 1e-09 | 25,000,000 | 1.00000 |" in text
    assert "| reading the file three times | 2.00 s, 1.00 × | 6.00 s | 50 MiB | – | – | right |" in text
    assert [each.contestant for each in reaches(rows, DISK, "S", 1.001)] == ["native"]
    assert [point[0] for point in points(rows, DISK, "S")] == ["native"]


@pytest.mark.parametrize("within", ["1.0005", "nearly", "0.9", "inf"])
def test_within_on_the_command_line(within: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for each in RACE:
        append(tmp_path / "rows.jsonl", each)
    code = main(["table", "kmeans", f"results={tmp_path / 'rows.jsonl'}", f"within={within}"])
    told = capsys.readouterr()
    if within == "1.0005":
        assert code == 0
        assert "at most 1.0005 × the best known" in told.out
    else:
        assert code == 2
        assert f"within: expected a ratio to the best known, 1 or more, as in 1.001; got {within}." in told.err


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_slope_is_the_power_that_the_points_were_made_with(power: float) -> None:
    assert slope([(x, 3.0 * x**power) for x in (1, 10, 100, 1000)]) == pytest.approx(power)
    # Fixed costs at the small end do not flatten it.
    late = [(x, max(1.0, (x / 1000) ** power)) for x in (1, 10, 100, 1_000, 10_000, 100_000)]
    assert slope(late) == pytest.approx(power)


def curve(contestant: str, pairs: list[tuple[int, float]], **other) -> dict:
    return row(contestant, 1.0, case="scaling", data="n", facts={"points": pairs}, **other)


def test_curves_are_medians_beside_each_other(tmp_path: Path) -> None:
    rows = [
        curve("native", [(1000, 0.2), (2000, 0.4), (4000, 0.8)]),
        curve("native", [(1000, 0.4), (2000, 0.8), (4000, 1.6)], repeat=1),
        curve("read", [(1000, 0.1), (4000, 0.1)]),
        failed("sklearn_sample", "ended after 9 s") | {"case": "scaling", "data": "n"},
    ]
    found = curves(rows, SCALING, "S")
    assert found["n", "native"] == [(1000, pytest.approx(0.3)), (2000, pytest.approx(0.6)), (4000, pytest.approx(1.2))]
    text = told_curves(rows, SCALING, "S")
    assert "| 1,000 | 0.3 | 0.1 | 3.00 |" in text
    assert "| 2,000 | 0.6 | – | – |" in text
    assert "| slope | 1.00 | 0.00 | – |" in text
    assert "sklearn_sample (n): ended after 9 s." in text
    plot_curves(rows, SCALING, "S", tmp_path / "curves.svg")
    drawn = (tmp_path / "curves.svg").read_text()
    assert "native, slope 1.00" in drawn
    with pytest.raises(DataError, match="Measure it first"):
        plot_curves([], SCALING, "S", tmp_path / "none.svg")
