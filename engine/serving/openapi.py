"""The OpenAPI document: what the routes say of themselves, and the variables of the model that is served.

The routes that classify, and the one that recommends for a basket, are plain ASGI endpoints, so they are described
here; what they take depends on the model and changes with it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi

from engine import __version__
from engine.features.store import FEATURES
from engine.serving import answers
from engine.serving.batch import BATCH_OPTIONS, PERIOD_HEADERS, TRANSACTION_OPTIONS
from engine.serving.classify import OPTIONS
from engine.serving.reading import problems
from engine.serving.recommending import BASKET_OPTIONS, MOST_IN_BASKET, MOST_OFFERS
from engine.serving.rows import MEDIA_TYPES

if TYPE_CHECKING:
    from fastapi.routing import APIRoute

    from engine.features.matrix import FeatureColumn
    from engine.segments.model import SegmentModel
    from engine.serving.query import Option

ABOUT = """Segments of customers, by one fitted model.

Every request but `/health` and `/ready` carries a token: `Authorization: Bearer TOKEN`. Its role says what it may:
`classify` (segments, classification, baskets), `customers` (persons too), `admin` (the metrics too). A refusal is
`application/problem+json` with what was expected, what came, and the next step. `language` (`en` or `es`) stands behind
the question mark, of every route that answers with names or texts, and never in a body.
"""

TRANSACTIONS_ABOUT = (
    "Rows of receipts under their canonical names: customer_id, order_id, timestamp, product_id, quantity, unit_price, "
    "amount, kind; needed are customer_id, timestamp, and amount (or quantity and unit_price). Answers with every "
    "customer who bought within the model's own period, by customer_id."
)
BATCH_ABOUT = (
    "Rows with a value for each variable, and a customer_id if wanted. Answers with a row for each, in their order. "
    "One impossible value refuses the whole and is named by its row (the first is 1) and variable."
)


BASKET_ABOUT = (
    "For somebody who is not known: by the basket so far and by the segment, given by `segment_id` or found from the "
    "values in `customer`. All members may be left out: an empty basket of nobody known gets what is popular. Nothing "
    "that is in the basket comes back; products that are not known are named in `unknown`."
)

PERIOD_ABOUT = {
    "window_days": "Days that the values refer to; null is the whole history. In Arrow also metadata of the schema.",
    "as_of": "Date that this period ends before.",
}


def document(
    routes: Sequence[APIRoute], model: SegmentModel, *, max_rows: int, basket: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the document.

    Parameters
    ----------
    routes
        Those that describe themselves.
    model
        Its variables are the bodies' members.
    max_rows
        Of one batch.
    basket
        Products to show a basket by.
    """
    described = _classifying()
    content = get_openapi(title="Cartera", version=__version__, description=ABOUT, routes=[*described.routes, *routes])
    schemas = content["components"]["schemas"]
    schemas["Problem"] = answers.Problem.model_json_schema()
    schemas["Customer"] = customer_schema(model)
    schemas["CustomerRow"] = _with_id(schemas["Customer"])
    schemas["Transaction"] = TRANSACTION_SCHEMA
    example = {name: typical(column) for name, column in zip(model.spec.names, model.spec.columns, strict=True)}
    paths = content["paths"]
    _takes(paths["/v1/classify"]["post"], OPTIONS, {"application/json": _body("Customer", example)})
    rows = [{"customer_id": "A-17", **example}]
    _takes(paths["/v1/classify/batch"]["post"], BATCH_OPTIONS, _forms("CustomerRow", rows, max_rows))
    _takes(
        paths["/v1/classify/transactions"]["post"],
        TRANSACTION_OPTIONS,
        _forms("Transaction", [TRANSACTION_EXAMPLE], max_rows),
    )
    schemas["Basket"] = basket_schema()
    one = {"basket": list(basket), "segment_id": model.segments[0].segment_id, "k": 5}
    _takes(paths["/v1/recommend"]["post"], BASKET_OPTIONS, {"application/json": _body("Basket", one)})
    # The framework's own description of a refused option; ours is the problem document.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    content["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, methods in paths.items():
        for operation in methods.values():
            operation["security"] = [] if path in ("/health", "/ready") else [{"token": []}]
            operation.pop("operationId", None)
            for parameter in operation.get("parameters", []):
                parameter["schema"].pop("title", None)
    return content


def customer_schema(model: SegmentModel) -> dict[str, Any]:
    """Return the schema of one customer: a number for each variable, within what it can be."""
    return {
        "type": "object",
        "properties": {column.name: _variable(column) for column in model.spec.columns},
        "required": model.spec.names,
        "additionalProperties": False,
        "description": "A value for each variable of the model, in business units.",
    }


def basket_schema() -> dict[str, Any]:
    """Return the schema of the body of ``/v1/recommend``."""
    return {
        "type": "object",
        "properties": {
            "basket": {
                "type": "array",
                "items": {"type": ["string", "integer"]},
                "maxItems": MOST_IN_BASKET,
                "description": "Product ids; at least one of them must be known where there are any.",
            },
            "segment_id": {"type": ["string", "null"], "description": "Of the customer, where it is known."},
            "customer": {
                "anyOf": [{"$ref": "#/components/schemas/Customer"}, {"type": "null"}],
                "description": "The customer's values instead, to be classified first.",
            },
            "k": {
                "type": "integer",
                "minimum": 1,
                "maximum": MOST_OFFERS,
                "default": 10,
                "description": f"How many products, 1 to {MOST_OFFERS}.",
            },
            "only": {
                "enum": ["new", None],
                "description": "`new` or nothing, which are the same here: all that is offered is new to the basket.",
            },
        },
        "additionalProperties": False,
    }


def typical(column: FeatureColumn) -> float:
    """Return a value from the middle of the customers of the fit, to two digits that matter."""
    if not math.isfinite(column.fill):
        return 0.0
    value = float(f"{column.fill:.2g}")
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


TRANSACTION_EXAMPLE = {"customer_id": 17, "order_id": "a1", "timestamp": "2026-03-01T10:20:00", "amount": 24.9}
TRANSACTION_SCHEMA = {
    "type": "object",
    "properties": {
        "customer_id": {"type": ["integer", "string"]},
        "order_id": {"type": ["integer", "string"]},
        "timestamp": {"type": "string"},
        "product_id": {"type": ["integer", "string"]},
        "quantity": {"type": "number"},
        "unit_price": {"type": "number"},
        "amount": {"type": "number"},
        "kind": {"type": "string", "enum": ["sale", "return"]},
    },
    "required": ["customer_id", "timestamp", "amount"],
}


def _classifying() -> APIRouter:
    """Return routes that only stand for the ASGI endpoints: they are described, never called."""
    router = APIRouter()
    refusals = problems(400, 401, 413, 422, 429)

    def describe(
        path: str,
        summary: str,
        description: str,
        answer: Any,
        codes: dict[int | str, Any],
        *,
        tag: str = "classification",
    ) -> None:
        def stub() -> None:
            raise NotImplementedError

        router.add_api_route(
            path,
            stub,
            methods=["POST"],
            summary=summary,
            description=description,
            response_model=answer,
            responses=codes,
            tags=[tag],
        )

    many = {**refusals, **problems(406, 415, 503)}
    describe(
        "/v1/recommend",
        "What goes with a basket",
        BASKET_ABOUT,
        answers.BasketOffers,
        {**refusals, **problems(404, 415)},
        tag="recommendations",
    )
    describe(
        "/v1/classify",
        "One customer's segment",
        "The values refer to the model's own period, which the answer repeats.",
        answers.Classification,
        {**refusals, **problems(415)},
    )
    describe("/v1/classify/batch", "The segments of many customers", BATCH_ABOUT, list[answers.Assignment], many)
    describe(
        "/v1/classify/transactions",
        "The segments of the customers behind transactions",
        TRANSACTIONS_ABOUT,
        list[answers.CustomerOfTransactions],
        many,
    )
    return router


def _variable(column: FeatureColumn) -> dict[str, Any]:
    low, high = column.limits
    schema: dict[str, Any] = {"type": "number", "examples": [typical(column)]}
    if low > -math.inf:
        schema["minimum"] = low
    if high < math.inf:
        schema["maximum"] = high
    feature = FEATURES.get(column.name)
    if feature is not None:
        unit = feature.unit.en
        schema["title"] = feature.label.en + (f" ({unit})" if unit else "")
        schema["description"] = feature.definition.en
    return schema


def _with_id(schema: Mapping[str, Any]) -> dict[str, Any]:
    identity = {"type": ["integer", "string", "null"], "description": "Comes back with the answer."}
    return {**schema, "properties": {"customer_id": identity, **schema["properties"]}}


def _body(schema: str, example: Any) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{schema}"}, "examples": {"typical": {"value": example}}}


def _forms(schema: str, example: list[dict[str, Any]], max_rows: int) -> dict[str, Any]:
    names = list(example[0])
    values = [json.dumps(value).strip('"') for value in example[0].values()]
    as_list = {
        "schema": {
            "type": "array",
            "items": {"$ref": f"#/components/schemas/{schema}"},
            "maxItems": max_rows,
            "minItems": 1,
        },
        "examples": {"typical": {"value": example}},
    }
    text = {
        "schema": {"type": "string"},
        "examples": {"typical": {"value": f"{','.join(names)}\n{','.join(values)}\n"}},
    }
    return {
        MEDIA_TYPES["json"]: as_list,
        MEDIA_TYPES["csv"]: text,
        MEDIA_TYPES["arrow"]: {"schema": {"type": "string", "format": "binary"}},
    }


def _takes(operation: dict[str, Any], options: Mapping[str, Option], bodies: Mapping[str, Any]) -> None:
    operation["parameters"] = [
        {"name": name, "in": "query", "required": False, "schema": dict(option.schema), "description": option.about}
        for name, option in options.items()
    ]
    operation["requestBody"] = {"required": True, "content": dict(bodies)}
    answer = operation["responses"]["200"]["content"]
    if len(bodies) > 1:
        operation["responses"]["200"]["headers"] = {
            name.decode().title(): {"schema": {"type": "string"}, "description": PERIOD_ABOUT[member]}
            for member, name in PERIOD_HEADERS.items()
            if member == "window_days" or "as_of" in options
        }
        answer[MEDIA_TYPES["csv"]] = {"schema": {"type": "string"}}
        answer[MEDIA_TYPES["arrow"]] = {"schema": {"type": "string", "format": "binary"}}
