"""k = 2 to 20 over rows × 8 features, with inertia, Calinski-Harabasz, Davies-Bouldin and silhouette for each.

The inertia of every k is measured by one float64 function for all. For three k all figures are worked out again by
plain numpy in float64, from the contestant's own centroids, and must agree; estimates may be off by what an estimate
is. Davies-Bouldin is the one figure that centroids and the means of their rows give differently: Cartera takes the
centroids, scikit-learn the means, and after a fit to a sample they are not the same. Either is right.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.case import Case, Contestant, Task
from benchmarks.cases.points import Matrix, read_rows, write_rows
from benchmarks.peers import sweeps
from benchmarks.peers.sweeps import FEW_KS, KS, SAMPLE, STARTS

FEATURES = 8
GROUPS = 10
SIZES = {"XS": 5_000, "S": 200_000, "M": 2_000_000, "L": 5_000_000}
EXACT = 1e-4
"""How far, as a share, a figure over all rows may be from float64: rows between two centroids, float32 sums."""
SAMPLED = 0.05
"""How far a figure from a sample may be: as a share, and for silhouettes as a difference."""


def make(task: Task) -> None:
    """Write the rows."""
    write_rows(task.folder, task.data, SIZES[task.size], FEATURES, GROUPS, task.seed)


def open_rows(task: Task) -> Matrix:
    """Read the rows into memory."""
    return read_rows(task.folder, GROUPS).matrix


def judge(given: Matrix, answer: sweeps.Sweep, task: Task) -> tuple[dict[str, Any], str | None]:
    """Measure the inertia of every k, and check all figures of three of them."""
    from engine.clustering.quality import inertia

    wanted = FEW_KS if task.contestant == "sklearn_plain" else KS
    tolerance = SAMPLED if task.contestant == "sklearn_sample_only" else EXACT
    by_k = {len(tried.centroids): tried for tried in answer}
    if tuple(by_k) != wanted:
        return {}, f"expected k = {', '.join(map(str, wanted))}; got {', '.join(map(str, by_k))}"
    inertias = {k: inertia(given, np.asarray(by_k[k].centroids), threads=task.threads) for k in by_k}
    # All k count alike: a mean of inertias would be that of k = 2.
    facts = {"inertias": inertias, "few_k": _mean_log(inertias, FEW_KS)}
    if wanted == KS:
        facts["all_k"] = _mean_log(inertias, KS)
    for k in FEW_KS:
        expected = figures(given, np.asarray(by_k[k].centroids, dtype=np.float64))
        of_means = expected.pop("davies_bouldin_of_means")
        for name, value in expected.items():
            told = getattr(by_k[k], name)
            if told is None:
                continue
            rights = (value, of_means) if name == "davies_bouldin" else (value,)
            scale = 1.0 if name == "silhouette" else value
            if not min(abs(told - right) for right in rights) <= tolerance * scale:
                return facts, f"k = {k}: {name} {told:.6g}, expected {' or '.join(f'{right:.6g}' for right in rights)}"
        estimate = euclidean(given, np.asarray(by_k[k].centroids), seed=k)
        if not abs(by_k[k].silhouette_euclidean - estimate) <= SAMPLED:
            told = by_k[k].silhouette_euclidean
            return facts, f"k = {k}: Euclidean silhouette {told:.4f}, expected about {estimate:.4f}"
    return facts, None


def _mean_log(inertias: dict[int, float], ks: tuple[int, ...]) -> float:
    return math.exp(sum(math.log(inertias[k]) for k in ks) / len(ks))


def figures(matrix: NDArray[Any], centroids: NDArray[np.float64]) -> dict[str, float]:
    """Return inertia, Calinski-Harabasz, Davies-Bouldin and the silhouette of squared distances: numpy, float64.

    Every row belongs to its nearest centroid. Davies-Bouldin is there twice: with the centroids as they are, and with
    the means of their rows.

    Examples
    --------
    >>> found = figures(np.array([[0.0], [1.0], [10.0], [11.0]]), np.array([[0.5], [10.5]]))
    >>> [round(value, 6) for value in found.values()]
    [1.0, 200.0, 0.1, 0.1, 0.98995]
    """
    (n, d), k = matrix.shape, len(centroids)
    sizes, sums, squares, widths = np.zeros(k), np.zeros((k, d)), np.zeros(k), np.zeros(k)
    inertia = 0.0
    for rows, label in _labelled(matrix, centroids):
        sizes += np.bincount(label, minlength=k)
        away = np.square(rows - centroids[label]).sum(axis=1)
        inertia += float(away.sum())
        squares += np.bincount(label, away, k)
        widths += np.bincount(label, np.sqrt(away), k)
        for column in range(d):
            sums[:, column] += np.bincount(label, rows[:, column], k)
    means, mean = sums / sizes[:, np.newaxis], sums.sum(axis=0) / n
    between = float((sizes * np.square(means - mean).sum(axis=1)).sum())
    # Scatter around the means from that around the centroids, which need not be quite the same.
    scatter = squares - sizes * np.square(means - centroids).sum(axis=1)
    widths_of_means, silhouette = np.zeros(k), 0.0
    for rows, label in _labelled(matrix, centroids):
        # Mean squared distance to the rows of each cluster; in the own one a row is not its own neighbour.
        to = np.stack([np.square(rows - means[j]).sum(axis=1) + scatter[j] / sizes[j] for j in range(k)], axis=1)
        place = np.arange(len(rows)), label
        widths_of_means += np.bincount(label, np.sqrt(np.square(rows - means[label]).sum(axis=1)), k)
        own = to[place] * sizes[label] / np.maximum(sizes[label] - 1, 1)
        to[place] = np.inf
        other = to.min(axis=1)
        silhouette += float(np.where(sizes[label] > 1, (other - own) / np.maximum(own, other), 0.0).sum())
    return {
        "inertia": inertia,
        "calinski_harabasz": between / (k - 1) / (float(scatter.sum()) / (n - k)),
        "davies_bouldin": _davies_bouldin(centroids, widths / sizes),
        "davies_bouldin_of_means": _davies_bouldin(means, widths_of_means / sizes),
        "silhouette": silhouette / n,
    }


def _davies_bouldin(centres: NDArray[np.float64], widths: NDArray[np.float64]) -> float:
    apart = np.sqrt(np.square(centres[:, np.newaxis] - centres).sum(axis=2))
    np.fill_diagonal(apart, np.inf)
    return float(((widths[:, np.newaxis] + widths) / apart).max(axis=1).mean())


def _labelled(matrix: NDArray[Any], centroids: NDArray[np.float64]) -> Any:
    for first in range(0, len(matrix), 50_000):
        rows = matrix[first : first + 50_000].astype(np.float64)
        squared = np.square(rows).sum(axis=1)[:, np.newaxis] - 2 * rows @ centroids.T + np.square(centroids).sum(axis=1)
        yield rows, squared.argmin(axis=1)


def euclidean(matrix: NDArray[Any], centroids: NDArray[Any], *, seed: int) -> float:
    """Return scikit-learn's silhouette of 5,000 rows, drawn by another seed than any contestant's."""
    from sklearn.metrics import silhouette_score

    rng = np.random.default_rng([97, seed])
    some = matrix[rng.choice(len(matrix), size=min(5_000, len(matrix)), replace=False, shuffle=False)]
    label = np.concatenate([label for _, label in _labelled(some, np.asarray(centroids, dtype=np.float64))])
    return float(silhouette_score(some, label))


CASE = Case(
    name="sweep",
    title=f"k = {KS[0]} to {KS[-1]} over rows × {FEATURES} features, four figures for each",
    sizes={name: f"{rows:,} rows" for name, rows in SIZES.items()},
    data=("blobs", "rfm"),
    contestants={
        "native": Contestant(
            sweeps.native, ("cartera", "numba", "scikit-learn"), "Cartera's sweep", warm=2, compiles=True
        ),
        "sklearn_sample": Contestant(
            sweeps.sklearn_sample,
            ("scikit-learn",),
            "scikit-learn, best of ten starts on {sample}, labels and figures on all",
            warm=0,
            sample=SAMPLE,
        ),
        "sklearn_sample_only": Contestant(
            sweeps.sklearn_sample_only,
            ("scikit-learn",),
            "scikit-learn, starts and figures on {sample}, no labels for the others",
            warm=0,
            sample=SAMPLE,
        ),
        "sklearn_plain": Contestant(
            sweeps.sklearn_plain,
            ("scikit-learn",),
            f"scikit-learn, {STARTS} starts on all rows (k = {', '.join(map(str, FEW_KS))} measured, times "
            f"{len(KS)}/{len(FEW_KS)})",
            warm=0,
        ),
    },
    make=make,
    open=open_rows,
    judge=judge,
    quality="few_k",
    quality_says=f"inertia (geometric mean of k = {', '.join(map(str, FEW_KS))})",
    against="native",
    rows=SIZES,
)
