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
