"""Folders with large files: put in place whole, and known again without reading all of them.

A bundle is small and every byte of it is checked when it is read. The files here may hold millions of customers and are
mapped, not read: up to :data:`WHOLE_BYTES` the whole file is hashed, beyond that its length, its beginning and its end.
So a file that was cut, swapped or written by another release is found; a byte that flipped in the middle of a large
one is not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from engine.errors import BundleError, OutputExistsError, SourceNotFoundError
from engine.files import replace_entry

try:
    import fcntl
except ImportError:  # Windows has no such locks: leftovers stay there
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

WHOLE_BYTES = 16 * 2**20
"""Files up to this size are hashed whole: hundredths of a second each."""

END_BYTES = 2**20
"""So much of the beginning and of the end of a larger file is hashed."""

MANIFEST = "manifest.json"


@contextmanager
def new_folder(target: Path, *, format: str) -> Iterator[Path]:
    """Yield a hidden folder to write in, which becomes ``target`` when the block ends well, and goes when it does not.

    What a killed process left of the same target goes too, as soon as the new folder stands.

    Raises
    ------
    OutputExistsError
        The target holds something that is not of this format.
    """
    if target.exists() and not _is_ours(target, format) and (not target.is_dir() or any(target.iterdir())):
        raise OutputExistsError(
            f"{target}: expected a new folder or {format} to replace; something else is there. Choose another path."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        partial.mkdir()
        # Held while this process lives: who can take it knows that nobody writes there any more.
        with _taken(partial):
            yield partial
            replace_entry(partial, target)
            _remove_leftovers(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _remove_leftovers(target: Path) -> None:
    """Remove the hidden folders of this target that no living process holds; what cannot be removed stays."""
    ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{32}}(\.old)?")
    with suppress(OSError):
        for folder in [each for each in target.parent.iterdir() if ours.fullmatch(each.name) and each.is_dir()]:
            with suppress(OSError), _taken(folder) as free:
                if free:
                    log.info("removing what an interrupted save left behind: %s", folder.name)
                    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _taken(folder: Path) -> Iterator[bool]:
    """Hold a folder for this process inside the block; ``False`` where another holds it, or nobody can."""
    if fcntl is None:
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = True
        except OSError:
            # Held by another process, or a network folder that knows no locks.
            taken = False
        yield taken
    finally:
        os.close(descriptor)


def write_manifest(folder: Path, *, format: str, version: int, body: Mapping[str, Any]) -> None:
    """Write ``manifest.json``: the body, and every file of the folder with what it is known by."""
    there = [file for file in sorted(folder.rglob("*")) if file.is_file() and file != folder / MANIFEST]
    files = {file.relative_to(folder).as_posix(): fingerprint(file) for file in there}
    manifest = {"format": format, "version": version, "body": dict(body), "files": files}
    (folder / MANIFEST).write_bytes(_json({**manifest, "digest": hashlib.sha256(_json(manifest)).hexdigest()}))


def read_manifest(folder: Path, *, format: str, version: int, name: str, remedy: str) -> dict[str, Any]:
    """Return the body of a manifest after a look at every file that it names.

    Parameters
    ----------
    name
        What the user calls the folder, such as ``customers``.
    remedy
        What to do about a damaged one, a sentence.

    Raises
    ------
    SourceNotFoundError
        There is no manifest in the folder.
    BundleError
        It is of another format or version, or a file is missing or changed.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise SourceNotFoundError(f"{name}={folder}: expected a folder with {MANIFEST} of {format}; there is none.")
    raw = path.read_bytes()
    try:
        manifest = json.loads(raw)
    except (ValueError, RecursionError):
        raise _damaged(folder, MANIFEST, name, remedy) from None
    if not isinstance(manifest, dict) or manifest.get("format") != format:
        raise BundleError(f"{name}={folder}: {MANIFEST} is not of {format}. Point at the right folder.")
    if manifest.get("version") != version:
        raise BundleError(
            f"{name}={folder}: of version {manifest.get('version')!r}, but this release reads version {version}. "
            f"{remedy}"
        )
    kept = {key: value for key, value in manifest.items() if key != "digest"}
    body, files = manifest.get("body"), manifest.get("files")
    if manifest.get("digest") != hashlib.sha256(_json(kept)).hexdigest() or raw != _json(manifest):
        raise _damaged(folder, MANIFEST, name, remedy)
    if not isinstance(body, dict) or not isinstance(files, dict):
        raise _damaged(folder, MANIFEST, name, remedy)
    for file, known in files.items():
        if not (folder / file).is_file() or fingerprint(folder / file) != known:
            raise _damaged(folder, file, name, remedy)
    return body


def fingerprint(file: Path) -> dict[str, Any]:
    """Return a file's length and the SHA-256 of all of it, or of both its ends where it is large."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        if size <= WHOLE_BYTES:
            return {"bytes": size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
        ends = hashlib.sha256(stream.read(END_BYTES))
        stream.seek(size - END_BYTES)
        ends.update(stream.read())
        return {"bytes": size, "sha256_of_ends": ends.hexdigest()}


def _is_ours(target: Path, format: str) -> bool:
    try:
        manifest = json.loads((target / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == format


def _damaged(folder: Path, file: str, name: str, remedy: str) -> BundleError:
    return BundleError(f"{name}={folder}: {file} is missing or not as it was written (its checksum differs). {remedy}")


def _json(content: Any) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
