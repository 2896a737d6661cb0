"""Putting finished files and folders in place so that no reader sees half of one."""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import uuid4


def replace_entry(new: Path, target: Path) -> None:
    """Move a finished file or folder to ``target``; what stood there goes only when the new one stands.

    Both must be on one file system.
    """
    if not target.is_dir():
        new.replace(target)
        return
    old = target.with_name(f".{target.name}.{uuid4().hex}.old")
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)
