"""A recommender on disk: arrays without objects, Parquet and JSON; large files are mapped when it is opened.

The folder names persons: their ids, what they bought, their segments.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from engine.errors import BundleError
from engine.neighbours.folder import new_folder, read_manifest, write_manifest
from engine.recommend.baskets import Baskets
from engine.recommend.blend import Blend
from engine.recommend.knowledge import Knowledge
from engine.recommend.next_basket import NextBasket
from engine.recommend.popularity import PopularityThen
from engine.recommend.repurchase import Repurchase

if TYPE_CHECKING:
    from engine.recommend.recommender import CustomerRecommender

FORMAT = "cartera-recommender"
VERSION = 1
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
    arrays |= {"buyers": known.buyers, "segment_of": recommender.segment_of}
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
        }
        write_manifest(folder, format=FORMAT, version=VERSION, body=body)


def load(folder: Path) -> CustomerRecommender:
    """Open a recommender; see :meth:`engine.recommend.recommender.CustomerRecommender.open`."""
    from engine.recommend.kernels import Groups, Lists, Market, People
    from engine.recommend.recommender import CustomerRecommender

    body = read_manifest(folder, format=FORMAT, version=VERSION, name="recommender", remedy=REMEDY)
    try:
        arrays = {
            # Copy on write: what is read only is another type to the kernels, which would be compiled twice.
            file.stem: np.load(file, mmap_mode="c", allow_pickle=False).view(np.ndarray)
            for file in sorted(folder.glob("*.npy"))
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
        blend = Blend(**{name: arrays[name] for name in BLEND}, rows=body["rows"], bought=body["bought"])
        return CustomerRecommender(
            NextBasket.fitted(known, blend),
            own,
            tables["products"],
            tables["segments"],
            arrays["segment_of"],
            datetime.fromisoformat(body["as_of"]),
            body["facts"],
        )
    except (KeyError, ValueError, TypeError, OSError, pl.exceptions.PolarsError) as error:
        raise BundleError(f"recommender={folder}: cannot be read ({error}). {REMEDY}") from error
