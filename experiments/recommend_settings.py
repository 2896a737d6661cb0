"""The types of the groups of settings of ``cartera recommend``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ModelConfig:
    """The keys ``recommend.…``."""

    name: str | None = None
    category: str | None = None
    repurchase: Any = None
    once_below: float = 0.02
    only: str | None = None
    exclude: list[str] | None = None
    check: bool = True


@dataclass
class CrossSellConfig:
    """The keys ``cross_sell.…``; :func:`engine.recommend.cross_sell.cross_sell` checks them."""

    least_customers: int = 10
    most_pairs: int = 1_000
    most_sets: int = 100
    within_days: int | None = None
    everyday_share: float = 0.7
    widest_customer: int = 2_000
    false_share: float = 0.05


@dataclass
class NextProductsConfig:
    """The keys ``next_products.…``."""

    days: int | None = None
    most: int = 10
    least_customers: int = 5


@dataclass
class UpSellConfig:
    """The keys ``up_sell.…``."""

    most_price_ratio: float = 2.5


@dataclass
class TifuKnnConfig:
    """The keys ``evaluate.tifu_knn.…``; what is ``None`` is tuned."""

    group_num: int | None = None
    within_decay: float | None = None
    group_decay: float | None = None
    k: int | None = None
    alpha: float | None = None


@dataclass
class EvaluateConfig:
    """The keys ``evaluate.…``."""

    recommenders: Any = None
    split: str = "last_basket"
    date: str | None = None
    last: int = 1
    least: int | None = None
    day_known: bool = True
    popular_by: str = "customers"
    tifu_knn: TifuKnnConfig = field(default_factory=TifuKnnConfig)


@dataclass
class BasketsConfig:
    """The keys ``baskets.…``."""

    path: str | None = None
    customer: str = "customer_id"
    product: str = "product_id"
    time: str = "timestamp"
    order: str | None = None
    least_baskets: int | None = None
    least_rows: int | None = None
    counted_in_file: bool = True
    without_hyper_frequent: bool = False
