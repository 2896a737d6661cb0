"""The family of what a customer puts in a basket: its worth, its size, its variety, and what comes back.

An order is a basket. Rows that are no product (postage, fees) count in money, as they do in ``monetary``, but not as
products. Each function returns the expression of one column, as in :mod:`engine.features.rfm`.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from engine.features.feature import Feature
from engine.features.rfm import frequency, monetary, units
from engine.schema import RETURN, SALE, Word


def average_ticket(as_of: datetime) -> pl.Expr:
    """Sum of the sale amounts divided by the distinct orders: ``monetary / frequency``."""
    return monetary(as_of).cast(pl.Float64) / frequency(as_of)


def basket_units(as_of: datetime) -> pl.Expr:
    """Units sold divided by the distinct orders: ``units / frequency``; a row by volume is one unit."""
    return units(as_of).cast(pl.Float64) / frequency(as_of)


def basket_products(as_of: datetime) -> pl.Expr:
    """Mean over all orders of the distinct products in each; null where no row names a product.

    Distinct products and not lines: one till writes a line for each bottle, another one line for six. An order of
    fees alone has none.
    """
    pairs = pl.struct("order_id", "product_id").filter(_named()).n_unique()
    return pl.when(_named().any()).then(pairs.cast(pl.Float64) / frequency(as_of))


def distinct_products(as_of: datetime) -> pl.Expr:
    """Distinct ``product_id`` over all orders; null where no row names a product."""
    return pl.when(_named().any()).then(pl.col("product_id").filter(_named()).n_unique().cast(pl.Int64))


def return_rate(as_of: datetime) -> pl.Expr:
    """Amount returned / amount sold, both inside the period: 0 where nothing came back, 1 at most.

    The amount, since units mix kilos with pieces and lines are the till's habit. What comes back may have been sold
    before the period, so the quotient can exceed 1, or have nothing under it: both are 1, everything came back. A
    return counts with its size, whichever sign the source writes.
    """
    sold = pl.col("amount").filter(pl.col("kind") == SALE).sum().cast(pl.Float64)
    returned = pl.col("amount").filter(pl.col("kind") == RETURN).abs().sum().cast(pl.Float64)
    return pl.when(returned == 0).then(0.0).when(returned >= sold).then(1.0).otherwise(returned / sold)


def _named() -> pl.Expr:
    """Tell the rows that say which product was bought."""
    return pl.col("is_product") & pl.col("product_id").is_not_null()


FAMILY: tuple[Feature, ...] = (
    Feature(
        name="average_ticket",
        reads=("amount", "order_id"),
        expression=average_ticket,
        label=Word("Average ticket", "Ticket medio"),
        unit=Word("money", "importe"),
        definition=Word(
            "Amount billed per order: revenue divided by the number of orders in the period.",
            "Importe facturado por pedido: la facturación dividida entre el número de pedidos del periodo.",
        ),
    ),
    Feature(
        name="basket_units",
        reads=("quantity", "by_volume", "order_id"),
        expression=basket_units,
        label=Word("Basket size", "Tamaño de la cesta"),
        unit=Word("units", "unidades"),
        definition=Word(
            "Mean number of units in an order. A line sold by volume or weight counts as one unit.",
            "Número medio de unidades de un pedido. Una línea vendida por volumen o peso cuenta como una unidad.",
        ),
    ),
    Feature(
        name="basket_products",
        reads=("product_id", "is_product", "order_id"),
        requires=("product_id",),
        expression=basket_products,
        label=Word("Basket variety", "Variedad de la cesta"),
        unit=Word("products", "productos"),
        definition=Word(
            "Mean number of different products in an order, however many units of each.",
            "Número medio de productos diferentes en un pedido, sin contar cuántas unidades de cada uno.",
        ),
    ),
    Feature(
        name="distinct_products",
        reads=("product_id", "is_product"),
        requires=("product_id",),
        expression=distinct_products,
        label=Word("Range of products", "Variedad de productos"),
        unit=Word("products", "productos"),
        definition=Word(
            "Number of different products bought in the period.",
            "Número de productos diferentes comprados en el periodo.",
        ),
    ),
    Feature(
        name="return_rate",
        reads=("amount", "kind"),
        rows="all",
        maximum=1.0,
        expression=return_rate,
        label=Word("Return rate", "Tasa de devolución"),
        unit=Word("share", "proporción"),
        definition=Word(
            "Amount returned as a share of the amount bought in the period: 0 is nothing, 1 is everything or more.",
            "Importe devuelto como proporción del importe comprado en el periodo: 0 es nada; 1, todo o más.",
        ),
    ),
)
