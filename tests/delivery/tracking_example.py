"""A small model, and what the tests of tracking ask a store."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from engine.bundle import save_bundle
from engine.clustering.nearest import two_nearest
from engine.features.matrix import FeatureSpec, feature_set
from engine.segments.model import SegmentModel
from engine.segments.novelty import FittedDistances
from engine.tracking.store import EXPERIMENT, Store
from tests.delivery.segments_example import make_segments

FIRST_ID = 70_431_000
"""Ids that no date, size or checksum in a store looks like."""


def make_customers(n: int = 200, seed: int = 0) -> pl.DataFrame:
    values = np.random.default_rng(seed).lognormal(3, 1, size=(n, 2))
    frame = pl.DataFrame(values, schema=["frequency", "monetary"])
    return frame.insert_column(0, pl.Series("customer_id", np.arange(FIRST_ID, FIRST_ID + n)))


def make_model(customers: pl.DataFrame, k: int = 3, *, impute: str = "median") -> SegmentModel:
    spec = FeatureSpec.fit(customers, feature_set(["frequency", "monetary"], impute=impute))
    centroids = spec.transform(customers).astype(np.float64).reshape(k, -1, 2).mean(axis=1) * 3
    near = two_nearest(spec.transform(customers), centroids)
    distances = FittedDistances.fit(near.first, near.first_distance, k)
    return SegmentModel(
        spec, centroids, make_segments(k, drivers=()), distances, {"window_days": 365, "as_of": "2024-01-01"}
    )


def make_bundle(folder: Path) -> tuple[SegmentModel, Path]:
    model = make_model(make_customers(n=198))
    return model, save_bundle(model, folder / "bundle", engine_version="test")


def client(uri: str) -> Any:
    import mlflow

    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def runs(uri: str, where: str = "") -> list[Any]:
    c = client(uri)
    return list(c.search_runs([e.experiment_id for e in c.search_experiments()], where, order_by=["start_time ASC"]))


def children(uri: str, run_id: str) -> list[Any]:
    return runs(uri, f"tags.`mlflow.parentRunId` = '{run_id}'")


@cache
def _empty_database() -> bytes:
    """MLflow's tables without an experiment of ours: making them takes seconds."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "mlflow.db"
        Store(f"sqlite:///{file}").client.search_experiments()
        with closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA foreign_keys = OFF")
            database.execute("DELETE FROM experiments WHERE name = ?", (EXPERIMENT,))
            # MLflow writes here what its server is told by the environment, if a test has one running.
            database.execute("UPDATE experiments SET artifact_location = 'mlruns/0'")
            database.commit()
        return file.read_bytes()


def make_store(folder: Path) -> str:
    """Return the address of a database that stands and holds nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mlflow.db").write_bytes(_empty_database())
    return f"sqlite:///{folder / 'mlflow.db'}"
