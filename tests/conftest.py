"""What holds for every test."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

_SET_BY_THE_COMMAND_LINE = ("", "engine", "cartera", "engine.serving.requests")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Undo what a command run inside a test sets on the loggers: later tests of the same process count log lines."""
    loggers = [logging.getLogger(name) for name in _SET_BY_THE_COMMAND_LINE]
    kept = [(logger, logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    yield
    for logger, level, handlers, propagate in kept:
        # pytest puts its own handlers on the root and takes them off by itself.
        own = [h for h in logger.handlers if type(h).__module__.startswith("_pytest")]
        logger.handlers[:] = own + [h for h in handlers if not type(h).__module__.startswith("_pytest")]
        logger.setLevel(level)
        logger.propagate = propagate
