from __future__ import annotations

import shutil
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.case import Case, Task, Timed, find_case
from benchmarks.cases import disk, kmeans, large_k, scaling, step, sweep
from benchmarks.cases.points import Rows
from benchmarks.peers import reading
from tests.reference.indices_twin import davies_bouldin_by_pairs

SHORT = [
    ("kmeans", "native", "blobs"),
    ("kmeans", "subsample_20k_3", "rfm"),
    ("kmeans", "intelex_50k_1", "rfm"),
    ("kmeans", "minibatch_100k", "blobs"),
    ("kmeans", "faiss_random_256", "uniform"),
    ("kmeans", "faiss_pp_all", "rare"),
    ("kmeans", "faiss_afkmc2_100k", "blobs"),
    ("step", "native", "k10"),
    ("step", "native_labels", "k5"),
    ("step", "sklearn", "k10"),
    ("step", "intelex", "k10"),
    ("step", "faiss", "k10"),
    ("step", "read", "k2"),
    ("converged", "native", "rfm"),
    ("converged", "sklearn_1", "blobs"),
    ("large_k", "native", "blobs-50"),
    ("disk", "native", "apart"),
    ("disk", "minibatch", "apart"),
    ("disk", "sklearn_sample", "apart"),
    ("disk", "read", "near"),
    ("scaling", "native_step", "k"),
    ("scaling", "read", "d"),
]
"""One contestant of each kind; the slow ones do the same with other numbers."""


def task(case: Case, contestant: str, folder: Path, data: str, *, solver_seed: int = 0) -> Task:
    scratch = folder.parent / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    return Task(case.name, contestant, "XS", data, 0, 2, 4096, str(folder), str(scratch), solver_seed)


def answered(case: Case, todo: Task) -> tuple[Any, Any]:
    for package in case.contestants[todo.contestant].packages:
        try:
            version(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed; cartera[bench] brings it")
    given = case.open(todo)
    answer = case.contestants[todo.contestant].call(given, todo)
    return given, answer.answer if isinstance(answer, Timed) else answer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    folders: dict[tuple[str, str], Path] = {}
    for name, contestant, data in SHORT:
        if (name, data) not in folders:
            folders[name, data] = tmp_path_factory.mktemp("bench") / "data"
            find_case(name).make(task(find_case(name), contestant, folders[name, data], data))
    return folders


# Libraries of others warn of each other's future versions.
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(("name", "contestant", "data"), SHORT)
def test_contestants_give_right_answers(name: str, contestant: str, data: str, made: dict) -> None:
    case = find_case(name)
    todo = task(case, contestant, made[name, data], data)
    given, answer = answered(case, todo)
    facts, fault = case.judge(given, answer, todo)
    assert fault is None
    for fact in case.shows:
        if contestant == "native" and name != "disk":
            assert np.isfinite(facts[fact])


def test_every_contestant_draws_from_its_solver_seed(made: dict) -> None:
    case = kmeans.CASE
    found = []
    for solver_seed in (0, 0, 1):
        todo = task(case, "subsample_20k_3", made["kmeans", "rfm"], "rfm", solver_seed=solver_seed)
        given = case.open(todo)
        found.append(case.contestants["subsample_20k_3"].call(given, todo)[0])
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_wrong_labels_and_centroids_are_found() -> None:
    rng = np.random.default_rng(0)
    centroids = rng.normal(size=(kmeans.K, kmeans.FEATURES)) * 20
    labels = np.arange(500) % kmeans.K
    rows = Rows((centroids[labels] + rng.normal(size=(500, kmeans.FEATURES))).astype(np.float32), kmeans.K)
    todo = Task("kmeans", "native", "XS", "blobs", 0, 1, 1024, "", "")
    facts, fault = kmeans.judge(rows, (centroids, labels), todo)
    assert fault is None
    assert facts["clusters"] == kmeans.K
    assert "nearest" in str(kmeans.judge(rows, (centroids, np.roll(labels, 1)), todo)[1])
    assert "labels from 0" in str(kmeans.judge(rows, (centroids, labels[:-1]), todo)[1])
    assert "finite" in str(kmeans.judge(rows, (np.full_like(centroids, np.nan), labels), todo)[1])
    assert "finite" in str(kmeans.judge(rows, (centroids[:-1], labels), todo)[1])


@pytest.mark.parametrize("seed", range(3))
def test_one_step_is_what_a_loop_over_rows_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(200, 3))
    start = matrix[:4].copy()
    members: list[list[np.ndarray]] = [[] for _ in start]
    cost = 0.0
    for row in matrix:
        away = [float(((row - centroid) ** 2).sum()) for centroid in start]
        members[away.index(min(away))].append(row)
        cost += min(away)
    after, inertia = step.one_step(matrix, start)
    assert after == pytest.approx(np.array([np.mean(own, axis=0) for own in members]))
    assert inertia == pytest.approx(cost)


def test_a_step_that_is_not_taken_and_a_byte_that_is_not_read_are_found(made: dict) -> None:
    todo = task(step.CASE, "native", made["step", "k10"], "k10")
    given = step.open_rows(todo)
    assert "off by" in str(step.judge(given, (given.start, None), todo)[1])
    assert "inertia" in str(step.judge(given, (given.after, given.inertia * 1.001), todo)[1])
    assert step.judge(given, (given.after, given.inertia), todo)[1] is None
    read = reading.read_memory(given.matrix, 2)
    assert step.judge(given, read, todo)[1] is None
    assert "add up" in str(step.judge(given, read + 1, todo)[1])
    assert read == reading.read_memory(given.matrix, 1)


def test_a_rival_that_rests_too_early_is_not_timed() -> None:
    from benchmarks.peers.passes import _difference

    with pytest.raises(ValueError, match="it rested after 3"):
        _difference(lambda moves: (None, min(moves, 3)))


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_scikit_learn(seed: int) -> None:
    from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score

    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(300, 3)) + 4 * rng.integers(0, 3, (300, 1))
    # Lloyd at rest, so that the centroids are the means of their rows.
    centroids = matrix[:4].copy()
    for _ in range(200):
        centroids, _ = step.one_step(matrix, centroids)
    labels = ((matrix[:, None] - centroids) ** 2).sum(axis=2).argmin(axis=1)
    found = sweep.figures(matrix, centroids)
    assert found["inertia"] == pytest.approx(((matrix - centroids[labels]) ** 2).sum())
    assert found["calinski_harabasz"] == pytest.approx(calinski_harabasz_score(matrix, labels))
    assert found["davies_bouldin"] == pytest.approx(davies_bouldin_score(matrix, labels))
    assert found["silhouette"] == pytest.approx(silhouette_score(matrix, labels, metric="sqeuclidean"))


@pytest.mark.parametrize("seed", range(3))
def test_davies_bouldin_of_means_is_that_of_the_labels_wherever_the_centroids_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(200, 2)) + 4 * rng.integers(0, 3, (200, 1))
    centroids = matrix[:4] + 0.3
    labels = ((matrix[:, None] - centroids) ** 2).sum(axis=2).argmin(axis=1)
    found = sweep.figures(matrix, centroids)
    assert found["davies_bouldin_of_means"] == pytest.approx(davies_bouldin_by_pairs(matrix, labels))
    assert found["davies_bouldin"] != pytest.approx(found["davies_bouldin_of_means"], rel=1e-3)


def test_sweep_is_right_and_a_wrong_figure_is_found(tmp_path: Path) -> None:
    todo = task(sweep.CASE, "native", tmp_path / "data", "blobs")
    sweep.make(todo)
    given, answer = answered(sweep.CASE, todo)
    facts, fault = sweep.judge(given, answer, todo)
    assert fault is None
    assert list(facts["inertias"]) == list(range(2, 21))
    for name, told in (("inertia", 1e9), ("davies_bouldin", 0.1), ("silhouette", 1.0), ("calinski_harabasz", 1.0)):
        wrong = [tried._replace(**{name: told}) for tried in answer]
        assert f"k = 2: {name}" in str(sweep.judge(given, wrong, todo)[1])
    # Centroids and the means of their rows differ after a fit to a sample: either Davies-Bouldin is right, no other.
    off = [tried._replace(centroids=np.asarray(tried.centroids) * 1.02) for tried in answer]
    for name in ("davies_bouldin", "davies_bouldin_of_means"):
        own = []
        for tried in off:
            figures = sweep.figures(given, tried.centroids)
            shown = {key: value for key, value in figures.items() if not key.startswith("davies")}
            own.append(tried._replace(**shown, davies_bouldin=figures[name]))
        assert sweep.judge(given, own, todo)[1] is None
        wrong = [tried._replace(davies_bouldin=tried.davies_bouldin * 1.005) for tried in own]
        assert "k = 2: davies_bouldin" in str(sweep.judge(given, wrong, todo)[1])
    wrong = [tried._replace(silhouette_euclidean=0.99) for tried in answer]
    assert "Euclidean" in str(sweep.judge(given, wrong, todo)[1])
    assert "expected k = 2, 3" in str(sweep.judge(given, answer[1:], todo)[1])


def test_the_file_and_its_truth(made: dict) -> None:
    todo = task(disk.CASE, "native", made["disk", "apart"], "apart")
    given = disk.open_file(todo)
    rows = np.load(given.path)
    assert rows.shape == (disk.SIZES["XS"], disk.FEATURES)
    assert rows.dtype == np.float32
    # No row is anywhere near a second mean, so that the truth is the only answer.
    labels = ((rows[:5_000, None] - given.means) ** 2).sum(axis=2).argmin(axis=1)
    gaps = np.linalg.norm(given.means[:, None] - given.means, axis=2)[np.triu_indices(disk.K, 1)]
    assert gaps.min() > disk.LEAST_GAP - 1
    assert np.bincount(labels, minlength=disk.K) / 5_000 == pytest.approx(given.counts / given.n, abs=0.03)
    assert given.counts.sum() == given.n
    # At size L the largest group is beyond what float32 counts.
    assert given.counts.max() / given.n * disk.SIZES["L"] > 2**24


def test_centroids_that_float32_would_give_are_found(made: dict) -> None:
    todo = task(disk.CASE, "native", made["disk", "apart"], "apart")
    given = disk.open_file(todo)
    rows = np.load(given.path)
    labels = np.concatenate(
        [((part[:, None] - given.means) ** 2).sum(axis=2).argmin(axis=1) for part in np.array_split(rows, 20)]
    )
    assert disk.judge(given, (given.means, labels), todo)[1] is None
    off = given.means * (1 + 1e-5)
    assert "off by" in str(disk.judge(given, (off, labels), todo)[1])
    assert disk.judge(given, (off, labels), task(disk.CASE, "minibatch", made["disk", "apart"], "apart"))[1] is None
    one_more = replace(given, counts=given.counts + np.eye(1, disk.K, dtype=np.int64)[0])
    assert "rows, expected" in str(disk.judge(one_more, (given.means, labels), todo)[1])
    assert "nearest" in str(disk.judge(given, (given.means, np.roll(labels, 1)), todo)[1])
    size = given.path.stat().st_size
    assert disk.judge(given, 3 * size, todo)[1] is None
    assert "bytes" in str(disk.judge(given, 2 * size, todo)[1])


def test_points_of_a_curve_are_checked(made: dict) -> None:
    todo = task(scaling.CASE, "native_step", made["scaling", "k"], "k")
    given, answer = answered(scaling.CASE, todo)
    facts, fault = scaling.judge(given, answer, todo)
    assert fault is None
    assert [much for much, _ in facts["points"]] == list(scaling.KS)
    answer[1].answer.sums[0, 0] *= 1.01
    assert "k = 5" in str(scaling.judge(given, answer, todo)[1])
    numbers = [(n * d) % 2 for n, d, _ in scaling.shapes("L", "d")]
    assert numbers == [0] * 62


def test_large_k_asks_for_as_many_clusters_as_its_data_are_called() -> None:
    assert {large_k.k_of(data) for data in large_k.CASE.data} == {50, 100, 200}
    assert large_k.CASE.contestants["sklearn_10"].solver_seeds == 1
