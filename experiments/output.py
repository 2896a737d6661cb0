"""The folder a verb leaves behind: everything in it appears at the end, or nothing does."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psutil

from engine.errors import OutputExistsError, SettingError
from engine.files import replace_entry

MARKER = ".cartera.json"
"""Says which verb wrote the folder and what it wrote, which alone is ever replaced, and from which lakes it comes."""


@contextmanager
def output(target: Path, verb: str, *, inputs: Sequence[Path | None] = ()) -> Iterator[Path]:
    """Yield a hidden folder to write to; when the block ends well, its content is moved to ``target``.

    An earlier run of the same verb in ``target`` is replaced, entry by entry; files that it did not write stay.

    Parameters
    ----------
    target
        Folder that the user asked for.
    verb
        Who writes.
    inputs
        What the run reads: none of it may lie inside ``target``, where it might be replaced.

    Raises
    ------
    OutputExistsError
        ``target`` holds something that this verb did not write.
    SettingError
        An input lies inside ``target``.
    """
    from experiments.persons import settle

    written_before = check_target(target, verb)
    for path in inputs:
        if path is None:
            continue
        if path.resolve().is_relative_to(target.resolve()):
            raise SettingError(f"out={target}: {path} lies inside it and might be replaced. Choose another out=.")
        if path.is_dir() and target.resolve().is_relative_to(path.resolve()):
            raise SettingError(f"out={target}: it lies inside {path}, which this run reads. Choose another out=.")
    made = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    partial = target.with_name(f".{target.name}.{platform.node()}.{os.getpid()}.{uuid4().hex}.partial")
    partial.mkdir()
    try:
        yield partial
        lakes = settle(partial, target)
        entries = sorted(entry.name for entry in partial.iterdir())
        content = {"verb": verb, "wrote": entries, **({"lakes": lakes} if lakes else {})}
        (partial / MARKER).write_text(json.dumps(content) + "\n", encoding="utf-8")
        if not target.exists():
            partial.rename(target)
            return
        for name in [MARKER, *entries]:
            replace_entry(partial / name, target / name)
        for name in set(written_before) - set(entries):
            stale = target / name
            if stale.is_dir() and not stale.is_symlink():
                shutil.rmtree(stale)
            else:
                stale.unlink(missing_ok=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for folder in made:
            # Folders made on the way to a result that never came: gone as long as they are empty.
            with suppress(OSError):
                folder.rmdir()


def _sweep(target: Path) -> None:
    """Remove what runs that were killed on this machine left beside the target: it may name persons."""
    for left in target.parent.glob(f".*.{platform.node()}.*.partial"):
        number = left.name.split(".")[-3]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def check_target(target: Path, verb: str) -> list[str]:
    """Return what an earlier run of the verb wrote in ``target``; raise if something else is there."""
    if not target.exists():
        return []
    if not target.is_dir():
        raise OutputExistsError(f"out={target}: expected a folder; a file is there. Choose another out=.")
    marker = target / MARKER
    if marker.is_file():
        try:
            content = json.loads(marker.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            content = {}
        if isinstance(content, dict) and content.get("verb") == verb and isinstance(content.get("wrote"), list):
            # What is deleted is what stands in the folder itself, so that a marker that was tampered with can name
            # nothing outside it.
            return [entry.name for entry in target.iterdir() if entry.name in content["wrote"]]
    elif not any(target.iterdir()):
        return []
    raise OutputExistsError(
        f"out={target}: expected a new or empty folder, or one that `cartera {verb}` wrote; other files are there. "
        "Choose another out=."
    )
