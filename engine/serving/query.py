"""The options behind a question mark: each is known, given once, and of its type; anything else is a 422."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from engine.schema import LANGUAGES
from engine.serving.problems import Problem

MOST_OPTIONS = 20

BEHIND = "It stands behind the question mark of the address (?{name}=…), not in the body."
"""Where an option was written into a body."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes
    ----------
    read
        From its text to its value; raises ``ValueError`` when it is none.
    default
        Where it is not given; ``None`` takes the server's.
    expected
        What it may be, in words.
    schema
        The same for OpenAPI.
    about
        What it does.
    """

    read: Callable[[str], Any]
    default: Any
    expected: str
    schema: Mapping[str, Any]
    about: str


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text]


def _language(text: str) -> str:
    if text not in LANGUAGES:
        raise ValueError(text)
    return text


def _text(text: str) -> str:
    if not text or len(text) > 1_000 or not text.isprintable():
        raise ValueError(text)
    return text


LANGUAGE = Option(
    _language, None, " or ".join(LANGUAGES), {"type": "string", "enum": list(LANGUAGES)}, "Language of names and texts."
)
IMPUTE = Option(
    _flag,
    False,
    "true or false",
    {"type": "boolean", "default": False},
    "Whether values may be missing and are filled as they were when the model was fitted.",
)
NEIGHBOURS = Option(
    _flag,
    False,
    "true or false",
    {"type": "boolean", "default": False},
    "Whether the nearest known customers vote (`neighbour_agreement`); needs customers beside the model.",
)
AS_OF = Option(
    _text,
    None,
    "a date such as 2026-11-30",
    {"type": "string", "format": "date", "examples": ["2026-11-30"]},
    "Rows before this date count; without it, all do, to the midnight after the last one.",
)


def check_options(query: bytes, known: Collection[str]) -> None:
    """Raise :class:`Problem` 422 where an option is unknown or repeated; what its value may be is told elsewhere.

    Examples
    --------
    >>> check_options(b"k=5&segment=seg-1", ("k", "segment"))
    """
    given = set()
    for name, _ in _pairs(query):
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "there are none"
            raise Problem(422, "Unknown option", f"{name[:100]!r} is no option here; {there}.", option=name[:100])
        if name in given:
            raise Problem(422, "Repeated option", f"{name}: expected it once.", option=name)
        given.add(name)


def options(query: bytes, known: Mapping[str, Option]) -> dict[str, Any]:
    """Return the value of each option that a route knows.

    Raises
    ------
    Problem
        422: an option is unknown, repeated, or not of its type.

    Examples
    --------
    >>> options(b"impute=true", {"impute": IMPUTE, "language": LANGUAGE})
    {'impute': True, 'language': None}
    """
    values = {name: option.default for name, option in known.items()}
    if not query:
        return values
    given = set()
    for name, text in _pairs(query):
        option = known.get(name)
        if option is None:
            raise Problem(
                422, "Unknown option", f"{name!r} is no option here; there are {', '.join(known)}.", option=name[:100]
            )
        try:
            if name in given:
                raise ValueError
            values[name] = option.read(text)
        except (ValueError, KeyError):
            raise Problem(
                422, "Impossible option", f"{name}: expected {option.expected}, once; got {text!r}.", option=name
            ) from None
        given.add(name)
    return values


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_OPTIONS)
    except ValueError:
        raise Problem(422, "Too many options", f"At most {MOST_OPTIONS} options are read.") from None
