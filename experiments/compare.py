"""``cartera compare``: two runs of ``cartera segment`` side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.app import out_folder, verb

if TYPE_CHECKING:
    import polars as pl
    from omegaconf import DictConfig

    from engine.segments.compare import Comparison
    from engine.segments.division import Division

FILES = ("profile.csv", "assignments.parquet", "summary.json", "bundle")
"""What a run of ``cartera segment`` leaves, and this verb reads."""

NAME_PARTS = 2
"""Last parts of a run's path that name it: of ``runs/segment/20260101-120000`` the verb and the time."""


def run(config: DictConfig) -> None:
    """Compare two runs and print the five figures that matter."""
    from engine.schema import check_language
    from engine.segments.compare import compare_runs
    from experiments.output import check_target, output
    from experiments.persons import came_from, names_persons, origins_of
    from experiments.progress import Progress
    from experiments.settings import CompareConfig, typed

    c = typed(config, CompareConfig)
    check_language(c.language)
    out, before, after = out_folder(c.out), Path(c.before), Path(c.after)
    for key, folder in (("before", before), ("after", after)):
        check_run(folder, key)
    check_target(out, "compare")
    progress = Progress("compare")
    with output(out, "compare", inputs=[before, after]) as folder:
        with progress.step("compare"):
            comparison = compare_runs(read_run(before, "before"), read_run(after, "after"))
        with progress.step("report"):
            write_results(comparison, folder, language=c.language)
        names_persons(folder, "moves", "moved.parquet")
        for origin in origins_of([before, after]):
            came_from(folder, origin)
    for note in comparison.notes:
        progress.warn(note.text(c.language))
    print_figures(comparison, out, language=c.language)


def check_run(folder: Path, key: str) -> None:
    """Raise unless a folder holds what ``cartera segment`` leaves.

    Raises
    ------
    SourceNotFoundError
        There is no such folder, or something is missing in it.
    """
    from engine.errors import SourceNotFoundError

    expected = f"{key}={folder}: expected a folder that `cartera segment` wrote"
    if not folder.is_dir():
        raise SourceNotFoundError(f"{expected}; {'a file is there' if folder.exists() else 'there is none'}.")
    missing = [name for name in FILES if not (folder / name).exists()]
    if not missing:
        return
    inside = sorted(path.name for path in folder.iterdir() if (path / "bundle").is_dir() and path.is_dir())
    if (folder / "manifest.json").is_file():
        hint = f"This is a bundle; give the run around it: {key}={folder.parent}."
    elif inside:
        hint = f"There are runs in it; give one of them: {key}={folder / inside[0]}."
    else:
        hint = f"Give the out= of a run, whole; `cartera segment … out={folder}` makes one."
    raise SourceNotFoundError(f"{expected}; there is no {', '.join(missing)} in it. {hint}")


def read_run(folder: Path, key: str) -> Division:
    """Read what a run left behind.

    Raises
    ------
    DataError
        A file cannot be read as what it should be.
    BundleError
        The bundle is damaged or of another version.
    """
    import polars as pl

    from engine.bundle import load_bundle
    from engine.errors import DataError
    from engine.segments.division import Division

    model = load_bundle(folder / "bundle")
    name = "profile.csv"
    try:
        profile = pl.read_csv(folder / name, schema_overrides={"segment_id": pl.String, "name": pl.String})
        profile = profile.with_columns(pl.selectors.exclude("segment_id", "name").cast(pl.Float64))
        profile = profile.with_columns(pl.col("^customers$|^rank$").cast(pl.Int64))
        check_profile(profile)
        name = "assignments.parquet"
        assignments = pl.read_parquet(folder / name, columns=["customer_id", "segment_id"])
        name = "summary.json"
        summary = json.loads((folder / name).read_text(encoding="utf-8"))
        if not isinstance(summary, dict):
            raise ValueError("no mapping")
        check_summary(summary)
    except (pl.exceptions.PolarsError, ValueError, RecursionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{key}={folder}: {name} is not what `cartera segment` wrote ({reason}). Run it again."
        ) from None
    return Division(
        profile=profile,
        assignments=assignments,
        segments=model.segments,
        name="/".join(folder.resolve().parts[-NAME_PARTS:]),
        features=tuple(model.spec.names),
        facts={**model.facts, **{fact: summary.get(fact) for fact in FACTS}},
    )


def check_profile(profile: pl.DataFrame) -> None:
    """Raise :class:`ValueError` unless every figure is finite and every share from 0 to 1; a mean may be missing."""
    import polars as pl

    for column in profile.select(pl.selectors.float()):
        share = column.name in ("share_customers", "share_monetary")
        fits = column.is_between(0, 1).fill_null(False) if share else column.is_finite().fill_null(True)
        if not fits.all():
            expected = "shares from 0 to 1" if share else "finite numbers"
            raise ValueError(f"{column.name}: expected {expected}; got {column.filter(~fits)[0]}")


def check_summary(summary: Mapping[str, Any]) -> None:
    """Raise :class:`ValueError` unless the facts that are read from it can be; any of them may be missing."""
    for fact, (fits, expected) in FACTS.items():
        value = summary.get(fact)
        if value is not None and (isinstance(value, bool) or not fits(value)):
            raise ValueError(f"{fact}: expected {expected}; got {value!r:.40}")


def _is_silhouette(value: Any) -> bool:
    return isinstance(value, int | float) and -1 <= value <= 1


def _is_money(value: Any) -> bool:
    try:
        # Exact sums are written as text, in digits.
        return isinstance(value, str | int | float) and math.isfinite(float(str(value)))
    except ValueError:
        return False


def _is_version(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


FACTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "silhouette": (_is_silhouette, "a number from -1 to 1"),
    "monetary_total": (_is_money, "a finite sum of money"),
    "lake_version": (_is_version, "a whole number, 0 or more"),
}
"""What is read from ``summary.json``: what it can be, and how to say so."""


def write_results(comparison: Comparison, folder: Path, *, language: str) -> None:
    """Write everything that the verb leaves behind; of it only ``moved.parquet`` names persons."""
    from engine import __version__
    from engine.report.compare_html import render_comparison

    content = {"version": __version__, **comparison.to_dict()}
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    (folder / "comparison.json").write_text(text + "\n", encoding="utf-8")
    comparison.migration_table(language).write_csv(folder / "migration.csv")
    comparison.profile_table(language).write_csv(folder / "profiles.csv")
    comparison.moved_table(language).write_parquet(folder / "moved.parquet")
    (folder / "report.html").write_text(render_comparison(content, language), encoding="utf-8")


def print_figures(comparison: Comparison, out: Path, *, language: str) -> None:
    """Print the five figures that matter and where the report is, in the reader's language."""
    from engine.report.compare_words import CompareWords
    from engine.report.numbers import NumberFormat

    say, shown = CompareWords(language), NumberFormat(language)
    moved, rand = shown.whole(comparison.moved.height), shown.decimal(comparison.adjusted_rand, 3)
    alike = "" if comparison.adjusted_rand is None else f": {say('divisions')} {say.alike(comparison.adjusted_rand)}"
    lines = [
        (say("figure_common"), shown.whole(comparison.common)),
        (say("figure_moved"), f"{moved} ({shown.percent(comparison.share_moved)})" if comparison.common else moved),
        (say("figure_new"), shown.whole(comparison.new)),
        (say("figure_gone"), shown.whole(comparison.gone)),
        (say("figure_rand"), rand + alike),
        (say("report"), str(out / "report.html")),
    ]
    width = max(len(label) for label, _ in lines) + 2
    for label, value in lines:
        print(f"{label:<{width}}{value}")


main = verb("compare")(run)

if __name__ == "__main__":
    main()
