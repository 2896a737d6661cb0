"""The model that is served, and how a newer one takes its place.

A new bundle is read beside the old one, checked, tried out, and taken in by one assignment. A request keeps the
snapshot that it began with, so none ever sees half of two models. What cannot be taken in is told and changes nothing.

A base of customers belongs to one bundle. Where one is served, model and base change together: a bundle whose base is
not there yet waits for it, and the other way round. That is no failure.

The same model written once more is the same model: only what lies beside it is read anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from engine.bundle import load_bundle
from engine.clustering.nearest import two_nearest
from engine.errors import BundleError, CarteraError
from engine.lake.table import Lake

if TYPE_CHECKING:
    from engine.customer_base import CustomerBase
    from engine.segments.model import SegmentModel

log = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
"""Between two looks at the files."""

FOLDERS = re.compile(r"(?<![\w./~])(?:~|\.{1,2})?/(?:[^\s'\"/:]+/)*")
"""The part of a path before its last name."""

Entry = tuple[str, int, int, int]
Signature = tuple[tuple[Entry, ...], ...]
"""What was seen of the bundle, of each further thing that is watched, and last of the lake."""

BaseOf = Callable[["SegmentModel", str], "CustomerBase"]
"""From a model and the digest of its bundle to the customers that belong to it."""


class OtherModelError(BundleError):
    """The customers at hand belong to another model than the bundle: one of the two has yet to come."""


@dataclass(frozen=True)
class Snapshot:
    """What one request sees.

    Attributes
    ----------
    model
        From the bundle.
    base
        Customers at hand; ``None`` where none are served.
    lake
        Transactions at hand, at one version.
    bundle
        The folder.
    digest
        Of the bundle's manifest: which model this is.
    loaded_at
        When this model was taken in, UTC.
    """

    model: SegmentModel
    base: CustomerBase | None
    lake: Lake | None
    bundle: Path
    digest: str
    loaded_at: datetime


class State:
    """Holds the snapshot that is served.

    Parameters
    ----------
    bundle
        Folder of the model.
    base
        Gives the customers that belong to a model; ``None`` serves none.
    watched
        Further files and folders whose change means something new, such as that of the customers.
    lake
        Folder of a lake, for the customers' history.
    model_alone
        Serve the model without customers, and say so in ``problem``, where the first customers cannot be opened. A
        worker that takes another's place does that: the others' customers have gone bad, not the model.

    Attributes
    ----------
    told
        Called with each snapshot that is taken in later, of another model or of the same one with other customers or
        another version of the lake, and with ``None`` when one is refused.

    Raises
    ------
    CarteraError
        The first bundle cannot be served.
    """

    def __init__(
        self,
        bundle: Path | str,
        *,
        base: BaseOf | None = None,
        watched: tuple[Path, ...] = (),
        lake: Path | None = None,
        model_alone: bool = False,
    ) -> None:
        self._bundle = Path(bundle)
        self._base = base
        self._lake = lake
        self.told: Callable[[Snapshot | None], None] = lambda snapshot: None
        self._watched = (self._bundle, *watched)
        self._seen = self._signature()
        self._problem: str | None = None
        self._now: Snapshot | None = None
        self._served_from: Signature = ()
        self._take_in(self._first(model_alone), self._seen)

    @property
    def now(self) -> Snapshot:
        """The snapshot that is served; hold on to it for the whole of a request."""
        assert self._now is not None
        return self._now

    @property
    def problem(self) -> str | None:
        """Why the newest files are not served, without folders: anybody may read it; ``None`` when they are."""
        return self._problem

    def reload(self) -> bool:
        """Take in what the files hold now; return whether that is served."""
        seen, before = self._signature(), self.now
        try:
            snapshot = self._load(seen)
            self._check_nothing_inside(snapshot)
        except OtherModelError as error:
            self._problem = self._public(str(error))
            log.info("%s The model of %s serves until then.", error, _since(before))
            return False
        except (CarteraError, OSError) as error:
            self._refuse(str(error))
            return False
        except (Exception, pl.exceptions.PanicException) as error:
            # A fault of ours in reading it must not end the service of the old one either.
            log.exception("the new bundle could not be read")
            self._refuse(f"bundle={self._bundle}: it could not be read ({type(error).__name__}); see the log.")
            return False
        finally:
            self._seen = seen
        mended, self._problem = self._problem is not None, None
        self._take_in(snapshot, seen)
        if snapshot.digest != before.digest:
            log.info("bundle=%s: now serving %s", self._bundle, snapshot.digest[:12])
        elif mended:
            log.info("bundle=%s: all is well again; the model is still that of %s", self._bundle, _since(before))
        self.told(snapshot)
        return True

    def look_again(self) -> None:
        """Let the next look take in the files even if they seem unchanged."""
        self._seen = self._served_from = ()

    def poll(self) -> bool | None:
        """Take in what has changed since the last look; return ``None`` when nothing has."""
        return None if self._signature() == self._seen else self.reload()

    async def watch(self, seconds: float = WATCH_SECONDS) -> None:
        """Poll for ever, in a thread, so that requests go on while a model is read."""
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.poll)

    def _take_in(self, snapshot: Snapshot, seen: Signature) -> None:
        self._now, self._served_from = snapshot, seen

    def _refuse(self, reason: str) -> None:
        self._problem = self._public(reason)
        log.warning("%s The model of %s stays.", reason, _since(self.now))
        self.told(None)

    def _check_nothing_inside(self, snapshot: Snapshot) -> None:
        """Raise where a bundle was moved into the folder of the old one instead of into its place."""
        if snapshot.digest != self.now.digest:
            return
        for path in sorted(self._bundle.iterdir()):
            if (path / "manifest.json").is_file():
                raise BundleError(
                    f"bundle={self._bundle}: unchanged, but another bundle lies inside it, {path.name}: `mv` onto a "
                    "folder that is there puts things inside. Move the old folder away first."
                )

    def _public(self, reason: str) -> str:
        """Return a reason without the folders that its paths are in; the log has them."""
        known = [path for path in (*self._watched, self._lake) if path is not None]
        for text in sorted({str(form) for path in known for form in (path, path.absolute())}, key=len, reverse=True):
            # What is named by itself has no folder in it, and may be a word of the reason.
            if Path(text).name != text:
                reason = reason.replace(text, Path(text).name)
        return FOLDERS.sub("", reason)

    def _first(self, model_alone: bool) -> Snapshot:
        """Return the first snapshot."""
        try:
            return self._load(self._seen)
        except (Exception, pl.exceptions.PanicException) as error:
            if not model_alone or self._base is None:
                raise
            base, self._base = self._base, None
            try:
                # A fault of the model or the lake comes up again here, and ends it.
                alone = self._load(self._seen)
            finally:
                self._base = base
            reason = str(error) if isinstance(error, CarteraError | OSError) else type(error).__name__
            log.warning("%s The model is served without customers.", reason)
            self._problem = f"{self._public(reason)} The model is served without customers."
            return alone

    def _load(self, seen: Signature) -> Snapshot:
        digest = _digest(self._bundle)
        model = load_bundle(self._bundle)
        if digest is None or _digest(self._bundle) != digest:
            raise BundleError(f"bundle={self._bundle}: it changed while it was read. Nothing to do: it is read again.")
        now = self._now
        if now is not None and now.digest == digest:
            model, loaded_at = now.model, now.loaded_at
        else:
            try_out(model, self._bundle)
            loaded_at = datetime.now(UTC)
        return Snapshot(
            model=model,
            base=self._base_for(model, digest, seen),
            lake=None if self._lake is None else Lake.open(self._lake),
            bundle=self._bundle,
            digest=digest,
            loaded_at=loaded_at,
        )

    def _base_for(self, model: SegmentModel, digest: str, seen: Signature) -> CustomerBase | None:
        """Return the customers of a model; those that are served where neither they nor the model have changed."""
        if self._base is None:
            return None
        now, customers = self._now, slice(1, -1)
        same_model = now is not None and now.digest == digest
        # After `look_again` nothing is known of them, and they are read.
        if same_model and self._served_from and self._served_from[customers] == seen[customers]:
            assert now is not None
            if now.base is not None:
                return now.base
        return self._base(model, digest)

    def _signature(self) -> Signature:
        watched = [(_about(path), *(_about(file) for file in _files(path))) for path in self._watched]
        # A commit adds a file here; there may be thousands of them.
        lake = () if self._lake is None else (_about(self._lake / "transactions" / "_delta_log"),)
        return (*watched, lake)


def try_out(model: SegmentModel, bundle: Path) -> None:
    """Raise :class:`BundleError` unless each centroid belongs to itself and a typical customer to some segment."""
    with np.errstate(over="ignore"):
        points = model.centroids.astype(np.float32)
    near = two_nearest(points, model.centroids)
    own = np.sqrt(((points.astype(np.float64) - model.centroids) ** 2).sum(axis=1))
    # Two centroids may share a point of float32; then either will do.
    rounding = np.finfo(np.float32).eps * (1.0 + np.abs(model.centroids).max())
    if not np.isfinite(own).all() or (own > near.first_distance + rounding).any():
        raise BundleError(f"bundle={bundle}: a centroid is not classified as its own segment. Fit it anew.")
    try:
        answer = model.classify({}, impute=True)
    except (ArithmeticError, ValueError, TypeError) as error:
        raise BundleError(f"bundle={bundle}: it cannot classify a typical customer ({error}). Fit it anew.") from error
    if not np.isfinite(answer.distance):
        raise BundleError(f"bundle={bundle}: a typical customer has no distance in it. Fit it anew.")


def _digest(bundle: Path) -> str | None:
    """Return the digest that a bundle's manifest gives itself."""
    try:
        found = json.loads((bundle / "manifest.json").read_bytes()).get("digest")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:
        return []


def _about(path: Path) -> Entry:
    try:
        about = path.stat()
    except OSError:
        return path.name, 0, 0, 0
    return path.name, about.st_mtime_ns, about.st_size, about.st_ino


def _since(snapshot: Snapshot) -> str:
    return snapshot.loaded_at.isoformat(timespec="seconds")
