from __future__ import annotations

import re

import numpy as np
import pytest

from engine.errors import DataError
from engine.segments import identity
from engine.segments.identity import segment_ids


def some_centroids(seed: int, k: int = 6, d: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(k, d))


def test_an_id_is_a_prefix_and_six_base32_characters() -> None:
    for one in segment_ids("a1", some_centroids(0)):
        assert re.fullmatch(r"seg-[a-z2-7]{6}", one)


def test_ids_are_the_same_on_every_machine_and_release() -> None:
    # Written down once: sha256 of "a1\n1.5,-0.25" and "a1\n0,2", in base32.
    assert segment_ids("a1", np.array([[1.5, -0.25], [0.0, 2.0]])) == ["seg-lye4ye", "seg-om35cy"]


@pytest.mark.parametrize("seed", range(10))
def test_renumbering_the_clusters_moves_ids_along(seed: int) -> None:
    centroids = some_centroids(seed)
    order = np.random.default_rng(seed).permutation(6)
    ids = segment_ids("a1", centroids)
    assert segment_ids("a1", centroids[order]) == [ids[index] for index in order]


@pytest.mark.parametrize("seed", range(10))
def test_last_bit_noise_changes_no_id(seed: int) -> None:
    centroids = np.round(some_centroids(seed), 4)
    noisy = centroids * (1 + 1e-14)
    assert segment_ids("a1", noisy) == segment_ids("a1", centroids)


@pytest.mark.parametrize("noise", [1e-17, -1e-17, -0.0])
def test_noise_around_zero_changes_no_id(noise: float) -> None:
    assert segment_ids("a1", np.array([[noise, 1.0]])) == segment_ids("a1", np.array([[0.0, 1.0]]))


def test_another_spec_gives_other_ids() -> None:
    centroids = some_centroids(0)
    assert not set(segment_ids("a1", centroids)) & set(segment_ids("a2", centroids))


def test_another_centroid_gives_another_id_and_leaves_the_rest() -> None:
    centroids = some_centroids(0)
    moved = centroids.copy()
    moved[2, 0] += 0.001
    before, after = segment_ids("a1", centroids), segment_ids("a1", moved)
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, True, False, True, True, True]


def test_equal_centroids_get_different_ids() -> None:
    assert len(set(segment_ids("a1", np.ones((3, 2))))) == 3


def test_a_collision_is_resolved_the_same_way_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    # With one character for an id, 20 centroids among 32 possible ids are bound to collide.
    monkeypatch.setattr(identity, "ID_CHARACTERS", 1)
    centroids = some_centroids(1, k=20)
    ids = segment_ids("a1", centroids)
    assert len(set(ids)) == 20
    assert segment_ids("a1", centroids[::-1]) == ids[::-1]


@pytest.mark.parametrize("centroids", [np.array([1.0, 2.0]), np.array([[np.nan, 1.0]]), np.array([[np.inf]])])
def test_centroids_that_are_no_finite_matrix_are_refused(centroids: np.ndarray) -> None:
    with pytest.raises(DataError, match="finite centroids"):
        segment_ids("a1", centroids)
