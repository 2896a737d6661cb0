"""How much time is left, by a clock that the test turns."""

from __future__ import annotations

import logging

import pytest

from experiments import progress


def test_what_goes_before_the_first_share_does_not_count_as_pace(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    with caplog.at_level(logging.INFO, "cartera.sweep"), progress.Progress("sweep").step("clustering") as advance:
        # A minute of compiling with the first of ten, then two seconds each.
        now += 60
        advance(0.1)
        assert caplog.text == ""
        for done in range(2, 10):
            now += 2
            advance(done / 10)
    said = [record.message for record in caplog.records]
    # Once the pace is known, and then every ten seconds: eight are left, and three.
    assert said[:-1] == ["clustering: 20 %, about 16 s left", "clustering: 70 %, about 6 s left"]
    assert said[-1] == "clustering: 76.0 s"


def test_what_comes_once_in_between_does_not_change_the_pace(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    with caplog.at_level(logging.INFO, "cartera.recommend"), progress.Progress("recommend").step("fit") as advance:
        for done in range(1, 10):
            # Compiling comes with the sixth of ten.
            now += 40 if done == 6 else 4
            advance(done / 10)
    said = [record.message for record in caplog.records]
    assert said[:-1] == [
        "fit: 30 %, about 28 s left",
        "fit: 60 %, about 16 s left",
        "fit: 90 %, about 4 s left",
    ]


def test_while_something_else_goes_on_no_time_is_told() -> None:
    pace = progress.Pace()
    assert pace.left(0.0) is None
    for second in range(5):
        pace.note(second, (second + 1) / 10)
    # Half of ten seconds are left; a share that takes longer than three says that nobody knows.
    assert [pace.left(now) for now in (4.0, 5.0, 7.9, 8.1, 60.0)] == [5.0, 4.0, pytest.approx(1.1), None, None]
    pace.note(60.0, 0.6)
    assert pace.left(60.0) == pytest.approx(4.0)
    pace.note(61.0, 1.0)
    assert pace.left(61.0) is None
