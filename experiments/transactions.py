"""The step every verb begins with: files into a lake, or a lake that stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import SettingError
from experiments.progress import Progress

if TYPE_CHECKING:
    from engine.lake.accounts import IngestReport
    from engine.lake.table import Lake

UNSET = (None, "", "???")


@dataclass(frozen=True, slots=True)
class Transactions:
    """An open lake, how the files got there, and where features may be cached.

    ``report`` is ``None`` when no file was named and the lake is read as it stands; ``cache`` is ``None`` for a lake
    inside the run's folder, which nobody will read a second time.
    """

    lake: Lake
    report: IngestReport | None
    cache: Path | None


def names_files(data: Mapping[str, Any]) -> bool:
    """Return whether the configuration names something to ingest."""
    return data.get("source") == "synthetic" or data.get("path") not in UNSET


def input_paths(data: Mapping[str, Any], lake: str | None) -> list[Path]:
    """Return the local paths that a run reads, as far as they are named plainly."""
    path = data.get("path")
    named = path if isinstance(path, list) else [] if path in UNSET else [path]
    return [Path(str(entry)) for entry in named if not str(entry).startswith("package:")] + (
        [Path(lake)] if lake else []
    )


def read_transactions(
    data: Mapping[str, Any], lake: str | None, *, folder: Path, progress: Progress, language: str = "en"
) -> Transactions:
    """Ingest what is named and open the lake.

    Parameters
    ----------
    data
        The group ``data``.
    lake
        The standing lake; ``None`` makes one in ``folder``.
    folder
        Where this run writes: ``ingest.json`` and ``rejects.parquet`` are left there.
    progress
        Told how far it is.
    language
        Of the warnings.
    """
    from engine.lake.ingest import ingest
    from engine.lake.recipe import Recipe
    from engine.lake.table import Lake
    from experiments.persons import CACHE, came_from, names_persons, origin_of

    if not names_files(data):
        if lake is None:
            raise SettingError(
                "data.path: a file, a folder or a glob is needed (data.path=sales.csv), or a standing lake (lake=DIR)."
            )
        standing = Lake.open(Path(lake))
        came_from(folder, origin_of(standing))
        return Transactions(standing, None, Path(lake) / CACHE)
    place = Path(lake) if lake is not None else folder / "lake"
    with progress.step("ingest") as advance:
        report = ingest(
            Recipe.from_mapping(data), place, rejects=folder / "rejects.parquet", progress=lambda _, done: advance(done)
        )
    content = json.dumps(report.to_dict(), ensure_ascii=False, indent=1) + "\n"
    (folder / "ingest.json").write_text(content, encoding="utf-8")
    for warning in report.warnings:
        progress.warn(warning[language])
    made = Lake.open(place)
    came_from(folder, origin_of(made))
    names_persons(folder, "rejects", "rejects.parquet")
    return Transactions(made, report, place / CACHE if lake is not None else None)
