"""The two nearest centroids: one customer, some and many get the same bits as the definition, whatever the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.clustering import nearest as module
from engine.clustering.nearest import BLOCK_ROWS, TwoNearest, nearest, two_nearest, two_nearest_of_one
from tests.reference import nearest_twin

UNIT = np.float32(2.0**-24)


@pytest.fixture
def by_kernel(monkeypatch):
    """Every number of rows is many."""
    import engine.clustering.nearest_kernels  # noqa: F401

    monkeypatch.setattr(module, "FEW_ROWS", 0)


def by_numpy(monkeypatch, X, C) -> TwoNearest:
    monkeypatch.setattr(module, "FEW_ROWS", len(X))
    near = two_nearest(X, C)
    monkeypatch.setattr(module, "FEW_ROWS", 0)
    return near


def assert_same(near: TwoNearest, other: TwoNearest) -> None:
    for name, one, two in zip(TwoNearest._fields, near, other, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=name, strict=True)


def of_twin(X, C) -> TwoNearest:
    first, second, low, after = zip(*nearest_twin.two_nearest(X, C), strict=True)
    return TwoNearest(np.array(first, np.int32), np.array(second, np.int32), np.array(low), np.array(after))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 2, 3, 7, 8, 9, 16, 17, 33])
def test_every_way_gives_the_bits_of_the_definition(d, dtype, by_kernel, monkeypatch):
    for place, n in enumerate([1, 31, 33, 255, 256, 257]):
        k = (d + 3 * place) % 11 + 1
        draw = np.random.default_rng([d, n])
        X, C = draw.normal(size=(n, d)).astype(dtype), draw.normal(size=(k, d))
        expected = of_twin(X, C)
        assert_same(by_numpy(monkeypatch, X, C), expected)
        for rows in (X, np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2]):
            assert_same(two_nearest(rows, C), expected)
            labels = nearest(rows, C)
            assert labels.dtype == np.uint8
            np.testing.assert_array_equal(labels, expected.first)
        for row, answer in zip(X, zip(*expected, strict=True), strict=True):
            assert two_nearest_of_one([float(x) for x in row], C) == answer


@pytest.mark.parametrize("threads", [1, 2])
def test_the_edges_of_chunks_and_of_blocks_are_crossed(threads, by_kernel, monkeypatch):
    draw = np.random.default_rng(7)
    X, C = draw.normal(size=(3 * 8192 + 100, 4)).astype(np.float32), draw.normal(size=(6, 4))
    assert len(X) > BLOCK_ROWS
    expected = by_numpy(monkeypatch, X, C)
    for rows in (X, np.asfortranarray(X)):
        assert_same(two_nearest(rows, C, threads=threads), expected)
        np.testing.assert_array_equal(nearest(rows, C, threads=threads), expected.first)


@pytest.mark.parametrize("seed", range(4))
def test_rows_that_are_equally_near_go_to_the_lower_index(seed, by_kernel, monkeypatch):
    # Whole numbers: many rows lie exactly between two, three or four centroids, some of which are on one point.
    draw = np.random.default_rng(seed)
    X = draw.integers(-3, 4, size=(600, 2)).astype(np.float32)
    C = draw.integers(-3, 4, size=(9, 2)).astype(float)
    expected = of_twin(X, C)
    assert (expected.first_distance == expected.second_distance).mean() > 0.05
    assert_same(two_nearest(X, C), expected)
    assert_same(by_numpy(monkeypatch, X, C), expected)
    np.testing.assert_array_equal(nearest(X, C), expected.first)


@pytest.mark.parametrize("offset", [0.0, 10.0, 3e4])
@pytest.mark.parametrize("seed", range(4))
def test_what_float32_cannot_tell_is_told(seed, offset, by_kernel, monkeypatch):
    # Rows as near to the middle of two centroids as float32 can write them; the order of the two squared distances is
    # lost in float32 then, and the answer is that of float64.
    draw = np.random.default_rng([seed, int(offset)])
    d = [2, 3, 8, 30][seed]
    C = draw.normal(size=(4, d)) + offset
    a, b = C[draw.integers(0, 2, 5000)], C[draw.integers(2, 4, 5000)]
    across = draw.normal(size=a.shape)
    gap = b - a
    across -= (across * gap).sum(axis=1, keepdims=True) / (gap * gap).sum(axis=1, keepdims=True) * gap
    X = ((a + b) / 2 + 0.3 * across).astype(np.float32)
    X *= 1 + draw.integers(-4, 5, size=X.shape).astype(np.float32) * UNIT
    expected = by_numpy(monkeypatch, X, C)
    narrow = C.astype(np.float32)
    seen = np.square(X[:, None, :] - narrow[None]).sum(axis=2, dtype=np.float32).argmin(axis=1)
    assert (seen != expected.first).sum() > 20
    np.testing.assert_array_equal(nearest(X, C), expected.first)
    assert_same(two_nearest(X, C), expected)


@pytest.mark.parametrize("scale", [1e-25, 1e-20, 1e18, 1e30])
def test_squares_beyond_float32_are_no_matter(scale, by_kernel, monkeypatch):
    draw = np.random.default_rng(3)
    X, C = (scale * draw.normal(size=(300, 3))).astype(np.float32), scale * draw.normal(size=(5, 3))
    expected = of_twin(X, C)
    np.testing.assert_array_equal(nearest(X, C), expected.first)
    assert_same(two_nearest(X, C), expected)
    assert_same(by_numpy(monkeypatch, X, C), expected)


@pytest.mark.parametrize("seed", range(6))
def test_the_doubt_covers_every_error_of_float32(seed):
    # Law: squared distances in float32 that differ by more than the doubt are in the order of the true ones. Random
    # rows are seldom close enough for that to bite, so here are centroids a hair apart.
    draw = np.random.default_rng(seed)
    d = [2, 3, 5, 8, 20, 60][seed]
    far = [0.0, 1.0, 10.0, 300.0, 0.1, 3.0][seed]
    base = draw.normal(size=d) + far
    C = base + draw.normal(size=(60, d)) * 10.0 ** draw.uniform(-9, 0, size=(60, 1))
    X = (base + draw.normal(size=(200, d))).astype(np.float32)
    share, least = module.doubt(C)
    exact = module.squared_distances(X.astype(np.float64), C)
    seen = np.zeros((len(X), len(C)), np.float32)
    for column in range(d):
        seen += np.square(X[:, column, None] - C.astype(np.float32)[None, :, column])
    seen = seen.astype(np.float64)
    sure = seen[:, None, :] - seen[:, :, None] > share * seen[:, None, :] + least
    assert 0.02 < sure.mean() < 0.5
    assert (exact[:, None, :] > exact[:, :, None])[sure].all()
    # Without a doubt it would not hold.
    assert not (exact[:, None, :] > exact[:, :, None])[seen[:, None, :] > seen[:, :, None]].all()


def test_the_callers_arrays_may_be_read_only_and_stay_as_they_are(by_kernel):
    X, C = np.arange(12, dtype=np.float32).reshape(6, 2), np.array([[0.0, 1.0], [9.0, 9.0]])
    kept = X.copy(), C.copy()
    X.setflags(write=False)
    C.setflags(write=False)
    assert nearest(X, C).tolist() == two_nearest(X, C).first.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(C, kept[1])


def test_a_few_customers_do_not_wait_for_numba():
    script = (
        "import sys, numpy as np; from engine.clustering.nearest import *; C = np.eye(3);"
        "X = np.zeros((100_000, 3), np.float32); two_nearest(X, C); nearest(X, C);"
        "two_nearest_of_one([0.0, 0.0, 0.0], C); print('numba' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
