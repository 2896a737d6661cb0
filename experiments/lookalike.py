"""``cartera lookalike``: seeds and prospects to the prospects most like the seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.app import out_folder, verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from engine.lookalike import Lookalikes
    from engine.schema import Word
    from experiments.settings import LookalikeConfig


def run(config: DictConfig) -> None:
    """Rank the prospects, write the list and what stands behind it, and print the five figures that matter."""
    import polars as pl

    from engine.lookalike import find_lookalikes
    from engine.lookalike.find import check_length
    from engine.neighbours.checks import check_seed
    from engine.schema import check_language
    from experiments.output import check_target, output
    from experiments.persons import came_from, names_persons, origins_of
    from experiments.progress import Progress
    from experiments.seeds import read_people, read_seeds
    from experiments.settings import LookalikeConfig, typed

    c = typed(config, LookalikeConfig)
    check_language(c.language)
    check_length(c.k)
    check_seed(c.seed)
    out = out_folder(c.out)
    check_target(out, "lookalike")
    files = {key: getattr(c, key) for key in ("prospects", "reference", "customers", "exclude")}
    given = {key: text for key, text in files.items() if text is not None}
    inputs = [Path(text) for text in (c.seeds, *given.values()) if not text.startswith("package:")]
    progress = Progress("lookalike")
    with output(out, "lookalike", inputs=inputs) as folder:
        with progress.step("read"):
            tables = {key: read_people(text, key, c.customer_id, folder) for key, text in given.items()}
            seeds = read_seeds(c, tables, folder)
        customers = [tables["exclude"].keys] if "exclude" in tables else []
        if not c.keep_customers:
            customers += [seeds.customers, *(tables[key].keys for key in ("customers",) if key in tables)]
        with progress.step("rank"):
            found = find_lookalikes(
                seeds.frame,
                tables["prospects"].frame,
                reference=tables["reference"].frame if "reference" in tables else None,
                customers=pl.concat(customers) if customers else None,
                columns=c.columns,
                codes=c.codes,
                k=c.k,
                seed=c.seed,
            )
        notes = [*seeds.notes, *swapped(c, found), *found.notes]
        chosen = {
            "asked": seeds.asked,
            "columns_from": seeds.found_in,
            "segment": c.segment,
            "where": c.where,
            "keep_customers": c.keep_customers,
        }
        write_results(found, chosen, notes, folder)
        names_persons(folder, "lookalikes", "lookalikes.parquet")
        for origin in origins_of(inputs):
            came_from(folder, origin)
    for note in notes:
        progress.warn(note.text(c.language))
    print_figures(found, out, language=c.language)


def swapped(c: LookalikeConfig, found: Lookalikes) -> list[Word]:
    """Return a warning where the two files may have been swapped: more seeds than the file of prospects has rows.

    A run, or a file of segments, cannot be meant as prospects: a segment may well be larger than a list.
    """
    from engine.lookalike import words

    seeds, prospects = found.counts["seeds"]["used"], found.counts["prospects"]["rows"]
    if Path(c.seeds).is_dir() or c.segment is not None or seeds <= prospects:
        return []
    return [words.more_seeds(seeds, prospects)]


def write_results(found: Lookalikes, chosen: dict[str, Any], notes: Sequence[Word], folder: Path) -> None:
    """Write the list, which names persons, and what stands behind it, which names none."""
    from engine import __version__

    found.table.write_parquet(folder / "lookalikes.parquet")
    content = found.to_dict()
    content = {
        "version": __version__,
        **content,
        "seeds": {**chosen, **content["seeds"]},
        "notes": [note.to_dict() for note in notes],
    }
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    (folder / "lookalikes.json").write_text(text + "\n", encoding="utf-8")


def print_figures(found: Lookalikes, out: Path, *, language: str) -> None:
    """Print the figures that matter and where the list is, in the reader's language."""
    from engine.lookalike.words import verdict
    from engine.report.numbers import NumberFormat
    from engine.schema import Word

    shown = NumberFormat(language)

    def say(en: str, es: str) -> str:
        return Word(en, es).text(language)

    whole = {key: {name: shown.whole(count) for name, count in part.items()} for key, part in found.counts.items()}
    ranked, customers = whole["prospects"]["ranked"], whole["prospects"]["customers"]
    lines = [
        (say("seeds", "semillas"), shown.whole(found.counts["seeds"]["used"])),
        (
            say("prospects", "prospectos"),
            say(f"{ranked} ({customers} customers left out)", f"{ranked} ({customers} clientes excluidos)"),
        ),
        (say("compared by", "comparados por"), ", ".join(found.columns)),
    ]
    if found.evidence is not None:
        e = found.evidence
        low, high = shown.decimal(e.auc_low, 2), shown.decimal(e.auc_high, 2)
        spread = say(f"{low} to {high}", f"de {low} a {high}")
        lift = shown.decimal(e.lift, 1)
        lines += [
            ("AUC", f"{shown.decimal(e.auc, 2)} ({spread}): {verdict(e.auc, e.auc_low).text(language)}"),
            (
                say("best tenth", "mejor decil"),
                say(
                    f"{lift} times as many seeds as under a random draw, on people held out",
                    f"{lift} veces tantas semillas como al azar, con personas reservadas",
                ),
            ),
        ]
    lines.append((say("list", "lista"), str(out / "lookalikes.parquet")))
    width = max(len(label) for label, _ in lines) + 2
    for label, value in lines:
        print(f"{label:<{width}}{value}")


main = verb("lookalike")(run)

if __name__ == "__main__":
    main()
