"""Rows on the workers of a Dask cluster: workers add up their blocks, and only sums travel."""

from __future__ import annotations

from collections.abc import Sequence

from engine.clustering.rows import FloatMatrix
from engine.clustering.rows_blocks import HeldRows, array_blocks
from engine.compute_dask import DaskCompute, DaskHeld


class DaskRows(HeldRows):
    """Rows in blocks that workers hold.

    Equal to :class:`~engine.clustering.rows_blocks.BlockRows` of the same edges, bit for bit, on any number of
    workers: the same function is asked of the same blocks, and the answers are added in the same order.

    Parameters
    ----------
    matrix : (n, d) ndarray
        Finite features, float32 or float64, in the order of the buckets. It must not be written to while these rows
        are used, because a block is sent again when its worker is lost.
    edges : sequence of int
        From :func:`~engine.clustering.rows_blocks.block_edges`; the last one is n.
    compute : DaskCompute
        Whose workers hold the blocks.
    threads : int, optional
        Threads of this process for samples that are fetched; all cores by default. Workers use theirs.

    Raises
    ------
    DataError
        The edges are not those of the matrix's rows, or the matrix holds NaN or infinity.
    """

    def __init__(
        self, matrix: FloatMatrix, edges: Sequence[int], compute: DaskCompute, threads: int | None = None
    ) -> None:
        blocks = array_blocks(matrix, edges, None)
        self._on_workers: DaskHeld = compute.hold(blocks)
        super().__init__(self._on_workers, edges, blocks[0].d, blocks[0].matrix.dtype, threads)

    @property
    def held(self) -> DaskHeld:
        """The blocks on their workers, one :class:`~engine.clustering.rows_array.ArrayRows` each."""
        return self._on_workers
