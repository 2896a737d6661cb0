"""Reading what a page posts, within bounds."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request

from engine.serving.problems import Problem

LARGEST_FORM = 64 * 1024
"""Bytes of a form; the longest of ours has a line for each variable of a model."""

MOST_FIELDS = 300


async def read_form(request: Request) -> dict[str, str]:
    """Read a posted form, at most :data:`LARGEST_FORM` bytes of it.

    Raises
    ------
    Problem
        It is larger (413), or no form (400).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("", "application/x-www-form-urlencoded"):
        raise Problem(400)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM:
            raise Problem(413)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Problem(400) from None
    return dict(pairs)
