"""What a run of `cartera recommend` found, small enough to be read."""

from __future__ import annotations

from typing import Any

import polars as pl

NAMES = {"milk": "Leche <b>entera</b>", "tea": "Té", "lemon": "lemon", "espresso": "Café & expreso"}


def estimate(mean: float | None, reach: float = 0.01) -> dict[str, Any]:
    if mean is None:
        return {"mean": None, "low": None, "high": None, "customers": 0}
    return {"mean": mean, "low": mean - reach, "high": mean + reach, "customers": 900}


def measures(recall: float) -> dict[str, Any]:
    shares = {"precision": recall / 3, "recall": recall, "ndcg": recall * 0.9, "hit": 0.995, "recall_repeat": 0.4}
    return {name: estimate(share) for name, share in shares.items()} | {"recall_explore": estimate(None)}


def foreseen(ours: float, plain: float, apart: float) -> dict[str, Any]:
    return {
        "k": 10,
        "protocol": {"targets": 1234},
        "baseline": "personal_then_popular",
        "measures": {
            "popular": measures(0.05),
            "personal_then_popular": measures(plain),
            "cartera": measures(ours),
            "house <i>": measures(0.1),
        },
        "differences": {"cartera": {"ndcg": {"mean": apart, "low": apart - 0.01, "high": apart + 0.01}}},
    }


def facts(**changes: Any) -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "as_of": "2018-01-02",
        "k": 10,
        "customers": 1234,
        "products": 60,
        "recommendations": 12340,
        "reasons": {"habit": 9000, "along": 3000, "popular": 340},
        "foreseen": foreseen(0.3123, 0.25, 0.05),
        "segments": [
            {"segment_id": "seg-aaaaaa", "en": "champions", "es": "campeones", "customers": 234},
            {"segment_id": "seg-bbbbbb", "en": "<script>x</script>", "es": "<script>x</script>", "customers": 1000},
        ],
        "notes": [{"en": "Few have three baskets.", "es": "Pocos tienen tres cestas."}],
        **changes,
    }


def tables(*, named: bool = True) -> dict[str, pl.DataFrame]:
    rule = {"segment_id": "seg-aaaaaa", "product_x": "tea", "product_x2": None, "product_y": "lemon"}
    rule |= {"confidence": 0.25, "lift": 2.5, "lift_low": 1.5, "lift_high": 4.0, "customers_to_offer": 1500}
    rules = [rule, {**rule, "product_x2": "milk", "product_y": "espresso", "lift": 12.0}]
    rules += [{**rule, "product_y": f"p{number}"} for number in range(6)]
    tried = {"segment_id": "seg-aaaaaa", "rank": 1, "product": "milk", "customers": 200, "customers_new": 40}
    tried |= {"probability": 0.2, "probability_low": 0.15, "probability_high": 0.26}
    up = {"segment_id": "seg-bbbbbb", "next_segment_id": "seg-aaaaaa", "product_x": "tea", "product_y": "espresso"}
    up |= {"price_x": 2.5, "price_y": 4.75, "share": 0.25, "share_next": 0.75, "customers_to_offer": 300}
    schema = {"product_x2": pl.String}
    found = {
        "cross_sell": pl.DataFrame(rules, schema_overrides=schema),
        "next_products": pl.DataFrame([tried]),
        "up_sell": pl.DataFrame([up]),
    }
    if not named:
        return found
    return {
        name: table.with_columns(
            pl.col(column).replace(NAMES).alias("name" + column.removeprefix("product"))
            for column in table.columns
            if column.startswith("product")
        )
        for name, table in found.items()
    }


EXAMPLES = {"habit": ("Té", "lo compras cada 3 semanas"), "along": ("Limón", "va bien con <Té>, que sueles comprar")}
