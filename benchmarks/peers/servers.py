"""Servers to compare with, each in a process of its own: ``python -m benchmarks.peers.servers NAME PORT FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np


def bare() -> Any:
    """Return a FastAPI application whose one route parses the body and returns a constant."""
    from fastapi import FastAPI

    app = FastAPI()

    @app.post("/v1/classify")
    async def classify(values: dict[str, float]) -> dict[str, Any]:
        return {"segment_id": "seg-aaaaaa", "distance": 1.0, "margin": 0.5}

    return app


def naive(folder: Path) -> Any:
    """Return what a first attempt looks like: a pydantic model in, scikit-learn's pipeline on one row, a dict out."""
    from fastapi import FastAPI
    from pydantic import create_model
    from sklearn.cluster import KMeans
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    with np.load(folder / "fit.npz", allow_pickle=False) as fit:
        rows, start, names = fit["rows"], fit["start"], [str(name) for name in fit["names"]]
    pipeline = make_pipeline(
        FunctionTransformer(np.log1p), StandardScaler(), KMeans(len(start), n_init=1, random_state=0)
    ).fit(rows)
    customer = create_model("Customer", **dict.fromkeys(names, (float, ...)))  # type: ignore[call-overload]
    app = FastAPI()

    def classify(values: Any) -> dict[str, Any]:
        row = np.array([[getattr(values, name) for name in names]])
        distances = np.sort(pipeline.transform(row)[0])
        return {
            "segment": int(pipeline.predict(row)[0]),
            "distance": float(distances[0]),
            "margin": float(1 - distances[0] / distances[1]),
        }

    classify.__annotations__["values"] = customer
    app.post("/v1/classify")(classify)
    return app


def main() -> None:
    """Serve one of them until ended."""
    import uvicorn

    name, port, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    app = bare() if name == "bare" else naive(folder)
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
