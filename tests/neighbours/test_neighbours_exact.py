from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from engine.neighbours import NeighbourIndex
from engine.neighbours.kinds import queries_at_once
from tests.reference.neighbours_twin import nearest

# Tests run side by side: threads that wait for each other would only take turns.
build = partial(NeighbourIndex.build, threads=1)


def make_rows(seed: int, n: int, d: int, *, step: float = 0.0, away: float = 0.0) -> np.ndarray:
    """Draw rows; with a step they lie on a grid and many are equally far, ``away`` puts them far from the origin."""
    rows = np.random.default_rng(seed).normal(size=(n, d))
    return ((np.round(rows / step) * step if step else rows) + away).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("d", "step", "away"), [(1, 0.5, 0), (2, 0.25, 0), (3, 0, 0), (8, 0, 1e4), (5, 1.0, 300), (17, 0, 0)]
)
def test_flat_finds_what_looking_at_every_pair_finds(seed: int, d: int, step: float, away: float) -> None:
    rows = make_rows(seed, 400, d, step=step, away=away)
    ids = np.random.default_rng(seed).permutation(4_000)[:400]
    index = build(rows, ids, kind="flat")
    queries = np.concatenate([rows[:9], make_rows(seed + 99, 10, d, step=step, away=away)])
    for k in (1, 10):
        expected, distances = nearest(queries, rows, ids, k)
        found = index.search(queries, k)
        assert found.ids.tolist() == expected
        assert found.distances.tobytes() == distances.tobytes()


@pytest.mark.parametrize("kind", ["flat", "ivf", "ivf_pq", "hnsw"])
def test_one_query_gets_the_answer_it_gets_among_others_on_any_number_of_threads(kind: str) -> None:
    rows = make_rows(0, 6_000, 3, away=300)
    index = build(rows, kind=kind, recall=0.8, seed=3)
    together = index.search(rows[:300], 5)
    for threads in (1, 2, 3):
        again = index.search(rows[:300], 5, threads=threads)
        assert (again.ids == together.ids).all()
        assert (again.distances == together.distances).all()
    alone = [index.search(rows[row : row + 1], 5) for row in range(300)]
    assert (np.concatenate([each.ids for each in alone]) == together.ids).all()
    assert (np.concatenate([each.distances for each in alone]) == together.distances).all()


def test_where_all_are_on_one_point_the_lowest_ids_answer() -> None:
    rows = np.ones((300, 3), np.float32)
    ids = np.arange(300)[::-1].copy()
    found = build(rows, ids, kind="flat").search(rows[:2], 4, exclude=[1, 299])
    assert found.ids.tolist() == [[0, 2, 3, 4], [0, 1, 2, 3]]
    assert not found.distances.any()


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw", "ivf_pq"])
def test_where_there_are_fewer_the_rest_is_minus_one_at_infinity(kind: str) -> None:
    rows = make_rows(1, 300, 2)
    index = build(rows, kind=kind)
    index.remove(np.arange(3, 300))
    found = index.search(rows[:2], 5, exclude=[0, -1])
    assert found.ids[:, 3:].tolist() == [[-1, -1], [-1, -1]]
    assert sorted(found.ids[0, :2].tolist()) == [1, 2]
    assert found.ids[0, 2] == -1
    assert sorted(found.ids[1, :3].tolist()) == [0, 1, 2]
    assert np.isinf(found.distances[found.ids < 0]).all()
    assert np.isfinite(found.distances[found.ids >= 0]).all()
    index.remove([0, 1, 2])
    assert (index.n, index.search(rows[:1], 2).ids.tolist()) == (0, [[-1, -1]])
    index.add(rows[:1], [7])
    assert index.search(rows[:1], 2).ids.tolist() == [[7, -1]]


def test_the_rows_that_are_given_stay_as_they_are() -> None:
    rows = make_rows(2, 200, 3)
    rows.setflags(write=False)
    before = rows.copy()
    index = build(rows, kind="hnsw")
    index.remove([5])
    index.search(rows, 3)
    assert (rows == before).all()


def test_many_queries_far_from_the_origin_lose_no_digits() -> None:
    # So many at once would be sought by the expanded square, in which little is left of these distances.
    rows = make_rows(3, 2_000, 8, away=400)
    expected, distances = nearest(rows[:10], rows, np.arange(2_000), 60)
    found = build(rows, kind="flat").search(np.tile(rows[:10], (1_700, 1)), 60, threads=1)
    assert (found.ids.reshape(1_700, 10, 60) == expected).all()
    assert (found.distances.reshape(1_700, 10, 60) == distances).all()


def test_one_query_far_from_the_origin_loses_no_digits() -> None:
    # A single one too, among so many rows, by several threads: alone, or as the one that is left.
    rows = make_rows(3, 20_000, 3, away=200)
    expected, _ = nearest(rows[:6], rows, np.arange(20_000), 60)
    index = build(rows, kind="flat")
    at_once = queries_at_once(3)
    for row in range(6):
        assert index.search(rows[row : row + 1], 60, threads=2).ids[0].tolist() == expected[row]
        assert index.search(rows[[*range(100, 100 + at_once), row]], 60, threads=2).ids[-1].tolist() == expected[row]


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_a_handful_of_rows_can_be_indexed_too(kind: str) -> None:
    for n in (1, 2, 5):
        rows = make_rows(n, n, 3)
        index = build(rows, kind=kind)
        expected, _ = nearest(rows, rows, np.arange(n), n)
        assert index.search(rows, n + 1).ids.tolist() == [[*ids, -1] for ids in expected]
