"""The model on disk: one folder, written at once or not at all, checked byte by byte when it is read.

::

    bundle/
      manifest.json    format, version, facts, and the SHA-256 of every other file
      spec.json        the feature specification
      centroids.npy    float64, shape (k, d)
      distances.npy    float64, quantiles of the customers' distances to them; see engine.segments.novelty
      segments.json    ids, names, descriptions, actions and profiles

No person and no pickle is in it.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from engine.errors import BundleError, OutputExistsError, SourceNotFoundError
from engine.features.matrix import FeatureSpec
from engine.files import replace_entry
from engine.segments.model import SegmentModel
from engine.segments.novelty import FittedDistances
from engine.segments.segment import Segment

FORMAT = "cartera-bundle"
VERSION = 2


def save_bundle(model: SegmentModel, path: Path | str, *, engine_version: str) -> Path:
    """Write the model as a folder; a bundle that stands there is replaced whole.

    Raises
    ------
    OutputExistsError
        The path holds something that is not a bundle.
    """
    target = Path(path)
    if target.exists() and not (target / "manifest.json").is_file() and (not target.is_dir() or any(target.iterdir())):
        raise OutputExistsError(
            f"{target}: expected a new folder or a bundle to replace; something else is there. Choose another path."
        )
    files = {
        "spec.json": _json(model.spec.to_dict()),
        "centroids.npy": _npy(model.centroids),
        "distances.npy": _npy(model.distances.quantiles),
        "segments.json": _json([segment.to_dict() for segment in model.segments]),
    }
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "engine_version": engine_version,
        "facts": dict(model.facts),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        partial.mkdir()
        for name, content in files.items():
            (partial / name).write_bytes(content)
        (partial / "manifest.json").write_bytes(_json({**manifest, "digest": _digest(manifest)}))
        replace_entry(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def load_bundle(path: Path | str) -> SegmentModel:
    """Read a model and check every byte of it.

    Raises
    ------
    SourceNotFoundError
        There is no bundle at the path.
    BundleError
        A file is missing or changed, or the bundle is of another version.
    """
    folder = Path(path)
    if not (folder / "manifest.json").is_file():
        raise SourceNotFoundError(
            f"bundle={folder}: expected a folder with manifest.json, as `cartera segment` leaves."
        )
    raw = (folder / "manifest.json").read_bytes()
    try:
        manifest = json.loads(raw)
    except (ValueError, RecursionError):
        raise _damaged(folder, "manifest.json") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(
            f"bundle={folder}: manifest.json is not of a {FORMAT}. Point at the folder `bundle` of a run."
        )
    if manifest.get("version") != VERSION:
        raise BundleError(
            f"bundle={folder}: of version {manifest.get('version')!r}, but this release reads version {VERSION}. "
            "Fit it again with `cartera segment`, or use the release that wrote it "
            f"({manifest.get('engine_version', 'unknown')})."
        )
    body = {key: value for key, value in manifest.items() if key != "digest"}
    if manifest.get("digest") != _digest(body) or not isinstance(manifest.get("files"), dict) or raw != _json(manifest):
        raise _damaged(folder, "manifest.json")
    contents: dict[str, bytes] = {}
    for name in ("spec.json", "centroids.npy", "distances.npy", "segments.json"):
        file = folder / name
        content = file.read_bytes() if file.is_file() else b""
        if hashlib.sha256(content).hexdigest() != manifest["files"].get(name):
            raise _damaged(folder, name)
        contents[name] = content
    try:
        return SegmentModel(
            spec=FeatureSpec.from_dict(json.loads(contents["spec.json"])),
            centroids=_array(contents["centroids.npy"]),
            segments=tuple(Segment.from_dict(segment) for segment in json.loads(contents["segments.json"])),
            distances=FittedDistances(_array(contents["distances.npy"])),
            facts=dict(manifest["facts"]),
        )
    # Ours too: the parts of a model are checked where they are made.
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise BundleError(
            f"bundle={folder}: its files do not say what a model needs ({error}). Fit it anew."
        ) from error


def _damaged(folder: Path, name: str) -> BundleError:
    return BundleError(
        f"bundle={folder}: {name} is missing or not as it was written (its checksum differs). "
        "Copy the bundle again or fit it anew with `cartera segment`."
    )


def _json(content: Any) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array, dtype=np.float64), allow_pickle=False)
    return buffer.getvalue()


def _array(content: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False), dtype=np.float64)


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(_json(manifest)).hexdigest()
