"""How rows lie in the memory of an NVIDIA GPU, and how a warp reads and measures them.

Rows lie in tiles: feature f of the row at place p of tile t is ``X[(t * d + f) * tile + p]``. A warp takes a tile in
one stretch of memory, 32 rows beside each other at a time, every lane into its own registers. The last tile is filled
up with zeros; who reads it knows how many rows count.

As on the processor, distances are sums of squared differences in the rows' own precision.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import cuda as numba_cuda
from numba import float32, float64, uint32, uint64
from numba.cuda.cudadrv.driver import CudaAPIError, LinkerError
from numba.cuda.cudadrv.error import CudaSupportError

from engine.clustering.jit import keep_carefully

log = logging.getLogger(__name__)

# Of this name, which the simulator looks for; numba's types do not know what it has.
cuda: Any = numba_cuda

# A tile of few rows uses few of a card's processors, and that is no fault.
settings: Any = numba.config
settings.CUDA_LOW_OCCUPANCY_WARNINGS = 0

RAISED_BY = (
    ("numba.cuda.cudadrv.error", ("CudaDriverError", "NvvmError", "NvvmSupportError")),
    ("cuda.core._utils.cuda_utils", ("CUDAError",)),
    ("cuda.core.experimental._utils.cuda_utils", ("CUDAError",)),
    ("cuda.bindings.nvjitlink", ("nvJitLinkError",)),
    ("cuda.bindings.nvvm", ("nvvmError",)),
)
"""Modules, and what they raise. The simulator and numba's own CUDA code have but some of them; numba-cuda launches and
links through others."""


def _failures() -> tuple[Any, ...]:
    found: list[Any] = [CudaAPIError, LinkerError, CudaSupportError]
    for module, names in RAISED_BY:
        with suppress(ImportError):
            there = import_module(module)
            found += [getattr(there, name) for name in names if hasattr(there, name)]
    return (*found, MemoryError)


FAILURES = _failures()
"""What is raised where the card, its memory, its driver or the compiler for it is the cause."""

LANES = 32
"""Threads of a block: one warp."""

MOST_FEATURES = 64
"""Of more, a row does not fit into registers."""

SHARED_BYTES = 48 * 1024
"""Shared memory of a block that every card gives without being asked."""

UNIT = 16
"""Bytes that a lane reads from shared memory at once where the compiler knows that they begin at a multiple of them."""

REGISTER_VALUES = 64
"""Values of rows that a lane holds; as many again are needed to work with them."""


def kernel(*, device: bool = False) -> Callable[[Any], Any]:
    """Compile a function for the card at its first call for each kind of argument, and keep the machine code on disk.

    ``device``: a function that kernels call.
    """

    def build(function: Any) -> Any:
        if device:
            return cuda.jit(device=True)(function)
        try:
            found = cuda.jit(cache=True)(function)
        except RuntimeError as error:
            # No folder that numba may write to; NUMBA_CACHE_DIR names one.
            log.debug("the card's code of %s is not kept: %s", function.__name__, error)
            return cuda.jit()(function)
        if hasattr(found, "_cache"):
            # The simulator keeps nothing.
            keep_carefully(found, _content())
        return found

    return build


@cache
def _content() -> str:
    """Return a stamp of all files that kernels are made from."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("cuda_*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


class Shape(NamedTuple):
    """How a warp works on rows of so many features.

    Attributes
    ----------
    rows
        Rows that a lane holds.
    tile
        Rows of a tile.
    width, slices
        When a tile is added up, ``width`` lanes stand side by side, one a feature; ``slices`` such groups share the
        rows.
    lines
        Lines of 32 sums for each cluster.
    stride
        Distance of two features of a tile in shared memory: lanes that read :data:`UNIT` bytes meet different banks.
    warps
        How many a processor works on at a time, at most: so many find registers.
    """

    rows: int
    tile: int
    width: int
    slices: int
    lines: int
    stride: int
    warps: int

    @property
    def own(self) -> int:
        """Values of a cluster in shared memory: sums of the features, weight and squared distances, a line each."""
        return LANES * (self.lines + 2)


@cache
def shape_of(d: int, itemsize: int = 4) -> Shape:
    """Return how a warp works on rows of d features, 1 to :data:`MOST_FEATURES`, of four or eight bytes.

    Examples
    --------
    >>> shape_of(8)
    Shape(rows=4, tile=128, width=8, slices=4, lines=1, stride=132, warps=16)
    """
    # Two rows at least share each value of a centroid; of many features in eight bytes only one finds room.
    rows = max(2 if itemsize == 4 else 1, min(4, REGISTER_VALUES // d))
    warps = 9 if itemsize == 8 else 16 if rows * d <= REGISTER_VALUES else 12
    width = min(LANES, 1 << (d - 1).bit_length())
    slices = LANES // width
    return Shape(rows, LANES * rows, width, slices, -(-d // LANES), LANES * rows + UNIT // itemsize, warps)


def tiled(n: int, d: int, itemsize: int = 4) -> int:
    """Return how many values n rows take in tiles."""
    tile = shape_of(d, itemsize).tile
    return -(-n // tile) * tile * d


class Places(NamedTuple):
    """Where things begin in the shared memory of a block, in units of :data:`UNIT` bytes; centroids come first.

    Attributes
    ----------
    sums
        Of the clusters, and of the rows that belong to none of them.
    values, weights, labels
        Of a tile.
    end
        Where all ends.
    """

    sums: int
    values: int
    weights: int
    labels: int
    end: int


def places_of(d: int, itemsize: int, centroids: int, window: int) -> Places:
    """Return the places for so many centroids beside the sums of ``window`` clusters.

    Examples
    --------
    >>> places_of(8, 4, 10, 10).end * UNIT
    14592
    """
    shape, ends = shape_of(d, itemsize), [0]
    for taken in (
        itemsize * d * centroids,
        8 * shape.own * (window + 1),
        itemsize * d * shape.stride,
        8 * shape.tile,
        4 * shape.tile + UNIT * shape.slices,
    ):
        ends.append(ends[-1] + -(-taken // UNIT))
    return Places(*ends[1:])


def window_of(d: int, itemsize: int, centroids: int) -> int:
    """Return how many clusters a block can add up beside so many centroids; 0 or less where they do not fit."""
    left = SHARED_BYTES - UNIT * places_of(d, itemsize, centroids, 0).end
    return left // (8 * shape_of(d, itemsize).own)


class Reading(NamedTuple):
    """Functions on the card by which a lane takes its rows of a tile.

    ``read(X, number, lane, x)``
        Fetches them: feature f of the lane's r-th row, at place 32 r + lane of the tile, to x[r * d + f].
    ``measure(x, C, low, high, best, near)``
        Finds for each of them the nearest of the centroids low..high of C (flat), of equally near ones the lower:
        squared distance and number.
    """

    read: Any
    measure: Any


@cache
def reading(d: int, double: bool) -> Reading:
    """Return the functions for rows of d features, in float64 or float32; loops over features are unrolled."""
    real: Any = float64 if double else float32
    rows, tile = shape_of(d, 8 if double else 4)[:2]

    @kernel(device=True)
    def read(X: Any, number: Any, lane: Any, x: Any) -> None:
        first = uint64(number) * uint64(d * tile) + uint64(lane)
        for r in range(rows):
            for f in range(d):
                x[r * d + f] = X[first + uint64(f * tile + r * 32)]

    @kernel(device=True)
    def measure(x: Any, C: Any, low: Any, high: Any, best: Any, near: Any) -> None:
        total = cuda.local.array(rows, real)
        for r in range(rows):
            best[r] = np.inf
            near[r] = low
        c = uint32(low)
        while c < uint32(high):
            for r in range(rows):
                total[r] = 0
            for f in range(d):
                # One centroid's value serves all rows of the lane.
                centre = C[uint64(c) * uint64(d) + uint64(f)]
                for r in range(rows):
                    gap = x[r * d + f] - centre
                    total[r] += gap * gap
            for r in range(rows):
                if total[r] < best[r]:
                    best[r] = total[r]
                    near[r] = c
            c = uint32(c + uint32(1))

    return Reading(read, measure)
