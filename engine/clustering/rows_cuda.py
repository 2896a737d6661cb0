"""Rows in the memory of an NVIDIA GPU, or passing through it; see :mod:`engine.clustering.cuda_tiles`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.clustering.cuda_fallback import Fallible, or_in_memory
from engine.clustering.cuda_launches import launches
from engine.clustering.cuda_parts import STREAMED_BYTES, Part, Sender, bytes_to_stay
from engine.clustering.cuda_reads import Reads
from engine.clustering.rows import Centroids, Drawn, FloatMatrix, IntArray, Stats
from engine.clustering.rows_array import ArrayRows
from engine.errors import DataError, DeviceError

log = logging.getLogger(__name__)

MOVES_AT_ONCE = 8
"""Moves that are queued before the host asks who has come to rest: a start that has moves no more."""

TAKEN_FROM = 4096
"""Rows from which on they are taken from the card: fewer are not worth a launch."""

SEARCHED_FROM = 60_000
"""Rows of a sample from which on starts are moved on the card: on fewer, launches cost more than the moves."""

SHARE_FOR_SAMPLE = 0.5
"""Of the memory that the card has left: reads take some too."""


class CudaRows(Fallible):
    """Rows that a GPU works on.

    What fits is sent once and stays; what does not is sent anew for every read, in parts: clusters of one part are
    added up while the next is on its way. Results do not depend on that but for the order in which float64 sums are
    added, and are the same in every run on the same card.

    Parameters
    ----------
    rows : ArrayRows
        float32 or float64, finite, of at most :data:`engine.clustering.cuda_tiles.MOST_FEATURES` features.
    memory_bytes : int
        Memory of the card that may be used, at least that of four parts.
    processors, shared_bytes : int
        Its multiprocessors, and the shared memory of each: as many warps are begun as run at a time, so that none waits
        for a second turn.
    streamed_bytes : int
        Size of a part.
    fall_back : bool
        Whether the processor goes on where the card fails; otherwise that is an error.
    of : CudaRows, optional
        Those that these are a sample of; see :meth:`beside`.

    Raises
    ------
    DeviceError
        More features than a kernel holds, or too little memory for four parts; the card failed or the centroids are too
        many, here or in a method that reads the rows, and ``fall_back`` is off.
    DataError
        As :class:`ArrayRows`; where the rows stay on the card, by the first method that reads them: so many need not be
        waited for before work that does not need them.
    """

    def __init__(
        self,
        rows: ArrayRows,
        *,
        memory_bytes: int,
        processors: int,
        shared_bytes: int = 64 * 1024,
        streamed_bytes: int = STREAMED_BYTES,
        fall_back: bool = False,
        of: CudaRows | None = None,
    ) -> None:
        from engine.clustering.cuda_tiles import FAILURES, MOST_FEATURES

        if rows.d > MOST_FEATURES:
            raise DeviceError(
                f"clustering.device=cuda: expected at most {MOST_FEATURES} features, which a kernel holds in "
                f"registers; got {rows.d}. Set clustering.device=auto or cpu, or take fewer features."
            )
        super().__init__(rows, fall_back=fall_back, of=of)
        self._item = rows.matrix.dtype.itemsize
        self._card: dict[str, Any] = {"processors": processors, "shared_bytes": shared_bytes, "fall_back": fall_back}
        weighted = rows.weights is not None
        self.reads = Reads(rows.d, rows.matrix.dtype, weighted, processors=processors, shared_bytes=shared_bytes)
        row_bytes = rows.d * self._item + 8 * weighted
        self._sender = Sender(rows, max(1, streamed_bytes // row_bytes))
        self._kept: Part | None = None
        self._seen_finite = False
        if bytes_to_stay(rows, streamed_bytes) <= memory_bytes:
            try:
                self._kept = self._sender.whole()
            except FAILURES as error:
                self.give_up(error)
        elif 4 * streamed_bytes > memory_bytes:
            raise DeviceError(
                f"clustering.device=cuda: expected {4 * streamed_bytes / 2**20:,.0f} MiB of free memory on the card, "
                f"to send the rows in parts; got {memory_bytes / 2**20:,.0f} MiB. Free some, or use the CPU."
            )
        else:
            rows.check()

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.host.n

    @property
    def d(self) -> int:
        """Number of features."""
        return self.host.d

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """Weight of each row (n,), or None when every row counts once."""
        return self.host.weights

    @property
    def threads(self) -> int | None:
        """Threads of this process for what is done here; None for all cores."""
        return self.host.threads

    @property
    def matrix(self) -> FloatMatrix:
        """The rows as they are held in this process."""
        return self.host.matrix

    @property
    def names(self) -> Sequence[str] | None:
        """Column names, for messages."""
        return self.host.names

    @property
    def resident(self) -> bool:
        """Whether all rows stay on the card."""
        return self._kept is not None

    def moves_starts(self, k: int) -> bool:
        """Say whether :meth:`settle` can move starts of k centroids: what they shift by must fit into shared memory."""
        from engine.clustering.cuda_tiles import SHARED_BYTES

        return self._kept is not None and 8 * k * self.d <= SHARED_BYTES

    def forget(self) -> None:
        """Give back what is kept on the card."""
        self._kept = None
        self._sender.release()
        self.reads.forget()

    def beside(self, sample: ArrayRows) -> Searchable:
        """Hold a sample of these rows on the card too, if it is so large that this pays and there is room for it."""
        from engine.clustering.cuda_tiles import FAILURES, cuda

        if self.failure is not None or sample.n < SEARCHED_FROM:
            return sample
        try:
            room = SHARE_FOR_SAMPLE * cuda.current_context().get_memory_info()[0]
        except FAILURES as error:
            self.give_up(error)
            return sample
        needed = bytes_to_stay(sample)
        if needed > room:
            told = (needed / 2**20, room / 2**20)
            log.info("a sample is searched on the CPU: it needs %.0f MiB, and the GPU has %.0f MiB to spare", *told)
            return sample
        return CudaRows(sample, memory_bytes=needed, of=self, **self._card)

    @or_in_memory
    def take(self, index: IntArray) -> FloatMatrix:
        """Return the rows with these numbers, (m, d), as a copy; see :meth:`ArrayRows.take`.

        Many come from the card, where they lie nearer to each other than in a large matrix; before the first read,
        while the rows may still be on their way, all come from the host.
        """
        from engine.clustering.cuda_moves import gather
        from engine.clustering.cuda_tiles import cuda, shape_of

        part = self._kept
        if part is None or not self._seen_finite or len(index) < TAKEN_FROM:
            taken = self.host.take(index)
            if not np.isfinite(taken).all():
                self.host.check()
            return taken
        rows, threads = cuda.device_array(len(index) * self.d, self.matrix.dtype), 256
        gather[-(-rows.size // threads), threads, part.stream](
            part.X, self.d, shape_of(self.d, self._item).tile, cuda.to_device(index), rows
        )
        return np.asarray(rows.copy_to_host()).reshape(-1, self.d)

    def distinct(self) -> ArrayRows:
        """Return the different rows with their weights; see :meth:`ArrayRows.distinct`."""
        return self.host.distinct()

    def seeds(self, shares: NDArray[np.float64]) -> IntArray:
        """Draw seeds; see :meth:`ArrayRows.seeds`."""
        return self.host.seeds(shares)

    def breathe(self, *given: Any, **named: Any) -> tuple[NDArray[np.float64], IntArray]:
        """Better solutions; see :meth:`ArrayRows.breathe`."""
        return self.host.breathe(*given, **named)

    @or_in_memory
    def step(self, models: Sequence[Centroids]) -> list[Stats]:
        """Measure several sets of centroids in one read; see :meth:`ArrayRows.step`.

        Where their sums do not fit into shared memory together, the rows are read on the card as often as needed.
        """
        if not len(models):
            return []
        sums, bounds = self._added_up(models, self.parts())
        self.host.check_total(sums[:, self.d + 1])
        return [
            Stats(counts=sums[low:high, self.d], sums=sums[low:high, : self.d], sse=sums[low:high, self.d + 1])
            for low, high in pairwise(bounds)
        ]

    def _added_up(self, models: Sequence[Centroids], parts: Iterable[Part]) -> tuple[NDArray[np.float64], IntArray]:
        """Return for each cluster of all models sums, weight and squared distances, and where each model begins."""
        from engine.clustering.cuda_tiles import cuda

        d = self.d
        bounds = np.cumsum([0, *(len(model) for model in models)], dtype=np.int64)
        C = [self.host.narrow(model) for model in models]
        queue = list(launches(bounds, cuda.to_device(np.concatenate(C)), d, self._item))
        # One for each place that parts take in turn: what is queued there adds to it.
        added: dict[tuple[int, int], Any] = {}
        # Memory is given back afterwards: that would wait for everything that is queued.
        with cuda.defer_cleanup():
            for part in parts:
                for number, launch in enumerate(queue):
                    key = (part.place, number)
                    further = key in added
                    if not further:
                        added[key] = cuda.device_array((launch.high - launch.low) * (d + 2), np.float64)
                    self.reads.add_up(part, launch, added[key], further=further)
        sums = np.zeros((int(bounds[-1]), d + 2))
        # Queued behind one another; the host waits here for the first time.
        for (_, number), found in added.items():
            launch = queue[number]
            sums[launch.low : launch.high] += found.copy_to_host().reshape(-1, d + 2)
        return sums, bounds

    @or_in_memory
    def farthest(self, centroids: Centroids) -> IntArray:
        """Return for each centroid its farthest row; see :meth:`ArrayRows.farthest`."""
        from engine.clustering.cuda_tiles import LANES, cuda

        k = len(centroids)
        C = cuda.to_device(self.host.narrow(centroids))
        best, row = np.full(k, -1.0), np.full(k, -1, dtype=np.int64)
        for part in self.parts():
            blocks = self.reads.blocks_for(part.n)
            far = cuda.device_array((blocks, k, LANES), np.float64)
            far_row = cuda.device_array((blocks, k, LANES), np.int64)
            self.reads.kernels.farthest[blocks, LANES, part.stream](part.X, part.n, part.weights, C, far, far_row)
            squared = far.copy_to_host().transpose(1, 0, 2).reshape(k, -1)
            numbers = far_row.copy_to_host().transpose(1, 0, 2).reshape(k, -1)
            # The first of equally far ones, whichever lane had it.
            numbers = np.where(squared == squared.max(axis=1, keepdims=True), numbers, np.iinfo(np.int64).max)
            better = squared.max(axis=1) > best
            row[better] = part.first + numbers.min(axis=1)[better]
            best[better] = squared.max(axis=1)[better]
        return row

    @or_in_memory
    def draw(self, centroids: Centroids, even: float, per_square: float, seed: int) -> Drawn:
        """Draw rows by their squared distance; see :meth:`ArrayRows.draw`: the same rows but for rounding."""
        from engine.clustering.cuda_tiles import LANES, cuda

        C = cuda.to_device(self.host.narrow(centroids))
        index, squared, inertia = [], [], 0.0
        for part in self.parts():
            blocks = self.reads.blocks_for(part.n)
            room = min(part.n, max(4_096, part.n // 16))
            while True:
                found = cuda.to_device(np.zeros(1, dtype=np.int64))
                place = cuda.device_array(room, np.int64)
                distance = cuda.device_array(room, self.matrix.dtype)
                parts = cuda.device_array((blocks, LANES), np.float64)
                self.reads.kernels.draw[blocks, LANES, part.stream](
                    part.X, part.n, part.weights, C, float(even), float(per_square), np.uint64(seed), part.first,
                    found, place, distance, parts,
                )  # fmt: skip
                drawn = int(found.copy_to_host()[0])
                if drawn <= room:
                    break
                # More than was thought: once more, with room for all.
                room = drawn
            numbers, own = place.copy_to_host()[:drawn], distance.copy_to_host()[:drawn]
            order = np.argsort(numbers)
            index.append(part.first + numbers[order])
            squared.append(own[order].astype(np.float64))
            inertia += float(np.add.reduce(parts.copy_to_host().ravel()))
        self.host.check_total(inertia)
        return Drawn(np.concatenate(index), np.concatenate(squared), inertia)

    @or_in_memory
    def assign(
        self,
        centroids: Centroids,
        labels_out: NDArray[np.int32],
        distances_out: NDArray[np.floating[Any]] | None = None,
    ) -> float:
        """Write each row's nearest centroid and its Euclidean distance; return the inertia."""
        from engine.clustering.cuda_tiles import LANES, cuda

        distances = np.empty(0, dtype=np.float32) if distances_out is None else distances_out
        if labels_out.shape != (self.n,) or distances.shape not in ((self.n,), (0,)):
            raise DataError(f"assign: expected room for {self.n} rows; got {labels_out.shape} and {distances.shape}.")
        C = cuda.to_device(self.host.narrow(centroids))
        inertia = 0.0
        for part in self.parts():
            blocks = self.reads.blocks_for(part.n)
            labels = cuda.device_array(part.n, np.int32)
            squared = cuda.device_array(part.n, self.matrix.dtype)
            parts = cuda.device_array((blocks, LANES), np.float64)
            self.reads.kernels.assign[blocks, LANES, part.stream](
                part.X, part.n, part.weights, C, labels, squared, parts
            )
            own = slice(part.first, part.first + part.n)
            labels_out[own] = labels.copy_to_host()
            if distances.size:
                distances[own] = np.sqrt(squared.copy_to_host())
            inertia += float(np.add.reduce(parts.copy_to_host().ravel()))
        self.host.check_total(inertia)
        return inertia

    @or_in_memory
    def settle(
        self, starts: Sequence[Centroids], most: int, shift_tolerance: float
    ) -> tuple[NDArray[np.float64], IntArray, IntArray]:
        """Move starts until they rest, many moves without a word to the host; see :meth:`ArrayRows.settle`.

        Only where :meth:`moves_starts` says so.
        """
        from engine.clustering.cuda_moves import MOVING

        C = np.array(starts, dtype=np.float64)
        moves, ends = np.zeros(len(C), dtype=np.int64), np.full(len(C), MOVING, dtype=np.int64)
        moving = np.arange(len(C))
        made = 0
        while len(moving) and made < most:
            rounds = min(MOVES_AT_ONCE, most - made)
            C[moving], more, ends[moving] = self._moved(C[moving], rounds, float(shift_tolerance))
            moves[moving] += more
            made += rounds
            moving = np.flatnonzero(ends == MOVING)
        if not np.isfinite(C).all():
            self.host.check_total(np.inf)
        return C, moves, ends

    def _moved(
        self, starts: Centroids, rounds: int, shift_tolerance: float
    ) -> tuple[NDArray[np.float64], IntArray, IntArray]:
        """Queue so many moves of all starts, and fetch where they ended."""
        from engine.clustering.cuda_moves import MOVING, move
        from engine.clustering.cuda_tiles import LANES, cuda

        (part,) = self.parts()
        S, k, d = starts.shape
        bounds = np.arange(S + 1) * k
        exact = cuda.to_device(starts)
        narrow = cuda.to_device(np.concatenate([self.host.narrow(start) for start in starts]))
        moves, ends = cuda.to_device(np.zeros(S, np.int64)), cuda.to_device(np.full(S, MOVING, np.int64))
        sums = cuda.device_array(S * k * (d + 2), np.float64)
        queue = list(launches(bounds, narrow, d, self._item))
        for _ in range(rounds):
            for launch in queue:
                self.reads.add_up(part, launch, sums[launch.low * (d + 2) : launch.high * (d + 2)])
            move[S, LANES, part.stream, 8 * k * d](sums, exact, narrow, shift_tolerance, moves, ends)
        return exact.copy_to_host(), moves.copy_to_host(), ends.copy_to_host()

    def parts(self) -> Iterator[Part]:
        """Yield the rows on the card; those that stay, or all anew, part after part."""
        if self._kept is None:
            yield from self._sender.parts()
            return
        if not self._seen_finite:
            # Their sums show it, in a fraction of the time that the host would take.
            sums, _ = self._added_up([np.zeros((1, self.d))], [self._kept])
            if not np.isfinite(sums[:, : self.d]).all():
                self.host.check()
            self._seen_finite = True
            self._sender.release()
        yield self._kept


Searchable = ArrayRows | CudaRows
"""Rows on which starts are moved many times."""
