"""Who clusters rows in a ``.npy`` file. Each returns centroids (k, d) and the labels of the rows that it worked on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.case import Timed

if TYPE_CHECKING:
    from benchmarks.case import Task
    from benchmarks.cases.disk import Given
    from benchmarks.cases.points import Matrix

READS = 3
SAMPLE = 100_000
BLOCK_ROWS = 1_000_000

Found = tuple[Any, Any]


def native(given: Given, task: Task) -> Found:
    """Cartera, block after block."""
    from engine.clustering.backends import cluster_rows
    from engine.clustering.rows_file import FileRows

    with FileRows.npy(given.path, threads=task.threads) as rows:
        found = cluster_rows(rows, given.k, backend="native", seed=task.solver_seed)
    return found.centroids, found.labels


def read(given: Given, task: Task) -> int:
    """Read the file three times, and do nothing with it."""
    from benchmarks.peers.reading import read_file

    return sum(read_file(given.path) for _ in range(READS))


def sklearn_sample(given: Given, task: Task) -> Found:
    """scikit-learn: ten starts on rows drawn from the file, then predict block after block."""
    from sklearn.cluster import KMeans

    matrix = _mapped(given)
    drawn = np.random.default_rng(task.solver_seed).choice(given.n, min(SAMPLE, given.n), replace=False, shuffle=False)
    model = KMeans(given.k, n_init=10, random_state=task.solver_seed).fit(np.asarray(matrix[np.sort(drawn)]))
    return model.cluster_centers_, _predicted(model, given)


def minibatch(given: Given, task: Task) -> Found:
    """scikit-learn's MiniBatchKMeans, one partial fit for each million rows, then predict."""
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(given.k, n_init=10, random_state=task.solver_seed)
    for block in _blocks(given):
        model.partial_fit(block)
    return model.cluster_centers_, _predicted(model, given)


def dask_ml(most_rows: int) -> Callable[[Given, Task], Timed]:
    """dask-ml on the first rows of the file; the seconds are those of all rows at that pace."""

    def cluster(given: Given, task: Task) -> Timed:
        import dask
        import dask.array as da
        from dask_ml.cluster import KMeans

        rows = min(most_rows, given.n)
        begun = time.perf_counter()
        with dask.config.set(scheduler="threads", num_workers=task.threads):
            array = da.from_array(  # type: ignore[no-untyped-call]
                _mapped(given)[:rows], chunks=(min(BLOCK_ROWS, -(-rows // task.threads)), given.d), name=False
            )
            # Its tolerance is absolute: that of scikit-learn on a first block.
            tolerance = 1e-4 * float(np.var(_mapped(given)[:10_000], axis=0, dtype=np.float64).mean())
            model = KMeans(given.k, init="k-means||", tol=tolerance, random_state=task.solver_seed).fit(array)
            labels = model.predict(array).compute()
        return Timed((time.perf_counter() - begun) * given.n / rows, (model.cluster_centers_, labels))

    return cluster


def _mapped(given: Given) -> Any:
    return np.load(given.path, mmap_mode="r", allow_pickle=False)


def _blocks(given: Given) -> Iterator[Matrix]:
    """Yield copies of a million rows, so that what is worked on is memory and not a mapped file."""
    matrix = _mapped(given)
    for first in range(0, given.n, BLOCK_ROWS):
        yield np.array(matrix[first : first + BLOCK_ROWS])


def _predicted(model: Any, given: Given) -> Any:
    labels, done = np.empty(given.n, np.int32), 0
    for block in _blocks(given):
        labels[done : done + len(block)] = model.predict(block)
        done += len(block)
    return labels
