from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from engine.clustering import backends
from engine.clustering.backends import BACKENDS, cluster
from engine.clustering.checks import distinct_rows
from engine.clustering.quality import inertia
from engine.errors import DataError, SettingError
from tests.reference.inertia_twin import squared_distances

CONF = Path(__file__).parents[2] / "conf" / "clustering"
EACH = pytest.mark.parametrize("backend", list(BACKENDS))


def groups(seed: int, n: int = 600, k: int = 4, d: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = 12.0 * np.eye(max(k, d))[:k, :d] + np.arange(k)[:, None]
    return (centres[rng.integers(0, k, n)] + rng.normal(size=(n, d))).astype(np.float32)


@EACH
def test_labels_distances_and_inertia_follow_from_the_centroids(backend):
    matrix = groups(0, n=150)
    found = cluster(matrix, 4, backend=backend, threads=1)
    squares = np.array(squared_distances(matrix, found.centroids))
    chosen = squares[np.arange(len(matrix)), found.labels]
    # A tie within float32 rounding may go either way.
    np.testing.assert_allclose(chosen, squares.min(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.distances, np.sqrt(chosen), rtol=1e-5)
    assert found.inertia == pytest.approx(squares.min(axis=1).sum(), rel=1e-6)
    assert found.inertia == pytest.approx(inertia(matrix, found.centroids), rel=1e-6)


@EACH
def test_fields_have_their_types_and_agree(backend):
    found = cluster(groups(1), 4, backend=backend, seed=3, threads=1)
    assert (found.centroids.dtype, found.centroids.shape) == (np.float64, (4, 3))
    assert (found.labels.dtype, found.distances.dtype, found.sizes.dtype) == (np.int32, np.float32, np.int64)
    assert found.sizes.tolist() == np.bincount(found.labels, minlength=4).tolist()
    assert (found.k, found.backend, found.solver, found.seed) == (4, backend, "full", 3)
    assert found.n_iter >= 1
    assert found.stop_reason
    assert found.seconds > 0


@EACH
def test_separated_groups_are_found(backend):
    # The best division of separated groups is known: it costs about one variance per feature and row.
    for seed in range(5):
        matrix = groups(seed)
        found = cluster(matrix, 4, backend=backend, seed=seed, threads=1)
        assert found.inertia < 1.15 * matrix.size


def test_backends_agree_where_there_is_one_good_answer():
    figures = [cluster(groups(2), 4, backend=backend, threads=1).inertia for backend in BACKENDS]
    assert max(figures) <= min(figures) * (1 + 1e-6)


@EACH
@pytest.mark.parametrize("k", [4, 7])
def test_same_seed_gives_the_same_bytes_on_one_and_two_threads(backend, k):
    matrix = groups(4, n=3_000, k=k, d=k)
    one, two, again = (cluster(matrix, k, backend=backend, seed=5, threads=t) for t in (1, 2, 2))
    for other in (two, again):
        assert one.centroids.tobytes() == other.centroids.tobytes()
        assert one.labels.tobytes() == other.labels.tobytes()
        assert one.distances.tobytes() == other.distances.tobytes()
        assert one.inertia == other.inertia


@EACH
def test_one_cluster_has_its_centroid_at_the_mean(backend):
    matrix = groups(5)
    found = cluster(matrix, 1, backend=backend, threads=1)
    np.testing.assert_allclose(found.centroids[0], matrix.mean(axis=0, dtype=np.float64), rtol=1e-6)
    assert found.sizes.tolist() == [len(matrix)]


@EACH
def test_as_many_clusters_as_rows(backend):
    matrix = np.array([[0, 1], [5, 2], [9, 9], [-4, 3]], np.float32)
    found = cluster(matrix, 4, backend=backend, threads=1)
    assert found.inertia == 0.0
    assert sorted(found.labels.tolist()) == [0, 1, 2, 3]


@EACH
def test_one_customer_is_one_cluster(backend):
    found = cluster(np.array([[2.0, 3.0]], np.float32), 1, backend=backend, threads=1)
    assert (found.centroids.tolist(), found.labels.tolist(), found.inertia) == ([[2.0, 3.0]], [0], 0.0)


@EACH
@pytest.mark.parametrize("k", [2, 3, 5])
def test_no_cluster_is_empty_when_rows_repeat(backend, k):
    # Five distinct rows, one of them 400 times: starts often fall on equal rows.
    for seed in range(4):
        values = np.repeat([0.0, 1.0, 2.0, 50.0, 51.0], [400, 1, 1, 1, 1])
        matrix = np.stack([values, -values], axis=1).astype(np.float32)
        found = cluster(matrix, k, backend=backend, seed=seed, threads=1)
        assert found.sizes.min() >= 1
        assert found.sizes.sum() == len(matrix)


def test_a_centroid_without_rows_gets_the_row_that_is_worst_served(monkeypatch):
    def lazy(rows, k, *, solver, seed):
        return backends._Proposal(np.zeros((k, rows.d)), 1, "full", "converged")

    monkeypatch.setattr(backends, "BACKENDS", {"lazy": lazy})
    found = cluster(np.array([[0.0], [1.0], [8.0], [9.0]], np.float32), 3, backend="lazy")
    assert found.centroids.ravel().tolist() == [0.0, 9.0, 1.0]
    assert found.sizes.tolist() == [1, 2, 1]


def test_clusters_nearer_than_float32_are_refused(monkeypatch):
    def together(rows, k, *, solver, seed):
        return backends._Proposal(rows.take(np.zeros(k, np.int64)), 1, "full", "converged")

    monkeypatch.setattr(backends, "BACKENDS", {"together": together})
    monkeypatch.setattr(backends, "check_k", lambda matrix, k: None)
    with pytest.raises(DataError, match="only 1 of 2 clusters can be told apart"):
        cluster(np.ones((3, 1), np.float32), 2, backend="together")


@EACH
@pytest.mark.parametrize("matrix", [groups(6, n=30), np.repeat(np.arange(5.0), [40, 1, 1, 1, 1])[:, None]])
def test_nothing_is_printed(backend, matrix, capfd):
    cluster(matrix, 5, backend=backend, threads=1)
    assert capfd.readouterr() == ("", "")


@EACH
def test_the_matrix_is_not_written_to(backend):
    matrix = groups(7)
    turned = np.asfortranarray(matrix)
    turned.flags.writeable = False
    before = turned.copy()
    cluster(turned, 3, backend=backend, threads=1)
    np.testing.assert_array_equal(turned, before)


@pytest.mark.parametrize("backend", ["faiss", "sklearn"])
def test_the_library_own_figure_is_told_beside_ours(backend):
    found = cluster(groups(8), 4, backend=backend, threads=1)
    assert found.reported_inertia is not None
    assert found.reported_inertia == pytest.approx(found.inertia, rel=1e-3)


@pytest.mark.parametrize("backend", ["native", "dask_ml"])
def test_others_have_no_figure_of_their_own(backend):
    assert cluster(groups(8), 4, backend=backend).reported_inertia is None


def test_threads_of_faiss_are_left_as_they_were():
    import faiss

    before = faiss.omp_get_max_threads()
    cluster(groups(0), 3, backend="faiss", threads=1)
    assert faiss.omp_get_max_threads() == before


def test_faiss_is_trained_on_every_row():
    # 256 rows a centroid, which is where FAISS stops by default, would miss the ten rows far away.
    rng = np.random.default_rng(0)
    matrix = np.concatenate([rng.normal(size=(20_000, 2)), rng.normal(size=(10, 2)) + 500]).astype(np.float32)
    found = cluster(matrix, 2, backend="faiss", threads=1)
    assert sorted(found.sizes.tolist()) == [10, 20_000]


def test_faiss_beyond_what_it_can_count_is_told(monkeypatch, caplog):
    monkeypatch.setattr(backends, "FAISS_COUNTED_ROWS", 100)
    cluster(groups(0, n=600), 4, backend="faiss", threads=1)
    assert "use backend native" in caplog.text


@EACH
@pytest.mark.parametrize(
    ("matrix", "k", "expected"),
    [
        (np.zeros((0, 2)), 2, "customers remain"),
        (np.zeros((3, 0)), 2, "at least one of each"),
        (np.zeros(3), 2, "at least one of each"),
        (np.zeros((4, 2)), 2, "all 4 customers are equal in every feature"),
        (np.ones((1, 2)), 2, "there is one customer"),
        (np.array([[0.0], [1.0], [1.0], [0.0]]), 3, "among 4 customers only 2 differ"),
        (np.arange(4.0)[:, None], 5, "Set clustering.k to at most 4"),
        (np.array([[0.0, 1.0], [math.nan, 2.0], [math.inf, 3.0]]), 2, "column 0 has 2 that are NaN or infinite"),
        (np.array([[0.0, math.nan], [-math.inf, 2.0]]), 2, "column 0 has 1, column 1 has 1 that"),
        (np.array([[0.0], [1e60]]), 2, "column 0 has 1 that"),
        (np.array([[-1e30], [0.0], [1e30]]), 1, "are beyond float32"),
    ],
)
def test_data_that_cannot_be_clustered_is_refused(backend, matrix, k, expected):
    with pytest.raises(DataError, match=expected):
        cluster(matrix, k, backend=backend, threads=1)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"k": 0}, "clustering.k: expected a whole number of at least 1; got 0"),
        ({"k": -2}, "got -2"),
        ({"k": 2.5}, "got 2.5"),
        ({"k": True}, "got True"),
        ({"backend": "fais"}, "did you mean 'faiss'"),
        ({"solver": "fast"}, "clustering.solver: expected one of auto, full, sample"),
        ({"solver": "sample", "backend": "faiss"}, "only backend native solves on a sample"),
        ({"seed": -1}, "seed: expected 0 to"),
        ({"seed": 2**31}, "seed: expected 0 to"),
        ({"threads": 0}, "clustering.threads: expected at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, expected):
    with pytest.raises(SettingError, match=expected):
        cluster(groups(0, n=20), **{"k": 2, **settings})


@pytest.mark.parametrize(
    ("matrix", "at_most", "expected"),
    [
        (np.zeros((5, 2)), 3, 1),
        (np.array([[0.0, 1.0], [1.0, 0.0]]), 5, 2),
        (np.array([[0.0], [-0.0]]), 2, 1),
        (np.arange(100.0)[:, None], 7, 7),
        (np.repeat(np.arange(3.0), 5_000)[:, None], 10, 3),  # several blocks
    ],
)
def test_distinct_rows(matrix, at_most, expected):
    assert distinct_rows(matrix.astype(np.float32), at_most) == expected


def test_distinct_rows_equals_a_set_of_tuples():
    for seed in range(10):
        matrix = np.random.default_rng(seed).integers(0, 4, (60, 3)).astype(np.float32)
        assert distinct_rows(matrix, 1_000) == len({tuple(row) for row in matrix.tolist()})


def test_configurations_name_every_backend_and_share_their_keys():
    found = {path.stem: yaml.safe_load(path.read_text()) for path in CONF.glob("*.yaml")}
    assert set(BACKENDS) <= set(found)
    for name in BACKENDS:
        rest = {key: value for key, value in found[name].items() if key != "backend"}
        assert found[name]["backend"] == name
        assert rest == {
            "k": "auto",
            "k_range": [2, 10],
            "solver": "auto",
            "threads": None,
            "max_passes": None,
            "max_seconds": None,
            "device": "auto",
        }
