from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from engine.clustering import cuda_moves, cuda_tiles, rows_cuda
from engine.clustering.cuda_launches import launches
from engine.clustering.lloyd import lloyd
from engine.clustering.rows import Stats
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_cuda import CudaRows
from engine.clustering.solve import solve
from engine.errors import DataError, DeviceError

# numpy's scalars warn where machine integers wrap around.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in scalar multiply")

AMPLE = 2**30


def on_card(rows: ArrayRows, *, streamed: bool = False) -> CudaRows:
    """The rows on a card that has room for all, or for four parts, which make up the rows."""
    if not streamed:
        return CudaRows(rows, memory_bytes=AMPLE, processors=1)
    part = -(-rows.n // 4) * (rows.d * rows.matrix.dtype.itemsize + 8 * (rows.weights is not None))
    found = CudaRows(rows, memory_bytes=4 * part, processors=1, streamed_bytes=part)
    assert not found.resident
    return found


def some_rows(
    seed: int, n: int, d: int, *, dtype: str = "f4", order: str = "C", weighted: bool = False, at: float = 0.0
) -> ArrayRows:
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(n, d)) + at).astype(dtype)
    weights = rng.integers(0, 4, n).astype(float) if weighted else None
    if weights is not None:
        weights[0] = 1.0
    return ArrayRows(np.asarray(X, order=order), weights)  # type: ignore[call-overload]


def some_models(seed: int, d: int, ks: Sequence[int], at: float = 0.0) -> list[np.ndarray]:
    rng = np.random.default_rng([seed, 1])
    return [rng.normal(size=(k, d)) + at for k in ks]


def assert_same(found: Sequence[Stats], expected: Sequence[Stats], dtype: str) -> None:
    # Squared distances are rounded at each product in the simulator, and once in machine code.
    tolerance = 3e-6 if dtype == "f4" else 1e-13
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.counts.tolist() == other.counts.tolist()
        assert one.sums == pytest.approx(other.sums, rel=1e-13, abs=1e-11)
        assert one.sse == pytest.approx(other.sse, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("n", "d", "ks", "dtype", "order", "weighted"),
    [
        (1, 1, [1], "f4", "C", False),
        (33, 1, [2], "f8", "C", True),
        (127, 2, [3, 1], "f4", "F", False),
        (129, 3, [5], "f4", "C", True),
        (200, 8, [10], "f4", "C", False),
        (150, 9, [2, 4], "f8", "F", True),
        (70, 17, [3], "f4", "C", False),
        (65, 33, [3], "f4", "F", True),
        (40, 64, [2], "f8", "C", False),
    ],
)
def test_a_step_is_that_of_the_processor(
    streamed: bool, n: int, d: int, ks: list[int], dtype: str, order: str, weighted: bool
) -> None:
    if streamed and n < 4:
        return
    rows = some_rows(n, n, d, dtype=dtype, order=order, weighted=weighted)
    models = some_models(n, d, ks)
    card = on_card(rows, streamed=streamed)
    found = card.step(models)
    assert_same(found, rows.step(models), dtype)
    again = card.step(models)
    for one, other in zip(found, again, strict=True):
        assert one.sums.tobytes() == other.sums.tobytes()
        assert one.sse.tobytes() == other.sse.tobytes()


def test_a_step_of_no_model() -> None:
    assert on_card(some_rows(0, 5, 2)).step([]) == []


@pytest.mark.parametrize(
    ("streamed", "weighted", "dtype"), [(False, False, "f4"), (True, True, "f4"), (False, True, "f8")]
)
def test_more_clusters_than_fit_at_once(
    streamed: bool, weighted: bool, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, models = some_rows(3, 90, 4, dtype=dtype, weighted=weighted), some_models(3, 4, [2, 19, 3, 3])
    whole = on_card(rows).step(models)
    # Room for a few clusters: some models are measured together, and one is added up in turns.
    monkeypatch.setattr(cuda_tiles, "SHARED_BYTES", (8 if dtype == "f4" else 14) * 1024)
    card = on_card(rows, streamed=streamed)
    own = list(launches(np.array([0, 2, 21, 24, 27]), np.zeros(108), 4, rows.matrix.itemsize))
    assert {launch.in_turns for launch in own} == {True, False}
    assert next(launch.low for launch in own if launch.in_turns) == 2
    assert sum(launch.high - launch.low for launch in own) == 27
    for one, other in zip(card.step(models), whole, strict=True):
        assert one.counts.tolist() == other.counts.tolist()
        assert one.sums == pytest.approx(other.sums, rel=1e-13, abs=1e-12)
        assert one.sse == pytest.approx(other.sse, rel=1e-13)
    (rest,) = lloyd(card, [models[1]], max_iter=2)
    (expected,) = lloyd(rows, [models[1]], max_iter=2)
    assert rest.centroids == pytest.approx(expected.centroids, abs=1e-12)


def test_rows_far_from_zero_keep_their_small_distances() -> None:
    rows, models = some_rows(1, 100, 3, at=3_000.0), some_models(1, 3, [4], at=3_000.0)
    (found,), (exact,) = on_card(rows).step(models), ArrayRows(rows.matrix.astype(np.float64)).step(models)
    assert found.inertia == pytest.approx(exact.inertia, rel=1e-3)
    assert found.sums == pytest.approx(exact.sums, rel=1e-14)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("streamed", [False, True])
def test_farthest_rows(seed: int, streamed: bool) -> None:
    rows = some_rows(seed, 120, 3, weighted=seed > 0)
    (model,) = some_models(seed, 3, [4])
    # Nobody is nearest to the last.
    model = np.vstack([model, np.full(3, 500.0)])
    card = on_card(rows, streamed=streamed)
    assert card.farthest(model).tolist() == rows.farthest(model).tolist()
    twice = ArrayRows(np.vstack([rows.matrix, rows.matrix]))
    assert on_card(twice, streamed=streamed).farthest(model).tolist() == twice.farthest(model).tolist()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("even", "per_square"), [(0.2, 0.05), (0.0, 0.01), (1.0, 0.0), (0.0, 0.0)])
def test_the_rows_that_the_processor_draws(streamed: bool, even: float, per_square: float) -> None:
    rows = some_rows(5, 150, 3, weighted=True)
    (model,) = some_models(5, 3, [4])
    found = on_card(rows, streamed=streamed).draw(model, even, per_square, 11)
    expected = rows.draw(model, even, per_square, 11)
    assert found.index.tolist() == expected.index.tolist()
    assert found.squared == pytest.approx(expected.squared, rel=1e-5, abs=1e-6)
    assert found.inertia == pytest.approx(expected.inertia, rel=1e-6)


def test_more_rows_are_drawn_than_there_was_room_for() -> None:
    rows = ArrayRows(np.arange(4_500, dtype=np.float32).reshape(-1, 1))
    found = on_card(rows).draw(np.zeros((1, 1)), 1.0, 0.0, 0)
    assert found.index.tolist() == list(range(4_500))


@pytest.mark.parametrize("streamed", [False, True])
def test_labels_and_distances(streamed: bool) -> None:
    rows = some_rows(6, 140, 5, weighted=True)
    (model,) = some_models(6, 5, [6])
    card = on_card(rows, streamed=streamed)
    found, expected = np.full(140, -1, np.int32), np.full(140, -1, np.int32)
    far, away = np.empty(140), np.empty(140)
    assert card.assign(model, found, far) == pytest.approx(rows.assign(model, expected, away), rel=1e-6)
    assert found.tolist() == expected.tolist()
    assert far == pytest.approx(away, rel=1e-5)
    found[:] = -1
    card.assign(model, found)
    assert found.tolist() == expected.tolist()
    with pytest.raises(DataError, match="room for 140 rows"):
        card.assign(model, np.empty(3, np.int32))


def test_of_equally_near_centroids_the_lower() -> None:
    rows = ArrayRows(np.array([[0.0], [1.0], [2.0]]))
    labels = np.empty(3, np.int32)
    on_card(rows).assign(np.array([[2.0], [0.0], [0.0]]), labels)
    assert labels.tolist() == [1, 0, 0]


@pytest.mark.parametrize("streamed", [False, True])
def test_starts_move_as_on_the_processor(streamed: bool) -> None:
    rng = np.random.default_rng(2)
    X = np.concatenate([rng.normal(size=(20, 2)) + centre for centre in ([0, 0], [6, 1], [2, 9])]).astype(np.float32)
    rows = ArrayRows(X)
    starts = [X[rng.choice(60, 3, replace=False)].astype(float) for _ in range(2)]
    # One that loses its rows and is put on a far one.
    starts.append(np.vstack([X[:2].astype(float), [[900.0, 900.0]]]))
    card = on_card(rows, streamed=streamed)
    for found, expected in zip(lloyd(card, starts, max_iter=4), lloyd(rows, starts, max_iter=4), strict=True):
        assert (found.n_iter, found.stop_reason) == (expected.n_iter, expected.stop_reason)
        assert found.centroids == pytest.approx(expected.centroids, abs=1e-12)
    for start, found in zip(
        [starts[0], starts[0][:2]], lloyd(card, [starts[0], starts[0][:2]], max_iter=2), strict=True
    ):
        (expected,) = lloyd(rows, [start], max_iter=2)
        assert found.centroids == pytest.approx(expected.centroids, abs=1e-12)


@pytest.mark.parametrize("tolerance", [0.0, 0.5])
def test_a_start_rests(tolerance: float) -> None:
    rows = ArrayRows(np.array([[0.0], [1.0], [8.0], [10.0], [11.0]]))
    start = [np.array([[0.0], [1.0]]), np.array([[0.5], [29 / 3]])]
    found, expected = (lloyd(who, start, shift_tolerance=tolerance) for who in (on_card(rows), rows))
    assert [(rest.n_iter, rest.stop_reason) for rest in found] == [(r.n_iter, r.stop_reason) for r in expected]
    assert [rest.centroids.tolist() for rest in found] == [rest.centroids.tolist() for rest in expected]


def test_starts_too_large_for_shared_memory_are_moved_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = some_rows(8, 60, 3)
    card, start = on_card(rows), some_models(8, 3, [9])
    assert card.moves_starts(2_048)
    assert not card.moves_starts(2_049)
    monkeypatch.setattr(card, "settle", None)
    monkeypatch.setattr(card, "moves_starts", lambda k: False)
    (found,), (expected,) = lloyd(card, start, max_iter=3), lloyd(rows, start, max_iter=3)
    assert found.centroids == pytest.approx(expected.centroids, abs=1e-12)


def test_a_whole_solution() -> None:
    rng = np.random.default_rng(4)
    X = np.concatenate([rng.normal(size=(30, 3)) + 8 * centre for centre in np.eye(3)]).astype(np.float32)
    rows = ArrayRows(X)
    starts = [X[[0, 30, 60]].astype(float), X[[0, 1, 2]].astype(float)]
    found, expected = (solve(who, 3, init=starts) for who in (on_card(rows), rows))
    assert found.centroids == pytest.approx(expected.centroids, abs=1e-12)
    assert (found.n_iter, found.stop_reason) == (expected.n_iter, expected.stop_reason)


def test_what_a_card_cannot_take(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match=r"at most 64 features.*got 65.*device=auto or cpu"):
        on_card(some_rows(0, 10, 65))
    unfit = ArrayRows(np.tile([[1.0], [np.nan]], (6, 1)), check_now=False)
    with pytest.raises(DataError, match="NaN"):
        on_card(unfit, streamed=True)
    with pytest.raises(DataError, match="NaN"):
        on_card(unfit).assign(np.zeros((1, 1)), np.empty(12, np.int32))
    with pytest.raises(DataError, match="NaN"):
        on_card(unfit).take(np.array([0, 1]))
    assert on_card(unfit).take(np.array([0, 2])).tolist() == [[1.0], [1.0]]
    card = on_card(unfit)
    for _ in range(2):
        with pytest.raises(DataError, match="NaN"):
            card.farthest(np.zeros((1, 1)))
    # Squares beyond float32 are no fault of rows that lie near a centroid.
    far = ArrayRows(np.full((5, 1), 3e19, np.float32))
    assert on_card(far).step([np.array([[3e19]])])[0].counts.tolist() == [5.0]
    with pytest.raises(DeviceError, match="free memory on the card"):
        CudaRows(some_rows(0, 1_000, 8), memory_bytes=1_000, processors=1, streamed_bytes=500)
    card = on_card(some_rows(0, 10, 2))
    with pytest.raises(DataError, match="expected shape"):
        card.step([np.zeros((2, 3))])
    with pytest.raises(DataError, match="finite numbers"):
        card.step([np.full((2, 2), np.nan)])
    monkeypatch.setattr(cuda_tiles, "SHARED_BYTES", 2 * 1024)
    with pytest.raises(DeviceError, match="do not fit into the shared memory"):
        card.step([np.zeros((200, 2))])


@pytest.mark.parametrize("name", ["step", "farthest", "draw", "assign"])
def test_a_card_that_fails(name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    rows, (model,) = some_rows(0, 50, 3), some_models(0, 3, [4])

    class Broken:
        def __getitem__(self, launch: object) -> object:
            raise cuda_tiles.FAILURES[-1]("CUDA_ERROR_ILLEGAL_ADDRESS")

    def asked(who: ArrayRows | CudaRows) -> object:
        if name == "step":
            return who.step([model])[0].sums.tolist()
        if name == "farthest":
            return who.farthest(model).tolist()
        if name == "draw":
            return who.draw(model, 0.2, 0.1, 5).index.tolist()
        labels = np.empty(50, np.int32)
        return who.assign(model, labels), labels.tolist()

    for fall_back in (True, False):
        card = CudaRows(rows, memory_bytes=AMPLE, processors=1, fall_back=fall_back)
        monkeypatch.setattr(card.reads, "kernels", card.reads.kernels._replace(**{name: Broken()}))
        if fall_back:
            assert asked(card) == asked(rows)
            assert (card.failure, card.resident) == ("CUDA_ERROR_ILLEGAL_ADDRESS", False)
            assert "the CPU goes on: CUDA_ERROR_ILLEGAL_ADDRESS" in caplog.text
            assert asked(card) == asked(rows)
        else:
            with pytest.raises(DeviceError, match=r"GPU failed \(CUDA_ERROR_ILLEGAL_ADDRESS\).*cartera doctor"):
                asked(card)


def test_overflow_is_told_as_on_the_processor() -> None:
    rows = ArrayRows(np.array([[3e38], [-3e38]], np.float32))
    with pytest.raises(DataError, match="beyond float32"), np.errstate(over="ignore"):
        on_card(rows).step([np.array([[0.0]])])


@pytest.mark.parametrize(("d", "dtype", "order"), [(3, "f4", "C"), (33, "f8", "F")])
def test_rows_that_are_taken(d: int, dtype: str, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = some_rows(0, 150, d, dtype=dtype, order=order)
    card, index = on_card(rows), np.array([149, 0, 128, 127, 0, 31, 32])
    monkeypatch.setattr(rows_cuda, "TAKEN_FROM", 5)
    # Before the first read from the host, then from the card.
    for _ in range(2):
        found = card.take(index)
        assert (found.dtype, found.flags.c_contiguous) == (rows.matrix.dtype, True)
        assert found.tobytes() == rows.take(index).tobytes()
        card.step(some_models(0, d, [2]))
    monkeypatch.setattr(card.host, "take", None)
    assert card.take(index).tobytes() == found.tobytes()


@pytest.mark.parametrize("failure", cuda_tiles.FAILURES)
def test_whatever_a_card_fails_with(failure: type[Exception]) -> None:
    rows, (model,) = some_rows(0, 50, 3), some_models(0, 3, [4])

    class Failed(failure):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            Exception.__init__(self, "it failed")

        def __str__(self) -> str:
            return "it failed"

    class Broken:
        def __getitem__(self, launch: object) -> object:
            raise Failed

    card = CudaRows(rows, memory_bytes=AMPLE, processors=1, fall_back=True)
    card.reads.kernels = card.reads.kernels._replace(step=Broken())
    assert card.step([model])[0].sums.tolist() == rows.step([model])[0].sums.tolist()
    assert card.failure == "it failed"


def test_memory_does_not_grow_with_the_number_of_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, models = some_rows(0, 60, 2), some_models(0, 2, [2, 3])
    taken: list[int] = []
    whole = cuda_tiles.cuda.device_array

    def counted(shape: object, *given: object, **named: object) -> object:
        taken.append(1)
        return whole(shape, *given, **named)

    monkeypatch.setattr(cuda_tiles.cuda, "device_array", counted)
    found = []
    for parts in (3, 7):
        card = CudaRows(rows, memory_bytes=4 * 8 * 60 // parts, processors=1, streamed_bytes=8 * 60 // parts)
        assert not card.resident
        taken.clear()
        found.append((card.step(models), len(taken)))
        # The next read needs no more than what it adds up.
        taken.clear()
        card.step(models)
        assert len(taken) == 2
    assert found[0][1] == found[1][1]
    assert_same(found[0][0], found[1][0], "f8")


@pytest.mark.parametrize(
    ("blocks", "values", "further"), [(1, 3, False), (63, 40, True), (64, 5, False), (150, 9, True)]
)
def test_blocks_are_added_up(blocks: int, values: int, further: bool) -> None:
    rng = np.random.default_rng(blocks)
    parts, before = rng.normal(size=(blocks, values)), rng.normal(size=values)
    found = cuda_tiles.cuda.to_device(before)
    cuda_moves.queue_sum(cuda_tiles.cuda.to_device(parts), found, 0, further=further)
    assert found.copy_to_host() == pytest.approx(parts.sum(axis=0) + further * before, rel=1e-13, abs=1e-13)
