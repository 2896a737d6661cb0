"""``POST /v1/classify``: one customer's values in, the segment out.

The way that is asked thousands of times a second: a plain ASGI endpoint, msgspec in and out, no model of the body but
the served one, which knows its own variables and says what is wrong with a value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from engine.errors import DataError
from engine.schema import Word
from engine.serving.json_names import check_names
from engine.serving.problems import Problem
from engine.serving.query import BEHIND, IMPUTE, LANGUAGE, NEIGHBOURS, options

if TYPE_CHECKING:
    from engine.segments.model import SegmentModel
    from engine.serving.access import Access
    from engine.serving.metrics import Metrics
    from engine.serving.state import Snapshot, State

OPTIONS = {"impute": IMPUTE, "language": LANGUAGE, "neighbours": NEIGHBOURS}

JSON_HEADER = (b"content-type", b"application/json")

WINDOW = Word(
    "The values are those of the {days} days before the day they were worked out.",
    "Los valores son los de los {days} días anteriores al día en que se calcularon.",
)
WHOLE_HISTORY = Word(
    "The values are those of the customer's whole history.",
    "Los valores son los de toda la historia del cliente.",
)


class ClassifyOne:
    """The endpoint.

    Parameters
    ----------
    state, access, metrics
        What is served, to whom, and where it is counted.
    language
        Of an answer where none is asked for.
    """

    def __init__(self, state: State, access: Access, metrics: Metrics, *, language: str) -> None:
        self._state, self._access, self._metrics = state, access, metrics
        self._language = language

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        self._access.require(scope, "classify")
        asked = options(scope["query_string"], OPTIONS)
        body = await read_body(receive)
        snapshot = self._state.now
        try:
            values = as_object(body)
        except Problem:
            # A packed body is no JSON either; only here does it cost nothing to look.
            check_encoding(scope)
            raise
        try:
            answer = snapshot.model.classify(values, impute=asked["impute"])
        except DataError as error:
            problem = refused(error, snapshot.model)
            misplaced = [name for name in OPTIONS if name in values and name not in snapshot.model.spec.names]
            problem.detail += "".join(f" {name}: {BEHIND.format(name=name)}" for name in misplaced)
            raise problem from None
        language = asked["language"] or self._language
        content = answer.to_dict(language)
        content["window"] = window_text(snapshot.model, language)
        if asked["neighbours"]:
            point = snapshot.model.spec.row(values, impute=asked["impute"])
            content["neighbour_agreement"] = await run_in_threadpool(vote, snapshot, point, answer.segment_id)
        self._metrics.classified(1)
        await send_json(send, content)


def vote(snapshot: Snapshot, point: NDArray[np.float32], segment_id: str) -> float:
    """Return the share of the known customers nearest to a point, shape (d,), that belong to a segment.

    Raises
    ------
    Problem
        422: there are no customers beside the model.
    """
    if snapshot.base is None:
        raise Problem(
            422, "No customers", "neighbours=true needs customers beside the model; this server was started without."
        )
    cluster = [segment.segment_id for segment in snapshot.model.segments].index(segment_id)
    return float(snapshot.base.agreement(point[None, :], np.array([cluster]))[0])


def window_text(model: SegmentModel, language: str) -> str:
    """Say which period the values refer to."""
    days = model.window_days
    return WHOLE_HISTORY.text(language) if days is None else WINDOW.text(language).format(days=days)


def as_object(body: bytes, *, example: str = '{"frequency": 12}') -> dict[str, Any]:
    """Read a JSON object; ``example`` is shown where it is none.

    Raises
    ------
    Problem
        400: it is no JSON, or no object. 422: a number is beyond all that a computer holds, or a name comes twice.
    """
    try:
        content = msgspec.json.decode(body)
    except msgspec.ValidationError as error:
        raise Problem(422, "Impossible value", f"The body's JSON: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(
            400,
            "No JSON",
            f"Expected a JSON object such as {example}; this is no JSON ({_why(error)}).",
        ) from None
    if not isinstance(content, dict):
        raise Problem(400, "No object", f"Expected a JSON object such as {example}; got a JSON {_kind(content)}.")
    check_names(body, len(content), rows=False)
    return content


def check_encoding(scope: Any) -> None:
    """Raise :class:`Problem` 415 where a body is packed."""
    for name, value in scope["headers"]:
        coding = value.decode("latin-1").strip().lower() if name == b"content-encoding" else ""
        if coding not in ("", "identity"):
            raise Problem(
                415,
                "Packed body",
                f"Content-Encoding: expected a body as it is; got {coding[:100]!r}. Send it unpacked.",
                headers={"Accept-Encoding": "identity"},
            )


def refused(error: DataError, model: SegmentModel, **extra: Any) -> Problem:
    """Return the problem of values that the model cannot take, with the variable where the error names one."""
    text = str(error)
    named = [name for name in model.spec.names if re.search(rf"\b{re.escape(name)}\b", text.split(";")[0])]
    if len(named) == 1:
        extra["variable"] = named[0]
    return Problem(422, "Impossible values", text, variables=model.spec.names, **extra)


async def read_body(receive: Any) -> bytes:
    """Return the whole body; its size and its time are watched outside."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        return message.get("body", b"")  # type: ignore[no-any-return]
    parts = []
    while True:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()


async def send_json(send: Any, content: Any, status: int = 200) -> None:
    """Send an answer in JSON."""
    body = msgspec.json.encode(content)
    headers = [JSON_HEADER, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _why(error: Exception) -> str:
    return "too deeply nested" if isinstance(error, RecursionError) else str(error)


def _kind(content: Any) -> str:
    if content is None:
        return "null"
    names = {list: "list", str: "text", bool: "truth value"}
    return names.get(type(content), "number")
