"""Who clusters rows. Each is given rows and k, and returns centroids (k, d) and the label of every row (n,).

Where nothing else is said they start by k-means++ and go on until they rest: scikit-learn's tolerance is the default of
its users, FAISS stops when its objective falls by less than a millionth. The sample trick, to search on some rows only
and then to label all of them, is open to everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.case import Task
    from benchmarks.cases.points import Matrix, Rows

MAX_ITER = 300
STARTS = 10

Found = tuple[Any, Any]
Clusterer = Callable[["Rows", "Task"], Found]


def native(given: Rows, task: Task) -> Found:
    """Cartera, as it comes."""
    from engine.clustering import KMeans

    return _fitted(KMeans(given.k, random_state=task.solver_seed), given.matrix)


def sklearn(starts: int) -> Clusterer:
    """scikit-learn on all rows."""

    def cluster(given: Rows, task: Task) -> Found:
        from sklearn.cluster import KMeans

        return _fitted(KMeans(given.k, n_init=starts, random_state=task.solver_seed), given.matrix)

    return cluster


def sklearn_sample(size: int, starts: int) -> Clusterer:
    """Five lines of scikit-learn: some starts on some rows, then predict."""

    def cluster(given: Rows, task: Task) -> Found:
        from sklearn.cluster import KMeans

        model = KMeans(given.k, n_init=starts, random_state=task.solver_seed).fit(_some(given.matrix, task, size))
        return model.cluster_centers_, model.predict(given.matrix)

    return cluster


def minibatch(batch: int, starts: int) -> Clusterer:
    """scikit-learn's MiniBatchKMeans; its labels for all rows are part of the fit."""

    def cluster(given: Rows, task: Task) -> Found:
        from sklearn.cluster import MiniBatchKMeans

        model = MiniBatchKMeans(given.k, n_init=starts, batch_size=batch, random_state=task.solver_seed)
        return _fitted(model, given.matrix)

    return cluster


def intelex(starts: int) -> Clusterer:
    """scikit-learn-intelex on all rows."""

    def cluster(given: Rows, task: Task) -> Found:
        from sklearnex.cluster import KMeans

        return _fitted(KMeans(given.k, n_init=starts, random_state=task.solver_seed), given.matrix)

    return cluster


def intelex_sample(size: int, starts: int) -> Clusterer:
    """scikit-learn-intelex: the same five lines."""

    def cluster(given: Rows, task: Task) -> Found:
        from sklearnex.cluster import KMeans

        model = KMeans(given.k, n_init=starts, random_state=task.solver_seed).fit(_some(given.matrix, task, size))
        return model.cluster_centers_, model.predict(given.matrix)

    return cluster


def faiss(init: str, starts: int, rows: int | None = None, rows_per_centroid: int | None = None) -> Clusterer:
    """FAISS, then a search for the nearest centroid of every row.

    Parameters
    ----------
    init
        ``RANDOM``, ``KMEANS_PLUS_PLUS`` or ``AFK_MC2``.
    starts
        Starts, of which it keeps the best.
    rows
        It is given so many of the rows; all of them by default.
    rows_per_centroid
        Of what it is given it takes so many times k rows; all by default. Its own default is 256.
    """

    def cluster(given: Rows, task: Task) -> Found:
        import faiss as library

        library.omp_set_num_threads(task.threads)
        model: Any = library.Kmeans(
            given.matrix.shape[1],
            given.k,
            seed=task.solver_seed,
            niter=MAX_ITER,
            nredo=starts,
            init_method=getattr(library, f"ClusteringInitMethod_{init}"),
            early_stop_threshold=1e-6,
            max_points_per_centroid=rows_per_centroid or 2**31 - 1,
        )
        model.train(given.matrix if rows is None else _some(given.matrix, task, rows))
        return model.centroids, model.index.search(given.matrix, 1)[1][:, 0]

    return cluster


def dask_ml(given: Rows, task: Task) -> Found:
    """dask-ml on as many chunks as threads; its tolerance is absolute, so it is scaled as scikit-learn's is."""
    import dask
    import dask.array as da
    from dask_ml.cluster import KMeans

    matrix = given.matrix
    with dask.config.set(scheduler="threads", num_workers=task.threads):
        array = da.from_array(  # type: ignore[no-untyped-call]
            matrix, chunks=(-(-len(matrix) // task.threads), matrix.shape[1]), name=False
        )
        tolerance = 1e-4 * float(np.var(matrix, axis=0, dtype=np.float64).mean())
        model = KMeans(given.k, init="k-means||", max_iter=MAX_ITER, tol=tolerance, random_state=task.solver_seed).fit(
            array
        )
        return model.cluster_centers_, model.predict(array).compute()


def _fitted(model: Any, matrix: Matrix) -> Found:
    model.fit(matrix)
    return model.cluster_centers_, model.labels_


def _some(matrix: Matrix, task: Task, size: int) -> Matrix:
    """Return rows drawn without repetition; numbers first, since a permutation of all would cost more than the fit."""
    rng = np.random.default_rng(task.solver_seed)
    return matrix[rng.choice(len(matrix), size=min(size, len(matrix)), replace=False, shuffle=False)]
