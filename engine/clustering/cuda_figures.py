"""Figures of clusterings on an NVIDIA GPU: what :mod:`engine.clustering.figures_kernels` does on the processor.

A block of threads is one warp. A lane holds its rows of a tile in registers and compares them with every cluster of
every model, with the arithmetic of the processor: a row is of the cluster that every other read on the card gives it.
What the lane finds it adds up in a column of shared memory that no other lane touches: a line of 32 float64 for each
cluster and each model, and one for rows that do not count; no atomics. A block writes its sums once, at its end, and
the blocks are added in order: the same bits in every run with the same number of blocks.

Clusters are described one after the other: for each feature the centroid, the mean, and what the mean in the rows'
precision has rounded off; then the spread and n / (n − 1). They lie in shared memory before the sums; a model too large
for that is read through the card's cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import complex128, float32, float64, int32, uint32, uint64
from numpy.typing import NDArray

from engine.clustering import cuda_tiles
from engine.clustering.cuda_moves import queue_sum
from engine.clustering.cuda_tiles import LANES, UNIT, cuda, kernel, reading, shape_of

if TYPE_CHECKING:
    from engine.clustering.cuda_parts import Part
    from engine.clustering.figures import Plan
    from engine.clustering.rows_cuda import CudaRows

LINE_BYTES = 8 * LANES
"""Of a cluster, or a model: a float64 for each lane."""

TOGETHER_SHARE = 3
"""Models are compared together in this part of a block's shared memory: then a processor has room for a dozen warps,
and to read the rows once more is little beside comparing them."""


class Kernels(NamedTuple):
    """A kernel that finds the clusters in shared memory (``beside`` the sums), and one that does not (``far``).

    Each is launched with blocks of :data:`LANES` threads as ``kernel(X, n, clusters, bounds, low, high, squares,
    parts)``. Model m has the clusters bounds[m]..bounds[m + 1], K together, of which low..high are added up. Block b
    writes to parts[b] (high − low + models,): for each of these the distances of its rows to its centroid, or with
    ``squares`` their squared distances to its mean, for which spreads are 0; then for each model the rows' silhouettes.
    """

    beside: Any
    far: Any


@cache
def kernels_of(d: int, double: bool) -> Kernels:
    """Return the kernels for rows of d features, in float64 or float32; loops over features are unrolled."""
    real: Any = float64 if double else float32
    read = reading(d, double).read
    rows, tile = shape_of(d, 8 if double else 4)[:2]
    narrow = np.float64 if double else np.float32
    per_unit = 2 if double else 4
    record, held = _record(d, 16 // per_unit), rows * d

    @kernel(device=True)
    def compare(
        x: Any, clusters: Any, low: Any, high: Any, best: Any, near: Any, own: Any, neighbour: Any
    ) -> None:  # fmt: skip
        """Find each row's nearest centroid, and its mean squared distance to the rows of its and the next cluster."""
        total = cuda.local.array(rows, real)
        apart = cuda.local.array(rows, real)
        for r in range(rows):
            best[r] = np.inf
            near[r] = low
            own[r] = np.inf
            neighbour[r] = np.inf
        c = uint32(low)
        while c < uint32(high):
            at = uint64(c) * uint64(record)
            spread = clusters[at + uint64(3 * d)]
            for r in range(rows):
                total[r] = 0
                apart[r] = spread
            for f in range(d):
                # One cluster's values serve all rows of the lane.
                centre = clusters[at + uint64(3 * f)]
                mean = clusters[at + uint64(3 * f + 1)]
                rest = clusters[at + uint64(3 * f + 2)]
                for r in range(rows):
                    gap = x[r * d + f] - centre
                    off = (x[r * d + f] - mean) - rest
                    total[r] += gap * gap
                    apart[r] += off * off
            for r in range(rows):
                left = apart[r]
                if total[r] < best[r]:
                    # Where the row changes sides, the cluster that it leaves is a neighbour.
                    left = own[r]
                    own[r] = apart[r]
                    best[r] = total[r]
                    near[r] = c
                if left < neighbour[r]:
                    neighbour[r] = left
            c = uint32(c + uint32(1))

    @kernel(device=True)
    def width_of(own: Any, neighbour: Any, share: Any) -> Any:
        """Return a row's silhouette; ``share`` is n / (n − 1) of its n neighbours, or 0 for a row alone."""
        # The mean over all rows of the cluster counts the row's zero distance to itself.
        inside = own * share
        greater = neighbour if inside < neighbour else inside
        width = real(0)
        if share >= real(1) and greater > real(0):
            # Infinite is the distance to the next cluster where there is none, or beyond the rows' precision.
            width = (neighbour - inside) / greater if greater < real(np.inf) else real(np.nan)
        return width

    def compiled(beside: bool) -> Any:
        @kernel()
        def add_up(X: Any, n: Any, clusters: Any, bounds: Any, low: Any, high: Any, squares: Any, parts: Any) -> None:
            lane = cuda.threadIdx.x
            models, window = bounds.size - 1, high - low
            values = window + models
            memory = cuda.shared.array(0, complex128)
            described = memory.view(narrow) if beside else clusters
            sums = memory[clusters.size // per_unit if beside else 0 :].view(np.float64)
            for q in range(lane, (values + 1) * 32, 32):
                sums[q] = 0.0
            if beside:
                for q in range(lane, clusters.size, 32):
                    described[q] = clusters[q]
            mine = sums[lane:]
            x = cuda.local.array(held, real)
            best = cuda.local.array(rows, real)
            near = cuda.local.array(rows, uint32)
            own = cuda.local.array(rows, real)
            neighbour = cuda.local.array(rows, real)
            lowest, most = int32(low), int32(window)
            cuda.syncthreads()
            for number in range(cuda.blockIdx.x, (n + tile - 1) // tile, cuda.gridDim.x):
                read(X, number, lane, x)
                # Beyond the last row are zeros.
                left = int32(tile) if (number + 1) * tile <= n else int32(n - number * tile)
                for model in range(models):
                    compare(x, described, bounds[model], bounds[model + 1], best, near, own, neighbour)
                    silhouettes = 0.0
                    for r in range(rows):
                        share = described[uint64(near[r]) * uint64(record) + uint64(3 * d + 1)]
                        g = int32(int32(near[r]) - lowest)
                        if r * 32 + lane < left:
                            silhouettes += float64(width_of(own[r], neighbour[r], share))
                        else:
                            g = most
                        if g < 0 or g >= most:
                            # The line of what does not count.
                            g = int32(values)
                        mine[uint64(g) * uint64(32)] += float64(own[r] if squares else real(math.sqrt(best[r])))
                    mine[uint64(window + model) * uint64(32)] += silhouettes
            cuda.syncthreads()
            for q in range(lane, values, 32):
                total = 0.0
                for s in range(32):
                    total += sums[q * 32 + s]
                parts[cuda.blockIdx.x, q] = total

        return add_up

    return Kernels(compiled(True), compiled(False))


def compared(rows: CudaRows, plan: Plan) -> NDArray[np.float64]:
    """Return what :func:`engine.clustering.figures_kernels.compare_chunks` adds up over all rows, from the card.

    Parameters
    ----------
    rows : CudaRows
        Without weights.
    plan : Plan
        K clusters of several models.

    Returns
    -------
    ndarray of float64, shape (K + models,)
        For each cluster the distances of its rows to its centroid, or with ``squares`` their squared distances to its
        mean; then for each model the rows' silhouettes.

    Raises
    ------
    Exception
        One of :data:`engine.clustering.cuda_tiles.FAILURES`: the card failed. The caller decides who goes on.

    Notes
    -----
    Memory of the card: (3 d + 2) values for each cluster, and 8 bytes for each block, cluster and model of one launch,
    a few MB; nothing for each row.
    """
    d = rows.d
    clusters = cuda.to_device(_described(plan, d))
    queue = list(_launches(plan.bounds, clusters, d, rows.matrix.itemsize))
    # For each place that parts take in turn: what blocks have found, and what is added up.
    room: dict[int, Any] = {}
    sums_at: dict[int, Any] = {}
    # Memory is given back afterwards: that would wait for everything that is queued.
    with cuda.defer_cleanup():
        for part in rows.parts():
            _queue(rows, part, queue, plan.squares, room, sums_at)
    K = int(plan.bounds[-1])
    sums = np.zeros(K + len(plan.bounds) - 1)
    # Queued behind one another; the host waits here for the first time.
    for place in sorted(sums_at):
        found = sums_at[place].copy_to_host()
        for launch in queue:
            own, found = found[: launch.values], found[launch.values :]
            window = launch.high - launch.low
            first = launch.offset + launch.low
            sums[first : first + window] += own[:window]
            if launch.low == 0:
                # The clusters of a model come in turns, each of them with all its silhouettes.
                first = K + launch.first_model
                sums[first : first + launch.values - window] += own[window:]
    return sums


def _queue(
    rows: CudaRows, part: Part, queue: list[_Launch], squares: bool, room: dict[int, Any], sums_at: dict[int, Any]
) -> None:
    """Queue all launches for some of the rows, which add to the values of their place one after the other."""
    kernels = kernels_of(rows.d, rows.matrix.dtype == np.float64)
    blocks = [rows.reads.blocks_for(part.n, launch.room) for launch in queue]
    further = part.place in sums_at
    if not further:
        # What is queued in the place of a part is done one after the other, and parts do not grow.
        most = max(several * launch.values for several, launch in zip(blocks, queue, strict=True))
        room[part.place] = cuda.device_array(most, np.float64)
        sums_at[part.place] = cuda.device_array(sum(launch.values for launch in queue), np.float64)
    first = 0
    for several, launch in zip(blocks, queue, strict=True):
        run = kernels.beside if launch.beside else kernels.far
        own = room[part.place][: several * launch.values].reshape(several, launch.values)
        run[several, LANES, part.stream, launch.room](
            part.X, part.n, launch.clusters, launch.bounds, launch.low, launch.high, squares, own
        )
        queue_sum(own, sums_at[part.place][first : first + launch.values], part.stream, further=further)
        first += launch.values


class _Launch(NamedTuple):
    """Models from ``first_model`` on that are compared together, and the clusters low..high of theirs that count.

    ``offset`` is the number of their first cluster among those of all models; clusters and bounds are on the card.
    """

    clusters: Any
    bounds: Any
    first_model: int
    offset: int
    low: int
    high: int
    beside: bool
    values: int
    room: int


def _launches(bounds: NDArray[np.int64], clusters: Any, d: int, itemsize: int) -> Iterator[_Launch]:
    """Yield the launches that compare all rows with all models."""
    record, last_model = _record(d, itemsize), len(bounds) - 1
    first = 0
    while first < last_model:
        last = first + 1
        while last < last_model:
            more = _shared_bytes(int(bounds[last + 1] - bounds[first]), last + 1 - first, d, itemsize, beside=True)
            if more > cuda_tiles.SHARED_BYTES // TOGETHER_SHARE:
                break
            last += 1
        own = bounds[first : last + 1] - bounds[first]
        K, models = int(own[-1]), last - first
        beside = _shared_bytes(K, models, d, itemsize, beside=True) <= cuda_tiles.SHARED_BYTES
        window = K if beside else cuda_tiles.SHARED_BYTES // LINE_BYTES - models - 1
        for low in range(0, K, window):
            high = min(low + window, K)
            yield _Launch(
                clusters=clusters[int(bounds[first]) * record : int(bounds[last]) * record],
                bounds=cuda.to_device(own),
                first_model=first,
                offset=int(bounds[first]),
                low=low,
                high=high,
                beside=beside,
                values=high - low + models,
                room=_shared_bytes(high - low, models, d, itemsize, beside=beside),
            )
        first = last


def _record(d: int, itemsize: int) -> int:
    """Return how many values describe a cluster: whole units, of which a lane reads one at a time."""
    return -(-(3 * d + 2) * itemsize // UNIT) * UNIT // itemsize


def _shared_bytes(clusters: int, models: int, d: int, itemsize: int, *, beside: bool) -> int:
    """Return the shared memory of a block: clusters where they are found there, and behind them the lines of sums."""
    return LINE_BYTES * (clusters + models + 1) + beside * itemsize * _record(d, itemsize) * clusters


def _described(plan: Plan, d: int) -> NDArray[np.floating[Any]]:
    """Return the clusters as the kernels read them, flat."""
    by_feature = np.stack([plan.C, plan.means, plan.rests], axis=1).reshape(-1, 3 * d)
    described = np.zeros((len(by_feature), _record(d, plan.C.itemsize)), plan.C.dtype)
    described[:, : 3 * d] = by_feature
    described[:, 3 * d], described[:, 3 * d + 1] = plan.spreads, plan.others
    return described.ravel()
