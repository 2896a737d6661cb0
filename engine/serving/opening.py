"""What a server opens: a bundle, the customers and the recommendations that belong to it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.serving.state import OtherModelError, State

if TYPE_CHECKING:
    import polars as pl

    from engine.customer_base import CustomerBase
    from engine.segments.model import SegmentModel
    from engine.serving.offers import Offers


@dataclass(frozen=True)
class Opening:
    """Opens what is served, in this process or in another: it can be sent there.

    Attributes
    ----------
    bundle
        Folder of the model.
    customers
        A folder of :class:`engine.customer_base.CustomerBase`, which must be of this bundle; or a file of customers,
        of which a base is built for each bundle that is served.
    lake
        Folder of a lake.
    recommender
        The folder `recommender` of a run of `cartera recommend`, which must know this bundle's segments or none.
    read
        Reads a file of customers.
    spool
        Where a base built from a file is laid down, so that workers share one in memory; ``None`` keeps it in this
        process and writes nothing.
    """

    bundle: Path
    customers: Path | None = None
    lake: Path | None = None
    recommender: Path | None = None
    read: Callable[[Path, SegmentModel], pl.DataFrame] | None = None
    spool: Path | None = None

    def __call__(self, *, model_alone: bool = False) -> State:
        """Open it; ``model_alone`` as in :class:`engine.serving.state.State`."""
        there = () if self.customers is None else (self.customers,)
        base = None if self.customers is None else self.base
        return State(
            self.bundle,
            base=base,
            watched=there,
            lake=self.lake,
            offers=None if self.recommender is None else self.offers,
            recommender=self.recommender,
            model_alone=model_alone,
        )

    def offers(self, model: SegmentModel) -> Offers:
        """Return the recommendations.

        Raises
        ------
        OtherModelError
            They were fitted on segments that the model does not have.
        """
        from engine.serving.offers import Offers

        assert self.recommender is not None
        offers = Offers.open(self.recommender)
        foreign = sorted(set(offers.segment_ids) - {one.segment_id for one in model.segments})
        if foreign:
            raise OtherModelError(
                f"recommender={self.recommender}: it knows segments that bundle={self.bundle} does not have "
                f"({', '.join(foreign[:3])}{', …' if len(foreign) > 3 else ''}). Write it anew: `cartera recommend "
                f"lake=LAKE bundle={self.bundle}`."
            )
        return offers

    def base(self, model: SegmentModel, digest: str) -> CustomerBase:
        """Return the customers that belong to a model.

        Raises
        ------
        OtherModelError
            Those of the folder belong to another one.
        """
        from engine.customer_base import CustomerBase

        assert self.customers is not None
        if self.read is None or self.customers.is_dir():
            self._check_model(model)
            return CustomerBase.open(self.customers, model)
        if self.spool is None:
            return CustomerBase.build(self.read(self.customers, model), model)
        about = self.customers.stat()
        folder = self.spool / f"{digest[:16]}-{about.st_mtime_ns:x}-{about.st_size:x}"
        with _alone(self.spool):
            if not folder.exists():
                CustomerBase.build(self.read(self.customers, model), model).save(folder)
        return CustomerBase.open(folder, model)

    def _check_model(self, model: SegmentModel) -> None:
        from engine.customer_base import model_digest

        assert self.customers is not None
        try:
            belongs_to = json.loads((self.customers / "manifest.json").read_bytes())["body"]["model"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            # What is wrong with it is told where it is opened.
            return
        if belongs_to != model_digest(model):
            raise OtherModelError(
                f"customers={self.customers}: these customers were assigned with another model than bundle="
                f"{self.bundle}. Write them anew: `cartera score bundle={self.bundle} customers=FILE index=true`."
            )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, so that one worker builds and the others find it there."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
