"""How well products were foreseen that were new to the customers: a table of its own, and a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from engine.schema import Word

if TYPE_CHECKING:
    from engine.recommend.evaluate import Evaluation
    from experiments.settings import RecommendConfig

FILE = "evaluation_new.csv"
MEANT = ("precision", "recall", "ndcg", "ndcg_whole_basket", "hit", "novelty")
"""The measures that say something where nothing was bought before."""


def write_new(c: RecommendConfig, new: Evaluation, folder: Path) -> None:
    """Write a row for each recommender and measure; no customer is named."""
    from experiments.reader_csv import write_reader_csv
    from experiments.recommend_outcome import HEADINGS

    columns = [name for name in HEADINGS if not name.startswith("segment")]
    table = new.table.filter(pl.col("measure").is_in(MEANT)).select(columns)
    named = {column: HEADINGS[column].text(c.language) for column in columns}
    write_reader_csv(table.rename(named), folder / FILE, c.language)


def print_new(c: RecommendConfig, new: Evaluation, out: Path) -> None:
    """Print the share that was found, with its interval, and the difference to the best plain baseline."""
    from engine.report.numbers import NumberFormat
    from experiments.recommend_figures import print_table

    shown = NumberFormat(c.language)

    def say(en: str, es: str) -> str:
        return Word(en, es).text(c.language)

    def figure(name: str, measure: str) -> str:
        e = new.measures[name][measure]
        return f"{shown.decimal(e.mean, 4)} [{shown.decimal(e.low, 4)}; {shown.decimal(e.high, 4)}]"

    def apart(name: str) -> str:
        if name not in new.differences:
            return "–"
        e = new.differences[name]["ndcg"]
        return f"{shown.decimal(e.mean, 4)} [{shown.decimal(e.low, 4)}; {shown.decimal(e.high, 4)}]"

    print()
    customers = shown.whole(new.protocol["targets"])
    print(
        say(
            f"Only what was new to the customer, of the {customers} customers who bought something new:",
            f"Solo lo que era nuevo para el cliente, de los {customers} clientes que compraron algo nuevo:",
        )
    )
    head = [
        say("recommender", "recomendador"), say("recall", "exhaustividad"), "NDCG",
        say("NDCG minus best baseline", "NDCG menos la mejor referencia"),
    ]  # fmt: skip
    names = sorted(new.measures, key=lambda name: -new.measures[name]["ndcg"].mean)
    print_table([head, *([name, figure(name, "recall"), figure(name, "ndcg"), apart(name)] for name in names)])
    print(f"{say('table', 'tabla')}  {out / FILE}")
