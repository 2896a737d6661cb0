from __future__ import annotations

import random

import pytest

from engine.serving.limits import MOST_KEYS, Buckets


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("seed", range(5))
def test_a_bucket_lets_through_a_burst_and_then_its_rate(seed: int) -> None:
    draw, clock = random.Random(seed), Clock()
    rate, burst = draw.uniform(0.5, 50), draw.randint(1, 40)
    buckets = Buckets(rate, burst, clock=clock)
    passed = []
    for _ in range(2_000):
        clock.now += draw.expovariate(2 * rate)
        if not buckets.take("a"):
            passed.append(clock.now)
    # In no period does more come through than the burst and what the rate brings.
    for start in range(0, len(passed), 7):
        for end in range(start, len(passed), 11):
            assert end - start + 1 <= burst + rate * (passed[end] - passed[start]) + 1 + 1e-6
    # Asked for twice as much as the rate, nearly all of the rate comes through.
    assert len(passed) >= 0.8 * rate * clock.now


@pytest.mark.parametrize("seed", range(5))
def test_who_waits_as_long_as_told_gets_through_and_not_before(seed: int) -> None:
    draw, clock = random.Random(seed), Clock()
    buckets = Buckets(draw.uniform(0.1, 20), draw.randint(1, 5), clock=clock)
    while not (wait := buckets.take("a")):
        pass
    assert buckets.wait("a") == pytest.approx(wait)
    clock.now += wait * 0.99
    assert buckets.take("a") > 0
    clock.now += wait * 0.02
    assert buckets.take("a") == 0


def test_callers_do_not_share_a_bucket_and_are_forgotten_in_turn() -> None:
    clock = Clock()
    buckets = Buckets(1.0, 1.0, clock=clock)
    assert buckets.take("a") == 0
    assert buckets.take("b") == 0
    assert buckets.take("a") == 1.0
    for other in range(MOST_KEYS):
        buckets.take(str(other))
    assert len(buckets._levels) == MOST_KEYS
    assert "a" not in buckets._levels
