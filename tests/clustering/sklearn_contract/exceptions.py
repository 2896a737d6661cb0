"""The list of what scikit-learn's own tests ask for and our estimator does not give, with the reasons."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_name("exceptions.txt")


@dataclass(frozen=True)
class TestException:
    """One line of the list: ``skip`` is not run at all, ``fails`` is run and has to fail."""

    __test__ = False

    kind: str
    pattern: str
    reason: str

    def meets(self, name):
        """Say whether the test of this name is meant."""
        return re.fullmatch(self.pattern, name) is not None


def read_exceptions():
    """Read the list; a line without a reason is an error."""
    lines = [line for line in LIST.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    found = [TestException(*(part.strip() for part in line.split(" | "))) for line in lines]
    assert all(exception.kind in ("skip", "fails") and exception.reason for exception in found)
    return found
