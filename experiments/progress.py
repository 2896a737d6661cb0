"""How far the work is: bars on a terminal, plain log lines elsewhere. Both on stderr; results go to stdout."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

SECONDS_BETWEEN_LINES = 10.0

STALLED = 3.0
"""So many times as long as usual a share takes that something else goes on, such as compiling."""


class Pace:
    """How much time is left, by how long shares of the work took.

    What goes before the first share does not count, nor what came once in between, such as compiling: of the shares
    the median says how long one takes, and while one takes much longer nothing is said.

    Examples
    --------
    >>> pace = Pace()
    >>> for second, done in ((60, 0.1), (62, 0.2), (64, 0.3)):
    ...     pace.note(second, done)
    >>> pace.left(64), pace.left(65), pace.left(80)
    (14.0, 13.0, None)
    """

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self._seconds: list[tuple[float, float]] = []

    def note(self, now: float, done: float) -> None:
        """Take down that a share of the work is done."""
        if self._last is None:
            self._last = now, done
        elif done > self._last[1]:
            self._seconds.append(((now - self._last[0]) / (done - self._last[1]), done - self._last[1]))
            self._last = now, done

    def left(self, now: float) -> float | None:
        """Return the seconds left, ``None`` where that cannot be told."""
        if self._last is None or not self._seconds or self._last[1] >= 1:
            return None
        whole = median(seconds for seconds, _ in self._seconds)
        waited = now - self._last[0]
        if waited > STALLED * whole * max(share for _, share in self._seconds) + 1:
            return None
        return round(max(whole * (1 - self._last[1]) - waited, 0.0), 6)


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

        A step that takes long says how far it is and how much time is left, see :class:`Pace`: in its bar, or in a log
        line now and then.
        """
        start = time.perf_counter()
        pace = Pace()
        if self._terminal:
            from rich.console import Console
            from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars
            from rich.text import Text

            class Left(ProgressColumn):
                """The time left, as minutes and seconds."""

                def render(self, task: Task) -> Text:
                    left = None if task.finished else pace.left(time.perf_counter())
                    if left is None:
                        return Text("" if task.finished else "-:--", style="progress.remaining")
                    return Text(f"{int(left) // 60}:{int(left) % 60:02d}", style="progress.remaining")

            columns = (TextColumn("{task.description:<12}"), BarColumn(), TimeElapsedColumn(), Left())
            with Bars(*columns, console=Console(stderr=True)) as bars:
                task = bars.add_task(name, total=1.0)

                def draw(done: float) -> None:
                    pace.note(time.perf_counter(), done)
                    bars.update(task, completed=min(done, 1.0))

                yield draw
                bars.update(task, completed=1.0)
            return
        told = start

        def tell(done: float) -> None:
            nonlocal told
            now = time.perf_counter()
            pace.note(now, done)
            left = pace.left(now)
            if left is not None and now - told >= SECONDS_BETWEEN_LINES:
                told = now
                self._log.info("%s: %.0f %%, about %.0f s left", name, 100 * done, left)

        yield tell
        self._log.info("%s: %.1f s", name, time.perf_counter() - start)
