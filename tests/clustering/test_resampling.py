from __future__ import annotations

import math

import numpy as np
import pytest

from engine.clustering import resampling
from engine.clustering.backends import cluster
from engine.clustering.indices import Estimate
from engine.clustering.resampling import Gap, bootstrap_stability, gap_choice, gap_statistic
from engine.errors import DataError, SettingError
from tests.reference.gap_twin import gap_of


def groups(seed: int, centres, rows: int = 60) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(centre, 1.0, (rows, 2)) for centre in centres]).astype(np.float32)


THREE = [(0, 0), (12, 0), (3, 14)]


# the gap statistic


def test_gap_equals_the_paper_written_out(monkeypatch):
    seen = []
    real = resampling._reference_sets

    def keep(*arguments):
        for points in real(*arguments):
            seen.append(points)
            yield points

    monkeypatch.setattr(resampling, "_reference_sets", keep)
    matrix = groups(0, THREE, rows=15)
    gaps = gap_statistic(matrix, [3, 1, 2, 3], references=4, seed=5, threads=1)
    assert [gap.k for gap in gaps] == [1, 2, 3]
    for gap in gaps:
        value, error = gap_of(matrix, seen, lambda points, k=gap.k: cluster(points, k, seed=5, threads=1).labels)
        assert gap.gap == pytest.approx(value, abs=1e-5)
        assert gap.standard_error == pytest.approx(error, abs=1e-5)


def test_gap_of_one_cluster_worked_by_hand():
    # n rows strewn over a stretch L have the inertia n L² / 12 at k = 1; two heaps at its ends have n L² / 4.
    matrix = np.repeat([[0.0], [8.0]], 500, axis=0)
    (gap,) = gap_statistic(matrix, [1], references=20, threads=1)
    assert gap.gap == pytest.approx(math.log(1 / 3), abs=4 * gap.standard_error)
    assert 0 < gap.standard_error < 0.1


def test_references_follow_correlated_features():
    # Evenly strewn along a thin diagonal: a box along the features would be far wider than the data, with a gap near
    # log 2 and more; along the principal axes data and references are alike.
    rng = np.random.default_rng(0)
    along, across = rng.uniform(0, 10, 800), rng.uniform(0, 0.1, 800)
    matrix = np.stack([along + across, along - across], axis=1)
    for gap in gap_statistic(matrix, [1, 2], references=5, threads=1):
        assert abs(gap.gap) < 0.1


def test_references_fill_the_box_of_the_principal_axes():
    rng = np.random.default_rng(1)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    matrix = np.stack([rng.uniform(-6, 6, 400), rng.uniform(-1, 1, 400)], axis=1) @ turn.T
    matrix -= matrix.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(matrix.T))
    data = matrix @ axes
    for points in resampling._reference_sets(matrix, 3, np.random.default_rng(0)):
        back = points @ axes
        width = np.ptp(data, axis=0)
        assert (back.min(axis=0) >= data.min(axis=0) - 1e-5).all()
        assert (back.max(axis=0) <= data.max(axis=0) + 1e-5).all()
        # Uniform: the variance of a stretch is its square over 12.
        assert back.var(axis=0) == pytest.approx(width**2 / 12, rel=0.2)
        assert points.shape == matrix.shape


@pytest.mark.parametrize("centres", [[(0, 0)], [(0, 0), (12, 0)], THREE, [(0, 0), (12, 0), (3, 14), (30, 30)]])
def test_gap_chooses_the_number_of_separate_groups(centres):
    for seed in range(4):
        gaps = gap_statistic(groups(seed, centres), range(1, 6), references=5, seed=seed, threads=1)
        assert gap_choice(gaps) == len(centres)


def test_gap_chooses_one_where_there_are_no_groups():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        for matrix in (rng.random((150, 3)), rng.normal(size=(150, 3)), rng.normal(size=(150, 3)) @ np.diag([5, 1, 1])):
            assert gap_choice(gap_statistic(matrix, [1, 2, 3], references=5, seed=seed, threads=1)) == 1


def test_gap_does_not_depend_on_where_the_data_lie():
    # float32 holds multiples of 1/64 exactly up to 2**17, so that the shifted rows are the same rows.
    matrix = np.round(groups(0, THREE) * 64) / 64
    here = gap_statistic(matrix, [1, 3], references=3, threads=1)
    far = gap_statistic(matrix + 2**17, [1, 3], references=3, threads=1)
    assert [gap.gap for gap in far] == pytest.approx([gap.gap for gap in here], abs=1e-4)


def test_known_inertias_save_the_fits_of_the_data(monkeypatch):
    matrix = groups(0, THREE)
    known = {k: cluster(matrix, k, threads=1).inertia for k in (1, 2)}
    plain = gap_statistic(matrix, [1, 2, 3], references=2, threads=1)
    fits = []
    real = resampling.cluster
    monkeypatch.setattr(resampling, "cluster", lambda X, k, **rest: fits.append(k) or real(X, k, **rest))
    given = gap_statistic(matrix, [1, 2, 3], references=2, threads=1, inertias=known)
    assert sorted(fits) == [1, 1, 2, 2, 3, 3, 3]
    assert [gap.gap for gap in given] == pytest.approx([gap.gap for gap in plain], abs=1e-5)


def test_many_rows_are_judged_by_a_sample_and_its_own_inertia():
    matrix = groups(0, THREE, rows=200)
    found = gap_statistic(matrix, [1, 2], references=3, max_rows=90, inertias={1: 1.0, 2: 1e-9}, threads=1)
    assert found == gap_statistic(matrix, [1, 2], references=3, max_rows=90, threads=1)
    # 90 of 600 rows have another inertia, but about the same gap; with the inertias given it would be above 10.
    whole = gap_statistic(matrix, [1, 2], references=3, threads=1)
    assert [gap.gap for gap in found] == pytest.approx([gap.gap for gap in whole], abs=0.6)
    assert found != whole


def test_an_inertia_of_zero_leaves_a_finite_gap(caplog):
    matrix = np.repeat([[0.0, 0.0], [1.0, 0.0], [5.0, 3.0]], 20, axis=0)
    gaps = gap_statistic(matrix, [1, 2, 3, 4, 5], references=3, threads=1)
    assert [gap.k for gap in gaps] == [1, 2, 3]
    assert "only 3 of 60 rows differ" in caplog.text
    assert all(math.isfinite(gap.gap) and math.isfinite(gap.standard_error) for gap in gaps)
    # The rounding of float64 is e^-36 of the scatter.
    assert 20 < gaps[2].gap < 40


@pytest.mark.parametrize("rows", [1, 7])
def test_the_gap_of_equal_rows_is_zero(rows):
    assert gap_statistic(np.full((rows, 2), 3.0), [1], references=2, threads=1) == [Gap(1, 0.0, 0.0)]


def test_resampling_has_the_same_bits_for_any_threads():
    matrix = groups(3, THREE)
    gaps = {tuple(gap_statistic(matrix, [1, 3], references=2, seed=4, threads=t)) for t in (1, 2)}
    stable = {bootstrap_stability(matrix, 4, resamples=2, seed=4, threads=t) for t in (1, 2)}
    assert len(gaps) == len(stable) == 1


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([], None),
        ([(1, 0.5, 0.1)], None),
        ([(1, 0.5, 0.1), (2, 0.55, 0.1)], 1),  # 0.5 >= 0.55 - 0.1
        ([(3, 1.0, 0.1), (1, 0.2, 0.1), (2, 0.8, 0.1)], None),  # rises to the end
        ([(1, 0.2, 0.1), (2, 0.8, 0.1), (3, 0.5, 0.0), (4, 2.0, 0.0)], 2),  # the smallest, not the highest
        ([(2, 0.2, 0.0), (4, 0.3, 0.0), (6, 0.3, 0.0)], 4),
    ],
)
def test_gap_choice(gaps, expected):
    assert gap_choice([Gap(*gap) for gap in gaps]) == expected


@pytest.mark.parametrize(
    ("matrix", "rest", "error", "expected"),
    [
        (np.zeros((4, 1)), {"ks": []}, SettingError, "at least one number"),
        (np.zeros((4, 1)), {"ks": [0]}, SettingError, "got 0"),
        (np.zeros((4, 1)), {"references": 1}, SettingError, "references of at least 2"),
        (np.zeros((4, 1)), {"max_rows": 1}, SettingError, "max_rows of at least 2"),
        (np.zeros((4, 1)), {"backend": "spark"}, SettingError, "clustering.backend"),
        (np.zeros((4, 1)), {"ks": [2]}, DataError, "all 4 customers are equal"),
        (np.array([[0.0], [np.nan]]), {}, DataError, "column 0 has 1"),
        (np.zeros((4, 1)), {"inertias": {1: math.nan}}, DataError, "nan for k=1"),
    ],
)
def test_gap_refuses_what_cannot_be(matrix, rest, error, expected):
    ks = rest.pop("ks", [1])
    with pytest.raises(error, match=expected):
        gap_statistic(matrix, ks, **rest)


# stability under resampling


def test_separate_groups_are_stable():
    for seed in range(3):
        found = bootstrap_stability(groups(seed, THREE), 3, resamples=5, seed=seed, threads=1)
        assert found == Estimate(1.0, 0.0)


def test_too_many_clusters_of_an_even_square_are_not_stable():
    for seed in range(3):
        matrix = np.random.default_rng(seed).random((200, 2))
        found = bootstrap_stability(matrix, 7, resamples=6, seed=seed, threads=1)
        assert 0.2 < found.value < 0.9
        assert 0 < found.standard_error < 0.1


def test_stability_falls_where_groups_are_cut():
    for seed in range(3):
        matrix = groups(seed, THREE)
        right, many = (bootstrap_stability(matrix, k, resamples=5, seed=seed, threads=1).value for k in (3, 5))
        assert many < right - 0.1


def test_the_error_is_that_of_the_mean_over_pairs(monkeypatch):
    agreements = iter([0.5, 0.7, 0.9, 0.3])
    monkeypatch.setattr(resampling, "adjusted_rand", lambda a, b: next(agreements))
    found = bootstrap_stability(groups(0, THREE), 3, resamples=4, threads=1)
    assert found.value == pytest.approx(0.6)
    # Deviations 0.1, 0.1, 0.3 and 0.3: variance 0.2 / 3, over 4 pairs.
    assert found.standard_error == pytest.approx(math.sqrt(0.2 / 3 / 4))


def test_a_resample_with_fewer_distinct_rows_than_k_is_divided_as_far_as_it_goes():
    # Of 4 different rows a resample of 4 seldom holds all.
    matrix = np.array([[0.0], [1.0], [5.0], [20.0]])
    found = bootstrap_stability(matrix, 4, resamples=30, threads=1)
    assert 0 < found.value < 1


def test_resamples_come_from_all_rows_and_as_many_are_judged(monkeypatch):
    fitted, judged = [], []
    fit, near = resampling.cluster, resampling.two_nearest
    monkeypatch.setattr(resampling, "cluster", lambda X, k, **rest: fitted.append(X) or fit(X, k, **rest))
    monkeypatch.setattr(resampling, "two_nearest", lambda X, C: judged.append(X) or near(X, C))
    matrix = np.arange(1_000, dtype=np.float32)[:, None]
    bootstrap_stability(matrix, 2, resamples=5, max_rows=100, threads=1)
    assert {len(X) for X in fitted} == {100}
    # Ten resamples of 100 draw 1 - (1 - 1/1000)^1000, nearly two thirds of the rows.
    assert 550 < len(np.unique(np.concatenate(fitted))) < 700
    assert {X.tobytes() for X in judged} == {judged[0].tobytes()}
    assert len(np.unique(judged[0])) == 100


def test_one_cluster_is_always_the_same():
    assert bootstrap_stability(groups(0, THREE), 1) == Estimate(1.0, 0.0)
    assert bootstrap_stability(np.zeros((1, 2)), 1) == Estimate(1.0, 0.0)


@pytest.mark.parametrize(
    ("matrix", "k", "rest", "error", "expected"),
    [
        (np.zeros((4, 1)), 2, {}, DataError, "all 4 customers are equal"),
        (np.zeros((1, 1)), 2, {}, DataError, "there is one customer"),
        (np.array([[0.0], [np.inf]]), 2, {}, DataError, "column 0 has 1"),
        (np.zeros((4, 1)), 0, {}, SettingError, "got 0"),
        (np.zeros((4, 1)), 1, {"resamples": 1}, SettingError, "resamples of at least 2"),
        (np.zeros((4, 1)), 1, {"solver": "fast"}, SettingError, "clustering.solver"),
    ],
)
def test_bootstrap_refuses_what_cannot_be(matrix, k, rest, error, expected):
    with pytest.raises(error, match=expected):
        bootstrap_stability(matrix, k, **rest)


def test_the_matrix_is_not_written_to():
    matrix = groups(0, THREE)
    matrix.flags.writeable = False
    gap_statistic(matrix, [1], references=2, threads=1)
    bootstrap_stability(matrix, 2, resamples=2, threads=1)
