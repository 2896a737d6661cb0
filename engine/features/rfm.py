"""The family every segmentation starts from: recency, tenure, frequency, units, monetary.

Each function returns the expression of one column, aggregated over a customer's sales before ``as_of`` and, where a
window is set, inside it; its docstring is the developer's half of the data dictionary, the ``definition`` beside it in
:data:`FAMILY` is the reader's half.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from engine.features.feature import Feature
from engine.schema import Word


def recency_days(as_of: datetime) -> pl.Expr:
    """Whole days from the last sale to ``as_of``, rounded down."""
    return (pl.lit(as_of) - pl.col("timestamp").max()).dt.total_days()


def tenure_days(as_of: datetime) -> pl.Expr:
    """Whole days from the first sale to ``as_of``, rounded down; the window does not cut it."""
    return (pl.lit(as_of) - pl.col("timestamp").min()).dt.total_days()


def frequency(as_of: datetime) -> pl.Expr:
    """Distinct orders with at least one sale row."""
    return pl.col("order_id").n_unique().cast(pl.Int64)


def units(as_of: datetime) -> pl.Expr:
    """Units sold; a row sold by volume or weight counts as one unit."""
    one = pl.lit(1).cast(pl.Decimal(18, 4))
    return pl.when("by_volume").then(one).otherwise("quantity").sum()


def monetary(as_of: datetime) -> pl.Expr:
    """Sum of the sale amounts; returns are not taken off."""
    return pl.col("amount").sum()


FAMILY: tuple[Feature, ...] = (
    Feature(
        name="recency_days",
        reads=("timestamp",),
        expression=recency_days,
        label=Word("Recency", "Recencia"),
        unit=Word("days", "días"),
        definition=Word(
            "Whole days between the customer's last purchase and the date of the analysis.",
            "Días completos entre la última compra del cliente y la fecha del análisis.",
        ),
    ),
    Feature(
        name="tenure_days",
        reads=("timestamp",),
        expression=tenure_days,
        whole_history=True,
        label=Word("Tenure", "Antigüedad"),
        unit=Word("days", "días"),
        definition=Word(
            "Whole days between the customer's first known purchase and the date of the analysis.",
            "Días completos entre la primera compra conocida del cliente y la fecha del análisis.",
        ),
    ),
    Feature(
        name="frequency",
        reads=("order_id",),
        expression=frequency,
        label=Word("Frequency", "Frecuencia"),
        unit=Word("orders", "pedidos"),
        definition=Word(
            "Number of distinct orders of the customer in the period.",
            "Número de pedidos distintos del cliente en el periodo.",
        ),
    ),
    Feature(
        name="units",
        reads=("quantity", "by_volume"),
        expression=units,
        label=Word("Units", "Unidades"),
        unit=Word("units", "unidades"),
        definition=Word(
            "Units bought in the period. A line sold by volume or weight counts as one unit.",
            "Unidades compradas en el periodo. Una línea vendida por volumen o peso cuenta como una unidad.",
        ),
    ),
    Feature(
        name="monetary",
        reads=("amount",),
        expression=monetary,
        label=Word("Revenue", "Facturación"),
        unit=Word("money", "importe"),
        definition=Word(
            "Total billed to the customer in the period. Returns are not deducted.",
            "Total facturado al cliente en el periodo. No se descuentan las devoluciones.",
        ),
    ),
)
