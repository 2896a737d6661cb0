"""A search on a sample whose rows lie on the card."""

from __future__ import annotations

import logging
import weakref
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engine.clustering import cuda_kernels, cuda_tiles, rows_cuda
from engine.clustering import solve as solving
from engine.clustering.lloyd import lloyd
from engine.clustering.on_device import device_of
from engine.clustering.plan import Limits, Plan
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_cuda import CudaRows
from engine.clustering.sample_solve import evenly, solve_on_sample, together
from engine.clustering.seeding import TooFewDistinctRowsError, kmeans_plus_plus
from engine.clustering.solve import solve, solve_many
from engine.errors import DeviceError
from tests.cuda.failing import Failing

# numpy's scalars warn where machine integers wrap around.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in scalar")

TINY = Plan(
    few_rows=40, few_rows_per_cluster=5, few_rows_least=5, early=2, starts=3, starts_least=3, rows_least=60, rows=60,
    rows_per_cluster=8, fresh=2, part=2, moves_in_part=1, moves=1, kept=2, kept_moves=1, finalists=2, final_moves=1,
    breathing_from=5, polish_reads=1,
)  # fmt: skip
"""A plan under which 128 rows are many: a tile on the card."""


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What is asked for the memory that the card has left."""
    found = SimpleNamespace(get_memory_info=lambda: (2**30, 2**31))
    monkeypatch.setattr(cuda_tiles.cuda, "current_context", lambda: found)
    return found


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, context: SimpleNamespace) -> None:
    monkeypatch.setattr(rows_cuda, "SEARCHED_FROM", 50)
    monkeypatch.setattr(rows_cuda, "MOVES_AT_ONCE", 1)
    monkeypatch.setattr(solving, "FULL_BELOW_ROWS", 10)
    monkeypatch.setattr(solving, "solve_on_sample", partial(solve_on_sample, plan=TINY))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are held as on a card, and read by the processor: the simulator takes seconds."""
    for name in ("step", "draw", "farthest", "assign", "settle"):
        monkeypatch.setattr(
            CudaRows, name, lambda self, *given, name=name, **named: getattr(self.host, name)(*given, **named)
        )


def uniform(seed: int, *, weighted: bool = False, n: int = 128) -> ArrayRows:
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(n, 2)).astype(np.float32)
    return ArrayRows(X, rng.integers(1, 4, n).astype(float) if weighted else None)


def on_card(rows: ArrayRows, *, fall_back: bool = False) -> CudaRows:
    return CudaRows(rows, memory_bytes=2**30, processors=1, fall_back=fall_back)


def test_a_search_on_the_card_is_that_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = uniform(2)
    expected = solve(rows, 5, solver="sample")
    moved: dict[type, set[int]] = {ArrayRows: set(), CudaRows: set()}
    for kind, seen in moved.items():

        def noted(self: Any, *given: Any, settle: Any = kind.settle, seen: set[int] = seen) -> Any:
            seen.add(self.n)
            return settle(self, *given)

        monkeypatch.setattr(kind, "settle", noted)
    card = on_card(rows)
    found = solve(card, 5, solver="sample")
    # The few rows and the part stay with the processor, the sample does not come to it.
    assert moved[CudaRows] == {found.rows_used}
    assert max(moved[ArrayRows]) < 50 < found.rows_used == expected.rows_used
    # Of two equal solutions, rounding says which is taken.
    one, other = (C[np.lexsort(C.T)] for C in (found.centroids, expected.centroids))
    assert one == pytest.approx(other, abs=1e-7)
    assert (found.passes, found.stop_reason) == (expected.passes, expected.stop_reason)
    one, other = rows.step([found.centroids, expected.centroids])
    assert one.inertia == pytest.approx(other.inertia, rel=1e-6)
    assert device_of(card) == "cuda"


def test_the_card_fails_on_a_sample(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    whole = cuda_kernels.kernels_of

    def failing(d: int, double: bool, weighted: bool) -> Any:
        kernels = whole(d, double, weighted)
        # Only samples have weights.
        return kernels._replace(step=Failing(kernels.step, 2)) if weighted else kernels

    monkeypatch.setattr(cuda_kernels, "kernels_of", failing)
    rows = uniform(2)
    card, strict = on_card(rows, fall_back=True), on_card(rows)
    found, expected = (solve(who, 5, solver="sample") for who in (card, rows))
    assert found.centroids == pytest.approx(expected.centroids, abs=1e-7)
    assert device_of(card) == "cpu (the GPU failed: CUDA_ERROR_LAUNCH_FAILED)"
    assert not card.resident
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == ["the GPU failed, and the CPU goes on: CUDA_ERROR_LAUNCH_FAILED"]
    # Where the processor may not go on it does not, however often it is asked.
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"the GPU failed \(CUDA_ERROR_LAUNCH_FAILED\).*device=auto"):
            solve(strict, 5, solver="sample")
    with pytest.raises(DeviceError, match="the GPU failed"):
        lloyd(strict, [np.zeros((1, 2))])


def test_where_a_sample_is_held(context: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    card, sample = on_card(uniform(0), fall_back=True), uniform(1, n=50)
    assert isinstance(card.beside(sample), CudaRows)
    assert isinstance(card.beside(uniform(1, n=49)), ArrayRows)
    assert not caplog.messages
    free = 2 * rows_cuda.bytes_to_stay(sample)
    context.get_memory_info = lambda: (free, 2**30)
    assert isinstance(card.beside(sample), CudaRows)
    free -= 1
    assert card.beside(sample) is sample
    (told,) = caplog.records
    assert (told.levelno, told.message.partition(":")[0]) == (logging.INFO, "a sample is searched on the CPU")
    assert device_of(card) == "cuda"

    def broken() -> Any:
        raise cuda_tiles.FAILURES[-1]("CUDA_ERROR_ILLEGAL_ADDRESS")

    context.get_memory_info = broken
    assert card.beside(sample) is sample
    assert device_of(card) == "cpu (the GPU failed: CUDA_ERROR_ILLEGAL_ADDRESS)"
    context.get_memory_info = lambda: (2**30, 2**30)
    assert card.beside(sample) is sample


@pytest.fixture
def living(monkeypatch: pytest.MonkeyPatch) -> weakref.WeakSet[CudaRows]:
    """All rows on the card that somebody holds."""
    alive: weakref.WeakSet[CudaRows] = weakref.WeakSet()
    begin = CudaRows.__init__

    def noted(self: CudaRows, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        alive.add(self)

    monkeypatch.setattr(CudaRows, "__init__", noted)
    return alive


@pytest.mark.usefixtures("quick")
def test_a_sample_is_on_the_card_while_it_is_searched_and_no_longer(
    living: weakref.WeakSet[CudaRows], monkeypatch: pytest.MonkeyPatch
) -> None:
    card, rows = on_card(uniform(2)), uniform(2)
    held: dict[bool, list[int]] = {True: [], False: []}
    step = CudaRows.step

    def noted(self: CudaRows, models: Any) -> Any:
        held[self is card].append(len(living))
        return step(self, models)

    monkeypatch.setattr(CudaRows, "step", noted)
    found = solve_many(card, [5, 6, 7], seeds=[0, 0, 0], solver="sample")
    assert all(40 < one.rows_used < 128 for one in found)
    assert set(held[True]) == {1}
    assert set(held[False]) == {2}
    for one, other in zip(found, solve_many(rows, [5, 6, 7], seeds=[0, 0, 0], solver="sample"), strict=True):
        assert one.centroids.tolist() == other.centroids.tolist()


@pytest.mark.usefixtures("quick")
def test_a_search_that_ends_with_an_error_holds_no_sample(living: weakref.WeakSet[CudaRows]) -> None:
    def draw(rows: ArrayRows, k: int, **how: Any) -> list[np.ndarray]:
        if len(living) > 1:
            raise TooFewDistinctRowsError(k, 1)
        return kmeans_plus_plus(rows, k, **how)

    card = on_card(uniform(2))
    search = solve_on_sample(
        card, 5, np.random.default_rng(0), draw=draw, n_init=0, limits=Limits(300, 1e-4), plan=TINY
    )
    (found,) = together(card, [search])
    assert isinstance(found, TooFewDistinctRowsError)
    assert list(living) == [card]


@pytest.mark.usefixtures("quick")
def test_all_rows_are_searched_where_they_lie(
    living: weakref.WeakSet[CudaRows], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = uniform(0, n=110)
    card = on_card(rows)
    settled = []

    def noted(self: CudaRows, *given: Any) -> Any:
        settled.append((self is card, len(living)))
        return self.host.settle(*given)

    monkeypatch.setattr(CudaRows, "settle", noted)
    found, expected = (solve(who, 6, solver="sample") for who in (card, rows))
    assert found.centroids.tolist() == expected.centroids.tolist()
    assert found.rows_used == 110
    assert set(settled) == {(True, 1)}


def test_hardly_any_of_many_rows_differ() -> None:
    X = np.zeros((60, 1), np.float32)
    X[20], X[41] = 1.0, 5.0
    card = on_card(ArrayRows(X))
    # The few rows among which starts are drawn do not hold both.
    assert len(np.unique(evenly(card, 10, np.random.default_rng(0)).matrix)) < 3
    assert sorted(solve(card, 3, solver="full").centroids[:, 0]) == [0.0, 1.0, 5.0]
    with pytest.raises(TooFewDistinctRowsError, match="k=4 for 3 different"):
        solve(card, 4, solver="full")


def test_starts_on_rows_with_weights() -> None:
    rows = ArrayRows([[0.0], [1.0], [2.0], [8.0], [10.0], [11.0], [90.0]], [2.0, 1.0, 0.0, 3.0, 1.0, 0.5, 0.0])
    # One loses its rows, and one is left with a row that does not count.
    starts = [np.array([[0.5], [900.0]]), np.array([[3.0], [90.0]])]
    found, expected = (lloyd(who, starts, shift_tolerance=5.0) for who in (on_card(rows), rows))
    assert {rest.stop_reason for rest in expected} == {"tolerance"}
    assert [(rest.n_iter, rest.stop_reason) for rest in found] == [(r.n_iter, r.stop_reason) for r in expected]
    assert [rest.centroids.tolist() for rest in found] == [rest.centroids.tolist() for rest in expected]
