"""How fast bytes can be read at all: the yardsticks that passes over rows are told as multiples of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

READ_BYTES = 16 * 2**20


def words_of(matrix: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return the bytes of a matrix in C order as 64-bit words; its values are even in number."""
    return matrix.reshape(-1).view(np.uint64)


def read_memory(matrix: NDArray[np.float32], threads: int) -> int:
    """Read every byte once, each thread its part; return the sum of the words modulo 2**64.

    Whole numbers can be added in any order, so numpy adds several at a time and waits for memory only. It lets go of
    the interpreter's lock, so the threads run at once.
    """
    parts = np.array_split(words_of(matrix), threads)
    with ThreadPoolExecutor(threads) as pool:
        return sum(map(int, pool.map(np.add.reduce, parts))) % 2**64


def read_file(path: Path) -> int:
    """Read a file from front to end into one buffer, with plain read calls; return how many bytes came."""
    buffer, total = bytearray(READ_BYTES), 0
    with path.open("rb", buffering=0) as file:
        while came := file.readinto(buffer):
            total += came
    return total
