"""What an index of neighbours may be given, and whether the files of one agree with each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError, SettingError

FARTHEST = 1e15
"""Coordinates beyond it have squares that float32 cannot add up."""

WHOLE = 2**31 - 1
"""FAISS counts and draws with whole numbers of 32 bits."""

MOST_MORE = 2**20
"""Up to so many neighbours may be asked for where there are fewer rows."""


def checked(matrix: Any, d: int | None) -> NDArray[np.float32]:
    """Return rows as FAISS takes them: float32, C order, finite."""
    given = _array(matrix)
    if given.ndim != 2 or given.dtype.kind not in "fiu" or (d is not None and given.shape[1] != d):
        raise DataError(
            f"neighbours: expected numbers of shape (rows, {'columns' if d is None else d}); got {given.dtype} of "
            f"shape {given.shape}."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        vectors = np.ascontiguousarray(given, dtype=np.float32)
        # The sum of extremes is not a number where one value is none.
        within = not vectors.size or max(-float(vectors.min()), float(vectors.max())) <= FARTHEST
    if not within:
        bad = int((~(np.abs(vectors) <= FARTHEST)).any(axis=1).sum())
        raise DataError(
            f"neighbours: {bad:,} of {len(vectors):,} rows hold a value that is missing, infinite or beyond "
            f"{FARTHEST:g}. Fill or correct them first."
        )
    return vectors


def checked_ids(ids: Any, n: int) -> NDArray[np.int64]:
    """Return n ids that are whole, at least 0 and different."""
    given = _array(ids)
    if given.shape != (n,) or (n and given.dtype.kind not in "iu"):
        raise DataError(f"neighbours: expected {n:,} whole numbers as ids; got {given.dtype} of shape {given.shape}.")
    if n and int(given.min()) < 0:
        raise DataError(f"neighbours: expected ids of at least 0; got {int(given.min())}.")
    if n and int(given.max()) >= 2**63:
        raise DataError(f"neighbours: expected ids below 2^63; got {int(given.max())}.")
    whole = given.astype(np.int64)
    repeated = n - len(np.unique(whole))
    if repeated:
        raise DataError(f"neighbours: {repeated:,} of {n:,} ids repeat another. Expected one row for each id.")
    return whole


def checked_unwanted(ids: Any) -> NDArray[np.int64]:
    """Return ids to remove: whole numbers in one row, each once; those that no row can have are left out."""
    given = _array(ids)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise DataError(
            f"neighbours: expected a list of whole numbers as ids to remove; got {given.dtype} of shape {given.shape}."
        )
    possible = given[(given >= 0) & (given < 2**63)] if given.size else given
    return np.unique(possible.astype(np.int64))


def checked_table(ids: Any, slot_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the new id of each slot, -1 where it is empty, by a table from old ids to new ones."""
    table, there = _array(ids), slot_ids[slot_ids >= 0]
    least = int(there.max(initial=-1)) + 1
    if table.ndim != 1 or (table.size and table.dtype.kind not in "iu") or table.size < least:
        raise DataError(
            f"neighbours: expected a new id for each old one, {least:,} whole numbers by old id; got {table.dtype} of "
            f"shape {table.shape}."
        )
    fresh = np.full(slot_ids.shape, -1, np.int64)
    fresh[slot_ids >= 0] = checked_ids(table[there], there.size)
    return fresh


def checked_exclude(exclude: Any, m: int) -> NDArray[np.int64]:
    """Return the ids that m queries leave out, one for each."""
    given = _array(exclude)
    fits = given.dtype.kind in "iu" and (given.dtype.kind == "i" or not given.size or int(given.max()) < 2**63)
    if given.shape != (m,) or (given.size and not fits):
        raise DataError(
            f"neighbours: expected one id to exclude for each of {m} queries, whole numbers of 64 bits; got "
            f"{given.dtype} of shape {given.shape}."
        )
    return given.astype(np.int64)


def check_k(k: Any, n: int) -> None:
    """Raise unless so many neighbours can be asked of n rows."""
    most = max(n, MOST_MORE)
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= most:
        raise SettingError(f"k: expected a whole number of at least 1, at most {most:,}; got {k!r}.")


def check_seed(seed: Any, *, name: str = "seed") -> None:
    """Raise unless FAISS and numpy can draw by it."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= WHOLE:
        raise SettingError(f"{name}: expected a whole number from 0 to {WHOLE}; got {seed!r}.")


def check_body(body: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` where a manifest says what no index is."""
    lowest = {"n": 0, "d": 1, "slots": 0, "seed": 0}
    if body["kind"] == "flat":
        if body["probe"] is not None:
            raise ValueError(f"probe: expected none; got {body['probe']!r}")
    else:
        lowest["probe"] = 1
    for name, low in lowest.items():
        value = body[name]
        if type(value) is not int or not low <= value <= (2**63 - 1 if name in ("n", "slots") else WHOLE):
            raise ValueError(f"{name}: expected a whole number from {low}; got {value!r}")
    if type(body["ids"]) is not bool or type(body["reason"]) is not str:
        raise ValueError("expected a reason, and whether there are ids")
    for name, value in (body["recall"] or {}).items():
        if type(value) not in (int, float):
            raise ValueError(f"recall.{name}: expected a number; got {value!r}")


def check_files(body: Mapping[str, Any], rows: Any, ids: NDArray[Any] | None) -> None:
    """Raise ``ValueError`` where rows and ids are not those that the manifest tells of."""
    for name, there in (("d", rows.d), ("slots", rows.slots), ("n", rows.full)):
        if body[name] != there:
            raise ValueError(f"{name}: expected {body[name]}; the files hold {there}")
    if ids is None:
        if body["n"] != body["slots"]:
            raise ValueError(f"expected ids for {body['n']} rows in {body['slots']} slots; there are none")
    elif ids.shape != (body["slots"],) or ids.dtype != np.int64:
        raise ValueError(f"ids: expected int64 of shape ({body['slots']},); got {ids.dtype} of shape {ids.shape}")


def _array(given: Any) -> NDArray[Any]:
    try:
        return np.asarray(given)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"neighbours: expected numbers in rows of one length; got others ({error}).") from None
