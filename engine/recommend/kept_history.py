"""The history of a lake, built once and found again: in the folder ``cache`` of the lake."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from datetime import date, datetime
from typing import Literal

from engine.compute import Compute
from engine.errors import BundleError, SourceNotFoundError
from engine.lake.table import Lake
from engine.recommend.history import History, build_history
from engine.recommend.history_files import VERSION, alone
from engine.recommend.purchases import PRODUCT_LEVEL, Choice

log = logging.getLogger(__name__)


def kept_history(
    lake: Lake,
    *,
    as_of: str | date | datetime | None = None,
    window_days: int | None = None,
    level: str = PRODUCT_LEVEL,
    basket: Literal["order", "day"] = "order",
    compute: Compute | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> History:
    """Return the purchase histories of a lake's customers; built where they were not before.

    They lie in the lake's folder and in its inventory, so that who erases a person finds them; a lake that changed
    since gets new ones. Of processes that ask at a time one builds and the others wait.

    Parameters
    ----------
    lake, as_of, window_days, level, basket, compute, progress
        As :func:`engine.recommend.history.build_history` takes them.

    Raises
    ------
    SettingError, DataError
        As :func:`engine.recommend.history.build_history` raises them.
    """
    choice = Choice.of(lake, as_of=as_of, window_days=window_days, level=level, basket=basket)
    products = lake.products()
    known = "" if products is None else hashlib.sha256(products.write_csv().encode()).hexdigest()
    parts = [VERSION, lake.version, known, choice.as_of.isoformat(), choice.window_days, level, basket]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    place = lake.path / "cache" / f"history-{key}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with alone(place):
        try:
            return History.open(place)
        except SourceNotFoundError:
            pass
        except BundleError as error:
            log.warning("%s; building it anew", error)
        return build_history(
            lake,
            place,
            as_of=choice.as_of,
            window_days=choice.window_days,
            level=level,
            basket=basket,
            compute=compute,
            progress=progress,
        )
