"""What the API answers, member by member: the shapes of the OpenAPI document. Tests hold real answers against them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """A refusal (RFC 9457); it may have further members, such as `row` and `variable`."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Impossible values"])
    status: int = Field(examples=[422])
    detail: str | None = Field(None, description="What was expected, what came, and the next step.")


class _Assigned(_Answer):
    segment_id: str = Field(description="Stable id of the nearest segment.", examples=["seg-k3x9qa"])
    name: str = Field(description="Its name, in the language asked for.")
    distance: float = Field(ge=0, description="Euclidean distance to its centroid in the scaled space.")
    margin: float | None = Field(
        ge=0,
        le=1,
        description="1 - distance / distance to the second segment: 0 on the border, 1 on the centroid.",
    )
    second_segment_id: str | None = Field(description="The second nearest segment; null where there is one only.")
    novel: bool = Field(description="Whether the customer is unlike those that the model was fitted on.")
    window_days: int | None = Field(description="Period that the values refer to; null is the whole history.")


class Assignment(_Assigned):
    """One customer of a batch."""

    customer_id: int | str | None = Field(None, description="As it was given; left out where none was.")


class CustomerOfTransactions(Assignment):
    """One of the customers behind transactions."""

    as_of: str = Field(description="Date that the period ends before.", examples=["2026-03-02"])


class Classification(_Assigned):
    """One customer's segment."""

    second_name: str | None
    action: str = Field(description="What to do with customers of this segment.")
    window: str = Field(description="The period that the values refer to, in words.")
    distance_percentile: float = Field(
        ge=0, le=1, description="Share of the segment's customers at fit that lie nearer to its centroid."
    )
    neighbour_agreement: float | None = Field(
        ge=0,
        le=1,
        description="Share of the nearest known customers in the same segment; null unless `neighbours=true`.",
    )


class Driver(_Answer):
    """A measure that sets a segment apart from all customers."""

    feature: str
    ratio: float | None = Field(description="Mean of the segment / mean of all customers.")
    z: float = Field(description="Distance from all customers, in standard deviations.")
    direction: str = Field(examples=["high"])


class SegmentAnswer(_Answer):
    """A segment of the model that is served; no customer is in it."""

    segment_id: str
    name: str
    description: str
    action: str = Field(description="What to do with customers of this segment.")
    rank: int = Field(description="1 for the highest mean billing per customer.")
    customers: int = Field(description="At fit.")
    share_customers: float = Field(ge=0, le=1)
    share_monetary: float = Field(description="Of the billing of all customers.")
    means: dict[str, float] = Field(description="By measure, over the customers with a value.")
    medians: dict[str, float]
    drivers: list[Driver] = Field(description="What sets the segment apart, the strongest first.")


class SegmentsAnswer(_Answer):
    """All segments, by rank, and the model that they belong to."""

    digest: str = Field(description="Of the bundle: which model this is.")
    variables: list[str] = Field(description="What `/v1/classify` takes.")
    window_days: int | None = Field(description="Period that the variables refer to; null is the whole history.")
    window: str = Field(description="The same in words.")
    as_of: str | None = Field(description="Date that the model was fitted at.")
    segments: list[SegmentAnswer]


class Order(_Answer):
    """One of a customer's orders."""

    order_id: str | None
    timestamp: str = Field(description="Of its first row, UTC.", examples=["2026-03-01T10:20:00+00:00"])
    lines: int
    amount: float | None = Field(description="What was sold; null where the order holds returns only.")
    returned: float = Field(description="What came back, 0 or more.")


class CustomerAnswer(_Answer):
    """A customer of the base that is served beside the model."""

    customer_id: int | str
    segment_id: str
    name: str = Field(description="Of the segment.")
    distance: float
    margin: float | None
    second_segment_id: str | None
    distance_percentile: float
    novel: bool
    values: dict[str, Any] = Field(description="The customer's values, in business units.")
    orders: list[Order] | None = Field(description="The last ones, newest first; null where no lake is served.")


class Lookalike(_Answer):
    """A customer who resembles the one asked for."""

    customer_id: int | str
    segment_id: str
    distance: float = Field(description="Between the two, in the scaled space.")
    similarity: float = Field(ge=0, le=1, description="The same as a share: 1 is equal.")


class LookalikesAnswer(_Answer):
    """The most similar customers, the nearest first, without the customer itself."""

    customer_id: int | str
    lookalikes: list[Lookalike]


class OfferFigures(_Answer):
    """What the reason of a recommendation rests on; a figure that does not apply is null."""

    times_bought: int = Field(description="Of the customer's baskets, how many had the product.")
    days_since_bought: int | None
    interval_days: float | None = Field(description="Mean days between two purchases by this customer.")
    nearest: int = Field(description="How many of the nearest customers bought it.")
    nearest_of: int = Field(description="How many nearest customers were looked at.")
    with_product: str | None = Field(description="Id of the product that it goes with or follows.")
    lift: float | None = Field(
        description="How many times as often the segment buys it as all customers, or all customers these days as "
        "before."
    )


class Offer(_Answer):
    """A product that is recommended."""

    rank: int = Field(description="1 for the best.")
    product_id: str
    product: str = Field(description="What it is called; its id where it has no name.")
    score: float = Field(description="Log-odds up to a constant: to be compared within one answer only.")
    reason: str = Field(
        examples=["habit"],
        description="`habit`, `owned`, `alike`, `along`, `following`, `segment`, `fresh` or `popular`.",
    )
    why: str = Field(
        examples=["bought every 3 weeks"],
        description="The reason in words, of the product: it may be shown to the customer too.",
    )
    figures: OfferFigures


class CustomerOffers(_Answer):
    """What one customer may be offered next, the best first."""

    customer_id: int | str
    as_of: str = Field(description="Purchases before it are known.")
    recommendations: list[Offer]


class BasketOffers(_Answer):
    """What goes with a basket; nothing that is in it."""

    segment_id: str | None = Field(description="The segment that was given, or that the values belong to.")
    name: str | None = Field(description="Its name.")
    as_of: str = Field(description="Purchases before it are known.")
    unknown: list[str] = Field(description="Products of the basket that are not known here.")
    recommendations: list[Offer]


class Product(_Answer):
    """A product."""

    product_id: str
    product: str = Field(description="What it is called; its id where it has no name.")


class CrossSellRule(_Answer):
    """Customers who bought the one went on to buy the other."""

    bought: list[Product] = Field(description="One product, or two.")
    offer: Product
    customers: int = Field(description="Customers of the segment who bought the first and did not have the other.")
    customers_went_on: int = Field(description="Of them, those who bought it later.")
    share_went_on: float = Field(ge=0, le=1)
    lift: float = Field(
        description="When a buyer of the first tries something new, how many times as often it is this product as for "
        "others of the segment at that time and stage."
    )
    lift_low: float = Field(description="95 % interval of the lift.")
    lift_high: float
    customers_to_offer: int = Field(description="Customers of the segment who have the first and not the other.")


class CrossSellAnswer(_Answer):
    """The cross-selling rules of a segment, the best first."""

    segment_id: str
    name: str
    rules_in_all: int
    rules: list[CrossSellRule]
    why_none: str | None = Field(description="Why there are none, in words; null where there are some.")


class NextProduct(Product):
    """A product that customers of a segment try next."""

    rank: int
    customers: int = Field(description="Customers of the segment who came back.")
    customers_new: int = Field(description="Of them, those whose next basket had it for the first time.")
    probability: float = Field(ge=0, le=1)
    probability_low: float = Field(description="95 % interval of the probability.")
    probability_high: float


class NextProductsAnswer(_Answer):
    """The products that were new in the latest baskets of a segment's customers, the most frequent first."""

    segment_id: str
    name: str
    counted_from: str | None = Field(
        description="Day from which baskets were counted: the figures hold for about as long ahead. Null: not known.",
        examples=["2017-12-21"],
    )
    counted_days: int | None = Field(description="Over how many days they were counted.")
    products: list[NextProduct]
    why_none: str | None = Field(description="Why there are none, in words; null where there are some.")


class Health(_Answer):
    """The process lives."""

    status: str = Field(examples=["ok"])


class Ready(_Answer):
    """Whether requests are served, and by which model."""

    status: str = Field(description="`ready`, or `stopping`.")
    digest: str = Field(description="Of the bundle that is served.")
    loaded_at: str
    customers: int | None = Field(description="At hand beside the model; null where none are served.")
    recommender_as_of: str | None = Field(
        description="Purchases before it are known to the recommendations; null where there are none."
    )
    problem: str | None = Field(description="Why newer files are not served; null when they are.")
