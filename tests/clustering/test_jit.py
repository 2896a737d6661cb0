"""Whoever waits for the compiler is told so, once."""

from __future__ import annotations

import importlib.util
import logging

import numba
import pytest

from engine.clustering import jit

COMPILED = """
from engine.clustering.jit import compiled


@compiled()
def doubled(x):
    return 2.0 * x


@compiled()
def halved(x):
    return 0.5 * x
"""


@pytest.fixture
def told(tmp_path, monkeypatch, caplog):
    """Import the functions anew, call both, and return what was logged; as in a process of its own."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    caplog.set_level(logging.INFO, "engine.clustering.jit")
    module = tmp_path / "halving.py"
    module.write_text(COMPILED, "utf-8")

    def run():
        monkeypatch.setattr(jit, "_told", False)
        caplog.clear()
        spec = importlib.util.spec_from_file_location("halving", module)
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        assert caplog.messages == []
        assert (loaded.doubled(4.0), loaded.halved(4.0)) == (8.0, 2.0)
        return [(record.levelno, record.getMessage()) for record in caplog.records]

    return run


def test_a_compilation_is_told_once_and_machine_code_from_disk_is_not(told):
    ((level, message),) = told()
    assert level == logging.INFO
    assert message == "compiling the kernels for this machine: up to half a minute, once"
    assert told() == []


def test_where_nothing_is_kept_it_is_told_in_every_process_and_why(told, monkeypatch):
    real = numba.njit

    def njit(**options):
        if options.get("cache"):
            raise RuntimeError("no locator available")
        return real(**options)

    monkeypatch.setattr(numba, "njit", njit)
    for _ in range(2):
        ((_, message),) = told()
        assert message.endswith("in every process, for there is no folder to keep them in (NUMBA_CACHE_DIR names one)")
