"""A recommender on disk: arrays without objects, Parquet and JSON; large files are mapped when it is opened.

The folder names persons: their ids, what they bought, their segments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import BundleError, DataError
from engine.neighbours.folder import MANIFEST, new_folder, read_manifest, write_manifest
from engine.recommend.baskets import Baskets
from engine.recommend.blend import Blend
from engine.recommend.knowledge import Knowledge
from engine.recommend.next_basket import NextBasket
from engine.recommend.popularity import PopularityThen
from engine.recommend.repurchase import Repurchase

if TYPE_CHECKING:
    from engine.recommend.recommender import CustomerRecommender

FORMAT = "cartera-recommender"
VERSION = 2
REMEDY = "Write it anew with `cartera recommend`."

HISTORY = ("basket_start", "day", "item_start", "item")
LISTS = ("along", "following")
BLEND = ("weights", "pairs", "centre", "low", "high")


def save(recommender: CustomerRecommender, target: Path) -> None:
    """Write a recommender; :class:`OutputExistsError` where something else lies."""
    known, blend, own = recommender.model.knowledge, recommender.model.blend, recommender.history
    arrays = {name: getattr(own, name) for name in HISTORY}
    arrays |= {f"{name}_{field}": array for name in LISTS for field, array in getattr(known, name)._asdict().items()}
    arrays |= {f"people_{name}": array for name, array in known.people._asdict().items()}
    arrays |= {f"groups_{name}": array for name, array in known.groups._asdict().items()}
    arrays |= {"rate": known.repurchase.rate, "gap_days": known.repurchase.gap_days, "once": known.repurchase.once}
    day = max(known.popularity.day_after, recommender.day)
    market = known.popularity.market(np.array([day]))
    arrays |= {f"market_{name}": array for name, array in market._asdict().items()}
    arrays |= {name: getattr(blend, name) for name in BLEND}
    arrays |= {"buyers": known.buyers, "segment_of": recommender.segment_of, "excluded": recommender.excluded}
    with new_folder(target, format=FORMAT) as folder:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        recommender.products.write_parquet(folder / "products.parquet")
        recommender.segments.write_parquet(folder / "segments.parquet")
        own.customer_ids.rename("customer_id").to_frame().write_parquet(folder / "customers.parquet")
        known.references.rename("customer_id").to_frame().write_parquet(folder / "references.parquet")
        body = {
            "as_of": recommender.as_of.isoformat(),
            "day": day,
            "rows": blend.rows,
            "bought": blend.bought,
            "customers": own.n,
            "products": own.m,
            "facts": recommender.facts,
            "arrays": sorted(arrays),
        }
        write_manifest(folder, format=FORMAT, version=VERSION, body=body)


def is_recommender(folder: Path) -> bool:
    """Return whether a folder's manifest says that it is a recommender, of whatever version."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT


def load(folder: Path) -> CustomerRecommender:
    """Open a recommender; see :meth:`engine.recommend.recommender.CustomerRecommender.open`."""
    from engine.recommend.kernels import Groups, Lists, Market, People
    from engine.recommend.recommender import CustomerRecommender

    body = read_manifest(folder, format=FORMAT, version=VERSION, name="recommender", remedy=REMEDY)
    try:
        arrays = {
            # Copy on write: what is read only is another type to the kernels, which would be compiled twice.
            name: np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False).view(np.ndarray)
            for name in body["arrays"]
        }
        tables = {name: pl.read_parquet(folder / f"{name}.parquet") for name in ("products", "segments", "customers")}
        references = pl.read_parquet(folder / "references.parquet")["customer_id"]
        codes = tables["products"]["product_id"]
        own = Baskets(tables["customers"]["customer_id"], codes, *(arrays[name] for name in HISTORY))

        def group(kind: Any, prefix: str) -> Any:
            return kind(*(arrays[f"{prefix}_{name}"] for name in kind._fields))

        known = Knowledge(
            products=codes,
            buyers=arrays["buyers"],
            along=group(Lists, "along"),
            following=group(Lists, "following"),
            people=group(People, "people"),
            references=references,
            popularity=PopularityThen(body["day"], group(Market, "market")),
            repurchase=Repurchase(arrays["rate"], arrays["gap_days"], arrays["once"]),
            groups=group(Groups, "groups"),
        )
        check(own, known, arrays["segment_of"], arrays["excluded"], tables)
        blend = Blend(**{name: arrays[name] for name in BLEND}, rows=body["rows"], bought=body["bought"])
        return CustomerRecommender(
            NextBasket.fitted(known, blend),
            own,
            tables["products"],
            tables["segments"],
            arrays["segment_of"],
            datetime.fromisoformat(body["as_of"]),
            arrays["excluded"],
            body["facts"],
        )
    except (KeyError, ValueError, TypeError, IndexError, OSError, pl.exceptions.PolarsError) as error:
        raise BundleError(f"recommender={folder}: cannot be read ({error}). {REMEDY}") from error


def check(
    own: Baskets,
    known: Knowledge,
    segment_of: NDArray[np.int32],
    excluded: NDArray[np.bool_],
    tables: Mapping[str, pl.DataFrame],
) -> None:
    """Raise :class:`DataError` unless the arrays fit each other: kernels read them without looking at their ends."""
    own.check()
    m, people = own.m, known.people
    fits = (
        len(segment_of) == own.n
        and -1 <= int(segment_of.min(initial=-1)) <= int(segment_of.max(initial=-1)) < max(tables["segments"].height, 1)
        and tables["products"].height == m
        and excluded.shape == (m,)
        and excluded.dtype == np.bool_
        and _within(known.along.start, known.along.item, len(known.along.share), m, m)
        and _within(known.following.start, known.following.item, len(known.following.share), m, m)
        and _within(people.start, people.item, len(people.share), len(known.references), m)
        and _within(people.post_start, people.post_row, len(people.post_weight), m, len(known.references))
        and known.groups.lift.shape == (tables["segments"].height + 1, m)
        and {len(known.repurchase.rate), len(known.repurchase.gap_days), len(known.repurchase.once)} == {m}
    )
    if not fits:
        raise DataError("its arrays do not fit together")


def _within(start: NDArray[np.int64], numbers: NDArray[np.int32], beside: int, parts: int, most: int) -> bool:
    """Say whether numbers in so many parts are from 0 to below ``most``, and as many values lie beside them."""
    return (
        len(start) == parts + 1
        and int(start[0]) == 0
        and bool((np.diff(start) >= 0).all())
        and int(start[-1]) == len(numbers) == beside
        and 0 <= int(numbers.min(initial=0)) <= int(numbers.max(initial=0)) < max(most, 1)
    )
