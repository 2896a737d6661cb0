"""Why a product is recommended: the signal that speaks for it most, in words and with its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.schema import check_language

if TYPE_CHECKING:
    from engine.recommend.baskets import Baskets
    from engine.recommend.next_basket import NextBasket, Ranked

REASONS = ("habit", "owned", "alike", "along", "following", "segment", "fresh", "popular")
"""``habit``: the customer buys it again and again; ``owned``: bought before; ``alike``: customers who buy alike have
it; ``along``: it goes with another product that the customer buys; ``following``: it comes after one of the last
basket; ``segment``: the segment buys it more than others; ``fresh``: bought more these days than before; ``popular``:
many buy it."""

LEAST_ALIKE = 3
"""So many of the closest neighbours must have bought a product for that to be a reason."""

LEAST_LIFT = 1.2
"""So many times as often as all a segment must buy a product, or all buy it now as before."""

_TEXTS = {
    "en": {
        "habit": "you buy it {every}",
        "owned": "you have bought it before, {ago}",
        "alike": "{count} of your {of} nearest customers buy it",
        "along": "goes with {product}, which you buy",
        "following": "often bought after {product}",
        "segment": "in your segment {lift} times as often",
        "fresh": "{lift} times as often these days",
        "popular": "one of the most bought products",
    },
    "es": {
        "habit": "lo compras {every}",
        "owned": "ya lo has comprado, {ago}",
        "alike": "lo compran {count} de tus {of} clientes más cercanos",
        "along": "va bien con {product}, que sueles comprar",
        "following": "suele comprarse después de {product}",
        "segment": "en tu segmento, {lift} veces más habitual",
        "fresh": "estos días, {lift} veces más habitual",
        "popular": "uno de los productos más comprados",
    },
}


def explained(
    model: NextBasket,
    history: Baskets,
    ranked: Ranked,
    *,
    day: NDArray[np.int32] | int | None = None,
    segments: NDArray[np.int32] | None = None,
) -> pl.DataFrame:
    """Return the recommendations as a table, each with its reason and the figures of the reason.

    Parameters
    ----------
    model, history, ranked
        What was ranked for whom, with ``explain``.
    day
        As ranked. Of the history only what lies before it may be given.
    segments
        As ranked; without, no reason speaks of a segment.

    Returns
    -------
    pl.DataFrame
        ``customer_id``, ``rank`` (from 1), ``product_id``, ``score``, ``reason`` (one of :data:`REASONS`) and its
        figures: ``times_bought`` (baskets), ``days_since_bought``, ``interval_days`` (between two purchases of this
        customer; null below two), ``nearest`` and ``nearest_of`` (of so many nearest customers so many bought it),
        ``with_product`` (that it goes with or follows), ``lift`` (of the segment, or of these days).
    """
    from engine.recommend import kernels as k_
    from engine.recommend.next_basket import checked_days, purchases
    from engine.recommend.reason_kernels import fact_chunks

    known, blend = model.knowledge, model.blend
    n, k = ranked.codes.shape
    days = checked_days(day, n, known.popularity.day_after)
    times, first, last, among, fellow, leader = (np.empty((n, k), np.int32) for _ in range(6))
    fact_chunks(
        purchases(history), history.basket_start[1:], ranked.codes, ranked.neighbours, known.along, known.following,
        known.people, times, first, last, among, fellow, leader,
    )  # fmt: skip
    segment_lift = np.exp(ranked.signals[:, :, k_.SEGMENT])
    fresh_lift = np.exp(ranked.signals[:, :, k_.FRESH] - ranked.signals[:, :, k_.RECENT])
    away = -np.inf

    def gain(*signals: int) -> NDArray[np.float64]:
        return blend.gain(ranked.signals, list(signals))

    strength = np.stack(
        [
            np.where(among >= LEAST_ALIKE, gain(k_.ALIKE), away),
            np.where(fellow >= 0, gain(k_.ALONG), away),
            np.where(leader >= 0, gain(k_.FOLLOWING), away),
            np.where((segment_lift >= LEAST_LIFT) & (segments is not None), gain(k_.SEGMENT), away),
            np.where(fresh_lift >= LEAST_LIFT, gain(k_.FRESH, k_.RECENT), away),
            gain(k_.FRESH, k_.RECENT, k_.EVER),
        ]
    )
    # Buying it already is the plainest reason there is.
    reason = np.where(times > 0, np.where(times >= 3, 0, 1), 2 + strength.argmax(axis=0))
    there = ranked.codes >= 0
    rows = np.repeat(np.arange(n), there.sum(axis=1))
    owned = times[there] > 0
    repeats = times[there] >= 2
    interval = (last[there] - first[there]) / np.maximum(times[there] - 1, 1)
    partner = np.where(reason == 4, leader, fellow)[there]
    lift = np.where(reason == 5, segment_lift, fresh_lift)[there]
    code = reason[there]
    names = known.products
    return pl.DataFrame(
        {
            "customer_id": history.customer_ids.gather(rows),
            "rank": np.broadcast_to(np.arange(1, k + 1, dtype=np.int32), (n, k))[there],
            "product_id": names.gather(ranked.codes[there]),
            "score": ranked.scores[there],
            "reason": pl.Series(code.astype(np.uint32)).replace_strict(
                dict(enumerate(REASONS)), return_dtype=pl.Enum(REASONS)
            ),
            "times_bought": times[there],
            "days_since_bought": pl.Series(
                np.where(owned, np.maximum(days[rows] - last[there], 0), -1).astype(np.int32)
            ),
            "interval_days": pl.Series(np.where(repeats, interval, np.nan).astype(np.float32)).fill_nan(None),
            "nearest": among[there],
            "nearest_of": np.repeat((ranked.neighbours >= 0).sum(axis=1).astype(np.int32), there.sum(axis=1)),
            "with_product": pl.Series(partner).replace(-1, None),
            "lift": pl.Series(np.where((code == 5) | (code == 6), lift, np.nan).astype(np.float32)).fill_nan(None),
        }
    ).with_columns(
        pl.when(pl.col("days_since_bought") >= 0).then("days_since_bought"),
        pl.when(pl.col("reason").cast(pl.String).is_in(["along", "following"]))
        .then(names.gather(pl.Series(np.maximum(partner, 0)).cast(pl.UInt32)))
        .alias("with_product"),
    )


def with_text(table: pl.DataFrame, names: pl.DataFrame | None = None, *, language: str = "en") -> pl.DataFrame:
    """Add the column ``why``: the reason as a sentence, to be shown to the customer.

    Parameters
    ----------
    table
        Of :func:`explained`.
    names
        ``product_id`` and ``name``: what products are called; by default their ids.
    language
        ``en`` or ``es``.
    """
    texts = _TEXTS[check_language(language)]
    other = pl.col("with_product")
    if names is not None:
        called = names.select(pl.col("product_id").alias("with_product"), pl.col("name").alias("_called"))
        table = table.join(called, on="with_product", how="left", maintain_order="left")
        other = pl.coalesce("_called", "with_product")
    figures = {
        "habit": [_every("interval_days", language)],
        "owned": [_ago("days_since_bought", language)],
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


def _every(column: str, language: str) -> pl.Expr:
    days = pl.col(column)
    en = ("almost every day", "every {} days", "every week", "every {} weeks", "every {} months")
    es = ("casi cada día", "cada {} días", "cada semana", "cada {} semanas", "cada {} meses")
    return _spoken(days, en if language == "en" else es)


def _spoken(days: pl.Expr, words: tuple[str, str, str, str, str]) -> pl.Expr:
    daily, some_days, weekly, weeks, months = words
    return (
        pl.when(days < 1.5)
        .then(pl.lit(daily))
        .when(days < 6)
        .then(_filled(some_days, days.round()))
        .when(days < 10.5)
        .then(pl.lit(weekly))
        .when(days < 56)
        .then(_filled(weeks, (days / 7).round()))
        .otherwise(_filled(months, (days / 30.4).round()))
    )


def _ago(column: str, language: str) -> pl.Expr:
    days = pl.col(column).cast(pl.Float64)
    if language == "es":
        words = ("ayer", "hace {} días", "hace una semana", "hace {} semanas", "hace {} meses")
    else:
        words = ("yesterday", "{} days ago", "a week ago", "{} weeks ago", "{} months ago")
    today = "hoy" if language == "es" else "today"
    return pl.when(days < 1).then(pl.lit(today)).otherwise(_spoken(days, words))


def _filled(words: str, number: pl.Expr) -> pl.Expr:
    before, after = words.split("{}")
    return pl.concat_str([pl.lit(before), number.cast(pl.Int64).cast(pl.String), pl.lit(after)])


def _number(column: str, language: str) -> pl.Expr:
    text = pl.col(column).round(1).cast(pl.String)
    return text.str.replace(".", ",", literal=True) if language == "es" else text
