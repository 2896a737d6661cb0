"""One customer over HTTP: how many a second, and how long the slowest wait, beside what the framework alone can do.

Every server is a process of its own on this machine; the load comes from the process that is measured, so both share
the cores. ``closed``: 16 connections, each with its next request when the last is answered. ``open``: 500 requests due
a second, whatever comes back. ``arrow``: many customers in one request.

The bare route parses the same body and answers with a constant: what FastAPI costs before anybody has thought. The
naive application is what a first attempt looks like: pydantic in, scikit-learn's pipeline on one row, a dict out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Case, Contestant, Task
from benchmarks.peers import serving

SECONDS = {"XS": 1.0, "S": 4.0, "M": 8.0, "L": 20.0}
BATCH_ROWS = {"XS": 10_000, "S": 100_000, "M": 500_000, "L": 1_000_000}
CUSTOMERS = 5_000
SEGMENTS = 5
FEATURES = ("recency_days", "frequency", "monetary")
MARGIN_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Given:
    """Where the bundle and the rows lie, one customer, and what our model says of it."""

    folder: Path
    customer: dict[str, float]
    segment_id: str
    margin: float
    seconds: float
    batch_rows: int


def make(task: Task) -> None:
    """Write a bundle fitted on drawn customers, the same ones for the naive application, and an answer to check."""
    import polars as pl

    from engine.api import segment

    rng = np.random.default_rng([2026, task.seed])
    days, orders = 730, 12 * CUSTOMERS
    whose = np.minimum(rng.zipf(1.4, orders), CUSTOMERS) * 7919 % CUSTOMERS
    sales = pl.DataFrame(
        {
            "customer_id": whose.astype(np.int64),
            "timestamp": np.datetime64("2024-01-01", "us")
            + (rng.random(orders) ** 0.5 * days * 86_400e6).astype("m8[us]"),
            "amount": np.exp(rng.normal(3.0, 0.8, orders)).round(2),
        }
    )
    fitted = segment(sales, features=list(FEATURES), k=SEGMENTS)
    folder = Path(task.folder)
    folder.mkdir(parents=True)
    fitted.save(folder / "bundle")
    rows = fitted.customers.frame.select(FEATURES).cast(pl.Float64).to_numpy()
    np.savez(folder / "fit.npz", rows=rows, start=rows[:SEGMENTS], names=np.array(FEATURES))
    customer = {"recency_days": 12.0, "frequency": 4.0, "monetary": 950.5}
    said = fitted.classify(customer)
    (folder / "answer.json").write_text(
        json.dumps({"customer": customer, "segment_id": said.segment_id, "margin": said.margin}), encoding="utf-8"
    )


def open_model(task: Task) -> Given:
    """Read what the answer should be."""
    folder = Path(task.folder)
    answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    return Given(
        folder,
        answer["customer"],
        answer["segment_id"],
        answer["margin"],
        SECONDS[task.size],
        BATCH_ROWS[task.size],
    )


def judge(given: Given, answer: serving.Served, task: Task) -> tuple[dict[str, Any], str | None]:
    """Tell the figures of the load; wrong where a request failed or our own answer is not the model's."""
    facts: dict[str, Any] = {
        "per_second": round(answer.per_second, 1),
        "p50_ms": None if answer.p50 is None else round(1e3 * answer.p50, 3),
        "p99_ms": None if answer.p99 is None else round(1e3 * answer.p99, 3),
        "failed": answer.failed,
    }
    if answer.failed:
        return facts, f"{answer.failed} requests failed"
    return facts, fault_of(given, answer.answer) if task.contestant == "cartera" else None


def fault_of(given: Given, answer: Mapping[str, Any]) -> str | None:
    """Return what is wrong with our answer on the one customer, beside the model's own."""
    if answer.get("segment_id") != given.segment_id:
        return f"segment {answer.get('segment_id')}, expected {given.segment_id}"
    if abs(answer["margin"] - given.margin) > MARGIN_TOLERANCE:
        return f"margin {answer['margin']}, expected {given.margin}"
    return None


CASE = Case(
    name="serving",
    title="one customer classified over HTTP, by three values",
    sizes={
        name: (
            f"{SECONDS[name]:g} s of load; closed: time for each answer with 16 connections; open: 99 % of 500 "
            f"requests a second were answered within; arrow: {rows:,} customers in one request"
        )
        for name, rows in BATCH_ROWS.items()
    },
    data=("closed", "open", "arrow"),
    contestants={
        "cartera": Contestant(
            serving.cartera,
            ("cartera", "fastapi", "uvicorn", "msgspec"),
            "Cartera: token, limits, metrics, the model's answer",
            warm=1,
        ),
        "bare": Contestant(
            serving.bare, ("fastapi", "uvicorn"), "FastAPI, one bare route, a constant", warm=1, data=("closed", "open")
        ),
        "naive": Contestant(
            serving.naive,
            ("fastapi", "uvicorn", "scikit-learn"),
            "FastAPI, pydantic and scikit-learn, straight on",
            warm=1,
            data=("closed", "open"),
        ),
    },
    make=make,
    open=open_model,
    judge=judge,
    quality=None,
    shows={"failed": "failed"},
    against="bare",
)
