"""Who to offer a product to, as one would ask it by hand: everybody's whole list, one after the other."""

from __future__ import annotations

from typing import Any

from engine.recommend.recommender import CustomerRecommender


def customers_for(
    recommender: CustomerRecommender,
    product_id: str,
    *,
    segment_id: str | None = None,
    only: str | None = None,
    widely: bool = True,
) -> list[dict[str, Any]]:
    """Each customer with a basket whose list has the product: what the list says of it, the highest score first.

    ``widely``: whether many buy the product, so that this may be the reason.
    """
    found = []
    everybody = recommender.history.customer_ids.to_list()
    for row, (customer, baskets) in enumerate(zip(everybody, recommender.history.each(), strict=True)):
        number = int(recommender.segment_of[row])
        segment = None if number < 0 else recommender.segments["segment_id"][number]
        if not baskets or (segment_id is not None and segment != segment_id):
            continue
        offers = recommender.for_customer(customer, k=recommender.history.m, only=only)
        found += [{"customer_id": customer, **offer} for offer in offers if offer["product_id"] == product_id]
    found = [offer for offer in found if widely or offer["reason"] != "popular"]
    # Python's sort keeps the order of customers with the same score.
    return sorted(found, key=lambda offer: -offer["score"])
