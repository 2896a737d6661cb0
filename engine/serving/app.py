"""The application: routes of the API and the pages behind one machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from engine.serving.access import Access
from engine.serving.batch import Batches
from engine.serving.classify import ClassifyOne
from engine.serving.docs_page import docs_page
from engine.serving.machine import Machine, Rules
from engine.serving.metrics import Metrics
from engine.serving.openapi import document
from engine.serving.pages import PageSettings, page_routes, problem_page
from engine.serving.problems import Problem
from engine.serving.reading import reading_routes
from engine.serving.recommending import RecommendForBasket, recommending_routes
from engine.serving.settings import ServeSettings
from engine.serving.state import State

API = ("/v1/", "/health", "/ready", "/metrics", "/openapi.json")
"""Paths whose refusals are always for machines; elsewhere a browser is shown a page."""

BATCH = "/v1/classify/batch"
TRANSACTIONS = "/v1/classify/transactions"


def make_app(
    state: State, access: Access, settings: ServeSettings, *, metrics: Metrics | None = None, stop: Stop | None = None
) -> Machine:
    """Return the ASGI application.

    Parameters
    ----------
    state, access
        What is served, and to whom.
    settings
        How.
    metrics
        Where it is counted; by default figures of this application alone.
    stop
        Told by the server when it is about to end.

    Examples
    --------
    A test client speaks to it without a server::

        from starlette.testclient import TestClient
        app = make_app(State("bundle"), Access(tokens), ServeSettings())
        client = TestClient(app, base_url="http://localhost")
    """
    counted = metrics or Metrics()
    ending = stop or Stop()
    counted.serves(state.now)
    state.told = counted.told
    one = ClassifyOne(state, access, counted, language=settings.language)
    many = Batches(state, access, counted, language=settings.language, max_rows=settings.max_rows)

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        many.warm_up()
        watching = asyncio.create_task(state.watch())
        try:
            yield
        finally:
            watching.cancel()
            many.close()

    reading = reading_routes(
        state,
        access,
        counted,
        spoken=settings.language,
        metrics_public=settings.metrics_public,
        stopping=lambda: ending.asked,
    )
    # The longer paths of customers first: an id may hold a slash.
    described = [*recommending_routes(state, access, spoken=settings.language).routes, *reading.routes]
    basket = RecommendForBasket(state, access, language=settings.language)

    @lru_cache(maxsize=2)
    def described_for(digest: str, basket: tuple[str, ...]) -> dict[str, Any]:
        return document(described, state.now.model, max_rows=settings.max_rows, basket=basket)  # type: ignore[arg-type]

    def described_now() -> dict[str, Any]:
        now = state.now
        return described_for(now.digest, () if now.offers is None else now.offers.example)

    async def openapi(request: Request) -> Response:
        access.require(request.scope, "classify")
        content = msgspec.json.encode(described_now())
        return Response(content, media_type="application/json")

    async def docs(request: Request) -> Response:
        access.require(request.scope, "classify")
        return HTMLResponse(docs_page(described_now(), str(request.base_url).rstrip("/")))

    app = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.router.routes[:] = [
        Route("/v1/classify", one, methods=["POST"], name="classify"),
        Route(BATCH, Endpoint(many.customers), methods=["POST"], name="classify batch"),
        Route(TRANSACTIONS, Endpoint(many.transactions), methods=["POST"], name="classify transactions"),
        Route("/v1/recommend", basket, methods=["POST"], name="recommend"),
        *described,
        Route("/openapi.json", openapi, methods=["GET"], name="openapi"),
        Route("/docs", docs, methods=["GET"], name="docs"),
        *page_routes(state, access, page_settings(settings)),
    ]

    async def problem(request: Request, error: Exception) -> Response:
        return shown(request, as_problem(error), settings)

    for kind in (Problem, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, problem)
    rules = Rules(
        hosts=settings.host_names,
        large=frozenset({BATCH, TRANSACTIONS}),
        max_body=int(settings.max_body_mib * 2**20),
        rate=settings.rate,
        secure=settings.secure,
    )
    return Machine(
        app,
        access=access,
        rules=rules,
        metrics=counted,
        templates={route.endpoint: route.path for route in app.router.routes if isinstance(route, Route)},
        show=lambda scope, refusal: shown(Request(scope), refusal, settings),
    )


class Stop:
    """Whether the server has been asked to end."""

    asked = False


class Endpoint:
    """An ASGI endpoint as Starlette's routes take one: an object, so that no request or response is built around it."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        await self._answer(scope, receive, send)


def page_settings(settings: ServeSettings) -> PageSettings:
    """Return how the pages are served."""
    return PageSettings(language=settings.language, runs=settings.runs, read_run=settings.read_run)


def as_problem(error: Exception) -> Problem:
    """Return a refusal of the framework as one of ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        name = str(first["loc"][-1]) if first["loc"] else ""
        return Problem(422, "Impossible option", f"{name}: {first['msg']}.", option=name)
    if isinstance(error, HTTPException):
        detail = {
            404: "Nothing is at this address; /docs lists what there is.",
            405: "This address takes another method; see the header Allow.",
        }.get(error.status_code, "")
        headers = dict(error.headers or {})
        allowed = headers.get("Allow", "").split(", ")
        if "GET" in allowed and "HEAD" not in allowed:
            headers["Allow"] = ", ".join([*allowed, "HEAD"])
        return Problem(error.status_code, detail=detail, headers=headers)
    return Problem(500, detail="A fault of ours; it has been noted in the server's log.")


def shown(request: Request, problem: Problem, settings: ServeSettings) -> Response:
    """Return a refusal as a page for a browser that wanted one, else as a problem document."""
    wants_page = "text/html" in request.headers.get("accept", "")
    if not wants_page or request.url.path.startswith(API):
        return problem.response()
    response = problem_page(request, problem, page_settings(settings))
    for name, value in problem.headers.items():
        response.headers.setdefault(name, value)
    return response
