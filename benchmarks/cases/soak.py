"""One customer over HTTP for minutes on end: whether every request is answered and the server's memory stays.

The bundle is that of the case ``serving``, the load comes at a fixed rate from the process that is measured, whatever
comes back, and a request's time counts from when it was due. Memory is the resident size of the server and of what it
started, first when it has settled and then after the last request: what grows from request to request shows there.

At size L a call takes longer than the limit that a process has by default, and once is enough:
``cartera bench soak size=L repeats=1 limit_s=900``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.case import Case, Contestant, Task
from benchmarks.cases import serving
from benchmarks.peers import serving as peers

SECONDS = {"XS": 3.0, "S": 20.0, "M": 120.0, "L": 600.0}
PER_SECOND = 300.0
SETTLED_S = 30.0
"""When the memory is looked at first; a load shorter than three times that has it at a third."""
MOST_GROWTH = 0.05
"""Share by which the memory may be larger at the end."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the case ``serving`` gives, how long the load lasts, when the memory is looked at first, and the rate."""

    model: serving.Given
    seconds: float
    settled_s: float
    per_second: float


def open_model(task: Task) -> Given:
    """Read what the answer should be."""
    seconds = SECONDS[task.size]
    return Given(serving.open_model(task), seconds, min(SETTLED_S, seconds / 3), PER_SECOND)


def judge(given: Given, answer: peers.Soaked, task: Task) -> tuple[dict[str, Any], str | None]:
    """Tell the load and the memory; wrong where a request failed, the memory grew or the answer is not the model's."""
    load, growth = answer.load, answer.end_mib / answer.settled_mib - 1
    p50, p99 = load.quantile(0.5), load.quantile(0.99)
    facts: dict[str, Any] = {
        "requests": load.requests,
        "failed": load.failed,
        "p50_ms": None if p50 is None else round(1e3 * p50, 3),
        "p99_ms": None if p99 is None else round(1e3 * p99, 3),
        "settled_mib": round(answer.settled_mib, 1),
        "end_mib": round(answer.end_mib, 1),
    }
    if load.failed:
        return facts, f"{load.failed} of {load.requests} requests failed"
    if growth > MOST_GROWTH:
        return facts, f"memory grew by {growth:.1%}, from {answer.settled_mib:.1f} to {answer.end_mib:.1f} MiB"
    return facts, serving.fault_of(given.model, answer.answer)


CASE = Case(
    name="soak",
    title=f"one customer classified over HTTP, {PER_SECOND:g} times a second, for long",
    sizes={
        name: f"{PER_SECOND:g} requests a second for {seconds:g} s; 99 % of them were answered within the seconds told"
        for name, seconds in SECONDS.items()
    },
    data=("steady",),
    contestants={
        "cartera": Contestant(
            peers.soak,
            ("cartera", "fastapi", "uvicorn", "msgspec"),
            "Cartera: token, limits, metrics, the model's answer",
            warm=0,
        ),
    },
    make=serving.make,
    open=open_model,
    judge=judge,
    quality=None,
    shows={
        "requests": "requests",
        "failed": "failed",
        "p50_ms": "median, ms",
        "settled_mib": "server's memory when settled, MiB",
        "end_mib": "at the end, MiB",
    },
)
