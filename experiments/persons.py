"""Which files of a run name persons, and from which lakes these come: told to the lakes' inventories.

A verb says so while it writes, in a small file inside the folder that will be its result; :func:`settle` reads it when
the folder is whole, notes each file in the inventory of every lake that its persons come from, and leaves the lakes for
the folder's marker. So a verb that reads the result of another knows the lake although nobody names it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import CarteraError
from experiments.output import MARKER

if TYPE_CHECKING:
    from engine.lake.table import Lake

TOLD = ".persons.jsonl"
"""What a verb tells while it writes; gone when the folder is whole."""

CACHE = "cache"
"""Folder inside a lake where features are kept between runs."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A lake as it was when something was made from it.

    Attributes
    ----------
    lake
        Its folder.
    made
        Up to when its rows reach.
    version
        Of its transactions.
    """

    lake: Path
    made: datetime
    version: int


def came_from(folder: Path, origin: Origin) -> None:
    """Tell that what a run writes to ``folder`` comes from a lake."""
    _tell(folder, lake=str(origin.lake.resolve()), made=origin.made.isoformat(), version=origin.version)


def names_persons(folder: Path, kind: str, name: str) -> None:
    """Tell that the file or folder ``name`` in ``folder`` names persons."""
    _tell(folder, kind=kind, name=name)


def origin_of(lake: Lake) -> Origin:
    """Return a lake as it is now."""
    return Origin(lake.path, lake.last_timestamp(), lake.version)


def origins_of(paths: Iterable[Path]) -> list[Origin]:
    """Return the lakes that the results of other runs come from, each once; of other files nothing is known.

    Parameters
    ----------
    paths
        Folders of runs, or files and folders in them.
    """
    found: dict[Path, Origin] = {}
    for path in paths:
        folder = next((one for one in (path, path.parent) if (one / MARKER).is_file()), None)
        for entry in [] if folder is None else _lakes(folder):
            known = found.get(entry.lake)
            # Of two versions the older one may hold whom the newer has lost.
            found[entry.lake] = entry if known is None or entry.version < known.version else known
    return list(found.values())


def settle(partial: Path, target: Path) -> list[dict[str, Any]]:
    """Note what a run has told of in the inventories, and return the lakes for its marker.

    Parameters
    ----------
    partial
        Where the run has written.
    target
        Where it will lie in a moment.
    """
    file = partial / TOLD
    if not file.is_file():
        return []
    told = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    file.unlink()
    lakes = [one for one in told if "lake" in one]
    named = [(one["kind"], one["name"]) for one in told if "name" in one and (partial / one["name"]).exists()]
    here = partial.resolve()
    for one in lakes:
        lake = Path(one["lake"])
        # A lake inside the run moves with it: what lies beside is then found by the way from one to the other.
        inside = lake.is_relative_to(here)
        places = [(kind, (partial if inside else target) / name) for kind, name in named]
        if not inside and (lake / CACHE).is_dir():
            places.append(("feature cache", lake / CACHE))
        _note(lake, places, made=datetime.fromisoformat(one["made"]), version=one["version"])
        one["lake"] = os.path.relpath(lake, here) if inside else str(lake)
    return lakes


def _note(lake: Path, places: list[tuple[str, Path]], *, made: datetime, version: int) -> None:
    from engine.lake import inventory
    from experiments.progress import Progress

    try:
        for kind, place in places:
            inventory.note(lake, kind, place, made=made, version=version)
    except (CarteraError, OSError) as error:
        # A lake may be there to be read only. The results stand; who keeps the list must know.
        Progress("persons").warn(
            f"the inventory of {lake} could not be written ({error}). Whoever erases a person has to know of "
            f"{', '.join(str(place) for _, place in places)}."
        )


def _lakes(folder: Path) -> list[Origin]:
    try:
        entries = json.loads((folder / MARKER).read_text(encoding="utf-8")).get("lakes", [])
        found = [
            Origin((folder / one["lake"]).resolve(), datetime.fromisoformat(one["made"]), int(one["version"]))
            for one in entries
        ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        # A marker that was tampered with: what it says is not known.
        return []
    return [one for one in found if (one.lake / "transactions").is_dir()]


def _tell(folder: Path, **what: Any) -> None:
    with (folder / TOLD).open("a", encoding="utf-8") as file:
        file.write(json.dumps(what) + "\n")
