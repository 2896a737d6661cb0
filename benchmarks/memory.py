"""How much memory a process and all its children hold, as the kernel counts it."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import psutil

SAMPLE_S = 0.01
_TREE_S = 0.1


class Watcher:
    """Watches one process tree.

    Counted is what no file stands behind: anonymous and shared memory (RssAnon and RssShmem of ``/proc/PID/status``).
    Pages of mapped files, which the kernel may drop at will, are left out; where there is no such file (macOS) the
    resident size is taken. Memory that two processes share counts twice.

    Parameters
    ----------
    pid
        Root of the tree.

    Attributes
    ----------
    peak_mib
        Largest sum seen by :meth:`sample`. A peak shorter than the time between two samples is missed.
    """

    def __init__(self, pid: int) -> None:
        self._root = pid
        self._tree = [pid]
        self._tree_seen = 0.0
        self.peak_mib = 0.0

    def now_mib(self) -> float:
        """Return what the tree holds now."""
        if time.monotonic() - self._tree_seen > _TREE_S:
            # Walking the whole process table takes longer than the sample itself.
            self._tree = [self._root, *children(self._root)]
            self._tree_seen = time.monotonic()
        return sum(held_mib(pid) for pid in self._tree)

    def sample(self) -> float:
        """Look once; return what the tree holds now."""
        now = self.now_mib()
        self.peak_mib = max(self.peak_mib, now)
        return now


def children(pid: int) -> list[int]:
    """Return all descendants of a process; none where it has ended."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def held_mib(pid: int) -> float:
    """Return the memory of one process, 0 where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status")
        if not status.exists():
            return float(psutil.Process(pid).memory_info().rss) / 2**20
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except (OSError, psutil.Error):
        return 0.0
    held = [int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:"))]
    return sum(held) / 1024


def resident_mib(pid: int) -> float:
    """Return the resident size of a process and all its descendants: what the kernel keeps in memory, files too."""
    total = 0
    for each in (pid, *children(pid)):
        with suppress(psutil.NoSuchProcess):
            total += psutil.Process(each).memory_info().rss
    return total / 2**20
