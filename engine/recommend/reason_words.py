"""Reasons as sentences in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from engine.schema import check_language

# They speak of the product and address nobody: one sentence for the customer and for who looks at the customer.
_TEXTS = {
    "en": {
        "habit": "bought {every}",
        "owned": "last bought {ago}",
        "alike": "{count} of the {of} most similar customers buy it",
        "along": "goes with {product}, bought before",
        "following": "often bought after {product}",
        "segment": "bought {lift} times as often in this segment",
        "fresh": "bought {lift} times as often as usual these days",
        "popular": "one of the most bought products",
    },
    "es": {
        "habit": "compra habitual, {every}",
        "owned": "última compra {ago}",
        "alike": "lo compran {count} de los {of} clientes más parecidos",
        "along": "va bien con una compra anterior: {product}",
        "following": "suele comprarse después de {product}",
        "segment": "en este segmento se compra {lift} veces lo habitual",
        "fresh": "estos días se compra {lift} veces lo habitual",
        "popular": "uno de los productos más comprados",
    },
}


_SPANS = {
    "every": {
        "en": (
            "almost every day", "every {} days", "every week", "every {} weeks", "every {} months", "every {} years",
        ),
        "es": (
            "casi cada día", "cada {} días", "cada semana", "cada {} semanas", "cada {} meses", "cada {} años",
        ),
    },
    "ago": {
        "en": ("yesterday", "{} days ago", "a week ago", "{} weeks ago", "{} months ago", "{} years ago"),
        "es": ("ayer", "hace {} días", "hace una semana", "hace {} semanas", "hace {} meses", "hace {} años"),
    },
}  # fmt: skip
_TODAY = {"en": "today", "es": "hoy"}

_UP_TO = (1.5, 6.0, 10.5, 56.0, 700.0)
"""Days up to which a span is a day, days, a week, weeks, months; beyond it is years."""

_PER = (None, 1.0, None, 7.0, 30.4, 365.25)


def with_text(table: pl.DataFrame, names: pl.DataFrame | None = None, *, language: str = "en") -> pl.DataFrame:
    """Add the column ``why``: the reason as a sentence that can be shown to the customer, and to others about them.

    Parameters
    ----------
    table
        Of :func:`engine.recommend.reasons.explained`.
    names
        ``product_id`` and ``name``: what products are called; by default their ids.
    language
        ``en`` or ``es``.
    """
    texts = _TEXTS[check_language(language)]
    other = pl.col("with_product")
    if names is not None:
        called = names.unique("product_id", keep="first").select(
            pl.col("product_id").alias("with_product"), pl.col("name").alias("_called")
        )
        table = table.join(called, on="with_product", how="left", maintain_order="left")
        other = pl.coalesce("_called", "with_product")
    figures = {
        "habit": [_spoken("every", "interval_days", language)],
        "owned": [_spoken("ago", "days_since_bought", language)],
        "alike": [pl.col("nearest"), pl.col("nearest_of")],
        "along": [other],
        "following": [other],
        "segment": [_number("lift", language)],
        "fresh": [_number("lift", language)],
        "popular": [],
    }
    why: pl.Expr = pl.lit(None, pl.String)
    for reason, parts in figures.items():
        pieces = [piece.split("}")[-1] for piece in texts[reason].split("{")]
        said = pl.concat_str(
            [pl.lit(pieces[0])]
            + [x for part, piece in zip(parts, pieces[1:], strict=True) for x in (part.cast(pl.String), pl.lit(piece))]
        )
        why = pl.when(pl.col("reason") == reason).then(said).otherwise(why)
    return table.with_columns(why.alias("why")).drop("_called", strict=False)


def sentence(reason: str, figures: Mapping[str, Any], *, product: str | None = None, language: str = "en") -> str:
    """Return one reason as a sentence, as :func:`with_text` does for many.

    Parameters
    ----------
    reason
        One of :data:`engine.recommend.reasons.REASONS`.
    figures
        ``interval_days``, ``days_since_bought``, ``nearest``, ``nearest_of``, ``lift``: what the reason needs of them.
    product
        What the other product is called, where the reason speaks of one.

    Examples
    --------
    >>> sentence("habit", {"interval_days": 20.6})
    'bought every 3 weeks'
    >>> sentence("alike", {"nearest": 12, "nearest_of": 20}, language="es")
    'lo compran 12 de los 20 clientes más parecidos'
    """
    text = _TEXTS[check_language(language)][reason]
    if reason == "habit":
        return text.format(every=_span("every", figures["interval_days"], language))
    if reason == "owned":
        return text.format(ago=_span("ago", figures["days_since_bought"], language))
    if reason == "alike":
        return text.format(count=figures["nearest"], of=figures["nearest_of"])
    lift = figures.get("lift")
    tenths = round((lift or 0.0) * 10)
    return text.format(product=product, lift=f"{tenths // 10}{',' if language == 'es' else '.'}{tenths % 10}")


def _span(kind: str, days: float, language: str) -> str:
    if kind == "ago" and days < 1:
        return _TODAY[language]
    place = next((i for i, most in enumerate(_UP_TO) if days < most), len(_UP_TO))
    per = _PER[place]
    return _SPANS[kind][language][place].format("" if per is None else round(days / per))


def _spoken(kind: str, column: str, language: str) -> pl.Expr:
    """Return the spans of a column in words; as :func:`_span`, for many."""
    days = pl.col(column).cast(pl.Float64)
    said = pl.lit(None, pl.String)
    for most, words, per in reversed(list(zip((*_UP_TO, float("inf")), _SPANS[kind][language], _PER, strict=True))):
        before, _, after = words.partition("{}")
        number = [] if per is None else [(days / per).round(mode="half_to_even").cast(pl.Int64).cast(pl.String)]
        text = pl.concat_str([pl.lit(before), *number, pl.lit(after)])
        said = pl.when(days < most).then(text).otherwise(said)
    return pl.when(days < 1).then(pl.lit(_TODAY[language])).otherwise(said) if kind == "ago" else said


def _number(column: str, language: str) -> pl.Expr:
    """Return numbers with one decimal."""
    tenths = (pl.col(column).cast(pl.Float64) * 10).round(mode="half_to_even").cast(pl.Int64)
    point = "," if language == "es" else "."
    return pl.concat_str([(tenths // 10).cast(pl.String), pl.lit(point), (tenths % 10).cast(pl.String)])
