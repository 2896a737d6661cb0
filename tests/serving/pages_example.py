"""A small world for the tests of the pages: a model, its customers, their transactions, and the application."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from starlette.testclient import TestClient

from engine.bundle import save_bundle
from engine.clustering.nearest import two_nearest
from engine.customer_base import CustomerBase
from engine.features.matrix import FeatureSpec, feature_set
from engine.lake.ingest import ingest
from engine.lake.recipe import Recipe
from engine.schema import Word
from engine.segments.model import SegmentModel
from engine.segments.novelty import FittedDistances
from engine.segments.segment import Driver, Segment
from engine.serving.access import Access
from engine.serving.app import make_app
from engine.serving.settings import ServeSettings
from engine.serving.state import State
from engine.serving.tokens import TokenRecord, digest
from tests.serving.recommend_example import offers_of, recommender_of, write_recommender

FEATURES = ("recency_days", "frequency", "monetary")
STRANGE_IDS = ("a/b", "50% á", "a b/../c", "ñandú", "<script>alert(1)</script>", "C 1", "#7?x=1", "'\"&")
LONG = "Very long name " * 20
ROLES = ("classify", "customers", "admin")


@dataclass
class World:
    """What the tests look at."""

    folder: Path
    model: SegmentModel
    base: CustomerBase | None
    customers: pl.DataFrame
    state: State
    app: Any

    def client(self, role: str | None = "customers", **cookies: str) -> TestClient:
        """Return a browser of sorts; where a role is given, it has logged in."""
        client = TestClient(
            self.app,
            base_url="http://127.0.0.1",
            follow_redirects=False,
            headers={"accept": "text/html"},
            cookies=cookies,
        )
        if role is not None:
            page = client.get("/login")
            sent = client.post("/login", data={"csrf": csrf_of(page.text), "token": f"token-{role}"})
            assert sent.status_code == 303, sent.text
        return client


def csrf_of(page: str) -> str:
    """Return what the forms of a page carry."""
    return page.split('name="csrf" value="')[1].split('"')[0]


def customers_of(ids: list[Any], k: int, seed: int = 0) -> pl.DataFrame:
    """Return customers in k clouds that lie apart, each customer's cloud by the order of the ids."""
    draw = np.random.default_rng(seed)
    cloud = np.arange(len(ids)) % k
    scale = np.exp(6.0 * cloud / max(1, k - 1))
    spread = np.exp(draw.normal(0, 0.25, size=(3, len(ids))))
    return pl.DataFrame(
        {
            "customer_id": ids,
            "recency_days": np.round(400 / scale * spread[0]),
            "frequency": np.round(8 * scale * spread[1]),
            "monetary": np.round(20 * scale * spread[2], 2),
            "town": [f"Town <{one}>" for one in cloud],
        }
    )


def model_of(customers: pl.DataFrame, k: int, names: list[Word] | None = None, **facts: Any) -> SegmentModel:
    """Return the model whose segments are the clouds, named as asked."""
    spec = FeatureSpec.fit(customers, feature_set(list(FEATURES)))
    matrix = spec.transform(customers).astype(np.float64)
    cloud = np.arange(customers.height) % k
    centroids = np.stack([matrix[cloud == one].mean(axis=0) for one in range(k)])
    near = two_nearest(matrix.astype(np.float32), centroids)
    total = float(customers["monetary"].sum())
    order = list(reversed(range(k)))
    segments = []
    for one in range(k):
        own = customers.filter(pl.Series(cloud == one))
        name = names[one] if names else Word(f"Group {one}", f"Grupo {one}")
        segments.append(
            Segment(
                segment_id=f"seg-{one:06d}",
                name=name,
                description=Word(f"Description {one}.", f"Descripción {one}."),
                action=Word(f"Action {one}.", f"Acción {one}."),
                rank=order.index(one) + 1,
                customers=own.height,
                share_customers=own.height / customers.height,
                share_monetary=float(own["monetary"].sum()) / total,
                means={name: float(own[name].mean()) for name in FEATURES},  # type: ignore[arg-type]
                medians={name: float(own[name].median()) for name in FEATURES},  # type: ignore[arg-type]
                drivers=(Driver("monetary", 2.5, 1.5, "high"),) if one == k - 1 else (),
            )
        )
    distances = FittedDistances.fit(near.first, near.first_distance, k)
    known = {"as_of": "2024-07-01", "window_days": None, "where": None, "customers": customers.height, **facts}
    return SegmentModel(spec, centroids, tuple(segments), distances, known)


def write_sales(path: Path, ids: list[Any], seed: int = 0) -> pl.DataFrame:
    """Write transactions of some customers as CSV and return them as they were written."""
    draw = random.Random(seed)
    rows = []
    for customer_id in ids:
        for order in range(draw.randint(1, 30)):
            day = f"{draw.randint(2022, 2024)}-{draw.randint(1, 6):02d}-{draw.randint(1, 28):02d}"
            when = f"{day}T{draw.randint(0, 23):02d}:00:00"
            for line in range(draw.randint(1, 3)):
                quantity = -1 if draw.random() < 0.1 else draw.randint(1, 4)
                rows.append(
                    {
                        "customer_id": str(customer_id),
                        "order_id": f"{customer_id}-{order}",
                        "timestamp": when,
                        "product_id": f"p{line}",
                        "quantity": quantity,
                        "unit_price": draw.randint(100, 5_000) / 100,
                    }
                )
    frame = pl.DataFrame(rows)
    frame.write_csv(path)
    return frame


def make_world(
    folder: Path,
    *,
    k: int = 3,
    ids: list[Any] | None = None,
    names: list[Word] | None = None,
    people: bool = True,
    sales: bool = False,
    recommended: bool = False,
    runs: tuple[Path, ...] = (),
    read_run: Any = None,
    language: str = "en",
    **facts: Any,
) -> World:
    """Build everything under a folder."""
    ids = ids if ids is not None else list(range(1, 40 * k + 1))
    customers = customers_of(ids, k)
    model = model_of(customers, k, names, **facts)
    bundle = save_bundle(model, folder / "bundle", engine_version="test")
    lake = None
    if sales:
        write_sales(folder / "sales.csv", ids)
        lake = folder / "lake"
        recipe = Recipe.from_mapping({"name": "till", "path": [str(folder / "sales.csv")]})
        ingest(recipe, lake, rejects=folder / "rejects.parquet")
    base = (lambda model, digest: CustomerBase.build(customers, model)) if people else None
    offers: dict[str, Any] = {}
    if recommended:
        recommender = write_recommender(folder / "recommender", recommender_of(ids, model))
        offers = {"offers": offers_of(bundle, recommender), "recommender": recommender}
    state = State(bundle, base=base, lake=lake, **offers)
    tokens = [TokenRecord(role, role, digest(f"token-{role}"), "2024-01-01") for role in ROLES]
    settings = ServeSettings(language=language, runs=runs, read_run=read_run)
    app = make_app(state, Access(tokens), settings)
    return World(folder, state.now.model, state.now.base, customers, state, app)


HOSTILE = [
    Word("<script>alert(1)</script>", "<script>alert(1)</script>"),
    Word('"><img src=x onerror=alert(2)>', "'; alert(3); //</script>"),
    Word(LONG, LONG.replace(" ", "")),
]
