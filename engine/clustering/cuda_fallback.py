"""Where an NVIDIA GPU fails: the processor goes on with the same rows, or that is an error."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Any

from engine.clustering.rows_array import ArrayRows
from engine.errors import DeviceError

log = logging.getLogger(__name__)


class Fallible(ABC):
    """Rows on a card that may fail.

    Parameters
    ----------
    rows : ArrayRows
        The same rows in this process.
    fall_back : bool
        Whether the processor goes on where the card fails.
    of : Fallible, optional
        Those that these are a sample of: where the card fails on these, it has failed on those.

    Attributes
    ----------
    host : ArrayRows
    failure : str or None
        What the card failed with.
    """

    def __init__(self, rows: ArrayRows, *, fall_back: bool, of: Fallible | None) -> None:
        self.host = rows
        self.failure: str | None = None
        self._fall_back = fall_back
        self._of = of

    @abstractmethod
    def forget(self) -> None:
        """Give back what is kept on the card."""

    def give_up(self, error: Exception) -> None:
        """Note that the card failed; :class:`DeviceError` where the processor may not go on."""
        if isinstance(error, DeviceError) and not self._fall_back:
            raise error
        self.failure = " ".join(str(error).split()) or type(error).__name__
        self.forget()
        if self._of is not None:
            self._of.give_up(error)
            return
        if not self._fall_back:
            raise self._error() from error
        log.warning("the GPU failed, and the CPU goes on: %s", self.failure)

    def in_memory(self) -> ArrayRows:
        """Return the rows that the processor goes on with; :class:`DeviceError` where it may not."""
        if self.failure is not None and not self._fall_back:
            raise self._error()
        return self.host

    def _error(self) -> DeviceError:
        return DeviceError(
            f"clustering.device=cuda: the GPU failed ({self.failure}). Set clustering.device=auto, which goes on "
            "with the CPU, or cpu; `cartera doctor` tries the GPU."
        )


def or_in_memory(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let the processor do what the card could not, where that is allowed; from then on it does all."""

    @wraps(method)
    def run(self: Fallible, *given: Any, **named: Any) -> Any:
        from engine.clustering.cuda_tiles import FAILURES

        if self.failure is None:
            try:
                return method(self, *given, **named)
            except (*FAILURES, DeviceError) as error:
                self.give_up(error)
        return getattr(self.in_memory(), method.__name__)(*given, **named)

    return run
