"""``cartera recommend action=evaluate``: recommenders asked for baskets that are known, beside plain baselines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from engine.errors import ColumnsMissingError, DataError, SettingError
from engine.schema import Word
from experiments.failures import PartlyDoneError
from experiments.multirun import parent_run

if TYPE_CHECKING:
    from engine.recommend.baselines import Recommender
    from engine.recommend.baskets import Baskets, Targets
    from engine.recommend.tifu_knn import TifuKNN
    from experiments.progress import Progress
    from experiments.recommend_people import Segmented
    from experiments.settings import RecommendConfig

log = logging.getLogger("cartera.recommend")

NAMES = ("cartera", "popular", "personal", "personal_then_popular", "segment_popular", "item_knn", "tifu_knn")
BY_DEFAULT = ("cartera", "personal", "item_knn", "tifu_knn")
SLOW = "tifu_knn"
"""What is left out by default where it would take longer than :data:`PATIENCE_S`."""
PATIENCE_S = 120.0

TUNED_CUSTOMERS = 1_000
"""Customers at most whose baskets settings are tuned on."""


@dataclass(frozen=True, slots=True)
class Known:
    """What recommenders are judged on.

    Attributes
    ----------
    history
        All baskets, also those to be foreseen.
    products
        What is known of each product; ``None`` for a file of baskets.
    category
        Column of the products with the category.
    segmented
        The customers' segments, ``None`` for none.
    source
        Where it comes from, for JSON.
    """

    history: Baskets
    products: pl.DataFrame | None
    category: str | None
    segmented: Segmented | None
    source: dict[str, Any]


def evaluate_recommenders(c: RecommendConfig, out: Path, config_yaml: str) -> float | None:
    """Judge recommenders, write the table, and print it; return the NDCG of the first that was named."""
    from engine.compute import open_compute
    from engine.recommend.evaluate import evaluate
    from engine.segmentation import timed
    from engine.tracking import open_tracker
    from experiments.output import output
    from experiments.progress import Progress
    from experiments.recommend_new import print_new, write_new
    from experiments.recommend_outcome import print_evaluation, record, write_evaluation
    from experiments.transactions import input_paths

    border = check_evaluation(c)
    progress = Progress("recommend")
    seconds: dict[str, float] = {}
    notes: list[Word] = []
    files = (c.baskets.path, c.assignments, c.bundle)
    inputs = [*input_paths(c.data, c.lake), *(Path(each) for each in files if each)]
    name = Path(c.baskets.path).stem if c.baskets.path else c.data.get("name", "files")
    tracker = open_tracker(c.tracking.uri, run_name=f"recommend evaluate {name}", parent=parent_run())
    with (
        open_compute(c.compute.name, workers=c.compute.workers, scheduler=c.compute.scheduler) as compute,
        output(out, "recommend", inputs=inputs) as folder,
    ):
        with timed(seconds, "read"):
            known = read_known(c, border, folder, progress, compute, notes)
        numbers = None if known.segmented is None else known.segmented.numbers(known.history.customer_ids)
        known = without_excluded(c, known, notes)
        c = with_recommenders(c, known.history, border, notes)
        with tracker:
            with timed(seconds, "tune"):
                recommenders = [made(name, c, known, border) for name in chosen(c)]
            with timed(seconds, "evaluate"):
                found = evaluate(
                    with_baseline(recommenders, c),
                    known.history,
                    k=c.k,
                    split=c.evaluate.split,  # type: ignore[arg-type]
                    last=c.evaluate.last,
                    least=least_of(c),
                    date=border,
                    segments=numbers,
                    as_of_targets=c.evaluate.day_known,
                    progress=tell,
                )
            (folder / "config.yaml").write_text(config_yaml, encoding="utf-8")
            facts = write_evaluation(c, known, found, recommenders, notes, seconds, folder)
            if found.new is not None:
                write_new(c, found.new, folder)
            untracked = record(tracker, c, facts, found, folder) if tracker.where else None
    for note in notes:
        progress.warn(note.text(c.language))
    if tracker.where:
        print(f"mlflow: {tracker.where}")
    print_evaluation(c, found, out)
    if found.new is not None:
        print_new(c, found.new, out)
    if untracked is not None:
        raise PartlyDoneError(f"the results are complete in {out}, but not all was tracked: {untracked}")
    return found.measures[chosen(c)[0]]["ndcg"].mean


def tell(name: str, customers: int, learning_s: float, answering_s: float) -> None:
    """Say how quick a recommender was."""
    pace = customers / max(answering_s, 1e-9)
    log.info(
        "%s: learnt in %.1f s; %d customers in %.1f s, %.0f a second", name, learning_s, customers, answering_s, pace
    )


def chosen(c: RecommendConfig) -> list[str]:
    """Return who takes part."""
    names: list[str] = list(BY_DEFAULT) if c.evaluate.recommenders is None else c.evaluate.recommenders
    return names


def with_recommenders(c: RecommendConfig, history: Baskets, border: date | None, notes: list[Word]) -> RecommendConfig:
    """Return the settings with the recommenders named; one that is slow here is left out, unless it was named."""
    if c.evaluate.recommenders is not None:
        return c
    names = chosen(c)
    from engine.recommend.tifu_knn import seconds_to_tune

    past, sample, grid, base = to_tune(c, history, border)
    seconds = seconds_to_tune(past, sample.customers, grid=grid, base=base, threads=cores()) if grid else 0.0
    if seconds > PATIENCE_S:
        names.remove(SLOW)
        ask = f"'evaluate.recommenders=[{','.join(BY_DEFAULT)}]'"
        notes.append(
            Word(
                f"{SLOW} is left out: to tune it would take about {seconds / 60:.0f} minutes. Ask for it with {ask}.",
                f"{SLOW} no participa: ajustarlo llevaría unos {seconds / 60:.0f} minutos. Se pide con {ask}.",
            )
        )
    return replace(c, evaluate=replace(c.evaluate, recommenders=names))


def cores() -> int:
    """Return how many the machine code works on."""
    import numba

    return numba.get_num_threads()


def without_excluded(c: RecommendConfig, known: Known, notes: list[Word]) -> Known:
    """Return what recommenders are judged on without what is never offered: nobody has to foresee it."""
    from engine.recommend.by_code import excluded, named
    from engine.recommend.purchases import PRODUCT_LEVEL
    from experiments.recommend_batch import not_offered

    if not c.recommend.exclude:
        return known
    never = excluded(named(known.history.products, known.products, None), known.category, c.recommend.exclude)
    history = known.history.without(never)
    bought = len(known.history.item) - len(history.item)
    notes.append(not_offered(int(never.sum()), bought, categories=c.level != PRODUCT_LEVEL))
    return replace(known, history=history)


def check_evaluation(c: RecommendConfig) -> date | None:
    """Refuse what cannot be meant, and return the first day of the future where the split is by date."""
    from engine.recommend.evaluate import SPLITS
    from engine.recommend.tifu_knn import TifuKNN

    e = c.evaluate
    names = chosen(c)
    if not names or not isinstance(names, list):
        raise SettingError(f"evaluate.recommenders: expected a list of one or more of {', '.join(NAMES)}; got {names}.")
    for name in names:
        if name not in NAMES:
            raise SettingError.from_unknown("evaluate.recommenders", name, NAMES)
    if len(set(names)) < len(names):
        raise SettingError(f"evaluate.recommenders: expected each once; got {', '.join(names)}.")
    if "segment_popular" in names and c.assignments is None and c.bundle is None:
        raise SettingError("evaluate.recommenders: segment_popular needs segments; add assignments= or bundle=.")
    if e.split not in SPLITS:
        raise SettingError.from_unknown("evaluate.split", e.split, SPLITS)
    if e.last < 1 or (e.least is not None and e.least < 0):
        raise SettingError(f"evaluate.last, evaluate.least: expected at least 1 and 0; got {e.last} and {e.least}.")
    if e.popular_by not in ("customers", "rows"):
        raise SettingError.from_unknown("evaluate.popular_by", e.popular_by, ("customers", "rows"))
    TifuKNN(**{name: value for name, value in vars(e.tifu_knn).items() if value is not None})
    if (e.split == "date") != (e.date is not None):
        raise SettingError("evaluate.date: expected with evaluate.split=date, and only there.")
    try:
        return None if e.date is None else date.fromisoformat(e.date)
    except ValueError:
        raise SettingError(f"evaluate.date: expected a date such as 2017-11-01; got {e.date!r}.") from None


def least_of(c: RecommendConfig) -> int:
    """Return how many baskets must come before the one to be foreseen."""
    default = 2 if c.evaluate.split == "last_basket" else 1
    return default if c.evaluate.least is None else c.evaluate.least


def read_known(
    c: RecommendConfig, border: date | None, folder: Path, progress: Progress, compute: Any, notes: list[Word]
) -> Known:
    """Read the histories of a file or a lake, and the segments."""
    from experiments.recommend_model import category_of, history_of
    from experiments.recommend_people import read_segments
    from experiments.transactions import read_transactions

    if c.baskets.path is not None:
        segmented = read_segments(c, None, folder, as_of=None)
        if segmented is not None:
            notes.append(segments_may_know(c))
        return Known(*baskets_of(c), None, segmented, {"baskets": Path(c.baskets.path).name})
    read = read_transactions(c.data, c.lake, folder=folder, progress=progress, language=c.language)
    with progress.step("history") as advance:
        history = history_of(c, read, compute=compute, progress=advance)
    # Scored at the border, a bundle sees nothing of what is to be foreseen.
    segmented = read_segments(c, read, folder, as_of=history.as_of if border is None else border)
    if segmented is not None and (c.bundle is None or border is None):
        notes.append(segments_may_know(c))
    source = {"lake_version": history.lake_version, "as_of": history.as_of.date().isoformat(), "level": c.level}
    category = category_of(c, history.products)
    return Known(history.baskets(), history.products, category, segmented, source)


def segments_may_know(c: RecommendConfig) -> Word:
    """Return the warning that segments may have been made with the baskets to be foreseen."""
    return Word(
        "The segments may have been made with the baskets that are to be foreseen. bundle= with evaluate.split=date "
        "scores the customers at the date.",
        "Puede que los segmentos se hicieran ya con las cestas que hay que prever. bundle= con evaluate.split=date "
        "asigna los clientes en esa fecha.",
    )


def baskets_of(c: RecommendConfig) -> tuple[Baskets, None]:
    """Return the histories of a file of baskets, filtered as the settings say."""
    from engine.recommend.basket_file import basket_of, least_baskets, least_rows, read_rows, without_hyper_frequent
    from engine.recommend.baskets import Baskets

    b = c.baskets
    assert b.path is not None
    try:
        raw = rows = read_rows(b.path, customer=b.customer, product=b.product, time=b.time, order=b.order)
    except ColumnsMissingError as error:
        keys = "baskets.customer=, baskets.product=, baskets.time= and baskets.order="
        raise ColumnsMissingError(f"{error} Name the columns with {keys}.") from None
    if b.least_baskets is not None:
        rows = least_baskets(rows, b.least_baskets)
    if b.least_rows is not None:
        rows = least_rows(rows, b.least_rows, counted=raw if b.counted_in_file else rows)
    if b.without_hyper_frequent:
        rows = without_hyper_frequent(rows)
    if not rows.height:
        raise DataError(f"baskets.path={b.path}: no row is left after the filters. Ask for fewer baskets or rows.")
    return Baskets.from_frame(rows, basket=basket_of(rows)), None


def made(name: str, c: RecommendConfig, known: Known, border: date | None) -> Recommender:
    """Return a recommender by name, not fitted."""
    from engine.recommend.baselines import ItemKNN, Personal, PersonalThenPopular, Popular, SegmentPopular
    from experiments.recommend_model import Ours

    makers: dict[str, Callable[[], Recommender]] = {
        "cartera": lambda: Ours(c, known.products, known.segmented, known.category),
        "popular": lambda: Popular(c.evaluate.popular_by),  # type: ignore[arg-type]
        "personal": Personal,
        "personal_then_popular": PersonalThenPopular,
        "segment_popular": SegmentPopular,
        "item_knn": ItemKNN,
        "tifu_knn": lambda: tuned_tifu_knn(c, known.history, border),
    }
    return makers[name]()


def with_baseline(recommenders: list[Recommender], c: RecommendConfig) -> list[Recommender]:
    """Return the recommenders with what is popular as the settings count it."""
    from engine.recommend.baselines import Popular

    if any(each.name == "popular" for each in recommenders):
        return recommenders
    return [Popular(c.evaluate.popular_by), *recommenders]  # type: ignore[arg-type]


def tuned_tifu_knn(c: RecommendConfig, history: Baskets, border: date | None) -> Recommender:
    """Return TIFU-KNN with the settings given, the others tuned on the basket before the one to be foreseen."""
    from engine.recommend.tifu_knn import seconds_to_tune, tuned

    past, sample, grid, base = to_tune(c, history, border)
    if not grid or not len(sample.customers):
        # Nothing to tune, or nobody has a basket to tune on.
        return base
    about = seconds_to_tune(past, sample.customers, grid=grid, base=base, threads=cores())
    log.info("%s: tuning on %d customers, about %.0f s", SLOW, len(sample.customers), about)
    return tuned(past, sample, grid=grid, at=c.k, base=base)


def to_tune(
    c: RecommendConfig, history: Baskets, border: date | None
) -> tuple[Baskets, Targets, dict[str, Sequence[Any]], TifuKNN]:
    """Return what TIFU-KNN is tuned on, what is tried, and the settings that are given."""
    from engine.recommend.tifu_knn import GRID, TifuKNN

    given = {name: value for name, value in vars(c.evaluate.tifu_knn).items() if value is not None}
    grid = {name: values for name, values in GRID.items() if name not in given}
    if border is None:
        past, targets = history.without_last(c.evaluate.last + 1)
    else:
        past, targets = history.before((border - date(1970, 1, 1)).days).without_last(1)
    count = len(targets.customers)
    who = np.sort(np.random.default_rng(c.seed).choice(count, min(TUNED_CUSTOMERS, count), replace=False))
    return past, targets.take(who), grid, TifuKNN(**given)
