"""Who opens a folder of customers, finds one by id and those most like that one. Each call starts from the files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from benchmarks.case import Task
    from benchmarks.cases.ready import Given

AT = 10


class Answered(NamedTuple):
    """The values of the customer, ids and distances of those alike, and how long each step took."""

    values: dict[str, Any]
    ids: list[int]
    distances: list[float]
    opened_seconds: float
    looked_up_seconds: float
    alike_seconds: float


def cartera(given: Given, task: Task) -> Answered:
    """Map the files."""
    from engine.customer_base import CustomerBase

    clock = _Clock()
    base = CustomerBase.open(given.folder, given.model)
    opened = clock.lap()
    row = base.row(given.customer_id)
    values = base.customer(-1 if row is None else row)
    looked_up = clock.lap()
    alike = base.similar(-1 if row is None else row, AT)
    return Answered(values, alike["customer_id"].to_list(), alike["distance"].to_list(), opened, looked_up, clock.lap())


def plain(given: Given, task: Task) -> Answered:
    """Read table and matrix whole, and work out the distance of every row."""
    import polars as pl

    clock = _Clock()
    frame = pl.read_ipc(given.folder / "customers.arrow")
    matrix = np.load(given.folder / "matrix.npy", allow_pickle=False)
    opened = clock.lap()
    row = int(frame["customer_id"].search_sorted(given.customer_id))
    values = frame.row(row, named=True)
    looked_up = clock.lap()
    squared = np.square(matrix - matrix[row]).sum(axis=1)
    squared[row] = np.inf
    nearest = np.argpartition(squared, AT)[:AT]
    ids = frame["customer_id"].gather(nearest).to_list()
    return Answered(values, ids, np.sqrt(squared[nearest]).tolist(), opened, looked_up, clock.lap())


class _Clock:
    """Seconds since the last look."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        spent, self._last = now - self._last, now
        return spent
