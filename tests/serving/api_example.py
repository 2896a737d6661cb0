"""A client of the API over the small world of the pages, and customers as the three forms carry them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import polars as pl
from starlette.testclient import TestClient

from engine.serving.access import Access
from engine.serving.app import make_app
from engine.serving.settings import ServeSettings
from engine.serving.state import State
from engine.serving.tokens import TokenRecord, digest
from tests.serving.pages_example import FEATURES, ROLES

ONE = {"recency_days": 30, "frequency": 4, "monetary": 250.5}
RECORDS = [TokenRecord(role, role, digest(f"token-{role}"), "2026-01-01") for role in ROLES]
ARROW = "application/vnd.apache.arrow.stream"


def bearer(role: str) -> dict[str, str]:
    return {"Authorization": f"Bearer token-{role}"}


def client_of(app: Any, role: str | None = "admin", **options: Any) -> TestClient:
    headers = {} if role is None else bearer(role)
    return TestClient(app, base_url="http://localhost", headers=headers, follow_redirects=False, **options)


def app_of(bundle: Path, access: Access | None = None, **settings: Any) -> Any:
    return make_app(State(bundle), access or Access(RECORDS), ServeSettings(**settings))


def as_arrow(frame: pl.DataFrame, **options: Any) -> bytes:
    stream = io.BytesIO()
    frame.write_ipc_stream(stream, **options)
    return stream.getvalue()


def as_csv(frame: pl.DataFrame) -> bytes:
    return frame.write_csv().encode()


def of_arrow(content: bytes) -> pl.DataFrame:
    return pl.read_ipc_stream(io.BytesIO(content))


def some(customers: pl.DataFrame) -> pl.DataFrame:
    """Return customers in an order of their own, with the columns that a batch takes."""
    return customers.select("customer_id", *FEATURES).sample(fraction=1.0, shuffle=True, seed=3)
