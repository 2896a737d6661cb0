"""How far the work is: bars on a terminal, plain log lines elsewhere. Both on stderr; results go to stdout."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Announces the steps of one verb.

    Parameters
    ----------
    verb
        Name of the logger: ``cartera.VERB``.
    """

    def __init__(self, verb: str) -> None:
        self._log = logging.getLogger(f"cartera.{verb}")
        self._terminal = sys.stderr.isatty()

    def warn(self, text: str) -> None:
        """Say something that the user must see."""
        self._log.warning("%s", text)

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[float], None]]:
        """Show a step while the block runs; call what it yields with the share done, 0 to 1.

        A step that takes long says how far it is and how much time is left: in its bar, or in a log line now and then.
        The time left is judged by what came after the first share: what goes before it, such as compiling, comes once.
        """
        start = time.perf_counter()
        if self._terminal:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            columns = (TextColumn("{task.description:<12}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            with Bars(*columns, console=Console(stderr=True)) as bars:
                task = bars.add_task(name, total=1.0)
                yield lambda done: bars.update(task, completed=min(done, 1.0))
                bars.update(task, completed=1.0)
            return
        told = start
        first: tuple[float, float] | None = None

        def tell(done: float) -> None:
            nonlocal told, first
            now = time.perf_counter()
            if first is None:
                first = now, done
            since, before = first
            if before < done < 1 and now - told >= SECONDS_BETWEEN_LINES:
                told = now
                left = (now - since) * (1 - done) / (done - before)
                self._log.info("%s: %.0f %%, about %.0f s left", name, 100 * done, left)

        yield tell
        self._log.info("%s: %.1f s", name, time.perf_counter() - start)
