from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from engine.serving.spool import OWNER, PREFIX, remove_leftovers, spool

pytest.importorskip("fcntl", reason="without locks nothing is removed")

ROOT = Path(__file__).parents[2]
OWNS = """
import time
from engine.serving.spool import spool
with spool() as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def left(folder: Path, name: str, pid: str) -> Path:
    made = folder / f"{PREFIX}{name}"
    made.mkdir()
    (made / OWNER).write_text(pid)
    (made / "customers").mkdir()
    return made


def gone() -> str:
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return f"{process.pid}\n"


def test_a_folder_is_private_and_goes_at_the_end(tmp_path: Path) -> None:
    with spool() as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith(PREFIX)
        assert folder.stat().st_mode & 0o077 == 0
        assert (folder / OWNER).read_text() == f"{os.getpid()}\n"
        # One's own, while it is in use.
        assert remove_leftovers() == []
        assert folder.exists()
    assert not folder.exists()


def test_what_a_killed_server_left_is_removed_and_a_living_one_s_stays(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    owner = subprocess.Popen([sys.executable, "-c", OWNS], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        assert folder.parent == tmp_path
        assert remove_leftovers() == []
        assert folder.exists()
    finally:
        owner.kill()
        owner.communicate()
    assert folder.exists()
    assert remove_leftovers() == [folder]
    assert not folder.exists()


def test_only_what_is_surely_left_is_removed(tmp_path: Path) -> None:
    removed = [left(tmp_path, "a", gone()), left(tmp_path, "b", f"{os.getpid()}\n")]
    stays = [
        left(tmp_path, "alive", "1\n"),
        left(tmp_path, "odd", "nobody"),
        left(tmp_path, "all", "-1"),
        left(tmp_path, "none", "0"),
    ]
    (tmp_path / f"{PREFIX}empty").mkdir()
    (tmp_path / f"{PREFIX}file").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / OWNER).write_text(gone())
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    assert remove_leftovers() == removed
    assert [folder.exists() for folder in removed] == [False, False]
    assert all((folder / "customers").exists() for folder in stays)
    assert (tmp_path / f"{PREFIX}empty").exists()
    assert (elsewhere / OWNER).exists()
