"""``cartera recommend action=batch``: a lake to recommendations for everybody, and tables for each segment."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from engine.errors import DataError, TrackingError
from engine.recommend.purchases import PRODUCT_LEVEL
from engine.schema import Word
from experiments.failures import PartlyDoneError
from experiments.multirun import parent_run
from experiments.recommend_figures import MANY_REPEATING, REPEATED, Example, customers_with_repeats, typical
from experiments.recommend_why import Note, worded

if TYPE_CHECKING:
    from engine.compute import Compute
    from engine.lake.table import Lake
    from engine.recommend.evaluate import Evaluation
    from engine.recommend.history import History
    from engine.recommend.recommender import CustomerRecommender
    from engine.tracking import Tracker
    from experiments.progress import Progress
    from experiments.recommend_people import Segmented
    from experiments.recommend_tables import SegmentTables
    from experiments.settings import RecommendConfig
    from experiments.transactions import Transactions

RECOMMENDATIONS, RECOMMENDER = "recommendations.parquet", "recommender"
LOGGED = ("config.yaml", "recommend.json", "recommend.html", "cross_sell.csv", "next_products.csv", "up_sell.csv")
"""What goes to the tracking store: files that name no person."""


@dataclass(slots=True)
class Written:
    """What was recommended, in figures.

    Attributes
    ----------
    customers, rows
        How many customers, and products for them in all.
    reasons
        Rows by reason.
    examples
        For each reason a product of middle score, and why; nobody is named. None where all that there is of a reason
        goes with a product of its own name.
    repeating
        Customers on whose list a name stands :data:`experiments.recommend_figures.REPEATED` times or more.
    """

    customers: int = 0
    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, tuple[str, str]] = field(default_factory=dict)
    repeating: int = 0


@dataclass(slots=True)
class Batch:
    """Everything that a batch has found.

    Attributes
    ----------
    history
        What was read.
    recommender
        Fitted on it.
    written
        The recommendations, in figures.
    found
        How good they would have been for the last basket; ``None`` where that was not asked or could not be known.
    tables
        By segment.
    notes
        What a reader must know.
    seconds
        By step.
    """

    history: History
    recommender: CustomerRecommender
    written: Written
    found: Evaluation | None
    tables: SegmentTables
    notes: list[Word]
    seconds: dict[str, float]


def recommend_all(c: RecommendConfig, out: Path, config_yaml: str) -> float | None:
    """Recommend, write everything, and print the figures that matter; return the NDCG on the last baskets."""
    from engine.compute import open_compute
    from engine.report.recommend_html import render_recommendations
    from engine.segmentation import timed
    from engine.tracking import open_tracker
    from experiments.output import output
    from experiments.progress import Progress
    from experiments.recommend_figures import print_batch, write_facts
    from experiments.transactions import input_paths, read_transactions

    progress = Progress("recommend")
    seconds: dict[str, float] = {}
    inputs = [*input_paths(c.data, c.lake), *(Path(each) for each in (c.assignments, c.bundle, c.customers) if each)]
    tracker = open_tracker(c.tracking.uri, run_name=f"recommend {c.data.get('name', 'files')}", parent=parent_run())
    with (
        open_compute(c.compute.name, workers=c.compute.workers, scheduler=c.compute.scheduler) as compute,
        output(out, "recommend", inputs=inputs) as folder,
    ):
        with timed(seconds, "read"):
            read = read_transactions(c.data, c.lake, folder=folder, progress=progress, language=c.language)
        with tracker:
            batch = find_all(c, read, compute, folder, out, progress, seconds)
            (folder / "config.yaml").write_text(config_yaml, encoding="utf-8")
            facts = write_facts(c, batch, folder / "recommend.json")
            page = render_recommendations(facts, batch.tables.tables, batch.written.examples, c.language)
            (folder / "recommend.html").write_text(page, encoding="utf-8")
            untracked = record(tracker, facts, folder) if tracker.where else None
    for note in batch.notes:
        progress.warn(note.text(c.language))
    if tracker.where:
        print(f"mlflow: {tracker.where}")
    print_batch(c, batch, out)
    print(Word("To read: open", "Para leerlo, abra").text(c.language), out / "recommend.html")
    missed = [f"the recommendations are complete in {out}; not done: {each}" for each in batch.tables.missed]
    if untracked is not None:
        missed.append(f"the results are complete in {out}, but not all was tracked: {untracked}")
    if missed:
        raise PartlyDoneError("\n".join(missed))
    return None if batch.found is None else batch.found.measures["cartera"]["ndcg"].mean


def find_all(
    c: RecommendConfig,
    read: Transactions,
    compute: Compute,
    folder: Path,
    out: Path,
    progress: Progress,
    seconds: dict[str, float],
) -> Batch:
    """Fit the recommender and write what it says of customers and of segments to ``folder``."""
    from engine.segmentation import timed
    from experiments.recommend_model import by_mean_billing, category_of, fit, history_of
    from experiments.recommend_people import read_asked, read_segments
    from experiments.recommend_tables import segment_names, segment_tables, write_tables

    notes: list[Word] = []
    asked = read_asked(c, folder)
    with timed(seconds, "history"), progress.step("history") as advance:
        history = history_of(c, read, compute=compute, progress=advance)
    category = category_of(c, history.products)
    with timed(seconds, "segments"):
        segmented = read_segments(c, read, folder, as_of=history.as_of)
        order = None if segmented is None else by_mean_billing(c, read, segmented, compute=compute)
    own = history.baskets()
    whom = None if asked is None else known_among(own.customer_ids, asked, history.as_of, notes)
    with timed(seconds, "fit"), progress.step("fit"):
        recommender = fit(c, own, history.products, as_of=history.as_of, segmented=segmented, category=category)
    without = int((recommender.segment_of < 0).sum()) if recommender.segments.height else 0
    if without:
        notes.append(no_segment(without, recommender.history.n))
    left_out = int(recommender.excluded.sum())
    if left_out:
        lost = len(own.item) - len(recommender.history.item)
        notes.append(not_offered(left_out, lost, categories=c.level != PRODUCT_LEVEL))
    if c.k > history.m - left_out:
        notes.append(fewer_products(c.k, history.m - left_out, categories=c.level != PRODUCT_LEVEL))
    note_in_inventory(read.lake, folder, out, history)
    with timed(seconds, "recommend"), progress.step("recommend") as advance:
        written = write_recommendations(c, recommender, whom, folder, advance)
    if written.repeating > written.customers * MANY_REPEATING:
        notes.append(repeated_names(written.repeating, written.customers))
    with timed(seconds, "check"), progress.step("check"):
        found = check_last_basket(c, recommender, segmented, category, notes)
    with timed(seconds, "tables"), progress.step("tables"):
        tables = segment_tables(c, recommender, category=category, order=order)
        notes += tables.notes
        write_tables(tables, segment_names(recommender), folder, c.language)
        save_recommender(recommender, c, tables, folder / RECOMMENDER)
    return Batch(history, recommender, written, found, tables, notes, seconds)


def known_among(ids: pl.Series, asked: pl.Series, as_of: datetime, notes: list[Word]) -> pl.Series:
    """Return those who have bought; the others are told of.

    Raises
    ------
    DataError
        Nobody has.
    """
    from engine.recommend.by_code import as_ids

    own = as_ids(asked, ids.dtype)
    there = own.is_in(ids.implode()).fill_null(False)
    # Two ways of writing an id are one customer.
    known = own.filter(there).unique(maintain_order=True)
    missing, date = len(asked) - int(there.sum()), as_of.date().isoformat()
    if not len(known):
        raise DataError(
            f"customers: none of the {missing:,} customers bought anything before {date}. Check that the ids are "
            "written as in the lake, or set as_of."
        )
    if missing:
        notes.append(
            Word(
                f"{missing:,} of {len(asked):,} customers bought nothing before {date} and get no recommendations.",
                f"{missing} de {len(asked)} clientes no compraron nada antes del {date} y quedan sin recomendaciones.",
            )
        )
    return known


def no_segment(customers: int, of: int) -> Word:
    """Return how many customers the segments leave out."""
    return worded(
        "{customers} of {of} customers are in no segment: they are recommended products, and stand in no table of a "
        "segment.",
        "{customers} de {of} clientes no están en ningún segmento: reciben recomendaciones, pero no figuran en las "
        "tablas por segmento.",
        "assignments=",
        customers=customers,
        of=of,
    )


def not_offered(products: int, purchases: int, *, categories: bool = False) -> Word:
    """Return what was excluded, in figures; ``categories``: whether products are categories."""
    if products == 1:
        return worded(
            f"One {'category' if categories else 'product'} is left out: it is never offered, and its {{purchases}} "
            "purchases do not count.",
            f"Se excluye {'una categoría' if categories else 'un producto'}: no se ofrece nunca, y sus {{purchases}} "
            "compras no cuentan.",
            "recommend.exclude=",
            purchases=purchases,
        )
    return worded(
        f"{{products}} {'categories' if categories else 'products'} are left out: they are never offered, and their "
        "{purchases} purchases do not count.",
        f"Se excluyen {{products}} {'categorías' if categories else 'productos'}: no se ofrecen nunca, y sus "
        "{purchases} compras no cuentan.",
        "recommend.exclude=",
        products=products,
        purchases=purchases,
    )


def fewer_products(k: int, products: int, *, categories: bool = False) -> Word:
    """Return the warning that lists are shorter than asked; ``categories``: whether products are categories."""
    return worded(
        f"There are {{products}} {'categories' if categories else 'products'}, so lists are shorter than {{k}}.",
        f"Hay {{products}} {'categorías' if categories else 'productos'}, así que las listas tienen menos de {{k}}.",
        "k=",
        products=products,
        k=k,
    )


def repeated_names(repeating: int, customers: int) -> Word:
    """Return the note that many lists name the same again and again."""
    return worded(
        f"On the lists of {{n}} of {{all}} customers a name stands {REPEATED} times or more: they are different "
        "products, such as sizes or brands, that are called alike. Recommending groups of products gives more variety.",
        f"En las listas de {{n}} de {{all}} clientes hay algún nombre {REPEATED} veces o más: son productos distintos, "
        "como tamaños o marcas, que se llaman igual. Si se recomiendan grupos de productos, hay más variedad.",
        "level=",
        n=repeating,
        all=customers,
    )


def write_recommendations(
    c: RecommendConfig,
    recommender: CustomerRecommender,
    whom: pl.Series | None,
    folder: Path,
    advance: Callable[[float], None],
) -> Written:
    """Write what everybody is recommended, some customers at a time, and return it in figures."""
    from engine.recommend.recommender import PART_CUSTOMERS

    written = Written()
    scratch = folder / "parts"
    scratch.mkdir()
    parts: list[Path] = []
    middles: dict[str, list[Example]] = {}
    customers = recommender.history.n if whom is None else len(whom)
    for part in recommender.parts(whom, c.k, only=c.recommend.only, language=c.language):
        parts.append(scratch / f"{len(parts):06d}.parquet")
        part.write_parquet(parts[-1])
        written.rows += part.height
        written.customers += part["customer_id"].n_unique()
        written.reasons.update(dict(part["reason"].cast(pl.String).value_counts().iter_rows()))
        written.repeating += customers_with_repeats(part)
        for reason, example in typical(part, recommender.products).items():
            middles.setdefault(reason, []).append(example)
        advance(min(len(parts) * PART_CUSTOMERS / max(customers, 1), 1.0))
    pl.scan_parquet(parts).sink_parquet(folder / RECOMMENDATIONS, maintain_order=True)
    shutil.rmtree(scratch)
    for reason, found in middles.items():
        _, product, why = sorted(found)[(len(found) - 1) // 2]
        written.examples[reason] = (product, why)
    return written


def check_last_basket(
    c: RecommendConfig,
    recommender: CustomerRecommender,
    segmented: Segmented | None,
    category: str | None,
    notes: list[Word],
) -> Evaluation | None:
    """Return how well the last baskets are foreseen; ``None``, with a note, where too few customers have three.

    Where only new products are offered, what was new is judged.
    """
    from experiments.recommend_model import Ours, checked

    if not c.recommend.check:
        return None
    try:
        found: Evaluation | None = checked(recommender, Ours(c, recommender.products, segmented, category), c.k, c.seed)
    except DataError as error:
        notes.append(
            Note(
                "How good the recommendations are could not be checked on the last baskets: too few customers have "
                "three.",
                "No se pudo comprobar con las últimas cestas lo buenas que son las recomendaciones: muy pocos "
                "clientes tienen tres.",
                str(error),
            )
        )
        return None
    if c.recommend.only == "new":
        notes.append(
            Word(
                "How well the last baskets were foreseen is told of what was new to the customers, as only that is "
                "recommended.",
                "Lo bien que se previeron las últimas cestas se refiere a lo que era nuevo para los clientes, porque "
                "solo eso se recomienda.",
            )
        )
        found = None if found is None else found.new
    if segmented is not None:
        notes.append(
            Word(
                "How well the last baskets were foreseen is somewhat optimistic: the segments were made with them.",
                "El acierto con las últimas cestas es algo optimista: los segmentos se hicieron con ellas.",
            )
        )
    return found


def note_in_inventory(lake: Lake, folder: Path, out: Path, history: History) -> None:
    """Write down in the lake what is about to be written of persons."""
    from engine.lake import inventory

    # A lake inside the run moves with it: what lies beside is then found by the way from one to the other.
    place = folder if lake.path.resolve().is_relative_to(folder.resolve()) else out
    for kind, name in (("recommendations", RECOMMENDATIONS), ("recommender", RECOMMENDER)):
        inventory.note(lake.path, kind, place / name, made=history.as_of, version=history.lake_version)


def save_recommender(recommender: CustomerRecommender, c: RecommendConfig, tables: SegmentTables, folder: Path) -> None:
    """Save the recommender, and in its folder the tables as Parquet: a server finds all of it in one place."""
    from engine.neighbours.folder import read_manifest, write_manifest
    from engine.recommend.recommender_folder import FORMAT, REMEDY, VERSION

    facts = {"level": c.level, "window_days": c.window_days, **tables.facts}
    replace(recommender, facts={**recommender.facts, **facts}).save(folder)
    body = read_manifest(folder, format=FORMAT, version=VERSION, name="recommender", remedy=REMEDY)
    for name, table in tables.tables.items():
        table.write_parquet(folder / f"{name}.parquet")
    write_manifest(folder, format=FORMAT, version=VERSION, body=body)


def record(tracker: Tracker, facts: dict[str, Any], folder: Path) -> TrackingError | None:
    """Log a batch; a store that fails now is returned and not raised, for the results stand."""
    from engine.recommend.metrics import MEASURES

    settings = ("level", "basket", "as_of", "window_days", "k", "seed", "lake_version", "category", "once_below")
    figures = {name: float(facts[name]) for name in ("customers", "products", "recommendations")}
    found = facts["foreseen"]
    own = {} if found is None else found["measures"]["cartera"]
    figures |= {name: own[name]["mean"] for name in MEASURES if own and own[name]["mean"] is not None}
    try:
        tracker.params({name: facts[name] for name in settings})
        tracker.metrics({**figures, "seconds": sum(facts["seconds"].values())})
        for name in LOGGED:
            if (folder / name).exists():
                tracker.artifacts(folder / name)
    except TrackingError as error:
        return error
    return None
