from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from engine.errors import BundleError, OutputExistsError, SourceNotFoundError
from engine.neighbours import NeighbourIndex, folder
from engine.neighbours.folder import fingerprint

# Tests run side by side: threads that wait for each other would only take turns.
build = partial(NeighbourIndex.build, threads=1)

KINDS = ["flat", "ivf", "hnsw", "ivf_pq"]


def make_rows(seed: int, n: int = 1_200, d: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("memory_map", [True, False])
def test_what_is_loaded_answers_as_what_was_saved(kind: str, memory_map: bool, tmp_path) -> None:
    rows = make_rows(0)
    for ids in (None, np.arange(1_200) + 5):
        index = build(rows, ids, kind=kind)
        again = NeighbourIndex.load(index.save(tmp_path / "index"), memory_map=memory_map)
        assert (again.kind, again.n, again.d, again.recall) == (kind, 1_200, 4, index.recall)
        assert again.reason == index.reason
        # Both go on in the same way: what is mapped is copied before it changes.
        for each in (index, again):
            each.remove(np.arange(5, 60))
            each.add(rows[5:30] + 1, np.arange(5, 30))
        a, b = index.search(rows, 5), again.search(rows, 5)
        assert (a.ids == b.ids).all()
        assert (a.distances == b.distances).all()
        # And the folder knows nothing of it.
        assert NeighbourIndex.load(tmp_path / "index").n == 1_200


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mapped", [True, False])
def test_a_removed_row_is_not_on_the_disk(kind: str, mapped: bool, tmp_path) -> None:
    rows = make_rows(1)
    index = build(rows, kind=kind)
    index.save(tmp_path / "index")
    marks = [rows[row].tobytes() for row in (3, 700, 1_199)]

    def on_disk(path: Path) -> int:
        content = b"".join(file.read_bytes() for file in path.iterdir())
        return sum(mark in content for mark in marks)

    if kind != "ivf_pq":
        assert on_disk(tmp_path / "index") == 3
    if mapped:
        index = NeighbourIndex.load(tmp_path / "index")
    assert index.remove([3, 700, 1_199]) == 3
    index.save(tmp_path / "index")
    assert on_disk(tmp_path / "index") == 0
    again = NeighbourIndex.load(tmp_path / "index")
    assert again.n == 1_197
    assert not np.isin(again.search(rows, 10).ids, [3, 700, 1_199]).any()
    if kind == "ivf_pq":
        # Its codes are no floats: whoever is gone leaves one code and one id less.
        assert again.search(rows[:1], 1_200).ids[0].tolist().count(-1) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_changed_or_gone_is_named(kind: str, tmp_path) -> None:
    index = build(make_rows(2), np.arange(1_200) + 1, kind=kind).save(tmp_path / "index")
    for file in sorted(index.iterdir()):
        content = file.read_bytes()
        for spoilt in (
            content[:-1],
            content[:-1] + bytes([content[-1] ^ 1]),
            b"",
            bytes([content[0] ^ 1]) + content[1:],
        ):
            file.write_bytes(spoilt)
            with pytest.raises(BundleError, match=f"{file.name} is missing or not as it was written"):
                NeighbourIndex.load(index)
        file.unlink()
        with pytest.raises((BundleError, SourceNotFoundError), match=file.name):
            NeighbourIndex.load(index)
        file.write_bytes(content)
    assert NeighbourIndex.load(index).n == 1_200


def test_files_that_agree_with_a_manifest_but_hold_no_index_are_refused(tmp_path) -> None:
    index = build(make_rows(2), kind="ivf").save(tmp_path / "index")
    (index / "index.faiss").write_bytes(b"not an index")
    manifest = json.loads((index / "manifest.json").read_text())
    folder.write_manifest(index, format="cartera-neighbours", version=1, body=manifest["body"])
    with pytest.raises(BundleError, match="index="):
        NeighbourIndex.load(index)


def test_another_version_and_another_format_say_so(tmp_path) -> None:
    index = build(make_rows(2)).save(tmp_path / "index")
    manifest = json.loads((index / "manifest.json").read_text())
    (index / "manifest.json").write_text(json.dumps({**manifest, "version": 9}))
    with pytest.raises(BundleError, match=r"of version 9, but this release reads version 1\. Build the index anew"):
        NeighbourIndex.load(index)
    (index / "manifest.json").write_text(json.dumps({"format": "cartera-bundle"}))
    with pytest.raises(BundleError, match="is not of cartera-neighbours"):
        NeighbourIndex.load(index)
    with pytest.raises(SourceNotFoundError, match=r"expected a folder with manifest\.json"):
        NeighbourIndex.load(tmp_path / "nothing")


def test_a_folder_of_something_else_is_left_alone(tmp_path) -> None:
    index = build(make_rows(3))
    (tmp_path / "empty").mkdir()
    assert index.save(tmp_path / "empty").joinpath("vectors.npy").is_file()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text('{"format": "cartera-bundle"}')
    for target in (tmp_path / "other", tmp_path / "other" / "manifest.json"):
        with pytest.raises(OutputExistsError, match="something else is there"):
            index.save(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "other"]


def test_nothing_is_left_of_a_folder_that_could_not_be_written(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = build(make_rows(3))
    index.save(tmp_path / "index")

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("engine.neighbours.index.write_manifest", full)
    with pytest.raises(OSError, match="no space left"):
        index.save(tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    assert NeighbourIndex.load(tmp_path / "index").n == 1_200


def test_large_files_are_known_by_their_length_and_ends(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "WHOLE_BYTES", 100)
    monkeypatch.setattr(folder, "END_BYTES", 40)
    file = tmp_path / "file"
    content = bytes(range(200))
    file.write_bytes(content)
    known = fingerprint(file)
    assert known["bytes"] == 200
    for place, seen in ((0, True), (39, True), (40, False), (159, False), (160, True), (199, True)):
        changed = bytearray(content)
        changed[place] ^= 1
        file.write_bytes(bytes(changed))
        assert (fingerprint(file) != known) is seen, place


SAVES_AND_WAITS = """
import sys
from pathlib import Path
from engine.neighbours.folder import new_folder
with new_folder(Path(sys.argv[1]), format="x") as partial:
    (partial / "customers.arrow").write_bytes(b"persons")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(folder.fcntl is None, reason="without such locks leftovers stay")
def test_what_a_killed_save_left_goes_with_the_next_one(tmp_path) -> None:
    target = tmp_path / "cust.omers"
    index = build(make_rows(4, 50))
    index.save(target)
    command = [sys.executable, "-c", SAVES_AND_WAITS, str(tmp_path / "cust.omers2")]
    with (
        subprocess.Popen(
            [*command[:-1], str(tmp_path / "other")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as living,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed,
    ):
        for process in (living, killed):
            assert process.stdout is not None
            assert process.stdout.readline() == "writing\n"
        killed.kill()
        killed.wait()
        # As if both had saved to the same place.
        for left in tmp_path.glob(".*"):
            name = left.name.replace("cust.omers2", "cust.omers").replace("other", "cust.omers")
            left.rename(tmp_path / name)
        held, gone = sorted(tmp_path.glob(".cust.omers.*")), []
        assert len(held) == 2
        (tmp_path / f".cust.omers.{'0' * 32}.old").mkdir()
        # Names that only look like ours, and a file.
        for name in (f".custXomers.{'0' * 32}", ".cust.omers.mine", f".cust.omers.{'g' * 32}"):
            (tmp_path / name).mkdir()
            gone.append(name)
        (tmp_path / f".cust.omers.{'1' * 32}").write_text("a file")
        gone.append(f".cust.omers.{'1' * 32}")
        index.save(target)
        there = {path.name for path in tmp_path.iterdir()}
        # Of the two that were being written only that of the living process is there.
        assert len(there - {"cust.omers", *gone}) == 1
        assert {"cust.omers", *gone} <= there
        assert NeighbourIndex.load(target).n == 50
        living.kill()
        living.wait()
        index.save(target)
        assert {path.name for path in tmp_path.iterdir()} == {"cust.omers", *gone}
