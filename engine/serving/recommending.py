"""The routes that recommend: to a customer, for a basket, and to a segment."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from engine.errors import DataError
from engine.report.recommend_words import SEGMENT_OFFER_TEXTS
from engine.serving import answers
from engine.serving.classify import as_object, check_encoding, read_body, refused, send_json
from engine.serving.problems import Problem
from engine.serving.query import BEHIND, IMPUTE, LANGUAGE, options
from engine.serving.reading import Language, check_route, cluster_of, json_answer, needed, problems

if TYPE_CHECKING:
    from engine.segments.segment import Segment
    from engine.serving.access import Access
    from engine.serving.offers import Offers
    from engine.serving.state import Snapshot, State

MOST_OFFERS = 100
"""Products in one answer."""

MOST_IN_BASKET = 1_000

MOST_RULES = 1_000

BASKET_OPTIONS = {"impute": IMPUTE, "language": LANGUAGE}

EXAMPLE = '{"basket": ["milk"], "k": 5}'

MEMBERS = ("basket", "segment_id", "customer", "k", "only")
"""Of the body for a basket."""

Only = Annotated[
    Literal["new", "bought"] | None,
    Query(description="`new`: what the customer has not bought so far; `bought`: what was bought before; else both."),
]

RULE = {
    "customers": "customers_open",
    "customers_went_on": "customers_xy",
    "share_went_on": "confidence",
    "lift": "lift",
    "lift_low": "lift_low",
    "lift_high": "lift_high",
    "customers_to_offer": "customers_to_offer",
}
"""Figures of a rule: their names here and in the table."""

NONE = {"cross_sell": "cross_none", "next_products": "next_none"}
"""By table: the text that says that it has nothing for a segment."""

TRIED = ("rank", "customers", "customers_new", "probability", "probability_low", "probability_high")


class RecommendForBasket:
    """The endpoint ``POST /v1/recommend``.

    Parameters
    ----------
    state, access
        What is served, and to whom.
    language
        Of an answer where none is asked for.
    """

    def __init__(self, state: State, access: Access, *, language: str) -> None:
        self._state, self._access, self._language = state, access, language

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        self._access.require(scope, "classify")
        asked = options(scope["query_string"], BASKET_OPTIONS)
        body = await read_body(receive)
        now = self._state.now
        offers = offers_of(now)
        try:
            content = as_object(body, example=EXAMPLE)
        except Problem:
            check_encoding(scope)
            raise
        basket, k = _checked(content)
        segment = _segment(now, content, impute=asked["impute"])
        language = asked["language"] or self._language
        segment_id = None if segment is None else segment.segment_id
        recommended, unknown = offers.of_basket(basket, segment_id, k, language)
        if basket and len(unknown) == len(set(basket)):
            raise Problem(
                422,
                "Unknown products",
                f"basket: none of its {len(basket):,} products is known here. Give product ids as in the lake that the "
                "recommendations were made from, or an empty basket.",
                unknown=unknown[:MOST_OFFERS],
            )
        await send_json(
            send,
            {
                "segment_id": segment_id,
                "name": None if segment is None else segment.name.text(language),
                "as_of": offers.as_of.isoformat(),
                "unknown": unknown,
                "recommendations": recommended,
            },
        )


def recommending_routes(state: State, access: Access, *, spoken: str) -> APIRouter:
    """Return the routes that read.

    Parameters
    ----------
    state, access
        What is served, and to whom.
    spoken
        Language of an answer where none is asked for.
    """
    router = APIRouter(redirect_slashes=False)
    role = partial(needed, access)

    # An id may hold a slash, and the longer path must be looked for first.
    @router.get(
        "/v1/customers/{customer_id:path}/recommendations",
        response_model=answers.CustomerOffers,
        responses=problems(401, 403, 404, 422, 429),
        dependencies=[role("customers")],
        tags=["recommendations"],
        summary="What one customer may be offered next",
    )
    async def recommendations(
        customer_id: str,
        k: Annotated[int, Query(ge=1, le=MOST_OFFERS, description=f"How many products, 1 to {MOST_OFFERS}.")] = 10,
        only: Only = None,
        language: Language = None,
    ) -> Response:
        offers = offers_of(state.now)
        row = offers.row(customer_id)
        if row is None:
            check_route(state.now, f"{customer_id}/recommendations")
            raise Problem(
                404,
                "Unknown customer",
                f"No customer of this id bought anything before {offers.as_of:%Y-%m-%d}. Ask with a basket and a "
                "segment: POST /v1/recommend.",
            )
        return json_answer(
            {
                "customer_id": offers.customer_id(row),
                "as_of": offers.as_of.isoformat(),
                "recommendations": offers.of_customer(row, k, language or spoken, only=only),
            }
        )

    @router.get(
        "/v1/segments/{segment_id}/cross-sell",
        response_model=answers.CrossSellAnswer,
        responses=problems(401, 404, 422, 429),
        dependencies=[role("classify")],
        tags=["recommendations"],
        summary="What the customers of a segment go on to buy",
    )
    async def cross_sell(
        segment_id: str,
        k: Annotated[int, Query(ge=1, le=MOST_RULES, description=f"How many rules, 1 to {MOST_RULES:,}.")] = 20,
        language: Language = None,
    ) -> Response:
        rules = _table(state.now, "cross_sell", segment_id)
        return json_answer(
            {
                **_named(state.now, segment_id, language or spoken),
                "rules_in_all": len(rules),
                "rules": [rule_answer(rule) for rule in rules[:k]],
                "why_none": None if rules else _why_none(state.now, "cross_sell", segment_id, language or spoken),
            }
        )

    @router.get(
        "/v1/segments/{segment_id}/next-products",
        response_model=answers.NextProductsAnswer,
        responses=problems(401, 404, 422, 429),
        dependencies=[role("classify")],
        tags=["recommendations"],
        summary="What was new in the latest baskets of a segment's customers",
    )
    async def next_products(
        segment_id: str,
        k: Annotated[int, Query(ge=1, le=MOST_OFFERS, description=f"How many products, 1 to {MOST_OFFERS}.")] = 10,
        language: Language = None,
    ) -> Response:
        tried = _table(state.now, "next_products", segment_id)
        begins, days = offers_of(state.now).tried_from or (None, None)
        return json_answer(
            {
                **_named(state.now, segment_id, language or spoken),
                "counted_from": begins,
                "counted_days": days,
                "products": [{**_product(one, "product"), **{name: one[name] for name in TRIED}} for one in tried[:k]],
                "why_none": None if tried else _why_none(state.now, "next_products", segment_id, language or spoken),
            }
        )

    return router


def offers_of(now: Snapshot) -> Offers:
    """Return the recommendations that are served, or raise :class:`Problem` 404."""
    if now.offers is None:
        raise Problem(
            404, "No recommendations", "This server was started without recommendations (recommender=FOLDER)."
        )
    return now.offers


def rule_answer(rule: dict[str, Any]) -> dict[str, Any]:
    """Return a cross-selling rule as it is answered."""
    bought = [_product(rule, column) for column in ("product_x", "product_x2") if rule[column] is not None]
    figures = {name: rule[column] for name, column in RULE.items()}
    return {"bought": bought, "offer": _product(rule, "product_y"), **figures}


def _product(row: dict[str, Any], column: str) -> dict[str, Any]:
    return {"product_id": row[column], "product": row[f"{column}_name"]}


def _table(now: Snapshot, name: str, segment_id: str) -> list[dict[str, Any]]:
    offers = offers_of(now)
    cluster_of(now.model, segment_id)
    rows = offers.table(name, segment_id)
    if rows is None or not offers.segment_ids:
        raise Problem(
            404,
            "No such table",
            "The recommendations that are served have no table by segment. Make them with segments: `cartera recommend "
            "lake=LAKE bundle=BUNDLE`.",
        )
    return rows


def _why_none(now: Snapshot, table: str, segment_id: str, language: str) -> str:
    """Say why a table has nothing for a segment, as the report of the run does."""
    none = SEGMENT_OFFER_TEXTS[NONE[table]].text(language).rstrip(".")
    return ". ".join(filter(None, [none, offers_of(now).why_nothing(segment_id, language).get(table, "")]))


def _named(now: Snapshot, segment_id: str, language: str) -> dict[str, Any]:
    name = now.model.segments[cluster_of(now.model, segment_id)].name
    return {"segment_id": segment_id, "name": name.text(language)}


def _checked(content: dict[str, Any]) -> tuple[list[str], int]:
    """Return the products of a basket and how many are asked for, or raise :class:`Problem` 422."""
    for name in content:
        if name not in MEMBERS:
            raise Problem(
                422,
                "Unknown member",
                f"{name[:100]!r} is no member here; there are {', '.join(MEMBERS)}."
                + (f" {name}: {BEHIND.format(name=name)}" if name in BASKET_OPTIONS else ""),
                variable=name[:100],
            )
    basket, k = content.get("basket", []), content.get("k", 10)
    if not isinstance(basket, list) or not all(type(one) in (str, int) for one in basket):
        raise _impossible("basket", "expected a list of product ids, text or whole numbers", "basket")
    if len(basket) > MOST_IN_BASKET:
        raise _impossible("basket", f"expected {MOST_IN_BASKET:,} products at most; got {len(basket):,}", "basket")
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MOST_OFFERS:
        raise _impossible("k", f"expected a whole number from 1 to {MOST_OFFERS}; got {k!r:.100}", "k")
    only = content.get("only")
    if only == "bought":
        raise _impossible(
            "only",
            "expected 'new', or nothing; got 'bought', and nothing that is in the basket is offered. Somebody whose "
            "purchases are known is asked for with GET /v1/customers/ID/recommendations?only=bought",
            "only",
        )
    if only not in (None, "new"):
        raise _impossible("only", f"expected 'new', or nothing; got {only!r:.100}", "only")
    return [str(one) for one in basket], k


def _segment(now: Snapshot, content: dict[str, Any], *, impute: bool) -> Segment | None:
    """Return the segment of somebody new, given or found from values; ``None`` where neither is there."""
    segment_id, values = content.get("segment_id"), content.get("customer")
    if segment_id is not None and values is not None:
        raise _impossible("segment_id and customer", "expected one of them, or neither; got both", "customer")
    if segment_id is not None:
        if not isinstance(segment_id, str):
            raise _impossible("segment_id", "expected text such as seg-k3x9qa", "segment_id")
        return now.model.segments[cluster_of(now.model, segment_id, status=422)]
    if values is None:
        return None
    if not isinstance(values, dict):
        raise _impossible("customer", "expected an object of values by variable", "customer")
    try:
        return now.model.classify(values, impute=impute).segment
    except DataError as error:
        raise refused(error, now.model) from None


def _impossible(what: str, expected: str, member: str, **extra: Any) -> Problem:
    return Problem(422, "Impossible value", f"{what}: {expected}.", variable=member, **extra)
