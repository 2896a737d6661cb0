"""Who clusters rows and tells how often all of them were read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from benchmarks.case import Task
    from benchmarks.cases.points import Rows


class Found(NamedTuple):
    """Centroids, the label of every row, and reads of all rows."""

    centroids: Any
    labels: Any
    passes: int


def native(given: Rows, task: Task) -> Found:
    """Cartera; every read is counted from outside."""
    from engine.clustering.backends import cluster_rows
    from engine.clustering.rows_array import ArrayRows

    class Counted(ArrayRows):
        """Rows that count how often all of them are read; samples drawn from them are rows of their own."""

        passes = 0

        def step(self, *arguments: Any) -> Any:
            self.passes += 1
            return super().step(*arguments)

        def assign(self, *arguments: Any) -> Any:
            self.passes += 1
            return super().assign(*arguments)

        def draw(self, *arguments: Any, **named: Any) -> Any:
            self.passes += 1
            return super().draw(*arguments, **named)

        def farthest(self, *arguments: Any) -> Any:
            self.passes += 1
            return super().farthest(*arguments)

    rows = Counted(given.matrix, threads=task.threads)
    found = cluster_rows(rows, given.k, backend="native", seed=task.solver_seed)
    # The full solver moves its starts within one call, so it tells itself how often.
    moves = found.n_iter if found.solver == "full" else 0
    return Found(found.centroids, found.labels, rows.passes + moves)


def sklearn(given: Rows, task: Task) -> Found:
    """scikit-learn, by the iterations that it tells."""
    from sklearn.cluster import KMeans

    return _told(KMeans(given.k, n_init=1, random_state=task.solver_seed).fit(given.matrix))


def intelex(given: Rows, task: Task) -> Found:
    """scikit-learn-intelex, by the iterations that it tells."""
    from sklearnex.cluster import KMeans

    return _told(KMeans(given.k, n_init=1, random_state=task.solver_seed).fit(given.matrix))


def _told(model: Any) -> Found:
    return Found(model.cluster_centers_, model.labels_, int(model.n_iter_))
