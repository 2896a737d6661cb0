"""``cartera recommend``: what to offer next, to each customer and in each segment; or how well that foresees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from experiments.app import out_folder, verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from experiments.settings import RecommendConfig

ACTIONS = ("batch", "evaluate")


def run(config: DictConfig) -> float | None:
    """Recommend or evaluate; return the NDCG of the recommender: what a search looks for."""
    from experiments.output import check_target
    from experiments.settings import RecommendConfig, public_yaml, typed

    c = typed(config, RecommendConfig)
    check_settings(c)
    out = out_folder(c.out)
    check_target(out, "recommend")
    if c.action == "evaluate":
        from experiments.recommend_evaluate import evaluate_recommenders

        return evaluate_recommenders(c, out, public_yaml(config))
    from experiments.recommend_batch import recommend_all

    return recommend_all(c, out, public_yaml(config))


def check_settings(c: RecommendConfig) -> None:
    """Refuse whatever can be refused before the data are read.

    Raises
    ------
    SettingError, SourceNotFoundError
        A setting is unknown, impossible, or belongs to the other action; a file is not there.
    """
    from engine.errors import SettingError
    from engine.neighbours.checks import check_seed
    from engine.recommend.next_basket import MOST_K, ONLY
    from engine.schema import check_language
    from experiments.recommend_evaluate import check_evaluation
    from experiments.recommend_people import check_segments
    from experiments.recommend_tables import check_table_settings
    from experiments.transactions import names_files

    check_language(c.language)
    check_seed(c.seed)
    if c.action not in ACTIONS:
        raise SettingError.from_unknown("action", c.action, ACTIONS)
    if not 1 <= c.k <= MOST_K:
        raise SettingError(f"k: expected 1 to {MOST_K:,} products for each customer; got {c.k}.")
    if not 0.0 <= c.recommend.once_below <= 1.0:
        raise SettingError(f"recommend.once_below: expected a share from 0 to 1; got {c.recommend.once_below}.")
    if c.recommend.only is not None and c.recommend.only not in ONLY:
        raise SettingError.from_unknown("recommend.only", c.recommend.only, ONLY)
    if c.recommend.only is not None and c.action == "evaluate":
        raise SettingError(
            "recommend.only: an evaluation has a table of its own for products that are new to the customer. Leave it "
            "out."
        )
    told = c.recommend.repurchase
    if told is not None and (
        not isinstance(told, Mapping) or not all(isinstance(again, bool) for again in told.values())
    ):
        raise SettingError(
            "recommend.repurchase: expected true or false by category, '{COFFEE: true, GRILLS: false}'; got "
            f"{told!r}."
        )
    check_assignments(c)
    check_segments(c)
    if c.action == "evaluate":
        check_evaluation(c)
    else:
        check_table_settings(c)
    if c.action == "batch" and c.baskets.path is not None:
        raise SettingError(
            "baskets.path: a file of baskets is evaluated; add action=evaluate, or give a lake= instead."
        )
    if c.action == "evaluate" and c.customers is not None:
        raise SettingError("customers: everybody takes part in an evaluation. Leave it out.")
    if c.baskets.path is not None:
        from_lake = {
            "lake": c.lake is not None,
            "data.path": names_files(c.data),
            "as_of": c.as_of is not None,
            "window_days": c.window_days is not None,
        }
        given = [name for name, there in from_lake.items() if there]
        if given:
            raise SettingError(f"expected baskets.path, or a lake; got baskets.path and {', '.join(given)}.")


def check_assignments(c: RecommendConfig) -> None:
    """Raise :class:`SettingError` where ``assignments`` is a folder of another kind, and say of which."""
    from pathlib import Path

    from engine.errors import SettingError

    if c.assignments is None:
        return
    folder = Path(c.assignments)
    hint = ""
    if (folder / "transactions").is_dir():
        hint = "This is a lake; it holds no segments. `cartera segment lake=… out=DIR` makes them: assignments=DIR."
    elif (folder / "recommend.json").is_file():
        hint = "This is what `cartera recommend` wrote; give the folder that its segments came from."
    if hint and not (folder / "assignments.parquet").is_file():
        raise SettingError(
            f"assignments={folder}: expected a folder that `cartera segment` or `cartera score` left. {hint}"
        )


main = verb("recommend")(run)

if __name__ == "__main__":
    main()
