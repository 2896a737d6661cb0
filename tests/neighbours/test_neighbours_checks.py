from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import BundleError, DataError, SettingError
from engine.neighbours import NeighbourIndex
from engine.neighbours.folder import write_manifest
from engine.neighbours.index import FORMAT, VERSION

# Tests run side by side: threads that wait for each other would only take turns.
build = partial(NeighbourIndex.build, threads=1)

KINDS = ["flat", "ivf", "hnsw", "ivf_pq"]
LIES: list[dict[str, Any]] = [
    {"d": 2},
    {"d": 5},
    {"d": "4"},
    {"d": True},
    {"n": -1},
    {"n": 399},
    {"n": 99_999},
    {"n": 400.0},
    {"slots": 399},
    {"slots": 401},
    {"slots": -1},
    {"slots": None},
    {"slots": 2**70},
    {"probe": -5},
    {"probe": 0},
    {"probe": "x"},
    {"probe": 1.5},
    {"probe": True},
    {"probe": 2**40},
    {"seed": -1},
    {"seed": "0"},
    {"ids": False},
    {"ids": 1},
    {"reason": 3},
    {"recall": {"at": "x", "measured": 1, "queries": 1, "seconds_per_query": 1, "flat_seconds_per_query": 1}},
    {"recall": 5},
    {"kind": []},
]


def rewrite(folder: Path, **changes: Any) -> None:
    """Write a manifest that agrees with its own checksum and with the files' checksums."""
    body = json.loads((folder / "manifest.json").read_text())["body"]
    write_manifest(folder, format=FORMAT, version=VERSION, body={**body, **changes})


@pytest.mark.parametrize("kind", KINDS)
def test_a_manifest_that_lies_is_refused_at_load(kind: str, tmp_path) -> None:
    rows = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    index = build(rows, np.arange(400) + 7, kind=kind)
    index.remove([9])
    index.add(rows[2:3], [9])
    folder = index.save(tmp_path / "index")
    true = json.loads((folder / "manifest.json").read_text())["body"]
    lies = [*LIES, {"probe": None} if kind != "flat" else {"probe": 1}, {"kind": "flat" if kind != "flat" else "ivf"}]
    for lie in lies:
        if all(true[name] == value and type(true[name]) is type(value) for name, value in lie.items()):
            continue
        rewrite(folder, **{**true, **lie})
        with pytest.raises(BundleError, match="do not hold an index"):
            NeighbourIndex.load(folder)
    rewrite(folder, **true)
    assert NeighbourIndex.load(folder).n == 400


@pytest.mark.parametrize("kind", KINDS)
def test_ids_of_another_shape_or_type_are_refused_at_load(kind: str, tmp_path) -> None:
    rows = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    folder = build(rows, np.arange(400) + 7, kind=kind).save(tmp_path / "index")
    ids = np.arange(400)
    for bad in (ids[:399], np.append(ids, 5), ids[:, None], ids.astype(np.int32), ids.astype(float), ids.astype("U3")):
        np.save(folder / "ids.npy", bad)
        rewrite(folder)
        with pytest.raises(BundleError, match="ids"):
            NeighbourIndex.load(folder)


@pytest.mark.parametrize("bad", [np.zeros((400, 4)), np.zeros(400, np.float32), np.zeros((400, 4, 1), np.float32)])
def test_vectors_of_another_shape_or_type_are_refused_at_load(bad: np.ndarray, tmp_path) -> None:
    folder = build(np.zeros((400, 4), np.float32)).save(tmp_path / "index")
    np.save(folder / "vectors.npy", bad)
    rewrite(folder)
    with pytest.raises(BundleError, match="float32"):
        NeighbourIndex.load(folder)


@pytest.mark.parametrize("bad", [[400], [-1], [3, 3], [1.0], [[1]]])
def test_removed_rows_that_cannot_be_are_refused_at_load(bad: list[Any], tmp_path) -> None:
    rows = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    folder = build(rows, kind="hnsw").save(tmp_path / "index")
    np.save(folder / "gone.npy", np.array(bad))
    rewrite(folder, n=400 - len(bad))
    with pytest.raises(BundleError, match="removed"):
        NeighbourIndex.load(folder)


def test_what_cannot_be_asked_is_said() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    for seed in (-1, 2**31, 2**70, 1.5, "a", None, True):
        with pytest.raises(SettingError, match="seed"):
            build(rows, seed=seed)
    for memory in ("a", True, float("nan"), [1]):
        with pytest.raises(SettingError, match="memory_mib"):
            build(rows, memory_mib=memory)
    index = build(rows, seed=2**31 - 1, memory_mib=np.float32(5))
    exclude: Any
    for exclude in ([1.5], [float("nan")], [2**63], [2**64], ["a"], [None], [True], [[1], [2, 3]], [1, 2], 1):
        with pytest.raises(DataError, match="neighbours: expected"):
            index.search(rows[:1], 2, exclude=exclude)
    for k in (2**40, 0, True, 1.0, "a"):
        with pytest.raises(SettingError, match="k: expected a whole number of at least 1, at most 1,048,576; got "):
            index.search(rows[:1], k)  # type: ignore[arg-type]
    ragged: Any = [[1, 2, 3], [1]]
    with pytest.raises(DataError, match="one length"):
        index.search(ragged, 2)
    assert index.search(rows[:1], 6, exclude=[np.uint64(0)]).ids.tolist() == [[1, 2, 3, -1, -1, -1]]
    assert index.search(rows[:0], 2, exclude=[]).ids.shape == (0, 2)


BAD_IDS: dict[str, Any] = {
    "ragged": [[1], [2, 3]],
    "text": ["1", "2"],
    "fractions": [1.0, 2.0],
    "truth values": [True, False],
    "nothing": None,
    "a table": [[1, 2], [3, 4]],
    "too large for any integer": [1, 2**70],
    "mixed": [1, "2"],
}


@pytest.mark.parametrize("ids", BAD_IDS.values(), ids=BAD_IDS.keys())
def test_ids_of_another_form_are_refused_and_nothing_has_changed(ids: Any) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    index = build(rows, np.arange(50) + 3)
    before = index.search(rows, 5)
    for change in (index.remove, index.renumber):
        with pytest.raises(DataError, match=r"neighbours: expected .*; got|rows of one length"):
            change(ids)
    assert index.n == 50
    assert (index.search(rows, 5).ids == before.ids).all()


def test_a_table_of_new_ids_that_does_not_fit_changes_nothing() -> None:
    rows = np.eye(4, dtype=np.float32)
    index = build(rows, [5, 6, 7, 9])
    index.remove([6])
    for table, said in (
        (np.arange(9), r"10 whole numbers by old id; got int64 of shape \(9,\)"),
        (np.arange(10).astype(float), r"10 whole numbers by old id; got float64"),
        (np.arange(10) - 8, "at least 0; got -3"),
        (np.zeros(10, int), "2 of 3 ids repeat"),
        (np.full(10, 2**64 - 1, np.uint64), "below 2\\^63"),
        ([], r"10 whole numbers"),
    ):
        with pytest.raises(DataError, match=said):
            index.renumber(table)
        assert sorted(index.search(rows, 3).ids[0]) == [5, 7, 9]
    # What stands where nobody has the id does not matter.
    index.renumber([-1, -1, -1, -1, -1, 0, 0, 1, 99, 2, 99])
    assert sorted(index.search(rows, 3).ids[0]) == [0, 1, 2]
    index.remove([0, 1, 2])
    index.renumber([])
    assert index.n == 0


def test_ids_that_no_row_can_have_are_not_there_to_remove() -> None:
    index = build(np.eye(3))
    assert index.remove(np.array([2**64 - 1, 2**63, 1], np.uint64)) == 1
    assert index.remove([-1, 2**62]) == 0
    assert index.remove([]) == index.remove(()) == 0
    assert index.n == 2
    with pytest.raises(DataError, match="below 2\\^63; got 18446744073709551615"):
        index.add(np.eye(3)[:1], np.array([2**64 - 1], np.uint64))
    assert index.n == 2
