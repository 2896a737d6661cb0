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
        "habit_lately": "bought {every}, last {last}",
        "along": "goes with {product}, bought before",
        "along_same": "goes with another kind of it, bought before",
        "following": "often bought after {product}",
        "following_same": "often bought after another kind of it",
        "segment": "bought {lift} times as often in this segment",
        "fresh": "bought {lift} times as often as usual these days",
        "popular": "one of the most bought products",
    },
    "es": {
        "habit": "compra habitual, {every}",
        "owned": "última compra {ago}",
        "alike": "lo compran {count} de los {of} clientes más parecidos",
        "habit_lately": "compra habitual, {every}; la última, {last}",
        "along": "va bien con una compra anterior: {product}",
        "along_same": "va bien con otra variedad de lo mismo, ya comprada",
        "following": "suele comprarse después de {product}",
        "following_same": "suele comprarse después de otra variedad de lo mismo",
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
_SPANS["last"] = _SPANS["ago"]
_TODAY = {"en": "today", "es": "hoy"}

_UP_TO = {
    "every": (1.5, 6.0, 10.5, 56.0, 700.0),
    "ago": (1.5, 6.0, 10.5, 56.0, 700.0),
    # Of a habit the last purchase is told because it is recent: up to three weeks in days.
    "last": (1.5, 20.5, 20.5, 56.0, 700.0),
}
"""Days up to which a span is a day, days, a week, weeks, months; beyond it is years."""

_PER = (None, 1.0, None, 7.0, 30.4, 365.25)


LATELY = 4
"""A habit's last purchase is told of where so many times the days since do not fill the interval."""


def with_text(table: pl.DataFrame, names: pl.DataFrame | None = None, *, language: str = "en") -> pl.DataFrame:
    """Add the column ``why``: the reason as a sentence that can be shown to the customer, and to others about them.

    Where a habit was kept less than a quarter of its interval ago, that is said too. A partner of the product's own
    name is another kind of it.

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
    other, same = pl.col("with_product"), pl.lit(False)
    if names is not None:
        known = names.unique("product_id", keep="first")
        called = known.select(pl.col("product_id").alias("with_product"), pl.col("name").alias("_called"))
        own = known.select("product_id", pl.col("name").alias("_own"))
        table = table.join(called, on="with_product", how="left", maintain_order="left")
        table = table.join(own, on="product_id", how="left", maintain_order="left")
        other = pl.coalesce("_called", "with_product")
        same = (pl.col("_called") == pl.col("_own")).fill_null(False)
    lately = pl.col("days_since_bought") * LATELY < pl.col("interval_days")
    told = (
        pl.when(pl.col("reason").cast(pl.String).is_in(["along", "following"]) & same)
        .then(pl.concat_str([pl.col("reason").cast(pl.String), pl.lit("_same")]))
        .when((pl.col("reason") == "habit") & lately)
        .then(pl.lit("habit_lately"))
        .otherwise(pl.col("reason").cast(pl.String))
    )
    table = table.with_columns(told.alias("_told"))
    every = _spoken("every", "interval_days", language)
    figures = {
        "habit": [every],
        "habit_lately": [every, _spoken("last", "days_since_bought", language)],
        "owned": [_spoken("ago", "days_since_bought", language)],
        "alike": [pl.col("nearest"), pl.col("nearest_of")],
        "along": [other],
        "along_same": [],
        "following": [other],
        "following_same": [],
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
        why = pl.when(pl.col("_told") == reason).then(said).otherwise(why)
    return table.with_columns(why.alias("why")).drop("_called", "_own", "_told", strict=False)


def sentence(
    reason: str,
    figures: Mapping[str, Any],
    *,
    product: str | None = None,
    same: bool = False,
    language: str = "en",
) -> str:
    """Return one reason as a sentence, as :func:`with_text` does for many.

    Parameters
    ----------
    reason
        One of :data:`engine.recommend.reasons.REASONS`.
    figures
        ``interval_days``, ``days_since_bought``, ``nearest``, ``nearest_of``, ``lift``: what the reason needs of them.
    product
        What the other product is called, where the reason speaks of one.
    same
        Whether the product itself has that name too.

    Examples
    --------
    >>> sentence("habit", {"interval_days": 20.6})
    'bought every 3 weeks'
    >>> sentence("habit", {"interval_days": 120, "days_since_bought": 11})
    'bought every 4 months, last 11 days ago'
    >>> sentence("alike", {"nearest": 12, "nearest_of": 20}, language="es")
    'lo compran 12 de los 20 clientes más parecidos'
    """
    texts = _TEXTS[check_language(language)]
    text = texts[f"{reason}_same" if same and reason in ("along", "following") else reason]
    if reason == "habit":
        every, since = figures["interval_days"], figures.get("days_since_bought")
        if since is not None and since * LATELY < every:
            last = _span("last", since, language)
            return texts["habit_lately"].format(every=_span("every", every, language), last=last)
        return text.format(every=_span("every", every, language))
    if reason == "owned":
        return text.format(ago=_span("ago", figures["days_since_bought"], language))
    if reason == "alike":
        return text.format(count=figures["nearest"], of=figures["nearest_of"])
    lift = figures.get("lift")
    tenths = round((lift or 0.0) * 10)
    return text.format(product=product, lift=f"{tenths // 10}{',' if language == 'es' else '.'}{tenths % 10}")


def _span(kind: str, days: float, language: str) -> str:
    if kind != "every" and days < 1:
        return _TODAY[language]
    place = next((i for i, most in enumerate(_UP_TO[kind]) if days < most), len(_UP_TO[kind]))
    per = _PER[place]
    return _SPANS[kind][language][place].format("" if per is None else round(days / per))


def _spoken(kind: str, column: str, language: str) -> pl.Expr:
    """Return the spans of a column in words; as :func:`_span`, for many."""
    days = pl.col(column).cast(pl.Float64)
    said = pl.lit(None, pl.String)
    for most, words, per in reversed(
        list(zip((*_UP_TO[kind], float("inf")), _SPANS[kind][language], _PER, strict=True))
    ):
        before, _, after = words.partition("{}")
        number = [] if per is None else [(days / per).round(mode="half_to_even").cast(pl.Int64).cast(pl.String)]
        text = pl.concat_str([pl.lit(before), *number, pl.lit(after)])
        said = pl.when(days < most).then(text).otherwise(said)
    return pl.when(days < 1).then(pl.lit(_TODAY[language])).otherwise(said) if kind != "every" else said


def _number(column: str, language: str) -> pl.Expr:
    """Return numbers with one decimal."""
    tenths = (pl.col(column).cast(pl.Float64) * 10).round(mode="half_to_even").cast(pl.Int64)
    point = "," if language == "es" else "."
    return pl.concat_str([(tenths // 10).cast(pl.String), pl.lit(point), (tenths % 10).cast(pl.String)])
