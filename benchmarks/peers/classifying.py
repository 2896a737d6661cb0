"""Who says to which segment a customer belongs, one at a time or a base at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.case import Timed

if TYPE_CHECKING:
    from benchmarks.case import Task
    from benchmarks.cases.classify import Given


FITTED_ROWS = 100_000


class Predicted(NamedTuple):
    """Labels of the rows, and the centroids that they are the nearest of."""

    labels: Any
    centroids: Any


def cartera(given: Given, task: Task) -> Timed:
    """Cartera: ``classify`` of one, ``nearest`` of a base."""
    if task.data == "one":
        from engine.bundle import load_bundle

        model = load_bundle(given.folder / "bundle")
        model.classify(given.customers[0])
        begun = time.perf_counter()
        said = [model.classify(customer) for customer in given.customers]
        seconds = time.perf_counter() - begun
        return Timed(seconds / len(said), [one.segment_id for one in said])
    from engine.clustering.nearest import nearest

    begun = time.perf_counter()
    labels = nearest(given.matrix, given.centroids, threads=task.threads)
    return Timed(time.perf_counter() - begun, Predicted(labels, given.centroids))


def cartera_two(given: Given, task: Task) -> Timed:
    """Cartera: what an assignment needs, in float64."""
    from engine.clustering.nearest import two_nearest

    begun = time.perf_counter()
    near = two_nearest(given.matrix, given.centroids, threads=task.threads)
    return Timed(time.perf_counter() - begun, Predicted(near.first, given.centroids))


def expected_segments(given: Given) -> list[str]:
    """Return the segments that the model's base way gives to the single customers."""
    import polars as pl

    from engine.bundle import load_bundle

    model = load_bundle(given.folder / "bundle")
    base = pl.DataFrame(given.customers).with_row_index("customer_id")
    return model.assign(base)["segment_id"].to_list()


def sklearn(given: Given, task: Task) -> Timed:
    """scikit-learn: a pipeline on one row, or predict."""
    if task.data == "base":
        from sklearn.cluster import KMeans

        return _predicted(KMeans, given)
    from sklearn.cluster import KMeans
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    with np.load(given.folder / "fit.npz", allow_pickle=False) as fit:
        rows, start, names = fit["rows"], fit["start"], [str(name) for name in fit["names"]]
    pipeline = make_pipeline(
        FunctionTransformer(np.log1p), StandardScaler(), KMeans(len(start), n_init=1, random_state=0)
    ).fit(rows)
    customers = given.customers[:500]
    begun = time.perf_counter()
    said = [int(pipeline.predict(np.array([[one[name] for name in names]]))[0]) for one in customers]
    return Timed((time.perf_counter() - begun) / len(said), said)


def intelex(given: Given, task: Task) -> Timed:
    """scikit-learn-intelex: predict."""
    from sklearnex.cluster import KMeans

    return _predicted(KMeans, given)


def faiss(given: Given, task: Task) -> Timed:
    """FAISS: search of the centroids."""
    import faiss as library

    library.omp_set_num_threads(task.threads)
    index = library.IndexFlatL2(given.matrix.shape[1])
    index.add(given.centroids.astype(np.float32))
    begun = time.perf_counter()
    labels = index.search(given.matrix, 1)[1][:, 0]
    return Timed(time.perf_counter() - begun, Predicted(labels, given.centroids))


def _predicted(kind: Any, given: Given) -> Timed:
    start = given.centroids.astype(np.float32)
    model = kind(len(start), init=start, n_init=1, max_iter=1).fit(given.matrix[:FITTED_ROWS])
    begun = time.perf_counter()
    labels = model.predict(given.matrix)
    # One iteration has moved its centroids: it is judged by its own.
    return Timed(time.perf_counter() - begun, Predicted(labels, np.asarray(model.cluster_centers_, np.float64)))
