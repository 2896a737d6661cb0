"""The model that is served, and how a newer one takes its place.

A new bundle is read beside the old one, checked, tried out, and taken in by one assignment. A request keeps the
snapshot that it began with, so none ever sees half of two models. What cannot be taken in is told and changes nothing.

A base of customers belongs to one bundle, and so do recommendations that know its segments. Where they are served, all
change together: a bundle whose base is not there yet waits for it, and the other way round. That is no failure.

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
    from engine.serving.offers import Offers

log = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
"""Between two looks at the files."""

FOLDERS = re.compile(r"(?<![\w./~])(?:~|\.{1,2})?/(?:[^\s'\"/:]+/)*")
"""The part of a path before its last name."""

Entry = tuple[str, int, int, int]
Signature = dict[str, tuple[Entry, ...]]
"""What was seen of each part: the bundle, the customers, the recommender, and the lake."""

BaseOf = Callable[["SegmentModel", str], "CustomerBase"]
"""From a model and the digest of its bundle to the customers that belong to it."""

OffersOf = Callable[["SegmentModel"], "Offers"]
"""From a model to the recommendations that know its segments."""

WITHOUT = (("offers",), ("base",), ("base", "offers"))
"""What a worker does without, the least first, where it can serve the model no other way."""

CALLED = {"base": "customers", "offers": "recommendations"}


class OtherModelError(BundleError):
    """What is at hand belongs to another model than the bundle: one of the two has yet to come."""


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
    offers
        Recommendations at hand.
    """

    model: SegmentModel
    base: CustomerBase | None
    lake: Lake | None
    bundle: Path
    digest: str
    loaded_at: datetime
    offers: Offers | None = None


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
    offers, recommender
        Gives the recommendations for a model's segments, and the folder that they come from; ``None`` serves none.
    model_alone
        Serve the model without customers or recommendations, and say so in ``problem``, where the first ones cannot be
        opened. A worker that takes another's place does that: the others' files have gone bad, not the model.

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
        offers: OffersOf | None = None,
        recommender: Path | None = None,
        model_alone: bool = False,
    ) -> None:
        self._bundle = Path(bundle)
        self._base = base
        self._offers = offers
        self._lake = lake
        self.told: Callable[[Snapshot | None], None] = lambda snapshot: None
        self._watched = {
            "bundle": (self._bundle,),
            "base": watched,
            "offers": () if recommender is None else (recommender,),
        }
        self._seen = self._signature()
        self._problem: str | None = None
        self._now: Snapshot | None = None
        self._served_from: Signature = {}
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
        self._seen = self._served_from = {}

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
        watched = [path for paths in self._watched.values() for path in paths]
        known = [path for path in (*watched, self._lake) if path is not None]
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
            if not model_alone:
                raise
            found = self._without()
            if found is None:
                # It was the model or the lake.
                raise
            snapshot, left_out = found
            reason = str(error) if isinstance(error, CarteraError | OSError) else type(error).__name__
            lacking = " and ".join(CALLED[part] for part in left_out)
            log.warning("%s The model is served without %s.", reason, lacking)
            self._problem = f"{self._public(reason)} The model is served without {lacking}."
            return snapshot

    def _without(self) -> tuple[Snapshot, list[str]] | None:
        """Return a snapshot without what cannot be opened, and what that is; ``None`` where that does not help."""
        kept = {"base": self._base, "offers": self._offers}
        for parts in WITHOUT:
            left_out = [part for part in parts if kept[part] is not None]
            if len(left_out) < len(parts):
                continue
            self._base = None if "base" in parts else self._base
            self._offers = None if "offers" in parts else self._offers
            try:
                return self._load(self._seen), left_out
            except (Exception, pl.exceptions.PanicException) as error:
                log.debug("the model cannot be served without %s either: %s", left_out, error)
            finally:
                self._base, self._offers = kept["base"], kept["offers"]  # type: ignore[assignment]
        return None

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
            offers=self._offers_for(model, digest, seen),
            bundle=self._bundle,
            digest=digest,
            loaded_at=loaded_at,
        )

    def _base_for(self, model: SegmentModel, digest: str, seen: Signature) -> CustomerBase | None:
        """Return the customers of a model; those that are served where neither they nor the model have changed."""
        if self._base is None:
            return None
        kept = self._now.base if self._now is not None and self._same("base", digest, seen) else None
        return kept or self._base(model, digest)

    def _offers_for(self, model: SegmentModel, digest: str, seen: Signature) -> Offers | None:
        """Return the recommendations for a model, likewise."""
        if self._offers is None:
            return None
        kept = self._now.offers if self._now is not None and self._same("offers", digest, seen) else None
        return kept or self._offers(model)

    def _same(self, part: str, digest: str, seen: Signature) -> bool:
        """Return whether neither a part nor the model have changed since they were taken in."""
        # After `look_again` nothing is known of the parts, and they are read.
        before = self._served_from.get(part)
        return self.now.digest == digest and before is not None and before == seen[part]

    def _signature(self) -> Signature:
        seen = {
            part: tuple(about for path in paths for about in (_about(path), *map(_about, _files(path))))
            for part, paths in self._watched.items()
        }
        # A commit adds a file here; there may be thousands of them.
        lake = () if self._lake is None else (_about(self._lake / "transactions" / "_delta_log"),)
        return {**seen, "lake": lake}


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
