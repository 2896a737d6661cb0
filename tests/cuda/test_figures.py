from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from engine.clustering import cuda_figures, cuda_kernels, cuda_tiles
from engine.clustering.figures import Figures, measure
from engine.clustering.rows_array import ArrayRows
from engine.clustering.rows_cuda import CudaRows
from engine.errors import DataError, DeviceError

# numpy's scalars warn where machine integers wrap around.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in scalar multiply")

AMPLE = 2**30


def on_card(rows: ArrayRows, *, streamed: bool = False, fall_back: bool = False, processors: int = 1) -> CudaRows:
    """The rows on a card that has room for all, or for four parts of which three make up the rows."""
    if not streamed:
        return CudaRows(rows, memory_bytes=AMPLE, processors=processors, fall_back=fall_back)
    part = -(-rows.n // 3) * rows.d * rows.matrix.itemsize
    found = CudaRows(rows, memory_bytes=4 * part, processors=1, streamed_bytes=part)
    assert not found.resident
    return found


@pytest.fixture
def first_read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator is slow, and tests/cuda/test_rows_cuda.py has the card's first read."""
    monkeypatch.setattr(CudaRows, "step", lambda self, models: self.host.step(models))


def bits(found: Sequence[Figures]) -> list[tuple[Any, ...]]:
    return [(one.sizes.tolist(), one.inertia, one.silhouette, one.davies_bouldin) for one in found]


def some_rows(seed: int, n: int, d: int, dtype: str = "f4", order: str = "C") -> ArrayRows:
    rng = np.random.default_rng(seed)
    X = 2.0 * rng.normal(size=(5, d))[rng.integers(5, size=n)] + rng.normal(size=(n, d))
    return ArrayRows(np.asarray(X.astype(dtype), order=order))  # type: ignore[call-overload]


def some_models(rows: ArrayRows, seed: int, ks: Sequence[int]) -> list[np.ndarray]:
    """Centroids that are rows, a step from the means of their rows."""
    rng = np.random.default_rng([seed, 1])
    return [rows.take(rng.choice(rows.n, k, replace=False)).astype(float) + 0.01 for k in ks]


def assert_same(found: Sequence[Figures], expected: Sequence[Figures], dtype: Any) -> None:
    # Squared distances are rounded at each product in the simulator, and once in machine code.
    tolerance = 3e-6 if np.dtype(dtype) == np.float32 else 1e-12
    for one, other in zip(found, expected, strict=True):
        assert one.sizes.tolist() == other.sizes.tolist()
        assert one.sizes.dtype == np.int64
        for name in ("inertia", "silhouette", "davies_bouldin"):
            wanted = getattr(other, name)
            told = None if wanted is None else pytest.approx(wanted, rel=tolerance, abs=tolerance)
            assert getattr(one, name) == told, name


@pytest.mark.parametrize(
    ("n", "d", "ks", "dtype", "order"),
    [
        (129, 1, [2], "f4", "F"),
        (40, 3, [4, 2], "f8", "F"),
        (100, 8, [3], "f4", "C"),
        (40, 8, [2], "f8", "C"),
        (40, 33, [2], "f4", "C"),
        (20, 33, [2], "f8", "F"),
    ],
)
def test_figures_are_those_of_the_processor(n: int, d: int, ks: list[int], dtype: str, order: str) -> None:
    rows = some_rows(n + d, n, d, dtype, order)
    models = some_models(rows, n, ks)
    assert_same(measure(on_card(rows), models), measure(rows, models), dtype)


@pytest.mark.usefixtures("first_read_here")
@pytest.mark.parametrize(("seed", "d", "dtype"), [(0, 1, "f8"), (1, 3, "f4")])
def test_rows_that_pass_through_have_the_same_figures(seed: int, d: int, dtype: str) -> None:
    rows = some_rows(seed, 70, d, dtype)
    models = some_models(rows, seed, [2, 1])
    assert_same(measure(on_card(rows, streamed=True), models), measure(rows, models), dtype)


@pytest.mark.usefixtures("first_read_here")
@pytest.mark.parametrize("seed", range(2))
def test_every_run_has_the_same_bits_on_several_processors(seed: int) -> None:
    rows = some_rows(seed, 129 + seed, 2)
    models = some_models(rows, seed, [2])
    card = on_card(rows, processors=2)
    found = measure(card, models)
    assert_same(found, measure(rows, models), "f4")
    assert bits(measure(card, models)) == bits(found)


def test_a_case_worked_by_hand() -> None:
    # As in tests/clustering/test_figures.py.
    rows = ArrayRows([[0.0], [2.0], [10.0]])
    (found,) = measure(on_card(rows), [np.array([[1.0], [10.0], [99.0]])])
    assert (found.sizes.tolist(), found.inertia) == ([2, 1, 0], 2.0)
    assert found.silhouette == pytest.approx((96 / 100 + 60 / 64) / 3, rel=1e-15)
    assert found.davies_bouldin == pytest.approx(1 / 9, rel=1e-15)
    assert measure(on_card(rows), []) == []


@pytest.mark.usefixtures("first_read_here")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_clusters_of_one_row_and_of_none_and_centroids_that_are_equal(dtype: str) -> None:
    X = np.concatenate([some_rows(1, 50, 2, dtype).matrix, np.array([[50, 50], [-70, 9]], dtype)])
    inside, alone = X[:2].astype(float), X[50:].astype(float)
    models = [
        np.concatenate([inside, alone]),
        np.concatenate([inside[:1], [[500.0, 500.0]], inside[1:]]),
        np.concatenate([inside, inside]),
        np.array([[1e3, 1e3], [0.0, 0.0]]),
    ]
    rows = ArrayRows(X)
    found = measure(on_card(rows), models)
    assert found[0].sizes[2:].tolist() == [1, 1]
    assert found[1].sizes[1] == 0
    assert found[2].sizes[2:].tolist() == [0, 0]
    assert (found[3].silhouette, found[3].davies_bouldin) == (None, None)
    assert_same(found, measure(rows, models), dtype)


@pytest.mark.usefixtures("first_read_here")
@pytest.mark.parametrize("seed", range(2))
def test_narrow_clusters_far_from_zero_keep_the_digits_of_their_silhouettes(seed: int) -> None:
    # Around 3,000, float32 has steps of 0.0002; a mean rounded to them would be off by so much for all its rows.
    rng = np.random.default_rng(seed)
    X = (3_000 + np.array([-0.01, 0.0, 0.01])[rng.integers(3, size=90)] + 0.003 * rng.normal(size=90)).astype("f4")
    rows, exact = ArrayRows(X[:, None]), ArrayRows(X[:, None].astype(float))
    (stats,) = exact.step([np.array([[2_999.99], [3_000.0], [3_000.01]])])
    model = [(stats.sums / stats.counts[:, None]).astype("f4").astype(float)]
    found, expected = measure(on_card(rows), model), measure(exact, model)
    assert found[0].sizes.tolist() == expected[0].sizes.tolist()
    assert found[0].silhouette == pytest.approx(expected[0].silhouette, rel=1e-6)


@pytest.mark.usefixtures("first_read_here")
def test_where_the_centroids_lie_far_from_the_means_the_spreads_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    X = np.array([[-0.015, 0.0], [0.015, 0.0]])[rng.integers(2, size=120)] + 0.01 * rng.normal(size=(120, 2))
    rows = ArrayRows(X.astype("f4"))
    models = [np.array([[-300.0, 300.0], [300.0, 300.0]]), X[:3]]
    asked = []
    whole = cuda_figures.compared

    def noted(who: CudaRows, plan: Any) -> Any:
        asked.append((plan.squares, len(plan.bounds) - 1))
        return whole(who, plan)

    monkeypatch.setattr(cuda_figures, "compared", noted)
    found, expected = measure(on_card(rows), models), measure(rows, models)
    assert asked == [(True, 1), (False, 2)]
    assert [one.sizes.tolist() for one in found] == [one.sizes.tolist() for one in expected]
    assert [one.silhouette for one in found] == pytest.approx([one.silhouette for one in expected], rel=1e-6)


@pytest.mark.usefixtures("first_read_here")
@pytest.mark.parametrize(("seed", "dtype"), [(3, "f4"), (4, "f8")])
def test_more_clusters_than_fit_at_once(seed: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = some_rows(seed, 60, 2, dtype)
    models = some_models(rows, seed, [1, 2, 19, 3, 9])
    itemsize = rows.matrix.itemsize
    card = on_card(rows)
    assert [part.n for part in card.parts()] == [60]
    monkeypatch.setattr(cuda_tiles, "SHARED_BYTES", 4_500)
    # So few find room for two models in half of it, not in a third.
    monkeypatch.setattr(cuda_figures, "TOGETHER_SHARE", 2)
    bounds = np.array([0, 1, 3, 22, 25, 34])
    queue = list(cuda_figures._launches(bounds, np.zeros(34 * 8, dtype), 2, itemsize))
    # Two together, one in turns and read from elsewhere, two by themselves.
    assert [(launch.first_model, launch.low, launch.high, launch.beside) for launch in queue] == [
        (0, 0, 3, True),
        (2, 0, 15, False),
        (2, 15, 19, False),
        (3, 0, 3, True),
        (4, 0, 9, True),
    ]
    assert all(launch.room <= 4_500 for launch in queue)
    assert_same(measure(card, models), measure(rows, models), dtype)


@pytest.mark.usefixtures("first_read_here")
def test_distances_beyond_float32_are_no_silhouette() -> None:
    rows = ArrayRows(np.array([[-1.5e19], [-1.4e19], [1.5e19], [1.4e19]], np.float32))
    models = [np.array([[-1.45e19], [1.45e19]])]
    (found,), (expected,) = measure(on_card(rows), models), measure(rows, models)
    assert found.sizes.tolist() == expected.sizes.tolist() == [2, 2]
    assert found.silhouette is not None
    assert expected.silhouette is not None
    assert np.isnan([found.silhouette, expected.silhouette]).all()


@pytest.mark.usefixtures("first_read_here")
@pytest.mark.parametrize("squares_first", [False, True])
def test_a_card_that_fails(
    squares_first: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = some_rows(0, 40, 2)
    models = some_models(rows, 0, [1, 2])
    if squares_first:
        models.append(np.full((1, 2), 100.0))
    broken = cuda_tiles.FAILURES[-1]("CUDA_ERROR_ILLEGAL_ADDRESS")
    whole = cuda_figures.compared

    def failing(who: CudaRows, plan: Any) -> Any:
        # With the third read, it fails after the first two.
        if squares_first and plan.squares:
            return whole(who, plan)
        raise broken

    monkeypatch.setattr(cuda_figures, "compared", failing)
    card = on_card(rows, fall_back=True)
    for _ in range(2):
        # All from the processor, bit for bit, from the first read on.
        assert bits(measure(card, models)) == bits(measure(rows, models))
    assert (card.failure, card.resident) == ("CUDA_ERROR_ILLEGAL_ADDRESS", False)
    assert caplog.text.count("the CPU goes on: CUDA_ERROR_ILLEGAL_ADDRESS") == 1
    card = on_card(rows)
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"GPU failed \(CUDA_ERROR_ILLEGAL_ADDRESS\).*cartera doctor"):
            measure(card, models)


@pytest.mark.parametrize("fall_back", [True, False])
def test_a_card_that_fails_in_the_first_read(fall_back: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = some_rows(0, 40, 2)
    models = some_models(rows, 0, [2])

    class Broken:
        def __getitem__(self, launch: object) -> object:
            raise cuda_tiles.FAILURES[-1]("CUDA_ERROR_ILLEGAL_ADDRESS")

    whole = cuda_kernels.kernels_of
    monkeypatch.setattr(cuda_kernels, "kernels_of", lambda *of: whole(*of)._replace(step=Broken()))
    monkeypatch.setattr(cuda_figures, "compared", None)
    card = on_card(rows, fall_back=fall_back)
    if fall_back:
        assert bits(measure(card, models)) == bits(measure(rows, models))
    else:
        with pytest.raises(DeviceError, match=r"GPU failed \(CUDA_ERROR_ILLEGAL_ADDRESS\)"):
            measure(card, models)


def test_rows_with_weights_are_refused() -> None:
    rows = ArrayRows(np.ones((4, 1)), np.ones(4))
    with pytest.raises(DataError, match="count once each"):
        measure(on_card(rows), [np.zeros((1, 1))])
