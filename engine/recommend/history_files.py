"""What a purchase history is on disk: the files of its buckets, its manifest, one process at a time to change it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from engine.errors import BundleError
from engine.neighbours.folder import read_manifest
from engine.recommend.baskets import Baskets

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, erase with one process at a time
    fcntl = None  # type: ignore[assignment]

FORMAT = "cartera-history"
VERSION = 1

PRODUCTS = "products.parquet"
CUSTOMERS = "customers.parquet"
ARRAYS = {"basket_start": np.int64, "day": np.int32, "item_start": np.int64, "item": np.int32}
SIZES = ("customers", "baskets", "items")

REMEDY = "Build it anew from the lake."


def manifest(folder: Path) -> dict[str, Any]:
    """Return the body of a history's manifest after a look at every file; see :func:`read_manifest`."""
    return read_manifest(folder, format=FORMAT, version=VERSION, name="history", remedy=REMEDY)


def damaged(folder: Path, why: str) -> BundleError:
    """Return the error for a history whose files are not what they were."""
    return BundleError(f"history={folder}: {why}. {REMEDY}")


def write_bucket(folder: Path, number: int, baskets: Baskets) -> dict[str, int]:
    """Write a bucket's files, none where it has no customer; return its sizes."""
    if baskets.n:
        place = _place(folder, number)
        place.mkdir()
        baskets.customer_ids.alias("customer_id").to_frame().write_parquet(place / CUSTOMERS)
        for name in ARRAYS:
            np.save(place / f"{name}.npy", getattr(baskets, name), allow_pickle=False)
    return sizes_of(baskets)


def sizes_of(baskets: Baskets) -> dict[str, int]:
    """Return how many customers, baskets and products of baskets there are."""
    return {"customers": baskets.n, "baskets": baskets.baskets, "items": len(baskets.item)}


def read_bucket(
    folder: Path, number: int, sizes: dict[str, int], *, products: pl.Series, ids: pl.DataType, mapped: bool
) -> Baskets:
    """Return one bucket, its arrays mapped from their files or in memory.

    Raises
    ------
    BundleError
        A file is missing, or not what the manifest says (``sizes``, and ``ids``: the type of customer ids).
    """
    if not sizes["customers"]:
        return nobody(pl.Series("customer_id", [], dtype=ids), products)
    place = _place(folder, number)
    try:
        customers = pl.read_parquet(place / CUSTOMERS)["customer_id"]
        arrays = {
            name: np.asarray(np.load(place / f"{name}.npy", mmap_mode="r" if mapped else None, allow_pickle=False))
            for name in ARRAYS
        }
        baskets = Baskets(customers, products, **arrays)
        baskets.check()
        fits = sizes == sizes_of(baskets) and all(arrays[name].dtype == dtype for name, dtype in ARRAYS.items())
    except (pl.exceptions.PolarsError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise damaged(folder, f"the files of {place.name} do not fit together ({error})") from error
    if not fits or customers.dtype != ids or not customers.is_sorted():
        raise damaged(folder, f"{place.name} is not what the manifest says, or was changed since it was opened")
    return baskets


def nobody(customer_ids: pl.Series, products: pl.Series) -> Baskets:
    """Return the histories of customers who bought nothing."""
    none = {name: np.zeros(1 if name.endswith("start") else 0, dtype=dtype) for name, dtype in ARRAYS.items()}
    return Baskets(customer_ids, products, **{**none, "basket_start": np.zeros(len(customer_ids) + 1, dtype=np.int64)})


def link_bucket(folder: Path, number: int, sizes: dict[str, int], target: Path) -> None:
    """Give the files of a bucket that stays as it is a second name in another folder."""
    if sizes["customers"]:
        _place(target, number).mkdir()
        for file in (CUSTOMERS, *(f"{name}.npy" for name in ARRAYS)):
            link(_place(folder, number) / file, _place(target, number) / file)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system knows one name only."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def joined(
    parts: Iterable[Baskets], sizes: Sequence[dict[str, int]], *, products: pl.Series, ids: pl.DataType
) -> Baskets:
    """Return parts of these sizes one after the other, in arrays that are made once."""
    customers_all, baskets_all, items_all = (sum(each[name] for each in sizes) for name in SIZES)
    basket_start = np.zeros(customers_all + 1, dtype=np.int64)
    day = np.empty(baskets_all, dtype=np.int32)
    item_start = np.zeros(baskets_all + 1, dtype=np.int64)
    item = np.empty(items_all, dtype=np.int32)
    customers = [pl.Series("customer_id", [], dtype=ids)]
    n = b = i = 0
    for part in parts:
        basket_start[n + 1 : n + part.n + 1] = part.basket_start[1:] + b
        day[b : b + part.baskets] = part.day
        item_start[b + 1 : b + part.baskets + 1] = part.item_start[1:] + i
        item[i : i + len(part.item)] = part.item
        customers.append(part.customer_ids)
        n, b, i = n + part.n, b + part.baskets, i + len(part.item)
    return Baskets(pl.concat(customers), products, basket_start, day, item_start, item)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time erase; the folder itself is another one afterwards, so its parent is held."""
    descriptor = os.open(folder.parent, os.O_RDONLY) if fcntl is not None and folder.parent.is_dir() else None
    try:
        if descriptor is not None:
            # Some network folders know no locks.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _place(folder: Path, number: int) -> Path:
    return folder / f"bucket-{number:05d}"
