"""A pytest plugin for the run of scikit-learn's own tests: ``sklearn.cluster.KMeans`` is ours while they run."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.clustering.sklearn_contract.exceptions import read_exceptions

outcomes: dict[str, str] = {}


def pytest_configure():
    """Put our class in the place of theirs, before a test module says ``from sklearn.cluster import KMeans``."""
    import sklearn.cluster
    import sklearn.cluster._kmeans

    from engine.clustering import KMeans

    sklearn.cluster.KMeans = KMeans
    # The function k_means looks the class up here.
    sklearn.cluster._kmeans.KMeans = KMeans


def pytest_collection_modifyitems(config, items):
    """Leave out what is not about KMeans."""
    skipped = [exception for exception in read_exceptions() if exception.kind == "skip"]
    left_out = [item for item in items if any(exception.meets(item.name) for exception in skipped)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_runtest_logreport(report):
    """Note how each test ended: a failure in any phase counts."""
    name = report.nodeid.partition("::")[2]
    if report.failed or outcomes.get(name) == "failed":
        outcomes[name] = "failed"
    elif report.when == "call" or report.skipped:
        outcomes[name] = report.outcome


def pytest_sessionfinish():
    """Write the outcomes where the caller reads them."""
    Path(os.environ["SKLEARN_CONTRACT_OUTCOMES"]).write_text(json.dumps(outcomes), encoding="utf-8")
