"""What an evaluation leaves: a table, figures for JSON, children in the tracking store, and rows that are printed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from engine.errors import TrackingError
from engine.schema import Word

if TYPE_CHECKING:
    from engine.recommend.baselines import Recommender
    from engine.recommend.evaluate import Evaluation
    from engine.tracking import Tracker
    from experiments.recommend_evaluate import Known
    from experiments.settings import RecommendConfig

LOGGED = ("config.yaml", "evaluation.csv", "evaluation_new.csv", "evaluation.json")
SHOWN = ("precision", "recall", "ndcg", "ndcg_whole_basket", "recall_repeat", "recall_explore")

HEADINGS: Mapping[str, Word] = {
    "recommender": Word("recommender", "recomendador"),
    "segment_id": Word("segment id", "id del segmento"),
    "segment_name": Word("segment", "segmento"),
    "measure": Word("measure", "medida"),
    "mean": Word("mean", "media"),
    "low": Word("at least", "como mínimo"),
    "high": Word("at most", "como máximo"),
    "customers": Word("customers", "clientes"),
    "difference": Word("minus the best baseline", "menos la mejor referencia"),
    "difference_low": Word("difference, at least", "diferencia, como mínimo"),
    "difference_high": Word("difference, at most", "diferencia, como máximo"),
}


def write_evaluation(
    c: RecommendConfig,
    known: Known,
    found: Evaluation,
    recommenders: Sequence[Recommender],
    notes: list[Word],
    seconds: Mapping[str, float],
    folder: Path,
) -> dict[str, Any]:
    """Write the table and the figures; neither names a customer. Return the figures."""
    from engine import __version__
    from engine.recommend.metrics import MEASURES
    from engine.recommend.tifu_knn import TifuKNN
    from experiments.reader_csv import write_reader_csv
    from experiments.recommend_people import EVERYBODY

    tifu = next((each for each in recommenders if isinstance(each, TifuKNN)), None)
    shape = ("group_num", "within_decay", "group_decay", "k", "alpha")
    named = pl.DataFrame(schema={"segment_id": pl.String, "name_en": pl.String, "name_es": pl.String})
    ids: list[str] = []
    if known.segmented is not None:
        ids, named = known.segmented.ids, known.segmented.segments
    facts = {
        "version": __version__,
        **known.source,
        "seed": c.seed,
        "day_known": c.evaluate.day_known,
        "popular_by": c.evaluate.popular_by,
        "once_below": c.recommend.once_below,
        "category": known.category,
        "tifu_knn": None if tifu is None else {name: getattr(tifu, name) for name in shape},
        **found.to_dict(),
        "segments": {ids[int(number)]: each for number, each in found.to_dict()["segments"].items()},
        "segment_names": {row[0]: {"en": row[1], "es": row[2]} for row in named.iter_rows()},
        "measure_names": {name: word.to_dict() for name, word in MEASURES.items()},
        "notes": [note.to_dict() for note in notes],
        "seconds": {step: round(value, 3) for step, value in seconds.items()},
    }
    text = json.dumps(facts, ensure_ascii=False, indent=1, allow_nan=False)
    (folder / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    of = pl.col("segment").replace_strict(dict(enumerate(ids)), default=None, return_dtype=pl.String)
    called = dict(named.select("segment_id", f"name_{c.language}").iter_rows())
    everybody = pl.lit(EVERYBODY.text(c.language))
    name = pl.col("segment_id").replace_strict(called, default=None, return_dtype=pl.String)
    table = found.table.with_columns(of.alias("segment_id")).with_columns(
        pl.when(pl.col("segment").is_null()).then(everybody).otherwise(name).alias("segment_name")
    )
    table = table.select(list(HEADINGS)).rename({column: word.text(c.language) for column, word in HEADINGS.items()})
    write_reader_csv(table, folder / "evaluation.csv", c.language)
    return facts


def record(
    tracker: Tracker, c: RecommendConfig, facts: Mapping[str, Any], found: Evaluation, folder: Path
) -> TrackingError | None:
    """Log an evaluation with a child for each recommender; a store that fails now is returned and not raised."""
    shared = {
        "k": c.k,
        "split": c.evaluate.split,
        "level": c.level,
        "seed": c.seed,
        "once_below": c.recommend.once_below,
        "day_known": c.evaluate.day_known,
        "source": facts.get("baskets") or f"lake version {facts['lake_version']}",
    }
    first = c.evaluate.recommenders[0]
    try:
        tracker.params({**shared, "recommenders": ",".join(c.evaluate.recommenders), "baseline": found.baseline})
        for name in found.measures:
            own = {f"tifu_{key}": value for key, value in (facts["tifu_knn"] or {}).items() if name == "tifu_knn"}
            tracker.child(name, {**shared, "recommender": name, **own}, figures(found, name))
        tracker.metrics({**figures(found, first), "seconds": sum(facts["seconds"].values())})
        for name in LOGGED:
            # Of new products there is a table only where somebody bought some.
            if (folder / name).exists():
                tracker.artifacts(folder / name)
    except TrackingError as error:
        return error
    return None


def figures(found: Evaluation, name: str) -> dict[str, float]:
    """Return a recommender's measures, its coverage, and how far its NDCG is from the best baseline's."""
    of = {measure: each.mean for measure, each in found.measures[name].items()}
    of["coverage"] = found.coverage[name]
    if name in found.differences:
        of |= {
            f"ndcg_difference_{end}": getattr(found.differences[name]["ndcg"], end) for end in ("mean", "low", "high")
        }
    return {measure: float(value) for measure, value in of.items() if not np.isnan(value)}


def print_evaluation(c: RecommendConfig, found: Evaluation, out: Path) -> None:
    """Print a row for each recommender, the best NDCG first, and what was foreseen."""
    from engine.report.numbers import NumberFormat
    from experiments.recommend_figures import print_table

    shown, language = NumberFormat(c.language), c.language

    def say(en: str, es: str) -> str:
        return Word(en, es).text(language)

    head = [
        say("recommender", "recomendador"), say("precision", "precisión"), say("recall", "exhaustividad"), "NDCG",
        say("NDCG, whole", "NDCG, entera"), say("repeats", "repetidos"), say("new", "nuevos"),
        say("NDCG minus best baseline", "NDCG menos la mejor referencia"),
    ]  # fmt: skip
    rows = [head]
    for name in sorted(found.measures, key=lambda each: -found.measures[each]["ndcg"].mean):
        cells = [shown.decimal(found.measures[name][measure].mean, 4) for measure in SHOWN]
        apart = "–"
        if name in found.differences:
            e = found.differences[name]["ndcg"]
            ends = f"[{shown.decimal(e.low, 4)}; {shown.decimal(e.high, 4)}]"
            apart = f"{shown.decimal(e.mean, 4)} {ends}"
        rows.append([name, *cells, apart])
    print_table(rows)
    print()
    protocol = found.protocol
    lines = [
        (say("customers", "clientes"), f"{shown.whole(protocol['targets'])} {say('of', 'de')} "
         f"{shown.whole(protocol['customers'])}"),
        (say("products", "productos"), shown.whole(protocol["products"])),
        (say("baskets", "cestas"), say(
            f"{shown.decimal(protocol['mean_target_products'], 1)} products each, "
            f"{shown.percent(protocol['share_of_repeats'])} bought before",
            f"{shown.decimal(protocol['mean_target_products'], 1)} productos por cesta, "
            f"{shown.percent(protocol['share_of_repeats'])} comprados antes")),
        (say("table", "tabla"), str(out / "evaluation.csv")),
    ]  # fmt: skip
    width = max(len(label) for label, _ in lines) + 2
    for label, value in lines:
        print(f"{label:<{width}}{value}")
