"""Who clusters rows. Each returns centroids (k, d) and the label of every row (n,).

All use k-means++ (dask-ml its parallel form) and go on until they rest: scikit-learn's tolerance is the default of its
users, FAISS stops when its objective falls by less than a millionth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.case import Task
    from benchmarks.cases.points import Matrix

K = 10
MAX_ITER = 300
STARTS = 10

Found = tuple[Any, Any]


def native(rows: Matrix, task: Task) -> Found:
    """Cartera, as it comes."""
    from engine.clustering import KMeans

    model = KMeans(K, random_state=task.seed).fit(rows)
    return model.cluster_centers_, model.labels_


def sklearn_1(rows: Matrix, task: Task) -> Found:
    """scikit-learn, one start."""
    from sklearn.cluster import KMeans

    return _fitted(KMeans(K, n_init=1, random_state=task.seed), rows)


def sklearn_10(rows: Matrix, task: Task) -> Found:
    """scikit-learn, the best of ten starts."""
    from sklearn.cluster import KMeans

    return _fitted(KMeans(K, n_init=STARTS, random_state=task.seed), rows)


def subsample_20k(rows: Matrix, task: Task) -> Found:
    """Five lines of scikit-learn: ten starts on 20,000 rows, then predict."""
    return _subsample(rows, task, 20_000)


def subsample_100k(rows: Matrix, task: Task) -> Found:
    """Five lines of scikit-learn: ten starts on 100,000 rows, then predict."""
    return _subsample(rows, task, 100_000)


def _subsample(rows: Matrix, task: Task, size: int) -> Found:
    from sklearn.cluster import KMeans

    some = rows[np.random.default_rng(task.seed).choice(len(rows), size=min(size, len(rows)), replace=False)]
    model = KMeans(K, n_init=STARTS, random_state=task.seed).fit(some)
    return model.cluster_centers_, model.predict(rows)


def minibatch(rows: Matrix, task: Task) -> Found:
    """scikit-learn's MiniBatchKMeans; its labels for all rows are part of the fit."""
    from sklearn.cluster import MiniBatchKMeans

    return _fitted(MiniBatchKMeans(K, n_init=STARTS, batch_size=16_384, random_state=task.seed), rows)


def intelex_1(rows: Matrix, task: Task) -> Found:
    """scikit-learn-intelex, one start."""
    from sklearnex.cluster import KMeans

    return _fitted(KMeans(K, n_init=1, random_state=task.seed), rows)


def intelex_10(rows: Matrix, task: Task) -> Found:
    """scikit-learn-intelex, the best of ten starts."""
    from sklearnex.cluster import KMeans

    return _fitted(KMeans(K, n_init=STARTS, random_state=task.seed), rows)


def _fitted(model: Any, rows: Matrix) -> Found:
    model.fit(rows)
    return model.cluster_centers_, model.labels_


def faiss_1(rows: Matrix, task: Task) -> Found:
    """FAISS, one start."""
    return _faiss(rows, task, 1)


def faiss_10(rows: Matrix, task: Task) -> Found:
    """FAISS, the best of ten starts."""
    return _faiss(rows, task, STARTS)


def _faiss(rows: Matrix, task: Task, starts: int) -> Found:
    """Train on all rows; by default FAISS would take 256 rows a centroid and random ones to start from."""
    import faiss as library

    library.omp_set_num_threads(task.threads)
    model: Any = library.Kmeans(
        rows.shape[1],
        K,
        seed=task.seed,
        niter=MAX_ITER,
        nredo=starts,
        init_method=library.ClusteringInitMethod_KMEANS_PLUS_PLUS,
        early_stop_threshold=1e-6,
        max_points_per_centroid=2**31 - 1,
    )
    model.train(rows)
    return model.centroids, model.index.search(rows, 1)[1][:, 0]


def dask_ml(rows: Matrix, task: Task) -> Found:
    """dask-ml on as many chunks as threads; its tolerance is absolute, so it is scaled as scikit-learn's is."""
    import dask
    import dask.array as da
    from dask_ml.cluster import KMeans

    with dask.config.set(scheduler="threads", num_workers=task.threads):
        array = da.from_array(  # type: ignore[no-untyped-call]
            rows, chunks=(-(-len(rows) // task.threads), rows.shape[1]), name=False
        )
        tolerance = 1e-4 * float(np.var(rows, axis=0, dtype=np.float64).mean())
        model = KMeans(K, init="k-means||", max_iter=MAX_ITER, tol=tolerance, random_state=task.seed).fit(array)
        return model.cluster_centers_, model.predict(array).compute()
