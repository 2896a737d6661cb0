"""The family of the rhythm in which a customer buys: how often, for how long, and whether more or less than before.

Gaps lie between calendar days with a purchase, as the source wrote them: two orders on one day are one visit. Each
function returns the expression of one column, as in :mod:`engine.features.rfm`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from engine.features.feature import Feature
from engine.schema import Word

QUARTER = timedelta(days=91)
"""Thirteen weeks: every weekday is in it equally often, which three months cannot say."""


def gap_days_median(as_of: datetime) -> pl.Expr:
    """Median of the days between one purchase day and the next; null where there is only one.

    The median, since one long pause (a holiday, a winter) moves the mean and says little about the habit. The rows
    of a customer come sorted by time.
    """
    gaps = _day().diff()
    return gaps.filter(gaps > 0).median()


def active_span_days(as_of: datetime) -> pl.Expr:
    """Calendar days from the first purchase day to the last, the sum of all gaps; 0 where there is only one."""
    return (_day().max() - _day().min()).cast(pl.Int64)


def trend_quarter(as_of: datetime) -> pl.Expr:
    """Return ``(last - before) / (last + before)``, the sales of the last 91 days against those of the 91 before.

    From -1 (bought before, nothing since) to 1 (nothing before), 0 where nothing was bought in either. It brings its
    own period, so the window does not cut it.
    """
    amount, time = pl.col("amount"), pl.col("timestamp")
    last = amount.filter(time >= as_of - QUARTER).sum()
    before = amount.filter((time >= as_of - 2 * QUARTER) & (time < as_of - QUARTER)).sum()
    both = (last + before).cast(pl.Float64)
    # The bounds matter only where a source writes a discount as a sale of less than nothing.
    return pl.when(both > 0).then(((last - before).cast(pl.Float64) / both).clip(-1, 1)).otherwise(0.0)


def _day() -> pl.Expr:
    """Return the calendar day as a number."""
    return pl.col("timestamp").dt.date().cast(pl.Int32)


FAMILY: tuple[Feature, ...] = (
    Feature(
        name="gap_days_median",
        reads=("timestamp",),
        expression=gap_days_median,
        label=Word("Typical gap between purchases", "Intervalo habitual entre compras"),
        unit=Word("days", "días"),
        definition=Word(
            "Median number of days between one day with a purchase and the next, in the period. Customers with a "
            "single day of purchase have none.",
            "Mediana de los días que pasan entre un día de compra y el siguiente, en el periodo. No existe para los "
            "clientes con un solo día de compra.",
        ),
    ),
    Feature(
        name="active_span_days",
        reads=("timestamp",),
        expression=active_span_days,
        label=Word("Active span", "Periodo de actividad"),
        unit=Word("days", "días"),
        definition=Word(
            "Days from the first to the last day with a purchase in the period; 0 for a single day.",
            "Días entre el primer y el último día de compra del periodo; 0 si solo hubo uno.",
        ),
    ),
    Feature(
        name="trend_quarter",
        reads=("amount", "timestamp"),
        expression=trend_quarter,
        whole_history=True,
        minimum=-1.0,
        maximum=1.0,
        label=Word("Quarterly trend", "Tendencia trimestral"),
        unit=Word("from -1 to 1", "de -1 a 1"),
        definition=Word(
            "Revenue of the last 91 days against the 91 days before: difference divided by sum, whatever the period of "
            "the analysis. 1 is only recent purchases, -1 only earlier ones, 0 no change or no purchase in either.",
            "Facturación de los últimos 91 días frente a los 91 anteriores: la diferencia dividida entre la suma, sea "
            "cual sea el periodo del análisis. 1 significa que solo hay compras recientes; -1, que solo las hay "
            "anteriores; 0, que nada cambia o que no hay compras en ninguno de los dos.",
        ),
    ),
)
