"""What a row must say about where it comes from: machine, versions, commit."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from engine.compute import available_cores

ROOT = Path(__file__).resolve().parent.parent
"""Top of the checkout."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Which code was measured.

    Attributes
    ----------
    sha
        Short hash; ``unknown`` outside a git checkout.
    date
        When it was committed, ISO 8601. No other date is in a row, so that nothing reads the clock.
    dirty
        Whether files differ from the commit; results and pictures do not count.
    """

    sha: str
    date: str
    dirty: bool

    @classmethod
    def of(cls, root: Path = ROOT) -> Commit:
        """Return the commit that a checkout stands on."""
        try:
            sha, date = _git(root, "show", "-s", "--format=%h %cI", "HEAD").split()
            changed = _git(root, "status", "--porcelain", "--", ".", ":!benchmarks/results", ":!docs")
        except (OSError, subprocess.CalledProcessError):
            return cls("unknown", "unknown", True)
        return cls(sha, date, bool(changed.strip()))


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout


def machine() -> dict[str, Any]:
    """Return processor, cores that may be used, memory in GiB, system."""
    return {
        "cpu": _cpu(),
        "cores": available_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each distribution.

    Raises
    ------
    PackageNotFoundError
        One is not installed; the error names it.
    """
    return {name: version(name) for name in packages}


def missing(packages: Iterable[str]) -> list[str]:
    """Return the distributions that are not installed."""
    absent = []
    for name in packages:
        try:
            version(name)
        except PackageNotFoundError:
            absent.append(name)
    return absent
