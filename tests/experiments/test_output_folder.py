from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import OutputExistsError, SettingError
from experiments.output import MARKER, output


def fail(folder: Path, error: type[BaseException]) -> None:
    write(folder, a="2")
    raise error


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


def visible(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != MARKER}


def test_everything_appears_at_the_end(tmp_path) -> None:
    with output(tmp_path / "deep" / "out", "segment") as folder:
        write(folder, a="1")
        assert not (tmp_path / "deep" / "out").exists()
    assert visible(tmp_path / "deep" / "out") == {"a": "1"}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_run_leaves_nothing(tmp_path, error: type[BaseException]) -> None:
    with pytest.raises(error), output(tmp_path / "out", "segment") as folder:
        fail(folder, error)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_leaves_the_earlier_one(tmp_path) -> None:
    with output(tmp_path / "out", "segment") as folder:
        write(folder, a="1")
    with pytest.raises(KeyError), output(tmp_path / "out", "segment") as folder:
        fail(folder, KeyError)
    assert visible(tmp_path / "out") == {"a": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_second_run_replaces_what_the_first_wrote_and_keeps_the_rest(tmp_path) -> None:
    with output(tmp_path / "out", "segment") as folder:
        write(folder, a="1", b="1")
        (folder / "bundle").mkdir()
        write(folder / "bundle", c="1")
    write(tmp_path / "out", notes="mine")
    with output(tmp_path / "out", "segment") as folder:
        write(folder, a="2")
        (folder / "bundle").mkdir()
        write(folder / "bundle", d="2")
    assert (tmp_path / "out" / "a").read_text() == "2"
    assert not (tmp_path / "out" / "b").exists()
    assert (tmp_path / "out" / "notes").read_text() == "mine"
    assert visible(tmp_path / "out" / "bundle") == {"d": "2"}


def test_what_is_not_ours_is_left_alone(tmp_path) -> None:
    (tmp_path / "thesis").mkdir()
    write(tmp_path / "thesis", chapter="1")
    with pytest.raises(OutputExistsError, match="other files are there"), output(tmp_path / "thesis", "segment"):
        pass
    with pytest.raises(OutputExistsError, match="a file is there"), output(tmp_path / "thesis" / "chapter", "segment"):
        pass
    with output(tmp_path / "scored", "score") as folder:
        write(folder, a="1")
    with pytest.raises(OutputExistsError, match="that `cartera segment` wrote"), output(tmp_path / "scored", "segment"):
        pass
    assert visible(tmp_path / "thesis") == {"chapter": "1"}


def test_an_empty_folder_is_taken(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    with output(tmp_path / "out", "segment") as folder:
        write(folder, a="1")
    assert visible(tmp_path / "out") == {"a": "1"}


def test_an_input_inside_the_output_is_refused(tmp_path) -> None:
    with (
        pytest.raises(SettingError, match="lies inside it"),
        output(tmp_path / "out", "score", inputs=[None, tmp_path / "out" / "bundle"]),
    ):
        pass


def test_a_marker_cannot_point_outside(tmp_path) -> None:
    with output(tmp_path / "out", "segment") as folder:
        write(folder, a="1")
    write(tmp_path, precious="mine")
    for name in ("..", ".", "../precious", str(tmp_path / "precious"), ""):
        (tmp_path / "out" / MARKER).write_text(json.dumps({"verb": "segment", "wrote": [name, "a", 5]}))
        with output(tmp_path / "out", "segment") as folder:
            write(folder, b="2")
        assert (tmp_path / "precious").read_text() == "mine"
        assert visible(tmp_path / "out") == {"b": "2"}


@pytest.mark.parametrize("marker", ["[1]", '{"verb": "segment", "wrote": 5}', "{", "[" * 100_000])
def test_a_broken_marker_is_not_ours(tmp_path, marker: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MARKER).write_text(marker)
    with pytest.raises(OutputExistsError), output(tmp_path / "out", "segment"):
        pass


def test_the_output_may_not_lie_inside_an_input(tmp_path) -> None:
    (tmp_path / "lake" / "transactions").mkdir(parents=True)
    with (
        pytest.raises(SettingError, match="which this run reads"),
        output(tmp_path / "lake" / "transactions", "segment", inputs=[tmp_path / "lake"]),
    ):
        pass


def test_folders_on_the_way_go_too(tmp_path) -> None:
    with pytest.raises(KeyError), output(tmp_path / "a" / "b" / "out", "segment") as folder:
        fail(folder, KeyError)
    assert list(tmp_path.iterdir()) == []


def test_the_remains_of_a_killed_run_are_swept(tmp_path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    for number in (int(ended.stdout), os.getpid()):
        (tmp_path / f".out.{platform.node()}.{number}.abc.partial").mkdir()
        # Of another target, too: it may name persons, and nobody would look for it.
        (tmp_path / f".2026-11-22.{platform.node()}.{number}.abc.partial").mkdir()
    with output(tmp_path / "out", "segment") as folder:
        write(folder, a="1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f".2026-11-22.{platform.node()}.{os.getpid()}.abc.partial",
        f".out.{platform.node()}.{os.getpid()}.abc.partial",
        "out",
    ]
