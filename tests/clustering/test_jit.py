"""Whoever waits for the compiler is told so, once."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys

import numba
import pytest

from engine.clustering import jit
from engine.recommend.recommender import CustomerRecommender
from engine.recommend.synthetic import habits

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
    assert message == "compiling the kernels for this machine: up to half a minute, once for each part"
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


def test_without_the_compiler_it_is_plain_python():
    code = """
from engine.recommend import rank_kernels
from engine.recommend.recommender import CustomerRecommender
from engine.recommend.synthetic import habits
history = habits(customers=40, products=12, seed=0)
found = CustomerRecommender.fit(history)
print(type(rank_kernels.rank_chunks).__name__, found.recommend(k=3)["product_id"].to_list())
"""
    # A process of its own: numba decides at its import.
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = CustomerRecommender.fit(habits(customers=40, products=12, seed=0))
    assert ran.stdout == f"function {found.recommend(k=3)['product_id'].to_list()}\n"
