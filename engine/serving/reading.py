"""The routes that read: segments, customers, look-alikes, and how the server is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from engine.customer_base import CustomerBase
from engine.errors import DataError
from engine.schema import LANGUAGES
from engine.segments.model import SegmentModel
from engine.segments.segment import Segment
from engine.serving import answers
from engine.serving.access import Access
from engine.serving.classify import window_text
from engine.serving.history import LAST_ORDERS, orders_of
from engine.serving.metrics import CONTENT_TYPE, Metrics
from engine.serving.problems import Problem
from engine.serving.query import check_options
from engine.serving.state import Snapshot, State

if TYPE_CHECKING:
    from engine.lake.table import Lake

log = logging.getLogger(__name__)

MOST_LOOKALIKES = 1_000

MOST_SLASHES = 8
"""Of an id, at which a mistyped route is looked for."""

CUSTOMER = "customer_id"

CUSTOMER_ROUTES = ("lookalikes", "recommendations")
"""What follows a customer in an address."""

ROUTES_TOLD = ", ".join(["/v1/customers/ID", *(f"/v1/customers/ID/{name}" for name in CUSTOMER_ROUTES)])

ASSIGNED = ("customer_id", "cluster", "distance", "margin", "second", "novel")
"""Columns of the base that are no values of the customer."""

Language = Annotated[
    str | None, Query(pattern=f"^({'|'.join(LANGUAGES)})$", description="Language of names and texts: en or es.")
]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {
        "description": text,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for code, text in {
        400: "The body is not what its form says.",
        401: "No valid token.",
        403: "The token's role does not reach.",
        404: "Not there.",
        406: "The answer has no such form.",
        413: "The body is too large, or has too many rows.",
        415: "The body has no such form.",
        422: "An option or a value is impossible.",
        429: "Too many requests.",
        503: "Not now; try again.",
    }.items()
}


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of these refusals, for OpenAPI."""
    return {code: PROBLEMS[code] for code in codes}


def needed(access: Access, name: str, *, first: Callable[[Request], None] = lambda request: None) -> Any:
    """Return the dependency that a role, and only options that a route knows, are given; ``first`` is asked before."""

    async def check(request: Request) -> None:
        access.require(request.scope, name)
        first(request)
        known = [option.alias for option in request.scope["route"].dependant.query_params]
        check_options(request.scope["query_string"], known)

    return Depends(check)


def reading_routes(
    state: State,
    access: Access,
    metrics: Metrics,
    *,
    spoken: str,
    metrics_public: bool,
    stopping: Callable[[], bool],
) -> APIRouter:
    """Return the routes.

    Parameters
    ----------
    state, access, metrics
        What is served, to whom, and where it is counted.
    spoken
        Language of an answer where none is asked for.
    metrics_public
        Whether ``/metrics`` is answered without a token.
    stopping
        Whether the server is about to end.
    """
    router = APIRouter(redirect_slashes=False)
    role = partial(needed, access)

    @router.get("/health", response_model=answers.Health, tags=["server"], summary="Does the process live?")
    async def health() -> Response:
        return json_answer({"status": "ok"})

    @router.get(
        "/ready",
        response_model=answers.Ready,
        responses={503: {"model": answers.Ready, "description": "The server is about to end."}},
        tags=["server"],
        summary="Are requests served, and by which model?",
    )
    async def ready() -> Response:
        now, over = state.now, stopping()
        content = {
            "status": "stopping" if over else "ready",
            "digest": now.digest,
            "loaded_at": now.loaded_at.isoformat(timespec="seconds"),
            "customers": None if now.base is None else now.base.n,
            "recommender_as_of": None if now.offers is None else now.offers.as_of.isoformat(),
            "problem": state.problem,
        }
        return json_answer(content, 503 if over else 200)

    @router.get(
        "/metrics",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {}}, "description": "In Prometheus' text form."},
            **problems(401, 403),
        },
        tags=["server"],
        summary="Figures for Prometheus",
    )
    async def figures(request: Request) -> Response:
        if not metrics_public:
            access.require(request.scope, "admin")
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    @router.get(
        "/v1/segments",
        response_model=answers.SegmentsAnswer,
        responses=problems(401, 422, 429),
        dependencies=[role("classify")],
        tags=["segments"],
        summary="All segments and the model they belong to",
    )
    async def segments(language: Language = None) -> Response:
        now, asked = state.now, language or spoken
        return json_answer(
            {
                "digest": now.digest,
                "variables": now.model.spec.names,
                "window_days": now.model.window_days,
                "window": window_text(now.model, asked),
                "as_of": now.model.facts.get("as_of"),
                "segments": [
                    segment_answer(one, asked) for one in sorted(now.model.segments, key=lambda one: one.rank)
                ],
            }
        )

    @router.get(
        "/v1/segments/{segment_id}",
        response_model=answers.SegmentAnswer,
        responses=problems(401, 404, 422, 429),
        dependencies=[role("classify")],
        tags=["segments"],
        summary="One segment",
    )
    async def segment(segment_id: str, language: Language = None) -> Response:
        model = state.now.model
        return json_answer(segment_answer(model.segments[cluster_of(model, segment_id)], language or spoken))

    # An id may hold a slash, and the longer path must be looked for first.
    @router.get(
        "/v1/customers/{customer_id:path}/lookalikes",
        response_model=answers.LookalikesAnswer,
        responses=problems(401, 403, 404, 422, 429),
        dependencies=[role("customers")],
        tags=["customers"],
        summary="The customers most similar to one",
    )
    def lookalikes(
        customer_id: str,
        k: Annotated[int, Query(ge=1, le=MOST_LOOKALIKES, description=f"How many, 1 to {MOST_LOOKALIKES:,}.")] = 10,
        segment: Annotated[str | None, Query(description="Only customers of this segment, by its id.")] = None,
    ) -> Response:
        now = state.now
        row, base = row_of(now, customer_id, after="/lookalikes"), base_of(now)
        cluster = None if segment is None else cluster_of(now.model, segment, status=422)
        found = base.similar(row, k, segment=cluster)
        columns = ["customer_id", "segment_id", "distance", "similarity"]
        return json_answer(
            {"customer_id": base.customer(row)["customer_id"], "lookalikes": found.select(columns).to_dicts()}
        )

    @router.get(
        "/v1/customers/{customer_id:path}",
        response_model=answers.CustomerAnswer,
        responses=problems(401, 403, 404, 422, 429, 503),
        # The options of a route that was mistyped are none of this one's.
        dependencies=[role("customers", first=lambda request: check_route(state.now, request.path_params[CUSTOMER]))],
        tags=["customers"],
        summary="One customer: values, segment, last orders",
    )
    def customer(customer_id: str, language: Language = None) -> Response:
        now = state.now
        return json_answer(customer_answer(now, row_of(now, customer_id), language or spoken))

    return router


def segment_answer(segment: Segment, language: str) -> dict[str, Any]:
    """Return a segment in one language."""
    words = {"name": segment.name, "description": segment.description, "action": segment.action}
    return {**segment.to_dict(), **{name: word.text(language) for name, word in words.items()}}


def customer_answer(now: Snapshot, row: int, language: str) -> dict[str, Any]:
    """Return one customer of the base."""
    known = base_of(now).customer(row)
    cluster, second, distance = int(known["cluster"]), int(known["second"]), float(known["distance"])
    segments = now.model.segments
    percentile = now.model.distances.percentile(np.array([cluster]), np.array([distance]))
    return {
        "customer_id": known["customer_id"],
        "segment_id": segments[cluster].segment_id,
        "name": segments[cluster].name.text(language),
        "distance": distance,
        "margin": None if second < 0 else float(known["margin"]),
        "second_segment_id": None if second < 0 else segments[second].segment_id,
        "distance_percentile": float(percentile[0]),
        "novel": bool(known["novel"]),
        "values": {name: value for name, value in known.items() if name not in ASSIGNED},
        "orders": None if now.lake is None else _orders(now.lake, known["customer_id"]),
    }


def base_of(now: Snapshot) -> CustomerBase:
    """Return the customers that are served, or raise :class:`Problem` 404."""
    if now.base is None:
        raise Problem(404, "No customers", "This server was started without customers (customers=FOLDER).")
    return now.base


def row_of(now: Snapshot, customer_id: str, *, after: str = "") -> int:
    """Return a customer's row in the base, or raise :class:`Problem` 404; ``after``: the rest of the path."""
    row = None if now.base is None else now.base.row(customer_id)
    if row is None:
        check_route(now, customer_id + after)
        base_of(now)
        hint = f" If a route was meant, there are {ROUTES_TOLD}." if "/" in customer_id else ""
        raise Problem(404, "Unknown customer", f"No customer of this id is in the base that is served.{hint}")
    return row


def check_route(now: Snapshot, path: str) -> None:
    """Raise :class:`Problem` 404 where a path behind ``/v1/customers/`` is a customer's and what follows is no route.

    An id may hold a slash, so a route that was mistyped looks like one: it is none if what stands before a slash is a
    customer.
    """

    def known(customer_id: str) -> bool:
        return any(one is not None and one.row(customer_id) is not None for one in (now.base, now.offers))

    # A path of nothing but slashes is not looked up for each of them.
    parts = path.split("/", MOST_SLASHES)
    if len(parts) == 1 or known(path):
        return
    for length in range(1, len(parts)):
        follows = "/".join(parts[length:])
        if follows not in CUSTOMER_ROUTES and known("/".join(parts[:length])):
            raise Problem(
                404,
                "Unknown route",
                f"The customer is known, but {follows[:100]!r}, which follows, is no route; there are {ROUTES_TOLD}.",
            )


def cluster_of(model: SegmentModel, segment_id: str, *, status: int = 404) -> int:
    """Return the index of a segment, or raise :class:`Problem`."""
    for cluster, one in enumerate(model.segments):
        if one.segment_id == segment_id:
            return cluster
    there = ", ".join(one.segment_id for one in model.segments)
    raise Problem(
        status, "Unknown segment", f"No segment {segment_id!r} in the model that is served; there are {there}."
    )


def _orders(lake: Lake, customer_id: int | str) -> list[dict[str, Any]]:
    try:
        orders = orders_of(lake, customer_id).head(LAST_ORDERS)
    except DataError as error:
        # Its own words name a path of this machine.
        log.warning("%s", error)
        raise Problem(503, "Lake not readable", "The lake cannot be read now; the server's log says why.") from None
    return [
        {
            "order_id": row["order_id"],
            "timestamp": row["timestamp"].isoformat(),
            "lines": row["lines"],
            "amount": None if row["amount"] is None else float(row["amount"]),
            "returned": float(row["returned"]),
        }
        for row in orders.iter_rows(named=True)
    ]


def json_answer(content: Any, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")
