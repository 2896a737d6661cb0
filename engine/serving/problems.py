"""Every refusal in one form: ``application/problem+json`` (RFC 9457), with what was expected and the next step."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
MOST_CHARACTERS = 2_000
"""Of a detail: an error that repeats what it was given does not repeat megabytes of it."""


class Problem(Exception):  # noqa: N818  the name of the RFC
    """What is wrong with a request, as it is told to whoever asked.

    Parameters
    ----------
    status
        HTTP status, 400 to 599.
    title
        A few words, the same for every problem of this kind; ``""`` is the status in words.
    detail
        What was expected, what came, and the next step.
    headers
        Of the answer, such as ``Retry-After``.
    extra
        Further members for machines: ``variable``, ``row``, ``limit``.

    Examples
    --------
    >>> problem = Problem(422, "Impossible value", "customer: frequency should be at least 0.", variable="frequency")
    >>> problem.status, problem.to_dict()["variable"]
    (422, 'frequency')
    """

    def __init__(
        self, status: int, title: str = "", detail: str = "", *, headers: dict[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail or title)
        self.status = status
        self.title = title or HTTPStatus(status).phrase
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra

    def to_dict(self) -> dict[str, Any]:
        """Return the members of the problem document."""
        content = {"type": "about:blank", "title": self.title, "status": self.status, **self.extra}
        if self.detail:
            content["detail"] = _readable(self.detail)
        return content

    def response(self) -> Response:
        """Return the answer."""
        return Response(msgspec.json.encode(self.to_dict()), self.status, self.headers, MEDIA_TYPE)


def too_large(limit_bytes: int) -> Problem:
    """Return the problem of a body beyond what is taken."""
    return Problem(
        413,
        "Body too large",
        f"The body may have {limit_bytes:,} bytes at most. Send it in pieces.",
        limit_bytes=limit_bytes,
    )


def _readable(text: str) -> str:
    # A lone surrogate, which JSON may carry as \ud800, has no UTF-8.
    cleaned = text.encode("utf-8", "backslashreplace").decode()
    return cleaned if len(cleaned) <= MOST_CHARACTERS else cleaned[:MOST_CHARACTERS] + " …"
