"""Blocks on workers and blocks in this process give the same bytes."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from engine.clustering import rows_blocks
from engine.clustering import solve as solving
from engine.clustering.backends import cluster, cluster_rows, hold_rows
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_blocks import BlockRows
from engine.clustering.rows_dask import DaskRows
from engine.compute_dask import DaskCompute
from tests.clustering.test_rows_blocks import LAYOUTS, blobs, same


@pytest.fixture(scope="module")
def compute():
    with DaskCompute(workers=2) as opened:
        yield opened


@pytest.mark.parametrize("edges", LAYOUTS)
@pytest.mark.parametrize("seed", range(2))
def test_reads_are_equal_bit_for_bit(compute, edges, seed):
    X = blobs(seed)
    here, there = BlockRows(X, edges), DaskRows(X, edges, compute)
    assert (here.n, here.d, here.edges, here.dtype) == (there.n, there.d, there.edges, there.dtype)
    models = [X[:3].astype(np.float64), np.vstack([X[:1], X[:1] + 500]).astype(np.float64)]
    assert same(here.step(models), there.step(models))
    for model in models:
        assert here.farthest(model).tolist() == there.farthest(model).tolist()
        one, other = (rows.draw(model, 0.1, 0.01, seed) for rows in (here, there))
        assert 0 < len(one.index) < 300
        assert (one.index.tobytes(), one.squared.tobytes()) == (other.index.tobytes(), other.squared.tobytes())
        assert one.inertia == other.inertia
    labels, distances = np.empty((2, 300), np.int32), np.empty((2, 300), np.float64)
    inertias = [rows.assign(models[0], labels[i], distances[i]) for i, rows in enumerate((here, there))]
    assert inertias[0] == inertias[1]
    assert labels[0].tobytes() == labels[1].tobytes()
    assert distances[0].tobytes() == distances[1].tobytes()
    index = np.random.default_rng(seed).permutation(300)[:50]
    assert there.take(index).tobytes() == X[index].tobytes()


@pytest.mark.parametrize("solver", ["full", "sample"])
@pytest.mark.parametrize("k", [1, 6])
def test_clusterings_are_equal_bit_for_bit(compute, monkeypatch, solver, k):
    monkeypatch.setattr(rows_blocks, "BLOCK_ROWS", 1_000)
    monkeypatch.setattr(solving, "FULL_BELOW_ROWS", 2_000)
    for seed, bucket_rows in enumerate([[1_500, 0, 900, 600], [200] * 15]):
        X = blobs(seed, n=3_000)
        found = []
        for where in (None, compute):
            rows = hold_rows(X, bucket_rows, threads=1, compute=where)
            assert type(rows) is (DaskRows if where else BlockRows)
            found.append(cluster_rows(rows, k, backend="native", solver=solver, seed=seed))
        one, other = found
        assert one.centroids.tobytes() == other.centroids.tobytes()
        assert one.labels.tobytes() == other.labels.tobytes()
        assert (one.inertia, one.n_iter) == (other.inertia, other.n_iter)


@pytest.mark.parametrize("bucket_rows", [[500], [250, 0, 250]])
def test_dask_ml_finds_the_same_on_workers_as_in_threads(compute, monkeypatch, bucket_rows):
    monkeypatch.setattr(rows_blocks, "BLOCK_ROWS", 200)
    X = blobs(1, n=500, d=2)
    rows = hold_rows(X, bucket_rows, backend="dask_ml", compute=compute)
    assert isinstance(rows, DaskRows)
    there = cluster_rows(rows, 3, backend="dask_ml", seed=7)
    assert there.inertia == pytest.approx(cluster(X, 3).inertia, rel=0.02)
    for threads in (1, 2):
        here = cluster_rows(hold_rows(X, bucket_rows, backend="dask_ml", threads=threads), 3, backend="dask_ml", seed=7)
        assert here.centroids.tobytes() == there.centroids.tobytes()
        assert (here.inertia, here.n_iter) == (there.inertia, there.n_iter)


def test_few_rows_and_libraries_of_this_process_stay_here(compute, monkeypatch):
    assert isinstance(hold_rows(blobs(0), [100, 200], compute=compute), ArrayRows)
    monkeypatch.setattr(rows_blocks, "BLOCK_ROWS", 100)
    for backend in ("faiss", "sklearn"):
        assert isinstance(hold_rows(blobs(0), [100, 200], backend=backend, compute=compute), ArrayRows)


def test_blocks_lost_with_a_worker_change_nothing(compute):
    X = blobs(4)
    edges = [0, 70, 150, 300]
    models = [X[:4].astype(np.float64)]
    there = DaskRows(X, edges, compute)
    expected = BlockRows(X, edges).step(models)
    assert same(there.step(models), expected)
    os.kill(there.held.each(lambda rows: os.getpid())[0], signal.SIGKILL)
    assert same(there.step(models), expected)
