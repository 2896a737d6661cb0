"""Every error that is the user's to mend.

::

    CarteraError
    ├── DataError (ValueError)                  the data cannot mean what was asked of it
    │   └── ColumnsMissingError (KeyError)      a column that was named is not there
    ├── SettingError (ValueError)               a setting is unknown, impossible or contradicts another
    ├── SourceNotFoundError (FileNotFoundError) no file where one was named
    ├── OutputExistsError (FileExistsError)     the output folder holds something that is not ours
    ├── BundleError (ValueError)                a saved model is damaged or of another version
    ├── TrackingError (OSError)                 the tracking store cannot be reached or written
    ├── DeviceError (RuntimeError)              the device that was asked for is not there, or failed
    └── MissingExtraError (ImportError)         an optional package is needed

Each is also the builtin a Python user would catch. The command line turns any of them into exit code 2 and one
message without a traceback; whatever else escapes is our fault and exits with 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CarteraError(Exception):
    """Base of all errors that say what was expected, what came, and what to do next."""

    def __str__(self) -> str:
        # KeyError would print the repr of the message.
        return str(self.args[0]) if self.args else ""


class DataError(CarteraError, ValueError):
    """The data cannot mean what was asked of it: empty, constant, impossible or unreadable."""


class ColumnsMissingError(DataError, KeyError):
    """A column that was named is not in the data."""

    @classmethod
    def from_missing(
        cls, missing: Iterable[str], available: Iterable[str], *, where: str, hint: str = ""
    ) -> ColumnsMissingError:
        """Build the message from what was sought and what is there.

        Examples
        --------
        >>> print(ColumnsMissingError.from_missing(["montary"], ["monetary", "units"], where="features"))
        features: no column 'montary' (did you mean 'monetary'?). Columns there: monetary, units.
        """
        there = list(available)
        named = []
        for name in missing:
            close = difflib.get_close_matches(name, there, n=1)
            named.append(f"{name!r}" + (f" (did you mean {close[0]!r}?)" if close else ""))
        text = f"{where}: no column {', '.join(named)}. Columns there: {', '.join(there) or 'none'}."
        return cls(f"{text} {hint}".rstrip())


class SettingError(CarteraError, ValueError):
    """A setting is unknown, impossible, or contradicts another."""

    @classmethod
    def from_unknown(cls, what: str, got: object, allowed: Iterable[str]) -> SettingError:
        """Build the message for a name outside a closed list.

        Examples
        --------
        >>> print(SettingError.from_unknown("clustering.backend", "fais", ["native", "faiss"]))
        clustering.backend: expected one of native, faiss; got 'fais' (did you mean 'faiss'?).
        """
        names = list(allowed)
        close = difflib.get_close_matches(str(got), names, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        return cls(f"{what}: expected one of {', '.join(names)}; got {got!r}{hint}.")


class SourceNotFoundError(CarteraError, FileNotFoundError):
    """No file where one was named."""


class OutputExistsError(CarteraError, FileExistsError):
    """The output folder holds something that Cartera did not write."""


class BundleError(CarteraError, ValueError):
    """A saved model is damaged, or was written by another version."""


class TrackingError(CarteraError, OSError):
    """The tracking store cannot be reached or written."""


class DeviceError(CarteraError, RuntimeError):
    """The device that was asked for is not there, cannot be used, or failed."""


class MissingExtraError(CarteraError, ImportError):
    """An optional package is needed for what was asked."""
