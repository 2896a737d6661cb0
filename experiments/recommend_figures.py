"""What ``cartera recommend`` says at the end: figures for JSON, and the few that a reader wants to see."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from engine.recommend.purchases import PRODUCT_LEVEL
from engine.schema import Word

if TYPE_CHECKING:
    from engine.recommend.evaluate import Evaluation
    from engine.recommend.recommender import CustomerRecommender
    from experiments.recommend_batch import Batch
    from experiments.settings import RecommendConfig

REASONS: dict[str, Word] = {
    "habit": Word("buys it again and again", "lo compra una y otra vez"),
    "owned": Word("bought it before", "lo compró antes"),
    "alike": Word("customers who buy alike", "lo compran clientes parecidos"),
    "along": Word("goes with another product", "va con otro producto"),
    "following": Word("comes after another product", "viene después de otro producto"),
    "segment": Word("the segment buys it more", "el segmento lo compra más"),
    "fresh": Word("bought more these days", "se compra más estos días"),
    "popular": Word("bought by many", "lo compran muchos"),
}
"""The reasons of :mod:`engine.recommend.reasons` as headings."""


REPEATED, MANY_REPEATING = 3, 1 / 3
"""So often a name must stand on a list, and on so large a share of the lists, for a note to say so."""

Example = tuple[float, str, str]
"""Score, product and reason in words."""


def write_facts(c: RecommendConfig, batch: Batch, path: Path) -> dict[str, Any]:
    """Write the figures of a batch as JSON, which names nobody, and return them."""
    from engine import __version__
    from engine.recommend.kernels import SIGNALS
    from experiments.recommend_model import category_of
    from experiments.recommend_tables import numbers_of, segment_names

    recommender, blend = batch.recommender, batch.recommender.model.blend
    segments = segment_names(recommender)
    sizes = dict(pl.Series("segment", numbers_of(recommender)).value_counts().iter_rows())
    facts = {
        "version": __version__,
        "level": c.level,
        "basket": c.basket,
        "as_of": batch.history.as_of.date().isoformat(),
        "window_days": c.window_days,
        "lake_version": batch.history.lake_version,
        "seed": c.seed,
        "k": c.k,
        "only": c.recommend.only,
        "exclude": c.recommend.exclude,
        "category": category_of(c, batch.history.products),
        "once_below": c.recommend.once_below,
        "rows": batch.history.rows,
        "customers": batch.written.customers,
        "products": offered(recommender),
        "categories": c.level != PRODUCT_LEVEL,
        "baskets": recommender.history.baskets,
        "bought_once": int(recommender.model.knowledge.repurchase.once.sum()),
        "recommendations": batch.written.rows,
        "reasons": dict(batch.written.reasons.most_common()),
        "weights": dict(zip(SIGNALS, blend.weights.tolist(), strict=True)),
        "fitted_on": {"candidates": blend.rows, "bought": blend.bought},
        "foreseen": None if batch.found is None else batch.found.to_dict(),
        "segments": [
            {"segment_id": row["segment_id"], "en": row["name_en"], "es": row["name_es"],
             "rank": batch.tables.ranks[row["segment_id"]], "customers": sizes.get(row["segment"], 0)}
            for row in sorted(segments.to_dicts(), key=lambda row: batch.tables.ranks[row["segment_id"]])
        ],
        "tables": {name: table.height for name, table in batch.tables.tables.items()},
        "everyday": batch.tables.everyday.to_dicts(),
        "cross_sell": batch.tables.looked_at.to_dicts(),
        **batch.tables.facts,
        "notes": [note.to_dict() for note in batch.notes],
        "not_done": batch.tables.missed,
        "seconds": {step: round(value, 3) for step, value in batch.seconds.items()},
    }  # fmt: skip
    path.write_text(json.dumps(facts, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return facts


def offered(recommender: CustomerRecommender) -> int:
    """Return how many products may be recommended: all but the excluded ones."""
    return recommender.history.m - int(recommender.excluded.sum())


def print_batch(c: RecommendConfig, batch: Batch, out: Path) -> None:
    """Print an example of each reason, then the five figures that matter and where the list is."""
    from engine.report.numbers import MISSING, NumberFormat

    shown, language, written = NumberFormat(c.language), c.language, batch.written

    def say(en: str, es: str) -> str:
        return Word(en, es).text(language)

    head = [say("reason", "motivo"), say("share", "parte"), say("example", "ejemplo"), say("why", "por qué")]
    rows = [
        [
            REASONS[reason].text(language),
            shown.percent(count / max(written.rows, 1)),
            *written.examples.get(reason, (MISSING, MISSING)),
        ]
        for reason, count in written.reasons.most_common()
    ]
    print_table([head, *rows])
    print()
    rules = batch.tables.tables.get("cross_sell")
    lines = [
        (say("customers", "clientes"), shown.whole(written.customers)),
        (
            say("products", "productos") if c.level == PRODUCT_LEVEL else say("categories", "categorías"),
            shown.whole(offered(batch.recommender)),
        ),
        (
            say("recommendations", "recomendaciones"),
            say(f"{shown.whole(written.rows)}, for {shown.date(batch.history.as_of.date().isoformat())}",
                f"{shown.whole(written.rows)}, para el {shown.date(batch.history.as_of.date().isoformat())}"),
        ),
        *([(say("last baskets", "últimas cestas"), foreseen(batch.found, language))] if batch.found else []),
        (
            say("cross-selling rules", "reglas de venta cruzada"),
            MISSING if rules is None else shown.whole(rules.height),
        ),
        (say("list", "lista"), str(out / "recommendations.parquet")),
    ]  # fmt: skip
    width = max(len(label) for label, _ in lines) + 2
    for label, value in lines:
        print(f"{label:<{width}}{value}")


def foreseen(found: Evaluation, language: str) -> str:
    """Return in a sentence how well the last baskets were foreseen, beside the best plain baseline."""
    from engine.report.numbers import NumberFormat
    from engine.report.recommend_words import RecommendWords

    shown, rule = NumberFormat(language), RecommendWords(language)(f"by_{found.baseline}")
    rule = Word(f"“{rule}”", f"«{rule}»").text(language)
    ours, plain = found.measures["cartera"], found.measures[found.baseline]
    apart = found.differences["cartera"]["ndcg"]
    verdict = Word("alike", "igual")
    if apart.low > 0 or apart.high < 0:
        verdict = Word("better", "mejor") if apart.low > 0 else Word("worse", "peor")
    share, ndcg, beside = shown.percent(ours["recall"].mean), ours["ndcg"].mean, plain["ndcg"].mean
    figures = f"(NDCG {shown.decimal(ndcg, 3)}; {rule} {shown.decimal(beside, 3)}"
    text = Word(
        f"{share} of them among {found.k} products {figures}: {verdict.en})",
        f"{share} de ellas entre {found.k} productos {figures}: {verdict.es})",
    )
    return text.text(language)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns as wide as their cells."""
    # A name may hold anything, also what moves the cursor of a terminal.
    rows = [["".join(c if c.isprintable() else " " for c in cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def typical(part: pl.DataFrame, products: pl.DataFrame) -> dict[str, Example]:
    """Return, for each reason, the recommendation of middle score; none that goes with a product of its own name."""
    names = dict(products.select("product_id", "name").iter_rows())
    partner = pl.col("with_product").replace_strict(names, default=None, return_dtype=pl.String)
    good = part.filter((partner != pl.col("product")).fill_null(True)).sort("score", "product", "why")
    found = {}
    for (reason,), rows in good.group_by("reason", maintain_order=True):
        found[str(reason)] = rows.select("score", "product", "why").row((rows.height - 1) // 2)
    return found


def customers_with_repeats(part: pl.DataFrame) -> int:
    """Return how many customers have a name :data:`REPEATED` times or more on their list.

    Examples
    --------
    >>> customers_with_repeats(pl.DataFrame({"customer_id": [1, 1, 1, 2, 2], "product": ["tea"] * 5}))
    1
    """
    lists = part.group_by("customer_id", "product").len().filter(pl.col("len") >= REPEATED)
    return lists["customer_id"].n_unique()
