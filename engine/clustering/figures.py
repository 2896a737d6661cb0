"""How good many clusterings of the same rows are, in two reads of the rows for all of them together.

A sweep measures as many models as it tries numbers of clusters, and reading a large matrix costs more than the
arithmetic on it. The first read counts and adds up the rows of every cluster; its means and spreads are all that the
second needs to give each row its silhouette in each model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.clustering.indices import davies_bouldin
from engine.clustering.rows import Centroids, FloatMatrix, IntArray, Rows, Stats
from engine.clustering.rows_array import PARTS_BYTES, ArrayRows
from engine.clustering.rows_blocks import HeldRows
from engine.clustering.rows_cuda import CudaRows
from engine.errors import DataError, DeviceError

Sums = NDArray[np.float64]

Dense = ArrayRows | HeldRows | CudaRows
"""Rows that can be measured."""

FAR = 4.0
"""Squared distance of a centroid from the mean of its rows, over their mean squared distance to the mean, beyond which
that is measured by itself: as a difference of larger numbers it would have a fifth of their precision or less."""


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """How well one set of k centroids divides the rows, each row belonging to its nearest centroid.

    Attributes
    ----------
    sizes : (k,) int64
        Rows of each cluster; 0 where no row is nearest.
    inertia : float
        Sum of the squared distances of all rows to their nearest centroid, in the square of the rows' unit.
    silhouette : float or None
        Exact squared-Euclidean mean, -1 to 1, as :func:`engine.clustering.quality.silhouette` defines it; None when
        fewer than two clusters have rows.
    davies_bouldin : float or None
        At least 0, as :func:`engine.clustering.indices.davies_bouldin` defines it; None when fewer than two clusters
        have rows, or two of them share one centroid.
    """

    sizes: IntArray
    inertia: float
    silhouette: float | None
    davies_bouldin: float | None


def measure(rows: Rows, models: Sequence[Centroids]) -> list[Figures]:
    """Measure several sets of centroids by the same figures, in two reads of the rows for all together.

    Distances have the precision of the rows, whatever is added over rows is float64. For rows of float32 the figures
    are those of :mod:`engine.clustering.quality` and :mod:`engine.clustering.indices`, which work in float64 on one
    model at a time, up to a millionth.

    Parameters
    ----------
    rows : Rows
        In memory, on a GPU, in blocks, on workers or in files; every row counts once.
    models : sequence of (k, d) arrays
        Sets of centroids in the space of the rows; k may differ. They need not be the means of their rows, and a
        cluster may have no rows.

    Returns
    -------
    list of Figures
        One for each model, in order. The same bits for any number of threads or workers, and for a model by itself;
        a GPU adds float64 in another order, with the same bits in every run on one card.

    Raises
    ------
    DataError
        The rows have weights or are sparse, a model is not a matrix with as many columns as the rows, or distances
        are not finite.
    DeviceError
        The GPU failed, and the processor may not go on.

    Notes
    -----
    The squared distances of a row x to the n rows of a cluster with mean m have the mean ``|x - m|² + v``, v being
    the mean squared distance of these rows to m. It follows from their squared distances to the centroid c:
    ``v = Σ|x - c|² / n - |m - c|²``. Where c lies so far from m that the difference would lose digits, a third read
    measures v.

    Cost: two distances for each row and cluster in the second read, one in the first, O(n d Σk).

    Examples
    --------
    >>> rows = ArrayRows([[0.0], [1.0], [10.0], [11.0]])
    >>> one, two = measure(rows, [np.array([[5.5]]), np.array([[0.5], [10.5]])])
    >>> one.inertia, one.silhouette, one.davies_bouldin
    (101.0, None, None)
    >>> two.sizes.tolist(), two.inertia, round(two.silhouette, 6), two.davies_bouldin
    ([2, 2], 1.0, 0.98995, 0.1)
    """
    held = _checked_rows(rows)
    if not isinstance(held, CudaRows):
        return _measured(held, models)
    from engine.clustering.cuda_tiles import FAILURES

    if held.failure is None:
        try:
            return _measured(held, models)
        except (*FAILURES, DeviceError) as error:
            held.give_up(error)
    # All of it, once more where the card failed midway: it may say another cluster for a row as near to two.
    return _measured(held.in_memory(), models)


def _measured(held: Dense, models: Sequence[Centroids]) -> list[Figures]:
    if not len(models):
        return []
    stats = held.step(models)
    dtype = held.dtype if isinstance(held, HeldRows) else held.matrix.dtype
    narrow = [np.asarray(model, np.float64).astype(dtype) for model in models]
    shapes = [_shape(model, found) for model, found in zip(narrow, stats, strict=True)]
    unsure = [number for number, shape in enumerate(shapes) if shape.unsure]
    if unsure:
        asked = [shapes[number] for number in unsure]
        plan = _plan([narrow[number] for number in unsure], asked, squares=True)
        squares, _ = _sums(held, plan)
        for number, shape, found in zip(unsure, asked, squares, strict=True):
            shapes[number] = shape._replace(spreads=found / np.maximum(shape.sizes, 1))
    distances, silhouettes = _sums(held, _plan(narrow, shapes, squares=False))
    return [
        Figures(
            sizes=shape.sizes,
            inertia=found.inertia,
            silhouette=float(total) / held.n if np.count_nonzero(shape.sizes) > 1 else None,
            davies_bouldin=_overlap(np.asarray(model, np.float64), shape.sizes, apart),
        )
        for model, shape, found, total, apart in zip(models, shapes, stats, silhouettes, distances, strict=True)
    ]


class _Shape(NamedTuple):
    """Where the rows of a model's clusters lie: sizes (k,), means (k, d), spreads (k,), and if these are unsure."""

    sizes: IntArray
    means: Sums
    spreads: Sums
    unsure: bool


class Plan(NamedTuple):
    """What :func:`engine.clustering.figures_kernels.compare_chunks` is told of the models; the GPU is told the same."""

    C: FloatMatrix
    means: FloatMatrix
    rests: FloatMatrix
    spreads: FloatMatrix
    others: FloatMatrix
    bounds: IntArray
    squares: bool


def _checked_rows(rows: Rows) -> Dense:
    if not isinstance(rows, ArrayRows | HeldRows | CudaRows):
        raise DataError(
            f"figures: expected dense rows in memory, in blocks or in files; got {type(rows).__name__}. "
            "Measure a dense matrix of these rows, or a sample of them."
        )
    if rows.weights is not None:
        raise DataError("figures: expected rows that count once each; got weights. Measure the rows without weights.")
    return rows


def _shape(centroids: FloatMatrix, stats: Stats) -> _Shape:
    sizes = stats.counts.astype(np.int64)
    divisor = np.maximum(sizes, 1)
    means = stats.sums / divisor[:, None]
    # The sums of squares are those of the centroids in the rows' precision.
    shifts = np.square(means - centroids).sum(axis=1) * (sizes > 0)
    spreads = np.where(sizes > 1, np.maximum(stats.sse / divisor - shifts, 0.0), 0.0)
    return _Shape(sizes, means, spreads, unsure=bool(((shifts > FAR * spreads) & (sizes > 1)).any()))


def _plan(models: Sequence[FloatMatrix], shapes: Sequence[_Shape], *, squares: bool) -> Plan:
    dtype = models[0].dtype
    sizes = np.concatenate([shape.sizes for shape in shapes])
    spreads = np.concatenate([shape.spreads for shape in shapes])
    means = np.concatenate([shape.means for shape in shapes]).ravel()
    return Plan(
        C=np.concatenate([model.ravel() for model in models]),
        means=means.astype(dtype),
        rests=(means - means.astype(dtype)).astype(dtype),
        # Nobody is the neighbour of a cluster without rows.
        spreads=(np.zeros(len(sizes)) if squares else np.where(sizes > 0, spreads, np.inf)).astype(dtype),
        others=np.where(sizes > 1, sizes / np.maximum(sizes - 1, 1), 0.0).astype(dtype),
        bounds=np.cumsum([0, *(len(model) for model in models)], dtype=np.int64),
        squares=squares,
    )


def _sums(held: Dense, plan: Plan) -> tuple[list[Sums], Sums]:
    """Return for each model the sums over its clusters' rows, and the sum of all silhouettes."""
    if isinstance(held, HeldRows):
        blocks = held.held.each(_read, plan)
    elif isinstance(held, CudaRows) and held.failure is None:
        from engine.clustering.cuda_figures import compared

        blocks = [compared(held, plan)]
    else:
        # Where the card failed in the read before this one, that was done here too.
        blocks = [_read(held.in_memory() if isinstance(held, CudaRows) else held, plan)]
    total = np.zeros(len(blocks[0]))
    for block in blocks:
        total += block
    return [total[low:high] for low, high in pairwise(plan.bounds)], total[plan.bounds[-1] :]


def _read(rows: ArrayRows, plan: Plan) -> Sums:
    from engine.clustering import figures_kernels, kernels

    width = int(plan.bounds[-1]) + len(plan.bounds) - 1
    chunks = -(-rows.n // kernels.CHUNK)
    turn = max(8, min(chunks, PARTS_BYTES // (8 * width)))
    sums = np.zeros((width, 1))
    # For the kernel, arrays that may not be written to, as those from another process, are of another type.
    given = [np.require(part, requirements="W") if isinstance(part, np.ndarray) else part for part in plan]
    with rows.running():
        for first in range(0, chunks, turn):
            parts = np.empty((min(turn, chunks - first), width))
            figures_kernels.compare_chunks(*rows.given, *given, first, parts)
            kernels.add_in_order(parts[:, :, None], sums)
    return sums[:, 0]


def _overlap(centroids: Centroids, sizes: IntArray, distances: Any) -> float | None:
    """Return the Davies-Bouldin index: a cluster's mean distance stands for all its rows."""
    there = np.flatnonzero(sizes)
    return davies_bouldin(centroids, there, distances[there] / sizes[there])
