"""Names that come twice in a JSON object: a reader takes the last one and says nothing, so they are looked for here."""

from __future__ import annotations

import json
from typing import Any

from engine.serving.problems import Problem


def check_names(body: bytes, colons: int, *, rows: bool = True) -> None:
    """Raise :class:`Problem` 422 where an object of a body names a member twice.

    Parameters
    ----------
    body
        JSON that was read: an object, or a list of objects, with nothing inside that holds names of its own.
    colons
        The names that were read, and the colons in what was read as text: as many as the body has where none came
        twice. Then nothing more is done.
    rows
        Whether it is a list, of which the row is told.

    Examples
    --------
    >>> check_names(b'[{"frequency": 1}, {"frequency": 2}]', 2)
    >>> check_names(b'[{"frequency": 1}, {"frequency": 2, "frequency": 3}]', 2)
    Traceback (most recent call last):
    ...
    engine.serving.problems.Problem: row 2: 'frequency' comes more than once. Give each variable once.
    """
    # A colon may be written by its number; then the count says nothing.
    if body.count(b":") == colons and b"\\u003" not in body:
        return
    row = 0

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal row
        row += 1
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)[:100]
            where: dict[str, Any] = {"row": row} if rows else {}
            raise Problem(
                422,
                "Repeated variable",
                f"{f'row {row}: ' if rows else ''}{twice!r} comes more than once. Give each variable once.",
                variable=twice,
                **where,
            )
        return found

    # Numbers stay text: some are longer than the interpreter reads.
    json.loads(body.decode(), object_pairs_hook=once, parse_int=str, parse_float=str)
