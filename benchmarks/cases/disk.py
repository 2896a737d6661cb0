"""Rows × 8 features in a file larger than the memory that is allowed: ten clusters, and the label of every row.

The rows are float32 in a ``.npy`` file, written block after block. ``read`` is no contestant but the yardstick: three
plain reads of the file into a buffer. Before the first, *cold* call of a process the kernel is asked to forget the
file; the warm calls find of it what memory has kept, alike for all. Memory is what no file stands behind, so pages of
the file do not count.

In the data ``apart`` no two groups touch, and one has a quarter of the rows: at size L more than the 16.8 million up to
which float32 can count. While the rows are written their sums are added up in float64, group by group, so the truth is
known: means and sizes. In ``near`` the groups overlap.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.case import Case, Contestant, Task
from benchmarks.cases.points import DATA_SEED, LABEL_TOLERANCE
from benchmarks.peers import streaming

FEATURES = 8
K = 10
SIZES = {"XS": 200_000, "S": 5_000_000, "M": 20_000_000, "L": 100_000_000}
SPREAD = {"apart": 40.0, "near": 2.0}
"""Standard deviation of the groups' centres; that of the rows around them is 1."""
LARGEST_SHARE = 0.25
LEAST_GAP = 20.0
CENTROID_TOLERANCE = 1e-6
"""How far Cartera's centroids of groups that do not touch may be from float64, in standard deviations of their rows."""
CHECKED_ROWS = 1_000_000
_BLOCK_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Given:
    """A file, its shape, and what is known of the groups in it: their means (k, d) and sizes (k,)."""

    path: Path
    n: int
    d: int
    k: int
    means: NDArray[np.float64]
    counts: NDArray[np.int64]


def make(task: Task) -> None:
    """Write the file and, beside it, sums and sizes of the groups."""
    n, apart = SIZES[task.size], task.data == "apart"
    rng = np.random.default_rng([DATA_SEED, task.seed])
    centres = _centres(rng, SPREAD[task.data], LEAST_GAP if apart else 0.0)
    shares = np.append(LARGEST_SHARE, (1 - LARGEST_SHARE) * rng.dirichlet(np.full(K - 1, 20.0)))
    sums, counts = np.zeros((K, FEATURES)), np.zeros(K, np.int64)
    folder = Path(task.folder)
    folder.mkdir(parents=True)
    header = {"descr": "<f4", "fortran_order": False, "shape": (n, FEATURES)}
    with (folder / "rows.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, n, _BLOCK_ROWS):
            m = min(_BLOCK_ROWS, n - first)
            group = rng.choice(K, m, p=shares)
            rows = rng.standard_normal((m, FEATURES), dtype=np.float32)
            rows += centres.astype(np.float32)[group]
            counts += np.bincount(group, minlength=K)
            for column in range(FEATURES):
                sums[:, column] += np.bincount(group, rows[:, column], K)
            file.write(rows.data)
        file.flush()
        # Pages that are not yet on disk cannot be forgotten before the first call.
        os.fsync(file.fileno())
    np.savez(folder / "truth.npz", means=sums / counts[:, np.newaxis], counts=counts)


def _centres(rng: np.random.Generator, spread: float, gap: float) -> NDArray[np.float64]:
    while True:
        centres = rng.normal(size=(K, FEATURES)) * spread
        distances = np.linalg.norm(centres[:, np.newaxis] - centres, axis=2)[np.triu_indices(K, 1)]
        if distances.min() >= gap:
            return centres


def open_file(task: Task) -> Given:
    """Return the path and the truth; let the kernel forget the file."""
    path = Path(task.folder) / "rows.npy"
    if hasattr(os, "posix_fadvise"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    with np.load(path.with_name("truth.npz"), allow_pickle=False) as truth:
        return Given(path, SIZES[task.size], FEATURES, K, truth["means"], truth["counts"])


def judge(given: Given, answer: Any, task: Task) -> tuple[dict[str, Any], str | None]:
    """Measure the inertia over all rows; compare with the truth where it is known; check labels on the first rows."""
    from engine.clustering.quality import inertia

    if isinstance(answer, int):
        expected = streaming.READS * given.path.stat().st_size
        return {}, None if answer == expected else f"{expected} bytes were to be read; {answer} were"
    centroids, labels = np.asarray(answer[0], dtype=np.float64), np.asarray(answer[1])
    if centroids.shape != (given.k, given.d) or not np.isfinite(centroids).all():
        return {}, f"expected {given.k} finite centroids of {given.d} features; got shape {centroids.shape}"
    if labels.ndim != 1 or not 0 < len(labels) <= given.n or labels.min() < 0 or labels.max() >= given.k:
        return {}, f"expected up to {given.n} labels from 0 to {given.k - 1}; got shape {labels.shape}"
    matrix = np.load(given.path, mmap_mode="r", allow_pickle=False)
    facts: dict[str, Any] = {
        "inertia": inertia(matrix, centroids, threads=task.threads),
        "rows_labelled": len(labels),
        "largest_cluster": int(np.bincount(labels).max()),
    }
    some = matrix[: min(CHECKED_ROWS, len(labels))]
    by_labels = float(np.square(some - centroids[labels[: len(some)]]).sum())
    least = inertia(some, centroids, threads=task.threads)
    if by_labels > least * (1 + LABEL_TOLERANCE):
        return facts, f"labels are not those of the nearest centroids: {by_labels / least:.4f} times the inertia"
    if task.data != "apart":
        return facts, None
    of = np.linalg.norm(given.means[:, np.newaxis] - centroids, axis=2).argmin(axis=1)
    facts["centroids_off"] = float(np.abs(given.means - centroids[of]).max())
    if task.contestant == "native":
        if not facts["centroids_off"] <= CENTROID_TOLERANCE:
            return facts, f"a centroid is off by {facts['centroids_off']:.3g}, more than {CENTROID_TOLERANCE:g}"
        sizes = np.bincount(labels, minlength=given.k)[of]
        if not np.array_equal(sizes, given.counts):
            return facts, f"clusters of {sizes.tolist()} rows, expected {given.counts.tolist()}"
    return facts, None


CASE = Case(
    name="disk",
    title=f"a file of rows × {FEATURES} features, k = {K}: centroids and the label of every row",
    sizes={name: f"{rows:,} rows, {rows * FEATURES * 4 / 1e9:.2g} GB" for name, rows in SIZES.items()},
    data=("apart", "near"),
    contestants={
        "native": Contestant(streaming.native, ("cartera", "numba"), "Cartera", warm=2, compiles=True),
        "sklearn_sample": Contestant(
            streaming.sklearn_sample,
            ("scikit-learn",),
            "scikit-learn, best of ten starts on {sample}, then predict block after block",
            warm=1,
            sample=streaming.SAMPLE,
        ),
        "minibatch": Contestant(
            streaming.minibatch, ("scikit-learn",), "scikit-learn MiniBatchKMeans, block after block", warm=1
        ),
        "dask_ml": Contestant(
            streaming.dask_ml(2_000_000),
            ("dask-ml", "dask"),
            "dask-ml, at its pace on {sample}",
            warm=0,
            sample=2_000_000,
        ),
        "dask_ml_20m": Contestant(
            streaming.dask_ml(20_000_000),
            ("dask-ml", "dask"),
            "dask-ml, at its pace on {sample}",
            warm=0,
            sizes=(),
            sample=20_000_000,
        ),
        "read": Contestant(streaming.read, ("numpy",), "reading the file three times", warm=2),
    },
    make=make,
    open=open_file,
    judge=judge,
    quality="inertia",
    shows={"centroids_off": "centroids off by, sd", "largest_cluster": "rows of the largest cluster"},
    within=1.001,
    against="read",
    rows=SIZES,
)
