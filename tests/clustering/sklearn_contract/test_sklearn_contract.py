"""scikit-learn's own tests of its KMeans, run as they are installed against ours."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clustering.sklearn_contract.exceptions import read_exceptions

MODULE = "sklearn.cluster.tests.test_k_means"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    parent = importlib.util.find_spec("sklearn.cluster")
    if not any(Path(folder, "tests", "test_k_means.py").exists() for folder in parent.submodule_search_locations):
        pytest.skip("this build of scikit-learn ships no tests")
    folder = tmp_path_factory.mktemp("sklearn_contract")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SKLEARN_"))}
    environment |= {
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "SKLEARN_CONTRACT_OUTCOMES": str(folder / "outcomes.json"),
        "SKLEARN_RUN_FLOAT32_TESTS": "1",
    }
    plugins = ["-p", "no:cacheprovider", "-p", "tests.clustering.sklearn_contract.swap"]
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(folder), *plugins]
    done = subprocess.run([*command, "--pyargs", MODULE], cwd=folder, env=environment, capture_output=True, text=True)
    # 0: all passed; 1: some failed. Anything else means that they did not run.
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return json.loads((folder / "outcomes.json").read_text(encoding="utf-8"))


def test_what_fails_is_what_the_list_says(outcomes):
    expected = [exception for exception in read_exceptions() if exception.kind == "fails"]
    failed = {name for name, outcome in outcomes.items() if outcome == "failed"}
    listed = {name for name in outcomes if any(exception.meets(name) for exception in expected)}
    assert failed - listed == set(), "not listed, but they fail"
    assert listed - failed == set(), "listed, but they pass: take them off the list"


def test_no_line_of_the_list_is_left_over(outcomes):
    for exception in read_exceptions():
        if exception.kind == "fails":
            assert any(exception.meets(name) for name in outcomes), exception.pattern


def test_most_of_the_module_was_run(outcomes):
    assert sum(outcome == "passed" for outcome in outcomes.values()) >= 140
