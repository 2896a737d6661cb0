"""The twin finds what would go wrong on a GPU; numba's simulator sees none of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numba import complex128, float32, float64

from engine.clustering.cuda_tiles import LANES, cuda, kernel
from tests.reference import ptx_twin


def run(of: Any, *given: Any, shared: int = 0, threads: int = LANES) -> None:
    of[1, threads, 0, shared](*given)


@pytest.mark.parametrize("barrier", [True, False])
def test_threads_that_meet_without_a_barrier(barrier: bool) -> None:
    @kernel()
    def turned(values: Any) -> None:
        lane = cuda.threadIdx.x
        there = cuda.shared.array(0, float32)
        there[lane] = values[lane]
        if barrier:
            cuda.syncthreads()
        values[lane] = there[LANES - 1 - lane]

    values = cuda.to_device(np.arange(LANES, dtype=np.float32))
    if barrier:
        run(turned, values, shared=4 * LANES)
        assert values.copy_to_host().tolist() == list(range(LANES))[::-1]
    else:
        with pytest.raises(RuntimeError, match="no barrier between them"):
            run(turned, values, shared=4 * LANES)


def test_what_was_read_is_overwritten_without_a_barrier() -> None:
    @kernel()
    def overwritten(values: Any) -> None:
        lane = cuda.threadIdx.x
        there = cuda.shared.array(0, float32)
        there[lane] = values[lane]
        cuda.syncthreads()
        values[lane] = there[LANES - 1 - lane]
        there[lane] = 0.0

    with pytest.raises(RuntimeError, match="no barrier between them"):
        run(overwritten, cuda.to_device(np.zeros(LANES, np.float32)), shared=4 * LANES)


def test_a_barrier_that_half_of_the_threads_reach() -> None:
    @kernel()
    def halved(values: Any) -> None:
        if cuda.threadIdx.x < LANES // 2:
            cuda.syncthreads()
            values[cuda.threadIdx.x] = 1.0

    with pytest.raises(RuntimeError, match="some threads do not reach"):
        run(halved, cuda.to_device(np.zeros(LANES, np.float32)))


@pytest.mark.parametrize("shared", [False, True])
def test_addresses_beyond_an_array(shared: bool) -> None:
    @kernel()
    def beyond(values: Any) -> None:
        there = cuda.shared.array(0, float32)
        if shared:
            there[cuda.threadIdx.x] = 0.0
        else:
            values[cuda.threadIdx.x] = 0.0

    few = LANES - 1
    with pytest.raises(IndexError, match="outside"):
        run(beyond, cuda.to_device(np.zeros(few if not shared else LANES, np.float32)), shared=4 * few)


def test_sixteen_bytes_at_a_place_that_is_no_multiple_of_them() -> None:
    memory, everyone = ptx_twin.Memory(256, 0), np.ones(2, np.bool_)
    memory.allocate(256)
    for first, right in ((0, True), (32, True), (8, False)):
        at = np.array([first, first + 16], np.uint64)
        if right:
            assert memory.view(at, everyone, np.float32, 4)[1].tolist() == [first // 4, first // 4 + 4]
        else:
            with pytest.raises(ValueError, match="no multiple of 16 bytes"):
                memory.view(at, everyone, np.float32, 4)


def test_sixteen_bytes_are_read_at_once() -> None:
    @kernel()
    def added(values: Any, first: Any) -> None:
        # What begins at a multiple of 16 bytes is read as a whole.
        four = cuda.shared.array(0, complex128).view(np.float32)
        lane = cuda.threadIdx.x
        four[lane] = values[lane]
        cuda.syncthreads()
        values[lane] = four[first * 4] + four[first * 4 + 1] + four[first * 4 + 2] + four[first * 4 + 3]

    values = cuda.to_device(np.arange(LANES, dtype=np.float32))
    run(added, values, 2, shared=4 * LANES)
    assert values.copy_to_host().tolist() == [38.0] * LANES


def test_threads_part_and_meet_again() -> None:
    @kernel()
    def parted(values: Any, sums: Any) -> None:
        lane = cuda.threadIdx.x
        total = 0.0
        for turn in range(lane % 7):
            total += values[(lane * 3 + turn) % LANES] * (1.0 if turn % 2 else -0.5)
        if lane % 3 == 0:
            total = -total
        sums[lane] = total

    rng = np.random.default_rng(0)
    values, sums = rng.normal(size=LANES), cuda.device_array(LANES, np.float64)
    run(parted, cuda.to_device(values), sums)
    for lane, found in enumerate(sums.copy_to_host()):
        turns = range(lane % 7)
        total = sum(values[(lane * 3 + turn) % LANES] * (1.0 if turn % 2 else -0.5) for turn in turns)
        assert found == pytest.approx(-total if lane % 3 == 0 else total, rel=1e-15)


def test_arithmetic_is_that_of_the_processor() -> None:
    @kernel()
    def worked(a: Any, b: Any, whole: Any, real: Any) -> None:
        lane = cuda.threadIdx.x
        whole[lane, 0] = a[lane] // b[lane]
        whole[lane, 1] = a[lane] % b[lane]
        whole[lane, 2] = (a[lane] * b[lane]) >> 3
        whole[lane, 3] = a[lane] ^ (b[lane] << 5)
        real[lane, 0] = a[lane] / b[lane]
        real[lane, 1] = float64(float32(a[lane])) - b[lane] * 0.1
        real[lane, 2] = math.sqrt(abs(a[lane]))

    rng = np.random.default_rng(1)
    a, b = rng.integers(-(10**12), 10**12, LANES), rng.integers(-999, 999, LANES) * 2 + 1
    whole, real = cuda.device_array((LANES, 4), np.int64), cuda.device_array((LANES, 3), np.float64)
    run(worked, cuda.to_device(a), cuda.to_device(b), whole, real)
    expected = np.stack([a // b, a % b, (a * b) >> 3, a ^ (b << 5)], axis=1)
    assert whole.copy_to_host().tolist() == expected.tolist()
    numbers = np.stack([a / b, a.astype(np.float32).astype(np.float64) - b * 0.1, np.abs(a) ** 0.5], axis=1)
    assert real.copy_to_host() == pytest.approx(numbers, rel=1e-15)
